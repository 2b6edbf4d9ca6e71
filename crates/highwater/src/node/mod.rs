//! The node as the HTTP server sees it: log, catalog, broker, tables and pipelines behind one trait.

mod groups;
mod records;
mod status;
mod table;
mod topics;
mod transactions;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use highwater_broker::Broker;
use highwater_connectors::{Outside, Printer, Registry};
use highwater_coordinator::{Coordinators, TopicError, TopicOptions, Topics};
use highwater_dataflow::WorkerPool;
use highwater_env::{Clock, Disk, Entropy, MemoryBudget, Offset, OsEntropy, RealDisk, SystemClock};
use highwater_gateway::LogPosition;
use highwater_log::{Log, LogOptions, RecoveryReport};
use highwater_pipeline::tables::{FjallStore, TableError, Tables};
use highwater_pipeline::{FailpointConnect, Host, PipelineError, Pipelines};
use highwater_serve::metrics::Sample;
use highwater_serve::{
    Checked, ConfigStatus, GroupOverview, GroupStatus, HangingTransaction, Node, NodeError, OffsetTarget,
    PipelineStatus, RecordsFrom, RowQuery, SqlProblem, SubmitRequest, Submitted, Subscription, TableRows,
    TableStatus, TopicRecord, TopicStatus, TransactionStatus, Visibility,
};
use highwater_sql::Script;
use highwater_stream::Connect;
use tokio::sync::watch;

use crate::config::Config;

/// The share of the node's memory that pipelines may hold.
const PIPELINES_SHARE: u64 = 2;

/// Everything a node consists of, but its sockets.
pub(crate) struct LocalNode {
    pub(crate) log: Log,
    pub(crate) topics: Topics,
    pub(crate) coordinators: Coordinators,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) budget: MemoryBudget,
    tables: Arc<Tables>,
    pipelines: Pipelines,
    commits: watch::Sender<u64>,
    /// Set once the Kafka listener is bound.
    pub(crate) broker: std::sync::OnceLock<Arc<Broker>>,
}

impl LocalNode {
    /// Opens the data directory, recovers the log, and starts the pipelines that ran.
    pub(crate) fn open(data_dir: &Path, config: &Config, shards: usize) -> Result<(Self, RecoveryReport)> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy::new());
        let budget = MemoryBudget::root("node", config.log.memory_bytes_max);
        let log_options = LogOptions::default().with_batch_bytes_max(config.log.batch_bytes_max);
        let (log, report) = Log::open(Arc::clone(&disk), Arc::clone(&clock), data_dir, log_options, &budget)?;
        let topic_options = TopicOptions {
            auto_create: config.log.auto_create_topics,
            default_partitions: config.log.default_partitions,
            ..TopicOptions::default()
        };
        let topics = Topics::open(log.clone(), Arc::clone(&entropy), topic_options)?;
        let coordinators = Coordinators::open(&log, topics.clone(), &clock, &entropy)?;
        let store = FjallStore::open(&data_dir.join("tables")).context("cannot open the tables")?;
        let tables = Arc::new(Tables::new(Arc::new(store)));
        let commits = watch::Sender::new(0);
        let told = commits.clone();
        let host = Host {
            dir: data_dir.join("pipelines"),
            pool: Arc::new(WorkerPool::start(shards, Arc::clone(&clock))),
            connectors: connectors(&disk, &clock, &entropy, &log, &topics)?,
            tables: Arc::clone(&tables),
            budget: budget.child("pipelines", config.log.memory_bytes_max / PIPELINES_SHARE),
            shards,
            epoch_interval: std::time::Duration::from_millis(config.pipelines.epoch_interval_ms),
            on_commit: Arc::new(move || told.send_modify(|count| *count += 1)),
            disk,
            clock: Arc::clone(&clock),
        };
        let pipelines = Pipelines::open(host)?;
        let broker = std::sync::OnceLock::new();
        let node =
            Self { log, topics, coordinators, clock, entropy, budget, tables, pipelines, commits, broker };
        Ok((node, report))
    }

    /// A final epoch for every pipeline, then a final sync of the log.
    pub(crate) fn close(&self) -> Result<()> {
        self.pipelines.shut_down();
        Ok(self.log.clone().close()?)
    }
}

