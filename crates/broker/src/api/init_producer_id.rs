//! InitProducerId (22): a producer id, so that retries are not written twice. No transactions yet.

use bytes::Bytes;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::ErrorCode;
use crate::guard::{Shape, fixed, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape =
    Shape { flexible_since: 2, fields: &[text(), fixed(4), fixed(8).since(3), fixed(2).since(3)] };

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: InitProducerIdRequest = request.decode()?;
    let answer = if asked.transactional_id.is_some() {
        broker.count_error();
        InitProducerIdResponse::default()
            .with_error_code(ErrorCode::UnsupportedVersion.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    } else {
        // 62 random bits: ids need to be unique, not dense, and so need no record in the log. With
        // a billion producers the chance of any collision is about one in ten.
        let id = i64::try_from(broker.entropy.next_u64() >> 2).unwrap_or(0);
        InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0)
    };
    encode(&answer, request.version)
}
