//! Produce on the wire, versions 3 to 13. Records are slices of the frame, never copied.
//!
//! ```text
//! request:  transactional id (nullable) | acks i16 | timeout ms i32
//!           | [topic: name (..12) or id (13..) | [partition i32 | records (nullable)]]
//! response: [topic: name or id | [partition i32 | error i16 | base offset i64 | log append time i64
//!           | log start offset i64 (5..) | [record errors] (8..) | error message (8..)]] | throttle ms i32
//! ```

use bytes::Bytes;

use crate::api::TopicRef;
use crate::response::Part;
use crate::wire::{WireError, WireReader, WireWriter};

/// The first version that names topics by id (KIP-516).
const TOPIC_IDS_SINCE: i16 = 13;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProduceRequest {
    pub(crate) transactional_id: Option<String>,
    pub(crate) acks: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) topics: Vec<ProduceTopic>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProduceTopic {
    pub(crate) topic: TopicRef,
    pub(crate) partitions: Vec<ProducePartition>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProducePartition {
    pub(crate) index: i32,
    pub(crate) records: Option<Bytes>,
}

/// The smallest topic: an empty name and an empty array.
const TOPIC_BYTES_MIN: usize = 3;
/// The smallest partition: its number and null records.
const PARTITION_BYTES_MIN: usize = 5;

impl ProduceRequest {
    pub(crate) fn read(mut reader: WireReader, version: i16) -> Result<Self, WireError> {
        let transactional_id = reader.nullable_string()?.map(|id| id.to_string());
        let acks = reader.i16()?;
        let timeout_ms = reader.i32()?;
        let topics = reader.array(TOPIC_BYTES_MIN, |reader| {
            let topic = TopicRef::read(reader, version >= TOPIC_IDS_SINCE)?;
            let partitions = reader.array(PARTITION_BYTES_MIN, |reader| {
                let partition = ProducePartition { index: reader.i32()?, records: reader.nullable_bytes()? };
                reader.tags()?;
                Ok(partition)
            })?;
            reader.tags()?;
            Ok(ProduceTopic { topic, partitions })
        })?;
        reader.tags()?;
        Ok(Self { transactional_id, acks, timeout_ms, topics })
    }
}

/// One partition's part of the answer.
#[derive(Debug)]
pub(crate) struct PartitionAnswer<'a> {
    pub(crate) index: i32,
    pub(crate) code: i16,
    /// Offset of the first record, -1 after an error.
    pub(crate) base_offset: i64,
    /// The records' timestamp, ms since the Unix epoch, if the topic's are the append's.
    pub(crate) append_time_ms: Option<i64>,
    pub(crate) log_start_offset: i64,
    /// The records at fault, by their index in the batch.
    pub(crate) bad_records: &'a [i32],
    pub(crate) message: Option<&'a str>,
}

/// Writes the answer's body.
pub(crate) fn write<'a>(
    version: i16,
    flexible: bool,
    topics: impl ExactSizeIterator<Item = (&'a TopicRef, Vec<PartitionAnswer<'a>>)>,
) -> Vec<Part> {
    const NO_APPEND_TIME: i64 = -1;
    let mut writer = WireWriter::new(flexible);
    writer.len(Some(topics.len()));
    for (topic, partitions) in topics {
        topic.write(&mut writer);
        writer.len(Some(partitions.len()));
        for partition in partitions {
            writer.i32(partition.index);
            writer.i16(partition.code);
            writer.i64(partition.base_offset);
            writer.i64(partition.append_time_ms.unwrap_or(NO_APPEND_TIME));
            if version >= 5 {
                writer.i64(partition.log_start_offset);
            }
            if version >= 8 {
                writer.len(Some(partition.bad_records.len()));
                for index in partition.bad_records {
                    writer.i32(*index);
                    writer.nullable_string(partition.message);
                    writer.tags();
                }
                writer.nullable_string(partition.message);
            }
            writer.tags();
        }
        writer.tags();
    }
    writer.i32(0);
    writer.tags();
    writer.finish()
}

#[cfg(test)]
mod tests;
