//! What the server needs of a node, as a trait over plain data: `pipeline` stands behind it in the
//! program, an in-memory double in tests.
//!
//! Methods are synchronous and may wait for the disk; the server calls those that may from a
//! blocking thread. None may wait for a client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use highwater_env::{Epoch, Offset};
use highwater_gateway::LogPosition;
use highwater_stream::ChangeBatch;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::metrics::Sample;

/// How many [`TableChanges`] may wait for one subscriber before it is told `overflow`.
pub const SUBSCRIBER_QUEUE_MAX: usize = 64;

/// A running node, as the server sees it.
pub trait Node: Send + Sync {
    /// All topics, sorted by name; internal ones too.
    fn topics(&self) -> Vec<TopicStatus>;

    /// Makes a topic. Durable when it returns.
    ///
    /// # Errors
    /// [`NodeError::AlreadyExists`], or [`NodeError::Invalid`] for a bad name, count or config.
    fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Result<(), NodeError>;

    /// Every config of a topic, by name, with what it is when not given.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    fn topic_configs(&self, name: &str) -> Result<Vec<ConfigStatus>, NodeError>;

    /// Changes some of a topic's configs; no value is the default again. Durable when it returns.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], or [`NodeError::Invalid`] for an unknown config or a wrong value.
    fn alter_topic(&self, name: &str, changes: BTreeMap<String, Option<String>>) -> Result<(), NodeError>;

    /// Lets a topic have so many partitions in all. Durable when it returns.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], or [`NodeError::Invalid`] if it has as many already, or too many.
    fn add_partitions(&self, name: &str, partitions: i32) -> Result<(), NodeError>;

    /// Deletes the records below an offset, or all, of one partition, or of each. Durable when it
    /// returns.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], or [`NodeError::Invalid`] if the offset lies outside the partition,
    /// or the topic deletes nothing.
    fn delete_records(
        &self,
        name: &str,
        partition: Option<i32>,
        before: Option<Offset>,
    ) -> Result<(), NodeError>;

    /// Deletes a topic and its records.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], or [`NodeError::Invalid`] for an internal one.
    fn delete_topic(&self, name: &str) -> Result<(), NodeError>;

    /// Up to `limit` records of one partition, in order.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], or [`NodeError::Invalid`] if `from` lies outside the partition.
    fn records(
        &self,
        topic: &str,
        partition: i32,
        from: RecordsFrom,
        limit: usize,
    ) -> Result<Vec<TopicRecord>, NodeError>;

    /// All consumer groups, sorted by name, and how far they are.
    ///
    /// # Errors
    /// [`NodeError::Unavailable`].
    fn groups(&self) -> Result<Vec<GroupOverview>, NodeError>;

    /// A consumer group with its members and offsets.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::Unavailable`].
    fn group(&self, name: &str) -> Result<GroupStatus, NodeError>;

    /// Sets how far a group has read in one partition of a topic, or in each. Durable when it
    /// returns. A group that does not exist is made.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], or [`NodeError::Invalid`] if the group has members or the offset
    /// lies outside the partition.
    fn reset_offsets(
        &self,
        group: &str,
        topic: &str,
        partition: Option<i32>,
        to: OffsetTarget,
    ) -> Result<(), NodeError>;

    /// Forgets a group and its offsets. Durable when it returns.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], or [`NodeError::Invalid`] if it has members.
    fn delete_group(&self, name: &str) -> Result<(), NodeError>;

    /// All transactional ids, sorted by name, and the open transactions of none of them.
    fn transactions(&self) -> (Vec<TransactionStatus>, Vec<HangingTransaction>);

    /// A transactional id; its partitions say where its open transaction begins.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    fn transaction(&self, id: &str) -> Result<TransactionStatus, NodeError>;

    /// Aborts the open transaction of a transactional id and fences its producer. Durable when it
    /// returns.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::Invalid`] if none is open, [`NodeError::Unavailable`] if it
    /// is ending.
    fn abort_transaction(&self, id: &str) -> Result<(), NodeError>;

    /// Aborts a hanging transaction. Durable when it returns.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] if there is none of this producer in that partition.
    fn abort_hanging(&self, topic: &str, partition: i32, producer_id: i64) -> Result<(), NodeError>;

    /// All materialized tables, sorted by name.
    fn tables(&self) -> Vec<TableStatus>;

    /// Rows of a table as of its last committed epoch.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], or [`NodeError::Invalid`] if a key's text does not fit its column.
    fn table_rows(&self, table: &str, query: &RowQuery) -> Result<TableRows, NodeError>;

