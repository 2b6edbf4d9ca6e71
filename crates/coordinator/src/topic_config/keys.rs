//! Every topic config of Apache Kafka 4: name, type, range, default, and what it does here.

use super::ConfigError;

/// One topic config.
#[derive(Debug)]
pub struct ConfigKey {
    /// Kafka's name of it, in topics.
    pub name: &'static str,
    /// Its type and range.
    pub kind: ConfigKind,
    /// Kafka's default, which is ours.
    pub default: &'static str,
    /// Kafka's name of the broker config that a topic inherits, if there is one.
    pub broker_name: Option<&'static str>,
    /// What it does here, in a sentence.
    pub documentation: &'static str,
}

/// Type and range of a config. Ranges are inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ConfigKind {
    /// `true` or `false`.
    Boolean,
    /// A boolean that must be `false`: for what is not there.
    False,
    /// 32 bits.
    Int {
        /// The least.
        min: i32,
        /// The most.
        max: i32,
    },
    /// 64 bits.
    Long {
        /// The least.
        min: i64,
    },
    /// A fraction.
    Ratio,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any of these words, separated by commas; each word once.
    Words(&'static [&'static str]),
    /// Any words, separated by commas.
    List,
}

/// What may still be set by Kafka's own tests and is never shown.
pub(super) const INTERNAL_SEGMENT_BYTES: &str = "internal.segment.bytes";

const ANY_INT: i32 = i32::MAX;
const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const LONG_MAX: &str = "9223372036854775807";
const WEEK_MS: &str = "604800000";

const fn key(name: &'static str, kind: ConfigKind, default: &'static str) -> ConfigKey {
    ConfigKey { name, kind, default, broker_name: None, documentation: "" }
}

impl ConfigKey {
    const fn broker(self, broker_name: &'static str) -> Self {
        Self { broker_name: Some(broker_name), ..self }
    }

    const fn says(self, documentation: &'static str) -> Self {
        Self { documentation, ..self }
    }

    /// The config of that name, hidden ones included.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        TOPIC_CONFIGS.iter().chain([&INTERNAL]).find(|key| key.name == name)
    }

    /// Whether `value` has the right type and lies in the range.
    ///
    /// # Errors
    /// If not, with what was expected.
    pub fn check(&self, value: &str) -> Result<(), ConfigError> {
        if self.kind.holds(value.trim()) {
            return Ok(());
        }
        let expected = self.kind.expected();
        Err(ConfigError::Value { name: self.name.to_owned(), value: value.to_owned(), expected })
    }
}

impl ConfigKind {
    fn holds(self, value: &str) -> bool {
        match self {
            Self::Boolean => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            Self::False => value.eq_ignore_ascii_case("false"),
            Self::Int { min, max } => value.parse().is_ok_and(|value: i32| (min..=max).contains(&value)),
            Self::Long { min } => value.parse().is_ok_and(|value: i64| value >= min),
            Self::Ratio => value.parse().is_ok_and(|value: f64| (0.0..=1.0).contains(&value)),
            Self::Word(words) => words.contains(&value),
            Self::Words(words) => {
                let given: Vec<&str> = list(value).collect();
                let once = |word: &&str| given.iter().filter(|other| other == &word).count() == 1;
                given.iter().all(|word| words.contains(word) && once(word))
            }
            Self::List => true,
        }
    }

    pub(super) fn expected(self) -> String {
        match self {
            Self::Boolean => "true or false".to_owned(),
            Self::False => "false".to_owned(),
            Self::Int { min, max: ANY_INT } => format!("a 32-bit number of at least {min}"),
            Self::Int { min, max } => format!("a number in {min}..={max}"),
            Self::Long { min: i64::MIN } => "a 64-bit number".to_owned(),
            Self::Long { min } => format!("a 64-bit number of at least {min}"),
            Self::Ratio => "a number in 0..=1".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Words(words) => format!("{}, or both, each once", words.join(" or ")),
            Self::List => "words separated by commas".to_owned(),
        }
    }
}

/// The words of a list, trimmed; none in an empty text.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

static INTERNAL: ConfigKey =
    key(INTERNAL_SEGMENT_BYTES, ConfigKind::Int { min: 1, max: ANY_INT }, "1073741824");

