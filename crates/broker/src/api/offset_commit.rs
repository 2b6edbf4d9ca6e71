//! OffsetCommit (8): how far a group has read; answered when that is durable.

use std::sync::Arc;
use std::time::Duration;

use highwater_coordinator::{CommitRequest, Committed, GroupRefusal, MemberClaim, OffsetCommit};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{ErrorCode, group_outcome, group_refusal};
use crate::guard::{Shape, fixed, structs, text};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 8,
    fields: &[
        text(),
        fixed(4),
        text(),
        text().since(7),
        fixed(8).until(4),
        structs(&[text(), structs(&[fixed(4), fixed(8), fixed(4).since(6), text()])]),
    ],
};

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: OffsetCommitRequest = request.decode()?;
    let version = request.version;
    let known: Vec<Vec<bool>> = asked.topics.iter().map(|topic| known_partitions(broker, topic)).collect();
    let committed = broker.groups.commit_offsets(commit(&asked, &known));
    let broker = Arc::clone(broker);
    Ok(Waiting::for_disk(async move {
        let answer = described(asked, &known, committed.await);
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        broker.count_errors(partitions.filter(|partition| partition.error_code != 0).count());
        encode(&answer, version)
    }))
}

fn known_partitions(broker: &Broker, asked: &OffsetCommitRequestTopic) -> Vec<bool> {
    which_exist(broker, &asked.name.0, asked.partitions.iter().map(|partition| partition.partition_index))
}

/// For each of a topic's partitions as a request names them, whether it exists.
pub(super) fn which_exist(broker: &Broker, topic: &str, named: impl Iterator<Item = i32>) -> Vec<bool> {
    let partitions = broker.topics.get(topic).map_or(0, |topic| topic.partitions);
    named.map(|partition| (0..partitions).contains(&partition)).collect()
}

fn commit(asked: &OffsetCommitRequest, known: &[Vec<bool>]) -> CommitRequest {
    let offsets = asked.topics.iter().zip(known).flat_map(|(topic, known)| {
        let name: Arc<str> = (&*topic.name.0).into();
        let partitions = topic.partitions.iter().zip(known).filter(|(_, known)| **known);
        partitions.map(move |(partition, _)| offset(&name, partition))
    });
    CommitRequest {
        group: asked.group_id.0.to_string(),
        claim: MemberClaim {
            generation: asked.generation_id_or_member_epoch,
            member_id: asked.member_id.to_string(),
            instance_id: asked.group_instance_id.as_ref().map(|name| name.to_string()),
        },
        retention: u64::try_from(asked.retention_time_ms).ok().map(Duration::from_millis),
        offsets: offsets.collect(),
    }
}

fn offset(topic: &Arc<str>, asked: &OffsetCommitRequestPartition) -> OffsetCommit {
    OffsetCommit {
        topic: Arc::clone(topic),
        partition: asked.partition_index,
        offset: asked.committed_offset,
        leader_epoch: asked.committed_leader_epoch,
        metadata: asked.committed_metadata.as_ref().map(|text| text.to_string()).unwrap_or_default(),
    }
}

fn described(
    asked: OffsetCommitRequest,
    known: &[Vec<bool>],
    outcome: Result<Committed, GroupRefusal>,
) -> OffsetCommitResponse {
    let (all, mut each) = match outcome {
        Ok(committed) => (ErrorCode::None, committed.into_iter()),
        Err(refusal) => (group_refusal(refusal), Vec::new().into_iter()),
    };
    let topics = asked.topics.into_iter().zip(known).map(|(topic, known)| {
        let partitions = topic.partitions.iter().zip(known).map(|(partition, known)| {
            let code = match known {
                false => ErrorCode::UnknownTopicOrPartition,
                true => each.next().map_or(all, |outcome| group_outcome(&outcome)),
            };
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.code())
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}
