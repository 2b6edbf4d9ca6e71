//! The handle of one log.

mod threads;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;

use highwater_env::{Clock, Disk, DiskSpace, MemoryBudget, Offset, TopicPartition};

use crate::core::Core;
use crate::ticket::Drive;
use crate::transactions::covers;
use crate::{
    AbortedTransaction, AppendError, FileRange, LogBatch, LogError, LogOptions, OpenTransaction,
    PartitionOptions, ProducerState, ReadError, Ticket,
};
use threads::Threads;

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

impl Bounds {
    /// Where a reader ends: one of committed records only, or of all.
    pub fn readable_end(&self, committed_only: bool) -> Offset {
        if committed_only { self.last_stable_offset } else { self.high_watermark }
    }
}

/// What a read found: whole batches, end to end.
#[derive(Clone, Debug)]
pub struct ReadRange {
    /// Batches in order; the first one contains the offset asked for, and may start before it; where
    /// compaction took that offset away, it is the next one that is there. Empty at the high watermark.
    pub batches: Vec<LogBatch>,
    /// The partition's bounds at that moment.
    pub bounds: Bounds,
    /// Aborted transactions that have records in these batches, perhaps some more.
    pub aborted: Vec<AbortedTransaction>,
}

impl ReadRange {
    /// Whether a batch of this range, all of it below the last stable offset, holds records that
    /// count: it is no marker, and its transaction, if any, was not aborted.
    pub fn is_committed(&self, batch: &LogBatch) -> bool {
        !batch.is_control() && !covers(&self.aborted, batch)
    }

    /// The offset to read from next: after the last batch, or `from` if there is none.
    pub fn next_offset(&self, from: Offset) -> Offset {
        self.batches.last().map_or(from, LogBatch::next_offset)
    }
}

/// What a read for sending found: [`ReadRange`] without a need for the batches themselves.
#[derive(Clone, Debug)]
pub struct StoredRange {
    /// The records.
    pub records: StoredRecords,
    /// The partition's bounds at that moment.
    pub bounds: Bounds,
    /// Aborted transactions that have records among these, perhaps some more.
    pub aborted: Vec<AbortedTransaction>,
}

/// Whole batches in order, or none.
#[derive(Clone, Debug)]
pub enum StoredRecords {
    /// In memory.
    Batches(Vec<LogBatch>),
    /// To be sent from their file.
    File(FileRange),
}

