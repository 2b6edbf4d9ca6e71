//! A plan as text.

use std::fmt::Write as _;

use highwater_stream::{
    AggregateCall, ChangelogMode, Exchange, JoinSpec, MatchSpec, MatchValue, OperatorSpec, OverAggregateSpec,
    OverCall, OverFrame, OverOrder, PlanNode, RankSpec, SortKey, SourceSpec, StreamPlan, Times, WindowShape,
    WindowSpec,
};

/// One line per operator, inputs first: `#2 GroupAggregate by [k] calls [Count(v)] <- #1 hash[k] updating`.
pub(crate) fn explain(plan: &StreamPlan) -> String {
    let mut text = String::new();
    for (id, node) in plan.nodes.iter().enumerate() {
        let _ = write!(text, "#{id} {}", operator(plan, node));
        for edge in &node.inputs {
            let _ = write!(text, " <- #{}", edge.from);
            let schema = &plan.nodes[edge.from].schema;
            match &edge.exchange {
                Exchange::Forward => {}
                Exchange::ByKey(columns) => {
                    let names: Vec<&str> =
                        columns.iter().map(|index| schema.field(*index).name().as_str()).collect();
                    let _ = write!(text, " by key [{}]", names.join(", "));
                }
                Exchange::Broadcast => text.push_str(" broadcast"),
                Exchange::Gather => text.push_str(" gathered"),
            }
        }
        if node.changelog == ChangelogMode::Retract {
            text.push_str(" (updating)");
        }
        if node.single {
            text.push_str(" (single)");
        }
        text.push('\n');
    }
    text
}

fn time_join_text(plan: &StreamPlan, node: &PlanNode) -> String {
    match &node.spec {
        OperatorSpec::IntervalJoin(spec) => {
            let (left, right) = two_columns(plan, node, (spec.left_time, spec.right_time));
            let bounds = format!("{left} - {right} in {}..={} ms", spec.lower_ms, spec.upper_ms);
            format!("Interval{}, {bounds}", join_text(plan, node, &spec.join))
        }
        OperatorSpec::WindowJoin(spec) => {
            let (left, right) = two_columns(plan, node, (spec.left_end, spec.right_end));
            let zone = spec.zone.as_ref().map_or_else(String::new, |zone| format!(" zone {zone}"));
            format!("Window{}, windows to {left} = {right}{zone}", join_text(plan, node, &spec.join))
        }
        OperatorSpec::TemporalJoin(spec) => {
            let (left, right) = two_columns(plan, node, (spec.left_time, spec.right_time));
            format!("Temporal{}, versions of {right} at {left}", join_text(plan, node, &spec.join))
        }
        _ => String::new(),
    }
}

fn source_text(node: &PlanNode, source: &SourceSpec) -> String {
    let physical: Vec<&str> = source.physical.fields().iter().map(|field| field.name().as_str()).collect();
    let columns = node.schema.fields().iter().zip(&source.columns);
    let columns: Vec<String> = columns.map(|(field, expr)| column(field.name(), &expr.to_string())).collect();
    let mut text = format!("{} reads [{}] gives [{}]", node.title, physical.join(", "), columns.join(", "));
    if let Some(rowtime) = &source.rowtime {
        let _ =
            write!(text, " watermark {} = {}", node.schema.field(rowtime.column).name(), rowtime.watermark);
    }
    text
}

