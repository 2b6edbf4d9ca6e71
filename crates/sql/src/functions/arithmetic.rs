//! `+ - * / %` with Flink's result types.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array};
use arrow::datatypes::{Float32Type, Float64Type};
use datafusion_common::{Result as EvalResult, ScalarValue};
use datafusion_expr::Operator;
use sqlparser::tokenizer::Location;

use super::compare::binary;
use super::decimal::{self, Operation};
use super::{Typed, call, cast, literal, null_of, primitive, times};
use crate::error::{Bound, Fault};
use crate::types::SqlType;

/// `left operator right`; operator is one of `+ - * / %`.
pub(crate) fn arithmetic(
    left: Typed,
    operator: Operator,
    right: Typed,
    at: Location,
    zone: chrono_tz::Tz,
) -> Bound<Typed> {
    if right.ty.is_interval() || left.ty.is_interval() {
        return with_interval(left, operator, right, at);
    }
    let wrong = || Fault::new(at, format!("cannot apply '{operator}' to {} and {}", left.ty, right.ty));
    let number = |ty: &SqlType| ty.is_numeric() || *ty == SqlType::Null;
    if left.ty.is_timestamp() && right.ty.is_timestamp() {
        return Err(wrong().hint("use TIMESTAMPDIFF(unit, from, to)"));
    }
    if !number(&left.ty) || !number(&right.ty) {
        return Err(wrong().hint("CAST the operands to numbers"));
    }
    let Some(common) = left.ty.common(&right.ty) else { return Err(wrong()) };
    if let SqlType::Decimal(..) = common {
        return decimals(left, operator, right, at, zone);
    }
    if common == SqlType::Null {
        return Err(wrong());
    }
    // MOD has the type of its second operand.
    let ty =
        if operator == Operator::Modulo && right.ty.is_integer() { right.ty.clone() } else { common.clone() };
    let (left, right) = (cast::implicit(left, &common, zone)?, cast::implicit(right, &common, zone)?);
    if operator == Operator::Modulo && common.is_float() {
        return Ok(float_modulo(left, right, common, at));
    }
    let result = Typed { expr: binary(left.expr, operator, right.expr), ty: common.clone(), at };
    if ty == common { Ok(result) } else { cast::implicit(result, &ty, zone) }
}

fn float_modulo(left: Typed, right: Typed, ty: SqlType, at: Location) -> Typed {
    let double = ty == SqlType::Double;
    let eval = move |arguments: &[ArrayRef]| -> EvalResult<ArrayRef> {
        if double {
            let (a, b) = (primitive::<Float64Type>(&arguments[0])?, primitive::<Float64Type>(&arguments[1])?);
            let values = a.iter().zip(b.iter()).map(|(a, b)| Some(a? % b?));
            return Ok(Arc::new(values.collect::<Float64Array>()));
        }
        let (a, b) = (primitive::<Float32Type>(&arguments[0])?, primitive::<Float32Type>(&arguments[1])?);
        let values = a.iter().zip(b.iter()).map(|(a, b)| Some(a? % b?));
        Ok(Arc::new(values.collect::<Float32Array>()))
    };
    Typed { expr: call("float_mod", ty.to_arrow(), vec![left.expr, right.expr], eval), ty, at }
}

fn decimals(
    left: Typed,
    operator: Operator,
    right: Typed,
    at: Location,
    zone: chrono_tz::Tz,
) -> Bound<Typed> {
    let operation = match operator {
        Operator::Plus => Operation::Add,
        Operator::Minus => Operation::Subtract,
        Operator::Multiply => Operation::Multiply,
        Operator::Divide => Operation::Divide,
        _ => Operation::Modulo,
    };
    let side = |side: Typed| -> Bound<(datafusion_expr::Expr, (u8, u8))> {
        let digits = side.ty.as_decimal().unwrap_or((1, 0));
        let ty = SqlType::Decimal(digits.0, digits.1);
        Ok((cast::implicit(side, &ty, zone)?.expr, digits))
    };
    let (expr, ty) = decimal::arithmetic(operation, side(left)?, side(right)?);
    Ok(Typed { expr, ty, at })
}

