//! Aggregate calls and `GROUP BY`.

use std::ops::ControlFlow;
use std::sync::Arc;

use chrono_tz::Tz;
use datafusion_common::ScalarValue;
use datafusion_expr::Expr;
use highwater_stream::{AggregateFunction, WindowColumn, WindowShape};
use sqlparser::ast::{
    DuplicateTreatment, Expr as Syntax, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query,
    Visit, Visitor,
};
use sqlparser::tokenizer::Location;

use super::expression::ExprBinder;
use super::group_window::{GroupWindow, part_column};
use super::{grouping_sets, window};
use crate::error::{Bound, Fault};
use crate::functions::{Typed, literal};
use crate::relation::{Aggregate, Column, Node, Relation, Window, WindowRole, column_name, named, unique};
use crate::types::{PRECISION_MAX, SqlType};

/// Every aggregate of Flink, and which this version has.
pub(crate) const NAMES: &[(&str, bool)] = &[
    ("COUNT", true),
    ("SUM", true),
    ("AVG", true),
    ("MIN", true),
    ("MAX", true),
    ("FIRST_VALUE", true),
    ("LAST_VALUE", true),
    ("LISTAGG", true),
    ("COLLECT", true),
    ("ARRAY_AGG", true),
    ("STDDEV_POP", true),
    ("STDDEV_SAMP", true),
    ("STDDEV", true),
    ("VAR_POP", true),
    ("VAR_SAMP", true),
    ("VARIANCE", true),
    ("APPROX_COUNT_DISTINCT", false),
    ("PERCENTILE", true),
    ("JSON_OBJECTAGG", true),
    ("JSON_ARRAYAGG", true),
    ("GROUPING", true),
    ("GROUPING_ID", true),
    ("GROUP_ID", true),
    ("SUM0", false),
    ("TUMBLE_START", false),
    ("TUMBLE_END", false),
    ("TUMBLE_ROWTIME", false),
    ("TUMBLE_PROCTIME", false),
    ("HOP_START", false),
    ("HOP_END", false),
    ("HOP_ROWTIME", false),
    ("HOP_PROCTIME", false),
    ("SESSION_START", false),
    ("SESSION_END", false),
    ("SESSION_ROWTIME", false),
    ("SESSION_PROCTIME", false),
];

/// The aggregate's name, if the call is one (and not over a window of rows).
pub(crate) fn aggregate_name(function: &Function) -> Option<&'static str> {
    if function.over.is_some() {
        return None;
    }
    let name = function.name.to_string().to_uppercase();
    NAMES.iter().find(|(known, _)| *known == name).map(|(known, _)| *known)
}

/// Whether an aggregate call stands in the expression, outside of subqueries.
pub(crate) fn contains_aggregate(syntax: &Syntax) -> bool {
    let mut finder = AggregateFinder { queries: 0 };
    syntax.visit(&mut finder).is_break()
}

struct AggregateFinder {
    /// Subqueries around the place.
    queries: usize,
}

impl Visitor for AggregateFinder {
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
        match syntax {
            Syntax::Function(function) if self.queries == 0 && aggregate_name(function).is_some() => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The arguments of a call that is no aggregate.
pub(crate) fn plain_arguments(function: &Function, at: Location) -> Bound<Vec<&Syntax>> {
    let wrong = |what: &str| Err(Fault::unsupported(at, what.to_owned()));
    let list = match &function.args {
        FunctionArguments::None => return Ok(Vec::new()),
        FunctionArguments::Subquery(_) => return wrong("a subquery as an argument"),
        FunctionArguments::List(list) => list,
    };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return wrong("DISTINCT or a clause in this function's arguments");
    }
    let mut arguments = Vec::with_capacity(list.args.len());
    for argument in &list.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => arguments.push(expr),
            FunctionArg::Unnamed(_) => return Err(Fault::new(at, "* is only allowed in COUNT(*)")),
            _ => return wrong("a named argument"),
        }
    }
    Ok(arguments)
}

/// An aggregate call whose argument is bound over the input.
#[derive(Clone, Debug)]
pub(crate) struct BoundCall {
    pub(super) function: AggregateFunction,
    pub(super) argument: Option<Typed>,
    pub(super) distinct: bool,
    pub(super) filter: Option<Expr>,
    pub(super) output: SqlType,
}

