//! Rows as bytes: which partition they belong to, how they sort, and all of them.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use highwater_state::{EncodedKeys, KeyCodec, OrderCodec, OrderColumn, StateError};
use highwater_stream::SortKey;

use super::Place;
use crate::JobError;
use crate::expressions::record_batch;

/// Turns rows into the bytes that operators which rank or sort keep of them, and back.
pub(super) struct OrderedRows {
    place: Place,
    keys: Vec<usize>,
    order: Vec<usize>,
    key_codec: KeyCodec,
    order_codec: OrderCodec,
    row_codec: KeyCodec,
}

impl OrderedRows {
    pub(super) fn new(
        place: &Place,
        input: &SchemaRef,
        keys: &[usize],
        order: &[SortKey],
    ) -> Result<Self, JobError> {
        let fields = input.fields().len();
        if keys.iter().chain(order.iter().map(|key| &key.column)).any(|column| *column >= fields) {
            return Err(JobError::Plan(format!("{}: a column that its input does not have", place.title)));
        }
        let unsupported = |what: &str, error: &StateError| JobError::Unsupported {
            operator: place.title.clone(),
            message: format!("as {what}: {error}"),
        };
        let types = |columns: &mut dyn Iterator<Item = usize>| {
            columns.map(|column| input.field(column).data_type().clone()).collect()
        };
        let order_columns = order.iter().map(|key| OrderColumn {
            data_type: input.field(key.column).data_type().clone(),
            descending: key.descending,
            nulls_first: key.nulls_first,
        });
        Ok(Self {
            key_codec: KeyCodec::new(types(&mut keys.iter().copied()))
                .map_err(|e| unsupported("a key", &e))?,
            order_codec: OrderCodec::new(order_columns.collect()).map_err(|e| unsupported("an order", &e))?,
            row_codec: KeyCodec::new(types(&mut (0..fields))).map_err(|e| unsupported("a row", &e))?,
            keys: keys.to_vec(),
            order: order.iter().map(|key| key.column).collect(),
            place: place.clone(),
        })
    }

    pub(super) fn failed(&self, error: StateError) -> JobError {
        JobError::State { operator: self.place.uid.clone(), error }
    }

    /// The partition of each row, behind its prefix if there is one.
    pub(super) fn keys(&self, rows: &RecordBatch, prefixes: Option<&[i64]>) -> Result<EncodedKeys, JobError> {
        let columns = columns(rows, &self.keys);
        self.key_codec.encode(&columns, rows.num_rows(), prefixes).map_err(|e| self.failed(e))
    }

    /// Bytes that sort as the rows within their partition.
    pub(super) fn orders(&self, rows: &RecordBatch) -> Result<EncodedKeys, JobError> {
        let columns = columns(rows, &self.order);
        self.order_codec.encode(&columns, rows.num_rows()).map_err(|e| self.failed(e))
    }

    /// All of each row.
    pub(super) fn rows(&self, rows: &RecordBatch) -> Result<EncodedKeys, JobError> {
        self.row_codec.encode(rows.columns(), rows.num_rows(), None).map_err(|e| self.failed(e))
    }

    /// Rows from their bytes, with one more column behind them if there is one.
    pub(super) fn batch<'a>(
        &self,
        rows: impl ExactSizeIterator<Item = &'a [u8]>,
        number: Option<ArrayRef>,
    ) -> Result<RecordBatch, JobError> {
        let count = rows.len();
        let mut columns = self.row_codec.decode(rows).map_err(|e| self.failed(e))?;
        columns.extend(number);
        record_batch(&self.place.schema, columns, count, &self.place.title)
    }
}

fn columns(rows: &RecordBatch, indexes: &[usize]) -> Vec<ArrayRef> {
    indexes.iter().map(|index| ArrayRef::clone(rows.column(*index))).collect()
}

/// A row's name among those of its partition: its order, then when it came. `later_first` turns the second
/// around.
pub(super) fn entry_name(name: &mut Vec<u8>, order: &[u8], sequence: u64, later_first: bool) {
    name.clear();
    name.extend_from_slice(order);
    let sequence = if later_first { !sequence } else { sequence };
    name.extend_from_slice(&sequence.to_be_bytes());
}

/// The sequence number in a name.
pub(super) fn sequence_of(name: &[u8], later_first: bool) -> Result<u64, StateError> {
    let short = || StateError::Corrupt("a row without its sequence number".to_owned());
    let bytes = name.last_chunk::<8>().ok_or_else(short)?;
    let sequence = u64::from_be_bytes(*bytes);
    Ok(if later_first { !sequence } else { sequence })
}
