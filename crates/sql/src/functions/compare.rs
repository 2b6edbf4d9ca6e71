//! Comparison and choice.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion_common::Result as EvalResult;
use datafusion_expr::expr::Case;
use datafusion_expr::{BinaryExpr, Expr, Operator};
use sqlparser::tokenizer::Location;

use super::{Binder, Call, Typed, call, cast, primitive};
use crate::error::{Bound, Fault};
use crate::types::SqlType;

/// Both sides as their common type.
pub(crate) fn unify(
    left: Typed,
    right: Typed,
    what: &str,
    at: Location,
    zone: chrono_tz::Tz,
) -> Bound<(Typed, Typed, SqlType)> {
    let Some(ty) = common_with_literals(&left, &right) else {
        return Err(Fault::new(at, format!("cannot apply {what} to {} and {}", left.ty, right.ty))
            .hint("CAST one side to the other's type"));
    };
    let (left, right) = (cast::implicit(left, &ty, zone)?, cast::implicit(right, &ty, zone)?);
    Ok((left, right, ty))
}

/// A text literal beside a time is read as that time.
fn common_with_literals(left: &Typed, right: &Typed) -> Option<SqlType> {
    if let Some(ty) = left.ty.common(&right.ty) {
        return Some(ty);
    }
    let time = |ty: &SqlType| ty.is_timestamp() || *ty == SqlType::Date;
    match (&left.expr, &right.expr) {
        (_, Expr::Literal(..)) if right.ty.is_text() && time(&left.ty) => Some(left.ty.clone()),
        (Expr::Literal(..), _) if left.ty.is_text() && time(&right.ty) => Some(right.ty.clone()),
        _ => None,
    }
}

/// `left operator right`, NULL if a side is NULL (`IS [NOT] DISTINCT FROM` never is).
pub(crate) fn compare(
    left: Typed,
    operator: Operator,
    right: Typed,
    at: Location,
    zone: chrono_tz::Tz,
) -> Bound<Typed> {
    let (left, right, ty) = unify(left, right, &format!("'{operator}'"), at, zone)?;
    let nested = matches!(ty, SqlType::Array(_) | SqlType::Map(..) | SqlType::Row(_) | SqlType::Multiset(_));
    if nested {
        return Err(Fault::unsupported(at, format!("comparison of {ty}")));
    }
    let expr = match ty {
        SqlType::Double => floats::<Float64Type>(operator, left.expr, right.expr),
        SqlType::Float => floats::<Float32Type>(operator, left.expr, right.expr),
        SqlType::Null => super::null_of(&DataType::Boolean),
        _ => binary(left.expr, operator, right.expr),
    };
    Ok(Typed { expr, ty: SqlType::Boolean, at })
}

pub(crate) fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
}

/// Java's comparison of doubles: NaN equals nothing, -0.0 equals 0.0. Arrow orders them all.
fn floats<T>(operator: Operator, left: Expr, right: Expr) -> Expr
where
    T: ArrowPrimitiveType,
    T::Native: PartialOrd,
{
    call(format!("float[{operator}]"), DataType::Boolean, vec![left, right], move |arguments| {
        let (a, b) = (primitive::<T>(&arguments[0])?, primitive::<T>(&arguments[1])?);
        let present = |row: usize| (a.is_valid(row), b.is_valid(row));
        Ok(Arc::new(match operator {
            Operator::Eq => each(a, b, |x, y| x == y),
            Operator::NotEq => each(a, b, |x, y| x != y),
            Operator::Lt => each(a, b, |x, y| x < y),
            Operator::LtEq => each(a, b, |x, y| x <= y),
            Operator::Gt => each(a, b, |x, y| x > y),
            Operator::GtEq => each(a, b, |x, y| x >= y),
            _ => {
                let distinct = operator == Operator::IsDistinctFrom;
                let rows = BooleanBuffer::collect_bool(a.len(), |row| match present(row) {
                    (true, true) => (a.value(row) != b.value(row)) == distinct,
                    (x, y) => (x != y) == distinct,
                });
                BooleanArray::new(rows, None)
            }
        }))
    })
}

fn each<T: ArrowPrimitiveType>(
    a: &PrimitiveArray<T>,
    b: &PrimitiveArray<T>,
    test: impl Fn(T::Native, T::Native) -> bool,
) -> BooleanArray {
    let (x, y) = (a.values(), b.values());
    let rows = BooleanBuffer::collect_bool(a.len().min(b.len()), |row| test(x[row], y[row]));
    BooleanArray::new(rows, NullBuffer::union(a.nulls(), b.nulls()))
}

