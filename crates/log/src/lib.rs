//! The durable partitioned log of one node: Kafka record batches, group commit, recovery.
//!
//! - A batch is kept **as received**: only base offset and leader epoch are patched, records are
//!   never decoded on append.
//! - An append is answered by a [`Ticket`] at once and acknowledged when an fdatasync covers it.
//!   The next group forms while the current sync runs; there is no timer.
//! - The high watermark is the durable offset; nothing above it is ever served.
//! - All partitions share one write-ahead log; per-partition segments in Apache Kafka's own file
//!   format are written behind it, in large runs.
//! - Damage after the last durable group is a torn write and is cut; damage before it is reported
//!   and never cut.
//! - A failed sync poisons the log: it must be opened again from disk.
//!
//! It must not know topics' names, consumers, queries or networks, and starts threads in
//! `log/threads.rs` only.

mod batch;
mod checkpoint;
mod compaction;
mod core;
mod directory;
mod error;
mod log;
mod options;
mod partition;
mod producers;
mod segment;
mod ticket;
mod transactions;
mod wal;

pub use batch::{
    BATCH_HEADER_BYTES, BatchBuilder, BatchError, Compression, LogBatch, Marker, MarkerKind, Record,
};
pub use error::{AppendError, LogError, ReadError};
pub use log::{Bounds, Log, LogStats, ReadRange, RecoveryReport, StoredRange, StoredRecords};
pub use options::{LogOptions, PartitionOptions};
pub use segment::FileRange;
pub use ticket::Ticket;
pub use transactions::{AbortedTransaction, OpenTransaction, ProducerState};
