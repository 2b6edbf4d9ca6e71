//! Just enough of the Kafka protocol for the soak's clients, written apart from the broker's codecs:
//! what both got wrong in the same way would go unseen.

use anyhow::{Context, Result, ensure};

/// A request's body. Classic encoding, or flexible (KIP-482).
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    flexible: bool,
}

impl Body {
    pub(super) fn classic() -> Self {
        Self { bytes: Vec::new(), flexible: false }
    }

    pub(super) fn flexible() -> Self {
        Self { bytes: Vec::new(), flexible: true }
    }

    pub(super) fn is_flexible(&self) -> bool {
        self.flexible
    }

    pub(super) fn i8(&mut self, value: i8) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn i16(&mut self, value: i16) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn i32(&mut self, value: i32) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn i64(&mut self, value: i64) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn text(&mut self, text: Option<&str>) -> &mut Self {
        let len = text.map_or(-1, |text| text.len() as i64);
        if self.flexible {
            self.unsigned((len + 1) as u64)
        } else {
            self.i16(len as i16)
        };
        self.put(text.unwrap_or_default().as_bytes())
    }

    pub(super) fn array(&mut self, len: usize) -> &mut Self {
        if self.flexible { self.unsigned(len as u64 + 1) } else { self.i32(len as i32) }
    }

    /// Bytes, as records are.
    pub(super) fn records(&mut self, records: &[u8]) -> &mut Self {
        self.array(records.len());
        self.put(records)
    }

    /// No tagged fields.
    pub(super) fn tags(&mut self) -> &mut Self {
        if self.flexible { self.i8(0) } else { self }
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn unsigned(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
        self
    }
}

/// An answer's body.
pub(super) struct Answer {
    bytes: Vec<u8>,
    at: usize,
    flexible: bool,
}

impl Answer {
    pub(super) fn new(bytes: Vec<u8>, flexible: bool) -> Self {
        Self { bytes, at: 0, flexible }
    }

    pub(super) fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array_of()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array_of()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array_of()?))
    }

    pub(super) fn text(&mut self) -> Result<String> {
        let len = if self.flexible { self.unsigned()? as i64 - 1 } else { i64::from(self.i16()?) };
        let text = self.take(usize::try_from(len.max(0))?)?;
        Ok(String::from_utf8(text.to_vec())?)
    }

    /// Elements that follow; 0 for a missing array.
    pub(super) fn array(&mut self) -> Result<usize> {
        let len = if self.flexible { self.unsigned()? as i64 - 1 } else { i64::from(self.i32()?) };
        Ok(usize::try_from(len.max(0))?)
    }

    pub(super) fn records(&mut self) -> Result<Vec<u8>> {
        let len = self.array()?;
        Ok(self.take(len)?.to_vec())
    }

    pub(super) fn tags(&mut self) -> Result<()> {
        if self.flexible {
            for _ in 0..self.unsigned()? {
                self.unsigned()?;
                let len = usize::try_from(self.unsigned()?)?;
                self.take(len)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, len: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(len).context("a length of the answer overflows")?;
        let taken = self.bytes.get(self.at..end).context("the answer is cut short")?;
        self.at = end;
        Ok(taken)
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    fn unsigned(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array_of()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        ensure!(false, "a varint of the answer is too long");
        Ok(value)
    }
}
