//! The log without threads: every step is a function, so that a simulation can call them in any
//! order and a thread can call them in a loop.
//!
//! ```text
//! append      partition gets offsets, frame joins the forming group     state lock, no I/O
//! write_group the oldest forming group is written and synced            wal lock
//! publish     high watermarks rise, tickets resolve, readers wake       state lock
//! materialise durable batches go to segments                            segments lock
//! checkpoint  segments are synced, the checkpoint says so               segments lock
//! delete      partitions are trimmed to their retention                 state lock, no I/O
//! compact     segments are rewritten beside, then swapped               segments lock for the swap
//! ```
//! Lock order: segments, wal, state; a checkpoint forced by a full write-ahead log is taken
//! before the wal lock.

mod commit;
mod compact;
mod materialise;
mod memory;
mod open;
mod reading;
mod retention;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use highwater_env::{Clock, Disk, DiskLock, MemoryBudget, Offset, Reservation, TopicPartition};

use crate::batch::{NO_SEQUENCE, Unshared};
use crate::directory::Layout;
use crate::partition::{Partition, TailBatch};
use crate::producers::Verdict;
use crate::segment::Segment;
use crate::ticket::{Drive, Durability};
use crate::wal::{Change, Effect, FRAME_BYTES, WalWriter};
use crate::{AppendError, LogBatch, LogError, LogOptions, LogStats, PartitionOptions, Ticket};

pub(crate) struct Core {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: LogOptions,
    pub(crate) cluster_id: String,
    layout: Layout,
    budget: MemoryBudget,
    pub(crate) durability: Arc<Durability>,
    state: Mutex<State>,
    /// Signalled when a group forms and when the log is to stop.
    writer_wanted: Condvar,
    /// Signalled when segments should be written and when the log is to stop.
    segments_wanted: Condvar,
    wal: Mutex<WalWriter>,
    segments: Mutex<SegmentsAtWork>,
    lock: Mutex<Option<Box<dyn DiskLock>>>,
}

/// What only the holder of the segments lock touches.
#[derive(Default)]
struct SegmentsAtWork {
    /// Written to since the last checkpoint.
    dirty: Vec<Arc<Segment>>,
    /// Directories with new names since the last checkpoint.
    dirty_dirs: Vec<TopicPartition>,
    /// Segments that compaction replaced, whose files go with the next checkpoint.
    doomed: Vec<Arc<Segment>>,
    /// Segments below the log start offset, whose files go with the next checkpoint; before it if the
    /// disk is full.
    trimmed: Vec<Arc<Segment>>,
    /// Segments that compaction made, whose files get their names with the next checkpoint.
    renames: Vec<Arc<Segment>>,
    /// Whether recovery is over, so that data may be read to write an index.
    is_open: bool,
}

/// How many may wait for one partition. Beyond it all are woken: who still wants to waits again, who
/// has gone is forgotten.
const WAITERS_MAX: usize = 1024;

/// The group to wait for where there is nothing to wait for.
const DURABLE: u64 = 0;

/// Payload of a trim: the offset.
const TRIM_BYTES: usize = 8;

/// Everything that changes with an append.
#[derive(Default)]
pub(crate) struct State {
    partitions: HashMap<TopicPartition, Partition>,
    /// Groups not yet taken by the writer, oldest first.
    forming: VecDeque<Group>,
    /// Number of the next group: what tickets wait for.
    next_group: u64,
    /// Last write-ahead sequence that is durable.
    wal_durable: u64,
    /// Write-ahead groups up to this one are in segments.
    checkpointed: u64,
    /// Whether a write-ahead file waits to be covered.
    checkpoint_wanted: bool,
    /// Why the log takes nothing more, if so.
    stopped: Option<AppendError>,
    /// Set by close and drop: threads end once nothing is forming.
    pub(crate) ending: bool,
    /// Batches in memory in the order of their appends: what to evict first. Among them some that
    /// have left memory by deletion or compaction.
    cached: VecDeque<(TopicPartition, Offset)>,
    /// How many of `cached` have left memory otherwise than by [`State::evict`], at most.
    stale: usize,
    memory_bytes: u64,
    unmaterialised_bytes: u64,
    /// Deleted partitions whose directories the next checkpoint removes.
    removed: Vec<TopicPartition>,
    /// All partitions deleted since the log was opened.
    deleted: HashSet<TopicPartition>,
    /// The last group that is durable, as tickets count.
    published: u64,
    /// Bytes of the group being written.
    writing_bytes: u64,
    /// Whether the last group was refused for want of space.
    disk_full: bool,
    stats: LogStats,
}

/// What one sync covers.
pub(crate) struct Group {
    number: u64,
    effect: Effect,
    frames: Vec<Frame>,
    bytes: usize,
}

