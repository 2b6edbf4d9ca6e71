//! Filter and projection.

use arrow::array::{Array, BooleanArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use datafusion_expr::Expr;
use highwater_stream::{ChangeBatch, RowKind};

use super::Place;
use crate::JobError;
use crate::expressions::{Compiled, Projection};
use crate::operator::{Operator, Output, Progress};

/// Keeps the rows for which a filter is true and computes columns. Without state.
pub(crate) struct Calc {
    filter: Option<Compiled>,
    columns: Projection,
}

impl Calc {
    pub(crate) fn new(
        place: &Place,
        input: &SchemaRef,
        filter: Option<&Expr>,
        columns: &[Expr],
    ) -> Result<Self, JobError> {
        let filter = filter.map(|filter| Compiled::new(filter, input, &place.title)).transpose()?;
        Ok(Self { filter, columns: Projection::new(columns, input, place.schema(), &place.title)? })
    }
}

impl Operator for Calc {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let mut batch = batch;
        if let Some(filter) = &self.filter {
            let before = batch.len();
            let kept = filter.evaluate_boolean(&batch.rows)?;
            batch = keep(batch, &kept)?;
            out.filtered += (before - batch.len()) as u64;
        }
        if !batch.is_empty() {
            let rows = self.columns.evaluate(&batch.rows)?;
            out.batch(ChangeBatch { rows, ..batch });
        }
        Ok(Progress::Done)
    }
}

/// The rows for which `kept` is true (not NULL), with their kinds and watermarks: the watermark before a row
/// already tells of the rows removed in front of it.
pub(crate) fn keep(batch: ChangeBatch, kept: &BooleanArray) -> Result<ChangeBatch, JobError> {
    let kept = if kept.null_count() > 0 { prep_null_mask_filter(kept) } else { kept.clone() };
    if kept.true_count() == batch.len() {
        return Ok(batch);
    }
    let rows = filter_record_batch(&batch.rows, &kept).map_err(|e| JobError::Plan(e.to_string()))?;
    let bits = kept.values();
    let kinds = batch.kinds.map(|kinds| bits.set_indices().map(|row| kinds[row]).collect::<Vec<RowKind>>());
    let watermarks =
        batch.watermarks.map(|marks| bits.set_indices().map(|row| marks[row]).collect::<Vec<_>>());
    Ok(ChangeBatch { rows, kinds: kinds.map(Into::into), watermarks: watermarks.map(ScalarBuffer::from) })
}
