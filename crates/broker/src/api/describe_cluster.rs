//! DescribeCluster (60): one node.

use bytes::Bytes;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};

use crate::api::{CLUSTER_OPERATIONS, encode, text};
use crate::broker::Broker;
use crate::errors::ErrorCode;
use crate::guard::{Shape, fixed};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape =
    Shape { flexible_since: 0, fields: &[fixed(1), fixed(1).since(1), fixed(1).since(2)] };

/// Whose endpoint a client takes this for (KIP-919).
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: DescribeClusterRequest = request.decode()?;
    let refused = match asked.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((ErrorCode::MismatchedEndpointType, "this is a broker's endpoint")),
        _ => Some((ErrorCode::UnsupportedEndpointType, "endpoint types are 1, brokers, and 2, controllers")),
    };
    if let Some((code, message)) = refused {
        broker.count_error();
        let answer = DescribeClusterResponse::default().with_error_code(code.code());
        return encode(&answer.with_error_message(Some(text(message))), request.version);
    }
    let node = BrokerId(broker.options.node_id);
    let this = DescribeClusterBroker::default()
        .with_broker_id(node)
        .with_host(text(&request.listener.host))
        .with_port(i32::from(request.listener.port));
    let answer = DescribeClusterResponse::default()
        .with_error_message(None)
        .with_cluster_id(text(broker.log.cluster_id()))
        .with_controller_id(node)
        .with_brokers(vec![this]);
    let answer = match asked.include_cluster_authorized_operations {
        true => answer.with_cluster_authorized_operations(CLUSTER_OPERATIONS),
        false => answer,
    };
    encode(&answer, request.version)
}
