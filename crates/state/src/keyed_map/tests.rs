use std::collections::BTreeMap as Map;

use proptest::prelude::*;

use super::*;
use crate::{OperatorSnapshot, RestoredState, hash_bytes};

/// A step of a model run: four keys, names `0..6`.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8, Vec<u8>),
    Remove(u8, u8),
    Clear(u8),
    Sweep,
    Snapshot(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4_u8, 0..6_u8, prop::collection::vec(any::<u8>(), 0..3))
            .prop_map(|(key, name, value)| Step::Put(key, name, value)),
        3 => (0..4_u8, 0..6_u8).prop_map(|(key, name)| Step::Remove(key, name)),
        1 => (0..4_u8).prop_map(Step::Clear),
        1 => Just(Step::Sweep),
        2 => prop::bool::weighted(0.2).prop_map(Step::Snapshot),
    ];
    prop::collection::vec(step, 0..80)
}

type Model = Map<(Vec<u8>, Vec<u8>), Vec<u8>>;

/// Keys of different lengths, one the start of another.
fn key(number: u8) -> Vec<u8> {
    vec![7; usize::from(number)]
}

fn slot(state: &mut KeyedMap, number: u8) -> Slot {
    let hash = hash_bytes(&key(number));
    state.slot(hash, KeyGroup::of_hash(hash), &key(number))
}

fn content(state: &KeyedMap) -> Model {
    let entries = |slot| {
        state.all(slot).map(move |(name, value)| ((state.key(slot).to_vec(), name.to_vec()), value.to_vec()))
    };
    state.live().flat_map(entries).collect()
}

proptest! {
    /// Whatever happens between snapshots, the chain of them is the state, for any number of shards.
    #[test]
    fn a_chain_of_snapshots_is_the_map(steps in steps()) {
        let (mut state, mut model, mut chain) = (KeyedMap::default(), Model::new(), RestoredState::new());
        for step in steps.into_iter().chain([Step::Snapshot(false)]) {
            match step {
                Step::Put(k, name, value) => {
                    let slot = slot(&mut state, k);
                    state.put(slot, &[name], &value);
                    model.insert((key(k), vec![name]), value);
                }
                Step::Remove(k, name) => {
                    let slot = slot(&mut state, k);
                    let removed = state.remove(slot, &[name]).map(Vec::from);
                    prop_assert_eq!(removed, model.remove(&(key(k), vec![name])));
                }
                Step::Clear(k) => {
                    let slot = slot(&mut state, k);
                    state.clear(slot);
                    model.retain(|(other, _), _| *other != key(k));
                }
                Step::Sweep => state.sweep(),
                Step::Snapshot(full) => {
                    let sections = state.snapshot(full);
                    let snapshot =
                        OperatorSnapshot { uid: "u".to_owned(), shard: 0, shards: 1, full, watermark: 0, sections };
                    chain.apply(&[snapshot]).unwrap();
                    let keys: std::collections::BTreeSet<_> = model.keys().map(|(key, _)| key).collect();
                    prop_assert_eq!(state.len(), keys.len());
                }
            }
            prop_assert_eq!(&content(&state), &model);
            prop_assert_eq!(state.entries(), model.len());
        }
        let mut restored = Model::new();
        for shard in 0..3 {
            let mut part = KeyedMap::default();
            for (group, disk_key, value) in chain.entries("u", shard, 3) {
                part.restore(hash_bytes, group, disk_key, value).unwrap();
            }
            restored.extend(content(&part));
        }
        prop_assert_eq!(restored, model);
    }
}

#[test]
fn bytes_come_back_to_zero() {
    let mut state = KeyedMap::default();
    for name in 0..10 {
        let slot = slot(&mut state, name % 3);
        state.put(slot, &[name], &vec![0; usize::from(name)]);
        state.put(slot, &[name], &[1, 2]);
    }
    let second = slot(&mut state, 1);
    assert_eq!(state.range(second, &[4][..]..).map(|(name, _)| name[0]).collect::<Vec<_>>(), [4, 7]);
    for number in 0..3 {
        let slot = slot(&mut state, number);
        state.clear(slot);
    }
    state.sweep();
    assert_eq!((state.bytes(), state.len(), state.entries()), (0, 0, 0));
}

#[test]
fn a_foreign_key_is_an_error() {
    let restored = KeyedMap::default().restore(hash_bytes, KeyGroup(0), &[9, 0, 0, 0, 1], &[]);
    assert!(matches!(restored, Err(StateError::Corrupt(_))));
}
