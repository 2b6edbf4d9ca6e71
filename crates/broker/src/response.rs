//! An answer as it goes over the socket.

use bytes::{BufMut, Bytes, BytesMut};
use highwater_env::Reservation;

/// One framed answer: its parts, in order, are the bytes to send. Stored batches are parts of
/// their own, never copied.
///
/// ```text
/// length i32 | correlation id i32 | tagged fields (0), if the header is flexible | body ...
/// ```
#[derive(Debug)]
pub struct Response {
    parts: Vec<Bytes>,
    len: usize,
    /// Memory held for stored batches until they are sent.
    _held: Option<Reservation>,
}

impl Response {
    pub(crate) fn new(
        correlation_id: i32,
        flexible_header: bool,
        body: Vec<Bytes>,
        held: Option<Reservation>,
    ) -> Self {
        let body_len: usize = body.iter().map(Bytes::len).sum();
        let len = 4 + usize::from(flexible_header) + body_len;
        let mut head = BytesMut::with_capacity(9);
        head.put_i32(i32::try_from(len).expect("answers are bounded far below 2 GiB"));
        head.put_i32(correlation_id);
        if flexible_header {
            head.put_u8(0);
        }
        let mut parts = Vec::with_capacity(body.len() + 1);
        parts.push(head.freeze());
        parts.extend(body);
        Self { parts, len: 4 + len, _held: held }
    }

    /// The bytes to send, in order.
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// Bytes on the wire, the length field included.
    pub fn wire_len(&self) -> usize {
        self.len
    }

    /// All parts as one: for tests and simulation.
    pub fn to_bytes(&self) -> Bytes {
        self.parts.concat().into()
    }
}
