//! The handle of one log.

use std::path::Path;
use std::sync::Arc;
use std::task::Waker;

use highwater_env::{Clock, Disk, MemoryBudget, Offset, TopicPartition};

use crate::ticket::Durability;
use crate::{AppendError, LogBatch, LogError, LogOptions, ReadError, Ticket};

/// The offsets of a partition: `log_start_offset <= last_stable_offset <= high_watermark <=
/// log_end_offset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset still there.
    pub log_start_offset: Offset,
    /// The first offset of an open transaction, else the high watermark.
    pub last_stable_offset: Offset,
    /// The offset after the last durable record. Nothing at or above it is served.
    pub high_watermark: Offset,
    /// The offset the next record gets.
    pub log_end_offset: Offset,
}

/// What a read found: whole batches, end to end.
#[derive(Clone, Debug)]
pub struct ReadRange {
    /// Batches in order; the first one contains the offset asked for, and may start before it.
    /// Empty at the high watermark.
    pub batches: Vec<LogBatch>,
    /// The partition's bounds at that moment.
    pub bounds: Bounds,
}

impl ReadRange {
    /// The offset to read from next: after the last batch, or `from` if there is none.
    pub fn next_offset(&self, from: Offset) -> Offset {
        self.batches.last().map_or(from, LogBatch::next_offset)
    }
}

/// What opening a directory found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Whether the directory was new.
    pub created: bool,
    /// Whether the last process stopped without closing the log.
    pub unclean: bool,
    /// Partitions found.
    pub partitions: usize,
    /// Batches read back from the write-ahead log.
    pub replayed_batches: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
    /// Bytes of a torn, never acknowledged group that were cut.
    pub torn_bytes: u64,
    /// How long it took.
    pub took_ms: u64,
}

/// Counters since the log was opened; gauges where noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Partitions now.
    pub partitions: usize,
    /// Batches appended.
    pub batches: u64,
    /// Records appended.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Appends recognised as repeated by an idempotent producer.
    pub duplicates: u64,
    /// Groups synced.
    pub groups: u64,
    /// Sum of the time fdatasync took, ns.
    pub sync_ns: u64,
    /// The slowest fdatasync, ns.
    pub sync_ns_max: u64,
    /// Bytes of batches held in memory now.
    pub memory_bytes: u64,
    /// Of those, bytes not yet in segments.
    pub unmaterialised_bytes: u64,
    /// Checkpoints taken.
    pub checkpoints: u64,
    /// Why the log stopped, if it did.
    pub poisoned: Option<String>,
}

/// One log; a cheap handle, shared by clones.
#[derive(Clone)]
pub struct Log {
    durability: Arc<Durability>,
}

impl Log {
    /// Opens a data directory, recovers it, and starts the writer.
    ///
    /// # Errors
    /// If it is locked, of another program or a newer version, or damaged below its durable point.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        options: LogOptions,
        budget: &MemoryBudget,
    ) -> Result<(Self, RecoveryReport), LogError> {
        let _ = (disk, clock, dir, budget);
        options.check()?;
        Err(AppendError::Closed.into())
    }

    /// The cluster id of the data directory: 22 characters, as Kafka's.
    pub fn cluster_id(&self) -> &str {
        ""
    }

    /// Makes an empty partition; nothing if it is there. Durable when it returns.
    ///
    /// # Errors
    /// If the log cannot write.
    pub fn create_partition(&self, tp: TopicPartition) -> Result<(), LogError> {
        Err(LogError::UnknownPartition(tp))
    }

    /// Removes a partition and its records. Durable when it returns.
    ///
    /// # Errors
    /// If there is no such partition or the log cannot write.
    pub fn delete_partition(&self, tp: TopicPartition) -> Result<(), LogError> {
        Err(LogError::UnknownPartition(tp))
    }

    /// All partitions, sorted.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        Vec::new()
    }

    /// Gives the batch its offsets and hands it to the writer. The order of calls is the order in
    /// the partition. A batch that an idempotent producer repeats gets the original's ticket.
    ///
    /// # Errors
    /// See [`AppendError`]; then nothing was appended.
    pub fn append(&self, tp: TopicPartition, batch: LogBatch) -> Result<Ticket, AppendError> {
        let _ = (batch, &self.durability);
        Err(AppendError::UnknownPartition(tp))
    }

    /// Whole batches from the one that contains `from`, at most `bytes_max` bytes, but always
    /// one batch if there is one. Never above the high watermark. May stop early at the end of a
    /// segment.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, tp: TopicPartition, from: Offset, bytes_max: usize) -> Result<ReadRange, ReadError> {
        let _ = (from, bytes_max);
        Err(ReadError::UnknownPartition(tp))
    }

    /// The partition's offsets.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn bounds(&self, tp: TopicPartition) -> Result<Bounds, ReadError> {
        Err(ReadError::UnknownPartition(tp))
    }

    /// The first record at or after `timestamp_ms` (since the Unix epoch) below the high
    /// watermark, in offset order, with its timestamp.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn offset_for_time(
        &self,
        tp: TopicPartition,
        timestamp_ms: i64,
    ) -> Result<Option<(Offset, i64)>, ReadError> {
        let _ = timestamp_ms;
        Err(ReadError::UnknownPartition(tp))
    }

    /// Wakes `waker` once the partition's high watermark is above `offset`; at once if it is, if
    /// the partition does not exist or is deleted, or if the log stops. Register again after
    /// each wake.
    pub fn wake_at(&self, tp: TopicPartition, offset: Offset, waker: &Waker) {
        let _ = (tp, offset, waker);
    }

    /// Sequence of the last record an idempotent producer appended.
    pub fn last_sequence(&self, tp: TopicPartition, producer_id: i64) -> Option<i32> {
        let _ = (tp, producer_id);
        None
    }

    /// Counters and gauges.
    pub fn stats(&self) -> LogStats {
        LogStats::default()
    }

    /// Makes everything accepted durable, writes it to segments with their indexes, and stops the
    /// threads. Clones of the handle answer `Closed` afterwards.
    ///
    /// # Errors
    /// If the last writes fail; what was acknowledged is still recovered by the next open.
    pub fn close(self) -> Result<(), LogError> {
        Ok(())
    }
}
