//! Joins of two changelogs for ever.

mod semi;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::{Schema, SchemaRef};
use highwater_env::KeyGroup;
use highwater_state::{
    Cursor, EncodedKeys, KeyedMap, OperatorSnapshot, RestoredState, Slot, StateError, hash_bytes,
};
use highwater_stream::{ChangeBatch, EventTime, JoinKind, JoinSpec, RowKind, WATERMARK_NONE};

use super::Place;
use super::joined_rows::{PAIRS_MAX, ROWS_MAX, Side, side_by_side, side_key};
use crate::JobError;
use crate::expressions::Compiled;
use crate::operator::{Operator, Output, Progress};

/// Joins each row with the rows of the other side that have the same key, and takes pairs back when a row goes.
///
/// A side that an outer join keeps emits a row without partners with NULLs for the other side, and takes that
/// back with the first partner.
///
/// A semi or anti join emits rows of the left input alone: see `semi.rs`.
///
/// State per key, in one map with the side (0 left, 1 right) before the key: each row with how often it is there
/// and how many partners it has (u32 each; partners are only counted on a side that is kept).
///
/// A key with many rows on one side is output whole for each row of the other: that is the size of the result.
pub(crate) struct Join {
    place: Place,
    kind: JoinKind,
    /// Columns of left, then of right: what the condition is over.
    pairs: SchemaRef,
    sides: [Side; 2],
    state: KeyedMap,
    residual: Option<Compiled>,
    /// A batch that was not taken to its end: its input, and the first row that is still to come.
    pending: Option<(usize, ChangeBatch, usize)>,
    watermark: EventTime,
    /// Space for a key in the map.
    name: Vec<u8>,
}

/// How often a row is there, and how many rows of the other side match it.
#[derive(Clone, Copy, Default)]
struct Counts {
    rows: u32,
    partners: u32,
}

impl Counts {
    fn read(bytes: &[u8]) -> Result<Self, StateError> {
        let mut cursor = Cursor::new(bytes);
        let rows = u32::from_le_bytes(cursor.array()?);
        Ok(Self { rows, partners: u32::from_le_bytes(cursor.array()?) })
    }

    fn bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.rows.to_le_bytes());
        bytes[4..].copy_from_slice(&self.partners.to_le_bytes());
        bytes
    }
}

/// Rows of the other side that rows of a batch may match.
#[derive(Default)]
struct Candidates {
    slots: Vec<Slot>,
    rows: Vec<Box<[u8]>>,
    counts: Vec<Counts>,
    /// Per row of the batch: which of `rows`.
    of_row: Vec<Vec<u32>>,
}

/// Output rows: the row of the batch, the candidate, what happens.
#[derive(Default)]
struct Emitted {
    own: Vec<Option<u32>>,
    other: Vec<Option<u32>>,
    kinds: Vec<RowKind>,
}

impl Emitted {
    fn push(&mut self, own: Option<u32>, other: Option<u32>, comes: bool, times: u32) {
        for _ in 0..times {
            self.own.push(own);
            self.other.push(other);
            self.kinds.push(if comes { RowKind::Insert } else { RowKind::Delete });
        }
    }
}

impl Join {
    pub(crate) fn new(
        place: &Place,
        left: &SchemaRef,
        right: &SchemaRef,
        spec: &JoinSpec,
    ) -> Result<Self, JobError> {
        let residual = spec.residual.as_ref();
        let pairs = match spec.kind.is_left_only() {
            true => {
                Arc::new(Schema::new(left.fields().iter().chain(right.fields()).cloned().collect::<Vec<_>>()))
            }
            false => place.schema(),
        };
        Ok(Self {
            kind: spec.kind,
            sides: Side::both(place, [left, right], spec)?,
            state: KeyedMap::default(),
            residual: residual.map(|on| Compiled::new(on, &pairs, &place.title)).transpose()?,
            pending: None,
            watermark: WATERMARK_NONE,
            name: Vec::new(),
            place: place.clone(),
            pairs,
        })
    }

