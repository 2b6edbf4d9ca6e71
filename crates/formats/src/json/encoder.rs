//! Rows to JSON.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::JsonOptions;
use crate::reader::{Reader, check, range, readers};
use crate::times::{TimestampStyle, write_date, write_time, write_timestamp};
use crate::{FormatError, TimestampFormat, base64, decimal, double};

/// Writes rows as Flink's JSON format does: one object per row.
pub struct JsonEncoder {
    keys: Vec<Vec<u8>>,
    style: JsonStyle,
    ignore_null_fields: bool,
}

impl JsonEncoder {
    /// An encoder of rows of `schema`.
    ///
    /// # Errors
    /// If a column's type cannot be written.
    pub fn new(schema: &SchemaRef, options: &JsonOptions) -> Result<Self, FormatError> {
        check_columns(schema)?;
        if let Some(field) = schema.fields().iter().find(|field| has_foreign_map_key(field.data_type())) {
            return Err(FormatError(format!(
                "column {}: JSON needs a MAP with keys of type STRING",
                field.name()
            )));
        }
        let style = match options.timestamp_format {
            TimestampFormat::Sql => JsonStyle::FlinkSql,
            TimestampFormat::Iso8601 | TimestampFormat::Iso8601WithOffset => JsonStyle::FlinkIso,
        };
        Ok(Self { keys: keys(schema), style, ignore_null_fields: options.ignore_null_fields })
    }

    /// Appends each row as an object and calls `ended` behind each.
    ///
    /// # Errors
    /// If the batch is not of the schema given at the start.
    pub fn encode(
        &self,
        rows: &RecordBatch,
        out: &mut Vec<u8>,
        ended: impl FnMut(usize, &mut Vec<u8>),
    ) -> Result<(), FormatError> {
        self.encode_around(rows, |_| ["", ""], out, ended)
    }

    /// As [`JsonEncoder::encode`], with text in front of each row and behind it.
    pub(super) fn encode_around(
        &self,
        rows: &RecordBatch,
        around: impl Fn(usize) -> [&'static str; 2],
        out: &mut Vec<u8>,
        mut ended: impl FnMut(usize, &mut Vec<u8>),
    ) -> Result<(), FormatError> {
        let readers = readers(rows)?;
        for row in 0..rows.num_rows() {
            let [before, behind] = around(row);
            out.extend_from_slice(before.as_bytes());
            write_row(&self.keys, &readers, row, self.style, self.ignore_null_fields, out);
            out.extend_from_slice(behind.as_bytes());
            ended(row, out);
        }
        Ok(())
    }
}

/// How JSON leaves open what values look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonStyle {
    /// Flink's format, `json.timestamp-format.standard` = `SQL`.
    FlinkSql,
    /// Flink's format, `json.timestamp-format.standard` = `ISO-8601`.
    FlinkIso,
    /// Our output: decimals as strings, bytes in hexadecimal, at least three digits of a second.
    Values,
}

/// `"name":` of each column.
pub(crate) fn keys(schema: &Schema) -> Vec<Vec<u8>> {
    let key = |name: &String| {
        let mut key = Vec::new();
        write_string(name.as_bytes(), &mut key);
        key.push(b':');
        key
    };
    schema.fields().iter().map(|field| key(field.name())).collect()
}

/// Whether all columns can be written.
pub(crate) fn check_columns(schema: &Schema) -> Result<(), FormatError> {
    for field in schema.fields() {
        check(field.data_type()).map_err(|error| FormatError(format!("column {}: {error}", field.name())))?;
    }
    Ok(())
}

fn has_foreign_map_key(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(element) => has_foreign_map_key(element.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_foreign_map_key(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => {
                *pair[0].data_type() != DataType::Utf8 || has_foreign_map_key(pair[1].data_type())
            }
            _ => true,
        },
        _ => false,
    }
}

