//! Rows of two inputs side by side: what all joins share.

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{FieldRef, SchemaRef};
use highwater_state::{KeyCodec, StateError};
use highwater_stream::JoinSpec;

use super::Place;
use crate::JobError;
use crate::expressions::record_batch;

/// Rows a call of a join looks at: with frequent keys it takes few of them.
pub(super) const ROWS_MAX: usize = 1024;
/// A call stops behind the row with which its candidate pairs reach this number.
pub(super) const PAIRS_MAX: usize = 16 << 10;

/// One input of a join.
pub(super) struct Side {
    pub(super) schema: SchemaRef,
    pub(super) keys: Vec<usize>,
    /// Per key: NULL equals NULL.
    pub(super) null_safe: Vec<bool>,
    /// Its rows come out even without partner.
    pub(super) kept: bool,
    pub(super) key_codec: KeyCodec,
    pub(super) row_codec: KeyCodec,
}

impl Side {
    /// The left and the right input.
    pub(super) fn both(
        place: &Place,
        inputs: [&SchemaRef; 2],
        spec: &JoinSpec,
    ) -> Result<[Self; 2], JobError> {
        let side = |schema: &SchemaRef, keys: &[usize], kept: bool| -> Result<Self, JobError> {
            let codec = |columns: &mut dyn Iterator<Item = usize>, what: &str| {
                let types = columns.map(|column| schema.field(column).data_type().clone()).collect();
                KeyCodec::new(types).map_err(|e| JobError::Unsupported {
                    operator: place.title.clone(),
                    message: format!("as {what} of a join: {e}"),
                })
            };
            Ok(Self {
                schema: SchemaRef::clone(schema),
                keys: keys.to_vec(),
                null_safe: spec.null_safe.clone(),
                kept,
                key_codec: codec(&mut keys.iter().copied(), "key")?,
                row_codec: codec(&mut (0..schema.fields().len()), "row")?,
            })
        };
        Ok([
            side(inputs[0], &spec.left_keys, spec.kind.keeps_left())?,
            side(inputs[1], &spec.right_keys, spec.kind.keeps_right())?,
        ])
    }

    /// Its key columns.
    pub(super) fn key_columns(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.keys.iter().map(|key| rows.column(*key).clone()).collect()
    }

    /// Per row: whether its key can equal another.
    pub(super) fn joinable(&self, keys: &[ArrayRef], rows: usize) -> Vec<bool> {
        let demanded: Vec<&ArrayRef> = keys
            .iter()
            .zip(&self.null_safe)
            .filter(|(_, null_safe)| !**null_safe)
            .map(|(key, _)| key)
            .collect();
        (0..rows).map(|row| demanded.iter().all(|key| key.is_valid(row))).collect()
    }

    /// The rows of `columns` with these numbers; NULL: a row of NULLs.
    pub(super) fn gather(
        &self,
        columns: &[ArrayRef],
        rows: &UInt32Array,
        title: &str,
    ) -> Result<Vec<ArrayRef>, JobError> {
        let column = |(index, field): (usize, &FieldRef)| match rows.null_count() {
            // Nothing to take from, perhaps.
            nulls if nulls == rows.len() => Ok(new_null_array(field.data_type(), rows.len())),
            _ => take(&columns[index], rows, None).map_err(|e| JobError::Plan(format!("{title}: {e}"))),
        };
        self.schema.fields().iter().enumerate().map(column).collect()
    }

    /// The rows of two `pools` that the cells name.
    pub(super) fn gather_of(
        &self,
        pools: [&[ArrayRef]; 2],
        cells: &[Cell],
        title: &str,
    ) -> Result<Vec<ArrayRef>, JobError> {
        for (number, columns) in (0..).zip(pools) {
            if cells.iter().flatten().all(|(pool, _)| *pool == number) {
                let rows: UInt32Array = cells.iter().map(|cell| cell.map(|(_, row)| row)).collect();
                return self.gather(columns, &rows, title);
            }
        }
        let places: Vec<(usize, usize)> = cells
            .iter()
            .map(|cell| cell.map_or((2, 0), |(pool, row)| (usize::from(pool), row as usize)))
            .collect();
        let column = |(index, field): (usize, &FieldRef)| {
            let null = new_null_array(field.data_type(), 1);
            interleave(&[&pools[0][index], &pools[1][index], &null], &places)
                .map_err(|e| JobError::Plan(format!("{title}: {e}")))
        };
        self.schema.fields().iter().enumerate().map(column).collect()
    }

    /// The columns of rows of state.
    pub(super) fn decode<'a>(
        &self,
        rows: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>, StateError> {
        self.row_codec.decode(rows)
    }
}

/// A row of one side: in which of two pools, and its number there. None: NULLs.
pub(super) type Cell = Option<(u8, u32)>;

/// Columns of left, then those of right, as rows of `schema`.
pub(super) fn side_by_side(
    schema: &SchemaRef,
    mut left: Vec<ArrayRef>,
    mut right: Vec<ArrayRef>,
    rows: usize,
    title: &str,
) -> Result<RecordBatch, JobError> {
    left.append(&mut right);
    record_batch(schema, left, rows, title)
}

/// Sets `bytes` to a key in the map of both sides.
pub(super) fn side_key(side: usize, key: &[u8], bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.push(side as u8);
    bytes.extend_from_slice(key);
}
