//! Retention and compaction.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use highwater_env::{
    Clock, DiskFault, Entropy, ManualClock, MemoryBudget, SeededEntropy, SimDisk, TopicPartition,
};

use super::{TP, batch, expected_values, read_values, small};
use crate::log::Log;
use crate::{
    BatchBuilder, Compression, LogBatch, LogOptions, Marker, MarkerKind, PartitionOptions, ReadError,
};

pub(super) const HOUR_MS: i64 = 3_600_000;

pub(super) fn open_at(disk: &SimDisk, clock: &Arc<ManualClock>) -> Log {
    open_with_keys(disk, clock, small().compaction_keys_bytes_max)
}

pub(super) fn open_with_keys(
    disk: &SimDisk,
    clock: &Arc<ManualClock>,
    compaction_keys_bytes_max: usize,
) -> Log {
    let options = LogOptions { segment_bytes_max: 4 << 10, compaction_keys_bytes_max, ..small() };
    let budget = MemoryBudget::unlimited();
    Log::open_stepped(Arc::new(disk.clone()), clock.clone(), Path::new("data"), options, &budget).unwrap().0
}

pub(super) fn compacted() -> PartitionOptions {
    PartitionOptions { compact: true, delete_retention_ms: HOUR_MS, ..PartitionOptions::default() }
}

pub(super) fn keyed(records: &[(u32, Option<u32>)], timestamp_ms: i64) -> BatchBuilder {
    let mut batch = BatchBuilder::new(timestamp_ms);
    for (key, value) in records {
        let value = value.map(|value| format!("{value:0>100}"));
        batch.push(timestamp_ms, Some(&key.to_be_bytes()), value.as_ref().map(|v| v.as_bytes()), &[]);
    }
    batch
}

/// What a read_committed reader makes of the partition: the last value of each key, and how many
/// records it saw on the way.
pub(super) fn table(log: &Log, tp: TopicPartition) -> (BTreeMap<u32, Option<u32>>, usize) {
    let (mut table, mut seen) = (BTreeMap::new(), 0);
    let mut next = log.bounds(tp).unwrap().log_start_offset;
    loop {
        let range = log.read(tp, next, 3_000).unwrap();
        if range.batches.is_empty() {
            assert_eq!(next, range.bounds.high_watermark, "a reader stands still");
            return (table, seen);
        }
        for batch in range.batches.iter().filter(|batch| range.is_committed(batch)) {
            let records = records_of(batch);
            seen += records.len();
            table.extend(records);
        }
        next = range.next_offset(next);
    }
}

pub(super) fn append(log: &Log, batch: LogBatch) {
    log.append(TP, batch).unwrap().wait().unwrap();
}

pub(super) fn compact_fully(log: &Log) -> usize {
    log.step_segments(true).unwrap();
    let mut runs = 0;
    while log.step_housekeeping().unwrap() {
        runs += 1;
        assert!(runs < 50, "compaction never ends");
    }
    runs
}

#[test]
fn the_last_record_of_each_key_stays_where_it_is() {
    for codec in [Compression::None, Compression::Zstd, Compression::Snappy] {
        let (disk, clock) = (SimDisk::new(1), Arc::new(ManualClock::at(HOUR_MS)));
        let mut log = open_at(&disk, &clock);
        log.create_partition(TP).unwrap();
        log.configure(TP, compacted()).unwrap();
        for n in 0..200 {
            let batch = keyed(&[(n % 7, Some(n)), (100 + n % 3, Some(n)), (1_000 + n, None)], HOUR_MS);
            append(&log, batch.finish().recompressed(codec, 1 << 20).unwrap());
        }
        let (expected, before) = table(&log, TP);
        assert!(compact_fully(&log) > 0);
        let (after, left) = table(&log, TP);
        assert!(after == expected && left < before / 2, "{left} of {before} records are left");
        let last = log.read(TP, 598, 1).unwrap().batches[0].clone();
        assert_eq!((last.base_offset(), last.record_count()), (597, 3), "the newest segment is as it was");
        // The same after a crash and after a clean stop.
        drop(log);
        disk.crash();
        log = open_at(&disk, &clock);
        assert!(table(&log, TP) == (after.clone(), left));
        log.close().unwrap();
        log = open_at(&disk, &clock);
        assert!(table(&log, TP) == (after, left));
        assert!(!disk.files().iter().any(|(path, _)| path.extension().is_some_and(|e| e == "cleaned")));
    }
}

