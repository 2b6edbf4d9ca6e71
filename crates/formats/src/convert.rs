//! Text and numbers to values of a column's type, as Flink's format converters coerce them.

use arrow::datatypes::{DataType, Fields, TimeUnit};

use crate::column::{Cell, Value};
use crate::error::shown;
use crate::times::{self, TimestampFormat};
use crate::{FormatError, base64, decimal, double};

/// A column's type, reduced to how it is decoded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
    Decimal { precision: u8, scale: i8 },
    Date,
    Time,
    Timestamp { unit: TimeUnit, zoned: bool },
    Text,
    Bytes,
    List(Box<Kind>),
    Struct(Vec<(Box<str>, Kind)>),
    Map(Box<(Kind, Kind)>),
}

impl Kind {
    /// How `data_type` is decoded.
    ///
    /// # Errors
    /// If no format can.
    pub(crate) fn of(data_type: &DataType) -> Result<Self, FormatError> {
        Ok(match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool,
            DataType::Int8 => Self::I8,
            DataType::Int16 => Self::I16,
            DataType::Int32 => Self::I32,
            DataType::Int64 => Self::I64,
            DataType::Float32 => Self::F32,
            DataType::Float64 => Self::F64,
            DataType::Decimal128(precision, scale) => Self::Decimal { precision: *precision, scale: *scale },
            DataType::Date32 => Self::Date,
            DataType::Time32(TimeUnit::Millisecond) => Self::Time,
            DataType::Timestamp(unit, zone) => Self::Timestamp { unit: *unit, zoned: zone.is_some() },
            DataType::Utf8 => Self::Text,
            DataType::Binary => Self::Bytes,
            DataType::List(element) => Self::List(Box::new(Self::of(element.data_type())?)),
            DataType::Struct(fields) => Self::Struct(
                fields
                    .iter()
                    .map(|field| Ok((field.name().as_str().into(), Self::of(field.data_type())?)))
                    .collect::<Result<_, FormatError>>()?,
            ),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(pair) if pair.len() == 2 => Self::map(pair)?,
                other => return Err(FormatError(format!("map entries of type {other}, expected a pair"))),
            },
            other => return Err(FormatError(format!("columns of type {other} cannot be decoded"))),
        })
    }

    fn map(pair: &Fields) -> Result<Self, FormatError> {
        let key = Self::of(pair[0].data_type())?;
        if key != Self::Text {
            return Err(FormatError(format!("a MAP with keys of type {}, expected STRING", key.name())));
        }
        Ok(Self::Map(Box::new((key, Self::of(pair[1].data_type())?))))
    }

    /// The type in SQL.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Bool => "BOOLEAN".to_owned(),
            Self::I8 => "TINYINT".to_owned(),
            Self::I16 => "SMALLINT".to_owned(),
            Self::I32 => "INT".to_owned(),
            Self::I64 => "BIGINT".to_owned(),
            Self::F32 => "FLOAT".to_owned(),
            Self::F64 => "DOUBLE".to_owned(),
            Self::Decimal { precision, scale } => format!("DECIMAL({precision}, {scale})"),
            Self::Date => "DATE (yyyy-MM-dd)".to_owned(),
            Self::Time => "TIME (HH:mm:ss)".to_owned(),
            Self::Timestamp { zoned: false, .. } => "TIMESTAMP".to_owned(),
            Self::Timestamp { zoned: true, .. } => "TIMESTAMP_LTZ".to_owned(),
            Self::Text => "STRING".to_owned(),
            Self::Bytes => "BYTES (base64)".to_owned(),
            Self::List(element) => format!("ARRAY<{}>", element.name()),
            Self::Struct(_) => "ROW".to_owned(),
            Self::Map(pair) => format!("MAP<STRING, {}>", pair.1.name()),
        }
    }
}

/// Where a text came from: it may be kept by reference.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) cell: Cell,
}

/// What a number is allowed to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// Digits only.
    Integer,
    /// With a point or an exponent.
    Fractional,
}

/// A string, read as `kind`. Bytes that had to be decoded are appended to `scratch`.
pub(crate) fn from_text(
    kind: &Kind,
    text: &[u8],
    span: Span,
    format: TimestampFormat,
    scratch: &mut Vec<u8>,
) -> Result<Cell, String> {
    let expected = || wrong(kind, text, format);
    // Java's trim: everything up to a blank.
    let trimmed = || {
        let start = text.iter().position(|byte| *byte > b' ').unwrap_or(text.len());
        let end = text.iter().rposition(|byte| *byte > b' ').map_or(start, |last| last + 1);
        std::str::from_utf8(&text[start..end]).unwrap_or_default()
    };
    let cell = match kind {
        Kind::Text => Some(span.cell),
        Kind::Null => Some(Cell::Null),
        Kind::Bool => Some(Cell::Bool(trimmed().eq_ignore_ascii_case("true"))),
        Kind::I8 => trimmed().parse::<i8>().ok().map(|value| Cell::Int(value.into())),
        Kind::I16 => trimmed().parse::<i16>().ok().map(|value| Cell::Int(value.into())),
        Kind::I32 => trimmed().parse::<i32>().ok().map(|value| Cell::Int(value.into())),
        Kind::I64 => trimmed().parse::<i64>().ok().map(Cell::Int),
        Kind::F32 | Kind::F64 => double::parse(trimmed()).map(|value| float(kind, trimmed(), value)),
        Kind::Decimal { precision, scale } => decimal(trimmed().as_bytes(), *precision, *scale),
        Kind::Date => times::parse_date(text).map(|days| Cell::Int(days.into())),
        Kind::Time => {
            times::parse_time(text, false).and_then(|time| time.in_unit(TimeUnit::Millisecond)).map(Cell::Int)
        }
        Kind::Timestamp { unit, zoned } => times::parse_timestamp(text, format, *zoned)
            .and_then(|moment| moment.in_unit(*unit))
            .map(Cell::Int),
        Kind::Bytes => {
            let start = scratch.len();
            base64::decode(text, scratch).then(|| scratch_cell(start, scratch.len()))
        }
        Kind::List(_) | Kind::Struct(_) | Kind::Map(_) => None,
    };
    cell.ok_or_else(expected)
}

