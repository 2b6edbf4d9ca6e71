//! What frames gain and lose, and when results are told.

use std::iter::once;

use highwater_state::Slot;
use highwater_stream::EventTime;

/// Rows that enter and leave frames, in order, over many partitions: the aggregates run it at once.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// Counts scripts, to tell whether a partition is in this one.
    pub(super) number: u64,
    bytes: Vec<u8>,
    row_ends: Vec<usize>,
    /// Per row, its partition.
    pub(super) slots: Vec<Slot>,
    /// Per row, 1: it enters; -1: it leaves.
    pub(super) weights: Vec<i8>,
    /// Results are told behind these rows.
    pub(super) ends: Vec<usize>,
    /// The rows that come out.
    pub(super) emitted: Vec<u32>,
    /// Per row that comes out, which of the results it gets.
    pub(super) results: Vec<u32>,
    /// Per row that comes out, the watermark before it.
    pub(super) marks: Vec<EventTime>,
}

impl Script {
    /// A row enters its frame and comes out with the next result that is told.
    pub(super) fn enter(&mut self, slot: Slot, row: &[u8], mark: EventTime) {
        self.emitted.push(self.slots.len() as u32);
        self.results.push(self.ends.len() as u32);
        self.marks.push(mark);
        self.push(slot, row, 1);
    }

    /// A row leaves the frame.
    pub(super) fn leave(&mut self, slot: Slot, row: &[u8]) {
        self.push(slot, row, -1);
    }

    /// Results are told, if a row came since they were.
    pub(super) fn say(&mut self) {
        if self.ends.last().copied().unwrap_or(0) < self.slots.len() {
            self.ends.push(self.slots.len());
        }
    }

    /// The rows' bytes.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let starts = once(0).chain(self.row_ends.iter().copied());
        starts.zip(&self.row_ends).map(|(start, end)| &self.bytes[start..*end])
    }

    fn push(&mut self, slot: Slot, row: &[u8], weight: i8) {
        self.bytes.extend_from_slice(row);
        self.row_ends.push(self.bytes.len());
        self.slots.push(slot);
        self.weights.push(weight);
    }
}
