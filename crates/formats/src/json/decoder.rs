//! JSON objects to columns.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::encoder::write_string;
use super::scan::{self, Text, blank, byte, unexpected};
use super::shape::{NO_COLUMN, Seen, Shape};
use super::{JsonOptions, fast};
use crate::column::{Cell, Column, Places, Value, finish_batch};
use crate::convert::{self, Kind, Span, Token, record_cell, scratch_cell};
use crate::{DecodeError, FormatError, double};

/// A longer record is refused.
pub(crate) const RECORD_BYTES_MAX: usize = 64 << 20;

/// More text in one column of a batch is refused: offsets have 31 bits.
const TEXT_BYTES_MAX: usize = i32::MAX as usize;

/// Decodes records, one JSON object each, into the columns of a schema. Fields are found by name;
/// others are ignored, absent ones NULL, the last of equal names wins.
///
/// Most streams repeat one field order, so the decoder expects the bytes between the values to be
/// those of an earlier record and falls back to a general parser wherever they are not.
pub struct JsonDecoder {
    schema: SchemaRef,
    options: JsonOptions,
    fields: Vec<Field>,
    by_name: HashMap<Box<[u8]>, u32>,
    columns: Vec<Column>,
    rows: usize,
    /// Bytes of the records of this batch: its columns hold no more text than that.
    batch_bytes: usize,
    /// Whether a missing field or a NULL can spoil a record.
    strict: bool,
    shape: Shape,
    record: Parts,
}

struct Field {
    name: Box<str>,
    kind: Kind,
    nullable: bool,
}

/// What one record was found to hold.
#[derive(Default)]
pub(super) struct Parts {
    cells: Vec<Cell>,
    scratch: Vec<u8>,
    nested: Vec<Value>,
    seen: Vec<Seen>,
}

impl JsonDecoder {
    /// A decoder of the columns of `schema`.
    ///
    /// # Errors
    /// If JSON cannot carry a column's type.
    pub fn new(schema: SchemaRef, options: JsonOptions) -> Result<Self, FormatError> {
        let mut fields = Vec::new();
        for field in schema.fields() {
            let kind = Kind::of(field.data_type())
                .map_err(|error| FormatError(format!("column {}: {error}", field.name())))?;
            fields.push(Field { name: field.name().as_str().into(), kind, nullable: field.is_nullable() });
        }
        let column = |(field, kind): (&std::sync::Arc<arrow::datatypes::Field>, &Field)| {
            Column::new(field.data_type(), &kind.kind)
        };
        let columns = schema.fields().iter().zip(&fields).map(column).collect();
        let number = |index: usize| u32::try_from(index).unwrap_or(NO_COLUMN);
        let by_name =
            fields.iter().enumerate().map(|(at, field)| (field.name.as_bytes().into(), number(at))).collect();
        let strict = options.fail_on_missing_field || fields.iter().any(|field| !field.nullable);
        let record = Parts { cells: vec![Cell::Missing; fields.len()], ..Parts::default() };
        Ok(Self {
            schema,
            options,
            fields,
            by_name,
            columns,
            rows: 0,
            batch_bytes: 0,
            strict,
            shape: Shape::default(),
            record,
        })
    }

    /// Decodes one record. True: a row was added; false: the record is blank, or bad and to be ignored.
    ///
    /// # Errors
    /// If it is not a JSON object or a field does not fit its column; then no row was added.
    pub fn push(&mut self, record: &[u8]) -> Result<bool, DecodeError> {
        if blank(record, 0) == record.len() {
            return Ok(false);
        }
        match self.read(record).and_then(|()| self.check(record)) {
            Ok(()) => {}
            Err(_) if self.options.ignore_parse_errors => return Ok(false),
            Err(error) => return Err(error),
        }
        append(&mut self.columns, record, &mut self.record);
        self.rows += 1;
        Ok(true)
    }

    /// Reads `record` into `parts` and adds no row yet.
    pub(super) fn stage(&mut self, record: &[u8], parts: &mut Parts) -> Result<(), DecodeError> {
        parts.cells.resize(self.fields.len(), Cell::Missing);
        std::mem::swap(&mut self.record, parts);
        let read = self.read(record).and_then(|()| self.check(record));
        std::mem::swap(&mut self.record, parts);
        read
    }

