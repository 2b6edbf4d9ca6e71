//! Rows per second of `COUNT(*) .. TUMBLE .. GROUP BY key` over batches in memory, on one thread.
//!
//! `cargo run -p highwater-dataflow --example tumble_count [shards]`: internal figure of the engine alone, without
//! connectors and formats; not comparable with anything measured elsewhere.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, not part of the product")]

#[path = "../tests/toy/mod.rs"]
mod toy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use datafusion_common::ScalarValue;
use datafusion_expr::{col, lit};
use highwater_dataflow::{Job, JobEvent, JobSettings, WorkerPool};
use highwater_env::{Clock, Epoch, MemoryBudget, SystemClock};
use highwater_stream::*;

const ROWS: u64 = 20_000_000;
const BATCH: u64 = 8192;
const KEYS: i64 = 10_000;

struct Memory {
    batch: RecordBatch,
    results: Arc<AtomicU64>,
}

impl Connect for Memory {
    fn source(&self, _spec: &SourceSpec) -> Result<Box<dyn SourceConnector>, ConnectorError> {
        Ok(Box::new(Batches(self.batch.clone())))
    }

    fn sink(
        &self,
        _uid: &str,
        _spec: &SinkSpec,
        _input: &SchemaRef,
        _shard: usize,
    ) -> Result<Box<dyn SinkConnector>, ConnectorError> {
        Ok(Box::new(Counter(Arc::clone(&self.results))))
    }

    fn committer(
        &self,
        _: &str,
        spec: &SinkSpec,
        _: &SchemaRef,
    ) -> Result<Box<dyn Committer>, ConnectorError> {
        Err(ConnectorError::new(ErrorKind::Config, format!("{:?}", spec.target), "commits nothing"))
    }
}

struct Batches(RecordBatch);

impl SourceConnector for Batches {
    fn splits(&mut self) -> Result<Vec<SplitId>, ConnectorError> {
        Ok(vec![SplitId("0".to_owned())])
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn open(
        &mut self,
        _split: &SplitId,
        _from: Option<Position>,
    ) -> Result<Box<dyn SplitReader>, ConnectorError> {
        Ok(Box::new(Reader { batch: self.0.clone(), at: 0 }))
    }
}

struct Reader {
    batch: RecordBatch,
    at: u64,
}

impl SplitReader for Reader {
    fn poll(&mut self, _rows_max: usize, _waker: &Waker) -> Result<SourcePoll, ConnectorError> {
        if self.at >= ROWS {
            return Ok(SourcePoll::End);
        }
        // 1,000 rows per ms of event time: a window of 10 s holds 10 million rows.
        let times = TimestampMillisecondArray::from_iter_values(
            (0..BATCH).map(|row| ((self.at + row) / 1_000) as i64),
        );
        self.at += BATCH;
        let columns = vec![Arc::clone(self.batch.column(0)), Arc::new(times) as _];
        let rows = RecordBatch::try_new(self.batch.schema(), columns).unwrap();
        let next = Position(self.at);
        Ok(SourcePoll::Batch(SourceBatch { rows, kinds: None, next, rejects: Vec::new(), skipped: 0 }))
    }
}

struct Counter(Arc<AtomicU64>);

impl SinkConnector for Counter {
    fn write(&mut self, changes: &ChangeBatch) -> Result<(), ConnectorError> {
        self.0.fetch_add(changes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn prepare(&mut self, _epoch: Epoch) -> Result<Committable, ConnectorError> {
        Ok(Committable(Bytes::new()))
    }
}

fn plan(input: &SchemaRef) -> StreamPlan {
    let time = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), false);
    let count = Field::new("n", DataType::Int64, false);
    let schema: SchemaRef = Arc::new(Schema::new(vec![input.field(0).clone(), count, time("window_end")]));
    let mut plan = StreamPlan::default();
    let delay = ScalarValue::new_interval_mdn(0, 0, 1_000_000_000);
    let from = plan.add(PlanNode {
        spec: OperatorSpec::Source(SourceSpec {
            table: "t".to_owned(),
            options: BTreeMap::new(),
            physical: Arc::clone(input),
            declared: Arc::clone(input),
            columns: vec![col("k"), col("ts")],
            rowtime: Some(RowtimeSpec {
                column: 1,
                watermark: col("ts") - lit(delay),
                idle_timeout_ms: None,
            }),
        }),
        schema: Arc::clone(input),
        ..toy::source(0, None)
    });
    let from = plan.add(PlanNode {
        uid: "window-aggregate:1".to_owned(),
        title: "WindowAggregate(k)".to_owned(),
        spec: OperatorSpec::WindowAggregate(WindowAggregateSpec {
            window: WindowSpec {
                time_column: 1,
                shape: WindowShape::Tumble,
                size_ms: 10_000,
                offset_ms: 0,
                zone: None,
                processing_time: false,
            },
            keys: vec![0],
            calls: vec![toy::call(AggregateFunction::CountStar, None)],
            window_columns: vec![WindowColumn::End],
        }),
        inputs: vec![Edge { from, exchange: Exchange::ByKey(vec![0]) }],
        schema: Arc::clone(&schema),
        changelog: ChangelogMode::InsertOnly,
        single: false,
    });
    plan.add(toy::sink(from, schema, ChangelogMode::InsertOnly));
    plan
}

fn main() {
    let shards = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
    ]));
    let keys = Int64Array::from_iter_values((0..BATCH as i64).map(|row| row * 7919 % KEYS));
    let times = TimestampMillisecondArray::from_iter_values(0..BATCH as i64);
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(keys), Arc::new(times)]).unwrap();
    let connect = Memory { batch, results: Arc::default() };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let settings = JobSettings { shards, ..JobSettings::default() };
    let budget = MemoryBudget::unlimited();
    let job = Job::build(&plan(&schema), &connect, settings, None, Arc::clone(&clock), &budget).unwrap();
    let pool = WorkerPool::start(1, Arc::clone(&clock));
    let started = clock.monotonic();
    let handle = pool.submit(job);
    while let Some(event) = handle.events().recv_timeout(Duration::from_secs(120)) {
        match event {
            JobEvent::InputEnded => handle.barrier(Barrier { epoch: Epoch(1), kind: BarrierKind::Stop }),
            JobEvent::Finished => break,
            JobEvent::Failed(error) => panic!("{error}"),
            JobEvent::Snapshot { .. } => {}
        }
    }
    let seconds = (clock.monotonic() - started).as_secs_f64();
    let results = connect.results.load(Ordering::Relaxed);
    println!(
        "{ROWS} rows, {shards} shards, 1 thread, {results} results: {:.1} M rows/s",
        ROWS as f64 / seconds / 1e6
    );
    for operator in handle.stats().operators {
        let busy = operator.busy_ns as f64 / 1e6;
        println!("  {}: {} in, {} out, {busy:.0} ms", operator.title, operator.rows_in, operator.rows_out);
    }
}
