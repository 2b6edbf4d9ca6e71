//! Joins in FROM: two scopes to one, the condition to keys and a rest.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_expr::{BinaryExpr, Expr, Operator};
use highwater_stream::{JoinKind, WindowColumn};
use sqlparser::ast::{Join as JoinSyntax, JoinConstraint, JoinOperator, ObjectName, Spanned};
use sqlparser::tokenizer::Location;

use super::expression::{ExprBinder, Scope};
use super::{Ctes, Session, rank, temporal_join, time_join, window_join};
use crate::error::{Bound, Fault};
use crate::functions::compare::{binary, case, compare};
use crate::functions::{Typed, is_fallible};
use crate::relation::{Column, JoinKey, Node, Over, Relation, TimeJoin, column_name, named, unique};
use crate::types::SqlType;

impl Session<'_> {
    /// `left` joined with what follows it in FROM.
    pub(super) fn join(&self, ctes: &Ctes, left: Scope, syntax: &JoinSyntax, at: Location) -> Bound<Scope> {
        let place = syntax.relation.span().start;
        let place = if place.line == 0 { at } else { place };
        let (kind, constraint) = match &syntax.join_operator {
            JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => {
                (JoinKind::Inner, on)
            }
            JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (JoinKind::Left, on),
            JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (JoinKind::Right, on),
            JoinOperator::FullOuter(on) => (JoinKind::Full, on),
            _ => return Err(Fault::unsupported(place, "this kind of JOIN")),
        };
        if let Some(version) = temporal_join::version(&syntax.relation) {
            let JoinConstraint::On(on) = constraint else {
                return Err(Fault::unsupported(place, "FOR SYSTEM_TIME AS OF without ON").hint("use ON"));
            };
            return self.temporal_join(ctes, left, (&syntax.relation, version), kind, on, place);
        }
        let right = self.factor(ctes, &syntax.relation, place)?;
        match constraint {
            JoinConstraint::None => Ok(product(left, right, kind)),
            JoinConstraint::On(condition) => {
                let mut scope = product(left, right, kind);
                let on = ExprBinder::new(&scope, self.zone).condition(condition, "ON")?;
                scope.relation = with_condition(&scope.relation, conjuncts(on), place)?;
                Ok(scope)
            }
            JoinConstraint::Using(names) => self.join_using(left, right, kind, names, place),
            JoinConstraint::Natural => {
                let shared: Vec<String> =
                    left.shown().filter(|name| right.shown().any(|other| other == *name)).cloned().collect();
                self.join_columns(left, right, kind, &shared, place)
            }
        }
    }

    fn join_using(
        &self,
        left: Scope,
        right: Scope,
        kind: JoinKind,
        names: &[ObjectName],
        at: Location,
    ) -> Bound<Scope> {
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let column = name.to_string().replace('`', "");
            for (scope, which) in [(&left, "left"), (&right, "right")] {
                if !scope.shown().any(|known| *known == column) {
                    let message = format!("column '{column}' of USING is not in the {which} table");
                    return Err(Fault::new(name.span().start, message).or_at(at));
                }
            }
            columns.push(column);
        }
        self.join_columns(left, right, kind, &columns, at)
    }

    /// Joined by columns of the same name, of which one is shown.
    fn join_columns(
        &self,
        left: Scope,
        right: Scope,
        kind: JoinKind,
        names: &[String],
        at: Location,
    ) -> Bound<Scope> {
        let width = left.names.len();
        let mut scope = product(left, right, kind);
        let mut on = Vec::with_capacity(names.len());
        let mut merged = Vec::with_capacity(names.len());
        for name in names {
            let of = |range: std::ops::Range<usize>| -> Bound<usize> {
                let mut found = range.filter(|index| !scope.hidden[*index] && scope.names[*index] == *name);
                match (found.next(), found.next()) {
                    (Some(index), None) => Ok(index),
                    _ => Err(Fault::new(at, format!("column '{name}' is ambiguous"))),
                }
            };
            let typed = |index: usize| {
                let column = &scope.relation.columns[index];
                Typed { expr: named(&column.name), ty: column.ty.clone(), at }
            };
            let (a, b) = (of(0..width)?, of(width..scope.names.len())?);
            let (of_left, of_right) = (typed(a), typed(b));
            if of_left.ty != of_right.ty && kind.keeps_right() {
                return Err(Fault::unsupported(
                    at,
                    format!("USING or NATURAL of {name}, which has two types"),
                )
                .hint("use ON"));
            }
            on.push(compare(of_left.clone(), Operator::Eq, of_right.clone(), at, self.zone)?.expr);
            let value = match kind.keeps_right() {
                true => {
                    let there = Expr::IsNotNull(Box::new(of_left.expr.clone()));
                    case(vec![(there, of_left.expr)], Some(of_right.expr))
                }
                false => of_left.expr,
            };
            merged.push((name.clone(), value, of_left.ty));
            scope.hidden[a] = true;
            scope.hidden[b] = true;
        }
        scope.relation = with_condition(&scope.relation, on, at)?;
        Ok(with_first(scope, merged))
    }
}

