//! `OVER`: aggregates over the rows before each row.

use std::sync::Arc;

use datafusion_expr::{Expr, Operator};
use highwater_stream::{AggregateFunction, OverFrame, is_proctime};
use sqlparser::ast::{
    Expr as Syntax, Function, NamedWindowDefinition, NamedWindowExpr, OrderByExpr, Spanned, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};
use sqlparser::tokenizer::Location;

use super::aggregate::{bind_call, bind_result, plain_arguments};
use super::expression::ExprBinder;
use super::literal::bind_interval;
use crate::error::{Bound, Fault};
use crate::functions::cast::{self, OnFailure};
use crate::functions::{Typed, arithmetic, integer_literal};
use crate::relation::{
    Aggregate, Column, Node, OverBy, OverFunction, OverWindow, Relation, column_name, named,
};
use crate::types::SqlType;

/// Functions without a frame of their own: it reaches from the partition's first row to the row.
const UNFRAMED: &[&str] = &["ROW_NUMBER", "RANK", "DENSE_RANK", "LAG"];
/// What Flink has for bounded input only.
const BATCH_ONLY: &[&str] = &["LEAD", "NTILE", "PERCENT_RANK", "CUME_DIST"];
/// Aggregates in order of a value.
const BY_VALUE: &[AggregateFunction] = &[
    AggregateFunction::CountStar,
    AggregateFunction::Count,
    AggregateFunction::Sum,
    AggregateFunction::Min,
    AggregateFunction::Max,
];
const FORM: &str = "SUM(v) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 9 PRECEDING AND CURRENT ROW)";

/// The calls with `OVER` of one SELECT, all over the same window.
#[derive(Debug, Default)]
pub(super) struct Overs {
    /// The WINDOW clause.
    named: Vec<(String, WindowSpec)>,
    window: Option<Window>,
    calls: Vec<Call>,
}

/// What stands behind `OVER`, over the input.
#[derive(Clone, Debug)]
struct Window {
    keys: Vec<Typed>,
    order: Typed,
    /// The order is a column as it is: CAST makes of a time attribute a value like any other.
    plain: bool,
    nulls_last: bool,
    frame: OverFrame,
    at: Location,
}

/// A call, over the input.
#[derive(Debug, PartialEq)]
struct Call {
    function: Kind,
    argument: Option<Expr>,
    argument_type: SqlType,
    filter: Option<Expr>,
    output: SqlType,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Aggregate { function: AggregateFunction, distinct: bool },
    FirstValue,
    LastValue,
    Lag { offset: usize, default: Option<Expr> },
}

impl Overs {
    /// # Errors
    /// If the WINDOW clause is wrong.
    pub(super) fn new(clause: &[NamedWindowDefinition]) -> Bound<Self> {
        let mut named: Vec<(String, WindowSpec)> = Vec::with_capacity(clause.len());
        for NamedWindowDefinition(name, window) in clause {
            let at = name.span.start;
            if named.iter().any(|(known, _)| *known == name.value) {
                return Err(Fault::new(at, format!("window '{}' is defined twice", name.value)));
            }
            let NamedWindowExpr::WindowSpec(window) = window else {
                return Err(Fault::unsupported(at, "a window named after another").hint(FORM));
            };
            named.push((name.value.clone(), window.clone()));
        }
        Ok(Self { named, ..Self::default() })
    }

