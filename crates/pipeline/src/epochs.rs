//! A pipeline's epochs on disk.
//!
//! ```text
//! epochs/
//!   00000000000000000041.snapshot     state of epoch 41 (`highwater_state::encode_snapshots`)
//!   00000000000000000042.snapshot     what changed in epoch 42
//!   00000000000000000042.manifest     makes epoch 42 real (`highwater_checkpoint::Manifest`)
//!   committed                         the last epoch that all sinks made visible, decimal
//! ```
//!
//! A manifest appears whole, by rename, after everything it names is durable. The highest one counts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use highwater_checkpoint::{Manifest, ManifestError};
use highwater_env::{Disk, Epoch, OpenMode};
use highwater_state::{OperatorSnapshot, RestoredState, StateError, decode_snapshots, encode_snapshots};

const SNAPSHOT: &str = ".snapshot";
const MANIFEST: &str = ".manifest";
const TEMPORARY: &str = ".tmp";
const COMMITTED: &str = "committed";

/// An epoch could not be stored or read back.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct EpochError {
    path: PathBuf,
    cause: EpochCause,
}

/// Why.
#[derive(Debug, thiserror::Error)]
pub enum EpochCause {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A snapshot.
    #[error(transparent)]
    Snapshot(#[from] StateError),
}

impl EpochError {
    /// Whether trying again may help: the disk may have room or answer later.
    pub fn retry(&self) -> bool {
        let lost = [io::ErrorKind::NotFound, io::ErrorKind::InvalidData];
        matches!(&self.cause, EpochCause::Disk(error) if !lost.contains(&error.kind()))
    }
}

/// Where one pipeline's epochs are kept.
pub struct EpochStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl EpochStore {
    /// The store in `dir`, made if missing.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, EpochError> {
        disk.create_dir_all(dir).map_err(|e| EpochError { path: dir.to_owned(), cause: e.into() })?;
        Ok(Self { disk, dir: dir.to_owned() })
    }

    /// Makes an epoch's snapshots durable; gives the file's name and length, or None if there is no state.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn store_snapshot(
        &self,
        epoch: Epoch,
        operators: &[OperatorSnapshot],
    ) -> Result<Option<(String, u64)>, EpochError> {
        if operators.is_empty() {
            return Ok(None);
        }
        let bytes = encode_snapshots(operators);
        let name = file_name(epoch, SNAPSHOT);
        self.write_whole(&name, &bytes)?;
        Ok(Some((name, bytes.len() as u64)))
    }

    /// Makes a manifest durable: from here on the epoch is restorable.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn store_manifest(&self, manifest: &Manifest) -> Result<(), EpochError> {
        self.write_whole(&file_name(manifest.epoch, MANIFEST), &manifest.encode())
    }

    fn write_whole(&self, name: &str, bytes: &[u8]) -> Result<(), EpochError> {
        let path = self.dir.join(name);
        let temporary = self.dir.join(format!("{name}{TEMPORARY}"));
        let write = || {
            let file = self.disk.open(&temporary, OpenMode::Create)?;
            file.set_len(0)?;
            file.write_all_at(bytes, 0)?;
            file.sync_data()?;
            self.disk.rename(&temporary, &path)?;
            self.disk.sync_dir(&self.dir)
        };
        write().map_err(|cause: io::Error| EpochError { path: path.clone(), cause: cause.into() })
    }

    /// The last restorable epoch and the state at its end.
    ///
    /// # Errors
    /// If a file is missing, damaged, or of a newer version: an older epoch is never taken instead.
    pub fn latest(&self) -> Result<Option<(Manifest, RestoredState)>, EpochError> {
        let Some(manifest) = self.latest_manifest()? else { return Ok(None) };
        let at = |name: &str, cause| EpochError { path: self.dir.join(name), cause };
        let mut state = RestoredState::new();
        for file in &manifest.chain {
            let snapshots = decode_snapshots(&Bytes::from(self.read(&file.name)?))
                .map_err(|e| at(&file.name, e.into()))?;
            state.apply(&snapshots).map_err(|e| at(&file.name, e.into()))?;
        }
        for position in &manifest.positions {
            state.set_position(position.clone());
        }
        Ok(Some((manifest, state)))
    }

    /// The last restorable epoch, without its state.
    ///
    /// # Errors
    /// If the manifest is damaged or of a newer version.
    pub fn latest_manifest(&self) -> Result<Option<Manifest>, EpochError> {
        let Some(name) = self.names(MANIFEST)?.pop() else { return Ok(None) };
        let decoded = Manifest::decode(&self.read(&name)?);
        decoded.map(Some).map_err(|e| EpochError { path: self.dir.join(name), cause: e.into() })
    }

    /// Notes that all sinks made `epoch` visible. Not synced: after a power cut the epoch is
    /// committed once more, which sinks must bear.
    ///
    /// # Errors
    /// If it cannot be written; nothing is lost by that.
    pub fn note_committed(&self, epoch: Epoch) -> Result<(), EpochError> {
        let path = self.dir.join(COMMITTED);
        // Twenty digits, so that a shorter number never leaves digits of a longer one behind.
        let text = format!("{:020}", epoch.0);
        let written =
            self.disk.open(&path, OpenMode::Create).and_then(|file| file.write_all_at(text.as_bytes(), 0));
        written.map_err(|e| EpochError { path, cause: e.into() })
    }

    /// Whether it is noted that all sinks made `epoch` visible.
    pub fn is_committed(&self, epoch: Epoch) -> bool {
        self.read(COMMITTED).is_ok_and(|text| text == format!("{:020}", epoch.0).as_bytes())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, EpochError> {
        let path = self.dir.join(name);
        let read = self.disk.open(&path, OpenMode::Read).and_then(|file| file.read_all());
        read.map_err(|e| EpochError { path, cause: e.into() })
    }

    /// Removes manifests older than `epoch`, snapshots that are not in `keep`, and leftovers.
    ///
    /// # Errors
    /// If a file cannot be removed; nothing is lost by that.
    pub fn release(&self, epoch: Epoch, keep: &[String]) -> Result<(), EpochError> {
        let current = file_name(epoch, MANIFEST);
        let old_manifests = self.names(MANIFEST)?.into_iter().filter(|name| *name < current);
        // An epoch under way has a higher number than the one released: its snapshot stays.
        let newest = file_name(epoch, SNAPSHOT);
        let old_snapshots =
            self.names(SNAPSHOT)?.into_iter().filter(|name| *name <= newest && !keep.contains(name));
        for name in old_manifests.chain(old_snapshots) {
            let path = self.dir.join(name);
            self.disk.remove_file(&path).map_err(|e| EpochError { path, cause: e.into() })?;
        }
        Ok(())
    }

    /// File names with this ending, lowest epoch first.
    fn names(&self, ending: &str) -> Result<Vec<String>, EpochError> {
        let entries = self.disk.list(&self.dir);
        let entries = entries.map_err(|e| EpochError { path: self.dir.clone(), cause: e.into() })?;
        Ok(entries.into_iter().map(|entry| entry.name).filter(|name| name.ends_with(ending)).collect())
    }
}

