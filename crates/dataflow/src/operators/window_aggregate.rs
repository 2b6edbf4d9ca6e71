//! Aggregation per window and key.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use highwater_env::KeyGroup;
use highwater_state::{
    Cursor, EncodedKeys, KeyCodec, KeyedState, OperatorSnapshot, RestoredState, Slot, hash_bytes, mix,
};
use highwater_stream::{
    ChangeBatch, EventTime, WATERMARK_NONE, WindowAggregateSpec, WindowColumn, WindowShape,
};

use super::Place;
use super::calc::keep;
use super::window_table::slices;
use crate::JobError;
use crate::aggregates::Aggregates;
use crate::expressions::{as_type, record_batch, time_column};
use crate::operator::{Operator, Output, Progress};
use crate::windows::Windows;

/// Aggregates rows per window and key; says a window's results once the watermark passes its last ms; drops
/// rows whose windows are all over. Results come in order of window end, then of the key's first arrival.
///
/// Each row is folded into one slice. Where windows have several slices (HOP, CUMULATE), a window's slices are
/// merged when it is over: those of a hopping window for this once, those of a cumulating window for good into its
/// first, where rows of slices already said go, too.
///
/// State per (slice, key): if rows may also go, how many there are (i64); the aggregates' states. Key: the slice's
/// end (8 bytes), then the key columns. Timers are the windows of the slices there are.
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
    /// By slice end: its keys in order of arrival.
    open: BTreeMap<i64, Vec<Slot>>,
    /// Windows that end before are over. Only kept where windows share slices.
    floor: i64,
    /// In processing time: the last ms that has passed.
    watermark: EventTime,
    /// The watermark was passed on.
    said: bool,
    work: Option<Work>,
    firing: Option<Firing>,
    /// Room for a key.
    key: Vec<u8>,
}

/// Rows that are in time, the slice of each, and the first of its windows that is open.
type Timed = (ChangeBatch, Vec<i64>, Option<Vec<i64>>);

/// A batch of which rows `at..` are not folded in yet: the windows that its watermarks close are said first.
struct Work {
    batch: ChangeBatch,
    keys: EncodedKeys,
    /// Per row, its slice.
    slices: Vec<i64>,
    /// Per row, the first of its windows that is open. None: it is the slice.
    first_windows: Option<Vec<i64>>,
    at: usize,
}

impl Work {
    fn first_windows(&self) -> &[i64] {
        self.first_windows.as_ref().unwrap_or(&self.slices)
    }
}

/// A window that is over, of which keys `at..` are not said yet.
struct Firing {
    end: i64,
    slots: Vec<Slot>,
    at: usize,
    then: Then,
}

/// What becomes of the slots of a window that is said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// They are one slice, in no other window.
    RemoveSlice(i64),
    /// They were made for this window.
    RemoveSlots,
    Keep,
}

