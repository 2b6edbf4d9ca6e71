//! When compaction is due, how far a run goes, and what stops it.

use std::path::Path;
use std::sync::Arc;

use highwater_env::{Clock, ManualClock, SimDisk};

use super::TP;
use super::compaction::{HOUR_MS, append, compact_fully, compacted, keyed, open_at, open_with_keys, table};
use crate::PartitionOptions;

const MINUTE_MS: i64 = 60_000;

fn files(disk: &SimDisk, extension: &str) -> usize {
    disk.files().iter().filter(|(path, _)| path.extension().is_some_and(|e| e == extension)).count()
}

/// Only age makes it due.
fn within_an_hour() -> PartitionOptions {
    PartitionOptions { max_compaction_lag_ms: HOUR_MS, min_dirty_per_mille: 1_000, ..compacted() }
}

/// A run holds two keys. The deletion's time is over long before a run comes to it.
#[test]
fn a_deletion_stays_while_an_older_record_of_its_key_does() {
    let (disk, clock) = (SimDisk::new(1), Arc::new(ManualClock::at(HOUR_MS)));
    let log = open_with_keys(&disk, &clock, 2 * 68);
    log.create_partition(TP).unwrap();
    log.configure(TP, PartitionOptions { min_dirty_per_mille: 1, ..compacted() }).unwrap();
    append(&log, keyed(&[(7, Some(7))], HOUR_MS).finish());
    (1_000..1_200).for_each(|n| append(&log, keyed(&[(n, Some(n))], HOUR_MS).finish()));
    append(&log, keyed(&[(7, None)], HOUR_MS).finish());
    (2_000..2_060).for_each(|n| append(&log, keyed(&[(n, Some(n))], HOUR_MS).finish()));
    log.step_segments(true).unwrap();
    let mut runs = 0;
    while log.step_housekeeping().unwrap() {
        clock.advance_ms(2 * HOUR_MS);
        runs += 1;
        assert!(runs < 200, "compaction never ends");
        let (table, _) = table(&log, TP);
        assert_eq!(table.get(&7).copied().flatten(), None, "run {runs} brought it back");
        assert_eq!(table.iter().filter(|(_, value)| value.is_some()).count(), 260);
    }
    assert!(runs > 100, "{runs} runs");
}

#[test]
fn what_is_older_than_the_lag_is_compacted_even_where_nothing_more_comes() {
    let (disk, clock) = (SimDisk::new(2), Arc::new(ManualClock::at(10 * HOUR_MS)));
    let mut log = open_at(&disk, &clock);
    log.create_partition(TP).unwrap();
    for restarts in [false, true] {
        log.configure(TP, within_an_hour()).unwrap();
        clock.advance_ms(2 * HOUR_MS);
        let at = clock.unix_ms();
        append(&log, keyed(&[(1, Some(1))], at).finish());
        append(&log, keyed(&[(1, Some(2))], at).finish());
        log.step_segments(true).unwrap();
        if restarts {
            drop(log);
            disk.crash();
            log = open_at(&disk, &clock);
            log.configure(TP, within_an_hour()).unwrap();
        }
        // The segment's last record is young, its first one counts.
        clock.advance_ms(50 * MINUTE_MS);
        append(&log, keyed(&[(1, Some(3))], clock.unix_ms()).finish());
        log.step_segments(true).unwrap();
        assert!(!log.step_housekeeping().unwrap(), "restarts: {restarts}");
        clock.advance_ms(11 * MINUTE_MS);
        assert!(log.step_housekeeping().unwrap(), "restarts: {restarts}");
        let (table, left) = table(&log, TP);
        assert_eq!((table.get(&1), left), (Some(&Some(3)), 1), "restarts: {restarts}");
        assert!(!log.step_housekeeping().unwrap());
    }
}

