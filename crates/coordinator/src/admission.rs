//! What a topic demands of a batch before it is appended, whichever way it comes: by Kafka's protocol,
//! over HTTP, from a pipeline.
//!
//! Records are decoded only where a config cannot be kept otherwise: on a compacted topic, which needs
//! keys, and where `compression.type` names another codec than the batch's.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use highwater_log::{BatchError, LogBatch};

use crate::topic_config::TimestampType;
use crate::{Topic, TopicConfig};

/// Records of one batch inflate to no more than this, where they must be looked at or compressed anew.
const INFLATED_BYTES_MAX: usize = 64 << 20;
/// Records named as refused; the rest of the batch is refused with them.
const RECORDS_NAMED_MAX: usize = 1000;
/// A batch whose records have no timestamp.
const NO_TIMESTAMP: i64 = -1;

/// Bytes an encoded record takes at most besides its key, value and headers; a header takes
/// [`HEADER_BYTES_EXTRA`] besides its name and value.
pub const RECORD_BYTES_EXTRA: usize = 36;
/// See [`RECORD_BYTES_EXTRA`].
pub const HEADER_BYTES_EXTRA: usize = 10;

/// A batch that its topic takes, as the topic keeps it.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The batch to append.
    pub batch: LogBatch,
    /// The timestamp its records got, ms since the Unix epoch, on a topic with LogAppendTime.
    pub append_time_ms: Option<i64>,
}

/// Why a topic does not take a batch: its sender must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Only the node itself writes there.
    #[error("topic {0} is internal")]
    Internal(Arc<str>),
    /// It is larger than `max.message.bytes`, as it came or as it would be kept.
    #[error("batch of {bytes} bytes, topic {topic} takes at most {bytes_max} (max.message.bytes)")]
    TooLarge {
        /// The topic.
        topic: Arc<str>,
        /// The batch's bytes.
        bytes: usize,
        /// The topic's limit.
        bytes_max: usize,
    },
    /// It says that its timestamps are the log's.
    #[error("a producer may not claim the time of the append")]
    ClaimsAppendTime,
    /// A timestamp is too far from the clock.
    #[error("timestamp {at}, expected {earliest}..={latest}")]
    Timestamp {
        /// The timestamp, ms since the Unix epoch; so are the others.
        at: i64,
        /// The earliest that is taken.
        earliest: i64,
        /// The latest that is taken.
        latest: i64,
    },
    /// Compaction keeps the last record of each key: one without a key would be lost.
    #[error("a compacted topic takes no records without a key")]
    KeyWanted {
        /// The records at fault, by their index in the batch; the first 1000.
        records: Vec<i32>,
    },
    /// Its records cannot be decoded, or not be compressed as the topic asks.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl Topic {
    /// Whether the topic takes `batch`, and as what. `now_ms`: since the Unix epoch.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn admit(&self, batch: LogBatch, now_ms: i64) -> Result<Admitted, Unfit> {
        if self.internal {
            return Err(Unfit::Internal(Arc::clone(&self.name)));
        }
        self.check_size(&batch)?;
        check_timestamps(&self.config, &batch, now_ms)?;
        if self.config.partition.compact {
            check_keys(&batch)?;
        }
        let batch = match self.config.compression {
            Some(codec) => batch.recompressed(codec, INFLATED_BYTES_MAX)?,
            None => batch,
        };
        self.check_size(&batch)?;
        let (batch, append_time_ms) = self.config.stamped(batch, now_ms);
        Ok(Admitted { batch, append_time_ms })
    }

    fn check_size(&self, batch: &LogBatch) -> Result<(), Unfit> {
        let (bytes, bytes_max) = (batch.bytes().len(), self.config.message_bytes_max);
        if bytes <= bytes_max {
            return Ok(());
        }
        Err(Unfit::TooLarge { topic: Arc::clone(&self.name), bytes, bytes_max })
    }

    /// To how many bytes a batch of several records may grow that is made for this topic: a sixteenth
    /// below its limit, for a codec may make it larger.
    pub fn batch_bytes_target(&self) -> usize {
        self.config.message_bytes_max - self.config.message_bytes_max / 16
    }
}

impl TopicConfig {
    /// Whether [`Topic::admit`] decodes records, which takes much longer than anything else it does.
    pub fn decodes(&self) -> bool {
        self.partition.compact || self.compression.is_some()
    }

    /// The batch with `now_ms` (since the Unix epoch) as its records' timestamp, if the topic's are the
    /// append's; then it is returned, too.
    pub fn stamped(&self, batch: LogBatch, now_ms: i64) -> (LogBatch, Option<i64>) {
        match self.timestamp_type {
            TimestampType::CreateTime => (batch, None),
            TimestampType::LogAppendTime => (batch.with_append_time(now_ms), Some(now_ms)),
        }
    }
}

/// Looks at what the batch declares, not at its records: its first timestamp and its largest.
fn check_timestamps(config: &TopicConfig, batch: &LogBatch, now_ms: i64) -> Result<(), Unfit> {
    if batch.is_log_append_time() {
        return Err(Unfit::ClaimsAppendTime);
    }
    if config.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    let earliest = now_ms.saturating_sub(config.timestamp_before_max_ms);
    let latest = now_ms.saturating_add(config.timestamp_after_max_ms);
    for at in [batch.base_timestamp(), batch.max_timestamp()] {
        if at != NO_TIMESTAMP && !(earliest..=latest).contains(&at) {
            return Err(Unfit::Timestamp { at, earliest, latest });
        }
    }
    Ok(())
}

fn check_keys(batch: &LogBatch) -> Result<(), Unfit> {
    let records = batch.records(INFLATED_BYTES_MAX)?;
    let keyless = (0..).zip(&records).filter(|(_, record)| record.key.is_none()).map(|(index, _)| index);
    let records: Vec<i32> = keyless.take(RECORDS_NAMED_MAX).collect();
    if records.is_empty() { Ok(()) } else { Err(Unfit::KeyWanted { records }) }
}
