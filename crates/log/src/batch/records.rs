//! The records of a batch.
//!
//! ```text
//! varint   length of what follows
//! i8       attributes, unused
//! varlong  timestamp - base timestamp
//! varint   offset - base offset
//! varint   key length, -1 for null;    key
//! varint   value length, -1 for null;  value
//! varint   number of headers; each: varint length, name in UTF-8, varint length or -1, value
//! ```
//! Varints are zigzag-encoded, 7 bits a byte, lowest first (Kafka's `DefaultRecord`).

use bytes::Bytes;
use highwater_env::Offset;

use super::{BATCH_HEADER_BYTES, BatchError, Compression, LogBatch, invalid};

/// The smallest record: one byte for each of its seven fields.
pub(super) const RECORD_BYTES_MIN: usize = 7;

/// One decoded record. Its bytes are slices of the batch or of its inflated block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number in the partition.
    pub offset: Offset,
    /// ms since the Unix epoch, UTC.
    pub timestamp_ms: i64,
    /// The key, if any.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Names (UTF-8) and values, in order; names may repeat.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// The records' bytes, inflated to at most `inflated_bytes_max`.
pub(super) fn inflated(batch: &LogBatch, inflated_bytes_max: usize) -> Result<Bytes, BatchError> {
    let encoded = batch.bytes.slice(BATCH_HEADER_BYTES..);
    match batch.compression() {
        Compression::None => Ok(encoded),
        // A batch that compaction left no record may have no block either.
        _ if encoded.is_empty() && batch.record_count() == 0 => Ok(encoded),
        codec => Ok(Bytes::from(codec.inflate(&encoded, inflated_bytes_max)?)),
    }
}

pub(super) fn read(batch: &LogBatch, inflated_bytes_max: usize) -> Result<Vec<Record>, BatchError> {
    let records = inflated(batch, inflated_bytes_max)?;
    let count = usize::try_from(batch.record_count()).map_err(|_| invalid("negative record count"))?;
    if count > records.len() / RECORD_BYTES_MIN {
        return Err(invalid(format!("{count} records in {} bytes", records.len())));
    }
    let mut input = Input { bytes: records, at: 0 };
    let mut out: Vec<Record> = Vec::with_capacity(count);
    for index in 0..count {
        let due = out.last().map_or(batch.base_offset(), |record| record.offset + 1);
        out.push(input.record(batch, index, due)?);
    }
    if input.at != input.bytes.len() {
        return Err(invalid(format!("{} bytes after the last record", input.bytes.len() - input.at)));
    }
    Ok(out)
}

struct Input {
    bytes: Bytes,
    at: usize,
}

impl Input {
    /// `due`: the lowest offset it may have; its very offset unless records are missing.
    fn record(&mut self, batch: &LogBatch, index: usize, due: Offset) -> Result<Record, BatchError> {
        let len = self.varint()?;
        let len = usize::try_from(len).map_err(|_| invalid(format!("record {index} of length {len}")))?;
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| invalid(format!("record {index} is cut short")))?;
        self.byte()?;
        let timestamp_delta = self.varlong()?;
        let offset_delta = self.varint()?;
        let offset = batch.base_offset().saturating_add(i64::from(offset_delta));
        if offset < due || offset > batch.last_offset() || (offset > due && !batch.has_gaps()) {
            return Err(invalid(format!("record {index} has offset delta {offset_delta}")));
        }
        let key = self.nullable()?;
        let value = self.nullable()?;
        let headers = self.headers(end)?;
        if self.at != end {
            return Err(invalid(format!("record {index} ends at {}, expected {end}", self.at)));
        }
        let timestamp_ms = match batch.is_log_append_time() {
            true => batch.max_timestamp(),
            false => batch.base_timestamp().wrapping_add(timestamp_delta),
        };
        Ok(Record { offset, timestamp_ms, key, value, headers })
    }

    fn headers(&mut self, end: usize) -> Result<Vec<(Bytes, Option<Bytes>)>, BatchError> {
        let count = self.varint()?;
        let count = usize::try_from(count).map_err(|_| invalid(format!("{count} headers")))?;
        if count > end.saturating_sub(self.at) / 2 {
            return Err(invalid(format!("{count} headers in {} bytes", end.saturating_sub(self.at))));
        }
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let name = self.nullable()?.ok_or_else(|| invalid("header without a name"))?;
            if std::str::from_utf8(&name).is_err() {
                return Err(invalid("header name is not UTF-8"));
            }
            headers.push((name, self.nullable()?));
        }
        Ok(headers)
    }

    fn nullable(&mut self) -> Result<Option<Bytes>, BatchError> {
        let len = self.varint()?;
        if len == -1 {
            return Ok(None);
        }
        let len = usize::try_from(len).map_err(|_| invalid(format!("field of length {len}")))?;
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| invalid(format!("field of {len} bytes is cut short")))?;
        let field = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(Some(field))
    }

    fn byte(&mut self) -> Result<u8, BatchError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| invalid("record is cut short"))?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<i32, BatchError> {
        let wide = self.unsigned(5)?;
        let narrow = u32::try_from(wide).map_err(|_| invalid("varint beyond 32 bits"))?;
        Ok((narrow >> 1).cast_signed() ^ -(narrow & 1).cast_signed())
    }

    fn varlong(&mut self) -> Result<i64, BatchError> {
        let wide = self.unsigned(10)?;
        Ok((wide >> 1).cast_signed() ^ -(wide & 1).cast_signed())
    }

    fn unsigned(&mut self, bytes_max: u32) -> Result<u64, BatchError> {
        let mut value = 0;
        for index in 0..bytes_max {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(invalid("varint too long"))
    }
}
