//! Group commit: write, sync, publish; and what happens when that fails.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use super::{Core, Frame, Group, State};
use crate::error::is_disk_full;
use crate::wal::{Change, Effect, WriteFailed};
use crate::{AppendError, LogError};

impl Core {
    /// Writes and syncs the oldest forming group, if there is one. Whether there was.
    pub(crate) fn write_group(&self) -> bool {
        let group = {
            let mut state = self.state();
            let Some(group) = state.forming.pop_front() else { return false };
            state.writing_bytes = group.bytes as u64;
            group
        };
        match self.write_durably(&group) {
            Ok(sequence) => self.publish(group, sequence),
            Err(WriteFailed::DiskFull) => self.refuse(group),
            Err(WriteFailed::FilesInUse) => {
                self.poison(&std::io::Error::other("write-ahead files are in use after a checkpoint"));
            }
            Err(WriteFailed::Broken(e)) => self.poison(&e),
        }
        true
    }

    fn write_durably(&self, group: &Group) -> Result<u64, WriteFailed> {
        match self.try_write(group) {
            Err(WriteFailed::FilesInUse) => {
                self.checkpoint().map_err(|e| match e {
                    LogError::Io { source, .. } if is_disk_full(&source) => WriteFailed::DiskFull,
                    other => WriteFailed::Broken(std::io::Error::other(other.to_string())),
                })?;
                self.try_write(group)
            }
            done => done,
        }
    }

    /// The group's sequence, once it is on disk.
    fn try_write(&self, group: &Group) -> Result<u64, WriteFailed> {
        let mut wal = self.wal.lock().unwrap_or_else(PoisonError::into_inner);
        let (durable, checkpointed) = {
            let state = self.state();
            (state.wal_durable, state.checkpointed)
        };
        let sequence = durable + 1;
        wal.write(sequence, durable, &group.frames, checkpointed)?;
        let started = self.clock.monotonic();
        // Whatever a failed sync reports, even a full disk: the pages may be gone.
        wal.sync().map_err(WriteFailed::Broken)?;
        let took = self.clock.monotonic().saturating_sub(started);
        let uncovered = wal.uncovered(checkpointed);
        drop(wal);
        let mut state = self.state();
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        state.stats.groups += 1;
        state.stats.sync_ns += ns;
        state.stats.sync_ns_max = state.stats.sync_ns_max.max(ns);
        // Rarely, for each checkpoint syncs every partition's segment; but before the files run out.
        if uncovered >= (self.options.wal_files_max / 2).max(1) && !state.checkpoint_wanted {
            state.checkpoint_wanted = true;
            self.segments_wanted.notify_all();
        }
        Ok(sequence)
    }

    fn publish(&self, group: Group, sequence: u64) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.wal_durable = sequence;
        state.published = group.number;
        state.disk_full = false;
        let mut due: Vec<Waker> = Vec::new();
        for frame in group.frames {
            match frame.change {
                Change::Batch(batch) => {
                    if let Some(partition) = state.partitions.get_mut(&frame.tp) {
                        partition.publish(&batch, group.number);
                        if !partition.waiters.is_empty() {
                            due.extend(partition.due_waiters());
                        }
                    }
                }
                Change::Trim(offset) => {
                    if let Some(partition) = state.partitions.get_mut(&frame.tp) {
                        partition.trim(offset);
                        // Files go with a checkpoint.
                        state.checkpoint_wanted |= partition.trimmed_segments() > 0;
                    }
                }
                Change::Delete => due.extend(state.remove(frame.tp)),
                Change::Create => {}
            }
        }
        state.writing_bytes = 0;
        if state.checkpoint_wanted || state.materialisable_bytes() >= self.options.materialise_bytes {
            self.segments_wanted.notify_all();
        }
        drop(guard);
        self.durability.reached(group.number);
        due.into_iter().for_each(Waker::wake);
    }

    /// Gives up a group and all behind it that would need room, because the disk is full: offsets are
    /// taken back, which nobody has seen.
    fn refuse(&self, group: Group) {
        let mut state = self.state();
        state.writing_bytes = 0;
        let mut refused = vec![group];
        for behind in std::mem::take(&mut state.forming) {
            match behind.effect {
                Effect::Grows => refused.push(behind),
                Effect::Frees => state.forming.push_back(behind),
            }
        }
        let numbers: Vec<u64> = refused.iter().map(|group| group.number).collect();
        let mut touched = HashSet::new();
        for group in refused.into_iter().rev() {
            for frame in group.frames.into_iter().rev() {
                touched.insert(frame.tp);
                state.take_back(frame);
            }
        }
        for tp in touched {
            if let Some(partition) = state.partitions.get_mut(&tp) {
                // Nothing beyond what is durable is left.
                partition.producers = partition.durable_producers.clone();
            }
        }
        state.checkpoint_wanted = true;
        if !std::mem::replace(&mut state.disk_full, true) {
            tracing::error!("disk full: appends are refused until space is freed; reads go on");
        }
        drop(state);
        self.segments_wanted.notify_all();
        self.durability.refuse(&numbers);
    }

    /// Stops the log for good: what a failed write or sync left behind is unknown until it is
    /// read back from disk.
    pub(crate) fn poison(&self, error: &std::io::Error) {
        tracing::error!("log stopped after a failed write: {error}; restart to recover from disk");
        let why = AppendError::Poisoned(Arc::from(error.to_string()));
        let mut state = self.state();
        state.stopped = Some(why.clone());
        state.forming.clear();
        let wakers = state.all_waiters();
        drop(state);
        self.durability.fail(why);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Notes that the last group is durable, if nothing is about to follow it.
    pub(crate) fn write_mark_if_idle(&self) {
        let durable = {
            let state = self.state();
            if !state.forming.is_empty() || state.is_poisoned() {
                return;
            }
            state.wal_durable
        };
        let mut wal = self.wal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = wal.write_mark(durable) {
            tracing::warn!("cannot write the write-ahead log's mark: {e}");
        }
    }

    /// Makes the mark durable: a clean end.
    pub(crate) fn seal_wal(&self) -> Result<(), LogError> {
        self.write_mark_if_idle();
        let wal = self.wal.lock().unwrap_or_else(PoisonError::into_inner);
        wal.sync().map_err(LogError::io("sync", &self.layout.wal()))
    }
}

impl State {
    /// Forgets a partition whose deletion is durable; returns who waited for it.
    pub(super) fn remove(&mut self, tp: super::TopicPartition) -> Vec<Waker> {
        let Some(partition) = self.partitions.remove(&tp) else { return Vec::new() };
        for entry in &partition.tail {
            let bytes = entry.batch.bytes().len() as u64;
            self.memory_bytes -= bytes;
            if entry.batch.base_offset() >= partition.materialised {
                self.unmaterialised_bytes -= bytes;
            }
        }
        self.have_left_memory(partition.tail.len());
        self.removed.push(tp);
        self.deleted.insert(tp);
        partition.waiters.into_iter().map(|(_, waker)| waker).collect()
    }

    fn take_back(&mut self, frame: Frame) {
        let Some(partition) = self.partitions.get_mut(&frame.tp) else { return };
        match frame.change {
            Change::Batch(batch) => {
                partition.log_end_offset = batch.base_offset();
                partition.tail.pop_back();
                self.cached.pop_back();
                let bytes = batch.bytes().len() as u64;
                self.memory_bytes -= bytes;
                self.unmaterialised_bytes -= bytes;
            }
            Change::Create => drop(self.partitions.remove(&frame.tp)),
            Change::Delete => partition.deleting = false,
            Change::Trim(_) => {}
        }
    }
}
