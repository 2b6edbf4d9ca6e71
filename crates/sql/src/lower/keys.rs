//! Equal expressions of a join as key columns: rows find their partners without looking at all others.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::DFSchema;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use crate::functions::compare::binary;
use crate::functions::is_fallible;
use crate::relation::{Column, JoinKey, Relation, named};
use crate::types::SqlType;

/// The sides with a column for each expression that must equal one of the other side, with these as more keys,
/// and what is left of the condition.
pub(super) fn computed(
    [left, right]: [&Arc<Relation>; 2],
    keys: &[JoinKey],
    residual: Option<&Expr>,
) -> ([Arc<Relation>; 2], Vec<JoinKey>, Option<Expr>) {
    let mut keys = keys.to_vec();
    let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
    let mut rest: Option<Expr> = None;
    for condition in residual.map(conjuncts).unwrap_or_default() {
        if let Some((a, b, ty, null_safe)) = equality(left, right, condition) {
            let (a_name, b_name) = (format!("$left{}", of_left.len()), format!("$right{}", of_right.len()));
            of_left.push((a_name.clone(), a, ty.clone()));
            of_right.push((b_name.clone(), b, ty));
            keys.push(JoinKey { left: a_name, right: b_name, null_safe });
        } else {
            let condition = condition.clone();
            rest = Some(match rest {
                None => condition,
                Some(others) => binary(others, Operator::And, condition),
            });
        }
    }
    ([with(left, of_left), with(right, of_right)], keys, rest)
}

fn with(relation: &Arc<Relation>, added: Vec<(String, Expr, SqlType)>) -> Arc<Relation> {
    if added.is_empty() {
        return Arc::clone(relation);
    }
    let column = |column: &Column| (column.name.clone(), named(&column.name), column.ty.clone());
    Relation::calc(relation, None, relation.columns.iter().map(column).chain(added).collect())
}

fn conjuncts(condition: &Expr) -> Vec<&Expr> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            [conjuncts(left), conjuncts(right)].concat()
        }
        other => vec![other],
    }
}

/// The expression over left, that over right, their type, and whether NULL equals NULL.
fn equality(left: &Relation, right: &Relation, condition: &Expr) -> Option<(Expr, Expr, SqlType, bool)> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = condition else { return None };
    let null_safe = match op {
        Operator::Eq => false,
        Operator::IsNotDistinctFrom => true,
        _ => return None,
    };
    let over = |expr: &Expr, side: &Relation| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| side.index(&column.name).is_some())
    };
    let (a, b) = match (over(a, left) && over(b, right), over(b, left) && over(a, right)) {
        (true, _) => (a, b),
        (_, true) => (b, a),
        _ => return None,
    };
    if is_fallible(a) || is_fallible(b) {
        return None;
    }
    let ty = plain_type(a, left)?;
    (ty == plain_type(b, right)?).then(|| ((**a).clone(), (**b).clone(), ty, null_safe))
}

fn plain_type(expr: &Expr, side: &Relation) -> Option<SqlType> {
    let schema = DFSchema::try_from(side.schema().as_ref().clone()).ok()?;
    Some(match expr.get_type(&schema).ok()? {
        DataType::Boolean => SqlType::Boolean,
        DataType::Int8 => SqlType::TinyInt,
        DataType::Int16 => SqlType::SmallInt,
        DataType::Int32 => SqlType::Int,
        DataType::Int64 => SqlType::BigInt,
        DataType::Decimal128(precision, scale) => SqlType::Decimal(precision, u8::try_from(scale).ok()?),
        DataType::Utf8 => SqlType::STRING,
        DataType::Date32 => SqlType::Date,
        DataType::Timestamp(TimeUnit::Millisecond, None) => SqlType::Timestamp(3),
        _ => return None,
    })
}
