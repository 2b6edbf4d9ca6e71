//! From a plan to wired instances.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_env::{Clock, KEY_GROUPS, MemoryBudget};
use highwater_state::{KeyCodec, RestoredState};
use highwater_stream::{
    ChangelogMode, Connect, Edge, Exchange, IntervalJoinSpec, NodeId, OperatorSpec, OverOrder, PlanNode,
    RankSpec, StreamPlan, TemporalJoinSpec, WindowJoinSpec, WindowShape,
};

use crate::channel::{Channel, ChannelLimits};
use crate::clock::with_clock;
use crate::counters::JobCounters;
use crate::exchange::{Outlet, Spread};
use crate::handle::{BarrierInbox, JobShared};
use crate::inputs::Inputs;
use crate::operator::Operator;
use crate::operators::{
    Calc, EachRow, FirstRow, FirstRows, GroupAggregate, IntervalJoin, Join, MatchRecognize, OverAggregate,
    OverValue, Place, Rank, Repeat, SessionAggregate, SessionTable, Sink, Sort, TemporalJoin, TopRow, Union,
    Unnest, WindowAggregate, WindowJoin, WindowRank, WindowTable,
};
use crate::ready::Signal;
use crate::source::{Restored, SharedSource, Source};
use crate::task::{Head, Node, Target, Task};
use crate::{JobError, JobSettings};

/// Instantiates a plan: per chain of fused nodes and shard one task.
pub(crate) fn build(
    plan: &StreamPlan,
    connect: &dyn Connect,
    settings: &JobSettings,
    restore: Option<&RestoredState>,
    clock: Arc<dyn Clock>,
    budget: &MemoryBudget,
) -> Result<(Arc<JobShared>, Vec<Task>), JobError> {
    if !(1..=usize::from(KEY_GROUPS)).contains(&settings.shards) || settings.batch_rows_max == 0 {
        return Err(JobError::Plan(format!("{} shards, expected 1..={KEY_GROUPS}", settings.shards)));
    }
    let plan = &with_clock(plan, &clock);
    let layout = Layout::new(plan, settings.shards)?;
    let signals: Vec<Arc<Signal>> = (0..layout.tasks).map(Signal::new).collect();
    let wiring = Wiring::new(plan, &layout, &signals, settings, budget)?;
    let inboxes: HashMap<usize, Arc<BarrierInbox>> =
        layout.source_tasks(plan).map(|t| (t, Arc::default())).collect();
    let mut bells: Vec<_> = inboxes.iter().map(|(task, inbox)| (*task, Arc::clone(inbox))).collect();
    bells.sort_by_key(|(task, _)| *task);
    let bells = bells.into_iter().map(|(task, inbox)| (inbox, Arc::clone(&signals[task]))).collect();
    let counters = JobCounters::new(plan, |node| layout.instances[node]);
    let shared = Arc::new(JobShared::new(counters, signals, bells));
    let now = clock.monotonic();
    let builder = Builder { plan, connect, settings, restore, budget, layout, shared, inboxes, now };
    let tasks = builder.tasks(wiring)?;
    Ok((builder.shared, tasks))
}

/// Which nodes are fused, and which task runs what.
struct Layout {
    /// Per node: how many instances.
    instances: Vec<usize>,
    /// Per node: the first node of its chain.
    heads: Vec<NodeId>,
    /// Per chain's first node: the task of its instance 0; the others follow.
    first_task: HashMap<NodeId, usize>,
    tasks: usize,
}

impl Layout {
    fn new(plan: &StreamPlan, shards: usize) -> Result<Self, JobError> {
        let instances: Vec<usize> =
            plan.nodes.iter().map(|node| if node.single { 1 } else { shards }).collect();
        let (mut heads, mut first_task, mut tasks) = (Vec::new(), HashMap::new(), 0);
        for (id, node) in plan.nodes.iter().enumerate() {
            check_node(plan, id, node, &instances)?;
            let fused = match node.inputs.as_slice() {
                [edge] => {
                    edge.exchange == Exchange::Forward || (instances[id] == 1 && instances[edge.from] == 1)
                }
                _ => false,
            };
            if fused {
                heads.push(heads[node.inputs[0].from]);
            } else {
                heads.push(id);
                first_task.insert(id, tasks);
                tasks += instances[id];
            }
        }
        Ok(Self { instances, heads, first_task, tasks })
    }

