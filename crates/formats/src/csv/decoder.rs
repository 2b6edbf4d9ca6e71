//! CSV records to columns.

use arrow::array::RecordBatch;
use arrow::datatypes::{SchemaRef, TimeUnit};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::CsvOptions;
use crate::column::{Cell, Column, Places, finish_batch};
use crate::convert::{self, Kind, Span, record_cell};
use crate::error::shown;
use crate::times::{self, TimestampFormat};
use crate::{DecodeError, FormatError, Taken};

/// A longer record is refused.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// Decodes CSV records. Fields belong to the declared columns by position; only those of the schema
/// are decoded.
pub struct CsvDecoder {
    schema: SchemaRef,
    options: CsvOptions,
    reader: Reader,
    declared: usize,
    fields: Vec<Field>,
    columns: Vec<Column>,
    rows: usize,
    text: Vec<u8>,
    ends: Vec<usize>,
    cells: Vec<Cell>,
    scratch: Vec<u8>,
}

struct Field {
    name: Box<str>,
    kind: Kind,
    nullable: bool,
    /// Its position in the record.
    position: usize,
}

impl CsvDecoder {
    /// A decoder of the columns of `schema`, each of which is a column of `declared`.
    ///
    /// # Errors
    /// If a column is not declared or CSV cannot carry its type.
    pub fn new(schema: SchemaRef, declared: &SchemaRef, options: CsvOptions) -> Result<Self, FormatError> {
        let mut fields = Vec::new();
        for field in schema.fields() {
            let name = field.name();
            let wrong = |why: String| FormatError(format!("column {name}: {why}"));
            let kind = Kind::of(field.data_type()).map_err(|error| wrong(error.to_string()))?;
            if matches!(kind, Kind::List(_) | Kind::Struct(_) | Kind::Map(_)) {
                return Err(wrong(format!("CSV cannot carry {}, expected a scalar type", kind.name())));
            }
            let position = declared
                .index_of(name)
                .map_err(|_| wrong("it is not among the declared columns".to_owned()))?;
            fields.push(Field { name: name.as_str().into(), kind, nullable: field.is_nullable(), position });
        }
        let pairs = schema.fields().iter().zip(&fields);
        let columns = pairs.map(|(field, of)| Column::new(field.data_type(), &of.kind)).collect();
        let mut builder = ReaderBuilder::new();
        builder.delimiter(options.delimiter).escape(options.escape).quoting(options.quote.is_some());
        builder.quote(options.quote.unwrap_or(b'"')).comment(options.comments.then_some(b'#'));
        let cells = vec![Cell::Missing; fields.len()];
        Ok(Self {
            schema,
            options,
            reader: builder.build(),
            declared: declared.fields().len(),
            fields,
            columns,
            rows: 0,
            text: vec![0; 1024],
            ends: vec![0; declared.fields().len() + 1],
            cells,
            scratch: Vec::new(),
        })
    }

    /// Decodes the record at the front of `bytes`; None if it may go on beyond them (never if
    /// `at_end`). Line ends within quotes belong to the record.
    pub fn take(&mut self, bytes: &[u8], at_end: bool) -> Option<Taken> {
        let (bytes, record) = self.locate(bytes, at_end)?;
        let row = record.map_or(Ok(false), |(text_end, fields)| self.push_fields(text_end, fields));
        Some(Taken { bytes, row })
    }

    /// Reads the first record into `text` and `ends`: how many bytes it took, and how much of the two
    /// it filled. No record: only blank lines and comments.
    fn locate(&mut self, bytes: &[u8], at_end: bool) -> Option<(usize, Option<(usize, usize)>)> {
        if bytes.is_empty() {
            return None;
        }
        self.reader.reset();
        let (mut used, mut text_end, mut fields) = (0, 0, 0);
        loop {
            let (result, read, wrote, ended) =
                self.reader.read_record(&bytes[used..], &mut self.text[text_end..], &mut self.ends[fields..]);
            used += read;
            text_end += wrote;
            fields += ended;
            match result {
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::InputEmpty if !at_end && bytes.len() <= RECORD_BYTES_MAX => return None,
                // An empty input tells the reader that the record ends here.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Some((bytes.len(), None)),
            }
        }
        // A line feed behind a carriage return belongs to this line.
        if used > 0 && bytes[used - 1] == b'\r' && bytes.get(used) == Some(&b'\n') {
            used += 1;
        }
        Some((used, Some((text_end, fields))))
    }

    /// Decodes `bytes` as one record. True: a row was added.
    ///
    /// # Errors
    /// If they are not one record that fits; then no row was added.
    pub fn push(&mut self, bytes: &[u8]) -> Result<bool, DecodeError> {
        let Some((used, Some((text_end, fields)))) = self.locate(bytes, true) else { return Ok(false) };
        if !bytes[used..].trim_ascii().is_empty() {
            return Err(DecodeError::new("a second record behind the first, expected one"));
        }
        self.push_fields(text_end, fields)
    }

