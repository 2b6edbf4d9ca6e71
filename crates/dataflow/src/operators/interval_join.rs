//! Joins of rows whose event times are near each other.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use highwater_env::KeyGroup;
use highwater_state::{
    Cursor, EncodedKeys, KeyCodec, KeyedMap, OperatorSnapshot, RestoredState, Slot, StateError, hash_bytes,
};
use highwater_stream::{ChangeBatch, EventTime, IntervalJoinSpec, WATERMARK_END, WATERMARK_NONE};

use super::Place;
use super::joined_rows::{Cell, PAIRS_MAX, ROWS_MAX, Side, side_by_side, side_key};
use crate::JobError;
use crate::expressions::{Compiled, row_times};
use crate::operator::{Operator, Output, Progress};

/// Rows without partner that a call emits.
const EXPIRED_MAX: usize = 8 << 10;

/// Joins each row with those rows of the other side that have the same key and an event time within bounds of
/// its own, at once. A row that the watermark has left behind matches nothing more and is forgotten; on a side
/// that an outer join keeps, it then comes out with NULLs if it had no partner.
///
/// A row that comes late joins what is still there; if nothing can come for it any more, it is not kept. As in
/// Flink, a watermark before 1970 counts as 1970. The watermark that goes on is held back by what a row may
/// wait for a partner.
///
/// State per key, in one map with the side (0 left, 1 right) before the key: each row under its event time and
/// its number (8 bytes each, in order), with a byte that says whether it had a partner.
pub(crate) struct IntervalJoin {
    place: Place,
    sides: [Side; 2],
    /// Per side, the column of its event time.
    times: [usize; 2],
    /// Per side: what the time of the other side's row may be, ms after its own, from and to.
    reach: [(i64, i64); 2],
    residual: Option<Compiled>,
    state: KeyedMap,
    /// Per side, where its rows are, by event time.
    order: [BTreeMap<EventTime, Vec<(Slot, u64)>>; 2],
    rows: usize,
    /// The number of the next row.
    next: u64,
    watermark: EventTime,
    /// The watermark that what comes out next stands behind, as its receiver sees it.
    passed: EventTime,
    /// The watermark was said; if not, the one said last.
    said: bool,
    last_said: EventTime,
    /// A batch that was not taken to its end: its input, and the first row that is still to come.
    pending: Option<(usize, ChangeBatch, usize)>,
    name: Vec<u8>,
}

/// A row of the other side that may match: the key's place and the row's name there.
type Candidate = (Slot, [u8; 16]);

/// What comes out, in order.
#[derive(Default)]
struct Emitted {
    /// Per side and output row. Pool 0 has the rows of the batch or the candidates, pool 1 rows without partner.
    cells: [Vec<Cell>; 2],
    /// The watermark that was passed on before each row.
    marks: Vec<EventTime>,
    /// Per side: rows without partner, as they are in state.
    alone: [Vec<Box<[u8]>>; 2],
}

impl Emitted {
    fn push(&mut self, side: usize, own: Cell, other: Cell, mark: EventTime) {
        self.cells[side].push(own);
        self.cells[1 - side].push(other);
        self.marks.push(mark);
    }
}

impl IntervalJoin {
    pub(crate) fn new(
        place: &Place,
        left: &SchemaRef,
        right: &SchemaRef,
        spec: &IntervalJoinSpec,
    ) -> Result<Self, JobError> {
        let residual = spec.join.residual.as_ref();
        Ok(Self {
            sides: Side::both(place, [left, right], &spec.join)?,
            times: [spec.left_time, spec.right_time],
            reach: [
                (spec.upper_ms.saturating_neg(), spec.lower_ms.saturating_neg()),
                (spec.lower_ms, spec.upper_ms),
            ],
            residual: residual.map(|on| Compiled::new(on, &place.schema, &place.title)).transpose()?,
            state: KeyedMap::default(),
            order: [BTreeMap::new(), BTreeMap::new()],
            rows: 0,
            next: 0,
            watermark: WATERMARK_NONE,
            passed: WATERMARK_NONE,
            said: true,
            last_said: WATERMARK_NONE,
            pending: None,
            name: Vec::new(),
            place: place.clone(),
        })
    }