#[test]
fn tombstones_go_after_their_time() {
    let (disk, clock) = (SimDisk::new(2), Arc::new(ManualClock::at(HOUR_MS)));
    let log = open_at(&disk, &clock);
    log.create_partition(TP).unwrap();
    log.configure(TP, PartitionOptions { min_dirty_per_mille: 100, ..compacted() }).unwrap();
    let fill =
        |from: u32| (from..from + 60).for_each(|n| append(&log, keyed(&[(n, Some(n))], HOUR_MS).finish()));
    append(&log, keyed(&[(7, Some(7)), (8, Some(8))], HOUR_MS).finish());
    append(&log, keyed(&[(7, None)], HOUR_MS).finish());
    fill(1_000);
    compact_fully(&log);
    assert_eq!(table(&log, TP).0.get(&7), Some(&None), "readers on their way still learn of the deletion");
    fill(2_000);
    compact_fully(&log);
    assert_eq!(table(&log, TP).0.get(&7), Some(&None), "its time is not over");
    clock.advance_ms(HOUR_MS);
    fill(3_000);
    compact_fully(&log);
    let (after, _) = table(&log, TP);
    assert_eq!((after.get(&7), after.get(&8)), (None, Some(&Some(8))));
}

#[test]
fn aborted_records_and_old_markers_go_and_committed_ones_stay() {
    let (disk, clock) = (SimDisk::new(3), Arc::new(ManualClock::at(HOUR_MS)));
    let log = open_at(&disk, &clock);
    log.create_partition(TP).unwrap();
    log.configure(TP, compacted()).unwrap();
    let mut sequence = 0;
    let mut transaction = |key: u32, value: u32, kind| {
        let part = keyed(&[(key, Some(value))], HOUR_MS).with_producer(9, 0, sequence).transactional();
        sequence += 1;
        append(&log, part.finish());
        end(&log, 9, kind, HOUR_MS);
    };
    transaction(1, 10, MarkerKind::Commit);
    transaction(1, 11, MarkerKind::Abort);
    for n in 0..60 {
        transaction(2, n, MarkerKind::Commit);
    }
    let (before, _) = table(&log, TP);
    assert_eq!(before.get(&1), Some(&Some(10)));
    clock.advance_ms(2 * HOUR_MS);
    compact_fully(&log);
    assert_eq!(table(&log, TP).0, before);
    let markers = |log: &Log| {
        let end = log.bounds(TP).unwrap().high_watermark;
        let (mut next, mut found) = (0, 0);
        while next < end {
            let range = log.read(TP, next, 1_000).unwrap();
            assert_eq!(range.aborted, [], "no record of it is left");
            found += range.batches.iter().filter(|batch| batch.is_control()).count();
            next = range.next_offset(next);
        }
        found
    };
    assert!(markers(&log) < 40, "{} of 62 markers are left", markers(&log));
}

#[test]
fn nothing_of_an_open_transaction_and_nothing_young_is_compacted() {
    let (disk, clock) = (SimDisk::new(4), Arc::new(ManualClock::at(HOUR_MS)));
    let log = open_at(&disk, &clock);
    log.create_partition(TP).unwrap();
    log.configure(TP, PartitionOptions { min_compaction_lag_ms: HOUR_MS, ..compacted() }).unwrap();
    (0..100).for_each(|n| append(&log, keyed(&[(n % 3, Some(n))], HOUR_MS).finish()));
    assert_eq!(compact_fully(&log), 0, "all of it is young");
    append(&log, keyed(&[(5, Some(5))], HOUR_MS).with_producer(9, 0, 0).transactional().finish());
    (0..100).for_each(|n| append(&log, keyed(&[(n % 3, Some(n))], HOUR_MS).finish()));
    clock.advance_ms(2 * HOUR_MS);
    assert!(compact_fully(&log) > 0);
    let first_open = log.bounds(TP).unwrap().last_stable_offset;
    assert_eq!(first_open, 100);
    let batches = log.read(TP, first_open, 100_000).unwrap().batches;
    assert!(batches.iter().all(|batch| batch.record_count() == 1), "{batches:?}");
}

