//! Rows in the order of event time.

use arrow::datatypes::SchemaRef;
use highwater_env::KeyGroup;
use highwater_state::{KeyCodec, KeyedMap, OperatorSnapshot, RestoredState, Slot, StateError, hash_bytes};
use highwater_stream::{ChangeBatch, EventTime, SortSpec, WATERMARK_NONE};

use super::Place;
use super::ordered_rows::{OrderedRows, entry_name, sequence_of};
use super::window_rank::row_times;
use crate::JobError;
use crate::operator::{Operator, Output, Progress};

/// The keys of state: rows that wait, and the time of the last that did not have to.
const ROWS: &[u8] = &[0];
const REACHED: &[u8] = &[1];

/// Emits rows in the order of their event time as the watermark reaches it, those of one time in an order of their
/// own. Drops rows that are not after the last time that was reached by a row. Inserts only.
///
/// State: the row's time (8 bytes), order and sequence number, to the row; and the last time reached (i64).
pub(crate) struct Sort {
    place: Place,
    rows: OrderedRows,
    time_column: usize,
    state: KeyedMap,
    sequence: u64,
    /// The time of the last row that the watermark reached.
    reached: EventTime,
    watermark: EventTime,
    /// The watermark was passed on.
    said: bool,
}

impl Sort {
    pub(crate) fn new(place: &Place, input: &SchemaRef, spec: &SortSpec) -> Result<Self, JobError> {
        if place.schema.fields().len() != input.fields().len() || place.shards != 1 {
            return Err(JobError::Plan(format!(
                "{}: sorts in one instance, and adds no column",
                place.title
            )));
        }
        Ok(Self {
            rows: OrderedRows::new(place, input, &[], &spec.order)?,
            time_column: spec.time_column,
            state: KeyedMap::default(),
            sequence: 0,
            reached: WATERMARK_NONE,
            watermark: WATERMARK_NONE,
            said: true,
            place: place.clone(),
        })
    }

    fn slot(&mut self, key: &[u8]) -> Slot {
        let hash = hash_bytes(key);
        self.state.slot(hash, KeyGroup::of_hash(hash), key)
    }

    /// The watermark rises: notes the time of the last row that it reaches. A row that comes behind the watermark,
    /// but after that time, waits until the watermark rises again.
    fn rise(&mut self, slot: Slot, watermark: EventTime) {
        if watermark <= self.watermark {
            return;
        }
        self.watermark = watermark;
        let behind = KeyCodec::prefix(watermark.saturating_add(1));
        let last = match watermark {
            EventTime::MAX => self.state.all(slot).next_back(),
            _ => self.state.range(slot, ..&behind[..]).next_back(),
        };
        if let Some(time) = last.and_then(|(name, _)| KeyCodec::prefix_number(name))
            && time > self.reached
        {
            self.reached = time;
            let reached = self.slot(REACHED);
            self.state.put(reached, &[], &time.to_le_bytes());
        }
    }

    /// Emits about a batch of rows that the watermark reached. False: there were none.
    fn fire(&mut self, out: &mut Output) -> Result<bool, JobError> {
        let slot = self.slot(ROWS);
        let due = self.state.all(slot).take(self.place.batch_rows_max.max(1));
        let due = due
            .take_while(|(name, _)| KeyCodec::prefix_number(name).is_some_and(|time| time <= self.reached));
        let names: Vec<Box<[u8]>> = due.map(|(name, _)| name.into()).collect();
        if names.is_empty() {
            return Ok(false);
        }
        let rows: Vec<Box<[u8]>> = names.iter().filter_map(|name| self.state.remove(slot, name)).collect();
        out.batch(ChangeBatch::inserts(self.rows.batch(rows.iter().map(|row| &**row), None)?));
        Ok(true)
    }
}

impl Operator for Sort {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let times = row_times(&batch, self.time_column, &self.place.title)?;
        let orders = self.rows.orders(&batch.rows)?;
        let rows = self.rows.rows(&batch.rows)?;
        let slot = self.slot(ROWS);
        let (mut order, mut name) = (Vec::new(), Vec::new());
        for (row, time) in times.iter().enumerate() {
            let before = batch.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[row]);
            self.rise(slot, before);
            if *time <= self.reached {
                out.late += 1;
                continue;
            }
            order.clear();
            order.extend_from_slice(&KeyCodec::prefix(*time));
            order.extend_from_slice(orders.get(row));
            entry_name(&mut name, &order, self.sequence, false);
            self.sequence += 1;
            self.state.put(slot, &name, rows.get(row));
        }
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        let slot = self.slot(ROWS);
        self.rise(slot, watermark);
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
        let sections = self.state.snapshot(full);
        Some(self.place.snapshot(full, self.watermark, sections))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            self.state.restore(hash_bytes, group, key, value).map_err(|e| self.rows.failed(e))?;
        }
        let slot = self.slot(ROWS);
        for (name, _) in self.state.all(slot) {
            let sequence = sequence_of(name, false).map_err(|e| self.rows.failed(e))?;
            self.sequence = self.sequence.max(sequence.saturating_add(1));
        }
        let slot = self.slot(REACHED);
        if let Some(reached) = self.state.get(slot, &[]) {
            let short = || StateError::Corrupt("a time of fewer than 8 bytes".to_owned());
            let bytes = reached.first_chunk().ok_or_else(short).map_err(|e| self.rows.failed(e))?;
            self.reached = EventTime::from_le_bytes(*bytes);
        }
        self.watermark = restored.watermark(&uid);
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        (self.state.bytes(), self.state.entries())
    }
}
