//! What a node agrees with itself about: which topics exist and how they are kept, how records find a
//! partition, what consumer groups have read, which transactions are open.
//!
//! - What outlives a restart is a record of an internal log partition, durable before any client is
//!   told; opening replays that partition. Members of consumer groups live in memory besides.
//! - A topic has an id that is never used again; partitions are named by id, so that a topic
//!   deleted and made again shares nothing with its predecessor.
//!
//! It must not know sockets, wire protocols or queries.

mod admission;
mod coordinators;
mod groups;
#[cfg(test)]
mod testing;
mod topic_config;
mod topics;
mod transactions;
mod writer;

pub use admission::{Admitted, HEADER_BYTES_EXTRA, RECORD_BYTES_EXTRA, Unfit};
pub use coordinators::{Coordinators, CoordinatorsError};
pub use groups::{
    CommitRequest, Committed, CommittedOffset, FetchedOffset, GroupDescription, GroupError, GroupOptions,
    GroupOverview, GroupProgress, GroupRefusal, Groups, JoinRefused, JoinRequest, Joined, JoinedMember,
    Leaving, MemberClaim, MemberDescription, OFFSETS_TOPIC, OffsetCommit, OffsetSelection, SyncRequest,
    Synced, TopicProgress, assigned_partitions,
};
pub use topic_config::{ConfigError, ConfigKey, ConfigKind, TOPIC_CONFIGS, TimestampType, TopicConfig};
pub use topics::{CATALOG_PARTITION, Topic, TopicError, TopicOptions, Topics, check_topic_name};
pub use transactions::{
    COORDINATOR_EPOCH, PendingChange, ProducerIdentity, TRANSACTION_TOPIC, TransactionDescription,
    TransactionError, TransactionFilter, TransactionOptions, TransactionResult, TransactionState,
    TransactionStats, TransactionVersion, Transactions,
};
pub use writer::{
    LogTopicWriter, NewRecord, TopicWriter, WriteError, WriteOutcome, Written, partition_for_key,
};
