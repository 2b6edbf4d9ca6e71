//! Kafka's error codes, and which of them tells a client what to do about our errors.

use highwater_coordinator::{GroupRefusal, TopicError, TransactionError, Unfit};
use highwater_log::{AppendError, BatchError, ReadError};

/// The codes of the APIs that are served, or are to be (kafka.apache.org/protocol#protocol_error_codes).
#[allow(dead_code, reason = "the whole vocabulary, so that APIs can be added side by side")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum ErrorCode {
    UnknownServerError = -1,
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    NotLeaderOrFollower = 6,
    RequestTimedOut = 7,
    MessageTooLarge = 10,
    OffsetMetadataTooLarge = 12,
    CoordinatorLoadInProgress = 14,
    CoordinatorNotAvailable = 15,
    NotCoordinator = 16,
    InvalidTopic = 17,
    NotEnoughReplicas = 19,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    InvalidCommitOffsetSize = 28,
    InvalidTimestamp = 32,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidReplicaAssignment = 39,
    InvalidConfig = 40,
    InvalidRequest = 42,
    UnsupportedForMessageFormat = 43,
    PolicyViolation = 44,
    OutOfOrderSequenceNumber = 45,
    DuplicateSequenceNumber = 46,
    InvalidProducerEpoch = 47,
    InvalidTxnState = 48,
    InvalidProducerIdMapping = 49,
    InvalidTransactionTimeout = 50,
    ConcurrentTransactions = 51,
    TransactionCoordinatorFenced = 52,
    TransactionalIdAuthorizationFailed = 53,
    SecurityDisabled = 54,
    OperationNotAttempted = 55,
    KafkaStorageError = 56,
    LogDirNotFound = 57,
    UnknownProducerId = 59,
    ReassignmentInProgress = 60,
    NonEmptyGroup = 68,
    GroupIdNotFound = 69,
    FetchSessionIdNotFound = 70,
    InvalidFetchSessionEpoch = 71,
    TopicDeletionDisabled = 73,
    FencedLeaderEpoch = 74,
    UnknownLeaderEpoch = 75,
    UnsupportedCompressionType = 76,
    OffsetNotAvailable = 78,
    MemberIdRequired = 79,
    GroupMaxSizeReached = 81,
    FencedInstanceId = 82,
    EligibleLeadersNotAvailable = 83,
    ElectionNotNeeded = 84,
    NoReassignmentInProgress = 85,
    GroupSubscribedToTopic = 86,
    InvalidRecord = 87,
    UnstableOffsetCommit = 88,
    ThrottlingQuotaExceeded = 89,
    ProducerFenced = 90,
    ResourceNotFound = 91,
    DuplicateResource = 92,
    InvalidUpdateVersion = 95,
    FeatureUpdateFailed = 96,
    UnknownTopicId = 100,
    InconsistentTopicId = 103,
    TransactionalIdNotFound = 105,
    FencedMemberEpoch = 110,
    UnreleasedInstanceId = 111,
    UnsupportedAssignor = 112,
    StaleMemberEpoch = 113,
    MismatchedEndpointType = 114,
    UnsupportedEndpointType = 115,
    TransactionAbortable = 120,
    InvalidRegularExpression = 128,
}

impl ErrorCode {
    /// The number on the wire.
    pub(crate) fn code(self) -> i16 {
        self as i16
    }
}

/// Why a part of a request is refused: what the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

/// Longest message, in bytes. Messages quote what a client sent, and strings of answers have a 16-bit
/// length.
const MESSAGE_BYTES_MAX: usize = 1024;

impl Refused {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        Self { code, message }
    }
}

