//! Functions of dates, times and timestamps.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use chrono::{Datelike, Months, NaiveDate, Timelike};
use datafusion_common::Result as EvalResult;
use sqlparser::tokenizer::Location;

use super::cast::{self, OnFailure};
use super::java_time::{DAY_MS, Pattern, date_of, days_of};
use super::zone::{self, Zone, millis, wall_clock};
use super::{Binder, Call, Typed, call, failed, primitive, strings};
use crate::error::{Bound, Fault};
use crate::types::SqlType;

/// A point on a wall clock or the time line: ms since 1970 and ns within that ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) ms: i64,
    pub(crate) nanos: i32,
}

impl Moment {
    /// `second_ms` is a whole second; `nanos` of that second.
    pub(crate) fn new(second_ms: i64, nanos: i64) -> Self {
        Self { ms: second_ms + nanos / 1_000_000, nanos: i32::try_from(nanos % 1_000_000).unwrap_or(0) }
    }

    pub(crate) fn nanos_of_second(self) -> i64 {
        self.ms.rem_euclid(1000) * 1_000_000 + i64::from(self.nanos)
    }

    pub(crate) fn to_local(self, zone: Zone) -> Option<Self> {
        Some(Self { ms: zone.to_local(self.ms)?, ..self })
    }

    pub(crate) fn to_instant(self, zone: Zone) -> Option<Self> {
        Some(Self { ms: zone.to_instant(self.ms)?, ..self })
    }

    /// Without the digits beyond `precision`.
    pub(crate) fn truncated(self, precision: u8) -> Self {
        if precision <= 3 {
            let step = 10_i64.pow(3 - u32::from(precision));
            return Self { ms: self.ms.div_euclid(step) * step, nanos: 0 };
        }
        let step = 10_i32.pow(9 - u32::from(precision.min(9)));
        Self { ms: self.ms, nanos: self.nanos / step * step }
    }
}

/// A timestamp column's values.
pub(crate) fn moments(array: &ArrayRef) -> EvalResult<Vec<Option<Moment>>> {
    let split = |value: i64, per_ms: i64, ns: i64| Moment {
        ms: value.div_euclid(per_ms),
        nanos: i32::try_from(value.rem_euclid(per_ms) * ns).unwrap_or(0),
    };
    Ok(match array.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => primitive::<TimestampMillisecondType>(array)?
            .iter()
            .map(|v| v.map(|ms| Moment { ms, nanos: 0 }))
            .collect(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => primitive::<TimestampMicrosecondType>(array)?
            .iter()
            .map(|v| v.map(|v| split(v, 1000, 1000)))
            .collect(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive::<TimestampNanosecondType>(array)?
            .iter()
            .map(|v| v.map(|v| split(v, 1_000_000, 1)))
            .collect(),
        DataType::Date32 => primitive::<Date32Type>(array)?
            .iter()
            .map(|v| v.map(|days| Moment { ms: i64::from(days) * DAY_MS, nanos: 0 }))
            .collect(),
        DataType::Time32(TimeUnit::Millisecond) => primitive::<Time32MillisecondType>(array)?
            .iter()
            .map(|v| v.map(|ms| Moment { ms: i64::from(ms), nanos: 0 }))
            .collect(),
        other => return Err(failed(format!("{other} is no time"))),
    })
}

/// A column of type `to`; a value out of range is NULL.
pub(crate) fn timestamps(values: impl Iterator<Item = Option<Moment>>, to: &SqlType) -> EvalResult<ArrayRef> {
    let DataType::Timestamp(unit, zone) = to.to_arrow() else {
        return Err(failed(format!("{to} is no timestamp")));
    };
    let joined = |moment: Moment, per_ms: i64, ns: i32| {
        moment.ms.checked_mul(per_ms)?.checked_add(i64::from(moment.nanos / ns))
    };
    Ok(match unit {
        TimeUnit::Microsecond => {
            let array: TimestampMicrosecondArray =
                values.map(|v| v.and_then(|v| joined(v, 1000, 1000))).collect();
            Arc::new(array.with_timezone_opt(zone))
        }
        TimeUnit::Nanosecond => {
            let array: TimestampNanosecondArray =
                values.map(|v| v.and_then(|v| joined(v, 1_000_000, 1))).collect();
            Arc::new(array.with_timezone_opt(zone))
        }
        _ => {
            let array: TimestampMillisecondArray = values.map(|v| v.map(|v| v.ms)).collect();
            Arc::new(array.with_timezone_opt(zone))
        }
    })
}

/// A field of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Epoch,
    IsoYear,
    Decade,
    Century,
    Millennium,
}