/// One change on its way to the write-ahead log.
pub(crate) struct Frame {
    pub(crate) tp: TopicPartition,
    pub(crate) change: Change,
    pub(crate) payload: Bytes,
}

impl Frame {
    fn new(tp: TopicPartition, change: Change) -> Self {
        Self { tp, payload: change.payload(), change }
    }

    pub(crate) fn wal_bytes(&self) -> usize {
        FRAME_BYTES + self.payload.len()
    }
}

impl Core {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticket(&self, base_offset: Offset, last_offset: Offset, group: u64) -> Ticket {
        Ticket { base_offset, last_offset, sequence: group, durability: Arc::clone(&self.durability) }
    }

    pub(crate) fn append(&self, tp: TopicPartition, batch: LogBatch) -> Result<Ticket, AppendError> {
        if batch.is_control() || (batch.producer_id() >= 0 && batch.base_sequence() == NO_SEQUENCE) {
            return Err(AppendError::Refused("only coordinators write markers and unnumbered batches"));
        }
        let bytes = self.check_size(&batch)?;
        let reservation = self.reserve(bytes as u64)?;
        let producer = batch.producer();
        // Copying, if needed, happens before the lock.
        let unshared = batch.into_unshared();
        let mut state = self.state();
        state.check_open()?;
        let group = state.forming_group(Effect::Grows, bytes + FRAME_BYTES, self.options.group_bytes_max);
        if let Verdict::Repeated(sent) = state.writable(tp)?.producers.check(&producer)? {
            state.stats.duplicates += 1;
            return Ok(self.ticket(sent.base_offset, sent.last_offset, state.awaited(sent.group)));
        }
        let (base_offset, last_offset) = state.submit_batch(group, tp, unshared, reservation)?;
        drop(state);
        self.writer_wanted.notify_one();
        Ok(self.ticket(base_offset, last_offset, group))
    }

    /// Appends all or nothing, whatever happens: they share a group.
    pub(crate) fn append_all(
        &self,
        batches: Vec<(TopicPartition, LogBatch)>,
    ) -> Result<Vec<Ticket>, AppendError> {
        let mut bytes = 0;
        let mut ready = Vec::with_capacity(batches.len());
        for (tp, batch) in batches {
            let len = self.check_size(&batch)?;
            bytes += len + FRAME_BYTES;
            let reservation = self.reserve(len as u64)?;
            ready.push((tp, batch.producer(), batch.into_unshared(), reservation));
        }
        let bytes_max = self.options.group_bytes_max;
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        let mut state = self.state();
        state.check_open()?;
        for (tp, producer, ..) in &ready {
            // A numbered batch that repeats another has no place among others.
            if state.writable(*tp)?.producers.check(producer)? != Verdict::Append {
                return Err(AppendError::Refused("a repeated batch among batches appended together"));
            }
        }
        let group = state.forming_group(Effect::Grows, bytes, bytes_max);
        let mut tickets = Vec::with_capacity(ready.len());
        for (tp, _, unshared, reservation) in ready {
            let (base_offset, last_offset) = state.submit_batch(group, tp, unshared, reservation)?;
            tickets.push(self.ticket(base_offset, last_offset, group));
        }
        drop(state);
        self.writer_wanted.notify_one();
        Ok(tickets)
    }

    fn check_size(&self, batch: &LogBatch) -> Result<usize, AppendError> {
        let (bytes, bytes_max) = (batch.bytes().len(), self.options.batch_bytes_max);
        if bytes > bytes_max { Err(AppendError::TooLarge { bytes, bytes_max }) } else { Ok(bytes) }
    }

    /// Makes a partition; the ticket says when it is durable.
    pub(crate) fn submit_create(&self, tp: TopicPartition) -> Result<Ticket, AppendError> {
        let mut state = self.state();
        state.check_open()?;
        if let Some(partition) = state.partitions.get(&tp) {
            return match partition.deleting {
                true => Err(AppendError::UnknownPartition(tp)),
                false => Ok(self.ticket(0, -1, state.awaited(partition.created_in))),
            };
        }
        if state.deleted.contains(&tp) {
            return Err(AppendError::Refused("a deleted partition is not made again"));
        }
        let group = state.forming_group(Effect::Grows, FRAME_BYTES, self.options.group_bytes_max);
        let options = PartitionOptions::default().checked(&self.options);
        state.partitions.insert(tp, Partition { created_in: group, options, ..Partition::default() });
        state.submit(group, Frame::new(tp, Change::Create));
        self.writer_wanted.notify_one();
        Ok(self.ticket(0, -1, group))
    }

