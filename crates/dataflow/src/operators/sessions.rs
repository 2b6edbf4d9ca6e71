//! Which sessions are open, per key.

use std::collections::BTreeSet;

use bytes::Bytes;
use hashbrown::HashTable;
use highwater_env::KeyGroup;
use highwater_state::{KeyCodec, KeyedState, Slot, mix};

/// Open sessions `[start, end)`, of which no two of one key touch. Times are on the windows' clock, ms.
///
/// A session's key in `state`: its first row's time (8 bytes), then the key's bytes. A row of that time could only
/// join this session, so that no other has it.
#[derive(Default)]
pub(super) struct Sessions {
    pub(super) state: KeyedState,
    by_key: HashTable<OfKey>,
    /// By slot.
    sessions: Vec<Session>,
    /// End and slot. A session that grows keeps its timer, which is looked at once it is due.
    timers: BTreeSet<(i64, Slot)>,
    key: Vec<u8>,
}

/// The sessions of one key; never empty.
struct OfKey {
    hash: u64,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Session {
    pub(super) start: i64,
    pub(super) end: i64,
    /// The end at which its timer is due.
    timer: i64,
}

impl Session {
    /// Which of two sessions takes the other in shows in the order of arrays. Flink's is that of a Java `HashSet`
    /// of their windows; of equal places the later window was put in first.
    fn merge_order(&self) -> (u32, std::cmp::Reverse<i64>) {
        let mut hash = self.start.wrapping_add(self.end) as u64;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let hash = (hash ^ (hash >> 31)) as u32;
        ((hash ^ (hash >> 16)) & 15, std::cmp::Reverse(self.start))
    }
}

impl Sessions {
    /// Takes the window `[start, end)` of a row in. None: it touches no open session and is late. Sessions that
    /// become one with another are put into `absorbed`: their slots are free.
    pub(super) fn add(
        &mut self,
        hash: u64,
        key: &[u8],
        (start, end): (i64, i64),
        is_late: impl FnOnce() -> bool,
        absorbed: &mut Vec<Slot>,
    ) -> Option<Slot> {
        let (state, sessions) = (&self.state, &mut self.sessions);
        let same = |of: &OfKey| of.hash == hash && state.key(of.slots[0])[8..] == *key;
        let Some(of_key) = self.by_key.find_mut(hash, same) else {
            if is_late() {
                return None;
            }
            let slot = self.open(hash, key, start, end);
            self.by_key.insert_unique(hash, OfKey { hash, slots: vec![slot] }, |of| of.hash);
            return Some(slot);
        };
        let touches = |slot: &Slot| {
            let session = &sessions[*slot as usize];
            start <= session.end && end >= session.start
        };
        let mut found: Vec<Slot> = Vec::new();
        let mut one = None;
        for slot in of_key.slots.iter().filter(|slot| touches(slot)) {
            match one {
                None => one = Some(*slot),
                Some(_) => found.push(*slot),
            }
        }
        let Some(mut kept) = one else {
            if is_late() {
                return None;
            }
            let slot = self.open(hash, key, start, end);
            let (state, same_hash) = (&self.state, hash);
            let same = |of: &OfKey| of.hash == same_hash && state.key(of.slots[0])[8..] == *key;
            if let Some(of_key) = self.by_key.find_mut(hash, same) {
                of_key.slots.push(slot);
            }
            return Some(slot);
        };
        for slot in &mut found {
            if sessions[*slot as usize].merge_order() < sessions[kept as usize].merge_order() {
                std::mem::swap(slot, &mut kept);
            }
        }
        let whole = &mut sessions[kept as usize];
        (whole.start, whole.end) = (whole.start.min(start), whole.end.max(end));
        if !found.is_empty() {
            of_key.slots.retain(|slot| !found.contains(slot));
            for slot in found {
                let Session { start, end, timer } = self.sessions[slot as usize];
                self.timers.remove(&(timer, slot));
                let whole = &mut self.sessions[kept as usize];
                (whole.start, whole.end) = (whole.start.min(start), whole.end.max(end));
                self.state.remove(slot);
                absorbed.push(slot);
            }
        }
        Some(kept)
    }

    fn open(&mut self, hash: u64, key: &[u8], start: i64, end: i64) -> Slot {
        self.key.clear();
        self.key.extend_from_slice(&KeyCodec::prefix(start));
        self.key.extend_from_slice(key);
        let group = KeyGroup::of_hash(hash);
        let (slot, _) = self.state.slot(mix(hash, start as u64), group, &self.key);
        self.place(slot, start, end);
        slot
    }

    fn place(&mut self, slot: Slot, start: i64, end: i64) {
        if self.sessions.len() <= slot as usize {
            self.sessions.resize(self.state.slots(), Session::default());
        }
        self.sessions[slot as usize] = Session { start, end, timer: end };
        self.timers.insert((end, slot));
    }

    /// Takes over a session from a snapshot; `key` is its key in `state`.
    pub(super) fn restore(&mut self, hash: u64, group: KeyGroup, key: &[u8], start: i64, end: i64) -> Slot {
        let first = KeyCodec::prefix_number(key).unwrap_or(start);
        let slot = self.state.restore(mix(hash, first as u64), group, key);
        self.place(slot, start, end);
        let state = &self.state;
        let same = |of: &OfKey| of.hash == hash && state.key(of.slots[0])[8..] == key[8..];
        match self.by_key.find_mut(hash, same) {
            Some(of_key) => of_key.slots.push(slot),
            None => {
                self.by_key.insert_unique(hash, OfKey { hash, slots: vec![slot] }, |of| of.hash);
            }
        }
        slot
    }

    pub(super) fn get(&self, slot: Slot) -> Session {
        self.sessions[slot as usize]
    }

    /// No session ends before.
    pub(super) fn first_timer(&self) -> Option<i64> {
        self.timers.first().map(|(end, _)| *end)
    }

    /// The next session that is over; it stays until [`Sessions::remove`].
    pub(super) fn pop_due(&mut self, is_over: impl Fn(i64) -> bool) -> Option<Slot> {
        while let Some((timer, slot)) = self.timers.first().copied()
            && is_over(timer)
        {
            self.timers.pop_first();
            let session = &mut self.sessions[slot as usize];
            if session.end == timer {
                return Some(slot);
            }
            session.timer = session.end;
            self.timers.insert((session.end, slot));
        }
        None
    }

    /// Forgets a session whose timer was popped.
    pub(super) fn remove(&mut self, hash: u64, slot: Slot) {
        if let Ok(mut found) = self.by_key.find_entry(hash, |of| of.slots.contains(&slot)) {
            found.get_mut().slots.retain(|other| *other != slot);
            if found.get().slots.is_empty() {
                found.remove();
            }
        }
        self.state.remove(slot);
    }

    /// As [`KeyedState::snapshot`]; a session's start and end (i64 each) stand before its value.
    pub(super) fn snapshot(
        &mut self,
        full: bool,
        value: impl Fn(Slot, &mut Vec<u8>),
    ) -> Vec<(KeyGroup, Bytes)> {
        let sessions = &self.sessions;
        self.state.snapshot(full, |slot, out| {
            let Session { start, end, .. } = sessions[slot as usize];
            out.extend_from_slice(&start.to_le_bytes());
            out.extend_from_slice(&end.to_le_bytes());
            value(slot, out);
        })
    }

    pub(super) fn bytes(&self) -> usize {
        // Per session its share of the table, a list and a timer.
        self.state.bytes() + self.sessions.capacity() * size_of::<Session>() + self.state.len() * 96
    }
}