impl Unit {
    /// The unit a word means; plural allowed.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word.to_uppercase().as_str() {
            "MILLISECOND" | "MILLISECONDS" => Self::Millisecond,
            "SECOND" | "SECONDS" => Self::Second,
            "MINUTE" | "MINUTES" => Self::Minute,
            "HOUR" | "HOURS" => Self::Hour,
            "DAY" | "DAYS" => Self::Day,
            "WEEK" | "WEEKS" => Self::Week,
            "MONTH" | "MONTHS" => Self::Month,
            "QUARTER" | "QUARTERS" => Self::Quarter,
            "YEAR" | "YEARS" => Self::Year,
            "DOW" => Self::DayOfWeek,
            "ISODOW" => Self::IsoDayOfWeek,
            "DOY" => Self::DayOfYear,
            "EPOCH" => Self::Epoch,
            "ISOYEAR" => Self::IsoYear,
            "DECADE" => Self::Decade,
            "CENTURY" => Self::Century,
            "MILLENNIUM" => Self::Millennium,
            _ => return None,
        })
    }

    /// Its length, ms, where it is fixed.
    pub(crate) fn ms(self) -> Option<i64> {
        Some(match self {
            Self::Millisecond => 1,
            Self::Second => 1000,
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => DAY_MS,
            Self::Week => 7 * DAY_MS,
            _ => return None,
        })
    }

    /// Its length in months, where that is fixed.
    pub(crate) fn months(self) -> Option<i64> {
        match self {
            Self::Month => Some(1),
            Self::Quarter => Some(3),
            Self::Year => Some(12),
            _ => None,
        }
    }
}

/// `EXTRACT(unit FROM argument)`; BIGINT.
pub(crate) fn extract(argument: Typed, unit: Unit, at: Location, zone: chrono_tz::Tz) -> Bound<Typed> {
    let clock_only = matches!(argument.ty, SqlType::Time(_));
    let dated = argument.ty.is_timestamp() || argument.ty == SqlType::Date;
    if !dated && !clock_only {
        return Err(Fault::new(
            at,
            format!("EXTRACT from {}: expected DATE, TIME or TIMESTAMP", argument.ty),
        ));
    }
    if clock_only && !matches!(unit, Unit::Hour | Unit::Minute | Unit::Second | Unit::Millisecond) {
        return Err(Fault::new(at, format!("EXTRACT({unit:?}) from a TIME")));
    }
    let local = matches!(argument.ty, SqlType::TimestampLtz(_)) && unit != Unit::Epoch;
    let zoned = Zone::Region(zone);
    let name = format!("extract[{unit:?}{}]", if local { format!(" {zone}") } else { String::new() });
    let expr = call(name, DataType::Int64, vec![argument.expr], move |arguments| {
        let values = moments(&arguments[0])?.into_iter().map(|moment| {
            let moment = if local { moment?.to_local(zoned)? } else { moment? };
            field_of(moment, unit)
        });
        Ok(Arc::new(values.collect::<Int64Array>()))
    });
    Ok(Typed { expr, ty: SqlType::BigInt, at })
}