/// Power cuts at every disk call of a compaction, and recovery after each.
#[test]
fn a_crash_at_any_moment_of_a_compaction_loses_nothing() {
    let (mut compactions, mut calls) = (0, 0);
    while compactions < 3 {
        let (disk, clock) = (SimDisk::new(calls), Arc::new(ManualClock::at(HOUR_MS)));
        let log = open_at(&disk, &clock);
        log.create_partition(TP).unwrap();
        log.configure(TP, compacted()).unwrap();
        (0..150).for_each(|n| append(&log, keyed(&[(n % 7, Some(n)), (n, None)], HOUR_MS).finish()));
        log.step_segments(true).unwrap();
        let (expected, _) = table(&log, TP);
        disk.inject(DiskFault::PowerOff, calls);
        if log.step_housekeeping().is_ok() {
            compactions += 1;
        }
        drop(log);
        disk.crash();
        disk.clear_faults();
        let log = open_at(&disk, &clock);
        assert_eq!(table(&log, TP).0, expected, "power off at call {calls}");
        log.configure(TP, compacted()).unwrap();
        append(&log, keyed(&[(3, Some(9_999))], HOUR_MS).finish());
        compact_fully(&log);
        assert_eq!(table(&log, TP).0.get(&3), Some(&Some(9_999)));
        calls += 1;
    }
    assert!(calls > 10, "only {calls} calls were tried");
}

#[test]
fn segments_beyond_their_retention_are_deleted() {
    let (disk, clock) = (SimDisk::new(5), Arc::new(ManualClock::at(10 * HOUR_MS)));
    let log = open_at(&disk, &clock);
    log.create_partition(TP).unwrap();
    for n in 0..100 {
        append(&log, batch(n * 10, 10));
    }
    log.step_segments(true).unwrap();
    let all = log.partition_bytes(TP).unwrap();
    assert!(!log.step_housekeeping().unwrap(), "nothing is deleted unless asked for");
    let by_size =
        PartitionOptions { delete: true, retention_bytes: Some(all / 2), ..PartitionOptions::default() };
    log.configure(TP, by_size).unwrap();
    assert!(log.step_housekeeping().unwrap());
    log.step();
    log.step_segments(true).unwrap();
    let (left, start) = (log.partition_bytes(TP).unwrap(), log.bounds(TP).unwrap().log_start_offset);
    assert!(left >= all / 2 && left < all * 2 / 3 && start > 300, "{left} of {all} bytes from {start}");
    assert!(matches!(log.read(TP, start - 1, 1), Err(ReadError::OffsetOutOfRange { .. })));
    let from = u32::try_from(start).unwrap();
    assert_eq!(read_values(&log, TP, start), expected_values(from, 1_000));
    let by_age =
        PartitionOptions { delete: true, retention_ms: Some(HOUR_MS), ..PartitionOptions::default() };
    log.configure(TP, by_age).unwrap();
    assert!(log.step_housekeeping().unwrap());
    log.step();
    log.step_segments(true).unwrap();
    assert_eq!(log.bounds(TP).unwrap().log_start_offset, 1_000);
    assert_eq!(log.partition_bytes(TP).unwrap(), 0);
    append(&log, batch(1_000, 10));
    assert_eq!(read_values(&log, TP, 1_000), expected_values(1_000, 1_010));
}

