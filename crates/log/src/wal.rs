//! The write-ahead log: the one place whose fdatasync acknowledges appends.
//!
//! It consists of up to `wal_files_max` files `wal/<slot>.wal` that are used in turn and
//! recycled once a checkpoint covers them. Each use of a file is a *generation*.
//!
//! ```text
//! page 0   file header, 64 bytes
//! page 1.. groups, each starting on a page; pages have 4096 bytes
//!
//! file header          group header           frame header
//!  0  8 "HWWAL\0\0\0"   0  8 "HWGROUP\0"        0  1 kind: 1 batch, 2 create partition, 3 delete
//!  8  4 version, 2      8  8 generation         1  3 zero         partition, 4 trim (version 2)
//! 12  4 zero           16  8 sequence           4  4 payload length
//! 16  8 generation     24  8 durable sequence   8 16 topic id
//! 24  8 salt           32  4 frames            24  4 partition
//! 32  8 first sequence 36  4 bytes of frames   28  4 CRC of bytes 0..28 and of the payload's
//! 40 20 zero           40 20 zero                    first 21 bytes
//! 60  4 CRC of 0..60   60  4 CRC of 0..60      32  . payload: a batch, the log start offset a
//!                                                   partition is trimmed to (8 bytes), else nothing
//! ```
//! Integers are little-endian; CRCs are CRC-32C, those of groups and frames start from the
//! file's salt, so that neither leftovers of an earlier generation nor a producer's payload can
//! pass for a group. A batch's bytes from 21 on are covered by its own CRC, which the frame's
//! CRC covers in turn: no byte is summed twice.
//!
//! A group is all or nothing. Its *durable sequence* is the last group known to be synced when it
//! was written; since groups are synced one after the other, a group `s` that is damaged while
//! a later one can be found was durable: that is corruption. If nothing follows, it is a torn
//! write. A *mark* (a group without frames that takes no sequence number of its own) follows the
//! last group once the writer is idle or closes, so that its loss is noticed too.
//! The loss of a file's end is noticed by the first sequence of the next generation.

mod recovery;
mod writer;

pub(crate) use recovery::{WalFileFound, find_files, scan};
pub(crate) use writer::{WalSettings, WalWriter, WriteFailed};

use bytes::Bytes;
use highwater_env::{Offset, TopicId, TopicPartition};

use crate::LogBatch;
use crate::batch::PREFIX_BYTES;
use crate::core::Frame;

pub(crate) const PAGE: u64 = 4096;
pub(crate) const WAL_VERSION: u32 = 2;
/// The oldest version that is still read.
pub(crate) const WAL_VERSION_MIN: u32 = 1;
const FILE_MAGIC: &[u8; 8] = b"HWWAL\0\0\0";
const GROUP_MAGIC: &[u8; 8] = b"HWGROUP\0";
pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const FRAME_BYTES: usize = 32;

/// What a frame does to its partition.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Batch(LogBatch),
    Create,
    Delete,
    /// Records below the offset are deleted.
    Trim(Offset),
}

/// What a change does to the disk in the end. The two never share a group: on a full disk those that
/// free room go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Grows,
    Frees,
}

impl Change {
    pub(crate) fn effect(&self) -> Effect {
        match self {
            Self::Batch(_) | Self::Create => Effect::Grows,
            Self::Delete | Self::Trim(_) => Effect::Frees,
        }
    }

    pub(crate) fn payload(&self) -> Bytes {
        match self {
            Self::Batch(batch) => batch.bytes().clone(),
            Self::Trim(offset) => Bytes::copy_from_slice(&offset.to_le_bytes()),
            Self::Create | Self::Delete => Bytes::new(),
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Batch(_) => 1,
            Self::Create => 2,
            Self::Delete => 3,
            Self::Trim(_) => 4,
        }
    }

    fn decode(code: u8, payload: Bytes) -> Option<Self> {
        match code {
            1 => LogBatch::parse(payload).ok().map(Self::Batch),
            2 => Some(Self::Create),
            3 => Some(Self::Delete),
            4 => Some(Self::Trim(Offset::from_le_bytes(payload[..].try_into().ok()?))),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) generation: u64,
    pub(crate) salt: u64,
    pub(crate) first_sequence: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
    pub(crate) durable: u64,
    pub(crate) frames: u32,
    pub(crate) bytes: u32,
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(FILE_MAGIC);
        out[8..12].copy_from_slice(&WAL_VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.generation.to_le_bytes());
        out[24..32].copy_from_slice(&self.salt.to_le_bytes());
        out[32..40].copy_from_slice(&self.first_sequence.to_le_bytes());
        seal(&mut out, 0);
        out
    }

