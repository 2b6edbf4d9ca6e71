//! `CAST`, `TRY_CAST` and the conversions Flink inserts by itself.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, StringArray, Time32MillisecondArray,
};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType,
};
use chrono_tz::Tz;
use datafusion_common::{Result as EvalResult, ScalarValue};
use datafusion_expr::Expr;

use super::decimal;
use super::java_time::{self, DAY_MS};
use super::times::{Moment, moments, timestamps};
use super::zone::Zone;
use super::{Typed, call, downcast, failed, fallible_call, literal, null_of, primitive, strings};
use crate::error::{Bound, Fault};
use crate::types::SqlType;

/// What a value that does not convert becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// The job fails.
    Fail,
    /// NULL.
    Null,
}

/// `CAST(argument AS to)`.
pub(crate) fn explicit(argument: Typed, to: &SqlType, on_failure: OnFailure, zone: Tz) -> Bound<Typed> {
    if !allowed(&argument.ty, to) {
        let fault = Fault::new(argument.at, format!("cannot cast {} to {to}", argument.ty));
        let to_time = to.is_timestamp() && argument.ty.is_numeric();
        return Err(if to_time {
            fault.hint("use TO_TIMESTAMP_LTZ(ms, 3) or TO_TIMESTAMP_LTZ(seconds, 0)")
        } else {
            fault
        });
    }
    Ok(convert_expr(argument, to, on_failure, zone))
}

/// A conversion Flink makes without being asked; the caller knows that the types convert.
pub(crate) fn implicit(argument: Typed, to: &SqlType, zone: Tz) -> Bound<Typed> {
    if argument.ty.is_text() && to.is_text() && !shorter(&argument.ty, to) {
        return Ok(Typed { ty: to.clone(), ..argument });
    }
    explicit(argument, to, OnFailure::Fail, zone)
}

fn shorter(from: &SqlType, to: &SqlType) -> bool {
    match (from, to) {
        (SqlType::Char(a) | SqlType::Varchar(a), SqlType::Varchar(b)) => b < a,
        _ => from != to,
    }
}

fn allowed(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::{Binary, Boolean, Date, Null, Time, Timestamp, TimestampLtz, Varbinary};
    let simple = |ty: &SqlType| {
        ty.is_numeric() || ty.is_text() || ty.is_timestamp() || matches!(ty, Boolean | Date | Time(_))
    };
    let bytes = |ty: &SqlType| matches!(ty, Binary(_) | Varbinary(_));
    match (from, to) {
        (Null, _) => true,
        (a, b) if a == b => true,
        (a, b) if a.is_text() => simple(b) || bytes(b),
        (a, b) if b.is_text() => simple(a) || bytes(a),
        (a, b) if bytes(a) => bytes(b),
        (a, b) if a.is_numeric() || *a == Boolean => b.is_numeric() || *b == Boolean,
        (Date, Timestamp(_) | TimestampLtz(_)) | (Time(_), Time(_)) => true,
        (a, b) if a.is_timestamp() => b.is_timestamp() || matches!(b, Date | Time(_)),
        _ => false,
    }
}

fn convert_expr(argument: Typed, to: &SqlType, on_failure: OnFailure, zone: Tz) -> Typed {
    let Typed { expr, ty: from, at } = argument;
    let done = |expr: Expr| Typed { expr, ty: to.clone(), at };
    if from == SqlType::Null {
        return done(null_of(&to.to_arrow()));
    }
    if from == *to || keeps_all_text(&from, to) {
        return done(expr);
    }
    let (source, target) = (from.clone(), to.clone());
    let convert =
        move |arrays: &[ArrayRef]| convert(&arrays[0], &source, &target, on_failure, Zone::Region(zone));
    if let Expr::Literal(value, _) = &expr
        && let Ok(array) = value.to_array_of_size(1)
        && let Ok(folded) = convert(&[array])
        && let Ok(value) = ScalarValue::try_from_array(&folded, 0)
    {
        return done(literal(value));
    }
    if is_lossless(&from, to) {
        return done(datafusion_expr::cast(expr, to.to_arrow()));
    }
    let zoned = matches!(from, SqlType::TimestampLtz(_)) != matches!(to, SqlType::TimestampLtz(_));
    let zone_name = if zoned { format!(" {zone}") } else { String::new() };
    let may_fail = from.is_text() && !to.is_text() && on_failure == OnFailure::Fail;
    let verb = if on_failure == OnFailure::Fail { "cast" } else { "try_cast" };
    let name = format!("{verb}[{from} as {to}{zone_name}]");
    let make = if may_fail {
        fallible_call(name, to.to_arrow(), vec![expr], convert)
    } else {
        call(name, to.to_arrow(), vec![expr], convert)
    };
    done(make)
}

