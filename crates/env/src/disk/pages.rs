//! Memory that direct I/O takes.

use std::io;

use super::DiskFile;

/// Bytes of a page: of what direct I/O demands, the largest that is common.
const PAGE: usize = 4096;
/// What one write takes along.
const PIECE_BYTES: usize = 1 << 20;

/// Writes pages out of memory that starts on a page, as files of [`super::Disk::open_direct`] want them.
pub struct PageBuffer {
    /// A page longer than a piece, so that a piece can start on a page.
    memory: Vec<u8>,
}

impl PageBuffer {
    /// A buffer; it takes its memory, 1 MiB, with the first write.
    pub fn new() -> Self {
        Self { memory: Vec::new() }
    }

    /// Writes `parts`, one after the other, at `pos`, a multiple of 4096, and fills the last page with zeros.
    ///
    /// # Errors
    /// Those of the file; any part may then have been written.
    pub fn write_parts(&mut self, file: &dyn DiskFile, parts: &[&[u8]], pos: u64) -> io::Result<()> {
        let (mut at, mut filled) = (pos, 0);
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let taken = rest.len().min(PIECE_BYTES - filled);
                self.piece()[filled..filled + taken].copy_from_slice(&rest[..taken]);
                rest = &rest[taken..];
                filled += taken;
                if filled == PIECE_BYTES {
                    file.write_all_at(self.piece(), at)?;
                    at += PIECE_BYTES as u64;
                    filled = 0;
                }
            }
        }
        let end = filled.next_multiple_of(PAGE);
        self.piece()[filled..end].fill(0);
        file.write_all_at(&self.piece()[..end], at)
    }

    /// Writes `len` zeros at `pos`; both are multiples of 4096.
    ///
    /// # Errors
    /// As [`PageBuffer::write_parts`].
    pub fn write_zeros(&mut self, file: &dyn DiskFile, pos: u64, len: u64) -> io::Result<()> {
        self.piece().fill(0);
        let end = pos + len;
        for at in (pos..end).step_by(PIECE_BYTES) {
            let left = usize::try_from(end - at).unwrap_or(PIECE_BYTES);
            file.write_all_at(&self.piece()[..left.min(PIECE_BYTES)], at)?;
        }
        Ok(())
    }

    fn piece(&mut self) -> &mut [u8] {
        if self.memory.is_empty() {
            self.memory = vec![0; PIECE_BYTES + PAGE];
        }
        let start = self.memory.as_ptr().align_offset(PAGE);
        &mut self.memory[start..start + PIECE_BYTES]
    }
}

impl Default for PageBuffer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Disk, OpenMode, RealDisk, SimDisk};

    /// Parts of awkward sizes over several pieces arrive as they are, on a real and a simulated disk.
    #[test]
    fn parts_arrive_whole_and_end_on_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let sim = SimDisk::new(1);
        sim.create_dir_all(Path::new("/d")).unwrap();
        let disks: [(&dyn Disk, &Path); 2] = [(&RealDisk, dir.path()), (&sim, Path::new("/d"))];
        let parts: Vec<Vec<u8>> =
            [5, 0, 4096, PIECE_BYTES - 7, 3 * PIECE_BYTES, 1].map(|len| vec![len as u8 ^ 0x5a; len]).into();
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let mut expected = parts.concat();
        expected.resize(expected.len().next_multiple_of(PAGE), 0);
        for (disk, dir) in disks {
            let file = disk.open_direct(&dir.join("f"), OpenMode::Create).unwrap();
            let mut buffer = PageBuffer::new();
            buffer.write_zeros(file.as_ref(), 0, 8 << 20).unwrap();
            buffer.write_parts(file.as_ref(), &slices, 4096).unwrap();
            file.sync_data().unwrap();
            let found = file.read_all().unwrap();
            assert_eq!(found.len(), 8 << 20);
            assert!(found[4096..4096 + expected.len()] == expected);
            assert!(found[4096 + expected.len()..].iter().all(|byte| *byte == 0));
        }
    }

    /// What is not on a page goes into such a file too.
    #[test]
    fn an_odd_write_into_a_direct_file_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.open_direct(&dir.path().join("f"), OpenMode::Create).unwrap();
        PageBuffer::new().write_parts(file.as_ref(), &[&[1; 100]], 0).unwrap();
        file.write_all_at(&[2; 10], 50).unwrap();
        let found = file.read_all().unwrap();
        assert_eq!((found.len(), found[49], found[50], found[60], found[100]), (4096, 1, 2, 1, 0));
    }
}