/// A number as JSON writes it, read as `kind`.
pub(crate) fn from_number(kind: &Kind, text: &[u8], token: Token, span: Span) -> Result<Cell, String> {
    let number = std::str::from_utf8(text).unwrap_or_default();
    let whole = |min: i64, max: i64| {
        let value = match token {
            Token::Integer => number.parse::<i64>().ok()?,
            Token::Fractional => truncated(number.parse().ok()?)?,
        };
        (min..=max).contains(&value).then_some(Cell::Int(value))
    };
    let cell = match kind {
        Kind::I64 => whole(i64::MIN, i64::MAX),
        Kind::I32 => whole(i32::MIN.into(), i32::MAX.into()),
        // Flink takes a fraction for INT and BIGINT, but not for these two.
        Kind::I16 if token == Token::Integer => whole(i16::MIN.into(), i16::MAX.into()),
        Kind::I8 if token == Token::Integer => whole(i8::MIN.into(), i8::MAX.into()),
        Kind::F32 | Kind::F64 => number.parse().ok().map(|value| float(kind, number, value)),
        Kind::Decimal { precision, scale } => decimal(text, *precision, *scale),
        Kind::Text => Some(span.cell),
        Kind::Bool => Some(Cell::Bool(false)),
        Kind::Null => Some(Cell::Null),
        _ => None,
    };
    cell.ok_or_else(|| format!("expected {}, found {}", kind.name(), shown(text)))
}

/// `true` or `false`, read as `kind`.
pub(crate) fn from_bool(kind: &Kind, value: bool, span: Span) -> Result<Cell, String> {
    match kind {
        Kind::Bool => Ok(Cell::Bool(value)),
        Kind::Text => Ok(span.cell),
        Kind::Null => Ok(Cell::Null),
        _ => Err(format!("expected {}, found {value}", kind.name())),
    }
}

fn wrong(kind: &Kind, text: &[u8], format: TimestampFormat) -> String {
    let name = match (kind, format) {
        (Kind::Timestamp { zoned: false, .. }, TimestampFormat::Sql) => {
            "TIMESTAMP (yyyy-MM-dd HH:mm:ss.SSS)".into()
        }
        (Kind::Timestamp { zoned: true, .. }, TimestampFormat::Sql) => {
            "TIMESTAMP_LTZ (yyyy-MM-dd HH:mm:ss.SSSZ; see option json.timestamp-format.standard)".into()
        }
        (Kind::Timestamp { zoned: false, .. }, _) => "TIMESTAMP (yyyy-MM-ddTHH:mm:ss.SSS)".into(),
        (Kind::Timestamp { zoned: true, .. }, _) => "TIMESTAMP_LTZ (yyyy-MM-ddTHH:mm:ss.SSSZ)".into(),
        _ => kind.name(),
    };
    format!("expected {name}, found {}", shown(text))
}

/// A double cut toward zero, if a BIGINT can hold it.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the range is checked")]
fn truncated(value: f64) -> Option<i64> {
    (value >= i64::MIN as f64 && value < -(i64::MIN as f64)).then_some(value as i64)
}

/// A FLOAT is parsed as such: rounding twice could end one bit off.
fn float(kind: &Kind, text: &str, value: f64) -> Cell {
    let narrow = || text.parse::<f32>().map_or(value, f64::from);
    Cell::Float(if *kind == Kind::F32 { narrow() } else { value })
}

fn decimal(text: &[u8], precision: u8, scale: i8) -> Option<Cell> {
    match decimal::parse(text, precision, scale) {
        decimal::Parsed::Value(value) => Some(Cell::Wide(value)),
        decimal::Parsed::Overflow => Some(Cell::Null),
        decimal::Parsed::Invalid => None,
    }
}

/// The cell of `scratch[start..end]`.
pub(crate) fn scratch_cell(start: usize, end: usize) -> Cell {
    Cell::Scratch(small(start), small(end))
}

/// The cell of `record[start..end]`.
pub(crate) fn record_cell(start: usize, end: usize) -> Cell {
    Cell::Record(small(start), small(end))
}

fn small(at: usize) -> u32 {
    u32::try_from(at).expect("a record is at most 1 GiB, its unescaped text no longer")
}

/// A cell as a value of its own.
pub(crate) fn own(cell: Cell, record: &[u8], scratch: &[u8]) -> Value {
    match cell {
        Cell::Missing | Cell::Null | Cell::Nested(_) | Cell::Row => Value::Null,
        Cell::Bool(value) => Value::Bool(value),
        Cell::Int(value) => Value::Int(value),
        Cell::Float(value) => Value::Float(value),
        Cell::Wide(value) => Value::Wide(value),
        Cell::Record(start, end) => Value::Bytes(record[start as usize..end as usize].to_vec()),
        Cell::Scratch(start, end) => Value::Bytes(scratch[start as usize..end as usize].to_vec()),
    }
}
