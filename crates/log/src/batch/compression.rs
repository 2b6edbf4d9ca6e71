//! Kafka's compression codecs, with a bound on what they inflate to.

use std::io::{Read, Write};

use super::{BatchError, invalid};

/// How a batch's records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// Raw snappy, or raw blocks in xerial's framing (what Java clients write).
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

/// First bytes of xerial's framing, followed by two version numbers of 4 bytes each.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
/// Bytes compressed as one block, as Java clients do.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// Smallest and largest log2 of the zstd window accepted: what level 19 needs, what Java accepts.
const ZSTD_WINDOW_LOG: std::ops::RangeInclusive<u32> = 23..=27;

impl Compression {
    /// The codec named by the lowest three bits of a batch's attributes.
    pub(crate) fn of_attributes(attributes: i16) -> Result<Self, BatchError> {
        Ok(match attributes & 7 {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            code => return Err(BatchError::UnknownCompression(code)),
        })
    }

    /// Its code in a batch's attributes.
    pub(super) fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Compresses `input`, in the framing that every Kafka client reads, at the codec's default level.
    pub(super) fn deflate(self, input: &[u8]) -> Result<Vec<u8>, BatchError> {
        match self {
            Self::None => Ok(input.to_vec()),
            Self::Gzip => {
                let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                out.write_all(input).and_then(|()| out.finish()).map_err(|e| self.failed(e))
            }
            Self::Snappy => self.snap(input),
            Self::Lz4 => {
                let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
                out.write_all(input).map_err(|e| self.failed(e))?;
                out.finish().map_err(|e| self.failed(e))
            }
            Self::Zstd => {
                zstd::stream::encode_all(input, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(|e| self.failed(e))
            }
        }
    }

    /// Xerial's framing: what Java clients write and all others read.
    fn snap(self, input: &[u8]) -> Result<Vec<u8>, BatchError> {
        let mut out = XERIAL_MAGIC.to_vec();
        out.extend_from_slice(&1_i32.to_be_bytes());
        out.extend_from_slice(&1_i32.to_be_bytes());
        for block in input.chunks(XERIAL_BLOCK_BYTES) {
            let block = snap::raw::Encoder::new().compress_vec(block).map_err(|e| self.failed(e))?;
            let len = i32::try_from(block.len()).map_err(|e| self.failed(e))?;
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&block);
        }
        Ok(out)
    }

    /// Kafka's name of the codec.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Inflates `input` to at most `bytes_max` bytes.
    pub(crate) fn inflate(self, input: &[u8], bytes_max: usize) -> Result<Vec<u8>, BatchError> {
        match self {
            Self::None => Ok(input.to_vec()),
            Self::Gzip => self.drain(flate2::read::MultiGzDecoder::new(input), bytes_max),
            Self::Snappy => self.unsnap(input, bytes_max),
            Self::Lz4 => self.drain(lz4_flex::frame::FrameDecoder::new(input), bytes_max),
            Self::Zstd => {
                let mut frames =
                    zstd::stream::read::Decoder::with_buffer(input).map_err(|e| self.failed(e))?;
                let window_log = bytes_max.checked_ilog2().unwrap_or(0) + 1;
                let window_log = window_log.clamp(*ZSTD_WINDOW_LOG.start(), *ZSTD_WINDOW_LOG.end());
                frames.window_log_max(window_log).map_err(|e| self.failed(e))?;
                self.drain(frames, bytes_max)
            }
        }
    }

    fn drain(self, inflated: impl Read, bytes_max: usize) -> Result<Vec<u8>, BatchError> {
        let mut out = Vec::new();
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        inflated.take(limit).read_to_end(&mut out).map_err(|e| self.failed(e))?;
        if out.len() > bytes_max {
            return Err(BatchError::InflatesTooFar { bytes_max });
        }
        Ok(out)
    }

    fn unsnap(self, input: &[u8], bytes_max: usize) -> Result<Vec<u8>, BatchError> {
        let mut out = Vec::new();
        if !input.starts_with(XERIAL_MAGIC) {
            self.unsnap_block(input, &mut out, bytes_max)?;
            return Ok(out);
        }
        let mut rest = input.get(XERIAL_HEADER_BYTES..).ok_or_else(|| invalid("snappy header cut short"))?;
        while !rest.is_empty() {
            let (len, tail) =
                rest.split_first_chunk::<4>().ok_or_else(|| invalid("snappy block cut short"))?;
            let len =
                usize::try_from(i32::from_be_bytes(*len)).map_err(|_| invalid("snappy block length"))?;
            let block = tail.get(..len).ok_or_else(|| invalid("snappy block cut short"))?;
            self.unsnap_block(block, &mut out, bytes_max)?;
            rest = &tail[len..];
        }
        Ok(out)
    }

    fn unsnap_block(self, block: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), BatchError> {
        let len = snap::raw::decompress_len(block).map_err(|e| self.failed(e))?;
        let start = out.len();
        let end = start.saturating_add(len);
        if end > bytes_max {
            return Err(BatchError::InflatesTooFar { bytes_max });
        }
        out.resize(end, 0);
        snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|e| self.failed(e))?;
        Ok(())
    }

    fn failed(self, reason: impl std::fmt::Display) -> BatchError {
        BatchError::Decompress { codec: self.name(), reason: reason.to_string() }
    }
}