/// `CASE WHEN ... THEN ... ELSE ... END` whose branches have one type.
pub(crate) fn case(branches: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Expr {
    let when_then_expr = branches.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    Expr::Case(Case { expr: None, when_then_expr, else_expr: otherwise.map(Box::new) })
}

/// The type all of `values` convert to, and the values in it.
pub(crate) fn unify_all(
    values: Vec<Typed>,
    what: &str,
    at: Location,
    zone: chrono_tz::Tz,
) -> Bound<(Vec<Typed>, SqlType)> {
    let mut ty = SqlType::Null;
    for value in &values {
        let literal_length = matches!((&ty, &value.ty), (SqlType::Char(a), SqlType::Char(b)) if a != b);
        ty = match ty.common(&value.ty) {
            Some(SqlType::Varchar(n)) if literal_length => SqlType::Varchar(n),
            Some(common) => common,
            None => {
                return Err(Fault::new(
                    value.at,
                    format!("{what} of {ty} and {}: the types have nothing in common", value.ty),
                )
                .or_at(at)
                .hint("CAST one to the other's type"));
            }
        };
    }
    let values =
        values.into_iter().map(|value| cast::implicit(value, &ty, zone)).collect::<Bound<Vec<_>>>()?;
    Ok((values, ty))
}

/// Functions by name.
pub(crate) const FUNCTIONS: &[(&str, Binder)] = &[
    ("COALESCE", coalesce),
    ("IFNULL", if_null),
    ("NULLIF", null_if),
    ("IF", if_then),
    ("GREATEST", |c| extreme(c, Operator::Gt)),
    ("LEAST", |c| extreme(c, Operator::Lt)),
];

fn coalesce(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 64)?;
    let (mut values, ty) = unify_all(c.arguments, c.name, c.at, c.zone)?;
    let last = values.pop().map(|value| value.expr);
    let branches: Vec<(Expr, Expr)> =
        values.into_iter().map(|value| (Expr::IsNotNull(Box::new(value.expr.clone())), value.expr)).collect();
    let expr = match last {
        Some(last) if branches.is_empty() => last,
        last => case(branches, last),
    };
    Ok(Typed { expr, ty, at: c.at })
}

fn if_null(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 2)?;
    coalesce(c)
}

fn null_if(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 2)?;
    let (first, second) = (c.arguments[0].clone(), c.arguments[1].clone());
    let result = first.clone();
    let equal = compare(first, Operator::Eq, second, c.at, c.zone)?;
    let expr = case(vec![(equal.expr, super::null_of(&result.ty.to_arrow()))], Some(result.expr));
    Ok(Typed { expr, ty: result.ty, at: c.at })
}

fn if_then(mut c: Call<'_>) -> Bound<Typed> {
    c.arity(3, 3)?;
    if !matches!(c.arguments[0].ty, SqlType::Boolean | SqlType::Null) {
        return Err(c.mismatch(0, "BOOLEAN"));
    }
    let condition = c.arguments.remove(0);
    let (mut values, ty) = unify_all(c.arguments, c.name, c.at, c.zone)?;
    let otherwise = values.pop().map(|value| value.expr);
    let then = values.pop().map_or_else(|| super::null_of(&ty.to_arrow()), |value| value.expr);
    let condition = cast::implicit(condition, &SqlType::Boolean, c.zone)?;
    Ok(Typed { expr: case(vec![(condition.expr, then)], otherwise), ty, at: c.at })
}

/// NULL if any argument is NULL.
fn extreme(c: Call<'_>, better: Operator) -> Bound<Typed> {
    c.arity(1, 64)?;
    let (values, ty) = unify_all(c.arguments, c.name, c.at, c.zone)?;
    if matches!(ty, SqlType::Array(_) | SqlType::Map(..) | SqlType::Row(_) | SqlType::Multiset(_)) {
        return Err(Fault::unsupported(c.at, format!("{} of {ty}", c.name)));
    }
    let name = if better == Operator::Gt { "greatest" } else { "least" };
    let arguments = values.into_iter().map(|value| value.expr).collect();
    let expr = call(name, ty.to_arrow(), arguments, move |arguments| {
        let mut best = Arc::clone(&arguments[0]);
        for other in &arguments[1..] {
            best = pick(&best, other, better)?;
        }
        Ok(best)
    });
    Ok(Typed { expr, ty, at: c.at })
}

fn pick(best: &ArrayRef, other: &ArrayRef, better: Operator) -> EvalResult<ArrayRef> {
    let order = arrow::array::make_comparator(best, other, arrow::compute::SortOptions::default())?;
    let wanted = if better == Operator::Gt { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater };
    let from_best: UInt32Array = (0..best.len())
        .map(|row| {
            let present = best.is_valid(row) && other.is_valid(row);
            (present && order(row, row) != wanted).then(|| u32::try_from(row).unwrap_or(u32::MAX))
        })
        .collect();
    let from_other: UInt32Array = (0..best.len())
        .map(|row| {
            let present = best.is_valid(row) && other.is_valid(row);
            (present && order(row, row) == wanted).then(|| u32::try_from(row).unwrap_or(u32::MAX))
        })
        .collect();
    let (a, b) = (take(best, &from_best, None)?, take(other, &from_other, None)?);
    let choose: BooleanArray = from_best.iter().map(|row| Some(row.is_some())).collect();
    Ok(arrow::compute::kernels::zip::zip(&choose, &a, &b)?)
}
