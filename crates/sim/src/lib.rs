//! Proof by crash: what the log promises, held against what it did.
//!
//! - `tests/log_crash` and `tests/transactions` simulate: the core on a disk that tears writes and forgets
//!   what was not synced. A seed replays a whole run.
//! - [`history`] judges: an offline checker of what clients saw, however it was recorded.
//! - [`soak`] kills: a real node under load, by kill -9, its clients' history checked. The program
//!   `highwater-soak` runs it.
//!
//! Dev only: nothing imports this crate. The checker shares no code with the log it judges.

pub mod history;
pub mod soak;
