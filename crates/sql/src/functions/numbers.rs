//! Functions of numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion_common::{Result as EvalResult, ScalarValue};
use datafusion_expr::{Expr, Operator};

use super::{Binder, Call, Typed, arithmetic, call, decimal, literal, primitive};
use crate::error::{Bound, Fault};
use crate::types::SqlType;

/// Functions by name.
pub(crate) const FUNCTIONS: &[(&str, Binder)] = &[
    ("ABS", abs),
    ("MOD", modulo),
    ("SIGN", sign),
    ("FLOOR", |c| floor_ceil(c, false)),
    ("CEIL", |c| floor_ceil(c, true)),
    ("CEILING", |c| floor_ceil(c, true)),
    ("ROUND", |c| round(c, true)),
    ("TRUNCATE", |c| round(c, false)),
    ("POWER", |c| doubles2(c, "power", f64::powf)),
    ("ATAN2", |c| doubles2(c, "atan2", f64::atan2)),
    ("SQRT", |c| doubles(c, "sqrt", f64::sqrt)),
    ("EXP", |c| doubles(c, "exp", f64::exp)),
    ("LN", |c| doubles(c, "ln", f64::ln)),
    ("LOG10", |c| doubles(c, "log10", f64::log10)),
    ("LOG2", |c| doubles(c, "log2", f64::log2)),
    ("LOG", log),
    ("SIN", |c| doubles(c, "sin", f64::sin)),
    ("COS", |c| doubles(c, "cos", f64::cos)),
    ("TAN", |c| doubles(c, "tan", f64::tan)),
    ("COT", |c| doubles(c, "cot", |x| 1.0 / x.tan())),
    ("ASIN", |c| doubles(c, "asin", f64::asin)),
    ("ACOS", |c| doubles(c, "acos", f64::acos)),
    ("ATAN", |c| doubles(c, "atan", f64::atan)),
    ("SINH", |c| doubles(c, "sinh", f64::sinh)),
    ("COSH", |c| doubles(c, "cosh", f64::cosh)),
    ("TANH", |c| doubles(c, "tanh", f64::tanh)),
    ("DEGREES", |c| doubles(c, "degrees", f64::to_degrees)),
    ("RADIANS", |c| doubles(c, "radians", f64::to_radians)),
    ("PI", |c| constant(&c, std::f64::consts::PI)),
    ("E", |c| constant(&c, std::f64::consts::E)),
];

fn constant(c: &Call<'_>, value: f64) -> Bound<Typed> {
    c.arity(0, 0)?;
    Ok(c.typed(literal(ScalarValue::Float64(Some(value))), SqlType::Double))
}

fn doubles(c: Call<'_>, name: &'static str, f: fn(f64) -> f64) -> Bound<Typed> {
    c.arity(1, 1)?;
    let expr = call(name, DataType::Float64, vec![c.double(0)?], move |arguments| {
        let values = primitive::<Float64Type>(&arguments[0])?;
        Ok(Arc::new(values.iter().map(|x| x.map(f)).collect::<Float64Array>()))
    });
    Ok(c.typed(expr, SqlType::Double))
}

fn doubles2(c: Call<'_>, name: &'static str, f: fn(f64, f64) -> f64) -> Bound<Typed> {
    c.arity(2, 2)?;
    let expr = call(name, DataType::Float64, vec![c.double(0)?, c.double(1)?], move |arguments| {
        let (a, b) = (primitive::<Float64Type>(&arguments[0])?, primitive::<Float64Type>(&arguments[1])?);
        let values = a.iter().zip(b.iter()).map(|(a, b)| Some(f(a?, b?)));
        Ok(Arc::new(values.collect::<Float64Array>()))
    });
    Ok(c.typed(expr, SqlType::Double))
}

/// `LOG(x)` is natural, `LOG(base, x)` not.
fn log(c: Call<'_>) -> Bound<Typed> {
    if c.arguments.len() == 1 {
        return doubles(c, "ln", f64::ln);
    }
    doubles2(c, "log", |base, x| x.ln() / base.ln())
}

fn modulo(mut c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 2)?;
    let second = c.arguments.remove(1);
    arithmetic::arithmetic(c.arguments.remove(0), Operator::Modulo, second, c.at, c.zone)
}

/// The argument, if it is a number.
fn number(c: &Call<'_>) -> Bound<Typed> {
    if c.arguments[0].ty.is_numeric() { Ok(c.arguments[0].clone()) } else { Err(c.mismatch(0, "a number")) }
}

