//! From bound relations to a [`StreamPlan`]: only the columns that are needed, projections merged,
//! equal parts shared, exchanges put in.

mod keys;
mod match_recognize;
mod over;
mod rank;
mod repeat;
mod scan;
mod time_join;
mod window;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::{Expr, Operator};
use highwater_stream::{
    AggregateCall, ChangelogMode, Edge, Exchange, GroupAggregateSpec, JoinKind, JoinSpec, NodeId,
    OperatorSpec, PlanNode, SinkSpec, SinkTarget, SourceSpec, StreamPlan, UnnestSpec,
};

use crate::functions::compare::binary;
use crate::functions::{is_fallible, literal};
use crate::relation::{Aggregate, Column, JoinKey, Node, Relation, Scan, column_name, named};
use crate::types::SqlType;
use crate::uses::Uses;

/// A sink and the relation it takes: `relation` has exactly the sink's columns.
pub(crate) struct Output {
    pub(crate) relation: Arc<Relation>,
    pub(crate) sink: SinkSpec,
    /// For people: `Sink(t)`.
    pub(crate) title: String,
}

/// One plan for all sinks.
pub(crate) fn lower(outputs: &[Output]) -> StreamPlan {
    let mut lowering =
        Lowering { plan: StreamPlan::default(), known: HashMap::new(), needed: BTreeMap::new() };
    let pruned: Vec<Arc<Relation>> = outputs
        .iter()
        .map(|output| {
            let all = output.relation.columns.iter().map(|column| column.name.clone()).collect();
            lowering.prune_exactly(&output.relation, &all)
        })
        .collect();
    for (output, relation) in outputs.iter().zip(&pruned) {
        lowering.sink(output, relation);
    }
    lowering.plan
}

struct Lowering {
    plan: StreamPlan,
    /// Nodes by what they do and read.
    known: HashMap<String, NodeId>,
    /// What any query needs of each scanned table.
    needed: BTreeMap<String, Uses>,
}

type Names = BTreeSet<String>;

fn add_references(expr: &Expr, names: &mut Names) {
    names.extend(expr.column_refs().into_iter().map(|column| column.name.clone()));
}

/// The relation as `node`, with only the columns that are kept.
fn narrowed(relation: &Relation, node: Node, kept: &dyn Fn(&str) -> bool) -> Arc<Relation> {
    let columns = relation.columns.iter().filter(|column| kept(&column.name)).cloned().collect();
    Arc::new(Relation { node, columns, updating: relation.updating, keys: Vec::new() })
}

/// Table and options: what makes two scans the same source.
fn scan_key(scan: &Scan) -> String {
    format!("{} {:?}", scan.table.name, scan.options)
}

impl Lowering {
    /// The relation with exactly the needed columns, in their order.
    fn prune_exactly(&mut self, relation: &Arc<Relation>, needed: &Names) -> Arc<Relation> {
        let pruned = self.prune(relation, needed);
        let columns = relation
            .columns
            .iter()
            .filter(|column| needed.contains(&column.name))
            .map(|column| (column.name.clone(), named(&column.name), column.ty.clone()))
            .collect();
        Relation::calc(&pruned, None, columns)
    }

