//! The first or last row of each partition over inserts, as a changelog.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use highwater_env::KeyGroup;
use highwater_state::{Cursor, KeyedState, OperatorSnapshot, RestoredState, Slot, StateError, hash_bytes};
use highwater_stream::{ChangeBatch, EventTime, RankSpec, RowKind, WATERMARK_NONE};

use super::Place;
use super::ordered_rows::OrderedRows;
use crate::JobError;
use crate::operator::{Operator, Output, Progress};

/// Keeps the row of rank 1 of each partition; of equal rows the one that came first, or last. Tells how it
/// changes once per batch and partition: all that goes, then all that comes.
///
/// State per partition: length of the order (u32), the row's order, the row.
pub(crate) struct TopRow {
    place: Place,
    rows: OrderedRows,
    later_first: bool,
    state: KeyedState,
    /// Per slot.
    kept: Vec<Kept>,
    /// Per slot: the last batch in which another row took the place, and that row.
    taken_in: Vec<(u64, u32)>,
    batch_number: u64,
    bytes: usize,
    watermark: EventTime,
}

/// A row and its order, in one allocation.
#[derive(Default)]
struct Kept(Box<[u8]>);

impl Kept {
    fn new(order: &[u8], row: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(4 + order.len() + row.len());
        bytes.extend_from_slice(&(order.len() as u32).to_le_bytes());
        bytes.extend_from_slice(order);
        bytes.extend_from_slice(row);
        Self(bytes.into())
    }

    fn read(value: &[u8]) -> Result<Self, StateError> {
        Cursor::new(value).counted()?;
        Ok(Self(value.into()))
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        let Some((len, rest)) = self.0.split_first_chunk::<4>() else { return (&[], &[]) };
        rest.split_at_checked(u32::from_le_bytes(*len) as usize).unwrap_or((&[], &[]))
    }
}

impl TopRow {
    pub(crate) fn new(place: &Place, input: &SchemaRef, spec: &RankSpec) -> Result<Self, JobError> {
        if place.schema.fields().len() != input.fields().len() {
            return Err(JobError::Plan(format!("{}: its schema is not its input's", place.title)));
        }
        Ok(Self {
            rows: OrderedRows::new(place, input, &spec.keys, &spec.order)?,
            later_first: spec.later_first,
            state: KeyedState::default(),
            kept: Vec::new(),
            taken_in: Vec::new(),
            batch_number: 0,
            bytes: 0,
            watermark: WATERMARK_NONE,
            place: place.clone(),
        })
    }

    /// The slots whose row is another after `batch`, and whether each had none before.
    fn take_in(&mut self, batch: &RecordBatch) -> Result<(Vec<Winner>, Vec<Kept>), JobError> {
        let keys = self.rows.keys(batch, None)?;
        let orders = self.rows.orders(batch)?;
        self.batch_number += 1;
        let mut winners: Vec<Winner> = Vec::new();
        for row in 0..batch.num_rows() {
            let (key, order) = (keys.get(row), orders.get(row));
            let hash = hash_bytes(key);
            let (slot, fresh) = self.state.slot(hash, KeyGroup::of_hash(hash), key);
            let index = slot as usize;
            if index >= self.kept.len() {
                self.kept.resize_with(self.state.slots().max(index + 1), Kept::default);
                self.taken_in.resize(self.kept.len(), (0, 0));
            }
            let (number, winner) = self.taken_in[index];
            if !fresh {
                let known = if number == self.batch_number {
                    orders.get(winners[winner as usize].row as usize)
                } else {
                    self.kept[index].parts().0
                };
                let stays = if self.later_first { order > known } else { order >= known };
                if stays {
                    continue;
                }
            }
            if number == self.batch_number {
                winners[winner as usize].row = row as u32;
            } else {
                self.taken_in[index] = (self.batch_number, winners.len() as u32);
                winners.push(Winner { slot, row: row as u32, fresh });
            }
        }
        winners.sort_unstable_by_key(|winner| winner.row);
        let chosen = UInt32Array::from_iter_values(winners.iter().map(|winner| winner.row));
        let chosen = take_record_batch(batch, &chosen).map_err(|e| self.wrong(&e))?;
        let rows = self.rows.rows(&chosen)?;
        let mut gone = Vec::new();
        for (number, winner) in winners.iter().enumerate() {
            let kept = Kept::new(orders.get(winner.row as usize), rows.get(number));
            self.bytes += kept.0.len();
            let old = std::mem::replace(&mut self.kept[winner.slot as usize], kept);
            self.bytes -= old.0.len();
            self.state.touch(winner.slot);
            if !winner.fresh {
                gone.push(old);
            }
        }
        Ok((winners, gone))
    }

    fn wrong(&self, error: &arrow::error::ArrowError) -> JobError {
        JobError::Plan(format!("{}: {error}", self.place.title))
    }
}

/// A row that takes the place of its partition.
struct Winner {
    slot: Slot,
    row: u32,
    /// There was none before.
    fresh: bool,
}

impl Operator for TopRow {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let (winners, gone) = self.take_in(&batch.rows)?;
        if !gone.is_empty() {
            let rows = self.rows.batch(gone.iter().map(|kept| kept.parts().1), None)?;
            out.batch(ChangeBatch::with_kinds(rows, vec![RowKind::UpdateBefore; gone.len()]));
        }
        if !winners.is_empty() {
            let chosen = UInt32Array::from_iter_values(winners.iter().map(|winner| winner.row));
            let rows = take_record_batch(&batch.rows, &chosen).map_err(|e| self.wrong(&e))?;
            let kind = |winner: &Winner| if winner.fresh { RowKind::Insert } else { RowKind::UpdateAfter };
            out.batch(ChangeBatch::with_kinds(rows, winners.iter().map(kind).collect()));
        }
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        self.watermark = self.watermark.max(watermark);
        out.watermark(watermark);
        Ok(Progress::Done)
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        let kept = &self.kept;
        let sections = self.state.snapshot(full, |slot, out| out.extend_from_slice(&kept[slot as usize].0));
        Some(self.place.snapshot(full, self.watermark, sections))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            let slot = self.state.restore(hash_bytes(key), group, key);
            self.kept.resize_with(self.state.slots(), Kept::default);
            self.kept[slot as usize] = Kept::read(value).map_err(|e| self.rows.failed(e))?;
            self.bytes += value.len();
        }
        self.taken_in.resize(self.kept.len(), (0, 0));
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        let columns = self.kept.capacity() * size_of::<Kept>() + self.taken_in.capacity() * 16;
        (self.state.bytes() + self.bytes + columns, self.state.len())
    }
}
