//! ListOffsets (2): offsets by time, and the ends of a partition.

use bytes::Bytes;
use highwater_coordinator::Topic;
use highwater_env::Offset;
use highwater_log::{Bounds, ReadError};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::api::encode;
use crate::broker::{Broker, LEADER_EPOCH, check_leader_epoch};
use crate::errors::{ErrorCode, read_error};
use crate::guard::{Shape, fixed, structs, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 6,
    fields: &[
        fixed(4),
        fixed(1).since(2),
        structs(&[text(), structs(&[fixed(4), fixed(4).since(4), fixed(8)])]),
        fixed(4).since(10),
    ],
};

/// The end of what this consumer may read.
const LATEST: i64 = -1;
/// The first offset that is kept.
const EARLIEST: i64 = -2;
/// The record with the highest timestamp (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
const MAX_TIMESTAMP_SINCE: i16 = 7;
/// The first offset on local disk: the first that is kept, as nothing is tiered (KIP-405).
const EARLIEST_LOCAL: i64 = -4;
const EARLIEST_LOCAL_SINCE: i16 = 8;
/// The last offset in tiered storage: none (KIP-1005).
const LATEST_TIERED: i64 = -5;
const LATEST_TIERED_SINCE: i16 = 9;

const READ_COMMITTED: i8 = 1;

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: ListOffsetsRequest = request.decode()?;
    let committed_only = asked.isolation_level == READ_COMMITTED;
    let topics = asked.topics.into_iter().map(|topic| {
        let known = broker.topics.get(&topic.name.0);
        let partitions = topic.partitions.iter().map(|asked| {
            let found = match &known {
                Some(topic) => find(broker, topic, asked, (request.version, committed_only)),
                None => Err(ErrorCode::UnknownTopicOrPartition),
            };
            described(broker, request.version, asked, found)
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    encode(&ListOffsetsResponse::default().with_topics(topics.collect()), request.version)
}

/// An offset and the timestamp of its record; -1 where there is none.
type Found = (Offset, i64);
const NOWHERE: Found = (-1, -1);

fn find(
    broker: &Broker,
    topic: &Topic,
    asked: &ListOffsetsPartition,
    (version, committed_only): (i16, bool),
) -> Result<Found, ErrorCode> {
    let tp = topic.partition(asked.partition_index);
    let bounds = broker.log.bounds(tp).map_err(|error| read_error(&error))?;
    check_leader_epoch(asked.current_leader_epoch)?;
    match asked.timestamp {
        LATEST => Ok((bounds.readable_end(committed_only), -1)),
        EARLIEST => Ok((bounds.log_start_offset, -1)),
        EARLIEST_LOCAL if version >= EARLIEST_LOCAL_SINCE => Ok((bounds.log_start_offset, -1)),
        LATEST_TIERED if version >= LATEST_TIERED_SINCE => Ok(NOWHERE),
        MAX_TIMESTAMP if version >= MAX_TIMESTAMP_SINCE => {
            readable(broker.log.offset_of_latest(tp), &bounds, committed_only)
        }
        at @ 0.. => readable(broker.log.offset_for_time(tp, at), &bounds, committed_only),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

/// What was found, if this consumer may read it.
fn readable(
    found: Result<Option<Found>, ReadError>,
    bounds: &Bounds,
    committed_only: bool,
) -> Result<Found, ErrorCode> {
    let found = found.map_err(|error| read_error(&error))?;
    Ok(found.filter(|(offset, _)| *offset < bounds.readable_end(committed_only)).unwrap_or(NOWHERE))
}

fn described(
    broker: &Broker,
    version: i16,
    asked: &ListOffsetsPartition,
    found: Result<Found, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let (code, (offset, timestamp)) = match found {
        Ok(found) => (ErrorCode::None, found),
        Err(code) => {
            broker.count_error();
            (code, NOWHERE)
        }
    };
    let epoch_known = version >= 4 && offset >= 0;
    ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_error_code(code.code())
        .with_timestamp(timestamp)
        .with_offset(offset)
        .with_leader_epoch(if epoch_known { LEADER_EPOCH } else { -1 })
}