    fn failed(&self, error: StateError) -> JobError {
        JobError::State { operator: self.place.uid.clone(), error }
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
        let side = &self.sides[input];
        let columns = side.key_columns(&rest.rows);
        let keys = side.key_codec.encode(&columns, rest.len(), None).map_err(|e| self.failed(e))?;
        let joinable = side.joinable(&columns, rest.len());
        let (mut candidates, taken) = self.candidates(1 - input, &keys, &joinable)?;
        let rest = rest.slice(0, taken);
        let others = self.sides[1 - input].row_codec.decode(candidates.rows.iter().map(|row| &row[..]));
        let others = others.map_err(|e| self.failed(e))?;
        let matches = self.matches(input, &rest.rows, &others, std::mem::take(&mut candidates.of_row))?;
        if self.kind.is_left_only() {
            self.apply_semi(input, &rest, (&keys, &joinable), (candidates, &others), &matches, out)?;
        } else {
            let emitted = self.apply(input, &rest, (&keys, &joinable), candidates, &matches)?;
            if !emitted.kinds.is_empty() {
                let own = indices(&emitted.own);
                let other = indices(&emitted.other);
                let rows = self.joined(input, (&rest.rows, &own), (&others, &other))?;
                out.batch(ChangeBatch::with_kinds(rows, emitted.kinds));
            }
        }
        self.state.sweep();
        if start + taken == batch.len() {
            return Ok(Progress::Done);
        }
        self.pending = Some((input, batch, start + taken));
        Ok(Progress::More)
    }

    /// What the first rows may match, and how many rows these are: all, or fewer if that is already much.
    fn candidates(
        &self,
        other: usize,
        keys: &EncodedKeys,
        joinable: &[bool],
    ) -> Result<(Candidates, usize), JobError> {
        let mut candidates = Candidates::default();
        let mut known: HashMap<Slot, Vec<u32>> = HashMap::new();
        let (mut pairs, mut name) = (0, Vec::new());
        for (row, joinable) in joinable.iter().enumerate() {
            let key = keys.get(row);
            side_key(other, key, &mut name);
            let slot = self.state.find(hash_bytes(key), &name).filter(|_| *joinable);
            let Some(slot) = slot else {
                candidates.of_row.push(Vec::new());
                continue;
            };
            if let Entry::Vacant(unknown) = known.entry(slot) {
                let first = candidates.rows.len() as u32;
                for (name, counts) in self.state.all(slot) {
                    candidates.slots.push(slot);
                    candidates.rows.push(name.into());
                    candidates.counts.push(Counts::read(counts).map_err(|e| self.failed(e))?);
                }
                unknown.insert((first..candidates.rows.len() as u32).collect());
            }
            let of_row = known[&slot].clone();
            pairs += of_row.len();
            candidates.of_row.push(of_row);
            if pairs >= PAIRS_MAX {
                return Ok((candidates, row + 1));
            }
        }
        Ok((candidates, joinable.len()))
    }

    /// The candidates of each row for which the rest of the condition is true.
    fn matches(
        &self,
        input: usize,
        own: &RecordBatch,
        others: &[ArrayRef],
        of_row: Vec<Vec<u32>>,
    ) -> Result<Vec<Vec<u32>>, JobError> {
        let Some(residual) = &self.residual else { return Ok(of_row) };
        let pairs =
            || of_row.iter().enumerate().flat_map(|(row, of)| of.iter().map(move |o| (row as u32, *o)));
        let rows = UInt32Array::from_iter_values(pairs().map(|(row, _)| row));
        let other = UInt32Array::from_iter_values(pairs().map(|(_, other)| other));
        let mut matches = vec![Vec::new(); of_row.len()];
        if rows.is_empty() {
            return Ok(matches);
        }
        let joined = self.joined(input, (own, &rows), (others, &other))?;
        let is_true = residual.evaluate_boolean(&joined)?;
        for ((row, other), is_true) in pairs().zip(&is_true) {
            if is_true == Some(true) {
                matches[row as usize].push(other);
            }
        }
        Ok(matches)
    }

