//! `ROW_NUMBER()` with a bound on it: the first rows of each partition, the first or last row per key, and
//! both per window.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion_common::ScalarValue;
use datafusion_expr::{BinaryExpr, Expr, Operator};
use highwater_stream::{AggregateFunction, OverFrame, WindowColumn, WindowShape};
use sqlparser::ast::{Expr as Syntax, OrderByExpr, Spanned, WindowType};
use sqlparser::tokenizer::Location;

use super::query::Item;
use crate::error::{Bound, Fault};
use crate::functions::{integer_literal, literal};
use crate::relation::{
    Aggregate, Column, Node, OverBy, OverFunction, OverWindow, Rank, RankWhen, Relation, SortColumn,
    WindowRole, column_name, named,
};
use crate::types::SqlType;

const FORM: &str = "SELECT .. FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS rn FROM t) \
                    WHERE rn <= 10";

/// The column of numbers, before SQL names it.
const RANK: &str = "$rank";

/// A `ROW_NUMBER()` taken out of SELECT. What it partitions and orders by stands behind the other columns.
pub(super) struct RowNumber {
    /// What the columns are called, the number among them.
    names: Vec<String>,
    /// The number's place among them.
    place: usize,
    partitions: usize,
    order: Vec<SortOptions>,
    at: Location,
}

/// `ASC`, `DESC`, `NULLS ..`.
#[derive(Clone, Copy, Debug)]
pub(super) struct SortOptions {
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

impl SortOptions {
    pub(super) fn of(item: &OrderByExpr) -> Bound<Self> {
        if item.with_fill.is_some() {
            return Err(Fault::unsupported(item.expr.span().start, "WITH FILL"));
        }
        let descending = item.options.asc == Some(false);
        // NULL is the smallest value.
        Ok(Self { descending, nulls_first: item.options.nulls_first.unwrap_or(!descending) })
    }