    /// # Errors
    /// If Flink has no such window in order of a value.
    fn check_by_value(&self, window: &Window) -> Bound<()> {
        let Window { order, frame, at, .. } = window;
        if frame.is_bounded() {
            return Err(Fault::unsupported(*at, "OVER ordered by no time attribute, with a bounded frame")
                .hint("order by the column of the WATERMARK"));
        }
        let ordered = order.ty.is_numeric()
            || order.ty.is_text()
            || order.ty.is_timestamp()
            || matches!(order.ty, SqlType::Boolean | SqlType::Date | SqlType::Time(_));
        if !ordered {
            return Err(Fault::unsupported(*at, format!("OVER ordered by {}", order.ty)));
        }
        let simple = |call: &Call| match &call.function {
            Kind::Aggregate { function, distinct } => !distinct && BY_VALUE.contains(function),
            Kind::FirstValue | Kind::LastValue => true,
            Kind::Lag { .. } => false,
        };
        if self.calls.iter().all(simple) {
            return Ok(());
        }
        Err(Fault::unsupported(*at, "DISTINCT, LAG or a collection, ordered by no time attribute")
            .hint("order by the column of the WATERMARK"))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// What stands in the parentheses, or what the name stands for.
    fn resolved(&self, window: &WindowType) -> Bound<WindowSpec> {
        match window {
            WindowType::NamedWindow(name) => {
                let known = self.named.iter().find(|(known, _)| *known == name.value);
                let unknown = || Fault::new(name.span.start, format!("window '{}' not found", name.value));
                Ok(known.ok_or_else(unknown)?.1.clone())
            }
            WindowType::WindowSpec(WindowSpec { window_name: Some(name), .. }) => {
                Err(Fault::unsupported(name.span.start, "a window made from another").hint(FORM))
            }
            WindowType::WindowSpec(spec) => Ok(spec.clone()),
        }
    }

    /// The result's column of a call.
    fn add(&mut self, call: Call, at: Location) -> Typed {
        let index = self.calls.iter().position(|known| *known == call).unwrap_or(self.calls.len());
        let ty = call.output.clone();
        if index == self.calls.len() {
            self.calls.push(call);
        }
        Typed { expr: named(&result_name(index)), ty, at }
    }

    /// The rows of `input` with the results.
    pub(super) fn build(mut self, input: &Arc<Relation>) -> Bound<Arc<Relation>> {
        let Some(window) = self.window.take() else { return Ok(Arc::clone(input)) };
        let at = window.at;
        let by = column_name(&window.order.expr).and_then(|name| input.index(name));
        let order = by.filter(|index| window.plain && input.columns[*index].rowtime);
        let by_arrival =
            is_proctime(&window.order.expr) || by.is_some_and(|index| input.columns[index].proctime);
        let by_value = order.is_none() && !by_arrival;
        if by_value {
            self.check_by_value(&window)?;
            let kept = window.plain && window.order.ty.is_timestamp();
            if kept && column_name(&window.order.expr).is_some_and(|name| may_be_time(input, name)) {
                return Err(Fault::unsupported(at, "OVER ordered by a time that is an event time below")
                    .hint(
                        "order by the column of the WATERMARK before windows and joins, or by window_time",
                    ));
            }
        } else if input.updating {
            return Err(Fault::unsupported(at, "OVER by time over rows that change")
                .hint("aggregate a table or view that is only added to"));
        }
        if by_arrival && matches!(window.frame, OverFrame::RangePreceding(_)) {
            return Err(Fault::unsupported(at, "OVER in a range of processing time")
                .hint("a number of rows: ROWS BETWEEN 9 PRECEDING AND CURRENT ROW"));
        }
        let mut before = Before::new(input, self.calls.len(), at)?;
        let keys: Vec<String> = window.keys.iter().map(|key| before.column(&key.expr, &key.ty)).collect();
        let calls: Vec<OverFunction> = self
            .calls
            .iter()
            .map(|call| {
                let argument = call.argument.as_ref().map(|expr| before.column(expr, &call.argument_type));
                let filter = call.filter.as_ref().map(|expr| before.column(expr, &SqlType::Boolean));
                over_function(call, argument, filter)
            })
            .collect();
        let by_column = by_value.then(|| before.column(&window.order.expr, &window.order.ty));
        let input = before.relation(input);
        let mut columns: Vec<Column> =
            input.columns.iter().map(|column| Column { window: None, ..column.clone() }).collect();
        let order = match (order, by_column) {
            (Some(index), _) => OverBy::EventTime(columns[index].name.clone()),
            (None, Some(column)) => OverBy::Value { column, nulls_first: !window.nulls_last },
            (None, None) => OverBy::Arrival,
        };
        let results = self.calls.iter().enumerate();
        columns.extend(results.map(|(index, call)| Column::plain(result_name(index), call.output.clone())));
        Ok(Arc::new(Relation {
            columns,
            updating: by_value,
            keys: input.keys.clone(),
            node: Node::Over { input, over: OverWindow { keys, order, frame: window.frame, calls } },
        }))
    }
}

/// Whether Flink may still take a column for an event time that is none here: behind windows and joins.
fn may_be_time(relation: &Relation, name: &str) -> bool {
    match &relation.node {
        Node::Scan(_) => false,
        Node::Calc { input, columns, .. } => relation
            .index(name)
            .and_then(|index| column_name(&columns[index]))
            .is_some_and(|below| may_be_time(input, below)),
        _ => true,
    }
}

fn over_function(call: &Call, argument: Option<String>, filter: Option<String>) -> OverFunction {
    match (&call.function, argument) {
        (Kind::Aggregate { function, distinct }, argument) => OverFunction::Aggregate(Aggregate {
            function: *function,
            argument,
            distinct: *distinct,
            filter,
            output: call.output.clone(),
        }),
        (Kind::FirstValue, argument) => OverFunction::FirstValue(argument.unwrap_or_default()),
        (Kind::LastValue, argument) => OverFunction::LastValue(argument.unwrap_or_default()),
        (Kind::Lag { offset, default }, argument) => OverFunction::Lag {
            argument: argument.unwrap_or_default(),
            offset: *offset,
            default: default.clone(),
        },
    }
}

fn result_name(index: usize) -> String {
    format!("$over{index}")
}

/// The input with what keys and arguments compute.
struct Before {
    columns: Vec<(String, Expr, SqlType)>,
    given: usize,
}

impl Before {
    fn new(input: &Relation, results: usize, at: Location) -> Bound<Self> {
        let reserved =
            |name: &str| name.starts_with("$by") || (0..results).any(|index| name == result_name(index));
        if let Some(column) = input.columns.iter().find(|column| reserved(&column.name)) {
            return Err(Fault::new(at, format!("OVER beside a column that is called {}", column.name))
                .hint("call the column something else"));
        }
        let columns: Vec<_> = input
            .columns
            .iter()
            .map(|column| (column.name.clone(), named(&column.name), column.ty.clone()))
            .collect();
        Ok(Self { given: columns.len(), columns })
    }

