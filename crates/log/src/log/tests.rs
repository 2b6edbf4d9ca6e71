use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use expect_test::{Expect, expect};
use highwater_env::{
    Disk, DiskFault, ManualClock, MemoryBudget, OpenMode, RealDisk, SeededEntropy, SimDisk, TopicId,
    TopicPartition,
};
use proptest::prelude::*;

use super::Log;
use crate::{AppendError, BatchBuilder, LogBatch, LogError, LogOptions, ReadError, RecoveryReport};
use hooked::Hooked;

mod compaction;
mod compaction_due;
mod failures;
mod hooked;
mod stored;
mod transactions;
mod trim;

const TP: TopicPartition = TopicPartition { topic: TopicId(7), partition: 0 };

fn small() -> LogOptions {
    LogOptions {
        batch_bytes_max: 16 << 10,
        group_bytes_max: 16 << 10,
        wal_file_bytes: 128 << 10,
        wal_zero_bytes: 16 << 10,
        wal_files_max: 3,
        segment_bytes_max: 64 << 10,
        materialise_bytes: 16 << 10,
        memory_bytes_max: 1 << 20,
        tail_cache_bytes: 16 << 10,
        compaction_keys_bytes_max: 1 << 20,
        tidy_interval: std::time::Duration::from_secs(3600),
        cluster_id: Some("golden-cluster-id-0001".into()),
        entropy: Arc::new(SeededEntropy::new(1)),
    }
}

fn open_with(
    disk: impl Disk + 'static,
    dir: &Path,
    options: LogOptions,
) -> Result<(Log, RecoveryReport), LogError> {
    let clock = Arc::new(ManualClock::at(0));
    Log::open_stepped(Arc::new(disk), clock, dir, options, &MemoryBudget::unlimited())
}

fn open(disk: &SimDisk) -> Result<(Log, RecoveryReport), LogError> {
    open_with(disk.clone(), Path::new("data"), small())
}

fn batch(first: u32, records: u32) -> LogBatch {
    let mut batch = BatchBuilder::new(1_000);
    for n in first..first + records {
        let value = format!("value {n:06} {}", "x".repeat(80));
        batch.push(1_000 + i64::from(n), Some(&n.to_be_bytes()), Some(value.as_bytes()), &[]);
    }
    batch.finish()
}

fn produced(id: i64, epoch: i16, sequence: i32) -> LogBatch {
    let mut batch = BatchBuilder::new(0).with_producer(id, epoch, sequence);
    batch.push(0, None, Some(b"a"), &[]);
    batch.push(0, None, Some(b"b"), &[]);
    batch.finish()
}

fn read_values(log: &Log, tp: TopicPartition, from: i64) -> Vec<String> {
    let mut values = Vec::new();
    let mut next = from;
    loop {
        let range = log.read(tp, next, 10_000).unwrap();
        if range.batches.is_empty() {
            return values;
        }
        for record in range.batches.iter().flat_map(|batch| batch.records(1 << 20).unwrap()) {
            if record.offset >= from {
                values.push(String::from_utf8_lossy(&record.value.unwrap()[..12]).into_owned());
            }
        }
        next = range.next_offset(next);
    }
}

fn expected_values(from: u32, to: u32) -> Vec<String> {
    (from..to).map(|n| format!("value {n:06}")).collect()
}

#[test]
fn records_come_back_from_memory_segments_and_recovery() {
    let disk = SimDisk::new(1);
    let (log, report) = open(&disk).unwrap();
    assert!(report.created && !report.unclean);
    log.create_partition(TP).unwrap();
    for n in 0..300 {
        log.append(TP, batch(n * 10, 10)).unwrap().wait().unwrap();
        if n % 20 == 0 {
            log.step_segments(n % 60 == 0).unwrap();
        }
    }
    for from in [0, 1, 999, 1_500, 2_995] {
        assert_eq!(read_values(&log, TP, i64::from(from)), expected_values(from, 3_000));
    }
    assert_eq!(log.offset_for_time(TP, 1_000 + 1_234).unwrap(), Some((1_234, 2_234)));
    assert_eq!(log.offset_for_time(TP, i64::MIN).unwrap(), Some((0, 1_000)));
    assert_eq!(log.offset_for_time(TP, 4_000).unwrap(), None);
    assert_eq!(log.offset_of_latest(TP).unwrap(), Some((2_999, 3_999)));
    drop(log);
    disk.crash();
    let (log, report) = open(&disk).unwrap();
    assert!(report.unclean && report.replayed_batches > 0 && report.replayed_batches < 300);
    assert_eq!(read_values(&log, TP, 0), expected_values(0, 3_000));
    log.close().unwrap();
    let (log, report) = open(&disk).unwrap();
    assert!(!report.unclean, "{report:?}");
    // By the index files, then with time indexes that are missing or wrong.
    for damage in [None, Some(0), Some(7)] {
        for (path, _) in
            disk.files().iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "timeindex"))
        {
            let Some(len) = damage else { continue };
            disk.open(path, OpenMode::ReadWrite).unwrap().set_len(len).unwrap();
        }
        log.step_housekeeping().unwrap();
        for n in (0..3_000).step_by(97) {
            assert_eq!(log.offset_for_time(TP, 1_000 + n).unwrap(), Some((n, 1_000 + n)), "{damage:?}");
        }
    }
    assert_eq!(read_values(&log, TP, 1_717), expected_values(1_717, 3_000));
    assert_eq!(log.offset_for_time(TP, 1_000 + 2_222).unwrap(), Some((2_222, 3_222)));
}

