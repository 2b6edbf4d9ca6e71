//! Transactions in the log: last stable offset, aborted index, atomic groups, fencing.

use highwater_env::{SimDisk, TopicPartition};

use super::{TP, batch, open};
use crate::log::Log;
use crate::{AbortedTransaction, AppendError, BatchBuilder, LogBatch, Marker, MarkerKind, OpenTransaction};

const OTHER: TopicPartition = TopicPartition { partition: 1, ..TP };

fn part(id: i64, epoch: i16, sequence: i32) -> LogBatch {
    let mut batch = BatchBuilder::new(5).with_producer(id, epoch, sequence).transactional();
    batch.push(5, None, Some(b"a"), &[]);
    batch.push(7, None, Some(b"b"), &[]);
    batch.finish()
}

fn marker(kind: MarkerKind, producer_id: i64, producer_epoch: i16) -> LogBatch {
    Marker { kind, producer_id, producer_epoch, coordinator_epoch: 3 }.batch(9)
}

fn end(log: &Log, tps: &[TopicPartition], marker: &LogBatch) -> Result<(), AppendError> {
    let tickets = log.append_all(tps.iter().map(|tp| (*tp, marker.clone())).collect())?;
    tickets.into_iter().try_for_each(crate::Ticket::wait)
}

fn stable(log: &Log, tp: TopicPartition) -> (i64, i64) {
    let bounds = log.bounds(tp).unwrap();
    (bounds.last_stable_offset, bounds.high_watermark)
}

fn with_two_partitions(disk: &SimDisk) -> Log {
    let (log, _) = open(disk).unwrap();
    log.create_partitions(&[TP, OTHER]).unwrap();
    log
}

#[test]
fn markers_move_the_last_stable_offset_and_fill_the_aborted_index() {
    let disk = SimDisk::new(1);
    let mut log = with_two_partitions(&disk);
    log.append(TP, batch(0, 4)).unwrap().wait().unwrap();
    log.append(TP, part(8, 0, 0)).unwrap().wait().unwrap();
    log.append(TP, part(9, 0, 0)).unwrap().wait().unwrap();
    log.append(OTHER, part(9, 0, 0)).unwrap().wait().unwrap();
    assert_eq!((stable(&log, TP), stable(&log, OTHER)), ((4, 8), (0, 2)));
    end(&log, &[TP, OTHER], &marker(MarkerKind::Abort, 9, 0)).unwrap();
    assert_eq!((stable(&log, TP), stable(&log, OTHER)), ((4, 9), (3, 3)));
    end(&log, &[TP], &marker(MarkerKind::Commit, 8, 0)).unwrap();
    let aborted = |log: &Log, from| log.read(TP, from, 1 << 20).unwrap().aborted;
    let expected =
        [AbortedTransaction { producer_id: 9, first_offset: 6, last_offset: 8, last_stable_offset: 4 }];
    // Before and after a checkpoint, from memory, the write-ahead log and the checkpoint.
    for round in 0..3 {
        assert_eq!(stable(&log, TP), (10, 10), "round {round}");
        assert_eq!((aborted(&log, 0), aborted(&log, 8)), (expected.to_vec(), expected.to_vec()));
        assert_eq!(aborted(&log, 9), []);
        let range = log.read(TP, 0, 1 << 20).unwrap();
        let committed = range.batches.iter().filter(|batch| range.is_committed(batch));
        let offsets: Vec<_> = committed.map(LogBatch::base_offset).collect();
        assert_eq!(offsets, [0, 4], "round {round}");
        assert_eq!(log.open_transactions(), []);
        if round == 1 {
            log.step_segments(true).unwrap();
        }
        drop(log);
        disk.crash();
        log = open(&disk).unwrap().0;
    }
    let producers = log.producers(TP).unwrap();
    let known: Vec<_> =
        producers.iter().map(|p| (p.producer_id, p.last_sequence, p.coordinator_epoch)).collect();
    assert_eq!(known, [(8, 1, 3), (9, 1, 3)]);
}

#[test]
fn an_open_transaction_survives_a_crash() {
    let disk = SimDisk::new(2);
    let log = with_two_partitions(&disk);
    log.append(TP, part(9, 4, 0)).unwrap().wait().unwrap();
    log.step_segments(true).unwrap();
    log.append(OTHER, part(9, 4, 0)).unwrap().wait().unwrap();
    drop(log);
    disk.crash();
    let (log, _) = open(&disk).unwrap();
    let open =
        |tp| OpenTransaction { tp, producer_id: 9, producer_epoch: 4, first_offset: 0, last_timestamp_ms: 7 };
    assert_eq!(log.open_transactions(), [open(TP), open(OTHER)]);
    assert_eq!(stable(&log, TP), (0, 2));
    log.append(TP, part(9, 4, 2)).unwrap().wait().unwrap();
    end(&log, &[TP, OTHER], &marker(MarkerKind::Commit, 9, 4)).unwrap();
    assert_eq!((stable(&log, TP), log.open_transactions()), ((5, 5), vec![]));
}

