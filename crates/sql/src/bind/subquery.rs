//! Subqueries: `[NOT] IN` and `[NOT] EXISTS` in WHERE as semi and anti joins, those that stand for a value as joins
//! with their one row.
//!
//! A subquery may name columns of the query around it in its own WHERE. Bound, such a column is called
//! [`OUTER`] and its name, until it turns into a column of the join's left side.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion_common::ScalarValue;
use datafusion_common::tree_node::TreeNode;
use datafusion_expr::{BinaryExpr, Expr, Operator};
use highwater_stream::JoinKind;
use sqlparser::ast::{
    BinaryOperator, Expr as Syntax, GroupByExpr, Query, Select, SelectItem, SetExpr, Spanned, UnaryOperator,
    Visit, Visitor,
};
use sqlparser::tokenizer::Location;

use super::aggregate::{aggregate_name, contains_aggregate};
use super::expression::{ExprBinder, Scope};
use super::{Ctes, Session, group_window, join, query};
use crate::error::{Bound, Fault};
use crate::functions::compare::{binary, case, compare};
use crate::functions::{Typed, literal};
use crate::relation::{Column, Relation, column_name, named, unique};
use crate::types::SqlType;

/// Before the name of a column of the query around.
const OUTER: &str = "$outer.";

/// What a scope has beyond its own tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nesting {
    /// The scope of the query around; only WHERE sees it.
    pub(crate) outer: Option<Arc<Scope>>,
    /// Subqueries that stand for a value, and the column that holds it.
    scalars: Vec<(Query, Typed)>,
}

impl Nesting {
    /// The value that the subquery stands for.
    pub(crate) fn scalar(&self, query: &Query) -> Option<&Typed> {
        self.scalars.iter().find(|(known, _)| known == query).map(|(_, value)| value)
    }
}

/// The same over the query around.
pub(crate) fn of_outer(expr: Expr) -> Expr {
    join::renamed(expr, |name| Some(named(&format!("{OUTER}{name}"))))
}

/// `IN` or `EXISTS` in WHERE.
struct Test<'q> {
    /// What is looked for; nothing for `EXISTS`.
    operands: Vec<&'q Syntax>,
    query: &'q Query,
    negated: bool,
    at: Location,
}

/// A subquery, bound.
struct Subquery {
    relation: Arc<Relation>,
    /// What it selects, over `relation`.
    values: Vec<Typed>,
    /// What ties it to the query around.
    conditions: Vec<Expr>,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Any number of rows.
    Rows,
    /// An aggregate without GROUP BY and HAVING: one row.
    One,
    /// The same with HAVING: one or none.
    OneAtMost,
    /// The same, but for each row of the query around: none where there is nothing to aggregate.
    OneEach(OfNothing),
}

/// What an aggregate without GROUP BY gives where there is nothing to aggregate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OfNothing {
    /// NULL, with or without HAVING.
    Null,
    /// What its values give of NULL.
    Value,
    /// We do not know; or none, for HAVING decides.
    Unknown,
}

