//! Records of the topic `__transaction_state`, in Apache Kafka's own format: its tools read them.
//!
//! ```text
//! key    i16 version, 0 | transactional id: i16 length, UTF-8
//! value  i16 version, 1 | producer id i64 | producer epoch i16 | timeout ms i32 | state i8
//!        | partitions: [topic: string | [partition i32] | tags]   compact, null unless open
//!        | last update ms i64 | start ms i64
//!        | tags: 0 previous producer id i64, 2 level of transaction.version i16,
//!                100 previous producer epoch i16 (ours: skipped by Kafka)
//! ```
//! A null value removes the transactional id. (Kafka's `TransactionLogKey`, `TransactionLogValue`.)

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{ProducerIdentity, TransactionState};

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 1;
const TAG_PREVIOUS_ID: u32 = 0;
const TAG_CLIENT_LEVEL: u32 = 2;
const TAG_LAST_EPOCH: u32 = 100;

/// Longest transactional id, in bytes: the key's length field says no more.
pub(super) const ID_BYTES_MAX: usize = i16::MAX as usize;

/// A value, partitions by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) producer: ProducerIdentity,
    pub(super) previous_id: i64,
    pub(super) last_epoch: i16,
    pub(super) timeout_ms: i32,
    pub(super) state: TransactionState,
    pub(super) partitions: Vec<(String, Vec<i32>)>,
    pub(super) updated_ms: i64,
    pub(super) started_ms: i64,
    pub(super) client_level: i16,
}

/// The key of `id`, which has at most [`ID_BYTES_MAX`] bytes.
pub(super) fn key(id: &str) -> Bytes {
    let mut key = BytesMut::with_capacity(4 + id.len());
    key.put_i16(KEY_VERSION);
    key.put_i16(i16::try_from(id.len()).expect("checked when the producer was initialised"));
    key.put_slice(id.as_bytes());
    key.freeze()
}

/// The transactional id in a key.
pub(super) fn read_key(mut key: Bytes) -> Result<String, String> {
    let version = key.try_get_i16().map_err(|e| e.to_string())?;
    if version != KEY_VERSION {
        return Err(format!("key version {version}, expected {KEY_VERSION}"));
    }
    let len = key.try_get_i16().map_err(|e| e.to_string())?;
    let len = usize::try_from(len).map_err(|_| format!("id of {len} bytes"))?;
    text(&mut key, len)
}

impl Value {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_i16(VALUE_VERSION);
        out.put_i64(self.producer.id);
        out.put_i16(self.producer.epoch);
        out.put_i32(self.timeout_ms);
        out.put_i8(self.state.number());
        if self.state == TransactionState::Ongoing {
            put_count(&mut out, self.partitions.len());
            for (topic, partitions) in &self.partitions {
                put_count(&mut out, topic.len());
                out.put_slice(topic.as_bytes());
                put_count(&mut out, partitions.len());
                partitions.iter().for_each(|partition| out.put_i32(*partition));
                put_varint(&mut out, 0);
            }
        } else {
            put_varint(&mut out, 0);
        }
        out.put_i64(self.updated_ms);
        out.put_i64(self.started_ms);
        put_varint(&mut out, 3);
        put_tag(&mut out, TAG_PREVIOUS_ID, &self.previous_id.to_be_bytes());
        put_tag(&mut out, TAG_CLIENT_LEVEL, &self.client_level.to_be_bytes());
        put_tag(&mut out, TAG_LAST_EPOCH, &self.last_epoch.to_be_bytes());
        out.freeze()
    }

    pub(super) fn read(mut bytes: Bytes) -> Result<Self, String> {
        let input = &mut bytes;
        let version = input.try_get_i16().map_err(|e| e.to_string())?;
        if version != VALUE_VERSION {
            return Err(format!("value version {version}, expected {VALUE_VERSION}"));
        }
        read_fields(input).and_then(|value| match input.has_remaining() {
            true => Err(format!("{} bytes follow the value", input.remaining())),
            false => Ok(value),
        })
    }
}

fn read_fields(input: &mut Bytes) -> Result<Value, String> {
    let short = |e: bytes::TryGetError| e.to_string();
    let producer = ProducerIdentity {
        id: input.try_get_i64().map_err(short)?,
        epoch: input.try_get_i16().map_err(short)?,
    };
    let timeout_ms = input.try_get_i32().map_err(short)?;
    let number = input.try_get_i8().map_err(short)?;
    let state = TransactionState::of_number(number).ok_or_else(|| format!("state {number}"))?;
    let mut partitions = Vec::new();
    for _ in 0..count(input)?.unwrap_or(0) {
        let len = count(input)?.ok_or("a topic without a name")?;
        let topic = text(input, len)?;
        let len = count(input)?.unwrap_or(0);
        let mut numbers = Vec::new();
        for _ in 0..len {
            numbers.push(input.try_get_i32().map_err(short)?);
        }
        skip_tags(input)?;
        partitions.push((topic, numbers));
    }
    let updated_ms = input.try_get_i64().map_err(short)?;
    let started_ms = input.try_get_i64().map_err(short)?;
    let (mut previous_id, mut client_level, mut last_epoch) = (-1, 0, -1);
    for _ in 0..varint(input)? {
        let (tag, mut field) = tagged(input)?;
        match tag {
            TAG_PREVIOUS_ID => previous_id = field.try_get_i64().map_err(short)?,
            TAG_CLIENT_LEVEL => client_level = field.try_get_i16().map_err(short)?,
            TAG_LAST_EPOCH => last_epoch = field.try_get_i16().map_err(short)?,
            _ => {}
        }
    }
    Ok(Value {
        producer,
        previous_id,
        last_epoch,
        timeout_ms,
        state,
        partitions,
        updated_ms,
        started_ms,
        client_level,
    })
}

fn text(input: &mut Bytes, len: usize) -> Result<String, String> {
    if input.remaining() < len {
        return Err(format!("string of {len} bytes, {} are there", input.remaining()));
    }
    String::from_utf8(input.split_to(len).to_vec()).map_err(|e| e.to_string())
}

/// A compact length: 0 is null, else one less.
fn count(input: &mut Bytes) -> Result<Option<usize>, String> {
    Ok(varint(input)?.checked_sub(1).map(|len| len as usize))
}

fn tagged(input: &mut Bytes) -> Result<(u32, Bytes), String> {
    let (tag, len) = (varint(input)?, varint(input)? as usize);
    if input.remaining() < len {
        return Err(format!("tag {tag} of {len} bytes, {} are there", input.remaining()));
    }
    Ok((tag, input.split_to(len)))
}

fn skip_tags(input: &mut Bytes) -> Result<(), String> {
    for _ in 0..varint(input)? {
        tagged(input)?;
    }
    Ok(())
}

fn varint(input: &mut Bytes) -> Result<u32, String> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let byte = input.try_get_u8().map_err(|e| e.to_string())?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).map_err(|e| e.to_string());
        }
    }
    Err("a number of more than 5 bytes".to_owned())
}

fn put_varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn put_count(out: &mut BytesMut, len: usize) {
    put_varint(out, u32::try_from(len + 1).expect("a record is smaller than 4 GiB"));
}

fn put_tag(out: &mut BytesMut, tag: u32, field: &[u8]) {
    put_varint(out, tag);
    put_varint(out, u32::try_from(field.len()).expect("a few bytes"));
    out.put_slice(field);
}