fn keeps_all_text(from: &SqlType, to: &SqlType) -> bool {
    from.is_text() && *to == SqlType::STRING
}

/// Conversions that Arrow's own cast does exactly as Flink does.
fn is_lossless(from: &SqlType, to: &SqlType) -> bool {
    if let (Some((digits, 0)), SqlType::Decimal(precision, scale)) = (from.as_decimal(), to)
        && from.is_integer()
    {
        return digits + scale <= *precision;
    }
    match (from, to) {
        (SqlType::Float, SqlType::Double) | (SqlType::Date, SqlType::Timestamp(_)) => true,
        (a, SqlType::Double | SqlType::Float) if a.is_integer() => true,
        (a, b) if a.is_integer() && b.is_integer() => a.as_decimal() < b.as_decimal(),
        (SqlType::Timestamp(a), SqlType::Timestamp(b))
        | (SqlType::TimestampLtz(a), SqlType::TimestampLtz(b)) => a <= b,
        (SqlType::Decimal(p1, s1), SqlType::Decimal(p2, s2)) => s1 <= s2 && p1 - s1 <= p2 - s2,
        _ => false,
    }
}

/// A value between two types.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Single(f32),
    Decimal(i128, u8),
    Text(String),
    Bytes(Vec<u8>),
    /// Days since 1970.
    Date(i32),
    /// ms of the day.
    Time(i32),
    Moment(Moment),
}

pub(crate) fn convert(
    array: &ArrayRef,
    from: &SqlType,
    to: &SqlType,
    on_failure: OnFailure,
    zone: Zone,
) -> EvalResult<ArrayRef> {
    let mut values = Vec::with_capacity(array.len());
    for value in read(array, from)? {
        let Some(value) = value else {
            values.push(None);
            continue;
        };
        let text = if let Value::Text(text) = &value { text.clone() } else { String::new() };
        let converted = convert_value(value, from, to, zone);
        if converted.is_none() && on_failure == OnFailure::Fail && from.is_text() {
            return Err(failed(format!("cannot cast '{text}' to {to}")));
        }
        values.push(converted);
    }
    write(values, to)
}

fn read(array: &ArrayRef, from: &SqlType) -> EvalResult<Vec<Option<Value>>> {
    macro_rules! all {
        ($array:expr, $make:expr) => {
            $array.iter().map(|value| value.map($make)).collect()
        };
    }
    Ok(match from {
        SqlType::Boolean => all!(downcast::<BooleanArray>(array)?, Value::Boolean),
        SqlType::TinyInt => all!(primitive::<Int8Type>(array)?, |n| Value::Integer(i64::from(n))),
        SqlType::SmallInt => all!(primitive::<Int16Type>(array)?, |n| Value::Integer(i64::from(n))),
        SqlType::Int => all!(primitive::<Int32Type>(array)?, |n| Value::Integer(i64::from(n))),
        SqlType::BigInt => all!(primitive::<Int64Type>(array)?, Value::Integer),
        SqlType::Float => all!(primitive::<Float32Type>(array)?, Value::Single),
        SqlType::Double => all!(primitive::<Float64Type>(array)?, Value::Float),
        SqlType::Decimal(_, scale) => {
            all!(primitive::<Decimal128Type>(array)?, |n| Value::Decimal(n, *scale))
        }
        SqlType::Char(_) | SqlType::Varchar(_) => all!(strings(array)?, |s: &str| Value::Text(s.to_owned())),
        SqlType::Binary(_) | SqlType::Varbinary(_) => {
            all!(downcast::<BinaryArray>(array)?, |b: &[u8]| Value::Bytes(b.to_vec()))
        }
        SqlType::Date => all!(primitive::<Date32Type>(array)?, Value::Date),
        SqlType::Time(_) => all!(primitive::<Time32MillisecondType>(array)?, Value::Time),
        SqlType::Timestamp(_) | SqlType::TimestampLtz(_) => {
            moments(array)?.into_iter().map(|moment| moment.map(Value::Moment)).collect()
        }
        other => return Err(failed(format!("cannot cast {other}"))),
    })
}

