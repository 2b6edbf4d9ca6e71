//! The first rows of each partition of a window.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use highwater_env::KeyGroup;
use highwater_state::{
    KeyCodec, KeyedMap, OperatorSnapshot, RestoredState, Slot, StateError, hash_bytes, mix,
};
use highwater_stream::{ChangeBatch, EventTime, WATERMARK_NONE, WindowRankSpec, WindowShape, WindowSpec};

use super::Place;
use super::calc::keep;
use super::ordered_rows::{OrderedRows, entry_name, sequence_of};
use crate::JobError;
use crate::expressions::event_times;
use crate::operator::{Operator, Output, Progress};
use crate::windows::Windows;

/// Keeps the rows of each window and partition up to the last wanted rank; emits them in order once the watermark
/// passes the window's last ms; drops rows whose window is over. Inserts only.
///
/// State per window and partition: the row's order and sequence number, to the row. Key: the window's end (8
/// bytes), then the partition.
pub(crate) struct WindowRank {
    place: Place,
    rows: OrderedRows,
    spec: WindowRankSpec,
    /// Knows when a window is over.
    windows: Windows,
    state: KeyedMap,
    sequence: u64,
    /// By window end: its partitions in order of arrival.
    open: BTreeMap<i64, Vec<Slot>>,
    /// A window that is over, and how many of its partitions were said.
    firing: Option<(Vec<Slot>, usize)>,
    watermark: EventTime,
    /// The watermark was passed on.
    said: bool,
}

impl WindowRank {
    pub(crate) fn new(place: &Place, input: &SchemaRef, spec: &WindowRankSpec) -> Result<Self, JobError> {
        let fields = input.fields().len() + usize::from(spec.rank.numbered);
        let (first, last) = spec.rank.ranks;
        if place.schema.fields().len() != fields || first == 0 || first > last {
            return Err(JobError::Plan(format!("{}: its schema is not its input's", place.title)));
        }
        // Only the end of windows is asked for, not their size.
        let window = WindowSpec {
            time_column: spec.window_end,
            shape: WindowShape::Attached,
            size_ms: 1,
            offset_ms: 0,
            zone: spec.zone.clone(),
            processing_time: false,
        };
        let unsupported = |message| JobError::Unsupported { operator: place.title.clone(), message };
        Ok(Self {
            rows: OrderedRows::new(place, input, &spec.rank.keys, &spec.rank.order)?,
            windows: Windows::new(&window).map_err(unsupported)?,
            spec: spec.clone(),
            state: KeyedMap::default(),
            sequence: 0,
            open: BTreeMap::new(),
            firing: None,
            watermark: WATERMARK_NONE,
            said: true,
            place: place.clone(),
        })
    }

    /// Drops rows whose window was over before them.
    fn drop_late(
        &self,
        batch: ChangeBatch,
        ends: Vec<i64>,
        out: &mut Output,
    ) -> Result<(ChangeBatch, Vec<i64>), JobError> {
        let mark = |row: usize| batch.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[row]);
        let in_time =
            |(row, end): (usize, &i64)| self.windows.closes_at(*end) > self.watermark.max(mark(row));
        let kept = BooleanBuffer::from_iter(ends.iter().enumerate().map(in_time));
        let late = ends.len() - kept.count_set_bits();
        if late == 0 {
            return Ok((batch, ends));
        }
        out.late += late as u64;
        let ends = kept.set_indices().map(|row| ends[row]).collect();
        Ok((keep(batch, &BooleanArray::new(kept, None))?, ends))
    }

    fn insert(&mut self, slot: Slot, order: &[u8], row: &[u8], name: &mut Vec<u8>) {
        let last = usize::try_from(self.spec.rank.ranks.1).unwrap_or(usize::MAX);
        entry_name(name, order, self.sequence, self.spec.rank.later_first);
        let full = self.state.len_at(slot) >= last;
        if full && self.state.all(slot).next_back().is_some_and(|(last, _)| last < name.as_slice()) {
            return;
        }
        self.sequence += 1;
        self.state.put(slot, name, row);
        if full {
            let behind = self.state.all(slot).next_back().map(|(last, _)| last);
            name.clear();
            name.extend_from_slice(behind.unwrap_or_default());
            self.state.remove(slot, name);
        }
    }

    /// Says whole partitions of a window until that is about a batch.
    fn fire(&mut self, (slots, from): (Vec<Slot>, usize), out: &mut Output) -> Result<(), JobError> {
        let (first, last) = self.spec.rank.ranks;
        let skipped = usize::try_from(first - 1).unwrap_or(usize::MAX);
        let (mut rows, mut ranks) = (Vec::new(), Vec::new());
        let mut until = from;
        while until < slots.len() && rows.len() < self.place.batch_rows_max.max(1) {
            let ranked = self.state.all(slots[until]).map(|(_, row)| row).zip(1_u64..=last).skip(skipped);
            for (row, rank) in ranked {
                rows.push(row);
                ranks.push(i64::try_from(rank).unwrap_or(i64::MAX));
            }
            until += 1;
        }
        let numbers =
            self.spec.rank.numbered.then(|| std::sync::Arc::new(Int64Array::from(ranks)) as ArrayRef);
        if !rows.is_empty() {
            out.batch(ChangeBatch::inserts(self.rows.batch(rows.into_iter(), numbers)?));
        }
        slots[from..until].iter().for_each(|slot| self.state.clear(*slot));
        if until < slots.len() {
            self.firing = Some((slots, until));
        } else {
            self.state.sweep();
        }
        Ok(())
    }

    fn hash(key: &[u8]) -> u64 {
        let (end, key) = key.split_at_checked(8).unwrap_or_default();
        mix(hash_bytes(key), KeyCodec::prefix_number(end).unwrap_or_default() as u64)
    }
}