/// The connectors, with a failpoint if the environment asks for one.
fn connectors(
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    log: &Log,
    topics: &Topics,
) -> Result<Arc<dyn Connect>> {
    let outside = Outside {
        disk: Arc::clone(disk),
        clock: Arc::clone(clock),
        entropy: Arc::clone(entropy),
        log: Some((log.clone(), topics.clone())),
        printer: Printer::standard(),
    };
    with_failpoint(Arc::new(Registry::new(outside)))
}

/// `inner`, dying after N source rows if `HIGHWATER_FAILPOINT=rows:N` is set.
pub(crate) fn with_failpoint(inner: Arc<dyn Connect>) -> Result<Arc<dyn Connect>> {
    let Ok(text) = std::env::var("HIGHWATER_FAILPOINT") else { return Ok(inner) };
    match text.strip_prefix("rows:").and_then(|rows| rows.parse().ok()) {
        Some(rows) => Ok(Arc::new(FailpointConnect::after_rows(inner, rows))),
        None => bail!("HIGHWATER_FAILPOINT is `{text}`, expected rows:N"),
    }
}

impl Node for LocalNode {
    fn topics(&self) -> Vec<TopicStatus> {
        self.topics.list().iter().map(|topic| status::topic(&self.log, topic)).collect()
    }

    fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Result<(), NodeError> {
        self.topics.create(name, partitions, configs).map(|_| ()).map_err(topic_error)
    }

    fn topic_configs(&self, name: &str) -> Result<Vec<ConfigStatus>, NodeError> {
        topics::configs(&self.topics, name)
    }

    fn alter_topic(&self, name: &str, changes: BTreeMap<String, Option<String>>) -> Result<(), NodeError> {
        topics::alter(&self.topics, name, changes)
    }

    fn add_partitions(&self, name: &str, partitions: i32) -> Result<(), NodeError> {
        topics::add_partitions(&self.topics, name, partitions)
    }

    fn delete_records(
        &self,
        name: &str,
        partition: Option<i32>,
        before: Option<Offset>,
    ) -> Result<(), NodeError> {
        topics::delete_records(&self.log, &self.topics, name, partition, before)
    }

    fn delete_topic(&self, name: &str) -> Result<(), NodeError> {
        if self.topics.get(name).is_some_and(|topic| topic.internal) {
            let message = format!("topic {name} is the node's own");
            return Err(NodeError::Invalid { message, hint: "drop the pipeline it belongs to".into() });
        }
        self.topics.delete(name).map_err(topic_error)?;
        self.coordinators.groups.topic_deleted(name);
        Ok(())
    }

    fn records(
        &self,
        topic: &str,
        partition: i32,
        from: RecordsFrom,
        limit: usize,
    ) -> Result<Vec<TopicRecord>, NodeError> {
        records::read(&self.log, &self.topics, topic, partition, from, limit)
    }

    fn groups(&self) -> Result<Vec<GroupOverview>, NodeError> {
        groups::list(&self.log, &self.topics, &self.coordinators.groups)
    }

    fn group(&self, name: &str) -> Result<GroupStatus, NodeError> {
        groups::describe(&self.log, &self.topics, &self.coordinators.groups, name)
    }

    fn reset_offsets(
        &self,
        group: &str,
        topic: &str,
        partition: Option<i32>,
        to: OffsetTarget,
    ) -> Result<(), NodeError> {
        let groups = &self.coordinators.groups;
        groups::reset(&self.log, &self.topics, groups, (group, topic), partition, to)
    }

    fn delete_group(&self, name: &str) -> Result<(), NodeError> {
        groups::delete(&self.coordinators.groups, name)
    }

    fn transactions(&self) -> (Vec<TransactionStatus>, Vec<HangingTransaction>) {
        transactions::list(&self.topics, &self.coordinators.transactions)
    }

    fn transaction(&self, id: &str) -> Result<TransactionStatus, NodeError> {
        transactions::describe(&self.log, &self.topics, &self.coordinators.transactions, id)
    }

    fn abort_transaction(&self, id: &str) -> Result<(), NodeError> {
        transactions::abort(&self.coordinators.transactions, id)
    }

    fn abort_hanging(&self, topic: &str, partition: i32, producer_id: i64) -> Result<(), NodeError> {
        let transactions = &self.coordinators.transactions;
        transactions::abort_hanging(&self.topics, transactions, (topic, partition), producer_id)
    }

    fn tables(&self) -> Vec<TableStatus> {
        let pipelines = self.pipelines.list();
        self.tables.list().iter().map(|table| status::table(&self.tables, table, &pipelines)).collect()
    }

