//! Sources and sinks in memory, plans over them, and a run under simulation.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use datafusion_common::ScalarValue;
use datafusion_expr::{col, lit};
use highwater_dataflow::simulate::Simulation;
use highwater_dataflow::{Job, JobEvent, JobSettings, JobStats};
use highwater_env::{Clock, Entropy, Epoch, ManualClock, MemoryBudget, SeededEntropy};
use highwater_state::{InstanceSnapshot, RestoredState, decode_snapshots, encode_snapshots};
use highwater_stream::*;

/// key, event time, value.
pub(crate) type Row = (Option<&'static str>, i64, i64);

pub(crate) fn rows_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("v", DataType::Int64, true),
    ]))
}

pub(crate) fn record_batch(rows: &[Row]) -> RecordBatch {
    let keys = StringArray::from_iter(rows.iter().map(|row| row.0));
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.1));
    let values = Int64Array::from_iter_values(rows.iter().map(|row| row.2));
    RecordBatch::try_new(rows_schema(), vec![Arc::new(keys), Arc::new(times), Arc::new(values)]).unwrap()
}

/// What reached the sink, per epoch; epoch 0 is not prepared yet.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) epochs: BTreeMap<(u64, usize), Vec<String>>,
    pub(crate) open: BTreeMap<usize, Vec<String>>,
}

/// Splits of rows, and one sink.
#[derive(Clone)]
pub(crate) struct Toy {
    pub(crate) splits: Vec<Arc<Vec<Row>>>,
    /// Splits that came later.
    pub(crate) grown: Arc<Mutex<Vec<Arc<Vec<Row>>>>>,
    /// Rows a reader hands out at once.
    pub(crate) batch: usize,
    /// Every so many polls a reader has nothing for now.
    pub(crate) pending_every: u64,
    pub(crate) written: Arc<Mutex<Written>>,
    pub(crate) bounded: bool,
    pub(crate) panic_on_write: bool,
}

impl Toy {
    pub(crate) fn new(splits: Vec<Vec<Row>>, batch: usize) -> Self {
        let splits = splits.into_iter().map(Arc::new).collect();
        let written = Arc::default();
        let grown = Arc::default();
        Self { splits, grown, batch, pending_every: u64::MAX, written, bounded: true, panic_on_write: false }
    }

    /// One more split from now on.
    pub(crate) fn grow(&self, rows: Vec<Row>) {
        self.grown.lock().unwrap().push(Arc::new(rows));
    }

    fn all_splits(&self) -> Vec<Arc<Vec<Row>>> {
        self.splits.iter().cloned().chain(self.grown.lock().unwrap().clone()).collect()
    }

    /// All that was written, epoch by epoch, each shard in its order.
    pub(crate) fn committed_in_order(&self) -> Vec<String> {
        self.written.lock().unwrap().epochs.values().flatten().cloned().collect()
    }

    /// All that was written in epochs `..=epoch`, sorted.
    pub(crate) fn committed(&self, epoch: u64) -> Vec<String> {
        let written = self.written.lock().unwrap();
        let until = written.epochs.range(..=(epoch, usize::MAX));
        let mut rows: Vec<String> = until.flat_map(|(_, rows)| rows.clone()).collect();
        rows.sort();
        rows
    }
}

struct ToySource(Toy);

struct ToyReader {
    rows: Arc<Vec<Row>>,
    at: usize,
    batch: usize,
    polls: u64,
    pending_every: u64,
    bounded: bool,
}

struct ToySink {
    written: Arc<Mutex<Written>>,
    shard: usize,
    panic_on_write: bool,
}

struct NoCommitter;

impl Connect for Toy {
    fn source(&self, _spec: &SourceSpec) -> Result<Box<dyn SourceConnector>, ConnectorError> {
        Ok(Box::new(ToySource(self.clone())))
    }

    fn sink(
        &self,
        _uid: &str,
        _spec: &SinkSpec,
        _input: &SchemaRef,
        shard: usize,
    ) -> Result<Box<dyn SinkConnector>, ConnectorError> {
        let (written, panic_on_write) = (Arc::clone(&self.written), self.panic_on_write);
        Ok(Box::new(ToySink { written, shard, panic_on_write }))
    }

    fn committer(
        &self,
        _uid: &str,
        _spec: &SinkSpec,
        _input: &SchemaRef,
    ) -> Result<Box<dyn Committer>, ConnectorError> {
        Ok(Box::new(NoCommitter))
    }
}

impl Committer for NoCommitter {
    fn commit(&mut self, _epoch: Epoch, _prepared: &[Committable]) -> Result<(), ConnectorError> {
        Ok(())
    }
}

