//! What operators did, in numbers.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use highwater_stream::{EventTime, NodeId, Position, SplitId, StreamPlan, WATERMARK_NONE};

use crate::handle::lock;

/// The figures of one job.
#[derive(Clone, Debug, Default)]
pub struct JobStats {
    /// Per operator, in plan order.
    pub operators: Vec<OperatorStats>,
}

/// The figures of one operator, summed over its instances.
#[derive(Clone, Debug)]
pub struct OperatorStats {
    /// Its index in the plan.
    pub node: NodeId,
    /// Its uid.
    pub uid: String,
    /// Its title.
    pub title: String,
    /// Rows received (by a source: read).
    pub rows_in: u64,
    /// Rows emitted.
    pub rows_out: u64,
    /// Rows its filter removed (by a source: records skipped by policy).
    pub filtered: u64,
    /// Rows dropped because their window was over.
    pub late_rows: u64,
    /// Records a source rejected.
    pub rejected: u64,
    /// The lowest watermark of its instances.
    pub watermark: EventTime,
    /// Time spent in it, ns.
    pub busy_ns: u64,
    /// Bytes of state.
    pub state_bytes: u64,
    /// Keys in state.
    pub state_keys: u64,
    /// Of a source: its splits.
    pub splits: Vec<SplitStats>,
}

impl OperatorStats {
    /// Rows behind the end of all splits, if any connector knows.
    pub fn lag(&self) -> Option<u64> {
        self.splits.iter().filter_map(|split| split.lag).reduce(|a, b| a + b)
    }
}

/// The figures of one split.
#[derive(Clone, Debug)]
pub struct SplitStats {
    /// Which.
    pub split: SplitId,
    /// Where its reader goes on.
    pub position: Option<Position>,
    /// Its own watermark.
    pub watermark: EventTime,
    /// Silent for so long that it does not hold the watermark back.
    pub idle: bool,
    /// At its end.
    pub ended: bool,
    /// Rows behind its end, if the connector knows.
    pub lag: Option<u64>,
}

/// The counters of one operator instance. Only the instance writes.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) rows_in: AtomicU64,
    pub(crate) rows_out: AtomicU64,
    pub(crate) filtered: AtomicU64,
    pub(crate) late_rows: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) watermark: AtomicI64,
    pub(crate) busy_ns: AtomicU64,
    pub(crate) state_bytes: AtomicU64,
    pub(crate) state_keys: AtomicU64,
    pub(crate) splits: Mutex<Vec<SplitStats>>,
}

impl Counters {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            late_rows: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            watermark: AtomicI64::new(WATERMARK_NONE),
            busy_ns: AtomicU64::new(0),
            state_bytes: AtomicU64::new(0),
            state_keys: AtomicU64::new(0),
            splits: Mutex::default(),
        })
    }
}

pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// The counters of all operator instances of a job.
#[derive(Debug)]
pub(crate) struct JobCounters {
    nodes: Vec<(String, String, Vec<Arc<Counters>>)>,
}

impl JobCounters {
    /// Counters for `instances(node)` instances of each node.
    pub(crate) fn new(plan: &StreamPlan, instances: impl Fn(NodeId) -> usize) -> Self {
        let nodes = plan.nodes.iter().enumerate().map(|(id, node)| {
            let counters = (0..instances(id)).map(|_| Counters::new()).collect();
            (node.uid.clone(), node.title.clone(), counters)
        });
        Self { nodes: nodes.collect() }
    }

    pub(crate) fn of(&self, node: NodeId, instance: usize) -> Arc<Counters> {
        Arc::clone(&self.nodes[node].2[instance])
    }

    pub(crate) fn read(&self) -> JobStats {
        let read = |(node, (uid, title, counters)): (usize, &(String, String, Vec<Arc<Counters>>))| {
            let sum = |pick: fn(&Counters) -> &AtomicU64| {
                counters.iter().map(|c| pick(c).load(Ordering::Relaxed)).sum::<u64>()
            };
            let watermarks = counters.iter().map(|c| c.watermark.load(Ordering::Relaxed));
            OperatorStats {
                node,
                uid: uid.clone(),
                title: title.clone(),
                rows_in: sum(|c| &c.rows_in),
                rows_out: sum(|c| &c.rows_out),
                filtered: sum(|c| &c.filtered),
                late_rows: sum(|c| &c.late_rows),
                rejected: sum(|c| &c.rejected),
                watermark: watermarks.min().unwrap_or(WATERMARK_NONE),
                busy_ns: sum(|c| &c.busy_ns),
                state_bytes: sum(|c| &c.state_bytes),
                state_keys: sum(|c| &c.state_keys),
                splits: counters.iter().flat_map(|c| lock(&c.splits).clone()).collect(),
            }
        };
        JobStats { operators: self.nodes.iter().enumerate().map(read).collect() }
    }
}
