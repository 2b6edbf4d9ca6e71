//! Rewriting a partition's segments without what compaction takes away.
//!
//! ```text
//! write      <base>.<generation>.cleaned beside the segments, synced          no lock
//! swap       the partition names the new segments instead of the old          segments lock, state lock
//! checkpoint it says so on disk: from here on recovery takes the new ones     segments lock
//! rename     .cleaned becomes .log, replaced segments are removed             segments lock
//! ```
//! A crash before the checkpoint leaves files that recovery removes; after it, recovery renames
//! what is still to be renamed.

use std::collections::HashMap;
use std::sync::Arc;

use highwater_env::{Offset, TopicPartition};

use super::{Core, SegmentsAtWork};
use crate::compaction::{Cleaner, LatestByKey};
use crate::partition::Partition;
use crate::segment::Segment;
use crate::transactions::AbortedTransaction;
use crate::{BatchError, LogBatch, LogError, PartitionOptions, ReadError};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// What one run will rewrite.
struct Plan {
    tp: TopicPartition,
    options: PartitionOptions,
    log_start_offset: Offset,
    cleaned_until: Offset,
    /// How much of it is new, in thousandths of its bytes, and whether that is enough.
    dirty_per_mille: u64,
    is_dirty_enough: bool,
    /// From the partition's start, in order.
    segments: Vec<Arc<Segment>>,
    /// Where the last of them ends.
    end: Offset,
    aborted: Vec<AbortedTransaction>,
    now_ms: i64,
}

/// New segments in the place of old ones.
struct Cleaned {
    old: Vec<Arc<Segment>>,
    new: Option<Arc<Segment>>,
}

impl Core {
    /// Compacts the partition that needs it most; whether one did.
    pub(crate) fn compact_one(&self) -> Result<bool, LogError> {
        let Some(plan) = self.plan_compaction() else { return Ok(false) };
        let tp = plan.tp;
        match self.compact(plan) {
            Ok(()) => Ok(true),
            Err(CompactError::Ending) => Ok(false),
            Err(CompactError::Log(e)) => Err(e),
            Err(CompactError::Read(e)) => {
                let mut state = self.state();
                // Readers report the damage too; or it was deleted meanwhile.
                if let Some(partition) = state.partitions.get_mut(&tp).filter(|p| !p.deleting) {
                    partition.uncleanable = true;
                    tracing::error!(%tp, "not compacted until the next start: {e}");
                }
                Ok(true)
            }
        }
    }

    fn plan_compaction(&self) -> Option<Plan> {
        let now_ms = self.clock.unix_ms();
        let plans: Vec<Plan> = {
            let state = self.state();
            if state.is_poisoned() {
                return None;
            }
            let compacted = state.partitions.iter().filter(|(_, p)| p.options.compact && !p.deleting);
            compacted.filter_map(|(tp, partition)| plan(*tp, partition, now_ms)).collect()
        };
        plans.into_iter().filter(Plan::is_due).max_by_key(|plan| plan.dirty_per_mille)
    }

    /// Begins a new segment where the one that is written to holds a record that is due for compaction
    /// by its age: compaction touches no segment that is written to (KIP-354).
    pub(crate) fn seal_overdue(&self) -> Result<(), LogError> {
        let now_ms = self.clock.unix_ms();
        let active: Vec<(TopicPartition, Arc<Segment>, i64)> = {
            let state = self.state();
            if state.stopped.is_some() {
                return Ok(());
            }
            let partitions = state.partitions.iter().filter(|(_, p)| !p.deleting && !p.uncleanable);
            let limited = partitions.filter(|(_, p)| p.options.compact && has_max_lag(&p.options));
            let active = limited.filter_map(|(tp, p)| {
                let active = p.segments.last().filter(|active| active.checkpoint().bytes > 0)?;
                Some((*tp, Arc::clone(active), p.options.max_compaction_lag_ms))
            });
            active.collect()
        };
        for (tp, active, lag_ms) in active {
            if is_older(&active, now_ms, lag_ms) {
                self.seal(tp, &active)?;
            }
        }
        Ok(())
    }

    /// Begins a new segment behind `active`, if that is still the last one.
    fn seal(&self, tp: TopicPartition, active: &Arc<Segment>) -> Result<(), LogError> {
        let at_work = &mut *self.segments_at_work();
        let Some(end) = self.end_of_active(tp, active) else { return Ok(()) };
        let next = self.roll(at_work, tp, Some(Arc::clone(active)), end)?;
        if let Some(partition) = self.state().partitions.get_mut(&tp) {
            partition.segments.push(next);
        }
        Ok(())
    }

