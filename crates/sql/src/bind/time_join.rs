//! Which joins are joins over time: Flink's rules of what of a condition makes an interval join.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{BinaryExpr, Expr, Operator};
use highwater_stream::JoinKind;
use sqlparser::tokenizer::Location;

use super::join::{plain_join, split};
use crate::error::{Bound, Fault};
use crate::functions::integer_literal;
use crate::functions::times::add_months;
use crate::relation::{Column, JoinKey, Node, Over, Relation, TimeJoin, column_name};

const REGULAR: &str = "CAST the times to TIMESTAMP(3) for a join that keeps all rows";

/// A comparison of one event time of left with one of right, and nothing else.
struct TimePredicate<'a> {
    condition: &'a Expr,
    /// With left's time on the left.
    op: Operator,
    left: String,
    right: String,
    /// left op right + offset, ms. None: not a constant we know.
    offset_ms: Option<i64>,
}

/// The join of these conditions if it is one over time.
pub(super) fn bind(
    left: &Arc<Relation>,
    right: &Arc<Relation>,
    kind: JoinKind,
    conditions: &[Expr],
    at: Location,
) -> Bound<Option<Arc<Relation>>> {
    if kind.is_left_only() {
        return Ok(None);
    }
    let mut predicates: Vec<TimePredicate<'_>> = Vec::new();
    let mut others = Vec::with_capacity(conditions.len());
    for condition in conditions {
        match time_predicate(left, right, condition) {
            Some(predicate) if predicates.iter().any(|known| known.condition == predicate.condition) => {}
            Some(predicate) => predicates.push(predicate),
            None => others.push(condition.clone()),
        }
    }
    let nested: usize = others.iter().map(|condition| nested_predicates(left, right, condition)).sum();
    let weight = |predicate: &TimePredicate<'_>| if predicate.op == Operator::Eq { 2 } else { 1 };
    if nested > 0 && nested + predicates.iter().map(weight).sum::<usize>() > 1 {
        return Err(Fault::unsupported(
            at,
            "comparisons of event times of both sides within OR, NOT or a function",
        )
        .hint(format!("write them as conditions of their own, with AND; or {REGULAR}")));
    }
    if others.iter().any(|condition| compares_proctimes(left, right, condition)) {
        return Err(Fault::unsupported(at, "a comparison of processing times of both sides of a join")
            .hint("join on event times"));
    }
    let Some(over) = interval(&predicates, at)? else { return Ok(None) };
    if left.updating || right.updating {
        return Err(Fault::new(
            at,
            "an interval join (event times of both sides within bounds) of rows that change",
        )
        .hint(REGULAR));
    }
    let (keys, residual) = split(left, right, others);
    Ok(Some(joined(left, right, kind, (keys, residual), over)))
}

/// A join whose rows keep their event times.
pub(super) fn joined(
    left: &Arc<Relation>,
    right: &Arc<Relation>,
    kind: JoinKind,
    (keys, residual): (Vec<JoinKey>, Option<Expr>),
    over: Over,
) -> Arc<Relation> {
    let unique_keys = plain_join(left, right, kind, keys.clone(), None).keys.clone();
    let windows = matches!(over, Over::Window { .. });
    let versions = matches!(over, Over::Version { .. });
    let column = |column: &Column| Column { window: column.window.filter(|_| windows), ..column.clone() };
    // What is known of a version does not move on with its own time.
    let version =
        |column: &Column| Column { rowtime: false, proctime: false, window: None, ..column.clone() };
    let of_right = right.columns.iter().filter(|_| !kind.is_left_only());
    let of_right = of_right.map(|of_right| if versions { version(of_right) } else { column(of_right) });
    let columns = left.columns.iter().map(column).chain(of_right).collect();
    let updating = versions && left.updating;
    let (left, right) = (Arc::clone(left), Arc::clone(right));
    let node = Node::TimeJoin(TimeJoin { left, right, kind, keys, residual, over });
    Arc::new(Relation { node, columns, updating, keys: unique_keys })
}