#[test]
fn nothing_above_the_high_watermark_is_served() {
    let (log, _) = open(&SimDisk::new(1)).unwrap();
    log.create_partition(TP).unwrap();
    let ticket = log.append(TP, batch(0, 5)).unwrap();
    assert!(log.read(TP, 0, 1000).unwrap().batches.is_empty());
    assert_eq!(log.bounds(TP).unwrap().log_end_offset, 5);
    assert_eq!(log.bounds(TP).unwrap().high_watermark, 0);
    assert_eq!(ticket.poll_now(), None);
    log.step();
    assert_eq!(ticket.poll_now(), Some(Ok(())));
    assert_eq!(log.read(TP, 3, 1000).unwrap().batches.len(), 1);
    assert!(matches!(log.read(TP, 6, 1), Err(ReadError::OffsetOutOfRange { offset: 6, .. })));
    assert!(matches!(log.read(TP, -1, 1), Err(ReadError::OffsetOutOfRange { .. })));
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn readers_wake_when_the_high_watermark_passes() {
    let (log, _) = open(&SimDisk::new(1)).unwrap();
    log.create_partition(TP).unwrap();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    log.wake_at(TP, 7, &waker);
    log.append(TP, batch(0, 5)).unwrap().wait().unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    log.append(TP, batch(5, 5)).unwrap().wait().unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    log.wake_at(TP, 7, &waker);
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    log.wake_at(TP, 10, &waker);
    log.delete_partition(TP).unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 3);
}

#[test]
fn waiters_who_have_gone_do_not_pile_up() {
    let (log, _) = open(&SimDisk::new(1)).unwrap();
    log.create_partition(TP).unwrap();
    let counts: Vec<_> = (0..1_025).map(|_| Arc::new(Count(AtomicUsize::new(0)))).collect();
    for count in &counts {
        log.wake_at(TP, 0, &Waker::from(Arc::clone(count)));
    }
    let woken = || counts.iter().map(|count| count.0.load(Ordering::SeqCst)).sum::<usize>();
    assert_eq!(woken(), 1_024);
    log.append(TP, batch(0, 1)).unwrap().wait().unwrap();
    assert_eq!(woken(), 1_025);
}

/// The first of two batches in flight is refused: the second may not take its place.
#[test]
fn an_unknown_producer_starts_at_zero() {
    let (log, _) = open(&SimDisk::new(3)).unwrap();
    log.create_partition(TP).unwrap();
    let early = log.append(TP, produced(9, 0, 2)).unwrap_err();
    assert!(matches!(early, AppendError::OutOfOrderSequence { got: 2, expected: 0, .. }), "{early}");
    log.append(TP, produced(9, 0, 0)).unwrap().wait().unwrap();
    assert_eq!(log.append(TP, produced(9, 0, 2)).unwrap().base_offset, 2);
}