    /// The table now and every change from then on, without a gap or an overlap between the two.
    ///
    /// # Errors
    /// [`NodeError::NotFound`]; [`NodeError::Unavailable`] if there are too many subscribers.
    fn subscribe(&self, table: &str, visibility: Visibility) -> Result<Subscription, NodeError>;

    /// Whether a committed epoch of `table` covers `position`: its pipeline has read, from every
    /// partition named there, all offsets below the one named, and committed what came of them.
    ///
    /// # Errors
    /// [`NodeError::NotFound`]; [`NodeError::Invalid`] if the table does not read that topic.
    fn covers(&self, table: &str, position: &LogPosition) -> Result<bool, NodeError>;

    /// Changes each time an epoch of any pipeline commits; the value has no meaning.
    fn commits(&self) -> watch::Receiver<u64>;

    /// All pipelines, sorted by name.
    fn pipelines(&self) -> Vec<PipelineStatus>;

    /// Compiles and starts a pipeline; durable when it returns. `name` absent: from the script.
    ///
    /// # Errors
    /// [`NodeError::Sql`], [`NodeError::AlreadyExists`], [`NodeError::Failed`].
    fn submit(&self, request: SubmitRequest) -> Result<Submitted, NodeError>;

    /// Compiles only.
    ///
    /// # Errors
    /// [`NodeError::Sql`].
    fn check(&self, request: SubmitRequest) -> Result<Checked, NodeError>;

    /// Stops a pipeline after a final epoch; it keeps its state and its tables.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::Failed`].
    fn stop_pipeline(&self, name: &str) -> Result<(), NodeError>;

    /// Stops a pipeline and forgets it, its state and its tables.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::Failed`].
    fn drop_pipeline(&self, name: &str) -> Result<(), NodeError>;

    /// Figures of the layers below (log, broker, memory) for `/metrics`. The server adds those of
    /// topics, tables, pipelines, the gateway and itself. Names must be in [`crate::metrics::METRICS`].
    fn samples(&self) -> Vec<Sample>;
}

/// Why a node refused.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The caller: there is no such thing.
    #[error("{what} {name} does not exist")]
    NotFound {
        /// `topic`, `partition`, `group`, `transaction`, `table` or `pipeline`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The caller: the name is taken.
    #[error("{what} {name} exists already")]
    AlreadyExists {
        /// `topic`, `table` or `pipeline`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The caller: the request makes no sense.
    #[error("{message}")]
    Invalid {
        /// The value and what was expected.
        message: String,
        /// What to do instead.
        hint: String,
    },
    /// The caller: the script does not compile.
    #[error("{0}")]
    Sql(Box<SqlProblem>),
    /// Nobody: try again later.
    #[error("{message}")]
    Unavailable {
        /// What is short.
        message: String,
    },
    /// The node's keeper.
    #[error("{0}")]
    Failed(String),
}

/// Where a script is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct SqlProblem {
    /// The script's name.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The offending text.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What to do instead.
    pub hint: String,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicStatus {
    /// Its name.
    pub name: String,
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// Belongs to the node itself.
    pub internal: bool,
    /// Kafka's topic configs that were set.
    pub configs: BTreeMap<String, String>,
    /// By number.
    pub partitions: Vec<PartitionStatus>,
}

/// A topic config and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigStatus {
    /// Kafka's name of it.
    pub name: String,
    /// What holds.
    pub value: String,
    /// Whether it was given; else the value is the default.
    pub given: bool,
    /// What it does here.
    pub documentation: String,
}

/// How far a consumer group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOverview {
    /// Its name.
    pub name: String,
    /// Its state, in Kafka's words.
    pub state: String,
    /// What its members' metadata means: `consumer`, `connect`; empty for a group without any.
    pub protocol_type: String,
    /// How many members it has.
    pub members: usize,
    /// The topics it has committed offsets of, by name.
    pub topics: Vec<GroupTopicOverview>,
}

/// How far a consumer group is in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupTopicOverview {
    /// The topic.
    pub topic: String,
    /// Records it has gone past since the node started.
    pub read: u64,
    /// Partitions, each with its [lag](GroupOffsetStatus::lag).
    pub partitions: Vec<(i32, Option<i64>)>,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// Its state, in Kafka's words.
    pub state: String,
    /// What its members' metadata means: `consumer`, `connect`; empty for a group without any.
    pub protocol_type: String,
    /// Its members.
    pub members: Vec<GroupMemberStatus>,
    /// How far it has read.
    pub offsets: Vec<GroupOffsetStatus>,
}

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupMemberStatus {
    /// Its id.
    pub id: String,
    /// Its static name (`group.instance.id`).
    pub instance_id: Option<String>,
    /// Its client's name for itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// What it is assigned, as `topic-partition`.
    pub assigned: Vec<String>,
}

