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

use crate::admission::{HEADER_BYTES_EXTRA, RECORD_BYTES_EXTRA};
use crate::{Topic, TopicError, Topics, Unfit};

/// A batch of several records grows to no more bytes than this.
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

impl NewRecord {
    /// Bytes it takes at most in a batch.
    fn bytes_max(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let header = |(name, value): &(Bytes, Option<Bytes>)| name.len() + len(value) + HEADER_BYTES_EXTRA;
        let headers: usize = self.headers.iter().map(header).sum();
        len(&self.key) + len(&self.value) + headers + RECORD_BYTES_EXTRA
    }
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

/// What became of a write's records.
#[derive(Debug, Default)]
pub struct WriteOutcome {
    /// The batches that were appended.
    pub written: Vec<Written>,
    /// Records that the topic does not take, by their index in the write's input.
    pub refused: Vec<(u32, Unfit)>,
}

/// A write was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The topic is unknown or cannot be made.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The log refused a batch.
    #[error("{error}")]
    Append {
        /// Why.
        #[source]
        error: AppendError,
        /// What became of the records before it.
        before: WriteOutcome,
    },
}

/// Writes records to topics, wherever these live.
pub trait TopicWriter: Send + Sync {
    /// Distributes records over the topic's partitions, in input order within each: by the key's
    /// murmur2 hash as Kafka's Java client does, records without a key all to one partition
    /// that changes from call to call. Nothing is durable until its ticket says so. A record that
    /// breaks a rule of the topic is refused and the others are written. No records, no batches.
    ///
    /// # Errors
    /// If the topic is unknown and may not be made, or the log refuses a batch.
    fn write(&self, topic: &str, records: Vec<NewRecord>) -> Result<WriteOutcome, WriteError>;
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
}

impl TopicWriter for LogTopicWriter {
    fn write(&self, topic: &str, records: Vec<NewRecord>) -> Result<WriteOutcome, WriteError> {
        let topic = self.topics.ensure(topic)?;
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let keyless = i32::try_from(call % u64::from(topic.partitions.unsigned_abs())).unwrap_or(0);
        let now_ms = self.clock.unix_ms();
        let mut write = Write::new(&self.log, &topic, now_ms);
        let written = (0_u32..).zip(&records).try_for_each(|(index, record)| {
            let partition =
                record.key.as_deref().map_or(keyless, |key| partition_for_key(key, topic.partitions));
            write.push(partition, index, record)
        });
        match written.and_then(|()| write.finish()) {
            Ok(()) => Ok(write.outcome),
            Err(error) => Err(WriteError::Append { error, before: write.outcome }),
        }
    }
}

/// One write under way.
struct Write<'a> {
    log: &'a Log,
    topic: &'a Topic,
    now_ms: i64,
    bytes_target: usize,
    open: BTreeMap<i32, OpenBatch>,
    outcome: WriteOutcome,
}

struct OpenBatch {
    builder: BatchBuilder,
    record_indexes: Vec<u32>,
}

impl<'a> Write<'a> {
    fn new(log: &'a Log, topic: &'a Topic, now_ms: i64) -> Self {
        let bytes_target = topic.batch_bytes_target().min(BATCH_BYTES_TARGET);
        Self { log, topic, now_ms, bytes_target, open: BTreeMap::new(), outcome: WriteOutcome::default() }
    }

    fn push(&mut self, partition: i32, index: u32, record: &NewRecord) -> Result<(), AppendError> {
        // Found here, so that the records around it are written.
        if self.topic.config.partition.compact && record.key.is_none() {
            self.outcome.refused.push((index, Unfit::KeyWanted { records: vec![0] }));
            return Ok(());
        }
        let is_full = |open: &OpenBatch| open.builder.bytes() + record.bytes_max() > self.bytes_target;
        if self.open.get(&partition).is_some_and(is_full)
            && let Some(full) = self.open.remove(&partition)
        {
            self.append(partition, full)?;
        }
        let timestamp_ms = record.timestamp_ms.unwrap_or(self.now_ms);
        let open = self.open.entry(partition).or_insert_with(|| OpenBatch {
            builder: BatchBuilder::new(timestamp_ms),
            record_indexes: Vec::new(),
        });
        open.builder.push(timestamp_ms, record.key.as_deref(), record.value.as_deref(), &record.headers);
        open.record_indexes.push(index);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), AppendError> {
        let open = std::mem::take(&mut self.open);
        open.into_iter().try_for_each(|(partition, open)| self.append(partition, open))
    }

    fn append(&mut self, partition: i32, open: OpenBatch) -> Result<(), AppendError> {
        let record_indexes = open.record_indexes;
        match self.topic.admit(open.builder.finish(), self.now_ms) {
            Ok(admitted) => {
                let ticket = self.log.append(self.topic.partition(partition), admitted.batch)?;
                self.outcome.written.push(Written { partition, ticket, record_indexes });
            }
            Err(unfit) => {
                let refused = record_indexes.into_iter().map(|index| (index, unfit.clone()));
                self.outcome.refused.extend(refused);
            }
        }
        Ok(())
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
