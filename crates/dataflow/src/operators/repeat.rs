//! Rows several times.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::take;
use arrow::datatypes::Int64Type;
use highwater_stream::{ChangeBatch, RepeatSpec, RowKind, Times};

use super::Place;
use crate::JobError;
use crate::expressions::record_batch;
use crate::operator::{Operator, Output, Progress};

/// Each row as often as a column says, or a fixed number of times, with its kind and watermark. Without state.
pub(crate) struct Repeat {
    place: Place,
    spec: RepeatSpec,
    pending: Option<Pending>,
}

/// A batch of which some rows are still to be emitted.
struct Pending {
    batch: ChangeBatch,
    /// The next row, and how often it came already.
    row: usize,
    done: i64,
}

impl Repeat {
    pub(crate) fn new(place: &Place, spec: &RepeatSpec) -> Self {
        Self { place: place.clone(), spec: spec.clone(), pending: None }
    }

    fn emit(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        let Some(pending) = &mut self.pending else { return Ok(Progress::Done) };
        let Place { title, schema, batch_rows_max, .. } = &self.place;
        let wrong = |what: &str| JobError::Plan(format!("{title}: {what}"));
        let times = match self.spec.times {
            Times::Fixed(_) => None,
            Times::Column(column) => {
                let column = pending.batch.rows.columns().get(column);
                let column = column.and_then(|column| column.as_primitive_opt::<Int64Type>());
                Some(column.ok_or_else(|| wrong("its column of numbers is not BIGINT"))?.clone())
            }
        };
        let times = |row: usize| match (&times, self.spec.times) {
            (Some(times), _) if times.is_null(row) => 0,
            (Some(times), _) => times.value(row),
            (None, Times::Fixed(times)) => i64::from(times),
            (None, Times::Column(_)) => 0,
        };
        let (mut parents, mut ordinals): (Vec<u32>, Vec<i32>) = (Vec::new(), Vec::new());
        while pending.row < pending.batch.len() {
            if pending.done >= times(pending.row) {
                (pending.row, pending.done) = (pending.row + 1, 0);
                continue;
            }
            if parents.len() >= *batch_rows_max {
                break;
            }
            parents.push(pending.row as u32);
            ordinals.push(pending.done as i32);
            pending.done += 1;
        }
        if !parents.is_empty() {
            let batch = &pending.batch;
            let from = UInt32Array::from(parents);
            let mut columns = Vec::with_capacity(schema.fields().len());
            for column in &self.spec.kept {
                let column = take(batch.rows.column(*column), &from, None);
                columns.push(column.map_err(|e| wrong(&e.to_string()))?);
            }
            if self.spec.ordinal {
                columns.push(Arc::new(Int32Array::from(ordinals)));
            }
            let rows = record_batch(schema, columns, from.len(), title)?;
            let from = || from.values().iter().map(|row| *row as usize);
            let kinds =
                batch.kinds.as_ref().map(|kinds| from().map(|row| kinds[row]).collect::<Vec<RowKind>>());
            let watermarks = batch.watermarks.as_ref();
            let watermarks = watermarks.map(|marks| from().map(|row| marks[row]).collect::<Vec<_>>());
            let (kinds, watermarks) = (kinds.map(Into::into), watermarks.map(ScalarBuffer::from));
            out.batch(ChangeBatch { rows, kinds, watermarks });
        }
        if pending.row < pending.batch.len() {
            return Ok(Progress::More);
        }
        self.pending = None;
        Ok(Progress::Done)
    }
}

impl Operator for Repeat {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        self.pending = Some(Pending { batch, row: 0, done: 0 });
        self.emit(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        self.emit(out)
    }
}

#[cfg(test)]
mod tests;