#[test]
fn idempotent_producers_neither_repeat_nor_skip() {
    let disk = SimDisk::new(3);
    let (log, _) = open(&disk).unwrap();
    log.create_partition(TP).unwrap();
    let first = log.append(TP, produced(9, 0, 0)).unwrap();
    let again = log.append(TP, produced(9, 0, 0)).unwrap();
    assert_eq!((first.base_offset, again.base_offset), (0, 0));
    again.wait().unwrap();
    for sequence in [2, 4, 6, 8, 10, 12, 14] {
        log.append(TP, produced(9, 0, sequence)).unwrap().wait().unwrap();
    }
    log.step_segments(true).unwrap();
    drop(log);
    disk.crash();
    let (log, _) = open(&disk).unwrap();
    assert_eq!(log.last_sequence(TP, 9), Some(15));
    assert_eq!(log.append(TP, produced(9, 0, 12)).unwrap().base_offset, 12);
    let refused = |batch| log.append(TP, batch).unwrap_err();
    assert!(matches!(refused(produced(9, 0, 18)), AppendError::OutOfOrderSequence { expected: 16, .. }));
    assert!(matches!(refused(produced(9, 0, 0)), AppendError::DuplicateSequence { .. }));
    assert!(matches!(refused(produced(9, 1, 3)), AppendError::OutOfOrderSequence { expected: 0, .. }));
    log.append(TP, produced(9, 1, 0)).unwrap().wait().unwrap();
    assert!(matches!(refused(produced(9, 0, 16)), AppendError::FencedProducer { current: 1, .. }));
    assert_eq!(log.bounds(TP).unwrap().high_watermark, 18);
}

#[test]
fn a_failed_sync_stops_the_log_until_it_is_opened_again() {
    let disk = SimDisk::new(4);
    let (log, _) = open(&disk).unwrap();
    log.create_partition(TP).unwrap();
    log.append(TP, batch(0, 5)).unwrap().wait().unwrap();
    disk.inject(DiskFault::SyncFails, 0);
    let lost = log.append(TP, batch(5, 5)).unwrap();
    assert!(matches!(lost.wait(), Err(AppendError::Poisoned(_))));
    assert!(matches!(log.append(TP, batch(5, 5)), Err(AppendError::Poisoned(_))));
    assert_eq!(read_values(&log, TP, 0), expected_values(0, 5));
    drop(log);
    disk.crash();
    let (log, _) = open(&disk).unwrap();
    log.append(TP, batch(5, 5)).unwrap().wait().unwrap();
}

#[test]
fn a_full_disk_is_refused_read_from_and_recovered() {
    let disk = SimDisk::new(5);
    let (log, _) = open(&disk).unwrap();
    log.create_partition(TP).unwrap();
    let mut next = 0;
    disk.set_capacity(Some(200 << 10));
    while let Ok(()) = log.append(TP, batch(next, 10)).unwrap().wait() {
        next += 10;
    }
    assert_eq!(log.append(TP, batch(next, 10)).unwrap().wait(), Err(AppendError::DiskFull));
    assert_eq!(read_values(&log, TP, 0), expected_values(0, next));
    disk.set_capacity(None);
    log.append(TP, batch(next, 10)).unwrap().wait().unwrap();
    assert_eq!(read_values(&log, TP, 0), expected_values(0, next + 10));
    disk.set_capacity(Some(0));
    drop(log);
    let (log, _) = open(&disk).unwrap();
    assert_eq!(read_values(&log, TP, 0), expected_values(0, next + 10), "a full disk opens");
}

#[test]
fn memory_is_bounded() {
    let (log, _) =
        open_with(SimDisk::new(6), Path::new("data"), LogOptions { memory_bytes_max: 20_000, ..small() })
            .unwrap();
    log.create_partition(TP).unwrap();
    let refused = (0..100).find_map(|n| log.append(TP, batch(n * 10, 10)).err());
    assert!(matches!(refused, Some(AppendError::Backpressure(_))), "{refused:?}");
    while log.step() {}
    log.step_segments(false).unwrap();
    log.append(TP, batch(0, 10)).unwrap().wait().unwrap();
}

#[test]
fn a_deleted_partition_is_gone_for_good() {
    let disk = SimDisk::new(7);
    let (log, _) = open(&disk).unwrap();
    log.create_partition(TP).unwrap();
    log.append(TP, batch(0, 10)).unwrap().wait().unwrap();
    log.step_segments(true).unwrap();
    log.delete_partition(TP).unwrap();
    assert!(matches!(log.bounds(TP), Err(ReadError::UnknownPartition(_))));
    drop(log);
    disk.crash();
    let (log, report) = open(&disk).unwrap();
    assert_eq!((report.partitions, log.partitions()), (0, vec![]));
    assert!(!disk.files().iter().any(|(path, _)| path.starts_with("data/segments")));
}

