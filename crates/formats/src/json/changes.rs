//! Changelogs in JSON, as Debezium, Canal, Maxwell and Oracle GoldenGate write them: each record wraps
//! rows and says what became of them.
//!
//! ```text
//! debezium  {"before": ROW, "after": ROW, "op": "c" | "r" | "u" | "d"}   or that as "payload"
//! ogg       {"before": ROW, "after": ROW, "op_type": "I" | "U" | "D"}
//! canal     {"data": [ROW, ..], "old": [ROW, ..], "type": "INSERT" | "UPDATE" | "DELETE" | "CREATE"}
//! maxwell   {"data": ROW, "old": ROW, "type": "insert" | "update" | "delete"}
//! ```

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use highwater_stream::RowKind;

use super::decoder::Parts;
use super::encoder::JsonEncoder;
use super::scan::{self, blank, byte, unexpected};
use super::{JsonDecoder, JsonOptions};
use crate::{DecodeError, FormatError};

/// How rows are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeFormat {
    /// `debezium-json`; with schema the message is the member `payload`.
    Debezium {
        /// `debezium-json.schema-include`.
        schema_include: bool,
    },
    /// `ogg-json`.
    Ogg,
    /// `canal-json`.
    Canal,
    /// `maxwell-json`.
    Maxwell,
}

/// What a record says became of its rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Insert,
    Update,
    Delete,
    /// Of the table's definition: no row.
    Definition,
}

impl ChangeFormat {
    /// The members that hold the rows before, the rows after (or the only ones), and the change.
    fn members(self) -> [&'static [u8]; 3] {
        match self {
            Self::Debezium { .. } => [b"before", b"after", b"op"],
            Self::Ogg => [b"before", b"after", b"op_type"],
            Self::Canal | Self::Maxwell => [b"old", b"data", b"type"],
        }
    }

    fn change(self, code: &[u8]) -> Option<Change> {
        Some(match (self, code) {
            (Self::Debezium { .. }, b"c" | b"r")
            | (Self::Ogg, b"I")
            | (Self::Canal, b"INSERT")
            | (Self::Maxwell, b"insert") => Change::Insert,
            (Self::Debezium { .. }, b"u")
            | (Self::Ogg, b"U")
            | (Self::Canal, b"UPDATE")
            | (Self::Maxwell, b"update") => Change::Update,
            (Self::Debezium { .. }, b"d")
            | (Self::Ogg, b"D")
            | (Self::Canal, b"DELETE")
            | (Self::Maxwell, b"delete") => Change::Delete,
            (Self::Canal, b"CREATE") => Change::Definition,
            _ => return None,
        })
    }

    /// Whether the old row holds only what changed, and a deleted row stands where new ones do.
    fn is_partial(self) -> bool {
        matches!(self, Self::Canal | Self::Maxwell)
    }
}

/// A value of a record: where it starts and ends.
type Range = std::ops::Range<usize>;

/// Decodes records into rows and what each does. A record gives all its rows or none.
pub struct ChangeDecoder {
    json: JsonDecoder,
    format: ChangeFormat,
    lenient: bool,
    kinds: Vec<RowKind>,
    before: Vec<(Range, Parts)>,
    after: Vec<(Range, Parts)>,
    /// Parts to be used again.
    spare: Vec<Parts>,
}

impl ChangeDecoder {
    /// A decoder of the columns of `schema`.
    ///
    /// # Errors
    /// If JSON cannot carry a column's type.
    pub fn new(schema: SchemaRef, format: ChangeFormat, options: JsonOptions) -> Result<Self, FormatError> {
        let lenient = options.ignore_parse_errors;
        Ok(Self {
            json: JsonDecoder::new(schema, options)?,
            format,
            lenient,
            kinds: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            spare: Vec::new(),
        })
    }

