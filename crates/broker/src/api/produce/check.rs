//! What of a batch is checked before it is appended: what the protocol demands here, what the topic
//! demands in [`Topic::admit`].

use bytes::Bytes;
use highwater_coordinator::{Admitted, Topic, Unfit};
use highwater_log::{BatchError, Compression, LogBatch};

use crate::broker::Broker;
use crate::errors::{ErrorCode, Refused, batch_error, unfit_error};

/// The first version whose clients may send zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;

/// Why a batch may not be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadBatch {
    pub(super) refused: Refused,
    /// The records at fault, by their index in the batch.
    pub(super) records: Vec<i32>,
}

impl From<Refused> for BadBatch {
    fn from(refused: Refused) -> Self {
        Self { refused, records: Vec::new() }
    }
}

impl From<BatchError> for BadBatch {
    fn from(error: BatchError) -> Self {
        Refused::new(batch_error(&error), error.to_string()).into()
    }
}

impl From<Unfit> for BadBatch {
    fn from(unfit: Unfit) -> Self {
        let refused = Refused::new(unfit_error(&unfit), unfit.to_string());
        match unfit {
            Unfit::KeyWanted { records } => Self { refused, records },
            _ => refused.into(),
        }
    }
}

/// Parses a partition's records, as a request of `version` carries them, and makes of them what the
/// topic keeps.
pub(super) fn check(
    broker: &Broker,
    topic: &Topic,
    (index, records): (i32, Option<Bytes>),
    version: i16,
) -> Result<Admitted, BadBatch> {
    let bad = |code, message: &str| Err(Refused::new(code, message).into());
    if !(0..topic.partitions).contains(&index) {
        let why = format!("partition {index}, expected 0..{}", topic.partitions);
        return bad(ErrorCode::UnknownTopicOrPartition, &why);
    }
    let Some(records) = records else { return bad(ErrorCode::InvalidRecord, "records are null") };
    let batch = LogBatch::parse(records)?;
    if batch.is_control() {
        return bad(ErrorCode::InvalidRecord, "clients may not write control batches");
    }
    if batch.compression() == Compression::Zstd && version < ZSTD_SINCE {
        return bad(ErrorCode::UnsupportedCompressionType, "zstd needs version 7 of Produce");
    }
    Ok(topic.admit(batch, broker.clock.unix_ms())?)
}
