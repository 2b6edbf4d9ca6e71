//! Flink's SQL dialect: a script in, a bound [`StreamPlan`](highwater_stream::StreamPlan) out.
//!
//! The walk of a script: [`Script`] (variables, tokens, statements) → `statement` (syntax; queries and
//! expressions are read by sqlparser) → `bind` (names, Flink's types and conversions, its checks) →
//! `relation` (operators over named columns) → `lower` (pruning, sharing, exchanges).
//!
//! Invariants:
//! - What compiles means what Flink says it means; everything else is a [`SqlError`] with its place
//!   and a hint. No text makes it panic.
//! - Expressions in a plan are typed and converted: each operator sees exactly the types it takes.
//! - No I/O, no clock, no global state.
//!
//! It must not read data, connect to anything, or know how operators run.

mod bind;
mod catalog;
mod compile;
mod dialect;
mod error;
mod explain;
mod functions;
mod lower;
mod match_syntax;
mod relation;
mod script;
mod statement;
mod types;
mod uses;

pub use catalog::{Catalog, ColumnDefinition, ColumnKind, NoCatalog, TableDefinition};
pub use compile::{Answer, Compiled, MaterializedTable, compile};
pub use error::SqlError;
pub use script::Script;
pub use types::{FLINK_TYPE, SqlType};
