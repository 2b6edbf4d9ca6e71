//! The two ends of a query, as traits. `connectors` implements them, `dataflow` drives them.
//!
//! All calls are synchronous and short: a connector that talks to a network does so on its own
//! threads or tasks and hands over what has arrived.

use std::fmt;
use std::task::Waker;

use arrow::array::RecordBatch;
use bytes::Bytes;
use highwater_env::{Epoch, TopicId};
use serde::{Deserialize, Serialize};

use crate::{ChangeBatch, SinkSpec, SourceSpec};

/// Names a split of a source within its table: a partition ([`SplitId::of_partition`]), a file (`input/a.csv`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SplitId(pub String);

impl SplitId {
    /// A partition of a topic of the own log. A topic made again has another id, hence other splits.
    pub fn of_partition(topic: TopicId, partition: i32) -> Self {
        Self(format!("{topic}-{partition}"))
    }
}

/// Where a reader of a split goes on: the next offset, byte or row, as its connector defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position(pub u64);

/// Makes the connectors a plan names. The connector registry is one; tests have others.
pub trait Connect: Send + Sync {
    /// A source, for all its splits.
    ///
    /// # Errors
    /// If an option is missing or wrong ([`ErrorKind::Config`]) or the system cannot be reached.
    fn source(&self, spec: &SourceSpec) -> Result<Box<dyn SourceConnector>, ConnectorError>;

    /// A sink's writer for instance `shard` of `shards`.
    ///
    /// # Errors
    /// As [`Connect::source`].
    fn sink(
        &self,
        uid: &str,
        spec: &SinkSpec,
        input: &arrow::datatypes::SchemaRef,
        shard: usize,
    ) -> Result<Box<dyn SinkConnector>, ConnectorError>;

    /// The part of a sink that makes epochs visible; one for all its writers.
    ///
    /// # Errors
    /// As [`Connect::source`].
    fn committer(
        &self,
        uid: &str,
        spec: &SinkSpec,
        input: &arrow::datatypes::SchemaRef,
    ) -> Result<Box<dyn Committer>, ConnectorError>;
}

/// A table that can be read.
pub trait SourceConnector: Send {
    /// The splits that exist now. Called again while running: new ones are read from their start.
    ///
    /// # Errors
    /// If the system cannot be asked.
    fn splits(&mut self) -> Result<Vec<SplitId>, ConnectorError>;

    /// Whether every split ends.
    fn is_bounded(&self) -> bool;

    /// Opens a split at `from`, or at the configured start (`scan.startup.mode`).
    ///
    /// # Errors
    /// If the position no longer exists ([`ErrorKind::PositionLost`]) or the split cannot be read.
    fn open(
        &mut self,
        split: &SplitId,
        from: Option<Position>,
    ) -> Result<Box<dyn SplitReader>, ConnectorError>;
}

/// A reader of one split. Does not block.
pub trait SplitReader: Send {
    /// Up to about `rows_max` rows that are there now. On `Pending`, `waker` is woken when more arrive.
    ///
    /// # Errors
    /// If the split cannot be read, or a record cannot be decoded and the policy is `fail`.
    fn poll(&mut self, rows_max: usize, waker: &Waker) -> Result<SourcePoll, ConnectorError>;

    /// Where the reader goes on now, also before its first batch: a split opened at the latest end must not
    /// lose what arrives before its first rows. None: unknown, the last batch's [`SourceBatch::next`] counts.
    fn position(&self) -> Option<Position> {
        None
    }

    /// Rows behind the end of the split, if the connector knows.
    fn lag(&self) -> Option<u64> {
        None
    }
}

/// What a reader found.
#[derive(Debug)]
pub enum SourcePoll {
    /// Rows.
    Batch(SourceBatch),
    /// Nothing now.
    Pending,
    /// Nothing ever again.
    End,
}

/// Rows of one split.
#[derive(Debug)]
pub struct SourceBatch {
    /// In the schema [`SourceSpec::physical`].
    pub rows: RecordBatch,
    /// For formats that carry a changelog (Debezium); absent: all inserts.
    pub kinds: Option<Vec<crate::RowKind>>,
    /// Where to go on after these rows.
    pub next: Position,
    /// Records that could not be decoded, for the dead letter.
    pub rejects: Vec<RejectedRecord>,
    /// Records that could not be decoded and were skipped by policy.
    pub skipped: u64,
}

/// A record that could not become a row. The gateway writes the same schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRecord {
    /// The split it came from: `topic-partition`, or a file's name.
    pub split: String,
    /// Its position: an offset, or a line number counting from 1.
    pub position: u64,
    /// Why.
    pub reason: String,
    /// The record as it came.
    pub payload: Bytes,
}

/// What a writer made durable, as its committer reads it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committable(pub Bytes);

/// Writes rows of one shard.
pub trait SinkConnector: Send {
    /// Takes rows. They may go out before the epoch commits only if the sink's guarantee says so.
    ///
    /// # Errors
    /// If they cannot be encoded or the target refuses them.
    fn write(&mut self, changes: &ChangeBatch) -> Result<(), ConnectorError>;

    /// Ends the epoch: all that was written since the last call becomes durable, not yet visible.
    ///
    /// # Errors
    /// If it cannot be made durable.
    fn prepare(&mut self, epoch: Epoch) -> Result<Committable, ConnectorError>;
}

/// Makes prepared epochs visible, in order, once the epoch's manifest is durable.
pub trait Committer: Send {
    /// Makes what `epoch`'s writers prepared visible. Must do nothing if it already did.
    ///
    /// # Errors
    /// Retried if [`ConnectorError::retry`] says so.
    fn commit(&mut self, epoch: Epoch, prepared: &[Committable]) -> Result<(), ConnectorError>;
}

/// Why a connector failed.
#[derive(Debug)]
pub struct ConnectorError {
    /// Who must act.
    pub kind: ErrorKind,
    /// The table, and where in it.
    pub place: String,
    /// What happened and what was expected.
    pub message: String,
}

/// Who must act on a connector's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The user: an option is missing or wrong.
    Config,
    /// The user: a record does not fit the declared schema and the policy is `fail`.
    BadRecord,
    /// The user: the position to resume from no longer exists.
    PositionLost,
    /// Nobody: try again.
    Transient,
    /// The outside system's keeper.
    External,
}

impl ConnectorError {
    /// An error of `kind` at `place`.
    pub fn new(kind: ErrorKind, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, place: place.into(), message: message.into() }
    }

    /// Whether trying again may help.
    pub fn retry(&self) -> bool {
        self.kind == ErrorKind::Transient
    }
}

impl fmt::Display for ConnectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for ConnectorError {}