    /// Where `active` ends, if it is the partition's last segment.
    fn end_of_active(&self, tp: TopicPartition, active: &Arc<Segment>) -> Option<Offset> {
        let state = self.state();
        let partition = state.partitions.get(&tp).filter(|partition| !partition.deleting)?;
        let last = partition.segments.last()?;
        Arc::ptr_eq(last, active).then_some(partition.materialised)
    }

    fn compact(&self, plan: Plan) -> Result<(), CompactError> {
        let (latest, noted_until) = self.latest(&plan)?;
        let plan = &plan.below(noted_until);
        let mut cleaner = Cleaner {
            latest: &latest,
            noted_until,
            aborted: &plan.aborted,
            log_start_offset: plan.log_start_offset,
            last_offset: plan.end - 1,
            now_ms: plan.now_ms,
            options: &plan.options,
            kept_in_transaction: HashMap::new(),
            dropped_markers: Vec::new(),
        };
        let mut cleaned = Vec::new();
        let done = plan.groups().into_iter().try_for_each(|(old, end)| {
            cleaned.push(self.rewrite(plan, old, end, &mut cleaner)?);
            Ok(())
        });
        let dropped = cleaner.dropped_markers;
        let swapped = done.and_then(|()| self.swap(plan, &cleaned, &dropped, noted_until));
        if matches!(swapped, Ok(true)) {
            // If it fails, the new segments are named all the same, by the next one.
            return Ok(self.checkpoint()?);
        }
        cleaned.iter().filter_map(|cleaned| cleaned.new.as_deref()).for_each(discard);
        swapped.map(|_| ())
    }

    /// The last offset of each key that is new, and the offset up to which there was room for them.
    fn latest(&self, plan: &Plan) -> Result<(LatestByKey, Offset), CompactError> {
        let mut latest = LatestByKey::new(self.options.compaction_keys_bytes_max);
        for (segment, end) in plan.segments.iter().zip(ends(&plan.segments, plan.end)) {
            if end <= plan.cleaned_until {
                continue;
            }
            let mut noted_until = end;
            self.walk(segment, end, |batches| {
                for batch in batches {
                    let counts = batch.next_offset() > plan.cleaned_until
                        && !batch.is_control()
                        && !crate::transactions::covers(&plan.aborted, batch);
                    let offset = batch.base_offset();
                    let note = |source: BatchError| ReadError::Batch { offset, source };
                    if counts && !latest.note(batch).map_err(note)? {
                        noted_until = offset;
                        return Ok(false);
                    }
                }
                Ok(true)
            })?;
            if noted_until < end {
                return Ok((latest, noted_until));
            }
        }
        Ok((latest, plan.end))
    }

    /// Writes what is left of neighbouring segments as one, synced.
    fn rewrite(
        &self,
        plan: &Plan,
        old: Vec<Arc<Segment>>,
        end: Offset,
        cleaner: &mut Cleaner<'_>,
    ) -> Result<Cleaned, CompactError> {
        let mut new: Option<Segment> = None;
        let written = old.iter().zip(ends(&old, end)).try_for_each(|(segment, segment_end)| {
            self.walk(segment, segment_end, |batches| {
                let mut kept = Vec::new();
                for batch in batches {
                    let offset = batch.base_offset();
                    let left = cleaner.clean(batch).map_err(|source| ReadError::Batch { offset, source })?;
                    kept.extend(left);
                }
                self.append_cleaned(plan.tp, &old, &mut new, &kept)?;
                Ok(true)
            })
        });
        let synced = written.and_then(|()| {
            let Some(new) = &new else { return Ok(()) };
            let synced = new.log_file().and_then(|file| file.sync_data());
            Ok(synced.map_err(LogError::io("sync", &self.layout.partition(plan.tp)))?)
        });
        if synced.is_err() {
            new.iter().for_each(discard);
        }
        synced.map(|()| Cleaned { old, new: new.map(Arc::new) })
    }

