//! Writing groups. One caller at a time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_env::{Disk, DiskFile, Entropy, OpenMode};

use super::{Effect, FileHeader, GroupHeader, HEADER_BYTES, PAGE, WalFileFound, encode_frame};
use crate::core::Frame;
use crate::error::is_disk_full;

/// Why a group was not written.
#[derive(Debug)]
pub(crate) enum WriteFailed {
    /// No space, and the files written before are unharmed.
    DiskFull,
    /// All files hold groups that no checkpoint covers.
    FilesInUse,
    /// Anything else: the log must stop.
    Broken(io::Error),
}

impl From<io::Error> for WriteFailed {
    fn from(error: io::Error) -> Self {
        if is_disk_full(&error) { Self::DiskFull } else { Self::Broken(error) }
    }
}

pub(crate) struct WalWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    entropy: Arc<dyn Entropy>,
    file_bytes: u64,
    zero_bytes: u64,
    files_max: usize,
    next_generation: u64,
    next_slot: u64,
    /// Oldest first; the last one is written to if `current` says so.
    files: Vec<WalFile>,
    current: Option<Current>,
}

struct WalFile {
    file: Arc<dyn DiskFile>,
    /// Bytes known to be allocated.
    allocated: u64,
    /// Last group written to it.
    last_sequence: u64,
}

/// How the newest file is being written.
struct Current {
    header: FileHeader,
    header_written: bool,
    pos: u64,
}

/// Sizes and where to write.
pub(crate) struct WalSettings {
    pub(crate) dir: PathBuf,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) file_bytes: u64,
    pub(crate) zero_bytes: u64,
    pub(crate) files_max: usize,
}

impl WalWriter {
    /// A writer behind the files that were found, oldest first with their last sequences. It
    /// never appends to them; it recycles them once they are covered.
    pub(crate) fn new(disk: Arc<dyn Disk>, settings: WalSettings, found: Vec<(WalFileFound, u64)>) -> Self {
        let next_generation = found.iter().map(|(f, _)| f.generation()).max().unwrap_or(0) + 1;
        let next_slot = found.iter().map(|(f, _)| f.slot + 1).max().unwrap_or(0);
        let files = found.into_iter().map(|(found, last_sequence)| {
            let allocated = found.len - found.len % PAGE;
            WalFile { file: found.file, allocated, last_sequence }
        });
        Self {
            disk,
            dir: settings.dir,
            entropy: settings.entropy,
            file_bytes: settings.file_bytes,
            zero_bytes: settings.zero_bytes,
            files_max: settings.files_max,
            next_generation,
            next_slot,
            files: files.collect(),
            current: None,
        }
    }

    /// Writes a group without syncing it. `checkpointed`: groups up to this one are in segments.
    pub(crate) fn write(
        &mut self,
        sequence: u64,
        durable: u64,
        frames: &[Frame],
        checkpointed: u64,
    ) -> Result<(), WriteFailed> {
        let bytes: usize = frames.iter().map(Frame::wal_bytes).sum();
        let bytes = u32::try_from(bytes).expect("a group is below group_bytes_max + batch_bytes_max");
        let mut header = GroupHeader { generation: 0, sequence, durable, frames: 0, bytes };
        header.frames = u32::try_from(frames.len()).expect("each frame takes 32 bytes of a group");
        let frees = frames.iter().all(|frame| frame.change.effect() == Effect::Frees);
        let kept_free = if frees { 0 } else { self.kept_free() };
        // A page more for the mark.
        self.make_room(header.extent() + PAGE + kept_free, sequence, checkpointed)?;
        let (Some(current), Some(file)) = (&mut self.current, self.files.last_mut()) else {
            return Err(WriteFailed::Broken(io::Error::other("no write-ahead file")));
        };
        header.generation = current.header.generation;
        if !current.header_written {
            // Durable before any group: a header that is no header means that no group follows.
            file.file.write_all_at(&current.header.encode(), 0)?;
            file.file.sync_data().map_err(WriteFailed::Broken)?;
            current.header_written = true;
        }
        let seed = current.header.crc_seed();
        let head = header.encode(seed);
        let heads: Vec<_> = frames.iter().map(|frame| encode_frame(frame, seed)).collect();
        let mut parts: Vec<&[u8]> = Vec::with_capacity(1 + 2 * frames.len());
        parts.push(&head);
        for (head, frame) in heads.iter().zip(frames) {
            parts.push(head);
            if !frame.payload.is_empty() {
                parts.push(&frame.payload);
            }
        }
        file.file.write_all_parts_at(&parts, current.pos)?;
        current.pos += header.extent();
        file.last_sequence = sequence;
        Ok(())
    }