    fn column(&mut self, expr: &Expr, ty: &SqlType) -> String {
        if let Some((name, ..)) = self.columns.iter().find(|(_, known, _)| known == expr) {
            return name.clone();
        }
        let name = format!("$by{}", self.columns.len() - self.given);
        self.columns.push((name.clone(), expr.clone(), ty.clone()));
        name
    }

    fn relation(self, input: &Arc<Relation>) -> Arc<Relation> {
        if self.columns.len() == self.given {
            return Arc::clone(input);
        }
        Relation::calc(input, None, self.columns)
    }
}

impl ExprBinder<'_> {
    /// Binds `function OVER window`.
    pub(super) fn bind_over(
        &mut self,
        function: &Function,
        window: &WindowType,
        at: Location,
    ) -> Bound<Typed> {
        // Taken out meanwhile: OVER does not stand within OVER.
        let Some(overs) = self.overs.take() else {
            return Err(Fault::new(at, "OVER is not allowed here")
                .hint("it stands in the SELECT list; filter its results in a query around it"));
        };
        let bound = self.over_call(overs, function, window, at);
        self.overs = Some(overs);
        bound
    }

    fn over_call(
        &mut self,
        overs: &mut Overs,
        function: &Function,
        window: &WindowType,
        at: Location,
    ) -> Bound<Typed> {
        let name = function.name.to_string().to_uppercase();
        if BATCH_ONLY.contains(&name.as_str()) {
            return Err(Fault::new(at, format!("{name} is not defined over a stream"))
                .hint("it needs the rows that come later"));
        }
        if function.filter.is_some() || function.null_treatment.is_some() || !function.within_group.is_empty()
        {
            return Err(Fault::unsupported(at, "FILTER, WITHIN GROUP or NULLS with OVER")
                .hint("CASE WHEN condition THEN v END as the argument"));
        }
        let spec = overs.resolved(window)?;
        let window = self.over_window(&spec, &name, at)?;
        match &overs.window {
            None => overs.window = Some(window),
            Some(known) if same_window(known, &window) => {}
            Some(_) => {
                return Err(Fault::unsupported(at, "two different windows of OVER in one SELECT").hint(
                    "give all calls the same PARTITION BY, ORDER BY and frame; ROW_NUMBER() has the frame \
                     ROWS UNBOUNDED PRECEDING, other calls without a frame RANGE UNBOUNDED PRECEDING",
                ));
            }
        }
        self.over_function(overs, function, &name, at)
    }

