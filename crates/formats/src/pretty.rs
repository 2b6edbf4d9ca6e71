//! Rows for people: Flink's `print` lines and a table.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use highwater_stream::ChangeBatch;

use crate::json::{check_columns, write_hex};
use crate::reader::{Reader, range, readers};
use crate::times::{TimestampStyle, write_date, write_time, write_timestamp};
use crate::{FormatError, base64, decimal, double};

/// For whom text is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextStyle {
    /// Flink's CSV.
    Csv,
    /// Flink's `print` connector: what Java's `toString` gives.
    Print,
    /// A table on a terminal.
    Table,
}

/// Appends a cell that is not NULL.
pub(crate) fn write_text(reader: &Reader<'_>, row: usize, style: TextStyle, out: &mut Vec<u8>) {
    match reader {
        Reader::Null => {}
        Reader::Bool(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
        Reader::Int(ints) => out.extend_from_slice(ints.value(row).to_string().as_bytes()),
        Reader::F32(array) => double::write_f32(array.value(row), out),
        Reader::F64(array) => double::write_f64(array.value(row), out),
        Reader::Decimal(array, scale) => decimal::write(array.value(row), *scale, out),
        Reader::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
        Reader::LargeText(array) => out.extend_from_slice(array.value(row).as_bytes()),
        Reader::TextView(array) => out.extend_from_slice(array.value(row).as_bytes()),
        Reader::Bytes(array) => write_bytes(array.value(row), style, out),
        Reader::Date(array) => write_date(array.value(row).into(), out),
        Reader::Time(array) => {
            let ms = i64::from(array.value(row));
            write_time(ms.div_euclid(1_000), ms.rem_euclid(1_000) * 1_000_000, 0, out);
        }
        Reader::Timestamp { values, unit, zoned, .. } => {
            let (separator, fraction_digits_min) = match style {
                TextStyle::Csv => (b' ', 0),
                TextStyle::Print => (b'T', 0),
                TextStyle::Table => (if *zoned { b'T' } else { b' ' }, 3),
            };
            let style = TimestampStyle { separator, fraction_digits_min, zoned: *zoned };
            write_timestamp(values[row], *unit, style, out);
        }
        Reader::List(array, elements) => {
            let cells = range(array.value_offsets(), row).map(|element| (None, elements.as_ref(), element));
            write_cells(b"[", cells, b"]", style, out);
        }
        Reader::Struct(_, parts) => {
            let sign: &[u8] = if style == TextStyle::Print { b"+I[" } else { b"(" };
            let end: &[u8] = if style == TextStyle::Print { b"]" } else { b")" };
            write_cells(sign, parts.iter().map(|(_, part)| (None, part, row)), end, style, out);
        }
        Reader::Map(array, pair) => {
            let entries = range(array.value_offsets(), row);
            let cells = entries.map(|entry| (Some((&pair.0, entry)), &pair.1, entry));
            write_cells(b"{", cells, b"}", style, out);
        }
    }
}

fn write_bytes(bytes: &[u8], style: TextStyle, out: &mut Vec<u8>) {
    match style {
        TextStyle::Csv => base64::encode(bytes, out),
        TextStyle::Table => write_hex(bytes, out),
        TextStyle::Print => {
            out.push(b'[');
            for (index, byte) in bytes.iter().enumerate() {
                out.extend_from_slice(if index > 0 { b", " } else { b"" });
                out.extend_from_slice(byte.cast_signed().to_string().as_bytes());
            }
            out.push(b']');
        }
    }
}

type Keyed<'r, 'a> = (Option<(&'r Reader<'a>, usize)>, &'r Reader<'a>, usize);

fn write_cells<'r, 'a: 'r>(
    open: &[u8],
    cells: impl Iterator<Item = Keyed<'r, 'a>>,
    close: &[u8],
    style: TextStyle,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(open);
    for (index, (key, reader, row)) in cells.enumerate() {
        out.extend_from_slice(if index > 0 { b", " } else { b"" });
        if let Some((keys, key)) = key {
            write_or_null(keys, key, style, out);
            out.push(b'=');
        }
        write_or_null(reader, row, style, out);
    }
    out.extend_from_slice(close);
}

