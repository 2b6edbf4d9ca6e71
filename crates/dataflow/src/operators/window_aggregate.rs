//! Aggregation per window and key.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use highwater_env::KeyGroup;
use highwater_state::{
    Cursor, EncodedKeys, KeyCodec, KeyedState, OperatorSnapshot, RestoredState, Slot, hash_bytes, mix,
};
use highwater_stream::{ChangeBatch, EventTime, WATERMARK_NONE, WindowAggregateSpec, WindowColumn};

use super::Place;
use super::calc::keep;
use super::window_table::window_ends;
use crate::JobError;
use crate::aggregates::Aggregates;
use crate::expressions::{as_type, record_batch, time_column};
use crate::operator::{Operator, Output, Progress};
use crate::windows::Windows;

/// Aggregates rows per window and key; says a window's results once the watermark passes its last ms; drops
/// rows whose window is over. Results come in order of window end, then of the key's first arrival.
///
/// State per (window, key): if rows may also go, how many there are (i64); the aggregates' states. Key: the window's end (8 bytes), then the key columns.
/// Timers are the ends of the windows there are.
pub(crate) struct WindowAggregate {
    place: Place,
    spec: WindowAggregateSpec,
    windows: Windows,
    codec: KeyCodec,
    state: KeyedState,
    aggregates: Aggregates,
    /// Rows may also go.
    retract: bool,
    /// Per slot: rows there now. Only kept when rows may also go.
    rows: Vec<i64>,
    /// By window end: its keys in order of arrival.
    open: BTreeMap<i64, Vec<Slot>>,
    watermark: EventTime,
    /// The watermark was passed on.
    said: bool,
    work: Option<Work>,
    firing: Option<Firing>,
}

/// A batch of which rows `at..` are not folded in yet: the windows that its watermarks close are said first.
struct Work {
    batch: ChangeBatch,
    keys: EncodedKeys,
    ends: Vec<i64>,
    at: usize,
}

/// A window that is over, of which keys `at..` are not said yet.
struct Firing {
    end: i64,
    slots: Vec<Slot>,
    at: usize,
}

impl WindowAggregate {
    pub(crate) fn new(
        place: &Place,
        input: &SchemaRef,
        spec: &WindowAggregateSpec,
        retract: bool,
    ) -> Result<Self, JobError> {
        let unsupported = |message| JobError::Unsupported { operator: place.title.clone(), message };
        let fields = spec.keys.len() + spec.calls.len() + spec.window_columns.len();
        if place.schema.fields().len() != fields || spec.keys.iter().any(|key| *key >= input.fields().len()) {
            return Err(JobError::Plan(format!("{}: its schema is not keys, calls, window", place.title)));
        }
        let types = spec.keys.iter().map(|key| input.field(*key).data_type().clone()).collect();
        Ok(Self {
            windows: Windows::new(&spec.window).map_err(unsupported)?,
            codec: KeyCodec::new(types).map_err(|e| unsupported(e.to_string()))?,
            state: KeyedState::default(),
            aggregates: Aggregates::new(&spec.calls, input, retract, &place.title)?,
            retract,
            rows: Vec::new(),
            open: BTreeMap::new(),
            watermark: WATERMARK_NONE,
            said: true,
            work: None,
            firing: None,
            place: place.clone(),
            spec: spec.clone(),
        })
    }