/// All of them, by name. Those "without effect" are taken, kept and shown so that tools and
/// scripts made for a Kafka cluster work.
#[rustfmt::skip]
pub static TOPIC_CONFIGS: [ConfigKey; 35] = [
    key("cleanup.policy", ConfigKind::Words(&["compact", "delete"]), "delete").broker("log.cleanup.policy")
        .says("What becomes of old segments: delete removes them by age and size, compact keeps the last record of each key. Both may be given."),
    key("compression.gzip.level", ConfigKind::Int { min: -1, max: 9 }, "-1").broker("compression.gzip.level")
        .says("Without effect: gzip is written at its default level."),
    key("compression.lz4.level", ConfigKind::Int { min: 1, max: 17 }, "9").broker("compression.lz4.level")
        .says("Without effect: lz4 is written at its default level."),
    key("compression.type", ConfigKind::Word(CODECS), "producer").broker("compression.type")
        .says("The codec batches are kept in. producer keeps them as they came; a batch in any other codec than this is encoded again."),
    key("compression.zstd.level", ConfigKind::Int { min: -131_072, max: 22 }, "3").broker("compression.zstd.level")
        .says("Without effect: zstd is written at its default level."),
    key("delete.retention.ms", ConfigKind::Long { min: 0 }, "86400000").broker("log.cleaner.delete.retention.ms")
        .says("How long a compacted topic keeps tombstones once they are compacted, ms."),
    key("file.delete.delay.ms", ConfigKind::Long { min: 0 }, "60000").broker("log.segment.delete.delay.ms")
        .says("Without effect: segments are removed once nobody reads them."),
    key("flush.messages", ConfigKind::Long { min: 1 }, LONG_MAX).broker("log.flush.interval.messages")
        .says("Without effect: every acknowledged record is already synced."),
    key("flush.ms", ConfigKind::Long { min: 0 }, LONG_MAX).broker("log.flush.interval.ms")
        .says("Without effect: every acknowledged record is already synced."),
    key("follower.replication.throttled.replicas", ConfigKind::List, "")
        .says("Without effect: there is one node."),
    key("index.interval.bytes", ConfigKind::Int { min: 0, max: ANY_INT }, "4096").broker("log.index.interval.bytes")
        .says("Without effect: the index interval is fixed."),
    key("leader.replication.throttled.replicas", ConfigKind::List, "")
        .says("Without effect: there is one node."),
    key("local.retention.bytes", ConfigKind::Long { min: -2 }, "-2").broker("log.local.retention.bytes")
        .says("Without effect: nothing is tiered."),
    key("local.retention.ms", ConfigKind::Long { min: -2 }, "-2").broker("log.local.retention.ms")
        .says("Without effect: nothing is tiered."),
    key("max.compaction.lag.ms", ConfigKind::Long { min: 1 }, LONG_MAX).broker("log.cleaner.max.compaction.lag.ms")
        .says("The longest a record of a compacted topic may stay out of compaction, ms."),
    key("max.message.bytes", ConfigKind::Int { min: 0, max: ANY_INT }, "1048588").broker("message.max.bytes")
        .says("The largest record batch taken, bytes; never above the node's `[log] batch_bytes_max`."),
    key("message.timestamp.after.max.ms", ConfigKind::Long { min: 0 }, "3600000").broker("log.message.timestamp.after.max.ms")
        .says("How far a record's timestamp may lie ahead of the node's clock, ms. Judged by a batch's largest timestamp."),
    key("message.timestamp.before.max.ms", ConfigKind::Long { min: 0 }, LONG_MAX).broker("log.message.timestamp.before.max.ms")
        .says("How far a record's timestamp may lie behind the node's clock, ms. Judged by a batch's first timestamp."),
    key("message.timestamp.type", ConfigKind::Word(&["CreateTime", "LogAppendTime"]), "CreateTime").broker("log.message.timestamp.type")
        .says("Whether records keep their producer's timestamp or get the time of their append."),
    key("min.cleanable.dirty.ratio", ConfigKind::Ratio, "0.5").broker("log.cleaner.min.cleanable.ratio")
        .says("The part of a compacted topic's bytes that must be uncompacted before compaction runs."),
    key("min.compaction.lag.ms", ConfigKind::Long { min: 0 }, "0").broker("log.cleaner.min.compaction.lag.ms")
        .says("How long a record of a compacted topic stays out of compaction at least, ms."),
    key("min.insync.replicas", ConfigKind::Int { min: 1, max: ANY_INT }, "1").broker("min.insync.replicas")
        .says("Without effect: there is one node, and it acknowledges nothing that is not synced."),
    key("preallocate", ConfigKind::Boolean, "false").broker("log.preallocate")
        .says("Without effect: the write-ahead log is always preallocated."),
    key("remote.copy.lag.bytes", ConfigKind::Long { min: -1 }, "0").says("Without effect: nothing is tiered."),
    key("remote.copy.lag.ms", ConfigKind::Long { min: -1 }, "0").says("Without effect: nothing is tiered."),
    key("remote.log.copy.disable", ConfigKind::Boolean, "false").says("Without effect: nothing is tiered."),
    key("remote.log.delete.on.disable", ConfigKind::Boolean, "false").says("Without effect: nothing is tiered."),
    key("remote.storage.enable", ConfigKind::False, "false").says("Only false: nothing is tiered."),
    key("retention.bytes", ConfigKind::Long { min: i64::MIN }, "-1").broker("log.retention.bytes")
        .says("The oldest segments of a partition larger than this are removed, bytes; negative for no limit."),
    key("retention.ms", ConfigKind::Long { min: -1 }, WEEK_MS).broker("log.retention.ms")
        .says("Segments whose newest record is older than this are removed, ms; -1 keeps them for ever."),
    key("segment.bytes", ConfigKind::Int { min: 1 << 20, max: ANY_INT }, "1073741824").broker("log.segment.bytes")
        .says("A new segment is begun at this size, bytes."),
    key("segment.index.bytes", ConfigKind::Int { min: 4, max: ANY_INT }, "10485760").broker("log.index.size.max.bytes")
        .says("Without effect: indexes are as large as their segments need."),
    key("segment.jitter.ms", ConfigKind::Long { min: 0 }, "0").broker("log.roll.jitter.ms")
        .says("Without effect: segments do not roll all at once."),
    key("segment.ms", ConfigKind::Long { min: 1 }, WEEK_MS).broker("log.roll.ms")
        .says("A new segment is begun at this age, ms, so that retention and compaction can act on the old one."),
    key("unclean.leader.election.enable", ConfigKind::Boolean, "false").broker("unclean.leader.election.enable")
        .says("Without effect: there is one node."),
];
