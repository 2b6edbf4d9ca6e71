//! A run of a partition's batches in one file, in Apache Kafka's own format.
//!
//! ```text
//! <base offset, 20 digits>.log        batches end to end
//!                        .index       entries of 8 bytes: last offset of a batch - base offset, its byte position
//!                        .timeindex   entries of 12 bytes: largest timestamp so far, its offset - base offset
//! ```
//! Integers are big-endian. An index entry stands for about 4 KiB. Indexes are written when a
//! segment is rolled and when the log closes, never synced, checked on use and rebuilt from the
//! `.log` file when missing or wrong. What the `.log` file holds is known from the checkpoint.

mod index;
mod range;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use highwater_env::{Disk, DiskFile, Offset, OpenMode};

use crate::batch::{self, BATCH_HEADER_BYTES, Peek};
use crate::checkpoint::SegmentCheckpoint;
use crate::{LogBatch, PartitionOptions, ReadError};
use index::SparseIndex;
pub use range::FileRange;

/// What the name of a file ends in that compaction has written and no checkpoint names yet:
/// `<base offset>.<generation>.cleaned`.
pub(crate) const CLEANED: &str = "cleaned";
/// Bytes read at a time when a segment is walked.
const WALK_BYTES: usize = 128 << 10;

/// Where a batch was found.
enum Located {
    At(u64, Peek),
    /// The segment ends before it.
    Beyond,
    WrongIndex,
}

pub(crate) struct Segment {
    pub(crate) base_offset: Offset,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: OnceLock<Arc<dyn DiskFile>>,
    content: Mutex<Content>,
}

struct Content {
    bytes: u64,
    /// All bytes below it were checked by this process: it wrote them, or has read them.
    checked: u64,
    /// Largest timestamp of the first batch; unknown (`None`) if it is empty or was written by an
    /// earlier process.
    first_timestamp: Option<i64>,
    max_timestamp: i64,
    /// How often compaction has rewritten it.
    generation: u32,
    index: Option<SparseIndex>,
    /// Whether the index files lag behind.
    index_stale: bool,
}

impl Content {
    fn empty(base_offset: Offset) -> Self {
        Self {
            bytes: 0,
            checked: 0,
            first_timestamp: None,
            max_timestamp: i64::MIN,
            generation: 0,
            index: Some(SparseIndex::empty(base_offset)),
            index_stale: true,
        }
    }
}

impl Segment {
    /// An empty segment, its file made.
    pub(crate) fn create(disk: &Arc<dyn Disk>, dir: &Path, base_offset: Offset) -> io::Result<Self> {
        let segment = Self::new(disk, dir, base_offset, Content::empty(base_offset));
        let file = disk.open(&segment.path("log"), OpenMode::Create)?;
        file.set_len(0)?;
        let _ = segment.file.set(file);
        Ok(segment)
    }

    /// An empty segment beside the others, to take the place of one or several of them.
    pub(crate) fn create_cleaned(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base_offset: Offset,
        generation: u32,
    ) -> io::Result<Self> {
        let content = Content { generation, ..Content::empty(base_offset) };
        let segment = Self::new(disk, dir, base_offset, content);
        let file = disk.open(&segment.cleaned_path(), OpenMode::Create)?;
        file.set_len(0)?;
        let _ = segment.file.set(file);
        Ok(segment)
    }

    /// A segment that a checkpoint names.
    pub(crate) fn existing(disk: &Arc<dyn Disk>, dir: &Path, found: &SegmentCheckpoint) -> Self {
        let content = Content {
            bytes: found.bytes,
            checked: 0,
            first_timestamp: None,
            max_timestamp: found.max_timestamp,
            generation: found.generation,
            index: None,
            index_stale: false,
        };
        Self::new(disk, dir, found.base_offset, content)
    }

