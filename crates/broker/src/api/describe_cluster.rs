//! DescribeCluster (60): one node.

use bytes::Bytes;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};

use crate::api::{encode, text};
use crate::broker::Broker;
use crate::guard::{Shape, fixed};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape =
    Shape { flexible_since: 0, fields: &[fixed(1), fixed(1).since(1), fixed(1).since(2)] };

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let _asked: DescribeClusterRequest = request.decode()?;
    let node = BrokerId(broker.options.node_id);
    let this = DescribeClusterBroker::default()
        .with_broker_id(node)
        .with_host(text(&broker.options.advertised_host))
        .with_port(i32::from(broker.options.advertised_port));
    let answer = DescribeClusterResponse::default()
        .with_cluster_id(text(broker.log.cluster_id()))
        .with_controller_id(node)
        .with_brokers(vec![this]);
    encode(&answer, request.version)
}
