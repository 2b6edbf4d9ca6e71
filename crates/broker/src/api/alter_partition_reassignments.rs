//! AlterPartitionReassignments (45): to this node changes nothing, to any other is refused.

use bytes::Bytes;
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
};

use crate::api::{encode, text as string};
use crate::broker::Broker;
use crate::errors::{ErrorCode, Refused};
use crate::guard::{Shape, fixed, numbers, structs, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 0,
    fields: &[fixed(4), fixed(1).since(1), structs(&[text(), structs(&[fixed(4), numbers(4)])])],
};

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: AlterPartitionReassignmentsRequest = request.decode()?;
    let topics = asked.topics.into_iter().map(|topic| {
        let partitions = broker.topics.get(&topic.name.0).map_or(0, |topic| topic.partitions);
        let results = topic.partitions.iter().map(|asked| {
            let result = ReassignablePartitionResponse::default()
                .with_error_message(None)
                .with_partition_index(asked.partition_index);
            match reassign(broker, partitions, asked) {
                Ok(()) => result,
                Err(Refused { code, message }) => {
                    broker.count_error();
                    result.with_error_code(code.code()).with_error_message(Some(string(&message)))
                }
            }
        });
        ReassignableTopicResponse::default().with_partitions(results.collect()).with_name(topic.name)
    });
    let answer = AlterPartitionReassignmentsResponse::default()
        .with_error_message(None)
        .with_allow_replication_factor_change(asked.allow_replication_factor_change)
        .with_responses(topics.collect());
    encode(&answer, request.version)
}

fn reassign(broker: &Broker, partitions: i32, asked: &ReassignablePartition) -> Result<(), Refused> {
    let node = broker.options.node_id;
    if !(0..partitions).contains(&asked.partition_index) {
        return Err(Refused::new(ErrorCode::UnknownTopicOrPartition, "no such partition"));
    }
    match asked.replicas.as_deref() {
        None => Err(Refused::new(ErrorCode::NoReassignmentInProgress, "nothing is being reassigned")),
        Some([BrokerId(only)]) if *only == node => Ok(()),
        Some(_) => {
            let message = format!("there is one node, {node}: replicas must be just it");
            Err(Refused::new(ErrorCode::InvalidReplicaAssignment, message))
        }
    }
}