    /// What is kept free in the newest file for deletions: they must go on once the disk is full.
    fn kept_free(&self) -> u64 {
        (self.file_bytes / 64).next_multiple_of(PAGE)
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.files.last().map_or(Ok(()), |file| file.file.sync_data())
    }

    /// Notes behind the last group that it is durable. Not synced: a later group or close does.
    pub(crate) fn write_mark(&mut self, durable: u64) -> io::Result<()> {
        let (Some(current), Some(file)) = (&self.current, self.files.last()) else { return Ok(()) };
        if current.pos + PAGE > file.allocated || !current.header_written {
            return Ok(());
        }
        let generation = current.header.generation;
        let mark = GroupHeader { generation, sequence: durable, durable, frames: 0, bytes: 0 };
        file.file.write_all_at(&mark.encode(current.header.crc_seed()), current.pos)
    }

    /// Finds room for `extent` bytes of groups, in the current file or the next one.
    fn make_room(&mut self, extent: u64, sequence: u64, checkpointed: u64) -> Result<(), WriteFailed> {
        let fits = self.current.as_ref().is_some_and(|current| current.pos + extent <= self.file_bytes);
        if !fits {
            self.rotate(sequence, checkpointed)?;
        }
        let (Some(current), Some(file)) = (&self.current, self.files.last_mut()) else {
            return Err(WriteFailed::Broken(io::Error::other("no write-ahead file")));
        };
        let end = current.pos + extent;
        while file.allocated < end {
            let step = self.zero_bytes.max(end - file.allocated).next_multiple_of(PAGE);
            let step = step.min(self.file_bytes.max(end) - file.allocated);
            zero(file.file.as_ref(), file.allocated, step)?;
            file.allocated += step;
        }
        Ok(())
    }

    /// Turns to the next file: the oldest if a checkpoint covers it, else a new one.
    fn rotate(&mut self, sequence: u64, checkpointed: u64) -> Result<(), WriteFailed> {
        // Never the newest: its end is known only by what follows it.
        let reusable = self.files.len() > 1;
        if reusable && self.files.first().is_some_and(|oldest| oldest.last_sequence <= checkpointed) {
            let recycled = self.files.remove(0);
            self.files.push(recycled);
        } else if self.files.len() < self.files_max {
            let file = self.create()?;
            self.files.push(file);
        } else {
            return Err(WriteFailed::FilesInUse);
        }
        let generation = self.next_generation;
        self.next_generation += 1;
        let header = FileHeader { generation, salt: self.entropy.next_u64(), first_sequence: sequence };
        self.current = Some(Current { header, header_written: false, pos: PAGE });
        Ok(())
    }

    fn create(&mut self) -> io::Result<WalFile> {
        let path = wal_path(&self.dir, self.next_slot);
        let file = self.disk.open(&path, OpenMode::Create)?;
        self.disk.sync_dir(&self.dir)?;
        self.next_slot += 1;
        Ok(WalFile { allocated: 0, file, last_sequence: 0 })
    }

    /// How many files hold groups that no checkpoint covers, the current one excepted.
    pub(crate) fn uncovered(&self, checkpointed: u64) -> usize {
        let sealed = self.files.len().saturating_sub(1);
        self.files[..sealed].iter().filter(|file| file.last_sequence > checkpointed).count()
    }
}

pub(crate) fn wal_path(dir: &Path, slot: u64) -> PathBuf {
    dir.join(format!("{slot:06}.wal"))
}

fn zero(file: &dyn DiskFile, pos: u64, len: u64) -> io::Result<()> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    let mut at = pos;
    while at < pos + len {
        let n = (pos + len - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..usize::try_from(n).unwrap_or(ZEROS.len())], at)?;
        at += n;
    }
    Ok(())
}

const _: () = assert!(HEADER_BYTES as u64 <= PAGE);
