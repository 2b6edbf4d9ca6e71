//! Flink's types and how they become Arrow's.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::dialect::FlinkDialect;
use crate::error::{Bound, Fault};
use crate::statement::Cursor;

/// Field metadata: the exact Flink type, for people.
pub const FLINK_TYPE: &str = "flink.type";

/// The longest text: `STRING` is `VARCHAR(2147483647)`.
pub(crate) const LENGTH_MAX: u32 = 2_147_483_647;

/// The largest precision of a decimal.
pub(crate) const PRECISION_MAX: u8 = 38;

/// A type of Flink SQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SqlType {
    /// `BOOLEAN`.
    Boolean,
    /// `TINYINT`, 8 bits.
    TinyInt,
    /// `SMALLINT`, 16 bits.
    SmallInt,
    /// `INT`, 32 bits.
    Int,
    /// `BIGINT`, 64 bits.
    BigInt,
    /// `FLOAT`, 32 bits.
    Float,
    /// `DOUBLE`, 64 bits.
    Double,
    /// `DECIMAL(precision, scale)`.
    Decimal(u8, u8),
    /// `CHAR(n)`.
    Char(u32),
    /// `VARCHAR(n)`; the longest is `STRING`.
    Varchar(u32),
    /// `BINARY(n)`.
    Binary(u32),
    /// `VARBINARY(n)`; the longest is `BYTES`.
    Varbinary(u32),
    /// `DATE`.
    Date,
    /// `TIME(p)`; kept in ms.
    Time(u8),
    /// `TIMESTAMP(p)`: a wall clock without a zone.
    Timestamp(u8),
    /// `TIMESTAMP_LTZ(p)`: an instant.
    TimestampLtz(u8),
    /// `ARRAY<element>`.
    Array(Box<SqlType>),
    /// `MAP<key, value>`.
    Map(Box<SqlType>, Box<SqlType>),
    /// `MULTISET<element>`; kept as a list in which equal values stand together. Only of COLLECT.
    Multiset(Box<SqlType>),
    /// `ROW<name type, ...>`.
    Row(Vec<(String, SqlType)>),
    /// The type of a bare `NULL`.
    Null,
    /// `INTERVAL DAY TO SECOND`, ms. Only in expressions.
    IntervalDay,
    /// `INTERVAL YEAR TO MONTH`, months. Only in expressions.
    IntervalMonth,
}

impl SqlType {
    /// `STRING`.
    pub(crate) const STRING: Self = Self::Varchar(LENGTH_MAX);

