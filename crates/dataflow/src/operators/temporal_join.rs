//! Joins of rows with the version of another row that was valid at their time.

use std::collections::BTreeMap;

use arrow::array::UInt32Array;
use arrow::datatypes::SchemaRef;
use highwater_env::KeyGroup;
use highwater_state::{
    Cursor, KeyCodec, KeyedMap, OperatorSnapshot, RestoredState, Slot, StateError, hash_bytes,
};
use highwater_stream::{ChangeBatch, EventTime, RowKind, TemporalJoinSpec, WATERMARK_NONE};

use super::Place;
use super::joined_rows::{Side, side_by_side, side_key};
use crate::JobError;
use crate::expressions::{Compiled, row_times};
use crate::operator::{Operator, Output, Progress};

/// Rows that a call joins.
const JOINED_MAX: usize = 8 << 10;

/// Keeps rows of left until the watermark reaches their event time; then each joins the last version of right
/// with its key that is not younger than the row. A deletion is a version without a row. Rows of left that are
/// older than the watermark when they come are dropped: their version may be gone. Versions that come late count
/// from then on.
///
/// Results come in order of left's event time, then of arrival, with left's row kinds.
///
/// State per key, in one map with the side (0 left, 1 right) before the key. Left: each row under its event time
/// and its number (8 bytes each, in order); right: one version per event time, of which those that nothing can
/// ask for any more are forgotten. A value is a byte ([`Stored`]) and the row.
pub(crate) struct TemporalJoin {
    place: Place,
    sides: [Side; 2],
    /// Per side, the column of its event time.
    times: [usize; 2],
    residual: Option<Compiled>,
    state: KeyedMap,
    /// Where rows of left wait, by event time.
    waiting: BTreeMap<EventTime, Vec<(Slot, u64)>>,
    /// Keys that get a version at a time the watermark has not reached.
    versions: BTreeMap<EventTime, Vec<Slot>>,
    rows: usize,
    /// The number of the next row of left.
    next: u64,
    watermark: EventTime,
    /// The watermark was passed on.
    said: bool,
    /// Versions that were not taken in yet: the first row that is still to come.
    pending: Option<(ChangeBatch, usize)>,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// The first byte of a value: the row's kind, and whether its key equals nothing.
struct Stored;

impl Stored {
    const ALONE: u8 = 0x10;

    fn byte(kind: RowKind, joinable: bool) -> u8 {
        kind as u8 | if joinable { 0 } else { Self::ALONE }
    }

    fn kind(byte: u8) -> Option<RowKind> {
        RowKind::from_code(byte & !Self::ALONE)
    }
}

/// Rows of left whose time has come, and the version each may join.
#[derive(Default)]
struct Due {
    left: Vec<Box<[u8]>>,
    kinds: Vec<RowKind>,
    right: Vec<Box<[u8]>>,
    /// Per row of left, its version among `right`.
    version: Vec<Option<u32>>,
}

impl TemporalJoin {
    pub(crate) fn new(
        place: &Place,
        left: &SchemaRef,
        right: &SchemaRef,
        spec: &TemporalJoinSpec,
    ) -> Result<Self, JobError> {
        let residual = spec.join.residual.as_ref();
        Ok(Self {
            sides: Side::both(place, [left, right], &spec.join)?,
            times: [spec.left_time, spec.right_time],
            residual: residual.map(|on| Compiled::new(on, &place.schema, &place.title)).transpose()?,
            state: KeyedMap::default(),
            waiting: BTreeMap::new(),
            versions: BTreeMap::new(),
            rows: 0,
            next: 0,
            watermark: WATERMARK_NONE,
            said: true,
            pending: None,
            name: Vec::new(),
            value: Vec::new(),
            place: place.clone(),
        })
    }

    fn failed(&self, error: StateError) -> JobError {
        JobError::State { operator: self.place.uid.clone(), error }
    }

    fn rises(&mut self, watermark: EventTime) {
        if watermark > self.watermark {
            self.watermark = watermark;
            self.said = false;
        }
    }

    /// Keeps rows of left that are not late. A row is judged before its own watermark.
    fn wait(&mut self, batch: &ChangeBatch, out: &mut Output) -> Result<(), JobError> {
        let times = row_times(&batch.rows, self.times[0], &self.place.title)?;
        let side = &self.sides[0];
        let columns = side.key_columns(&batch.rows);
        let keys = side.key_codec.encode(&columns, batch.len(), None).map_err(|e| self.failed(e))?;
        let rows = side.row_codec.encode(batch.rows.columns(), batch.len(), None);
        let rows = rows.map_err(|e| self.failed(e))?;
        let joinable = side.joinable(&columns, batch.len());
        let kept = side.kept;
        for (row, time) in times.iter().enumerate() {
            let mark = batch.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[row]);
            if *time < mark.max(self.watermark) {
                out.late += 1;
                continue;
            }
            if !joinable[row] && !kept {
                continue;
            }
            let key = keys.get(row);
            let slot = self.slot(0, key);
            self.value.clear();
            self.value.push(Stored::byte(batch.kind(row), joinable[row]));
            self.value.extend_from_slice(rows.get(row));
            self.state.put(slot, &row_name(*time, self.next), &self.value);
            self.waiting.entry(*time).or_default().push((slot, self.next));
            self.rows += 1;
            self.next += 1;
        }
        Ok(())
    }

