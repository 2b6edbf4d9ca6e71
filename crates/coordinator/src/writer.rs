//! Writing records by topic name: how every ingest protocol but Kafka's reaches the log.

mod murmur2;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use highwater_env::Clock;
use highwater_log::{AppendError, BatchBuilder, Log, Ticket};

use crate::{Topic, TopicError, Topics};

/// A batch is closed once it has grown to this many bytes.
const BATCH_BYTES_TARGET: usize = 1 << 20;

/// A record before it has an offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Decides the partition, if present.
    pub key: Option<Bytes>,
    /// The payload.
    pub value: Option<Bytes>,
    /// Names (UTF-8) and values.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// ms since the Unix epoch, UTC; now if absent.
    pub timestamp_ms: Option<i64>,
}

/// One batch of a write.
#[derive(Debug)]
pub struct Written {
    /// The partition it went to.
    pub partition: i32,
    /// Resolves when it is durable; holds its offsets.
    pub ticket: Ticket,
    /// For each record of the batch its index in the write's input: record `i` got the offset
    /// `ticket.base_offset + i`.
    pub record_indexes: Vec<u32>,
}

/// A write was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The topic is unknown or cannot be made.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Compaction keeps the last record of each key: one without a key would be lost.
    #[error("topic {0} is compacted and takes no records without a key")]
    KeyWanted(String),
    /// The log refused a batch.
    #[error("{error}")]
    Append {
        /// Why.
        #[source]
        error: AppendError,
        /// The batches that were appended before it.
        written: Vec<Written>,
    },
}

/// Writes records to topics, wherever these live.
pub trait TopicWriter: Send + Sync {
    /// Distributes records over the topic's partitions, in input order within each: by the key's
    /// murmur2 hash as Kafka's Java client does, records without a key all to one partition
    /// that changes from call to call. Returns one entry per batch; nothing is durable until its
    /// ticket says so. No records, no batches.
    ///
    /// # Errors
    /// If the topic is unknown and may not be made, or the log refuses a batch.
    fn write(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Written>, WriteError>;
}

/// Writes to the node's own log.
pub struct LogTopicWriter {
    log: Log,
    topics: Topics,
    clock: Arc<dyn Clock>,
    calls: AtomicU64,
}

impl LogTopicWriter {
    /// A writer to `log`, whose topics are `topics`.
    pub fn new(log: Log, topics: Topics, clock: Arc<dyn Clock>) -> Self {
        Self { log, topics, clock, calls: AtomicU64::new(0) }
    }

    fn append(&self, topic: &Topic, partition: i32, open: OpenBatch) -> Result<Written, AppendError> {
        let kept = topic.config.kept(open.builder.finish(), self.clock.unix_ms());
        let (batch, _) =
            kept.map_err(|_| AppendError::Refused("records do not compress as the topic asks"))?;
        let ticket = self.log.append(topic.partition(partition), batch)?;
        Ok(Written { partition, ticket, record_indexes: open.record_indexes })
    }
}

struct OpenBatch {
    builder: BatchBuilder,
    record_indexes: Vec<u32>,
}

impl TopicWriter for LogTopicWriter {
    fn write(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Written>, WriteError> {
        let topic = self.topics.ensure(topic)?;
        if topic.config.partition.compact && records.iter().any(|record| record.key.is_none()) {
            return Err(WriteError::KeyWanted(topic.name.to_string()));
        }
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let keyless = i32::try_from(call % u64::from(topic.partitions.unsigned_abs())).unwrap_or(0);
        let now_ms = self.clock.unix_ms();
        let mut written = Vec::new();
        let mut open: BTreeMap<i32, OpenBatch> = BTreeMap::new();
        for (index, record) in (0_u32..).zip(&records) {
            let key = record.key.as_deref();
            let partition = key.map_or(keyless, |key| partition_for_key(key, topic.partitions));
            let timestamp_ms = record.timestamp_ms.unwrap_or(now_ms);
            let batch = open.entry(partition).or_insert_with(|| OpenBatch {
                builder: BatchBuilder::new(timestamp_ms),
                record_indexes: Vec::new(),
            });
            batch.builder.push(timestamp_ms, key, record.value.as_deref(), &record.headers);
            batch.record_indexes.push(index);
            if batch.builder.bytes() >= BATCH_BYTES_TARGET
                && let Some(full) = open.remove(&partition)
            {
                match self.append(&topic, partition, full) {
                    Ok(batch) => written.push(batch),
                    Err(error) => return Err(WriteError::Append { error, written }),
                }
            }
        }
        for (partition, batch) in open {
            match self.append(&topic, partition, batch) {
                Ok(batch) => written.push(batch),
                Err(error) => return Err(WriteError::Append { error, written }),
            }
        }
        Ok(written)
    }
}

/// The partition, `0..partitions`, of a key: as Kafka's Java client chooses it.
///
/// # Panics
/// If `partitions` is below 1.
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    assert!(partitions >= 1, "{partitions} partitions, expected at least 1");
    (murmur2::hash(key) & i32::MAX) % partitions
}
