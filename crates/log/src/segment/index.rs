//! Offset index and time index of one segment.

use bytes::BufMut;
use highwater_env::Offset;

/// A new entry once this many bytes were added, Kafka's `index.interval.bytes`.
const INTERVAL_BYTES: u64 = 4096;
const OFFSET_ENTRY_BYTES: usize = 8;
const TIME_ENTRY_BYTES: usize = 12;

#[derive(Debug)]
pub(crate) struct SparseIndex {
    base_offset: Offset,
    /// (last offset of a batch, its position), ascending.
    entries: Vec<(Offset, u64)>,
    /// (largest timestamp so far, last offset of its batch), ascending; `None` if the index was
    /// read from its file and the time index was missing or wrong.
    times: Option<Vec<(i64, Offset)>>,
    largest: Option<(i64, Offset)>,
    since_entry: u64,
}

impl SparseIndex {
    pub(crate) fn empty(base_offset: Offset) -> Self {
        Self { base_offset, entries: Vec::new(), times: Some(Vec::new()), largest: None, since_entry: 0 }
    }

    /// Notes a batch of `len` bytes at `pos`.
    pub(crate) fn add(&mut self, pos: u64, len: usize, last_offset: Offset, max_timestamp: i64) {
        if self.largest.is_none_or(|(largest, _)| max_timestamp > largest) {
            self.largest = Some((max_timestamp, last_offset));
        }
        if self.since_entry > INTERVAL_BYTES {
            self.entries.push((last_offset, pos));
            self.add_time();
            self.since_entry = 0;
        }
        self.since_entry += len as u64;
    }

    fn add_time(&mut self) {
        if let (Some(times), Some(largest)) = (&mut self.times, self.largest)
            && times.last().is_none_or(|last| last.0 < largest.0)
        {
            times.push(largest);
        }
    }

    /// The last entry at or before `offset`.
    pub(crate) fn floor(&self, offset: Offset) -> Option<(Offset, u64)> {
        let after = self.entries.partition_point(|(last_offset, _)| *last_offset <= offset);
        self.entries[..after].last().copied()
    }

    /// The last entry that stands before the position `pos` and whose offset is below `offset`.
    pub(crate) fn last_below(&self, pos: u64, offset: Offset) -> Option<(Offset, u64)> {
        let after = self.entries.partition_point(|entry| entry.1 < pos && entry.0 < offset);
        self.entries[..after].last().copied()
    }

    /// The last entry, from whose batch on a stored index must be continued.
    pub(crate) fn last(&self) -> Option<(Offset, u64)> {
        self.entries.last().copied()
    }

    /// Whether it knows all that the index files hold.
    pub(crate) fn is_complete(&self) -> bool {
        self.times.is_some()
    }

    /// The last entry all of whose batches, and those before, are older than `timestamp_ms`.
    pub(crate) fn floor_of_time(&self, timestamp_ms: i64) -> Option<(Offset, u64)> {
        let times = self.times.as_deref()?;
        let before = times.partition_point(|(largest, _)| *largest < timestamp_ms);
        self.floor(times[..before].last()?.1)
    }

    /// The contents of `.index` and `.timeindex`.
    pub(crate) fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let relative = |offset: Offset| i32::try_from(offset - self.base_offset).unwrap_or(i32::MAX);
        let (mut offsets, mut times) = (Vec::new(), Vec::new());
        for (last_offset, pos) in &self.entries {
            offsets.put_i32(relative(*last_offset));
            offsets.put_i32(i32::try_from(*pos).unwrap_or(i32::MAX));
        }
        let known = self.times.as_deref().unwrap_or_default();
        // As Kafka on a roll: the largest timestamp closes the file.
        let closing = self.largest.filter(|largest| known.last().is_none_or(|last| last.0 < largest.0));
        for (timestamp, offset) in known.iter().chain(&closing) {
            times.put_i64(*timestamp);
            times.put_i32(relative(*offset));
        }
        (offsets, times)
    }

    /// The index files' entries, if they can belong to a segment of `bytes` bytes.
    pub(crate) fn decode(
        base_offset: Offset,
        stored: &[u8],
        times: Option<&[u8]>,
        bytes: u64,
    ) -> Option<Self> {
        let (stored, []) = stored.as_chunks::<OFFSET_ENTRY_BYTES>() else { return None };
        let times = times.and_then(|times| decode_times(base_offset, times));
        let mut index = Self { times, ..Self::empty(base_offset) };
        for entry in stored {
            let [a, b, c, d, e, f, g, h] = *entry;
            let offset = base_offset.checked_add(i64::from(u32::from_be_bytes([a, b, c, d])))?;
            let pos = u64::from(u32::from_be_bytes([e, f, g, h]));
            if pos >= bytes {
                break;
            }
            if index.entries.last().is_some_and(|last| last.0 >= offset || last.1 >= pos) {
                return None;
            }
            index.entries.push((offset, pos));
        }
        Some(index)
    }
}

/// A time index file's entries, if they ascend.
fn decode_times(base_offset: Offset, stored: &[u8]) -> Option<Vec<(i64, Offset)>> {
    let (stored, []) = stored.as_chunks::<TIME_ENTRY_BYTES>() else { return None };
    let mut times: Vec<(i64, Offset)> = Vec::with_capacity(stored.len());
    for entry in stored {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *entry;
        let timestamp = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let offset = base_offset.checked_add(i64::from(u32::from_be_bytes([i, j, k, l])))?;
        if times.last().is_some_and(|last| last.0 >= timestamp || last.1 > offset) {
            return None;
        }
        times.push((timestamp, offset));
    }
    Some(times)
}