impl Session<'_> {
    /// The rows for which WHERE is true; with what of it names columns of the query around.
    pub(super) fn restricted(
        &self,
        ctes: &Ctes,
        scope: Scope,
        condition: &Syntax,
        at: Location,
    ) -> Bound<(Scope, Vec<Expr>)> {
        if contains_aggregate(condition) {
            return Err(
                Fault::new(condition.span().start, "an aggregate is not allowed in WHERE").hint("use HAVING")
            );
        }
        let (mut plain, mut tests) = (Vec::new(), Vec::new());
        split(condition, &mut plain, &mut tests);
        let (with_scalar, plain): (Vec<_>, Vec<_>) =
            plain.into_iter().partition(|syntax| !scalars_in(syntax).is_empty());
        let mut scope = scope;
        let mut correlated = Vec::new();
        if tests.is_empty() && with_scalar.is_empty() {
            self.restrict(&mut scope, condition, &mut correlated, at)?;
        } else if let Some(all) = all_of(&plain) {
            self.restrict(&mut scope, &all, &mut correlated, at)?;
        }
        for test in &tests {
            scope = self.test(ctes, scope, test)?;
        }
        for syntax in with_scalar {
            for query in scalars_in(syntax) {
                // A comparison with NULL keeps no row: an inner join is as good.
                let kind = if compares(syntax, &query) { JoinKind::Inner } else { JoinKind::Left };
                scope = self.with_scalar(ctes, scope, query, kind)?;
            }
            self.restrict(&mut scope, syntax, &mut correlated, at)?;
        }
        Ok((scope, correlated))
    }

    fn restrict(
        &self,
        scope: &mut Scope,
        condition: &Syntax,
        correlated: &mut Vec<Expr>,
        at: Location,
    ) -> Bound<()> {
        let filter = ExprBinder::new(scope, self.zone).condition(condition, "WHERE")?;
        let (outer, own): (Vec<_>, Vec<_>) = join::conjuncts(filter).into_iter().partition(names_outer);
        outer.iter().try_for_each(|condition| refuse_unclear(condition, at))?;
        correlated.extend(outer);
        if let Some(filter) = own.into_iter().reduce(|a, b| binary(a, Operator::And, b)) {
            scope.relation = join::selected(&scope.relation, filter, at)?;
        }
        Ok(())
    }

    /// The rows of which the test is true.
    fn test(&self, ctes: &Ctes, scope: Scope, test: &Test<'_>) -> Bound<Scope> {
        let Test { operands, query, negated, at } = test;
        let subquery = self.subquery(ctes, query, &scope).map_err(|fault| fault.or_at(*at))?;
        let exists = operands.is_empty();
        let always = match subquery.shape {
            Shape::Rows | Shape::OneAtMost => false,
            Shape::One => exists,
            Shape::OneEach(OfNothing::Null) if !exists && !*negated => false,
            Shape::OneEach(_) if exists && !has_having(query) => true,
            Shape::OneEach(_) => {
                return Err(Fault::unsupported(*at, "IN or EXISTS of this aggregate without GROUP BY")
                    .hint("compare with the aggregate: x = (SELECT MAX(y) FROM t)"));
            }
        };
        if always {
            // There is a row, whatever is aggregated.
            let filter = literal(ScalarValue::Boolean(Some(!*negated)));
            let relation = Relation::filtered(&scope.relation, filter);
            return Ok(if *negated { Scope { relation, ..scope } } else { scope });
        }
        let kind = if *negated { JoinKind::Anti } else { JoinKind::Semi };
        let nothing = subquery.conditions.is_empty() && exists;
        let mut subquery = if nothing { subquery.as_constant() } else { subquery };
        if subquery.conditions.iter().any(makes_flink_join_values) {
            if *negated && !exists {
                return Err(Fault::unsupported(*at, "NOT IN of a subquery tied to the query around by OR")
                    .hint("tie it by conditions combined with AND"));
            }
            subquery.demand_outer();
        }
        let (right, mut conditions, values) = subquery.beside(&scope.relation);
        if !exists && operands.len() != values.len() {
            let message = format!("IN of {} values and {} columns", operands.len(), values.len());
            return Err(Fault::new(*at, message));
        }
        for (operand, value) in operands.iter().zip(values).filter(|_| !exists) {
            let operand = ExprBinder::new(&scope, self.zone).bind(operand)?;
            if names_outer(&operand.expr) {
                return Err(Fault::unsupported(*at, "IN of a column of the query around"));
            }
            let equal = compare(operand, Operator::Eq, Typed { at: *at, ..value }, *at, self.zone)?.expr;
            // NOT IN is only true where no row may be equal: one unknown, and it is unknown.
            conditions.push(if *negated { Expr::IsNotFalse(Box::new(equal)) } else { equal });
        }
        let relation = join::on(&scope.relation, &right, kind, conditions, *at)?;
        Ok(Scope { relation, ..scope })
    }

    /// The scope with a column for each subquery in `syntaxes` that stands for a value.
    pub(super) fn with_scalars<'q>(
        &self,
        ctes: &Ctes,
        scope: Scope,
        syntaxes: impl Iterator<Item = &'q Syntax>,
    ) -> Bound<Scope> {
        let all = syntaxes.flat_map(scalars_in);
        all.into_iter().try_fold(scope, |scope, query| self.with_scalar(ctes, scope, query, JoinKind::Left))
    }

    fn with_scalar(&self, ctes: &Ctes, scope: Scope, query: Query, kind: JoinKind) -> Bound<Scope> {
        if scope.nesting.scalar(&query).is_some() {
            return Ok(scope);
        }
        let at = query.span().start;
        let subquery = self.subquery(ctes, &query, &scope)?;
        subquery.check_scalar(at)?;
        let null_if_none =
            matches!(subquery.shape, Shape::One | Shape::OneAtMost | Shape::OneEach(OfNothing::Null));
        let kind = if null_if_none { kind } else { JoinKind::Left };
        let (right, conditions, values) = subquery.beside(&scope.relation);
        let mut scope = scope;
        scope.relation = join::on(&scope.relation, &right, kind, conditions, at)?;
        for column in &right.columns {
            scope.qualifiers.push(None);
            scope.names.push(column.name.clone());
            scope.hidden.push(true);
        }
        scope.nesting.scalars.extend(values.into_iter().map(|value| (query.clone(), Typed { at, ..value })));
        Ok(scope)
    }

    /// The scope with the values of subqueries in `syntaxes`, which stand above an aggregation, and their rows:
    /// they are joined to the result by [`above`].
    pub(super) fn scalars_above<'q>(
        &self,
        ctes: &Ctes,
        scope: &Scope,
        syntaxes: impl Iterator<Item = &'q Syntax> + Clone,
    ) -> Bound<(Scope, Vec<Arc<Relation>>)> {
        let (mut scope, mut rows) = (scope.clone(), Vec::new());
        for query in syntaxes.clone().flat_map(scalars_in) {
            if scope.nesting.scalar(&query).is_some() {
                continue;
            }
            let at = query.span().start;
            let subquery = self.subquery(ctes, &query, &Scope::new(Arc::new(query::one_row()), None))?;
            subquery.check_scalar(at)?;
            let name = format!("$above{}", rows.len());
            let Typed { expr, ty, .. } = subquery.values[0].clone();
            rows.push(Relation::calc(&subquery.relation, None, vec![(name.clone(), expr, ty.clone())]));
            scope.nesting.scalars.push((query, Typed { expr: named(&name), ty, at }));
        }
        for syntax in syntaxes {
            if let Some(at) = scalar_in_aggregate(syntax) {
                return Err(Fault::unsupported(at, "a subquery within an aggregate")
                    .hint("join it in a derived table in FROM"));
            }
        }
        Ok((scope, rows))
    }

    fn subquery(&self, ctes: &Ctes, query: &Query, outer: &Scope) -> Bound<Subquery> {
        let Some(select) = plain_select(query) else {
            return Ok(Subquery::all_of(self.query(ctes, query)?, Shape::Rows));
        };
        let at = select.select_token.0.span.start;
        let mut scope = self.from(ctes, select, at)?;
        let nesting = Nesting { outer: None, ..outer.nesting.clone() };
        scope.nesting.outer = Some(Arc::new(Scope { nesting, ..outer.clone() }));
        let mut conditions = Vec::new();
        if let Some(condition) = &select.selection {
            (scope, conditions) = self.restricted(ctes, scope, condition, at)?;
        }
        scope.nesting.outer = None;
        if conditions.is_empty() {
            let shape = match (is_global(select), &select.having) {
                (false, _) => Shape::Rows,
                (true, None) => Shape::One,
                (true, Some(_)) => Shape::OneAtMost,
            };
            return Ok(Subquery::all_of(self.projected(ctes, scope, (select, &[]), at)?, shape));
        }
        if query::is_aggregated(select) {
            self.correlated_aggregate(&scope, select, conditions, at)
        } else {
            self.correlated_rows(ctes, scope, select, conditions, at)
        }
    }

    fn correlated_rows(
        &self,
        ctes: &Ctes,
        scope: Scope,
        select: &Select,
        conditions: Vec<Expr>,
        at: Location,
    ) -> Bound<Subquery> {
        let items = self.expand(&scope, &select.projection, at)?;
        let scope = self.with_scalars(ctes, scope, items.iter().filter_map(query::Item::syntax))?;
        let mut columns = Vec::with_capacity(items.len());
        for item in items {
            columns.push(self.output(&mut ExprBinder::new(&scope, self.zone), item)?);
        }
        let selected = columns.len();
        let mut tied = columns_of(&conditions);
        tied.retain(|name| !name.starts_with(OUTER));
        for name in &tied {
            let ty = scope.relation.index(name).map(|index| scope.relation.columns[index].ty.clone());
            columns.push((name.clone(), named(name), ty.unwrap_or(SqlType::Null)));
        }
        let relation = Relation::calc(&scope.relation, None, columns);
        let place = |name: &str| tied.iter().position(|tied| tied == name).map(|index| index + selected);
        let renamed = |name: &str| place(name).map(|place| named(&relation.columns[place].name));
        let conditions = conditions.into_iter().map(|condition| join::renamed(condition, renamed)).collect();
        let Subquery { relation, mut values, shape, .. } = Subquery::all_of(relation, Shape::Rows);
        values.truncate(selected);
        Ok(Subquery { relation, values, conditions, shape })
    }

    /// An aggregation is done for each value that the query around may ask for: what its columns must equal are
    /// keys, too.
    fn correlated_aggregate(
        &self,
        scope: &Scope,
        select: &Select,
        conditions: Vec<Expr>,
        at: Location,
    ) -> Bound<Subquery> {
        let items = self.expand(scope, &select.projection, at)?;
        let mut grouping = self.group_keys(scope, &select.group_by, at)?.unwrap_or_default();
        let window = matches!(&select.group_by, GroupByExpr::Expressions(keys, _)
            if keys.iter().any(group_window::is_window));
        if grouping.has_sets() || window {
            return Err(Fault::unsupported(
                at,
                "GROUPING SETS or a window in a subquery tied to the query around",
            ));
        }
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.push(self.output(&mut ExprBinder::grouped(scope, self.zone, &mut grouping), item)?);
        }
        let having = match &select.having {
            None => None,
            Some(condition) => {
                Some(ExprBinder::grouped(scope, self.zone, &mut grouping).condition(condition, "HAVING")?)
            }
        };
        let mut tied = Vec::with_capacity(conditions.len());
        for condition in conditions {
            let (own, outer) = equality(&condition).ok_or_else(|| {
                Fault::unsupported(at, "an aggregate tied to the query around by more than equal columns")
                    .hint("WHERE t.k = outer.k")
            })?;
            let index = column_name(&own).and_then(|name| scope.relation.index(name));
            let index = index.ok_or_else(|| {
                Fault::unsupported(at, "an aggregate tied to the query around by an expression")
                    .hint("tie it by a column: compute the expression in a derived table in FROM")
            })?;
            let ty = scope.relation.columns[index].ty.clone();
            let key = grouping.add_key(Typed { expr: own, ty, at });
            tied.push(binary(named(&key), Operator::Eq, outer));
        }
        let global = is_global(select);
        let shape = match (global, is_null_of_nothing(select), &having) {
            (false, ..) => Shape::Rows,
            (true, true, _) => Shape::OneEach(OfNothing::Null),
            (true, false, None) if !grouping.collects() => Shape::OneEach(OfNothing::Value),
            (true, false, _) => Shape::OneEach(OfNothing::Unknown),
        };
        let counts = grouping.counts();
        let relation = grouping.build(&scope.relation, self.zone, at)?;
        let relation = having.map_or_else(|| Arc::clone(&relation), |on| Relation::filtered(&relation, on));
        // Where there is no row there was nothing to count.
        let counted = |name: &str| {
            (global && counts.iter().any(|count| count == name)).then(|| {
                let none = literal(ScalarValue::Int64(Some(0)));
                case(vec![(Expr::IsNotNull(Box::new(named(name))), named(name))], Some(none))
            })
        };
        let values = values
            .into_iter()
            .map(|(_, expr, ty)| Typed { expr: join::renamed(expr, counted), ty, at })
            .collect();
        Ok(Subquery { relation, values, conditions: tied, shape })
    }
}

