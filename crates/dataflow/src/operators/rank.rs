//! The first rows of each partition, as a changelog.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use hashbrown::HashTable;
use highwater_env::KeyGroup;
use highwater_state::{KeyedMap, OperatorSnapshot, RestoredState, Slot, hash_bytes, mix};
use highwater_stream::{ChangeBatch, EventTime, RankSpec, RowKind, WATERMARK_NONE};

use super::Place;
use super::ordered_rows::{OrderedRows, entry_name, sequence_of};
use crate::JobError;
use crate::operator::{Operator, Output, Progress};

/// A step takes in so few rows that the ranked rows of the partitions they touch stay below about this number.
const TOUCHED_ROWS_MAX: usize = 64 << 10;

/// Keeps the rows of each partition in order and tells how those at the wanted ranks change: once per partition
/// and call, what goes before what comes, so that a consumer by any key of the rows sees none twice.
///
/// Over inserts only the rows up to the last wanted rank are kept; over a changing input all are.
///
/// State per partition: the row's order and sequence number, to the row.
pub(crate) struct Rank {
    place: Place,
    rows: OrderedRows,
    /// Ranks from 0: the first wanted, and the one behind the last.
    wanted: Range<usize>,
    numbered: bool,
    later_first: bool,
    state: KeyedMap,
    /// Over a changing input: where rows that go are found.
    index: Option<Index>,
    sequence: u64,
    /// A batch of which rows from the number on are to come.
    pending: Option<(ChangeBatch, usize)>,
    changes: Changes,
    /// Per slot: the last step that touched it.
    touched_in: Vec<u64>,
    step: u64,
    watermark: EventTime,
}

/// Hashes of partition, order and row, each with the row's sequence number: rows equal in all have several.
#[derive(Default)]
struct Index(HashTable<(u64, u64)>);

impl Index {
    fn hash(key_hash: u64, order: &[u8], row: &[u8]) -> u64 {
        mix(mix(key_hash, hash_bytes(order)), hash_bytes(row))
    }

    fn insert(&mut self, hash: u64, sequence: u64) {
        self.0.insert_unique(hash, (hash, sequence), |(hash, _)| *hash);
    }

    /// The lowest sequence number of `hash` that `is` the row's.
    fn take(&mut self, hash: u64, is: impl Fn(u64) -> bool) -> Option<u64> {
        let found = self.0.iter_hash(hash).filter(|(known, sequence)| *known == hash && is(*sequence));
        let sequence = found.map(|(_, sequence)| *sequence).min()?;
        if let Ok(entry) = self.0.find_entry(hash, |known| *known == (hash, sequence)) {
            entry.remove();
        }
        Some(sequence)
    }
}

/// Partitions that a call touches, with what was at the wanted ranks before; then what changed there.
#[derive(Default)]
struct Changes {
    bytes: Vec<u8>,
    /// Names and rows that were there, by their place in `bytes`.
    before: Vec<(Range<usize>, Range<usize>)>,
    touched: Vec<(Slot, Range<usize>)>,
    /// Kind, row and rank of what is to be said.
    said: Vec<(RowKind, Range<usize>, u64)>,
    at: usize,
}

impl Changes {
    fn push(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.before.clear();
        self.touched.clear();
        self.said.clear();
        self.at = 0;
    }
}

impl Rank {
    pub(crate) fn new(
        place: &Place,
        input: &SchemaRef,
        spec: &RankSpec,
        retract: bool,
    ) -> Result<Self, JobError> {
        let (first, last) = spec.ranks;
        let fields = input.fields().len() + usize::from(spec.numbered);
        if first == 0 || first > last || place.schema.fields().len() != fields {
            return Err(JobError::Plan(format!("{}: ranks {first} to {last}", place.title)));
        }
        let rank = |rank: u64| usize::try_from(rank).unwrap_or(usize::MAX);
        Ok(Self {
            rows: OrderedRows::new(place, input, &spec.keys, &spec.order)?,
            wanted: rank(first - 1)..rank(last),
            numbered: spec.numbered,
            later_first: spec.later_first,
            state: KeyedMap::default(),
            index: retract.then(Index::default),
            sequence: 0,
            pending: None,
            changes: Changes::default(),
            touched_in: Vec::new(),
            step: 1,
            watermark: WATERMARK_NONE,
            place: place.clone(),
        })
    }