impl StoredRecords {
    /// Bytes of all batches.
    pub fn len(&self) -> usize {
        match self {
            Self::Batches(batches) => batches.iter().map(|batch| batch.bytes().len()).sum(),
            Self::File(range) => range.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The offset to read from next: after the last batch, or `from` if there is none.
    pub fn next_offset(&self, from: Offset) -> Offset {
        match self {
            Self::Batches(batches) => batches.last().map_or(from, LogBatch::next_offset),
            Self::File(range) => range.next_offset(),
        }
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

/// One log; a cheap handle, shared by clones. The last one dropped makes durable what was
/// accepted and stops the threads, without tidying up: prefer [`Log::close`].
#[derive(Clone)]
pub struct Log(Arc<Running>);

struct Running {
    core: Arc<Core>,
    /// None for a log that is stepped, and once it is closed.
    threads: Mutex<Option<Threads>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop_threads();
        self.core.durability.fail(AppendError::Closed);
    }
}

impl Running {
    fn stop_threads(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(threads) = threads {
            self.core.end();
            threads.join();
        }
    }
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
        let (core, report) = Core::open(disk, clock, dir, options, budget)?;
        let core = Arc::new(core);
        let threads = Threads::start(&core).map_err(LogError::io("start threads for", dir))?;
        Ok((Self(Arc::new(Running { core, threads: Mutex::new(Some(threads)) })), report))
    }

    /// Opens a data directory without threads, for simulation: nothing becomes durable but by
    /// [`Log::step`], [`Log::step_segments`], or a wait on a ticket, which steps by itself.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_stepped(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        options: LogOptions,
        budget: &MemoryBudget,
    ) -> Result<(Self, RecoveryReport), LogError> {
        let (core, report) = Core::open(disk, clock, dir, options, budget)?;
        let core = Arc::new(core);
        let driver: Weak<dyn Drive> = Arc::downgrade(&(Arc::clone(&core) as Arc<dyn Drive>));
        let _ = core.durability.driver.set(driver);
        Ok((Self(Arc::new(Running { core, threads: Mutex::new(None) })), report))
    }

    /// Makes the oldest group durable, if one has formed. Whether one had. For logs opened by
    /// [`Log::open_stepped`].
    pub fn step(&self) -> bool {
        let written = self.0.core.write_group();
        self.0.core.write_mark_if_idle();
        written
    }

    /// Writes durable batches to segments, and a checkpoint if asked to. For logs opened by
    /// [`Log::open_stepped`].
    ///
    /// # Errors
    /// If the disk refuses; nothing is lost and it can be tried again.
    pub fn step_segments(&self, checkpoint: bool) -> Result<(), LogError> {
        if checkpoint { self.0.core.checkpoint() } else { self.0.core.materialise() }
    }

    /// Deletes what is beyond its retention and compacts one partition that needs it; whether there
    /// was anything to do. For logs opened by [`Log::open_stepped`].
    ///
    /// # Errors
    /// If the disk refuses; nothing is lost and it can be tried again.
    pub fn step_housekeeping(&self) -> Result<bool, LogError> {
        self.0.core.materialise_due()?;
        self.0.core.seal_overdue()?;
        let deleted = self.0.core.delete_expired();
        self.0.core.forget_cold_indexes();
        Ok(self.0.core.compact_one()? || deleted)
    }

    /// The cluster id of the data directory: 22 characters, as Kafka's.
    pub fn cluster_id(&self) -> &str {
        &self.0.core.cluster_id
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        self.0.core.directory()
    }

    /// The room of the file system that holds the data directory; none if it is not known.
    pub fn disk_space(&self) -> Option<DiskSpace> {
        self.0.core.disk.space(self.directory()).ok().flatten()
    }

    /// Makes an empty partition; nothing if it is there. Durable when it returns.
    ///
    /// # Errors
    /// If the log cannot write.
    pub fn create_partition(&self, tp: TopicPartition) -> Result<(), LogError> {
        Ok(self.0.core.submit_create(tp)?.wait()?)
    }

    /// Makes several empty partitions; those that are there are left alone. Durable when it returns.
    ///
    /// # Errors
    /// If the log cannot write.
    pub fn create_partitions(&self, tps: &[TopicPartition]) -> Result<(), LogError> {
        let tickets: Result<Vec<_>, _> = tps.iter().map(|tp| self.0.core.submit_create(*tp)).collect();
        Ok(tickets?.into_iter().try_for_each(Ticket::wait)?)
    }

    /// Removes several partitions and their records. Durable when it returns.
    ///
    /// # Errors
    /// If one of them does not exist (those before it are removed), or the log cannot write.
    pub fn delete_partitions(&self, tps: &[TopicPartition]) -> Result<(), LogError> {
        let tickets: Result<Vec<_>, _> = tps.iter().map(|tp| self.0.core.submit_delete(*tp)).collect();
        Ok(tickets?.into_iter().try_for_each(Ticket::wait)?)
    }

    /// Says how a partition keeps its records from now on. Not remembered over restarts: whoever
    /// knows the topic's settings says so again.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn configure(&self, tp: TopicPartition, options: PartitionOptions) -> Result<(), LogError> {
        self.0.core.configure(tp, options)
    }

    /// Deletes the records below `log_start_offset`; the ticket says when that is durable. Nothing
    /// happens if they are deleted already.
    ///
    /// # Errors
    /// If the offset is negative or above the high watermark, or there is no such partition.
    pub fn trim(&self, tp: TopicPartition, log_start_offset: Offset) -> Result<Ticket, AppendError> {
        self.0.core.submit_trim(tp, log_start_offset)
    }

    /// Removes a partition and its records. Durable when it returns.
    ///
    /// # Errors
    /// If there is no such partition or the log cannot write.
    pub fn delete_partition(&self, tp: TopicPartition) -> Result<(), LogError> {
        Ok(self.0.core.submit_delete(tp)?.wait()?)
    }