/// The bounds that the predicates set: those of one equality, or one from below and one from above. Any other
/// number of predicates makes a regular join, as in Flink.
fn interval(predicates: &[TimePredicate<'_>], at: Location) -> Bound<Option<Over>> {
    let equal = |predicate: &TimePredicate<'_>| predicate.op == Operator::Eq;
    let from_below = |predicate: &TimePredicate<'_>| matches!(predicate.op, Operator::Gt | Operator::GtEq);
    let (lower, upper) = match predicates {
        [one] if equal(one) => (one, one),
        [a, b] if equal(a) || equal(b) => return Ok(None),
        [a, b] if from_below(a) && !from_below(b) => (a, b),
        [a, b] if !from_below(a) && from_below(b) => (b, a),
        _ => return Ok(None),
    };
    let (Some(lower_ms), Some(upper_ms)) = (lower.offset_ms, upper.offset_ms) else {
        return Err(Fault::unsupported(at, "a comparison of event times that is not time [+ or - INTERVAL]")
            .hint(format!("add the interval on one side; or {REGULAR}")));
    };
    if lower.left != upper.left || lower.right != upper.right {
        return Err(
            Fault::unsupported(at, "an interval join on several event times of one side").hint(REGULAR)
        );
    }
    Ok(Some(Over::Interval {
        left: lower.left.clone(),
        right: lower.right.clone(),
        lower_ms: if lower.op == Operator::Gt { lower_ms.saturating_add(1) } else { lower_ms },
        upper_ms: if upper.op == Operator::Lt { upper_ms.saturating_sub(1) } else { upper_ms },
        conditions: predicates.iter().map(|predicate| predicate.condition.clone()).collect(),
    }))
}

fn time_predicate<'a>(left: &Relation, right: &Relation, condition: &'a Expr) -> Option<TimePredicate<'a>> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = condition else { return None };
    let mirrored = match op {
        Operator::Eq => Operator::Eq,
        Operator::Lt => Operator::Gt,
        Operator::LtEq => Operator::GtEq,
        Operator::Gt => Operator::Lt,
        Operator::GtEq => Operator::LtEq,
        _ => return None,
    };
    let straight = only_time(left, a).zip(only_time(right, b));
    let swapped = || only_time(left, b).zip(only_time(right, a));
    let (times, op, (x, y)) = match straight {
        Some(times) => (times, *op, (a, b)),
        None => (swapped()?, mirrored, (b, a)),
    };
    let offset_ms = distance(x).zip(distance(y)).and_then(|(x, y)| y.checked_sub(x));
    Some(TimePredicate { condition, op, left: times.0, right: times.1, offset_ms })
}

/// The event time of `side` that the expression reads, if it reads that, once, and no other column.
fn only_time(side: &Relation, expr: &Expr) -> Option<String> {
    let mut read = Vec::new();
    let _ = expr.apply(|node| {
        read.extend(column_name(node).map(str::to_owned));
        Ok(TreeNodeRecursion::Continue)
    });
    let [name] = read.as_slice() else { return None };
    side.index(name).is_some_and(|index| side.columns[index].rowtime).then(|| name.clone())
}

/// What the expression adds to the one column in it, ms. Months are those from 1970 on, as Flink counts them here.
fn distance(expr: &Expr) -> Option<i64> {
    let Expr::ScalarFunction(call) = expr else { return column_name(expr).map(|_| 0) };
    let [time, amount] = call.args.as_slice() else { return None };
    let (from, amount) = (distance(time)?, integer_literal(amount)?);
    match call.func.name() {
        "plus[ms]" => from.checked_add(amount),
        "minus[ms]" => from.checked_sub(amount),
        "plus[months]" => add_months(from, amount),
        "minus[months]" => add_months(from, amount.checked_neg()?),
        _ => None,
    }
}

/// Whether the condition reads processing times of both sides: Flink may make an interval join of it.
fn compares_proctimes(left: &Relation, right: &Relation, condition: &Expr) -> bool {
    let columns = condition.column_refs();
    [left, right].iter().all(|side| {
        let is_time = |name: &str| side.index(name).is_some_and(|index| side.columns[index].proctime);
        columns.iter().any(|column| is_time(&column.name))
    })
}

/// Comparisons of event times of both sides below the top of the condition; an equality counts as two.
fn nested_predicates(left: &Relation, right: &Relation, condition: &Expr) -> usize {
    let times = |side: &Relation, expr: &Expr| {
        let columns: HashSet<_> = expr.column_refs();
        let is_time = |name: &str| side.index(name).is_some_and(|index| side.columns[index].rowtime);
        columns.iter().any(|column| is_time(&column.name))
    };
    let mut found = 0;
    let _ = condition.apply(|node| {
        if let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = node
            && !std::ptr::eq(node, condition)
        {
            let weight = match op {
                Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => 1,
                Operator::Eq | Operator::NotEq => 2,
                _ => 0,
            };
            if (times(left, a) && times(right, b)) || (times(left, b) && times(right, a)) {
                found += weight;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}
