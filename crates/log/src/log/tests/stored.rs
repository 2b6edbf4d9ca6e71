//! Reading for sending: what stays in its file is what a read gives, and was checked before.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use highwater_env::{Disk, OpenMode, RealDisk, SimDisk};

use super::{TP, batch, open, open_with, small};
use crate::log::{Log, StoredRecords};
use crate::{BatchBuilder, LogBatch, LogOptions, ReadError};

/// Appends until `batches` of about 1.2 KB are in segments and out of memory.
fn fill(log: &Log, batches: u32) {
    for n in 0..batches {
        log.append(TP, batch(n * 10, 10)).unwrap().wait().unwrap();
        if n % 10 == 9 {
            log.step_segments(false).unwrap();
        }
    }
}

/// The bytes of a read from `from`, whether they stay in their file, and the offset behind them.
fn stored(log: &Log, from: i64, bytes_max: usize, committed_only: bool) -> (Vec<u8>, bool, i64) {
    let range = log.read_stored(TP, from, bytes_max, committed_only).unwrap();
    let next = range.records.next_offset(from);
    match range.records {
        StoredRecords::Batches(batches) => {
            (batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect(), false, next)
        }
        StoredRecords::File(range) => (range.read().unwrap(), true, next),
    }
}

fn all_batches(log: &Log) -> Vec<LogBatch> {
    let (mut all, mut next) = (Vec::new(), 0);
    loop {
        let range = log.read(TP, next, 50_000).unwrap();
        if range.batches.is_empty() {
            return all;
        }
        next = range.next_offset(next);
        all.extend(range.batches);
    }
}

/// Whole batches, from the one with `from`, as many as fit into `bytes_max`, at least one.
fn check(log: &Log, all: &[LogBatch], from: i64, bytes_max: usize) -> bool {
    let (bytes, in_file, next) = stored(log, from, bytes_max, false);
    let first = all.iter().position(|batch| batch.last_offset() >= from).unwrap();
    let count = all[first..].iter().take_while(|batch| batch.next_offset() <= next).count();
    let expected: Vec<u8> =
        all[first..first + count].iter().flat_map(|batch| batch.bytes().to_vec()).collect();
    assert!(
        count > 0 && bytes == expected,
        "from {from}: {} bytes, expected {}",
        bytes.len(),
        expected.len()
    );
    assert!(bytes.len() <= bytes_max || count == 1, "from {from}: {} of {bytes_max} bytes", bytes.len());
    in_file
}

#[test]
fn what_is_sent_is_what_is_read() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    log.create_partition(TP).unwrap();
    fill(&log, 300);
    let all = all_batches(&log);
    let mut in_file = 0;
    for from in (0..3_000).step_by(37) {
        for bytes_max in [1, 5_000, 17_000, 40_000, 1 << 20] {
            in_file += usize::from(check(&log, &all, from, bytes_max));
        }
    }
    assert!(in_file > 150, "{in_file} of 410 reads stay in their file");
    // Small reads come from memory, and so does what is not in segments yet.
    assert!(!check(&log, &all, 0, 5_000) && !check(&log, &all, 2_990, 1 << 20));
}

#[test]
fn a_file_is_checked_once_before_it_is_sent() {
    let disk = SimDisk::new(2);
    let (log, _) = open(&disk).unwrap();
    log.create_partition(TP).unwrap();
    fill(&log, 200);
    log.close().unwrap();

    let (log, _) = open(&disk).unwrap();
    assert!(!stored(&log, 0, 30_000, false).1, "an earlier process wrote it");
    assert!(stored(&log, 0, 20_000, false).1, "read just now");
    let (bytes, in_file, _) = stored(&log, 0, 60_000, false);
    assert!(in_file && bytes.len() <= 30_000, "what was read, no more");
    log.close().unwrap();

    let (path, _) =
        disk.files().into_iter().find(|(path, _)| path.extension().is_some_and(|e| e == "log")).unwrap();
    let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 20_000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 20_000).unwrap();
    let (log, _) = open(&disk).unwrap();
    let damaged = log.read_stored(TP, 0, 30_000, false).unwrap_err();
    assert!(matches!(damaged, ReadError::Corrupt { .. }), "{damaged}");
}

#[test]
fn committed_reads_end_at_the_last_stable_offset() {
    let (log, _) = open(&SimDisk::new(3)).unwrap();
    log.create_partition(TP).unwrap();
    fill(&log, 40);
    let mut open_batch = BatchBuilder::new(0).with_producer(7, 0, 0).transactional();
    open_batch.push(0, None, Some(b"open"), &[]);
    log.append(TP, open_batch.finish()).unwrap().wait().unwrap();
    for n in 41..120 {
        log.append(TP, batch(n * 10, 10)).unwrap().wait().unwrap();
    }
    log.step_segments(false).unwrap();
    let (committed, in_file, next) = stored(&log, 200, 1 << 20, true);
    assert!(in_file);
    assert_eq!(next, 400);
    let (all, in_file, beyond) = stored(&log, 200, 1 << 20, false);
    assert!(in_file && beyond > 400 && all.starts_with(&committed));
}

#[test]
fn a_real_file_goes_through_a_socket_and_outlives_its_partition() {
    let dir = tempfile::tempdir().unwrap();
    for disk in [true, false] {
        let path = dir.path().join(if disk { "real" } else { "copied" });
        let (log, _) = if disk {
            open_with(RealDisk, &path, LogOptions { tail_cache_bytes: 0, ..small() }).unwrap()
        } else {
            open_with(SimDisk::new(4), Path::new("data"), small()).unwrap()
        };
        log.create_partition(TP).unwrap();
        fill(&log, 100);
        let expected = stored(&log, 5, 40_000, false).0;
        let StoredRecords::File(mut range) = log.read_stored(TP, 5, 40_000, false).unwrap().records else {
            panic!("not in a file")
        };
        log.delete_partition(TP).unwrap();
        log.step_segments(true).unwrap();
        let (sink, mut source) = UnixStream::pair().unwrap();
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            source.read_to_end(&mut got).map(|_| got)
        });
        while !range.is_empty() {
            range.send(sink.as_fd()).unwrap();
        }
        drop(sink);
        assert_eq!(reader.join().unwrap().unwrap(), expected);
    }
}