impl From<TopicError> for Refused {
    fn from(error: TopicError) -> Self {
        Self::new(topic_error(&error), error.to_string())
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

/// The code for what a group refused.
pub(crate) fn group_refusal(refusal: GroupRefusal) -> ErrorCode {
    match refusal {
        GroupRefusal::InvalidGroupId => ErrorCode::InvalidGroupId,
        GroupRefusal::UnknownGroup => ErrorCode::GroupIdNotFound,
        GroupRefusal::UnknownMember => ErrorCode::UnknownMemberId,
        GroupRefusal::MemberIdRequired => ErrorCode::MemberIdRequired,
        GroupRefusal::FencedInstance => ErrorCode::FencedInstanceId,
        GroupRefusal::IllegalGeneration => ErrorCode::IllegalGeneration,
        GroupRefusal::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        GroupRefusal::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
        GroupRefusal::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        GroupRefusal::Full => ErrorCode::GroupMaxSizeReached,
        GroupRefusal::NonEmpty => ErrorCode::NonEmptyGroup,
        GroupRefusal::Subscribed => ErrorCode::GroupSubscribedToTopic,
        GroupRefusal::MetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
        GroupRefusal::OffsetsTooLarge => ErrorCode::InvalidCommitOffsetSize,
        GroupRefusal::AssignmentTooLarge => ErrorCode::UnknownServerError,
        GroupRefusal::Unstable => ErrorCode::UnstableOffsetCommit,
        GroupRefusal::Unavailable => ErrorCode::CoordinatorNotAvailable,
    }
}

/// The code for what became of a request to a group.
pub(crate) fn group_outcome<T>(outcome: &Result<T, GroupRefusal>) -> ErrorCode {
    outcome.as_ref().map_or_else(|refusal| group_refusal(*refusal), |_| ErrorCode::None)
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

/// The code for a batch that its topic does not take.
pub(crate) fn unfit_error(unfit: &Unfit) -> ErrorCode {
    match unfit {
        Unfit::Internal(_) => ErrorCode::InvalidTopic,
        Unfit::TooLarge { .. } => ErrorCode::MessageTooLarge,
        Unfit::ClaimsAppendTime | Unfit::Timestamp { .. } => ErrorCode::InvalidTimestamp,
        Unfit::KeyWanted { .. } => ErrorCode::InvalidRecord,
        Unfit::Batch(error) => batch_error(error),
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
        TopicError::InvalidPartitions { .. } | TopicError::NotMorePartitions { .. } => {
            ErrorCode::InvalidPartitions
        }
        TopicError::InvalidConfig(_) => ErrorCode::InvalidConfig,
        TopicError::Log(_) | TopicError::Read(_) | TopicError::BadRecord { .. } => {
            tracing::error!("topic catalog: {error}");
            ErrorCode::KafkaStorageError
        }
    }
}

/// The first version of most transactional requests whose clients know PRODUCER_FENCED (KIP-588).
pub(crate) const PRODUCER_FENCED_SINCE: i16 = 2;

/// The code for a change of a transaction that was refused or failed; `knows_fenced`: whether the
/// client knows PRODUCER_FENCED.
pub(crate) fn transaction_error(error: &TransactionError, knows_fenced: bool) -> ErrorCode {
    match error {
        TransactionError::InvalidRequest(_) => ErrorCode::InvalidRequest,
        TransactionError::InvalidTimeout { .. } => ErrorCode::InvalidTransactionTimeout,
        TransactionError::InvalidProducerIdMapping { .. } => ErrorCode::InvalidProducerIdMapping,
        TransactionError::Fenced { .. } if knows_fenced => ErrorCode::ProducerFenced,
        TransactionError::Fenced { .. } => ErrorCode::InvalidProducerEpoch,
        TransactionError::InvalidState(_) | TransactionError::NotAdded => ErrorCode::InvalidTxnState,
        TransactionError::Concurrent => ErrorCode::ConcurrentTransactions,
        TransactionError::Unknown(_) => ErrorCode::TransactionalIdNotFound,
        TransactionError::TooMany(_) => ErrorCode::CoordinatorNotAvailable,
        TransactionError::Append(error) => coordinator_error(error),
        TransactionError::Log(_)
        | TransactionError::Topic(_)
        | TransactionError::Read(_)
        | TransactionError::BadRecord { .. } => {
            tracing::error!("transaction: {error}");
            ErrorCode::NotCoordinator
        }
    }
}

/// The code for a coordinator's append that failed: its clients try again where Kafka's would.
fn coordinator_error(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Backpressure(_) | AppendError::DiskFull => ErrorCode::CoordinatorNotAvailable,
        AppendError::Poisoned(_) | AppendError::Closed => ErrorCode::NotCoordinator,
        other => append_error(other),
    }
}

/// The code for a batch of a transaction that was refused. What a producer of that version would not
/// try again is named so that it does.
pub(crate) fn produce_error(error: &TransactionError, version: i16) -> ErrorCode {
    const ABORTABLE_SINCE: i16 = 11;
    const CONCURRENT_SINCE: i16 = 12;
    match error {
        TransactionError::NotAdded if version >= ABORTABLE_SINCE => ErrorCode::TransactionAbortable,
        TransactionError::Concurrent if version < CONCURRENT_SINCE => ErrorCode::NotEnoughReplicas,
        TransactionError::Append(error) => append_error(error),
        other => transaction_error(other, false),
    }
}

/// The code for offsets of a transaction that were refused.
pub(crate) fn offset_commit_error(error: &TransactionError, version: i16) -> ErrorCode {
    const ABORTABLE_SINCE: i16 = 4;
    match error {
        TransactionError::NotAdded if version >= ABORTABLE_SINCE => ErrorCode::TransactionAbortable,
        other => transaction_error(other, false),
    }
}
