//! Which keys there are, at which slot, and what changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use hashbrown::HashTable;
use highwater_env::KeyGroup;

use crate::SectionWriter;

/// A key's place in its operator's columns of state. Reused after removal.
pub type Slot = u32;

/// Dead key bytes below this are not worth moving the others.
const COMPACT_BYTES_MIN: usize = 64 << 10;

/// The keys of one operator instance. Values live in columns beside it, indexed by [`Slot`].
///
/// Tracks which keys changed or went since the last snapshot; a snapshot costs what changed.
#[derive(Debug, Default)]
pub struct KeyedState {
    table: HashTable<Slot>,
    entries: Vec<Entry>,
    arena: Vec<u8>,
    dead_bytes: usize,
    free: Vec<Slot>,
    dirty: Vec<Slot>,
    removed: BTreeMap<KeyGroup, SectionWriter>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    pos: usize,
    len: u32,
    group: KeyGroup,
    /// Set: changed since the last snapshot.
    dirty: bool,
    /// Set: an earlier snapshot holds the key, so its removal must be told.
    stored: bool,
    live: bool,
    hash: u64,
}

impl KeyedState {
    /// The slot of `key`, made if new (`true`). `hash` must be a function of `key`; its bits are only
    /// used in memory.
    #[inline]
    pub fn slot(&mut self, hash: u64, group: KeyGroup, key: &[u8]) -> (Slot, bool) {
        let (entries, arena) = (&self.entries, &self.arena);
        let same = |slot: &Slot| {
            let entry = &entries[*slot as usize];
            entry.hash == hash && &arena[entry.pos..entry.pos + entry.len as usize] == key
        };
        match self.table.find(hash, same) {
            Some(slot) => (*slot, false),
            None => (self.insert(hash, group, key), true),
        }
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, hash: u64, group: KeyGroup, key: &[u8]) -> Slot {
        let pos = self.arena.len();
        self.arena.extend_from_slice(key);
        let entry =
            Entry { pos, len: key.len() as u32, group, dirty: false, stored: false, live: true, hash };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot as usize] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as Slot
            }
        };
        let entries = &self.entries;
        self.table.insert_unique(hash, slot, |slot| entries[*slot as usize].hash);
        slot
    }

    /// The value at `slot` changed.
    #[inline]
    pub fn touch(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot as usize];
        if !entry.dirty {
            entry.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// The key at `slot`.
    pub fn key(&self, slot: Slot) -> &[u8] {
        let entry = &self.entries[slot as usize];
        &self.arena[entry.pos..entry.pos + entry.len as usize]
    }

    /// Live keys.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Slots in use or free: columns of state need this length.
    pub fn slots(&self) -> usize {
        self.entries.len()
    }

    /// Bytes held, without the columns of values.
    pub fn bytes(&self) -> usize {
        self.arena.capacity() + self.entries.capacity() * size_of::<Entry>() + self.table.capacity() * 5
    }

    /// All live slots, in order of their number.
    pub fn live(&self) -> impl Iterator<Item = Slot> {
        let live = self.entries.iter().enumerate().filter(|(_, entry)| entry.live);
        live.map(|(slot, _)| slot as Slot)
    }

    /// Forgets the key at `slot`; the slot may be used again.
    pub fn remove(&mut self, slot: Slot) {
        let entry = self.entries[slot as usize];
        if entry.stored {
            let key = &self.arena[entry.pos..entry.pos + entry.len as usize];
            self.removed.entry(entry.group).or_default().remove(key);
        }
        self.release(slot);
        self.compact();
    }

    /// Forgets the keys at `slots`, which are all keys with this prefix.
    pub fn remove_prefix(&mut self, prefix: &[u8], slots: &[Slot]) {
        let mut told = [false; 256];
        for &slot in slots {
            let entry = self.entries[slot as usize];
            let told = &mut told[usize::from(entry.group.0)];
            if entry.stored && !*told {
                *told = true;
                self.removed.entry(entry.group).or_default().remove_prefix(prefix);
            }
            self.release(slot);
        }
        self.compact();
    }

    fn release(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot as usize];
        assert!(entry.live, "slot {slot} is removed twice");
        entry.live = false;
        self.dead_bytes += entry.len as usize;
        if let Ok(found) = self.table.find_entry(entry.hash, |other| *other == slot) {
            found.remove();
        }
        self.free.push(slot);
    }

    /// Moves live keys together once most of the arena is dead.
    fn compact(&mut self) {
        if self.dead_bytes < COMPACT_BYTES_MIN || self.dead_bytes * 2 < self.arena.len() {
            return;
        }
        let mut arena = Vec::with_capacity(self.arena.len() - self.dead_bytes);
        for entry in self.entries.iter_mut().filter(|entry| entry.live) {
            let key = &self.arena[entry.pos..entry.pos + entry.len as usize];
            entry.pos = arena.len();
            arena.extend_from_slice(key);
        }
        self.arena = arena;
        self.dead_bytes = 0;
    }

    /// What changed since the last call, or everything (`full`), per key group. `value` appends a slot's value.
    pub fn snapshot(
        &mut self,
        full: bool,
        mut value: impl FnMut(Slot, &mut Vec<u8>),
    ) -> Vec<(KeyGroup, Bytes)> {
        let mut writers = std::mem::take(&mut self.removed);
        let mut slots = std::mem::take(&mut self.dirty);
        // A slot that was removed and used again stands in the list twice: the mark tells once.
        slots.retain(|slot| std::mem::take(&mut self.entries[*slot as usize].dirty));
        if full {
            writers.clear();
            slots = self.live().collect();
        }
        slots.retain(|slot| self.entries[*slot as usize].live);
        for slot in slots {
            let entry = &mut self.entries[slot as usize];
            entry.stored = true;
            let key = &self.arena[entry.pos..entry.pos + entry.len as usize];
            writers.entry(entry.group).or_default().put(key, |out| value(slot, out));
        }
        writers.into_iter().map(|(group, writer)| (group, writer.finish())).collect()
    }

    /// Takes over a key from a snapshot: it is clean, and its removal will be told.
    pub fn restore(&mut self, hash: u64, group: KeyGroup, key: &[u8]) -> Slot {
        let (slot, _) = self.slot(hash, group, key);
        self.entries[slot as usize].stored = true;
        slot
    }
}

#[cfg(test)]
mod tests;