    fn task(&self, node: NodeId, shard: usize) -> usize {
        self.first_task[&self.heads[node]] + shard
    }

    fn is_fused(&self, node: NodeId) -> bool {
        self.heads[node] != node
    }

    fn source_tasks(&self, plan: &StreamPlan) -> impl Iterator<Item = usize> {
        let sources =
            plan.nodes.iter().enumerate().filter(|(_, n)| matches!(n.spec, OperatorSpec::Source(_)));
        sources
            .flat_map(|(id, _)| (0..self.instances[id]).map(move |shard| (id, shard)))
            .map(|(id, shard)| self.task(id, shard))
    }
}

fn check_node(plan: &StreamPlan, id: NodeId, node: &PlanNode, instances: &[usize]) -> Result<(), JobError> {
    let wrong = |what: &str| Err(JobError::Plan(format!("{}: {what}", node.title)));
    let inputs = match &node.spec {
        OperatorSpec::Source(_) => 0..=0,
        OperatorSpec::Union => 1..=usize::MAX,
        OperatorSpec::Join(_)
        | OperatorSpec::IntervalJoin(_)
        | OperatorSpec::WindowJoin(_)
        | OperatorSpec::TemporalJoin(_) => 2..=2,
        _ => 1..=1,
    };
    if !inputs.contains(&node.inputs.len()) || node.inputs.iter().any(|edge| edge.from >= id) {
        return wrong("wrong inputs");
    }
    for edge in &node.inputs {
        let (from, to) = (instances[edge.from], instances[id]);
        match &edge.exchange {
            Exchange::Forward if from != to => {
                return wrong("a forward edge between unequal numbers of instances");
            }
            Exchange::Gather if to != 1 => return wrong("a gathering edge into several instances"),
            Exchange::ByKey(columns) => {
                let fields = plan.nodes[edge.from].schema.fields().len();
                if columns.iter().any(|column| *column >= fields) {
                    return wrong("a key column that its input does not have");
                }
            }
            _ => {}
        }
    }
    let inserts_only =
        node.inputs.iter().all(|edge| plan.nodes[edge.from].changelog == ChangelogMode::InsertOnly);
    let reads_inserts =
        matches!(node.spec, OperatorSpec::WindowRank(_) | OperatorSpec::FirstRow(_) | OperatorSpec::Sort(_));
    if reads_inserts && !inserts_only {
        let message = "it cannot read a changing result; rank without window or time".to_owned();
        return Err(JobError::Unsupported { operator: node.title.clone(), message });
    }
    let keys = match &node.spec {
        OperatorSpec::WindowAggregate(spec) => vec![&spec.keys],
        OperatorSpec::GroupAggregate(spec) => vec![&spec.keys],
        OperatorSpec::SessionTable(spec) => vec![&spec.keys],
        OperatorSpec::Join(spec) => vec![&spec.left_keys, &spec.right_keys],
        OperatorSpec::MatchRecognize(spec) => vec![&spec.keys],
        OperatorSpec::OverAggregate(spec) => vec![&spec.keys],
        OperatorSpec::Rank(spec) => vec![&spec.keys],
        OperatorSpec::FirstRow(spec) => vec![&spec.keys],
        OperatorSpec::WindowRank(spec) => vec![&spec.rank.keys],
        OperatorSpec::IntervalJoin(IntervalJoinSpec { join, .. })
        | OperatorSpec::WindowJoin(WindowJoinSpec { join, .. })
        | OperatorSpec::TemporalJoin(TemporalJoinSpec { join, .. }) => {
            vec![&join.left_keys, &join.right_keys]
        }
        _ => return Ok(()),
    };
    // State is addressed by the hash of the keys: rows must come to the shard that owns it.
    let spread = |(edge, keys): (&Edge, &&Vec<usize>)| edge.exchange == Exchange::ByKey((*keys).clone());
    if instances[id] > 1 && !node.inputs.iter().zip(&keys).all(spread) {
        return wrong("its input is not spread by its keys");
    }
    let retracts = plan.nodes[node.inputs[0].from].changelog == ChangelogMode::Retract;
    if matches!(node.spec, OperatorSpec::SessionTable(_)) && retracts {
        let message = "a session cannot read a changing result".to_owned();
        return Err(JobError::Unsupported { operator: node.title.clone(), message });
    }
    Ok(())
}

