//! Serving what is durable.

use highwater_env::{Offset, TopicPartition};

use super::Core;
use crate::{Bounds, LogBatch, ReadError, ReadRange};

/// Records of one batch inflate to no more than this when a timestamp is looked up.
const INFLATED_BYTES_MAX: usize = 64 << 20;

impl Core {
    pub(crate) fn bounds(&self, tp: TopicPartition) -> Result<Bounds, ReadError> {
        let state = self.state();
        let partition = state.partitions.get(&tp).filter(|partition| !partition.deleting);
        Ok(partition.ok_or(ReadError::UnknownPartition(tp))?.bounds())
    }

    pub(crate) fn read(
        &self,
        tp: TopicPartition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<ReadRange, ReadError> {
        let (bounds, segment) = {
            let state = self.state();
            let partition = state.partitions.get(&tp).filter(|partition| !partition.deleting);
            let partition = partition.ok_or(ReadError::UnknownPartition(tp))?;
            let bounds = partition.bounds();
            if !(bounds.log_start_offset..=bounds.log_end_offset).contains(&from) {
                return Err(ReadError::OffsetOutOfRange { offset: from, bounds });
            }
            if from >= bounds.high_watermark {
                return Ok(ReadRange { batches: Vec::new(), bounds });
            }
            if let Some(batches) = partition.read_tail(from, bytes_max) {
                return Ok(ReadRange { batches, bounds });
            }
            (bounds, partition.segment_of(from))
        };
        let segment = segment.ok_or(ReadError::OffsetOutOfRange { offset: from, bounds })?;
        let mut batches = segment.read(from, bytes_max)?;
        // The segment may have grown since the bounds were taken.
        batches.retain(|batch| batch.last_offset() < bounds.high_watermark);
        Ok(ReadRange { batches, bounds })
    }

    pub(crate) fn offset_for_time(
        &self,
        tp: TopicPartition,
        timestamp_ms: i64,
    ) -> Result<Option<(Offset, i64)>, ReadError> {
        let Some(mut from) = self.first_candidate(tp, timestamp_ms)? else { return Ok(None) };
        // A batch may declare a later timestamp than its records have: look on until one fits.
        loop {
            let range = self.read(tp, from, 1)?;
            let Some(batch) = range.batches.first() else { return Ok(None) };
            if batch.max_timestamp() >= timestamp_ms {
                let records = batch.records(INFLATED_BYTES_MAX);
                let records =
                    records.map_err(|source| ReadError::Batch { offset: batch.base_offset(), source })?;
                if let Some(record) = records.iter().find(|record| record.timestamp_ms >= timestamp_ms) {
                    return Ok(Some((record.offset, record.timestamp_ms)));
                }
            }
            from = batch.next_offset();
        }
    }

    /// Base offset of the first batch that declares a timestamp at or after `timestamp_ms`.
    fn first_candidate(&self, tp: TopicPartition, timestamp_ms: i64) -> Result<Option<Offset>, ReadError> {
        let (segments, start) = {
            let state = self.state();
            let partition = state.partitions.get(&tp).ok_or(ReadError::UnknownPartition(tp))?;
            (partition.segments.clone(), partition.log_start_offset)
        };
        for segment in &segments {
            if segment.max_timestamp() >= timestamp_ms
                && let Some(offset) = segment.first_batch_at(timestamp_ms)?
            {
                return Ok(Some(offset.max(start)));
            }
        }
        let state = self.state();
        let Some(partition) = state.partitions.get(&tp) else { return Ok(None) };
        let fits = |batch: &&LogBatch| batch.max_timestamp() >= timestamp_ms;
        let found = partition.tail.iter().map(|entry| &entry.batch).find(fits);
        Ok(found.map(LogBatch::base_offset))
    }
}
