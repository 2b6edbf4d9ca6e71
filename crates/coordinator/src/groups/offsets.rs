//! The offsets a group has committed, and those that wait for a transaction to end.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_env::Offset;

use super::requests::{CommittedOffset, TopicProgress};

/// A place in a map of offsets takes about this many bytes besides its strings.
const ENTRY_BYTES: usize = 120;

/// One committed offset as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) committed: CommittedOffset,
    /// When it expires, if the client said so; ms since the Unix epoch, UTC.
    pub(super) expires_ms: Option<i64>,
    /// Where its record is in the offsets' partition: of two, the later record counts, whenever its
    /// transaction ended.
    pub(super) log_offset: Offset,
}

impl Kept {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.committed.metadata.len()
    }
}

/// One offset of a commit, on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) kept: Kept,
}

/// Offsets by topic and partition.
#[derive(Default)]
pub(super) struct Offsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, Kept>>,
    /// Records of each topic that commits went past.
    read: BTreeMap<Arc<str>, u64>,
    len: usize,
    bytes: usize,
}

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes they take, approximately.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<&Kept> {
        self.topics.get(topic)?.get(&partition)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &Kept)> {
        self.topics.iter().flat_map(|(topic, partitions)| partitions.iter().map(move |(p, k)| (topic, *p, k)))
    }

    /// The partitions with an offset.
    pub(super) fn keys(&self) -> impl Iterator<Item = (Arc<str>, i32)> {
        self.iter().map(|(topic, partition, _)| (Arc::clone(topic), partition))
    }

    /// Keeps an offset, unless a later record is kept already.
    pub(super) fn put(&mut self, entry: Entry) {
        if self.get(&entry.topic, entry.partition).is_some_and(|kept| kept.log_offset > entry.kept.log_offset)
        {
            return;
        }
        let (bytes, offset) = (entry.kept.bytes(), entry.kept.committed.offset);
        let partitions = self.topics.entry(Arc::clone(&entry.topic)).or_default();
        let before = partitions.insert(entry.partition, entry.kept);
        let from = before.as_ref().map_or(offset, |kept| kept.committed.offset);
        let read = self.read.entry(entry.topic).or_default();
        *read = read.saturating_add(u64::try_from(offset.saturating_sub(from)).unwrap_or(0));
        self.len += usize::from(before.is_none());
        self.bytes = self.bytes + bytes - before.map_or(0, |kept| kept.bytes());
    }

    /// Forgets an offset whose tombstone is at `log_offset`.
    pub(super) fn remove(&mut self, topic: &str, partition: i32, log_offset: Offset) {
        let Some(partitions) = self.topics.get_mut(topic) else { return };
        if partitions.get(&partition).is_none_or(|kept| kept.log_offset > log_offset) {
            return;
        }
        if let Some(kept) = partitions.remove(&partition) {
            self.len -= 1;
            self.bytes -= kept.bytes();
        }
        if partitions.is_empty() {
            self.topics.remove(topic);
            self.read.remove(topic);
        }
    }

    /// How far each topic was read.
    pub(super) fn progress(&self) -> impl Iterator<Item = TopicProgress> {
        self.topics.iter().map(|(topic, partitions)| TopicProgress {
            topic: Arc::clone(topic),
            read: self.read.get(topic).copied().unwrap_or(0),
            committed: partitions.iter().map(|(number, kept)| (*number, kept.committed.offset)).collect(),
        })
    }
}

type ByPartition = BTreeMap<(Arc<str>, i32), Kept>;

/// Offsets written by transactions that are not over, by producer and group.
#[derive(Default)]
pub(super) struct PendingOffsets {
    producers: BTreeMap<i64, BTreeMap<Arc<str>, ByPartition>>,
    bytes: usize,
}

impl PendingOffsets {
    /// Bytes they take, approximately.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn put(&mut self, producer_id: i64, group: &Arc<str>, entry: Entry) {
        let groups = self.producers.entry(producer_id).or_default();
        let offsets = groups.entry(Arc::clone(group)).or_default();
        self.bytes += entry.kept.bytes();
        if let Some(before) = offsets.insert((entry.topic, entry.partition), entry.kept) {
            self.bytes -= before.bytes();
        }
    }

    /// Takes what a producer has pending.
    pub(super) fn take(&mut self, producer_id: i64) -> Vec<(Arc<str>, Vec<Entry>)> {
        let groups = self.producers.remove(&producer_id).unwrap_or_default();
        let taken = groups.into_iter().map(|(group, offsets)| {
            let entries = offsets.into_iter();
            (group, entries.map(|((topic, partition), kept)| Entry { topic, partition, kept }).collect())
        });
        let taken: Vec<(Arc<str>, Vec<Entry>)> = taken.collect();
        let bytes: usize = taken.iter().flat_map(|(_, entries)| entries).map(|e| e.kept.bytes()).sum();
        self.bytes -= bytes;
        taken
    }

    /// Whether a transaction that is not over writes this offset.
    pub(super) fn has(&self, group: &str, topic: &Arc<str>, partition: i32) -> bool {
        let key = (Arc::clone(topic), partition);
        self.producers
            .values()
            .any(|groups| groups.get(group).is_some_and(|offsets| offsets.contains_key(&key)))
    }

    pub(super) fn has_group(&self, group: &str) -> bool {
        self.producers.values().any(|groups| groups.contains_key(group))
    }

    /// The partitions a group has pending.
    pub(super) fn of_group(&self, group: &str) -> Vec<(Arc<str>, i32)> {
        let offsets = self.producers.values().filter_map(|groups| groups.get(group));
        offsets.flat_map(|offsets| offsets.keys().cloned()).collect()
    }

    /// Drops what a deleted group has pending.
    pub(super) fn remove_group(&mut self, group: &str) {
        for groups in self.producers.values_mut() {
            let removed = groups.remove(group).unwrap_or_default();
            self.bytes -= removed.values().map(Kept::bytes).sum::<usize>();
        }
        self.producers.retain(|_, groups| !groups.is_empty());
    }

    /// Drops what is pending for a partition.
    pub(super) fn remove(&mut self, group: &str, topic: &Arc<str>, partition: i32) {
        let key = (Arc::clone(topic), partition);
        for offsets in self.producers.values_mut().filter_map(|groups| groups.get_mut(group)) {
            if let Some(removed) = offsets.remove(&key) {
                self.bytes -= removed.bytes();
            }
        }
    }
}