    fn slot(&mut self, side: usize, key: &[u8]) -> Slot {
        let hash = hash_bytes(key);
        side_key(side, key, &mut self.name);
        self.state.slot(hash, KeyGroup::of_hash(hash), &self.name)
    }

    /// Takes in versions from `start`, up to one that comes so late that rows of left must be joined before it.
    fn take_in(&mut self, batch: ChangeBatch, start: usize) -> Result<(), JobError> {
        let times = row_times(&batch.rows, self.times[1], &self.place.title)?;
        let side = &self.sides[1];
        let columns = side.key_columns(&batch.rows);
        let keys = side.key_codec.encode(&columns, batch.len(), None).map_err(|e| self.failed(e))?;
        let rows = side.row_codec.encode(batch.rows.columns(), batch.len(), None);
        let rows = rows.map_err(|e| self.failed(e))?;
        let joinable = side.joinable(&columns, batch.len());
        for row in start..batch.len() {
            let mark = batch.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[row]);
            self.rises(mark);
            let (time, kind) = (times[row], batch.kind(row));
            if time <= self.watermark && self.is_due() {
                self.pending = Some((batch, row));
                return Ok(());
            }
            // The version that follows says when the one before ends.
            if kind == RowKind::UpdateBefore || !joinable[row] {
                continue;
            }
            let slot = self.slot(1, keys.get(row));
            self.value.clear();
            self.value.push(Stored::byte(kind, true));
            self.value.extend_from_slice(rows.get(row));
            self.state.put(slot, &KeyCodec::prefix(time), &self.value);
            self.versions.entry(time).or_default().push(slot);
        }
        Ok(())
    }

    /// Whether there are rows of left whose time has come.
    fn is_due(&self) -> bool {
        self.waiting.first_key_value().is_some_and(|(time, _)| *time <= self.watermark)
    }

    /// Takes rows of left whose time has come, as many as one call may join.
    fn due(&mut self) -> Due {
        let mut due = Due::default();
        let mut asked: Option<(Slot, Option<Slot>)> = None;
        while due.left.len() < JOINED_MAX
            && let Some(mut bucket) = self.waiting.first_entry()
            && *bucket.key() <= self.watermark
        {
            let time = *bucket.key();
            let count = bucket.get().len().min(JOINED_MAX - due.left.len());
            let gone: Vec<(Slot, u64)> = bucket.get_mut().drain(..count).collect();
            if bucket.get().is_empty() {
                bucket.remove();
            }
            self.rows -= gone.len();
            for (slot, number) in gone {
                let versions = match asked {
                    Some((known, versions)) if known == slot => versions,
                    _ => {
                        let key = self.state.key(slot).get(1..).unwrap_or_default();
                        side_key(1, key, &mut self.name);
                        self.state.find(hash_bytes(key), &self.name)
                    }
                };
                asked = Some((slot, versions));
                let Some(row) = self.state.remove(slot, &row_name(time, number)) else { continue };
                let first = row.first().copied().unwrap_or_default();
                let version = versions.filter(|_| first & Stored::ALONE == 0).and_then(|versions| {
                    let until = KeyCodec::prefix(time);
                    self.state.range(versions, ..=&until[..]).next_back().map(|(_, version)| version)
                });
                let is_there = |version: &&[u8]| {
                    version.first().and_then(|byte| Stored::kind(*byte)).is_some_and(|kind| kind.weight() > 0)
                };
                due.version.push(version.filter(is_there).map(|version| {
                    due.right.push(version.into());
                    (due.right.len() - 1) as u32
                }));
                due.kinds.push(Stored::kind(first).unwrap_or(RowKind::Insert));
                due.left.push(row);
            }
        }
        due
    }

    fn emit(&self, due: Due, out: &mut Output) -> Result<(), JobError> {
        let body = |rows: &[Box<[u8]>], side: &Side| side.decode(rows.iter().map(|row| &row[1..]));
        let left = body(&due.left, &self.sides[0]).map_err(|e| self.failed(e))?;
        let right = body(&due.right, &self.sides[1]).map_err(|e| self.failed(e))?;
        let title = &self.place.title;
        let joined = |own: &UInt32Array, other: &UInt32Array| {
            let of_left = self.sides[0].gather(&left, own, title)?;
            let of_right = self.sides[1].gather(&right, other, title)?;
            side_by_side(&self.place.schema, of_left, of_right, own.len(), title)
        };
        let mut version = due.version;
        if let Some(residual) = self.residual.as_ref().filter(|_| !due.right.is_empty()) {
            let own: UInt32Array =
                (0..).zip(&version).filter_map(|(row, version)| version.map(|_| row)).collect();
            let other = UInt32Array::from_iter_values(0..due.right.len() as u32);
            let is_true = residual.evaluate_boolean(&joined(&own, &other)?)?;
            let mut is_true = is_true.iter();
            for version in version.iter_mut().filter(|version| version.is_some()) {
                if is_true.next().flatten() != Some(true) {
                    *version = None;
                }
            }
        }
        let kept = self.sides[0].kept;
        let comes: Vec<u32> = (0..)
            .zip(&version)
            .filter_map(|(row, version)| (kept || version.is_some()).then_some(row))
            .collect();
        if comes.is_empty() {
            return Ok(());
        }
        let other: UInt32Array = comes.iter().map(|row| version[*row as usize]).collect();
        let kinds = comes.iter().map(|row| due.kinds[*row as usize]).collect();
        let rows = joined(&UInt32Array::from(comes), &other)?;
        out.batch(ChangeBatch::with_kinds(rows, kinds));
        Ok(())
    }

    /// Forgets versions that a younger one replaced before the watermark.
    fn forget(&mut self) {
        while let Some(next) = self.versions.first_entry()
            && *next.key() <= self.watermark
        {
            let now = KeyCodec::prefix(self.watermark);
            for slot in next.remove() {
                let passed = self.state.range(slot, ..=&now[..]).map(|(name, _)| name.to_vec());
                let mut passed: Vec<_> = passed.collect();
                // The last one is valid now.
                passed.pop();
                for name in passed {
                    self.state.remove(slot, &name);
                }
            }
        }
    }
}

