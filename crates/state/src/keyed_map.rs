//! A sorted map per key, and what changed in it.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

use bytes::Bytes;
use hashbrown::HashTable;
use highwater_env::KeyGroup;

use crate::{Cursor, SectionWriter, Slot, StateError};

/// What an entry costs beside its bytes: the tree's share and two allocations.
const ENTRY_BYTES: usize = 64;

/// Per key a map from bytes to bytes in the order of the bytes: rows of a join, of a ranking, of a time
/// range. Tracks changes entry by entry: a snapshot costs what changed, however large a key's map is.
///
/// An entry's key on disk: `u32` length of the key, the key, then the name within its map.
///
/// Slots stay valid until [`KeyedMap::sweep`], which forgets keys whose map is empty.
#[derive(Debug, Default)]
pub struct KeyedMap {
    table: HashTable<Slot>,
    keys: Vec<Key>,
    free: Vec<Slot>,
    /// Keys that are new or lost an entry since the last sweep: their maps may be empty.
    suspects: Vec<Slot>,
    changed: Vec<(Slot, Box<[u8]>)>,
    removed: BTreeMap<KeyGroup, SectionWriter>,
    entries: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Key {
    key: Box<[u8]>,
    hash: u64,
    group: KeyGroup,
    live: bool,
    map: BTreeMap<Box<[u8]>, Entry>,
}

#[derive(Debug)]
struct Entry {
    value: Box<[u8]>,
    /// Changed since the last snapshot.
    dirty: bool,
    /// An earlier snapshot holds it, so its removal must be told.
    stored: bool,
}

impl KeyedMap {
    /// The slot of `key`, if it has a map. `hash` must be a function of `key`.
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Slot> {
        let same = |slot: &Slot| {
            let other = &self.keys[*slot as usize];
            other.hash == hash && *other.key == *key
        };
        self.table.find(hash, same).copied()
    }

