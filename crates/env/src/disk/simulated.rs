//! A disk that forgets: what was not synced may be lost, in part or whole, when the power goes.
//!
//! Every file has the bytes a reader sees and the bytes that are durable; every directory has the
//! names a reader sees and those that are durable. [`SimDisk::crash`] keeps an arbitrary subset
//! of the unsynced 512-byte sectors, of the unsynced growth, and of the unsynced name changes.
//! The same seed forgets the same.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskEntry, DiskFile, DiskLock, OpenMode};
use crate::{Entropy, SeededEntropy};

/// What a disk writes whole or not at all, in bytes.
const SECTOR: u64 = 512;

/// A simulated disk; clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<World>>);

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// A write fails with EIO, having written an arbitrary part.
    WriteFails,
    /// fdatasync fails with EIO; what it should have made durable may be lost, even if a later one
    /// succeeds.
    SyncFails,
    /// A read fails with EIO.
    ReadFails,
    /// Nothing works until [`SimDisk::crash`]; a write under way is cut short.
    PowerOff,
}

/// How often each call was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCalls {
    /// Reads.
    pub reads: u64,
    /// Bytes that they returned.
    pub read_bytes: u64,
    /// Writes and changes of length.
    pub writes: u64,
    /// fdatasync.
    pub syncs: u64,
    /// Syncs of a directory.
    pub dir_syncs: u64,
    /// Names made, renamed or removed.
    pub names: u64,
}

struct World {
    entropy: SeededEntropy,
    files: HashMap<u64, Content>,
    next_file: u64,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    /// Changes since the last sync of their directory, oldest first.
    unsynced_names: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    /// Counts crashes: files opened before one are dead.
    boot: u64,
    powered: bool,
    /// What fails, and how many calls of its kind succeed before.
    faults: Vec<(DiskFault, u64)>,
    capacity: Option<u64>,
    ignore_syncs: bool,
    calls: DiskCalls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

struct NameChange {
    dir: PathBuf,
    /// Names with what they mean afterwards.
    after: Vec<(PathBuf, Option<Node>)>,
}

#[derive(Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync.
    unsynced: BTreeSet<u64>,
}

impl SimDisk {
    /// An empty disk whose losses follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            entropy: SeededEntropy::new(seed),
            files: HashMap::new(),
            next_file: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            locks: BTreeSet::new(),
            boot: 0,
            powered: true,
            faults: Vec::new(),
            capacity: None,
            ignore_syncs: false,
            calls: DiskCalls::default(),
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes and comes back: unsynced changes are lost at random, open files are dead,
    /// locks are free, faults are forgotten.
    pub fn crash(&self) {
        self.world().crash();
    }

    /// Lets `after` calls of the fault's kind succeed (for `PowerOff`: changes of any kind), then
    /// fails one; a power cut lasts.
    pub fn inject(&self, fault: DiskFault, after: u64) {
        self.world().faults.push((fault, after));
    }

    /// Forgets faults that have not struck yet.
    pub fn clear_faults(&self) {
        self.world().faults.clear();
    }

    /// Limits the sum of all files' lengths in bytes; growing beyond it fails with ENOSPC.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world().capacity = bytes;
    }

    /// Makes fdatasync a lie that reports success: to prove that a test notices.
    pub fn ignore_syncs(&self, ignore: bool) {
        self.world().ignore_syncs = ignore;
    }

    /// Calls so far.
    pub fn calls(&self) -> DiskCalls {
        self.world().calls
    }

    /// All files with their lengths, by path.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let world = self.world();
        let len = |id: &u64| world.files.get(id).map_or(0, |content| content.seen.len() as u64);
        let files = world.names.iter().filter_map(|(path, node)| match node {
            Node::File(id) => Some((path.clone(), len(id))),
            Node::Dir => None,
        });
        files.collect()
    }

    /// Inverts one bit of a file, durably. Whether there is such a byte.
    pub fn flip_bit(&self, path: &Path, byte: u64, bit: u8) -> bool {
        let mut world = self.world();
        let Some(Node::File(id)) = world.names.get(path).copied() else { return false };
        let Some(content) = world.files.get_mut(&id) else { return false };
        let Ok(at) = usize::try_from(byte) else { return false };
        let Some(seen) = content.seen.get_mut(at) else { return false };
        *seen ^= 1 << (bit & 7);
        if let Some(durable) = content.durable.get_mut(at) {
            *durable ^= 1 << (bit & 7);
        }
        true
    }
}

impl World {
    fn check_power(&self, boot: u64) -> io::Result<()> {
        match self.powered && boot == self.boot {
            true => Ok(()),
            false => Err(io::Error::other("simulated power loss")),
        }
    }

