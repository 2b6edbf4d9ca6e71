//! Limits of one log.

use std::sync::Arc;
use std::time::Duration;

use highwater_env::{Entropy, OsEntropy};

use crate::LogError;

/// Limits of one log. All sizes in bytes.
#[derive(Clone)]
pub struct LogOptions {
    /// Largest batch accepted, whatever a topic's `max.message.bytes` says; at most 48 MiB. See
    /// [`LogOptions::with_batch_bytes_max`].
    pub batch_bytes_max: usize,
    /// A group stops growing at this size; the next one forms behind it.
    pub group_bytes_max: usize,
    /// Size of one write-ahead file, at least twice `group_bytes_max + batch_bytes_max`.
    pub wal_file_bytes: u64,
    /// New write-ahead files are zeroed ahead in steps of this size.
    pub wal_zero_bytes: u64,
    /// How many write-ahead files may exist; when all are in use, appends wait for a checkpoint.
    pub wal_files_max: usize,
    /// A partition rolls to a new segment at this size at the latest, whatever its own options say.
    pub segment_bytes_max: u64,
    /// Batches are written to segments once this many bytes wait.
    pub materialise_bytes: u64,
    /// Batches in memory, written to segments or not: beyond it appends get `Backpressure`.
    pub memory_bytes_max: u64,
    /// Batches already in segments are kept in memory for readers up to this size.
    pub tail_cache_bytes: u64,
    /// Memory for the keys of one compaction run; a partition with more is compacted in several.
    pub compaction_keys_bytes_max: usize,
    /// How often partitions are looked at for what retention deletes and compaction rewrites.
    pub tidy_interval: Duration,
    /// Cluster id for a new data directory; drawn from `entropy` if absent.
    pub cluster_id: Option<String>,
    /// Salts of write-ahead files and the cluster id of a new directory.
    pub entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogOptions").field("batch_bytes_max", &self.batch_bytes_max).finish_non_exhaustive()
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            batch_bytes_max: 24 << 20,
            group_bytes_max: 4 << 20,
            wal_file_bytes: 64 << 20,
            wal_zero_bytes: 4 << 20,
            wal_files_max: 4,
            segment_bytes_max: 1 << 30,
            materialise_bytes: 4 << 20,
            memory_bytes_max: 96 << 20,
            tail_cache_bytes: 16 << 20,
            compaction_keys_bytes_max: 64 << 20,
            tidy_interval: Duration::from_secs(5),
            cluster_id: None,
            entropy: Arc::new(OsEntropy::new()),
        }
    }
}

/// The largest `batch_bytes_max`: two such batches fit into the default memory.
const BATCH_BYTES_MAX: usize = 48 << 20;

impl LogOptions {
    /// Takes batches of up to `bytes`, and has write-ahead files of a size for them.
    #[must_use]
    pub fn with_batch_bytes_max(self, bytes: usize) -> Self {
        let wal_file_bytes = self.wal_file_bytes.max(2 * (self.group_bytes_max as u64 + bytes as u64));
        Self { batch_bytes_max: bytes, wal_file_bytes, ..self }
    }

    pub(crate) fn check(&self) -> Result<(), LogError> {
        if self.batch_bytes_max > BATCH_BYTES_MAX {
            let max = self.batch_bytes_max;
            return Err(LogError::Options(format!(
                "batch_bytes_max is {max}, expected at most {BATCH_BYTES_MAX}"
            )));
        }
        let group = self.group_bytes_max as u64 + self.batch_bytes_max as u64;
        if self.wal_file_bytes < 2 * group {
            let (file, least) = (self.wal_file_bytes, 2 * group);
            return Err(LogError::Options(format!("wal_file_bytes is {file}, expected at least {least}")));
        }
        if self.wal_files_max < 2 {
            return Err(LogError::Options(format!(
                "wal_files_max is {}, expected 2 or more",
                self.wal_files_max
            )));
        }
        if self.segment_bytes_max > 1 << 30 {
            let max = self.segment_bytes_max;
            return Err(LogError::Options(format!("segment_bytes_max is {max}, expected at most 1 GiB")));
        }
        Ok(())
    }
}

/// How one partition keeps its records: what a topic's settings mean to the log. Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOptions {
    /// A new segment begins at this size (`segment.bytes`).
    pub segment_bytes_max: u64,
    /// A new segment begins once a record is so much younger than the segment's first, ms
    /// (`segment.ms`).
    pub segment_ms: i64,
    /// Whether whole segments are deleted by age and size (`cleanup.policy=delete`).
    pub delete: bool,
    /// With `delete`: a segment goes once its youngest record is so old, ms (`retention.ms`).
    pub retention_ms: Option<i64>,
    /// With `delete`: the oldest segments go while the rest is at least so large
    /// (`retention.bytes`).
    pub retention_bytes: Option<u64>,
    /// Whether only the last record of each key is kept (`cleanup.policy=compact`).
    pub compact: bool,
    /// With `compact`: records younger than this stay as they are, ms (`min.compaction.lag.ms`).
    pub min_compaction_lag_ms: i64,
    /// With `compact`: records older than this are compacted whatever the dirty ratio, and the
    /// segment that is written to ends once it holds one, ms (`max.compaction.lag.ms`).
    pub max_compaction_lag_ms: i64,
    /// With `compact`: a tombstone goes so long after compaction first met it, ms
    /// (`delete.retention.ms`).
    pub delete_retention_ms: i64,
    /// With `compact`: compaction starts once this part of the bytes is new, in thousandths
    /// (`min.cleanable.dirty.ratio`).
    pub min_dirty_per_mille: u64,
}

impl Default for PartitionOptions {
    /// Kafka's defaults, but nothing is deleted.
    fn default() -> Self {
        Self {
            segment_bytes_max: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            delete: false,
            retention_ms: None,
            retention_bytes: None,
            compact: false,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 24 * 3_600_000,
            min_dirty_per_mille: 500,
        }
    }
}

impl PartitionOptions {
    /// Within the limits of the log.
    pub(crate) fn checked(mut self, log: &LogOptions) -> Self {
        self.segment_bytes_max = self.segment_bytes_max.min(log.segment_bytes_max);
        if self.compact {
            // As in Kafka: what must be compacted by then may not be written to any more.
            self.segment_ms = self.segment_ms.min(self.max_compaction_lag_ms);
        }
        self
    }
}