    /// How the type is stored.
    pub fn to_arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::TinyInt => DataType::Int8,
            Self::SmallInt => DataType::Int16,
            Self::Int => DataType::Int32,
            Self::BigInt | Self::IntervalDay | Self::IntervalMonth => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal(precision, scale) => {
                DataType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))
            }
            Self::Char(_) | Self::Varchar(_) => DataType::Utf8,
            Self::Binary(_) | Self::Varbinary(_) => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time(_) => DataType::Time32(TimeUnit::Millisecond),
            Self::Timestamp(p) => DataType::Timestamp(unit(*p), None),
            Self::TimestampLtz(p) => DataType::Timestamp(unit(*p), Some("UTC".into())),
            Self::Array(element) | Self::Multiset(element) => {
                DataType::List(Arc::new(Field::new("item", element.to_arrow(), true)))
            }
            Self::Map(key, value) => {
                let entries = Fields::from(vec![
                    Field::new("key", key.to_arrow(), false),
                    Field::new("value", value.to_arrow(), true),
                ]);
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
            }
            Self::Row(fields) => DataType::Struct(
                fields.iter().map(|(name, ty)| Field::new(name, ty.to_arrow(), true)).collect(),
            ),
            Self::Null => DataType::Null,
        }
    }

    /// A column of this type; nullable, with the exact type in its metadata.
    pub(crate) fn field(&self, name: &str) -> Field {
        Field::new(name, self.to_arrow(), true)
            .with_metadata(HashMap::from([(FLINK_TYPE.to_owned(), self.to_string())]))
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Char(_) | Self::Varchar(_))
    }

    pub(crate) fn is_integer(&self) -> bool {
        matches!(self, Self::TinyInt | Self::SmallInt | Self::Int | Self::BigInt)
    }

    pub(crate) fn is_float(&self) -> bool {
        matches!(self, Self::Float | Self::Double)
    }

    pub(crate) fn is_numeric(&self) -> bool {
        self.is_integer() || self.is_float() || matches!(self, Self::Decimal(..))
    }

    pub(crate) fn is_timestamp(&self) -> bool {
        matches!(self, Self::Timestamp(_) | Self::TimestampLtz(_))
    }

    pub(crate) fn is_interval(&self) -> bool {
        matches!(self, Self::IntervalDay | Self::IntervalMonth)
    }

    /// An exact number as a decimal: precision and scale.
    pub(crate) fn as_decimal(&self) -> Option<(u8, u8)> {
        match self {
            Self::TinyInt => Some((3, 0)),
            Self::SmallInt => Some((5, 0)),
            Self::Int => Some((10, 0)),
            Self::BigInt => Some((19, 0)),
            Self::Decimal(precision, scale) => Some((*precision, *scale)),
            _ => None,
        }
    }

    /// The type both convert to without a cast, as Flink finds it.
    pub(crate) fn common(&self, other: &Self) -> Option<Self> {
        if self == other {
            return Some(self.clone());
        }
        match (self, other) {
            (Self::Null, ty) | (ty, Self::Null) => Some(ty.clone()),
            (Self::Char(a), Self::Char(b) | Self::Varchar(b))
            | (Self::Varchar(a), Self::Char(b) | Self::Varchar(b)) => Some(Self::Varchar(*a.max(b))),
            (Self::Binary(a) | Self::Varbinary(a), Self::Binary(b) | Self::Varbinary(b)) => {
                Some(Self::Varbinary(*a.max(b)))
            }
            (Self::Timestamp(a), Self::Timestamp(b)) => Some(Self::Timestamp(*a.max(b))),
            (Self::TimestampLtz(a), Self::TimestampLtz(b)) => Some(Self::TimestampLtz(*a.max(b))),
            (Self::Time(a), Self::Time(b)) => Some(Self::Time(*a.max(b))),
            (Self::Date, Self::Timestamp(p)) | (Self::Timestamp(p), Self::Date) => Some(Self::Timestamp(*p)),
            _ => self.common_number(other),
        }
    }

    fn common_number(&self, other: &Self) -> Option<Self> {
        if !self.is_numeric() || !other.is_numeric() {
            return None;
        }
        let decimal = |ty: &Self| matches!(ty, Self::Decimal(..));
        if self.is_float() || other.is_float() {
            let double = *self == Self::Double || *other == Self::Double || decimal(self) || decimal(other);
            return Some(if double { Self::Double } else { Self::Float });
        }
        if decimal(self) || decimal(other) {
            let ((p1, s1), (p2, s2)) = (self.as_decimal()?, other.as_decimal()?);
            let scale = s1.max(s2);
            let precision = (p1 - s1).max(p2 - s2) + scale;
            return Some(Self::Decimal(precision.min(PRECISION_MAX), scale));
        }
        Some(if self.integer_rank() >= other.integer_rank() { self.clone() } else { other.clone() })
    }

    fn integer_rank(&self) -> u8 {
        match self {
            Self::TinyInt => 1,
            Self::SmallInt => 2,
            Self::Int => 3,
            _ => 4,
        }
    }

    /// Whether a value of this type may be written to a column of type `target` without a cast.
    pub(crate) fn converts_to(&self, target: &Self) -> bool {
        let numeric = self.is_numeric() && target.is_numeric();
        let text = self.is_text() && target.is_text();
        let bytes = matches!(self, Self::Binary(_) | Self::Varbinary(_))
            && matches!(target, Self::Binary(_) | Self::Varbinary(_));
        let time =
            (self.is_timestamp() || *self == Self::Date) && (target.is_timestamp() || *target == Self::Date);
        let clock = matches!((self, target), (Self::Time(_), Self::Time(_)));
        self == target || *self == Self::Null || numeric || text || bytes || time || clock
    }
}

fn unit(precision: u8) -> TimeUnit {
    match precision {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => write!(f, "BOOLEAN"),
            Self::TinyInt => write!(f, "TINYINT"),
            Self::SmallInt => write!(f, "SMALLINT"),
            Self::Int => write!(f, "INT"),
            Self::BigInt => write!(f, "BIGINT"),
            Self::Float => write!(f, "FLOAT"),
            Self::Double => write!(f, "DOUBLE"),
            Self::Decimal(precision, scale) => write!(f, "DECIMAL({precision}, {scale})"),
            Self::Char(n) => write!(f, "CHAR({n})"),
            Self::Varchar(LENGTH_MAX) => write!(f, "STRING"),
            Self::Varchar(n) => write!(f, "VARCHAR({n})"),
            Self::Binary(n) => write!(f, "BINARY({n})"),
            Self::Varbinary(LENGTH_MAX) => write!(f, "BYTES"),
            Self::Varbinary(n) => write!(f, "VARBINARY({n})"),
            Self::Date => write!(f, "DATE"),
            Self::Time(p) => write!(f, "TIME({p})"),
            Self::Timestamp(p) => write!(f, "TIMESTAMP({p})"),
            Self::TimestampLtz(p) => write!(f, "TIMESTAMP_LTZ({p})"),
            Self::Array(element) => write!(f, "ARRAY<{element}>"),
            Self::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            Self::Multiset(element) => write!(f, "MULTISET<{element}>"),
            Self::Row(fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, ty)| format!("`{name}` {ty}")).collect();
                write!(f, "ROW<{}>", fields.join(", "))
            }
            Self::Null => write!(f, "NULL"),
            Self::IntervalDay => write!(f, "INTERVAL DAY TO SECOND"),
            Self::IntervalMonth => write!(f, "INTERVAL YEAR TO MONTH"),
        }
    }
}