fn write(values: Vec<Option<Value>>, to: &SqlType) -> EvalResult<ArrayRef> {
    macro_rules! all {
        ($kind:ident, $array:ty) => {{
            let array: $array = values
                .into_iter()
                .map(|value| match value {
                    Some(Value::$kind(v)) => Some(v),
                    _ => None,
                })
                .collect();
            Arc::new(array)
        }};
    }
    #[expect(clippy::cast_possible_truncation, reason = "Java narrows by cutting bits")]
    fn integers(values: Vec<Option<Value>>, to: &SqlType) -> ArrayRef {
        let numbers = values.into_iter().map(|value| match value {
            Some(Value::Integer(n)) => Some(n),
            _ => None,
        });
        match to {
            SqlType::TinyInt => Arc::new(numbers.map(|n| n.map(|n| n as i8)).collect::<Int8Array>()),
            SqlType::SmallInt => Arc::new(numbers.map(|n| n.map(|n| n as i16)).collect::<Int16Array>()),
            SqlType::Int => Arc::new(numbers.map(|n| n.map(|n| n as i32)).collect::<Int32Array>()),
            _ => Arc::new(numbers.collect::<Int64Array>()),
        }
    }
    Ok(match to {
        SqlType::Boolean => all!(Boolean, BooleanArray),
        SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt => integers(values, to),
        SqlType::Float => all!(Single, Float32Array),
        SqlType::Double => all!(Float, Float64Array),
        SqlType::Decimal(precision, scale) => {
            let values = values.into_iter().map(|value| match value {
                Some(Value::Decimal(n, _)) => Some(n),
                _ => None,
            });
            decimal::decimals(values.collect(), *precision, *scale)?
        }
        SqlType::Char(_) | SqlType::Varchar(_) => all!(Text, StringArray),
        SqlType::Binary(_) | SqlType::Varbinary(_) => {
            let bytes: BinaryArray = values
                .into_iter()
                .map(|value| match value {
                    Some(Value::Bytes(bytes)) => Some(bytes),
                    _ => None,
                })
                .collect();
            Arc::new(bytes)
        }
        SqlType::Date => all!(Date, Date32Array),
        SqlType::Time(_) => all!(Time, Time32MillisecondArray),
        SqlType::Timestamp(_) | SqlType::TimestampLtz(_) => {
            let values = values.into_iter().map(|value| match value {
                Some(Value::Moment(moment)) => Some(moment),
                _ => None,
            });
            timestamps(values, to)?
        }
        other => return Err(failed(format!("cannot cast to {other}"))),
    })
}

fn convert_value(value: Value, from: &SqlType, to: &SqlType, zone: Zone) -> Option<Value> {
    match to {
        SqlType::Boolean => to_boolean(&value),
        SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt => to_integer(&value, to),
        SqlType::Float => to_double(&value).map(single),
        SqlType::Double => to_double(&value).map(Value::Float),
        SqlType::Decimal(precision, scale) => to_decimal(&value, *precision, *scale),
        SqlType::Char(_) | SqlType::Varchar(_) => {
            to_text(value, from, zone).map(|text| Value::Text(fit(text, to)))
        }
        SqlType::Binary(_) | SqlType::Varbinary(_) => match value {
            Value::Text(text) => Some(Value::Bytes(text.into_bytes())),
            Value::Bytes(bytes) => Some(Value::Bytes(bytes)),
            _ => None,
        },
        SqlType::Date => to_date(&value, from, zone),
        SqlType::Time(precision) => to_time(&value, from, *precision, zone),
        SqlType::Timestamp(_) | SqlType::TimestampLtz(_) => to_moment(&value, from, to, zone),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "FLOAT is a double cut to 32 bits")]
