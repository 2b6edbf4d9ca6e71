//! Which records compaction keeps (topic setting `cleanup.policy=compact`), batch by batch. No files.
//!
//! A record stays if it is the last of its key, unless its transaction was aborted. A tombstone stays
//! until its batch's delete horizon, which the first compaction sets (KIP-534). A marker stays as long as
//! a record of its transaction does, and for the tombstones' time in any case.

use std::collections::HashMap;

use highwater_env::Offset;

use crate::batch::{BatchError, Record};
use crate::transactions::{AbortedTransaction, covers};
use crate::{LogBatch, PartitionOptions};

/// What an entry takes beside the key itself, about.
const ENTRY_BYTES: usize = 64;
/// Records of one batch inflate to no more than this.
const INFLATED_BYTES_MAX: usize = 128 << 20;

/// The last offset of each key in a stretch of the log.
pub(crate) struct LatestByKey {
    offsets: HashMap<Box<[u8]>, Offset>,
    bytes: usize,
    bytes_max: usize,
}

impl LatestByKey {
    /// None noted; no batch is once they take `bytes_max`.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { offsets: HashMap::new(), bytes: 0, bytes_max }
    }

    /// Notes a batch; false, and nothing is noted any more, if there is no room.
    pub(crate) fn note(&mut self, batch: &LogBatch) -> Result<bool, BatchError> {
        if self.bytes >= self.bytes_max {
            return Ok(false);
        }
        for record in batch.records(INFLATED_BYTES_MAX)? {
            let Some(key) = record.key else { continue };
            match self.offsets.get_mut(&key[..]) {
                Some(latest) => *latest = record.offset,
                None => {
                    self.bytes += key.len() + ENTRY_BYTES;
                    self.offsets.insert(key.to_vec().into_boxed_slice(), record.offset);
                }
            }
        }
        Ok(true)
    }

    fn is_latest(&self, record: &Record) -> bool {
        let latest = |key| self.offsets.get(key).is_none_or(|latest| *latest <= record.offset);
        // Without a key it cannot be referred to: compacted topics refuse such records.
        record.key.as_deref().is_some_and(latest)
    }
}

/// One run over a partition's batches, in order from its start.
pub(crate) struct Cleaner<'a> {
    pub(crate) latest: &'a LatestByKey,
    /// The offset up to which `latest` knows the keys. What lies behind stays as it is: a tombstone
    /// that expired there would leave the older records of its key behind.
    pub(crate) noted_until: Offset,
    /// Aborted transactions, by the offset of their marker.
    pub(crate) aborted: &'a [AbortedTransaction],
    pub(crate) log_start_offset: Offset,
    /// The last batch of the run: it stays, if need be empty, so that offsets before the next one
    /// can be found.
    pub(crate) last_offset: Offset,
    pub(crate) now_ms: i64,
    pub(crate) options: &'a PartitionOptions,
    /// For each producer, whether a record of its transaction stays.
    pub(crate) kept_in_transaction: HashMap<i64, bool>,
    /// Markers of aborted transactions that go.
    pub(crate) dropped_markers: Vec<Offset>,
}

impl Cleaner<'_> {
    /// What is left of a batch.
    pub(crate) fn clean(&mut self, batch: &LogBatch) -> Result<Option<LogBatch>, BatchError> {
        let is_last = batch.last_offset() >= self.last_offset;
        if batch.last_offset() < self.log_start_offset && !is_last {
            return Ok(None);
        }
        if batch.base_offset() >= self.noted_until {
            return Ok(Some(batch.clone()));
        }
        if batch.is_control() {
            let stays = is_last || self.marker_stays(batch);
            if !stays {
                self.dropped_markers.push(batch.last_offset());
            }
            return Ok(stays.then(|| batch.clone()));
        }
        let records = batch.records(INFLATED_BYTES_MAX)?;
        let horizon = batch.delete_horizon_ms();
        let expired = horizon.is_some_and(|horizon| self.now_ms >= horizon);
        let aborted = covers(self.aborted, batch);
        let before = records.len();
        let stays = |record: &Record| {
            !aborted && self.latest.is_latest(record) && (record.value.is_some() || !expired)
        };
        let kept: Vec<Record> = records.into_iter().filter(stays).collect();
        if batch.is_transactional() {
            *self.kept_in_transaction.entry(batch.producer_id()).or_default() |= !kept.is_empty();
        }
        let tombstones = kept.iter().any(|record| record.value.is_none());
        let new_horizon = (tombstones && horizon.is_none())
            .then(|| self.now_ms.saturating_add(self.options.delete_retention_ms));
        if kept.is_empty() && !is_last {
            return Ok(None);
        }
        if kept.len() == before && new_horizon.is_none() {
            return Ok(Some(batch.clone()));
        }
        batch.keeping(&kept, new_horizon.or(horizon)).map(Some)
    }

    fn marker_stays(&mut self, marker: &LogBatch) -> bool {
        let kept = self.kept_in_transaction.remove(&marker.producer_id()).unwrap_or(false);
        let age_ms = self.now_ms.saturating_sub(marker.max_timestamp());
        kept || age_ms < self.options.delete_retention_ms
    }
}
