//! What a partition serves, from its start to its end, against the model.

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_env::{Offset, TopicPartition};
use highwater_log::{Log, LogBatch, Record};

use crate::model::{Expected, replay};

const INFLATED_BYTES_MAX: usize = 1 << 20;

/// Every batch from the partition's start; offsets may be missing if it is compacted.
pub(crate) fn read_all(log: &Log, tp: TopicPartition, compacted: bool) -> Result<Vec<LogBatch>, String> {
    let bounds = log.bounds(tp).map_err(|e| format!("bounds of {tp}: {e}"))?;
    let mut found: Vec<LogBatch> = Vec::new();
    let mut next = bounds.log_start_offset;
    loop {
        let range = log.read(tp, next, 4096).map_err(|e| format!("read {tp} from {next}: {e}"))?;
        if range.batches.is_empty() {
            let end = range.bounds.high_watermark;
            return if next == end { Ok(found) } else { Err(format!("{tp} ends at {next}, not at {end}")) };
        }
        for batch in range.batches {
            // The first one contains the start, and may begin before it.
            let joins = batch.base_offset() == next
                || (found.is_empty() && batch.base_offset() < next)
                || (compacted && batch.base_offset() > next);
            if !joins || batch.next_offset() <= next {
                return Err(format!("{tp}: hole at {next}, {batch:?} follows"));
            }
            next = batch.next_offset();
            found.push(batch);
        }
    }
}

/// The partition serves what it must.
pub(crate) fn verify(expected: &Expected, log: &Log, tp: TopicPartition, now_ms: i64) -> Result<(), String> {
    let found = read_all(log, tp, expected.compacted)?;
    if expected.compacted {
        return verify_compacted(expected, &found, now_ms).map_err(|e| format!("{tp}: {e}"));
    }
    let due: Vec<&LogBatch> =
        expected.durable.iter().filter(|batch| batch.last_offset() >= expected.start).collect();
    if found.iter().collect::<Vec<_>>() != due {
        return Err(format!("{tp}: serves {found:?}, expected {due:?}"));
    }
    Ok(())
}

/// Whatever is there was written there. Whatever is not was superseded by a committed record of its
/// key, aborted, or a tombstone of old, which left nothing of its key behind.
fn verify_compacted(expected: &Expected, found: &[LogBatch], now_ms: i64) -> Result<(), String> {
    let due: BTreeMap<Offset, Record> = records(&expected.durable)?;
    let found: BTreeMap<Offset, Record> = records(found)?;
    for (offset, record) in &found {
        if due.get(offset) != Some(record) {
            return Err(format!("serves {record:?}, expected {:?}", due.get(offset)));
        }
    }
    let open: Vec<(i64, Offset)> = replay(&expected.durable)
        .0
        .iter()
        .filter_map(|(id, producer)| Some((*id, producer.open_since?)))
        .collect();
    let aborted = replay(&expected.durable).1;
    let is_aborted = |batch: &LogBatch| {
        let covers = |(id, first, last): &(i64, Offset, Offset)| {
            *id == batch.producer_id() && (*first..*last).contains(&batch.base_offset())
        };
        batch.is_transactional() && aborted.iter().any(covers)
    };
    let is_open = |batch: &LogBatch| {
        let covers =
            |(id, first): &(i64, Offset)| *id == batch.producer_id() && batch.base_offset() >= *first;
        batch.is_transactional() && open.iter().any(covers)
    };
    let mut committed: BTreeMap<Option<Bytes>, Vec<Offset>> = BTreeMap::new();
    for batch in expected.durable.iter().filter(|batch| !batch.is_control()) {
        if !is_aborted(batch) && !is_open(batch) {
            for (offset, record) in records(std::slice::from_ref(batch))? {
                committed.entry(record.key).or_default().push(offset);
            }
        }
    }
    for (key, offsets) in &committed {
        let left: Vec<&Offset> = offsets.iter().filter(|offset| found.contains_key(offset)).collect();
        if left.last().is_some_and(|last| Some(*last) != offsets.last()) {
            return Err(format!("key {key:?} is back: offsets {left:?} are left of {offsets:?}"));
        }
    }
    for batch in expected.durable.iter().filter(|batch| !batch.is_control() && !is_aborted(batch)) {
        for (offset, record) in records(std::slice::from_ref(batch))? {
            let latest = committed.get(&record.key).and_then(|offsets| offsets.last());
            let superseded = latest.is_some_and(|latest| *latest > offset);
            let expired = record.value.is_none() && now_ms - record.timestamp_ms >= crate::TOMBSTONE_MS;
            if !found.contains_key(&offset) && !superseded && !expired {
                return Err(format!("offset {offset} is gone, and is the last of its key: {record:?}"));
            }
        }
    }
    Ok(())
}

fn records(batches: &[LogBatch]) -> Result<BTreeMap<Offset, Record>, String> {
    let mut all = BTreeMap::new();
    for batch in batches.iter().filter(|batch| !batch.is_control()) {
        let records = batch.records(INFLATED_BYTES_MAX).map_err(|e| format!("{batch:?}: {e}"))?;
        all.extend(records.into_iter().map(|record| (record.offset, record)));
    }
    Ok(all)
}