fn row_name(time: EventTime, number: u64) -> [u8; 16] {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&KeyCodec::prefix(time));
    name[8..].copy_from_slice(&number.to_be_bytes());
    name
}

impl Operator for TemporalJoin {
    fn on_batch(&mut self, input: usize, batch: ChangeBatch, out: &mut Output) -> Result<Progress, JobError> {
        if input == 0 {
            self.wait(&batch, out)?;
            self.rises(batch.watermarks.and_then(|marks| marks.last().copied()).unwrap_or(WATERMARK_NONE));
        } else {
            self.pending = Some((batch, 0));
        }
        self.resume(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        self.watermark = self.watermark.max(watermark);
        // Also an old watermark goes on: it says that the input is active again.
        self.said = false;
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        if self.is_due() {
            let due = self.due();
            self.emit(due, out)?;
            return Ok(Progress::More);
        }
        if let Some((batch, start)) = self.pending.take() {
            self.take_in(batch, start)?;
            if self.is_due() {
                return Ok(Progress::More);
            }
        }
        self.forget();
        self.state.sweep();
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
        // Both sides of a key lie where the key alone belongs.
        let hash = |key: &[u8]| hash_bytes(key.get(1..).unwrap_or_default());
        for (group, disk_key, value) in restored.entries(&uid, shard, shards) {
            let mut cursor = Cursor::new(disk_key);
            let side = cursor.counted().map_err(|e| self.failed(e))?.first().copied();
            let name = cursor.rest();
            let corrupt = || StateError::Corrupt("a row of a temporal join without its time".to_owned());
            let time = KeyCodec::prefix_number(name).filter(|_| !value.is_empty());
            let time = time.ok_or_else(|| self.failed(corrupt()))?;
            let slot = self.state.restore(hash, group, disk_key, value).map_err(|e| self.failed(e))?;
            if side == Some(1) {
                self.versions.entry(time).or_default().push(slot);
                continue;
            }
            let number = name.get(8..).and_then(|number| number.try_into().ok()).map(u64::from_be_bytes);
            let number = number.ok_or_else(|| self.failed(corrupt()))?;
            self.waiting.entry(time).or_default().push((slot, number));
            self.next = self.next.max(number + 1);
            self.rows += 1;
        }
        self.waiting.values_mut().for_each(|bucket| bucket.sort_by_key(|(_, number)| *number));
        self.watermark = restored.watermark(&uid);
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        (self.state.bytes() + self.rows * size_of::<(EventTime, Slot, u64)>(), self.state.len())
    }
}

#[cfg(test)]
mod tests;