fn field_of(moment: Moment, unit: Unit) -> Option<i64> {
    let clock = wall_clock(moment.ms)?;
    let year = i64::from(clock.year());
    Some(match unit {
        Unit::Millisecond => moment.ms.rem_euclid(1000),
        Unit::Second => i64::from(clock.second()),
        Unit::Minute => i64::from(clock.minute()),
        Unit::Hour => i64::from(clock.hour()),
        Unit::Day => i64::from(clock.day()),
        Unit::Week => i64::from(clock.iso_week().week()),
        Unit::Month => i64::from(clock.month()),
        Unit::Quarter => i64::from(clock.month0() / 3 + 1),
        Unit::Year => year,
        Unit::DayOfWeek => i64::from(clock.weekday().num_days_from_sunday() + 1),
        Unit::IsoDayOfWeek => i64::from(clock.weekday().number_from_monday()),
        Unit::DayOfYear => i64::from(clock.ordinal()),
        Unit::Epoch => moment.ms.div_euclid(1000),
        Unit::IsoYear => i64::from(clock.iso_week().year()),
        Unit::Decade => year.div_euclid(10),
        Unit::Century => {
            if year > 0 {
                (year + 99) / 100
            } else {
                year / 100 - 1
            }
        }
        Unit::Millennium => {
            if year > 0 {
                (year + 999) / 1000
            } else {
                year / 1000 - 1
            }
        }
    })
}

/// `FLOOR(argument TO unit)` or `CEIL`.
pub(crate) fn round_to(
    argument: Typed,
    unit: Unit,
    up: bool,
    at: Location,
    zone: chrono_tz::Tz,
) -> Bound<Typed> {
    let ty = argument.ty.clone();
    let whole_days = unit.ms().is_none_or(|ms| ms >= DAY_MS);
    match &ty {
        SqlType::Date if !whole_days => {
            return Err(Fault::unsupported(at, format!("FLOOR or CEIL of a DATE TO {unit:?}")));
        }
        SqlType::Time(_) if whole_days || up => {
            return Err(Fault::unsupported(at, format!("CEIL of a TIME, or FLOOR of it TO {unit:?}")));
        }
        SqlType::Date | SqlType::Time(_) | SqlType::Timestamp(_) | SqlType::TimestampLtz(_) => {}
        _ => return Err(Fault::new(at, format!("FLOOR and CEIL TO a unit of {ty}: expected TIMESTAMP"))),
    }
    if unit.ms().is_none() && unit.months().is_none() {
        return Err(Fault::unsupported(at, format!("FLOOR or CEIL TO {unit:?}")));
    }
    let local = matches!(ty, SqlType::TimestampLtz(_));
    let zoned = Zone::Region(zone);
    let verb = if up { "ceil_to" } else { "floor_to" };
    let name = format!("{verb}[{unit:?}{}]", if local { format!(" {zone}") } else { String::new() });
    let output = ty.clone();
    let expr = call(name, ty.to_arrow(), vec![argument.expr], move |arguments| {
        let values = moments(&arguments[0])?.into_iter().map(|moment| {
            let moment = moment?;
            let clock = if local { zoned.to_local(moment.ms)? } else { moment.ms };
            let floor = floor_ms(clock, unit)?;
            let exact = floor == clock && moment.nanos == 0;
            let rounded = if up && !exact { next_ms(floor, unit)? } else { floor };
            // Flink goes back by the offset it came with, whatever the offset is at the result.
            let offset = clock.checked_sub(moment.ms)?;
            Some(Moment { ms: rounded.checked_sub(offset)?, nanos: 0 })
        });
        column_of(values, &output)
    });
    Ok(Typed { expr, ty, at })
}

fn floor_ms(ms: i64, unit: Unit) -> Option<i64> {
    if unit == Unit::Week {
        // Weeks start on Sunday; 1 January 1970 was a Thursday.
        let day = ms.div_euclid(DAY_MS);
        return (day - (day + 4).rem_euclid(7)).checked_mul(DAY_MS);
    }
    if let Some(step) = unit.ms() {
        return ms.div_euclid(step).checked_mul(step);
    }
    let step = u32::try_from(unit.months()?).ok()?;
    let date = wall_clock(ms)?.date();
    let first = NaiveDate::from_ymd_opt(date.year(), date.month0() / step * step + 1, 1)?;
    Some(i64::from(days_of(first)) * DAY_MS)
}

fn next_ms(floor: i64, unit: Unit) -> Option<i64> {
    match unit.ms() {
        Some(step) => floor.checked_add(step),
        None => add_months(floor, unit.months()?),
    }
}