#[test]
fn a_partition_deleted_during_a_checkpoint_does_not_stop_recovery() {
    let disk = Hooked::new(SimDisk::new(7));
    let (log, _) = open_with(disk.clone(), Path::new("data"), small()).unwrap();
    log.create_partition(TP).unwrap();
    log.append(TP, batch(0, 10)).unwrap().wait().unwrap();
    let meanwhile = log.clone();
    disk.on_sync_files(move || {
        meanwhile.append(TP, batch(10, 10)).unwrap().wait().unwrap();
        meanwhile.delete_partition(TP).unwrap();
    });
    log.step_segments(true).unwrap();
    assert_eq!(log.partitions(), []);
    drop(log);
    disk.sim.crash();
    let (log, report) = open(&disk.sim).unwrap();
    assert_eq!((report.replayed_batches, log.partitions()), (1, vec![]));
    assert!(!disk.sim.files().iter().any(|(path, _)| path.starts_with("data/segments")));
}

#[test]
fn deleting_on_a_full_disk_makes_room() {
    for crashes in [false, true] {
        let disk = SimDisk::new(7);
        let (mut log, _) = open(&disk).unwrap();
        let other = TopicPartition { partition: 1, ..TP };
        log.create_partition(TP).unwrap();
        log.create_partition(other).unwrap();
        for n in 0..40 {
            log.append(TP, batch(n * 10, 10)).unwrap().wait().unwrap();
        }
        log.step_segments(true).unwrap();
        log.append(other, batch(0, 10)).unwrap().wait().unwrap();
        let used = disk.files().iter().map(|(_, len)| len).sum();
        disk.set_capacity(Some(used));
        log.delete_partition(TP).unwrap();
        assert!(log.step_segments(true).unwrap_err().is_disk_full());
        if crashes {
            drop(log);
            disk.crash();
            log = open(&disk).unwrap().0;
        }
        log.step_segments(true).unwrap();
        assert_eq!(log.partitions(), [other]);
        assert_eq!(read_values(&log, other, 0), expected_values(0, 10));
    }
}

#[test]
fn a_thread_that_panics_stops_the_log() {
    let disk = Hooked::new(SimDisk::new(7));
    let clock = Arc::new(ManualClock::at(0));
    let budget = MemoryBudget::unlimited();
    let (log, _) = Log::open(Arc::new(disk.clone()), clock, Path::new("data"), small(), &budget).unwrap();
    log.create_partition(TP).unwrap();
    disk.on_sync_files(|| panic!("as a bug would"));
    let stopped = (0..2_000).find_map(|n| match log.append(TP, batch(n * 10, 10)) {
        Err(AppendError::Backpressure(_)) => None,
        appended => appended.and_then(|ticket| ticket.wait()).err(),
    });
    assert!(matches!(stopped, Some(AppendError::Poisoned(_))), "{stopped:?}");
}

fn check_refusal(result: Result<(Log, RecoveryReport), LogError>, expected: Expect) {
    expected.assert_eq(&result.err().map(|e| e.to_string()).unwrap_or_default());
}

#[test]
fn a_directory_that_cannot_be_opened_is_refused_in_one_line() {
    let disk = SimDisk::new(8);
    let (log, _) = open(&disk).unwrap();
    check_refusal(open(&disk), expect!["data directory data is in use by another process"]);
    log.create_partition(TP).unwrap();
    log.close().unwrap();
    let meta = disk.open(Path::new("data/highwater.meta"), OpenMode::Read).unwrap().read_all().unwrap();
    let meta = String::from_utf8(meta).unwrap();
    let write = |text: &str| {
        let file = disk.open(Path::new("data/highwater.meta"), OpenMode::Create).unwrap();
        file.set_len(0).unwrap();
        file.write_all_at(text.as_bytes(), 0).unwrap();
    };
    write("highwater data directory\nversion 9\n");
    check_refusal(
        open(&disk),
        expect![
            "data/highwater.meta has format version 9, this program reads up to 1: use a newer highwater"
        ],
    );
    write("something else\n");
    check_refusal(
        open(&disk),
        expect![[
            r#"data/highwater.meta is not a highwater data directory: its first line is not "highwater data directory""#
        ]],
    );
    let file = disk.open(Path::new("data/log.checkpoint"), OpenMode::ReadWrite).unwrap();
    file.write_all_at(&9_u32.to_le_bytes(), 8).unwrap();
    write(&meta);
    check_refusal(
        open(&disk),
        expect![
            "data/log.checkpoint has format version 9, this program reads up to 2: use a newer highwater"
        ],
    );
    disk.remove_file(Path::new("data/highwater.meta")).unwrap();
    check_refusal(
        open(&disk),
        expect![
            "data is not a highwater data directory: highwater.meta is missing, but data/wal/000000.wal is there"
        ],
    );
}