/// `relation` with the one row of each of `rows`.
pub(super) fn above(
    relation: &Arc<Relation>,
    rows: Vec<Arc<Relation>>,
    at: Location,
) -> Bound<Arc<Relation>> {
    rows.iter().try_fold(Arc::clone(relation), |all, row| join::on(&all, row, JoinKind::Left, Vec::new(), at))
}

impl Subquery {
    fn all_of(relation: Arc<Relation>, shape: Shape) -> Self {
        let nowhere = Location { line: 0, column: 0 };
        let value = |column: &Column| Typed { expr: named(&column.name), ty: column.ty.clone(), at: nowhere };
        let values = relation.columns.iter().map(value).collect();
        Self { relation, values, conditions: Vec::new(), shape }
    }

    /// Pairs no row of the query around in which a column is NULL that the conditions name.
    fn demand_outer(&mut self) {
        let mut outer = columns_of(&self.conditions);
        outer.retain(|name| name.starts_with(OUTER));
        self.conditions.extend(outer.iter().map(|name| Expr::IsNotNull(Box::new(named(name)))));
    }

    /// One column that is always the same: all that EXISTS wants to know.
    fn as_constant(&self) -> Self {
        let row = ("$row".to_owned(), literal(ScalarValue::Boolean(Some(true))), SqlType::Boolean);
        Self::all_of(Relation::calc(&self.relation, None, vec![row]), self.shape)
    }

