//! Serving what is durable.

use std::sync::Arc;

use highwater_env::{Offset, TopicPartition};

use super::Core;
use crate::segment::Segment;
use crate::{
    Bounds, LogBatch, OpenTransaction, ProducerState, ReadError, ReadRange, StoredRange, StoredRecords,
};

/// Records of one batch inflate to no more than this when a timestamp is looked up.
const INFLATED_BYTES_MAX: usize = 64 << 20;

/// Fewer bytes than this are read and written rather than sent from their file: it costs no more.
const FILE_BYTES_MIN: usize = 16 << 10;

/// Where records lie. The lists are of one moment: compaction takes records and their aborted
/// transactions away together.
enum Found {
    Memory(ReadRange),
    Segment(InSegment),
}

/// Records still to be read.
struct InSegment {
    /// All but the batches.
    range: ReadRange,
    segment: Arc<Segment>,
    /// What it held at that moment: all of it durable.
    bytes: u64,
    /// Where the next segment, or the tail, begins.
    end: Offset,
}

fn below_limit(range: ReadRange, committed_only: bool) -> StoredRange {
    let ReadRange { mut batches, bounds, aborted } = range;
    let end = bounds.readable_end(committed_only);
    batches.retain(|batch| batch.base_offset() < end);
    StoredRange { records: StoredRecords::Batches(batches), bounds, aborted }
}

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
        let mut at = from;
        loop {
            let found = self.find(tp, from, at, bytes_max)?;
            let InSegment { mut range, segment, end, .. } = match found {
                Found::Memory(range) => return Ok(range),
                Found::Segment(found) => found,
            };
            let mut batches = segment.read(at, bytes_max)?;
            // The segment may have grown since the bounds were taken.
            batches.retain(|batch| batch.last_offset() < range.bounds.high_watermark);
            if !batches.is_empty() || end <= at {
                range.batches = batches;
                return Ok(range);
            }
            // Compaction left nothing behind `at` in this segment.
            at = end;
        }
    }

    /// As [`Core::read`], but what lies in a file stays there if it can be sent from it.
    pub(crate) fn read_stored(
        &self,
        tp: TopicPartition,
        from: Offset,
        bytes_max: usize,
        committed_only: bool,
    ) -> Result<StoredRange, ReadError> {
        let InSegment { range, segment, bytes, .. } = match self.find(tp, from, from, bytes_max)? {
            Found::Memory(range) => return Ok(below_limit(range, committed_only)),
            Found::Segment(found) => found,
        };
        let file = segment.range(from, bytes_max, range.bounds.readable_end(committed_only), bytes)?;
        if let Some(file) = file.filter(|file| file.len() >= FILE_BYTES_MIN) {
            let (bounds, aborted) = (range.bounds, range.aborted);
            return Ok(StoredRange { records: StoredRecords::File(file), bounds, aborted });
        }
        self.read(tp, from, bytes_max).map(|range| below_limit(range, committed_only))
    }

    /// As [`Core::read_stored`], but none if it lies in a file.
    pub(crate) fn read_in_memory(
        &self,
        tp: TopicPartition,
        from: Offset,
        bytes_max: usize,
        committed_only: bool,
    ) -> Result<Option<StoredRange>, ReadError> {
        match self.find(tp, from, from, bytes_max)? {
            Found::Memory(range) => Ok(Some(below_limit(range, committed_only))),
            Found::Segment(_) => Ok(None),
        }
    }

    /// Where the batch at or after `at` lies, at one moment; `from` is what was asked for.
    fn find(
        &self,
        tp: TopicPartition,
        from: Offset,
        at: Offset,
        bytes_max: usize,
    ) -> Result<Found, ReadError> {
        let state = self.state();
        let partition = state.partitions.get(&tp).filter(|partition| !partition.deleting);
        let partition = partition.ok_or(ReadError::UnknownPartition(tp))?;
        let bounds = partition.bounds();
        if !(bounds.log_start_offset..=bounds.log_end_offset).contains(&from) {
            return Err(ReadError::OffsetOutOfRange { offset: from, bounds });
        }
        let nothing = ReadRange { batches: Vec::new(), bounds, aborted: Vec::new() };
        if at >= bounds.high_watermark {
            return Ok(Found::Memory(nothing));
        }
        if let Some(batches) = partition.read_tail(at, bytes_max) {
            let end = batches.last().map_or(at, LogBatch::next_offset);
            return Ok(Found::Memory(ReadRange {
                batches,
                aborted: partition.aborted_in(at, end),
                ..nothing
            }));
        }
        let (segment, end) =
            partition.segment_of(at).ok_or(ReadError::OffsetOutOfRange { offset: from, bounds })?;
        let range = ReadRange { aborted: partition.aborted_in(at, end), ..nothing };
        let bytes = segment.checkpoint().bytes;
        Ok(Found::Segment(InSegment { range, segment, bytes, end }))
    }

    /// All producers that the partition remembers, as far as they are durable.
    pub(crate) fn producers(&self, tp: TopicPartition) -> Result<Vec<ProducerState>, ReadError> {
        let state = self.state();
        let partition = state.partitions.get(&tp).ok_or(ReadError::UnknownPartition(tp))?;
        let producers = partition.durable_producers.iter().map(|(producer_id, producer)| ProducerState {
            producer_id,
            epoch: producer.epoch,
            last_sequence: producer.sent.back().map_or(-1, |sent| sent.last_sequence),
            last_timestamp_ms: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            open_since: producer.open_since,
        });
        Ok(producers.collect())
    }

    /// All transactions without a marker, by all that was appended.
    pub(crate) fn open_transactions(&self) -> Vec<OpenTransaction> {
        let state = self.state();
        let mut all = Vec::new();
        for (tp, partition) in state.partitions.iter().filter(|(_, partition)| !partition.deleting) {
            for (producer_id, producer) in partition.producers.open() {
                let Some(first_offset) = producer.open_since else { continue };
                let (producer_epoch, last_timestamp_ms) = (producer.epoch, producer.last_timestamp);
                all.push(OpenTransaction {
                    tp: *tp,
                    producer_id,
                    producer_epoch,
                    first_offset,
                    last_timestamp_ms,
                });
            }
        }
        all.sort_by_key(|open| (open.tp, open.first_offset));
        all
    }

    /// Bytes of a partition's records, in segments and on their way there.
    pub(crate) fn partition_bytes(&self, tp: TopicPartition) -> Result<u64, ReadError> {
        let state = self.state();
        let partition = state.partitions.get(&tp).ok_or(ReadError::UnknownPartition(tp))?;
        let stored: u64 = partition.segments.iter().map(|segment| segment.checkpoint().bytes).sum();
        let waiting = partition.tail.iter().filter(|e| e.batch.base_offset() >= partition.materialised);
        Ok(stored + waiting.map(|entry| entry.batch.bytes().len() as u64).sum::<u64>())
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

    /// The latest timestamp that a kept batch declares, below the high watermark.
    pub(crate) fn latest_timestamp(&self, tp: TopicPartition) -> Result<Option<i64>, ReadError> {
        let state = self.state();
        let partition = state.partitions.get(&tp).ok_or(ReadError::UnknownPartition(tp))?;
        let segments = partition.segments.iter().map(|segment| segment.max_timestamp());
        let tail = partition.tail.iter().map(|entry| entry.batch.max_timestamp());
        Ok(segments.chain(tail).max().filter(|latest| *latest >= 0))
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