/// Binds `name(...)` to its result: one call, or an expression over several; `add` gives a call's result.
pub(crate) fn bind_result(
    plain: &mut ExprBinder<'_>,
    function: &Function,
    name: &str,
    at: Location,
    add: &mut dyn FnMut(BoundCall) -> Typed,
) -> Bound<Typed> {
    if let Some(result) = super::compound::bind(plain, function, name, at, add)? {
        return Ok(result);
    }
    bind_call(plain, function, name, at).map(add)
}

/// Refuses an argument of a type that the state of FIRST_VALUE and its kin cannot hold.
pub(super) fn check_kept(name: &str, argument: &Typed, at: Location) -> Bound<()> {
    match &argument.ty {
        ty @ (SqlType::Array(_) | SqlType::Map(..) | SqlType::Row(_) | SqlType::Multiset(_)) => {
            Err(Fault::unsupported(at, format!("{name} of {ty}")).hint("name a field of it"))
        }
        ty @ (SqlType::Null | SqlType::IntervalDay | SqlType::IntervalMonth) => {
            Err(Fault::new(at, format!("cannot apply {name} to {ty}")))
        }
        _ => Ok(()),
    }
}

/// Binds `name(...)`; `plain` binds over the aggregation's input.
pub(crate) fn bind_call(
    plain: &mut ExprBinder<'_>,
    function: &Function,
    name: &str,
    at: Location,
) -> Bound<BoundCall> {
    if !NAMES.contains(&(name, true)) {
        return Err(Fault::unsupported(at, format!("aggregate {name}"))
            .hint("docs/sql/functions.md lists the aggregates"));
    }
    if !function.within_group.is_empty() || function.null_treatment.is_some() {
        return Err(Fault::unsupported(at, format!("WITHIN GROUP or NULLS in {name}")));
    }
    let filter = match &function.filter {
        None => None,
        Some(condition) => Some(plain.condition(condition, "FILTER")?),
    };
    let list = match &function.args {
        FunctionArguments::List(list) if list.clauses.is_empty() => list,
        _ => return Err(Fault::unsupported(at, format!("these arguments of {name}"))),
    };
    let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    let [argument] = list.args.as_slice() else {
        let fault = Fault::new(at, format!("{name} with {} arguments: expected 1", list.args.len()));
        return Err(fault);
    };
    let argument = match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => plain.bind(expr)?,
        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if name == "COUNT" && !distinct => {
            let function = AggregateFunction::CountStar;
            return Ok(BoundCall {
                function,
                argument: None,
                distinct: false,
                filter,
                output: SqlType::BigInt,
            });
        }
        _ => return Err(Fault::new(at, format!("{name} of * or of a named argument"))),
    };
    if matches!(name, "FIRST_VALUE" | "LAST_VALUE" | "COLLECT") {
        check_kept(name, &argument, at)?;
    }
    let (function, output) = result_type(name, &argument.ty).ok_or_else(|| {
        Fault::new(at, format!("cannot apply {name} to {}", argument.ty))
            .hint("SUM and AVG take numbers, MIN and MAX what has an order")
    })?;
    let nested =
        matches!(argument.ty, SqlType::Array(_) | SqlType::Map(..) | SqlType::Row(_) | SqlType::Multiset(_));
    if distinct && nested {
        return Err(Fault::unsupported(at, format!("DISTINCT of {}", argument.ty)).hint("name a field of it"));
    }
    // MIN and MAX are the same with DISTINCT.
    let distinct = distinct && !matches!(function, AggregateFunction::Min | AggregateFunction::Max);
    Ok(BoundCall { function, argument: Some(argument), distinct, filter, output })
}