    /// Its rows, its conditions and its values, in names that `left` has not.
    fn beside(self, left: &Relation) -> (Arc<Relation>, Vec<Expr>, Vec<Typed>) {
        let all = left.columns.iter().chain(&self.relation.columns).map(|column| column.name.clone());
        let names: Vec<String> = unique(all.collect()).split_off(left.columns.len());
        let renamed = |name: &str| match name.strip_prefix(OUTER) {
            Some(name) => Some(named(name)),
            None => self.relation.index(name).map(|index| named(&names[index])),
        };
        let conditions: Vec<Expr> =
            self.conditions.iter().cloned().map(|condition| join::renamed(condition, renamed)).collect();
        let right = join::with_names(&self.relation, &names);
        let values = self.values.iter().cloned();
        let values =
            values.map(|value| Typed { expr: join::renamed(value.expr, renamed), ..value }).collect();
        (right, conditions, values)
    }

    /// Whether it stands for one value.
    fn check_scalar(&self, at: Location) -> Bound<()> {
        if self.values.len() != 1 {
            let message = format!("a subquery of {} columns as a value: expected 1", self.values.len());
            return Err(Fault::new(at, message));
        }
        match self.shape {
            Shape::One | Shape::OneAtMost | Shape::OneEach(OfNothing::Null | OfNothing::Value) => Ok(()),
            Shape::OneEach(OfNothing::Unknown) => {
                Err(Fault::unsupported(at, "this aggregate in a subquery tied to the query around")
                    .hint("LEFT JOIN the grouped subquery and use COALESCE"))
            }
            Shape::Rows => Err(Fault::unsupported(at, "a subquery of several rows as a value")
                .hint("aggregate to one row: (SELECT MAX(x) FROM t)")),
        }
    }
}