    /// Decodes one record. True: rows were added; false: it holds none, or is bad and to be ignored.
    ///
    /// # Errors
    /// If it is not such a record or a field does not fit its column; then no row was added.
    pub fn push(&mut self, record: &[u8]) -> Result<bool, DecodeError> {
        if blank(record, 0) == record.len() {
            return Ok(false);
        }
        let start = self.kinds.len();
        let read = self.read(record);
        let staged = self.before.drain(..).chain(self.after.drain(..)).map(|(_, parts)| parts);
        self.spare.extend(staged);
        match read {
            Ok(()) => Ok(self.kinds.len() > start),
            Err(_) if self.lenient => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Rows decoded since the last [`ChangeDecoder::finish`].
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// What the rows so far do, to be asked before [`ChangeDecoder::finish`].
    pub fn take_kinds(&mut self) -> Vec<RowKind> {
        std::mem::take(&mut self.kinds)
    }

    /// The rows so far.
    ///
    /// # Errors
    /// If they do not make a batch, which would be a defect here.
    pub fn finish(&mut self) -> Result<RecordBatch, DecodeError> {
        self.kinds.clear();
        self.json.finish()
    }

    fn read(&mut self, record: &[u8]) -> Result<(), DecodeError> {
        self.json.check_length(record)?;
        let root = blank(record, 0);
        let root = match self.format {
            ChangeFormat::Debezium { schema_include: true } => {
                let [payload] = members(record, root, [b"payload"], true)?;
                payload.ok_or_else(|| DecodeError::new("the member payload is missing"))?.start
            }
            _ => root,
        };
        let nested = matches!(self.format, ChangeFormat::Debezium { schema_include: true });
        let names = self.format.members();
        let [before, after, code] = members(record, root, names, !nested)?;
        let code_name = String::from_utf8_lossy(names[2]);
        let code = code.ok_or_else(|| DecodeError::new(format!("the member {code_name} is missing")))?;
        let code = text(record, &code)?;
        let Some(change) = self.format.change(&code) else {
            let code = String::from_utf8_lossy(&code);
            return Err(DecodeError::new(format!("member {code_name}: unknown change '{code}'")));
        };
        self.stage(record, before.clone(), true)?;
        self.stage(record, after, false)?;
        self.append(record, change, before)
    }

    /// Decodes the row, or the rows of the array, at `place`.
    fn stage(&mut self, record: &[u8], place: Option<Range>, old: bool) -> Result<(), DecodeError> {
        let Some(place) = place else { return Ok(()) };
        let mut rows = Vec::new();
        if self.format == ChangeFormat::Canal {
            if byte(record, place.start) != b'[' {
                return Err(unexpected(record, place.start, "an array of rows"));
            }
            scan::items(record, place.start, 1, |at| {
                let end = scan::skip(record, at, 2)?;
                rows.push(at..end);
                Ok(end)
            })?;
        } else {
            rows.push(place);
        }
        for row in rows {
            let mut parts = self.spare.pop().unwrap_or_default();
            let staged = self.json.stage(&record[row.clone()], &mut parts);
            let list = if old { &mut self.before } else { &mut self.after };
            list.push((row, parts));
            staged?;
        }
        Ok(())
    }

    /// Adds the rows that are staged.
    fn append(&mut self, record: &[u8], change: Change, old: Option<Range>) -> Result<(), DecodeError> {
        let [old_name, new_name, _] = self.format.members().map(String::from_utf8_lossy);
        let missing = |name: &str| DecodeError::new(format!("the member {name} holds no row"));
        let needs_old = change == Change::Update || (change == Change::Delete && !self.format.is_partial());
        let needs_new = match change {
            Change::Insert | Change::Update => true,
            Change::Delete => self.format.is_partial(),
            Change::Definition => return Ok(()),
        };
        let arrays = self.format == ChangeFormat::Canal;
        if needs_new && self.after.is_empty() && !arrays {
            return Err(missing(&new_name));
        }
        if needs_old && (old.is_none() || self.before.len() < self.after.len()) {
            return Err(missing(&old_name));
        }
        if change == Change::Update && self.format.is_partial() {
            let changed = old.map(|old| self.json.columns_named(record, &old)).transpose()?;
            return self.append_partial(record, &changed.unwrap_or_default());
        }
        let (before, after) = (&mut self.before, &mut self.after);
        if change == Change::Delete && !self.format.is_partial() {
            after.clear();
        }
        let (kind_before, kind_after) = match change {
            Change::Insert | Change::Definition => (None, RowKind::Insert),
            Change::Update => (Some(RowKind::UpdateBefore), RowKind::UpdateAfter),
            Change::Delete if self.format.is_partial() => (None, RowKind::Delete),
            Change::Delete => (Some(RowKind::Delete), RowKind::Delete),
        };
        if let Some(kind) = kind_before {
            for (row, parts) in before.iter_mut() {
                self.json.append(&record[row.clone()], parts);
                self.kinds.push(kind);
            }
        }
        for (row, parts) in after.iter_mut() {
            self.json.append(&record[row.clone()], parts);
            self.kinds.push(kind_after);
        }
        Ok(())
    }

    /// Updates whose old rows lack what did not change.
    ///
    /// As in Flink a field did not change if no old row of the record names it, at any depth.
    fn append_partial(&mut self, record: &[u8], changed: &[bool]) -> Result<(), DecodeError> {
        for ((old, old_parts), (new, new_parts)) in self.before.iter_mut().zip(&mut self.after) {
            let [old, new] = [&record[old.clone()], &record[new.clone()]];
            self.json.append_over((old, old_parts), (new, new_parts), changed);
            self.json.append(new, new_parts);
            self.kinds.extend([RowKind::UpdateBefore, RowKind::UpdateAfter]);
        }
        Ok(())
    }
}

/// The values of the members with these names of the object at `at`; the last of equal names wins, one that
/// is `null` counts as absent. `whole`: the object must be all of the record.
fn members<const N: usize>(
    record: &[u8],
    at: usize,
    names: [&[u8]; N],
    whole: bool,
) -> Result<[Option<Range>; N], DecodeError> {
    if byte(record, at) != b'{' {
        return Err(unexpected(record, at, "a JSON object"));
    }
    let mut found = [const { None }; N];
    let mut plain = Vec::new();
    let end = scan::members(record, at, 0, |key, value| {
        let end = scan::skip(record, value, 1)?;
        let name = if key.escaped {
            plain.clear();
            scan::unescape(record, key, &mut plain)?;
            plain.as_slice()
        } else {
            &record[key.start..key.end]
        };
        if let Some(index) = names.iter().position(|known| *known == name) {
            found[index] = (byte(record, value) != b'n').then_some(value..end);
        }
        Ok(end)
    })?;
    let behind = blank(record, end);
    if whole && behind != record.len() {
        return Err(unexpected(record, behind, "nothing behind the object"));
    }
    Ok(found)
}

/// A scalar as text.
fn text(record: &[u8], place: &Range) -> Result<Vec<u8>, DecodeError> {
    if byte(record, place.start) != b'"' {
        return Ok(record[place.clone()].to_vec());
    }
    let mut plain = Vec::new();
    scan::unescape(record, scan::string(record, place.start)?, &mut plain)?;
    Ok(plain)
}

/// Writes a changelog: an update as a delete of the old row and an insert of the new one, as Flink does.
pub struct ChangeEncoder {
    json: JsonEncoder,
    format: ChangeFormat,
    ignore_null_fields: bool,
}

impl ChangeEncoder {
    /// An encoder of rows of `schema`.
    ///
    /// # Errors
    /// If a column's type cannot be written, or the records were to carry their schema.
    pub fn new(schema: &SchemaRef, format: ChangeFormat, options: &JsonOptions) -> Result<Self, FormatError> {
        if format == (ChangeFormat::Debezium { schema_include: true }) {
            return Err(FormatError(
                "'debezium-json.schema-include' is true, which only a table that is read may have".to_owned(),
            ));
        }
        let ignore_null_fields = options.ignore_null_fields;
        Ok(Self { json: JsonEncoder::new(schema, options)?, format, ignore_null_fields })
    }

    /// Appends each row as a record and calls `ended` behind each.
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
        let parts = |row: usize| {
            let kind = kinds.map_or(RowKind::Insert, |kinds| kinds[row]);
            self.around(kind.weight() > 0)
        };
        self.json.encode_around(rows, parts, out, ended)
    }

    /// What stands before and behind a row that comes, or goes.
    fn around(&self, comes: bool) -> [&'static str; 2] {
        let terse = self.ignore_null_fields;
        match (self.format, comes) {
            (ChangeFormat::Debezium { .. }, true) if terse => ["{\"after\":", ",\"op\":\"c\"}"],
            (ChangeFormat::Debezium { .. }, false) if terse => ["{\"before\":", ",\"op\":\"d\"}"],
            (ChangeFormat::Debezium { .. }, true) => ["{\"before\":null,\"after\":", ",\"op\":\"c\"}"],
            (ChangeFormat::Debezium { .. }, false) => ["{\"before\":", ",\"after\":null,\"op\":\"d\"}"],
            (ChangeFormat::Ogg, true) if terse => ["{\"after\":", ",\"op_type\":\"I\"}"],
            (ChangeFormat::Ogg, false) if terse => ["{\"before\":", ",\"op_type\":\"D\"}"],
            (ChangeFormat::Ogg, true) => ["{\"before\":null,\"after\":", ",\"op_type\":\"I\"}"],
            (ChangeFormat::Ogg, false) => ["{\"before\":", ",\"after\":null,\"op_type\":\"D\"}"],
            (ChangeFormat::Canal, true) => ["{\"data\":[", "],\"type\":\"INSERT\"}"],
            (ChangeFormat::Canal, false) => ["{\"data\":[", "],\"type\":\"DELETE\"}"],
            (ChangeFormat::Maxwell, true) => ["{\"data\":", ",\"type\":\"insert\"}"],
            (ChangeFormat::Maxwell, false) => ["{\"data\":", ",\"type\":\"delete\"}"],
        }
    }
}

#[cfg(test)]
mod tests;
