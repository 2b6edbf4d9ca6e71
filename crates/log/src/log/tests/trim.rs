//! Deleting records from the start of a partition.

use highwater_env::SimDisk;

use super::{TP, batch, expected_values, open, read_values};
use crate::{AppendError, ReadError};

fn segment_files(disk: &SimDisk) -> usize {
    disk.files().iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "log")).count()
}

#[test]
fn trimmed_records_are_gone_for_good_and_so_are_their_segments() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    log.create_partition(TP).unwrap();
    for n in 0..300 {
        log.append(TP, batch(n * 10, 10)).unwrap().wait().unwrap();
    }
    log.step_segments(true).unwrap();
    let before = segment_files(&disk);
    assert!(before > 3, "{before} segments");
    log.trim(TP, 1_234).unwrap().wait().unwrap();
    // From the write-ahead log, then from the checkpoint.
    for round in 0..3 {
        assert_eq!(log.bounds(TP).unwrap().log_start_offset, 1_234, "round {round}");
        assert!(matches!(log.read(TP, 1_233, 1), Err(ReadError::OffsetOutOfRange { .. })));
        assert_eq!(read_values(&log, TP, 1_234), expected_values(1_234, 3_000));
        if round == 1 {
            log.step_segments(true).unwrap();
            assert!(segment_files(&disk) < before);
        }
        drop(log);
        disk.crash();
        log = open(&disk).unwrap().0;
    }
}

#[test]
fn a_partition_trimmed_to_its_end_goes_on_behind_it() {
    let disk = SimDisk::new(2);
    let (log, _) = open(&disk).unwrap();
    log.create_partition(TP).unwrap();
    log.append(TP, batch(0, 10)).unwrap().wait().unwrap();
    log.trim(TP, 10).unwrap().wait().unwrap();
    log.step_segments(true).unwrap();
    assert_eq!((segment_files(&disk), log.partition_bytes(TP).unwrap()), (0, 0));
    drop(log);
    disk.crash();
    let (log, _) = open(&disk).unwrap();
    assert_eq!(log.bounds(TP).unwrap().log_start_offset, 10);
    log.append(TP, batch(10, 10)).unwrap().wait().unwrap();
    log.step_segments(true).unwrap();
    log.close().unwrap();
    let (log, _) = open(&disk).unwrap();
    assert_eq!(read_values(&log, TP, 10), expected_values(10, 20));
}

#[test]
fn only_durable_records_are_trimmed() {
    let (log, _) = open(&SimDisk::new(3)).unwrap();
    log.create_partition(TP).unwrap();
    log.append(TP, batch(0, 10)).unwrap().wait().unwrap();
    let _waiting = log.append(TP, batch(10, 10)).unwrap();
    for offset in [-1, 11, 20] {
        let refused = log.trim(TP, offset).unwrap_err();
        assert!(matches!(refused, AppendError::OffsetOutOfRange { .. }), "{offset}: {refused}");
    }
    log.trim(TP, 5).unwrap().wait().unwrap();
    log.trim(TP, 3).unwrap().wait().unwrap();
    assert_eq!(log.bounds(TP).unwrap().log_start_offset, 5);
}