pub(super) fn result_type(name: &str, ty: &SqlType) -> Option<(AggregateFunction, SqlType)> {
    let ordered = ty.is_numeric()
        || ty.is_text()
        || ty.is_timestamp()
        || matches!(ty, SqlType::Boolean | SqlType::Date | SqlType::Time(_));
    Some(match name {
        "COUNT" if *ty != SqlType::Null && !ty.is_interval() => (AggregateFunction::Count, SqlType::BigInt),
        "SUM" if ty.is_numeric() => (
            AggregateFunction::Sum,
            match ty {
                SqlType::Decimal(_, scale) => SqlType::Decimal(PRECISION_MAX, *scale),
                other => other.clone(),
            },
        ),
        "AVG" if ty.is_numeric() => (
            AggregateFunction::Avg,
            match ty {
                SqlType::Decimal(_, scale) => SqlType::Decimal(PRECISION_MAX, (*scale).max(6)),
                other => other.clone(),
            },
        ),
        "MIN" if ordered => (AggregateFunction::Min, ty.clone()),
        "MAX" if ordered => (AggregateFunction::Max, ty.clone()),
        "FIRST_VALUE" => (AggregateFunction::FirstValue, ty.clone()),
        "LAST_VALUE" => (AggregateFunction::LastValue, ty.clone()),
        "COLLECT" => (AggregateFunction::Collect, SqlType::Multiset(Box::new(ty.clone()))),
        _ => return None,
    })
}

/// What a query groups by and aggregates.
#[derive(Debug, Default)]
pub(crate) struct Grouping {
    keys: Vec<Key>,
    calls: Vec<BoundCall>,
    /// `GROUP BY TUMBLE(..)`.
    pub(super) window: Option<GroupWindow>,
    /// Per set of GROUPING SETS, which of the keys it has; empty without them.
    sets: Vec<Vec<bool>>,
}

#[derive(Clone, Debug)]
struct Key {
    /// Over the input.
    bound: Typed,
    /// Its column in the result.
    name: String,
}

impl Grouping {
    /// Groups by `keys`; equal ones count once.
    pub(crate) fn new(keys: Vec<Typed>) -> Self {
        let mut distinct: Vec<Typed> = Vec::with_capacity(keys.len());
        for key in keys {
            if !distinct.iter().any(|known| known.expr == key.expr) {
                distinct.push(key);
            }
        }
        let names = distinct
            .iter()
            .enumerate()
            .map(|(index, key)| column_name(&key.expr).map_or_else(|| format!("$key{index}"), str::to_owned));
        let names = unique(names.collect());
        let keys = distinct.into_iter().zip(names).map(|(bound, name)| Key { bound, name }).collect();
        Self { keys, calls: Vec::new(), window: None, sets: Vec::new() }
    }

    /// Groups by each of `sets` of keys.
    pub(crate) fn of_sets(sets: Vec<Vec<Typed>>) -> Self {
        let mut grouping = Self::new(sets.iter().flatten().cloned().collect());
        if sets.len() > 1 {
            let has = |set: &Vec<Typed>, key: &Key| set.iter().any(|own| own.expr == key.bound.expr);
            grouping.sets =
                sets.iter().map(|set| grouping.keys.iter().map(|key| has(set, key)).collect()).collect();
        }
        grouping
    }

    pub(crate) fn has_sets(&self) -> bool {
        !self.sets.is_empty()
    }