#[test]
fn a_marker_with_a_newer_epoch_fences_and_starts_sequences_anew() {
    let disk = SimDisk::new(3);
    let log = with_two_partitions(&disk);
    log.append(TP, part(9, 0, 0)).unwrap().wait().unwrap();
    end(&log, &[TP], &marker(MarkerKind::Abort, 9, 1)).unwrap();
    let refused = log.append(TP, part(9, 0, 2)).unwrap_err();
    assert!(matches!(refused, AppendError::FencedProducer { got: 0, current: 1, .. }), "{refused}");
    let refused = end(&log, &[TP], &marker(MarkerKind::Commit, 9, 0)).unwrap_err();
    assert!(matches!(refused, AppendError::FencedProducer { .. }), "{refused}");
    let refused = log.append(TP, part(9, 1, 2)).unwrap_err();
    assert!(matches!(refused, AppendError::OutOfOrderSequence { expected: 0, .. }), "{refused}");
    log.append(TP, part(9, 1, 0)).unwrap().wait().unwrap();
    assert_eq!(stable(&log, TP), (3, 5));
}

#[test]
fn batches_appended_together_share_their_fate() {
    let disk = SimDisk::new(4);
    let log = with_two_partitions(&disk);
    let unknown = TopicPartition { partition: 7, ..TP };
    let abort = marker(MarkerKind::Abort, 9, 0);
    let refused = log.append_all(vec![(TP, abort.clone()), (unknown, abort.clone())]).unwrap_err();
    assert_eq!(refused, AppendError::UnknownPartition(unknown));
    assert_eq!(log.bounds(TP).unwrap().log_end_offset, 0);
    let many = (0..200).map(|_| (TP, abort.clone())).collect();
    assert!(matches!(log.append_all(many), Err(AppendError::TooLarge { .. })));
    // A power cut at every call between the append and its acknowledgement.
    let together = [TP, OTHER];
    for calls in 0..12 {
        let disk = SimDisk::new(calls);
        let log = with_two_partitions(&disk);
        disk.inject(highwater_env::DiskFault::PowerOff, calls);
        // Of different sizes, so that a torn write may end between them.
        let tickets = log.append_all(vec![(TP, batch(0, 40)), (OTHER, batch(0, 1)), (TP, batch(40, 30))]);
        log.step();
        drop((tickets, log));
        disk.crash();
        let (log, _) = open(&disk).unwrap();
        let found = together.map(|tp| log.bounds(tp).unwrap().high_watermark);
        assert!(found == [0, 0] || found == [70, 1], "cut at call {calls}: {found:?}");
    }
}

#[test]
fn clients_write_neither_markers_nor_unnumbered_batches() {
    let log = with_two_partitions(&SimDisk::new(5));
    for refused in [marker(MarkerKind::Commit, 9, 0), part(9, 0, -1)] {
        assert!(matches!(log.append(TP, refused), Err(AppendError::Refused(_))));
    }
    end(&log, &[TP], &part(9, 0, -1)).unwrap();
    assert_eq!(stable(&log, TP), (0, 2));
}

#[test]
fn a_full_disk_takes_markers_back() {
    let disk = SimDisk::new(6);
    let log = with_two_partitions(&disk);
    log.append(TP, part(9, 0, 0)).unwrap().wait().unwrap();
    disk.set_capacity(Some(0));
    // Fills what the write-ahead file has reserved.
    while log.append(OTHER, batch(0, 100)).unwrap().wait().is_ok() {}
    let many = [TP; 100];
    let mut commits: Vec<_> = many.iter().map(|tp| (*tp, marker(MarkerKind::Commit, 9, 0))).collect();
    let tickets = log.append_all(std::mem::take(&mut commits)).unwrap();
    assert!(tickets.into_iter().all(|ticket| ticket.wait() == Err(AppendError::DiskFull)));
    assert_eq!((stable(&log, TP), log.open_transactions().len()), ((0, 2), 1));
    disk.set_capacity(None);
    end(&log, &[TP], &marker(MarkerKind::Commit, 9, 0)).unwrap();
    assert_eq!(stable(&log, TP), (3, 3));
    log.append(TP, part(9, 0, 2)).unwrap().wait().unwrap();
}