    /// Drops rows whose window was over before them. A row is judged before its own watermark.
    fn drop_late(
        &self,
        batch: ChangeBatch,
        ends: Vec<i64>,
        out: &mut Output,
    ) -> Result<(ChangeBatch, Vec<i64>), JobError> {
        if self.last_mark(&batch) < self.first_close(&ends) {
            return Ok((batch, ends));
        }
        let before = |row: usize| batch.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[row]);
        let mut last = (i64::MIN, EventTime::MIN);
        let mut in_time = |(row, end): (usize, &i64)| {
            if last.0 != *end {
                last = (*end, self.windows.closes_at(*end));
            }
            last.1 > self.watermark.max(before(row))
        };
        let kept = BooleanBuffer::from_iter(ends.iter().enumerate().map(&mut in_time));
        let count = kept.count_set_bits();
        if count == ends.len() {
            return Ok((batch, ends));
        }
        out.late += (ends.len() - count) as u64;
        let ends = kept.set_indices().map(|row| ends[row]).collect();
        Ok((keep(batch, &BooleanArray::new(kept, None))?, ends))
    }

    /// Folds in rows until one whose watermark closes a window, or the end of the batch; false: at the end.
    fn fold(&mut self, mut work: Work) -> Result<bool, JobError> {
        let from = work.at;
        let until = self.next_cut(&work);
        let mut slots = Vec::with_capacity(until - from);
        for row in from..until {
            let (end, key) = (work.ends[row], work.keys.get(row));
            let hash = hash_bytes(&key[8..]);
            let (slot, new) = self.state.slot(mix(hash, end as u64), KeyGroup::of_hash(hash), key);
            self.state.touch(slot);
            if new {
                self.open.entry(end).or_default().push(slot);
            }
            slots.push(slot);
        }
        self.grow();
        let weights: Option<Vec<i8>> = work
            .batch
            .kinds
            .as_ref()
            .map(|kinds| kinds[from..until].iter().map(|kind| kind.weight() as i8).collect());
        if self.retract {
            for (row, slot) in slots.iter().enumerate() {
                self.rows[*slot as usize] += weights.as_ref().map_or(1, |weights| i64::from(weights[row]));
            }
        }
        let rows = match (from, until) {
            (0, until) if until == work.batch.len() => work.batch.rows.clone(),
            _ => work.batch.rows.slice(from, until - from),
        };
        self.aggregates.update(&rows, &slots, weights.as_deref())?;
        let marks = work.batch.watermarks.as_ref();
        if until < work.batch.len() {
            self.watermark = self.watermark.max(marks.map_or(WATERMARK_NONE, |marks| marks[until]));
            self.said = false;
            work.at = until;
            self.work = Some(work);
            return Ok(true);
        }
        let last = marks.and_then(|marks| marks.last().copied()).unwrap_or(WATERMARK_NONE);
        self.watermark = self.watermark.max(last);
        Ok(false)
    }

    fn grow(&mut self) {
        self.aggregates.grow(self.state.slots());
        if self.retract {
            self.rows.resize(self.state.slots().max(self.rows.len()), 0);
        }
    }

    /// The first row behind `work.at` whose watermark closes a window that is open by then.
    fn next_cut(&self, work: &Work) -> usize {
        let (from, len) = (work.at, work.batch.len());
        let Some(marks) = work.batch.watermarks.as_ref() else { return len };
        if self.last_mark(&work.batch) < self.next_close().min(self.first_close(&work.ends[from..])) {
            return len;
        }
        let mut next = self.next_close();
        let mut last_end = i64::MIN;
        for row in from..len {
            if marks[row] >= next && row > from {
                return row;
            }
            if work.ends[row] != last_end {
                last_end = work.ends[row];
                next = next.min(self.windows.closes_at(last_end));
            }
        }
        len
    }

    /// The watermark before the batch's last row.
    fn last_mark(&self, batch: &ChangeBatch) -> EventTime {
        let last = batch.watermarks.as_ref().and_then(|marks| marks.last().copied());
        self.watermark.max(last.unwrap_or(WATERMARK_NONE))
    }

    /// The lowest watermark that closes one of these windows.
    fn first_close(&self, ends: &[i64]) -> EventTime {
        ends.iter().min().map_or(EventTime::MAX, |end| self.windows.closes_at(*end))
    }

    fn next_close(&self) -> EventTime {
        self.open.first_key_value().map_or(EventTime::MAX, |(end, _)| self.windows.closes_at(*end))
    }

    /// Says one bounded batch of a window that is over.
    fn fire(&mut self, mut firing: Firing, out: &mut Output) -> Result<(), JobError> {
        let until = firing.slots.len().min(firing.at + self.place.batch_rows_max);
        let slots = &firing.slots[firing.at..until];
        // A key whose rows all went gives no result.
        let left: Vec<Slot>;
        let slots = match self.retract {
            false => slots,
            true => {
                left = slots.iter().copied().filter(|slot| self.rows[*slot as usize] != 0).collect();
                &left
            }
        };
        if !slots.is_empty() {
            out.batch(ChangeBatch::inserts(self.results(firing.end, slots)?));
        }
        firing.at = until;
        if until < firing.slots.len() {
            self.firing = Some(firing);
            return Ok(());
        }
        for slot in &firing.slots {
            self.aggregates.clear(*slot);
            if self.retract {
                self.rows[*slot as usize] = 0;
            }
        }
        self.state.remove_prefix(&KeyCodec::prefix(firing.end), &firing.slots);
        Ok(())
    }

    fn results(&self, end: i64, slots: &[Slot]) -> Result<arrow::array::RecordBatch, JobError> {
        let Place { schema, title, uid, .. } = &self.place;
        let keys = self.codec.decode(slots.iter().map(|slot| &self.state.key(*slot)[8..]));
        let mut columns: Vec<ArrayRef> =
            keys.map_err(|error| JobError::State { operator: uid.clone(), error })?;
        columns.extend(self.aggregates.output(slots)?);
        for window_column in &self.spec.window_columns {
            let time = match window_column {
                WindowColumn::Start => self.windows.start_of_window(end),
                WindowColumn::End => end,
                WindowColumn::Time => self.windows.time_of_window(end),
            };
            let data_type = schema.field(columns.len()).data_type();
            columns.push(time_column(std::iter::repeat_n(time, slots.len()), data_type, title)?);
        }
        let typed = columns.into_iter().zip(schema.fields()).map(|(c, f)| as_type(c, f.data_type(), title));
        record_batch(schema, typed.collect::<Result<_, _>>()?, slots.len(), title)
    }
}