    /// `GROUPING(key, ...)`, `GROUPING_ID(key, ...)`, `GROUP_ID()`.
    pub(crate) fn indicator(
        &self,
        plain: &mut ExprBinder<'_>,
        function: &Function,
        name: &str,
        at: Location,
    ) -> Bound<Typed> {
        let arguments = plain_arguments(function, at)?;
        if name == "GROUP_ID" && (1..self.sets.len()).any(|set| self.sets[..set].contains(&self.sets[set])) {
            return Err(Fault::unsupported(at, "GROUP_ID of grouping sets that are equal"));
        }
        if arguments.is_empty() != (name == "GROUP_ID") {
            return Err(Fault::new(at, format!("{name} with {} arguments", arguments.len())));
        }
        let mut keys = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let bound = plain.bind(argument)?;
            let place = self.keys.iter().position(|key| key.bound.expr == bound.expr);
            keys.push(place.ok_or_else(|| {
                Fault::new(bound.at, format!("argument '{argument}' of {name} is no key of GROUP BY"))
            })?);
        }
        Ok(Typed { expr: grouping_sets::grouping(&keys, &self.sets), ty: SqlType::BigInt, at })
    }

    /// The key that the syntax stands for.
    pub(crate) fn find_key(&self, mut plain: ExprBinder<'_>, syntax: &Syntax) -> Option<Typed> {
        let bound = plain.bind(syntax).ok()?;
        let key = self.keys.iter().find(|key| key.bound.expr == bound.expr)?;
        Some(Typed { expr: named(&key.name), ty: key.bound.ty.clone(), at: bound.at })
    }

    /// Groups by one more column; returns the result's column of it.
    pub(crate) fn add_key(&mut self, bound: Typed) -> String {
        if let Some(key) = self.keys.iter().find(|key| key.bound.expr == bound.expr) {
            return key.name.clone();
        }
        let name = format!("$tied{}", self.keys.len());
        self.keys.push(Key { bound, name: name.clone() });
        name
    }

    /// The result's columns that are never NULL: counts.
    pub(crate) fn counts(&self) -> Vec<String> {
        let is_count = |call: &BoundCall| {
            matches!(call.function, AggregateFunction::Count | AggregateFunction::CountStar)
        };
        let calls = self.calls.iter().enumerate().filter(|(_, call)| is_count(call));
        calls.map(|(index, _)| call_name(index)).collect()
    }

    /// Whether a call gives a collection: of nothing it is empty.
    pub(crate) fn collects(&self) -> bool {
        let collects = |call: &BoundCall| {
            matches!(call.function, AggregateFunction::Collect | AggregateFunction::ArrayAgg)
        };
        self.calls.iter().any(collects)
    }

    /// The result's column of a call.
    pub(crate) fn add_call(&mut self, call: BoundCall, at: Location) -> Typed {
        let same = |known: &BoundCall| {
            known.function == call.function
                && known.distinct == call.distinct
                && known.filter == call.filter
                && known.argument.as_ref().map(|argument| &argument.expr)
                    == call.argument.as_ref().map(|argument| &argument.expr)
        };
        let index = self.calls.iter().position(same).unwrap_or(self.calls.len());
        let ty = call.output.clone();
        if index == self.calls.len() {
            self.calls.push(call);
        }
        Typed { expr: named(&call_name(index)), ty, at }
    }

    /// The aggregation of `input`.
    pub(crate) fn build(self, input: &Arc<Relation>, zone: Tz, at: Location) -> Bound<Arc<Relation>> {
        if let Some(group) = &self.window {
            return self.build_group_window(input, group, at);
        }
        let role = |key: &Key| {
            column_name(&key.bound.expr)
                .and_then(|name| input.index(name))
                .and_then(|index| input.columns[index].window)
        };
        let has =
            |part: WindowColumn| self.keys.iter().any(|key| role(key).is_some_and(|role| role.part == part));
        if has(WindowColumn::Start) && has(WindowColumn::End) {
            return self.build_window(input, zone, at);
        }
        self.build_group(input, at)
    }

    /// The column that numbers the grouping sets, if there are some.
    fn set_number(&self) -> Option<Column> {
        self.has_sets().then(|| Column::plain(grouping_sets::NUMBER, SqlType::Int))
    }

    /// The grouping sets without the window's columns, which each of them must have.
    fn sets_without_windows(&self, is_window: impl Fn(&Key) -> bool, at: Location) -> Bound<Vec<Vec<bool>>> {
        let windows: Vec<bool> = self.keys.iter().map(is_window).collect();
        let lacks = |set: &Vec<bool>| set.iter().zip(&windows).any(|(has, is_window)| *is_window && !has);
        if self.sets.iter().any(lacks) {
            return Err(Fault::unsupported(at, "a grouping set without the window's columns")
                .hint("GROUP BY window_start, window_end, GROUPING SETS (...)"));
        }
        let without = |set: &Vec<bool>| {
            set.iter().zip(&windows).filter(|(_, is_window)| !**is_window).map(|(has, _)| *has).collect()
        };
        Ok(self.sets.iter().map(without).collect())
    }

    fn build_group(self, input: &Arc<Relation>, at: Location) -> Bound<Arc<Relation>> {
        let mut before = Before::default();
        let keys = before.keys(self.keys.iter())?;
        let calls = before.calls(&self.calls, at)?;
        let insert_only = calls.is_empty() && !input.updating;
        let mut columns: Vec<Column> =
            self.keys.iter().map(|key| Column::plain(key.name.clone(), key.bound.ty.clone())).collect();
        let own: Vec<&Key> = self.keys.iter().collect();
        let (input, keys) = expand(before.relation(input), keys, &own, &self.sets);
        columns.extend(self.set_number());
        let unique_key = (0..columns.len()).collect();
        columns.extend(
            calls
                .iter()
                .enumerate()
                .map(|(index, call)| Column::plain(call_name(index), call.output.clone())),
        );
        Ok(Arc::new(Relation {
            columns,
            updating: !insert_only,
            keys: vec![unique_key],
            node: Node::GroupAggregate { input, keys, calls },
        }))
    }

    fn build_window(self, input: &Arc<Relation>, zone: Tz, at: Location) -> Bound<Arc<Relation>> {
        let role = |key: &Key| {
            column_name(&key.bound.expr)
                .and_then(|name| input.index(name))
                .and_then(|index| input.columns[index].window)
        };
        let (mut window_keys, mut keys): (Vec<&Key>, Vec<&Key>) =
            self.keys.iter().partition(|key| role(key).is_some());
        let within = self.reads(&window::names(input), &keys);
        let direct = window::strip(input).filter(|(_, window)| !within && fits(window, &keys));
        let (below, window) = match direct {
            Some(direct) => direct,
            None => {
                let end =
                    window_keys.iter().find(|key| role(key).is_some_and(|r| r.part == WindowColumn::End));
                let window = attached(input, end.map(|key| &key.bound), zone, at)?;
                // The start tells windows apart that end together.
                window_keys.retain(|key| role(key).is_some_and(|role| role.part != WindowColumn::Start));
                keys =
                    self.keys.iter().filter(|key| !window_keys.iter().any(|k| k.name == key.name)).collect();
                (Arc::clone(input), window)
            }
        };
        self.check_calls(&window, at)?;
        let mut before = Before::default();
        let time = Typed {
            expr: named(&window.time),
            ty: below
                .index(&window.time)
                .map_or(SqlType::Timestamp(3), |index| below.columns[index].ty.clone()),
            at,
        };
        let sets = self.sets_without_windows(|key| role(key).is_some(), at)?;
        let key_names = before.keys(keys.iter().copied())?;
        let calls = before.calls(&self.calls, at)?;
        let time_name = before.column(&time)?;
        let closed = |key: &Key| {
            let role = role(key)?;
            Some(WindowRole { closed: true, ..role })
        };
        let mut columns: Vec<Column> = keys
            .iter()
            .map(|key| Column {
                window: closed(key),
                ..Column::plain(key.name.clone(), key.bound.ty.clone())
            })
            .collect();
        columns.extend(self.set_number());
        let key_count = columns.len();
        columns.extend(
            calls
                .iter()
                .enumerate()
                .map(|(index, call)| Column::plain(call_name(index), call.output.clone())),
        );
        let mut parts = Vec::with_capacity(window_keys.len());
        let mut unique_keys = Vec::new();
        for (key, role) in window_keys.into_iter().filter_map(|key| Some((key, closed(key)?))) {
            unique_keys.push((0..key_count).chain(std::iter::once(columns.len())).collect());
            parts.push(role.part);
            columns.push(window_column(key, role));
        }
        let (input, key_names) = expand(before.relation(&below), key_names, &keys, &sets);
        let window = Window { time: time_name, ..window };
        Ok(Arc::new(Relation {
            columns,
            updating: false,
            keys: unique_keys,
            node: Node::WindowAggregate { input, window, keys: key_names, calls, parts },
        }))
    }

    fn build_group_window(
        &self,
        input: &Arc<Relation>,
        group: &GroupWindow,
        at: Location,
    ) -> Bound<Arc<Relation>> {
        self.check_merging(group.window.shape, at)?;
        if self.has_sets() {
            return Err(Fault::unsupported(at, "GROUPING SETS beside a group window")
                .hint("use a window table function: FROM TABLE(TUMBLE(..))"));
        }
        let mut before = Before::default();
        let key_names = before.keys(self.keys.iter())?;
        let calls = before.calls(&self.calls, at)?;
        let ty = group.part_type(WindowColumn::Time);
        let time = before.column(&Typed { expr: named(&group.window.time), ty, at })?;
        let mut columns: Vec<Column> =
            self.keys.iter().map(|key| Column::plain(key.name.clone(), key.bound.ty.clone())).collect();
        let results = calls.iter().enumerate();
        columns.extend(results.map(|(index, call)| Column::plain(call_name(index), call.output.clone())));
        let mut unique_keys = Vec::new();
        for part in &group.parts {
            unique_keys.push((0..self.keys.len()).chain(std::iter::once(columns.len())).collect());
            let time = *part == WindowColumn::Time;
            columns.push(Column {
                rowtime: time && !group.window.processing_time,
                proctime: time && group.window.processing_time,
                ..Column::plain(part_column(*part), group.part_type(*part))
            });
        }
        let window = Window { time, partition: key_names.clone(), ..group.window.clone() };
        let (input, parts) = (before.relation(input), group.parts.clone());
        Ok(Arc::new(Relation {
            columns,
            updating: false,
            keys: unique_keys,
            node: Node::WindowAggregate { input, window, keys: key_names, calls, parts },
        }))
    }

    /// Whether an argument, a filter or one of these keys reads one of these columns.
    fn reads(&self, columns: &[String], keys: &[&Key]) -> bool {
        let reads = |expr: &Expr| expr.column_refs().iter().any(|column| columns.contains(&column.name));
        keys.iter().any(|key| reads(&key.bound.expr))
            || self.calls.iter().any(|call| {
                call.argument.iter().any(|argument| reads(&argument.expr)) || call.filter.iter().any(reads)
            })
    }

    /// What Flink refuses in windows that merge.
    fn check_calls(&self, window: &Window, at: Location) -> Bound<()> {
        if let WindowShape::Hop { slide_ms, .. } = window.shape
            && window.size_ms % slide_ms != 0
        {
            let message = format!(
                "an aggregation over HOP of {} ms: expected a multiple of its slide, {slide_ms} ms",
                window.size_ms
            );
            return Err(Fault::new(at, message));
        }
        let cut = matches!(window.shape, WindowShape::Session | WindowShape::Attached);
        if self.has_sets() && cut {
            return Err(Fault::unsupported(at, "GROUPING SETS over sessions or over the results of windows")
                .hint("over TABLE(TUMBLE(..)), HOP or CUMULATE they are supported"));
        }
        self.check_merging(window.shape, at)
    }

    fn check_merging(&self, shape: WindowShape, at: Location) -> Bound<()> {
        let merges = !matches!(shape, WindowShape::Tumble | WindowShape::Attached);
        let first_or_last = |call: &BoundCall| {
            matches!(call.function, AggregateFunction::FirstValue | AggregateFunction::LastValue)
        };
        if merges && self.calls.iter().any(first_or_last) {
            return Err(Fault::new(
                at,
                "FIRST_VALUE or LAST_VALUE in windows that merge (HOP, CUMULATE, SESSION)",
            )
            .hint("MIN and MAX merge; TUMBLE windows do not"));
        }
        Ok(())
    }
}

