//! Pipelines from submit to drop, over a source in memory.

#![allow(clippy::unwrap_used, reason = "this is a test")]
#![expect(clippy::disallowed_methods, reason = "it looks at the files a pipeline leaves behind")]

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, SchemaRef};
use highwater_dataflow::WorkerPool;
use highwater_env::{MemoryBudget, RealDisk, SystemClock};
use highwater_pipeline::tables::{MemoryStore, Tables};
use highwater_pipeline::{Host, Pipelines};
use highwater_sql::Script;
use highwater_stream::{
    Committer, Connect, ConnectorError, Position, SinkConnector, SinkSpec, SourceBatch, SourceConnector,
    SourcePoll, SourceSpec, SplitId, SplitReader,
};

const TOTALS: &str = "
    CREATE TABLE src (k STRING, n BIGINT) WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json');
    CREATE MATERIALIZED TABLE totals AS SELECT k, SUM(n) AS total FROM src GROUP BY k;";

/// How long a commit may take on a busy machine before the test gives up.
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(60);

/// Rows that every source of a test reads, from the first.
#[derive(Clone, Default)]
struct Rows(Arc<Mutex<Fed>>);

#[derive(Default)]
struct Fed {
    rows: Vec<(String, i64)>,
    waiting: Vec<Waker>,
}

impl Rows {
    fn push(&self, rows: &[(&str, i64)]) {
        let mut inner = self.0.lock().unwrap();
        inner.rows.extend(rows.iter().map(|(key, number)| ((*key).to_owned(), *number)));
        inner.waiting.drain(..).for_each(Waker::wake);
    }
}

struct Memory(Rows);

impl Connect for Memory {
    fn source(&self, spec: &SourceSpec) -> Result<Box<dyn SourceConnector>, ConnectorError> {
        Ok(Box::new(MemorySource { rows: self.0.clone(), schema: Arc::clone(&spec.physical) }))
    }

    fn sink(
        &self,
        _: &str,
        _: &SinkSpec,
        _: &SchemaRef,
        _: usize,
    ) -> Result<Box<dyn SinkConnector>, ConnectorError> {
        panic!("these pipelines write only materialized tables")
    }

    fn committer(&self, _: &str, _: &SinkSpec, _: &SchemaRef) -> Result<Box<dyn Committer>, ConnectorError> {
        panic!("these pipelines write only materialized tables")
    }
}

struct MemorySource {
    rows: Rows,
    schema: SchemaRef,
}

impl SourceConnector for MemorySource {
    fn splits(&mut self) -> Result<Vec<SplitId>, ConnectorError> {
        Ok(vec![SplitId("0".into())])
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn open(&mut self, _: &SplitId, from: Option<Position>) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let (rows, schema) = (self.rows.clone(), Arc::clone(&self.schema));
        Ok(Box::new(MemoryReader { rows, schema, next: from.map_or(0, |at| usize::try_from(at.0).unwrap()) }))
    }
}

struct MemoryReader {
    rows: Rows,
    schema: SchemaRef,
    next: usize,
}

impl SplitReader for MemoryReader {
    fn poll(&mut self, _rows_max: usize, waker: &Waker) -> Result<SourcePoll, ConnectorError> {
        let mut inner = self.rows.0.lock().unwrap();
        let new = &inner.rows[self.next..];
        if new.is_empty() {
            inner.waiting.push(waker.clone());
            return Ok(SourcePoll::Pending);
        }
        let column = |name: &str| -> ArrayRef {
            match name {
                "k" => Arc::new(StringArray::from_iter_values(new.iter().map(|(key, _)| key))),
                _ => Arc::new(Int64Array::from_iter_values(new.iter().map(|(_, number)| *number))),
            }
        };
        let columns = self.schema.fields().iter().map(|field| column(field.name())).collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns).unwrap();
        self.next = inner.rows.len();
        let next = Position(self.next as u64);
        Ok(SourcePoll::Batch(SourceBatch { rows, kinds: None, next, rejects: Vec::new(), skipped: 0 }))
    }
}

/// A node with one source.
struct Node {
    pipelines: Pipelines,
    tables: Arc<Tables>,
    rows: Rows,
    commits: Receiver<()>,
    dir: tempfile::TempDir,
}

impl Node {
    fn start() -> Self {
        let (dir, rows) = (tempfile::tempdir().unwrap(), Rows::default());
        let tables = Arc::new(Tables::new(Arc::new(MemoryStore::default())));
        let clock = Arc::new(SystemClock::new());
        // A full queue means that a commit waits to be noticed already.
        let (committed, commits) = sync_channel(1);
        let host = Host {
            disk: Arc::new(RealDisk),
            clock: Arc::clone(&clock) as _,
            dir: dir.path().join("pipelines"),
            pool: Arc::new(WorkerPool::start(2, clock)),
            connectors: Arc::new(Memory(rows.clone())),
            tables: Arc::clone(&tables),
            budget: MemoryBudget::unlimited(),
            shards: 2,
            epoch_interval: Duration::from_millis(5),
            on_commit: Arc::new(move || {
                let _ = committed.try_send(());
            }),
        };
        Self { pipelines: Pipelines::open(host).unwrap(), tables, rows, commits, dir }
    }

