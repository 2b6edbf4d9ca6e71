//! The file that says what segments hold: `log.checkpoint`.
//!
//! ```text
//!  0  8  "HWCKPT\0\0"
//!  8  4  version, 2
//! 12  8  sequence: write-ahead groups up to this one are in segments
//! 20  4  number of partitions; each:
//!        16 topic id, 4 partition, 8 log start offset, 8 next offset,
//!        8 offset below which compaction has been (since version 2),
//!        4 number of segments; each: 8 base offset, 8 bytes, 8 max timestamp,
//!          4 how often compaction rewrote it (since version 2)
//!        4 number of producers; each: 8 id, 2 epoch, 1 number of batches; each:
//!          4 base sequence, 4 last sequence, 8 base offset, 8 last offset
//!          then, since version 2: 8 offset after the last batch, 8 its timestamp,
//!          4 coordinator epoch, 8 first offset of an open transaction or -1
//!        since version 2: 4 number of aborted transactions; each: 8 producer id, 8 first offset,
//!          8 last offset, 8 last stable offset
//!  .  4  CRC-32C of all before
//! ```
//! Integers are little-endian. It is written beside and renamed over its predecessor.

use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};
use highwater_env::{Disk, Offset, OpenMode, TopicId, TopicPartition};

use crate::LogError;
use crate::producers::{Producer, Sent};
use crate::transactions::AbortedTransaction;

const MAGIC: &[u8; 8] = b"HWCKPT\0\0";
const VERSION: u32 = 2;
const NAME: &str = "log.checkpoint";

/// What segments hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Write-ahead groups up to this one are covered.
    pub(crate) sequence: u64,
    pub(crate) partitions: Vec<PartitionCheckpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionCheckpoint {
    pub(crate) tp: TopicPartition,
    pub(crate) log_start_offset: Offset,
    /// The offset after the last record in segments.
    pub(crate) next_offset: Offset,
    /// Compaction has been over all records below it.
    pub(crate) cleaned_until: Offset,
    pub(crate) segments: Vec<SegmentCheckpoint>,
    pub(crate) producers: Vec<(i64, Producer)>,
    pub(crate) aborted: Vec<AbortedTransaction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentCheckpoint {
    pub(crate) base_offset: Offset,
    pub(crate) bytes: u64,
    pub(crate) max_timestamp: i64,
    /// How often compaction has rewritten it.
    pub(crate) generation: u32,
}

impl Checkpoint {
    /// Replaces the directory's checkpoint; durable when it returns.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
        write_replacing(disk, dir, NAME, &self.encode())
    }

    /// The directory's checkpoint, if there is one.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, LogError> {
        let path = dir.join(NAME);
        if !disk.exists(&path).map_err(LogError::io("look for", &path))? {
            return Ok(None);
        }
        let file = disk.open(&path, OpenMode::Read).map_err(LogError::io("open", &path))?;
        Self::decode(&file.read_all().map_err(LogError::io("read", &path))?, &path).map(Some)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_slice(MAGIC);
        out.put_u32_le(VERSION);
        out.put_u64_le(self.sequence);
        put_len(&mut out, self.partitions.len());
        for partition in &self.partitions {
            out.put_u128_le(partition.tp.topic.0);
            out.put_i32_le(partition.tp.partition);
            out.put_i64_le(partition.log_start_offset);
            out.put_i64_le(partition.next_offset);
            out.put_i64_le(partition.cleaned_until);
            put_len(&mut out, partition.segments.len());
            for segment in &partition.segments {
                out.put_i64_le(segment.base_offset);
                out.put_u64_le(segment.bytes);
                out.put_i64_le(segment.max_timestamp);
                out.put_u32_le(segment.generation);
            }
            put_len(&mut out, partition.producers.len());
            for (id, producer) in &partition.producers {
                out.put_i64_le(*id);
                out.put_i16_le(producer.epoch);
                out.put_u8(u8::try_from(producer.sent.len()).expect("at most five batches are kept"));
                for sent in &producer.sent {
                    out.put_i32_le(sent.base_sequence);
                    out.put_i32_le(sent.last_sequence);
                    out.put_i64_le(sent.base_offset);
                    out.put_i64_le(sent.last_offset);
                }
                out.put_i64_le(producer.seen_offset);
                out.put_i64_le(producer.last_timestamp);
                out.put_i32_le(producer.coordinator_epoch);
                out.put_i64_le(producer.open_since.unwrap_or(-1));
            }
            put_len(&mut out, partition.aborted.len());
            for aborted in &partition.aborted {
                out.put_i64_le(aborted.producer_id);
                out.put_i64_le(aborted.first_offset);
                out.put_i64_le(aborted.last_offset);
                out.put_i64_le(aborted.last_stable_offset);
            }
        }
        let crc = crc32c::crc32c(&out);
        out.put_u32_le(crc);
        out
    }

    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Self, LogError> {
        let corrupt = |what: &str| LogError::Corrupt { path: path.to_owned(), pos: 0, what: what.to_owned() };
        let Some((body, crc)) = bytes.split_last_chunk::<4>() else { return Err(corrupt("it is cut short")) };
        if !body.starts_with(MAGIC) {
            return Err(LogError::NotOurs {
                path: path.to_owned(),
                what: "it does not start with HWCKPT".into(),
            });
        }
        let mut input = &body[MAGIC.len()..];
        let found = input.try_get_u32_le().map_err(|_| corrupt("it is cut short"))?;
        if found > VERSION {
            return Err(LogError::NewerVersion { path: path.to_owned(), found, newest: VERSION });
        }
        // After the version: a newer one may have its checksum elsewhere.
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(corrupt("checksum mismatch"));
        }
        decode_body(&mut input, found)
            .filter(|_| input.is_empty())
            .ok_or_else(|| corrupt("lengths do not add up"))
    }
}

