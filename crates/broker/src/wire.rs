//! Kafka's primitive types, read from a frame and written to a response, with every length checked
//! against the bytes that are really there.
//!
//! | type | classic | flexible (KIP-482) |
//! |---|---|---|
//! | string | i16 length (-1 null), UTF-8 | uvarint length + 1 (0 null), UTF-8 |
//! | bytes | i32 length (-1 null) | uvarint length + 1 (0 null) |
//! | array | i32 count (-1 null) | uvarint count + 1 (0 null) |
//! | struct | fields | fields, then tagged fields: count, (tag, length, bytes)* |

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;

use crate::response::Part;

/// Why bytes are not the message they should be. The connection they came from is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The frame ends inside a field.
    #[error("{wanted} bytes expected, {left} are left")]
    Short {
        /// Bytes the field needs.
        wanted: usize,
        /// Bytes left in the frame.
        left: usize,
    },
    /// A length below -1.
    #[error("length {0} is negative")]
    Negative(i32),
    /// A field that may not be null is.
    #[error("null where a value is required")]
    Null,
    /// An array claims more elements than the rest of the frame, or a request, can hold; or a
    /// string more bytes than Kafka allows.
    #[error("{count} elements or characters, at most {max} are possible")]
    Count {
        /// Elements or bytes claimed.
        count: usize,
        /// The most there can be.
        max: usize,
    },
    /// A variable-length number has more than five bytes, or does not fit in 32 bits.
    #[error("varint is too long")]
    Varint,
    /// A string is not UTF-8.
    #[error("string is not UTF-8")]
    Utf8,
}

/// Array elements and tagged fields one request may hold. Kept small once decoded: at most about
/// 150 bytes each.
pub(crate) const ELEMENTS_MAX: usize = 1 << 15;

/// Bytes of a string, also where its length is a varint: answers echo names with a 16-bit length.
const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Reads primitives off the front of a frame. Strings and bytes are slices of it, never copies.
#[derive(Clone, Debug)]
pub(crate) struct WireReader {
    bytes: Bytes,
    flexible: bool,
    elements_left: usize,
}

impl WireReader {
    pub(crate) fn new(bytes: Bytes, flexible: bool) -> Self {
        Self { bytes, flexible, elements_left: ELEMENTS_MAX }
    }

