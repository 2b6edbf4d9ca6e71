//! Kafka's error codes, and which of them tells a client what to do about our errors.

use highwater_coordinator::TopicError;
use highwater_log::{AppendError, BatchError, ReadError};

/// The codes this broker answers with (kafka.apache.org/protocol#protocol_error_codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum ErrorCode {
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    RequestTimedOut = 7,
    MessageTooLarge = 10,
    InvalidTopic = 17,
    NotEnoughReplicas = 19,
    InvalidRequiredAcks = 21,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidConfig = 40,
    InvalidRequest = 42,
    UnsupportedForMessageFormat = 43,
    OutOfOrderSequenceNumber = 45,
    DuplicateSequenceNumber = 46,
    InvalidProducerEpoch = 47,
    InvalidTxnState = 48,
    KafkaStorageError = 56,
    FetchSessionIdNotFound = 70,
    UnsupportedCompressionType = 76,
    InvalidRecord = 87,
    UnknownTopicId = 100,
}

impl ErrorCode {
    /// The number on the wire.
    pub(crate) fn code(self) -> i16 {
        self as i16
    }
}

/// The code for an append that was refused or failed.
pub(crate) fn append_error(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::UnknownPartition(_) => ErrorCode::UnknownTopicOrPartition,
        AppendError::Backpressure(_) => ErrorCode::NotEnoughReplicas,
        AppendError::DiskFull | AppendError::Poisoned(_) | AppendError::Closed => {
            ErrorCode::KafkaStorageError
        }
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::DuplicateSequence { .. } => ErrorCode::DuplicateSequenceNumber,
        AppendError::FencedProducer { .. } => ErrorCode::InvalidProducerEpoch,
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        AppendError::Refused(_) => ErrorCode::InvalidRecord,
    }
}

/// The code for bytes that are not one valid batch.
pub(crate) fn batch_error(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::TooShort { .. } | BatchError::BadChecksum { .. } => ErrorCode::CorruptMessage,
        BatchError::UnsupportedMagic { .. } => ErrorCode::UnsupportedForMessageFormat,
        BatchError::UnknownCompression(_) => ErrorCode::UnsupportedCompressionType,
        BatchError::TrailingBytes { .. }
        | BatchError::Invalid(_)
        | BatchError::Decompress { .. }
        | BatchError::InflatesTooFar { .. } => ErrorCode::InvalidRecord,
    }
}

/// The code for a read that was refused or failed.
pub(crate) fn read_error(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::UnknownPartition(_) => ErrorCode::UnknownTopicOrPartition,
        ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt { .. } | ReadError::Batch { .. } | ReadError::Io { .. } => {
            tracing::error!("{error}");
            ErrorCode::KafkaStorageError
        }
    }
}

/// The code for a change of the topic catalog that was refused or failed.
pub(crate) fn topic_error(error: &TopicError) -> ErrorCode {
    match error {
        TopicError::AlreadyExists(_) => ErrorCode::TopicAlreadyExists,
        TopicError::Unknown(_) => ErrorCode::UnknownTopicOrPartition,
        TopicError::InvalidName { .. } => ErrorCode::InvalidTopic,
        TopicError::InvalidPartitions { .. } => ErrorCode::InvalidPartitions,
        TopicError::Log(_) | TopicError::Read(_) | TopicError::BadRecord { .. } => {
            tracing::error!("topic catalog: {error}");
            ErrorCode::KafkaStorageError
        }
    }
}
