//! ElectLeaders (43): never needed, every partition has its one leader.

use bytes::Bytes;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::ErrorCode;
use crate::guard::{Shape, fixed, numbers, structs, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape =
    Shape { flexible_since: 2, fields: &[fixed(1).since(1), structs(&[text(), numbers(4)]), fixed(4)] };

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: ElectLeadersRequest = request.decode()?;
    // Asked for all partitions, Kafka leaves out those that need none.
    let results = asked.topic_partitions.unwrap_or_default().into_iter().map(|topic| {
        let partitions = broker.topics.get(&topic.topic.0).map_or(0, |topic| topic.partitions);
        let results = topic.partitions.iter().map(|index| {
            let code = match (0..partitions).contains(index) {
                true => ErrorCode::ElectionNotNeeded,
                false => ErrorCode::UnknownTopicOrPartition,
            };
            PartitionResult::default()
                .with_error_message(None)
                .with_partition_id(*index)
                .with_error_code(code.code())
        });
        ReplicaElectionResult::default().with_partition_result(results.collect()).with_topic(topic.topic)
    });
    let answer = ElectLeadersResponse::default().with_replica_election_results(results.collect());
    encode(&answer, request.version)
}
