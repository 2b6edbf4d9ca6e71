//! The elements of a collection as rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, ListArray, MapArray, StructArray, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use highwater_stream::{ChangeBatch, RowKind, UnnestSpec};

use super::Place;
use crate::JobError;
use crate::expressions::record_batch;
use crate::operator::{Operator, Output, Progress};

/// Each row once per element of its array or map, with its kind and watermark. Without state.
pub(crate) struct Unnest {
    place: Place,
    spec: UnnestSpec,
    pending: Option<Pending>,
}

/// A batch of which rows `next..` of the result are still to be emitted.
struct Pending {
    batch: ChangeBatch,
    /// The elements of all rows, one array per column.
    elements: Vec<ArrayRef>,
    /// Per row of the result: the row of `batch` it comes from.
    parents: UInt32Array,
    /// Per row of the result: its element; NULL for a row kept without one.
    places: UInt32Array,
    /// Per row of the result: the element's number, from 1.
    ordinals: Int32Array,
    next: usize,
}

impl Unnest {
    pub(crate) fn new(place: &Place, spec: &UnnestSpec) -> Self {
        Self { place: place.clone(), spec: spec.clone(), pending: None }
    }

    fn failed(&self, message: impl Into<String>) -> JobError {
        JobError::Evaluation { operator: self.place.title.clone(), message: message.into() }
    }

    fn expand(&self, batch: ChangeBatch) -> Result<Pending, JobError> {
        let Some(collection) = batch.rows.columns().get(self.spec.collection) else {
            return Err(JobError::Plan(format!("{}: no column {}", self.place.title, self.spec.collection)));
        };
        let (offsets, values): (&[i32], Elements) = match collection.data_type() {
            DataType::List(_) => {
                let lists: &ListArray = downcast(collection, &self.place)?;
                let values = lists.values();
                let elements = match values.data_type() {
                    DataType::Struct(_) => Elements::Rows(Arc::clone(values)),
                    _ => Elements::Columns(vec![Arc::clone(values)]),
                };
                (lists.value_offsets(), elements)
            }
            DataType::Map(..) => {
                let maps: &MapArray = downcast(collection, &self.place)?;
                let columns = vec![Arc::clone(maps.keys()), Arc::clone(maps.values())];
                (maps.value_offsets(), Elements::Columns(columns))
            }
            other => return Err(self.failed(format!("cannot unnest {other}, expected a list or a map"))),
        };
        let (mut parents, mut places, mut ordinals) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..batch.len() {
            let parent = number(row);
            let before = parents.len();
            if collection.is_valid(row) {
                for (position, element) in (offsets[row]..offsets[row + 1]).enumerate() {
                    let element = u32::try_from(element).unwrap_or(u32::MAX);
                    if values.is_absent(element) {
                        if self.spec.ordinality {
                            return Err(self.failed("UNNEST WITH ORDINALITY of an array with a NULL row"));
                        }
                        continue;
                    }
                    parents.push(parent);
                    places.push(Some(element));
                    ordinals.push(i32::try_from(position + 1).ok());
                }
            }
            if self.spec.outer && parents.len() == before {
                parents.push(parent);
                places.push(None);
                ordinals.push(None);
            }
        }
        Ok(Pending {
            elements: values.into_columns(&self.place)?,
            batch,
            parents: parents.into(),
            places: places.into(),
            ordinals: ordinals.into(),
            next: 0,
        })
    }

    fn emit(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        let Some(pending) = &mut self.pending else { return Ok(Progress::Done) };
        let count = (pending.parents.len() - pending.next).min(self.place.batch_rows_max);
        if count > 0 {
            let batch = pending.rows(count, &self.spec, &self.place)?;
            pending.next += count;
            out.batch(batch);
        }
        if pending.next < pending.parents.len() {
            return Ok(Progress::More);
        }
        self.pending = None;
        Ok(Progress::Done)
    }
}

impl Pending {
    fn rows(&self, count: usize, spec: &UnnestSpec, place: &Place) -> Result<ChangeBatch, JobError> {
        let parents = self.parents.slice(self.next, count);
        let places = self.places.slice(self.next, count);
        let failed =
            |e: ArrowError| JobError::Evaluation { operator: place.title.clone(), message: e.to_string() };
        let mut columns = Vec::with_capacity(place.schema.fields().len());
        for column in &spec.kept {
            columns.push(take(self.batch.rows.column(*column), &parents, None).map_err(failed)?);
        }
        for element in &self.elements {
            columns.push(take(element, &places, None).map_err(failed)?);
        }
        if spec.ordinality {
            columns.push(Arc::new(self.ordinals.slice(self.next, count)));
        }
        let rows = record_batch(&place.schema, columns, count, &place.title)?;
        let from = || parents.values().iter().map(|parent| usize::try_from(*parent).unwrap_or(usize::MAX));
        let kinds =
            self.batch.kinds.as_ref().map(|kinds| from().map(|row| kinds[row]).collect::<Vec<RowKind>>());
        let watermarks = self.batch.watermarks.as_ref();
        let watermarks = watermarks.map(|marks| from().map(|row| marks[row]).collect::<Vec<_>>());
        Ok(ChangeBatch { rows, kinds: kinds.map(Into::into), watermarks: watermarks.map(ScalarBuffer::from) })
    }
}

/// What a collection holds.
enum Elements {
    /// Rows, whose fields become columns. A NULL row gives none, as in Flink.
    Rows(ArrayRef),
    Columns(Vec<ArrayRef>),
}

impl Elements {
    fn is_absent(&self, element: u32) -> bool {
        match self {
            Self::Rows(rows) => usize::try_from(element).is_ok_and(|element| rows.is_null(element)),
            Self::Columns(_) => false,
        }
    }

    fn into_columns(self, place: &Place) -> Result<Vec<ArrayRef>, JobError> {
        match self {
            Self::Rows(rows) => Ok(downcast::<StructArray>(&rows, place)?.columns().to_vec()),
            Self::Columns(columns) => Ok(columns),
        }
    }
}

impl Operator for Unnest {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        self.pending = Some(self.expand(batch)?);
        self.emit(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        self.emit(out)
    }
}

fn downcast<'a, T: Array + 'static>(array: &'a ArrayRef, place: &Place) -> Result<&'a T, JobError> {
    array.as_any().downcast_ref().ok_or_else(|| {
        JobError::Plan(format!("{}: a column of unexpected type {}", place.title, array.data_type()))
    })
}

fn number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
