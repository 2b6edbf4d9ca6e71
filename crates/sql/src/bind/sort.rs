//! `ORDER BY` and `LIMIT` of a query.

use std::ops::ControlFlow;
use std::sync::Arc;

use chrono_tz::Tz;
use datafusion_common::ScalarValue;
use sqlparser::ast::{
    Expr as Syntax, LimitClause, OrderByExpr, OrderByKind, Query, Spanned, Value, visit_expressions_mut,
};
use sqlparser::tokenizer::Location;

use super::expression::{ExprBinder, Scope};
use super::query::{Item, Level};
use super::rank::{self, SortOptions};
use crate::error::{Bound, Fault};
use crate::functions::literal;
use crate::relation::{Node, Rank, RankWhen, Relation, SortColumn, named};

/// What a query sorts by, and which of the sorted rows it keeps.
#[derive(Default)]
pub(super) struct Sorting {
    pub(super) order: Vec<OrderByExpr>,
    /// Rows left out, rows kept.
    limit: Option<(u64, u64)>,
}

impl Sorting {
    pub(super) fn of(query: &Query, level: Level, at: Location) -> Bound<Self> {
        let limit = limit(query, at)?;
        let Some(order_by) = &query.order_by else { return Ok(Self { order: Vec::new(), limit }) };
        if order_by.interpolate.is_some() {
            return Err(Fault::unsupported(order_by.span().start, "INTERPOLATE").or_at(at));
        }
        let OrderByKind::Expressions(order) = &order_by.kind else {
            return Err(Fault::unsupported(order_by.span().start, "ORDER BY ALL").or_at(at));
        };
        // The order of rows within a query means nothing to the query around it.
        let counts = level == Level::Top || limit.is_some();
        Ok(Self { order: if counts { order.clone() } else { Vec::new() }, limit })
    }

    pub(super) fn is_none(&self) -> bool {
        self.order.is_empty() && self.limit.is_none()
    }

    /// The rows of `relation` that are wanted, in order. Its last columns are those of the order, and go.
    pub(super) fn apply(&self, relation: &Arc<Relation>, at: Location) -> Bound<Arc<Relation>> {
        if self.is_none() {
            return Ok(Arc::clone(relation));
        }
        let shown = relation.columns.len() - self.order.len();
        let mut order = Vec::with_capacity(self.order.len());
        for (item, index) in self.order.iter().zip(shown..) {
            order.push(SortOptions::of(item)?.column(&rank::first_alike(relation, index)));
        }
        let place = self.order.first().map_or(at, |item| item.expr.span().start);
        let place = if place.line == 0 { at } else { place };
        rank::check_order(relation, &order, place)?;
        let sorted = match self.limit {
            Some((_, 0)) => Relation::filtered(relation, literal(ScalarValue::Boolean(Some(false)))),
            Some((offset, count)) => {
                let ranks = Some((offset.saturating_add(1), offset.saturating_add(count)));
                let when = RankWhen::Always;
                let rank = Rank { keys: Vec::new(), order, ranks, later_first: false, when, at: place };
                first_rows(relation, rank::by_arrival(relation, rank))
            }
            None => by_time(relation, order, place)?,
        };
        let columns = sorted.columns[..shown].iter();
        let columns = columns.map(|column| (column.name.clone(), named(&column.name), column.ty.clone()));
        Ok(Relation::calc(&sorted, None, columns.collect()))
    }
}

fn first_rows(relation: &Arc<Relation>, rank: Rank) -> Arc<Relation> {
    let single = rank.ranks.is_some_and(|(first, last)| first == last);
    let mut keys = relation.keys.clone();
    if single {
        keys.insert(0, Vec::new());
    }
    let updating = relation.updating || rank.later_first || !rank.order.is_empty();
    let mut columns = relation.columns.clone();
    columns.iter_mut().for_each(|column| column.window = None);
    Arc::new(Relation { columns, updating, keys, node: Node::Rank { input: Arc::clone(relation), rank } })
}

fn by_time(relation: &Arc<Relation>, order: Vec<SortColumn>, at: Location) -> Bound<Arc<Relation>> {
    if let [by] = order.as_slice()
        && !by.descending
        && relation.index(&by.name).is_some_and(|index| relation.columns[index].proctime)
    {
        // Rows come in that order.
        return Ok(Arc::clone(relation));
    }
    let first =
        order.first().and_then(|first| Some((first, &relation.columns[relation.index(&first.name)?])));
    let Some((first, _)) = first.filter(|(first, column)| column.rowtime && !first.descending) else {
        return Err(Fault::unsupported(at, "ORDER BY anything but ascending event time, without LIMIT")
            .hint(
                "a stream has no last row to sort: add LIMIT, or order by the column of WATERMARK FOR first",
            ));
    };
    if relation.updating {
        return Err(Fault::unsupported(at, "ORDER BY event time over rows that change").hint("add LIMIT"));
    }
    let node = Node::Sort {
        input: Arc::clone(relation),
        time: first.name.clone(),
        order: order.get(1..).unwrap_or_default().to_vec(),
    };
    let (columns, keys) = (relation.columns.clone(), relation.keys.clone());
    Ok(Arc::new(Relation { node, columns, updating: false, keys }))
}