/// Depth of nested types; beyond it the text is refused.
const DEPTH_MAX: usize = 32;

/// Reads a type as a column declares it, with `[NOT] NULL`. The flag: whether `NOT NULL` was said.
pub(crate) fn parse_type(cursor: &mut Cursor<'_>) -> Bound<(SqlType, bool)> {
    let ty = parse_nested(cursor, 0)?;
    let not_null = parse_nullability(cursor)?;
    Ok((ty, not_null))
}

/// The type that a text names.
pub(crate) fn type_of(text: &str) -> Option<SqlType> {
    let dialect = FlinkDialect;
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().ok()?;
    let mut cursor = Cursor::new(&dialect, tokens);
    let (ty, _) = parse_type(&mut cursor).ok()?;
    cursor.peek().is_none().then_some(ty)
}

fn parse_nullability(cursor: &mut Cursor<'_>) -> Bound<bool> {
    if cursor.take_keyword("NOT") {
        cursor.expect_keyword("NULL")?;
        return Ok(true);
    }
    cursor.take_keyword("NULL");
    Ok(false)
}

fn parse_nested(cursor: &mut Cursor<'_>, depth: usize) -> Bound<SqlType> {
    let at = cursor.at();
    if depth > DEPTH_MAX {
        return Err(Fault::new(at, format!("types nested deeper than {DEPTH_MAX}")));
    }
    let Some(word) = cursor.take_any_word() else {
        return Err(cursor.expected("a type"));
    };
    let ty = match word.to_uppercase().as_str() {
        "BOOLEAN" => SqlType::Boolean,
        "TINYINT" => SqlType::TinyInt,
        "SMALLINT" => SqlType::SmallInt,
        "INT" | "INTEGER" => SqlType::Int,
        "BIGINT" => SqlType::BigInt,
        "FLOAT" => SqlType::Float,
        "DOUBLE" => {
            cursor.take_keyword("PRECISION");
            SqlType::Double
        }
        "DECIMAL" | "DEC" | "NUMERIC" => parse_decimal(cursor)?,
        "STRING" => SqlType::STRING,
        "CHAR" | "CHARACTER" => SqlType::Char(length(cursor, 1)?),
        "VARCHAR" => SqlType::Varchar(length(cursor, 1)?),
        "BYTES" => SqlType::Varbinary(LENGTH_MAX),
        "BINARY" => SqlType::Binary(length(cursor, 1)?),
        "VARBINARY" => SqlType::Varbinary(length(cursor, 1)?),
        "DATE" => SqlType::Date,
        "TIME" => {
            let precision = precision(cursor, 0)?;
            zone_suffix(cursor)?;
            SqlType::Time(precision)
        }
        "TIMESTAMP" => parse_timestamp(cursor)?,
        "TIMESTAMP_LTZ" => SqlType::TimestampLtz(precision(cursor, 6)?),
        "ARRAY" => {
            let mut element = angle(cursor, 1, depth)?;
            SqlType::Array(Box::new(element.remove(0)))
        }
        "MAP" => {
            let mut parts = angle(cursor, 2, depth)?;
            let value = parts.remove(1);
            SqlType::Map(Box::new(parts.remove(0)), Box::new(value))
        }
        "ROW" | "STRUCT" => parse_row(cursor, depth)?,
        other => {
            return Err(Fault::unsupported(at, format!("type {other}")).hint(
                "types: BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), CHAR(n), VARCHAR(n), \
                 STRING, BINARY(n), VARBINARY(n), BYTES, DATE, TIME, TIMESTAMP(p), TIMESTAMP_LTZ(p), ARRAY<t>, \
                 MAP<k, v>, ROW<name type, ...>",
            ));
        }
    };
    if cursor.take_keyword("ARRAY") {
        return Ok(SqlType::Array(Box::new(ty)));
    }
    Ok(ty)
}

