//! A chain of snapshots, merged: what operators start from.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use bytes::Bytes;
use highwater_env::KeyGroup;
use highwater_stream::{EventTime, Position, SplitId, WATERMARK_NONE};

use crate::{Cursor, OperatorSnapshot, SectionEntry, StateError};

/// How far a split of a source was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitPosition {
    /// The source operator.
    pub uid: String,
    /// The split.
    pub split: SplitId,
    /// Where to go on.
    pub position: Position,
    /// The split's own watermark there: rows behind it stay late after a restart.
    pub watermark: EventTime,
}

/// State and positions to start from: one full snapshot and all later changes, epoch by epoch.
#[derive(Clone, Debug, Default)]
pub struct RestoredState {
    operators: HashMap<String, Operator>,
    positions: HashMap<String, BTreeMap<SplitId, (Position, EventTime)>>,
}

#[derive(Clone, Debug, Default)]
struct Operator {
    groups: BTreeMap<KeyGroup, BTreeMap<Bytes, Bytes>>,
    watermark: Option<EventTime>,
}

impl RestoredState {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over the snapshots of one epoch: those of all instances of all operators. Epochs in order.
    ///
    /// # Errors
    /// If a section is damaged.
    pub fn apply(&mut self, epoch: &[OperatorSnapshot]) -> Result<(), StateError> {
        for snapshot in epoch {
            self.operators.entry(snapshot.uid.clone()).or_default().watermark = None;
        }
        for snapshot in epoch {
            let Some(operator) = self.operators.get_mut(&snapshot.uid) else { continue };
            let watermark = operator.watermark.unwrap_or(EventTime::MAX).min(snapshot.watermark);
            operator.watermark = Some(watermark);
            if snapshot.full {
                operator.groups.retain(|group, _| group.shard(snapshot.shards) != snapshot.shard);
            }
            for (group, section) in &snapshot.sections {
                apply_section(operator.groups.entry(*group).or_default(), section)?;
            }
        }
        Ok(())
    }

    /// Sets how far a split was read.
    pub fn set_position(&mut self, position: SplitPosition) {
        let splits = self.positions.entry(position.uid).or_default();
        splits.insert(position.split, (position.position, position.watermark));
    }

    /// How far the splits of source `uid` were read.
    pub fn positions(&self, uid: &str) -> impl Iterator<Item = (&SplitId, Position, EventTime)> {
        self.positions.get(uid).into_iter().flatten().map(|(split, (at, watermark))| (split, *at, *watermark))
    }

    /// How far `split` of source `uid` was read.
    pub fn position(&self, uid: &str, split: &SplitId) -> Option<(Position, EventTime)> {
        self.positions.get(uid)?.get(split).copied()
    }

    /// The operator's watermark at the last epoch: the lowest of its instances.
    pub fn watermark(&self, uid: &str) -> EventTime {
        self.operators.get(uid).and_then(|operator| operator.watermark).unwrap_or(WATERMARK_NONE)
    }

    /// The entries of `uid` that instance `shard` of `shards` owns: key group, key, value; in order of both.
    pub fn entries(
        &self,
        uid: &str,
        shard: usize,
        shards: usize,
    ) -> impl Iterator<Item = (KeyGroup, &[u8], &[u8])> {
        let groups = self.operators.get(uid).into_iter().flat_map(|operator| &operator.groups);
        let owned = groups.filter(move |(group, _)| group.shard(shards) == shard);
        owned.flat_map(|(group, entries)| entries.iter().map(|(key, value)| (*group, &key[..], &value[..])))
    }

    /// Uids that have state or positions.
    pub fn uids(&self) -> impl Iterator<Item = &str> {
        self.operators.keys().chain(self.positions.keys()).map(String::as_str)
    }

    /// The merged state of `uids` as one full snapshot each, to shorten a chain.
    pub fn compact(&self) -> Vec<OperatorSnapshot> {
        let mut snapshots: Vec<_> =
            self.operators.iter().map(|(uid, operator)| full(uid, operator)).collect();
        snapshots.sort_by(|a, b| a.uid.cmp(&b.uid));
        snapshots
    }
}

fn full(uid: &str, operator: &Operator) -> OperatorSnapshot {
    let mut sections = Vec::new();
    for (group, entries) in &operator.groups {
        let mut writer = crate::SectionWriter::default();
        for (key, value) in entries {
            writer.put(key, |out| out.extend_from_slice(value));
        }
        sections.push((*group, writer.finish()));
    }
    let watermark = operator.watermark.unwrap_or(WATERMARK_NONE);
    OperatorSnapshot { uid: uid.to_owned(), shard: 0, shards: 1, full: true, watermark, sections }
}

fn apply_section(entries: &mut BTreeMap<Bytes, Bytes>, section: &Bytes) -> Result<(), StateError> {
    let mut cursor = Cursor::new(section);
    while !cursor.is_empty() {
        match cursor.entry()? {
            SectionEntry::Put(key, value) => {
                entries.insert(section.slice_ref(key), section.slice_ref(value));
            }
            SectionEntry::Remove(key) => {
                entries.remove(key);
            }
            SectionEntry::RemovePrefix(prefix) => {
                let from = (Bound::Included(prefix), Bound::Unbounded);
                let gone: Vec<Bytes> = entries
                    .range::<[u8], _>(from)
                    .map(|(key, _)| key)
                    .take_while(|key| key.starts_with(prefix))
                    .cloned()
                    .collect();
                for key in gone {
                    entries.remove(&key);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