fn single(value: f64) -> Value {
    Value::Single(value as f32)
}

fn to_boolean(value: &Value) -> Option<Value> {
    Some(Value::Boolean(match value {
        Value::Boolean(b) => *b,
        Value::Integer(n) => *n != 0,
        Value::Decimal(n, _) => *n != 0,
        Value::Float(x) => *x != 0.0,
        Value::Single(x) => *x != 0.0,
        Value::Text(text) => match text.trim().to_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "1" => true,
            "f" | "false" | "n" | "no" | "0" => false,
            _ => return None,
        },
        _ => return None,
    }))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "as Java casts: saturating from doubles, then cutting bits"
)]
fn to_integer(value: &Value, to: &SqlType) -> Option<Value> {
    let small = |x: f64| if *to == SqlType::BigInt { x as i64 } else { i64::from(x as i32) };
    Some(Value::Integer(match value {
        Value::Boolean(b) => i64::from(*b),
        Value::Integer(n) => *n,
        Value::Float(x) => small(*x),
        Value::Single(x) => small(f64::from(*x)),
        Value::Decimal(n, scale) => (*n / 10_i128.pow(u32::from(*scale))) as i64,
        Value::Text(text) => return integer_from_text(text.trim(), to).map(Value::Integer),
        _ => return None,
    }))
}

/// Digits, with a fraction that is cut off.
fn integer_from_text(text: &str, to: &SqlType) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    let bits = match to {
        SqlType::TinyInt => 8,
        SqlType::SmallInt => 16,
        SqlType::Int => 32,
        _ => 64,
    };
    let limit = 1_i128 << (bits - 1);
    (-limit..limit).contains(&i128::from(number)).then_some(number)
}

fn to_double(value: &Value) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "as Java casts")]
    match value {
        Value::Boolean(b) => Some(f64::from(u8::from(*b))),
        Value::Integer(n) => Some(*n as f64),
        Value::Float(x) => Some(*x),
        Value::Single(x) => Some(f64::from(*x)),
        Value::Decimal(n, scale) => Some(decimal::to_double(*n, *scale)),
        Value::Text(text) => double_from_text(text.trim()),
        _ => None,
    }
}

/// As Java's `Double.parseDouble` reads it, without hexadecimal.
pub(crate) fn double_from_text(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    if unsigned == "NaN" || unsigned == "Infinity" {
        return text.parse().ok();
    }
    let number = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    if number.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E')) {
        return number.parse().ok();
    }
    None
}

fn to_decimal(value: &Value, precision: u8, scale: u8) -> Option<Value> {
    let number = match value {
        Value::Boolean(b) => decimal::rescale(i128::from(*b), 0, scale),
        Value::Integer(n) => decimal::rescale(i128::from(*n), 0, scale),
        Value::Decimal(n, from) => decimal::rescale(*n, *from, scale),
        Value::Float(x) => decimal::from_text(&format!("{x:e}"), precision, scale),
        Value::Single(x) => decimal::from_text(&format!("{:e}", f64::from(*x)), precision, scale),
        Value::Text(text) => decimal::from_text(text.trim(), precision, scale),
        _ => None,
    }?;
    decimal::fits(number, precision).then_some(Value::Decimal(number, scale))
}

/// Cut to the length; `CHAR` is also filled up with blanks.
fn fit(text: String, to: &SqlType) -> String {
    match to {
        SqlType::Varchar(n) if (*n as usize) < text.len() => text.chars().take(*n as usize).collect(),
        SqlType::Char(n) => {
            let mut cut: String = text.chars().take(*n as usize).collect();
            let missing = (*n as usize).saturating_sub(cut.chars().count());
            cut.extend(std::iter::repeat_n(' ', missing));
            cut
        }
        _ => text,
    }
}

