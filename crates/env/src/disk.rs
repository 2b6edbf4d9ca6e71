//! Files, by argument. The simulated disk (torn writes, lost pages) is in `disk/simulated.rs`.

mod real;
mod simulated;

pub use real::RealDisk;
pub use simulated::{DiskCalls, DiskFault, SimDisk};

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; writes fail.
    Read,
    /// It must exist.
    ReadWrite,
    /// It is made if missing and kept if there.
    Create,
    /// It must not exist.
    CreateNew,
}

/// A directory's entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskEntry {
    /// The name within its directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length in bytes; 0 for directories.
    pub len: u64,
}

/// A file system.
///
/// # Contract
/// What was written is durable only after [`DiskFile::sync_data`]; a name that was made, renamed
/// or removed is durable only after [`Disk::sync_dir`] of its directory.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory and its parents; not an error if it is there. Syncs the parents it makes.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Renames, replacing what bears the name `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all below it; not an error if it is missing.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The entries of a directory, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>>;
    /// Whether a file or directory has this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// The room of the file system that holds `path`; none if it is not known.
    fn space(&self, path: &Path) -> io::Result<Option<DiskSpace>> {
        let _ = path;
        Ok(None)
    }
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes several files durable, possibly at once: [`DiskFile::sync_data`] of each.
    fn sync_files(&self, files: &[Arc<dyn DiskFile>]) -> io::Result<()> {
        files.iter().try_for_each(|file| file.sync_data())
    }
    /// Locks a file (made if missing) against other processes until the lock is dropped.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
}

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total: u64,
    /// What this process may still use.
    pub usable: u64,
}

/// A lock held until dropped.
pub trait DiskLock: Send + Sync {}

/// An open file, shared by threads. Positions are bytes from the start.
pub trait DiskFile: Send + Sync {
    /// Reads up to `buf.len()` bytes from `pos`; 0 means the end of the file.
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize>;
    /// Writes all of `buf` at `pos`, growing the file if needed.
    fn write_all_at(&self, buf: &[u8], pos: u64) -> io::Result<()>;
    /// Writes all `parts`, one after the other, at `pos`.
    fn write_all_parts_at(&self, parts: &[&[u8]], pos: u64) -> io::Result<()> {
        let mut at = pos;
        for part in parts {
            self.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }
    /// fdatasync: makes all bytes written so far, and the length, durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Whether the `len` bytes at `pos` are in the page cache, as far as a few of them tell: then
    /// [`DiskFile::send`] hardly waits for the disk. False if it is not known.
    fn is_cached(&self, pos: u64, len: usize) -> bool {
        let _ = (pos, len);
        false
    }
    /// Lets the system begin to store the `len` bytes at `pos`, so that a later sync finds little left to
    /// do and holds up no other. Only a hint: it does not wait and promises nothing.
    fn begin_writeback(&self, pos: u64, len: u64) {
        let _ = (pos, len);
    }
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the length is 0.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts the file, or grows it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Sends up to `len` bytes from `pos` into a socket; 0 means the end of the file. Where the system can,
    /// they go there from the page cache, without a copy in this process.
    ///
    /// # Errors
    /// `WouldBlock` if a non-blocking socket is full; those of reading and of writing to the socket.
    fn send(&self, socket: BorrowedFd<'_>, pos: u64, len: usize) -> io::Result<usize> {
        const PIECE_BYTES: usize = 256 << 10;
        let piece = self.read_vec_at(len.min(PIECE_BYTES), pos)?;
        if piece.is_empty() { Ok(0) } else { Ok(rustix::io::write(socket, &piece)?) }
    }

    /// Reads exactly `buf.len()` bytes from `pos`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, buf: &mut [u8], pos: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            match self.read_at(&mut buf[done..], pos + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }

    /// Up to `len` bytes from `pos`: fewer only at the end of the file.
    fn read_vec_at(&self, len: usize, pos: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            match self.read_at(&mut bytes[done..], pos + done as u64)? {
                0 => break,
                n => done += n,
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }

    /// The whole file.
    fn read_all(&self) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.len()?).map_err(io::Error::other)?;
        let mut all = vec![0; len];
        self.read_exact_at(&mut all, 0)?;
        Ok(all)
    }
}
