//! DeleteRecords (21): raises a partition's log start offset.

use bytes::Bytes;
use highwater_coordinator::Topic;
use highwater_log::Ticket;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{ErrorCode, append_error, read_error};
use crate::guard::{Shape, fixed, structs, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape =
    Shape { flexible_since: 2, fields: &[structs(&[text(), structs(&[fixed(4), fixed(8)])]), fixed(4)] };

/// The offset that stands for the high watermark: delete everything.
const HIGH_WATERMARK: i64 = -1;

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: DeleteRecordsRequest = request.decode()?;
    // All are submitted before the first is waited for: one sync covers them.
    let mut submitted = Vec::new();
    for topic in asked.topics {
        let found = broker.topics.get(&topic.name.0);
        let partitions = topic.partitions.iter().map(|asked| {
            (
                asked.partition_index,
                found.as_ref().ok_or(ErrorCode::UnknownTopicOrPartition).and_then(|t| trim(broker, t, asked)),
            )
        });
        submitted.push((topic.name, found.clone(), partitions.collect::<Vec<_>>()));
    }
    let topics = submitted.into_iter().map(|(name, topic, partitions)| {
        let partitions = partitions.into_iter().map(|(index, trimmed)| {
            let low = trimmed.and_then(|ticket| ticket.wait().map_err(|error| append_error(&error)));
            let low = low.and_then(|()| log_start_offset(broker, topic.as_ref(), index));
            described(broker, index, low)
        });
        DeleteRecordsTopicResult::default().with_name(name).with_partitions(partitions.collect())
    });
    encode(&DeleteRecordsResponse::default().with_topics(topics.collect()), request.version)
}

fn trim(broker: &Broker, topic: &Topic, asked: &DeleteRecordsPartition) -> Result<Ticket, ErrorCode> {
    if topic.internal {
        return Err(ErrorCode::InvalidTopic);
    }
    // A compacted topic keeps the last record of every key, whatever its offset.
    if !topic.config.partition.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let tp = topic.partition(asked.partition_index);
    let offset = match asked.offset {
        HIGH_WATERMARK => broker.log.bounds(tp).map_err(|error| read_error(&error))?.high_watermark,
        offset => offset,
    };
    broker.log.trim(tp, offset).map_err(|error| append_error(&error))
}

fn log_start_offset(broker: &Broker, topic: Option<&Topic>, partition: i32) -> Result<i64, ErrorCode> {
    let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let bounds = broker.log.bounds(topic.partition(partition)).map_err(|error| read_error(&error))?;
    Ok(bounds.log_start_offset)
}

fn described(broker: &Broker, index: i32, low: Result<i64, ErrorCode>) -> DeleteRecordsPartitionResult {
    let result = DeleteRecordsPartitionResult::default().with_partition_index(index);
    match low {
        Ok(low) => result.with_low_watermark(low),
        Err(code) => {
            broker.count_error();
            result.with_error_code(code.code()).with_low_watermark(-1)
        }
    }
}
