//! `MATCH_RECOGNIZE`.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::Schema;
use highwater_stream::{
    MatchCondition, MatchOrder, MatchSpec, MatchValue, NodeId, OperatorSpec, PatternVariable,
};

use super::{Lowering, Names, aggregate_calls, narrowed, place, places};
use crate::bind::match_recognize::{Pattern, Value};
use crate::relation::{Node, Relation};

impl Lowering {
    /// All columns of the input are needed: the binder asked for each.
    pub(super) fn prune_match(&mut self, relation: &Arc<Relation>) -> Arc<Relation> {
        let Node::MatchRecognize { input, pattern } = &relation.node else { return Arc::clone(relation) };
        let all: Names = input.columns.iter().map(|column| column.name.clone()).collect();
        let node =
            Node::MatchRecognize { input: self.prune_exactly(input, &all), pattern: Arc::clone(pattern) };
        narrowed(relation, node, &|_| true)
    }

    pub(super) fn match_recognize(
        &mut self,
        relation: &Relation,
        input: &Arc<Relation>,
        pattern: &Pattern,
    ) -> NodeId {
        let from = self.relation(input);
        let schema = self.schema(from);
        let variables = pattern.variables.iter().map(|variable| PatternVariable {
            name: variable.name.clone(),
            min: variable.min,
            max: variable.max,
            greedy: variable.greedy,
            condition: variable.condition.as_ref().map(|condition| MatchCondition {
                condition: condition.condition.clone(),
                values: values(&condition.values, &schema),
                total: condition.total,
            }),
        });
        let spec = MatchSpec {
            keys: places(&pattern.keys, &schema),
            time_column: pattern.time.as_ref().map(|time| place(time, &schema)),
            order: pattern
                .order
                .iter()
                .map(|(column, order)| MatchOrder { column: place(column, &schema), ..*order })
                .collect(),
            variables: variables.collect(),
            skip: pattern.skip,
            within_ms: pattern.within_ms,
            measures: pattern.measures.clone(),
            values: values(&pattern.values, &schema),
        };
        let names: Vec<&str> = pattern.variables.iter().map(|variable| variable.name.as_str()).collect();
        let title = format!("MatchRecognize({})", names.join(" "));
        self.keyed(
            "match-recognize",
            title,
            describe(pattern),
            OperatorSpec::MatchRecognize(spec.clone()),
            from,
            spec.keys,
            relation,
        )
    }
}

fn values(values: &[Value], schema: &Schema) -> Vec<MatchValue> {
    let value = |value: &Value| match value {
        Value::Column { row, column } => MatchValue::Column { row: *row, column: place(column, schema) },
        Value::Aggregate { variable, call } => {
            let mut calls = aggregate_calls(std::slice::from_ref(call), schema);
            MatchValue::Aggregate { variable: *variable, call: calls.remove(0) }
        }
        Value::Time(ty) => MatchValue::Time(ty.to_arrow()),
    };
    values.iter().map(value).collect()
}

/// All that decides what state means.
fn describe(pattern: &Pattern) -> String {
    let Pattern { keys, time, order, variables, skip, within_ms, measures, values } = pattern;
    let mut text = format!("by {keys:?} order {time:?} {order:?} skip {skip:?} within {within_ms:?}");
    for variable in variables {
        let (name, min, max, greedy) = (&variable.name, variable.min, variable.max, variable.greedy);
        let _ = write!(text, ", {name} {min} {max:?} {greedy}");
        if let Some(condition) = &variable.condition {
            let _ = write!(text, " if {} of {:?}", condition.condition, condition.values);
        }
    }
    for measure in measures {
        let _ = write!(text, ", measure {measure}");
    }
    let _ = write!(text, " of {values:?}");
    text
}
