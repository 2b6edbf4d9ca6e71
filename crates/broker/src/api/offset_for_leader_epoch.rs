//! OffsetForLeaderEpoch (23): where a leader's records end (KIP-320). There is one leader, for ever.

use std::sync::Arc;

use highwater_env::TopicPartition;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName};

use crate::api::encode;
use crate::broker::{Broker, LEADER_EPOCH, check_leader_epoch};
use crate::errors::{ErrorCode, read_error};
use crate::guard::{Shape, fixed, structs, text};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 4,
    fields: &[fixed(4).since(3), structs(&[text(), structs(&[fixed(4), fixed(4), fixed(4)])])],
};

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: OffsetForLeaderEpochRequest = request.decode()?;
    let topics = asked.topics.into_iter().map(|topic| {
        let ends = topic.partitions.iter().map(|partition| end(broker, &topic.topic, partition));
        let ends = ends.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(ends)
    });
    let answer = OffsetForLeaderEpochResponse::default().with_topics(topics.collect());
    Ok(Waiting::ready(encode(&answer, request.version)))
}

fn end(broker: &Broker, topic: &TopicName, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let answer = EpochEndOffset::default().with_partition(asked.partition);
    match high_watermark(broker, topic, asked) {
        // Of no other epoch anything is known.
        Ok(_) if asked.leader_epoch != LEADER_EPOCH => answer.with_leader_epoch(-1).with_end_offset(-1),
        Ok(end) => answer.with_leader_epoch(LEADER_EPOCH).with_end_offset(end),
        Err(code) => {
            broker.count_error();
            answer.with_error_code(code.code()).with_leader_epoch(-1).with_end_offset(-1)
        }
    }
}

fn high_watermark(
    broker: &Broker,
    topic: &TopicName,
    asked: &OffsetForLeaderPartition,
) -> Result<i64, ErrorCode> {
    let topic = broker.topics.get(&topic.0).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let tp = TopicPartition { topic: topic.id, partition: asked.partition };
    let bounds = broker.log.bounds(tp).map_err(|error| read_error(&error))?;
    check_leader_epoch(asked.current_leader_epoch)?;
    Ok(bounds.high_watermark)
}