impl SourceConnector for ToySource {
    fn splits(&mut self) -> Result<Vec<SplitId>, ConnectorError> {
        Ok((0..self.0.all_splits().len()).map(|split| SplitId(split.to_string())).collect())
    }

    fn is_bounded(&self) -> bool {
        self.0.bounded
    }

    fn open(
        &mut self,
        split: &SplitId,
        from: Option<Position>,
    ) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let rows = Arc::clone(&self.0.all_splits()[split.0.parse::<usize>().unwrap()]);
        let Toy { batch, pending_every, bounded, .. } = self.0;
        let at = from.map_or(0, |position| usize::try_from(position.0).unwrap());
        Ok(Box::new(ToyReader { rows, at, batch, polls: 0, pending_every, bounded }))
    }
}

impl SplitReader for ToyReader {
    fn poll(&mut self, rows_max: usize, waker: &Waker) -> Result<SourcePoll, ConnectorError> {
        self.polls += 1;
        if self.polls.is_multiple_of(self.pending_every) {
            waker.wake_by_ref();
            return Ok(SourcePoll::Pending);
        }
        let until = self.rows.len().min(self.at + self.batch.min(rows_max));
        if until == self.at {
            return Ok(if self.bounded { SourcePoll::End } else { SourcePoll::Pending });
        }
        let rows = record_batch(&self.rows[self.at..until]);
        self.at = until;
        let next = Position(until as u64);
        Ok(SourcePoll::Batch(SourceBatch { rows, kinds: None, next, rejects: Vec::new(), skipped: 0 }))
    }
}

impl SinkConnector for ToySink {
    fn write(&mut self, changes: &ChangeBatch) -> Result<(), ConnectorError> {
        assert!(!self.panic_on_write, "the sink panics as told");
        let mut written = self.written.lock().unwrap();
        written.open.entry(self.shard).or_default().extend(lines(changes));
        Ok(())
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<Committable, ConnectorError> {
        let mut written = self.written.lock().unwrap();
        let rows = written.open.remove(&self.shard).unwrap_or_default();
        written.epochs.insert((epoch.0, self.shard), rows);
        Ok(Committable(Bytes::from_static(b"toy")))
    }
}

/// `+I(a, 1)` per row.
pub(crate) fn lines(changes: &ChangeBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> =
        changes.rows.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let line = |row| {
        let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
        format!("{}({})", changes.kind(row).symbol(), cells.join(", "))
    };
    (0..changes.len()).map(line).collect()
}

/// Takes changes in order; what is left, sorted. Panics on a retraction of a row that is not there.
pub(crate) fn collapse(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for line in lines {
        let (kind, row) = line.split_at(2);
        let weight = RowKind::from_symbol(kind).unwrap().weight();
        *rows.entry(row.to_owned()).or_default() += weight;
    }
    assert!(rows.values().all(|count| *count >= 0), "a row is taken back that is not there: {rows:?}");
    rows.into_iter().flat_map(|(row, count)| (0..count).map(move |_| row.clone())).collect()
}

pub(crate) fn source(delay_ms: i64, idle_timeout_ms: Option<u64>) -> PlanNode {
    let columns = vec![col("k"), col("ts"), col("v")];
    let delay = ScalarValue::new_interval_mdn(0, 0, delay_ms * 1_000_000);
    let rowtime = RowtimeSpec { column: 1, watermark: col("ts") - lit(delay), idle_timeout_ms };
    PlanNode {
        uid: "source:1".to_owned(),
        title: "Source(t)".to_owned(),
        spec: OperatorSpec::Source(SourceSpec {
            table: "t".to_owned(),
            options: BTreeMap::new(),
            physical: rows_schema(),
            declared: rows_schema(),
            columns,
            rowtime: Some(rowtime),
        }),
        inputs: vec![],
        schema: rows_schema(),
        changelog: ChangelogMode::InsertOnly,
        single: false,
    }
}

pub(crate) fn sink(from: NodeId, schema: SchemaRef, changelog: ChangelogMode) -> PlanNode {
    PlanNode {
        uid: "sink:1".to_owned(),
        title: "Sink".to_owned(),
        spec: OperatorSpec::Sink(SinkSpec { target: SinkTarget::Collect, primary_key: vec![] }),
        inputs: vec![Edge { from, exchange: Exchange::Forward }],
        schema,
        changelog,
        single: false,
    }
}

pub(crate) fn call(function: AggregateFunction, argument: Option<usize>) -> AggregateCall {
    AggregateCall { function, argument, distinct: false, filter: None, output: DataType::Int64 }
}

fn counted(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), false)
}

