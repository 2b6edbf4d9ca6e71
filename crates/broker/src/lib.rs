//! The Kafka wire protocol over one log.
//!
//! Invariants:
//! - Produce is answered, for acks=1 and acks=all alike, when the records are durable.
//! - Nothing above the high watermark is served.
//! - Every length from the wire is checked before anything is allocated for it; a frame's memory is
//!   reserved before it is read.
//! - Answers of one connection leave in the order of its requests.
//! - Batches are stored and served as they came; records are never decoded here.
//! - Sockets are in `net` only: [`Broker::handle`] turns bytes into bytes, for tests and simulation.
//!
//! It must not know HTTP, SQL or pipelines, nor write files.

mod api;
mod broker;
mod errors;
mod guard;
mod listener;
mod net;
mod options;
mod request;
mod response;
mod stats;
mod turns;
mod waiting;
mod wire;

pub use api::fetch::ParkedFetch;
pub use api::produce::ParkedProduce;
pub use broker::{Answer, Broker, Handled, Parked, TICK};
pub use listener::Listener;
pub use net::{SocketThreads, serve};
pub use options::BrokerOptions;
pub use request::Refusal;
pub use response::Response;
pub use stats::BrokerStats;
pub use waiting::ParkedWaiting;
pub use wire::WireError;
