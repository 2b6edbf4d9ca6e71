//! Encoding records into an uncompressed batch.

use bytes::{BufMut, Bytes, BytesMut};

use super::{BATCH_HEADER_BYTES, CONTROL, LogBatch, NO_SEQUENCE, TRANSACTIONAL};

/// Collects records into one batch. Check [`BatchBuilder::bytes`] against the topic's limit.
#[derive(Debug)]
pub struct BatchBuilder {
    encoded: BytesMut,
    count: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    attributes: i16,
}

impl BatchBuilder {
    /// An empty batch. Records' timestamps are stored relative to `base_timestamp_ms` (ms since
    /// the Unix epoch): take the first record's.
    pub fn new(base_timestamp_ms: i64) -> Self {
        let mut encoded = BytesMut::with_capacity(1024);
        encoded.put_bytes(0, BATCH_HEADER_BYTES);
        Self {
            encoded,
            count: 0,
            base_timestamp_ms,
            max_timestamp_ms: i64::MIN,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: NO_SEQUENCE,
            attributes: 0,
        }
    }

    /// Marks the batch as an idempotent producer's; `base_sequence` is the first record's, -1 if the
    /// coordinator writes it in the producer's name.
    #[must_use]
    pub fn with_producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    /// Makes the batch part of its producer's transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes |= TRANSACTIONAL;
        self
    }

    /// Makes the batch a transaction's marker.
    pub(super) fn control(mut self) -> Self {
        self.attributes |= CONTROL;
        self
    }

    /// Adds a record. `timestamp_ms`: since the Unix epoch, UTC.
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(Bytes, Option<Bytes>)],
    ) {
        let timestamp_delta = timestamp_ms.wrapping_sub(self.base_timestamp_ms);
        put_record(&mut self.encoded, timestamp_delta, self.count, (key, value), headers);
        self.count += 1;
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// Whether it holds no record yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Encoded length in bytes, header included.
    pub fn bytes(&self) -> usize {
        self.encoded.len()
    }

    /// The batch, with base offset 0.
    ///
    /// # Panics
    /// If it is empty: Kafka knows no empty batch.
    pub fn finish(mut self) -> LogBatch {
        assert!(self.count > 0, "a batch holds at least one record");
        let after_length = length(self.encoded.len() - 12);
        let mut header = &mut self.encoded[..BATCH_HEADER_BYTES];
        header.put_i64(0);
        header.put_i32(after_length);
        header.put_i32(0);
        header.put_i8(2);
        header.put_u32(0);
        header.put_i16(self.attributes);
        header.put_i32(self.count - 1);
        header.put_i64(self.base_timestamp_ms);
        header.put_i64(self.max_timestamp_ms);
        header.put_i64(self.producer_id);
        header.put_i16(self.producer_epoch);
        header.put_i32(self.base_sequence);
        header.put_i32(self.count);
        super::seal(&mut self.encoded);
        // The batch stays in memory for long: not with what was kept free for more records.
        let encoded = match self.encoded.capacity() / 2 > self.encoded.len() {
            true => BytesMut::from(&self.encoded[..]),
            false => self.encoded,
        };
        LogBatch::of_builder(encoded.freeze())
    }
}

impl LogBatch {
    fn of_builder(bytes: Bytes) -> Self {
        let header = super::Header::read(&bytes).expect("the builder wrote a valid header");
        Self { bytes, header }
    }
}

/// Encodes one record, its timestamp and offset relative to its batch's.
pub(super) fn put_record(
    out: &mut BytesMut,
    timestamp_delta: i64,
    offset_delta: i32,
    (key, value): (Option<&[u8]>, Option<&[u8]>),
    headers: &[(Bytes, Option<Bytes>)],
) {
    let mut len = 1 + varlong_len(timestamp_delta) + varint_len(offset_delta);
    len += nullable_len(key) + nullable_len(value) + varint_len(length(headers.len()));
    for (name, value) in headers {
        len += nullable_len(Some(name)) + nullable_len(value.as_deref());
    }
    out.reserve(len + 5);
    put_varlong(out, i64::from(length(len)));
    out.put_i8(0);
    put_varlong(out, timestamp_delta);
    put_varlong(out, i64::from(offset_delta));
    put_nullable(out, key);
    put_nullable(out, value);
    put_varlong(out, i64::from(length(headers.len())));
    for (name, value) in headers {
        put_nullable(out, Some(name));
        put_nullable(out, value.as_deref());
    }
}

/// A length Kafka stores in 32 bits.
///
/// # Panics
/// Beyond 2 GiB, which no topic's limit allows.
fn length(len: usize) -> i32 {
    i32::try_from(len).expect("a record or batch is smaller than 2 GiB")
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn varlong_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn varint_len(value: i32) -> usize {
    varlong_len(i64::from(value))
}

fn nullable_len(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| varint_len(length(bytes.len())) + bytes.len())
}

fn put_varlong(out: &mut BytesMut, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn put_nullable(out: &mut BytesMut, field: Option<&[u8]>) {
    match field {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_varlong(out, i64::from(length(bytes.len())));
            out.put_slice(bytes);
        }
    }
}