    fn failed(&self, error: StateError) -> JobError {
        JobError::State { operator: self.place.uid.clone(), error }
    }

    /// The event time that rows are judged by.
    fn now(watermark: EventTime) -> EventTime {
        watermark.max(0)
    }

    /// The lowest time of a row of `side` that is still there at this watermark.
    fn oldest(&self, side: usize, watermark: EventTime) -> EventTime {
        match watermark {
            WATERMARK_END => EventTime::MAX,
            _ => Self::now(watermark).saturating_sub(self.reach[side].1),
        }
    }

    /// The watermark that goes on for this one.
    fn held_back(&self, watermark: EventTime) -> EventTime {
        let delay = self.reach[0].1.max(self.reach[1].1).max(0);
        if watermark == WATERMARK_END || self.is_never() {
            watermark
        } else {
            watermark.saturating_sub(delay)
        }
    }

    /// Whether no two times are within the bounds.
    fn is_never(&self) -> bool {
        self.reach[0].0 > self.reach[0].1
    }

    /// Takes rows of `batch` from `start` until enough is said.
    fn take_in(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        start: usize,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let rest = batch.slice(start, ROWS_MAX.min(batch.len() - start));
        let times = row_times(&rest.rows, self.times[input], &self.place.title)?;
        let side = &self.sides[input];
        let columns = side.key_columns(&rest.rows);
        let keys = side.key_codec.encode(&columns, rest.len(), None).map_err(|e| self.failed(e))?;
        let joinable = side.joinable(&columns, rest.len());
        let (candidates, of_row, others) = self.candidates(input, &rest, &times, (&keys, &joinable))?;
        let rest = rest.slice(0, of_row.len());
        let matches = self.matches(input, &rest.rows, &others, &of_row)?;
        let rows = self.sides[input].row_codec.encode(rest.rows.columns(), rest.len(), None);
        let rows = rows.map_err(|e| self.failed(e))?;
        let mut emitted = Emitted::default();
        let mut first = 0;
        let mut taken = 0;
        for (row, last) in of_row.iter().enumerate() {
            let mark = rest.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[row]);
            if mark > self.watermark {
                self.watermark = mark;
                self.said = false;
                if !self.expire(&mut emitted) {
                    break;
                }
            }
            let partners = matches[first..*last].iter().enumerate().filter(|(_, matches)| **matches);
            let partners = partners.map(|(index, _)| (first + index) as u32);
            let storable = joinable[row] || self.sides[input].kept;
            let store = (storable, times[row], keys.get(row), rows.get(row));
            self.apply(input, row, (partners, &candidates), store, &mut emitted);
            (first, taken) = (*last, row + 1);
        }
        self.emit((input, rest.rows.columns(), &others), emitted, out)?;
        self.state.sweep();
        if start + taken < batch.len() {
            self.pending = Some((input, batch, start + taken));
            return Ok(Progress::More);
        }
        Ok(Progress::Done)
    }

    /// Rows of the other side that the first rows may match, their columns, and per row of the batch where its
    /// candidates end: all rows, or fewer if that is already much.
    #[expect(clippy::type_complexity, reason = "one caller")]
    fn candidates(
        &mut self,
        input: usize,
        rest: &ChangeBatch,
        times: &[EventTime],
        (keys, joinable): (&EncodedKeys, &[bool]),
    ) -> Result<(Vec<Candidate>, Vec<usize>, Vec<ArrayRef>), JobError> {
        let mut name = std::mem::take(&mut self.name);
        let (mut found, mut rows, mut of_row) = (Vec::new(), Vec::new(), Vec::with_capacity(rest.len()));
        let (from, to) = self.reach[input];
        for (row, (time, joinable)) in times.iter().zip(joinable).enumerate() {
            let mark = rest.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[row]);
            let oldest = self.oldest(1 - input, mark.max(self.watermark));
            let (lowest, highest) = (time.saturating_add(from).max(oldest), time.saturating_add(to));
            if *joinable && lowest <= highest {
                let key = keys.get(row);
                side_key(1 - input, key, &mut name);
                if let Some(slot) = self.state.find(hash_bytes(key), &name) {
                    let (low, high) = (row_name(lowest, 0), row_name(highest, u64::MAX));
                    for (name, value) in self.state.range(slot, &low[..]..=&high[..]) {
                        found.push((slot, name.try_into().map_err(|_| self.failed(corrupt()))?));
                        rows.push(value.get(1..).unwrap_or_default());
                    }
                }
            }
            of_row.push(found.len());
            if found.len() >= PAIRS_MAX {
                break;
            }
        }
        let others = self.sides[1 - input].decode(rows.into_iter()).map_err(|e| self.failed(e))?;
        self.name = name;
        Ok((found, of_row, others))
    }

    /// Per candidate: whether the rest of the condition is true.
    fn matches(
        &self,
        input: usize,
        own: &RecordBatch,
        others: &[ArrayRef],
        of_row: &[usize],
    ) -> Result<Vec<bool>, JobError> {
        let pairs = of_row.last().copied().unwrap_or(0);
        let Some(residual) = self.residual.as_ref().filter(|_| pairs > 0) else {
            return Ok(vec![true; pairs]);
        };
        let mut rows = Vec::with_capacity(pairs);
        for (row, last) in of_row.iter().enumerate() {
            rows.resize(*last, row as u32);
        }
        let own = self.sides[input].gather(own.columns(), &UInt32Array::from(rows), &self.place.title)?;
        let (left, right) = if input == 0 { (own, others.to_vec()) } else { (others.to_vec(), own) };
        let joined = side_by_side(&self.place.schema, left, right, pairs, &self.place.title)?;
        Ok(residual.evaluate_boolean(&joined)?.iter().map(|is_true| is_true == Some(true)).collect())
    }

    /// One row: what comes out, and what state becomes.
    fn apply(
        &mut self,
        input: usize,
        row: usize,
        (partners, candidates): (impl Iterator<Item = u32>, &[Candidate]),
        (storable, time, key, bytes): (bool, EventTime, &[u8], &[u8]),
        emitted: &mut Emitted,
    ) {
        let own = Some((0, row as u32));
        let mark = self.passed;
        let other_kept = self.sides[1 - input].kept;
        let mut matched = false;
        for partner in partners {
            matched = true;
            emitted.push(input, own, Some((0, partner)), mark);
            let (slot, name) = candidates[partner as usize];
            if other_kept && let Some([0, row @ ..]) = self.state.get(slot, &name) {
                let value = [&[1], row].concat();
                self.state.put(slot, &name, &value);
            }
        }
        let waits = Self::now(self.watermark) < time.saturating_add(self.reach[input].1) && !self.is_never();
        if !waits {
            if !matched && self.sides[input].kept {
                emitted.push(input, own, None, mark);
            }
        } else if storable {
            let hash = hash_bytes(key);
            side_key(input, key, &mut self.name);
            let slot = self.state.slot(hash, KeyGroup::of_hash(hash), &self.name);
            self.name.clear();
            self.name.push(u8::from(matched));
            self.name.extend_from_slice(bytes);
            self.state.put(slot, &row_name(time, self.next), &self.name);
            self.order[input].entry(time).or_default().push((slot, self.next));
            self.next += 1;
            self.rows += 1;
        }
    }

    /// Forgets rows that match nothing more. False: there are more than one call may emit.
    fn expire(&mut self, emitted: &mut Emitted) -> bool {
        let mark = self.passed;
        for side in [0, 1] {
            let oldest = self.oldest(side, self.watermark);
            while let Some(mut bucket) = self.order[side].first_entry()
                && (*bucket.key() < oldest || self.watermark == WATERMARK_END)
            {
                let time = *bucket.key();
                let left = EXPIRED_MAX.saturating_sub(emitted.marks.len());
                if left == 0 {
                    return false;
                }
                let gone = bucket.get().len().min(left);
                let gone: Vec<(Slot, u64)> = bucket.get_mut().drain(..gone).collect();
                if bucket.get().is_empty() {
                    bucket.remove();
                }
                self.rows -= gone.len();
                for (slot, number) in gone {
                    let value = self.state.remove(slot, &row_name(time, number));
                    if self.sides[side].kept
                        && let Some(value) = value.filter(|value| value.first() == Some(&0))
                    {
                        let alone = (1, emitted.alone[side].len() as u32);
                        emitted.alone[side].push(value);
                        emitted.push(side, Some(alone), None, mark);
                    }
                }
            }
        }
        self.passed = self.passed.max(self.held_back(self.watermark));
        true
    }

    fn emit(
        &self,
        (input, own, others): (usize, &[ArrayRef], &[ArrayRef]),
        emitted: Emitted,
        out: &mut Output,
    ) -> Result<(), JobError> {
        let rows = emitted.marks.len();
        if rows == 0 {
            return Ok(());
        }
        let columns = |side: usize| -> Result<Vec<ArrayRef>, JobError> {
            let alone = emitted.alone[side].iter().map(|value| &value[1..]);
            let alone = self.sides[side].decode(alone).map_err(|e| self.failed(e))?;
            let pool = if side == input { own } else { others };
            self.sides[side].gather_of([pool, &alone], &emitted.cells[side], &self.place.title)
        };
        let batch = ChangeBatch::inserts(side_by_side(
            &self.place.schema,
            columns(0)?,
            columns(1)?,
            rows,
            &self.place.title,
        )?);
        let moved = emitted.marks.last().is_some_and(|mark| *mark > self.last_said);
        out.batch(if moved { batch.with_watermarks(emitted.marks.into()) } else { batch });
        Ok(())
    }
}

