//! Joins of the rows of equal windows.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::{Schema, SchemaRef};
use highwater_env::KeyGroup;
use highwater_state::{
    Cursor, KeyCodec, KeyedMap, OperatorSnapshot, RestoredState, Slot, StateError, hash_bytes, mix,
};
use highwater_stream::{ChangeBatch, EventTime, JoinKind, WATERMARK_NONE, WindowJoinSpec};

use super::Place;
use super::joined_rows::{PAIRS_MAX, Side, side_by_side};
use crate::JobError;
use crate::expressions::{Compiled, record_batch, row_times};
use crate::operator::{Operator, Output, Progress};
use crate::windows::Windows;

/// Keeps the rows of each window and key until the watermark passes the window's last ms, then joins them: all
/// results are final. Drops rows whose window is over. Windows come in order of their end, then keys in order of
/// their first arrival, then left rows in order of arrival.
///
/// State per window's end (8 bytes) and key, in one map: each row under [`Rank`] and its number (8 bytes, in order).
pub(crate) struct WindowJoin {
    place: Place,
    kind: JoinKind,
    sides: [Side; 2],
    /// Per side, the column of the window's end.
    ends: [usize; 2],
    /// Columns of left, then those of right: also for a kind of which only those of left come out.
    pairs: SchemaRef,
    windows: Windows,
    residual: Option<Compiled>,
    state: KeyedMap,
    /// By window end: its keys in order of arrival.
    open: BTreeMap<i64, Vec<Slot>>,
    /// The number of the next row.
    next: u64,
    watermark: EventTime,
    /// The watermark was passed on.
    said: bool,
    firing: Option<Firing>,
    name: Vec<u8>,
}

/// What a row of state is: its name begins with this.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Rank {
    Left = 0,
    Right = 1,
    /// Its key is NULL where NULL equals nothing, and it comes out nevertheless.
    LeftAlone = 2,
    RightAlone = 3,
}

/// Where the names of each [`Rank`] begin, and where all end.
static RANKS: [[u8; 1]; 5] = [[0], [1], [2], [3], [4]];

/// A window that is over, of which keys `at..` are still to be joined.
struct Firing {
    slots: Vec<Slot>,
    at: usize,
    /// Left rows of the key at `at` that were joined already.
    left_at: usize,
    /// Per right row of that key: whether it had a partner.
    matched: Vec<bool>,
}

/// Rows that are joined at once.
#[derive(Default)]
struct Rows<'a> {
    left: Vec<&'a [u8]>,
    right: Vec<&'a [u8]>,
    groups: Vec<Group>,
}

/// Left rows of one key and all its right rows, by their numbers in [`Rows`].
struct Group {
    left: std::ops::Range<usize>,
    right: std::ops::Range<usize>,
    /// Behind them, those that match nothing.
    left_alone: std::ops::Range<usize>,
    right_alone: std::ops::Range<usize>,
    /// The key's last left rows are among them.
    last: bool,
}

impl WindowJoin {
    pub(crate) fn new(
        place: &Place,
        left: &SchemaRef,
        right: &SchemaRef,
        spec: &WindowJoinSpec,
    ) -> Result<Self, JobError> {
        let residual = spec.join.residual.as_ref();
        let fields: Vec<_> = left.fields().iter().chain(right.fields()).cloned().collect();
        let pairs: SchemaRef = Schema::new(fields).into();
        let mut sides = Side::both(place, [left, right], &spec.join)?;
        sides[0].kept |= spec.join.kind == JoinKind::Anti;
        let unsupported = |message| JobError::Unsupported { operator: place.title.clone(), message };
        Ok(Self {
            kind: spec.join.kind,
            sides,
            ends: [spec.left_end, spec.right_end],
            windows: Windows::closing(spec.zone.as_deref()).map_err(unsupported)?,
            residual: residual.map(|on| Compiled::new(on, &pairs, &place.title)).transpose()?,
            pairs,
            state: KeyedMap::default(),
            open: BTreeMap::new(),
            next: 0,
            watermark: WATERMARK_NONE,
            said: true,
            firing: None,
            name: Vec::new(),
            place: place.clone(),
        })
    }

    fn failed(&self, error: StateError) -> JobError {
        JobError::State { operator: self.place.uid.clone(), error }
    }

