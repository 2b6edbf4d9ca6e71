//! One encoded Kafka record batch, format v2, as it travels and as it lies on disk.
//!
//! ```text
//! byte  size  field
//!    0     8  base offset                 patched by the log
//!    8     4  length of all that follows
//!   12     4  partition leader epoch      patched by the log, always 0
//!   16     1  magic, 2
//!   17     4  CRC-32C of bytes 21..
//!   21     2  attributes: 0..3 compression, 3 LogAppendTime, 4 transactional, 5 control, 6 delete horizon
//!   23     4  last offset delta
//!   27     8  base timestamp, ms since the Unix epoch
//!   35     8  max timestamp
//!   43     8  producer id, -1 for none
//!   51     2  producer epoch
//!   53     4  base sequence
//!   57     4  number of records
//!   61     .  records, compressed as one block if the attributes say so
//! ```
//! (Kafka's `DefaultRecordBatch`; all integers big-endian.) Bytes 0..8 and 12..16 lie outside the
//! CRC, so that the log can patch them without touching the rest.

mod builder;
mod compression;
mod marker;
mod records;
mod rewrite;

#[cfg(test)]
mod tests;

pub use builder::BatchBuilder;
pub use compression::Compression;
pub use marker::{Marker, MarkerKind};
pub use records::Record;

use bytes::{Bytes, BytesMut};
use highwater_env::Offset;

/// Bytes before the first record.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Bytes before the counted length: base offset and the length itself.
const LENGTH_END: usize = 12;
/// First byte covered by the CRC.
const CRC_START: usize = 21;
/// Bytes up to and including the CRC; the CRC covers the rest.
pub(crate) const PREFIX_BYTES: usize = CRC_START;
/// Attribute bits that Kafka defines.
const KNOWN_ATTRIBUTES: i16 = 0x7f;
const APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;
/// No reader inflates the records of one batch to more than this.
const INFLATED_BYTES_MAX: usize = 128 << 20;

/// Why bytes are not a valid batch. The one who sent (or stored) them must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a batch needs.
    #[error("batch needs {needed} bytes, {got} are there")]
    TooShort {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        got: usize,
    },
    /// More than one batch where one was expected.
    #[error("{extra} bytes follow the batch")]
    TrailingBytes {
        /// Bytes after the batch.
        extra: usize,
    },
    /// A message format other than v2.
    #[error("message format {magic}, expected 2")]
    UnsupportedMagic {
        /// The magic byte.
        magic: i8,
    },
    /// The CRC does not match: damaged on its way or on disk.
    #[error("batch checksum {computed:08x}, expected {stored:08x}")]
    BadChecksum {
        /// CRC-32C of the bytes.
        computed: u32,
        /// CRC-32C in the header.
        stored: u32,
    },
    /// Header fields contradict each other or the records.
    #[error("invalid batch: {0}")]
    Invalid(String),
    /// A compression code Kafka does not define.
    #[error("compression code {0}, expected 0..=4")]
    UnknownCompression(i16),
    /// The compressed block cannot be read.
    #[error("records cannot be decompressed as {codec}: {reason}")]
    Decompress {
        /// The codec's name.
        codec: &'static str,
        /// What the codec said.
        reason: String,
    },
    /// The records inflate beyond the reader's limit.
    #[error("records inflate to more than {bytes_max} bytes")]
    InflatesTooFar {
        /// The limit.
        bytes_max: usize,
    },
}

fn invalid(what: impl Into<String>) -> BatchError {
    BatchError::Invalid(what.into())
}

/// One validated batch. Cloning is cheap: the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct LogBatch {
    bytes: Bytes,
    header: Header,
}

/// The header fields that are read often, decoded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    base_offset: Offset,
    last_offset_delta: i32,
    record_count: i32,
    attributes: i16,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
}

impl std::fmt::Debug for LogBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (base, last) = (self.base_offset(), self.last_offset());
        write!(f, "LogBatch({base}..={last}, {} bytes)", self.bytes.len())
    }
}