    /// Adds the row that [`JsonDecoder::stage`] read.
    pub(super) fn append(&mut self, record: &[u8], parts: &mut Parts) {
        append(&mut self.columns, record, parts);
        self.rows += 1;
    }

    /// Adds row `old`, with the values of `new` where it has none and the column is not `changed`.
    pub(super) fn append_over(&mut self, old: (&[u8], &mut Parts), new: (&[u8], &Parts), changed: &[bool]) {
        let (record, parts) = old;
        let mut places = Places { record, scratch: &parts.scratch, nested: &mut parts.nested };
        for (index, column) in self.columns.iter_mut().enumerate() {
            let cell = parts.cells[index];
            if changed[index] || !matches!(cell, Cell::Missing | Cell::Null) {
                column.push(cell, &mut places);
                continue;
            }
            let (record, parts) = new;
            let (cell, mut nested) = match parts.cells[index] {
                Cell::Nested(at) => (Cell::Nested(0), vec![parts.nested[at as usize].clone()]),
                cell => (cell, Vec::new()),
            };
            column.push(cell, &mut Places { record, scratch: &parts.scratch, nested: &mut nested });
        }
        self.rows += 1;
    }

    /// Which columns the value at `place` names, at any depth.
    pub(super) fn columns_named(
        &self,
        record: &[u8],
        place: &std::ops::Range<usize>,
    ) -> Result<Vec<bool>, DecodeError> {
        let mut named = vec![false; self.fields.len()];
        let mut plain = Vec::new();
        scan::keys(record, place.start, 1, &mut |key| {
            plain.clear();
            scan::unescape(record, key, &mut plain)?;
            if let Some(column) = self.by_name.get(plain.as_slice()) {
                named[*column as usize] = true;
            }
            Ok(())
        })?;
        Ok(named)
    }

    /// Refuses a record that is too long.
    pub(super) fn check_length(&self, record: &[u8]) -> Result<(), DecodeError> {
        if record.len() <= RECORD_BYTES_MAX {
            return Ok(());
        }
        let found = record.len();
        Err(DecodeError::new(format!("a record of {found} bytes, expected at most {RECORD_BYTES_MAX}")))
    }

