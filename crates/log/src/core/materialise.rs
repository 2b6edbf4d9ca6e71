//! Moving durable batches from memory to segments, and saying so in the checkpoint.

use std::sync::{Arc, MutexGuard, PoisonError};

use highwater_env::{Offset, TopicPartition};

use super::{Core, SegmentsAtWork, State};
use crate::checkpoint::{Checkpoint, PartitionCheckpoint};
use crate::partition::Partition;
use crate::segment::Segment;
use crate::{AppendError, LogBatch, LogError, PartitionOptions};

/// What is to be written for one partition.
struct Run {
    tp: TopicPartition,
    batches: Vec<LogBatch>,
    active: Option<Arc<Segment>>,
    options: PartitionOptions,
}

impl Run {
    fn of(tp: TopicPartition, partition: &Partition) -> Self {
        let active = partition.segments.last().cloned();
        Self { tp, batches: partition.unmaterialised(), active, options: partition.options.clone() }
    }

    /// Whether its oldest batch is so old that the partition's settings may delete or compact it.
    fn is_due(&self, now_ms: i64) -> bool {
        let options = &self.options;
        let compacts_at_ms = options.compact.then_some(options.segment_ms);
        let deletes_at_ms = options.delete.then_some(options.retention_ms).flatten();
        let due_at_ms = compacts_at_ms.into_iter().chain(deletes_at_ms).min();
        let age_ms = self.batches.first().map(|oldest| now_ms.saturating_sub(oldest.max_timestamp()));
        due_at_ms.zip(age_ms).is_some_and(|(due_at_ms, age_ms)| age_ms > due_at_ms)
    }
}

/// What waits for segments, by partition.
fn runs(state: &State) -> Vec<Run> {
    let waiting = state.partitions.iter().filter(|(_, p)| p.materialised < p.high_watermark);
    let mut runs: Vec<Run> = waiting.map(|(tp, partition)| Run::of(*tp, partition)).collect();
    runs.sort_by_key(|run| run.tp);
    runs
}

impl Core {
    /// Writes durable batches to segments, without syncing.
    pub(crate) fn materialise(&self) -> Result<(), LogError> {
        let mut at_work = self.segments_at_work();
        let runs = runs(&self.state());
        self.write_runs(&mut at_work, runs)
    }

    /// Writes what waits of partitions whose retention or compaction is due: both work on segments,
    /// which little traffic does not fill.
    pub(crate) fn materialise_due(&self) -> Result<(), LogError> {
        let now_ms = self.clock.unix_ms();
        let mut at_work = self.segments_at_work();
        let mut runs = runs(&self.state());
        runs.retain(|run| run.is_due(now_ms));
        self.write_runs(&mut at_work, runs)
    }

    /// Writes and syncs segments and records what they hold: write-ahead files up to here can be
    /// used again.
    ///
    /// # Errors
    /// `Poisoned` after a failed sync: a second one may succeed without what the first has lost.
    pub(crate) fn checkpoint(&self) -> Result<(), LogError> {
        let at_work = &mut *self.segments_at_work();
        let (mut checkpoint, runs, removed) = self.snapshot()?;
        let ends: Vec<Offset> = checkpoint.partitions.iter().map(|p| p.next_offset).collect();
        let written = self.write_runs(at_work, runs);
        let done = written.and_then(|()| {
            self.sync_segments(at_work)?;
            let mut state = self.state();
            for (partition, end) in checkpoint.partitions.iter_mut().zip(ends) {
                // Deleted meanwhile: recovery needs it for what the write-ahead log holds up to there.
                let Some(live) = state.partitions.get_mut(&partition.tp) else { continue };
                assert_eq!(live.materialised, end, "all durable batches were written");
                at_work.trimmed.extend(live.take_trimmed_segments());
                partition.segments = live.segments.iter().map(|segment| segment.checkpoint()).collect();
            }
            drop(state);
            checkpoint.write(self.disk.as_ref(), &self.layout.root)
        });
        match done {
            Ok(()) => {}
            // Recovery does without the files of what is deleted: they make room for the next try.
            Err(e) if e.is_disk_full() => {
                self.remove_dirs(at_work, removed)?;
                self.remove_trimmed(at_work)?;
                return Err(e);
            }
            Err(e) => {
                self.state().removed.extend(removed);
                return Err(e);
            }
        }
        let mut state = self.state();
        state.checkpointed = checkpoint.sequence;
        state.checkpoint_wanted = false;
        state.stats.checkpoints += 1;
        drop(state);
        self.remove_dirs(at_work, removed)?;
        self.remove_replaced(at_work)
    }

