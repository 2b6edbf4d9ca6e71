//! One made-up column.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, TimeUnit};
use highwater_stream::ConnectorError;

use crate::options::TableOptions;

/// Length of random text, as in Flink.
const LENGTH: usize = 100;
const LENGTH_MAX: usize = 1 << 20;

/// Says what value a column has in row `n`.
pub(super) struct Column {
    data_type: DataType,
    kind: Kind,
    /// Mixed into every random number of this column.
    seed: u64,
    null_rate: f64,
}

enum Kind {
    Sequence {
        start: i64,
        rows: u64,
    },
    Whole {
        min: i64,
        max: i64,
    },
    Fraction {
        min: f64,
        max: f64,
    },
    Bool,
    Text {
        length: usize,
    },
    Bytes {
        length: usize,
    },
    /// Now, less up to so many ms.
    Time {
        past_ms: u64,
    },
}

impl Column {
    pub(super) fn new(field: &Field, seed: u64, options: TableOptions<'_>) -> Result<Self, ConnectorError> {
        let name = field.name();
        let key = |suffix: &str| format!("fields.{name}.{suffix}");
        let kind = match options.get(&key("kind")) {
            Some("sequence") => sequence(field, options)?,
            None | Some("random") => random(field, options)?,
            Some(other) => {
                return Err(options
                    .error(format!("option '{}' is '{other}', expected random or sequence", key("kind"))));
            }
        };
        let null_rate = options.number(&key("null-rate"), 0.0)?;
        let named = name.bytes().fold(seed, |hash, byte| mix(hash ^ u64::from(byte)));
        Ok(Self { data_type: field.data_type().clone(), kind, seed: named, null_rate })
    }

    /// How many rows a sequence has.
    pub(super) fn rows(&self) -> Option<u64> {
        match self.kind {
            Kind::Sequence { rows, .. } => Some(rows),
            _ => None,
        }
    }

    /// The values of rows `rows`, made at `now_ms`.
    pub(super) fn values(&self, rows: Range<u64>, now_ms: i64) -> ArrayRef {
        let present = |row: u64| self.null_rate <= 0.0 || unit(self.random(row, 1)) >= self.null_rate;
        let some = |row: u64| present(row).then_some(row);
        let array: ArrayRef = match &self.kind {
            Kind::Sequence { start, .. } => Arc::new(
                rows.map(|row| some(row).map(|row| start.wrapping_add(row.cast_signed())))
                    .collect::<Int64Array>(),
            ),
            Kind::Whole { min, max } => {
                let span = (max.wrapping_sub(*min)).cast_unsigned();
                let value = |row| min.wrapping_add(below(self.random(row, 0), span).cast_signed());
                let values: Int64Array = rows.map(|row| some(row).map(value)).collect();
                match self.data_type {
                    // The limits of a decimal count its smallest unit.
                    DataType::Decimal128(precision, scale) => {
                        let values: Decimal128Array =
                            values.iter().map(|value| value.map(i128::from)).collect();
                        Arc::new(
                            values
                                .with_precision_and_scale(precision, scale)
                                .unwrap_or_else(|_| Decimal128Array::new_null(0)),
                        )
                    }
                    _ => Arc::new(values),
                }
            }
            Kind::Fraction { min, max } => {
                let value = |row| min + (max - min) * unit(self.random(row, 0));
                Arc::new(rows.map(|row| some(row).map(value)).collect::<Float64Array>())
            }
            Kind::Bool => Arc::new(
                rows.map(|row| some(row).map(|row| self.random(row, 0) & 1 == 1)).collect::<BooleanArray>(),
            ),
            Kind::Text { length } => {
                Arc::new(rows.map(|row| some(row).map(|row| self.hex(row, *length))).collect::<StringArray>())
            }
            Kind::Bytes { length } => Arc::new(
                rows.map(|row| some(row).map(|row| self.hex(row, *length).into_bytes()))
                    .collect::<BinaryArray>(),
            ),
            Kind::Time { past_ms } => {
                let value = |row| now_ms.wrapping_sub(below(self.random(row, 0), *past_ms).cast_signed());
                let values: Int64Array = rows.map(|row| some(row).map(value)).collect();
                let in_ms = DataType::Timestamp(TimeUnit::Millisecond, None);
                let values: ArrayRef = Arc::new(values);
                cast(&values, &in_ms).unwrap_or(values)
            }
        };
        self.typed(array)
    }

    /// The limits were checked against the type, so that no value is lost here.
    fn typed(&self, array: ArrayRef) -> ArrayRef {
        if array.data_type() == &self.data_type {
            return array;
        }
        match (&self.data_type, array.data_type()) {
            (DataType::Timestamp(unit, zone), DataType::Timestamp(..)) => {
                let plain = cast(&array, &DataType::Timestamp(*unit, None)).unwrap_or(array);
                let zoned = cast(&plain, &DataType::Int64);
                let zoned = zoned.and_then(|raw| cast(&raw, &DataType::Timestamp(*unit, zone.clone())));
                zoned.unwrap_or(plain)
            }
            _ => cast(&array, &self.data_type).unwrap_or(array),
        }
    }

    fn random(&self, row: u64, stream: u64) -> u64 {
        mix(self.seed ^ mix(row.wrapping_mul(2).wrapping_add(stream)))
    }