    /// The rows that may change something: over inserts not those behind a full partition.
    fn relevant(&self, batch: ChangeBatch) -> Result<ChangeBatch, JobError> {
        if self.index.is_some() {
            return Ok(batch);
        }
        let keys = self.rows.keys(&batch.rows, None)?;
        let orders = self.rows.orders(&batch.rows)?;
        let is_in = |row: &u32| {
            let (key, order) = (keys.get(*row as usize), orders.get(*row as usize));
            self.state.find(hash_bytes(key), key).is_none_or(|slot| self.has_place(slot, order))
        };
        let kept: Vec<u32> = (0..batch.len() as u32).filter(is_in).collect();
        if kept.len() == batch.len() {
            return Ok(batch);
        }
        let rows = take_record_batch(&batch.rows, &UInt32Array::from(kept));
        Ok(ChangeBatch::inserts(rows.map_err(|e| JobError::Plan(format!("{}: {e}", self.place.title)))?))
    }

    /// Whether a new row of that order gets a wanted rank, or one before them.
    fn has_place(&self, slot: Slot, order: &[u8]) -> bool {
        if self.state.len_at(slot) < self.wanted.end {
            return true;
        }
        let Some((last, _)) = self.state.all(slot).next_back() else { return true };
        let last = &last[..last.len().saturating_sub(8)];
        if self.later_first { order <= last } else { order < last }
    }

    /// Takes in rows of `batch` from `start`. Returns how many.
    fn take_in(&mut self, batch: &ChangeBatch, start: usize) -> Result<usize, JobError> {
        let rows_max = (TOUCHED_ROWS_MAX / self.wanted.len().max(1)).max(64);
        let rest = batch.slice(start, rows_max.min(batch.len() - start));
        let keys = self.rows.keys(&rest.rows, None)?;
        let orders = self.rows.orders(&rest.rows)?;
        let rows = self.rows.rows(&rest.rows)?;
        let mut name = Vec::new();
        for row in 0..rest.len() {
            let (key, order, bytes) = (keys.get(row), orders.get(row), rows.get(row));
            let hash = hash_bytes(key);
            if rest.kind(row).weight() > 0 {
                let slot = self.state.slot(hash, KeyGroup::of_hash(hash), key);
                self.insert(slot, hash, (order, bytes), &mut name);
            } else if let Some(slot) = self.state.find(hash, key) {
                self.remove(slot, hash, (order, bytes), &mut name);
            }
        }
        Ok(rest.len())
    }

    fn insert(&mut self, slot: Slot, hash: u64, (order, row): (&[u8], &[u8]), name: &mut Vec<u8>) {
        if self.index.is_none() && !self.has_place(slot, order) {
            return;
        }
        self.touch(slot);
        let sequence = self.sequence;
        self.sequence += 1;
        entry_name(name, order, sequence, self.later_first);
        self.state.put(slot, name, row);
        if let Some(index) = &mut self.index {
            index.insert(Index::hash(hash, order, row), sequence);
        } else if self.state.len_at(slot) > self.wanted.end {
            let last = self.state.all(slot).next_back().map(|(last, _)| last);
            name.clear();
            name.extend_from_slice(last.unwrap_or_default());
            self.state.remove(slot, name);
        }
    }

    /// A row goes; one that is not there is none of ours.
    fn remove(&mut self, slot: Slot, hash: u64, (order, row): (&[u8], &[u8]), name: &mut Vec<u8>) {
        let Some(mut index) = self.index.take() else { return };
        let (state, later_first) = (&self.state, self.later_first);
        let is = |sequence: u64| {
            let mut name = Vec::with_capacity(order.len() + 8);
            entry_name(&mut name, order, sequence, later_first);
            state.get(slot, &name) == Some(row)
        };
        if let Some(sequence) = index.take(Index::hash(hash, order, row), is) {
            self.touch(slot);
            entry_name(name, order, sequence, self.later_first);
            self.state.remove(slot, name);
        }
        self.index = Some(index);
    }

    /// Notes what is at the wanted ranks of a partition before it changes.
    fn touch(&mut self, slot: Slot) {
        let place = slot as usize;
        if place >= self.touched_in.len() {
            self.touched_in.resize((place + 1) * 3 / 2, 0);
        }
        if std::mem::replace(&mut self.touched_in[place], self.step) == self.step {
            return;
        }
        let changes = &mut self.changes;
        let first = changes.before.len();
        let wanted = self.state.all(slot).skip(self.wanted.start).take(self.wanted.len());
        for (name, row) in wanted {
            let place = (changes.push(name), changes.push(row));
            changes.before.push(place);
        }
        changes.touched.push((slot, first..changes.before.len()));
    }