    fn table_rows(&self, table: &str, query: &RowQuery) -> Result<TableRows, NodeError> {
        table::rows(&self.tables, table, query)
    }

    fn subscribe(&self, table: &str, visibility: Visibility) -> Result<Subscription, NodeError> {
        table::subscribe(&self.tables, table, visibility)
    }

    fn covers(&self, table: &str, position: &LogPosition) -> Result<bool, NodeError> {
        let name = position.topic.as_str();
        let unknown = || NodeError::NotFound { what: "topic", name: name.to_owned() };
        let topic = self.topics.get(name).ok_or_else(unknown)?;
        self.pipelines.covers(table, (name, topic.id), &position.partitions).map_err(pipeline_error)
    }

    fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    fn pipelines(&self) -> Vec<PipelineStatus> {
        self.pipelines.list().iter().map(status::pipeline).collect()
    }

    fn submit(&self, request: SubmitRequest) -> Result<Submitted, NodeError> {
        let name = request.name.clone();
        let submitted = self.pipelines.submit(name.as_deref(), &script(request));
        submitted.map(|(pipeline, tables)| Submitted { pipeline, tables }).map_err(pipeline_error)
    }

    fn check(&self, request: SubmitRequest) -> Result<Checked, NodeError> {
        let compiled = self.pipelines.check(&script(request)).map_err(pipeline_error)?;
        Ok(Checked { pipeline: compiled.pipeline_name, explain: compiled.explain })
    }

    fn stop_pipeline(&self, name: &str) -> Result<(), NodeError> {
        self.pipelines.stop(name).map_err(pipeline_error)
    }

    fn drop_pipeline(&self, name: &str) -> Result<(), NodeError> {
        self.pipelines.drop_pipeline(name).map_err(pipeline_error)
    }

    fn samples(&self) -> Vec<Sample> {
        status::samples(self)
    }
}

fn script(request: SubmitRequest) -> Script {
    let from_name = || format!("{}.sql", request.name.as_deref().unwrap_or("pipeline"));
    let name = request.file.clone().unwrap_or_else(from_name);
    Script { name, text: request.sql, vars: request.vars }
}

fn topic_error(error: TopicError) -> NodeError {
    let message = error.to_string();
    match error {
        TopicError::AlreadyExists(name) => NodeError::AlreadyExists { what: "topic", name },
        TopicError::Unknown(name) => NodeError::NotFound { what: "topic", name },
        TopicError::InvalidName { .. } | TopicError::InvalidPartitions { .. } => {
            NodeError::Invalid { message, hint: "names have 1 to 249 of a-z A-Z 0-9 . _ -".into() }
        }
        TopicError::NotMorePartitions { .. } => {
            NodeError::Invalid { message, hint: "partitions can be added, never taken away".into() }
        }
        TopicError::InvalidConfig(_) => NodeError::Invalid {
            message,
            hint: "configs have Apache Kafka's names, defaults and units".into(),
        },
        TopicError::Log(_) | TopicError::Read(_) | TopicError::BadRecord { .. } => NodeError::Failed(message),
    }
}

fn pipeline_error(error: PipelineError) -> NodeError {
    let message = error.to_string();
    match error {
        PipelineError::Sql(error) => NodeError::Sql(Box::new(SqlProblem {
            file: error.file,
            line: error.line,
            column: error.column,
            text: error.text,
            message: error.message,
            hint: error.hint.unwrap_or_default(),
        })),
        PipelineError::Running(name) => NodeError::AlreadyExists { what: "pipeline", name },
        PipelineError::Unknown(name) => NodeError::NotFound { what: "pipeline", name },
        PipelineError::Table(error) => table_error(error),
        PipelineError::Invalid(_) | PipelineError::Connector(_) => {
            NodeError::Invalid { message, hint: String::new() }
        }
        PipelineError::Definition(_) | PipelineError::Node(_) => NodeError::Failed(message),
    }
}

fn table_error(error: TableError) -> NodeError {
    let message = error.to_string();
    match error {
        TableError::Unknown(name) => NodeError::NotFound { what: "table", name },
        TableError::Taken { .. } | TableError::Ahead { .. } | TableError::Request(_) => {
            NodeError::Invalid { message, hint: String::new() }
        }
        TableError::Store(_) | TableError::Row(_) => NodeError::Failed(message),
    }
}