    /// Keeps the rows of `batch` whose window is not over. A row is judged before its own watermark.
    fn keep(&mut self, input: usize, batch: &ChangeBatch, out: &mut Output) -> Result<(), JobError> {
        let ends = row_times(&batch.rows, self.ends[input], &self.place.title)?;
        let side = &self.sides[input];
        let columns = side.key_columns(&batch.rows);
        let keys = side.key_codec.encode(&columns, batch.len(), Some(&ends)).map_err(|e| self.failed(e))?;
        let rows = side.row_codec.encode(batch.rows.columns(), batch.len(), None);
        let rows = rows.map_err(|e| self.failed(e))?;
        let (joinable, kept) = (side.joinable(&columns, batch.len()), side.kept);
        for (row, end) in ends.iter().enumerate() {
            let mark = batch.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[row]);
            if self.windows.closes_at(*end) <= mark.max(self.watermark) {
                out.late += 1;
                continue;
            }
            let rank = match (joinable[row], input) {
                (true, 0) => Rank::Left,
                (true, _) => Rank::Right,
                (false, _) if !kept => continue,
                (false, 0) => Rank::LeftAlone,
                (false, _) => Rank::RightAlone,
            };
            let key = keys.get(row);
            let hash = hash_bytes(&key[8..]);
            let slot = self.state.slot(mix(hash, *end as u64), KeyGroup::of_hash(hash), key);
            if self.state.len_at(slot) == 0 {
                self.open.entry(*end).or_default().push(slot);
            }
            self.name.clear();
            self.name.push(rank as u8);
            self.name.extend_from_slice(&self.next.to_be_bytes());
            self.next += 1;
            self.state.put(slot, &self.name, rows.get(row));
        }
        Ok(())
    }

    /// Joins as much of a window that is over as one call may.
    fn fire(&mut self, mut firing: Firing, out: &mut Output) -> Result<(), JobError> {
        let first = firing.at;
        let rows = self.gather(&mut firing);
        let columns = [
            self.sides[0].decode(rows.left.iter().copied()).map_err(|e| self.failed(e))?,
            self.sides[1].decode(rows.right.iter().copied()).map_err(|e| self.failed(e))?,
        ];
        let is_match = self.matches(&rows.groups, &columns)?;
        let (mut left, mut right) = (Vec::new(), Vec::new());
        self.pair(&rows.groups, &is_match, &mut firing.matched, |a: Option<usize>, b: Option<usize>| {
            left.push(a.map(|row| row as u32));
            right.push(b.map(|row| row as u32));
        });
        drop(rows);
        if !left.is_empty() {
            let (left, right) = (UInt32Array::from(left), UInt32Array::from(right));
            let title = &self.place.title;
            let of_left = self.sides[0].gather(&columns[0], &left, title)?;
            let joined = if self.kind.is_left_only() {
                record_batch(&self.place.schema, of_left, left.len(), title)?
            } else {
                let of_right = self.sides[1].gather(&columns[1], &right, title)?;
                side_by_side(&self.place.schema, of_left, of_right, left.len(), title)?
            };
            out.batch(ChangeBatch::inserts(joined));
        }
        for slot in &firing.slots[first..firing.at] {
            self.state.clear(*slot);
        }
        if firing.at < firing.slots.len() {
            self.firing = Some(firing);
        }
        Ok(())
    }

    /// The next rows of the window: some keys, or a part of one.
    fn gather<'a>(&'a self, firing: &mut Firing) -> Rows<'a> {
        let mut rows = Rows::default();
        let mut budget = PAIRS_MAX;
        while budget > 0 && firing.at < firing.slots.len() {
            let slot = firing.slots[firing.at];
            let of = |rank: Rank| {
                let (from, to) = (&RANKS[rank as usize][..], &RANKS[rank as usize + 1][..]);
                self.state.range(slot, from..to).map(|(_, row)| row)
            };
            let mut group =
                Group { left: 0..0, right: 0..0, left_alone: 0..0, right_alone: 0..0, last: true };
            let start = rows.right.len();
            rows.right.extend(of(Rank::Right));
            group.right = start..rows.right.len();
            let enough = if group.right.is_empty() { budget } else { (budget / group.right.len()).max(1) };
            let start = rows.left.len();
            let mut rest = of(Rank::Left).skip(firing.left_at);
            rows.left.extend(rest.by_ref().take(enough));
            group.last = rest.next().is_none();
            group.left = start..rows.left.len();
            budget = budget.saturating_sub(group.left.len().max(1) * group.right.len().max(1));
            if group.last {
                let (left, right) = (rows.left.len(), rows.right.len());
                rows.left.extend(of(Rank::LeftAlone));
                rows.right.extend(of(Rank::RightAlone));
                group.left_alone = left..rows.left.len();
                group.right_alone = right..rows.right.len();
                firing.at += 1;
                firing.left_at = 0;
            } else {
                firing.left_at += group.left.len();
                budget = 0;
            }
            rows.groups.push(group);
        }
        rows
    }

    /// Per left row and right row of each group: whether the rest of the condition is true.
    fn matches(&self, groups: &[Group], columns: &[Vec<ArrayRef>; 2]) -> Result<Vec<bool>, JobError> {
        let count = groups.iter().map(|group| group.left.len() * group.right.len()).sum();
        let Some(residual) = self.residual.as_ref().filter(|_| count > 0) else {
            return Ok(vec![true; count]);
        };
        let (mut left, mut right) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for group in groups {
            for row in group.left.clone() {
                left.extend(std::iter::repeat_n(row as u32, group.right.len()));
                right.extend(group.right.clone().map(|row| row as u32));
            }
        }
        let title = &self.place.title;
        let left = self.sides[0].gather(&columns[0], &UInt32Array::from(left), title)?;
        let right = self.sides[1].gather(&columns[1], &UInt32Array::from(right), title)?;
        let joined = side_by_side(&self.pairs, left, right, count, title)?;
        Ok(residual.evaluate_boolean(&joined)?.iter().map(|is_true| is_true == Some(true)).collect())
    }

    /// Says which rows come out, in order. `matched` is what the parts before told of the first group.
    fn pair(
        &self,
        groups: &[Group],
        is_match: &[bool],
        matched: &mut Vec<bool>,
        mut say: impl FnMut(Option<usize>, Option<usize>),
    ) {
        let (kept, other_kept) = (self.sides[0].kept, self.sides[1].kept);
        let mut at = 0;
        for group in groups {
            matched.resize(group.right.len(), false);
            for left in group.left.clone() {
                let mut found = false;
                for (index, right) in group.right.clone().enumerate() {
                    let pairs = is_match[at];
                    at += 1;
                    matched[index] |= pairs;
                    if pairs && !self.kind.is_left_only() {
                        say(Some(left), Some(right));
                    }
                    found |= pairs;
                }
                if found == (self.kind == JoinKind::Semi) && (found || kept) {
                    say(Some(left), None);
                }
            }
            if !group.last {
                continue;
            }
            if other_kept {
                let unmatched = group.right.clone().zip(&*matched).filter(|(_, matched)| !**matched);
                unmatched.for_each(|(row, _)| say(None, Some(row)));
            }
            group.left_alone.clone().for_each(|row| say(Some(row), None));
            group.right_alone.clone().for_each(|row| say(None, Some(row)));
            matched.clear();
        }
    }
}

