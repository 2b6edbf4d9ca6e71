//! `OVER`.

use std::sync::Arc;

use arrow::datatypes::Schema;
use highwater_stream::{NodeId, OperatorSpec, OverAggregateSpec, OverCall, OverOrder};

use super::{Lowering, Names, aggregate_call, narrowed, place, places};
use crate::relation::{Node, OverBy, OverFunction, OverWindow, Relation};

impl Lowering {
    pub(super) fn prune_over(
        &mut self,
        relation: &Arc<Relation>,
        needed: &Names,
        input: &Arc<Relation>,
        over: &OverWindow,
    ) -> Arc<Relation> {
        let results = &relation.columns[input.columns.len()..];
        let calls = || over.calls.iter().zip(results).filter(|(_, column)| needed.contains(&column.name));
        if calls().next().is_none() && !needed.is_empty() {
            // Rows come out late or not at all, but with nothing added: some call keeps the operator.
            let mut needed = needed.clone();
            needed.extend(results.first().map(|column| column.name.clone()));
            return self.prune_over(relation, &needed, input, over);
        }
        let mut below: Names = needed.iter().filter(|name| input.index(name).is_some()).cloned().collect();
        below.extend(over.keys.iter().cloned());
        match &over.order {
            OverBy::EventTime(column) | OverBy::Value { column, .. } => {
                below.insert(column.clone());
            }
            OverBy::Arrival => {}
        }
        below.extend(calls().flat_map(|(call, _)| arguments(call)).cloned());
        if below.is_empty() {
            // Rows need a column to be counted by.
            below.extend(input.columns.first().map(|column| column.name.clone()));
        }
        let kept: Names =
            calls().map(|(_, column)| column.name.clone()).chain(below.iter().cloned()).collect();
        let over = OverWindow { calls: calls().map(|(call, _)| call.clone()).collect(), ..over.clone() };
        let input = self.prune_exactly(input, &below);
        narrowed(relation, Node::Over { input, over }, &|name| kept.contains(name))
    }

    pub(super) fn over(&mut self, relation: &Relation, input: &Arc<Relation>, over: &OverWindow) -> NodeId {
        let from = self.relation(input);
        let schema = self.schema(from);
        let spec = OverAggregateSpec {
            keys: places(&over.keys, &schema),
            order: match &over.order {
                OverBy::EventTime(column) => OverOrder::EventTime(place(column, &schema)),
                OverBy::Arrival => OverOrder::Arrival,
                OverBy::Value { column, nulls_first } => {
                    OverOrder::Value { column: place(column, &schema), nulls_first: *nulls_first }
                }
            },
            frame: over.frame,
            calls: over.calls.iter().map(|call| over_call(call, &schema)).collect(),
        };
        let text = format!("{over:?}");
        let title = format!("Over({})", over.keys.join(", "));
        let keys = spec.keys.clone();
        self.keyed("over-aggregate", title, text, OperatorSpec::OverAggregate(spec), from, keys, relation)
    }
}

fn arguments(call: &OverFunction) -> impl Iterator<Item = &String> {
    let (argument, filter) = match call {
        OverFunction::Aggregate(aggregate) => (aggregate.argument.as_ref(), aggregate.filter.as_ref()),
        OverFunction::FirstValue(argument)
        | OverFunction::LastValue(argument)
        | OverFunction::Lag { argument, .. } => (Some(argument), None),
    };
    argument.into_iter().chain(filter)
}

fn over_call(call: &OverFunction, schema: &Schema) -> OverCall {
    match call {
        OverFunction::Aggregate(aggregate) => OverCall::Aggregate(aggregate_call(aggregate, schema)),
        OverFunction::FirstValue(argument) => OverCall::FirstValue(place(argument, schema)),
        OverFunction::LastValue(argument) => OverCall::LastValue(place(argument, schema)),
        OverFunction::Lag { argument, offset, default } => {
            OverCall::Lag { argument: place(argument, schema), offset: *offset, default: default.clone() }
        }
    }
}