    /// Row by row: what comes out, and what state becomes.
    fn apply(
        &mut self,
        input: usize,
        rest: &ChangeBatch,
        (keys, joinable): (&EncodedKeys, &[bool]),
        mut candidates: Candidates,
        matches: &[Vec<u32>],
    ) -> Result<Emitted, JobError> {
        let rows = self.sides[input].row_codec.encode(rest.rows.columns(), rest.len(), None);
        let rows = rows.map_err(|e| self.failed(e))?;
        let (kept, other_kept) = (self.sides[input].kept, self.sides[1 - input].kept);
        let mut emitted = Emitted::default();
        for (row, matches) in matches.iter().enumerate() {
            let (own, comes) = (Some(row as u32), rest.kind(row).weight() > 0);
            if !joinable[row] {
                emitted.push(own, None, comes, u32::from(kept));
                continue;
            }
            let partners = matches.iter().map(|other| candidates.counts[*other as usize].rows).sum();
            if !self.count(input, keys.get(row), rows.get(row), comes, partners)? {
                continue;
            }
            if kept && partners == 0 {
                emitted.push(own, None, comes, 1);
            }
            for &other in matches {
                let counts = &mut candidates.counts[other as usize];
                if other_kept && comes && counts.partners == 0 {
                    emitted.push(None, Some(other), false, counts.rows);
                }
                emitted.push(own, Some(other), comes, counts.rows);
                if other_kept {
                    counts.partners =
                        if comes { counts.partners + 1 } else { counts.partners.saturating_sub(1) };
                    if counts.partners == 0 {
                        emitted.push(None, Some(other), true, counts.rows);
                    }
                    let (slot, name) = (candidates.slots[other as usize], &candidates.rows[other as usize]);
                    self.state.put(slot, name, &counts.bytes());
                }
            }
        }
        Ok(emitted)
    }

    /// Notes that a row came or went. False if a row goes that is not there.
    fn count(
        &mut self,
        input: usize,
        key: &[u8],
        row: &[u8],
        comes: bool,
        partners: u32,
    ) -> Result<bool, JobError> {
        let hash = hash_bytes(key);
        side_key(input, key, &mut self.name);
        let slot = self.state.slot(hash, KeyGroup::of_hash(hash), &self.name);
        let known = self.state.get(slot, row).map(Counts::read).transpose().map_err(|e| self.failed(e))?;
        let rows = known.unwrap_or_default().rows;
        match (comes, rows) {
            (false, 0) => return Ok(false),
            (false, 1) => {
                self.state.remove(slot, row);
            }
            _ => {
                let rows = if comes { rows + 1 } else { rows - 1 };
                self.state.put(slot, row, &Counts { rows, partners }.bytes());
            }
        }
        Ok(true)
    }

    /// Rows of the result: those of the batch and those of the other side, left before right.
    fn joined(
        &self,
        input: usize,
        (own, own_rows): (&RecordBatch, &UInt32Array),
        (others, other_rows): (&[ArrayRef], &UInt32Array),
    ) -> Result<RecordBatch, JobError> {
        let title = &self.place.title;
        let own = self.sides[input].gather(own.columns(), own_rows, title)?;
        let other = self.sides[1 - input].gather(others, other_rows, title)?;
        let (left, right) = if input == 0 { (own, other) } else { (other, own) };
        side_by_side(&self.pairs, left, right, own_rows.len(), title)
    }
}

fn indices(rows: &[Option<u32>]) -> UInt32Array {
    rows.iter().copied().collect()
}

impl Operator for Join {
    fn on_batch(&mut self, input: usize, batch: ChangeBatch, out: &mut Output) -> Result<Progress, JobError> {
        self.take_in(input, batch, 0, out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        match self.pending.take() {
            Some((input, batch, start)) => self.take_in(input, batch, start, out),
            None => Ok(Progress::Done),
        }
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        self.watermark = self.watermark.max(watermark);
        out.watermark(watermark);
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
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            self.state.restore(hash, group, key, value).map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        (self.state.bytes(), self.state.len())
    }
}

#[cfg(test)]
mod tests;