    /// What of the touched partitions is different now: all that goes, then all that comes.
    fn compare(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        let mut comes = Vec::new();
        for (slot, before) in std::mem::take(&mut changes.touched) {
            let before = changes.before[before].to_vec();
            let now = self.state.all(slot).skip(self.wanted.start).take(self.wanted.len());
            if self.numbered {
                self.compare_ranks(&mut changes, &before, now, &mut comes);
            } else {
                compare_rows(&mut changes, &before, now, &mut comes);
            }
        }
        changes.said.append(&mut comes);
        self.changes = changes;
    }

    /// Rank by rank.
    fn compare_ranks<'a>(
        &self,
        changes: &mut Changes,
        before: &[(Range<usize>, Range<usize>)],
        now: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        comes: &mut Vec<(RowKind, Range<usize>, u64)>,
    ) {
        let mut rank = self.wanted.start as u64;
        let mut before = before.iter();
        for (_, row) in now {
            rank += 1;
            match before.next() {
                None => comes.push((RowKind::Insert, changes.push(row), rank)),
                Some((_, old)) if changes.bytes[old.clone()] == *row => {}
                Some((_, old)) => {
                    changes.said.push((RowKind::UpdateBefore, old.clone(), rank));
                    comes.push((RowKind::UpdateAfter, changes.push(row), rank));
                }
            }
        }
        for (_, old) in before {
            rank += 1;
            changes.said.push((RowKind::Delete, old.clone(), rank));
        }
    }

    fn emit(&mut self, out: &mut Output) -> Result<(), JobError> {
        let changes = &mut self.changes;
        let until = changes.said.len().min(changes.at + self.place.batch_rows_max.max(1));
        let said = &changes.said[changes.at..until];
        let ranks = said.iter().map(|(.., rank)| i64::try_from(*rank).unwrap_or(i64::MAX));
        let ranks = self.numbered.then(|| Arc::new(Int64Array::from_iter_values(ranks)) as ArrayRef);
        let rows: RecordBatch =
            self.rows.batch(said.iter().map(|(_, row, _)| &changes.bytes[row.clone()]), ranks)?;
        out.batch(ChangeBatch::with_kinds(rows, said.iter().map(|(kind, ..)| *kind).collect()));
        changes.at = until;
        if changes.at == changes.said.len() {
            changes.clear();
        }
        Ok(())
    }
}

/// Row by row, whatever its rank. Both are in the order of their names.
fn compare_rows<'a>(
    changes: &mut Changes,
    before: &[(Range<usize>, Range<usize>)],
    now: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    comes: &mut Vec<(RowKind, Range<usize>, u64)>,
) {
    let mut before = before.iter().peekable();
    for (name, row) in now {
        while let Some((_, old)) = before.next_if(|(old, _)| changes.bytes[old.clone()] < *name) {
            changes.said.push((RowKind::Delete, old.clone(), 0));
        }
        if before.next_if(|(old, _)| changes.bytes[old.clone()] == *name).is_none() {
            comes.push((RowKind::Insert, changes.push(row), 0));
        }
    }
    changes.said.extend(before.map(|(_, old)| (RowKind::Delete, old.clone(), 0)));
}

impl Operator for Rank {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let batch = self.relevant(batch)?;
        if batch.is_empty() {
            return Ok(Progress::Done);
        }
        self.pending = Some((batch, 0));
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        loop {
            if self.changes.at < self.changes.said.len() {
                self.emit(out)?;
                let more = self.pending.is_some() || self.changes.at < self.changes.said.len();
                return Ok(if more { Progress::More } else { Progress::Done });
            }
            let Some((batch, start)) = self.pending.take() else { return Ok(Progress::Done) };
            let until = start + self.take_in(&batch, start)?;
            self.compare();
            self.step += 1;
            self.state.sweep();
            if self.changes.said.is_empty() {
                self.changes.clear();
            }
            if until < batch.len() {
                self.pending = Some((batch, until));
            }
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
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            self.state.restore(hash_bytes, group, key, value).map_err(|e| self.rows.failed(e))?;
        }
        let slots: Vec<Slot> = self.state.live().collect();
        for slot in slots {
            let key_hash = hash_bytes(self.state.key(slot));
            for (name, row) in self.state.all(slot) {
                let sequence = sequence_of(name, self.later_first).map_err(|e| self.rows.failed(e))?;
                self.sequence = self.sequence.max(sequence.saturating_add(1));
                if let Some(index) = &mut self.index {
                    index.insert(Index::hash(key_hash, &name[..name.len() - 8], row), sequence);
                }
            }
        }
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        let index = self.index.as_ref().map_or(0, |index| index.0.capacity() * 17);
        (self.state.bytes() + index, self.state.len())
    }
}

#[cfg(test)]
mod tests;