/// How far a group has read in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupOffsetStatus {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset the group reads.
    pub committed: Offset,
    /// Records from there to the high watermark; null if the partition does not exist.
    pub lag: Option<i64>,
}

/// A transactional id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TransactionStatus {
    /// The id.
    pub id: String,
    /// Its state, in Kafka's words: `Ongoing` if a transaction is open.
    pub state: String,
    /// Its current producer.
    pub producer_id: i64,
    /// The producer's epoch; lower ones are fenced.
    pub producer_epoch: i16,
    /// How long its transactions may be open, ms.
    pub timeout_ms: i32,
    /// When the open transaction began, ms since the Unix epoch; null if none is open.
    pub open_since_ms: Option<i64>,
    /// Where the open transaction writes.
    pub partitions: Vec<TransactionPartition>,
}

/// A partition that an open transaction writes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TransactionPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Where its first record is: no reader of committed records gets beyond. Null if it wrote none yet,
    /// and in a list.
    pub first_offset: Option<Offset>,
}

/// An open transaction, in one partition, that belongs to no transactional id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HangingTransaction {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Whose it is.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// Where its first record is.
    pub first_offset: Offset,
    /// When its producer last wrote there, ms since the Unix epoch.
    pub last_written_ms: i64,
}

/// Where a group is to read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetTarget {
    /// The first record that is there.
    Start,
    /// After the last record.
    End,
    /// At this offset.
    Offset(Offset),
    /// The first record of this time or later, ms since the Unix epoch.
    Time(i64),
}

/// A partition: `log_start_offset <= last_stable_offset <= high_watermark <= log_end_offset`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: i32,
    /// The first offset that still exists.
    pub log_start_offset: Offset,
    /// Transactions below are decided.
    pub last_stable_offset: Offset,
    /// Records below are durable.
    pub high_watermark: Offset,
    /// Records below were appended.
    pub log_end_offset: Offset,
}

/// Where to begin reading records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordsFrom {
    /// At an offset.
    Offset(Offset),
    /// At the oldest record.
    Start,
    /// So that the newest record is the last one given.
    Tail,
}

/// A record of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// Its offset.
    pub offset: Offset,
    /// Ms since the Unix epoch.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Names and values.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A materialized table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableStatus {
    /// Its global name.
    pub name: String,
    /// The pipeline that keeps it.
    pub pipeline: String,
    /// In order.
    pub columns: Vec<ColumnStatus>,
    /// Names of the primary key's columns; empty: none.
    pub primary_key: Vec<String>,
    /// Rows in the last committed epoch.
    pub rows: u64,
    /// The last committed epoch; 0: none yet.
    pub epoch: u64,
    /// When it was committed, ms since the Unix epoch.
    pub committed_at_ms: Option<i64>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnStatus {
    /// Its name.
    pub name: String,
    /// Its SQL type: `BIGINT`, `TIMESTAMP(3)`.
    pub sql_type: String,
    /// Whether NULL may occur.
    pub nullable: bool,
}

/// Which rows of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowQuery {
    /// Columns of the primary key and their values as text; empty: all rows.
    pub key: Vec<(String, String)>,
    /// At most so many.
    pub limit: usize,
}

/// Rows of one committed epoch, ordered by primary key.
#[derive(Clone, Debug)]
pub struct TableRows {
    /// The epoch; 0: none yet.
    pub epoch: Epoch,
    /// The rows.
    pub rows: RecordBatch,
    /// Whether `limit` cut rows off.
    pub more: bool,
}

/// What a subscriber wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Committed epochs only.
    Committed,
    /// Changes as they are computed. What the epoch under way changed before the subscription began
    /// is in neither the snapshot nor the changes: it shows with the row's next change.
    Uncommitted,
}

/// A table and its changes.
#[derive(Debug)]
pub struct Subscription {
    /// The table's columns.
    pub schema: SchemaRef,
    /// Names of the primary key's columns.
    pub primary_key: Vec<String>,
    /// The epoch of the snapshot.
    pub epoch: Epoch,
    /// The table when the subscription began.
    pub snapshot: RecordBatch,
    /// What changed since, in order; at most [`SUBSCRIBER_QUEUE_MAX`] wait. The node closes it when
    /// the table goes or when it is full.
    pub changes: mpsc::Receiver<TableChanges>,
    /// Set before `changes` is closed because it was full or because uncommitted changes were
    /// taken back: the subscriber must begin anew.
    pub overflowed: Arc<AtomicBool>,
}