/// `SELECT k, COUNT(*), SUM(v), MIN(v), COUNT(DISTINCT v), window_end FROM TUMBLE(t, 10 ms) GROUP BY k, window`.
pub(crate) fn tumble_plan(delay_ms: i64) -> StreamPlan {
    use AggregateFunction::{Count, CountStar, Min, Sum};
    let distinct = AggregateCall { distinct: true, ..call(Count, Some(2)) };
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        counted("n"),
        counted("s"),
        counted("least"),
        counted("d"),
        time("window_end"),
    ]));
    let mut plan = StreamPlan::default();
    let from = plan.add(source(delay_ms, None));
    let from = plan.add(PlanNode {
        uid: "window-aggregate:1".to_owned(),
        title: "WindowAggregate(k)".to_owned(),
        spec: OperatorSpec::WindowAggregate(WindowAggregateSpec {
            window: WindowSpec {
                time_column: 1,
                shape: WindowShape::Tumble,
                size_ms: 10,
                offset_ms: 0,
                zone: None,
                processing_time: false,
            },
            keys: vec![0],
            calls: vec![call(CountStar, None), call(Sum, Some(2)), call(Min, Some(2)), distinct],
            window_columns: vec![WindowColumn::End],
        }),
        inputs: vec![Edge { from, exchange: Exchange::ByKey(vec![0]) }],
        schema: Arc::clone(&schema),
        changelog: ChangelogMode::InsertOnly,
        single: false,
    });
    plan.add(sink(from, schema, ChangelogMode::InsertOnly));
    plan
}

/// `SELECT n, COUNT(*), SUM(n), MAX(n) FROM (SELECT k, COUNT(*) AS n FROM t WHERE v >= 0 GROUP BY k) GROUP BY n`:
/// the outer one reads a changing result.
pub(crate) fn group_plan() -> StreamPlan {
    use AggregateFunction::{CountStar, Max, Sum};
    let inner: SchemaRef = Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, true), counted("n")]));
    let outer: SchemaRef =
        Arc::new(Schema::new(vec![counted("n"), counted("c"), counted("s"), counted("greatest")]));
    let group = |uid: &str, from, keys: Vec<usize>, calls, schema: &SchemaRef| PlanNode {
        uid: uid.to_owned(),
        title: uid.to_owned(),
        inputs: vec![Edge { from, exchange: Exchange::ByKey(keys.clone()) }],
        spec: OperatorSpec::GroupAggregate(GroupAggregateSpec { keys, calls, emit_update_before: true }),
        schema: Arc::clone(schema),
        changelog: ChangelogMode::Retract,
        single: false,
    };
    let mut plan = StreamPlan::default();
    let from = plan.add(source(0, None));
    let calc = PlanNode {
        uid: "calc:1".to_owned(),
        title: "Calc".to_owned(),
        spec: OperatorSpec::Calc {
            filter: Some(col("v").gt_eq(lit(0_i64))),
            columns: vec![col("k"), col("ts"), col("v")],
        },
        inputs: vec![Edge { from, exchange: Exchange::Forward }],
        schema: rows_schema(),
        changelog: ChangelogMode::InsertOnly,
        single: false,
    };
    let from = plan.add(calc);
    let from = plan.add(group("group:1", from, vec![0], vec![call(CountStar, None)], &inner));
    let calls = vec![call(CountStar, None), call(Sum, Some(1)), call(Max, Some(1))];
    let from = plan.add(group("group:2", from, vec![1], calls, &outer));
    plan.add(sink(from, outer, ChangelogMode::Retract));
    plan
}

/// The epochs of a run: what each instance handed over.
#[derive(Default)]
pub(crate) struct Epochs(pub(crate) BTreeMap<u64, Vec<InstanceSnapshot>>);

impl Epochs {
    /// What a job starts from after epoch `epoch`, through the file format.
    pub(crate) fn restore(&self, epoch: u64) -> RestoredState {
        let mut restored = RestoredState::new();
        for (_, instances) in self.0.range(..=epoch) {
            let operators: Vec<_> = instances.iter().flat_map(|taken| taken.operators.clone()).collect();
            restored.apply(&decode_snapshots(&encode_snapshots(&operators)).unwrap()).unwrap();
            for position in instances.iter().flat_map(|taken| &taken.positions) {
                restored.set_position(position.clone());
            }
        }
        restored
    }
}