fn decode_body(input: &mut &[u8], version: u32) -> Option<Checkpoint> {
    let sequence = input.try_get_u64_le().ok()?;
    let mut partitions = Vec::new();
    for _ in 0..input.try_get_u32_le().ok()? {
        let topic = TopicId(input.try_get_u128_le().ok()?);
        let tp = TopicPartition { topic, partition: input.try_get_i32_le().ok()? };
        let log_start_offset = input.try_get_i64_le().ok()?;
        let next_offset = input.try_get_i64_le().ok()?;
        let cleaned_until = if version >= 2 { input.try_get_i64_le().ok()? } else { 0 };
        let mut segments = Vec::new();
        for _ in 0..input.try_get_u32_le().ok()? {
            segments.push(SegmentCheckpoint {
                base_offset: input.try_get_i64_le().ok()?,
                bytes: input.try_get_u64_le().ok()?,
                max_timestamp: input.try_get_i64_le().ok()?,
                generation: if version >= 2 { input.try_get_u32_le().ok()? } else { 0 },
            });
        }
        let mut producers = Vec::new();
        for _ in 0..input.try_get_u32_le().ok()? {
            producers.push(decode_producer(input, version)?);
        }
        let aborted = if version >= 2 { decode_aborted(input)? } else { Vec::new() };
        partitions.push(PartitionCheckpoint {
            tp,
            log_start_offset,
            next_offset,
            cleaned_until,
            segments,
            producers,
            aborted,
        });
    }
    Some(Checkpoint { sequence, partitions })
}

fn decode_producer(input: &mut &[u8], version: u32) -> Option<(i64, Producer)> {
    let id = input.try_get_i64_le().ok()?;
    let mut producer = Producer::new(input.try_get_i16_le().ok()?);
    for _ in 0..input.try_get_u8().ok()? {
        producer.sent.push_back(Sent {
            base_sequence: input.try_get_i32_le().ok()?,
            last_sequence: input.try_get_i32_le().ok()?,
            base_offset: input.try_get_i64_le().ok()?,
            last_offset: input.try_get_i64_le().ok()?,
            group: 0,
        });
    }
    if version >= 2 {
        producer.seen_offset = input.try_get_i64_le().ok()?;
        producer.last_timestamp = input.try_get_i64_le().ok()?;
        producer.coordinator_epoch = input.try_get_i32_le().ok()?;
        producer.open_since = Some(input.try_get_i64_le().ok()?).filter(|first| *first >= 0);
    } else {
        producer.seen_offset = producer.sent.back().map_or(0, |sent| sent.last_offset + 1);
    }
    Some((id, producer))
}

fn decode_aborted(input: &mut &[u8]) -> Option<Vec<AbortedTransaction>> {
    let mut aborted = Vec::new();
    for _ in 0..input.try_get_u32_le().ok()? {
        aborted.push(AbortedTransaction {
            producer_id: input.try_get_i64_le().ok()?,
            first_offset: input.try_get_i64_le().ok()?,
            last_offset: input.try_get_i64_le().ok()?,
            last_stable_offset: input.try_get_i64_le().ok()?,
        });
    }
    Some(aborted)
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.put_u32_le(u32::try_from(len).expect("fewer than 2^32 entries fit in memory"));
}

/// Writes `dir/name` whole: beside, synced, renamed, directory synced.
pub(crate) fn write_replacing(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), LogError> {
    let path: PathBuf = dir.join(name);
    let beside = dir.join(format!("{name}.new"));
    let write = || {
        let file = disk.open(&beside, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        disk.rename(&beside, &path)?;
        disk.sync_dir(dir)
    };
    write().map_err(LogError::io("write", &path))
}