#[test]
fn a_segment_ends_once_it_holds_what_is_older_than_the_lag() {
    let (disk, clock) = (SimDisk::new(3), Arc::new(ManualClock::at(0)));
    let log = open_at(&disk, &clock);
    log.create_partition(TP).unwrap();
    log.configure(TP, within_an_hour()).unwrap();
    for (at, segments) in [(MINUTE_MS, 1), (61 * MINUTE_MS, 1), (62 * MINUTE_MS, 2)] {
        append(&log, keyed(&[(1, Some(1))], at).finish());
        log.step_segments(true).unwrap();
        assert_eq!(files(&disk, "log"), segments, "record of {at} ms");
    }
    clock.advance_ms(61 * MINUTE_MS);
    assert!(!log.step_housekeeping().unwrap(), "more than all of it would have to be new");
}

/// The file of an ended, empty segment bears the offset that the next record gets.
#[test]
fn an_ended_segment_that_is_trimmed_takes_nothing_with_it() {
    let (disk, clock) = (SimDisk::new(4), Arc::new(ManualClock::at(10 * HOUR_MS)));
    let mut log = open_at(&disk, &clock);
    log.create_partition(TP).unwrap();
    log.configure(TP, within_an_hour()).unwrap();
    append(&log, keyed(&[(1, Some(1))], HOUR_MS).finish());
    assert!(log.step_housekeeping().unwrap());
    assert_eq!(files(&disk, "log"), 2);
    log.trim(TP, 1).unwrap().wait().unwrap();
    disk.set_capacity(Some(0));
    assert!(log.step_segments(true).unwrap_err().is_disk_full());
    disk.set_capacity(None);
    append(&log, keyed(&[(2, Some(2))], HOUR_MS).finish());
    log.step_segments(false).unwrap();
    for _ in 0..2 {
        log.step_segments(true).unwrap();
        assert_eq!(files(&disk, "log"), 1);
        drop(log);
        disk.crash();
        log = open_at(&disk, &clock);
        assert_eq!(table(&log, TP), ([(2, Some(2))].into(), 1));
    }
}

#[test]
fn damaged_records_are_not_taken_for_compacted_ones() {
    let (disk, clock) = (SimDisk::new(5), Arc::new(ManualClock::at(HOUR_MS)));
    let mut log = open_at(&disk, &clock);
    log.create_partition(TP).unwrap();
    log.configure(TP, compacted()).unwrap();
    (0..100).for_each(|n| append(&log, keyed(&[(n % 3, Some(n))], HOUR_MS).finish()));
    log.step_segments(true).unwrap();
    let (expected, before) = table(&log, TP);
    let first = disk.files().into_iter().find(|(path, _)| path.extension().is_some_and(|e| e == "log"));
    let flip = |path: &Path| assert!(disk.flip_bit(path, 100, 3));
    let (path, _) = first.unwrap();
    flip(&path);
    assert!(log.step_housekeeping().unwrap());
    assert!(!log.step_housekeeping().unwrap(), "it is not tried again and again");
    log.step_segments(true).unwrap();
    flip(&path);
    drop(log);
    disk.crash();
    log = open_at(&disk, &clock);
    log.configure(TP, compacted()).unwrap();
    assert!(compact_fully(&log) > 0);
    let (after, left) = table(&log, TP);
    assert!(after == expected && left < before / 2, "{left} of {before} records are left");
}

#[test]
fn a_run_that_the_disk_has_no_room_for_leaves_nothing_behind() {
    let (disk, clock) = (SimDisk::new(6), Arc::new(ManualClock::at(HOUR_MS)));
    let log = open_at(&disk, &clock);
    log.create_partition(TP).unwrap();
    log.configure(TP, compacted()).unwrap();
    (0..100).for_each(|n| append(&log, keyed(&[(n, Some(n))], HOUR_MS).finish()));
    log.step_segments(true).unwrap();
    let used: u64 = disk.files().iter().map(|(_, len)| len).sum();
    for room in [0, 100, 3_000, 10_000] {
        disk.set_capacity(Some(used + room));
        assert!(log.step_housekeeping().unwrap_err().is_disk_full());
        assert_eq!(files(&disk, "cleaned"), 0, "room {room}");
    }
    disk.set_capacity(None);
    assert!(compact_fully(&log) > 0);
    assert_eq!(table(&log, TP).0.len(), 100);
}
