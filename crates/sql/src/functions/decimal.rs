//! Decimal arithmetic with Flink's result types: overflow is NULL, division by zero fails the job.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array};
use arrow::datatypes::{Decimal128Type, i256};
use datafusion_common::Result as EvalResult;
use datafusion_expr::Expr;

use super::{call, failed, fallible_call, primitive};
use crate::types::{PRECISION_MAX, SqlType};

/// Digits after the point that a result keeps when it must lose some.
const SCALE_KEPT: i32 = 6;

/// What to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "decimal_add",
            Self::Subtract => "decimal_subtract",
            Self::Multiply => "decimal_multiply",
            Self::Divide => "decimal_divide",
            Self::Modulo => "decimal_mod",
        }
    }

    /// The result's precision and scale.
    pub(crate) fn output(self, left: (u8, u8), right: (u8, u8)) -> SqlType {
        let (p1, s1, p2, s2) = (i32::from(left.0), i32::from(left.1), i32::from(right.0), i32::from(right.1));
        let scale = s1.max(s2);
        let (precision, scale) = match self {
            Self::Add | Self::Subtract => ((p1 - s1).max(p2 - s2) + scale + 1, scale),
            Self::Multiply => (p1 + p2 + 1, s1 + s2),
            Self::Divide => {
                let scale = SCALE_KEPT.max(s1 + p2 + 1);
                (p1 - s1 + s2 + scale, scale)
            }
            Self::Modulo => ((p1 - s1).min(p2 - s2) + scale, scale),
        };
        adjusted(precision, scale)
    }
}

/// Cuts the scale so that the digits before the point fit, but keeps [`SCALE_KEPT`] of it.
fn adjusted(precision: i32, scale: i32) -> SqlType {
    let max = i32::from(PRECISION_MAX);
    let small = |value: i32| u8::try_from(value).unwrap_or(PRECISION_MAX);
    if precision <= max {
        return SqlType::Decimal(small(precision.max(1)), small(scale));
    }
    let scale = (max - (precision - scale)).max(scale.min(SCALE_KEPT));
    SqlType::Decimal(PRECISION_MAX, small(scale))
}

/// `left operation right`; both are decimals of the given precisions and scales.
pub(crate) fn arithmetic(
    operation: Operation,
    (left, left_type): (Expr, (u8, u8)),
    (right, right_type): (Expr, (u8, u8)),
) -> (Expr, SqlType) {
    let output = operation.output(left_type, right_type);
    let SqlType::Decimal(precision, scale) = output else { unreachable!("decimal operations give decimals") };
    let (s1, s2) = (left_type.1, right_type.1);
    let eval = move |arguments: &[ArrayRef]| -> EvalResult<ArrayRef> {
        let (a, b) =
            (primitive::<Decimal128Type>(&arguments[0])?, primitive::<Decimal128Type>(&arguments[1])?);
        let mut values: Vec<Option<i128>> = Vec::with_capacity(a.len());
        for row in 0..a.len() {
            if a.is_null(row) || b.is_null(row) {
                values.push(None);
                continue;
            }
            let result = compute(operation, (a.value(row), s1), (b.value(row), s2), scale)?;
            values.push(result.filter(|value| fits(*value, precision)));
        }
        decimals(values, precision, scale)
    };
    let name = format!("{}({precision},{scale})", operation.name());
    let arguments = vec![left, right];
    let expr = match operation {
        Operation::Divide | Operation::Modulo => fallible_call(name, output.to_arrow(), arguments, eval),
        _ => call(name, output.to_arrow(), arguments, eval),
    };
    (expr, output)
}

/// An array of decimals.
pub(crate) fn decimals(values: Vec<Option<i128>>, precision: u8, scale: u8) -> EvalResult<ArrayRef> {
    let array: Decimal128Array = values.into_iter().collect();
    Ok(Arc::new(array.with_precision_and_scale(precision, i8::try_from(scale).unwrap_or(i8::MAX))?))
}