/// Prefix of the keys of a window's results that are merged from its slices: no slice ends there.
const MERGED: i64 = i64::MIN;

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
            floor: i64::MIN,
            watermark: WATERMARK_NONE,
            said: true,
            work: None,
            firing: None,
            key: Vec::new(),
            place: place.clone(),
            spec: spec.clone(),
        })
    }

    /// Drops rows whose windows were all over before them. A row is judged before its own watermark.
    fn drop_late(&self, batch: ChangeBatch, slices: Vec<i64>, out: &mut Output) -> Result<Timed, JobError> {
        if self.last_mark(&batch) < self.first_close(&slices) {
            return Ok((batch, slices, None));
        }
        let before = |row: usize| batch.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[row]);
        let mut last = (i64::MIN, EventTime::MIN);
        let mut in_time = |(row, slice): (usize, &i64)| {
            if last.0 != *slice {
                last = (*slice, self.windows.closes_at(self.windows.last_with(*slice)));
            }
            last.1 > self.watermark.max(before(row))
        };
        let kept = BooleanBuffer::from_iter(slices.iter().enumerate().map(&mut in_time));
        let shared = !self.windows.are_slices();
        let place = |row: usize| {
            let slice = slices[row];
            let first = self.windows.first_with(slice);
            match self.windows.first_open(first, self.watermark.max(before(row))) {
                open if open == first => (slice, first),
                // In a cumulating window the slices already said are one.
                open => (self.slice_of_late(slice), open),
            }
        };
        let (moved, first_windows): (Vec<i64>, Option<Vec<i64>>) = match shared {
            true => {
                let (moved, first) = kept.set_indices().map(place).unzip();
                (moved, Some(first))
            }
            false => (kept.set_indices().map(|row| slices[row]).collect(), None),
        };
        let count = moved.len();
        out.late += (slices.len() - count) as u64;
        let batch = if count == slices.len() { batch } else { keep(batch, &BooleanArray::new(kept, None))? };
        Ok((batch, moved, first_windows))
    }

    fn slice_of_late(&self, slice: i64) -> i64 {
        match self.spec.window.shape {
            WindowShape::Cumulate { .. } => self.windows.first_slice(slice),
            _ => slice,
        }
    }

    /// Folds in rows until one whose watermark closes a window, or the end of the batch; false: at the end.
    fn fold(&mut self, mut work: Work) -> Result<bool, JobError> {
        let from = work.at;
        let until = self.next_cut(&work);
        let mut slots = Vec::with_capacity(until - from);
        for row in from..until {
            let (slice, key) = (work.slices[row], work.keys.get(row));
            let hash = hash_bytes(&key[8..]);
            let (slot, new) = self.state.slot(mix(hash, slice as u64), KeyGroup::of_hash(hash), key);
            self.state.touch(slot);
            if new {
                self.open.entry(slice).or_default().push(slot);
            }
            slots.push(slot);
        }
        if let Some(first_windows) = &work.first_windows {
            // Windows before the first that a late row is in are over.
            let windows = &self.windows;
            let late =
                (from..until).filter(|row| first_windows[*row] > windows.first_with(work.slices[*row]));
            let over = late.map(|row| first_windows[row]).max();
            self.floor = self.floor.max(over.unwrap_or(i64::MIN));
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
        let windows = work.first_windows();
        if self.last_mark(&work.batch) < self.next_close().min(self.first_close(&windows[from..])) {
            return len;
        }
        let mut next = self.next_close();
        let mut last_end = i64::MIN;
        for row in from..len {
            if marks[row] >= next && row > from {
                return row;
            }
            if windows[row] != last_end {
                last_end = windows[row];
                next = next.min(self.windows.closes_at(last_end));
            }
        }
        len
    }

    /// All rows belong to the slice of now.
    fn slices_of_now(&mut self, batch: ChangeBatch, out: &Output) -> Timed {
        self.watermark = self.watermark.max(out.now_ms.saturating_sub(1));
        let slice = self.windows.end_of(self.watermark.saturating_add(1));
        let slices = vec![slice; batch.len()];
        let first = self.windows.first_with(slice);
        if first > self.windows.last_with(slice) {
            // Between two windows.
            return (batch.slice(0, 0), Vec::new(), None);
        }
        let first_windows = (first != slice).then(|| vec![first; batch.len()]);
        (ChangeBatch { watermarks: None, ..batch }, slices, first_windows)
    }

    /// Drops rows that are in no window.
    fn drop_gaps(&self, batch: ChangeBatch, slices: Vec<i64>) -> Result<(ChangeBatch, Vec<i64>), JobError> {
        match self.spec.window.shape {
            WindowShape::Hop { slide_ms, .. } if slide_ms > self.spec.window.size_ms => {}
            _ => return Ok((batch, slices)),
        }
        let windows = &self.windows;
        let within = |slice: &i64| windows.first_with(*slice) <= windows.last_with(*slice);
        let kept = BooleanBuffer::from_iter(slices.iter().map(within));
        let slices = kept.set_indices().map(|row| slices[row]).collect();
        Ok((keep(batch, &BooleanArray::new(kept, None))?, slices))
    }

    /// The watermark before the batch's last row.
    fn last_mark(&self, batch: &ChangeBatch) -> EventTime {
        let last = batch.watermarks.as_ref().and_then(|marks| marks.last().copied());
        self.watermark.max(last.unwrap_or(WATERMARK_NONE))
    }

    /// The lowest watermark that closes one of these windows, or of these slices' windows.
    fn first_close(&self, ends: &[i64]) -> EventTime {
        ends.iter().min().map_or(EventTime::MAX, |end| self.windows.closes_at(*end))
    }

    /// The next window that is said.
    fn next_window(&self) -> Option<i64> {
        let (slice, _) = self.open.first_key_value()?;
        Some(if self.windows.are_slices() { *slice } else { self.windows.first_with(*slice).max(self.floor) })
    }

    fn next_close(&self) -> EventTime {
        self.next_window().map_or(EventTime::MAX, |end| self.windows.closes_at(end))
    }

    /// The window that ends at `end` is over: its results, to be said.
    fn begin(&mut self, end: i64) -> Firing {
        self.floor = self.windows.next(end);
        match self.spec.window.shape {
            WindowShape::Hop { .. } => self.begin_hop(end),
            WindowShape::Cumulate { .. } => self.begin_cumulate(end),
            WindowShape::Tumble | WindowShape::Session | WindowShape::Attached => {
                let slots = self.open.remove(&end).unwrap_or_default();
                Firing { end, slots, at: 0, then: Then::RemoveSlice(end) }
            }
        }
    }

    fn begin_hop(&mut self, end: i64) -> Firing {
        let first = self.windows.first_slice(end);
        let mut slices: Vec<i64> = self.open.range(first..=end).map(|(slice, _)| *slice).collect();
        if !matches!(self.spec.window.shape, WindowShape::Hop { in_order: true, .. }) {
            slices.reverse();
        }
        if let [slice] = slices.as_slice() {
            let slots = self.open.get(slice).cloned().unwrap_or_default();
            return Firing { end, slots, at: 0, then: Then::Keep };
        }
        let mut merged = Vec::new();
        for slice in slices {
            let slots = self.open.remove(&slice).unwrap_or_default();
            for slot in &slots {
                self.merge(MERGED, *slot, &mut merged);
            }
            self.open.insert(slice, slots);
        }
        Firing { end, slots: merged, at: 0, then: Then::RemoveSlots }
    }

    fn begin_cumulate(&mut self, end: i64) -> Firing {
        let first = self.windows.first_slice(end);
        if first != end
            && let Some(slots) = self.open.remove(&end)
        {
            let mut whole = self.open.remove(&first).unwrap_or_default();
            for slot in &slots {
                let into = self.merge(first, *slot, &mut whole);
                self.state.touch(into);
                self.clear(*slot);
            }
            self.open.insert(first, whole);
            self.state.remove_prefix(&KeyCodec::prefix(end), &slots);
        }
        let last = self.windows.last_with(end) == end;
        let slots = if last { self.open.remove(&first) } else { self.open.get(&first).cloned() };
        let then = if last { Then::RemoveSlice(first) } else { Then::Keep };
        Firing { end, slots: slots.unwrap_or_default(), at: 0, then }
    }

    /// Adds what is at `from` to the same key at slice `into`, which is put into `slots` if it is new.
    fn merge(&mut self, into: i64, from: Slot, slots: &mut Vec<Slot>) -> Slot {
        self.key.clear();
        self.key.extend_from_slice(&KeyCodec::prefix(into));
        self.key.extend_from_slice(&self.state.key(from)[8..]);
        let hash = hash_bytes(&self.key[8..]);
        let (slot, new) = self.state.slot(mix(hash, into as u64), KeyGroup::of_hash(hash), &self.key);
        if new {
            slots.push(slot);
            self.grow();
        }
        self.aggregates.merge(slot, from);
        if self.retract {
            self.rows[slot as usize] += self.rows[from as usize];
        }
        slot
    }

    fn clear(&mut self, slot: Slot) {
        self.aggregates.clear(slot);
        if self.retract {
            self.rows[slot as usize] = 0;
        }
    }

    /// Forgets the slices that are in no window from `floor` on.
    fn drop_slices(&mut self) {
        while let Some((slice, _)) = self.open.first_key_value()
            && self.windows.last_with(*slice) < self.floor
            && let Some((slice, slots)) = self.open.pop_first()
        {
            self.remove_slice(slice, &slots);
        }
    }

    fn remove_slice(&mut self, slice: i64, slots: &[Slot]) {
        slots.iter().for_each(|slot| self.clear(*slot));
        self.state.remove_prefix(&KeyCodec::prefix(slice), slots);
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
        match firing.then {
            Then::RemoveSlice(slice) => self.remove_slice(slice, &firing.slots),
            Then::RemoveSlots => {
                for slot in firing.slots {
                    self.clear(slot);
                    self.state.remove(slot);
                }
            }
            Then::Keep => {}
        }
        if matches!(self.spec.window.shape, WindowShape::Hop { .. }) {
            self.drop_slices();
        }
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
                // The time at which the result is made.
                WindowColumn::Time if self.spec.window.processing_time => self.watermark.saturating_add(1),
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
        if batch.is_empty() {
            return Ok(Progress::Done);
        }
        let (batch, slices, first_windows) = match self.spec.window.processing_time {
            true if self.spec.window.shape != WindowShape::Attached => self.slices_of_now(batch, out),
            true => {
                let slices = slices(&mut self.windows, &batch, &self.spec.window, &self.place.title)?;
                (ChangeBatch { watermarks: None, ..batch }, slices, None)
            }
            false => {
                let slices = slices(&mut self.windows, &batch, &self.spec.window, &self.place.title)?;
                let (batch, slices) = self.drop_gaps(batch, slices)?;
                self.drop_late(batch, slices, out)?
            }
        };
        if batch.is_empty() {
            return Ok(Progress::Done);
        }
        let columns: Vec<ArrayRef> =
            self.spec.keys.iter().map(|key| batch.rows.column(*key).clone()).collect();
        let keys = self.codec.encode(&columns, batch.len(), Some(&slices));
        let keys = keys.map_err(|error| JobError::State { operator: self.place.uid.clone(), error })?;
        let first = batch.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[0]);
        self.watermark = self.watermark.max(first);
        let work = Work { batch, keys, slices, first_windows, at: 0 };
        if self.spec.window.processing_time && self.spec.window.shape == WindowShape::Attached {
            // Results of windows that are over: they are due at once, but not before all of them have come.
            return self.fold(work).map(|_| Progress::Done);
        }
        self.work = Some(work);
        self.resume(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        if self.spec.window.processing_time {
            // Also at the end of the input: what is open then has not come to its time.
            out.watermark(watermark);
            return Ok(Progress::Done);
        }
        self.watermark = self.watermark.max(watermark);
        // Also an old watermark goes on: it says that the input is active again.
        self.said = false;
        self.resume(out)
    }

    fn next_timer(&self) -> Option<i64> {
        let due = self.spec.window.processing_time.then(|| self.next_close())?;
        (due < EventTime::MAX).then_some(due.saturating_add(1))
    }

    fn on_time(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        self.watermark = self.watermark.max(out.now_ms.saturating_sub(1));
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        loop {
            if let Some(firing) = self.firing.take() {
                self.fire(firing, out)?;
                return Ok(Progress::More);
            }
            if self.next_close() <= self.watermark
                && let Some(end) = self.next_window()
            {
                self.firing = Some(self.begin(end));
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
        if let Some((slice, _)) = self.open.first_key_value().filter(|_| !self.windows.are_slices()) {
            // Also a window before those of the slices may still be open, and get late rows.
            let early = self.windows.long_over(self.windows.first_with(*slice), self.watermark);
            self.floor = self.windows.first_open(early, self.watermark);
        }
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        let columns = self.rows.capacity() * 8;
        (self.state.bytes() + self.aggregates.bytes() + columns + self.state.len() * 4, self.state.len())
    }
}