/// Months later; the day is cut to the month's last.
pub(crate) fn add_months(ms: i64, months: i64) -> Option<i64> {
    let clock = wall_clock(ms)?;
    let count = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    let moved = if months >= 0 { clock.checked_add_months(count) } else { clock.checked_sub_months(count) }?;
    Some(millis(moved))
}

/// `argument + interval`; the interval is an expression in ms or months.
pub(crate) fn plus_interval(argument: Typed, interval: Typed, negative: bool, at: Location) -> Bound<Typed> {
    let months = interval.ty == SqlType::IntervalMonth;
    let mut ty = argument.ty.clone();
    if ty == SqlType::Date && !months {
        ty = SqlType::Timestamp(0);
    }
    let fits = ty.is_timestamp() || ty == SqlType::Date || (matches!(ty, SqlType::Time(_)) && !months);
    if !fits {
        return Err(Fault::new(at, format!("cannot add {} to {}", interval.ty, argument.ty)));
    }
    if argument.ty == SqlType::Date && !months {
        return Err(Fault::unsupported(at, "a day-time interval added to a DATE")
            .hint("CAST(d AS TIMESTAMP(3)) first"));
    }
    let name =
        format!("{}[{}]", if negative { "minus" } else { "plus" }, if months { "months" } else { "ms" });
    let output = ty.clone();
    let expr = call(name, ty.to_arrow(), vec![argument.expr, interval.expr], move |arguments| {
        let amounts = primitive::<Int64Type>(&arguments[1])?;
        let values = moments(&arguments[0])?.into_iter().zip(amounts.iter()).map(|(moment, amount)| {
            let (moment, amount) = (moment?, amount?);
            let amount = if negative { amount.checked_neg()? } else { amount };
            let ms = if months { add_months(moment.ms, amount)? } else { moment.ms.checked_add(amount)? };
            Some(Moment { ms, ..moment })
        });
        column_of(values, &output)
    });
    Ok(Typed { expr, ty, at })
}

/// A column of a type of time; a time of day goes round.
fn column_of(values: impl Iterator<Item = Option<Moment>>, ty: &SqlType) -> EvalResult<ArrayRef> {
    match ty {
        SqlType::Date => days(values),
        SqlType::Time(_) => {
            let ms = values.map(|value| i32::try_from(value?.ms.rem_euclid(DAY_MS)).ok());
            Ok(Arc::new(ms.collect::<arrow::array::Time32MillisecondArray>()))
        }
        ty => timestamps(values, ty),
    }
}

/// `date + interval`, where the interval (an expression in ms) has whole days: a DATE.
pub(crate) fn plus_days(date: Typed, interval: Typed, negative: bool, at: Location) -> Typed {
    let name = if negative { "minus[days]" } else { "plus[days]" };
    let expr = call(name, DataType::Date32, vec![date.expr, interval.expr], move |arguments| {
        let amounts = primitive::<Int64Type>(&arguments[1])?;
        let values = moments(&arguments[0])?.into_iter().zip(amounts.iter()).map(|(moment, amount)| {
            let (moment, amount) = (moment?, amount?);
            let amount = if negative { amount.checked_neg()? } else { amount };
            Some(Moment { ms: moment.ms.checked_add(amount)?, ..moment })
        });
        days(values)
    });
    Typed { expr, ty: SqlType::Date, at }
}

fn days(values: impl Iterator<Item = Option<Moment>>) -> EvalResult<ArrayRef> {
    let days = values.map(|value| i32::try_from(value?.ms.div_euclid(DAY_MS)).ok());
    Ok(Arc::new(days.collect::<arrow::array::Date32Array>()))
}

