//! Rows that come several times.

use std::sync::Arc;

use highwater_stream::{Edge, Exchange, NodeId, OperatorSpec, RepeatSpec, Times as TimesSpec};

use super::{Draft, Lowering, Names, narrowed, place};
use crate::relation::{Node, Relation, Times};

impl Lowering {
    pub(super) fn prune_repeat(&mut self, relation: &Arc<Relation>, needed: &Names) -> Arc<Relation> {
        let Node::Repeat { input, times, ordinal } = &relation.node else { return Arc::clone(relation) };
        let mut below: Names = needed.iter().filter(|name| input.index(name).is_some()).cloned().collect();
        if let Times::Column(column) = times {
            below.insert(column.clone());
        }
        if below.is_empty() {
            below.extend(input.columns.first().map(|column| column.name.clone()));
        }
        let kept = |name: &str| input.index(name).is_none() || below.contains(name);
        let input = self.prune_exactly(input, &below);
        let node = Node::Repeat { input, times: times.clone(), ordinal: ordinal.clone() };
        narrowed(relation, node, &kept)
    }

    pub(super) fn repeat(
        &mut self,
        relation: &Relation,
        input: &Arc<Relation>,
        times: &Times,
        ordinal: bool,
    ) -> NodeId {
        let from = self.relation(input);
        let schema = self.schema(from);
        let kept = relation.columns.len() - usize::from(ordinal);
        let spec = RepeatSpec {
            times: match times {
                Times::Column(column) => TimesSpec::Column(place(column, &schema)),
                Times::Fixed(times) => TimesSpec::Fixed(*times),
            },
            kept: relation.columns[..kept].iter().map(|column| place(&column.name, &schema)).collect(),
            ordinal,
        };
        let below = &self.plan.nodes[from];
        let draft = Draft {
            kind: "repeat",
            description: format!("repeat {spec:?} of {}", below.uid),
            identity: None,
            title: "Repeat".to_owned(),
            spec: OperatorSpec::Repeat(spec),
            inputs: vec![Edge { from, exchange: Exchange::Forward }],
            schema: relation.schema(),
            changelog: below.changelog,
            single: below.single,
            shared: true,
        };
        self.node(draft)
    }
}