    /// Removes a partition; the ticket says when that is durable.
    pub(crate) fn submit_delete(&self, tp: TopicPartition) -> Result<Ticket, AppendError> {
        let mut state = self.state();
        state.check_open()?;
        let group = state.forming_group(Effect::Frees, FRAME_BYTES, self.options.group_bytes_max);
        state.writable(tp)?.deleting = true;
        state.submit(group, Frame::new(tp, Change::Delete));
        self.writer_wanted.notify_one();
        Ok(self.ticket(0, -1, group))
    }

    /// Deletes records below `offset`; the ticket says when that is durable.
    pub(crate) fn submit_trim(&self, tp: TopicPartition, offset: Offset) -> Result<Ticket, AppendError> {
        let mut state = self.state();
        state.check_open()?;
        let bounds = state.writable(tp)?.bounds();
        if !(0..=bounds.high_watermark).contains(&offset) {
            return Err(AppendError::OffsetOutOfRange { offset, bounds });
        }
        if offset <= bounds.log_start_offset {
            return Ok(self.ticket(bounds.log_start_offset, bounds.log_start_offset, DURABLE));
        }
        let bytes = FRAME_BYTES + TRIM_BYTES;
        let group = state.forming_group(Effect::Frees, bytes, self.options.group_bytes_max);
        state.submit(group, Frame::new(tp, Change::Trim(offset)));
        self.writer_wanted.notify_one();
        Ok(self.ticket(offset, offset, group))
    }

    pub(crate) fn configure(&self, tp: TopicPartition, options: PartitionOptions) -> Result<(), LogError> {
        let options = options.checked(&self.options);
        let mut state = self.state();
        let partition = state.partitions.get_mut(&tp).ok_or(LogError::UnknownPartition(tp))?;
        partition.options = options;
        Ok(())
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.layout.root
    }

    pub(crate) fn wake_at(&self, tp: TopicPartition, offset: Offset, waker: &Waker) {
        let mut state = self.state();
        let stopped = state.stopped.is_some();
        let waiting = state.partitions.get_mut(&tp).filter(|p| !stopped && p.high_watermark <= offset);
        let Some(partition) = waiting else {
            drop(state);
            return waker.wake_by_ref();
        };
        if let Some(known) = partition.waiters.iter_mut().find(|(_, known)| known.will_wake(waker)) {
            known.0 = known.0.min(offset);
            return;
        }
        let crowd = match partition.waiters.len() < WAITERS_MAX {
            true => Vec::new(),
            false => std::mem::take(&mut partition.waiters),
        };
        partition.waiters.push((offset, waker.clone()));
        drop(state);
        crowd.into_iter().for_each(|(_, waker)| waker.wake());
    }

    pub(crate) fn last_sequence(&self, tp: TopicPartition, producer_id: i64) -> Option<i32> {
        self.state().partitions.get(&tp)?.producers.last_sequence(producer_id)
    }

    pub(crate) fn partitions(&self) -> Vec<TopicPartition> {
        let state = self.state();
        let alive = state.partitions.iter().filter(|(_, partition)| !partition.deleting);
        let mut all: Vec<_> = alive.map(|(tp, _)| *tp).collect();
        all.sort();
        all
    }

    pub(crate) fn stats(&self) -> LogStats {
        let state = self.state();
        let poisoned = match &state.stopped {
            Some(AppendError::Poisoned(why)) => Some(why.to_string()),
            _ => None,
        };
        LogStats {
            partitions: state.partitions.len(),
            memory_bytes: state.memory_bytes,
            unmaterialised_bytes: state.unmaterialised_bytes,
            poisoned,
            ..state.stats.clone()
        }
    }