    /// The slot of `key`, made with an empty map if it is new.
    pub fn slot(&mut self, hash: u64, group: KeyGroup, key: &[u8]) -> Slot {
        if let Some(slot) = self.find(hash, key) {
            return slot;
        }
        let made = Key { key: key.into(), hash, group, live: true, map: BTreeMap::new() };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.keys[slot as usize] = made;
                slot
            }
            None => {
                self.keys.push(made);
                (self.keys.len() - 1) as Slot
            }
        };
        let keys = &self.keys;
        self.table.insert_unique(hash, slot, |slot| keys[*slot as usize].hash);
        self.bytes += key.len() + ENTRY_BYTES;
        self.suspects.push(slot);
        slot
    }

    /// The key at `slot`.
    pub fn key(&self, slot: Slot) -> &[u8] {
        &self.keys[slot as usize].key
    }

    /// The value of `name` at `slot`.
    pub fn get(&self, slot: Slot, name: &[u8]) -> Option<&[u8]> {
        self.keys[slot as usize].map.get(name).map(|entry| &*entry.value)
    }

    /// Entries at `slot`.
    pub fn len_at(&self, slot: Slot) -> usize {
        self.keys[slot as usize].map.len()
    }

    /// The entries at `slot` whose names lie in `range`, in order, from both ends.
    pub fn range<'a, 'n>(
        &'a self,
        slot: Slot,
        range: impl RangeBounds<&'n [u8]>,
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a [u8])> {
        let bounds = (range.start_bound().map(|name| *name), range.end_bound().map(|name| *name));
        let entries = self.keys[slot as usize].map.range::<[u8], _>(bounds);
        entries.map(|(name, entry)| (&**name, &*entry.value))
    }

    /// All entries at `slot`, in order, from both ends.
    pub fn all(&self, slot: Slot) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.keys[slot as usize].map.iter().map(|(name, entry)| (&**name, &*entry.value))
    }

    /// Sets `name` at `slot`.
    pub fn put(&mut self, slot: Slot, name: &[u8], value: &[u8]) {
        let map = &mut self.keys[slot as usize].map;
        let Some(entry) = map.get_mut(name) else {
            map.insert(name.into(), Entry { value: value.into(), dirty: true, stored: false });
            self.entries += 1;
            self.bytes += name.len() + value.len() + ENTRY_BYTES;
            self.changed.push((slot, name.into()));
            return;
        };
        if entry.value.len() == value.len() {
            entry.value.copy_from_slice(value);
        } else {
            self.bytes = self.bytes + value.len() - entry.value.len();
            entry.value = value.into();
        }
        if !std::mem::replace(&mut entry.dirty, true) {
            self.changed.push((slot, name.into()));
        }
    }

    /// Removes `name` at `slot` and returns its value.
    pub fn remove(&mut self, slot: Slot, name: &[u8]) -> Option<Box<[u8]>> {
        let key = &mut self.keys[slot as usize];
        let entry = key.map.remove(name)?;
        self.entries -= 1;
        self.bytes -= name.len() + entry.value.len() + ENTRY_BYTES;
        if entry.stored {
            self.removed.entry(key.group).or_default().remove(&disk_key(&key.key, name));
        }
        if key.map.is_empty() {
            self.suspects.push(slot);
        }
        Some(entry.value)
    }

    /// Removes all entries at `slot`.
    pub fn clear(&mut self, slot: Slot) {
        let key = &mut self.keys[slot as usize];
        let map = std::mem::take(&mut key.map);
        self.entries -= map.len();
        self.bytes -=
            map.iter().map(|(name, entry)| name.len() + entry.value.len() + ENTRY_BYTES).sum::<usize>();
        if map.values().any(|entry| entry.stored) {
            self.removed.entry(key.group).or_default().remove_prefix(&disk_key(&key.key, &[]));
        }
        self.suspects.push(slot);
    }

    /// Forgets keys whose map is empty; their slots may be used again.
    pub fn sweep(&mut self) {
        for slot in std::mem::take(&mut self.suspects) {
            let key = &mut self.keys[slot as usize];
            if !key.live || !key.map.is_empty() {
                continue;
            }
            key.live = false;
            let bytes = std::mem::take(&mut key.key);
            self.bytes -= bytes.len() + ENTRY_BYTES;
            if let Ok(found) = self.table.find_entry(key.hash, |other| *other == slot) {
                found.remove();
            }
            self.free.push(slot);
        }
    }

    /// The slots of all keys, in order of their number.
    pub fn live(&self) -> impl Iterator<Item = Slot> {
        let live = self.keys.iter().enumerate().filter(|(_, key)| key.live);
        live.map(|(slot, _)| slot as Slot)
    }

    /// Keys.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Entries of all keys.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// About how many bytes are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What changed since the last call, or everything (`full`), per key group. Sweeps first.
    pub fn snapshot(&mut self, full: bool) -> Vec<(KeyGroup, Bytes)> {
        self.sweep();
        let mut writers = std::mem::take(&mut self.removed);
        let changed = std::mem::take(&mut self.changed);
        if full {
            writers.clear();
            for key in &mut self.keys {
                for (name, entry) in &mut key.map {
                    write(&mut writers, key.group, &key.key, name, entry);
                }
            }
        } else {
            // An entry that came, went and came again is listed twice: the mark tells once.
            for (slot, name) in changed {
                let key = &mut self.keys[slot as usize];
                if let Some(entry) = key.map.get_mut(&name).filter(|entry| entry.dirty) {
                    write(&mut writers, key.group, &key.key, &name, entry);
                }
            }
        }
        writers.into_iter().map(|(group, writer)| (group, writer.finish())).collect()
    }

    /// Takes over an entry from a snapshot, under its key on disk; `hash` is that of keys. It is clean, and its
    /// removal will be told. Returns its key's slot.
    ///
    /// # Errors
    /// If `disk_key` is not one of this map's.
    pub fn restore(
        &mut self,
        hash: impl FnOnce(&[u8]) -> u64,
        group: KeyGroup,
        disk_key: &[u8],
        value: &[u8],
    ) -> Result<Slot, StateError> {
        let mut cursor = Cursor::new(disk_key);
        let key = cursor.counted()?;
        let name = cursor.rest();
        let slot = self.slot(hash(key), group, key);
        let entry = Entry { value: value.into(), dirty: false, stored: true };
        if self.keys[slot as usize].map.insert(name.into(), entry).is_none() {
            self.entries += 1;
            self.bytes += name.len() + value.len() + ENTRY_BYTES;
        }
        Ok(slot)
    }
}

fn disk_key(key: &[u8], name: &[u8]) -> Vec<u8> {
    let mut disk = Vec::with_capacity(4 + key.len() + name.len());
    disk.extend_from_slice(&(key.len() as u32).to_le_bytes());
    disk.extend_from_slice(key);
    disk.extend_from_slice(name);
    disk
}

fn write(
    writers: &mut BTreeMap<KeyGroup, SectionWriter>,
    group: KeyGroup,
    key: &[u8],
    name: &[u8],
    entry: &mut Entry,
) {
    entry.dirty = false;
    entry.stored = true;
    let value = |out: &mut Vec<u8>| out.extend_from_slice(&entry.value);
    writers.entry(group).or_default().put(&disk_key(key, name), value);
}

#[cfg(test)]
mod tests;
