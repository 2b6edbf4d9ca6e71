//! The records of `__consumer_offsets`, in Apache Kafka's own format (its `OffsetCommitKey`,
//! `OffsetCommitValue`, `GroupMetadataKey`, `GroupMetadataValue`), so that Kafka's tools read them.
//!
//! ```text
//! key    i16 1 | group string | topic string | i32 partition
//! value  i16 3 | i64 offset | i32 leader epoch | metadata string | i64 committed ms
//!        i16 1 | i64 offset | metadata string | i64 committed ms | i64 expires ms
//!
//! key    i16 2 | group string
//! value  i16 3 | protocol type string | i32 generation | protocol string? | leader string?
//!        | i64 ms since which it is in its state | array of members:
//!          member id string | instance id string? | client id string | client host string
//!          | i32 rebalance timeout ms | i32 session timeout ms | subscription bytes | assignment bytes
//! ```
//! Strings have an i16 length, -1 for null; bytes and arrays an i32. A missing value is a tombstone.
//! Versions up to 3 are read, and version 4, which is version 3 in Kafka's flexible encoding.

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};

use super::group::{Group, Moment};
use super::member::Member;
use super::offsets::Kept;
use super::requests::{CommittedOffset, JoinRequest};

/// A key of the offsets' partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Offset { group: String, topic: String, partition: i32 },
    Group(String),
}

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
/// The first flexible version of both values (KIP-915).
const FLEXIBLE: i16 = 4;

/// A group as its record has it.
pub(super) struct StoredGroup {
    pub(super) protocol_type: String,
    pub(super) generation: i32,
    pub(super) protocol: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) since_ms: Option<i64>,
    pub(super) members: Vec<StoredMember>,
}

/// A member as its group's record has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StoredMember {
    pub(super) id: String,
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) subscription: Bytes,
    pub(super) assignment: Bytes,
}

impl StoredMember {
    /// The member, with the one protocol that was chosen.
    pub(super) fn into_member(self, protocol: &str, at: &Moment<'_>) -> Member {
        let request = JoinRequest {
            instance_id: self.instance_id,
            client_id: self.client_id,
            client_host: self.client_host,
            session_timeout: millis(self.session_timeout_ms),
            rebalance_timeout: millis(self.rebalance_timeout_ms),
            protocols: vec![(protocol.to_owned(), self.subscription)],
            ..JoinRequest::default()
        };
        let mut member = Member::new(self.id.into(), &request, at);
        member.assignment = Bytes::copy_from_slice(&self.assignment);
        member
    }
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn as_millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

pub(super) fn offset_key(group: &str, topic: &str, partition: i32) -> Vec<u8> {
    let mut key = Vec::with_capacity(10 + group.len() + topic.len());
    key.put_i16(OFFSET_KEY);
    put_text(&mut key, Some(group));
    put_text(&mut key, Some(topic));
    key.put_i32(partition);
    key
}

pub(super) fn group_key(group: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + group.len());
    key.put_i16(GROUP_KEY);
    put_text(&mut key, Some(group));
    key
}

pub(super) fn offset_value(kept: &Kept) -> Vec<u8> {
    let committed = &kept.committed;
    let mut value = Vec::with_capacity(32 + committed.metadata.len());
    match kept.expires_ms {
        None => {
            value.put_i16(3);
            value.put_i64(committed.offset);
            value.put_i32(committed.leader_epoch);
            put_text(&mut value, Some(&committed.metadata));
            value.put_i64(committed.committed_ms);
        }
        Some(expires_ms) => {
            value.put_i16(1);
            value.put_i64(committed.offset);
            put_text(&mut value, Some(&committed.metadata));
            value.put_i64(committed.committed_ms);
            value.put_i64(expires_ms);
        }
    }
    value
}

