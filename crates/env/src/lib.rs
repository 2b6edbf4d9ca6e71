//! Positions and identities every crate shares, and the outside world as traits.
//!
//! Invariants:
//! - Nothing above this crate reads a clock, a random number or a file except through
//!   [`Clock`], [`Entropy`] and [`Disk`] (rim crates, which own sockets, excepted).
//! - Each trait has a real and a simulated implementation, so that one seed replays a run.
//!
//! It must not know records, rows, queries or networks.

mod clock;
mod disk;
mod entropy;
mod ids;
mod memory;

pub use clock::{Clock, ManualClock, SystemClock};
pub use disk::{
    Disk, DiskCalls, DiskEntry, DiskFault, DiskFile, DiskLock, DiskSpace, OpenMode, RealDisk, SimDisk,
};
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
pub use ids::{Epoch, KEY_GROUPS, KeyGroup, Offset, TopicId, TopicPartition};
pub use memory::{MemoryBudget, MemoryExhausted, Reservation};