    pub(crate) fn into_rest(self) -> Bytes {
        self.bytes
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<Bytes, WireError> {
        self.need(len)?;
        Ok(self.bytes.split_to(len))
    }

    pub(crate) fn skip(&mut self, len: usize) -> Result<(), WireError> {
        self.need(len)?;
        self.bytes.advance(len);
        Ok(())
    }

    fn need(&self, wanted: usize) -> Result<(), WireError> {
        let left = self.bytes.len();
        if wanted <= left { Ok(()) } else { Err(WireError::Short { wanted, left }) }
    }

    pub(crate) fn i8(&mut self) -> Result<i8, WireError> {
        self.need(1)?;
        Ok(self.bytes.get_i8())
    }

    pub(crate) fn i16(&mut self) -> Result<i16, WireError> {
        self.need(2)?;
        Ok(self.bytes.get_i16())
    }

    pub(crate) fn i32(&mut self) -> Result<i32, WireError> {
        self.need(4)?;
        Ok(self.bytes.get_i32())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, WireError> {
        self.need(8)?;
        Ok(self.bytes.get_i64())
    }

    pub(crate) fn u128(&mut self) -> Result<u128, WireError> {
        self.need(16)?;
        Ok(self.bytes.get_u128())
    }

    pub(crate) fn uvarint(&mut self) -> Result<u32, WireError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            self.need(1)?;
            let byte = self.bytes.get_u8();
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(WireError::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Varint)
    }

    fn flexible_len(&mut self) -> Result<Option<usize>, WireError> {
        Ok(self.uvarint()?.checked_sub(1).map(|len| len as usize))
    }

    fn classic_len(wide: i32) -> Result<Option<usize>, WireError> {
        match usize::try_from(wide) {
            Ok(len) => Ok(Some(len)),
            Err(_) if wide == -1 => Ok(None),
            Err(_) => Err(WireError::Negative(wide)),
        }
    }

    fn string_len(&mut self) -> Result<Option<usize>, WireError> {
        if !self.flexible {
            return Self::classic_len(i32::from(self.i16()?));
        }
        let len = self.flexible_len()?;
        match len {
            Some(count) if count > STRING_BYTES_MAX => Err(WireError::Count { count, max: STRING_BYTES_MAX }),
            _ => Ok(len),
        }
    }

    fn bytes_len(&mut self) -> Result<Option<usize>, WireError> {
        if self.flexible { self.flexible_len() } else { Self::classic_len(self.i32()?) }
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<StrBytes>, WireError> {
        let Some(len) = self.string_len()? else { return Ok(None) };
        let text = self.take(len)?;
        StrBytes::from_utf8(text).map(Some).map_err(|_| WireError::Utf8)
    }

    pub(crate) fn string(&mut self) -> Result<StrBytes, WireError> {
        self.nullable_string()?.ok_or(WireError::Null)
    }

    /// A string that does not keep the frame in memory: for what is needed until the request is answered.
    pub(crate) fn string_copied(&mut self) -> Result<StrBytes, WireError> {
        self.string().map(|text| StrBytes::from_string(text.to_string()))
    }

    pub(crate) fn nullable_bytes(&mut self) -> Result<Option<Bytes>, WireError> {
        match self.bytes_len()? {
            Some(len) => self.take(len).map(Some),
            None => Ok(None),
        }
    }

    /// An array's count, at most what the rest of the frame can hold if every element takes at
    /// least `element_bytes_min` bytes. `None` is the null array.
    pub(crate) fn array_len(&mut self, element_bytes_min: usize) -> Result<Option<usize>, WireError> {
        let Some(count) = self.bytes_len()? else { return Ok(None) };
        self.claim(count, element_bytes_min)?;
        Ok(Some(count))
    }

    fn claim(&mut self, count: usize, element_bytes_min: usize) -> Result<(), WireError> {
        let max = (self.bytes.len() / element_bytes_min.max(1)).min(self.elements_left);
        if count > max {
            return Err(WireError::Count { count, max });
        }
        self.elements_left -= count;
        Ok(())
    }

    /// Reads an array; null counts as empty.
    pub(crate) fn array<T>(
        &mut self,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let count = self.array_len(element_bytes_min)?.unwrap_or(0);
        // Grown by pushing: the elements, not the claim, decide how much is allocated.
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// Skips the tagged fields at the end of a flexible struct; nothing in a classic one.
    pub(crate) fn tags(&mut self) -> Result<(), WireError> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.uvarint()? as usize;
        self.claim(count, TAG_BYTES_MIN)?;
        for _ in 0..count {
            let _tag = self.uvarint()?;
            let len = self.uvarint()? as usize;
            self.skip(len)?;
        }
        Ok(())
    }
}

/// A tag and a length, one byte each.
const TAG_BYTES_MIN: usize = 2;

/// Writes a response as a list of parts, so that stored batches go out without being copied.
#[derive(Debug)]
pub(crate) struct WireWriter {
    parts: Vec<Part>,
    open: BytesMut,
    flexible: bool,
}

impl WireWriter {
    pub(crate) fn new(flexible: bool) -> Self {
        Self { parts: Vec::new(), open: BytesMut::new(), flexible }
    }

    #[cfg(test)]
    pub(crate) fn i8(&mut self, value: i8) {
        self.open.put_i8(value);
    }

    #[cfg(test)]
    pub(crate) fn bool(&mut self, value: bool) {
        self.i8(i8::from(value));
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.open.put_i16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.open.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.open.put_i64(value);
    }

    pub(crate) fn u128(&mut self, value: u128) {
        self.open.put_u128(value);
    }

    pub(crate) fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.open.put_u8(u8::try_from(value & 0x7f).expect("7 bits fit in a byte") | 0x80);
            value >>= 7;
        }
        self.open.put_u8(u8::try_from(value).expect("below 0x80"));
    }

    /// # Panics
    /// If `text` is longer than `i16::MAX` bytes: names come from requests that had the same limit,
    /// messages are ours.
    pub(crate) fn string(&mut self, text: &str) {
        let len = i16::try_from(text.len()).expect("strings were read with a 16-bit length");
        if self.flexible {
            self.uvarint(u32::from(len.unsigned_abs()) + 1);
        } else {
            self.i16(len);
        }
        self.open.put_slice(text.as_bytes());
    }

    pub(crate) fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None if self.flexible => self.uvarint(0),
            None => self.i16(-1),
        }
    }

    /// An array's count, or the length of bytes; `None` is null.
    ///
    /// # Panics
    /// Above `i32::MAX`: no response holds that much.
    pub(crate) fn len(&mut self, len: Option<usize>) {
        let len = len.map(|len| i32::try_from(len).expect("responses are bounded far below 2 GiB"));
        if self.flexible {
            self.uvarint(len.map_or(0, |len| len.unsigned_abs() + 1));
        } else {
            self.i32(len.unwrap_or(-1));
        }
    }

    /// Stored bytes, as one length and any number of parts.
    pub(crate) fn bytes(&mut self, parts: Vec<impl Into<Part>>) {
        let parts: Vec<Part> = parts.into_iter().map(Into::into).collect();
        self.len(Some(parts.iter().map(Part::len).sum()));
        if parts.is_empty() {
            return;
        }
        self.parts.push(self.open.split().freeze().into());
        self.parts.extend(parts);
    }

    /// The empty tagged fields at the end of a flexible struct; nothing in a classic one.
    pub(crate) fn tags(&mut self) {
        if self.flexible {
            self.open.put_u8(0);
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Part> {
        if !self.open.is_empty() {
            self.parts.push(self.open.freeze().into());
        }
        self.parts
    }
}
