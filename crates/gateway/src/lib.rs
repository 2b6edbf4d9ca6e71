//! Every ingest protocol but Kafka's: today HTTP. Events become records through
//! [`highwater_coordinator::TopicWriter`].
//!
//! Invariants:
//! - An answer that says `accepted` is sent after those records are durable.
//! - A request holds at most one flush, one event and one inflated block in memory, whatever its
//!   body; what it holds is reserved in the memory budget.
//! - A bad event is refused with its line and a reason; the good ones around it are kept.
//! - Values are the sender's bytes: nothing is parsed into a tree or written anew.
//!
//! It must not know tables, pipelines or SQL.

mod answer;
mod counters;
mod events;
mod inflate;
mod ingest;
mod json;
mod position;

pub use answer::{EventProblem, HttpProblem, IngestAnswer, PartitionRange};
pub use counters::{GatewayCounters, GatewayNumbers};
pub use ingest::{Gateway, GatewayOptions};
pub use position::{LogPosition, PositionError};