impl LogBatch {
    /// Takes exactly one batch as a producer sends it: checks magic, length, CRC-32C, attributes and
    /// counts, and that no record is missing. Records are not decoded.
    ///
    /// # Errors
    /// If the bytes are anything but one whole batch.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let batch = Self::parse_stored(bytes)?;
        let (count, delta) = (batch.header.record_count, batch.header.last_offset_delta);
        if count < 1 || delta != count - 1 {
            return Err(invalid(format!("{count} records with last offset delta {delta}")));
        }
        Ok(batch)
    }

    /// As [`LogBatch::parse`], but records may be missing: compaction takes them out and leaves the
    /// batch its offsets.
    ///
    /// # Errors
    /// As [`LogBatch::parse`].
    pub(crate) fn parse_stored(bytes: Bytes) -> Result<Self, BatchError> {
        let len = encoded_len(&bytes)?;
        if bytes.len() > len {
            return Err(BatchError::TrailingBytes { extra: bytes.len() - len });
        }
        let stored = u32::from_be_bytes(array(&bytes, 17));
        let computed = crc32c::crc32c(&bytes[CRC_START..]);
        if computed != stored {
            return Err(BatchError::BadChecksum { computed, stored });
        }
        let header = Header::read(&bytes)?;
        Ok(Self { bytes, header })
    }

    /// Takes batches that lie end to end. Each result is a slice of `bytes`.
    ///
    /// # Errors
    /// If any of them is invalid or the last is cut short.
    pub fn split_all(mut bytes: Bytes) -> Result<Vec<Self>, BatchError> {
        let mut batches = Vec::new();
        while !bytes.is_empty() {
            let len = encoded_len(&bytes)?;
            batches.push(Self::parse(bytes.split_to(len))?);
        }
        Ok(batches)
    }

    /// The batch as encoded.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Offset of the first record.
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.header.base_offset + i64::from(self.header.last_offset_delta)
    }

    /// The offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    /// Whether compaction took records out of it.
    pub(crate) fn has_gaps(&self) -> bool {
        self.header.record_count <= self.header.last_offset_delta
    }

    /// How many records. On a compacted topic fewer than its offsets, perhaps none.
    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// Timestamp to which the records' deltas are relative, ms since the Unix epoch.
    pub fn base_timestamp(&self) -> i64 {
        self.header.base_timestamp
    }

    /// The largest timestamp of its records, as the producer declared it, ms since the Unix epoch.
    pub fn max_timestamp(&self) -> i64 {
        self.header.max_timestamp
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Compression {
        Compression::of_attributes(self.header.attributes).expect("checked by parse")
    }

    /// The idempotent producer's id, -1 for none.
    pub fn producer_id(&self) -> i64 {
        self.header.producer_id
    }

    /// The idempotent producer's epoch.
    pub fn producer_epoch(&self) -> i16 {
        self.header.producer_epoch
    }

    /// Sequence number of the first record, -1 for none.
    pub fn base_sequence(&self) -> i32 {
        self.header.base_sequence
    }

    /// Sequence number of the last record; sequences wrap from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        add_sequence(self.header.base_sequence, self.header.last_offset_delta)
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.header.attributes & TRANSACTIONAL != 0
    }

    /// Whether it holds a transaction marker instead of records.
    pub fn is_control(&self) -> bool {
        self.header.attributes & CONTROL != 0
    }

    /// Whether the max timestamp replaces the records' own (topic setting LogAppendTime).
    pub fn is_log_append_time(&self) -> bool {
        self.header.attributes & APPEND_TIME != 0
    }

    /// The records, decompressed into at most `inflated_bytes_max` bytes.
    ///
    /// # Errors
    /// If they do not decompress, inflate too far, or are not what the header says.
    pub fn records(&self, inflated_bytes_max: usize) -> Result<Vec<Record>, BatchError> {
        records::read(self, inflated_bytes_max)
    }

    /// The batch with bytes that nobody else holds, copied if need be: an append copies no more.
    #[must_use]
    pub fn unshared(self) -> Self {
        let Unshared { bytes, header } = self.into_unshared();
        Self { bytes: bytes.freeze(), header }
    }

    /// What idempotence looks at.
    pub(crate) fn producer(&self) -> ProducerBatch {
        ProducerBatch {
            producer_id: self.producer_id(),
            producer_epoch: self.producer_epoch(),
            base_sequence: self.base_sequence(),
            last_sequence: self.last_sequence(),
            transactional: self.is_transactional(),
        }
    }

    /// Bytes nobody else holds, so that the offset can be patched; copies if they are shared
    /// (then a network frame they were cut from is no longer held).
    pub(crate) fn into_unshared(self) -> Unshared {
        let bytes = self.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        Unshared { bytes, header: self.header }
    }
}

/// A batch as an idempotent producer numbers it; `producer_id` -1 for none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProducerBatch {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) transactional: bool,
}

/// A batch on its way to an offset.
pub(crate) struct Unshared {
    bytes: BytesMut,
    header: Header,
}

impl Unshared {
    pub(crate) fn at(mut self, base_offset: Offset) -> LogBatch {
        self.bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        self.bytes[12..16].copy_from_slice(&0_i32.to_be_bytes());
        self.header.base_offset = base_offset;
        LogBatch { bytes: self.bytes.freeze(), header: self.header }
    }
}

