//! Reading write-ahead files back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use highwater_env::{Disk, DiskFile, OpenMode, TopicPartition};

use super::{
    Change, FileHeader, GroupHeader, HEADER_BYTES, PAGE, WAL_VERSION, WAL_VERSION_MIN, decode_frame,
};
use crate::LogError;

/// A write-ahead file in the data directory.
pub(crate) struct WalFileFound {
    pub(crate) slot: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) len: u64,
    /// Absent if it was never written to.
    pub(crate) header: Option<FileHeader>,
}

impl WalFileFound {
    /// 0 if it was never written to.
    pub(crate) fn generation(&self) -> u64 {
        self.header.map_or(0, |header| header.generation)
    }

    fn corrupt(&self, pos: u64, what: String) -> LogError {
        LogError::Corrupt { path: self.path.clone(), pos, what }
    }
}

/// All write-ahead files, oldest generation first.
pub(crate) fn find_files(disk: &dyn Disk, dir: &Path) -> Result<Vec<WalFileFound>, LogError> {
    let mut found = Vec::new();
    let mut damaged = Vec::new();
    for entry in disk.list(dir).map_err(LogError::io("list", dir))? {
        let path = dir.join(&entry.name);
        let slot = entry.name.strip_suffix(".wal").and_then(|slot| slot.parse().ok());
        let slot =
            slot.ok_or_else(|| LogError::NotOurs { path: path.clone(), what: "unknown file".into() })?;
        let file = disk.open(&path, OpenMode::ReadWrite).map_err(LogError::io("open", &path))?;
        let len = file.len().map_err(LogError::io("read", &path))?;
        let mut found_file = WalFileFound { slot, path, file, len, header: None };
        match read_header(&found_file)? {
            Head::Valid(header) => found_file.header = Some(header),
            Head::Unused => {}
            Head::Damaged { generation } => damaged.push((found.len(), generation)),
        }
        found.push(found_file);
    }
    // Recycling starts with the oldest file, and the new header is synced before any group: torn,
    // it leaves groups of an old generation, which are in segments (if not, a gap shows it).
    let newest = found.iter().map(WalFileFound::generation).max().unwrap_or(0);
    if let Some((index, _)) = damaged.iter().find(|(_, generation)| *generation >= newest) {
        return Err(found[*index].corrupt(0, "damaged file header".into()));
    }
    found.sort_by_key(|file| (file.generation(), file.slot));
    if let Some(twin) =
        found.windows(2).find(|w| w[0].header.is_some() && w[0].generation() == w[1].generation())
    {
        let what = format!("generation {} is also in {}", twin[1].generation(), twin[0].path.display());
        return Err(twin[1].corrupt(0, what));
    }
    Ok(found)
}

enum Head {
    Valid(FileHeader),
    /// No group was ever written.
    Unused,
    /// The header is damaged; the newest group behind it is of this generation.
    Damaged {
        generation: u64,
    },
}

fn read_header(found: &WalFileFound) -> Result<Head, LogError> {
    let mut head = [0; HEADER_BYTES];
    let n = usize::try_from(found.len).unwrap_or(HEADER_BYTES).min(HEADER_BYTES);
    found.file.read_exact_at(&mut head[..n], 0).map_err(LogError::io("read", &found.path))?;
    match FileHeader::decode(&head) {
        Some(Ok(header)) => return Ok(Head::Valid(header)),
        Some(Err(version)) if version > WAL_VERSION => {
            return Err(LogError::NewerVersion {
                path: found.path.clone(),
                found: version,
                newest: WAL_VERSION,
            });
        }
        Some(Err(version)) => {
            return Err(
                found.corrupt(8, format!("version {version}, expected {WAL_VERSION_MIN}..={WAL_VERSION}"))
            );
        }
        None => {}
    }
    let all = found.file.read_all().map_err(LogError::io("read", &found.path))?;
    // A torn header is followed by groups of an older generation, or by none.
    let pages = all.chunks(usize::try_from(PAGE).unwrap_or(usize::MAX)).skip(1);
    match pages.filter_map(GroupHeader::generation_unchecked).max() {
        Some(generation) => Ok(Head::Damaged { generation }),
        None => Ok(Head::Unused),
    }
}

