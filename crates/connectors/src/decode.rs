//! Records to the batch a plan asked for: columns from the payload, others from the connector.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use bytes::Bytes;
use highwater_formats::{DecodeError, RecordDecoder};
use highwater_stream::{
    ConnectorError, ErrorKind, Position, RejectedRecord, RowKind, SourceBatch, SourceSpec,
};

use crate::options::{BadRecords, TableOptions};

/// The key in a field's metadata that names the connector's metadata column.
const METADATA: &str = "metadata";

/// What a source delivers, and how to get it.
#[derive(Clone)]
pub(crate) struct Layout {
    physical: SchemaRef,
    /// The columns of the payload.
    payload: SchemaRef,
    /// For each column: which of the payload's, or which metadata.
    columns: Vec<Column>,
}

#[derive(Clone)]
enum Column {
    Payload(usize),
    Metadata(usize),
}

impl Layout {
    /// The layout of a table whose connector offers the metadata columns `offered`.
    pub(crate) fn new(
        spec: &SourceSpec,
        offered: &[&str],
        options: TableOptions<'_>,
    ) -> Result<Self, ConnectorError> {
        let mut payload: Vec<FieldRef> = Vec::new();
        let mut columns = Vec::new();
        for field in spec.physical.fields() {
            match field.metadata().get(METADATA) {
                None => {
                    columns.push(Column::Payload(payload.len()));
                    payload.push(FieldRef::clone(field));
                }
                Some(key) => {
                    let known = offered.iter().position(|offered| offered == key);
                    columns.push(Column::Metadata(known.ok_or_else(|| {
                        let offered = offered.join(", ");
                        options.error(format!(
                            "column {}: unknown metadata '{key}', expected one of: {offered}",
                            field.name()
                        ))
                    })?));
                }
            }
        }
        Ok(Self { physical: SchemaRef::clone(&spec.physical), payload: Schema::new(payload).into(), columns })
    }

    /// Whether metadata column `index` of those offered is wanted.
    pub(crate) fn wants(&self, index: usize) -> bool {
        self.columns.iter().any(|column| matches!(column, Column::Metadata(wanted) if *wanted == index))
    }

    /// A decoder of the payload.
    pub(crate) fn decoder(
        &self,
        declared: &SchemaRef,
        options: TableOptions<'_>,
    ) -> Result<RecordDecoder, ConnectorError> {
        let payload_only = |field: &&FieldRef| !field.metadata().contains_key(METADATA);
        let declared: Vec<FieldRef> = declared.fields().iter().filter(payload_only).cloned().collect();
        let declared: SchemaRef = Schema::new(declared).into();
        let format_options = options.format_options("value.");
        RecordDecoder::new(options.format()?, SchemaRef::clone(&self.payload), &declared, &format_options)
            .map_err(|error| options.error(error.to_string()))
    }

    /// `payload` with the metadata columns among its columns. `metadata` gives the column offered at
    /// an index; it is cast to the declared type.
    pub(crate) fn assemble(
        &self,
        payload: &RecordBatch,
        metadata: impl Fn(usize) -> ArrayRef,
    ) -> Result<RecordBatch, String> {
        let place = |(column, field): (&Column, &FieldRef)| match column {
            Column::Payload(index) => Ok(ArrayRef::clone(payload.column(*index))),
            Column::Metadata(index) => {
                let array = metadata(*index);
                if array.data_type() == field.data_type() {
                    return Ok(array);
                }
                cast(&array, field.data_type()).map_err(|error| format!("column {}: {error}", field.name()))
            }
        };
        let arrays =
            self.columns.iter().zip(self.physical.fields()).map(place).collect::<Result<Vec<_>, _>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(payload.num_rows()));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.physical), arrays, &rows)
            .map_err(|error| error.to_string())
    }
}

/// The field of a metadata column, for tests and callers that build schemas.
#[cfg(test)]
pub(crate) fn metadata_field(
    name: &str,
    data_type: arrow::datatypes::DataType,
    key: &str,
) -> arrow::datatypes::Field {
    arrow::datatypes::Field::new(name, data_type, true)
        .with_metadata([(METADATA.to_owned(), key.to_owned())].into())
}

/// What became of the records read for one batch.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) rejects: Vec<RejectedRecord>,
    pub(crate) skipped: u64,
}

impl Outcome {
    /// Takes the verdict on one record; an error only under the policy `fail`.
    pub(crate) fn take(
        &mut self,
        verdict: Result<bool, DecodeError>,
        policy: BadRecords,
        about: impl FnOnce() -> (String, u64, Bytes),
    ) -> Result<(), ConnectorError> {
        match (verdict, policy) {
            (Ok(true), _) => {}
            (Ok(false), _) | (Err(_), BadRecords::Skip) => self.skipped += 1,
            (Err(error), BadRecords::DeadLetter) => {
                let (split, position, payload) = about();
                self.rejects.push(RejectedRecord { split, position, reason: error.to_string(), payload });
            }
            (Err(error), BadRecords::Fail) => {
                let (split, position, _) = about();
                let place = format!("{split}:{position}");
                return Err(ConnectorError::new(ErrorKind::BadRecord, place, error.to_string()));
            }
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rejects.is_empty() && self.skipped == 0
    }

    pub(crate) fn batch(self, rows: RecordBatch, kinds: Option<Vec<RowKind>>, next: u64) -> SourceBatch {
        let Self { rejects, skipped } = self;
        SourceBatch { rows, kinds, next: Position(next), rejects, skipped }
    }
}
