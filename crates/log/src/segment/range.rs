//! Stored batches that go to a reader from the page cache, never through this process.
//!
//! Only what this process has checked before goes this way: batches that it wrote itself, or has read
//! once and compared with their checksums.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use highwater_env::{DiskFile, Offset};

use super::Segment;
use crate::ReadError;

/// Sent at one time: what a thread that serves sockets does for one connection before it looks at others.
const SEND_BYTES_MAX: usize = 1 << 20;

/// Whole batches, end to end in a file. The file stays readable while this lives, whatever retention and
/// compaction do meanwhile.
#[derive(Clone)]
pub struct FileRange {
    file: Arc<dyn DiskFile>,
    pos: u64,
    len: usize,
    next_offset: Offset,
    cached: bool,
}

impl std::fmt::Debug for FileRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileRange({} bytes at {}, up to offset {})", self.len, self.pos, self.next_offset)
    }
}

impl FileRange {
    /// Bytes left to send.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether all is sent.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The offset after the last batch.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// Whether it was in the page cache when it was found, as far as a few of its bytes tell.
    pub fn is_cached(&self) -> bool {
        self.cached
    }

    /// Sends some of the bytes that are left, at most 1 MiB, into a non-blocking socket; says how many. May
    /// wait for the disk, hardly if [`FileRange::is_cached`].
    ///
    /// # Errors
    /// `WouldBlock` if the socket is full; `UnexpectedEof` if the file was cut; those of sendfile(2).
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let sent = self.file.send(socket, self.pos, self.len.min(SEND_BYTES_MAX))?.min(self.len);
        if sent == 0 && self.len > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pos += sent as u64;
        self.len -= sent;
        Ok(sent)
    }

    /// The bytes that are left, read.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file was cut; those of reading.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let bytes = self.file.read_vec_at(self.len, self.pos)?;
        if bytes.len() == self.len { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl Segment {
    /// Whole batches from the one that contains `from`, at most `bytes_max` bytes but always one, that begin
    /// below the offset `limit` and end at or before the position `end`. None if they must be read, for
    /// this process has not checked them yet.
    pub(crate) fn range(
        &self,
        from: Offset,
        bytes_max: usize,
        limit: Offset,
        end: u64,
    ) -> Result<Option<FileRange>, ReadError> {
        let file = self.file().map_err(|e| self.io(e))?;
        let Some((start, first)) = self.locate(from)? else { return Ok(None) };
        let checked = self.content().checked.min(end);
        let full = checked.min(start + bytes_max.max(first.length) as u64);
        let mut at = start + first.length as u64;
        if at > full || first.base_offset >= limit {
            return Ok(None);
        }
        let mut due = first.last_offset + 1;
        // The index leads close to the end; from there it goes batch by batch.
        let near = self.content().index.as_ref().and_then(|index| index.last_below(full, limit));
        if let Some((last_offset, pos)) = near.filter(|(_, pos)| *pos >= at)
            && let Some(peek) = self.peek(pos)?
            && peek.last_offset == last_offset
            && pos + peek.length as u64 <= full
        {
            (at, due) = (pos + peek.length as u64, last_offset + 1);
        }
        while let Some(peek) = self.peek(at)?.filter(|peek| self.may_follow(peek.base_offset, due)) {
            let next = at + peek.length as u64;
            if next > full || peek.base_offset >= limit {
                break;
            }
            (at, due) = (next, peek.last_offset + 1);
        }
        let len = usize::try_from(at - start).unwrap_or(usize::MAX);
        let cached = file.is_cached(start, len);
        Ok(Some(FileRange { file: Arc::clone(file), pos: start, len, next_offset: due, cached }))
    }
}