fn operator(plan: &StreamPlan, node: &PlanNode) -> String {
    let input = node.inputs.first().map(|edge| &plan.nodes[edge.from]);
    let name =
        |index: usize| input.map_or_else(String::new, |input| input.schema.field(index).name().clone());
    let names = |indexes: &[usize]| indexes.iter().map(|index| name(*index)).collect::<Vec<_>>().join(", ");
    match &node.spec {
        OperatorSpec::Source(source) => source_text(node, source),
        OperatorSpec::Calc { filter, columns } => {
            let columns = node.schema.fields().iter().zip(columns);
            let columns: Vec<String> =
                columns.map(|(field, expr)| column(field.name(), &expr.to_string())).collect();
            let filter = filter.as_ref().map_or_else(String::new, |filter| format!(" where {filter}"));
            format!("Calc [{}]{filter}", columns.join(", "))
        }
        OperatorSpec::Union => "Union".to_owned(),
        OperatorSpec::Unnest(spec) => {
            let columns: Vec<&str> =
                node.schema.fields()[spec.kept.len()..].iter().map(|field| field.name().as_str()).collect();
            let outer = if spec.outer { " outer" } else { "" };
            format!("Unnest{outer} {} gives [{}]", name(spec.collection), columns.join(", "))
        }
        OperatorSpec::SessionTable(spec) => {
            format!("WindowTable {} by [{}]", window_text(&spec.window, &name), names(&spec.keys))
        }
        OperatorSpec::Repeat(spec) => match spec.times {
            Times::Column(column) => format!("Repeat {} times", name(column)),
            Times::Fixed(times) => format!("Repeat {times} times"),
        },
        OperatorSpec::WindowTable(window) => format!("WindowTable {}", window_text(window, &name)),
        OperatorSpec::WindowAggregate(spec) => format!(
            "WindowAggregate {} by [{}] calls [{}] emits {:?}",
            window_text(&spec.window, &name),
            names(&spec.keys),
            calls(&spec.calls, &name),
            spec.window_columns
        ),
        OperatorSpec::GroupAggregate(spec) => {
            format!("GroupAggregate by [{}] calls [{}]", names(&spec.keys), calls(&spec.calls, &name))
        }
        OperatorSpec::Join(spec) => join_text(plan, node, spec),
        OperatorSpec::MatchRecognize(spec) => match_text(node, spec, &name),
        OperatorSpec::OverAggregate(spec) => over_text(spec, &name),
        OperatorSpec::Rank(_)
        | OperatorSpec::FirstRow(_)
        | OperatorSpec::WindowRank(_)
        | OperatorSpec::Sort(_) => rank_text(&node.spec, &name),
        OperatorSpec::IntervalJoin(_) | OperatorSpec::WindowJoin(_) | OperatorSpec::TemporalJoin(_) => {
            time_join_text(plan, node)
        }
        OperatorSpec::Sink(sink) => {
            let key = if sink.primary_key.is_empty() {
                String::new()
            } else {
                format!(" key [{}]", names(&sink.primary_key))
            };
            let columns: Vec<String> = node
                .schema
                .fields()
                .iter()
                .map(|field| format!("{} {}", field.name(), flink_type(field)))
                .collect();
            format!("{} [{}]{key}", node.title, columns.join(", "))
        }
    }
}

/// The names of a column of each input.
fn two_columns(plan: &StreamPlan, node: &PlanNode, (left, right): (usize, usize)) -> (String, String) {
    let name =
        |input: usize, column: usize| plan.nodes[node.inputs[input].from].schema.field(column).name().clone();
    (name(0, left), name(1, right))
}

fn join_text(plan: &StreamPlan, node: &PlanNode, spec: &JoinSpec) -> String {
    let of = |input: usize, columns: &[usize]| {
        let schema = &plan.nodes[node.inputs[input].from].schema;
        columns.iter().map(|column| schema.field(*column).name().clone()).collect::<Vec<_>>().join(", ")
    };
    let rest = spec.residual.as_ref().map_or_else(String::new, |on| format!(" and {on}"));
    let (left, right) = (of(0, &spec.left_keys), of(1, &spec.right_keys));
    format!("{:?}Join on [{left}] = [{right}]{rest}", spec.kind)
}

fn match_text(node: &PlanNode, spec: &MatchSpec, name: &dyn Fn(usize) -> String) -> String {
    let keys: Vec<String> = spec.keys.iter().map(|key| name(*key)).collect();
    let time = spec.time_column.map_or_else(|| "arrival".to_owned(), name);
    let mut text = format!("MatchRecognize by [{}] order by {time}", keys.join(", "));
    for order in &spec.order {
        let _ = write!(text, ", {}{}", name(order.column), if order.descending { " desc" } else { "" });
    }
    let variable = |index: Option<usize>| index.map_or("*", |index| spec.variables[index].name.as_str());
    let values = |values: &[MatchValue]| {
        let value = |(index, value): (usize, &MatchValue)| {
            let of = match value {
                MatchValue::Column { row, column } => {
                    let end = if row.first { "first" } else { "last" };
                    format!("{end}({}.{}, {})", variable(row.variable), name(*column), row.offset)
                }
                MatchValue::Aggregate { variable: of, call } => {
                    format!("{} over {}", calls(std::slice::from_ref(call), name), variable(*of))
                }
                MatchValue::Time(_) => "time".to_owned(),
            };
            format!("{} = {of}", MatchValue::name(index))
        };
        values.iter().enumerate().map(value).collect::<Vec<_>>().join(", ")
    };
    for variable in &spec.variables {
        let max = variable.max.map_or_else(String::new, |max| max.to_string());
        let greedy = if variable.greedy { " greedy" } else { "" };
        let _ = write!(text, " {}{{{},{max}}}{greedy}", variable.name, variable.min);
        if let Some(condition) = &variable.condition {
            let _ = write!(text, " if ({}) of [{}]", condition.condition, values(&condition.values));
        }
    }
    let measures = node.schema.fields()[spec.keys.len()..].iter().zip(&spec.measures);
    let measures: Vec<String> =
        measures.map(|(field, expr)| column(field.name(), &expr.to_string())).collect();
    let _ =
        write!(text, " gives [{}] of [{}] skip {:?}", measures.join(", "), values(&spec.values), spec.skip);
    if let Some(within_ms) = spec.within_ms {
        let _ = write!(text, " within {within_ms} ms");
    }
    text
}

