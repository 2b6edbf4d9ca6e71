//! FindCoordinator (10): always this node. librdkafka takes this API for the sign that a broker
//! understands lz4, and compresses nothing without it.

use bytes::Bytes;
use highwater_coordinator::TopicError;
use highwater_env::TopicPartition;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::ErrorCode;
use crate::guard::{Shape, fixed, text, texts};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape =
    Shape { flexible_since: 3, fields: &[text().until(3), fixed(1).since(1), texts().since(4)] };

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// The first version that asks for several at once (KIP-699).
const BATCHED_SINCE: i16 = 4;

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: FindCoordinatorRequest = request.decode()?;
    let known = matches!(asked.key_type, GROUP | TRANSACTION);
    let ready = match asked.key_type {
        GROUP => is_there(broker.groups.partition()),
        TRANSACTION => is_there(broker.transactions.partition()),
        _ => true,
    };
    let (code, node, host, port) = if !ready {
        broker.count_error();
        (ErrorCode::CoordinatorNotAvailable, -1, "", 0)
    } else if known {
        let listener = &request.listener;
        (ErrorCode::None, broker.options.node_id, listener.host.as_str(), listener.port)
    } else {
        broker.count_error();
        (ErrorCode::InvalidRequest, -1, "", 0)
    };
    let (code, node, host) = (code.code(), BrokerId(node), crate::api::text(host));
    let answer = FindCoordinatorResponse::default().with_error_message(None);
    let answer = if request.version < BATCHED_SINCE {
        answer.with_error_code(code).with_node_id(node).with_host(host).with_port(i32::from(port))
    } else {
        let found = asked.coordinator_keys.into_iter().map(|key| {
            Coordinator::default()
                .with_error_message(None)
                .with_key(key)
                .with_error_code(code)
                .with_node_id(node)
                .with_host(host.clone())
                .with_port(i32::from(port))
        });
        answer.with_coordinators(found.collect())
    };
    encode(&answer, request.version)
}

/// Whether the topic of the coordinator's records could be made, if it was missing: whoever looks for
/// a coordinator is about to need it.
fn is_there(partition: Result<TopicPartition, TopicError>) -> bool {
    partition.inspect_err(|error| tracing::error!("topic of a coordinator's records: {error}")).is_ok()
}