    /// Renames and removes files as the checkpoint names segments.
    fn remove_replaced(&self, at_work: &mut SegmentsAtWork) -> Result<(), LogError> {
        while let Some(segment) = at_work.renames.last() {
            segment.adopt().map_err(LogError::io("rename", &segment.path("log")))?;
            at_work.renames.pop();
        }
        for gone in [&mut at_work.doomed, &mut at_work.trimmed] {
            remove_files(gone)?;
        }
        Ok(())
    }

    /// Removes the files of segments below the log start offset that the last checkpoint may name,
    /// but for those that have another name there.
    fn remove_trimmed(&self, at_work: &mut SegmentsAtWork) -> Result<(), LogError> {
        for partition in self.state().partitions.values_mut() {
            at_work.trimmed.extend(partition.take_trimmed_segments());
        }
        let renames = &at_work.renames;
        let is_renamed = |segment: &mut Arc<Segment>| renames.iter().any(|other| Arc::ptr_eq(other, segment));
        let renamed: Vec<_> = at_work.trimmed.extract_if(.., is_renamed).collect();
        let removed = remove_files(&mut at_work.trimmed);
        at_work.trimmed.extend(renamed);
        removed
    }

    /// Removes the segments of partitions whose deletion is durable; what fails is left to the next
    /// checkpoint.
    fn remove_dirs(
        &self,
        at_work: &mut SegmentsAtWork,
        mut removed: Vec<TopicPartition>,
    ) -> Result<(), LogError> {
        at_work.dirty_dirs.retain(|tp| !removed.contains(tp));
        while let Some(tp) = removed.last() {
            let dir = self.layout.partition(*tp);
            at_work.dirty.retain(|segment| !segment.path("log").starts_with(&dir));
            at_work.doomed.retain(|segment| !segment.path("log").starts_with(&dir));
            at_work.trimmed.retain(|segment| !segment.path("log").starts_with(&dir));
            at_work.renames.retain(|segment| !segment.path("log").starts_with(&dir));
            if let Err(e) = self.disk.remove_dir_all(&dir) {
                self.state().removed.extend(removed);
                return Err(LogError::io("remove", &dir)(e));
            }
            removed.pop();
        }
        Ok(())
    }

    /// Writes what is still in memory, a checkpoint, and all indexes: after it, segments hold all.
    pub(crate) fn settle(&self) -> Result<(), LogError> {
        self.checkpoint()?;
        let segments: Vec<Arc<Segment>> = {
            let state = self.state();
            state.partitions.values().flat_map(|partition| partition.segments.iter().cloned()).collect()
        };
        for segment in segments {
            // Indexes are disposable.
            if let Err(e) = segment.write_indexes() {
                tracing::warn!("index not written: {e}");
            }
        }
        Ok(())
    }

    pub(super) fn segments_at_work(&self) -> MutexGuard<'_, SegmentsAtWork> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One moment: what is durable, what of it must still be written, and whose segments go.
    fn snapshot(&self) -> Result<(Checkpoint, Vec<Run>, Vec<TopicPartition>), AppendError> {
        let mut state = self.state();
        if state.is_poisoned() {
            state.check_open()?;
        }
        // A partition that is not durable yet would survive its refusal: leave it to the
        // write-ahead log.
        let known = state.partitions.iter().filter(|(_, partition)| partition.created_in <= state.published);
        let mut partitions: Vec<_> = known
            .map(|(tp, partition)| PartitionCheckpoint {
                tp: *tp,
                log_start_offset: partition.log_start_offset,
                next_offset: partition.high_watermark,
                cleaned_until: partition.cleaned_until,
                segments: Vec::new(),
                producers: partition.durable_producers.iter().map(|(id, p)| (id, p.clone())).collect(),
                aborted: partition.aborted.iter().copied().collect(),
            })
            .collect();
        partitions.sort_by_key(|partition| partition.tp);
        let checkpoint = Checkpoint { sequence: state.wal_durable, partitions };
        let removed = std::mem::take(&mut state.removed);
        let runs = runs(&state);
        Ok((checkpoint, runs, removed))
    }