/// `TIMESTAMPDIFF(unit, from, to)`; INT, whole units.
pub(crate) fn difference(unit: Unit, from: Typed, to: Typed, at: Location) -> Bound<Typed> {
    for side in [&from, &to] {
        if !side.ty.is_timestamp() && side.ty != SqlType::Date {
            return Err(Fault::new(
                side.at,
                format!("TIMESTAMPDIFF of {}: expected TIMESTAMP or DATE", side.ty),
            )
            .or_at(at));
        }
    }
    if unit.ms().is_none() && unit.months().is_none() {
        return Err(Fault::unsupported(at, format!("TIMESTAMPDIFF({unit:?}, ...)")));
    }
    if matches!(from.ty, SqlType::TimestampLtz(_)) != matches!(to.ty, SqlType::TimestampLtz(_)) {
        return Err(Fault::unsupported(at, "TIMESTAMPDIFF between TIMESTAMP and TIMESTAMP_LTZ")
            .hint("CAST one of them"));
    }
    let name = format!("timestampdiff[{unit:?}]");
    let expr = call(name, DataType::Int32, vec![from.expr, to.expr], move |arguments| {
        let pairs = moments(&arguments[0])?.into_iter().zip(moments(&arguments[1])?);
        let values = pairs.map(|(from, to)| {
            let (from, to) = (from?.ms, to?.ms);
            let count = match unit.ms() {
                Some(step) => to.checked_sub(from)? / step,
                None => months_between(from, to)? / unit.months()?,
            };
            #[expect(clippy::cast_possible_truncation, reason = "as Flink narrows it")]
            Some(count as i32)
        });
        Ok(Arc::new(values.collect::<Int32Array>()))
    });
    Ok(Typed { expr, ty: SqlType::Int, at })
}

/// Whole months from one time to another, toward zero.
fn months_between(from: i64, to: i64) -> Option<i64> {
    let (a, b) = (wall_clock(from)?, wall_clock(to)?);
    let months =
        (i64::from(b.year()) - i64::from(a.year())) * 12 + i64::from(b.month()) - i64::from(a.month());
    let rest =
        |clock: chrono::NaiveDateTime| (clock.day(), clock.num_seconds_from_midnight(), clock.nanosecond());
    Some(match months {
        1.. if rest(b) < rest(a) && add_months(from, months)? > to => months - 1,
        ..=-1 if rest(b) > rest(a) && add_months(from, months)? < to => months + 1,
        _ => months,
    })
}

/// Functions by name.
pub(crate) const FUNCTIONS: &[(&str, Binder)] = &[
    ("YEAR", |c| part(c, Unit::Year)),
    ("QUARTER", |c| part(c, Unit::Quarter)),
    ("MONTH", |c| part(c, Unit::Month)),
    ("WEEK", |c| part(c, Unit::Week)),
    ("DAYOFYEAR", |c| part(c, Unit::DayOfYear)),
    ("DAYOFMONTH", |c| part(c, Unit::Day)),
    ("DAYOFWEEK", |c| part(c, Unit::DayOfWeek)),
    ("HOUR", |c| part(c, Unit::Hour)),
    ("MINUTE", |c| part(c, Unit::Minute)),
    ("SECOND", |c| part(c, Unit::Second)),
    ("DATE_FORMAT", date_format),
    ("TO_TIMESTAMP", to_timestamp),
    ("TO_TIMESTAMP_LTZ", to_timestamp_ltz),
    ("TO_DATE", to_date),
    ("FROM_UNIXTIME", from_unixtime),
    ("UNIX_TIMESTAMP", unix_timestamp),
    ("CONVERT_TZ", convert_tz),
];

fn part(mut call: Call<'_>, unit: Unit) -> Bound<Typed> {
    call.arity(1, 1)?;
    let (at, zone) = (call.at, call.zone);
    extract(call.arguments.remove(0), unit, at, zone)
}

fn pattern(call: &Call<'_>, index: usize, default: &str) -> Bound<(Pattern, String)> {
    if index >= call.arguments.len() {
        let pattern = Pattern::new(default).map_err(|message| Fault::new(call.at, message))?;
        return Ok((pattern, default.to_owned()));
    }
    let text = call.literal_text(index)?;
    let at = call.arguments[index].at;
    let pattern = Pattern::new(&text).map_err(|message| Fault::new(at, message).or_at(call.at))?;
    Ok((pattern, text))
}

