//! Windows: their tables and aggregations.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::Schema;
use highwater_stream::{
    Edge, Exchange, NodeId, OperatorSpec, SessionTableSpec, WindowAggregateSpec, WindowShape, WindowSpec,
};

use super::{
    Draft, Lowering, Names, aggregate_calls, aggregate_references, describe_aggregate, narrowed, place,
    places, title_of,
};
use crate::relation::{Node, Relation, Window};

impl Lowering {
    pub(super) fn prune_window_table(
        &mut self,
        relation: &Relation,
        needed: &Names,
        input: &Arc<Relation>,
        window: &Window,
    ) -> Arc<Relation> {
        let mut below: Names = needed.iter().filter(|name| input.index(name).is_some()).cloned().collect();
        below.insert(window.time.clone());
        below.extend(window.partition.iter().cloned());
        let input = self.prune_exactly(input, &below);
        let window_column =
            |name: &str| relation.index(name).is_some_and(|index| relation.columns[index].window.is_some());
        let node = Node::WindowTable { input, window: window.clone() };
        narrowed(relation, node, &|name| below.contains(name) || window_column(name))
    }

    pub(super) fn prune_window_aggregate(&mut self, relation: &Arc<Relation>) -> Arc<Relation> {
        let Node::WindowAggregate { input, window, keys, calls, parts } = &relation.node else {
            return Arc::clone(relation);
        };
        let mut below = aggregate_references(keys, calls);
        below.insert(window.time.clone());
        let input = self.prune(input, &below);
        let (window, keys, calls, parts) = (window.clone(), keys.clone(), calls.clone(), parts.clone());
        narrowed(relation, Node::WindowAggregate { input, window, keys, calls, parts }, &|_| true)
    }

    pub(super) fn window_aggregate(&mut self, relation: &Arc<Relation>) -> NodeId {
        let Node::WindowAggregate { input, window, keys, calls, parts } = &relation.node else {
            return self.relation(relation);
        };
        let from = self.relation(input);
        let schema = self.schema(from);
        let spec = WindowAggregateSpec {
            window: window_spec(window, &schema),
            keys: places(keys, &schema),
            calls: aggregate_calls(calls, &schema),
            window_columns: parts.clone(),
        };
        let mut text = describe_aggregate(keys, calls);
        let _ = write!(text, " {} {parts:?}", describe_window(window));
        let title = format!("WindowAggregate({})", title_of(keys, calls));
        let spread = spec.keys.clone();
        let spec = OperatorSpec::WindowAggregate(spec);
        self.keyed("window-aggregate", title, text, spec, from, spread, relation)
    }

    pub(super) fn window_table(
        &mut self,
        relation: &Relation,
        input: &Arc<Relation>,
        window: &Window,
    ) -> NodeId {
        let from = self.relation(input);
        let schema = self.schema(from);
        if window.shape == WindowShape::Session {
            let spec = SessionTableSpec {
                window: window_spec(window, &schema),
                keys: places(&window.partition, &schema),
            };
            let (text, title) = (describe_window(window), format!("Window({})", window.time));
            let spread = spec.keys.clone();
            return self.keyed(
                "window",
                title,
                text,
                OperatorSpec::SessionTable(spec),
                from,
                spread,
                relation,
            );
        }
        let below = &self.plan.nodes[from];
        let draft = Draft {
            kind: "window",
            description: format!("window {} of {}", describe_window(window), below.uid),
            identity: None,
            title: format!("Window({})", window.time),
            spec: OperatorSpec::WindowTable(window_spec(window, &schema)),
            inputs: vec![Edge { from, exchange: Exchange::Forward }],
            schema: relation.schema(),
            changelog: below.changelog,
            single: below.single,
            shared: true,
        };
        self.node(draft)
    }
}

fn window_spec(window: &Window, schema: &Schema) -> WindowSpec {
    WindowSpec {
        time_column: place(&window.time, schema),
        shape: window.shape,
        size_ms: window.size_ms,
        offset_ms: window.offset_ms,
        zone: window.zone.clone(),
        processing_time: window.processing_time,
    }
}

fn describe_window(window: &Window) -> String {
    let Window { time, shape, size_ms, offset_ms, zone, processing_time, partition } = window;
    let mut text = match shape {
        WindowShape::Tumble => "tumble".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    let _ = write!(text, " {time} {size_ms} {offset_ms} {zone:?}");
    if *processing_time {
        text.push_str(" processing time");
    }
    if *shape == WindowShape::Session {
        let _ = write!(text, " of {partition:?}");
    }
    text
}