fn compute(operation: Operation, a: (i128, u8), b: (i128, u8), scale: u8) -> EvalResult<Option<i128>> {
    let (wide_a, wide_b) = (i256::from_i128(a.0), i256::from_i128(b.0));
    let common = a.1.max(b.1);
    let aligned = |value: i256, from: u8| value.checked_mul(ten_to(common - from)?);
    let raw = match operation {
        Operation::Add | Operation::Subtract => {
            let (Some(x), Some(y)) = (aligned(wide_a, a.1), aligned(wide_b, b.1)) else { return Ok(None) };
            let sum = if operation == Operation::Add { x.checked_add(y) } else { x.checked_sub(y) };
            sum.map(|value| (value, common))
        }
        Operation::Multiply => wide_a.checked_mul(wide_b).map(|value| (value, a.1 + b.1)),
        Operation::Divide => {
            if b.0 == 0 {
                return Err(failed("division by zero"));
            }
            return Ok(divide(a, b, scale));
        }
        Operation::Modulo => {
            if b.0 == 0 {
                return Err(failed("division by zero"));
            }
            let (Some(x), Some(y)) = (aligned(wide_a, a.1), aligned(wide_b, b.1)) else { return Ok(None) };
            x.checked_rem(y).map(|value| (value, common))
        }
    };
    Ok(raw.and_then(|(value, from)| rescale_wide(value, from, scale)).and_then(i256::to_i128))
}

/// Rounded half up, away from zero.
fn divide(a: (i128, u8), b: (i128, u8), scale: u8) -> Option<i128> {
    // a/10^s1 / (b/10^s2) = a * 10^(scale + s2 - s1) / b / 10^scale
    let shift = i32::from(scale) + i32::from(b.1) - i32::from(a.1);
    let (mut numerator, mut denominator) = (i256::from_i128(a.0), i256::from_i128(b.0));
    let power = ten_to(u8::try_from(shift.abs()).ok()?)?;
    if shift >= 0 {
        numerator = numerator.checked_mul(power)?;
    } else {
        denominator = denominator.checked_mul(power)?;
    }
    divide_half_up(numerator, denominator)?.to_i128()
}

fn divide_half_up(numerator: i256, denominator: i256) -> Option<i256> {
    let quotient = numerator.checked_div(denominator)?;
    let rest = numerator.checked_rem(denominator)?;
    let twice = rest.checked_abs()?.checked_mul(i256::from_i128(2))?;
    if twice < denominator.checked_abs()? {
        return Some(quotient);
    }
    let away =
        if (numerator < i256::ZERO) == (denominator < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
    quotient.checked_add(away)
}

fn rescale_wide(value: i256, from: u8, to: u8) -> Option<i256> {
    if to >= from {
        return value.checked_mul(ten_to(to - from)?);
    }
    divide_half_up(value, ten_to(from - to)?)
}

/// `value` at another scale, rounded half up.
pub(crate) fn rescale(value: i128, from: u8, to: u8) -> Option<i128> {
    rescale_wide(i256::from_i128(value), from, to)?.to_i128()
}

fn ten_to(power: u8) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::from(power))
}

/// Whether `value` has at most `precision` digits.
pub(crate) fn fits(value: i128, precision: u8) -> bool {
    value.unsigned_abs() < 10_u128.pow(u32::from(precision.min(PRECISION_MAX)))
}

/// Plain text, with all digits of the scale.
pub(crate) fn to_text(value: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let sign = if value < 0 { "-" } else { "" };
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A number as Java's `BigDecimal` reads it, rounded half up to the scale. None: not a number, or too large.
pub(crate) fn from_text(text: &str, precision: u8, scale: u8) -> Option<i128> {
    const EXPONENT_MAX: i32 = 10_000;
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, unsigned) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits: String = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || exponent.abs() > EXPONENT_MAX {
        return None;
    }
    let from = i32::try_from(fraction.len()).ok()? - exponent;
    let value = scaled(digits.trim_start_matches('0'), from, i32::from(scale))?;
    let value = if negative { -value } else { value };
    fits(value, precision).then_some(value)
}

/// Digits with `from` of them behind the point, as an integer of scale `to`.
fn scaled(digits: &str, from: i32, to: i32) -> Option<i128> {
    let keep = i32::try_from(digits.len()).ok()? + to - from;
    if digits.is_empty() || keep < 0 {
        return Some(0);
    }
    let keep = usize::try_from(keep).ok()?;
    if keep > usize::from(PRECISION_MAX) + 1 {
        return None;
    }
    if keep >= digits.len() {
        return format!("{digits}{}", "0".repeat(keep - digits.len())).parse().ok();
    }
    let cut: i128 = if keep == 0 { 0 } else { digits[..keep].parse().ok()? };
    Some(if digits.as_bytes()[keep] >= b'5' { cut + 1 } else { cut })
}

/// The nearest double.
pub(crate) fn to_double(value: i128, scale: u8) -> f64 {
    const EXACT: i128 = 1 << 53;
    if value.abs() < EXACT && scale <= 22 {
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        return value as f64 / 10_f64.powi(i32::from(scale));
    }
    to_text(value, scale).parse().unwrap_or(f64::NAN)
}