fn date_format(mut c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 2)?;
    let (pattern, text) = pattern(&c, 1, "")?;
    if c.arguments[0].ty.is_text() {
        let zone = c.zone;
        c.arguments[0] =
            cast::explicit(c.arguments[0].clone(), &SqlType::Timestamp(3), OnFailure::Null, zone)?;
    }
    if !c.arguments[0].ty.is_timestamp() {
        return Err(c.mismatch(0, "TIMESTAMP or STRING"));
    }
    let local = matches!(c.arguments[0].ty, SqlType::TimestampLtz(_));
    let zone = Zone::Region(c.zone);
    let name = format!("date_format['{text}'{}]", if local { format!(" {}", c.zone) } else { String::new() });
    let argument = c.arguments[0].expr.clone();
    let expr = call(name, DataType::Utf8, vec![argument], move |arguments| {
        let texts = moments(&arguments[0])?.into_iter().map(|moment| {
            let moment = if local { moment?.to_local(zone)? } else { moment? };
            pattern.format(moment)
        });
        Ok(Arc::new(texts.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

/// A text read by a pattern; the standard form also without or with a fraction.
fn read(pattern: &Pattern, is_default: bool, text: &str) -> Option<Moment> {
    if is_default { super::java_time::parse_sql_timestamp(text) } else { pattern.parse(text) }
}

fn to_timestamp(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 2)?;
    let (pattern, text) = pattern(&c, 1, DEFAULT_PATTERN)?;
    let is_default = text == DEFAULT_PATTERN && c.arguments.len() == 1;
    let name = format!("to_timestamp['{text}']");
    let expr = call(name, SqlType::Timestamp(3).to_arrow(), vec![c.text(0)?], move |arguments| {
        let values = strings(&arguments[0])?
            .iter()
            .map(|text| read(&pattern, is_default, text?).map(|moment| moment.truncated(3)));
        timestamps(values, &SqlType::Timestamp(3))
    });
    Ok(c.typed(expr, SqlType::Timestamp(3)))
}

fn to_timestamp_ltz(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 3)?;
    if c.arguments[0].ty.is_text() {
        return ltz_from_text(&c);
    }
    c.arity(1, 2)?;
    let precision = if c.arguments.len() == 2 { c.literal_integer(1)? } else { 3 };
    let per_ms: i64 = match precision {
        3 => 1,
        0 => 1000,
        _ => return Err(c.mismatch(1, "0 (seconds) or 3 (milliseconds)")),
    };
    let output = SqlType::TimestampLtz(3);
    let name = format!("to_timestamp_ltz[{precision}]");
    let wanted = output.clone();
    let expr = if c.arguments[0].ty.is_integer() || c.arguments[0].ty == SqlType::Null {
        call(name, output.to_arrow(), vec![c.integer(0)?], move |arguments| {
            let values = primitive::<Int64Type>(&arguments[0])?.iter();
            timestamps(values.map(|v| Some(Moment { ms: v?.checked_mul(per_ms)?, nanos: 0 })), &wanted)
        })
    } else {
        call(name, output.to_arrow(), vec![c.double(0)?], move |arguments| {
            let values = primitive::<arrow::datatypes::Float64Type>(&arguments[0])?.iter();
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "1 or 1000")]
            timestamps(values.map(|v| Some(Moment { ms: (v? * per_ms as f64) as i64, nanos: 0 })), &wanted)
        })
    };
    Ok(c.typed(expr, output))
}

/// `TO_TIMESTAMP_LTZ(text [, pattern [, zone]])`; the zone is UTC by default and may be a column.
fn ltz_from_text(c: &Call<'_>) -> Bound<Typed> {
    let (pattern, text) = pattern(c, 1, "yyyy-MM-dd HH:mm:ss.SSS")?;
    let is_default = c.arguments.len() == 1;
    let mut arguments = vec![c.text(0)?];
    if c.arguments.len() == 3 {
        arguments.push(c.text(2)?);
    }
    let output = SqlType::TimestampLtz(3);
    let name = format!("to_timestamp_ltz['{text}']");
    let expr = call(name, output.to_arrow(), arguments, move |arguments| {
        let texts = strings(&arguments[0])?;
        let zones = arguments.get(1).map(strings).transpose()?;
        let mut known: Option<(String, Zone)> = None;
        let mut values = Vec::with_capacity(texts.len());
        for row in 0..texts.len() {
            let zone = match zones {
                None => Some(Zone::Region(chrono_tz::Tz::UTC)),
                Some(zones) if zones.is_null(row) => None,
                Some(zones) => {
                    let name = zones.value(row);
                    if known.as_ref().is_none_or(|(last, _)| last != name) {
                        known = zone::parse(name).map(|zone| (name.to_owned(), zone));
                    }
                    known.as_ref().map(|(_, zone)| *zone)
                }
            };
            let local = texts.is_valid(row).then(|| read(&pattern, is_default, texts.value(row))).flatten();
            values.push(zone.and_then(|zone| local?.truncated(3).to_instant(zone)));
        }
        timestamps(values.into_iter(), &SqlType::TimestampLtz(3))
    });
    Ok(c.typed(expr, output))
}