impl Operator for WindowJoin {
    fn on_batch(&mut self, input: usize, batch: ChangeBatch, out: &mut Output) -> Result<Progress, JobError> {
        self.keep(input, &batch, out)?;
        // A window that the watermark closes within the batch took all it takes: rows behind that came late.
        let last = batch.watermarks.as_ref().and_then(|marks| marks.last().copied());
        if let Some(last) = last.filter(|last| *last > self.watermark) {
            self.watermark = last;
            self.said = false;
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
        if let Some(firing) = self.firing.take() {
            self.fire(firing, out)?;
            return Ok(Progress::More);
        }
        if let Some(window) = self.open.first_entry()
            && self.windows.closes_at(*window.key()) <= self.watermark
        {
            let slots = window.remove();
            self.fire(Firing { slots, at: 0, left_at: 0, matched: Vec::new() }, out)?;
            return Ok(Progress::More);
        }
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
        let end_of = |key: &[u8]| KeyCodec::prefix_number(key).unwrap_or_default();
        let hash = |key: &[u8]| mix(hash_bytes(key.get(8..).unwrap_or_default()), end_of(key) as u64);
        for (group, disk_key, value) in restored.entries(&uid, shard, shards) {
            let mut cursor = Cursor::new(disk_key);
            let end = end_of(cursor.counted().map_err(|e| self.failed(e))?);
            let number = cursor.rest().get(1..).and_then(|number| number.try_into().ok());
            let number = number.map(u64::from_be_bytes).ok_or_else(|| {
                self.failed(StateError::Corrupt("a row of a window join without its number".to_owned()))
            })?;
            let slot = self.state.restore(hash, group, disk_key, value).map_err(|e| self.failed(e))?;
            // Entries of one key lie together.
            let slots = self.open.entry(end).or_default();
            if slots.last() != Some(&slot) {
                slots.push(slot);
            }
            self.next = self.next.max(number + 1);
        }
        self.watermark = restored.watermark(&uid);
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        (self.state.bytes() + self.state.len() * 4, self.state.len())
    }
}

#[cfg(test)]
mod tests;