#[test]
fn little_traffic_is_deleted_and_compacted_too() {
    let (disk, clock) = (SimDisk::new(6), Arc::new(ManualClock::at(10 * HOUR_MS)));
    let log = open_at(&disk, &clock);
    log.create_partition(TP).unwrap();
    let by_age =
        PartitionOptions { delete: true, retention_ms: Some(HOUR_MS), ..PartitionOptions::default() };
    log.configure(TP, by_age).unwrap();
    append(&log, batch(0, 10));
    assert!(log.step_housekeeping().unwrap(), "no segment was written before");
    log.step();
    assert_eq!(log.bounds(TP).unwrap().log_start_offset, 10);
    log.configure(TP, PartitionOptions { segment_ms: HOUR_MS, ..compacted() }).unwrap();
    for hour in [2, 4, 6, 8] {
        append(&log, keyed(&[(1, Some(hour))], i64::from(hour) * HOUR_MS).finish());
    }
    while log.step_housekeeping().unwrap() {}
    let (table, left) = table(&log, TP);
    assert_eq!((table.get(&1), left), (Some(&Some(8)), 2), "one of the older ones, and the newest segment's");
}

/// Random keys, deletions, transactions and crashes: neither compaction nor recovery changes what a
/// reader makes of the log.
#[test]
fn compaction_never_changes_what_a_reader_makes_of_the_log() {
    for seed in 0..60 {
        let random = SeededEntropy::new(seed);
        let below = |n: u64| i32::try_from(random.below(n)).unwrap();
        let (disk, clock) = (SimDisk::new(seed), Arc::new(ManualClock::at(HOUR_MS)));
        let mut log = open_at(&disk, &clock);
        log.create_partition(TP).unwrap();
        let mut sequences = [0; 3];
        for step in 0..300_u32 {
            log.configure(TP, compacted()).unwrap();
            let before = committed(&log);
            let producer = usize::try_from(below(4)).unwrap();
            match below(10) {
                0..7 => {
                    let count = 1 + below(3);
                    let value = |deleted: bool| (!deleted).then_some(step);
                    let records: Vec<_> =
                        (0..count).map(|_| (below(20).unsigned_abs(), value(below(5) == 0))).collect();
                    let batch = keyed(&records, clock.unix_ms());
                    let batch = match sequences.get_mut(producer) {
                        Some(sequence) => {
                            let id = i64::try_from(producer).unwrap();
                            let batch = batch.with_producer(id, 0, *sequence).transactional();
                            *sequence += count;
                            batch
                        }
                        None => batch,
                    };
                    append(&log, batch.finish());
                    continue;
                }
                7 => {
                    let Some(open) = log.open_transactions().first().copied() else { continue };
                    let kind = if below(2) == 0 { MarkerKind::Abort } else { MarkerKind::Commit };
                    end(&log, open.producer_id, kind, clock.unix_ms());
                    continue;
                }
                8 => drop(compact_fully(&log)),
                9 if producer == 0 => {
                    drop(log);
                    disk.crash();
                    log = open_at(&disk, &clock);
                }
                _ => clock.advance_ms(HOUR_MS / 4),
            }
            assert_eq!(committed(&log), before, "seed {seed} step {step}");
        }
    }
}

fn end(log: &Log, producer_id: i64, kind: MarkerKind, now_ms: i64) {
    let marker = Marker { kind, producer_id, producer_epoch: 0, coordinator_epoch: 0 };
    let tickets = log.append_all(vec![(TP, marker.batch(now_ms))]).unwrap();
    tickets.into_iter().for_each(|ticket| ticket.wait().unwrap());
}

/// The table of committed records below the last stable offset; a deleted key and one never written
/// are the same.
fn committed(log: &Log) -> BTreeMap<u32, u32> {
    let mut table = BTreeMap::new();
    let bounds = log.bounds(TP).unwrap();
    let mut next = bounds.log_start_offset;
    while next < bounds.last_stable_offset {
        let range = log.read(TP, next, 3_000).unwrap();
        let stable = |batch: &&LogBatch| batch.last_offset() < bounds.last_stable_offset;
        for batch in range.batches.iter().filter(stable) {
            if range.is_committed(batch) {
                table.extend(records_of(batch));
            }
        }
        next = range.next_offset(next);
    }
    table.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn records_of(batch: &LogBatch) -> Vec<(u32, Option<u32>)> {
    let key = |key: Option<bytes::Bytes>| u32::from_be_bytes(key.unwrap()[..].try_into().unwrap());
    let value = |value: bytes::Bytes| String::from_utf8_lossy(&value).parse().unwrap();
    batch.records(1 << 20).unwrap().into_iter().map(|r| (key(r.key), r.value.map(value))).collect()
}
