//! Batches that are not kept as received: append time, another codec, records taken out.

use bytes::{BufMut, Bytes, BytesMut};

use super::builder::put_record;
use super::{
    APPEND_TIME, BATCH_HEADER_BYTES, BatchError, Compression, DELETE_HORIZON, Header, LogBatch, Record,
    records, seal,
};

const ATTRIBUTES_POS: usize = 21;
const BASE_TIMESTAMP_POS: usize = 27;
const COUNT_POS: usize = 57;
const MAX_TIMESTAMP_POS: usize = 35;
/// Lowest bits of the attributes: the codec.
const CODEC_MASK: i16 = 0x07;

impl LogBatch {
    /// The batch with `now_ms` (ms since the Unix epoch, UTC) as the timestamp of all its records:
    /// topic setting `message.timestamp.type=LogAppendTime`. Its CRC is computed again.
    #[must_use]
    pub fn with_append_time(self, now_ms: i64) -> Self {
        let attributes = self.header.attributes | APPEND_TIME;
        let mut bytes = self.into_unshared().bytes;
        bytes[ATTRIBUTES_POS..ATTRIBUTES_POS + 2].copy_from_slice(&attributes.to_be_bytes());
        bytes[MAX_TIMESTAMP_POS..MAX_TIMESTAMP_POS + 8].copy_from_slice(&now_ms.to_be_bytes());
        Self::sealed(bytes)
    }

    /// The batch with its records compressed by `codec`; itself if they are.
    ///
    /// # Errors
    /// If the records do not decompress, inflate beyond `inflated_bytes_max`, or cannot be
    /// compressed.
    pub fn recompressed(self, codec: Compression, inflated_bytes_max: usize) -> Result<Self, BatchError> {
        if self.compression() == codec {
            return Ok(self);
        }
        let records = records::inflated(&self, inflated_bytes_max)?;
        self.with_block(&codec.deflate(&records)?, codec).map(Self::sealed)
    }

    /// The batch with only these of its records, at their offsets: what compaction leaves. A
    /// `delete_horizon_ms` (since the Unix epoch, UTC) says when its tombstones may go (KIP-534).
    ///
    /// # Errors
    /// If the records cannot be compressed again.
    pub(crate) fn keeping(
        &self,
        kept: &[Record],
        delete_horizon_ms: Option<i64>,
    ) -> Result<Self, BatchError> {
        let base_timestamp = delete_horizon_ms.unwrap_or(self.header.base_timestamp);
        let mut records = BytesMut::new();
        for record in kept {
            let offset_delta = i32::try_from(record.offset - self.header.base_offset)
                .map_err(|_| super::invalid(format!("record at offset {}", record.offset)))?;
            let timestamp_delta = record.timestamp_ms.wrapping_sub(base_timestamp);
            let payload = (record.key.as_deref(), record.value.as_deref());
            put_record(&mut records, timestamp_delta, offset_delta, payload, &record.headers);
        }
        let codec = if kept.is_empty() { Compression::None } else { self.compression() };
        let kept_count = i32::try_from(kept.len()).map_err(|_| super::invalid("too many records"))?;
        let mut bytes = self.with_block(&codec.deflate(&records)?, codec)?;
        if delete_horizon_ms.is_some() {
            let attributes = (self.header.attributes & !CODEC_MASK) | codec.code() | DELETE_HORIZON;
            bytes[ATTRIBUTES_POS..ATTRIBUTES_POS + 2].copy_from_slice(&attributes.to_be_bytes());
        }
        bytes[BASE_TIMESTAMP_POS..BASE_TIMESTAMP_POS + 8].copy_from_slice(&base_timestamp.to_be_bytes());
        bytes[COUNT_POS..COUNT_POS + 4].copy_from_slice(&kept_count.to_be_bytes());
        Ok(Self::sealed(bytes))
    }

    /// When its tombstones may go, ms since the Unix epoch; set by the first compaction over it.
    pub(crate) fn delete_horizon_ms(&self) -> Option<i64> {
        (self.header.attributes & DELETE_HORIZON != 0).then_some(self.header.base_timestamp)
    }

    /// The batch with another block of records; to be sealed.
    fn with_block(&self, block: &[u8], codec: Compression) -> Result<BytesMut, BatchError> {
        let mut bytes = BytesMut::with_capacity(BATCH_HEADER_BYTES + block.len());
        bytes.put_slice(&self.bytes[..BATCH_HEADER_BYTES]);
        bytes.put_slice(block);
        let len = i32::try_from(bytes.len() - super::LENGTH_END)
            .map_err(|_| super::invalid(format!("{} bytes after recompression", bytes.len())))?;
        bytes[8..12].copy_from_slice(&len.to_be_bytes());
        let attributes = (self.header.attributes & !CODEC_MASK) | codec.code();
        bytes[ATTRIBUTES_POS..ATTRIBUTES_POS + 2].copy_from_slice(&attributes.to_be_bytes());
        Ok(bytes)
    }

    /// # Panics
    /// If a header field is wrong: it was valid before, and the changes keep it so.
    fn sealed(mut bytes: BytesMut) -> Self {
        seal(&mut bytes);
        let bytes: Bytes = bytes.freeze();
        let header = Header::read(&bytes).expect("a rewritten batch keeps a valid header");
        Self { bytes, header }
    }
}
