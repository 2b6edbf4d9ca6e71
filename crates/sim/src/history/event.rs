//! One line of a history.

use std::collections::BTreeMap;

use highwater_env::Offset;
use serde::{Deserialize, Serialize};

/// What a record holds: a number no other record of the history holds.
pub type Value = u64;

/// Values at consecutive offsets, from the first one's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run(pub Offset, pub Vec<Value>);

/// Something that was asked or answered.
///
/// ```json
/// {"op":7,"process":2,"type":"invoke","f":"send","partition":"t-0","values":[40,41]}
/// {"op":8,"process":3,"type":"ok","f":"poll","isolation":"read_committed","records":{"t-0":[[12,[38,39]]]}}
/// {"op":7,"process":2,"type":"ok","f":"send","partition":"t-0","offset":14}
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Pairs an invocation with its outcome; unique in the history.
    pub op: u64,
    /// Who: one producer session or one consumer session. It has at most one open transaction.
    pub process: u64,
    /// Asked, or answered how.
    #[serde(rename = "type")]
    pub stage: Stage,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// About to be asked.
    Invoke,
    /// It happened.
    Ok,
    /// It did not happen, and will not.
    Fail,
    /// Nobody knows whether it happened.
    Info,
}

/// What was asked or answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub enum Action {
    /// One batch to one partition. The invocation names the values, the outcome the first offset.
    Send {
        /// `topic-number`.
        partition: String,
        /// In order; only in the invocation.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        values: Vec<Value>,
        /// For each value the one it is a copy of, if it is one; only in the invocation.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        copies: Vec<Value>,
        /// Offset of the first value, if the answer named it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<Offset>,
    },
    /// What a consumer was given, in the order in which it was given it. Recorded when it has
    /// arrived; needs no invocation.
    Poll {
        /// What the consumer asked to see.
        isolation: Isolation,
        /// By partition.
        records: BTreeMap<String, Vec<Run>>,
    },
    /// The consumer's positions were set anew: its next poll may begin anywhere.
    Assign,
    /// The process has a place in a consumer group: its next poll begins where the group has committed.
    /// A process belongs to one group for ever.
    Assigned {
        /// The group.
        group: String,
    },
    /// Offsets of a group, which count at once or, if the process has an open transaction, with it.
    CommitOffsets {
        /// The group.
        group: String,
        /// The next offset to read, by partition; only in the invocation.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        offsets: BTreeMap<String, Offset>,
    },
    /// What a group has committed, none of it about to be changed by a transaction.
    FetchOffsets {
        /// The group.
        group: String,
        /// The next offset to read, by partition, -1 for none; only in the answer.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        offsets: BTreeMap<String, Offset>,
    },
    /// Deletes what lies below an offset (Kafka's DeleteRecords).
    Trim {
        /// `topic-number`.
        partition: String,
        /// The lowest offset that stays.
        offset: Offset,
    },
    /// The process' transaction begins. A local matter in Kafka, so one line is enough.
    Begin,
    /// The process asks for its transaction to be committed.
    Commit,
    /// The process asks for its transaction to be aborted.
    Abort,
    /// Everything a partition holds, read from its start to its end with nobody writing.
    Read(FullRead),
    /// The node was killed (`ok`). For people who read the history.
    Kill,
    /// The node serves again (`ok`).
    Start,
}

/// Everything a partition holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullRead {
    /// `topic-number`.
    pub partition: String,
    /// What the reader asked to see.
    pub isolation: Isolation,
    /// The first offset that is there.
    pub start: Offset,
    /// The offset after the last one: the high watermark, or the last stable offset.
    pub end: Offset,
    /// The records, in order.
    pub records: Vec<Run>,
    /// Offsets that hold transaction markers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Offset>,
    /// Whether records may be missing because later ones of the same key are there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compacted: bool,
}

/// What a reader asked to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Everything durable.
    ReadUncommitted,
    /// Nothing of open or aborted transactions.
    ReadCommitted,
}