/// A function of the number that keeps its type.
fn same_type(
    c: &Call<'_>,
    name: &str,
    integer: fn(i64) -> i64,
    exact: impl Fn(i128, u8) -> i128 + Send + Sync + 'static,
    double: fn(f64) -> f64,
) -> Bound<Typed> {
    let argument = number(c)?;
    let ty = argument.ty.clone();
    let inner = ty.clone();
    let name = format!("{name}[{ty}]");
    let expr = call(name, ty.to_arrow(), vec![argument.expr], move |arguments| match &inner {
        SqlType::Decimal(precision, scale) => {
            let values = primitive::<Decimal128Type>(&arguments[0])?;
            let values =
                values.iter().map(|v| v.map(|v| exact(v, *scale)).filter(|v| decimal::fits(*v, *precision)));
            decimal::decimals(values.collect(), *precision, *scale)
        }
        SqlType::Float | SqlType::Double => {
            let wide = arrow::compute::cast(&arguments[0], &DataType::Float64)?;
            let values = primitive::<Float64Type>(&wide)?;
            let values: ArrayRef = Arc::new(values.iter().map(|v| v.map(double)).collect::<Float64Array>());
            Ok(arrow::compute::cast(&values, &inner.to_arrow())?)
        }
        _ => map_integers(&arguments[0], &inner, integer),
    });
    Ok(c.typed(expr, ty))
}

