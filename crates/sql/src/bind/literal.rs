//! Literals: numbers, texts, times and intervals.

use datafusion_common::ScalarValue;
use sqlparser::ast::{self, Expr as Syntax, Value};
use sqlparser::tokenizer::Location;

use super::expression::cast_type;
use crate::error::{Bound, Fault};
use crate::functions::times::{self, Unit};
use crate::functions::{Typed, java_time, literal, numbers};
use crate::types::SqlType;

pub(super) fn bind_value(value: &Value, at: Location) -> Bound<Typed> {
    let typed = |value: ScalarValue, ty: SqlType| Typed { expr: literal(value), ty, at };
    Ok(match value {
        Value::Number(text, false) => {
            let (value, ty) = numbers::number_literal(text).map_err(|fault| fault.or_at(at))?;
            typed(value, ty)
        }
        Value::SingleQuotedString(text) => {
            let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX).max(1);
            typed(ScalarValue::Utf8(Some(text.clone())), SqlType::Char(length))
        }
        Value::Boolean(value) => typed(ScalarValue::Boolean(Some(*value)), SqlType::Boolean),
        Value::Null => typed(ScalarValue::Null, SqlType::Null),
        Value::DoubleQuotedString(text) => {
            return Err(Fault::new(at, format!("\"{text}\": double quotes have no meaning in Flink SQL"))
                .hint("text stands in '...', names in `...`"));
        }
        other => return Err(Fault::unsupported(at, format!("literal {other}"))),
    })
}

/// `DATE '...'`, `TIME '...'`, `TIMESTAMP '...'`.
pub(super) fn typed_literal(typed: &ast::TypedString, at: Location) -> Bound<Typed> {
    let Value::SingleQuotedString(text) = &typed.value.value else {
        return Err(Fault::new(at, "expected a text in single quotes"));
    };
    let ty = cast_type(&typed.data_type).map_err(|fault| fault.or_at(at))?;
    let wrong = |form: &str| Fault::new(at, format!("'{text}' is no {}: expected {form}", typed.data_type));
    let fraction = text.split_once('.').map_or(0, |(_, digits)| digits.len());
    let (value, ty) = match ty {
        SqlType::Date => {
            let days = times::date_literal(text).ok_or_else(|| wrong("yyyy-MM-dd"))?;
            (ScalarValue::Date32(Some(days)), SqlType::Date)
        }
        SqlType::Time(_) => {
            let ms = java_time::parse_sql_time(text).ok_or_else(|| wrong("HH:mm:ss"))?;
            (
                ScalarValue::Time32Millisecond(Some(ms)),
                SqlType::Time(u8::try_from(fraction).unwrap_or(9).min(9)),
            )
        }
        SqlType::Timestamp(_) => {
            let form = "yyyy-MM-dd HH:mm:ss[.fraction]";
            let moment = java_time::parse_sql_timestamp(text)
                .filter(|_| text.contains(' '))
                .ok_or_else(|| wrong(form))?;
            let ty = SqlType::Timestamp(u8::try_from(fraction).unwrap_or(9).min(9));
            let array = times::timestamps(std::iter::once(Some(moment)), &ty).map_err(|_| wrong(form))?;
            (ScalarValue::try_from_array(&array, 0).map_err(|_| wrong(form))?, ty)
        }
        other => return Err(Fault::unsupported(at, format!("a literal of type {other}"))),
    };
    Ok(Typed { expr: literal(value), ty, at })
}

/// Whether an interval has days and nothing smaller: added to a DATE it gives a DATE.
pub(super) fn is_of_days(interval: &ast::Interval) -> bool {
    let days =
        |field: &ast::DateTimeField| matches!(Unit::parse(&field.to_string()), Some(Unit::Day | Unit::Week));
    interval.leading_field.as_ref().is_some_and(days) && interval.last_field.is_none()
}