#[test]
fn the_writer_thread_acknowledges_and_closes() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(highwater_env::SystemClock::new());
    let budget = MemoryBudget::unlimited();
    let open =
        || Log::open(Arc::new(RealDisk), Arc::clone(&clock) as _, dir.path(), small(), &budget).unwrap().0;
    let log = open();
    let tps: Vec<_> = (0..4).map(|partition| TopicPartition { partition, ..TP }).collect();
    std::thread::scope(|scope| {
        for tp in &tps {
            let log = log.clone();
            scope.spawn(move || {
                log.create_partition(*tp).unwrap();
                for n in 0..200 {
                    log.append(*tp, batch(n * 10, 10)).unwrap().wait().unwrap();
                }
            });
        }
    });
    let stats = log.stats();
    assert_eq!((stats.batches, stats.records), (800, 8000));
    assert!(stats.checkpoints > 0);
    drop(log);
    let log = open();
    for tp in &tps {
        assert_eq!(read_values(&log, *tp, 0), expected_values(0, 2_000));
    }
    log.close().unwrap();
}

/// The directory under `tests/golden/v1` was written by version 1; every later version reads it.
/// `HIGHWATER_WRITE_GOLDEN=1` writes it anew, which only a new format version may do.
#[test]
fn the_golden_directory_opens() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let options = || LogOptions { wal_file_bytes: 96 << 10, wal_zero_bytes: 4 << 10, ..small() };
    if std::env::var_os("HIGHWATER_WRITE_GOLDEN").is_some() {
        let (log, _) = open_with(RealDisk, &golden, options()).unwrap();
        log.create_partition(TP).unwrap();
        log.append(TP, batch(0, 10)).unwrap().wait().unwrap();
        log.append(TP, produced(9, 3, 0)).unwrap().wait().unwrap();
        log.step_segments(true).unwrap();
        log.append(TP, batch(12, 10)).unwrap().wait().unwrap();
        log.step();
        return;
    }
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&golden, copy.path());
    let (log, report) = open_with(RealDisk, copy.path(), options()).unwrap();
    assert_eq!((report.partitions, report.replayed_batches), (1, 1));
    assert_eq!(log.cluster_id(), "golden-cluster-id-0001");
    assert_eq!(log.last_sequence(TP, 9), Some(1));
    assert_eq!(read_values(&log, TP, 12), expected_values(12, 22));
    assert_eq!(log.bounds(TP).unwrap().high_watermark, 22);
    assert_eq!(log.read(TP, 0, 1).unwrap().batches[0].records(1 << 20).unwrap().len(), 10);
}

fn copy_dir(from: &Path, to: &Path) {
    RealDisk.create_dir_all(to).unwrap();
    for entry in RealDisk.list(from).unwrap() {
        let (from, to): (PathBuf, PathBuf) = (from.join(&entry.name), to.join(&entry.name));
        if entry.is_dir {
            copy_dir(&from, &to);
        } else {
            let bytes = RealDisk.open(&from, OpenMode::Read).unwrap().read_all().unwrap();
            RealDisk.open(&to, OpenMode::Create).unwrap().write_all_at(&bytes, 0).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Recovery meets arbitrary bytes in place of any of its files.
    #[test]
    fn any_file_contents_are_refused_calmly(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        junk in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        let disk = SimDisk::new(9);
        let (log, _) = open(&disk).unwrap();
        log.create_partition(TP).unwrap();
        for n in 0..20 {
            log.append(TP, batch(n * 10, 10)).unwrap().wait().unwrap();
        }
        log.step_segments(true).unwrap();
        log.append(TP, batch(200, 10)).unwrap().wait().unwrap();
        log.step();
        drop(log);
        let files = disk.files();
        let (path, len) = which.get(&files);
        let pos = at.index(usize::try_from(*len).unwrap() + 1) as u64;
        disk.open(path, OpenMode::ReadWrite).unwrap().write_all_at(&junk, pos).unwrap();
        if let Ok((log, _)) = open(&disk) {
            let mut next = 0;
            while let Ok(range) = log.read(TP, next, 5_000) {
                if range.batches.is_empty() {
                    prop_assert!(next >= 200, "acknowledged records were cut at {}", next);
                    break;
                }
                next = range.next_offset(next);
            }
        }
    }
}
