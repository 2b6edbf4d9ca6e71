//! Ranks and sorts.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::Schema;
use highwater_stream::{FirstRowSpec, NodeId, OperatorSpec, RankSpec, SortKey, SortSpec, WindowRankSpec};

use super::{Lowering, Names, narrowed, place, places};
use crate::relation::{Node, Rank, RankWhen, Relation, SortColumn};

impl Lowering {
    pub(super) fn prune_rank(
        &mut self,
        relation: &Relation,
        needed: &Names,
        input: &Arc<Relation>,
        rank: &Rank,
    ) -> Arc<Relation> {
        let mut below = references(&rank.keys, &rank.order);
        if let RankWhen::WindowOver { end, .. } = &rank.when {
            below.insert(end.clone());
        }
        let input = self.prune_to(input, needed, below);
        let number = numbered(relation).filter(|number| needed.contains(*number));
        let kept = |name: &str| input.index(name).is_some() || number == Some(name);
        narrowed(relation, Node::Rank { input: Arc::clone(&input), rank: rank.clone() }, &kept)
    }

    pub(super) fn prune_sort(
        &mut self,
        relation: &Relation,
        needed: &Names,
        (input, time, order): (&Arc<Relation>, &str, &[SortColumn]),
    ) -> Arc<Relation> {
        let mut below = references(&[], order);
        below.insert(time.to_owned());
        let input = self.prune_to(input, needed, below);
        let node = Node::Sort { input: Arc::clone(&input), time: time.to_owned(), order: order.to_vec() };
        narrowed(relation, node, &|name| input.index(name).is_some())
    }

    /// Exactly the columns that are needed above and `below`, at least one.
    fn prune_to(&mut self, input: &Arc<Relation>, needed: &Names, mut below: Names) -> Arc<Relation> {
        below.extend(needed.iter().filter(|name| input.index(name).is_some()).cloned());
        if below.is_empty() {
            below.extend(input.columns.first().map(|column| column.name.clone()));
        }
        self.prune_exactly(input, &below)
    }

    pub(super) fn rank(&mut self, relation: &Relation, input: &Arc<Relation>, rank: &Rank) -> NodeId {
        let from = self.relation(input);
        let schema = self.schema(from);
        let spec = RankSpec {
            keys: places(&rank.keys, &schema),
            order: sort_keys(&rank.order, &schema),
            later_first: rank.later_first,
            ranks: rank.ranks.unwrap_or((1, u64::MAX)),
            numbered: numbered(relation).is_some(),
            each_row: false,
        };
        let keys = spec.keys.clone();
        let names = rank.keys.join(", ");
        let mut text = format!("by {:?} order {:?} {:?}", rank.keys, rank.order, spec.ranks);
        let _ = write!(text, " {} {} {:?}", spec.later_first, spec.numbered, rank.when);
        // What is kept is part of the state: rows with all their columns.
        let _ =
            write!(text, " of {:?}", schema.fields().iter().map(|field| field.name()).collect::<Vec<_>>());
        let (kind, title, spec) = match (&rank.when, spec.order.first()) {
            (RankWhen::AtItsTime, Some(time)) => {
                let spec = FirstRowSpec { keys: spec.keys, time_column: time.column };
                ("first-row", format!("FirstRow({names})"), OperatorSpec::FirstRow(spec))
            }
            (RankWhen::WindowOver { end, zone }, _) => {
                let window_end = place(end, &schema);
                let spec = WindowRankSpec { rank: spec, window_end, zone: zone.clone() };
                ("window-rank", format!("WindowRank({names})"), OperatorSpec::WindowRank(spec))
            }
            _ => ("rank", format!("Rank({names})"), OperatorSpec::Rank(spec)),
        };
        self.keyed(kind, title, text, spec, from, keys, relation)
    }

    pub(super) fn sort(
        &mut self,
        relation: &Relation,
        input: &Arc<Relation>,
        time: &str,
        order: &[SortColumn],
    ) -> NodeId {
        let from = self.relation(input);
        let schema = self.schema(from);
        let spec = SortSpec { time_column: place(time, &schema), order: sort_keys(order, &schema) };
        let fields: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        let text = format!("{time} {order:?} of {fields:?}");
        let title = format!("Sort({time})");
        self.keyed("sort", title, text, OperatorSpec::Sort(spec), from, Vec::new(), relation)
    }
}

/// The name of the column of ranks, if rows carry it: it stands behind those of the input.
fn numbered(relation: &Relation) -> Option<&str> {
    let Node::Rank { input, .. } = &relation.node else { return None };
    let number = relation.columns.last()?;
    input.index(&number.name).is_none().then_some(number.name.as_str())
}

fn references(keys: &[String], order: &[SortColumn]) -> Names {
    keys.iter().chain(order.iter().map(|column| &column.name)).cloned().collect()
}

fn sort_keys(order: &[SortColumn], schema: &Schema) -> Vec<SortKey> {
    let key = |column: &SortColumn| SortKey {
        column: place(&column.name, schema),
        descending: column.descending,
        nulls_first: column.nulls_first,
    };
    order.iter().map(key).collect()
}
