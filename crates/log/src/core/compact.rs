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
use crate::{AppendError, BatchError, LogBatch, LogError, PartitionOptions, ReadError};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// What one run will rewrite.
struct Plan {
    tp: TopicPartition,
    options: PartitionOptions,
    log_start_offset: Offset,
    cleaned_until: Offset,
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
        match self.compact(&plan) {
            Ok(()) => Ok(true),
            Err(CompactError::Log(e)) => Err(e),
            // Deleted meanwhile, or damaged: readers report the latter too.
            Err(CompactError::Read(e)) => {
                tracing::error!(%tp, "not compacted: {e}");
                if let Some(partition) = self.state().partitions.get_mut(&tp) {
                    partition.cleaned_until = plan.end;
                }
                Ok(true)
            }
        }
    }

    fn plan_compaction(&self) -> Option<Plan> {
        let now_ms = self.clock.unix_ms();
        let state = self.state();
        if matches!(state.stopped, Some(AppendError::Poisoned(_))) {
            return None;
        }
        let compacted = state.partitions.iter().filter(|(_, p)| p.options.compact && !p.deleting);
        let plans = compacted.filter_map(|(tp, partition)| plan(*tp, partition, now_ms));
        plans.max_by_key(|(dirty_per_mille, _)| *dirty_per_mille).map(|(_, plan)| plan)
    }

    fn compact(&self, plan: &Plan) -> Result<(), CompactError> {
        let (latest, cleaned_until) = plan.latest()?;
        let mut cleaner = Cleaner {
            latest: &latest,
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
        let swapped = done.and_then(|()| self.swap(plan, &cleaned, &dropped, cleaned_until));
        if matches!(swapped, Ok(true)) {
            // If it fails, the new segments are named all the same, by the next one.
            return Ok(self.checkpoint()?);
        }
        for new in cleaned.iter().filter_map(|cleaned| cleaned.new.as_ref()) {
            let _ = new.discard();
        }
        swapped.map(|_| ())
    }

    /// Writes what is left of neighbouring segments as one, synced.
    fn rewrite(
        &self,
        plan: &Plan,
        old: Vec<Arc<Segment>>,
        end: Offset,
        cleaner: &mut Cleaner<'_>,
    ) -> Result<Cleaned, CompactError> {
        let dir = self.layout.partition(plan.tp);
        let mut new: Option<Segment> = None;
        for (segment, segment_end) in old.iter().zip(ends(&old, end)) {
            walk(segment, segment_end, |batches| {
                let mut kept = Vec::new();
                for batch in batches {
                    let offset = batch.base_offset();
                    let left = cleaner.clean(batch).map_err(|source| ReadError::Batch { offset, source })?;
                    kept.extend(left);
                }
                if kept.is_empty() {
                    return Ok::<bool, CompactError>(true);
                }
                let base_offset = old[0].base_offset;
                let generation = old.iter().map(|segment| segment.generation()).max().unwrap_or(0) + 1;
                let made = match new.take() {
                    Some(segment) => Ok(segment),
                    None => Segment::create_cleaned(&self.disk, &dir, base_offset, generation),
                };
                let segment = made.map_err(LogError::io("create", &dir))?;
                let written = segment.append(&kept);
                new = Some(segment);
                written.map_err(LogError::io("write", &dir))?;
                Ok(true)
            })?;
        }
        if let Some(segment) = &new {
            let synced = segment.log_file().and_then(|file| file.sync_data());
            synced.map_err(LogError::io("sync", &dir))?;
        }
        Ok(Cleaned { old, new: new.map(Arc::new) })
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
            let mut state = self.state();
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

/// What a partition's run would rewrite, and how much of it is new, in thousandths.
fn plan(tp: TopicPartition, partition: &Partition, now_ms: i64) -> Option<(u64, Plan)> {
    let options = &partition.options;
    let stable = partition.bounds().last_stable_offset;
    let mut segments = Vec::new();
    let (mut end, mut all, mut dirty, mut overdue) = (partition.log_start_offset, 0, 0, false);
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
            overdue |= now_ms.saturating_sub(facts.max_timestamp) > options.max_compaction_lag_ms;
        }
        segments.push(Arc::clone(segment));
        end = segment_end;
    }
    let dirty_per_mille = (dirty * 1000).checked_div(all).unwrap_or(0);
    if dirty == 0 || !(overdue || dirty_per_mille >= options.min_dirty_per_mille) {
        return None;
    }
    let aborted = partition.aborted_in(partition.log_start_offset, end);
    let plan = Plan {
        tp,
        options: options.clone(),
        log_start_offset: partition.log_start_offset,
        cleaned_until: partition.cleaned_until,
        segments,
        end,
        aborted,
        now_ms,
    };
    Some((dirty_per_mille, plan))
}

impl Plan {
    /// The last offset of each key that is new, and the offset up to which there was room for them.
    fn latest(&self) -> Result<(LatestByKey, Offset), ReadError> {
        let mut latest = LatestByKey::default();
        for (segment, end) in self.segments.iter().zip(ends(&self.segments, self.end)) {
            if end <= self.cleaned_until {
                continue;
            }
            let mut noted = end;
            walk(segment, end, |batches| {
                for batch in batches {
                    let counts = batch.next_offset() > self.cleaned_until
                        && !batch.is_control()
                        && !crate::transactions::covers(&self.aborted, batch);
                    let offset = batch.base_offset();
                    let note = |source: BatchError| ReadError::Batch { offset, source };
                    if counts && !latest.note(batch).map_err(note)? {
                        noted = offset;
                        return Ok(false);
                    }
                }
                Ok::<bool, ReadError>(true)
            })?;
            if noted < end {
                return Ok((latest, noted));
            }
        }
        Ok((latest, self.end))
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

/// Shows all batches of a segment in order, until told to stop.
fn walk<E: From<ReadError>>(
    segment: &Segment,
    end: Offset,
    mut each: impl FnMut(&[LogBatch]) -> Result<bool, E>,
) -> Result<(), E> {
    let mut at = segment.base_offset;
    while at < end {
        let batches = segment.read(at, READ_BYTES)?;
        let Some(last) = batches.last() else { return Ok(()) };
        at = last.next_offset();
        if !each(&batches)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Why a run ended.
#[derive(Debug)]
enum CompactError {
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