/// Integers of any width through 64 bits; the result is cut as Java cuts.
#[expect(clippy::cast_possible_truncation, reason = "Java narrows by cutting bits")]
fn map_integers(array: &ArrayRef, ty: &SqlType, f: impl Fn(i64) -> i64) -> EvalResult<ArrayRef> {
    let wide = arrow::compute::cast(array, &DataType::Int64)?;
    let values = primitive::<Int64Type>(&wide)?.iter().map(|v| v.map(&f));
    Ok(match ty {
        SqlType::TinyInt => Arc::new(values.map(|v| v.map(|v| v as i8)).collect::<Int8Array>()),
        SqlType::SmallInt => Arc::new(values.map(|v| v.map(|v| v as i16)).collect::<Int16Array>()),
        SqlType::Int => Arc::new(values.map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        _ => Arc::new(values.collect::<Int64Array>()),
    })
}

fn abs(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    same_type(&c, "abs", i64::wrapping_abs, |v, _| v.wrapping_abs(), f64::abs)
}

fn sign(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    let java = |x: f64| if x == 0.0 || x.is_nan() { x } else { x.signum() };
    same_type(&c, "sign", i64::signum, |v, scale| v.signum() * 10_i128.pow(u32::from(scale)), java)
}

fn floor_ceil(c: Call<'_>, up: bool) -> Bound<Typed> {
    c.arity(1, 1)?;
    let argument = number(&c)?;
    let SqlType::Decimal(precision, scale) = argument.ty else {
        let f: fn(f64) -> f64 = if up { f64::ceil } else { f64::floor };
        return same_type(&c, if up { "ceil" } else { "floor" }, |n| n, |v, _| v, f);
    };
    let output = SqlType::Decimal((precision - scale + u8::from(scale > 0)).clamp(1, 38), 0);
    let SqlType::Decimal(digits, _) = output else { unreachable!("just made") };
    let name = if up { "decimal_ceil" } else { "decimal_floor" };
    let expr = call(name, output.to_arrow(), vec![argument.expr], move |arguments| {
        let unit = 10_i128.pow(u32::from(scale));
        let values = primitive::<Decimal128Type>(&arguments[0])?
            .iter()
            .map(|v| v.map(|v| if up { -(-v).div_euclid(unit) } else { v.div_euclid(unit) }));
        decimal::decimals(values.collect(), digits, 0)
    });
    Ok(c.typed(expr, output))
}

/// `ROUND` or `TRUNCATE` to a literal number of digits behind the point.
fn round(c: Call<'_>, half_up: bool) -> Bound<Typed> {
    c.arity(1, 2)?;
    let digits = if c.arguments.len() == 2 { c.literal_integer(1)?.clamp(-38, 38) } else { 0 };
    let argument = number(&c)?;
    let verb = if half_up { "round" } else { "truncate" };
    let digits = i32::try_from(digits).unwrap_or(0);
    let name = format!("{verb}[{digits}]");
    match argument.ty.clone() {
        SqlType::Decimal(precision, scale) => {
            Ok(round_decimal(&c, argument.expr, (precision, scale), digits, half_up))
        }
        ty if ty.is_float() => {
            let output = ty.clone();
            let expr = call(name, ty.to_arrow(), vec![argument.expr], move |arguments| {
                let wide = arrow::compute::cast(&arguments[0], &DataType::Float64)?;
                let values = primitive::<Float64Type>(&wide)?.iter();
                let rounded: Float64Array =
                    values.map(|v| v.map(|v| round_double(v, digits, half_up))).collect();
                let rounded: ArrayRef = Arc::new(rounded);
                Ok(arrow::compute::cast(&rounded, &output.to_arrow())?)
            });
            Ok(c.typed(expr, ty))
        }
        ty => {
            let output = ty.clone();
            let expr = call(name, ty.to_arrow(), vec![argument.expr], move |arguments| {
                map_integers(&arguments[0], &output, |n| round_integer(n, digits, half_up))
            });
            Ok(c.typed(expr, ty))
        }
    }
}

fn round_integer(n: i64, digits: i32, half_up: bool) -> i64 {
    if digits >= 0 {
        return n;
    }
    let Some(unit) = 10_i128.checked_pow(digits.unsigned_abs()) else { return 0 };
    let (n, half) = (i128::from(n), unit / 2);
    let moved = if half_up { n + n.signum() * half } else { n };
    #[expect(clippy::cast_possible_truncation, reason = "Java's longValue cuts")]
    let cut = (moved / unit * unit) as i64;
    cut
}

/// Through the decimal text of the double, as Java's `BigDecimal.valueOf` does.
fn round_double(x: f64, digits: i32, half_up: bool) -> f64 {
    if !x.is_finite() {
        return x;
    }
    let text = format!("{x}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    if digits >= 0 && fraction.len() <= usize::try_from(digits).unwrap_or(0) {
        return x;
    }
    let negative = whole.starts_with('-');
    let all: String = [whole.trim_start_matches('-'), fraction].concat();
    let point = i32::try_from(whole.trim_start_matches('-').len()).unwrap_or(i32::MAX);
    let keep = point + digits;
    if keep < 0 {
        return 0.0;
    }
    let keep = usize::try_from(keep).unwrap_or(0);
    let mut kept: Vec<u8> = std::iter::once(b'0').chain(all.bytes().take(keep)).collect();
    if half_up && all.as_bytes().get(keep).is_some_and(|digit| *digit >= b'5') {
        for digit in kept.iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
    }
    let sign = if negative { "-" } else { "" };
    let kept: String = kept.into_iter().map(char::from).collect();
    format!("{sign}{kept}e{}", -digits).parse().unwrap_or(x)
}

fn round_decimal(
    c: &Call<'_>,
    expr: Expr,
    (precision, scale): (u8, u8),
    digits: i32,
    half_up: bool,
) -> Typed {
    if digits >= i32::from(scale) {
        return c.typed(expr, SqlType::Decimal(precision, scale));
    }
    let whole = i32::from(precision - scale) + 1;
    let kept = u8::try_from(digits.max(0)).unwrap_or(0);
    let total = u8::try_from((whole + digits).clamp(1, 38)).unwrap_or(38);
    let output = if digits < 0 {
        SqlType::Decimal(u8::try_from(whole.min(38)).unwrap_or(38), 0)
    } else {
        SqlType::Decimal(total, kept)
    };
    let SqlType::Decimal(out_precision, _) = output else { unreachable!("just made") };
    let verb = if half_up { "decimal_round" } else { "decimal_truncate" };
    let rounded = call(format!("{verb}[{digits}]"), output.to_arrow(), vec![expr], move |arguments| {
        let drop = u32::try_from(i32::from(scale) - digits).unwrap_or(0);
        let values = primitive::<Decimal128Type>(&arguments[0])?.iter().map(|v| {
            let v = v?;
            let Some(unit) = 10_i128.checked_pow(drop) else { return Some(0) };
            let moved = if half_up { v.checked_add(v.signum() * (unit / 2))? } else { v };
            let quotient = moved / unit;
            let value = quotient.checked_mul(10_i128.pow((-digits).max(0).unsigned_abs()))?;
            decimal::fits(value, out_precision).then_some(value)
        });
        decimal::decimals(values.collect(), out_precision, kept)
    });
    c.typed(rounded, output)
}

/// A whole number literal of INT or BIGINT, or a decimal if larger.
pub(crate) fn number_literal(text: &str) -> Result<(ScalarValue, SqlType), Fault> {
    let nowhere = sqlparser::tokenizer::Location { line: 0, column: 0 };
    if text.contains(['e', 'E']) {
        let value: f64 = text.parse().map_err(|_| Fault::new(nowhere, format!("{text} is no number")))?;
        return Ok((ScalarValue::Float64(Some(value)), SqlType::Double));
    }
    if let Ok(value) = text.parse::<i32>() {
        return Ok((ScalarValue::Int32(Some(value)), SqlType::Int));
    }
    if let Ok(value) = text.parse::<i64>() {
        return Ok((ScalarValue::Int64(Some(value)), SqlType::BigInt));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole_digits = whole.trim_start_matches('0').len().max(1);
    let scale = u8::try_from(fraction.len()).unwrap_or(u8::MAX);
    let precision = u8::try_from(whole_digits + fraction.len()).unwrap_or(u8::MAX);
    let value = (precision <= 38).then(|| decimal::from_text(text, precision, scale)).flatten();
    let Some(value) = value else {
        return Err(Fault::new(nowhere, format!("{text}: expected a number of up to 38 digits")));
    };
    let value = ScalarValue::Decimal128(Some(value), precision, i8::try_from(scale).unwrap_or(i8::MAX));
    Ok((value, SqlType::Decimal(precision, scale)))
}