/// Twenty digits, so that names sort like epochs.
fn file_name(epoch: Epoch, ending: &str) -> String {
    format!("{:020}{ending}", epoch.0)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests damage files behind the store's back")]
mod tests {
    use highwater_checkpoint::SnapshotRef;
    use highwater_env::{KeyGroup, RealDisk};
    use highwater_state::SectionWriter;

    use super::*;

    fn snapshot(full: bool, key: &[u8], value: &[u8]) -> OperatorSnapshot {
        let mut section = SectionWriter::default();
        section.put(key, |out| out.extend_from_slice(value));
        let sections = vec![(KeyGroup(7), section.finish())];
        OperatorSnapshot { uid: "sum".into(), shard: 0, shards: 1, full, watermark: 5, sections }
    }

    fn manifest(epoch: u64, chain: &[(u64, bool)]) -> Manifest {
        let file = |(epoch, full): &(u64, bool)| SnapshotRef {
            epoch: Epoch(*epoch),
            name: file_name(Epoch(*epoch), SNAPSHOT),
            bytes: 1,
            full: *full,
        };
        Manifest {
            pipeline: "p".into(),
            epoch: Epoch(epoch),
            fingerprint: "f".into(),
            shards: 1,
            positions: Vec::new(),
            chain: chain.iter().map(file).collect(),
            committables: Vec::new(),
            finished: false,
        }
    }

    #[test]
    fn the_highest_manifest_gives_the_merged_state() {
        let dir = tempfile::tempdir().unwrap();
        let store = EpochStore::open(Arc::new(RealDisk), dir.path()).unwrap();
        assert!(store.latest().unwrap().is_none());
        store.store_snapshot(Epoch(1), &[snapshot(true, b"a", b"1")]).unwrap();
        store.store_manifest(&manifest(1, &[(1, true)])).unwrap();
        store.store_snapshot(Epoch(2), &[snapshot(false, b"b", b"2")]).unwrap();
        assert_eq!(store.latest().unwrap().unwrap().0.epoch, Epoch(1), "a snapshot alone is no epoch");
        store.store_manifest(&manifest(2, &[(1, true), (2, false)])).unwrap();

        let (latest, state) = store.latest().unwrap().unwrap();
        assert_eq!(latest.epoch, Epoch(2));
        let entries: Vec<_> =
            state.entries("sum", 0, 1).map(|(_, key, value)| (key.to_vec(), value.to_vec())).collect();
        assert_eq!(entries, [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);

        store.store_snapshot(Epoch(3), &[snapshot(true, b"c", b"3")]).unwrap();
        store.store_snapshot(Epoch(4), &[snapshot(false, b"d", b"4")]).unwrap();
        store.store_manifest(&manifest(3, &[(3, true)])).unwrap();
        store.release(Epoch(3), &[file_name(Epoch(3), SNAPSHOT)]).unwrap();
        assert_eq!(
            store.names(SNAPSHOT).unwrap(),
            [file_name(Epoch(3), SNAPSHOT), file_name(Epoch(4), SNAPSHOT)]
        );
        assert_eq!(store.names(MANIFEST).unwrap(), [file_name(Epoch(3), MANIFEST)]);
    }

    #[test]
    fn damage_is_reported_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = EpochStore::open(Arc::new(RealDisk), dir.path()).unwrap();
        store.store_snapshot(Epoch(1), &[snapshot(true, b"a", b"1")]).unwrap();
        store.store_manifest(&manifest(1, &[(1, true)])).unwrap();
        let path = dir.path().join(file_name(Epoch(1), SNAPSHOT));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[12] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = store.latest().unwrap_err().to_string();
        assert!(error.contains("0001.snapshot: corrupt snapshot: CRC-32C"), "{error}");
    }
}