    fn over_function(
        &mut self,
        overs: &mut Overs,
        function: &Function,
        name: &str,
        at: Location,
    ) -> Bound<Typed> {
        match name {
            // Flink counts rows for all three: over a stream it does not look at what they are ordered by.
            "ROW_NUMBER" | "RANK" | "DENSE_RANK" => {
                if !plain_arguments(function, at)?.is_empty() {
                    return Err(Fault::new(at, format!("{name} takes no argument")));
                }
                let function = Kind::Aggregate { function: AggregateFunction::CountStar, distinct: false };
                let (argument_type, output) = (SqlType::Null, SqlType::BigInt);
                Ok(overs.add(Call { function, argument: None, argument_type, filter: None, output }, at))
            }
            "FIRST_VALUE" | "LAST_VALUE" => {
                let [argument] = plain_arguments(function, at)?[..] else {
                    return Err(Fault::new(at, format!("{name} takes one argument")));
                };
                let argument = self.bind(argument)?;
                let function = if name == "FIRST_VALUE" { Kind::FirstValue } else { Kind::LastValue };
                Ok(overs.add(value_call(function, argument)?, at))
            }
            "LAG" => self.over_lag(overs, function, at),
            "COUNT" | "SUM" | "MIN" | "MAX" => {
                let call = bind_call(self, function, name, at)?;
                Ok(overs.add(aggregate_call(call), at))
            }
            "AVG" => self.over_average(overs, function, at),
            "LISTAGG" | "ARRAY_AGG" | "COLLECT" | "STDDEV_POP" | "STDDEV_SAMP" | "STDDEV" | "VAR_POP"
            | "VAR_SAMP" | "VARIANCE" => {
                bind_result(self, function, name, at, &mut |call| overs.add(aggregate_call(call), at))
            }
            _ => Err(Fault::unsupported(at, format!("{name} with OVER")).hint(
                "COUNT, SUM, AVG, MIN, MAX, FIRST_VALUE, LAST_VALUE, LAG, ROW_NUMBER, RANK, DENSE_RANK",
            )),
        }
    }
    /// `AVG(x) OVER w` is `SUM(x) OVER w / COUNT(x) OVER w`, as in Flink: the sum wraps around in the type of x.
    fn over_average(&mut self, overs: &mut Overs, function: &Function, at: Location) -> Bound<Typed> {
        let average = bind_call(self, function, "AVG", at)?;
        let sum = bind_call(self, function, "SUM", at)?;
        let count = bind_call(self, function, "COUNT", at)?;
        let output = average.output;
        let sum = overs.add(aggregate_call(sum), at);
        let count = overs.add(aggregate_call(count), at);
        let sum = cast::explicit(sum, &output, OnFailure::Fail, self.zone)?;
        let quotient = arithmetic::arithmetic(sum, Operator::Divide, count, at, self.zone)?;
        cast::explicit(quotient, &output, OnFailure::Fail, self.zone)
    }