fn write_or_null(reader: &Reader<'_>, row: usize, style: TextStyle, out: &mut Vec<u8>) {
    match (reader.is_null(row), style) {
        (false, _) => write_text(reader, row, style, out),
        (true, TextStyle::Table) => out.extend_from_slice(b"NULL"),
        (true, TextStyle::Csv | TextStyle::Print) => out.extend_from_slice(b"null"),
    }
}

/// Appends each change as Flink's `print` connector does: `+I[a, 1]` and a line end, with `prefix` in front.
///
/// # Errors
/// If a column's type cannot be written.
pub fn java_row(changes: &ChangeBatch, prefix: &str, out: &mut Vec<u8>) -> Result<(), FormatError> {
    let readers = readers(&changes.rows)?;
    for row in 0..changes.len() {
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(changes.kind(row).symbol().as_bytes());
        write_cells(b"[", readers.iter().map(|reader| (None, reader, row)), b"]\n", TextStyle::Print, out);
    }
    Ok(())
}

/// A column gets no wider; longer text is cut.
const WIDTH_MAX: usize = 48;

/// A column is at least as wide as most values of streams, so that later batches still line up.
const WIDTH_MIN: usize = 6;

/// Writes changes as a table that grows downwards. The first batch decides the widths; a wider value
/// later widens its column from there on.
pub struct PrettyTable {
    names: Vec<String>,
    widths: Vec<usize>,
    started: bool,
}

impl PrettyTable {
    /// A table of rows of `schema`.
    ///
    /// # Errors
    /// If a column's type cannot be written.
    pub fn new(schema: &SchemaRef) -> Result<Self, FormatError> {
        check_columns(schema)?;
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let widths = names.iter().map(|name| name.chars().count().clamp(WIDTH_MIN, WIDTH_MAX)).collect();
        Ok(Self { names, widths, started: false })
    }

    /// Appends the header, the first time, and one line per change.
    ///
    /// # Errors
    /// If the batch is not of the schema given at the start.
    pub fn changes(&mut self, changes: &ChangeBatch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let lines = self.lines(&changes.rows)?;
        for line in &lines {
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = cell.chars().count().min(WIDTH_MAX).max(*width);
            }
        }
        if !self.started {
            self.started = true;
            let names = self.names.clone();
            self.line("op", &names, out);
            let rules: Vec<String> = self.widths.iter().map(|width| "-".repeat(*width)).collect();
            self.line("--", &rules, out);
        }
        for (row, line) in lines.iter().enumerate() {
            self.line(changes.kind(row).symbol(), line, out);
        }
        Ok(())
    }

    fn lines(&self, rows: &RecordBatch) -> Result<Vec<Vec<String>>, FormatError> {
        let readers = readers(rows)?;
        let cell = |reader: &Reader<'_>, row: usize| {
            let mut text = Vec::new();
            write_or_null(reader, row, TextStyle::Table, &mut text);
            printable(&String::from_utf8_lossy(&text))
        };
        let line = |row| readers.iter().map(|reader| cell(reader, row)).collect();
        Ok((0..rows.num_rows()).map(line).collect())
    }

    fn line(&self, op: &str, cells: &[String], out: &mut Vec<u8>) {
        let mut text = op.to_owned();
        for (cell, width) in cells.iter().zip(&self.widths) {
            text.push_str(&format!("  {cell:<width$}"));
        }
        out.extend_from_slice(text.trim_end().as_bytes());
        out.push(b'\n');
    }
}

/// Control characters, which could move the terminal's cursor, are replaced; long text is cut.
fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    if text.chars().count() <= WIDTH_MAX {
        return text.chars().map(plain).collect();
    }
    text.chars().take(WIDTH_MAX - 1).map(plain).chain(['\u{2026}']).collect()
}