/// The result's column of a window's part.
fn window_column(key: &Key, role: WindowRole) -> Column {
    let time = role.part == WindowColumn::Time;
    Column {
        name: key.name.clone(),
        ty: key.bound.ty.clone(),
        rowtime: time && !role.processing_time,
        proctime: time && role.processing_time,
        window: Some(role),
    }
}

/// Whether the window's own aggregation gives the groups: sessions are those of their partition.
fn fits(window: &Window, keys: &[&Key]) -> bool {
    if window.shape != WindowShape::Session {
        return true;
    }
    let names: Option<Vec<&str>> = keys.iter().map(|key| column_name(&key.bound.expr)).collect();
    names.is_some_and(|names| {
        names.iter().all(|name| window.partition.iter().any(|column| column == name))
            && window.partition.iter().all(|column| names.contains(&column.as_str()))
    })
}

/// The windows that the rows of `input` carry, whose end is `end`.
fn attached(input: &Arc<Relation>, end: Option<&Typed>, zone: Tz, at: Location) -> Bound<Window> {
    let unsupported = |what: &str| {
        Err(Fault::unsupported(at, what.to_owned()).hint(
            "aggregate directly over TABLE(TUMBLE(...)) or its aggregation, their projections and filters",
        ))
    };
    let end = end.and_then(|end| column_name(&end.expr)).and_then(|name| input.index(name));
    let Some((end, role)) = end.and_then(|end| Some((end, input.columns[end].window?))) else {
        return unsupported("a window aggregation without the window's end");
    };
    if input.updating || !window::carries_windows(input) {
        return unsupported("a window aggregation over this query");
    }
    Ok(Window {
        time: input.columns[end].name.clone(),
        shape: WindowShape::Attached,
        size_ms: 1,
        offset_ms: 0,
        zone: role.local.then(|| zone.name().to_owned()),
        processing_time: role.processing_time,
        partition: Vec::new(),
    })
}

