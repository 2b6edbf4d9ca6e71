//! Identities and positions. No logic.

use std::fmt;

/// A topic's identity, a UUID as in Kafka (KIP-516). A topic created again gets a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u128);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One partition of one topic. Partitions count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition's number, `0..partition count`.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The number of a record in its partition, from 0. Signed, as on Kafka's wire.
pub type Offset = i64;

/// A checkpoint epoch of one pipeline, from 1. Not Kafka's leader or producer epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How many key groups every keyed state is cut into. Fixed for ever: state on disk names them.
pub const KEY_GROUPS: u16 = 256;

/// The unit in which keyed state moves between shards, `0..KEY_GROUPS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyGroup(pub u8);

impl KeyGroup {
    /// The key group of a key's 64-bit hash: its top 8 bits.
    pub fn of_hash(hash: u64) -> Self {
        Self(u8::try_from(hash >> 56).expect("a 64-bit number shifted by 56 has 8 bits"))
    }

    /// The shard, `0..shards`, that owns this group: contiguous ranges, sizes differing by one.
    ///
    /// # Panics
    /// If `shards` is 0 or above [`KEY_GROUPS`].
    pub fn shard(self, shards: usize) -> usize {
        assert!((1..=usize::from(KEY_GROUPS)).contains(&shards), "{shards} shards, expected 1..=256");
        usize::from(self.0) * shards / usize::from(KEY_GROUPS)
    }
}
