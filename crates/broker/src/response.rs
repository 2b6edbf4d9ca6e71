//! An answer as it goes over the socket.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use highwater_env::Reservation;
use highwater_log::FileRange;

/// A stretch of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// In memory.
    Bytes(Bytes),
    /// Stored batches, to be sent from their file.
    File(FileRange),
}

impl Part {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(range) => range.len(),
        }
    }
}

impl From<Bytes> for Part {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// One framed answer: its parts, in order, are the bytes to send. Stored batches are parts of
/// their own, never copied.
///
/// ```text
/// length i32 | correlation id i32 | tagged fields (0), if the header is flexible | body ...
/// ```
#[derive(Debug)]
pub struct Response {
    parts: Vec<Part>,
    len: usize,
    /// Memory held for stored batches until they are sent.
    _held: Option<Reservation>,
}

impl Response {
    pub(crate) fn new(
        correlation_id: i32,
        flexible_header: bool,
        body: Vec<Part>,
        held: Option<Reservation>,
    ) -> Self {
        let body_len: usize = body.iter().map(Part::len).sum();
        let len = 4 + usize::from(flexible_header) + body_len;
        let mut head = BytesMut::with_capacity(9);
        head.put_i32(i32::try_from(len).expect("answers are bounded far below 2 GiB"));
        head.put_i32(correlation_id);
        if flexible_header {
            head.put_u8(0);
        }
        let mut parts = Vec::with_capacity(body.len() + 1);
        parts.push(head.freeze().into());
        parts.extend(body);
        Self { parts, len: 4 + len, _held: held }
    }

    /// The bytes to send, in order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Bytes on the wire, the length field included.
    pub fn wire_len(&self) -> usize {
        self.len
    }

    /// All parts as one: for tests and simulation.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn to_bytes(&self) -> io::Result<Bytes> {
        concat(&self.parts)
    }
}

/// All parts as one.
pub(crate) fn concat(parts: &[Part]) -> io::Result<Bytes> {
    let mut all = BytesMut::new();
    for part in parts {
        match part {
            Part::Bytes(bytes) => all.put_slice(bytes),
            Part::File(range) => all.put_slice(&range.read()?),
        }
    }
    Ok(all.freeze())
}