    /// Counts down faults of this kind; whether one is due.
    fn due(&mut self, fault: DiskFault) -> bool {
        let mut due = false;
        self.faults.retain_mut(|(kind, after)| {
            if *kind != fault || due {
                return true;
            }
            due = *after == 0;
            *after = after.saturating_sub(1);
            !due
        });
        due
    }

    /// To be called by every change; true if the power goes during this one.
    fn power_goes(&mut self) -> bool {
        let goes = self.due(DiskFault::PowerOff);
        if goes {
            self.powered = false;
        }
        goes
    }

    /// Bytes of all files that have a name.
    fn used(&self) -> u64 {
        let len = |node: &Node| match node {
            Node::File(id) => self.files.get(id).map_or(0, |content| content.seen.len() as u64),
            Node::Dir => 0,
        };
        self.names.values().map(len).sum()
    }

    fn check_space(&self, id: u64, end: u64) -> io::Result<()> {
        let len = self.files.get(&id).map_or(0, |content| content.seen.len() as u64);
        let grows = end.saturating_sub(len);
        match self.capacity {
            Some(capacity) if grows > 0 && self.used() + grows > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn change_names(&mut self, dir: &Path, after: Vec<(PathBuf, Option<Node>)>) -> io::Result<()> {
        self.calls.names += 1;
        if self.power_goes() {
            return Err(io::Error::other("simulated power loss"));
        }
        apply(&mut self.names, &after);
        self.unsynced_names.push(NameChange { dir: dir.to_owned(), after });
        Ok(())
    }

    fn crash(&mut self) {
        let changes = std::mem::take(&mut self.unsynced_names);
        for change in changes {
            if self.entropy.below(2) == 0 {
                apply(&mut self.durable_names, &change.after);
            }
        }
        self.names = self.durable_names.clone();
        let mut ids: Vec<u64> = self.files.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(content) = self.files.get_mut(&id) {
                content.crash(&self.entropy);
            }
        }
        self.locks.clear();
        self.faults.clear();
        self.powered = true;
        self.boot += 1;
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, after: &[(PathBuf, Option<Node>)]) {
    for (path, node) in after {
        match node {
            Some(node) => names.insert(path.clone(), *node),
            None => names.remove(path),
        };
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], pos: u64) {
        let start = usize::try_from(pos).expect("simulated files fit in memory");
        let end = start + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[start..end].copy_from_slice(bytes);
        if !bytes.is_empty() {
            self.unsynced.extend(pos / SECTOR..=(end as u64 - 1) / SECTOR);
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.seen.len(), 0);
        for sector in std::mem::take(&mut self.unsynced) {
            copy_sector(&self.seen, &mut self.durable, sector);
        }
    }

    /// As Linux does: what could not be written counts as clean, and no later sync writes it again
    /// unless it is changed again. Readers see it until the power goes.
    fn fail_sync(&mut self, entropy: &SeededEntropy) {
        self.unsynced.retain(|_| entropy.below(2) == 0);
    }

    fn crash(&mut self, entropy: &SeededEntropy) {
        let (low, high) = (self.durable.len().min(self.seen.len()), self.durable.len().max(self.seen.len()));
        let len = match entropy.below(3) {
            0 => self.durable.len(),
            1 => self.seen.len(),
            _ => low + usize::try_from(entropy.below((high - low) as u64 + 1)).unwrap_or(0),
        };
        self.durable.resize(len, 0);
        // Sometimes all, sometimes nothing, mostly a part.
        let keep_of_8 = entropy.below(9);
        for sector in std::mem::take(&mut self.unsynced) {
            if entropy.below(8) < keep_of_8 {
                copy_sector(&self.seen, &mut self.durable, sector);
            }
        }
        self.seen = self.durable.clone();
    }
}

/// Copies what both have of a sector.
fn copy_sector(from: &[u8], to: &mut [u8], sector: u64) {
    let start = usize::try_from(sector * SECTOR).expect("simulated files fit in memory");
    let end = (start + 512).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

fn is_root(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.parent().is_none()
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        world.check_power(world.boot)?;
        let id = match (world.names.get(path).copied(), mode) {
            (Some(Node::Dir), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(_)), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Node::File(id)), _) => id,
            (None, OpenMode::Read | OpenMode::ReadWrite) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                let dir = parent(path);
                if !is_root(&dir) && world.names.get(&dir) != Some(&Node::Dir) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let id = world.next_file;
                world.next_file += 1;
                world.files.insert(id, Content::default());
                world.change_names(&dir, vec![(path.to_owned(), Some(Node::File(id)))])?;
                id
            }
        };
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(SimFile { disk: self.clone(), id, boot: world.boot, writable }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.check_power(world.boot)?;
        let mut missing = Vec::new();
        let mut at = path.to_owned();
        while !is_root(&at) {
            match world.names.get(&at) {
                Some(Node::Dir) => break,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => missing.push(at.clone()),
            }
            at = parent(&at);
        }
        for dir in missing.into_iter().rev() {
            world.change_names(&parent(&dir), vec![(dir.clone(), Some(Node::Dir))])?;
            world.sync_dir(&parent(&dir))?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.check_power(world.boot)?;
        let node = world.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        world.change_names(&parent(to), vec![(from.to_owned(), None), (to.to_owned(), Some(node))])
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.check_power(world.boot)?;
        match world.names.get(path) {
            Some(Node::File(_)) => world.change_names(&parent(path), vec![(path.to_owned(), None)]),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.check_power(world.boot)?;
        let below: Vec<PathBuf> = world.names.keys().filter(|name| name.starts_with(path)).cloned().collect();
        for name in below.into_iter().rev() {
            world.change_names(&parent(&name), vec![(name.clone(), None)])?;
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        let world = self.world();
        world.check_power(world.boot)?;
        if !is_root(dir) && world.names.get(dir) != Some(&Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut entries = Vec::new();
        for (path, node) in &world.names {
            if parent(path) != dir || path == dir {
                continue;
            }
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let (is_dir, len) = match node {
                Node::Dir => (true, 0),
                Node::File(id) => (false, world.files.get(id).map_or(0, |content| content.seen.len() as u64)),
            };
            entries.push(DiskEntry { name, is_dir, len });
        }
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let world = self.world();
        world.check_power(world.boot)?;
        Ok(is_root(path) || world.names.contains_key(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.check_power(world.boot)?;
        world.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.open(path, OpenMode::Create)?;
        let mut world = self.world();
        match world.locks.insert(path.to_owned()) {
            true => Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned(), boot: world.boot })),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl World {
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.calls.dir_syncs += 1;
        if self.power_goes() {
            return Err(io::Error::other("simulated power loss"));
        }
        let changes = std::mem::take(&mut self.unsynced_names);
        for change in changes {
            match change.dir == dir {
                true => apply(&mut self.durable_names, &change.after),
                false => self.unsynced_names.push(change),
            }
        }
        Ok(())
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    boot: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.boot == self.boot {
            world.locks.remove(&self.path);
        }
    }
}

struct SimFile {
    disk: SimDisk,
    id: u64,
    boot: u64,
    writable: bool,
}

impl SimFile {
    /// The world, if the power is on and the file was opened since it came back.
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.disk.world();
        world.check_power(self.boot)?;
        Ok(world)
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.writable {
            true => Ok(()),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("simulated file is gone")
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let mut world = self.world()?;
        world.calls.reads += 1;
        if world.due(DiskFault::ReadFails) {
            return Err(io::Error::other("simulated EIO"));
        }
        let seen = &world.files.get(&self.id).ok_or_else(gone)?.seen;
        let start = usize::try_from(pos).unwrap_or(usize::MAX).min(seen.len());
        let n = buf.len().min(seen.len() - start);
        buf[..n].copy_from_slice(&seen[start..start + n]);
        world.calls.read_bytes += n as u64;
        Ok(n)
    }

    fn write_all_at(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut world = self.world()?;
        world.calls.writes += 1;
        world.check_space(self.id, pos + buf.len() as u64)?;
        let fails = world.due(DiskFault::WriteFails);
        let fails = world.power_goes() || fails;
        let part = match fails {
            true => usize::try_from(world.entropy.below(buf.len() as u64 + 1)).unwrap_or(0),
            false => buf.len(),
        };
        world.files.get_mut(&self.id).ok_or_else(gone)?.write(&buf[..part], pos);
        if fails { Err(io::Error::other("simulated EIO")) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.world()?;
        world.calls.syncs += 1;
        let fails = world.due(DiskFault::SyncFails);
        if world.power_goes() {
            return Err(io::Error::other("simulated power loss"));
        }
        if fails {
            let World { files, entropy, .. } = &mut *world;
            files.get_mut(&self.id).ok_or_else(gone)?.fail_sync(entropy);
            return Err(io::Error::other("simulated EIO"));
        }
        if !world.ignore_syncs {
            world.files.get_mut(&self.id).ok_or_else(gone)?.sync();
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.world()?.files.get(&self.id).ok_or_else(gone)?.seen.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut world = self.world()?;
        world.calls.writes += 1;
        world.check_space(self.id, len)?;
        if world.power_goes() {
            return Err(io::Error::other("simulated power loss"));
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let content = world.files.get_mut(&self.id).ok_or_else(gone)?;
        if len < content.seen.len() {
            // What is cut off must read as zeros when the file grows again, also after a crash.
            content.unsynced.extend(len as u64 / SECTOR..=content.seen.len() as u64 / SECTOR);
        }
        content.seen.resize(len, 0);
        Ok(())
    }
}