    /// Adds batches to the segment that will take the place of `old`; makes it if there is none yet.
    fn append_cleaned(
        &self,
        tp: TopicPartition,
        old: &[Arc<Segment>],
        new: &mut Option<Segment>,
        batches: &[LogBatch],
    ) -> Result<(), LogError> {
        let (Some(first), false) = (old.first(), batches.is_empty()) else { return Ok(()) };
        let dir = self.layout.partition(tp);
        let segment = match new {
            Some(segment) => segment,
            None => {
                let generation = old.iter().map(|segment| segment.generation()).max().unwrap_or(0) + 1;
                let made = Segment::create_cleaned(&self.disk, &dir, first.base_offset, generation);
                new.insert(made.map_err(LogError::io("create", &dir))?)
            }
        };
        segment.append(batches).map_err(LogError::io("write", &dir))
    }

    /// Shows all batches of a segment in order, until told to stop.
    fn walk(
        &self,
        segment: &Segment,
        end: Offset,
        mut each: impl FnMut(&[LogBatch]) -> Result<bool, CompactError>,
    ) -> Result<(), CompactError> {
        let mut at = segment.base_offset;
        while at < end {
            if self.state().ending {
                return Err(CompactError::Ending);
            }
            let batches = segment.read(at, READ_BYTES)?;
            let Some(last) = batches.last() else { return Ok(()) };
            at = last.next_offset();
            if !each(&batches)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Puts the new segments in the place of the old ones, unless these have changed meanwhile.
    fn swap(
        &self,
        plan: &Plan,
        cleaned: &[Cleaned],
        dropped_markers: &[Offset],
        cleaned_until: Offset,
    ) -> Result<bool, CompactError> {
        let mut at_work = self.segments_at_work();
        let dir = self.layout.partition(plan.tp);
        self.disk.sync_dir(&dir).map_err(LogError::io("sync", &dir))?;
        {
            let state = &mut *self.state();
            let partition = state.partitions.get_mut(&plan.tp).filter(|p| !p.deleting);
            let Some(partition) = partition else { return Ok(false) };
            let head = partition.segments.iter().take(plan.segments.len());
            if !head.eq_by_identity(&plan.segments) {
                return Ok(false);
            }
            let new = cleaned.iter().filter_map(|cleaned| cleaned.new.clone());
            partition.segments.splice(..plan.segments.len(), new);
            partition.cleaned_until = cleaned_until;
            partition.aborted.retain(|aborted| dropped_markers.binary_search(&aborted.last_offset).is_err());
            // Readers must not find in memory what the aborted index no longer covers.
            let cached = partition.tail.partition_point(|entry| entry.batch.base_offset() < plan.end);
            let bytes: usize = partition.tail.drain(..cached).map(|entry| entry.batch.bytes().len()).sum();
            state.memory_bytes -= bytes as u64;
            state.have_left_memory(cached);
        }
        for Cleaned { old, new } in cleaned {
            replace(&mut at_work, old, new.as_ref());
        }
        Ok(true)
    }
}

/// Notes whose files are to be renamed and whose to be removed, once a checkpoint says so.
fn replace(at_work: &mut SegmentsAtWork, old: &[Arc<Segment>], new: Option<&Arc<Segment>>) {
    at_work.dirty.retain(|dirty| !old.iter().any(|segment| Arc::ptr_eq(segment, dirty)));
    at_work.renames.retain(|rename| !old.iter().any(|segment| Arc::ptr_eq(segment, rename)));
    let keeps_name = |segment: &&Arc<Segment>| new.is_some_and(|new| new.base_offset == segment.base_offset);
    at_work.doomed.extend(old.iter().filter(|segment| !keeps_name(segment)).cloned());
    at_work.renames.extend(new.cloned());
}

/// Whether two lists hold the very same segments.
trait EqByIdentity {
    fn eq_by_identity(self, others: &[Arc<Segment>]) -> bool;
}

impl<'a, I: ExactSizeIterator<Item = &'a Arc<Segment>>> EqByIdentity for I {
    fn eq_by_identity(self, others: &[Arc<Segment>]) -> bool {
        self.len() == others.len() && self.zip(others).all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

/// What a partition's run would rewrite, if that may be due.
fn plan(tp: TopicPartition, partition: &Partition, now_ms: i64) -> Option<Plan> {
    let options = &partition.options;
    let stable = partition.bounds().last_stable_offset;
    let mut segments = Vec::new();
    let (mut end, mut all, mut dirty) = (partition.log_start_offset, 0, 0);
    let ends = partition.segments.iter().skip(1).map(|next| next.base_offset);
    for (segment, segment_end) in partition.segments.iter().zip(ends) {
        let facts = segment.checkpoint();
        let young = now_ms.saturating_sub(facts.max_timestamp) < options.min_compaction_lag_ms;
        let is_dirty = segment_end > partition.cleaned_until;
        if segment_end > stable || (is_dirty && young) {
            break;
        }
        all += facts.bytes;
        if is_dirty {
            dirty += facts.bytes;
        }
        segments.push(Arc::clone(segment));
        end = segment_end;
    }
    // As in Kafka: with a ratio of 1 only age counts.
    let is_dirty_enough = dirty * 1000 > all * options.min_dirty_per_mille;
    if partition.uncleanable || dirty == 0 || !(is_dirty_enough || has_max_lag(options)) {
        return None;
    }
    let aborted = partition.aborted_in(partition.log_start_offset, end);
    Some(Plan {
        tp,
        options: options.clone(),
        log_start_offset: partition.log_start_offset,
        cleaned_until: partition.cleaned_until,
        dirty_per_mille: (dirty * 1000).checked_div(all).unwrap_or(0),
        is_dirty_enough,
        segments,
        end,
        aborted,
        now_ms,
    })
}

fn has_max_lag(options: &PartitionOptions) -> bool {
    options.max_compaction_lag_ms < i64::MAX
}

/// Whether a segment's first record is older than `lag_ms`; not if it has no timestamp.
fn is_older(segment: &Segment, now_ms: i64, lag_ms: i64) -> bool {
    let first = segment.read(segment.base_offset, 1).ok().and_then(|batches| batches.into_iter().next());
    let first_ms = first.map(|batch| batch.max_timestamp()).filter(|first_ms| *first_ms > 0);
    first_ms.is_some_and(|first_ms| now_ms.saturating_sub(first_ms) > lag_ms)
}

/// Removes a cleaned segment that will not be used. What cannot be removed recovery does.
fn discard(new: &Segment) {
    if let Err(e) = new.discard() {
        tracing::debug!("an unused segment stays until the next start: {e}");
    }
}

impl Plan {
    /// Whether enough is new, or something new is old enough.
    fn is_due(&self) -> bool {
        let lag_ms = self.options.max_compaction_lag_ms;
        let mut parts = self.segments.iter().zip(ends(&self.segments, self.end));
        let is_overdue = |(segment, end): (&Arc<Segment>, Offset)| {
            end > self.cleaned_until && is_older(segment, self.now_ms, lag_ms)
        };
        self.is_dirty_enough || (has_max_lag(&self.options) && parts.any(is_overdue))
    }

    /// As far as it concerns offsets below `offset`.
    fn below(mut self, offset: Offset) -> Self {
        let kept = self.segments.partition_point(|segment| segment.base_offset < offset);
        if let Some(beyond) = self.segments.get(kept) {
            self.end = beyond.base_offset;
        }
        self.segments.truncate(kept);
        self
    }

    /// Neighbouring segments that fit into one, each with the offset where the last of it ends.
    fn groups(&self) -> Vec<(Vec<Arc<Segment>>, Offset)> {
        let mut groups: Vec<(Vec<Arc<Segment>>, Offset)> = Vec::new();
        let mut bytes = 0;
        for (segment, end) in self.segments.iter().zip(ends(&self.segments, self.end)) {
            bytes += segment.checkpoint().bytes;
            let fits = |first: &Segment| {
                bytes <= self.options.segment_bytes_max && end - first.base_offset <= i64::from(i32::MAX)
            };
            match groups.last_mut() {
                Some((group, group_end)) if fits(&group[0]) => {
                    group.push(Arc::clone(segment));
                    *group_end = end;
                }
                _ => {
                    bytes = segment.checkpoint().bytes;
                    groups.push((vec![Arc::clone(segment)], end));
                }
            }
        }
        groups
    }
}

/// Where each of neighbouring segments ends.
fn ends(segments: &[Arc<Segment>], end: Offset) -> impl Iterator<Item = Offset> {
    segments.iter().skip(1).map(|next| next.base_offset).chain([end])
}

/// Why a run ended.
#[derive(Debug)]
enum CompactError {
    /// The log is being closed.
    Ending,
    /// The disk refused to write: to be tried again.
    Log(LogError),
    /// What is stored cannot be read.
    Read(ReadError),
}

impl From<LogError> for CompactError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<ReadError> for CompactError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}