/// The query's SELECT, if it is nothing but that.
fn plain_select(query: &Query) -> Option<&Select> {
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
        && query.for_clause.is_none()
        && query.settings.is_none()
        && query.format_clause.is_none()
        && query.pipe_operators.is_empty();
    match query.body.as_ref() {
        SetExpr::Select(select) if plain => Some(select),
        _ => None,
    }
}

/// Whether it aggregates all rows to one.
fn is_global(select: &Select) -> bool {
    let keys = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    query::is_aggregated(select) && !keys
}

/// Whether it selects one aggregate that is NULL of no rows.
fn is_null_of_nothing(select: &Select) -> bool {
    let [SelectItem::UnnamedExpr(syntax) | SelectItem::ExprWithAlias { expr: syntax, .. }] =
        select.projection.as_slice()
    else {
        return false;
    };
    match syntax {
        Syntax::Function(function) => {
            matches!(aggregate_name(function), Some("SUM" | "AVG" | "MIN" | "MAX"))
        }
        _ => false,
    }
}

/// The operands of the ANDs of WHERE: subqueries to be tested, and others.
fn split<'q>(syntax: &'q Syntax, plain: &mut Vec<&'q Syntax>, tests: &mut Vec<Test<'q>>) {
    match syntax {
        Syntax::BinaryOp { left, op: BinaryOperator::And, right } => {
            split(left, plain, tests);
            split(right, plain, tests);
        }
        Syntax::Nested(inner) => split(inner, plain, tests),
        other => match test(other) {
            Some(test) => tests.push(test),
            None => plain.push(other),
        },
    }
}