/// The scope with these columns before all others.
fn with_first(scope: Scope, first: Vec<(String, Expr, SqlType)>) -> Scope {
    let count = first.len();
    let names: Vec<String> = first.iter().map(|(name, ..)| name.clone()).chain(scope.names).collect();
    // The columns below keep their names: they are named by expressions.
    let known: HashSet<&str> = scope.relation.columns.iter().map(|column| column.name.as_str()).collect();
    let free = |name: String| {
        let mut candidates = (0..).map(|number| format!("${name}{number}"));
        let free = candidates.find(|candidate| !known.contains(candidate.as_str()));
        free.unwrap_or(name)
    };
    let mut columns: Vec<_> = first.into_iter().map(|(name, expr, ty)| (free(name), expr, ty)).collect();
    let below = scope.relation.columns.iter();
    columns.extend(below.map(|column| (column.name.clone(), named(&column.name), column.ty.clone())));
    Scope {
        relation: Relation::calc(&scope.relation, None, columns),
        qualifiers: std::iter::repeat_n(None, count).chain(scope.qualifiers).collect(),
        names,
        hidden: std::iter::repeat_n(false, count).chain(scope.hidden).collect(),
        nesting: scope.nesting,
    }
}

/// Every row of left with every row of right.
pub(super) fn product(left: Scope, right: Scope, kind: JoinKind) -> Scope {
    let names = [&left, &right].into_iter().flat_map(|scope| &scope.relation.columns);
    let names = unique(names.map(|column| column.name.clone()).collect());
    let (of_left, of_right) = names.split_at(left.relation.columns.len());
    let relation = plain_join(&left.relation, &with_names(&right.relation, of_right), kind, Vec::new(), None);
    debug_assert!(of_left.iter().zip(&left.relation.columns).all(|(name, column)| *name == column.name));
    Scope {
        relation,
        qualifiers: [left.qualifiers, right.qualifiers].concat(),
        names: [left.names, right.names].concat(),
        hidden: [left.hidden, right.hidden].concat(),
        nesting: left.nesting,
    }
}

/// `left` and `right` joined by equal columns. No column of right is called as one of left.
pub(super) fn by_keys(
    left: &Arc<Relation>,
    right: &Arc<Relation>,
    kind: JoinKind,
    keys: Vec<JoinKey>,
) -> Arc<Relation> {
    plain_join(left, right, kind, keys, None)
}

/// `left` and `right` joined where all conditions are true. No column of right is called as one of left.
pub(super) fn on(
    left: &Arc<Relation>,
    right: &Arc<Relation>,
    kind: JoinKind,
    conditions: Vec<Expr>,
    at: Location,
) -> Bound<Arc<Relation>> {
    with_condition(&plain_join(left, right, kind, Vec::new(), None), conditions, at)
}

pub(super) fn with_names(relation: &Arc<Relation>, names: &[String]) -> Arc<Relation> {
    if relation.columns.iter().zip(names).all(|(column, name)| column.name == *name) {
        return Arc::clone(relation);
    }
    let columns = relation.columns.iter().zip(names);
    let columns = columns.map(|(column, name)| (name.clone(), named(&column.name), column.ty.clone()));
    Relation::calc(relation, None, columns.collect())
}