/// Length of the batch that starts at `bytes[0]`, from its own length field.
///
/// # Errors
/// If the field is absurd, the magic is not 2, or `bytes` end before the batch does.
pub(crate) fn encoded_len(bytes: &[u8]) -> Result<usize, BatchError> {
    if bytes.len() < BATCH_HEADER_BYTES {
        return Err(BatchError::TooShort { needed: BATCH_HEADER_BYTES, got: bytes.len() });
    }
    let magic = i8::from_be_bytes(array(bytes, 16));
    if magic != 2 {
        return Err(BatchError::UnsupportedMagic { magic });
    }
    let length = i32::from_be_bytes(array(bytes, 8));
    let needed = usize::try_from(length).map_err(|_| invalid(format!("length {length}")))? + LENGTH_END;
    if needed < BATCH_HEADER_BYTES {
        return Err(invalid(format!("length {length}, expected at least 49")));
    }
    if bytes.len() < needed {
        return Err(BatchError::TooShort { needed, got: bytes.len() });
    }
    Ok(needed)
}

/// Where the batch at `bytes[0]` lies, from its first 61 bytes alone: `(base offset, encoded
/// length, last offset, max timestamp)`. Unchecked by the CRC: for walking a segment.
pub(crate) fn peek(bytes: &[u8; BATCH_HEADER_BYTES]) -> Option<Peek> {
    let length = usize::try_from(i32::from_be_bytes(array(bytes, 8))).ok()? + LENGTH_END;
    let base_offset = i64::from_be_bytes(array(bytes, 0));
    let delta = i32::from_be_bytes(array(bytes, 23));
    if length < BATCH_HEADER_BYTES || bytes[16] != 2 || base_offset < 0 || delta < 0 {
        return None;
    }
    let last_offset = base_offset.checked_add(i64::from(delta))?;
    Some(Peek { base_offset, last_offset, length, max_timestamp: i64::from_be_bytes(array(bytes, 35)) })
}

/// What [`peek`] sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peek {
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) length: usize,
    pub(crate) max_timestamp: i64,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = Self {
            base_offset: i64::from_be_bytes(array(bytes, 0)),
            attributes: i16::from_be_bytes(array(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(array(bytes, 23)),
            base_timestamp: i64::from_be_bytes(array(bytes, 27)),
            max_timestamp: i64::from_be_bytes(array(bytes, 35)),
            producer_id: i64::from_be_bytes(array(bytes, 43)),
            producer_epoch: i16::from_be_bytes(array(bytes, 51)),
            base_sequence: i32::from_be_bytes(array(bytes, 53)),
            record_count: i32::from_be_bytes(array(bytes, 57)),
        };
        header.check(bytes.len() - BATCH_HEADER_BYTES)?;
        Ok(header)
    }

    fn check(&self, payload_bytes: usize) -> Result<(), BatchError> {
        let (count, delta) = (self.record_count, self.last_offset_delta);
        if count < 0 || delta < 0 || count - 1 > delta {
            return Err(invalid(format!("{count} records with last offset delta {delta}")));
        }
        if self.base_offset.checked_add(i64::from(delta)).is_none_or(|last| last == i64::MAX) {
            return Err(invalid(format!("base offset {}", self.base_offset)));
        }
        if self.attributes & !KNOWN_ATTRIBUTES != 0 {
            return Err(invalid(format!("attributes {:#06x}", self.attributes)));
        }
        let compression = Compression::of_attributes(self.attributes)?;
        let smallest = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(records::RECORD_BYTES_MIN);
        let room = if compression == Compression::None { payload_bytes } else { INFLATED_BYTES_MAX };
        if room < smallest {
            return Err(invalid(format!("{count} records in {room} bytes")));
        }
        // Batches of the coordinators belong to a producer but are not numbered by it.
        let unnumbered = self.attributes & TRANSACTIONAL != 0 && self.base_sequence == NO_SEQUENCE;
        if self.producer_id >= 0 && (self.producer_epoch < 0 || (self.base_sequence < 0 && !unnumbered)) {
            let (epoch, sequence) = (self.producer_epoch, self.base_sequence);
            return Err(invalid(format!("producer epoch {epoch}, sequence {sequence}")));
        }
        Ok(())
    }
}

/// The base sequence of a batch that its producer does not number.
pub(crate) const NO_SEQUENCE: i32 = -1;

/// Sequence `by` records after `sequence`; wraps from `i32::MAX` to 0.
pub(crate) fn add_sequence(sequence: i32, by: i32) -> i32 {
    sequence.wrapping_add(by) & i32::MAX
}

/// Writes the CRC of a batch whose other bytes are final.
fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// `N` bytes at `at`. The caller has checked the length.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range has N bytes")
}
