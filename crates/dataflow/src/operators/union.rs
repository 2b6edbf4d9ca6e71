//! All rows of all inputs.

use arrow::array::RecordBatch;
use highwater_stream::ChangeBatch;

use super::Place;
use crate::JobError;
use crate::expressions::{as_type, record_batch};
use crate::operator::{Operator, Output, Progress};

/// All rows of all inputs, in order of arrival, under its own column names. Merging the inputs' watermarks
/// and barriers is the instance's work.
pub(crate) struct Union {
    place: Place,
}

impl Union {
    pub(crate) fn new(place: &Place) -> Self {
        Self { place: place.clone() }
    }
}

impl Operator for Union {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let Place { schema, title, .. } = &self.place;
        let mut columns = Vec::with_capacity(schema.fields().len());
        for (column, field) in batch.rows.columns().iter().zip(schema.fields()) {
            columns.push(as_type(column.clone(), field.data_type(), title)?);
        }
        let rows: RecordBatch = record_batch(schema, columns, batch.len(), title)?;
        out.batch(ChangeBatch { rows, ..batch });
        Ok(Progress::Done)
    }
}