    /// The relation with at least the needed columns, and few others.
    fn prune(&mut self, relation: &Arc<Relation>, needed: &Names) -> Arc<Relation> {
        let with = |node: Node, kept: &dyn Fn(&str) -> bool| narrowed(relation, node, kept);
        match &relation.node {
            Node::Scan(scan) => {
                let uses = self.needed.entry(scan_key(scan)).or_default();
                needed.iter().for_each(|name| uses.add_whole(name));
                Arc::clone(relation)
            }
            Node::OneRow => Arc::clone(relation),
            Node::Calc { input, filter, columns } => {
                self.prune_calc(relation, needed, (input, filter.as_ref(), columns))
            }
            Node::Union { .. } if needed.is_empty() => {
                let first = relation.columns.iter().take(1).map(|column| column.name.clone()).collect();
                self.prune(relation, &first)
            }
            Node::Union { inputs } => {
                let inputs = inputs
                    .iter()
                    .map(|input| {
                        let places = relation.columns.iter().zip(&input.columns);
                        let below = places
                            .filter(|(column, _)| needed.contains(&column.name))
                            .map(|(_, from)| from.name.clone());
                        self.prune_exactly(input, &below.collect())
                    })
                    .collect();
                with(Node::Union { inputs }, &|name| needed.contains(name))
            }
            Node::Unnest { .. } => self.prune_unnest(relation, needed),
            Node::Repeat { .. } => self.prune_repeat(relation, needed),
            Node::WindowTable { input, window } => self.prune_window_table(relation, needed, input, window),
            Node::WindowAggregate { .. } => self.prune_window_aggregate(relation),
            Node::GroupAggregate { input, keys, calls } => {
                let mut below = aggregate_references(keys, calls);
                if below.is_empty() {
                    below.extend(input.columns.first().map(|column| column.name.clone()));
                }
                let input = self.prune(input, &below);
                with(Node::GroupAggregate { input, keys: keys.clone(), calls: calls.clone() }, &|_| true)
            }
            Node::Join { .. } => self.prune_join(relation, needed),
            Node::TimeJoin(join) => self.prune_time_join(relation, join, needed),
            Node::MatchRecognize { .. } => self.prune_match(relation),
            Node::Over { input, over } => self.prune_over(relation, needed, input, over),
            Node::Rank { input, rank } => self.prune_rank(relation, needed, input, rank),
            Node::Sort { input, time, order } => self.prune_sort(relation, needed, (input, time, order)),
        }
    }

    fn prune_join(&mut self, relation: &Arc<Relation>, needed: &Names) -> Arc<Relation> {
        let Node::Join { left, right, kind, keys, residual } = &relation.node else {
            return Arc::clone(relation);
        };
        let ([left, right], keys, residual) = keys::computed([left, right], keys, residual.as_ref());
        let mut below = needed.clone();
        below.extend(keys.iter().flat_map(|key| [key.left.clone(), key.right.clone()]));
        residual.iter().for_each(|residual| add_references(residual, &mut below));
        let mut side = |side: &Arc<Relation>| {
            let mut names: Names = below.iter().filter(|name| side.index(name).is_some()).cloned().collect();
            if names.is_empty() {
                names.extend(side.columns.first().map(|column| column.name.clone()));
            }
            self.prune_exactly(side, &names)
        };
        let (left, right) = (side(&left), side(&right));
        let of_right = right.columns.iter().filter(|_| !kind.is_left_only());
        let columns =
            left.columns.iter().chain(of_right).map(|column| Column { rowtime: false, ..column.clone() });
        let (columns, updating) = (columns.collect(), relation.updating);
        let node = Node::Join { left, right, kind: *kind, keys, residual };
        Arc::new(Relation { node, columns, updating, keys: Vec::new() })
    }

    fn prune_unnest(&mut self, relation: &Arc<Relation>, needed: &Names) -> Arc<Relation> {
        let Node::Unnest { input, collection, ordinality, outer } = &relation.node else {
            return Arc::clone(relation);
        };
        let mut below: Names = needed.iter().filter(|name| input.index(name).is_some()).cloned().collect();
        below.insert(collection.clone());
        let kept = |name: &str| input.index(name).is_none() || below.contains(name);
        let node = Node::Unnest {
            input: self.prune_exactly(input, &below),
            collection: collection.clone(),
            ordinality: *ordinality,
            outer: *outer,
        };
        narrowed(relation, node, &kept)
    }

    fn prune_calc(
        &mut self,
        relation: &Relation,
        needed: &Names,
        (input, filter, expressions): (&Arc<Relation>, Option<&Expr>, &[Expr]),
    ) -> Arc<Relation> {
        let mut below = Names::new();
        let mut kept = Vec::new();
        let mut columns = Vec::new();
        for (column, expr) in relation.columns.iter().zip(expressions) {
            if needed.contains(&column.name) {
                add_references(expr, &mut below);
                kept.push(expr.clone());
                columns.push(column.clone());
            }
        }
        if kept.is_empty() {
            // Rows are counted by some column.
            kept.push(literal(ScalarValue::Boolean(Some(true))));
            columns.push(Column::plain("$row", SqlType::Boolean));
        }
        if let Some(filter) = filter {
            add_references(filter, &mut below);
        }
        let input = if let Node::Scan(scan) = &input.node {
            let uses = self.needed.entry(scan_key(scan)).or_default();
            kept.iter().chain(filter).for_each(|expr| uses.add(expr));
            Arc::clone(input)
        } else {
            self.prune(input, &below)
        };
        let node = Node::Calc { input, filter: filter.cloned(), columns: kept };
        Arc::new(Relation { node, columns, updating: relation.updating, keys: Vec::new() })
    }