    /// Refuses appends from now on; what was accepted is still written.
    pub(crate) fn refuse_more(&self) -> Result<(), LogError> {
        let mut state = self.state();
        state.check_open()?;
        state.stopped = Some(AppendError::Closed);
        let wakers: Vec<Waker> = state.all_waiters();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Tells the threads to end once what was accepted is written.
    pub(crate) fn end(&self) {
        self.state().ending = true;
        self.writer_wanted.notify_all();
        self.segments_wanted.notify_all();
    }

    /// Blocks until a group forms (true) or `patience` is over (false); none once the log ends and no
    /// group is left.
    pub(crate) fn wait_for_group(&self, patience: Option<Duration>) -> Option<bool> {
        let idle = |state: &mut State| state.forming.is_empty() && !state.ending;
        let mut state = self.state();
        if let Some(patience) = patience {
            let waited = self.writer_wanted.wait_timeout_while(state, patience, idle);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if idle(&mut state) {
                return Some(false);
            }
        } else {
            state = self.writer_wanted.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        }
        (!state.forming.is_empty()).then_some(true)
    }

    /// Blocks until segments should be written, `Some(true)` with a checkpoint; at least for
    /// `pause` if given. `None` once the log ends.
    pub(crate) fn wait_for_segments(&self, pause: Option<Duration>) -> Option<bool> {
        let mut state = self.state();
        if let Some(pause) = pause {
            let ending = self.segments_wanted.wait_timeout_while(state, pause, |state| !state.ending);
            state = ending.unwrap_or_else(PoisonError::into_inner).0;
        }
        let limit = self.options.materialise_bytes;
        let idle = |state: &mut State| {
            let wanted = state.checkpoint_wanted || state.materialisable_bytes() >= limit;
            !state.ending && (state.is_poisoned() || !wanted)
        };
        let state = self.segments_wanted.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        (!state.ending).then_some(state.checkpoint_wanted)
    }

    /// Blocks for `pause`; false once the log ends.
    pub(crate) fn wait_to_tidy(&self, pause: Duration) -> bool {
        let waited = self.segments_wanted.wait_timeout_while(self.state(), pause, |state| !state.ending);
        !waited.unwrap_or_else(PoisonError::into_inner).0.ending
    }

    pub(crate) fn unlock_directory(&self) {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// A log without threads makes progress when somebody waits.
impl Drive for Core {
    fn drive(&self) {
        self.write_group();
    }
}

impl State {
    fn check_open(&self) -> Result<(), AppendError> {
        self.stopped.clone().map_or(Ok(()), Err)
    }

    /// Whether a write or sync has failed: what it left on disk is unknown.
    fn is_poisoned(&self) -> bool {
        matches!(self.stopped, Some(AppendError::Poisoned(_)))
    }

    /// The group to wait for until what was appended with `group`, and not given up since, is durable.
    fn awaited(&self, group: u64) -> u64 {
        if group <= self.published { DURABLE } else { group }
    }

    /// Bytes that wait for segments and are not still waiting for their own sync.
    fn materialisable_bytes(&self) -> u64 {
        let forming: usize = self.forming.iter().map(|group| group.bytes).sum();
        self.unmaterialised_bytes.saturating_sub(forming as u64 + self.writing_bytes)
    }

    /// A partition that takes changes.
    fn writable(&mut self, tp: TopicPartition) -> Result<&mut Partition, AppendError> {
        let partition = self.partitions.get_mut(&tp).filter(|partition| !partition.deleting);
        partition.ok_or(AppendError::UnknownPartition(tp))
    }

    /// Gives a checked batch its offsets, first and last, and adds it to `group`.
    fn submit_batch(
        &mut self,
        group: u64,
        tp: TopicPartition,
        batch: Unshared,
        reservation: Reservation,
    ) -> Result<(Offset, Offset), AppendError> {
        let partition = self.writable(tp)?;
        let batch = batch.at(partition.log_end_offset);
        partition.producers.apply(&batch, group);
        let (base_offset, last_offset) = (batch.base_offset(), batch.last_offset());
        partition.log_end_offset = batch.next_offset();
        partition.tail.push_back(TailBatch { batch: batch.clone(), _reservation: Some(reservation) });
        let bytes = batch.bytes().len() as u64;
        self.cached.push_back((tp, base_offset));
        self.memory_bytes += bytes;
        self.unmaterialised_bytes += bytes;
        self.stats.batches += 1;
        self.stats.bytes += bytes;
        self.stats.records += u64::from(batch.record_count().unsigned_abs());
        self.submit(group, Frame::new(tp, Change::Batch(batch)));
        Ok((base_offset, last_offset))
    }

    /// Number of the group that frames of one effect and `bytes` bytes would join, all of them.
    fn forming_group(&self, effect: Effect, bytes: usize, bytes_max: usize) -> u64 {
        match self.forming.back() {
            Some(group) if group.effect == effect && group.bytes + bytes <= bytes_max => group.number,
            _ => self.next_group,
        }
    }

    /// Adds a frame to group `number`, which [`State::forming_group`] named under the same lock.
    fn submit(&mut self, number: u64, frame: Frame) {
        let bytes = frame.wal_bytes();
        match self.forming.back_mut().filter(|group| group.number == number) {
            Some(group) => {
                group.bytes += bytes;
                group.frames.push(frame);
            }
            None => {
                self.next_group = number + 1;
                let effect = frame.change.effect();
                self.forming.push_back(Group { number, effect, frames: vec![frame], bytes });
            }
        }
    }

    fn all_waiters(&mut self) -> Vec<Waker> {
        let partitions = self.partitions.values_mut();
        partitions.flat_map(|partition| partition.waiters.drain(..)).map(|(_, waker)| waker).collect()
    }
}