    /// All partitions, sorted.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.0.core.partitions()
    }

    /// Gives a producer's batch its offsets and hands it to the writer. The order of calls is the
    /// order in the partition. A batch that an idempotent producer repeats gets the original's ticket.
    ///
    /// # Errors
    /// See [`AppendError`]; then nothing was appended.
    pub fn append(&self, tp: TopicPartition, batch: LogBatch) -> Result<Ticket, AppendError> {
        self.0.core.append(tp, batch)
    }

    /// Appends several batches, all or nothing, also over a crash: how a coordinator ends a
    /// transaction. They may be markers, and batches without sequence written for a producer.
    /// One ticket each, in order.
    ///
    /// # Errors
    /// See [`AppendError`]; `TooLarge` if together they exceed `group_bytes_max`. Then nothing was
    /// appended.
    pub fn append_all(&self, batches: Vec<(TopicPartition, LogBatch)>) -> Result<Vec<Ticket>, AppendError> {
        self.0.core.append_all(batches)
    }

    /// The producers that a partition remembers, by id.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn producers(&self, tp: TopicPartition) -> Result<Vec<ProducerState>, ReadError> {
        self.0.core.producers(tp)
    }

    /// Transactions without a marker in any partition.
    pub fn open_transactions(&self) -> Vec<OpenTransaction> {
        self.0.core.open_transactions()
    }

    /// Bytes of a partition's records.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn partition_bytes(&self, tp: TopicPartition) -> Result<u64, ReadError> {
        self.0.core.partition_bytes(tp)
    }

    /// Whole batches from the one that contains `from`, at most `bytes_max` bytes, but always
    /// one batch if there is one. Never above the high watermark. May stop early at the end of a
    /// segment.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, tp: TopicPartition, from: Offset, bytes_max: usize) -> Result<ReadRange, ReadError> {
        self.0.core.read(tp, from, bytes_max)
    }

    /// As [`Log::read`], for sending: what lies in a segment, and was checked before by this process, is not
    /// read. With `committed_only` no batch at or above the last stable offset.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_stored(
        &self,
        tp: TopicPartition,
        from: Offset,
        bytes_max: usize,
        committed_only: bool,
    ) -> Result<StoredRange, ReadError> {
        self.0.core.read_stored(tp, from, bytes_max, committed_only)
    }

    /// As [`Log::read_stored`], without waiting for the disk: none if that would be needed.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_in_memory(
        &self,
        tp: TopicPartition,
        from: Offset,
        bytes_max: usize,
        committed_only: bool,
    ) -> Result<Option<StoredRange>, ReadError> {
        self.0.core.read_in_memory(tp, from, bytes_max, committed_only)
    }

    /// The partition's offsets.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn bounds(&self, tp: TopicPartition) -> Result<Bounds, ReadError> {
        self.0.core.bounds(tp)
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
        self.0.core.offset_for_time(tp, timestamp_ms)
    }

    /// The first record with the latest timestamp (ms since the Unix epoch) below the high
    /// watermark, with that timestamp (KIP-734).
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn offset_of_latest(&self, tp: TopicPartition) -> Result<Option<(Offset, i64)>, ReadError> {
        match self.0.core.latest_timestamp(tp)? {
            Some(latest) => self.0.core.offset_for_time(tp, latest),
            None => Ok(None),
        }
    }

    /// Wakes `waker` once the partition's high watermark is above `offset`; at once if it is, if
    /// the partition does not exist or is deleted, or if the log stops. Register again after
    /// each wake.
    pub fn wake_at(&self, tp: TopicPartition, offset: Offset, waker: &Waker) {
        self.0.core.wake_at(tp, offset, waker);
    }

    /// Sequence of the last record an idempotent producer appended.
    pub fn last_sequence(&self, tp: TopicPartition, producer_id: i64) -> Option<i32> {
        self.0.core.last_sequence(tp, producer_id)
    }

    /// Counters and gauges.
    pub fn stats(&self) -> LogStats {
        self.0.core.stats()
    }

    /// Makes everything accepted durable, writes it to segments with their indexes, stops the
    /// threads and unlocks the directory. Clones of the handle answer `Closed` to appends.
    ///
    /// # Errors
    /// If it was closed or stopped before, or the last writes fail; what was acknowledged is
    /// still recovered by the next open.
    pub fn close(self) -> Result<(), LogError> {
        let refused = self.0.core.refuse_more();
        self.0.stop_threads();
        let done = refused.and_then(|()| {
            while self.0.core.write_group() {}
            self.0.core.settle()?;
            self.0.core.seal_wal()
        });
        self.0.core.durability.fail(AppendError::Closed);
        self.0.core.unlock_directory();
        done
    }
}
