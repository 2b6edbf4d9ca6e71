//! Why a transactional request is refused.

use highwater_log::{AppendError, BatchError, LogError, ReadError};

use crate::TopicError;

/// A change of a transaction was refused or failed. Who must act: the client for all but the last
/// four.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// The request contradicts itself.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// The timeout is not one that is granted.
    #[error("transaction timeout of {timeout_ms} ms, expected 1..={timeout_ms_max}")]
    InvalidTimeout {
        /// The timeout asked for.
        timeout_ms: i32,
        /// The longest granted.
        timeout_ms_max: i32,
    },
    /// The transactional id is unknown, or its producer id is another.
    #[error("producer {producer_id} is not the one of transactional id {transactional_id:?}")]
    InvalidProducerIdMapping {
        /// The transactional id.
        transactional_id: String,
        /// The producer id that came with it.
        producer_id: i64,
    },
    /// Another producer took the transactional id over, or its transaction timed out.
    #[error("producer {producer_id} has epoch {got}, the current one is {current}")]
    Fenced {
        /// The producer id.
        producer_id: i64,
        /// The epoch that came.
        got: i16,
        /// The epoch that is current.
        current: i16,
    },
    /// The transaction is not in a state that allows it.
    #[error("{0}")]
    InvalidState(String),
    /// The partition was not added to the transaction before.
    #[error("the partition was not added to the transaction")]
    NotAdded,
    /// An earlier change of the same transactional id is not durable yet: try again.
    #[error("an earlier change of the transactional id is not durable yet")]
    Concurrent,
    /// No transactional id of that name.
    #[error("unknown transactional id {0:?}")]
    Unknown(String),
    /// No more transactional ids are taken until unused ones expire.
    #[error("{0} transactional ids are in use, no more are taken")]
    TooMany(usize),
    /// The log refused or lost it: as with any append, some of these pass.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The topic of transactions cannot be made.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The topic of transactions cannot be read.
    #[error("transaction records cannot be read: {0}")]
    Read(#[from] ReadError),
    /// A record of a transaction makes no sense.
    #[error("transaction record at offset {offset}: {what}")]
    BadRecord {
        /// Its offset.
        offset: i64,
        /// What is wrong.
        what: String,
    },
}

impl TransactionError {
    pub(super) fn batch(offset: i64, source: BatchError) -> Self {
        Self::Read(ReadError::Batch { offset, source })
    }
}
