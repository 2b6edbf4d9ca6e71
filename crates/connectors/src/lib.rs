//! The sources and sinks a table's `'connector'` names, one file or folder each.
//!
//! | connector | reads | writes | position | guarantee of the sink |
//! |---|---|---|---|---|
//! | `kafka` | own log, in process | own log | next offset | exactly-once |
//! | `filesystem` | csv, json; bounded | csv, json | byte in the file | exactly-once |
//! | `datagen` | made-up rows | – | number of the next row | – |
//! | `nexmark` | the events of the Nexmark benchmark | – | number of the next row | – |
//! | `print` | – | text | – | at-least-once |
//! | `blackhole` | – | nothing | – | exactly-once |
//! | `checksum` | – | count and sum of hashes, as text | – | at-least-once |
//!
//! Invariants:
//! - A reader opened at a position it gave out goes on with the very next row.
//! - What a committer did once, it does not do again, however often it is asked.
//! - Options are read here and named in `highwater_stream::CONNECTORS`; an unknown one is refused.
//!
//! It must not open sockets in this version, and it knows neither operators nor checkpoints.

mod blackhole;
mod checksum;
mod datagen;
mod decode;
mod filesystem;
mod inserts;
mod kafka;
mod nexmark;
mod options;
mod pace;
mod print;
mod registry;
mod timer;

pub use print::{Output, Printer};
pub use registry::{Outside, Registry};