impl Operator for WindowAggregate {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let ends = window_ends(&mut self.windows, &batch, self.spec.window.time_column, &self.place.title)?;
        let (batch, ends) = self.drop_late(batch, ends, out)?;
        if batch.is_empty() {
            return Ok(Progress::Done);
        }
        let columns: Vec<ArrayRef> =
            self.spec.keys.iter().map(|key| batch.rows.column(*key).clone()).collect();
        let keys = self.codec.encode(&columns, batch.len(), Some(&ends));
        let keys = keys.map_err(|error| JobError::State { operator: self.place.uid.clone(), error })?;
        let first = batch.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[0]);
        self.watermark = self.watermark.max(first);
        self.work = Some(Work { batch, keys, ends, at: 0 });
        self.resume(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        self.watermark = self.watermark.max(watermark);
        // Also an old watermark goes on: it says that the input is active again.
        self.said = false;
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        loop {
            if let Some(firing) = self.firing.take() {
                self.fire(firing, out)?;
                return Ok(Progress::More);
            }
            if self.next_close() <= self.watermark
                && let Some((end, slots)) = self.open.pop_first()
            {
                self.firing = Some(Firing { end, slots, at: 0 });
                continue;
            }
            if !std::mem::replace(&mut self.said, true) {
                out.watermark(self.watermark);
            }
            match self.work.take() {
                Some(work) => self.fold(work)?,
                None => return Ok(Progress::Done),
            };
        }
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        let (aggregates, rows, retract) = (&self.aggregates, &self.rows, self.retract);
        let sections = self.state.snapshot(full, |slot, out| {
            if retract {
                out.extend_from_slice(&rows[slot as usize].to_le_bytes());
            }
            aggregates.write(slot, out);
        });
        Some(self.place.snapshot(full, self.watermark, sections))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        let failed = |error| JobError::State { operator: uid.clone(), error };
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            let short =
                || failed(highwater_state::StateError::Corrupt("a key without its window".to_owned()));
            let end = KeyCodec::prefix_number(key).ok_or_else(short)?;
            let slot = self.state.restore(mix(hash_bytes(&key[8..]), end as u64), group, key);
            self.grow();
            let mut value = Cursor::new(value);
            if self.retract {
                self.rows[slot as usize] = i64::from_le_bytes(value.array().map_err(failed)?);
            }
            self.aggregates.read(slot, &mut value).map_err(failed)?;
            self.open.entry(end).or_default().push(slot);
        }
        self.watermark = restored.watermark(&uid);
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        let columns = self.rows.capacity() * 8;
        (self.state.bytes() + self.aggregates.bytes() + columns + self.state.len() * 4, self.state.len())
    }
}