/// The rows of `input` once per grouping set, and what they are grouped by.
fn expand(
    input: Arc<Relation>,
    names: Vec<String>,
    keys: &[&Key],
    sets: &[Vec<bool>],
) -> (Arc<Relation>, Vec<String>) {
    if sets.is_empty() {
        return (input, names);
    }
    let width = input.columns.len();
    let named = names.into_iter().zip(keys);
    let keys: Vec<_> = named.map(|(from, key)| (key.name.clone(), from, key.bound.ty.clone())).collect();
    let input = grouping_sets::expanded(&input, &keys, sets);
    let names = input.columns[width..].iter().map(|column| column.name.clone()).collect();
    (input, names)
}

fn call_name(index: usize) -> String {
    format!("$call{index}")
}

/// The projection below an aggregation: keys, arguments and filters, each once.
#[derive(Default)]
struct Before {
    columns: Vec<(String, Expr, SqlType)>,
}

impl Before {
    fn column(&mut self, typed: &Typed) -> Bound<String> {
        if let Some((name, ..)) = self.columns.iter().find(|(_, expr, _)| *expr == typed.expr) {
            return Ok(name.clone());
        }
        let name =
            column_name(&typed.expr).map_or_else(|| format!("$expr{}", self.columns.len()), str::to_owned);
        self.columns.push((name.clone(), typed.expr.clone(), typed.ty.clone()));
        Ok(name)
    }

