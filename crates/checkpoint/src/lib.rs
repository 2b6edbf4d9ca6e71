//! The epoch protocol and the manifest that makes an epoch real. Pure: facts in, actions out.
//!
//! Invariants:
//! - Epochs become restorable in order, and committed in order.
//! - A sink is told to commit an epoch only after that epoch's manifest is durable.
//! - A snapshot chain starts with a full snapshot and is no longer than its limit.
//! - The same facts in the same order give the same actions.
//!
//! It must not do I/O, hold threads, or read clocks: whoever calls [`EpochProtocol::decide`] does.

mod manifest;
mod protocol;

pub use manifest::{Manifest, ManifestError, SinkCommittable, SnapshotRef};
pub use protocol::{Action, EpochProtocol, Fact, ProtocolOptions, Taken};