fn to_text(value: Value, from: &SqlType, zone: Zone) -> Option<String> {
    Some(match value {
        Value::Boolean(b) => if b { "TRUE" } else { "FALSE" }.to_owned(),
        Value::Integer(n) => n.to_string(),
        Value::Float(x) => java_double(&format!("{x:e}")),
        Value::Single(x) => java_double(&format!("{x:e}")),
        Value::Decimal(n, scale) => decimal::to_text(n, scale),
        Value::Text(text) => text,
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::Date(days) => java_time::date_text(days)?,
        Value::Time(ms) => java_time::time_text(ms, precision_of(from)),
        Value::Moment(moment) => {
            let local =
                if matches!(from, SqlType::TimestampLtz(_)) { moment.to_local(zone)? } else { moment };
            java_time::timestamp_text(local, precision_of(from))?
        }
    })
}

fn precision_of(ty: &SqlType) -> u8 {
    match ty {
        SqlType::Time(p) | SqlType::Timestamp(p) | SqlType::TimestampLtz(p) => *p,
        _ => 0,
    }
}

/// Java's `Double.toString` from Rust's shortest `{:e}`.
pub(crate) fn java_double(shortest: &str) -> String {
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        return match shortest {
            "inf" => "Infinity".to_owned(),
            "-inf" => "-Infinity".to_owned(),
            _ => "NaN".to_owned(),
        };
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    if digits.bytes().all(|b| b == b'0') {
        return format!("{sign}0.0");
    }
    if !(-3..7).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        return format!("{sign}{first}.{}E{exponent}", if rest.is_empty() { "0" } else { rest });
    }
    if exponent < 0 {
        let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
        return format!("{sign}0.{}{digits}", "0".repeat(zeros));
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    let padded = format!("{digits:0<whole$}");
    let (whole, fraction) = padded.split_at(whole);
    format!("{sign}{whole}.{}", if fraction.is_empty() { "0" } else { fraction })
}

fn to_date(value: &Value, from: &SqlType, zone: Zone) -> Option<Value> {
    match value {
        Value::Date(days) => Some(Value::Date(*days)),
        Value::Text(text) => java_time::parse_sql_date(text).map(Value::Date),
        Value::Moment(moment) => {
            let local = local_of(*moment, from, zone)?;
            i32::try_from(local.ms.div_euclid(DAY_MS)).ok().map(Value::Date)
        }
        _ => None,
    }
}

fn local_of(moment: Moment, from: &SqlType, zone: Zone) -> Option<Moment> {
    if matches!(from, SqlType::TimestampLtz(_)) { moment.to_local(zone) } else { Some(moment) }
}

fn to_time(value: &Value, from: &SqlType, precision: u8, zone: Zone) -> Option<Value> {
    let ms = match value {
        Value::Time(ms) => *ms,
        Value::Text(text) => java_time::parse_sql_time(text.trim())?,
        Value::Moment(moment) => i32::try_from(local_of(*moment, from, zone)?.ms.rem_euclid(DAY_MS)).ok()?,
        _ => return None,
    };
    let step = 10_i32.pow(3 - u32::from(precision.min(3)));
    Some(Value::Time(ms - ms % step))
}

fn to_moment(value: &Value, from: &SqlType, to: &SqlType, zone: Zone) -> Option<Value> {
    let to_instant = matches!(to, SqlType::TimestampLtz(_));
    let from_instant = matches!(from, SqlType::TimestampLtz(_));
    let moment = match value {
        Value::Moment(moment) => *moment,
        Value::Date(days) => Moment { ms: i64::from(*days).checked_mul(DAY_MS)?, nanos: 0 },
        Value::Text(text) => java_time::parse_sql_timestamp(text)?,
        _ => return None,
    };
    let moment = match (from_instant, to_instant) {
        (true, false) => moment.to_local(zone)?,
        (false, true) => moment.to_instant(zone)?,
        _ => moment,
    };
    Some(Value::Moment(moment.truncated(precision_of(to))))
}
