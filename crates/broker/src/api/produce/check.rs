//! What a topic's configs demand of a batch before it is appended.
//!
//! Records are decoded only where a config cannot be kept otherwise: on a compacted topic, which needs
//! keys, and where `compression.type` names another codec than the batch's.

use bytes::Bytes;
use highwater_coordinator::{TimestampType, Topic, TopicConfig};
use highwater_env::TopicPartition;
use highwater_log::{Compression, LogBatch};

use crate::broker::Broker;
use crate::errors::{ErrorCode, Refused, batch_error};

/// Records of one batch inflate to no more than this, where they must be looked at.
const INFLATED_BYTES_MAX: usize = 64 << 20;
/// Records named in one answer as refused; the rest of the batch is refused with them.
const RECORD_ERRORS_MAX: usize = 1000;
/// The first version whose clients may send zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;
/// A batch whose records have no timestamp.
const NO_TIMESTAMP: i64 = -1;

/// A batch that may be appended.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) tp: TopicPartition,
    pub(super) batch: LogBatch,
    /// The timestamp it got, ms since the Unix epoch, on a topic with LogAppendTime.
    pub(super) append_time_ms: Option<i64>,
}

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

fn bad<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, BadBatch> {
    Err(Refused::new(code, message).into())
}

/// Parses a partition's records, as a request of `version` carries them, and makes of them what the
/// topic's configs ask for.
pub(super) fn check(
    broker: &Broker,
    topic: &Topic,
    (index, records): (i32, Option<Bytes>),
    version: i16,
) -> Result<Checked, BadBatch> {
    if !(0..topic.partitions).contains(&index) {
        let why = format!("partition {index}, expected 0..{}", topic.partitions);
        return bad(ErrorCode::UnknownTopicOrPartition, why);
    }
    let Some(records) = records else { return bad(ErrorCode::InvalidRecord, "records are null") };
    let bytes_max = topic.config.message_bytes_max.unwrap_or(broker.options.message_bytes_max);
    check_size(records.len(), bytes_max)?;
    let batch =
        LogBatch::parse(records).map_err(|error| Refused::new(batch_error(&error), error.to_string()))?;
    if batch.is_control() {
        return bad(ErrorCode::InvalidRecord, "clients may not write control batches");
    }
    if batch.compression() == Compression::Zstd && version < ZSTD_SINCE {
        return bad(ErrorCode::UnsupportedCompressionType, "zstd needs version 7 of Produce");
    }
    let now_ms = broker.clock.unix_ms();
    check_timestamps(&topic.config, &batch, now_ms)?;
    if topic.config.partition.compact {
        check_keys(&batch)?;
    }
    let kept = topic.config.kept(batch, now_ms);
    let (batch, append_time_ms) =
        kept.map_err(|error| Refused::new(batch_error(&error), error.to_string()))?;
    check_size(batch.bytes().len(), bytes_max)?;
    Ok(Checked { tp: topic.partition(index), batch, append_time_ms })
}

fn check_size(bytes: usize, bytes_max: usize) -> Result<(), BadBatch> {
    if bytes <= bytes_max {
        return Ok(());
    }
    bad(ErrorCode::MessageTooLarge, format!("batch of {bytes} bytes, expected at most {bytes_max}"))
}

/// Looks at what the batch declares, not at its records: its first timestamp and its largest.
fn check_timestamps(config: &TopicConfig, batch: &LogBatch, now_ms: i64) -> Result<(), BadBatch> {
    if batch.is_log_append_time() {
        return bad(ErrorCode::InvalidTimestamp, "a producer may not claim the time of the append");
    }
    if config.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    let earliest = now_ms.saturating_sub(config.timestamp_before_max_ms);
    let latest = now_ms.saturating_add(config.timestamp_after_max_ms);
    for at in [batch.base_timestamp(), batch.max_timestamp()] {
        if at != NO_TIMESTAMP && !(earliest..=latest).contains(&at) {
            return bad(
                ErrorCode::InvalidTimestamp,
                format!("timestamp {at}, expected {earliest}..={latest}"),
            );
        }
    }
    Ok(())
}

/// Compaction keeps the last record of each key: a record without one would be lost.
fn check_keys(batch: &LogBatch) -> Result<(), BadBatch> {
    let records = batch.records(INFLATED_BYTES_MAX);
    let records = records.map_err(|error| Refused::new(batch_error(&error), error.to_string()))?;
    let keyless = (0..).zip(&records).filter(|(_, record)| record.key.is_none()).map(|(index, _)| index);
    let records: Vec<i32> = keyless.take(RECORD_ERRORS_MAX).collect();
    if records.is_empty() {
        return Ok(());
    }
    let message = "a compacted topic takes no records without a key";
    Err(BadBatch { refused: Refused::new(ErrorCode::InvalidRecord, message), records })
}