    fn write_runs(&self, at_work: &mut SegmentsAtWork, runs: Vec<Run>) -> Result<(), LogError> {
        for run in runs {
            self.write_run(at_work, run)?;
        }
        self.state().evict(self.options.tail_cache_bytes);
        Ok(())
    }

    fn write_run(&self, at_work: &mut SegmentsAtWork, mut run: Run) -> Result<(), LogError> {
        let mut rest = &run.batches[..];
        while let Some(first) = rest.first() {
            let segment = match run.active.take() {
                Some(active) if active.has_room(first, &run.options) => active,
                full => self.roll(at_work, run.tp, full, first.base_offset())?,
            };
            let n = segment.fitting(rest, &run.options);
            let (now, later) = rest.split_at(n);
            segment.append(now).map_err(LogError::io("write", &segment.path("log")))?;
            if !at_work.dirty.iter().any(|dirty| Arc::ptr_eq(dirty, &segment)) {
                at_work.dirty.push(Arc::clone(&segment));
            }
            self.written(run.tp, &segment, now);
            run.active = Some(segment);
            rest = later;
        }
        Ok(())
    }

    /// Makes the segment that follows `full`, or the first one.
    pub(super) fn roll(
        &self,
        at_work: &mut SegmentsAtWork,
        tp: TopicPartition,
        full: Option<Arc<Segment>>,
        base_offset: Offset,
    ) -> Result<Arc<Segment>, LogError> {
        let dir = self.layout.partition(tp);
        match full {
            // Recovery does not read data: an index that is missing is made when it is needed.
            Some(full) if at_work.is_open => {
                if let Err(e) = full.write_indexes() {
                    tracing::warn!("index not written: {e}");
                }
            }
            Some(_) => {}
            None => self.disk.create_dir_all(&dir).map_err(LogError::io("create", &dir))?,
        }
        let segment = Segment::create(&self.disk, &dir, base_offset).map_err(LogError::io("create", &dir))?;
        if !at_work.dirty_dirs.contains(&tp) {
            at_work.dirty_dirs.push(tp);
        }
        Ok(Arc::new(segment))
    }

    /// Batches are in the segment's file: readers may find them there.
    fn written(&self, tp: TopicPartition, segment: &Arc<Segment>, batches: &[LogBatch]) {
        let mut state = self.state();
        let Some(partition) = state.partitions.get_mut(&tp) else { return };
        if partition.segments.last().is_none_or(|last| !Arc::ptr_eq(last, segment)) {
            partition.segments.push(Arc::clone(segment));
        }
        partition.materialised = batches.last().map_or(partition.materialised, LogBatch::next_offset);
        let bytes: usize = batches.iter().map(|batch| batch.bytes().len()).sum();
        state.unmaterialised_bytes -= bytes as u64;
    }

    fn sync_segments(&self, at_work: &mut SegmentsAtWork) -> Result<(), LogError> {
        let files: Result<Vec<_>, _> = at_work.dirty.iter().map(|segment| segment.log_file()).collect();
        if let Err(e) = files.and_then(|files| self.disk.sync_files(&files)) {
            // Written pages may be gone, and the segments would be believed at the next sync.
            self.poison(&e);
            return Err(LogError::io("sync", &self.layout.segments())(e));
        }
        at_work.dirty.clear();
        while let Some(tp) = at_work.dirty_dirs.last() {
            let dir = self.layout.partition(*tp);
            if let Err(e) = self.disk.sync_dir(&dir) {
                // The same of names.
                self.poison(&e);
                return Err(LogError::io("sync", &dir)(e));
            }
            at_work.dirty_dirs.pop();
        }
        Ok(())
    }
}

/// Removes the files of these segments; those of which it cannot stay in the list.
fn remove_files(segments: &mut Vec<Arc<Segment>>) -> Result<(), LogError> {
    while let Some(segment) = segments.last() {
        segment.remove_files().map_err(LogError::io("remove", &segment.path("log")))?;
        segments.pop();
    }
    Ok(())
}
