//! Batches whose checksum is right, whatever they say: a fuzzer does not find CRCs by itself.

use bytes::Bytes;

const HEADER_BYTES: usize = 61;

/// A batch of these bytes behind the length and magic, with its length, magic and CRC set right.
/// `None` if there are too few.
pub fn batch(content: &[u8]) -> Option<Bytes> {
    let mut bytes = content.to_vec();
    if bytes.len() < HEADER_BYTES {
        return None;
    }
    let length = i32::try_from(bytes.len() - 12).ok()?;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Some(bytes.into())
}

/// A batch of `count` records compressed with codec number `codec`, their block being `block`.
pub fn compressed(codec: u8, count: i32, block: &[u8]) -> Option<Bytes> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[21..23].copy_from_slice(&i16::from(codec).to_be_bytes());
    bytes[23..27].copy_from_slice(&(count.checked_sub(1)?).to_be_bytes());
    bytes[43..57].fill(0xff);
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(block);
    batch(&bytes)
}