    fn new(disk: &Arc<dyn Disk>, dir: &Path, base_offset: Offset, content: Content) -> Self {
        let (disk, dir) = (Arc::clone(disk), dir.to_owned());
        Self { base_offset, disk, dir, file: OnceLock::new(), content: Mutex::new(content) }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn path(&self, extension: &str) -> PathBuf {
        self.dir.join(format!("{:020}.{extension}", self.base_offset))
    }

    fn file(&self) -> io::Result<&Arc<dyn DiskFile>> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = self.disk.open(&self.path("log"), OpenMode::ReadWrite)?;
        Ok(self.file.get_or_init(|| file))
    }

    pub(crate) fn checkpoint(&self) -> SegmentCheckpoint {
        let content = self.content();
        SegmentCheckpoint {
            base_offset: self.base_offset,
            bytes: content.bytes,
            max_timestamp: content.max_timestamp,
            generation: content.generation,
        }
    }

    /// Whether a batch may still be added.
    pub(crate) fn has_room(&self, batch: &LogBatch, options: &PartitionOptions) -> bool {
        self.fitting(std::slice::from_ref(batch), options) > 0
    }

    /// How many of `batches`, from the first, still belong into it. An empty segment takes at least
    /// one.
    pub(crate) fn fitting(&self, batches: &[LogBatch], options: &PartitionOptions) -> usize {
        let (mut bytes, first_timestamp) = {
            let content = self.content();
            (content.bytes, content.first_timestamp)
        };
        let first_timestamp = first_timestamp.or(batches.first().map(LogBatch::max_timestamp));
        let fits = |batch: &LogBatch| {
            let first = bytes == 0;
            bytes += batch.bytes().len() as u64;
            let age = batch.max_timestamp().saturating_sub(first_timestamp.unwrap_or(0));
            let small = bytes <= options.segment_bytes_max && age <= options.segment_ms;
            (first || small) && batch.last_offset() - self.base_offset <= i64::from(i32::MAX)
        };
        batches.iter().map(fits).take_while(|fits| *fits).count()
    }

    /// Adds batches behind the last one; not synced. One caller at a time.
    pub(crate) fn append(&self, batches: &[LogBatch]) -> io::Result<()> {
        let start = self.content().bytes;
        let parts: Vec<&[u8]> = batches.iter().map(|batch| &batch.bytes()[..]).collect();
        let file = self.file()?;
        file.write_all_parts_at(&parts, start)?;
        file.begin_writeback(start, parts.iter().map(|part| part.len() as u64).sum());
        let mut content = self.content();
        for batch in batches {
            let (pos, len) = (content.bytes, batch.bytes().len());
            if let Some(index) = &mut content.index {
                index.add(pos, len, batch.last_offset(), batch.max_timestamp());
            }
            content.bytes += len as u64;
            content.first_timestamp.get_or_insert(batch.max_timestamp());
            content.max_timestamp = content.max_timestamp.max(batch.max_timestamp());
        }
        if content.checked == start {
            content.checked = content.bytes;
        }
        content.index_stale = true;
        Ok(())
    }

    /// The file to be synced.
    pub(crate) fn log_file(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.file().cloned()
    }

    pub(crate) fn generation(&self) -> u32 {
        self.content().generation
    }

    /// Where compaction writes it, until it takes the place of others.
    fn cleaned_path(&self) -> PathBuf {
        self.path(&format!("{}.{CLEANED}", self.generation()))
    }

    /// Gives a cleaned segment its name, replacing the one before it; nothing if it has it. Whether
    /// it had not. The directory is still to be synced.
    pub(crate) fn adopt(&self) -> io::Result<bool> {
        let cleaned = self.cleaned_path();
        if self.generation() == 0 || !self.disk.exists(&cleaned)? {
            return Ok(false);
        }
        self.remove_indexes()?;
        self.disk.rename(&cleaned, &self.path("log"))?;
        Ok(true)
    }

    /// Removes a cleaned segment that nothing names.
    pub(crate) fn discard(&self) -> io::Result<()> {
        self.disk.remove_file(&self.cleaned_path())
    }