fn parse_decimal(cursor: &mut Cursor<'_>) -> Bound<SqlType> {
    let at = cursor.at();
    let numbers = numbers(cursor)?;
    let precision = numbers.first().copied().unwrap_or(10);
    let scale = numbers.get(1).copied().unwrap_or(0);
    if !(1..=u32::from(PRECISION_MAX)).contains(&precision) || scale > precision {
        let message = format!(
            "decimal precision {precision}, scale {scale}: expected 1 to 38, and scale up to precision"
        );
        return Err(Fault::new(at, message));
    }
    Ok(SqlType::Decimal(
        u8::try_from(precision).unwrap_or(PRECISION_MAX),
        u8::try_from(scale).unwrap_or(PRECISION_MAX),
    ))
}

fn parse_timestamp(cursor: &mut Cursor<'_>) -> Bound<SqlType> {
    let precision = precision(cursor, 6)?;
    Ok(if zone_suffix(cursor)? { SqlType::TimestampLtz(precision) } else { SqlType::Timestamp(precision) })
}

/// `WITHOUT TIME ZONE`, `WITH LOCAL TIME ZONE`; true for the latter.
fn zone_suffix(cursor: &mut Cursor<'_>) -> Bound<bool> {
    if cursor.take_keyword("WITHOUT") {
        cursor.expect_keyword("TIME")?;
        cursor.expect_keyword("ZONE")?;
        return Ok(false);
    }
    if !cursor.peek_keyword("WITH") {
        return Ok(false);
    }
    let at = cursor.at();
    cursor.take_keyword("WITH");
    if !cursor.take_keyword("LOCAL") {
        return Err(Fault::unsupported(at, "TIMESTAMP WITH TIME ZONE").hint("use TIMESTAMP_LTZ(p)"));
    }
    cursor.expect_keyword("TIME")?;
    cursor.expect_keyword("ZONE")?;
    Ok(true)
}

fn precision(cursor: &mut Cursor<'_>, default: u8) -> Bound<u8> {
    let at = cursor.at();
    match numbers(cursor)?.first() {
        None => Ok(default),
        Some(p @ 0..=9) => Ok(u8::try_from(*p).unwrap_or(default)),
        Some(p) => Err(Fault::new(at, format!("precision {p}: expected 0 to 9"))),
    }
}

fn length(cursor: &mut Cursor<'_>, default: u32) -> Bound<u32> {
    let at = cursor.at();
    match numbers(cursor)?.first() {
        None => Ok(default),
        Some(0) => Err(Fault::new(at, "length 0: expected 1 to 2147483647")),
        Some(n) => Ok(*n),
    }
}

/// `(1)` or `(1, 2)` or nothing.
fn numbers(cursor: &mut Cursor<'_>) -> Bound<Vec<u32>> {
    let mut numbers = Vec::new();
    if !cursor.take(&Token::LParen) {
        return Ok(numbers);
    }
    loop {
        let at = cursor.at();
        let Some(number) = cursor.take_number().and_then(|text| text.parse::<u32>().ok()) else {
            return Err(Fault::new(at, "expected a number up to 2147483647"));
        };
        numbers.push(number);
        if !cursor.take(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(numbers)
}

fn angle(cursor: &mut Cursor<'_>, count: usize, depth: usize) -> Bound<Vec<SqlType>> {
    cursor.expect(&Token::Lt)?;
    let mut parts = Vec::with_capacity(count);
    for index in 0..count {
        if index > 0 {
            cursor.expect(&Token::Comma)?;
        }
        parts.push(parse_nested(cursor, depth + 1)?);
        parse_nullability(cursor)?;
    }
    cursor.expect(&Token::Gt)?;
    Ok(parts)
}

fn parse_row(cursor: &mut Cursor<'_>, depth: usize) -> Bound<SqlType> {
    let closing = if cursor.take(&Token::Lt) {
        Token::Gt
    } else {
        cursor.expect(&Token::LParen)?;
        Token::RParen
    };
    let mut fields: Vec<(String, SqlType)> = Vec::new();
    loop {
        let at = cursor.at();
        let name = cursor.identifier("a field name")?;
        if fields.iter().any(|(other, _)| *other == name.value) {
            return Err(Fault::new(at, format!("field {} appears twice", name.value)));
        }
        let ty = parse_nested(cursor, depth + 1)?;
        parse_nullability(cursor)?;
        if let Some(Token::SingleQuotedString(_)) = cursor.peek() {
            cursor.next();
        }
        fields.push((name.value, ty));
        if !cursor.take(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&closing)?;
    Ok(SqlType::Row(fields))
}
