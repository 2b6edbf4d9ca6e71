//! Aggregation per key for ever, as a changelog.

use arrow::array::{ArrayRef, BooleanArray, UInt32Array, make_comparator};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{SortOptions, interleave, or, take};
use arrow::datatypes::SchemaRef;
use highwater_env::KeyGroup;
use highwater_state::{Cursor, KeyCodec, KeyedState, OperatorSnapshot, RestoredState, Slot, hash_bytes};
use highwater_stream::{ChangeBatch, EventTime, GroupAggregateSpec, RowKind, WATERMARK_NONE};

use super::Place;
use crate::JobError;
use crate::aggregates::Aggregates;
use crate::expressions::{as_type, record_batch};
use crate::operator::{Operator, Output, Progress};

/// Aggregates rows per key and tells how each key's result changes, once per batch and key.
///
/// A key's first result is `+I`; a change is `-U`, `+U` (or `+U` alone, if the plan says so); an update that
/// changes nothing is not told; a key whose last row is taken back is `-D`.
///
/// State per key: the number of rows (i64), then the aggregates' states.
pub(crate) struct GroupAggregate {
    place: Place,
    spec: GroupAggregateSpec,
    retract: bool,
    codec: KeyCodec,
    state: KeyedState,
    aggregates: Aggregates,
    /// Per slot: rows there now. Only kept when rows may also go.
    rows: Vec<i64>,
    /// Per slot: the last batch that touched it.
    touched_in: Vec<u64>,
    batch_number: u64,
    watermark: EventTime,
}

/// The keys that a batch touches, in order of first touch.
#[derive(Default)]
struct Touched {
    slots: Vec<Slot>,
    /// Per entry of `slots`: it was not there before the batch.
    fresh: Vec<bool>,
}

impl Touched {
    fn of(&self, fresh: bool) -> Vec<Slot> {
        let wanted = |(slot, is): (&Slot, &bool)| (*is == fresh).then_some(*slot);
        self.slots.iter().zip(&self.fresh).filter_map(wanted).collect()
    }
}

impl GroupAggregate {
    pub(crate) fn new(
        place: &Place,
        input: &SchemaRef,
        spec: &GroupAggregateSpec,
        retract: bool,
    ) -> Result<Self, JobError> {
        let fields = spec.keys.len() + spec.calls.len();
        if place.schema.fields().len() != fields || spec.keys.iter().any(|key| *key >= input.fields().len()) {
            return Err(JobError::Plan(format!("{}: its schema is not keys, calls", place.title)));
        }
        let types = spec.keys.iter().map(|key| input.field(*key).data_type().clone()).collect();
        let codec = KeyCodec::new(types);
        let unsupported = |message| JobError::Unsupported { operator: place.title.clone(), message };
        Ok(Self {
            codec: codec.map_err(|e| unsupported(e.to_string()))?,
            state: KeyedState::default(),
            aggregates: Aggregates::new(&spec.calls, input, retract, &place.title)?,
            rows: Vec::new(),
            touched_in: Vec::new(),
            batch_number: 0,
            watermark: WATERMARK_NONE,
            place: place.clone(),
            spec: spec.clone(),
            retract,
        })
    }

    fn failed(&self, error: highwater_state::StateError) -> JobError {
        JobError::State { operator: self.place.uid.clone(), error }
    }

    /// Each row's slot, and which keys the rows touch.
    fn find(&mut self, batch: &ChangeBatch) -> Result<(Vec<Slot>, Touched), JobError> {
        let columns: Vec<ArrayRef> =
            self.spec.keys.iter().map(|key| batch.rows.column(*key).clone()).collect();
        let keys = self.codec.encode(&columns, batch.len(), None).map_err(|e| self.failed(e))?;
        self.batch_number += 1;
        let mut slots = Vec::with_capacity(batch.len());
        let mut touched = Touched::default();
        for row in 0..batch.len() {
            let key = keys.get(row);
            let hash = hash_bytes(key);
            let (slot, new) = self.state.slot(hash, KeyGroup::of_hash(hash), key);
            if slot as usize >= self.touched_in.len() {
                self.touched_in.resize(self.state.slots() * 3 / 2, 0);
            }
            let touched_in = &mut self.touched_in[slot as usize];
            if new || *touched_in != self.batch_number {
                *touched_in = self.batch_number;
                self.state.touch(slot);
                touched.slots.push(slot);
                touched.fresh.push(new);
            }
            slots.push(slot);
        }
        self.aggregates.grow(self.state.slots());
        if self.retract {
            self.rows.resize(self.state.slots().max(self.rows.len()), 0);
        }
        Ok((slots, touched))
    }

    /// Which row of (old, new, fresh) results to emit, as what, and of which entry of `touched`.
    fn changes(&self, touched: &Touched, changed: &BooleanArray) -> Vec<(RowKind, (usize, usize), u32)> {
        let mut changes = Vec::with_capacity(touched.slots.len() * 2);
        let (mut known, mut fresh) = (0, 0);
        for (entry, (slot, is_fresh)) in touched.slots.iter().zip(&touched.fresh).enumerate() {
            let (entry, there) = (entry as u32, !self.retract || self.rows[*slot as usize] > 0);
            if *is_fresh {
                if there {
                    changes.push((RowKind::Insert, (2, fresh), entry));
                }
                fresh += 1;
                continue;
            }
            if !there {
                changes.push((RowKind::Delete, (0, known), entry));
            } else if changed.value(known) {
                if self.spec.emit_update_before {
                    changes.push((RowKind::UpdateBefore, (0, known), entry));
                }
                changes.push((RowKind::UpdateAfter, (1, known), entry));
            }
            known += 1;
        }
        changes
    }