/// The channels between tasks.
struct Wiring {
    /// Per task: its input channels, with the number of the input each belongs to.
    inputs: Vec<Vec<(usize, Arc<Channel>)>>,
    /// Per sending node and shard: its outlets.
    outlets: HashMap<(NodeId, usize), Vec<Outlet>>,
}

impl Wiring {
    fn new(
        plan: &StreamPlan,
        layout: &Layout,
        signals: &[Arc<Signal>],
        settings: &JobSettings,
        budget: &MemoryBudget,
    ) -> Result<Self, JobError> {
        let budget = budget.child("channels", budget.bytes_max());
        let limits = ChannelLimits {
            batches_max: settings.channel_batches_max.max(1),
            bytes_max: settings.channel_bytes_max,
        };
        let mut wiring =
            Self { inputs: (0..layout.tasks).map(|_| Vec::new()).collect(), outlets: HashMap::new() };
        for (id, node) in plan.nodes.iter().enumerate().filter(|(id, _)| !layout.is_fused(*id)) {
            for (input, edge) in node.inputs.iter().enumerate() {
                for sender in 0..layout.instances[edge.from] {
                    let receivers = match edge.exchange {
                        Exchange::Forward => sender..sender + 1,
                        _ => 0..layout.instances[id],
                    };
                    let mut targets = Vec::new();
                    for receiver in receivers {
                        let (from, to) = (layout.task(edge.from, sender), layout.task(id, receiver));
                        let channel = Channel::new(&signals[from], &signals[to], limits, &budget);
                        wiring.inputs[to].push((input, Arc::clone(&channel)));
                        targets.push(channel);
                    }
                    let outlet = Outlet::new(spread(plan, edge.from, &edge.exchange)?, targets);
                    wiring.outlets.entry((edge.from, sender)).or_default().push(outlet);
                }
            }
        }
        Ok(wiring)
    }
}

fn spread(plan: &StreamPlan, from: NodeId, exchange: &Exchange) -> Result<Spread, JobError> {
    let Exchange::ByKey(columns) = exchange else { return Ok(Spread::All) };
    let sender = &plan.nodes[from];
    let types = columns.iter().map(|column| sender.schema.field(*column).data_type().clone()).collect();
    let codec = KeyCodec::new(types);
    let codec = codec.map_err(|e| JobError::Unsupported {
        operator: sender.title.clone(),
        message: format!("as a key: {e}"),
    })?;
    Ok(Spread::ByKey { columns: columns.clone(), codec })
}

struct Builder<'a> {
    plan: &'a StreamPlan,
    connect: &'a dyn Connect,
    settings: &'a JobSettings,
    restore: Option<&'a RestoredState>,
    budget: &'a MemoryBudget,
    layout: Layout,
    shared: Arc<JobShared>,
    inboxes: HashMap<usize, Arc<BarrierInbox>>,
    now: Duration,
}

