//! The HTTP server: REST over topics, tables and pipelines, live subscriptions, metrics, and the
//! page at `/`. It merges the gateway's routes.
//!
//! Invariants:
//! - Every request passes the guard: Host and Origin are checked, security headers are set.
//! - Every wait, queue and body has a named limit; a slow subscriber is told so and begins anew.
//! - A refusal is JSON with a message and a hint.
//! - Every route is in [`ROUTES`], from which the router and `/openapi.json` are made.
//!
//! It must not know how queries run: it sees a node through the trait [`Node`].

pub mod metrics;

mod connections;
mod groups;
mod guard;
mod live;
mod node;
mod openapi;
mod page;
mod pipelines;
mod problem;
mod progress;
mod rates;
mod routes;
mod rows;
mod samples;
mod server;
mod tables;
mod topics;
mod transactions;

pub use guard::HostRules;
pub use node::*;
pub use routes::{Operation, ROUTES, Route, Verb};
pub use server::{Server, ServerOptions};
