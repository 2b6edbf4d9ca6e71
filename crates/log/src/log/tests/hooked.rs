//! A disk that does something else during one `sync_files`.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use highwater_env::{Disk, DiskEntry, DiskFile, DiskLock, OpenMode, SimDisk};

type Hook = Box<dyn FnOnce() + Send>;

#[derive(Clone)]
pub(super) struct Hooked {
    pub(super) sim: SimDisk,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Hooked {
    pub(super) fn new(sim: SimDisk) -> Self {
        Self { sim, hook: Arc::default() }
    }

    /// Runs `hook` at the beginning of the next `sync_files`.
    pub(super) fn on_sync_files(&self, hook: impl FnOnce() + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }
}

impl Disk for Hooked {
    fn sync_files(&self, files: &[Arc<dyn DiskFile>]) -> io::Result<()> {
        let hook = self.hook.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        self.sim.sync_files(files)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.sim.open(path, mode)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.sim.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.sim.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.sim.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.sim.remove_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        self.sim.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.sim.exists(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.sim.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.sim.lock(path)
    }
}
