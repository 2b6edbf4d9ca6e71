//! Where a soak keeps what it needs to go on: the node's data, the history, and the options that must not
//! change in between.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use highwater_env::{Disk, DiskLock, OpenMode, RealDisk};
use serde::{Deserialize, Serialize};

use super::SoakOptions;

const HISTORY_FILE: &str = "history.jsonl";
const DATA_DIR: &str = "data";
const OPTIONS_FILE: &str = "soak.json";
const LOCK_FILE: &str = "soak.lock";
/// Of the options file, and of what the history means.
const FORMAT: u32 = 1;

/// Whatever else went on in the directory would be judged wrongly: another number of partitions, or
/// transactions left open by ids that nobody takes over any more.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: u32,
    partitions: i32,
    transactional: usize,
    copiers: usize,
}

impl Kept {
    fn of(options: &SoakOptions) -> Self {
        let SoakOptions { partitions, transactional, copiers, .. } = *options;
        Self { format: FORMAT, partitions, transactional, copiers }
    }
}

/// A directory that is this soak's alone.
pub(super) struct Directory {
    path: PathBuf,
    _lock: Box<dyn DiskLock>,
}

impl Directory {
    /// Opens it, new or left by an earlier soak, however that ended.
    ///
    /// # Errors
    /// If another soak runs there, what lies there is not a soak's, or the options differ.
    pub(super) fn open(options: &SoakOptions) -> Result<Self> {
        let path = options.dir.clone();
        let shown = options.dir.display();
        RealDisk.create_dir_all(&path).with_context(|| format!("cannot make {shown}"))?;
        let lock = match RealDisk.lock(&path.join(LOCK_FILE)) {
            Ok(lock) => lock,
            Err(e) if e.kind() == ErrorKind::WouldBlock => bail!("another soak runs in {shown}"),
            Err(e) => return Err(e).with_context(|| format!("cannot lock {shown}")),
        };
        let directory = Self { path, _lock: lock };
        let is_there = |name: &str| RealDisk.exists(&directory.path.join(name));
        let (has_history, has_data) = (is_there(HISTORY_FILE)?, is_there(DATA_DIR)?);
        let asked = Kept::of(options);
        if is_there(OPTIONS_FILE)? {
            let kept = directory.kept()?;
            ensure!(kept == asked, "{shown} was begun with {kept:?}, not {asked:?}: name another directory");
            ensure!(has_history || !has_data, "{shown} has lost its history: name another directory");
        } else {
            let is_new = !has_history && !has_data;
            ensure!(is_new, "{shown} was not begun by this version of the soak: name another directory");
            directory.keep(&asked)?;
        }
        Ok(directory)
    }

    pub(super) fn history(&self) -> PathBuf {
        self.path.join(HISTORY_FILE)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join(DATA_DIR)
    }

    fn kept(&self) -> Result<Kept> {
        let path = self.path.join(OPTIONS_FILE);
        let read = |path: &Path| RealDisk.open(path, OpenMode::Read)?.read_all();
        let bytes = read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} makes no sense", path.display()))
    }

    fn keep(&self, kept: &Kept) -> Result<()> {
        // Renamed when it is whole: a soak that is killed here begins anew.
        let (path, new) = (self.path.join(OPTIONS_FILE), self.path.join("soak.json.new"));
        let bytes = serde_json::to_vec(kept)?;
        let file = RealDisk.open(&new, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_all_at(&bytes, 0)?;
        Ok(RealDisk.rename(&new, &path)?)
    }
}