fn with_interval(left: Typed, operator: Operator, right: Typed, at: Location) -> Bound<Typed> {
    let moment = |ty: &SqlType| ty.is_timestamp() || matches!(ty, SqlType::Date | SqlType::Time(_));
    match operator {
        Operator::Plus | Operator::Minus if moment(&left.ty) && right.ty.is_interval() => {
            times::plus_interval(left, right, operator == Operator::Minus, at)
        }
        Operator::Plus if moment(&right.ty) => times::plus_interval(right, left, false, at),
        _ => {
            let constant = interval_constant(&left, operator, &right);
            let Some((value, ty)) = constant else {
                let message = format!("'{operator}' of {} and {}", left.ty, right.ty);
                return Err(
                    Fault::unsupported(at, message).hint("an interval may be added to or taken from a time")
                );
            };
            Ok(Typed { expr: literal(ScalarValue::Int64(Some(value))), ty, at })
        }
    }
}

/// Arithmetic of interval literals.
fn interval_constant(left: &Typed, operator: Operator, right: &Typed) -> Option<(i64, SqlType)> {
    let (a, b) = (super::integer_literal(&left.expr)?, super::integer_literal(&right.expr)?);
    let same = left.ty == right.ty;
    match operator {
        Operator::Plus if same => Some((a.checked_add(b)?, left.ty.clone())),
        Operator::Minus if same => Some((a.checked_sub(b)?, left.ty.clone())),
        Operator::Multiply if right.ty.is_integer() => Some((a.checked_mul(b)?, left.ty.clone())),
        Operator::Multiply if left.ty.is_integer() => Some((a.checked_mul(b)?, right.ty.clone())),
        _ => None,
    }
}

/// `-argument`.
pub(crate) fn negate(argument: Typed, at: Location, zone: chrono_tz::Tz) -> Bound<Typed> {
    use datafusion_expr::Expr;
    let negative = match &argument.expr {
        Expr::Literal(ScalarValue::Int32(Some(n)), _) => n.checked_neg().map(|n| ScalarValue::Int32(Some(n))),
        Expr::Literal(ScalarValue::Int64(Some(n)), _) => n.checked_neg().map(|n| ScalarValue::Int64(Some(n))),
        Expr::Literal(ScalarValue::Float64(Some(x)), _) => Some(ScalarValue::Float64(Some(-x))),
        Expr::Literal(ScalarValue::Decimal128(Some(n), p, s), _) => {
            Some(ScalarValue::Decimal128(Some(-n), *p, *s))
        }
        _ => None,
    };
    if let Some(value) = negative {
        return Ok(Typed { expr: literal(value), ..argument });
    }
    if !argument.ty.is_numeric() {
        return Err(Fault::new(at, format!("cannot apply '-' to {}", argument.ty)));
    }
    let ty = argument.ty.clone();
    if let SqlType::Decimal(precision, scale) = ty {
        let expr = call("decimal_negate", ty.to_arrow(), vec![argument.expr], move |arguments| {
            let values = primitive::<arrow::datatypes::Decimal128Type>(&arguments[0])?;
            decimal::decimals(values.iter().map(|v| v.map(|v| -v)).collect(), precision, scale)
        });
        return Ok(Typed { expr, ty, at });
    }
    if ty.is_float() {
        return Ok(Typed { expr: Expr::Negative(Box::new(argument.expr)), ty, at });
    }
    let zero = Typed { expr: literal(ScalarValue::Int32(Some(0))), ty: SqlType::Int, at };
    let zero = cast::explicit(zero, &ty, cast::OnFailure::Fail, zone)?;
    Ok(Typed { expr: binary(zero.expr, Operator::Minus, argument.expr), ty, at })
}

/// NULL, TRUE, FALSE of three-valued logic.
pub(crate) fn boolean(argument: Typed, what: &str) -> Bound<datafusion_expr::Expr> {
    match argument.ty {
        SqlType::Boolean => Ok(argument.expr),
        SqlType::Null => Ok(null_of(&arrow::datatypes::DataType::Boolean)),
        ty => Err(Fault::new(argument.at, format!("{what} is {ty}: expected BOOLEAN"))),
    }
}