    fn keys<'a>(&mut self, keys: impl Iterator<Item = &'a Key>) -> Bound<Vec<String>> {
        keys.map(|key| {
            if key.bound.ty == SqlType::Null
                || matches!(key.bound.ty, SqlType::Multiset(_))
                || key.bound.ty.is_interval()
            {
                return Err(Fault::new(key.bound.at, format!("cannot group by {}", key.bound.ty)));
            }
            self.column(&key.bound)
        })
        .collect()
    }

    fn calls(&mut self, calls: &[BoundCall], at: Location) -> Bound<Vec<Aggregate>> {
        calls
            .iter()
            .map(|call| {
                let argument = call.argument.as_ref().map(|argument| self.column(argument)).transpose()?;
                let filter = match &call.filter {
                    None => None,
                    Some(expr) => {
                        Some(self.column(&Typed { expr: expr.clone(), ty: SqlType::Boolean, at })?)
                    }
                };
                let (function, distinct, output) = (call.function, call.distinct, call.output.clone());
                Ok(Aggregate { function, argument, distinct, filter, output })
            })
            .collect()
    }

    fn relation(mut self, input: &Arc<Relation>) -> Arc<Relation> {
        if self.columns.is_empty() {
            // COUNT(*) alone: rows need a column to be counted by.
            let row = literal(ScalarValue::Boolean(Some(true)));
            self.columns.push(("$row".to_owned(), row, SqlType::Boolean));
        }
        Relation::calc(input, None, self.columns)
    }
}

/// A key of `GROUP BY`.
pub(crate) fn bind_key(plain: &mut ExprBinder<'_>, syntax: &Syntax) -> Bound<Typed> {
    plain.bind(syntax)
}
