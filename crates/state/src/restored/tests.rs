use super::*;
use crate::SectionWriter;

fn snapshot(shard: usize, shards: usize, full: bool, group: u8, key: &[u8]) -> OperatorSnapshot {
    let mut section = SectionWriter::default();
    section.put(key, |out| out.push(1));
    let sections = vec![(KeyGroup(group), section.finish())];
    OperatorSnapshot { uid: "u".to_owned(), shard, shards, full, watermark: shard as i64, sections }
}

fn keys(state: &RestoredState, shard: usize, shards: usize) -> Vec<Vec<u8>> {
    state.entries("u", shard, shards).map(|(_, key, _)| key.to_vec()).collect()
}

#[test]
fn a_full_snapshot_replaces_only_its_shards_groups() {
    let mut state = RestoredState::new();
    state.apply(&[snapshot(0, 2, true, 3, b"a"), snapshot(1, 2, true, 200, b"b")]).unwrap();
    assert_eq!(state.watermark("u"), 0, "the lowest of the instances");
    state.apply(&[snapshot(1, 2, true, 201, b"c")]).unwrap();
    assert_eq!(keys(&state, 0, 1), [b"a".to_vec(), b"c".to_vec()]);
    assert_eq!((keys(&state, 0, 2), keys(&state, 1, 2)), (vec![b"a".to_vec()], vec![b"c".to_vec()]));
    assert_eq!(state.watermark("u"), 1);
}

#[test]
fn compacting_keeps_everything() {
    let mut state = RestoredState::new();
    state.apply(&[snapshot(0, 2, true, 3, b"a"), snapshot(1, 2, false, 200, b"b")]).unwrap();
    let mut again = RestoredState::new();
    again.apply(&state.compact()).unwrap();
    assert_eq!(keys(&again, 0, 1), keys(&state, 0, 1));
    assert_eq!(again.watermark("u"), state.watermark("u"));
}