/// `relation` with the columns of `order`, which may name its columns only.
pub(super) fn with_keys(relation: &Arc<Relation>, order: &[OrderByExpr], zone: Tz) -> Bound<Arc<Relation>> {
    if order.is_empty() {
        return Ok(Arc::clone(relation));
    }
    let scope = Scope::new(Arc::clone(relation), None);
    let mut columns: Vec<_> = relation
        .columns
        .iter()
        .map(|column| (column.name.clone(), named(&column.name), column.ty.clone()))
        .collect();
    for (index, item) in order.iter().enumerate() {
        let column = match ordinal(&item.expr, relation.columns.len())? {
            Some(place) => columns[place].clone(),
            None => {
                let bound = ExprBinder::new(&scope, zone).bind(&item.expr)?;
                (String::new(), bound.expr, bound.ty)
            }
        };
        columns.push((format!("$order{index}"), column.1, column.2));
    }
    Ok(Relation::calc(relation, None, columns))
}

/// Appends the columns of `order` to the items of SELECT, which it may name by number or alias.
pub(super) fn append(items: &mut Vec<Item<'_>>, order: &[OrderByExpr]) -> Bound<()> {
    let known: Vec<(String, Syntax)> = if order.is_empty() {
        Vec::new()
    } else {
        let known = items.iter().map(|item| match item {
            Item::Column { name, syntax } => (name.clone(), syntax.as_ref().clone()),
            Item::Expr { name, syntax } => (name.clone(), (*syntax).clone()),
        });
        known.collect()
    };
    for (index, item) in order.iter().enumerate() {
        let syntax = match ordinal(&item.expr, known.len())? {
            Some(place) => known[place].1.clone(),
            None => without_aliases(&item.expr, &known)?,
        };
        items.push(Item::Column { name: format!("$order{index}"), syntax: Box::new(syntax) });
    }
    Ok(())
}

/// The place of the column that a number stands for.
fn ordinal(syntax: &Syntax, columns: usize) -> Bound<Option<usize>> {
    let Syntax::Value(value) = syntax else { return Ok(None) };
    let Value::Number(number, _) = &value.value else { return Ok(None) };
    let at = value.span.start;
    match number.parse::<usize>() {
        Ok(number) if (1..=columns).contains(&number) => Ok(Some(number - 1)),
        _ => Err(Fault::new(at, format!("ORDER BY {number}: the query has columns 1 to {columns}"))),
    }
}

/// The expression with aliases of SELECT replaced by what they stand for. An alias hides a column.
fn without_aliases(syntax: &Syntax, known: &[(String, Syntax)]) -> Bound<Syntax> {
    let mut syntax = syntax.clone();
    let result = visit_expressions_mut(&mut syntax, |part| {
        let Syntax::Identifier(name) = part else { return ControlFlow::Continue(()) };
        let mut meant = known.iter().filter(|(alias, _)| *alias == name.value).map(|(_, meant)| meant);
        let Some(first) = meant.next() else { return ControlFlow::Continue(()) };
        if meant.any(|other| other != first) {
            return ControlFlow::Break(Fault::new(
                name.span.start,
                format!("column '{}' is ambiguous", name.value),
            ));
        }
        *part = first.clone();
        ControlFlow::Continue(())
    });
    match result {
        ControlFlow::Break(fault) => Err(fault),
        ControlFlow::Continue(()) => Ok(syntax),
    }
}

/// Rows to leave out and rows to keep.
fn limit(query: &Query, at: Location) -> Bound<Option<(u64, u64)>> {
    let (mut count, mut offset) = (None, 0);
    match &query.limit_clause {
        None => {}
        Some(LimitClause::LimitOffset { limit, offset: skipped, limit_by }) => {
            if !limit_by.is_empty() {
                return Err(Fault::unsupported(at, "LIMIT BY"));
            }
            count = limit.as_ref().map(|limit| number(limit, "LIMIT", at)).transpose()?;
            if let Some(skipped) = skipped {
                offset = number(&skipped.value, "OFFSET", at)?;
            }
        }
        Some(LimitClause::OffsetCommaLimit { .. }) => {
            return Err(Fault::unsupported(at, "LIMIT a, b").hint("LIMIT b OFFSET a"));
        }
    }
    if let Some(fetch) = &query.fetch {
        if fetch.with_ties || fetch.percent || count.is_some() {
            return Err(Fault::unsupported(at, "this FETCH").hint("FETCH FIRST 10 ROWS ONLY"));
        }
        let quantity = fetch.quantity.as_ref();
        count = Some(quantity.map_or(Ok(1), |quantity| number(quantity, "FETCH", at))?);
    }
    match count {
        Some(count) => Ok(Some((offset, count))),
        None if offset > 0 => Err(Fault::unsupported(at, "OFFSET without LIMIT").hint("add LIMIT")),
        None => Ok(None),
    }
}

fn number(syntax: &Syntax, what: &str, at: Location) -> Bound<u64> {
    let place = syntax.span().start;
    let value = match syntax {
        Syntax::Value(value) => match &value.value {
            Value::Number(number, _) => number.parse().ok(),
            _ => None,
        },
        _ => None,
    };
    value
        .ok_or_else(|| Fault::unsupported(place, format!("{what} {syntax}")).or_at(at).hint("a whole number"))
}