/// A job under simulation, with barriers at random steps; what it handed over, and its figures.
pub(crate) fn simulate(
    plan: &StreamPlan,
    toy: &Toy,
    shards: usize,
    seed: u64,
    restore: Option<(&RestoredState, u64)>,
    barrier_every: u64,
) -> (Epochs, JobStats) {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1_000));
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
    let settings =
        JobSettings { shards, batch_rows_max: 7, channel_batches_max: 2, ..JobSettings::default() };
    let budget = MemoryBudget::unlimited();
    let restored = restore.map(|(restored, _)| restored);
    let job = Job::build(plan, toy, settings, restored, Arc::clone(&clock), &budget).unwrap();
    let instances = job.instances();
    let mut simulation = Simulation::new(job, clock, Arc::clone(&entropy));
    let mut epochs = Epochs::default();
    let mut next = restore.map_or(0, |(_, epoch)| epoch) + 1;
    let (mut stopping, mut since, mut begun) = (false, 0, 0);
    for _ in 0..1_000_000 {
        since += 1;
        // As the protocol does: one epoch aligns at a time, and something is read in between.
        let aligned =
            epochs.0.values().all(|taken| taken.len() == instances) && epochs.0.len() as u64 == begun;
        if !stopping && barrier_every > 0 && aligned && since > 1 && entropy.below(barrier_every) == 0 {
            (since, begun) = (0, begun + 1);
            let barrier = Barrier { epoch: Epoch(next), kind: BarrierKind::Checkpoint };
            // The first snapshot is full, later ones hold what changed; now and then one is full again.
            if entropy.below(5) == 0 {
                simulation.handle().barrier_full(barrier)
            } else {
                simulation.handle().barrier(barrier)
            }
            next += 1;
        }
        let stepped = simulation.step();
        while let Some(event) = simulation.handle().events().try_recv() {
            match event {
                JobEvent::Snapshot { epoch, taken, .. } => epochs.0.entry(epoch.0).or_default().push(taken),
                JobEvent::InputEnded => {
                    stopping = true;
                    simulation.handle().barrier(Barrier { epoch: Epoch(next), kind: BarrierKind::Stop });
                }
                JobEvent::Finished => {
                    assert!(
                        epochs.0.values().all(|taken| taken.len() == instances),
                        "every instance, every epoch"
                    );
                    return (epochs, simulation.handle().stats());
                }
                JobEvent::Failed(error) => panic!("seed {seed}: {error}"),
            }
        }
        assert!(stepped || barrier_every > 0, "seed {seed}: the job stands still");
    }
    panic!("seed {seed}: the job does not end");
}

/// Rows in event time, each up to `disorder` ms late; `keys` keys, some NULL.
pub(crate) fn random_rows(entropy: &dyn Entropy, count: usize, disorder: i64) -> Vec<Row> {
    const KEYS: [Option<&str>; 6] = [Some("a"), Some("b"), None, Some("c"), Some("d"), Some("")];
    let row = |index: usize| {
        let key = KEYS[entropy.below(KEYS.len() as u64) as usize];
        let late = entropy.below(disorder.unsigned_abs() + 1) as i64;
        (key, index as i64 - 50 - late, entropy.below(8) as i64 - 2)
    };
    (0..count).map(row).collect()
}

/// The result of [`tumble_plan`] by a loop over rows in one order: results, and how many rows were late.
pub(crate) fn expected_tumble(rows: &[Row], delay_ms: i64) -> (Vec<String>, u64) {
    let mut groups: BTreeMap<(i64, Option<&str>), Vec<i64>> = BTreeMap::new();
    let (mut watermark, mut late) = (i64::MIN, 0);
    for (key, time, value) in rows {
        let end = time.div_euclid(10) * 10 + 10;
        if watermark > end - 2 {
            late += 1;
        } else {
            groups.entry((end, *key)).or_default().push(*value);
        }
        watermark = watermark.max(time - delay_ms);
    }
    let line = |((end, key), values): (&(i64, Option<&str>), &Vec<i64>)| {
        let mut distinct = values.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let end = TimestampMillisecondArray::from(vec![*end]);
        let end = ArrayFormatter::try_new(&end, &FormatOptions::default()).unwrap().value(0).to_string();
        let (count, sum) = (values.len(), values.iter().sum::<i64>());
        format!("+I({}, {count}, {sum}, {}, {}, {end})", key.unwrap_or("NULL"), distinct[0], distinct.len())
    };
    let mut lines: Vec<String> = groups.iter().map(line).collect();
    lines.sort();
    (lines, late)
}

/// The result of [`group_plan`] by a loop.
pub(crate) fn expected_groups(rows: &[Row]) -> Vec<String> {
    let mut counts: BTreeMap<Option<&str>, i64> = BTreeMap::new();
    for (key, ..) in rows.iter().filter(|row| row.2 >= 0) {
        *counts.entry(*key).or_default() += 1;
    }
    let mut by_count: BTreeMap<i64, i64> = BTreeMap::new();
    counts.values().for_each(|count| *by_count.entry(*count).or_default() += 1);
    let mut lines: Vec<String> =
        by_count.iter().map(|(n, keys)| format!("({n}, {keys}, {}, {n})", n * keys)).collect();
    lines.sort();
    lines
}
