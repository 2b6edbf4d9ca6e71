//! What a partition knows of transactions, as its readers and operators see it.

use highwater_env::{Offset, TopicPartition};

use crate::LogBatch;

/// A transaction whose records must not be read, in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its abort marker.
    pub last_offset: Offset,
    /// The partition's last stable offset once it had ended.
    pub last_stable_offset: Offset,
}

/// Whether a batch belongs to one of `aborted`, which are sorted by the offset of their marker.
pub(crate) fn covers(aborted: &[AbortedTransaction], batch: &LogBatch) -> bool {
    let first = aborted.partition_point(|aborted| aborted.last_offset < batch.base_offset());
    let covers = |aborted: &AbortedTransaction| {
        aborted.producer_id == batch.producer_id() && aborted.first_offset <= batch.base_offset()
    };
    batch.is_transactional() && aborted[first..].iter().any(covers)
}

/// A transaction without a marker, in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    /// Where.
    pub tp: TopicPartition,
    /// Whose it is.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Timestamp of the producer's last batch in the partition, ms since the Unix epoch.
    pub last_timestamp_ms: i64,
}

/// A producer as one partition knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Its id.
    pub producer_id: i64,
    /// Its newest epoch.
    pub epoch: i16,
    /// Sequence of its last record, -1 if it wrote none in this epoch.
    pub last_sequence: i32,
    /// Timestamp of its last batch, ms since the Unix epoch, -1 if unknown.
    pub last_timestamp_ms: i64,
    /// The coordinator's epoch in its last marker, -1 before the first.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub open_since: Option<Offset>,
}
