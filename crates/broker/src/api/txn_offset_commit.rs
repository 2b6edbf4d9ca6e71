//! TxnOffsetCommit (28): offsets of a consumer group that count if the transaction does.

use std::sync::Arc;

use highwater_coordinator::{
    CommitRequest, Committed, MemberClaim, OffsetCommit, ProducerIdentity, TransactionVersion,
};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use crate::api::encode;
use crate::api::offset_commit::which_exist;
use crate::broker::Broker;
use crate::errors::{ErrorCode, group_outcome, group_refusal, offset_commit_error};
use crate::guard::{Field, Shape, fixed, structs, text};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

static PARTITION: [Field; 4] = [fixed(4), fixed(8), fixed(4).since(2), text()];
static TOPIC: [Field; 2] = [text(), structs(&PARTITION)];
pub(super) static SHAPE: Shape = Shape {
    flexible_since: 3,
    fields: &[
        text(),
        text(),
        fixed(8),
        fixed(2),
        fixed(4).since(3),
        text().since(3),
        text().since(3),
        structs(&TOPIC),
    ],
};

/// The first version that adds the group's offsets to the transaction by itself (KIP-890).
const ADDS_OFFSETS_SINCE: i16 = 5;

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: TxnOffsetCommitRequest = request.decode()?;
    let version = request.version;
    let speaks = match version < ADDS_OFFSETS_SINCE {
        true => TransactionVersion::One,
        false => TransactionVersion::Two,
    };
    let known: Vec<Vec<bool>> = asked.topics.iter().map(|topic| known_partitions(broker, topic)).collect();
    let producer = ProducerIdentity { id: asked.producer_id.0, epoch: asked.producer_epoch };
    let id = &asked.transactional_id;
    let begun = broker.transactions.commit_offsets(id, speaks, producer, commit(&asked, &known));
    let broker = Arc::clone(broker);
    Ok(Waiting::for_disk(async move {
        let outcome = match begun {
            Ok(committed) => committed.await.map_err(group_refusal),
            Err(error) => Err(offset_commit_error(&error, version)),
        };
        let answer = described(asked, &known, outcome);
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        broker.count_errors(partitions.filter(|partition| partition.error_code != 0).count());
        encode(&answer, version)
    }))
}

fn known_partitions(broker: &Broker, asked: &TxnOffsetCommitRequestTopic) -> Vec<bool> {
    which_exist(broker, &asked.name.0, asked.partitions.iter().map(|partition| partition.partition_index))
}

fn commit(asked: &TxnOffsetCommitRequest, known: &[Vec<bool>]) -> CommitRequest {
    let offsets = asked.topics.iter().zip(known).flat_map(|(topic, known)| {
        let name: Arc<str> = (&*topic.name.0).into();
        let partitions = topic.partitions.iter().zip(known).filter(|(_, known)| **known);
        partitions.map(move |(partition, _)| offset(&name, partition))
    });
    CommitRequest {
        group: asked.group_id.0.to_string(),
        claim: MemberClaim {
            generation: asked.generation_id,
            member_id: asked.member_id.to_string(),
            instance_id: asked.group_instance_id.as_ref().map(|name| name.to_string()),
        },
        retention: None,
        offsets: offsets.collect(),
    }
}

fn offset(topic: &Arc<str>, asked: &TxnOffsetCommitRequestPartition) -> OffsetCommit {
    OffsetCommit {
        topic: Arc::clone(topic),
        partition: asked.partition_index,
        offset: asked.committed_offset,
        leader_epoch: asked.committed_leader_epoch,
        metadata: asked.committed_metadata.as_ref().map(|text| text.to_string()).unwrap_or_default(),
    }
}

fn described(
    asked: TxnOffsetCommitRequest,
    known: &[Vec<bool>],
    outcome: Result<Committed, ErrorCode>,
) -> TxnOffsetCommitResponse {
    let (all, mut each) = match outcome {
        Ok(committed) => (ErrorCode::None, committed.into_iter()),
        Err(code) => (code, Vec::new().into_iter()),
    };
    let topics = asked.topics.into_iter().zip(known).map(|(topic, known)| {
        let partitions = topic.partitions.iter().zip(known).map(|(partition, known)| {
            let code = match known {
                false if all == ErrorCode::None => ErrorCode::UnknownTopicOrPartition,
                _ => each.next().map_or(all, |outcome| group_outcome(&outcome)),
            };
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.code())
        });
        let partitions = partitions.collect();
        TxnOffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}