/// An interval literal as ms or months.
pub(crate) fn bind_interval(interval: &ast::Interval, at: Location) -> Bound<Typed> {
    let Syntax::Value(value) = interval.value.as_ref() else {
        return Err(Fault::unsupported(at, "an interval of an expression").hint("INTERVAL '10' SECOND"));
    };
    let Value::SingleQuotedString(text) = &value.value else {
        return Err(
            Fault::new(at, format!("interval of {value}: expected a text")).hint("INTERVAL '10' SECOND")
        );
    };
    let Some(leading) = &interval.leading_field else {
        return Err(Fault::new(at, "an interval needs a unit").hint("INTERVAL '10' SECOND"));
    };
    let unit = |field: &ast::DateTimeField| {
        let word = field.to_string();
        Unit::parse(&word).ok_or_else(|| Fault::unsupported(at, format!("an interval of {word}")))
    };
    let first = unit(leading)?;
    let last = interval.last_field.as_ref().map(unit).transpose()?;
    let precision = interval.leading_precision.unwrap_or(2);
    let (value, ty) = interval_value(text, first, last, precision, at)?;
    Ok(Typed { expr: literal(ScalarValue::Int64(Some(value))), ty, at })
}

fn interval_value(
    text: &str,
    first: Unit,
    last: Option<Unit>,
    precision: u64,
    at: Location,
) -> Bound<(i64, SqlType)> {
    const ORDER: [Unit; 4] = [Unit::Day, Unit::Hour, Unit::Minute, Unit::Second];
    let wrong = || Fault::new(at, format!("'{text}' is no interval of that unit"));
    let (negative, unsigned) =
        text.trim().strip_prefix('-').map_or((false, text.trim()), |rest| (true, rest));
    let unsigned = unsigned.strip_prefix('+').unwrap_or(unsigned);
    let check = |digits: &str| -> Bound<i64> {
        let number: i64 = digits.parse().map_err(|_| wrong())?;
        let significant = digits.trim_start_matches('0').len();
        let unit = format!("{first:?}").to_uppercase();
        if u64::try_from(significant).unwrap_or(u64::MAX) > precision {
            return Err(Fault::new(
                at,
                format!("interval value {digits} exceeds the precision of {unit}({precision})"),
            )
            .hint(format!("write the unit with a precision, such as {unit}({significant})")));
        }
        Ok(number)
    };
    let sign = if negative { -1 } else { 1 };
    if let Some(months) = first.months() {
        let total = match last {
            None => check(unsigned)? * months,
            Some(Unit::Month) if first == Unit::Year => {
                let (years, rest) = unsigned.split_once('-').ok_or_else(wrong)?;
                let rest: i64 = rest.parse().ok().filter(|rest| (0..12).contains(rest)).ok_or_else(wrong)?;
                check(years)? * 12 + rest
            }
            Some(_) => return Err(wrong()),
        };
        return Ok((sign * total, SqlType::IntervalMonth));
    }
    let place = |unit: Unit| ORDER.iter().position(|known| *known == unit);
    let (Some(from), Some(to)) = (place(first), place(last.unwrap_or(first))) else {
        if first == Unit::Week && last.is_none() {
            return Ok((sign * check(unsigned)? * 7 * java_time::DAY_MS, SqlType::IntervalDay));
        }
        return Err(wrong());
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut parts = whole.split([' ', ':']);
    let mut total: i64 = 0;
    for unit in ORDER.get(from..=to).ok_or_else(wrong)? {
        let part = parts.next().ok_or_else(wrong)?;
        let value = if *unit == first {
            check(part)?
        } else {
            part.parse::<i64>().ok().filter(|v| (0..60).contains(v)).ok_or_else(wrong)?
        };
        total += value.checked_mul(unit.ms().unwrap_or(1)).ok_or_else(wrong)?;
    }
    if parts.next().is_some() || (!fraction.is_empty() && ORDER[to] != Unit::Second) || fraction.len() > 9 {
        return Err(wrong());
    }
    if !fraction.is_empty() {
        total += format!("{fraction:0<3}")[..3].parse::<i64>().map_err(|_| wrong())?;
    }
    Ok((sign * total, SqlType::IntervalDay))
}
