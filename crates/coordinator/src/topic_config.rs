//! What a topic's configs mean.

mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use highwater_log::{Compression, PartitionOptions};

pub use keys::{ConfigKey, ConfigKind, TOPIC_CONFIGS};

/// A topic's configs, understood. [`TopicConfig::default`] is a topic without any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// How the log keeps each partition.
    pub partition: PartitionOptions,
    /// The largest batch taken, bytes.
    pub message_bytes_max: usize,
    /// Whose timestamps records have.
    pub timestamp_type: TimestampType,
    /// How far timestamps may lie behind the clock, ms.
    pub timestamp_before_max_ms: i64,
    /// How far timestamps may lie ahead of the clock, ms.
    pub timestamp_after_max_ms: i64,
    /// The codec batches are kept in; `None` as they came.
    pub compression: Option<Compression>,
}

/// Whose timestamps records have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// Their producer's.
    CreateTime,
    /// The time of their append, one for each batch.
    LogAppendTime,
}

/// A config was refused: its user must act. The messages begin as Kafka's, which scripts look for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No topic config has this name.
    #[error("Unknown topic config name: {0}")]
    Unknown(String),
    /// The value has the wrong type or lies outside of the range.
    #[error("Invalid value {value} for configuration {name}: expected {expected}")]
    Value {
        /// The config.
        name: String,
        /// What was given.
        value: String,
        /// What was expected.
        expected: String,
    },
    /// Two configs contradict each other.
    #[error("min.compaction.lag.ms is {min}, expected at most max.compaction.lag.ms, which is {max}")]
    CompactionLags {
        /// The lower bound, ms.
        min: i64,
        /// The upper bound, ms.
        max: i64,
    },
}

impl Default for TopicConfig {
    fn default() -> Self {
        Given(&BTreeMap::new()).understood()
    }
}

impl TopicConfig {
    /// Understands configs by Kafka's names; those not given have Kafka's defaults.
    ///
    /// # Errors
    /// If a name is unknown, a value is wrong, or two contradict each other.
    pub fn parse(configs: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        for (name, value) in configs {
            ConfigKey::find(name).ok_or_else(|| ConfigError::Unknown(name.clone()))?.check(value)?;
        }
        let config = Given(configs).understood();
        let (min, max) = (config.partition.min_compaction_lag_ms, config.partition.max_compaction_lag_ms);
        if min > max { Err(ConfigError::CompactionLags { min, max }) } else { Ok(config) }
    }

    /// As [`TopicConfig::parse`], but what is not understood is left at its default: for topics
    /// made by a program that took any config.
    pub(crate) fn parse_stored(topic: &str, configs: &BTreeMap<String, String>) -> Self {
        for (name, value) in configs {
            let key = ConfigKey::find(name).ok_or_else(|| ConfigError::Unknown(name.clone()));
            if let Err(error) = key.and_then(|key| key.check(value)) {
                tracing::warn!(topic, "a stored topic config has no effect: {error}");
            }
        }
        Given(configs).understood()
    }
}

/// Configs as given. A value that [`ConfigKey::check`] refuses counts as not given.
struct Given<'a>(&'a BTreeMap<String, String>);

impl Given<'_> {
    fn text(&self, name: &str) -> &str {
        let key = ConfigKey::find(name).expect("asked for by a name of the table");
        match self.0.get(name) {
            Some(value) if key.check(value).is_ok() => value.trim(),
            _ => key.default,
        }
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).parse().expect("the table's numbers are numbers")
    }

    fn understood(&self) -> TopicConfig {
        TopicConfig {
            partition: self.partition(),
            message_bytes_max: usize::try_from(self.number("max.message.bytes")).unwrap_or(0),
            timestamp_type: match self.text("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: self.number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: self.number("message.timestamp.after.max.ms"),
            compression: match self.text("compression.type") {
                "uncompressed" => Some(Compression::None),
                "gzip" => Some(Compression::Gzip),
                "snappy" => Some(Compression::Snappy),
                "lz4" => Some(Compression::Lz4),
                "zstd" => Some(Compression::Zstd),
                _ => None,
            },
        }
    }

    fn partition(&self) -> PartitionOptions {
        let policy = |word| keys::list(self.text("cleanup.policy")).any(|given| given == word);
        let segment_bytes = match self.0.contains_key(keys::INTERNAL_SEGMENT_BYTES) {
            true => self.number(keys::INTERNAL_SEGMENT_BYTES),
            false => self.number("segment.bytes"),
        };
        PartitionOptions {
            segment_bytes_max: segment_bytes.unsigned_abs(),
            segment_ms: self.number("segment.ms"),
            delete: policy("delete"),
            retention_ms: Some(self.number("retention.ms")).filter(|ms| *ms >= 0),
            retention_bytes: u64::try_from(self.number("retention.bytes")).ok(),
            compact: policy("compact"),
            min_compaction_lag_ms: self.number("min.compaction.lag.ms"),
            max_compaction_lag_ms: self.number("max.compaction.lag.ms"),
            delete_retention_ms: self.number("delete.retention.ms"),
            min_dirty_per_mille: self.per_mille("min.cleanable.dirty.ratio"),
        }
    }

    /// A ratio in thousandths, rounded down.
    fn per_mille(&self, name: &str) -> u64 {
        let ratio: f64 = self.text(name).parse().expect("the table's ratios are numbers");
        (0..=1000_u32)
            .take_while(|thousandths| f64::from(*thousandths) / 1000.0 <= ratio)
            .last()
            .unwrap_or(0)
            .into()
    }
}