    /// Rows decoded since the last [`CsvDecoder::finish`].
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows so far.
    ///
    /// # Errors
    /// If they do not make a batch, which would be a defect here.
    pub fn finish(&mut self) -> Result<RecordBatch, DecodeError> {
        let rows = std::mem::take(&mut self.rows);
        finish_batch(&self.schema, &mut self.columns, rows)
            .map_err(|error| DecodeError::new(error.to_string()))
    }

    fn push_fields(&mut self, text_end: usize, fields: usize) -> Result<bool, DecodeError> {
        match self.decode(text_end, fields) {
            Ok(()) => {}
            Err(_) if self.options.ignore_parse_errors => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut places = Places { record: &self.text[..text_end], scratch: &self.scratch, nested: &mut [] };
        for (column, cell) in self.columns.iter_mut().zip(&self.cells) {
            column.push(*cell, &mut places);
        }
        self.rows += 1;
        Ok(true)
    }

    fn decode(&mut self, text_end: usize, found: usize) -> Result<(), DecodeError> {
        if text_end > RECORD_BYTES_MAX {
            return Err(DecodeError::new(format!(
                "a record of {text_end} bytes, expected at most {RECORD_BYTES_MAX}"
            )));
        }
        let lenient = self.options.ignore_parse_errors;
        if found != self.declared && !lenient {
            return Err(DecodeError::new(format!("{found} fields, expected {}", self.declared)));
        }
        self.scratch.clear();
        for (field, cell) in self.fields.iter().zip(&mut self.cells) {
            if field.position >= found {
                *cell = Cell::Null;
                continue;
            }
            let start = if field.position == 0 { 0 } else { self.ends[field.position - 1] };
            let end = self.ends[field.position];
            let text = &self.text[start..end];
            *cell = if self.options.null_literal.as_ref().is_some_and(|null| null.as_bytes() == text) {
                Cell::Null
            } else {
                match convert(&field.kind, text, record_cell(start, end), &mut self.scratch) {
                    Ok(cell) => cell,
                    Err(_) if lenient => Cell::Null,
                    Err(reason) => return Err(DecodeError::new(format!("column {}: {reason}", field.name))),
                }
            };
            if *cell == Cell::Null && !field.nullable {
                return Err(DecodeError::new(format!(
                    "column {}: it is NOT NULL, found no value",
                    field.name
                )));
            }
        }
        if self.columns.iter().any(|column| column.text_bytes() > i32::MAX as usize - 2 * RECORD_BYTES_MAX) {
            return Err(DecodeError::new("the batch already holds 2 GiB of text in one column"));
        }
        Ok(())
    }
}

/// Flink's CSV reads dates and timestamps as JDBC writes them. An offset, which Flink refuses, is
/// taken for `TIMESTAMP_LTZ`: ISO-8601 with `Z` or `+hh:mm`.
fn convert(kind: &Kind, text: &[u8], cell: Cell, scratch: &mut Vec<u8>) -> Result<Cell, String> {
    let or_else = |value: Option<i64>, expected: &str| {
        value.map(Cell::Int).ok_or_else(|| format!("expected {expected}, found {}", shown(text)))
    };
    match kind {
        Kind::Text if std::str::from_utf8(text).is_err() => {
            Err(format!("expected UTF-8, found {}", shown(text)))
        }
        Kind::Text => Ok(cell),
        Kind::Date => or_else(times::parse_jdbc_date(text).map(i64::from), "DATE (yyyy-MM-dd)"),
        Kind::Time => {
            let time = times::parse_time(text, true).and_then(|time| time.in_unit(TimeUnit::Millisecond));
            or_else(time, "TIME (HH:mm:ss)")
        }
        Kind::Timestamp { unit, zoned: false } => {
            let moment = times::parse_jdbc_timestamp(text).and_then(|moment| moment.in_unit(*unit));
            or_else(moment, "TIMESTAMP (yyyy-MM-dd HH:mm:ss.SSS)")
        }
        Kind::Timestamp { unit, zoned: true } => {
            let moment = times::parse_timestamp(text, TimestampFormat::Sql, true)
                .or_else(|| times::parse_timestamp(text, TimestampFormat::Iso8601WithOffset, true));
            let moment = moment.and_then(|moment| moment.in_unit(*unit));
            or_else(moment, "TIMESTAMP_LTZ (yyyy-MM-dd HH:mm:ss.SSSZ or yyyy-MM-ddTHH:mm:ss+hh:mm)")
        }
        _ => convert::from_text(kind, text, Span { cell }, TimestampFormat::Sql, scratch),
    }
}
