use std::collections::BTreeMap as Map;

use proptest::prelude::*;

use super::*;
use crate::{OperatorSnapshot, RestoredState, hash_bytes};

/// A step of a model run over keys `0..12`; a key's prefix is its number modulo 3.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Remove(u8),
    RemovePrefix(u8),
    Snapshot(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..12_u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0..12_u8).prop_map(Step::Remove),
        1 => (0..3_u8).prop_map(Step::RemovePrefix),
        2 => prop::bool::weighted(0.2).prop_map(Step::Snapshot),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    /// Whatever happens between snapshots, the chain of them is the state, for any number of shards.
    #[test]
    fn a_chain_of_snapshots_is_the_state(steps in steps()) {
        let (mut state, mut values) = (KeyedState::default(), vec![0_u8; 64]);
        let mut model: Map<Vec<u8>, u8> = Map::new();
        let mut restored = RestoredState::new();
        let mut taken = 0;
        for step in steps.into_iter().chain([Step::Snapshot(false)]) {
            match step {
                Step::Put(key, value) => {
                    let key = [key % 3, key];
                    let hash = hash_bytes(&key);
                    let (slot, new) = state.slot(hash, KeyGroup::of_hash(hash), &key);
                    prop_assert_eq!(new, !model.contains_key(&key[..]));
                    state.touch(slot);
                    values[slot as usize] = value;
                    model.insert(key.to_vec(), value);
                }
                Step::Remove(key) => {
                    let key = [key % 3, key];
                    if model.remove(&key[..]).is_some() {
                        let slot = state.live().find(|slot| state.key(*slot) == key).unwrap();
                        state.remove(slot);
                    }
                }
                Step::RemovePrefix(prefix) => {
                    model.retain(|key, _| key[0] != prefix);
                    let slots: Vec<Slot> = state.live().filter(|slot| state.key(*slot)[0] == prefix).collect();
                    state.remove_prefix(&[prefix], &slots);
                }
                Step::Snapshot(full) => {
                    let sections = state.snapshot(full, |slot, out| out.push(values[slot as usize]));
                    let (uid, watermark) = ("u".to_owned(), taken);
                    restored.apply(&[OperatorSnapshot { uid, shard: 0, shards: 1, full, watermark, sections }]).unwrap();
                    taken += 1;
                    for shards in [1, 2, 5] {
                        let found: Map<Vec<u8>, u8> = (0..shards)
                            .flat_map(|shard| restored.entries("u", shard, shards))
                            .map(|(_, key, value)| (key.to_vec(), value[0]))
                            .collect();
                        prop_assert_eq!(&found, &model);
                    }
                    prop_assert_eq!(state.len(), model.len());
                    prop_assert_eq!(restored.watermark("u"), taken - 1);
                }
            }
        }
    }
}

#[test]
fn a_snapshot_holds_only_what_changed() {
    let mut state = KeyedState::default();
    let size = |sections: &[(KeyGroup, Bytes)]| sections.iter().map(|(_, s)| s.len()).sum::<usize>();
    for key in 0..1_000_u32 {
        let hash = hash_bytes(&key.to_le_bytes());
        let (slot, _) = state.slot(hash, KeyGroup::of_hash(hash), &key.to_le_bytes());
        state.touch(slot);
    }
    let all = size(&state.snapshot(false, |_, out| out.push(1)));
    state.touch(7);
    let one = size(&state.snapshot(false, |_, out| out.push(1)));
    assert_eq!(one * 1_000, all);
    assert!(state.snapshot(false, |_, out| out.push(1)).is_empty());
    assert_eq!(size(&state.snapshot(true, |_, out| out.push(1))), all);
}

#[test]
fn the_arena_does_not_grow_with_dead_keys() {
    let mut state = KeyedState::default();
    for round in 0..2_000_u64 {
        let key = [round.to_le_bytes(); 128].concat();
        let (slot, _) = state.slot(round, KeyGroup(0), &key);
        assert_eq!(state.key(slot), key);
        state.remove(slot);
    }
    assert!(state.bytes() < 1 << 20, "{} bytes", state.bytes());
}