/// What one epoch, or one uncommitted step, changed.
#[derive(Clone, Debug)]
pub struct TableChanges {
    /// The epoch they belong to.
    pub epoch: Epoch,
    /// Whether that epoch is committed.
    pub committed: bool,
    /// The rows, in the table's schema.
    pub changes: ChangeBatch,
}

/// A script to compile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubmitRequest {
    /// The pipeline's name; absent: `SET 'pipeline.name'` decides, else the file's stem.
    pub name: Option<String>,
    /// The script's file name, for messages; absent: made from the name.
    pub file: Option<String>,
    /// The script.
    pub sql: String,
    /// `${K}` in the script is replaced by V.
    pub vars: BTreeMap<String, String>,
}

/// A pipeline was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Submitted {
    /// Its name.
    pub pipeline: String,
    /// Materialized tables it keeps.
    pub tables: Vec<String>,
}

/// A script compiles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The name it would get.
    pub pipeline: String,
    /// The plan, for people.
    pub explain: String,
}

/// What a pipeline is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PipelineState {
    /// It is being restored.
    Starting,
    /// It runs.
    Running,
    /// Its input ended and everything is committed.
    Finished,
    /// It was stopped.
    Stopped,
    /// It failed and waits to be tried again.
    Restarting,
    /// It failed for good.
    Failed,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PipelineStatus {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: PipelineState,
    /// Why it failed last.
    pub error: Option<String>,
    /// The last committed epoch; 0: none yet.
    pub epoch: u64,
    /// When it was committed, ms since the Unix epoch.
    pub committed_at_ms: Option<i64>,
    /// How long the last epoch took from barrier to commit, ms.
    pub epoch_duration_ms: Option<u64>,
    /// How often it was started again after a failure.
    pub restarts: u64,
    /// How long the last restore took until the first row was read again, ms.
    pub recovery_ms: Option<u64>,
    /// Source records that wait to be read, if every source knows.
    pub lag: Option<u64>,
    /// In the order of the plan: inputs first.
    pub operators: Vec<OperatorStatus>,
    /// What became of every record read.
    pub sources: Vec<SourceBalance>,
    /// What became of every change written.
    pub sinks: Vec<SinkBalance>,
}

/// An operator, summed over its shards.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OperatorStatus {
    /// Its number in the plan.
    pub node: usize,
    /// Names its state.
    pub uid: String,
    /// For people: `GroupAggregate(route_id)`.
    pub title: String,
    /// Numbers of the operators it reads.
    pub inputs: Vec<usize>,
    /// Rows that came in.
    pub rows_in: u64,
    /// Rows that went out.
    pub rows_out: u64,
    /// Rows a condition removed.
    pub filtered: u64,
    /// Rows that came after their window.
    pub late_rows: u64,
    /// The lowest watermark over its shards, ms; none yet, or the input ended: absent.
    pub watermark_ms: Option<i64>,
    /// The split that holds the watermark back, if one is silent.
    pub held_back_by: Option<String>,
    /// Keys in its state.
    pub state_keys: u64,
    /// Bytes of its state.
    pub state_bytes: u64,
    /// Time it was running, ms.
    pub busy_ms: u64,
    /// Sources: records that wait to be read.
    pub lag: Option<u64>,
}

/// `records = decoded + dead_lettered + skipped`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceBalance {
    /// The table's name in SQL.
    pub table: String,
    /// Records in the range read so far.
    pub records: u64,
    /// Those that became rows.
    pub decoded: u64,
    /// Those in the dead letter.
    pub dead_lettered: u64,
    /// Those skipped by policy.
    pub skipped: u64,
}

/// `received = committed + suppressed + pending`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkBalance {
    /// The table's name.
    pub table: String,
    /// The connector, or `materialized`.
    pub connector: String,
    /// `exactly-once`, `at-least-once` or `none`.
    pub guarantee: String,
    /// Changes that reached the sink.
    pub received: u64,
    /// Changes made visible.
    pub committed: u64,
    /// Changes that cancelled each other within an epoch.
    pub suppressed: u64,
    /// Changes of the epoch under way.
    pub pending: u64,
}