    fn sink(&mut self, output: &Output, relation: &Arc<Relation>) {
        let input = self.relation(relation);
        let from = &self.plan.nodes[input];
        let gather = matches!(output.sink.target, SinkTarget::Collect);
        let exchange = match output.sink.primary_key.as_slice() {
            _ if from.single => Exchange::Forward,
            _ if gather => Exchange::Gather,
            [] => Exchange::Forward,
            key => Exchange::ByKey(key.to_vec()),
        };
        let single = from.single || gather;
        let description =
            format!("sink {:?} key {:?} of {}", output.sink.target, output.sink.primary_key, from.uid);
        let identity = format!("sink {} of {}", sink_place(&output.sink.target), from.uid);
        let schema = Arc::clone(&from.schema);
        let mode = from.changelog;
        self.node(Draft {
            kind: "sink",
            description,
            identity: Some(identity),
            title: output.title.clone(),
            spec: OperatorSpec::Sink(output.sink.clone()),
            inputs: vec![Edge { from: input, exchange }],
            schema,
            changelog: mode,
            single,
            shared: false,
        });
    }

    fn relation(&mut self, relation: &Arc<Relation>) -> NodeId {
        match &relation.node {
            Node::Scan(scan) => self.scan(scan),
            Node::OneRow => self.one_row(),
            Node::Calc { .. } => self.calc(relation),
            Node::Union { inputs } => self.union(relation, inputs),
            Node::Repeat { input, times, ordinal } => self.repeat(relation, input, times, ordinal.is_some()),
            Node::Unnest { input, collection, ordinality, outer } => {
                self.unnest(relation, input, collection, (*ordinality, *outer))
            }
            Node::WindowTable { input, window } => self.window_table(relation, input, window),
            Node::WindowAggregate { .. } => self.window_aggregate(relation),
            Node::Join { left, right, kind, keys, residual } => {
                self.join(relation, [left, right], (*kind, keys, residual.as_ref()))
            }
            Node::TimeJoin(join) => self.time_join(relation, join),
            Node::MatchRecognize { input, pattern } => self.match_recognize(relation, input, pattern),
            Node::Over { input, over } => self.over(relation, input, over),
            Node::Rank { input, rank } => self.rank(relation, input, rank),
            Node::Sort { input, time, order } => self.sort(relation, input, time, order),
            Node::GroupAggregate { input, keys, calls } => {
                let from = self.relation(input);
                let schema = self.schema(from);
                let spec = GroupAggregateSpec {
                    keys: places(keys, &schema),
                    calls: aggregate_calls(calls, &schema),
                    emit_update_before: true,
                };
                let text = describe_aggregate(keys, calls);
                let title = format!("GroupAggregate({})", title_of(keys, calls));
                self.keyed(
                    "group-aggregate",
                    title,
                    text,
                    OperatorSpec::GroupAggregate(spec.clone()),
                    from,
                    spec.keys,
                    relation,
                )
            }
        }
    }

