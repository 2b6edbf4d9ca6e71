//! Runs a [`StreamPlan`](highwater_stream::StreamPlan): chains of operators fused into instances, one per
//! shard, stepped by a pool of threads.
//!
//! Invariants:
//! - Operators are synchronous state machines; nothing in an instance blocks.
//! - After each input row the watermark is max(so far, that row's watermark expression); a row is judged
//!   before its own.
//! - Everything before a barrier is in the epoch's snapshot, nothing behind it is (aligned barriers).
//! - A key lives on the shard that owns its key group, in the exchange as in the state.
//! - The same messages in the same order give the same output.
//!
//! It must not know connectors, do I/O, read the clock except by argument, or use tokio.

mod aggregates;
mod build;
mod channel;
mod clock;
mod counters;
mod error;
mod exchange;
mod expressions;
mod handle;
mod inputs;
mod job;
mod operator;
mod operators;
mod pool;
mod ready;
pub mod simulate;
mod source;
mod task;
mod windows;

pub use counters::{JobStats, OperatorStats, SplitStats};
pub use error::JobError;
pub use handle::{JobEvent, JobEvents, JobHandle};
pub use job::{Job, JobSettings};
pub use pool::WorkerPool;
