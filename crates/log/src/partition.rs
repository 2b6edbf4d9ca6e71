//! One partition in memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use highwater_env::{Offset, Reservation};

use crate::producers::Producers;
use crate::segment::Segment;
use crate::transactions::AbortedTransaction;
use crate::{Bounds, LogBatch, PartitionOptions};

/// Offsets: segments hold `[log_start_offset, materialised)`, the tail holds
/// `[its first batch, log_end_offset)`; the tail starts at or before `materialised`.
#[derive(Default)]
pub(crate) struct Partition {
    pub(crate) options: PartitionOptions,
    pub(crate) log_start_offset: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) log_end_offset: Offset,
    pub(crate) materialised: Offset,
    /// Compaction has been over all records below it.
    pub(crate) cleaned_until: Offset,
    /// Set once compaction met stored bytes that it cannot read: it does not try again.
    pub(crate) uncleanable: bool,
    pub(crate) tail: VecDeque<TailBatch>,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// By all that was appended.
    pub(crate) producers: Producers,
    /// By what is durable: what is left of `producers` when appends are given up.
    pub(crate) durable_producers: Producers,
    /// Aborted transactions that end at or above `log_start_offset`, by the offset of their marker.
    pub(crate) aborted: VecDeque<AbortedTransaction>,
    /// Who waits for the high watermark to pass an offset.
    pub(crate) waiters: Vec<(Offset, Waker)>,
    /// The group that makes it, to wait for when it is made twice; 0 once recovered.
    pub(crate) created_in: u64,
    /// Set while its deletion is on its way to disk.
    pub(crate) deleting: bool,
}

/// A batch in memory, with what it holds of the budget (nothing if recovered beyond it).
pub(crate) struct TailBatch {
    pub(crate) batch: LogBatch,
    pub(crate) _reservation: Option<Reservation>,
}

impl Partition {
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            log_start_offset: self.log_start_offset,
            last_stable_offset: self.last_stable_offset(),
            high_watermark: self.high_watermark,
            log_end_offset: self.log_end_offset,
        }
    }

    /// Records may have been deleted from under an open transaction.
    fn last_stable_offset(&self) -> Offset {
        let first_open = self.durable_producers.first_open();
        first_open.map_or(self.high_watermark, |first_open| first_open.max(self.log_start_offset))
    }

    /// The next batch is durable.
    pub(crate) fn publish(&mut self, batch: &LogBatch, group: u64) {
        assert_eq!(self.high_watermark, batch.base_offset(), "groups publish in order");
        self.high_watermark = batch.next_offset();
        self.aborted.extend(self.durable_producers.apply(batch, group));
    }

    /// Its records below `offset` are deleted, durably.
    pub(crate) fn trim(&mut self, offset: Offset) {
        self.log_start_offset = self.log_start_offset.max(offset);
        while self.aborted.front().is_some_and(|aborted| aborted.last_offset < self.log_start_offset) {
            self.aborted.pop_front();
        }
    }

    /// How many segments, from the first, hold nothing at or above the log start offset. An empty one
    /// at the end is to be written to.
    pub(crate) fn trimmed_segments(&self) -> usize {
        let ends = self.segments.iter().skip(1).map(|next| next.base_offset).chain([self.materialised]);
        let is_trimmed = |(segment, end): &(&Arc<Segment>, Offset)| {
            *end <= self.log_start_offset && segment.base_offset < *end
        };
        self.segments.iter().zip(ends).take_while(is_trimmed).count()
    }

    /// Takes those segments away.
    pub(crate) fn take_trimmed_segments(&mut self) -> Vec<Arc<Segment>> {
        let trimmed = self.trimmed_segments();
        self.segments.drain(..trimmed).collect()
    }

    /// Durable batches in memory from the one that contains `from`; `None` if that one is not in
    /// memory.
    pub(crate) fn read_tail(&self, from: Offset, bytes_max: usize) -> Option<Vec<LogBatch>> {
        let after = self.tail.partition_point(|entry| entry.batch.base_offset() <= from);
        let first = after.checked_sub(1)?;
        let mut batches = Vec::new();
        let mut bytes = 0;
        for entry in self.tail.range(first..) {
            let batch = &entry.batch;
            bytes += batch.bytes().len();
            if batch.last_offset() >= self.high_watermark || (!batches.is_empty() && bytes > bytes_max) {
                break;
            }
            batches.push(batch.clone());
        }
        Some(batches)
    }

    /// Durable batches that are not in segments yet.
    pub(crate) fn unmaterialised(&self) -> Vec<LogBatch> {
        let first = self.tail.partition_point(|entry| entry.batch.base_offset() < self.materialised);
        let waiting = self.tail.range(first..).map(|entry| &entry.batch);
        waiting.take_while(|batch| batch.last_offset() < self.high_watermark).cloned().collect()
    }

    /// The segment that contains `offset` (if compaction took away the first ones: the first that is
    /// left), and the offset where what follows it begins.
    pub(crate) fn segment_of(&self, offset: Offset) -> Option<(Arc<Segment>, Offset)> {
        let after = self.segments.partition_point(|segment| segment.base_offset <= offset).max(1);
        let next = self.segments.get(after).map_or(self.materialised, |next| next.base_offset);
        Some((Arc::clone(self.segments.get(after - 1)?), next))
    }

    /// Aborted transactions with records in `[from, to)`.
    pub(crate) fn aborted_in(&self, from: Offset, to: Offset) -> Vec<AbortedTransaction> {
        let first = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        self.aborted.range(first..).filter(|aborted| aborted.first_offset < to).copied().collect()
    }

    /// Waiters whose offset lies below the high watermark.
    pub(crate) fn due_waiters(&mut self) -> impl Iterator<Item = Waker> {
        let high_watermark = self.high_watermark;
        let due: Vec<_> = self.waiters.extract_if(.., |(offset, _)| *offset < high_watermark).collect();
        due.into_iter().map(|(_, waker)| waker)
    }
}