/// A join that keeps all rows.
pub(super) fn plain_join(
    left: &Arc<Relation>,
    right: &Arc<Relation>,
    kind: JoinKind,
    keys: Vec<JoinKey>,
    residual: Option<Expr>,
) -> Arc<Relation> {
    let width = left.columns.len();
    // Rows come out when their partner comes: their times are no event time any more.
    let columns = left.columns.iter().chain(right.columns.iter().filter(|_| !kind.is_left_only()));
    let plain = |column: &Column| Column { rowtime: false, proctime: false, window: None, ..column.clone() };
    let columns = columns.map(plain).collect();
    let equal: HashSet<usize> = keys.iter().filter_map(|key| right.index(&key.right)).collect();
    let single = right.keys.iter().any(|key| key.iter().all(|column| equal.contains(column)));
    let unique_keys = match kind {
        JoinKind::Full | JoinKind::Right => Vec::new(),
        JoinKind::Semi | JoinKind::Anti => left.keys.clone(),
        _ if single => left.keys.clone(),
        _ => {
            let moved = |key: &Vec<usize>| key.iter().map(|column| column + width).collect::<Vec<_>>();
            let pair = |a: &Vec<usize>| right.keys.iter().map(|b| [a.clone(), moved(b)].concat()).collect();
            left.keys.iter().flat_map(|key| -> Vec<Vec<usize>> { pair(key) }).collect()
        }
    };
    let updating = !matches!(kind, JoinKind::Inner | JoinKind::Semi) || left.updating || right.updating;
    let (left, right) = (Arc::clone(left), Arc::clone(right));
    let node = Node::Join { left, right, kind, keys, residual };
    Arc::new(Relation { node, columns, updating, keys: unique_keys })
}

/// The operands of the ANDs of a condition.
pub(super) fn conjuncts(condition: Expr) -> Vec<Expr> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let mut all = conjuncts(*left);
            all.extend(conjuncts(*right));
            all
        }
        other => vec![other],
    }
}

/// The join with `conditions` in its condition.
pub(super) fn with_condition(
    relation: &Arc<Relation>,
    conditions: Vec<Expr>,
    at: Location,
) -> Bound<Arc<Relation>> {
    let Some(mut parts) = Parts::of(relation) else {
        return Ok(conditions
            .into_iter()
            .fold(Arc::clone(relation), |below, on| Relation::filtered(&below, on)));
    };
    parts.conditions.extend(conditions);
    let Parts { left, right, kind, conditions } = parts;
    if let Some(join) = time_join::bind(&left, &right, kind, &conditions, at)? {
        return Ok(join);
    }
    let (keys, residual) = split(&left, &right, conditions);
    if let Some(join) = window_join::bind(&left, &right, kind, &keys, residual.as_ref(), at)? {
        return Ok(join);
    }
    Ok(plain_join(&left, &right, kind, keys, residual))
}

/// A join as it was written.
struct Parts {
    left: Arc<Relation>,
    right: Arc<Relation>,
    kind: JoinKind,
    conditions: Vec<Expr>,
}

impl Parts {
    fn of(relation: &Relation) -> Option<Self> {
        let (left, right, kind, keys, residual, over) = match &relation.node {
            Node::Join { left, right, kind, keys, residual } => (left, right, *kind, keys, residual, None),
            Node::TimeJoin(TimeJoin { left, right, kind, keys, residual, over }) => {
                (left, right, *kind, keys, residual, Some(over))
            }
            _ => return None,
        };
        let equal = |key: &JoinKey| {
            let op = if key.null_safe { Operator::IsNotDistinctFrom } else { Operator::Eq };
            binary(named(&key.left), op, named(&key.right))
        };
        let mut conditions: Vec<Expr> = keys.iter().map(equal).collect();
        conditions.extend(residual.iter().cloned().flat_map(conjuncts));
        match over {
            None => {}
            Some(Over::Interval { conditions: of_time, .. } | Over::Window { conditions: of_time, .. }) => {
                conditions.extend(of_time.iter().cloned())
            }
            // What stands above it stays there.
            Some(Over::Version { .. }) => return None,
        }
        Some(Self { left: Arc::clone(left), right: Arc::clone(right), kind, conditions })
    }
}

