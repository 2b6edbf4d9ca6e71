//! The first row per key in event time, once.

use std::collections::BTreeMap;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use highwater_env::KeyGroup;
use highwater_state::{Cursor, KeyedState, OperatorSnapshot, RestoredState, Slot, StateError, hash_bytes};
use highwater_stream::{ChangeBatch, EventTime, FirstRowSpec, WATERMARK_NONE};

use super::Place;
use super::ordered_rows::OrderedRows;
use super::window_rank::row_times;
use crate::JobError;
use crate::operator::{Operator, Output, Progress};

/// Keeps per key the row of the lowest event time, of equal ones the first to come; emits it once the watermark
/// reaches its time, and no other of its key after that. Drops rows behind the watermark. Inserts only.
///
/// State per key: 0 once its row was emitted; else 1, the row's time (i64), the row.
pub(crate) struct FirstRow {
    place: Place,
    rows: OrderedRows,
    time_column: usize,
    state: KeyedState,
    /// Per slot: the row that waits for its time. None: it was emitted.
    waiting: Vec<Option<Waiting>>,
    /// By time: slots whose row waits for it, unless an earlier one took its place.
    due: BTreeMap<EventTime, Vec<Slot>>,
    bytes: usize,
    watermark: EventTime,
    /// The watermark was passed on.
    said: bool,
}

struct Waiting {
    time: EventTime,
    row: Box<[u8]>,
}

impl FirstRow {
    pub(crate) fn new(place: &Place, input: &SchemaRef, spec: &FirstRowSpec) -> Result<Self, JobError> {
        if place.schema.fields().len() != input.fields().len() {
            return Err(JobError::Plan(format!("{}: its schema is not its input's", place.title)));
        }
        Ok(Self {
            rows: OrderedRows::new(place, input, &spec.keys, &[])?,
            time_column: spec.time_column,
            state: KeyedState::default(),
            waiting: Vec::new(),
            due: BTreeMap::new(),
            bytes: 0,
            watermark: WATERMARK_NONE,
            said: true,
            place: place.clone(),
        })
    }

    /// Emits rows that are due, about a batch of them. False: there were none.
    fn fire(&mut self, out: &mut Output) -> Result<bool, JobError> {
        let mut rows: Vec<Box<[u8]>> = Vec::new();
        while rows.len() < self.place.batch_rows_max.max(1) {
            let Some(due) = self.due.first_entry().filter(|due| *due.key() <= self.watermark) else { break };
            let time = *due.key();
            for slot in due.remove() {
                let waiting = &mut self.waiting[slot as usize];
                if let Some(first) = waiting.take_if(|first| first.time == time) {
                    self.bytes -= first.row.len();
                    rows.push(first.row);
                    self.state.touch(slot);
                }
            }
        }
        if rows.is_empty() {
            return Ok(false);
        }
        out.batch(ChangeBatch::inserts(self.rows.batch(rows.iter().map(|row| &**row), None)?));
        Ok(true)
    }

    fn wait(&mut self, slot: Slot, time: EventTime, row: &[u8]) {
        self.bytes += row.len();
        let old = self.waiting[slot as usize].replace(Waiting { time, row: row.into() });
        self.bytes -= old.map_or(0, |old| old.row.len());
        self.due.entry(time).or_default().push(slot);
    }
}

impl Operator for FirstRow {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let times = row_times(&batch, self.time_column, &self.place.title)?;
        let keys = self.rows.keys(&batch.rows, None)?;
        let mark = |row: usize| batch.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[row]);
        // Rows that were the first of their key when they came.
        let mut first: Vec<(Slot, u32)> = Vec::new();
        let mut times_now: Vec<(Slot, EventTime)> = Vec::new();
        for (row, time) in times.iter().enumerate() {
            if *time < self.watermark.max(mark(row)) {
                out.late += 1;
                continue;
            }
            let key = keys.get(row);
            let hash = hash_bytes(key);
            let (slot, fresh) = self.state.slot(hash, KeyGroup::of_hash(hash), key);
            if fresh {
                self.waiting.resize_with(self.state.slots().max(self.waiting.len()), || None);
            }
            let earlier = self.waiting[slot as usize].as_ref().is_some_and(|other| *time < other.time);
            if fresh || earlier {
                // The row itself follows below.
                self.wait(slot, *time, &[]);
                self.state.touch(slot);
                first.push((slot, row as u32));
                times_now.push((slot, *time));
            }
        }
        let chosen = UInt32Array::from_iter_values(first.iter().map(|(_, row)| *row));
        let chosen = take_record_batch(&batch.rows, &chosen);
        let rows =
            self.rows.rows(&chosen.map_err(|e| JobError::Plan(format!("{}: {e}", self.place.title)))?)?;
        for (number, (slot, time)) in times_now.into_iter().enumerate() {
            if let Some(waiting) = &mut self.waiting[slot as usize]
                && waiting.time == time
            {
                self.bytes += rows.get(number).len() - waiting.row.len();
                waiting.row = rows.get(number).into();
            }
        }
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        self.watermark = self.watermark.max(watermark);
        self.said = false;
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        if self.fire(out)? {
            return Ok(Progress::More);
        }
        if !std::mem::replace(&mut self.said, true) {
            out.watermark(self.watermark);
        }
        Ok(Progress::Done)
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        let waiting = &self.waiting;
        let sections = self.state.snapshot(full, |slot, out| match &waiting[slot as usize] {
            None => out.push(0),
            Some(Waiting { time, row }) => {
                out.push(1);
                out.extend_from_slice(&time.to_le_bytes());
                out.extend_from_slice(row);
            }
        });
        Some(self.place.snapshot(full, self.watermark, sections))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            let slot = self.state.restore(hash_bytes(key), group, key);
            self.waiting.resize_with(self.state.slots().max(self.waiting.len()), || None);
            if let Some((time, row)) = read(value).map_err(|e| self.rows.failed(e))? {
                self.wait(slot, time, row);
            }
        }
        self.watermark = restored.watermark(&uid);
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        let columns = self.waiting.capacity() * size_of::<Option<Waiting>>();
        (self.state.bytes() + self.bytes + columns, self.state.len())
    }
}

fn read(value: &[u8]) -> Result<Option<(EventTime, &[u8])>, StateError> {
    let mut cursor = Cursor::new(value);
    let [waits] = cursor.array()?;
    if waits == 0 {
        return Ok(None);
    }
    let time = EventTime::from_le_bytes(cursor.array()?);
    Ok(Some((time, cursor.rest())))
}