fn test(syntax: &Syntax) -> Option<Test<'_>> {
    let at = syntax.span().start;
    match syntax {
        Syntax::Nested(inner) => test(inner),
        Syntax::UnaryOp { op: UnaryOperator::Not, expr } => {
            test(expr).map(|test| Test { negated: !test.negated, ..test })
        }
        Syntax::Exists { subquery, negated } => {
            Some(Test { operands: Vec::new(), query: subquery, negated: *negated, at })
        }
        Syntax::InSubquery { expr, subquery, negated } => {
            let operands = match expr.as_ref() {
                Syntax::Tuple(operands) => operands.iter().collect(),
                operand => vec![operand],
            };
            Some(Test { operands, query: subquery, negated: *negated, at })
        }
        _ => None,
    }
}

fn all_of(conditions: &[&Syntax]) -> Option<Syntax> {
    conditions.iter().map(|condition| (*condition).clone()).reduce(|left, right| Syntax::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    })
}

/// Whether the condition compares the subquery with something.
fn compares(syntax: &Syntax, query: &Query) -> bool {
    let is_query = |side: &Syntax| matches!(side, Syntax::Subquery(known) if **known == *query);
    match syntax {
        Syntax::BinaryOp {
            left,
            op:
                BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Gt
                | BinaryOperator::GtEq,
            right,
        } => is_query(left) || is_query(right),
        _ => false,
    }
}

/// The subqueries that stand for a value.
fn scalars_in(syntax: &Syntax) -> Vec<Query> {
    let mut finder = Finder { queries: 0, aggregates: 0, found: Vec::new(), in_aggregate: None };
    let _ = syntax.visit(&mut finder);
    finder.found
}

fn scalar_in_aggregate(syntax: &Syntax) -> Option<Location> {
    let mut finder = Finder { queries: 0, aggregates: 0, found: Vec::new(), in_aggregate: None };
    let _ = syntax.visit(&mut finder);
    finder.in_aggregate
}