impl Builder<'_> {
    fn tasks(&self, mut wiring: Wiring) -> Result<Vec<Task>, JobError> {
        let mut tasks = Vec::with_capacity(self.layout.tasks);
        for (head, node) in self.plan.nodes.iter().enumerate().filter(|(id, _)| !self.layout.is_fused(*id)) {
            let source = match &node.spec {
                OperatorSpec::Source(spec) => {
                    let restored: Restored = self.positions(&node.uid);
                    let connector = self.connect.source(spec)?;
                    Some((spec, SharedSource::new(connector, &restored, self.now)?, restored))
                }
                _ => None,
            };
            for shard in 0..self.layout.instances[head] {
                let number = tasks.len();
                let made = match &source {
                    Some((spec, shared, restored)) => {
                        let place = self.place(head, shard);
                        let counters = self.shared.counters.of(head, shard);
                        let ends = (Arc::clone(&self.shared.signals[number]), counters);
                        let from = (Arc::clone(shared), restored);
                        let source = Source::new(&place, spec, from, ends, self.settings, self.now)?;
                        Head::Source(Box::new(source), Arc::clone(&self.inboxes[&number]))
                    }
                    None => Head::Inputs(Inputs::new(std::mem::take(&mut wiring.inputs[number]))),
                };
                tasks.push(self.task(number, (head, shard), made, &mut wiring)?);
            }
        }
        Ok(tasks)
    }

    fn positions(&self, uid: &str) -> Restored {
        let positions = self.restore.into_iter().flat_map(|restored| restored.positions(uid));
        positions.map(|(split, position, watermark)| (split.clone(), (position, watermark))).collect()
    }

    fn place(&self, node: NodeId, shard: usize) -> Place {
        let PlanNode { uid, title, .. } = &self.plan.nodes[node];
        Place {
            uid: uid.clone(),
            title: title.clone(),
            shard,
            shards: self.layout.instances[node],
            schema: self.plan.nodes[node].schema(),
            batch_rows_max: self.settings.batch_rows_max,
        }
    }

    /// The task of the chain that starts at `head`.
    fn task(
        &self,
        number: usize,
        (head, shard): (NodeId, usize),
        made: Head,
        wiring: &mut Wiring,
    ) -> Result<Task, JobError> {
        let is_source = matches!(made, Head::Source(..));
        let chain: Vec<NodeId> =
            (0..self.plan.nodes.len()).filter(|id| self.layout.heads[*id] == head).collect();
        let operators = if is_source { &chain[1..] } else { &chain[..] };
        let mut outlets = Vec::new();
        let mut targets_of = |node: NodeId| {
            let fused = |(index, id): (usize, &NodeId)| {
                let reads = self.layout.is_fused(*id) && self.plan.nodes[*id].inputs[0].from == node;
                reads.then_some(Target::Node(index, 0))
            };
            let mut targets: Vec<Target> = operators.iter().enumerate().filter_map(fused).collect();
            for outlet in wiring.outlets.remove(&(node, shard)).unwrap_or_default() {
                targets.push(Target::Outlet(outlets.len()));
                outlets.push(outlet);
            }
            targets
        };
        let roots = if is_source { targets_of(head) } else { vec![Target::Node(0, 0)] };
        let mut nodes = Vec::with_capacity(operators.len());
        for id in operators {
            let place = self.place(*id, shard);
            let mut operator = self.operator(*id, &place)?;
            if let Some(restored) = self.restore {
                operator.restore(restored)?;
            }
            let memory = self.budget.child(&place.uid, self.budget.bytes_max()).reserve(0);
            let memory = memory.map_err(|error| JobError::Memory { operator: place.title.clone(), error })?;
            let (targets, counters) = (targets_of(*id), self.shared.counters.of(*id, shard));
            nodes.push(Node { place, operator, targets, counters, memory });
        }
        if let Head::Source(source, _) = &made
            && !source.has_splits()
        {
            outlets.iter().for_each(Outlet::start_idle);
        }
        Ok(Task::new((number, Arc::clone(&self.shared)), made, roots, nodes, outlets))
    }

    fn operator(&self, id: NodeId, place: &Place) -> Result<Box<dyn Operator>, JobError> {
        let node = &self.plan.nodes[id];
        let from = node.inputs.first().map(|edge| &self.plan.nodes[edge.from]);
        let from = from.ok_or_else(|| JobError::Plan(format!("{}: no input", node.title)))?;
        Ok(match &node.spec {
            OperatorSpec::Source(_) => {
                return Err(JobError::Plan(format!("{}: a source with inputs", node.title)));
            }
            OperatorSpec::Calc { filter, columns } => {
                Box::new(Calc::new(place, &from.schema, filter.as_ref(), columns)?)
            }
            OperatorSpec::Union => Box::new(Union::new(place)),
            OperatorSpec::Unnest(spec) => Box::new(Unnest::new(place, spec)),
            OperatorSpec::Repeat(spec) => Box::new(Repeat::new(place, spec)),
            OperatorSpec::WindowTable(spec) => Box::new(WindowTable::new(place, spec)?),
            OperatorSpec::SessionTable(spec) => Box::new(SessionTable::new(place, &from.schema, spec)?),
            OperatorSpec::WindowAggregate(spec) if spec.window.shape == WindowShape::Session => {
                let retract = from.changelog == ChangelogMode::Retract;
                Box::new(SessionAggregate::new(place, &from.schema, spec, retract)?)
            }
            OperatorSpec::WindowAggregate(spec) => {
                let retract = from.changelog == ChangelogMode::Retract;
                Box::new(WindowAggregate::new(place, &from.schema, spec, retract)?)
            }
            OperatorSpec::GroupAggregate(spec) => {
                let retract = from.changelog == ChangelogMode::Retract;
                Box::new(GroupAggregate::new(place, &from.schema, spec, retract)?)
            }
            OperatorSpec::MatchRecognize(spec) => Box::new(MatchRecognize::new(place, &from.schema, spec)?),
            OperatorSpec::OverAggregate(spec) => match spec.order {
                OverOrder::Value { .. } => Box::new(OverValue::new(place, &from.schema, spec)?),
                OverOrder::EventTime(_) | OverOrder::Arrival => {
                    Box::new(OverAggregate::new(place, &from.schema, spec)?)
                }
            },
            OperatorSpec::Rank(spec) => rank(place, from, spec)?,
            OperatorSpec::FirstRow(spec) => Box::new(FirstRow::new(place, &from.schema, spec)?),
            OperatorSpec::WindowRank(spec) => Box::new(WindowRank::new(place, &from.schema, spec)?),
            OperatorSpec::Sort(spec) => Box::new(Sort::new(place, &from.schema, spec)?),
            OperatorSpec::Join(_)
            | OperatorSpec::IntervalJoin(_)
            | OperatorSpec::WindowJoin(_)
            | OperatorSpec::TemporalJoin(_) => self.join(node, place)?,
            OperatorSpec::Sink(spec) => {
                let connector = self.connect.sink(&place.uid, spec, &node.schema, place.shard)?;
                Box::new(Sink::new(connector))
            }
        })
    }

    fn join(&self, node: &PlanNode, place: &Place) -> Result<Box<dyn Operator>, JobError> {
        let side = |input: usize| node.inputs.get(input).map(|edge| &self.plan.nodes[edge.from].schema);
        let both = side(0).zip(side(1));
        let (left, right) =
            both.ok_or_else(|| JobError::Plan(format!("{}: a join of one input", node.title)))?;
        Ok(match &node.spec {
            OperatorSpec::IntervalJoin(spec) => Box::new(IntervalJoin::new(place, left, right, spec)?),
            OperatorSpec::WindowJoin(spec) => Box::new(WindowJoin::new(place, left, right, spec)?),
            OperatorSpec::TemporalJoin(spec) => Box::new(TemporalJoin::new(place, left, right, spec)?),
            OperatorSpec::Join(spec) => Box::new(Join::new(place, left, right, spec)?),
            _ => return Err(JobError::Plan(format!("{}: it is no join", node.title))),
        })
    }
}

fn rank(place: &Place, from: &PlanNode, spec: &RankSpec) -> Result<Box<dyn Operator>, JobError> {
    let retract = from.changelog == ChangelogMode::Retract;
    let rank: Box<dyn Operator> = match (spec.order.is_empty(), spec.ranks, spec.numbered) {
        (true, ..) if !retract && !spec.later_first => Box::new(FirstRows::new(place, &from.schema, spec)?),
        (_, (1, 1), false) if !retract => Box::new(TopRow::new(place, &from.schema, spec)?),
        _ => Box::new(Rank::new(place, &from.schema, spec, retract)?),
    };
    Ok(if spec.each_row { Box::new(EachRow::new(rank)) } else { rank })
}
