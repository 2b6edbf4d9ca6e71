//! Joins over time.

use std::fmt::Write as _;
use std::sync::Arc;

use highwater_stream::{
    Edge, Exchange, IntervalJoinSpec, JoinSpec, NodeId, OperatorSpec, TemporalJoinSpec, WindowJoinSpec,
};

use super::{Draft, Lowering, Names, add_references, mode, narrowed, place};
use crate::relation::{Node, Over, Relation, TimeJoin};

impl Lowering {
    pub(super) fn prune_time_join(
        &mut self,
        relation: &Relation,
        join: &TimeJoin,
        needed: &Names,
    ) -> Arc<Relation> {
        let mut below = needed.clone();
        below.extend(join.keys.iter().flat_map(|key| [key.left.clone(), key.right.clone()]));
        join.residual.iter().for_each(|residual| add_references(residual, &mut below));
        match &join.over {
            Over::Interval { left, right, .. }
            | Over::Window { left, right, .. }
            | Over::Version { left, right } => below.extend([left.clone(), right.clone()]),
        }
        let mut side = |side: &Arc<Relation>| {
            let names = below.iter().filter(|name| side.index(name).is_some()).cloned().collect();
            self.prune_exactly(side, &names)
        };
        let (left, right) = (side(&join.left), side(&join.right));
        let kept: Names = left
            .columns
            .iter()
            .chain(right.columns.iter().filter(|_| !join.kind.is_left_only()))
            .map(|column| column.name.clone())
            .collect();
        let pruned = TimeJoin {
            left,
            right,
            kind: join.kind,
            keys: join.keys.clone(),
            residual: join.residual.clone(),
            over: join.over.clone(),
        };
        narrowed(relation, Node::TimeJoin(pruned), &|name| kept.contains(name))
    }

    pub(super) fn time_join(&mut self, relation: &Relation, join: &TimeJoin) -> NodeId {
        let [left, right] = [&join.left, &join.right].map(|side| self.relation(side));
        if matches!(join.over, Over::Version { .. }) {
            self.tell_each_version(right);
        }
        let [of_left, of_right] = [left, right].map(|side| &self.plan.nodes[side]);
        let plain = JoinSpec {
            kind: join.kind,
            left_keys: join.keys.iter().map(|key| place(&key.left, &of_left.schema)).collect(),
            right_keys: join.keys.iter().map(|key| place(&key.right, &of_right.schema)).collect(),
            null_safe: join.keys.iter().map(|key| key.null_safe).collect(),
            residual: join.residual.clone(),
        };
        let exchange = |keys: &[usize]| match keys {
            [] => Exchange::Gather,
            keys => Exchange::ByKey(keys.to_vec()),
        };
        let inputs = vec![
            Edge { from: left, exchange: exchange(&plain.left_keys) },
            Edge { from: right, exchange: exchange(&plain.right_keys) },
        ];
        let sides = format!("{:?} {:?} of {} and {}", join.kind, join.keys, of_left.uid, of_right.uid);
        let (kind, title, mut description, spec) = match &join.over {
            Over::Interval { left, right, lower_ms, upper_ms, .. } => {
                let spec = IntervalJoinSpec {
                    left_time: place(left, &of_left.schema),
                    right_time: place(right, &of_right.schema),
                    lower_ms: *lower_ms,
                    upper_ms: *upper_ms,
                    join: plain,
                };
                let text = format!("interval join {left} {right} {lower_ms} {upper_ms} {sides}");
                ("interval-join", "IntervalJoin", text, OperatorSpec::IntervalJoin(spec))
            }
            Over::Window { left, right, zone, .. } => {
                let spec = WindowJoinSpec {
                    left_end: place(left, &of_left.schema),
                    right_end: place(right, &of_right.schema),
                    zone: zone.clone(),
                    join: plain,
                };
                let text = format!("window join {left} {right} {zone:?} {sides}");
                ("window-join", "WindowJoin", text, OperatorSpec::WindowJoin(spec))
            }
            Over::Version { left, right } => {
                let spec = TemporalJoinSpec {
                    left_time: place(left, &of_left.schema),
                    right_time: place(right, &of_right.schema),
                    join: plain,
                };
                let text = format!("temporal join {left} {right} {sides}");
                ("temporal-join", "TemporalJoin", text, OperatorSpec::TemporalJoin(spec))
            }
        };
        if let Some(residual) = &join.residual {
            let _ = write!(description, " on {residual}");
        }
        let keys: Vec<&str> = join.keys.iter().map(|key| key.left.as_str()).collect();
        self.node(Draft {
            kind,
            description,
            identity: None,
            title: format!("{:?}{title}({})", join.kind, keys.join(", ")),
            spec,
            inputs,
            schema: relation.schema(),
            changelog: mode(relation.updating),
            single: join.keys.is_empty(),
            shared: true,
        })
    }
    /// Every version counts, also one that another of the same batch replaces.
    fn tell_each_version(&mut self, mut versions: NodeId) {
        loop {
            let node = &mut self.plan.nodes[versions];
            match &mut node.spec {
                OperatorSpec::Rank(spec) => spec.each_row = true,
                OperatorSpec::Calc { .. } => {
                    versions = node.inputs[0].from;
                    continue;
                }
                _ => {}
            }
            return;
        }
    }
}