impl Operator for WindowRank {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let ends = row_times(&batch, self.spec.window_end, &self.place.title)?;
        let (batch, ends) = self.drop_late(batch, ends, out)?;
        if batch.is_empty() {
            return Ok(Progress::Done);
        }
        let keys = self.rows.keys(&batch.rows, Some(&ends))?;
        let orders = self.rows.orders(&batch.rows)?;
        let rows = self.rows.rows(&batch.rows)?;
        let mut name = Vec::new();
        for (row, end) in ends.iter().enumerate() {
            let key = keys.get(row);
            let hash = Self::hash(key);
            let slot = match self.state.find(hash, key) {
                Some(slot) => slot,
                None => {
                    let group = KeyGroup::of_hash(hash_bytes(&key[8..]));
                    let slot = self.state.slot(hash, group, key);
                    self.open.entry(*end).or_default().push(slot);
                    slot
                }
            };
            self.insert(slot, orders.get(row), rows.get(row), &mut name);
        }
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        self.watermark = self.watermark.max(watermark);
        self.said = false;
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        if let Some(firing) = self.firing.take() {
            self.fire(firing, out)?;
            return Ok(Progress::More);
        }
        let next = self.open.first_entry();
        if let Some(window) = next.filter(|window| self.windows.closes_at(*window.key()) <= self.watermark) {
            let slots = window.remove();
            self.fire((slots, 0), out)?;
            return Ok(Progress::More);
        }
        if !std::mem::replace(&mut self.said, true) {
            out.watermark(self.watermark);
        }
        Ok(Progress::Done)
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        let sections = self.state.snapshot(full);
        Some(self.place.snapshot(full, self.watermark, sections))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            self.state.restore(Self::hash, group, key, value).map_err(|e| self.rows.failed(e))?;
        }
        let slots: Vec<Slot> = self.state.live().collect();
        for slot in slots {
            let short = || StateError::Corrupt("a key without its window".to_owned());
            let end = KeyCodec::prefix_number(self.state.key(slot)).ok_or_else(short);
            self.open.entry(end.map_err(|e| self.rows.failed(e))?).or_default().push(slot);
            for (name, _) in self.state.all(slot) {
                let sequence =
                    sequence_of(name, self.spec.rank.later_first).map_err(|e| self.rows.failed(e))?;
                self.sequence = self.sequence.max(sequence.saturating_add(1));
            }
        }
        self.watermark = restored.watermark(&uid);
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        (self.state.bytes() + self.state.len() * 4, self.state.len())
    }
}

/// The event time of each row.
pub(super) fn row_times(
    batch: &ChangeBatch,
    column: usize,
    operator: &str,
) -> Result<Vec<EventTime>, JobError> {
    let times = batch.rows.columns().get(column).and_then(event_times);
    let Some(times) = times else {
        return Err(JobError::Plan(format!("{operator}: column {column} is not a timestamp")));
    };
    if let Some(row) = times.nulls().and_then(|nulls| nulls.iter().position(|valid| !valid)) {
        let name = batch.rows.schema_ref().field(column).name().clone();
        let message = format!(
            "event time {name} is NULL in row {row} of a batch, expected a timestamp: filter such rows"
        );
        return Err(JobError::Evaluation { operator: operator.to_owned(), message });
    }
    Ok(times.values().to_vec())
}
