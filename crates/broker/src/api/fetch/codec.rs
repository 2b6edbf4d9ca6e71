//! Fetch on the wire, versions 4 to 18. Stored batches go out as parts of their own.
//!
//! ```text
//! request:  replica id i32 (..14) | max wait ms i32 | min bytes i32 | max bytes i32 | isolation i8
//!           | session id i32, session epoch i32 (7..)
//!           | [topic: name (..12) or id (13..) | [partition i32 | leader epoch i32 (9..) | offset i64
//!              | last fetched epoch i32 (12..) | log start offset i64 (5..) | max bytes i32]]
//!           | [forgotten topic: name or id | [partition i32]] (7..) | rack (11..)
//! response: throttle ms i32 | error i16, session id i32 (7..)
//!           | [topic: name or id | [partition i32 | error i16 | high watermark i64
//!              | last stable offset i64 | log start offset i64 (5..) | [aborted: producer id i64 | first offset i64]
//!              | preferred replica i32 (11..) | records]]
//! ```

use highwater_log::Bounds;

use crate::api::TopicRef;
use crate::response::Part;
use crate::wire::{WireError, WireReader, WireWriter};

/// The first version that names topics by id (KIP-516).
const TOPIC_IDS_SINCE: i16 = 13;
const READ_COMMITTED: i8 = 1;
/// What a client says that knows none.
const NO_LEADER_EPOCH: i32 = -1;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FetchRequest {
    pub(crate) max_wait_ms: i32,
    pub(crate) min_bytes: i32,
    pub(crate) max_bytes: i32,
    pub(crate) committed_only: bool,
    pub(crate) session_id: i32,
    pub(crate) topics: Vec<FetchTopic>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FetchTopic {
    pub(crate) topic: TopicRef,
    pub(crate) partitions: Vec<FetchPartition>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FetchPartition {
    pub(crate) index: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) offset: i64,
    pub(crate) max_bytes: i32,
}

/// The smallest topic: an empty name and an empty array.
const TOPIC_BYTES_MIN: usize = 3;
/// The smallest partition: number, offset, limit.
const PARTITION_BYTES_MIN: usize = 16;

impl FetchRequest {
    pub(crate) fn read(mut reader: WireReader, version: i16) -> Result<Self, WireError> {
        if version <= 14 {
            let _replica_id = reader.i32()?;
        }
        let max_wait_ms = reader.i32()?;
        let min_bytes = reader.i32()?;
        let max_bytes = reader.i32()?;
        let committed_only = reader.i8()? == READ_COMMITTED;
        let session_id = if version >= 7 { reader.i32()? } else { 0 };
        if version >= 7 {
            let _session_epoch = reader.i32()?;
        }
        let by_id = version >= TOPIC_IDS_SINCE;
        let topics = reader.array(TOPIC_BYTES_MIN, |reader| {
            let topic = TopicRef::read(reader, by_id)?;
            let partitions = reader.array(PARTITION_BYTES_MIN, |reader| read_partition(reader, version))?;
            reader.tags()?;
            Ok(FetchTopic { topic, partitions })
        })?;
        if version >= 7 {
            reader.array(TOPIC_BYTES_MIN, |reader| {
                TopicRef::read(reader, by_id)?;
                reader.array(4, WireReader::i32)?;
                reader.tags()
            })?;
        }
        if version >= 11 {
            let _rack = reader.nullable_string()?;
        }
        reader.tags()?;
        Ok(Self { max_wait_ms, min_bytes, max_bytes, committed_only, session_id, topics })
    }
}

fn read_partition(reader: &mut WireReader, version: i16) -> Result<FetchPartition, WireError> {
    let index = reader.i32()?;
    let leader_epoch = if version >= 9 { reader.i32()? } else { NO_LEADER_EPOCH };
    let offset = reader.i64()?;
    if version >= 12 {
        let _last_fetched_epoch = reader.i32()?;
    }
    if version >= 5 {
        let _follower_log_start_offset = reader.i64()?;
    }
    let max_bytes = reader.i32()?;
    reader.tags()?;
    Ok(FetchPartition { index, leader_epoch, offset, max_bytes })
}

/// One partition's part of the answer.
#[derive(Debug)]
pub(crate) struct PartitionAnswer {
    pub(crate) index: i32,
    pub(crate) code: i16,
    pub(crate) bounds: Bounds,
    /// Producer id and first offset of each transaction among the records that was aborted.
    pub(crate) aborted: Vec<(i64, i64)>,
    pub(crate) batches: Vec<Part>,
}

impl PartitionAnswer {
    /// Offsets in an answer that has none.
    pub(crate) const NO_BOUNDS: Bounds =
        Bounds { log_start_offset: -1, last_stable_offset: -1, high_watermark: -1, log_end_offset: -1 };
}

/// What of a request shapes its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) version: i16,
    pub(crate) flexible: bool,
    pub(crate) committed_only: bool,
}

/// Writes the answer's body.
pub(crate) fn write<'a>(
    form: Form,
    code: i16,
    topics: impl ExactSizeIterator<Item = (&'a TopicRef, Vec<PartitionAnswer>)>,
) -> Vec<Part> {
    const NO_PREFERRED_REPLICA: i32 = -1;
    let mut writer = WireWriter::new(form.flexible);
    writer.i32(0);
    if form.version >= 7 {
        writer.i16(code);
        // No incremental sessions: the client goes on with full requests (KIP-227).
        writer.i32(0);
    }
    writer.len(Some(topics.len()));
    for (topic, partitions) in topics {
        topic.write(&mut writer);
        writer.len(Some(partitions.len()));
        for partition in partitions {
            writer.i32(partition.index);
            writer.i16(partition.code);
            writer.i64(partition.bounds.high_watermark);
            writer.i64(partition.bounds.last_stable_offset);
            if form.version >= 5 {
                writer.i64(partition.bounds.log_start_offset);
            }
            // Null unless the consumer skips them itself.
            writer.len(form.committed_only.then_some(partition.aborted.len()));
            for (producer_id, first_offset) in partition.aborted.iter().filter(|_| form.committed_only) {
                writer.i64(*producer_id);
                writer.i64(*first_offset);
                writer.tags();
            }
            if form.version >= 11 {
                writer.i32(NO_PREFERRED_REPLICA);
            }
            writer.bytes(partition.batches);
            writer.tags();
        }
        writer.tags();
    }
    writer.tags();
    writer.finish()
}

#[cfg(test)]
mod tests;
