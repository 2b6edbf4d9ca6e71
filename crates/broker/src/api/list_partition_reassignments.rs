//! ListPartitionReassignments (46): there is one node, so there are none.

use bytes::Bytes;
use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::api::encode;
use crate::broker::Broker;
use crate::guard::{Shape, fixed, numbers, structs, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape =
    Shape { flexible_since: 0, fields: &[fixed(4), structs(&[text(), numbers(4)])] };

pub(super) fn answer(_broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let _asked: ListPartitionReassignmentsRequest = request.decode()?;
    encode(&ListPartitionReassignmentsResponse::default().with_error_message(None), request.version)
}