    /// `LAG(x [, offset [, default]])`.
    fn over_lag(&mut self, overs: &mut Overs, function: &Function, at: Location) -> Bound<Typed> {
        let arguments = plain_arguments(function, at)?;
        let (argument, offset, default) = match arguments[..] {
            [argument] => (argument, None, None),
            [argument, offset] => (argument, Some(offset), None),
            [argument, offset, default] => (argument, Some(offset), Some(default)),
            _ => return Err(Fault::new(at, "LAG takes a value, how many rows before, and a default")),
        };
        let argument = self.bind(argument)?;
        let offset = match offset {
            None => 1,
            Some(syntax) => {
                let offset = integer_literal(&self.bind(syntax)?.expr);
                let wrong =
                    || Fault::unsupported(syntax.span().start, "LAG by anything but a number from 0 on");
                offset.and_then(|offset| usize::try_from(offset).ok()).ok_or_else(wrong)?
            }
        };
        let default = match default {
            None => None,
            Some(syntax) => lag_default(self.bind(syntax)?, &argument.ty)?,
        };
        Ok(overs.add(value_call(Kind::Lag { offset, default }, argument)?, at))
    }

    fn over_window(&mut self, spec: &WindowSpec, name: &str, at: Location) -> Bound<Window> {
        let keys = spec.partition_by.iter().map(|key| self.over_key(key)).collect::<Bound<Vec<_>>>()?;
        let by = match spec.order_by.as_slice() {
            [order] => order,
            [] => return Err(Fault::unsupported(at, "OVER without ORDER BY").hint(FORM)),
            _ => return Err(Fault::unsupported(at, "OVER ordered by several columns").hint(FORM)),
        };
        let frame = match &spec.window_frame {
            None if name == "ROW_NUMBER" => OverFrame::Rows,
            None => OverFrame::Range,
            Some(_) if UNFRAMED.contains(&name) => {
                return Err(Fault::new(
                    at,
                    format!("{name} takes PARTITION BY and ORDER BY, no ROWS or RANGE"),
                ));
            }
            Some(frame) => bind_frame(frame, at)?,
        };
        let (plain, nulls_last) = (is_column(&by.expr), by.options.nulls_first == Some(false));
        Ok(Window { keys, order: self.over_order(by)?, plain, nulls_last, frame, at })
    }

    fn over_key(&mut self, syntax: &Syntax) -> Bound<Typed> {
        let key = self.bind(syntax)?;
        if key.ty == SqlType::Null || matches!(key.ty, SqlType::Map(..)) || key.ty.is_interval() {
            return Err(Fault::new(key.at, format!("cannot partition by {}", key.ty)));
        }
        Ok(key)
    }

    fn over_order(&mut self, order: &OrderByExpr) -> Bound<Typed> {
        let bound = self.bind(&order.expr)?;
        if order.with_fill.is_some() {
            return Err(Fault::unsupported(bound.at, "WITH FILL"));
        }
        if order.options.asc == Some(false) {
            return Err(Fault::unsupported(bound.at, "OVER in descending order")
                .hint("a stream comes in ascending order of time"));
        }
        Ok(bound)
    }
}

fn is_column(syntax: &Syntax) -> bool {
    match syntax {
        Syntax::Nested(inner) => is_column(inner),
        Syntax::Identifier(_) | Syntax::CompoundIdentifier(_) => true,
        _ => false,
    }
}

fn same_window(a: &Window, b: &Window) -> bool {
    let within =
        |a: &Window, b: &Window| a.keys.iter().all(|key| b.keys.iter().any(|other| other.expr == key.expr));
    a.frame == b.frame
        && a.order.expr == b.order.expr
        && (a.plain, a.nulls_last) == (b.plain, b.nulls_last)
        && within(a, b)
        && within(b, a)
}