fn to_date(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 2)?;
    let (pattern, text) = pattern(&c, 1, "yyyy-MM-dd")?;
    let is_default = c.arguments.len() == 1;
    let expr = call(format!("to_date['{text}']"), DataType::Date32, vec![c.text(0)?], move |arguments| {
        let values = strings(&arguments[0])?.iter().map(|text| {
            if is_default {
                let days = super::java_time::parse_sql_date(text?)?;
                return Some(Moment { ms: i64::from(days) * DAY_MS, nanos: 0 });
            }
            pattern.parse(text?)
        });
        days(values)
    });
    Ok(c.typed(expr, SqlType::Date))
}

fn from_unixtime(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 2)?;
    let (pattern, text) = pattern(&c, 1, DEFAULT_PATTERN)?;
    let zone = Zone::Region(c.zone);
    let name = format!("from_unixtime['{text}' {}]", c.zone);
    let expr = call(name, DataType::Utf8, vec![c.integer(0)?], move |arguments| {
        let texts = primitive::<Int64Type>(&arguments[0])?.iter().map(|seconds| {
            let ms = zone.to_local(seconds?.checked_mul(1000)?)?;
            pattern.format(Moment { ms, nanos: 0 })
        });
        Ok(Arc::new(texts.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

fn unix_timestamp(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 2)?;
    let (pattern, text) = pattern(&c, 1, DEFAULT_PATTERN)?;
    let is_default = c.arguments.len() == 1;
    let zone = Zone::Region(c.zone);
    let name = format!("unix_timestamp['{text}' {}]", c.zone);
    let expr = call(name, DataType::Int64, vec![c.text(0)?], move |arguments| {
        let values = strings(&arguments[0])?.iter().map(|text| {
            let text = text?;
            // Flink parses with SimpleDateFormat here, which ignores what follows and gives MIN for no time.
            let moment = Some(text)
                .filter(|text| !is_default || text.contains(':'))
                .and_then(|text| read(&pattern, is_default, text));
            Some(
                moment
                    .and_then(|moment| zone.to_later_instant(moment.ms))
                    .map_or(i64::MIN, |ms| ms.div_euclid(1000)),
            )
        });
        Ok(Arc::new(values.collect::<Int64Array>()))
    });
    Ok(c.typed(expr, SqlType::BigInt))
}

fn convert_tz(c: Call<'_>) -> Bound<Typed> {
    c.arity(3, 3)?;
    let named = |index: usize| -> Bound<(Zone, String)> {
        let name = c.literal_text(index)?;
        zone::parse(&name)
            .map(|zone| (zone, name))
            .ok_or_else(|| c.mismatch(index, "the name of a time zone"))
    };
    let ((from, from_name), (to, to_name)) = (named(1)?, named(2)?);
    let expr = call(
        format!("convert_tz[{from_name} {to_name}]"),
        DataType::Utf8,
        vec![c.text(0)?],
        move |arguments| {
            let texts = strings(&arguments[0])?.iter().map(|text| {
                let local = super::java_time::parse_sql_timestamp(text?)?;
                let instant = from.to_later_instant(local.ms)?;
                super::java_time::timestamp_text(Moment { ms: to.to_local(instant)?, nanos: 0 }, 0)
            });
            Ok(Arc::new(texts.collect::<StringArray>()))
        },
    );
    Ok(c.typed(expr, SqlType::STRING))
}

/// A literal of a date; used by the parser of typed literals.
pub(crate) fn date_literal(text: &str) -> Option<i32> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
    date_of(i64::from(days_of(date))).map(days_of)
}
