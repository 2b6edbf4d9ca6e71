//! Files of every version ever released still open. `golden/v1` was written by version 0.1.0.
//!
//! Tables are not among them: their files are the table store's own; the layout of a stored row is
//! pinned in `src/tables/row_codec/tests.rs`.
//!
//! To write the files of a new version, name its directory below and run with `HIGHWATER_BLESS=1`.

#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use highwater_checkpoint::{Manifest, SinkCommittable, SnapshotRef};
use highwater_env::{Epoch, KeyGroup, RealDisk};
use highwater_pipeline::{Definition, EpochStore};
use highwater_state::{OperatorSnapshot, SectionWriter, SplitPosition};
use highwater_stream::{Committable, Position, SplitId};

fn golden(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

fn definition() -> Definition {
    let vars = BTreeMap::from([("DATA".to_owned(), "/data".to_owned())]);
    Definition::new("golden", "golden.sql", "INSERT INTO sink SELECT * FROM source;", vars)
}

fn snapshot() -> OperatorSnapshot {
    let mut section = SectionWriter::default();
    section.put(b"key", |out| out.extend_from_slice(b"value"));
    let sections = vec![(KeyGroup(7), section.finish())];
    let uid = "group-aggregate:1".into();
    OperatorSnapshot { uid, shard: 0, shards: 1, full: true, watermark: 5, sections }
}

fn position() -> SplitPosition {
    let split = SplitId("3".into());
    SplitPosition { uid: "source:1".into(), split, position: Position(42), watermark: 5 }
}

/// Writes the files as this version does.
fn write(dir: &Path) {
    definition().store(&RealDisk, dir).unwrap();
    let epochs = EpochStore::open(Arc::new(RealDisk), &dir.join("epochs")).unwrap();
    let (name, bytes) = epochs.store_snapshot(Epoch(1), &[snapshot()]).unwrap().unwrap();
    let committable = Committable(Bytes::from_static(b"prepared"));
    let manifest = Manifest {
        pipeline: "golden".into(),
        epoch: Epoch(1),
        fingerprint: "f".into(),
        shards: 1,
        positions: vec![position()],
        chain: vec![SnapshotRef { epoch: Epoch(1), name, bytes, full: true }],
        committables: vec![SinkCommittable { uid: "sink:1".into(), shard: 0, committable }],
        finished: false,
    };
    epochs.store_manifest(&manifest).unwrap();
}

#[test]
fn files_of_version_1_open() {
    let dir = golden("v1");
    if std::env::var_os("HIGHWATER_BLESS").is_some() {
        write(&dir);
    }
    assert_eq!(Definition::load(&RealDisk, &dir).unwrap(), Some(definition()));

    let epochs = EpochStore::open(Arc::new(RealDisk), &dir.join("epochs")).unwrap();
    let (manifest, state) = epochs.latest().unwrap().expect("the golden directory has an epoch");
    assert_eq!((manifest.epoch, manifest.positions.clone()), (Epoch(1), vec![position()]));
    assert_eq!(manifest.committables[0].committable.0, "prepared");
    let entries = state.entries("group-aggregate:1", 0, 1);
    let entries: Vec<_> = entries.map(|(group, key, value)| (group, key.to_vec(), value.to_vec())).collect();
    assert_eq!(entries, [(KeyGroup(7), b"key".to_vec(), b"value".to_vec())]);
}