    /// Rows decoded since the last [`JsonDecoder::finish`].
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
        self.batch_bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        finish_batch(&self.schema, &mut self.columns, rows)
            .map_err(|error| DecodeError::new(error.to_string()))
    }

    /// Reads `record` into `self.record`.
    fn read(&mut self, record: &[u8]) -> Result<(), DecodeError> {
        self.check_length(record)?;
        self.record.cells.fill(Cell::Missing);
        self.record.scratch.clear();
        self.record.nested.clear();
        self.record.seen.clear();
        let learning = self.shape.wants_to_learn();
        let mut wrong = false;
        let mut guess = 0;
        let mut end = 0;
        loop {
            let (column, value) = match self.shape.guess(guess, &record[end..]) {
                Some((column, length)) => {
                    guess += 1;
                    // Blanks that were not there when the shape was learned.
                    (column, blank(record, end + length))
                }
                None => {
                    let Some((column, value)) = self.next_field(record, end)? else { break };
                    wrong = true;
                    guess = self.shape.after(column, guess).max(1);
                    (column, value)
                }
            };
            if learning {
                self.record.seen.push(Seen { lead: narrow(end), value: narrow(value), column });
            }
            end = self.value(column, record, value)?;
        }
        if learning {
            self.shape.learn(record, &self.record.seen);
        } else {
            self.shape.judge(wrong);
        }
        Ok(())
    }

    /// The general way to the next field behind `end` (0: the record's start): its column and where
    /// its value starts. None at the object's end.
    #[inline(never)]
    fn next_field(&mut self, record: &[u8], end: usize) -> Result<Option<(u32, usize)>, DecodeError> {
        let mut at = blank(record, end);
        if end == 0 {
            if byte(record, at) != b'{' {
                return Err(unexpected(record, at, "a JSON object"));
            }
            at = blank(record, at + 1);
            if byte(record, at) != b'}' {
                return self.field(record, at).map(Some);
            }
        }
        match byte(record, at) {
            b',' => self.field(record, blank(record, at + 1)).map(Some),
            b'}' => match blank(record, at + 1) {
                last if last == record.len() => Ok(None),
                more => Err(unexpected(record, more, "nothing behind the object")),
            },
            _ => Err(unexpected(record, at, "',' or '}'")),
        }
    }

    fn field(&mut self, record: &[u8], at: usize) -> Result<(u32, usize), DecodeError> {
        let (key, value) = scan::key(record, at)?;
        let scratch = &mut self.record.scratch;
        let start = scratch.len();
        let name = if key.escaped {
            scan::unescape(record, key, scratch)?;
            &scratch[start..]
        } else {
            &record[key.start..key.end]
        };
        Ok((self.by_name.get(name).copied().unwrap_or(NO_COLUMN), value))
    }

    /// Decodes the value at `at` for `column` and gives its end.
    #[inline(always)]
    fn value(&mut self, column: u32, record: &[u8], at: usize) -> Result<usize, DecodeError> {
        let Some(field) = self.fields.get(column as usize) else { return scan::skip(record, at, 1) };
        if let Some((cell, end)) = fast::value(&field.kind, record, at, self.options.timestamp_format) {
            self.record.cells[column as usize] = cell;
            return Ok(end);
        }
        if matches!(field.kind, Kind::Text) && byte(record, at) == b'"' {
            let text = scan::string(record, at)?;
            if !text.escaped {
                self.record.cells[column as usize] = record_cell(text.start, text.end);
                return Ok(text.end + 1);
            }
        }
        let parts = &mut self.record;
        let mut read = ValueReader {
            record,
            format: self.options.timestamp_format,
            lenient: self.options.ignore_parse_errors,
            strict_fields: self.options.fail_on_missing_field,
            scratch: &mut parts.scratch,
            nested: &mut parts.nested,
        };
        let (cell, end) =
            read.cell(&field.kind, at, 1).map_err(|error| error.into_decode_error(&field.name))?;
        parts.cells[column as usize] = cell;
        Ok(end)
    }

    /// What only the whole record can tell.
    fn check(&mut self, record: &[u8]) -> Result<(), DecodeError> {
        if self.strict {
            self.check_missing()?;
        }
        let bytes = record.len() + self.record.scratch.len();
        if self.batch_bytes + bytes > TEXT_BYTES_MAX {
            return Err(DecodeError::new("the batch already holds 2 GiB of records"));
        }
        self.batch_bytes += bytes;
        Ok(())
    }

    fn check_missing(&self) -> Result<(), DecodeError> {
        for (field, cell) in self.fields.iter().zip(&self.record.cells) {
            if *cell == Cell::Missing && self.options.fail_on_missing_field {
                return Err(DecodeError::new(format!("column {}: the field is missing", field.name)));
            }
            if !field.nullable && matches!(cell, Cell::Missing | Cell::Null) {
                return Err(DecodeError::new(format!(
                    "column {}: it is NOT NULL, found no value",
                    field.name
                )));
            }
        }
        Ok(())
    }
}

/// Adds what a record was found to hold, one value per column.
#[inline(always)]
fn append(columns: &mut [Column], record: &[u8], parts: &mut Parts) {
    let mut places = Places { record, scratch: &parts.scratch, nested: &mut parts.nested };
    for (column, cell) in columns.iter_mut().zip(&parts.cells) {
        column.push(*cell, &mut places);
    }
}

fn narrow(at: usize) -> u32 {
    u32::try_from(at).expect("a record is at most RECORD_BYTES_MAX long")
}

/// Why a value was refused: broken JSON spoils the record, a misfit only the field.
enum Refusal {
    Broken(DecodeError),
    Misfit(String),
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::Broken(error)
    }
}

impl Refusal {
    #[cold]
    fn into_decode_error(self, column: &str) -> DecodeError {
        match self {
            Self::Broken(error) => DecodeError::new(format!("column {column}: {error}")),
            Self::Misfit(reason) => DecodeError::new(format!("column {column}: {reason}")),
        }
    }
}

/// The general way to read values of any kind.
struct ValueReader<'a> {
    record: &'a [u8],
    format: crate::TimestampFormat,
    /// A misfit becomes NULL.
    lenient: bool,
    strict_fields: bool,
    scratch: &'a mut Vec<u8>,
    nested: &'a mut Vec<Value>,
}