fn row_name(time: EventTime, number: u64) -> [u8; 16] {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&KeyCodec::prefix(time));
    name[8..].copy_from_slice(&number.to_be_bytes());
    name
}

/// Event time and number of a row.
fn read_name(name: &[u8]) -> Option<(EventTime, u64)> {
    let number = u64::from_be_bytes(name.get(8..)?.try_into().ok()?);
    Some((KeyCodec::prefix_number(name)?, number))
}

fn corrupt() -> StateError {
    StateError::Corrupt("a row of an interval join without its time".to_owned())
}

impl Operator for IntervalJoin {
    fn on_batch(&mut self, input: usize, batch: ChangeBatch, out: &mut Output) -> Result<Progress, JobError> {
        self.pending = Some((input, batch, 0));
        self.resume(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        self.watermark = self.watermark.max(watermark);
        // Also an old watermark goes on: it says that the input is active again.
        self.said = false;
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        let mut emitted = Emitted::default();
        let done = self.expire(&mut emitted);
        self.emit((0, &[], &[]), emitted, out)?;
        if !done {
            return Ok(Progress::More);
        }
        if let Some((input, batch, start)) = self.pending.take()
            && self.take_in(input, batch, start, out)? == Progress::More
        {
            return Ok(Progress::More);
        }
        self.state.sweep();
        if !std::mem::replace(&mut self.said, true) {
            self.last_said = self.held_back(self.watermark);
            out.watermark(self.last_said);
        }
        Ok(Progress::Done)
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        let sections = self.state.snapshot(full);
        Some(self.place.snapshot(full, self.watermark, sections))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        // Both sides of a key lie where the key alone belongs.
        let hash = |key: &[u8]| hash_bytes(key.get(1..).unwrap_or_default());
        for (group, disk_key, value) in restored.entries(&uid, shard, shards) {
            let mut cursor = Cursor::new(disk_key);
            let side = cursor.counted().map_err(|e| self.failed(e))?.first().copied();
            let name = read_name(cursor.rest());
            let (Some((time, number)), Some(side @ 0..=1)) = (name, side) else {
                return Err(self.failed(corrupt()));
            };
            let slot = self.state.restore(hash, group, disk_key, value).map_err(|e| self.failed(e))?;
            self.order[usize::from(side)].entry(time).or_default().push((slot, number));
            self.next = self.next.max(number + 1);
            self.rows += 1;
        }
        for bucket in self.order.iter_mut().flat_map(BTreeMap::values_mut) {
            bucket.sort_by_key(|(_, number)| *number);
        }
        self.watermark = restored.watermark(&uid);
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        (self.state.bytes() + self.rows * size_of::<(EventTime, Slot, u64)>(), self.state.len())
    }
}

#[cfg(test)]
mod tests;