fn aggregate_call(call: super::aggregate::BoundCall) -> Call {
    let argument_type = call.argument.as_ref().map_or(SqlType::Null, |argument| argument.ty.clone());
    Call {
        function: Kind::Aggregate { function: call.function, distinct: call.distinct },
        argument: call.argument.map(|argument| argument.expr),
        argument_type,
        filter: call.filter,
        output: call.output,
    }
}

fn value_call(function: Kind, argument: Typed) -> Bound<Call> {
    let nested = matches!(argument.ty, SqlType::Array(_) | SqlType::Map(..) | SqlType::Row(_));
    if nested || argument.ty == SqlType::Null || argument.ty.is_interval() {
        return Err(Fault::unsupported(argument.at, format!("this function of {} with OVER", argument.ty)));
    }
    let ty = argument.ty;
    Ok(Call { function, argument: Some(argument.expr), argument_type: ty.clone(), filter: None, output: ty })
}

/// Flink wants the default in the value's type, for it does not convert it.
fn lag_default(default: Typed, ty: &SqlType) -> Bound<Option<Expr>> {
    let Expr::Literal(value, _) = &default.expr else {
        return Err(Fault::unsupported(default.at, "a default of LAG that is no literal")
            .hint("COALESCE(LAG(v) OVER (..), other)"));
    };
    if value.is_null() {
        return Ok(None);
    }
    if default.ty != *ty && !(default.ty.is_text() && ty.is_text()) {
        return Err(Fault::new(default.at, format!("LAG of {ty} with a default of {}", default.ty))
            .hint("COALESCE(LAG(v) OVER (..), default)"));
    }
    Ok(Some(default.expr))
}

fn bind_frame(frame: &WindowFrame, at: Location) -> Bound<OverFrame> {
    if !matches!(frame.end_bound, None | Some(WindowFrameBound::CurrentRow)) {
        return Err(Fault::unsupported(at, "a frame that does not end at CURRENT ROW")
            .hint("rows that follow are not there yet"));
    }
    let WindowFrameBound::Preceding(start) = &frame.start_bound else {
        return Err(Fault::unsupported(at, "a frame that does not begin before CURRENT ROW").hint(FORM));
    };
    match (frame.units, start) {
        (WindowFrameUnits::Rows, None) => Ok(OverFrame::Rows),
        (WindowFrameUnits::Range, None) => Ok(OverFrame::Range),
        (WindowFrameUnits::Rows, Some(rows)) => {
            let wrong =
                || Fault::new(at, format!("ROWS {rows} PRECEDING: expected a number from 0 on")).hint(FORM);
            let Syntax::Value(rows) = rows.as_ref() else { return Err(wrong()) };
            rows.value.to_string().parse().map(OverFrame::RowsPreceding).map_err(|_| wrong())
        }
        (WindowFrameUnits::Range, Some(range)) => {
            let wrong = || {
                Fault::new(at, format!("RANGE {range} PRECEDING: expected an interval from 0 on"))
                    .hint("RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND CURRENT ROW")
            };
            let Syntax::Interval(interval) = range.as_ref() else { return Err(wrong()) };
            let bound = bind_interval(interval, at).map_err(|fault| fault.or_at(at))?;
            match (bound.ty, integer_literal(&bound.expr)) {
                (SqlType::IntervalDay, Some(ms)) if ms >= 0 => Ok(OverFrame::RangePreceding(ms)),
                (SqlType::IntervalDay, _) => Err(wrong()),
                _ => Err(Fault::unsupported(at, "a frame of months").hint("INTERVAL '30' DAY")),
            }
        }
        (WindowFrameUnits::Groups, _) => Err(Fault::unsupported(at, "GROUPS").hint("ROWS or RANGE")),
    }
}
