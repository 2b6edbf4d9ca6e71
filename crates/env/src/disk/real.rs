//! The operating system's files.
#![expect(clippy::disallowed_methods, reason = "this is the one place that touches real files")]

use std::fs::{self, File, TryLockError};
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Disk, DiskEntry, DiskFile, DiskLock, DiskSpace, OpenMode};

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = File::options();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::ReadWrite => options.write(true),
            OpenMode::Create => options.write(true).create(true).truncate(false),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.create_dir_all(parent)?;
        }
        match fs::create_dir(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        path.parent().map_or(Ok(()), |parent| self.sync_dir(parent))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn space(&self, path: &Path) -> io::Result<Option<DiskSpace>> {
        let found = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Some(DiskSpace { total: bytes(found.f_blocks), usable: bytes(found.f_bavail) }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let about = entry.metadata()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let len = if about.is_dir() { 0 } else { about.len() };
            entries.push(DiskEntry { name, is_dir: about.is_dir(), len });
        }
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir)?.sync_all()
    }

    /// Syncs side by side: a journaling file system then commits many of them together. The caller
    /// works too, so that it goes on if the system gives no thread.
    fn sync_files(&self, files: &[Arc<dyn DiskFile>]) -> io::Result<()> {
        const AT_ONCE: usize = 16;
        if files.len() < 2 {
            return files.iter().try_for_each(|file| file.sync_data());
        }
        let next = AtomicUsize::new(0);
        let sync_some = || {
            while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                file.sync_data()?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let spawn = |_| thread::Builder::new().spawn_scoped(scope, sync_some).ok();
            let threads: Vec<_> = (1..AT_ONCE.min(files.len())).map_while(spawn).collect();
            let own = sync_some();
            let panicked = |_| Err(io::Error::other("a sync panicked"));
            threads.into_iter().fold(own, |so_far, thread| so_far.and(thread.join().unwrap_or_else(panicked)))
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

/// flock(2), released when the file closes, also by a crash.
struct RealLock {
    _file: File,
}

impl DiskLock for RealLock {}

struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.0.read_at(buf, pos)
    }

    fn write_all_at(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        self.0.write_all_at(buf, pos)
    }

    #[cfg(target_os = "linux")]
    fn write_all_parts_at(&self, parts: &[&[u8]], pos: u64) -> io::Result<()> {
        /// The kernel's limit of parts per call (IOV_MAX).
        const PARTS_MAX: usize = 1024;
        let mut at = pos;
        for run in parts.chunks(PARTS_MAX) {
            let mut slices: Vec<io::IoSlice<'_>> = run.iter().map(|part| io::IoSlice::new(part)).collect();
            let mut rest = &mut slices[..];
            io::IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                let n = match rustix::io::pwritev(&self.0, rest, at) {
                    Err(rustix::io::Errno::INTR) => continue,
                    done => done?,
                };
                if n == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                at += n as u64;
                io::IoSlice::advance_slices(&mut rest, n);
            }
        }
        Ok(())
    }

    /// Without zeroing the memory first.
    #[cfg(target_os = "linux")]
    fn read_vec_at(&self, len: usize, pos: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = pos + bytes.len() as u64;
            match rustix::io::pread(&self.0, rustix::buffer::spare_capacity(&mut bytes), at) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(0) => break,
                done => {
                    done?;
                }
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    /// By reading the first byte, the last, and one between them, if that does not wait (`RWF_NOWAIT`).
    #[cfg(target_os = "linux")]
    fn is_cached(&self, pos: u64, len: usize) -> bool {
        let last = (len as u64).saturating_sub(1);
        [0, last / 2, last].iter().all(|at| {
            let mut byte = [0];
            let mut into = [io::IoSliceMut::new(&mut byte)];
            let flags = rustix::io::ReadWriteFlags::NOWAIT;
            rustix::io::preadv2(&self.0, &mut into, pos + at, flags).is_ok_and(|read| read == 1)
        })
    }

    /// sendfile(2).
    #[cfg(target_os = "linux")]
    fn send(&self, socket: BorrowedFd<'_>, pos: u64, len: usize) -> io::Result<usize> {
        let mut at = pos;
        loop {
            match rustix::fs::sendfile(socket, &self.0, Some(&mut at), len) {
                Err(rustix::io::Errno::INTR) => {}
                done => return Ok(done?),
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    /// Linux writes dirty pages that are said not to be needed at once, and drops clean ones only: these
    /// stay cached.
    #[cfg(target_os = "linux")]
    fn begin_writeback(&self, pos: u64, len: u64) {
        if let Some(len) = std::num::NonZeroU64::new(len) {
            let _ = rustix::fs::fadvise(&self.0, pos, Some(len), rustix::fs::Advice::DontNeed);
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}