/// Subqueries outside of subqueries.
struct Finder {
    /// Queries around the place.
    queries: usize,
    /// Aggregates around it.
    aggregates: usize,
    found: Vec<Query>,
    in_aggregate: Option<Location>,
}

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, syntax: &Syntax) -> ControlFlow<()> {
        if self.queries > 0 {
            return ControlFlow::Continue(());
        }
        match syntax {
            Syntax::Subquery(query) => {
                if self.aggregates > 0 {
                    self.in_aggregate.get_or_insert(query.span().start);
                }
                if !self.found.contains(query) {
                    self.found.push((**query).clone());
                }
            }
            Syntax::Function(function) if aggregate_name(function).is_some() => self.aggregates += 1,
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, syntax: &Syntax) -> ControlFlow<()> {
        if let Syntax::Function(function) = syntax
            && self.queries == 0
            && aggregate_name(function).is_some()
        {
            self.aggregates -= 1;
        }
        ControlFlow::Continue(())
    }
}

fn has_having(query: &Query) -> bool {
    matches!(query.body.as_ref(), SetExpr::Select(select) if select.having.is_some())
}

/// Conditions with OR make Flink join the subquery with the distinct values of the columns it names of the query
/// around, and those with the query around by `=`: rows with NULL among them find no partner.
fn makes_flink_join_values(condition: &Expr) -> bool {
    matches!(condition, Expr::BinaryExpr(BinaryExpr { op: Operator::Or | Operator::IsNotDistinctFrom, .. }))
        && names_outer(condition)
}

/// Conditions of which we do not know whether Flink makes the same of them.
fn refuse_unclear(condition: &Expr, at: Location) -> Bound<()> {
    let refused = match condition {
        Expr::BinaryExpr(BinaryExpr { op: Operator::Or | Operator::IsNotDistinctFrom, left, right }) => {
            has_logic(left) || has_logic(right)
        }
        Expr::BinaryExpr(BinaryExpr { op: Operator::IsDistinctFrom, .. }) | Expr::Case(_) => true,
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => column_name(inner).is_none(),
        Expr::Not(inner) => match inner.as_ref() {
            Expr::BinaryExpr(BinaryExpr { op: Operator::And | Operator::Or, .. }) => true,
            inner => has_logic(inner),
        },
        other => has_logic(other),
    };
    if refused {
        return Err(Fault::unsupported(at, "this condition between a subquery and the query around")
            .hint("combine comparisons with AND"));
    }
    Ok(())
}

/// Whether a condition stands within, other than ANDs and ORs of comparisons.
fn has_logic(expr: &Expr) -> bool {
    let found = expr.exists(|node| {
        Ok(matches!(
            node,
            Expr::Not(_)
                | Expr::IsTrue(_)
                | Expr::IsNotTrue(_)
                | Expr::IsFalse(_)
                | Expr::IsNotFalse(_)
                | Expr::IsUnknown(_)
                | Expr::IsNotUnknown(_)
                | Expr::BinaryExpr(BinaryExpr {
                    op: Operator::IsDistinctFrom | Operator::IsNotDistinctFrom,
                    ..
                })
        ))
    });
    found.unwrap_or(true)
}

fn names_outer(expr: &Expr) -> bool {
    expr.column_refs().iter().any(|column| column.name.starts_with(OUTER))
}

/// `own = outer`, in either order.
fn equality(condition: &Expr) -> Option<(Expr, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
    let is_outer = |expr: &Expr| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| column.name.starts_with(OUTER))
    };
    match (is_outer(left), is_outer(right)) {
        (false, true) if !names_outer(left) => Some(((**left).clone(), (**right).clone())),
        (true, false) if !names_outer(right) => Some(((**right).clone(), (**left).clone())),
        _ => None,
    }
}

/// The columns that the conditions name, each once, in an order that is the same in every process: plans
/// are compared by their text.
fn columns_of(conditions: &[Expr]) -> Vec<String> {
    let names = conditions.iter().flat_map(Expr::column_refs).map(|column| column.name.clone());
    names.collect::<BTreeSet<_>>().into_iter().collect()
}