    fn join(
        &mut self,
        relation: &Relation,
        [left, right]: [&Arc<Relation>; 2],
        (kind, keys, residual): (JoinKind, &[JoinKey], Option<&Expr>),
    ) -> NodeId {
        let [left, right] = [left, right].map(|side| self.relation(side));
        let [of_left, of_right] = [left, right].map(|side| &self.plan.nodes[side]);
        let spec = JoinSpec {
            kind,
            left_keys: keys.iter().map(|key| place(&key.left, &of_left.schema)).collect(),
            right_keys: keys.iter().map(|key| place(&key.right, &of_right.schema)).collect(),
            null_safe: keys.iter().map(|key| key.null_safe).collect(),
            residual: residual.cloned(),
        };
        let mut description = format!("join {kind:?} {keys:?} of {} and {}", of_left.uid, of_right.uid);
        if let Some(residual) = residual {
            let _ = write!(description, " on {residual}");
        }
        let exchange = |keys: &[usize]| match keys {
            [] => Exchange::Gather,
            keys => Exchange::ByKey(keys.to_vec()),
        };
        let inputs = vec![
            Edge { from: left, exchange: exchange(&spec.left_keys) },
            Edge { from: right, exchange: exchange(&spec.right_keys) },
        ];
        let title: Vec<&str> = keys.iter().map(|key| key.left.as_str()).collect();
        self.node(Draft {
            kind: "join",
            description,
            identity: None,
            title: format!("{kind:?}Join({})", title.join(", ")),
            spec: OperatorSpec::Join(spec),
            inputs,
            schema: relation.schema(),
            changelog: mode(relation.updating),
            single: keys.is_empty(),
            shared: true,
        })
    }

    fn schema(&self, node: NodeId) -> SchemaRef {
        Arc::clone(&self.plan.nodes[node].schema)
    }

    #[expect(clippy::too_many_arguments, reason = "few callers")]
    fn keyed(
        &mut self,
        kind: &'static str,
        title: String,
        text: String,
        spec: OperatorSpec,
        from: NodeId,
        keys: Vec<usize>,
        relation: &Relation,
    ) -> NodeId {
        let input = &self.plan.nodes[from];
        let (exchange, single) = match keys.as_slice() {
            _ if input.single => (Exchange::Forward, true),
            [] => (Exchange::Gather, true),
            _ => (Exchange::ByKey(keys), false),
        };
        let description = format!("{kind} {text} of {}", input.uid);
        self.node(Draft {
            kind,
            description,
            identity: None,
            title,
            spec,
            inputs: vec![Edge { from, exchange }],
            schema: relation.schema(),
            changelog: mode(relation.updating),
            single,
            shared: true,
        })
    }

    fn unnest(
        &mut self,
        relation: &Relation,
        input: &Arc<Relation>,
        collection: &str,
        (ordinality, outer): (bool, bool),
    ) -> NodeId {
        let from = self.relation(input);
        let schema = self.schema(from);
        let names = relation.columns.iter().map(|column| column.name.as_str());
        let kept: Vec<&str> = names.clone().filter(|name| schema.index_of(name).is_ok()).collect();
        let spec = UnnestSpec {
            collection: place(collection, &schema),
            kept: kept.iter().map(|name| place(name, &schema)).collect(),
            ordinality,
            outer,
        };
        let below = &self.plan.nodes[from];
        let columns = names.skip(kept.len()).collect::<Vec<_>>().join(", ");
        let draft = Draft {
            kind: "unnest",
            description: format!("unnest {spec:?} as {columns} of {}", below.uid),
            identity: None,
            title: format!("Unnest({columns})"),
            spec: OperatorSpec::Unnest(spec),
            inputs: vec![Edge { from, exchange: Exchange::Forward }],
            schema: relation.schema(),
            changelog: below.changelog,
            single: below.single,
            shared: true,
        };
        self.node(draft)
    }

    fn union(&mut self, relation: &Relation, inputs: &[Arc<Relation>]) -> NodeId {
        let from: Vec<NodeId> = inputs.iter().map(|input| self.relation(input)).collect();
        let single = from.iter().any(|node| self.plan.nodes[*node].single);
        let mut description = "union".to_owned();
        let inputs = from
            .into_iter()
            .map(|from| {
                let node = &self.plan.nodes[from];
                let _ = write!(description, " of {}", node.uid);
                let exchange = if single && !node.single { Exchange::Gather } else { Exchange::Forward };
                Edge { from, exchange }
            })
            .collect();
        self.node(Draft {
            kind: "union",
            description,
            identity: None,
            title: "Union".to_owned(),
            spec: OperatorSpec::Union,
            inputs,
            schema: relation.schema(),
            changelog: mode(relation.updating),
            single,
            shared: true,
        })
    }