fn over_text(spec: &OverAggregateSpec, name: &dyn Fn(usize) -> String) -> String {
    let order = match spec.order {
        OverOrder::EventTime(column) => name(column),
        OverOrder::Arrival => "of arrival".to_owned(),
        OverOrder::Value { column, nulls_first } => {
            format!("value {}{}", name(column), if nulls_first { "" } else { " nulls last" })
        }
    };
    let frame = match spec.frame {
        OverFrame::Rows => "rows".to_owned(),
        OverFrame::RowsPreceding(rows) => format!("{rows} rows"),
        OverFrame::Range => "range".to_owned(),
        OverFrame::RangePreceding(ms) => format!("range {ms} ms"),
    };
    let call = |call: &OverCall| match call {
        OverCall::Aggregate(call) => calls(std::slice::from_ref(call), name),
        OverCall::FirstValue(argument) => format!("FirstValue({})", name(*argument)),
        OverCall::LastValue(argument) => format!("LastValue({})", name(*argument)),
        OverCall::Lag { argument, offset, default } => {
            let default = default.as_ref().map_or_else(String::new, |default| format!(" or {default}"));
            format!("Lag({}, {offset}){default}", name(*argument))
        }
    };
    let keys: Vec<String> = spec.keys.iter().map(|key| name(*key)).collect();
    let calls: Vec<String> = spec.calls.iter().map(call).collect();
    format!("Over by [{}] order {} {frame} calls [{}]", keys.join(", "), order, calls.join(", "))
}

fn rank_text(spec: &OperatorSpec, name: &dyn Fn(usize) -> String) -> String {
    let names = |indexes: &[usize]| indexes.iter().map(|index| name(*index)).collect::<Vec<_>>().join(", ");
    let order = |keys: &[SortKey]| {
        let text = |key: &SortKey| {
            let direction = if key.descending { " desc" } else { "" };
            // NULL is the smallest value: only the other place is said.
            let nulls = match (key.descending, key.nulls_first) {
                (false, false) => " nulls last",
                (true, true) => " nulls first",
                _ => "",
            };
            format!("{}{direction}{nulls}", name(key.column))
        };
        keys.iter().map(text).collect::<Vec<_>>().join(", ")
    };
    let rank = |rank: &RankSpec| {
        let (first, last) = rank.ranks;
        let later = if rank.later_first { " later first" } else { "" };
        let numbered = if rank.numbered { " numbered" } else { "" };
        format!(
            "{first} to {last} by [{}] order [{}]{later}{numbered}",
            names(&rank.keys),
            order(&rank.order)
        )
    };
    match spec {
        OperatorSpec::Rank(spec) => format!("Rank {}", rank(spec)),
        OperatorSpec::FirstRow(spec) => {
            format!("FirstRow by [{}] time {}", names(&spec.keys), name(spec.time_column))
        }
        OperatorSpec::WindowRank(spec) => {
            let zone = spec.zone.as_ref().map_or_else(String::new, |zone| format!(" zone {zone}"));
            format!("WindowRank until {}{zone} {}", name(spec.window_end), rank(&spec.rank))
        }
        OperatorSpec::Sort(spec) => {
            format!("Sort time {} order [{}]", name(spec.time_column), order(&spec.order))
        }
        _ => String::new(),
    }
}

fn flink_type(field: &arrow::datatypes::Field) -> String {
    field.metadata().get(crate::types::FLINK_TYPE).cloned().unwrap_or_else(|| field.data_type().to_string())
}

fn column(name: &str, expr: &str) -> String {
    if name == expr { name.to_owned() } else { format!("{name} = {expr}") }
}

fn window_text(window: &WindowSpec, name: &dyn Fn(usize) -> String) -> String {
    let WindowSpec { time_column, shape, size_ms, .. } = window;
    let time = name(*time_column);
    let mut text = match shape {
        WindowShape::Tumble => format!("tumble {time} {size_ms} ms"),
        WindowShape::Hop { slide_ms, .. } => format!("hop {time} {size_ms} ms each {slide_ms} ms"),
        WindowShape::Cumulate { step_ms } => format!("cumulate {time} {size_ms} ms by {step_ms} ms"),
        WindowShape::Session => format!("session {time} gap {size_ms} ms"),
        WindowShape::Attached => format!("attached {time}"),
    };
    if window.processing_time {
        text.push_str(" in processing time");
    }
    if window.offset_ms != 0 {
        let _ = write!(text, " offset {} ms", window.offset_ms);
    }
    if let Some(zone) = &window.zone {
        let _ = write!(text, " zone {zone}");
    }
    text
}

fn calls(calls: &[AggregateCall], name: &dyn Fn(usize) -> String) -> String {
    let text = |call: &AggregateCall| {
        let argument = call.argument.map_or_else(|| "*".to_owned(), name);
        let distinct = if call.distinct { "distinct " } else { "" };
        let filter = call.filter.map_or_else(String::new, |index| format!(" if {}", name(index)));
        format!("{:?}({distinct}{argument}){filter} {}", call.function, call.output)
    };
    calls.iter().map(text).collect::<Vec<_>>().join(", ")
}
