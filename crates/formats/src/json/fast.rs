//! The common forms of values, read in one pass. None means: not that form, ask the general way.

use arrow::datatypes::TimeUnit;

use super::scan::byte;
use crate::column::Cell;
use crate::convert::Kind;
use crate::times::{self, TimestampFormat};

/// The value at `at` and its end.
#[inline(always)]
pub(super) fn value(kind: &Kind, record: &[u8], at: usize, format: TimestampFormat) -> Option<(Cell, usize)> {
    match kind {
        Kind::I64 => integer(record, at).map(|(value, end)| (Cell::Int(value), end)),
        Kind::I32 => {
            let (value, end) = integer(record, at)?;
            i32::try_from(value).is_ok().then_some((Cell::Int(value), end))
        }
        Kind::F64 => double(record, at),
        Kind::Timestamp { unit, zoned } => timestamp(record, at, *unit, *zoned, format),
        _ => None,
    }
}

/// An integer of at most 18 digits.
#[inline(always)]
fn integer(record: &[u8], at: usize) -> Option<(i64, usize)> {
    let negative = byte(record, at) == b'-';
    let first = at + usize::from(negative);
    let mut end = first;
    let mut value = 0i64;
    loop {
        let digit = byte(record, end).wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        end += 1;
    }
    let digits = end - first;
    let plain = !matches!(byte(record, end), b'.' | b'e' | b'E');
    let canonical = digits == 1 || byte(record, first) != b'0';
    ((1..=18).contains(&digits) && plain && canonical)
        .then_some((if negative { value.wrapping_neg() } else { value }, end))
}

const POWERS: [f64; 20] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19,
];

/// A number of at most 15 digits without an exponent: both the digits and the power of ten are exact
/// in 53 bits, so one division rounds correctly (Clinger, "How to read floating point numbers", 1990).
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "15 digits fit in 53 bits")]
fn double(record: &[u8], at: usize) -> Option<(Cell, usize)> {
    let negative = byte(record, at) == b'-';
    let first = at + usize::from(negative);
    let mut end = first;
    let mut mantissa = 0u64;
    let mut point = 0;
    loop {
        let next = byte(record, end);
        let digit = next.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        } else if next == b'.' && point == 0 {
            point = end;
        } else {
            break;
        }
        end += 1;
    }
    let whole_end = if point == 0 { end } else { point };
    let places = if point == 0 { 0 } else { end - point - 1 };
    let digits = whole_end.checked_sub(first)? + places;
    let canonical = whole_end - first == 1 || byte(record, first) != b'0';
    let formed =
        whole_end > first && (point == 0 || places > 0) && !matches!(byte(record, end), b'e' | b'E' | b'.');
    if !formed || !canonical || digits > 15 {
        return None;
    }
    let magnitude = mantissa as f64 / POWERS[places];
    Some((Cell::Float(if negative { -magnitude } else { magnitude }), end))
}

/// Shorter and longer texts are left to the general way.
const LENGTH_MIN: usize = 16;
const LENGTH_MAX: usize = 40;

/// A quoted timestamp without escapes.
#[inline(always)]
fn timestamp(
    record: &[u8],
    at: usize,
    unit: TimeUnit,
    zoned: bool,
    format: TimestampFormat,
) -> Option<(Cell, usize)> {
    if byte(record, at) != b'"' {
        return None;
    }
    let rest = &record[at + 1..];
    // Most have a fraction of three digits, or none.
    let length = match (rest.get(19), rest.get(23)) {
        (Some(b'"'), _) => 19,
        (_, Some(b'"')) => 23,
        _ => {
            LENGTH_MIN
                + rest
                    .get(LENGTH_MIN..)?
                    .iter()
                    .take(LENGTH_MAX - LENGTH_MIN)
                    .position(|byte| *byte == b'"')?
        }
    };
    let moment = times::parse_timestamp(&rest[..length], format, zoned)?;
    Some((Cell::Int(moment.in_unit(unit)?), at + length + 2))
}
