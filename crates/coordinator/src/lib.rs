//! What a node agrees with itself about: which topics exist, and how records find a partition.
//!
//! - Every change is a record of an internal log partition, durable before it is visible; opening
//!   replays that partition.
//! - A topic has an id that is never used again; partitions are named by id, so that a topic
//!   deleted and made again shares nothing with its predecessor.
//!
//! It must not know sockets, wire protocols or queries.

mod coordinators;
mod groups;
mod topics;
mod writer;

pub use coordinators::Coordinators;
pub use groups::{GroupError, GroupOptions, Groups};
pub use topics::{CATALOG_PARTITION, Topic, TopicError, TopicOptions, Topics};
pub use writer::{LogTopicWriter, NewRecord, TopicWriter, WriteError, Written, partition_for_key};
