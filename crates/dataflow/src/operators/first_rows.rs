//! The first rows of each partition as they come.

use arrow::array::{BooleanArray, Int64Array};
use arrow::compute::filter;
use arrow::datatypes::SchemaRef;
use highwater_env::KeyGroup;
use highwater_state::{Cursor, KeyedState, OperatorSnapshot, RestoredState, hash_bytes};
use highwater_stream::{ChangeBatch, EventTime, RankSpec, WATERMARK_NONE};

use super::Place;
use super::calc::keep;
use super::ordered_rows::OrderedRows;
use crate::JobError;
use crate::expressions::record_batch;
use crate::operator::{Operator, Output, Progress};

/// Lets pass the rows of each partition whose number is wanted, counted from 1 as they come. Inserts only.
///
/// State per partition: how many rows came (u64), up to the last that is wanted.
pub(crate) struct FirstRows {
    place: Place,
    rows: OrderedRows,
    ranks: (u64, u64),
    numbered: bool,
    state: KeyedState,
    /// Per slot: rows that came.
    counts: Vec<u64>,
    watermark: EventTime,
}

impl FirstRows {
    pub(crate) fn new(place: &Place, input: &SchemaRef, spec: &RankSpec) -> Result<Self, JobError> {
        let fields = input.fields().len() + usize::from(spec.numbered);
        if place.schema.fields().len() != fields {
            return Err(JobError::Plan(format!("{}: its schema is not its input's", place.title)));
        }
        Ok(Self {
            rows: OrderedRows::new(place, input, &spec.keys, &[])?,
            ranks: spec.ranks,
            numbered: spec.numbered,
            state: KeyedState::default(),
            counts: Vec::new(),
            watermark: WATERMARK_NONE,
            place: place.clone(),
        })
    }
}

impl Operator for FirstRows {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let keys = self.rows.keys(&batch.rows, None)?;
        let (first, last) = self.ranks;
        let mut numbers = Vec::with_capacity(batch.len());
        for row in 0..batch.len() {
            let key = keys.get(row);
            let hash = hash_bytes(key);
            let (slot, _) = self.state.slot(hash, KeyGroup::of_hash(hash), key);
            self.counts.resize(self.state.slots().max(self.counts.len()), 0);
            let count = &mut self.counts[slot as usize];
            if *count >= last {
                numbers.push(None);
                continue;
            }
            *count += 1;
            numbers.push((*count >= first).then_some(*count));
            self.state.touch(slot);
        }
        let kept: BooleanArray = numbers.iter().map(|number| Some(number.is_some())).collect();
        if kept.true_count() == 0 {
            return Ok(Progress::Done);
        }
        let wrong = |e: arrow::error::ArrowError| JobError::Plan(format!("{}: {e}", self.place.title));
        let mut passed = keep(batch, &kept)?;
        if self.numbered {
            let ranks = numbers.iter().map(|number| number.and_then(|number| i64::try_from(number).ok()));
            let ranks = filter(&Int64Array::from_iter(ranks), &kept).map_err(wrong)?;
            let mut columns = passed.rows.columns().to_vec();
            columns.push(ranks);
            passed.rows = record_batch(&self.place.schema, columns, passed.len(), &self.place.title)?;
        }
        out.batch(passed);
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        self.watermark = self.watermark.max(watermark);
        out.watermark(watermark);
        Ok(Progress::Done)
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        let counts = &self.counts;
        let sections = self
            .state
            .snapshot(full, |slot, out| out.extend_from_slice(&counts[slot as usize].to_le_bytes()));
        Some(self.place.snapshot(full, self.watermark, sections))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            let slot = self.state.restore(hash_bytes(key), group, key);
            let count = Cursor::new(value).array().map_err(|e| self.rows.failed(e))?;
            self.counts.resize(self.state.slots().max(self.counts.len()), 0);
            self.counts[slot as usize] = u64::from_le_bytes(count);
        }
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        (self.state.bytes() + self.counts.capacity() * 8, self.state.len())
    }
}