pub(super) fn group_value(group: &Group) -> Vec<u8> {
    let mut value = Vec::new();
    value.put_i16(3);
    put_text(&mut value, Some(group.protocol_type.as_deref().unwrap_or_default()));
    value.put_i32(group.generation);
    put_text(&mut value, group.protocol.as_deref());
    put_text(&mut value, group.leader.as_deref());
    value.put_i64(group.since_ms.unwrap_or(-1));
    value.put_i32(i32::try_from(group.members.len()).expect("a group's members are bounded"));
    for member in group.members.values() {
        put_text(&mut value, Some(&member.id));
        put_text(&mut value, member.instance_id.as_deref());
        put_text(&mut value, Some(&member.client_id));
        put_text(&mut value, Some(&member.client_host));
        value.put_i32(as_millis(member.rebalance_timeout));
        value.put_i32(as_millis(member.session_timeout));
        put_bytes(&mut value, &member.metadata(group.protocol.as_deref().unwrap_or_default()));
        put_bytes(&mut value, &member.assignment);
    }
    value
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.put_i16(-1),
        Some(text) => {
            out.put_i16(i16::try_from(text.len()).expect("names were read with a 16-bit length"));
            out.put_slice(text.as_bytes());
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &Bytes) {
    out.put_i32(i32::try_from(bytes.len()).expect("members' bytes are bounded"));
    out.put_slice(bytes);
}

/// A key; `None` for one of a later Kafka, which is skipped.
///
/// # Errors
/// If it is cut short.
pub(super) fn read_key(bytes: &Bytes) -> Result<Option<Key>, String> {
    let mut input = Input { bytes: bytes.clone(), flexible: false };
    Ok(match input.i16()? {
        0 | OFFSET_KEY => {
            Some(Key::Offset { group: input.text()?, topic: input.text()?, partition: input.i32()? })
        }
        GROUP_KEY => Some(Key::Group(input.text()?)),
        _ => None,
    })
}

/// A committed offset. `log_offset`: where its record is.
///
/// # Errors
/// If it is cut short or of an unknown version.
pub(super) fn read_offset(bytes: &Bytes, log_offset: i64) -> Result<Kept, String> {
    let mut input = Input { bytes: bytes.clone(), flexible: false };
    let version = input.version()?;
    let offset = input.i64()?;
    let leader_epoch = if version >= 3 { input.i32()? } else { -1 };
    let metadata = input.text()?.into();
    let committed_ms = input.i64()?;
    let expires_ms = if version == 1 { Some(input.i64()?).filter(|ms| *ms >= 0) } else { None };
    let committed = CommittedOffset { offset, leader_epoch, metadata, committed_ms };
    Ok(Kept { committed, expires_ms, log_offset })
}

/// A group.
///
/// # Errors
/// If it is cut short or of an unknown version.
pub(super) fn read_group(bytes: &Bytes) -> Result<StoredGroup, String> {
    let mut input = Input { bytes: bytes.clone(), flexible: false };
    let version = input.version()?;
    let mut group = StoredGroup {
        protocol_type: input.text()?,
        generation: input.i32()?,
        protocol: input.nullable_text()?,
        leader: input.nullable_text()?,
        since_ms: if version >= 2 { Some(input.i64()?).filter(|ms| *ms >= 0) } else { None },
        members: Vec::new(),
    };
    for _ in 0..input.len()?.ok_or("members are null")? {
        let id = input.text()?;
        let instance_id = if version >= 3 { input.nullable_text()? } else { None };
        let (client_id, client_host) = (input.text()?, input.text()?);
        let rebalance_timeout_ms = if version >= 1 { Some(input.i32()?) } else { None };
        let session_timeout_ms = input.i32()?;
        group.members.push(StoredMember {
            id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: input.blob()?,
            assignment: input.blob()?,
        });
        input.tags()?;
    }
    Ok(group)
}

struct Input {
    bytes: Bytes,
    flexible: bool,
}

impl Input {
    fn version(&mut self) -> Result<i16, String> {
        let version = self.i16()?;
        if !(0..=FLEXIBLE).contains(&version) {
            return Err(format!("value version {version}, expected 0..={FLEXIBLE}"));
        }
        self.flexible = version >= FLEXIBLE;
        Ok(version)
    }

    fn i16(&mut self) -> Result<i16, String> {
        self.bytes.try_get_i16().map_err(|_| "cut short".to_owned())
    }

    fn i32(&mut self) -> Result<i32, String> {
        self.bytes.try_get_i32().map_err(|_| "cut short".to_owned())
    }

    fn i64(&mut self) -> Result<i64, String> {
        self.bytes.try_get_i64().map_err(|_| "cut short".to_owned())
    }

    fn varint(&mut self) -> Result<u32, String> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.bytes.try_get_u8().map_err(|_| "cut short".to_owned())?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("varint too long".to_owned())
    }

    /// The length of an array or of bytes; `None` is null.
    fn len(&mut self) -> Result<Option<usize>, String> {
        match self.flexible {
            true => Ok(self.varint()?.checked_sub(1).map(|len| len as usize)),
            false => Ok(usize::try_from(self.i32()?).ok()),
        }
    }

    fn take(&mut self, len: usize) -> Result<Bytes, String> {
        if len > self.bytes.len() {
            return Err(format!("{len} bytes expected, {} are left", self.bytes.len()));
        }
        Ok(self.bytes.split_to(len))
    }

    fn nullable_text(&mut self) -> Result<Option<String>, String> {
        let len = match self.flexible {
            true => self.len()?,
            false => usize::try_from(self.i16()?).ok(),
        };
        let Some(len) = len else { return Ok(None) };
        let text = self.take(len)?;
        String::from_utf8(text.to_vec()).map(Some).map_err(|_| "text is not UTF-8".to_owned())
    }

    fn text(&mut self) -> Result<String, String> {
        self.nullable_text()?.ok_or_else(|| "text is null".to_owned())
    }

    fn blob(&mut self) -> Result<Bytes, String> {
        let len = self.len()?.ok_or("bytes are null")?;
        self.take(len)
    }

    /// Skips the tagged fields at the end of a flexible struct.
    fn tags(&mut self) -> Result<(), String> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            let _tag = self.varint()?;
            let len = self.varint()? as usize;
            self.take(len)?;
        }
        Ok(())
    }
}

/// Room a commit's record takes in a batch at most, besides its strings.
const RECORD_BYTES: usize = 80;

/// Bytes of the record that commits an offset, at most.
pub(super) fn commit_bytes(group: &str, topic: &str, metadata: &str) -> usize {
    RECORD_BYTES + group.len() + topic.len() + metadata.len()
}