    /// Random hexadecimal digits, as Flink makes text.
    fn hex(&self, row: u64, length: usize) -> String {
        let mut text = String::with_capacity(length + 16);
        let mut state = self.random(row, 0);
        while text.len() < length {
            text.push_str(&format!("{state:016x}"));
            state = mix(state);
        }
        text.truncate(length);
        text
    }
}

fn sequence(field: &Field, options: TableOptions<'_>) -> Result<Kind, ConnectorError> {
    let name = field.name();
    if !field.data_type().is_numeric() && *field.data_type() != DataType::Utf8 {
        return Err(options.error(format!(
            "column {name}: a sequence needs a number or STRING, found {}",
            field.data_type()
        )));
    }
    let bound = |suffix: &str| {
        let key = format!("fields.{name}.{suffix}");
        options.required(&key)?;
        Ok(options.parsed::<i64>(&key, "a whole number")?.unwrap_or_default())
    };
    let (start, end) = (bound("start")?, bound("end")?);
    let (min, max) = limits(field.data_type()).unwrap_or((i64::MIN, i64::MAX));
    if end < start || start < min || end > max {
        return Err(options.error(format!(
            "column {name}: a sequence from {start} to {end}, expected it to rise within {min}..={max}"
        )));
    }
    Ok(Kind::Sequence { start, rows: end.abs_diff(start).saturating_add(1) })
}

fn random(field: &Field, options: TableOptions<'_>) -> Result<Kind, ConnectorError> {
    let name = field.name();
    let key = |suffix: &str| format!("fields.{name}.{suffix}");
    let length = || {
        let length = options.number(&key("length"), LENGTH)?;
        match length <= LENGTH_MAX {
            true => Ok(length),
            false => Err(options
                .error(format!("option '{}' is {length}, expected at most {LENGTH_MAX}", key("length")))),
        }
    };
    Ok(match field.data_type() {
        DataType::Boolean => Kind::Bool,
        DataType::Utf8 => Kind::Text { length: length()? },
        DataType::Binary => Kind::Bytes { length: length()? },
        DataType::Float32 | DataType::Float64 => {
            let (min, max) = (options.number(&key("min"), 0.0)?, options.number(&key("max"), 1.0)?);
            if !(f64::is_finite(min) && f64::is_finite(max) && min <= max) {
                return Err(
                    options.error(format!("column {name}: from {min} to {max}, expected a finite range"))
                );
            }
            Kind::Fraction { min, max }
        }
        DataType::Decimal128(precision, scale) => {
            let unit = 10f64.powi(i32::from(*scale));
            let most = 10f64.powi(i32::from(*precision).min(18)) - 1.0;
            let bound = |suffix: &str, default: f64| {
                Ok((options.number(&key(suffix), default)? * unit).clamp(-most, most))
            };
            #[expect(clippy::cast_possible_truncation, reason = "at most 18 digits")]
            let (min, max) = (bound("min", 0.0)? as i64, bound("max", most / unit)? as i64);
            ordered(min, max, name, options)?
        }
        DataType::Timestamp(..) | DataType::Date32 => {
            Kind::Time { past_ms: past(&key("max-past"), options)? }
        }
        other => match limits(other) {
            Some((least, most)) => {
                let (min, max) = (options.number(&key("min"), least)?, options.number(&key("max"), most)?);
                if min < least || max > most {
                    return Err(options.error(format!(
                        "column {name}: from {min} to {max}, expected within {least}..={most}"
                    )));
                }
                ordered(min, max, name, options)?
            }
            None => return Err(options.error(format!("column {name}: datagen cannot make {other}"))),
        },
    })
}

fn ordered(min: i64, max: i64, name: &str, options: TableOptions<'_>) -> Result<Kind, ConnectorError> {
    match min <= max {
        true => Ok(Kind::Whole { min, max }),
        false => Err(options.error(format!("column {name}: from {min} to {max}, expected min up to max"))),
    }
}

fn limits(data_type: &DataType) -> Option<(i64, i64)> {
    match data_type {
        DataType::Int8 => Some((i8::MIN.into(), i8::MAX.into())),
        DataType::Int16 => Some((i16::MIN.into(), i16::MAX.into())),
        DataType::Int32 => Some((i32::MIN.into(), i32::MAX.into())),
        DataType::Int64 => Some((i64::MIN, i64::MAX)),
        _ => None,
    }
}

/// A duration such as `10 s` or `500`, ms.
fn past(key: &str, options: TableOptions<'_>) -> Result<u64, ConnectorError> {
    let Some(text) = options.get(key) else { return Ok(0) };
    let wrong = || options.error(format!("option '{key}' is '{text}', expected a duration such as '10 s'"));
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = match text[digits..].trim() {
        "" | "ms" | "milli" | "millis" => 1,
        "s" | "sec" | "second" | "seconds" => 1_000,
        "min" | "m" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).filter(|ms| i64::try_from(*ms).is_ok()).ok_or_else(wrong)
}

/// A number in `0..=span`.
fn below(random: u64, span: u64) -> u64 {
    match span.checked_add(1) {
        None => random,
        Some(count) => u64::try_from((u128::from(random) * u128::from(count)) >> 64).unwrap_or(span),
    }
}

/// A number in `[0, 1)`.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// SplitMix64's finaliser.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