impl ValueReader<'_> {
    /// The value at `at` as `kind`, and its end.
    fn cell(&mut self, kind: &Kind, at: usize, depth: usize) -> Result<(Cell, usize), Refusal> {
        let record = self.record;
        let (found, end) = match byte(record, at) {
            b'"' => {
                let text = scan::string(record, at)?;
                (self.text(kind, text)?, text.end + 1)
            }
            b'-' | b'0'..=b'9' => {
                let (end, token) = scan::number(record, at)?;
                let span = Span { cell: record_cell(at, end) };
                (convert::from_number(kind, &record[at..end], token, span), end)
            }
            b't' => {
                let end = scan::word(record, at, "true")?;
                (convert::from_bool(kind, true, Span { cell: record_cell(at, end) }), end)
            }
            b'f' => {
                let end = scan::word(record, at, "false")?;
                (convert::from_bool(kind, false, Span { cell: record_cell(at, end) }), end)
            }
            b'n' => (Ok(Cell::Null), scan::word(record, at, "null")?),
            b'{' | b'[' => return self.composite(kind, at, depth),
            _ => return Err(unexpected(record, at, "a value").into()),
        };
        self.settle(found, end)
    }

    fn settle(&self, found: Result<Cell, String>, end: usize) -> Result<(Cell, usize), Refusal> {
        match found {
            Ok(cell) => Ok((cell, end)),
            Err(_) if self.lenient => Ok((Cell::Null, end)),
            Err(reason) => Err(Refusal::Misfit(reason)),
        }
    }

    fn text(&mut self, kind: &Kind, text: Text) -> Result<Result<Cell, String>, DecodeError> {
        if !text.escaped {
            let span = Span { cell: record_cell(text.start, text.end) };
            let bytes = &self.record[text.start..text.end];
            return Ok(convert::from_text(kind, bytes, span, self.format, self.scratch));
        }
        let start = self.scratch.len();
        scan::unescape(self.record, text, self.scratch)?;
        let span = Span { cell: scratch_cell(start, self.scratch.len()) };
        if *kind == Kind::Text {
            return Ok(Ok(span.cell));
        }
        let plain = self.scratch[start..].to_vec();
        Ok(convert::from_text(kind, &plain, span, self.format, self.scratch))
    }

    /// An object or array.
    fn composite(&mut self, kind: &Kind, at: usize, depth: usize) -> Result<(Cell, usize), Refusal> {
        if *kind == Kind::Text {
            let start = self.scratch.len();
            let end = compact(self.record, at, depth, self.scratch)?;
            return Ok((scratch_cell(start, self.scratch.len()), end));
        }
        let opening = byte(self.record, at);
        if !matches!((kind, opening), (Kind::List(_), b'[') | (Kind::Struct(_) | Kind::Map(_), b'{')) {
            let end = scan::skip(self.record, at, depth)?;
            let found = if opening == b'[' { "an array" } else { "an object" };
            let found = match kind {
                Kind::Null => Ok(Cell::Null),
                _ => Err(format!("expected {}, found {found}", kind.name())),
            };
            return self.settle(found, end);
        }
        let (value, end) = self.nested_value(kind, at, depth)?;
        self.nested.push(value);
        Ok((Cell::Nested(narrow(self.nested.len() - 1)), end))
    }

    /// The value at `at` as a value of its own.
    fn nested_value(&mut self, kind: &Kind, at: usize, depth: usize) -> Result<(Value, usize), Refusal> {
        let record = self.record;
        let mut misfit = None;
        let done = match (kind, byte(record, at)) {
            (Kind::List(element), b'[') => {
                let mut items = Vec::new();
                let end = scan::items(record, at, depth, |at| {
                    self.part(element, at, depth + 1, &mut misfit).map(|(value, end)| {
                        items.push(value);
                        end
                    })
                })?;
                (Value::List(items), end)
            }
            (Kind::Struct(fields), b'{') => self.row(fields, at, depth, &mut misfit)?,
            (Kind::Map(pair), b'{') => {
                let mut pairs: Vec<(Value, Value)> = Vec::new();
                let mut by_key: HashMap<Vec<u8>, usize> = HashMap::new();
                let end = scan::members(record, at, depth, |key, at| {
                    let mut name = Vec::new();
                    scan::unescape(record, key, &mut name)?;
                    let (value, end) = self.part(&pair.1, at, depth + 1, &mut misfit)?;
                    match by_key.get(&name) {
                        Some(index) => pairs[*index].1 = value,
                        None => {
                            by_key.insert(name.clone(), pairs.len());
                            pairs.push((Value::Bytes(name), value));
                        }
                    }
                    Ok(end)
                })?;
                (Value::Map(pairs), end)
            }
            _ => {
                let (cell, end) = self.cell(kind, at, depth)?;
                (convert::own(cell, record, self.scratch), end)
            }
        };
        match misfit {
            Some(reason) => Err(Refusal::Misfit(reason)),
            None => Ok(done),
        }
    }

    fn row(
        &mut self,
        fields: &[(Box<str>, Kind)],
        at: usize,
        depth: usize,
        misfit: &mut Option<String>,
    ) -> Result<(Value, usize), DecodeError> {
        let record = self.record;
        let mut parts = vec![None; fields.len()];
        let end = scan::members(record, at, depth, |key, at| {
            let mut name = Vec::new();
            scan::unescape(record, key, &mut name)?;
            match fields.iter().position(|(field, _)| field.as_bytes() == name) {
                Some(index) => {
                    let (value, end) = self.part(&fields[index].1, at, depth + 1, misfit)?;
                    parts[index] = Some(value);
                    Ok(end)
                }
                None => scan::skip(record, at, depth + 1),
            }
        })?;
        if self.strict_fields
            && let Some(missing) = parts.iter().position(Option::is_none)
        {
            misfit.get_or_insert_with(|| format!("the field {} of the ROW is missing", fields[missing].0));
        }
        Ok((Value::Struct(parts.into_iter().map(|part| part.unwrap_or(Value::Null)).collect()), end))
    }

    /// A value inside another; a misfit is remembered and reading goes on, to find broken JSON first.
    fn part(
        &mut self,
        kind: &Kind,
        at: usize,
        depth: usize,
        misfit: &mut Option<String>,
    ) -> Result<(Value, usize), DecodeError> {
        match self.nested_value(kind, at, depth) {
            Ok(done) => Ok(done),
            Err(Refusal::Broken(error)) => Err(error),
            Err(Refusal::Misfit(reason)) => {
                misfit.get_or_insert(reason);
                Ok((Value::Null, scan::skip(self.record, at, depth)?))
            }
        }
    }
}