/// The conditions as pairs of columns that are equal, and the rest.
pub(super) fn split(
    left: &Relation,
    right: &Relation,
    conditions: Vec<Expr>,
) -> (Vec<JoinKey>, Option<Expr>) {
    let (mut keys, mut rest) = (Vec::new(), Vec::new());
    for condition in conditions {
        match key(left, right, &condition) {
            Some(key) => keys.push(key),
            None => rest.push(condition),
        }
    }
    (keys, rest.into_iter().reduce(|a, b| binary(a, Operator::And, b)))
}

/// The condition as `left column = right column`, if it is that and both have the same type.
fn key(left: &Relation, right: &Relation, condition: &Expr) -> Option<JoinKey> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = condition else { return None };
    let null_safe = match op {
        Operator::Eq => false,
        Operator::IsNotDistinctFrom => true,
        _ => return None,
    };
    let (a, b) = (column_name(a)?, column_name(b)?);
    let (a, b) = if left.index(a).is_some() { (a, b) } else { (b, a) };
    let types = (&left.columns[left.index(a)?].ty, &right.columns[right.index(b)?].ty);
    let alike = types.0.to_arrow() == types.1.to_arrow();
    alike.then(|| JoinKey { left: a.to_owned(), right: b.to_owned(), null_safe })
}

/// The relation with only the rows for which WHERE is true.
pub(super) fn selected(relation: &Arc<Relation>, condition: Expr, at: Location) -> Bound<Arc<Relation>> {
    filtered(relation, conjuncts(condition), at)
}

/// Flink may draw a condition on event times from above a join into it, which makes a join over time: refused
/// wherever that could be.
fn refuse_time_above(relation: &Relation, conditions: &[Expr], at: Location) -> Bound<()> {
    let bounds: usize = conditions.iter().map(|condition| time_bounds(relation, condition)).sum();
    if bounds > 0 && bounds + bounds_of_joins(relation) > 1 {
        return Err(Fault::unsupported(at, "a condition on the event times of both sides of a join")
            .hint("CAST the times to TIMESTAMP(3) for a join that keeps all rows"));
    }
    Ok(())
}

/// Comparisons of different joined event times, or windows, in the conditions of outer joins below.
fn bounds_of_joins(relation: &Relation) -> usize {
    match &relation.node {
        Node::Calc { input, .. } => bounds_of_joins(input),
        _ => Parts::of(relation).map_or(0, |Parts { left, right, conditions, .. }| {
            let own: usize = conditions.iter().map(|condition| time_bounds(relation, condition)).sum();
            own + bounds_of_joins(&left) + bounds_of_joins(&right)
        }),
    }
}

