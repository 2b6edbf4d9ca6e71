//! The end of a transaction in a partition: a control batch with one record (KIP-98).
//!
//! ```text
//! key    i16 version, 0 | i16 type: 0 abort, 1 commit
//! value  i16 version, 0 | i32 coordinator epoch
//! ```

use bytes::{Buf, BufMut};

use super::{BatchBuilder, LogBatch, NO_SEQUENCE, records};

const KEY_BYTES: usize = 4;
const VALUE_BYTES: usize = 6;
/// A control record has some tens of bytes.
const INFLATED_BYTES_MAX: usize = 1 << 16;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerKind {
    /// Its records never count.
    Abort,
    /// Its records count.
    Commit,
}

/// What a control batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// How the transaction ended.
    pub kind: MarkerKind,
    /// The transactional producer.
    pub producer_id: i64,
    /// Its epoch; earlier ones are fenced from here on.
    pub producer_epoch: i16,
    /// The coordinator's epoch.
    pub coordinator_epoch: i32,
}

impl Marker {
    /// The control batch. `timestamp_ms`: since the Unix epoch, UTC.
    pub fn batch(&self, timestamp_ms: i64) -> LogBatch {
        let mut key = Vec::with_capacity(KEY_BYTES);
        key.put_i16(0);
        key.put_i16(match self.kind {
            MarkerKind::Abort => 0,
            MarkerKind::Commit => 1,
        });
        let mut value = Vec::with_capacity(VALUE_BYTES);
        value.put_i16(0);
        value.put_i32(self.coordinator_epoch);
        let mut batch = BatchBuilder::new(timestamp_ms)
            .with_producer(self.producer_id, self.producer_epoch, NO_SEQUENCE)
            .transactional()
            .control();
        batch.push(timestamp_ms, Some(&key), Some(&value), &[]);
        batch.finish()
    }
}

impl LogBatch {
    /// What a control batch says; `None` for a data batch and for control types of a later Kafka.
    pub fn marker(&self) -> Option<Marker> {
        if !self.is_control() {
            return None;
        }
        let records = records::read(self, INFLATED_BYTES_MAX).ok()?;
        let record = records.first()?;
        let (mut key, mut value) = (record.key.clone()?, record.value.clone()?);
        let _version = key.try_get_i16().ok()?;
        let kind = match key.try_get_i16().ok()? {
            0 => MarkerKind::Abort,
            1 => MarkerKind::Commit,
            _ => return None,
        };
        let _version = value.try_get_i16().ok()?;
        let coordinator_epoch = value.try_get_i32().ok()?;
        let (producer_id, producer_epoch) = (self.producer_id(), self.producer_epoch());
        Some(Marker { kind, producer_id, producer_epoch, coordinator_epoch })
    }
}
