//! Keyed state in memory, what of it changed, and its form on disk.
//!
//! Invariants:
//! - State is addressed by (operator uid, key group), never by shard: any number of shards can
//!   take over what another number wrote.
//! - The hash of a key and the bytes of a key are part of the on-disk addressing: fixed for ever,
//!   equal on every machine.
//! - A snapshot holds only what changed since the one before, unless a full one is asked for.
//! - Bytes from disk never panic: they are checked, then believed.
//!
//! It must not do I/O, know operators, or read clocks.

mod hash;
mod keyed;
mod keyed_map;
mod keys;
mod order;
mod restored;
mod section;
mod snapshot;

pub use hash::{hash_bytes, mix};
pub use keyed::{KeyedState, Slot};
pub use keyed_map::KeyedMap;
pub use keys::{EncodedKeys, KeyCodec};
pub use order::{OrderCodec, OrderColumn};
pub use restored::{RestoredState, SplitPosition};
pub use section::{Cursor, SectionEntry, SectionWriter};
pub use snapshot::{InstanceSnapshot, OperatorSnapshot, decode_snapshots, encode_snapshots};

/// Why state could not be read or kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The bytes are not what this program wrote.
    #[error("corrupt snapshot: {0}")]
    Corrupt(String),
    /// Written by a newer program.
    #[error("snapshot version {found}, this program reads up to {supported}")]
    Version {
        /// What the file says.
        found: u16,
        /// What this program reads.
        supported: u16,
    },
    /// A column of this type cannot be a key.
    #[error("a column of type {0} cannot be a key")]
    KeyType(String),
}
