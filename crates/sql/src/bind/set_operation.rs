//! `UNION`, `INTERSECT`, `EXCEPT`, with and without `ALL`. NULL equals NULL.

use std::sync::Arc;

use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, Operator};
use highwater_stream::{AggregateFunction, JoinKind};
use sqlparser::ast::{SetOperator, SetQuantifier};
use sqlparser::tokenizer::Location;

use super::aggregate::{BoundCall, Grouping};
use super::{Session, join, window};
use crate::error::{Bound, Fault};
use crate::functions::compare::{binary, case};
use crate::functions::{Typed, cast, literal};
use crate::relation::{Column, JoinKey, Node, Relation, Times, named, unique};
use crate::types::SqlType;

impl Session<'_> {
    /// `left operator [ALL] right`; `at` is where right begins.
    pub(super) fn set_operation(
        &self,
        operator: SetOperator,
        quantifier: SetQuantifier,
        sides: &[Arc<Relation>; 2],
        at: Location,
    ) -> Bound<Arc<Relation>> {
        let all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::None | SetQuantifier::Distinct => false,
            _ => {
                return Err(Fault::unsupported(at, format!("{operator} {quantifier}"))
                    .hint("columns are matched by position"));
            }
        };
        match (operator, all) {
            (SetOperator::Union, true) => self.union(sides, at),
            (SetOperator::Union, false) => self.distinct(&self.union(sides, at)?, at),
            (SetOperator::Intersect, false) => {
                self.distinct(&self.with_equals(sides, JoinKind::Semi, "INTERSECT", at)?, at)
            }
            (SetOperator::Except, false) => {
                self.distinct(&self.with_equals(sides, JoinKind::Anti, "EXCEPT", at)?, at)
            }
            (SetOperator::Intersect, true) => self.intersect_all(sides, at),
            (SetOperator::Except, true) => self.except_all(sides, at),
            (SetOperator::Minus, _) => {
                Err(Fault::new(at, "MINUS is not allowed in Flink SQL").hint("EXCEPT means the same"))
            }
        }
    }

    pub(super) fn union(&self, sides: &[Arc<Relation>; 2], at: Location) -> Bound<Arc<Relation>> {
        let (inputs, mut columns) = self.aligned(sides, "UNION", at)?;
        let [left, right] = sides;
        for (column, (a, b)) in columns.iter_mut().zip(left.columns.iter().zip(&right.columns)) {
            column.window = window::role_in_union([left, right], [a.window, b.window]);
        }
        let updating = inputs.iter().any(|input| input.updating);
        let inputs = inputs.to_vec();
        Ok(Arc::new(Relation { node: Node::Union { inputs }, columns, updating, keys: Vec::new() }))
    }

    /// Both sides with columns of the same types, called as those of the left.
    fn aligned(
        &self,
        [left, right]: &[Arc<Relation>; 2],
        what: &str,
        at: Location,
    ) -> Bound<([Arc<Relation>; 2], Vec<Column>)> {
        if left.columns.len() != right.columns.len() {
            let message = format!("{what} of {} and {} columns", left.columns.len(), right.columns.len());
            return Err(Fault::new(at, message));
        }
        let mut columns = Vec::with_capacity(left.columns.len());
        for (a, b) in left.columns.iter().zip(&right.columns) {
            let Some(ty) = a.ty.common(&b.ty) else {
                return Err(Fault::new(
                    at,
                    format!(
                        "{what} of column {} of {} and {} of {}: the types have nothing in common",
                        a.name, a.ty, b.name, b.ty
                    ),
                )
                .hint("CAST one to the other's type"));
            };
            let rowtime = a.rowtime && b.rowtime && a.ty == ty && b.ty == ty;
            let proctime = a.proctime && b.proctime;
            columns.push(Column { name: a.name.clone(), ty, rowtime, proctime, window: None });
        }
        let convert = |side: &Arc<Relation>| -> Bound<Arc<Relation>> {
            let outputs = side.columns.iter().zip(&columns).map(|(from, to)| {
                let typed = Typed { expr: named(&from.name), ty: from.ty.clone(), at };
                Ok((to.name.clone(), cast::implicit(typed, &to.ty, self.zone)?.expr, to.ty.clone()))
            });
            Ok(Relation::calc(side, None, outputs.collect::<Bound<Vec<_>>>()?))
        };
        Ok(([convert(left)?, convert(right)?], columns))
    }

    pub(super) fn distinct(&self, relation: &Arc<Relation>, at: Location) -> Bound<Arc<Relation>> {
        let keys = typed_columns(relation, at);
        let aggregated = Grouping::new(keys).build(relation, self.zone, at)?;
        Ok(Relation::calc(&aggregated, None, columns(relation)))
    }

    /// The rows of left that stand, or do not stand, in right.
    fn with_equals(
        &self,
        sides: &[Arc<Relation>; 2],
        kind: JoinKind,
        what: &str,
        at: Location,
    ) -> Bound<Arc<Relation>> {
        let ([left, right], _) = self.aligned(sides, what, at)?;
        let all = left.columns.iter().chain(&right.columns).map(|column| column.name.clone());
        let names = unique(all.collect()).split_off(left.columns.len());
        let right = join::with_names(&right, &names);
        let pair = |(a, b): (&Column, &Column)| JoinKey {
            left: a.name.clone(),
            right: b.name.clone(),
            null_safe: true,
        };
        let keys = left.columns.iter().zip(&right.columns).map(pair).collect();
        Ok(join::by_keys(&left, &right, kind, keys))
    }

    /// Each row as often as it stands in both sides.
    fn intersect_all(&self, sides: &[Arc<Relation>; 2], at: Location) -> Bound<Arc<Relation>> {
        let ([left, right], _) = self.aligned(sides, "INTERSECT", at)?;
        let one = || literal(ScalarValue::Int64(Some(1)));
        let none = || literal(ScalarValue::Int64(None));
        let marked = |side: &Arc<Relation>, of_left: Expr, of_right: Expr| {
            let marks = [("$left", of_left), ("$right", of_right)];
            let marks = marks.map(|(name, mark)| (name.to_owned(), mark, SqlType::BigInt));
            Relation::calc(side, None, columns(side).into_iter().chain(marks).collect())
        };
        let both = [marked(&left, one(), none()), marked(&right, none(), one())];
        let (counted, counts) = self.counted(&both, AggregateFunction::Count, &["$left", "$right"], at)?;
        let [a, b] = [named(&counts[0]), named(&counts[1])];
        let there = |count: &Expr| binary(count.clone(), Operator::GtEq, one());
        let filter = binary(there(&a), Operator::And, there(&b));
        let less = binary(a.clone(), Operator::Lt, b.clone());
        let times = case(vec![(less, a)], Some(b));
        Ok(repeated(&left, &counted, filter, times))
    }

    /// Each row as often as it stands in left more than in right.
    fn except_all(&self, sides: &[Arc<Relation>; 2], at: Location) -> Bound<Arc<Relation>> {
        let ([left, right], _) = self.aligned(sides, "EXCEPT", at)?;
        let weighted = |side: &Arc<Relation>, weight: i64| {
            let weight = literal(ScalarValue::Int64(Some(weight)));
            let weight = ("$weight".to_owned(), weight, SqlType::BigInt);
            Relation::calc(side, None, columns(side).into_iter().chain([weight]).collect())
        };
        let both = [weighted(&left, 1), weighted(&right, -1)];
        let (counted, sums) = self.counted(&both, AggregateFunction::Sum, &["$weight"], at)?;
        let sum = named(&sums[0]);
        let filter = binary(sum.clone(), Operator::Gt, literal(ScalarValue::Int64(Some(0))));
        Ok(repeated(&left, &counted, filter, sum))
    }

    /// Both sides grouped by all columns but `marks`, which are aggregated; with the names of the results.
    fn counted(
        &self,
        sides: &[Arc<Relation>; 2],
        function: AggregateFunction,
        marks: &[&str],
        at: Location,
    ) -> Bound<(Arc<Relation>, Vec<String>)> {
        let union = self.union(sides, at)?;
        let mut keys = typed_columns(&union, at);
        let arguments = keys.split_off(keys.len() - marks.len());
        let mut grouping = Grouping::new(keys);
        let mut results = Vec::with_capacity(marks.len());
        for argument in arguments {
            let argument = Some(argument);
            let call =
                BoundCall { function, argument, distinct: false, filter: None, output: SqlType::BigInt };
            let result = grouping.add_call(call, at);
            results.extend(result.expr.column_refs().into_iter().map(|column| column.name.clone()));
        }
        Ok((grouping.build(&union, self.zone, at)?, results))
    }
}

/// The rows of `counted` for which `filter` is true, each `times` times, with the columns of `like`.
fn repeated(like: &Relation, counted: &Arc<Relation>, filter: Expr, times: Expr) -> Arc<Relation> {
    let mut all = columns(like);
    all.push(("$times".to_owned(), times, SqlType::BigInt));
    let counted = Relation::calc(counted, Some(filter), all);
    let column = counted.columns.last().map_or_else(String::new, |column| column.name.clone());
    let repeated = Arc::new(Relation {
        columns: counted.columns.clone(),
        updating: counted.updating,
        keys: Vec::new(),
        node: Node::Repeat { input: Arc::clone(&counted), times: Times::Column(column), ordinal: None },
    });
    Relation::calc(&repeated, None, columns(like))
}

fn columns(relation: &Relation) -> Vec<(String, Expr, SqlType)> {
    let column = |column: &Column| (column.name.clone(), named(&column.name), column.ty.clone());
    relation.columns.iter().map(column).collect()
}

fn typed_columns(relation: &Relation, at: Location) -> Vec<Typed> {
    let typed = |column: &Column| Typed { expr: named(&column.name), ty: column.ty.clone(), at };
    relation.columns.iter().map(typed).collect()
}
