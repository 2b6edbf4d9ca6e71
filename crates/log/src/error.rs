//! What can go wrong, by who must act.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_env::{Offset, TopicPartition};

use crate::{BatchError, Bounds};

/// A data directory could not be opened, or the log as a whole failed. One clear line each.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process holds the directory.
    #[error("data directory {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The directory was written by a newer Highwater.
    #[error("{} has format version {found}, this program reads up to {newest}: use a newer highwater", .path.display())]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version this program reads.
        newest: u32,
    },
    /// The file or directory is not Highwater's.
    #[error("{} is not a highwater data directory: {what}", .path.display())]
    NotOurs {
        /// The file or directory.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Bytes that were durable are damaged or missing. Nothing was cut: restore the file from a
    /// copy, or move the directory away.
    #[error("{} is corrupt at byte {pos}: {what}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the damage was seen, bytes from its start.
        pos: u64,
        /// What was seen and expected.
        what: String,
    },
    /// An option has a value that cannot work.
    #[error("log option {0}")]
    Options(String),
    /// The operating system refused a call.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// No such partition.
    #[error("unknown partition {0}")]
    UnknownPartition(TopicPartition),
    /// A change was refused or failed.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the disk was full: retriable, everything written before is unharmed.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_disk_full(source),
            Self::Append(AppendError::DiskFull) => true,
            _ => false,
        }
    }
}

pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An append was refused, or was not made durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No such partition.
    #[error("unknown partition {0}")]
    UnknownPartition(TopicPartition),
    /// Too many bytes wait for the disk. Retry later.
    #[error("log memory is full: {0}")]
    Backpressure(String),
    /// The disk is full. Retry later; reads go on.
    #[error("disk full")]
    DiskFull,
    /// A sync failed: nothing after it can be believed. Restart and recover from disk; whether
    /// the batch survived is unknown.
    #[error("log stopped after a failed write: {0}")]
    Poisoned(Arc<str>),
    /// The log was closed.
    #[error("log is closed")]
    Closed,
    /// A sequence is missing before this batch.
    #[error("producer {producer_id} sent sequence {got}, expected {expected}")]
    OutOfOrderSequence {
        /// The idempotent producer.
        producer_id: i64,
        /// Sequence of the batch's first record.
        got: i32,
        /// Sequence that was due.
        expected: i32,
    },
    /// The batch was appended so long ago that its offset is no longer known. Not an error for
    /// the producer's data: it is there.
    #[error("producer {producer_id} repeated sequence {got}, too old to name its offset")]
    DuplicateSequence {
        /// The idempotent producer.
        producer_id: i64,
        /// Sequence of the batch's first record.
        got: i32,
    },
    /// A newer producer took this id over.
    #[error("producer {producer_id} has epoch {got}, fenced by epoch {current}")]
    FencedProducer {
        /// The idempotent producer.
        producer_id: i64,
        /// Epoch of the batch.
        got: i16,
        /// Epoch of its successor.
        current: i16,
    },
    /// The batch is larger than the log takes.
    #[error("batch of {bytes} bytes, expected at most {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// An offset to delete up to that is not between 0 and the high watermark.
    #[error("offset {offset} is out of range, expected 0..={}", .bounds.high_watermark)]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// What is there.
        bounds: Bounds,
    },
    /// The batch asks for something the log does not do.
    #[error("batch refused: {0}")]
    Refused(&'static str),
}

/// A read was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such partition.
    #[error("unknown partition {0}")]
    UnknownPartition(TopicPartition),
    /// The offset is below the log's start or above its end.
    #[error("offset {offset} is out of range, expected {}..={}", .bounds.log_start_offset, .bounds.log_end_offset)]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// What is there.
        bounds: Bounds,
    },
    /// Stored bytes are damaged. Nothing wrong was served.
    #[error("{} is corrupt at byte {pos}: {what}", .path.display())]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Where, bytes from its start.
        pos: u64,
        /// What was seen.
        what: String,
    },
    /// A stored batch cannot be decoded.
    #[error("batch at offset {offset} cannot be decoded: {source}")]
    Batch {
        /// Its base offset.
        offset: Offset,
        /// Why.
        source: BatchError,
    },
    /// The operating system refused to read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// The segment.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
}