    fn remove_indexes(&self) -> io::Result<()> {
        for extension in ["index", "timeindex"] {
            let path = self.path(extension);
            if self.disk.exists(&path)? {
                self.disk.remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Removes its files. Who has it open reads on.
    pub(crate) fn remove_files(&self) -> io::Result<()> {
        self.remove_indexes()?;
        let path = self.path("log");
        if self.disk.exists(&path)? { self.disk.remove_file(&path) } else { Ok(()) }
    }

    /// Cuts what a crash left behind the last checkpointed batch; says how long the file was.
    pub(crate) fn cut_to_checkpoint(&self) -> io::Result<u64> {
        let (file, bytes) = (self.file()?, self.content().bytes);
        let len = file.len()?;
        if len > bytes {
            file.set_len(bytes)?;
        }
        Ok(len)
    }

    /// Writes both index files if they lag behind.
    pub(crate) fn write_indexes(&self) -> Result<(), ReadError> {
        if !self.content().index_stale {
            return Ok(());
        }
        self.load_index()?;
        let complete = self.content().index.as_ref().is_some_and(SparseIndex::is_complete);
        if !complete {
            let index = self.rebuild_index()?;
            self.content().index = Some(index);
        }
        let (offsets, times) = match &self.content().index {
            Some(index) => index.encode(),
            None => return Ok(()),
        };
        let write = |extension: &str, bytes: &[u8]| {
            let file = self.disk.open(&self.path(extension), OpenMode::Create)?;
            file.write_all_at(bytes, 0)?;
            file.set_len(bytes.len() as u64)
        };
        write("index", &offsets).and_then(|()| write("timeindex", &times)).map_err(|e| self.io(e))?;
        self.content().index_stale = false;
        Ok(())
    }

    /// Whole batches from the one that contains `from`, or the first after it, at most `bytes_max`
    /// bytes but always one. None if compaction left nothing at or after `from`.
    pub(crate) fn read(&self, from: Offset, bytes_max: usize) -> Result<Vec<LogBatch>, ReadError> {
        let Some((pos, first)) = self.locate(from)? else { return Ok(Vec::new()) };
        let end = self.content().bytes;
        let want = (bytes_max.max(first.length) as u64).min(end.saturating_sub(pos));
        let want = usize::try_from(want).map_err(|_| self.corrupt(pos, "read beyond memory".into()))?;
        if first.length > want {
            return Err(self.corrupt(pos, format!("batch of {} bytes, {want} are left", first.length)));
        }
        let buf = self.file().and_then(|file| file.read_vec_at(want, pos)).map_err(|e| self.io(e))?;
        if buf.len() < want {
            return Err(self.io(io::ErrorKind::UnexpectedEof.into()));
        }
        let batches = self.split(Bytes::from(buf), pos, first.base_offset, end)?;
        let checked = pos + batches.iter().map(|batch| batch.bytes().len() as u64).sum::<u64>();
        let mut content = self.content();
        if pos <= content.checked {
            content.checked = content.checked.max(checked);
        }
        Ok(batches)
    }

    /// Cuts a stretch of the file into checked batches; an incomplete last one is left out.
    fn split(&self, mut rest: Bytes, pos: u64, base: Offset, end: u64) -> Result<Vec<LogBatch>, ReadError> {
        let (mut pos, mut due) = (pos, base);
        let mut batches = Vec::new();
        while !rest.is_empty() {
            let len = match batch::encoded_len(&rest) {
                Ok(len) => len,
                Err(batch::BatchError::TooShort { needed, .. }) if pos + needed as u64 <= end => break,
                Err(e) => return Err(self.corrupt(pos, e.to_string())),
            };
            let batch =
                LogBatch::parse_stored(rest.split_to(len)).map_err(|e| self.corrupt(pos, e.to_string()))?;
            if !self.may_follow(batch.base_offset(), due) {
                return Err(self.corrupt(pos, format!("base offset {}, expected {due}", batch.base_offset())));
            }
            if batch.bytes()[12..16] != [0; 4] {
                return Err(self.corrupt(pos, "leader epoch is not 0".into()));
            }
            due = batch.next_offset();
            pos += len as u64;
            batches.push(batch);
        }
        Ok(batches)
    }

    /// Whether a batch may start at `base` where `due` is the next offset. Only compaction leaves
    /// holes.
    fn may_follow(&self, base: Offset, due: Offset) -> bool {
        base == due || (base > due && self.content().generation > 0)
    }

    /// Position and header of the batch that contains `offset`, or of the first after it.
    fn locate(&self, offset: Offset) -> Result<Option<(u64, Peek)>, ReadError> {
        self.load_index()?;
        if let Located::At(pos, peek) = self.locate_by_index(offset)? {
            return Ok(Some((pos, peek)));
        }
        // The index was wrong: it is disposable.
        let index = self.rebuild_index()?;
        let mut content = self.content();
        content.index = Some(index);
        content.index_stale = true;
        drop(content);
        match self.locate_by_index(offset)? {
            Located::At(pos, peek) => Ok(Some((pos, peek))),
            Located::Beyond if self.content().generation > 0 => Ok(None),
            Located::Beyond | Located::WrongIndex => {
                Err(self.corrupt(0, format!("offset {offset} cannot be found")))
            }
        }
    }

    fn locate_by_index(&self, offset: Offset) -> Result<Located, ReadError> {
        let floor = self.content().index.as_ref().and_then(|index| index.floor(offset));
        let (mut pos, mut due) = (0, self.base_offset);
        if let Some((last_offset, at)) = floor {
            match self.peek(at)? {
                Some(peek) if peek.last_offset == last_offset => {
                    (pos, due) = (at + peek.length as u64, last_offset + 1);
                }
                _ => return Ok(Located::WrongIndex),
            }
            if last_offset == offset {
                return Ok(self.peek(at)?.map_or(Located::WrongIndex, |peek| Located::At(at, peek)));
            }
        }
        let end = self.content().bytes;
        loop {
            if pos >= end {
                return Ok(Located::Beyond);
            }
            let peek = self.peek(pos)?.filter(|peek| self.may_follow(peek.base_offset, due));
            let peek = peek.ok_or_else(|| self.corrupt(pos, format!("no batch at offset {due}")))?;
            if peek.last_offset >= offset {
                return Ok(Located::At(pos, peek));
            }
            (pos, due) = (pos + peek.length as u64, peek.last_offset + 1);
        }
    }

    /// The batch header at `pos`, unchecked; `None` beyond the end or if it is none.
    fn peek(&self, pos: u64) -> Result<Option<Peek>, ReadError> {
        if pos + BATCH_HEADER_BYTES as u64 > self.content().bytes {
            return Ok(None);
        }
        let mut head = [0; BATCH_HEADER_BYTES];
        self.file().and_then(|file| file.read_exact_at(&mut head, pos)).map_err(|e| self.io(e))?;
        Ok(batch::peek(&head))
    }

    fn load_index(&self) -> Result<(), ReadError> {
        if self.content().index.is_some() {
            return Ok(());
        }
        let bytes = self.content().bytes;
        let stored = |extension: &str| {
            self.disk.open(&self.path(extension), OpenMode::Read).and_then(|file| file.read_all()).ok()
        };
        let times = stored("timeindex");
        let index = stored("index")
            .and_then(|offsets| SparseIndex::decode(self.base_offset, &offsets, times.as_deref(), bytes));
        // Behind its last entry it is continued: what was appended meanwhile may be much.
        let last = match index.as_ref().and_then(SparseIndex::last) {
            Some((last_offset, pos)) => {
                self.peek(pos)?.filter(|peek| peek.last_offset == last_offset).zip(Some(pos))
            }
            None => None,
        };
        if let (Some(index), Some((peek, pos))) = (index, last)
            && self.complete_index(index, (pos, peek.base_offset)).is_ok()
        {
            return Ok(());
        }
        self.complete_index(SparseIndex::empty(self.base_offset), (0, self.base_offset))
    }

    /// Notes the batches from position and offset `from` in an index, up to the last one, and keeps it.
    fn complete_index(&self, mut index: SparseIndex, mut from: (u64, Offset)) -> Result<(), ReadError> {
        loop {
            self.walk(from, |pos, peek| {
                index.add(pos, peek.length, peek.last_offset, peek.max_timestamp);
                from = (pos + peek.length as u64, peek.last_offset + 1);
                true
            })?;
            let mut content = self.content();
            // Else there came more meanwhile.
            if content.bytes == from.0 || content.index.is_some() {
                content.index.get_or_insert(index);
                return Ok(());
            }
        }
    }

    fn rebuild_index(&self) -> Result<SparseIndex, ReadError> {
        let mut index = SparseIndex::empty(self.base_offset);
        self.walk((0, self.base_offset), |pos, peek| {
            index.add(pos, peek.length, peek.last_offset, peek.max_timestamp);
            true
        })?;
        Ok(index)
    }

    /// The largest timestamp its batches declare, ms since the Unix epoch.
    pub(crate) fn max_timestamp(&self) -> i64 {
        self.content().max_timestamp
    }

    /// Base offset of the first batch whose largest timestamp is at least `timestamp_ms`.
    pub(crate) fn first_batch_at(&self, timestamp_ms: i64) -> Result<Option<Offset>, ReadError> {
        let (mut found, start) = (None, self.before_time(timestamp_ms)?);
        self.walk(start, |_, peek| {
            if peek.max_timestamp >= timestamp_ms {
                found = Some(peek.base_offset);
            }
            found.is_none()
        })?;
        Ok(found)
    }

    /// Position and offset of a batch before which all are older than `timestamp_ms`.
    fn before_time(&self, timestamp_ms: i64) -> Result<(u64, Offset), ReadError> {
        self.load_index()?;
        let floor = self.content().index.as_ref().and_then(|index| index.floor_of_time(timestamp_ms));
        let Some((last_offset, pos)) = floor else { return Ok((0, self.base_offset)) };
        // The index is disposable: it counts only if it names a batch.
        let peek = self.peek(pos)?.filter(|peek| peek.last_offset == last_offset);
        Ok(peek.map_or((0, self.base_offset), |peek| (pos, peek.base_offset)))
    }

    /// Forgets the index in memory; it is read again from its files when needed.
    pub(crate) fn forget_index(&self) {
        let mut content = self.content();
        if !content.index_stale {
            content.index = None;
        }
    }

    /// Shows each batch's header in order from the batch at `start` (position and offset), until told
    /// to stop.
    fn walk(&self, start: (u64, Offset), mut each: impl FnMut(u64, Peek) -> bool) -> Result<(), ReadError> {
        let end = self.content().bytes;
        let file = self.file().map_err(|e| self.io(e))?;
        let (mut pos, mut due) = start;
        let (mut window, mut window_pos) = (Vec::new(), pos);
        while pos < end {
            let behind = pos - window_pos;
            if behind + BATCH_HEADER_BYTES as u64 > window.len() as u64 {
                let n = (end - pos).min(WALK_BYTES as u64);
                window.resize(usize::try_from(n).unwrap_or(WALK_BYTES), 0);
                file.read_exact_at(&mut window, pos).map_err(|e| self.io(e))?;
                window_pos = pos;
            }
            let at = usize::try_from(pos - window_pos).unwrap_or(usize::MAX);
            let head = window.get(at..).and_then(|rest| rest.first_chunk::<BATCH_HEADER_BYTES>());
            let peek = head.and_then(batch::peek).filter(|peek| self.may_follow(peek.base_offset, due));
            let peek = peek.filter(|peek| pos + peek.length as u64 <= end);
            let peek = peek.ok_or_else(|| self.corrupt(pos, format!("no batch at offset {due}")))?;
            if !each(pos, peek) {
                return Ok(());
            }
            (pos, due) = (pos + peek.length as u64, peek.last_offset + 1);
        }
        Ok(())
    }

    fn io(&self, source: io::Error) -> ReadError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.corrupt(self.content().bytes, "the file is cut short".into())
            }
            _ => ReadError::Io { path: self.path("log"), source },
        }
    }

    fn corrupt(&self, pos: u64, what: String) -> ReadError {
        ReadError::Corrupt { path: self.path("log"), pos, what }
    }
}