    /// The header, or the version found if it is another one; `None` if it is no header.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Result<Self, u32>> {
        if bytes.len() < HEADER_BYTES || &bytes[..8] != FILE_MAGIC || !sealed(bytes, 0) {
            return None;
        }
        let version = u32_at(bytes, 8);
        if !(WAL_VERSION_MIN..=WAL_VERSION).contains(&version) {
            return Some(Err(version));
        }
        let (generation, salt, first_sequence) = (u64_at(bytes, 16), u64_at(bytes, 24), u64_at(bytes, 32));
        Some(Ok(Self { generation, salt, first_sequence }))
    }

    fn crc_seed(&self) -> u32 {
        crc32c::crc32c(&self.salt.to_le_bytes())
    }
}

impl GroupHeader {
    pub(crate) fn encode(&self, crc_seed: u32) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(GROUP_MAGIC);
        out[8..16].copy_from_slice(&self.generation.to_le_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.durable.to_le_bytes());
        out[32..36].copy_from_slice(&self.frames.to_le_bytes());
        out[36..40].copy_from_slice(&self.bytes.to_le_bytes());
        seal(&mut out, crc_seed);
        out
    }

    pub(crate) fn decode(bytes: &[u8], crc_seed: u32) -> Option<Self> {
        if bytes.len() < HEADER_BYTES || &bytes[..8] != GROUP_MAGIC || !sealed(bytes, crc_seed) {
            return None;
        }
        Some(Self {
            generation: u64_at(bytes, 8),
            sequence: u64_at(bytes, 16),
            durable: u64_at(bytes, 24),
            frames: u32_at(bytes, 32),
            bytes: u32_at(bytes, 36),
        })
    }

    /// The generation in what looks like a group header, when the salt to check it is lost.
    pub(crate) fn generation_unchecked(bytes: &[u8]) -> Option<u64> {
        (bytes.len() >= HEADER_BYTES && bytes.starts_with(GROUP_MAGIC)).then(|| u64_at(bytes, 8))
    }

    /// Pages from the group's start to where the next one starts, in bytes.
    pub(crate) fn extent(&self) -> u64 {
        (HEADER_BYTES as u64 + u64::from(self.bytes)).next_multiple_of(PAGE)
    }
}

pub(crate) fn encode_frame(frame: &Frame, crc_seed: u32) -> [u8; FRAME_BYTES] {
    let mut out = [0; FRAME_BYTES];
    out[0] = frame.change.code();
    let len = u32::try_from(frame.payload.len()).expect("a batch is below batch_bytes_max");
    out[4..8].copy_from_slice(&len.to_le_bytes());
    out[8..24].copy_from_slice(&frame.tp.topic.0.to_le_bytes());
    out[24..28].copy_from_slice(&frame.tp.partition.to_le_bytes());
    let crc = frame_crc(&out[..28], &frame.payload, crc_seed);
    out[28..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Takes the frame at the start of `bytes`.
pub(crate) fn decode_frame(bytes: &mut Bytes, crc_seed: u32) -> Option<(TopicPartition, Change)> {
    let header = bytes.get(..FRAME_BYTES)?;
    let len = usize::try_from(u32_at(header, 4)).ok()?;
    let payload = bytes.get(FRAME_BYTES..FRAME_BYTES.checked_add(len)?)?;
    if frame_crc(&header[..28], payload, crc_seed) != u32_at(header, 28) {
        return None;
    }
    let topic = u128::from_le_bytes(header[8..24].try_into().ok()?);
    let partition = i32::from_le_bytes(header[24..28].try_into().ok()?);
    let code = header[0];
    let mut frame = bytes.split_to(FRAME_BYTES + len);
    let change = Change::decode(code, frame.split_off(FRAME_BYTES))?;
    Some((TopicPartition { topic: TopicId(topic), partition }, change))
}

fn frame_crc(header: &[u8], payload: &[u8], crc_seed: u32) -> u32 {
    let prefix = &payload[..payload.len().min(PREFIX_BYTES)];
    crc32c::crc32c_append(crc32c::crc32c_append(crc_seed, header), prefix)
}

fn seal(header: &mut [u8; HEADER_BYTES], crc_seed: u32) {
    let crc = crc32c::crc32c_append(crc_seed, &header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
}

fn sealed(header: &[u8], crc_seed: u32) -> bool {
    crc32c::crc32c_append(crc_seed, &header[..60]) == u32_at(header, 60)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("the range has 4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the range has 8 bytes"))
}
