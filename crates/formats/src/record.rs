//! One decoder and one encoder for a table, whatever its format.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use highwater_stream::RowKind;

use crate::json::flag;
use crate::{
    ChangeDecoder, ChangeEncoder, ChangeFormat, CsvDecoder, CsvEncoder, CsvOptions, DecodeError, FormatError,
    JsonDecoder, JsonEncoder, JsonOptions,
};

/// What the front of a buffer was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes it took, line end included.
    pub bytes: usize,
    /// True: rows were added (one, unless the format is a changelog); false: nothing (blank line, comment, ignored); or why no row.
    pub row: Result<bool, DecodeError>,
}

/// A decoder of the format a table names.
pub enum RecordDecoder {
    /// `'format' = 'json'`.
    Json(Box<JsonDecoder>),
    /// `'format' = 'csv'`.
    Csv(Box<CsvDecoder>),
    /// `'format' = 'debezium-json'` and its like.
    Changes(Box<ChangeDecoder>),
}

impl RecordDecoder {
    /// The decoder of `format` for the columns of `schema`. `declared` holds all columns of the record.
    ///
    /// # Errors
    /// If the format is unknown, an option is not possible or a column's type cannot be decoded.
    pub fn new(
        format: &str,
        schema: SchemaRef,
        declared: &SchemaRef,
        options: &BTreeMap<String, String>,
    ) -> Result<Self, FormatError> {
        match format {
            "json" => {
                let options = JsonOptions::from_options(options)?;
                Ok(Self::Json(Box::new(JsonDecoder::new(schema, options)?)))
            }
            "csv" => {
                let options = CsvOptions::from_options(options)?;
                Ok(Self::Csv(Box::new(CsvDecoder::new(schema, declared, options)?)))
            }
            _ => {
                let wrapped = change_format(format, options)?;
                let options = JsonOptions::of_format(format, options)?;
                Ok(Self::Changes(Box::new(ChangeDecoder::new(schema, wrapped, options)?)))
            }
        }
    }

    /// Decodes the record at the front of `bytes`; None if it may go on beyond them (never if
    /// `at_end`, unless there are none).
    pub fn take(&mut self, bytes: &[u8], at_end: bool) -> Option<Taken> {
        match self {
            Self::Csv(csv) => csv.take(bytes, at_end),
            Self::Json(_) | Self::Changes(_) => {
                let (line, used) = match memchr::memchr(b'\n', bytes) {
                    Some(end) => (&bytes[..end], end + 1),
                    None if bytes.is_empty() || !at_end => return None,
                    None => (bytes, bytes.len()),
                };
                Some(Taken { bytes: used, row: self.push(line) })
            }
        }
    }

    /// Decodes `record` as one record. True: a row was added.
    ///
    /// # Errors
    /// If it is not one record that fits; then no row was added.
    pub fn push(&mut self, record: &[u8]) -> Result<bool, DecodeError> {
        match self {
            Self::Json(json) => json.push(record),
            Self::Csv(csv) => csv.push(record),
            Self::Changes(changes) => changes.push(record),
        }
    }

    /// Rows decoded since the last [`RecordDecoder::finish`].
    pub fn len(&self) -> usize {
        match self {
            Self::Json(json) => json.len(),
            Self::Csv(csv) => csv.len(),
            Self::Changes(changes) => changes.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows so far.
    ///
    /// # Errors
    /// If they do not make a batch, which would be a defect here.
    pub fn finish(&mut self) -> Result<RecordBatch, DecodeError> {
        match self {
            Self::Json(json) => json.finish(),
            Self::Csv(csv) => csv.finish(),
            Self::Changes(changes) => changes.finish(),
        }
    }

    /// What each row so far does, to be asked before [`RecordDecoder::finish`]. None: all are inserts.
    pub fn take_kinds(&mut self) -> Option<Vec<RowKind>> {
        match self {
            Self::Json(_) | Self::Csv(_) => None,
            Self::Changes(changes) => Some(changes.take_kinds()),
        }
    }
}

/// An encoder of the format a table names.
pub enum RecordEncoder {
    /// `'format' = 'json'`.
    Json(JsonEncoder),
    /// `'format' = 'csv'`.
    Csv(CsvEncoder),
    /// `'format' = 'debezium-json'` and its like.
    Changes(ChangeEncoder),
}

impl RecordEncoder {
    /// The encoder of `format` for rows of `schema`.
    ///
    /// # Errors
    /// If the format is unknown, an option is not possible or a column's type cannot be encoded.
    pub fn new(
        format: &str,
        schema: &SchemaRef,
        options: &BTreeMap<String, String>,
    ) -> Result<Self, FormatError> {
        match format {
            "json" => Ok(Self::Json(JsonEncoder::new(schema, &JsonOptions::from_options(options)?)?)),
            "csv" => Ok(Self::Csv(CsvEncoder::new(schema, &CsvOptions::from_options(options)?)?)),
            _ => {
                let wrapped = change_format(format, options)?;
                let options = JsonOptions::of_format(format, options)?;
                Ok(Self::Changes(ChangeEncoder::new(schema, wrapped, &options)?))
            }
        }
    }

    /// Whether it can say of a row that it goes.
    pub fn takes_changes(&self) -> bool {
        matches!(self, Self::Changes(_))
    }

    /// Appends each row, without a line end, and calls `ended` with the bytes so far behind each. `kinds` says
    /// what the rows do to an encoder that takes changes.
    ///
    /// # Errors
    /// If the batch is not of the schema given at the start.
    pub fn encode(
        &self,
        rows: &RecordBatch,
        kinds: Option<&[RowKind]>,
        out: &mut Vec<u8>,
        ended: impl FnMut(usize, &mut Vec<u8>),
    ) -> Result<(), FormatError> {
        match self {
            Self::Json(json) => json.encode(rows, out, ended),
            Self::Csv(csv) => csv.encode(rows, out, ended),
            Self::Changes(changes) => changes.encode(rows, kinds, out, ended),
        }
    }
}

/// How the format wraps rows, if it is one that does.
fn change_format(format: &str, options: &BTreeMap<String, String>) -> Result<ChangeFormat, FormatError> {
    match format {
        "debezium-json" => {
            Ok(ChangeFormat::Debezium { schema_include: flag(options, "debezium-json.schema-include")? })
        }
        "ogg-json" => Ok(ChangeFormat::Ogg),
        "canal-json" => Ok(ChangeFormat::Canal),
        "maxwell-json" => Ok(ChangeFormat::Maxwell),
        _ => Err(FormatError(format!(
            "unknown format '{format}', expected json, csv, debezium-json, canal-json, maxwell-json or ogg-json"
        ))),
    }
}