pub(crate) fn write_row(
    keys: &[Vec<u8>],
    readers: &[Reader<'_>],
    row: usize,
    style: JsonStyle,
    ignore_nulls: bool,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    let start = out.len();
    for (key, reader) in keys.iter().zip(readers) {
        if ignore_nulls && reader.is_null(row) {
            continue;
        }
        if out.len() > start {
            out.push(b',');
        }
        out.extend_from_slice(key);
        write_cell(reader, row, style, out);
    }
    out.push(b'}');
}

pub(crate) fn write_cell(reader: &Reader<'_>, row: usize, style: JsonStyle, out: &mut Vec<u8>) {
    if reader.is_null(row) {
        return out.extend_from_slice(b"null");
    }
    match reader {
        Reader::Null => out.extend_from_slice(b"null"),
        Reader::Bool(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
        Reader::Int(ints) => out.extend_from_slice(ints.value(row).to_string().as_bytes()),
        Reader::F32(array) => {
            let value = array.value(row);
            quoted_if(!value.is_finite(), out, |out| double::write_f32(value, out));
        }
        Reader::F64(array) => {
            let value = array.value(row);
            quoted_if(!value.is_finite(), out, |out| double::write_f64(value, out));
        }
        Reader::Decimal(array, scale) => {
            let value = array.value(row);
            quoted_if(style == JsonStyle::Values, out, |out| decimal::write(value, *scale, out));
        }
        Reader::Text(array) => write_string(array.value(row).as_bytes(), out),
        Reader::LargeText(array) => write_string(array.value(row).as_bytes(), out),
        Reader::TextView(array) => write_string(array.value(row).as_bytes(), out),
        Reader::Bytes(array) => quoted_if(true, out, |out| match style {
            JsonStyle::Values => write_hex(array.value(row), out),
            JsonStyle::FlinkSql | JsonStyle::FlinkIso => base64::encode(array.value(row), out),
        }),
        Reader::Date(_) | Reader::Time(_) | Reader::Timestamp { .. } => {
            quoted_if(true, out, |out| write_moment(reader, row, style, out));
        }
        Reader::List(..) | Reader::Struct(..) | Reader::Map(..) => write_nested(reader, row, style, out),
    }
}

fn write_moment(reader: &Reader<'_>, row: usize, style: JsonStyle, out: &mut Vec<u8>) {
    match reader {
        Reader::Date(array) => write_date(array.value(row).into(), out),
        Reader::Time(array) => {
            let ms = i64::from(array.value(row));
            write_time(ms.div_euclid(1_000), ms.rem_euclid(1_000) * 1_000_000, 0, out);
        }
        Reader::Timestamp { values, unit, zoned, .. } => {
            write_timestamp(values[row], *unit, timestamp_style(style, *zoned), out);
        }
        _ => {}
    }
}

fn timestamp_style(style: JsonStyle, zoned: bool) -> TimestampStyle {
    match style {
        JsonStyle::FlinkSql => TimestampStyle { separator: b' ', fraction_digits_min: 0, zoned },
        JsonStyle::FlinkIso => TimestampStyle { separator: b'T', fraction_digits_min: 0, zoned },
        JsonStyle::Values => {
            TimestampStyle { separator: if zoned { b'T' } else { b' ' }, fraction_digits_min: 3, zoned }
        }
    }
}

fn write_nested(reader: &Reader<'_>, row: usize, style: JsonStyle, out: &mut Vec<u8>) {
    match reader {
        Reader::List(array, elements) => {
            out.push(b'[');
            for (index, element) in range(array.value_offsets(), row).enumerate() {
                comma_before(index, out);
                write_cell(elements, element, style, out);
            }
            out.push(b']');
        }
        Reader::Struct(_, parts) => {
            out.push(b'{');
            for (index, (name, part)) in parts.iter().enumerate() {
                comma_before(index, out);
                write_string(name.as_bytes(), out);
                out.push(b':');
                write_cell(part, row, style, out);
            }
            out.push(b'}');
        }
        Reader::Map(array, pair) => {
            out.push(b'{');
            for (index, entry) in range(array.value_offsets(), row).enumerate() {
                comma_before(index, out);
                let mut key = Vec::new();
                write_cell(&pair.0, entry, style, &mut key);
                if key.first() == Some(&b'"') {
                    out.extend_from_slice(&key);
                } else {
                    write_string(&key, out);
                }
                out.push(b':');
                write_cell(&pair.1, entry, style, out);
            }
            out.push(b'}');
        }
        _ => {}
    }
}

fn comma_before(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

fn quoted_if(quoted: bool, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if quoted {
        out.push(b'"');
    }
    write(out);
    if quoted {
        out.push(b'"');
    }
}

pub(crate) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Appends UTF-8 `text` as a JSON string.
pub(crate) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut start = 0;
    for (at, byte) in text.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x8 => b"\\b",
            0xC => b"\\f",
            0..0x20 => b"\\u00",
            _ => continue,
        };
        out.extend_from_slice(&text[start..at]);
        out.extend_from_slice(escape);
        if escape.len() == 4 {
            write_hex(&[*byte], out);
        }
        start = at + 1;
    }
    out.extend_from_slice(&text[start..]);
    out.push(b'"');
}