    fn calc(&mut self, relation: &Arc<Relation>) -> NodeId {
        let merged = merge(relation);
        let Node::Calc { input, filter, columns } = &merged.node else { return self.relation(&merged) };
        let from = self.relation(input);
        let below = &self.plan.nodes[from];
        let schema = merged.schema();
        let same = |(expr, (field, known)): (&Expr, (&Arc<Field>, &Arc<Field>))| {
            column_name(expr) == Some(known.name()) && field.name() == known.name()
        };
        if filter.is_none()
            && schema.fields().len() == below.schema.fields().len()
            && columns.iter().zip(schema.fields().iter().zip(below.schema.fields())).all(same)
        {
            return from;
        }
        let mut description = format!("calc of {}", below.uid);
        if let Some(filter) = filter {
            let _ = write!(description, " where {filter}");
        }
        for (expr, column) in columns.iter().zip(&merged.columns) {
            let _ = write!(description, ", {expr} as {} {}", column.name, column.ty);
        }
        let title = if filter.is_some() { "Filter" } else { "Project" };
        let draft = Draft {
            kind: "calc",
            description,
            identity: None,
            title: format!(
                "{title}({})",
                merged.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
            spec: OperatorSpec::Calc { filter: filter.clone(), columns: columns.clone() },
            inputs: vec![Edge { from, exchange: Exchange::Forward }],
            schema,
            changelog: below.changelog,
            single: below.single,
            shared: true,
        };
        self.node(draft)
    }

    /// A source of one row. `datagen` makes it; its one column is not read.
    fn one_row(&mut self) -> NodeId {
        let options = [("connector", "datagen"), ("number-of-rows", "1"), ("rows-per-second", "1000000")];
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("$row", DataType::Boolean, true)]));
        let spec = SourceSpec {
            table: "$one_row".to_owned(),
            options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            physical: Arc::clone(&schema),
            declared: Arc::clone(&schema),
            columns: vec![named("$row")],
            rowtime: None,
        };
        self.node(Draft {
            kind: "source",
            description: "one row".to_owned(),
            identity: None,
            title: "Source(one row)".to_owned(),
            spec: OperatorSpec::Source(spec),
            inputs: Vec::new(),
            schema,
            changelog: ChangelogMode::InsertOnly,
            single: true,
            shared: true,
        })
    }

    fn node(&mut self, draft: Draft) -> NodeId {
        if draft.shared
            && let Some(known) = self.known.get(&draft.description)
        {
            return *known;
        }
        let identity = fingerprint(draft.identity.as_ref().unwrap_or(&draft.description));
        let mut uid = format!("{}:{identity:016x}", draft.kind);
        let mut number = 1;
        while self.plan.nodes.iter().any(|node| node.uid == uid) {
            number += 1;
            uid = format!("{}:{identity:016x}-{number}", draft.kind);
        }
        let id = self.plan.add(PlanNode {
            uid,
            title: draft.title,
            spec: draft.spec,
            inputs: draft.inputs,
            schema: draft.schema,
            changelog: draft.changelog,
            single: draft.single,
        });
        self.known.insert(draft.description, id);
        id
    }
}

/// Connector and place: what of a table's options says which data it is.
fn place_of(options: &BTreeMap<String, String>) -> String {
    let value = |key: &str| options.get(key).map_or("", String::as_str);
    format!("{} {} {}", value("connector"), value("topic"), value("path"))
}

fn sink_place(target: &SinkTarget) -> String {
    match target {
        SinkTarget::Table { table, options } => format!("{table} {}", place_of(options)),
        SinkTarget::Materialized { table } => format!("materialized {table}"),
        SinkTarget::Collect => "collect".to_owned(),
    }
}

/// A node before it has a number.
struct Draft {
    kind: &'static str,
    /// What it does, with what it reads: equal ones may be shared.
    description: String,
    /// What names its state, where that is less than the description.
    identity: Option<String>,
    title: String,
    spec: OperatorSpec,
    inputs: Vec<Edge>,
    schema: SchemaRef,
    changelog: ChangelogMode,
    single: bool,
    /// Whether an equal node may stand for it.
    shared: bool,
}

