//! The bounds guard in front of `kafka-protocol`'s decoders.
//!
//! Those decoders allocate an array's claimed length before they have seen one element
//! (`Vec::with_capacity` on a number from the wire), so a frame of a few bytes can demand gigabytes
//! and abort the process. The decoders cannot be told a limit, and the bytes alone do not say which
//! numbers are lengths. So each control-plane request has its layout as a constant here ([`Shape`]):
//! [`Shape::check`] walks the frame by it and refuses every length that the remaining bytes cannot
//! hold, and more than [`ELEMENTS_MAX`](crate::wire::ELEMENTS_MAX) elements in all. Only then the decoder runs, on bytes whose
//! lengths are all true: what it allocates is bounded by the elements that are really there.
//!
//! A layout that disagreed with the decoder would be a hole, so a test encodes every request at
//! every version with `kafka-protocol` and demands that the walk ends exactly at its last byte.

use bytes::Bytes;

use crate::wire::{WireError, WireReader};

/// How a request lies in its frame, as far as lengths are concerned.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The first flexible version (KIP-482).
    pub(crate) flexible_since: i16,
    pub(crate) fields: &'static [Field],
}

/// One field, in some versions.
#[derive(Debug)]
pub(crate) struct Field {
    layout: Layout,
    since: i16,
    until: i16,
}

#[derive(Debug)]
enum Layout {
    /// So many bytes.
    Fixed(usize),
    /// A string, nullable or not: the decoder minds the difference.
    Text,
    /// Bytes, nullable or not.
    Bytes,
    /// An array of fixed-size numbers.
    Numbers(usize),
    /// An array of strings.
    Texts,
    /// An array of structs, each with its own tagged fields.
    Structs(&'static [Field]),
    /// A struct that may be null: a byte says so.
    Optional(&'static [Field]),
}

pub(crate) const fn fixed(bytes: usize) -> Field {
    Field { layout: Layout::Fixed(bytes), since: 0, until: i16::MAX }
}

pub(crate) const fn text() -> Field {
    Field { layout: Layout::Text, since: 0, until: i16::MAX }
}

pub(crate) const fn bytes() -> Field {
    Field { layout: Layout::Bytes, since: 0, until: i16::MAX }
}

pub(crate) const fn numbers(bytes: usize) -> Field {
    Field { layout: Layout::Numbers(bytes), since: 0, until: i16::MAX }
}

pub(crate) const fn texts() -> Field {
    Field { layout: Layout::Texts, since: 0, until: i16::MAX }
}

pub(crate) const fn structs(fields: &'static [Field]) -> Field {
    Field { layout: Layout::Structs(fields), since: 0, until: i16::MAX }
}

pub(crate) const fn optional(fields: &'static [Field]) -> Field {
    Field { layout: Layout::Optional(fields), since: 0, until: i16::MAX }
}

impl Field {
    /// Only from this version on.
    pub(crate) const fn since(self, version: i16) -> Self {
        Self { layout: self.layout, since: version, until: self.until }
    }

    /// Only up to this version, inclusive.
    pub(crate) const fn until(self, version: i16) -> Self {
        Self { layout: self.layout, since: self.since, until: version }
    }
}

impl Shape {
    /// Checks that `body` begins with one request of this shape, and returns how many bytes follow it.
    /// Those are ignored, as Kafka does: librdkafka 2.16 leaves three behind when it asks for all
    /// topics.
    pub(crate) fn check(&self, version: i16, body: &Bytes) -> Result<usize, WireError> {
        let flexible = version >= self.flexible_since;
        let mut walk = Walk { reader: WireReader::new(body.clone(), flexible), version, flexible };
        walk.fields(self.fields)?;
        Ok(walk.reader.into_rest().len())
    }
}

struct Walk {
    reader: WireReader,
    version: i16,
    flexible: bool,
}

impl Walk {
    fn fields(&mut self, fields: &[Field]) -> Result<(), WireError> {
        for field in fields {
            if (field.since..=field.until).contains(&self.version) {
                self.field(&field.layout)?;
            }
        }
        self.reader.tags()
    }

    fn field(&mut self, layout: &Layout) -> Result<(), WireError> {
        match layout {
            Layout::Fixed(bytes) => self.reader.skip(*bytes),
            Layout::Text => self.reader.nullable_string().map(|_| ()),
            Layout::Bytes => self.reader.nullable_bytes().map(|_| ()),
            Layout::Numbers(bytes) => {
                let count = self.count(*bytes)?;
                self.reader.skip(count * bytes)
            }
            Layout::Texts => {
                for _ in 0..self.count(self.text_bytes_min())? {
                    self.reader.nullable_string()?;
                }
                Ok(())
            }
            Layout::Structs(fields) => {
                for _ in 0..self.count(self.struct_bytes_min(fields))? {
                    self.fields(fields)?;
                }
                Ok(())
            }
            Layout::Optional(fields) => match self.reader.i8()? {
                ..0 => Ok(()),
                _ => self.fields(fields),
            },
        }
    }

    fn count(&mut self, element_bytes_min: usize) -> Result<usize, WireError> {
        Ok(self.reader.array_len(element_bytes_min)?.unwrap_or(0))
    }

    fn text_bytes_min(&self) -> usize {
        if self.flexible { 1 } else { 2 }
    }

    fn array_bytes_min(&self) -> usize {
        if self.flexible { 1 } else { 4 }
    }

    fn struct_bytes_min(&self, fields: &[Field]) -> usize {
        let present = fields.iter().filter(|field| (field.since..=field.until).contains(&self.version));
        let sum: usize = present
            .map(|field| match field.layout {
                Layout::Fixed(bytes) => bytes,
                Layout::Optional(_) => 1,
                Layout::Text => self.text_bytes_min(),
                Layout::Bytes | Layout::Numbers(_) | Layout::Texts | Layout::Structs(_) => {
                    self.array_bytes_min()
                }
            })
            .sum();
        sum + usize::from(self.flexible)
    }
}

#[cfg(test)]
pub(crate) mod tests;