/// How many comparisons of different joined event times there are; an equality counts as two.
fn time_bounds(relation: &Relation, condition: &Expr) -> usize {
    let times = |expr: &Expr| -> BTreeSet<String> {
        let columns = expr.column_refs();
        columns
            .into_iter()
            .map(|column| column.name.clone())
            .filter(|name| is_joined_time(relation, name))
            .collect()
    };
    let mut bounds = 0;
    let _ = condition.apply(|node| {
        if let Expr::BinaryExpr(BinaryExpr { left, op, right }) = node {
            let weight = match op {
                Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => 1,
                Operator::Eq | Operator::IsNotDistinctFrom => 2,
                _ => 0,
            };
            let (a, b) = (times(left), times(right));
            if !a.is_empty() && !b.is_empty() && a != b {
                bounds += weight;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    bounds
}

/// Whether the column is, below a join, an event time or the start of a window that is not aggregated.
fn is_joined_time(relation: &Relation, name: &str) -> bool {
    match &relation.node {
        Node::Calc { input, columns, .. } => relation
            .index(name)
            .and_then(|index| column_name(&columns[index]))
            .is_some_and(|name| is_joined_time(input, name)),
        Node::Join { left, right, .. } | Node::TimeJoin(TimeJoin { left, right, .. }) => {
            [left, right].into_iter().any(|side| is_time(side, name) || is_joined_time(side, name))
        }
        _ => false,
    }
}

fn is_time(relation: &Relation, name: &str) -> bool {
    relation.index(name).is_some_and(|index| {
        let column = &relation.columns[index];
        let opens = column.window.is_some_and(|role| !role.closed && role.part == WindowColumn::Start);
        column.rowtime || opens
    })
}

/// The relation with only the rows for which all conditions are true: below inner joins where that is the same,
/// in their conditions where they pair columns.
fn filtered(relation: &Arc<Relation>, conditions: Vec<Expr>, at: Location) -> Bound<Arc<Relation>> {
    if let Node::Calc { input, filter: None, columns } = &relation.node
        && matches!(input.node, Node::Join { .. } | Node::TimeJoin(_))
    {
        return filtered_below(relation, input, columns, conditions, at);
    }
    if let Node::Join { left, right, kind, keys, residual } = &relation.node
        && kind.is_left_only()
    {
        let (above, of_left): (Vec<_>, Vec<_>) = conditions.into_iter().partition(is_fallible);
        let joined = plain_join(&filtered(left, of_left, at)?, right, *kind, keys.clone(), residual.clone());
        refuse_time_above(&joined, &above, at)?;
        let all = above.into_iter().reduce(|a, b| binary(a, Operator::And, b));
        return Ok(all.map_or_else(|| Arc::clone(&joined), |all| Relation::filtered(&joined, all)));
    }
    let Some(Parts { left, right, conditions: on, .. }) =
        Parts::of(relation).filter(|parts| parts.kind == JoinKind::Inner)
    else {
        refuse_time_above(relation, &conditions, at)?;
        let (relation, conditions) = rank::bounded(relation, conditions, at)?;
        let all = conditions.into_iter().reduce(|a, b| binary(a, Operator::And, b));
        return Ok(all.map_or_else(|| Arc::clone(&relation), |all| Relation::filtered(&relation, all)));
    };
    let (mut of_left, mut of_right, mut of_both, mut above) = (vec![], vec![], vec![], vec![]);
    for condition in conditions {
        let within = |side: &Relation| condition.column_refs().iter().all(|c| side.index(&c.name).is_some());
        match (is_fallible(&condition), within(&left), within(&right)) {
            (true, ..) => above.push(condition),
            (_, true, _) => of_left.push(condition),
            (_, _, true) => of_right.push(condition),
            _ => of_both.push(condition),
        }
    }
    let (left, right) = (filtered(&left, of_left, at)?, filtered(&right, of_right, at)?);
    let joined = plain_join(&left, &right, JoinKind::Inner, Vec::new(), None);
    let joined = with_condition(&joined, [on, of_both].concat(), at)?;
    refuse_time_above(&joined, &above, at)?;
    let all = above.into_iter().reduce(|a, b| binary(a, Operator::And, b));
    Ok(all.map_or_else(|| Arc::clone(&joined), |all| Relation::filtered(&joined, all)))
}

/// The projection `relation` of a join, with the conditions in the join where they are over its columns.
fn filtered_below(
    relation: &Relation,
    join: &Arc<Relation>,
    columns: &[Expr],
    conditions: Vec<Expr>,
    at: Location,
) -> Bound<Arc<Relation>> {
    let of_join = |name: &str| relation.index(name).and_then(|index| column_name(&columns[index]));
    let is_below = |condition: &Expr| {
        !is_fallible(condition)
            && condition.column_refs().iter().all(|column| of_join(&column.name).is_some())
    };
    let (below, above): (Vec<_>, Vec<_>) = conditions.into_iter().partition(is_below);
    let below = below.into_iter().map(|condition| renamed(condition, |name| of_join(name).map(named)));
    let join = filtered(join, below.collect(), at)?;
    let outputs = relation.columns.iter().zip(columns);
    let outputs = outputs.map(|(column, expr)| (column.name.clone(), expr.clone(), column.ty.clone()));
    let projected = Relation::calc(&join, None, outputs.collect());
    refuse_time_above(&projected, &above, at)?;
    let all = above.into_iter().reduce(|a, b| binary(a, Operator::And, b));
    Ok(all.map_or_else(|| Arc::clone(&projected), |all| Relation::filtered(&projected, all)))
}

/// The expression with other columns.
pub(super) fn renamed(expr: Expr, by: impl Fn(&str) -> Option<Expr>) -> Expr {
    let transformed = expr.clone().transform_up(|node| {
        Ok(match column_name(&node).and_then(&by) {
            Some(other) => Transformed::yes(other),
            None => Transformed::no(node),
        })
    });
    transformed.map_or(expr, |transformed| transformed.data)
}