/// FNV-1a, 64 bits: stable over versions and machines.
fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn mode(updating: bool) -> ChangelogMode {
    if updating { ChangelogMode::Retract } else { ChangelogMode::InsertOnly }
}

fn aggregate_references(keys: &[String], calls: &[Aggregate]) -> Names {
    let arguments = calls.iter().flat_map(|call| [&call.argument, &call.filter].into_iter().flatten());
    keys.iter().chain(arguments).cloned().collect()
}

fn places(names: &[String], schema: &Schema) -> Vec<usize> {
    names.iter().map(|name| place(name, schema)).collect()
}

fn place(name: &str, schema: &Schema) -> usize {
    schema.index_of(name).expect("the binder named a column of its input, and pruning kept it")
}

fn aggregate_calls(calls: &[Aggregate], schema: &Schema) -> Vec<AggregateCall> {
    calls.iter().map(|call| aggregate_call(call, schema)).collect()
}

fn aggregate_call(call: &Aggregate, schema: &Schema) -> AggregateCall {
    AggregateCall {
        function: call.function,
        argument: call.argument.as_ref().map(|name| place(name, schema)),
        distinct: call.distinct,
        filter: call.filter.as_ref().map(|name| place(name, schema)),
        output: call.output.to_arrow(),
    }
}

fn describe_aggregate(keys: &[String], calls: &[Aggregate]) -> String {
    let mut text = format!("by {keys:?}");
    for call in calls {
        let _ = write!(
            text,
            ", {:?} {:?} {} {:?} {}",
            call.function, call.argument, call.distinct, call.filter, call.output
        );
    }
    text
}

fn title_of(keys: &[String], calls: &[Aggregate]) -> String {
    let keys = keys.join(", ");
    if calls.is_empty() { format!("distinct {keys}") } else { keys }
}

/// A projection over projections as one, where that evaluates nothing twice and nothing too early.
fn merge(relation: &Arc<Relation>) -> Arc<Relation> {
    let Node::Calc { input, filter, columns } = &relation.node else { return Arc::clone(relation) };
    let input = merge(input);
    let rebuilt = |input: Arc<Relation>, filter: Option<Expr>, columns: Vec<Expr>| {
        Arc::new(Relation {
            node: Node::Calc { input, filter, columns },
            columns: relation.columns.clone(),
            updating: relation.updating,
            keys: relation.keys.clone(),
        })
    };
    let Node::Calc { input: below, filter: inner_filter, columns: inner } = &input.node else {
        return rebuilt(input, filter.clone(), columns.clone());
    };
    let names: HashMap<&str, &Expr> =
        input.columns.iter().map(|column| column.name.as_str()).zip(inner).collect();
    let trivial = |expr: &Expr| matches!(expr, Expr::Column(_) | Expr::Literal(..));
    let mut uses: HashMap<String, usize> = HashMap::new();
    for expr in columns.iter().chain(filter) {
        count_columns(expr, &mut uses);
    }
    let repeats = uses
        .iter()
        .any(|(name, count)| *count > 1 && names.get(name.as_str()).is_some_and(|expr| !trivial(expr)));
    let too_early = inner_filter.is_some() && filter.as_ref().is_some_and(is_fallible);
    if repeats || too_early {
        return rebuilt(Arc::clone(&input), filter.clone(), columns.clone());
    }
    let substitute = |expr: &Expr| {
        let replaced = expr.clone().transform_up(|node| {
            Ok(match column_name(&node).and_then(|name| names.get(name)) {
                Some(expr) => Transformed::yes((*expr).clone()),
                None => Transformed::no(node),
            })
        });
        replaced.map_or_else(|_| expr.clone(), |replaced| replaced.data)
    };
    let filter = match (inner_filter.clone(), filter.as_ref().map(substitute)) {
        (Some(a), Some(b)) => Some(binary(a, Operator::And, b)),
        (a, b) => a.or(b),
    };
    rebuilt(Arc::clone(below), filter, columns.iter().map(substitute).collect())
}

fn count_columns(expr: &Expr, uses: &mut HashMap<String, usize>) {
    let _ = expr.apply(|node| {
        if let Some(name) = column_name(node) {
            *uses.entry(name.to_owned()).or_default() += 1;
        }
        Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
    });
}