/// Appends the object or array at `at` without blanks, as Jackson writes a tree. Gives its end.
fn compact(record: &[u8], at: usize, depth: usize, out: &mut Vec<u8>) -> Result<usize, DecodeError> {
    let quoted = |text: Text, out: &mut Vec<u8>| {
        let mut plain = Vec::new();
        scan::unescape(record, text, &mut plain)?;
        write_string(&plain, out);
        Ok::<_, DecodeError>(text.end + 1)
    };
    match byte(record, at) {
        b'"' => quoted(scan::string(record, at)?, out),
        b'-' | b'0'..=b'9' => {
            let (end, token) = scan::number(record, at)?;
            let text = std::str::from_utf8(&record[at..end]).unwrap_or_default();
            match (token, text.parse()) {
                (Token::Fractional, Ok(value)) if f64::is_finite(value) => double::write_f64(value, out),
                _ => out.extend_from_slice(text.as_bytes()),
            }
            Ok(end)
        }
        b'[' => {
            out.push(b'[');
            let end = scan::items(record, at, depth, |at| {
                separate(b'[', out);
                compact(record, at, depth + 1, out)
            })?;
            out.push(b']');
            Ok(end)
        }
        b'{' => {
            out.push(b'{');
            let end = scan::members(record, at, depth, |key, at| {
                separate(b'{', out);
                quoted(key, out)?;
                out.push(b':');
                compact(record, at, depth + 1, out)
            })?;
            out.push(b'}');
            Ok(end)
        }
        _ => {
            let end = scan::skip(record, at, depth)?;
            out.extend_from_slice(&record[at..end]);
            Ok(end)
        }
    }
}

/// A comma, unless this is the first behind `open`. (A value never ends with an opening bracket.)
fn separate(open: u8, out: &mut Vec<u8>) {
    if out.last() != Some(&open) {
        out.push(b',');
    }
}
