//! OffsetDelete (47): a group forgets how far it has read (KIP-496).

use std::sync::Arc;

use highwater_coordinator::{Committed, GroupRefusal};
use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{ErrorCode, group_outcome, group_refusal};
use crate::guard::{Shape, fixed, structs, text};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape =
    Shape { flexible_since: i16::MAX, fields: &[text(), structs(&[text(), structs(&[fixed(4)])])] };

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: OffsetDeleteRequest = request.decode()?;
    let version = request.version;
    let known: Vec<i32> = asked
        .topics
        .iter()
        .map(|topic| broker.topics.get(&topic.name.0).map_or(0, |topic| topic.partitions))
        .collect();
    let partitions = asked.topics.iter().flat_map(|topic| {
        let name: Arc<str> = (&*topic.name.0).into();
        topic.partitions.iter().map(move |partition| (Arc::clone(&name), partition.partition_index))
    });
    let deleted = broker.groups.delete_offsets(&asked.group_id.0, partitions.collect());
    let broker = Arc::clone(broker);
    Ok(Waiting::for_disk(async move {
        let answer = described(asked.topics, &known, deleted.await);
        if answer.error_code != 0 {
            broker.count_error();
        }
        encode(&answer, version)
    }))
}

fn described(
    topics: Vec<OffsetDeleteRequestTopic>,
    known: &[i32],
    outcome: Result<Committed, GroupRefusal>,
) -> OffsetDeleteResponse {
    let mut each = match outcome {
        Ok(outcomes) => outcomes.into_iter(),
        Err(refusal) => {
            return OffsetDeleteResponse::default().with_error_code(group_refusal(refusal).code());
        }
    };
    let topics = topics.into_iter().zip(known).map(|(topic, known)| {
        let partitions = topic.partitions.iter().map(|partition| {
            let outcome = each.next().unwrap_or(Ok(()));
            let code = match (0..*known).contains(&partition.partition_index) {
                false => ErrorCode::UnknownTopicOrPartition,
                true => group_outcome(&outcome),
            };
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.code())
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