    fn submit(&self, name: &str, sql: &str) -> Result<(String, Vec<String>), String> {
        let script = Script { name: format!("{name}.sql"), text: sql.to_owned(), vars: BTreeMap::new() };
        self.pipelines.submit(None, &script).map_err(|error| error.to_string())
    }

    fn totals(&self) -> Vec<(String, i64)> {
        let rows = self.tables.scan("totals", 100).unwrap().rows;
        let (keys, totals) = (rows.column(0).as_string::<i32>(), rows.column(1).as_primitive::<Int64Type>());
        (0..rows.num_rows()).map(|row| (keys.value(row).to_owned(), totals.value(row))).collect()
    }

    fn wait_for(&self, want: &[(&str, i64)]) {
        let want: Vec<(String, i64)> = want.iter().map(|(key, total)| ((*key).to_owned(), *total)).collect();
        while self.totals() != want {
            let waited = self.commits.recv_timeout(COMMIT_WAIT_MAX);
            assert!(
                waited.is_ok(),
                "no more commits; the table holds {:?}, expected {want:?}",
                self.totals()
            );
        }
    }
}

#[test]
fn a_stopped_pipeline_goes_on_where_it_was() {
    let node = Node::start();
    node.rows.push(&[("a", 1), ("b", 10)]);
    assert_eq!(node.submit("p", TOTALS).unwrap(), ("p".to_owned(), vec!["totals".to_owned()]));
    node.wait_for(&[("a", 1), ("b", 10)]);
    assert_eq!(node.submit("p", TOTALS).unwrap_err(), "pipeline p is running");

    node.pipelines.stop("p").unwrap();
    node.rows.push(&[("a", 2)]);
    node.submit("p", TOTALS).unwrap();
    node.wait_for(&[("a", 3), ("b", 10)]);
    node.pipelines.shut_down();
}

#[test]
fn other_sql_is_refused_before_anything_changes() {
    let node = Node::start();
    node.rows.push(&[("a", 1)]);
    node.submit("p", TOTALS).unwrap();
    node.wait_for(&[("a", 1)]);
    node.pipelines.stop("p").unwrap();

    let stored = || std::fs::read_to_string(node.dir.path().join("pipelines/p/pipeline.json")).unwrap();
    let before = stored();
    for changed in [TOTALS.replace("SUM(n)", "MAX(n)"), TOTALS.replace("n BIGINT", "m BIGINT, n AS m * 2")] {
        let error = node.submit("p", &changed).unwrap_err();
        assert!(error.starts_with("the state of pipeline p was made by other SQL"), "{error}");
    }
    assert_eq!(stored(), before);
    node.submit("p", TOTALS).unwrap();
    node.rows.push(&[("a", 1)]);
    node.wait_for(&[("a", 2)]);
    node.pipelines.shut_down();
}

#[test]
fn a_table_begins_anew_with_a_new_pipeline() {
    let node = Node::start();
    node.rows.push(&[("a", 1)]);
    node.submit("p", TOTALS).unwrap();
    node.wait_for(&[("a", 1)]);
    let taken = node.submit("q", TOTALS).unwrap_err();
    assert_eq!(taken, "table totals is kept by pipeline p; drop that pipeline first or choose another name");

    node.pipelines.drop_pipeline("p").unwrap();
    assert!(node.pipelines.list().is_empty());
    assert!(!node.dir.path().join("pipelines/p").exists());
    node.rows.push(&[("b", 5)]);
    node.submit("q", TOTALS).unwrap();
    node.wait_for(&[("a", 1), ("b", 5)]);
    node.pipelines.shut_down();
}

#[test]
fn rows_left_behind_under_a_tables_name_are_not_taken_over() {
    let node = Node::start();
    node.rows.push(&[("a", 1)]);
    node.submit("p", TOTALS).unwrap();
    node.wait_for(&[("a", 1)]);
    node.pipelines.stop("p").unwrap();
    // As after a crash in the middle of a drop: the pipeline is gone, its table's rows are not.
    std::fs::remove_dir_all(node.dir.path().join("pipelines/p")).unwrap();
    node.submit("p", TOTALS).unwrap();
    node.rows.push(&[("b", 2)]);
    node.wait_for(&[("a", 1), ("b", 2)]);
    node.pipelines.shut_down();
}