    pub(super) fn column(self, name: &str) -> SortColumn {
        let Self { descending, nulls_first } = self;
        SortColumn { name: name.to_owned(), descending, nulls_first }
    }
}

/// Takes the `ROW_NUMBER()` out of the items of SELECT, if there is one.
pub(super) fn take(items: &mut Vec<Item<'_>>) -> Bound<Option<RowNumber>> {
    let mut numbers = items.iter().enumerate().filter(|(_, item)| is_row_number(syntax(item)));
    let Some((place, item)) = numbers.next() else { return Ok(None) };
    let Syntax::Function(function) = plain(syntax(item)) else { return Ok(None) };
    let at = function.name.span().start;
    if numbers.next().is_some() {
        return Err(Fault::unsupported(at, "several ROW_NUMBER() in one SELECT"));
    }
    let Some(WindowType::WindowSpec(over)) = &function.over else {
        return Err(Fault::unsupported(at, "a named window"));
    };
    if over.window_name.is_some() || over.window_frame.is_some() {
        return Err(Fault::new(at, "ROW_NUMBER() takes PARTITION BY and ORDER BY, no frame of rows"));
    }
    if !super::aggregate::plain_arguments(function, at)?.is_empty() {
        return Err(Fault::new(at, "ROW_NUMBER() takes no argument"));
    }
    if over.order_by.is_empty() {
        return Err(Fault::new(at, "ROW_NUMBER() without ORDER BY").hint(FORM));
    }
    let names = items.iter().map(|item| match item {
        Item::Column { name, .. } | Item::Expr { name, .. } => name.clone(),
    });
    let row_number = RowNumber {
        names: names.collect(),
        place,
        partitions: over.partition_by.len(),
        order: over.order_by.iter().map(SortOptions::of).collect::<Bound<_>>()?,
        at,
    };
    let order = over.order_by.iter().map(|item| &item.expr);
    let behind: Vec<Item<'_>> = over
        .partition_by
        .iter()
        .chain(order)
        .enumerate()
        .map(|(index, syntax)| Item::Column { name: format!("$by{index}"), syntax: Box::new(syntax.clone()) })
        .collect();
    items.remove(place);
    items.extend(behind);
    Ok(Some(row_number))
}

fn syntax<'i>(item: &'i Item<'_>) -> &'i Syntax {
    match item {
        Item::Column { syntax, .. } => syntax,
        Item::Expr { syntax, .. } => syntax,
    }
}

fn plain(syntax: &Syntax) -> &Syntax {
    match syntax {
        Syntax::Nested(inner) => plain(inner),
        other => other,
    }
}

fn is_row_number(syntax: &Syntax) -> bool {
    matches!(plain(syntax), Syntax::Function(function)
        if function.over.is_some() && function.name.to_string().eq_ignore_ascii_case("ROW_NUMBER"))
}

impl RowNumber {
    /// The rows of `input` with their number. `input` has the other columns, then what to partition and order by.
    pub(super) fn number(self, input: &Arc<Relation>) -> Bound<Arc<Relation>> {
        let shown = self.names.len() - 1;
        let by: Vec<String> = (shown..input.columns.len()).map(|index| first_alike(input, index)).collect();
        let (keys, order) = by.split_at(self.partitions.min(by.len()));
        check_keys(input, keys, self.at)?;
        let order: Vec<SortColumn> =
            self.order.iter().zip(order).map(|(options, name)| options.column(name)).collect();
        check_order(input, &order, self.at)?;
        let mut columns = input.columns.clone();
        columns.push(Column::plain(RANK, SqlType::BigInt));
        let keys = keys.to_vec();
        let ranked = match by_event_time(input, &order) {
            // It has a meaning also without a bound.
            Some(order) => {
                columns.iter_mut().for_each(|column| column.window = None);
                let node = Node::Over { input: Arc::clone(input), over: count_rows(keys, order) };
                Relation { columns, updating: false, keys: input.keys.clone(), node }
            }
            None => {
                let (ranks, when, at) = (None, RankWhen::Always, self.at);
                let rank = Rank { keys, order, ranks, later_first: false, when, at };
                let node = Node::Rank { input: Arc::clone(input), rank };
                Relation { columns, updating: true, keys: input.keys.clone(), node }
            }
        };
        let ranked = Arc::new(ranked);
        let column = |name: &str, ty: &SqlType| (named(name), ty.clone());
        let mut shown: Vec<_> =
            input.columns[..shown].iter().map(|from| column(&from.name, &from.ty)).collect();
        shown.insert(self.place, column(RANK, &SqlType::BigInt));
        let columns = self.names.into_iter().zip(shown).map(|(name, (expr, ty))| (name, expr, ty));
        Ok(Relation::calc(&ranked, None, columns.collect()))
    }
}

/// The event time that rows which are only added are ordered by, ascending.
fn by_event_time(input: &Relation, order: &[SortColumn]) -> Option<String> {
    match order {
        [by] if !by.descending && !input.updating => {
            let index = input.index(&by.name)?;
            input.columns[index].rowtime.then(|| by.name.clone())
        }
        _ => None,
    }
}

/// `ROW_NUMBER()` in the order of event time.
fn count_rows(keys: Vec<String>, order: String) -> OverWindow {
    let count = Aggregate {
        function: AggregateFunction::CountStar,
        argument: None,
        distinct: false,
        filter: None,
        output: SqlType::BigInt,
    };
    OverWindow {
        keys,
        order: OverBy::EventTime(order),
        frame: OverFrame::Rows,
        calls: vec![OverFunction::Aggregate(count)],
    }
}

/// The first column that is computed as the column at `index`.
pub(super) fn first_alike(relation: &Relation, index: usize) -> String {
    let same = match &relation.node {
        Node::Calc { columns, .. } => columns.iter().position(|expr| *expr == columns[index]),
        _ => None,
    };
    relation.columns[same.unwrap_or(index)].name.clone()
}

pub(super) fn check_order(input: &Relation, order: &[SortColumn], at: Location) -> Bound<()> {
    let ordered = |ty: &SqlType| {
        ty.is_numeric()
            || ty.is_text()
            || ty.is_timestamp()
            || matches!(
                ty,
                SqlType::Boolean
                    | SqlType::Date
                    | SqlType::Time(_)
                    | SqlType::Binary(_)
                    | SqlType::Varbinary(_)
            )
    };
    for key in order {
        let Some(index) = input.index(&key.name) else { continue };
        let ty = &input.columns[index].ty;
        if !ordered(ty) {
            return Err(Fault::new(at, format!("cannot order by {ty}")));
        }
    }
    Ok(())
}

fn check_keys(input: &Relation, keys: &[String], at: Location) -> Bound<()> {
    for key in keys {
        let Some(index) = input.index(key) else { continue };
        let ty = &input.columns[index].ty;
        if *ty == SqlType::Null || ty.is_interval() || matches!(ty, SqlType::Map(..)) {
            return Err(Fault::new(at, format!("cannot partition by {ty}")));
        }
    }
    Ok(())
}

/// The relation with those of `conditions` that bound a row number put into it, and the others.
pub(super) fn bounded(
    relation: &Arc<Relation>,
    conditions: Vec<Expr>,
    at: Location,
) -> Bound<(Arc<Relation>, Vec<Expr>)> {
    let numbers = numbers(relation);
    let touches = |expr: &Expr| expr.column_refs().iter().any(|column| numbers.contains(&column.name));
    if !conditions.iter().any(touches) {
        return Ok((Arc::clone(relation), conditions));
    }
    let mut bounds = Bounds::default();
    let mut others = Vec::with_capacity(conditions.len());
    for condition in conditions {
        if !touches(&condition) {
            others.push(condition);
        } else if !bounds.add(&condition, &numbers) {
            return Err(Fault::unsupported(at, "this condition on a ROW_NUMBER()")
                .hint("rn <= 10, rn = 1 or rn BETWEEN 2 AND 3, with literals"));
        }
    }
    let ranks = bounds.ranks(at)?;
    Ok((with_ranks(relation, ranks, at)?, others))
}

/// What columns the row numbers are whose bounds are not known yet.
fn numbers(relation: &Relation) -> Vec<String> {
    match &relation.node {
        Node::Rank { rank: Rank { ranks: None, .. }, .. } => vec![RANK.to_owned()],
        Node::Over { .. } if relation.columns.last().is_some_and(|last| last.name == RANK) => {
            vec![RANK.to_owned()]
        }
        Node::Calc { input, columns, .. } => {
            let below = numbers(input);
            let is = |expr: &Expr| column_name(expr).is_some_and(|name| below.iter().any(|n| n == name));
            let found = relation.columns.iter().zip(columns).filter(|(_, expr)| is(expr));
            found.map(|(column, _)| column.name.clone()).collect()
        }
        _ => Vec::new(),
    }
}

/// At most one bound from below and one from above, as Flink.
#[derive(Default)]
struct Bounds {
    first: Option<i64>,
    last: Option<i64>,
}

impl Bounds {
    /// False: the condition is no bound, or one too many.
    fn add(&mut self, condition: &Expr, numbers: &[String]) -> bool {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return false };
        let is = |expr: &Expr| column_name(expr).is_some_and(|name| numbers.iter().any(|n| n == name));
        let (op, bound) = match (is(left), is(right)) {
            (true, false) => (*op, integer_literal(right)),
            (false, true) => (op.swap().unwrap_or(*op), integer_literal(left)),
            _ => return false,
        };
        let Some(bound) = bound else { return false };
        let (first, last) = match op {
            Operator::Eq => (Some(bound), Some(bound)),
            Operator::Lt => (None, Some(bound.saturating_sub(1))),
            Operator::LtEq => (None, Some(bound)),
            Operator::Gt => (Some(bound.saturating_add(1)), None),
            Operator::GtEq => (Some(bound), None),
            _ => return false,
        };
        let twice = (first.is_some() && self.first.is_some()) || (last.is_some() && self.last.is_some());
        self.first = self.first.or(first);
        self.last = self.last.or(last);
        !twice
    }

