//! One key group's changes as bytes.

use bytes::Bytes;

use crate::StateError;

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const REMOVE_PREFIX: u8 = 3;

/// Writes the entries of one section. Entries take effect in order.
///
/// ```text
/// +---------+-------------+-----+---------------+-------+
/// | kind u8 | key len u32 | key | value len u32 | value |   kind 1: put
/// | kind u8 | key len u32 | key |                           kind 2: remove, 3: remove all with this prefix
/// +---------+-------------+-----+---------------+-------+   numbers little-endian
/// ```
#[derive(Debug, Default)]
pub struct SectionWriter(Vec<u8>);

impl SectionWriter {
    /// Sets `key`; `value` appends the value's bytes.
    pub fn put(&mut self, key: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        self.key(PUT, key);
        let len_pos = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        value(&mut self.0);
        let len = (self.0.len() - len_pos - 4) as u32;
        self.0[len_pos..len_pos + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Removes `key`.
    pub fn remove(&mut self, key: &[u8]) {
        self.key(REMOVE, key);
    }

    /// Removes every key that starts with `prefix`.
    pub fn remove_prefix(&mut self, prefix: &[u8]) {
        self.key(REMOVE_PREFIX, prefix);
    }

    fn key(&mut self, kind: u8, key: &[u8]) {
        self.0.push(kind);
        self.0.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.0.extend_from_slice(key);
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The section.
    pub fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }
}

/// One entry of a section.
#[derive(Debug, PartialEq, Eq)]
pub enum SectionEntry<'a> {
    /// The key now has this value.
    Put(&'a [u8], &'a [u8]),
    /// The key is gone.
    Remove(&'a [u8]),
    /// Every key with this prefix is gone.
    RemovePrefix(&'a [u8]),
}

/// Reads little-endian numbers and counted bytes, checking every length.
#[derive(Debug, Clone)]
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], StateError> {
        let (head, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| StateError::Corrupt(format!("{} bytes left, expected {len}", self.0.len())))?;
        self.0 = rest;
        Ok(head)
    }

    /// The next `N` bytes as an array: `i64::from_le_bytes(cursor.array()?)`.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    /// A u32 length, then as many bytes.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn counted(&mut self) -> Result<&'a [u8], StateError> {
        let len = u32::from_le_bytes(self.array()?);
        self.take(len as usize)
    }

    /// The next entry of a section.
    ///
    /// # Errors
    /// If it is not one.
    pub fn entry(&mut self) -> Result<SectionEntry<'a>, StateError> {
        let kind = self.take(1)?[0];
        let key = self.counted()?;
        match kind {
            PUT => Ok(SectionEntry::Put(key, self.counted()?)),
            REMOVE => Ok(SectionEntry::Remove(key)),
            REMOVE_PREFIX => Ok(SectionEntry::RemovePrefix(key)),
            other => Err(StateError::Corrupt(format!("entry kind {other}, expected 1, 2 or 3"))),
        }
    }
}