/// What one file holds beyond the checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Frames of groups after the checkpoint, in order, with their byte positions.
    pub(crate) frames: Vec<(u64, TopicPartition, Change)>,
    /// The last group in the file.
    pub(crate) last_sequence: u64,
    /// Bytes of a torn group after it.
    pub(crate) torn_bytes: u64,
}

/// Reads a file's groups. `end`: the last group it must hold, known from the next generation.
/// Groups up to `covered` are in segments: their loss is noted in the log, nothing more.
pub(crate) fn scan(found: &WalFileFound, end: Option<u64>, covered: u64) -> Result<Scan, LogError> {
    let Some(header) = found.header else { return Ok(Scan::default()) };
    let bytes = Bytes::from(found.file.read_all().map_err(LogError::io("read", &found.path))?);
    let seed = header.crc_seed();
    let reader = Reader { bytes, seed, generation: header.generation };
    let mut scan = Scan { last_sequence: header.first_sequence.saturating_sub(1), ..Scan::default() };
    let mut pos = PAGE;
    loop {
        let due = scan.last_sequence + 1;
        match reader.group(pos, due) {
            Ok((extent, frames)) => {
                if due > covered {
                    scan.frames.extend(frames.into_iter().map(|(tp, change)| (pos, tp, change)));
                }
                scan.last_sequence = due;
                pos += extent;
                continue;
            }
            Err(torn_bytes) => scan.torn_bytes = torn_bytes,
        }
        // Groups are synced one by one: a later one proves that this one was durable.
        let Some((later_pos, later)) = reader.later(pos + PAGE, due) else { break };
        let what = format!("group {due} is damaged, but group {} follows", later.sequence);
        if later.sequence > covered.saturating_add(u64::from(later.frames > 0)) {
            return Err(found.corrupt(pos, what));
        }
        tracing::warn!(file = %found.path.display(), pos, "{what}; its records are safe in segments");
        scan.torn_bytes = 0;
        pos = later_pos;
        scan.last_sequence = later.sequence - u64::from(later.frames > 0);
        if later.frames == 0 {
            pos += PAGE;
        }
    }
    match end {
        Some(end) if end != scan.last_sequence && end > covered => {
            let what = format!("it ends with group {}, expected {end}", scan.last_sequence);
            Err(found.corrupt(pos, what))
        }
        Some(_) => Ok(Scan { torn_bytes: 0, ..scan }),
        None => Ok(scan),
    }
}

struct Reader {
    bytes: Bytes,
    seed: u32,
    generation: u64,
}

impl Reader {
    fn header(&self, pos: u64) -> Option<GroupHeader> {
        let at = usize::try_from(pos).ok()?;
        let header = GroupHeader::decode(self.bytes.get(at..at.checked_add(HEADER_BYTES)?)?, self.seed)?;
        (header.generation == self.generation).then_some(header)
    }

    /// The group `due` at `pos`: its extent and frames; else how many bytes of it are there.
    fn group(&self, pos: u64, due: u64) -> Result<(u64, Vec<(TopicPartition, Change)>), u64> {
        let header =
            self.header(pos).filter(|header| header.sequence == due && header.frames > 0).ok_or(0_u64)?;
        let frames = self.frames(pos, &header).ok_or(header.extent())?;
        Ok((header.extent(), frames))
    }

    fn frames(&self, pos: u64, header: &GroupHeader) -> Option<Vec<(TopicPartition, Change)>> {
        let start = usize::try_from(pos).ok()? + HEADER_BYTES;
        let end = start.checked_add(usize::try_from(header.bytes).ok()?)?;
        if end > self.bytes.len() {
            return None;
        }
        let mut rest = self.bytes.slice(start..end);
        let mut frames = Vec::new();
        for _ in 0..header.frames {
            frames.push(decode_frame(&mut rest, self.seed)?);
        }
        rest.is_empty().then_some(frames)
    }

    /// The first group or mark at or after `from` that could only be written after `due`.
    fn later(&self, from: u64, due: u64) -> Option<(u64, GroupHeader)> {
        let mut pos = from;
        while pos < self.bytes.len() as u64 {
            match self.header(pos) {
                Some(header) if header.sequence > due || (header.sequence == due && header.frames == 0) => {
                    return Some((pos, header));
                }
                _ => pos += PAGE,
            }
        }
        None
    }
}
