//! Seeded simulation: the core on a disk that tears writes and forgets what was not synced.
//!
//! The tests are the content: `tests/log_crash.rs` crashes the log at every kind of moment and
//! compares what is there afterwards with what was acknowledged. A seed replays a whole run.
//!
//! Dev only: nothing imports this crate.
