//! JSON objects to columns.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, SchemaRef};

use super::encoder::write_string;
use super::fields::Fields;
use super::scan::{self, Text, blank, byte, unexpected};
use super::shape::{Seen, Shape};
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
    fields: Fields,
    columns: Vec<Column>,
    rows: usize,
    /// Bytes of the records of this batch: its columns hold no more text than that.
    batch_bytes: usize,
    /// Whether a missing field or a NULL can spoil a record.
    strict: bool,
    shape: Shape,
    record: Parts,
}

/// What one record was found to hold.
#[derive(Default)]
pub(super) struct Parts {
    cells: Vec<Cell>,
    scratch: Vec<u8>,
    nested: Vec<Value>,
    seen: Vec<Seen>,
    /// The ROWs that it opened, in order; kept while learning.
    opened: Vec<u32>,
}

impl JsonDecoder {
    /// A decoder of the columns of `schema`.
    ///
    /// # Errors
    /// If JSON cannot carry a column's type.
    pub fn new(schema: SchemaRef, options: JsonOptions) -> Result<Self, FormatError> {
        let fields = Fields::new(&schema)?;
        let kinds = fields.cells.iter().filter(|field| field.is_column()).map(|field| &field.kind);
        let column = |(field, kind): (&FieldRef, &Kind)| Column::of_cells(field.data_type(), kind);
        let columns: Vec<Column> = schema.fields().iter().zip(kinds).map(column).collect();
        let strict = options.fail_on_missing_field || fields.cells.iter().any(|field| !field.nullable);
        let record = Parts { cells: vec![Cell::Missing; fields.cells.len()], ..Parts::default() };
        Ok(Self {
            schema,
            options,
            fields,
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
        parts.cells.resize(self.fields.cells.len(), Cell::Missing);
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

    /// Adds row `old`, with the values of `new` where it has none and the column is not `changed`, by
    /// the number of its cell.
    pub(super) fn append_over(&mut self, old: (&[u8], &mut Parts), new: (&[u8], &Parts), changed: &[bool]) {
        let (record, parts) = old;
        let mut places = Places { record, scratch: &parts.scratch, nested: &mut parts.nested };
        let mut first = 0;
        for column in &mut self.columns {
            let cells = first..first + column.cells();
            first = cells.end;
            let own = &parts.cells[cells.clone()];
            if changed[cells.start] || !matches!(own[0], Cell::Missing | Cell::Null) {
                column.push_row(own, &mut places);
                continue;
            }
            let (record, parts) = new;
            let own = &parts.cells[cells];
            let composite = own.iter().any(|cell| matches!(cell, Cell::Nested(_)));
            let mut nested = if composite { parts.nested.clone() } else { Vec::new() };
            column.push_row(own, &mut Places { record, scratch: &parts.scratch, nested: &mut nested });
        }
        self.rows += 1;
    }

    /// Which columns the value at `place` names, at any depth; by the numbers of their cells.
    pub(super) fn columns_named(
        &self,
        record: &[u8],
        place: &std::ops::Range<usize>,
    ) -> Result<Vec<bool>, DecodeError> {
        let mut named = vec![false; self.fields.cells.len()];
        let mut plain = Vec::new();
        scan::keys(record, place.start, 1, &mut |key| {
            plain.clear();
            scan::unescape(record, key, &mut plain)?;
            if let Some(named) = named.get_mut(self.fields.find(0, &plain) as usize) {
                *named = true;
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
        self.record.opened.clear();
        let learning = self.shape.wants_to_learn();
        let mut wrong = false;
        let mut guess = 0;
        let mut place = Place { level: 0, end: 0, open: true };
        // Behind the last value.
        let mut behind = 0;
        loop {
            let guessed = if place.end == behind {
                self.shape.guess(guess, place.level, &record[behind..])
            } else {
                None
            };
            let (cell, value) = match guessed {
                Some(right) => {
                    guess += 1;
                    place.level = right.level;
                    for row in right.opened {
                        open(&mut self.record.cells, &self.fields, *row);
                    }
                    if learning {
                        self.record.opened.extend_from_slice(right.opened);
                    }
                    // Blanks that were not there when the shape was learned.
                    (right.cell, blank(record, place.end + right.lead))
                }
                None => {
                    let Some((cell, value)) = self.next_field(record, &mut place, learning)? else { break };
                    wrong = true;
                    guess = self.shape.after(cell, guess).max(1);
                    (cell, value)
                }
            };
            if byte(record, value) == b'{'
                && let Some(level) = self.fields.level_of(cell)
            {
                open(&mut self.record.cells, &self.fields, cell);
                if learning {
                    self.record.opened.push(cell);
                }
                place = Place { level, end: value, open: true };
                continue;
            }
            if learning {
                let opened = narrow(self.record.opened.len());
                let level = place.level;
                self.record.seen.push(Seen {
                    lead: narrow(behind),
                    value: narrow(value),
                    cell,
                    level,
                    opened,
                });
            }
            behind = self.value(cell, record, value, place.level)?;
            place = Place { end: behind, open: false, ..place };
        }
        if learning {
            self.shape.learn(record, &self.record.seen, &self.record.opened);
        } else {
            self.shape.judge(wrong);
        }
        Ok(())
    }

    /// The general way to the next field behind `place`: its cell and where its value starts, the value
    /// of no ROW. None at the record's end.
    #[inline(never)]
    fn next_field(
        &mut self,
        record: &[u8],
        place: &mut Place,
        learning: bool,
    ) -> Result<Option<(u32, usize)>, DecodeError> {
        let mut at = blank(record, place.end);
        if place.open && byte(record, at) != b'{' {
            return Err(unexpected(record, at, "a JSON object"));
        }
        loop {
            let open_here = std::mem::take(&mut place.open);
            if open_here {
                at = blank(record, at + 1);
            }
            let (cell, value) = match byte(record, at) {
                b'}' => {
                    at = blank(record, at + 1);
                    match self.fields.above(place.level) {
                        Some(above) => place.level = above,
                        None if at == record.len() => return Ok(None),
                        None => return Err(unexpected(record, at, "nothing behind the object")),
                    }
                    continue;
                }
                b',' if !open_here => self.field(record, blank(record, at + 1), place.level)?,
                _ if open_here => self.field(record, at, place.level)?,
                _ => return Err(unexpected(record, at, "',' or '}'")),
            };
            match self.fields.level_of(cell) {
                Some(level) if byte(record, value) == b'{' => {
                    open(&mut self.record.cells, &self.fields, cell);
                    if learning {
                        self.record.opened.push(cell);
                    }
                    at = value;
                    *place = Place { level, end: value, open: true };
                }
                _ => return Ok(Some((cell, value))),
            }
        }
    }

    fn field(&mut self, record: &[u8], at: usize, level: u32) -> Result<(u32, usize), DecodeError> {
        let (key, value) = scan::key(record, at)?;
        let scratch = &mut self.record.scratch;
        let start = scratch.len();
        let name = if key.escaped {
            scan::unescape(record, key, scratch)?;
            &scratch[start..]
        } else {
            &record[key.start..key.end]
        };
        Ok((self.fields.find(level, name), value))
    }

    /// Decodes the value at `at`, a field of `level`, for `cell` and gives its end.
    #[inline(always)]
    fn value(&mut self, cell: u32, record: &[u8], at: usize, level: u32) -> Result<usize, DecodeError> {
        let place = cell as usize;
        let Some(field) = self.fields.cells.get(place) else {
            return scan::skip(record, at, self.fields.depth(level));
        };
        if let Some((found, end)) = fast::value(&field.kind, record, at, self.options.timestamp_format) {
            self.record.cells[place] = found;
            return Ok(end);
        }
        if matches!(field.kind, Kind::Text) && byte(record, at) == b'"' {
            let text = scan::string(record, at)?;
            if !text.escaped {
                self.record.cells[place] = record_cell(text.start, text.end);
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
        let (found, end) = read
            .cell(&field.kind, at, self.fields.depth(level))
            .map_err(|refusal| self.fields.error(place, &refusal.into_reason()))?;
        parts.cells[place] = found;
        if field.level.is_some() {
            // A ROW of the same name that came before.
            parts.cells[place + 1..field.end as usize].fill(Cell::Missing);
        }
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
        let cells = &self.record.cells;
        for (place, (field, cell)) in self.fields.cells.iter().zip(cells).enumerate() {
            let row = self.fields.parent(place);
            if row.is_some_and(|row| cells[row] != Cell::Row) {
                continue;
            }
            if *cell == Cell::Missing && self.options.fail_on_missing_field {
                let reason = match row {
                    None => "the field is missing".to_owned(),
                    Some(_) => format!("the field {} of the ROW is missing", field.name),
                };
                return Err(self.fields.error(place, &reason));
            }
            if !field.nullable && matches!(cell, Cell::Missing | Cell::Null) {
                return Err(self.fields.error(place, "it is NOT NULL, found no value"));
            }
        }
        Ok(())
    }
}

/// Adds what a record was found to hold, one value per column.
#[inline(always)]
fn append(columns: &mut [Column], record: &[u8], parts: &mut Parts) {
    let mut places = Places { record, scratch: &parts.scratch, nested: &mut parts.nested };
    let mut rest = &parts.cells[..];
    for column in columns {
        let (own, others) = rest.split_at(column.cells());
        column.push_row(own, &mut places);
        rest = others;
    }
}

/// How far a record is read.
struct Place {
    /// The object that is open.
    level: u32,
    /// Behind the last value, or at the brace of an object whose fields are still to come.
    end: usize,
    /// Whether `end` is at that brace.
    open: bool,
}

/// Notes that the ROW of `cell` is there; its fields are not yet.
#[inline]
fn open(cells: &mut [Cell], fields: &Fields, cell: u32) {
    let (first, end) = (cell as usize, fields.cells[cell as usize].end as usize);
    cells[first..end].fill(Cell::Missing);
    cells[first] = Cell::Row;
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
    fn into_reason(self) -> String {
        match self {
            Self::Broken(error) => error.to_string(),
            Self::Misfit(reason) => reason,
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
