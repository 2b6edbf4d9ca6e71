//! What consumers put into a group's metadata and assignments (Kafka's `ConsumerProtocol`).
//!
//! ```text
//! subscription  i16 version | topics: array of string | ...
//! assignment    i16 version | array of (topic string, array of i32) | ...
//! ```
//! Only as much as is looked at here; later versions add fields behind.

use bytes::{Buf, Bytes};

/// The protocol type of consumers.
pub(super) const NAME: &str = "consumer";

/// The topics of a subscription; `None` if the bytes make no sense.
pub(super) fn subscribed_topics(metadata: &Bytes) -> Option<Vec<String>> {
    let mut bytes = metadata.clone();
    let _version = bytes.try_get_i16().ok()?;
    let count = count(&mut bytes, 2)?;
    (0..count).map(|_| text(&mut bytes)).collect()
}

/// The partitions of an assignment, by topic; `None` if the bytes make no sense.
pub fn assigned_partitions(assignment: &Bytes) -> Option<Vec<(String, Vec<i32>)>> {
    let mut bytes = assignment.clone();
    let _version = bytes.try_get_i16().ok()?;
    let topics = count(&mut bytes, 6)?;
    let topic = |bytes: &mut Bytes| {
        let name = text(bytes)?;
        let partitions = count(bytes, 4)?;
        let partitions: Option<Vec<i32>> = (0..partitions).map(|_| bytes.try_get_i32().ok()).collect();
        Some((name, partitions?))
    };
    (0..topics).map(|_| topic(&mut bytes)).collect()
}

/// An array's count, if the rest can hold so many elements.
fn count(bytes: &mut Bytes, element_bytes_min: usize) -> Option<usize> {
    let count = usize::try_from(bytes.try_get_i32().ok()?).ok()?;
    (count <= bytes.len() / element_bytes_min).then_some(count)
}

fn text(bytes: &mut Bytes) -> Option<String> {
    let len = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    if len > bytes.len() {
        return None;
    }
    String::from_utf8(bytes.split_to(len).to_vec()).ok()
}