    fn ranks(&self, at: Location) -> Bound<(u64, u64)> {
        let Some(last) = self.last else {
            return Err(Fault::unsupported(at, "a ROW_NUMBER() without a bound from above")
                .hint("rn <= 10, or rn BETWEEN 2 AND 3"));
        };
        let first = self.first.unwrap_or(1);
        let ranks = (u64::try_from(first.max(1)), u64::try_from(last));
        match ranks {
            (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
            _ => Err(Fault::new(at, format!("no row has a ROW_NUMBER() from {first} to {last}"))),
        }
    }
}

/// The relation with its row number bounded to `ranks`.
fn with_ranks(relation: &Arc<Relation>, ranks: (u64, u64), at: Location) -> Bound<Arc<Relation>> {
    match &relation.node {
        Node::Calc { input, filter, columns } => {
            let input = with_ranks(input, ranks, at)?;
            let outputs = relation.columns.iter().zip(columns);
            let outputs =
                outputs.map(|(column, expr)| (column.name.clone(), expr.clone(), column.ty.clone()));
            Ok(Relation::calc(&input, filter.clone(), outputs.collect()))
        }
        Node::Rank { input, rank } => with_number(input, Rank { ranks: Some(ranks), ..rank.clone() }, ranks),
        Node::Over { input, over } => {
            // Made of a ROW_NUMBER() by event time that had no bound yet.
            let OverBy::EventTime(time) = &over.order else { return Ok(Arc::clone(relation)) };
            let order = SortColumn { name: time.clone(), descending: false, nulls_first: true };
            let rank = Rank {
                keys: over.keys.clone(),
                order: vec![order],
                ranks: Some(ranks),
                later_first: false,
                when: RankWhen::Always,
                at,
            };
            with_number(input, rank, ranks)
        }
        _ => Ok(Arc::clone(relation)),
    }
}

/// The ranked rows with their rank.
fn with_number(input: &Arc<Relation>, rank: Rank, ranks: (u64, u64)) -> Bound<Arc<Relation>> {
    if ranks.0 < ranks.1 {
        return ranked(input, rank, true);
    }
    // There is one number: rows need not carry it.
    let at_place = ranked(input, rank, false)?;
    let mut columns: Vec<_> = at_place
        .columns
        .iter()
        .map(|column| (column.name.clone(), named(&column.name), column.ty.clone()))
        .collect();
    let number = ScalarValue::Int64(i64::try_from(ranks.0).ok());
    columns.push((RANK.to_owned(), literal(number), SqlType::BigInt));
    Ok(Relation::calc(&at_place, None, columns))
}

/// The rows of `input` at `rank.ranks`. Flink's choice of what that means: by window, by event time, or
/// for ever.
pub(super) fn ranked(input: &Arc<Relation>, rank: Rank, numbered: bool) -> Bound<Arc<Relation>> {
    let rank = by_arrival(input, rank);
    let by_time = match rank.order.as_slice() {
        [by] => input.index(&by.name).filter(|index| input.columns[*index].rowtime).map(|_| by.descending),
        _ => None,
    };
    let by_time = by_time.filter(|_| rank.ranks == Some((1, 1)) && !numbered && !input.updating);
    let later_first = rank.later_first || by_time == Some(true);
    let (when, keys) = match window_over(input, &rank)? {
        Some(when) => (when, without_window(input, &rank.keys)),
        None if by_time == Some(false) => (RankWhen::AtItsTime, rank.keys.clone()),
        None => (RankWhen::Always, rank.keys.clone()),
    };
    let windowed = matches!(when, RankWhen::WindowOver { .. });
    let window =
        |role: Option<WindowRole>| role.filter(|_| windowed).map(|role| WindowRole { closed: true, ..role });
    let mut columns: Vec<Column> = input
        .columns
        .iter()
        .map(|column| Column { window: window(column.window), ..column.clone() })
        .collect();
    let partition: Vec<usize> = rank.keys.iter().filter_map(|key| input.index(key)).collect();
    let mut unique = input.keys.clone();
    if numbered {
        unique.push(partition.into_iter().chain([columns.len()]).collect());
        columns.push(Column::plain(RANK, SqlType::BigInt));
    } else if rank.ranks.is_some_and(|(first, last)| first == last) {
        unique.insert(0, partition);
    }
    let arrival = rank.order.is_empty() && !later_first && !input.updating;
    let updating = when == RankWhen::Always && !arrival;
    let rank = Rank { keys, later_first, when, ..rank };
    Ok(Arc::new(Relation {
        columns,
        updating,
        keys: unique,
        node: Node::Rank { input: Arc::clone(input), rank },
    }))
}

/// Rows come in the order of processing time: it need not be kept.
pub(super) fn by_arrival(input: &Relation, rank: Rank) -> Rank {
    match rank.order.as_slice() {
        [by] if input.index(&by.name).is_some_and(|index| input.columns[index].proctime) => {
            Rank { later_first: by.descending, order: Vec::new(), ..rank }
        }
        _ => rank,
    }
}

fn role(input: &Relation, name: &str) -> Option<WindowColumn> {
    let role = input.columns[input.index(name)?].window?;
    Some(role.part)
}

/// Partitions of windows are said when their window is over.
fn window_over(input: &Relation, rank: &Rank) -> Bound<Option<RankWhen>> {
    let key = |part| rank.keys.iter().find(|key| role(input, key) == Some(part));
    let (Some(_), Some(end)) = (key(WindowColumn::Start), key(WindowColumn::End)) else { return Ok(None) };
    let Some(zone) = zone_of(input, end) else {
        return Err(Fault::unsupported(rank.at, "ROW_NUMBER() per window over this query")
            .hint("over a window table function, or over its aggregation by window_start, window_end"));
    };
    let by_clock = |key: &String| {
        let role = input.index(key).and_then(|index| input.columns[index].window);
        role.is_some_and(|role| role.processing_time)
    };
    if input.updating || rank.order.is_empty() || by_clock(end) {
        let what = "ROW_NUMBER() per window over rows that change, or by processing time";
        return Err(Fault::unsupported(rank.at, what));
    }
    Ok(Some(RankWhen::WindowOver { end: end.clone(), zone }))
}

fn without_window(input: &Relation, keys: &[String]) -> Vec<String> {
    let bounds = [Some(WindowColumn::Start), Some(WindowColumn::End)];
    keys.iter().filter(|key| !bounds.contains(&role(input, key))).cloned().collect()
}

/// The zone of the window whose end the column is. None: it is the end of no window.
fn zone_of(relation: &Relation, end: &str) -> Option<Option<String>> {
    match &relation.node {
        Node::Calc { input, columns, .. } => zone_of(input, column_name(&columns[relation.index(end)?])?),
        // A session's rows come when it is over: Flink ranks them by other rules.
        Node::WindowTable { window, .. } if window.shape == WindowShape::Session => None,
        Node::WindowTable { input, window } => input.index(end).is_none().then(|| window.zone.clone()),
        Node::WindowAggregate { window, .. } => Some(window.zone.clone()),
        Node::Rank { input, rank: Rank { when: RankWhen::WindowOver { .. }, .. } } => zone_of(input, end),
        _ => None,
    }
}

/// The first rows of a partition are told once per batch, not once per row: what was first in between is not
/// seen. Rows that a window has closed over would lack it.
pub(super) fn refuse_time(relation: &Relation, at: Location) -> Bound<()> {
    match &relation.node {
        Node::Rank { .. } if relation.updating => {
            Err(Fault::unsupported(at, "a window over the changing result of a ROW_NUMBER()")
                .hint("put ROW_NUMBER() over the window"))
        }
        Node::Calc { .. } | Node::Union { .. } => {
            relation.inputs().into_iter().try_for_each(|input| refuse_time(input, at))
        }
        _ => Ok(()),
    }
}

/// # Errors
/// If a row number in the query has no bounds.
pub(super) fn settle(relation: &Arc<Relation>) -> Bound<()> {
    let mut seen = HashSet::new();
    let mut left = vec![relation];
    while let Some(relation) = left.pop() {
        if !seen.insert(Arc::as_ptr(relation)) {
            continue;
        }
        if let Node::Rank { rank: Rank { ranks: None, at, .. }, .. } = &relation.node {
            return Err(Fault::unsupported(*at, "ROW_NUMBER() without a bound on it in the WHERE around it")
                .hint(FORM));
        }
        left.extend(relation.inputs());
    }
    Ok(())
}