    fn emit(
        &self,
        touched: &Touched,
        results: [&[ArrayRef]; 3],
        changes: &[(RowKind, (usize, usize), u32)],
    ) -> Result<ChangeBatch, JobError> {
        let Place { schema, title, .. } = &self.place;
        let wrong = |e: arrow::error::ArrowError| JobError::Plan(format!("{title}: {e}"));
        let entries = UInt32Array::from_iter_values(changes.iter().map(|(_, _, entry)| *entry));
        let keys = self.codec.decode(touched.slots.iter().map(|slot| self.state.key(*slot)));
        let mut columns = Vec::with_capacity(schema.fields().len());
        for key in keys.map_err(|e| self.failed(e))? {
            columns.push(take(&key, &entries, None).map_err(wrong)?);
        }
        let indexes: Vec<(usize, usize)> = changes.iter().map(|(_, index, _)| *index).collect();
        for call in 0..self.spec.calls.len() {
            let from = results.map(|columns| columns[call].as_ref());
            columns.push(interleave(&from, &indexes).map_err(wrong)?);
        }
        let typed = columns.into_iter().zip(schema.fields()).map(|(c, f)| as_type(c, f.data_type(), title));
        let rows = record_batch(schema, typed.collect::<Result<_, _>>()?, changes.len(), title)?;
        Ok(ChangeBatch::with_kinds(rows, changes.iter().map(|(kind, ..)| *kind).collect()))
    }

    /// Forgets keys without rows.
    fn forget(&mut self, touched: &Touched) {
        for slot in &touched.slots {
            if self.retract && self.rows[*slot as usize] <= 0 {
                self.rows[*slot as usize] = 0;
                self.aggregates.clear(*slot);
                self.state.remove(*slot);
            }
        }
    }
}

impl Operator for GroupAggregate {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let (slots, touched) = self.find(&batch)?;
        let known = touched.of(false);
        let old = self.aggregates.output(&known)?;
        let weights: Option<Vec<i8>> =
            batch.kinds.as_ref().map(|kinds| kinds.iter().map(|kind| kind.weight() as i8).collect());
        if self.retract {
            for (row, slot) in slots.iter().enumerate() {
                self.rows[*slot as usize] += weights.as_ref().map_or(1, |weights| i64::from(weights[row]));
            }
        }
        self.aggregates.update(&batch.rows, &slots, weights.as_deref())?;
        let new = self.aggregates.output(&known)?;
        let changed = any_distinct(&old, &new, known.len())
            .map_err(|e| JobError::Plan(format!("{}: {e}", self.place.title)))?;
        let changes = self.changes(&touched, &changed);
        if !changes.is_empty() {
            let fresh = self.aggregates.output(&touched.of(true))?;
            out.batch(self.emit(&touched, [&old, &new, &fresh], &changes)?);
        }
        self.forget(&touched);
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        self.watermark = self.watermark.max(watermark);
        out.watermark(watermark);
        Ok(Progress::Done)
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        let (aggregates, rows, retract) = (&self.aggregates, &self.rows, self.retract);
        let sections = self.state.snapshot(full, |slot, out| {
            let count = if retract { rows[slot as usize] } else { 1 };
            out.extend_from_slice(&count.to_le_bytes());
            aggregates.write(slot, out);
        });
        Some(self.place.snapshot(full, self.watermark, sections))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        let failed = |error| JobError::State { operator: uid.clone(), error };
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            let slot = self.state.restore(hash_bytes(key), group, key);
            self.aggregates.grow(self.state.slots());
            let mut value = Cursor::new(value);
            let count = i64::from_le_bytes(value.array().map_err(failed)?);
            if self.retract {
                self.rows.resize(self.state.slots().max(self.rows.len()), 0);
                self.rows[slot as usize] = count;
            }
            self.aggregates.read(slot, &mut value).map_err(failed)?;
        }
        self.touched_in.resize(self.state.slots(), 0);
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        let columns = (self.rows.capacity() + self.touched_in.capacity()) * 8;
        (self.state.bytes() + self.aggregates.bytes() + columns, self.state.len())
    }
}

/// Per row: whether any column differs. NULL equals NULL, NaN equals NaN.
fn any_distinct(
    old: &[ArrayRef],
    new: &[ArrayRef],
    rows: usize,
) -> Result<BooleanArray, arrow::error::ArrowError> {
    let mut changed = BooleanArray::from(vec![false; rows]);
    for (old, new) in old.iter().zip(new) {
        let differs = if new.data_type().is_nested() {
            let order = make_comparator(old, new, SortOptions::default())?;
            (0..rows).map(|row| Some(order(row, row).is_ne())).collect()
        } else {
            distinct(old, new)?
        };
        changed = or(&changed, &differs)?;
    }
    Ok(changed)
}
