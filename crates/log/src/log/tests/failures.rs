//! Disks that are full and syncs that fail, with several producers in one group.

use std::path::Path;

use highwater_env::{DiskFault, SimDisk, TopicPartition};

use super::{TP, batch, expected_values, open, open_with, produced, read_values, small};
use crate::log::Log;
use crate::{AppendError, BatchBuilder, LogBatch, LogOptions, PartitionOptions, Ticket};

const PARTITIONS: i32 = 2;

fn partition(index: i32) -> TopicPartition {
    TopicPartition { partition: index, ..TP }
}

/// An idempotent producer with one batch of one record at a time; it sends again what was refused.
struct Producer {
    id: i64,
    partition: TopicPartition,
    /// Sequence of the batch under way, or of the next one: all before are acknowledged.
    sequence: i32,
    sent: Option<Ticket>,
}

impl Producer {
    /// Three in each partition.
    fn all() -> Vec<Self> {
        let new = |id: i32| {
            let partition = partition(id % PARTITIONS);
            Self { id: i64::from(id), partition, sequence: 0, sent: None }
        };
        (0..3 * PARTITIONS).map(new).collect()
    }

    fn batch(&self) -> LogBatch {
        let mut batch = BatchBuilder::new(0).with_producer(self.id, 0, self.sequence);
        let value = format!("{} {} {}", self.id, self.sequence, "x".repeat(700));
        batch.push(0, None, Some(value.as_bytes()), &[]);
        batch.finish()
    }

    fn send(&mut self, log: &Log) -> Result<(), AppendError> {
        self.sent = Some(log.append(self.partition, self.batch())?);
        Ok(())
    }

    /// Learns what became of the batch.
    fn receive(&mut self) -> Result<(), AppendError> {
        let Some(sent) = self.sent.take() else { return Ok(()) };
        sent.poll_now().expect("the group was written or given up")?;
        self.sequence += 1;
        Ok(())
    }
}

/// One batch of each producer in one group; the refusals.
fn round(log: &Log, producers: &mut [Producer]) -> Vec<AppendError> {
    producers.iter_mut().for_each(|producer| producer.send(log).unwrap());
    assert!(log.step());
    assert!(!log.step(), "they share a group");
    producers.iter_mut().filter_map(|producer| producer.receive().err()).collect()
}

/// Every record of every producer is there once, in its order, up to the acknowledged one at least.
fn check(log: &Log, producers: &[Producer]) {
    let mut found: Vec<(i64, i32)> = Vec::new();
    for index in 0..PARTITIONS {
        let mut next = 0;
        loop {
            let range = log.read(partition(index), next, 1 << 20).unwrap();
            if range.batches.is_empty() {
                break;
            }
            for record in range.batches.iter().flat_map(|batch| batch.records(1 << 20).unwrap()) {
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                let mut words = value.split(' ');
                found.push((words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap()));
            }
            next = range.next_offset(next);
        }
    }
    for Producer { id, sequence, .. } in producers {
        let of_producer: Vec<i32> = found.iter().filter(|(of, _)| of == id).map(|(_, n)| *n).collect();
        let there = i32::try_from(of_producer.len()).unwrap();
        assert_eq!(of_producer, (0..there).collect::<Vec<_>>(), "producer {id}");
        assert!(there >= *sequence, "producer {id}: {there} there, {sequence} acknowledged");
    }
}

fn with_partitions(disk: &SimDisk) -> Log {
    let (log, _) = open(disk).unwrap();
    (0..PARTITIONS).for_each(|index| log.create_partition(partition(index)).unwrap());
    log
}

/// The space runs out at every point of the log's growth: in a write-ahead file, in a segment, in a
/// checkpoint.
#[test]
fn a_disk_that_fills_up_under_a_group_takes_it_back_as_a_whole() {
    let mut refusals = 0;
    for room in (0..400_u64).map(|n| n * 1_021) {
        let disk = SimDisk::new(room);
        let log = with_partitions(&disk);
        let mut producers = Producer::all();
        assert_eq!(round(&log, &mut producers), []);
        let used: u64 = disk.files().iter().map(|(_, len)| len).sum();
        disk.set_capacity(Some(used + room));
        for n in 0..100 {
            let refused = round(&log, &mut producers);
            if n % 7 == 0 {
                let _ = log.step_segments(n % 2 == 0);
            }
            if !refused.is_empty() {
                assert_eq!(refused, vec![AppendError::DiskFull; producers.len()], "room {room}");
                refusals += 1;
                break;
            }
        }
        check(&log, &producers);
        // Half of them learn of the space by trying, the others by a crash.
        disk.set_capacity(None);
        let log = if room % 2 == 0 { log } else { crashed(&disk, log) };
        check(&log, &producers);
        for _ in 0..3 {
            assert_eq!(round(&log, &mut producers), [], "room {room}");
        }
        check(&crashed(&disk, log), &producers);
    }
    assert!(refusals > 300, "the disk was full only {refusals} times");
}

fn crashed(disk: &SimDisk, log: Log) -> Log {
    drop(log);
    disk.crash();
    open(disk).unwrap().0
}

/// The n-th sync fails, be it of the write-ahead log or of segments.
#[test]
fn a_failed_sync_acknowledges_nobody_and_what_is_sent_again_is_there_once() {
    let mut failures = 0;
    for (syncs, crashes) in (0..40).flat_map(|syncs| [(syncs, false), (syncs, true)]) {
        let disk = SimDisk::new(syncs);
        let log = with_partitions(&disk);
        let mut producers = Producer::all();
        disk.inject(DiskFault::SyncFails, syncs);
        for n in 0..30 {
            let refused = round(&log, &mut producers);
            let segments = if n % 5 == 4 { log.step_segments(true) } else { Ok(()) };
            failures += u32::from(!refused.is_empty() || segments.is_err());
            if log.stats().poisoned.is_some() {
                let poisoned = |e: &AppendError| matches!(e, AppendError::Poisoned(_));
                assert!(refused.iter().all(poisoned), "{refused:?}");
                assert!(refused.is_empty() || refused.len() == producers.len(), "{refused:?}");
                assert!(poisoned(&producers[0].send(&log).unwrap_err()));
                break;
            }
            assert_eq!(refused, []);
        }
        check(&log, &producers);
        // Without a crash the bytes that were not synced can be read all the same.
        let log = match crashes {
            true => crashed(&disk, log),
            false => {
                drop(log);
                open(&disk).unwrap().0
            }
        };
        check(&log, &producers);
        for _ in 0..3 {
            // What had survived is recognised: no group forms for it.
            producers.iter_mut().for_each(|producer| producer.send(&log).unwrap());
            log.step();
            producers.iter_mut().for_each(|producer| producer.receive().unwrap());
        }
        check(&crashed(&disk, log), &producers);
    }
    assert_eq!(failures, 80);
}

/// A second sync may succeed without what the first has lost (fsyncgate).
#[test]
fn no_checkpoint_follows_a_failed_sync_of_segments() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let (log, _) = open(&disk).unwrap();
        log.create_partition(TP).unwrap();
        for n in 0..20 {
            log.append(TP, batch(n * 10, 10)).unwrap().wait().unwrap();
        }
        disk.inject(DiskFault::SyncFails, 0);
        for _ in 0..2 {
            log.step_segments(true).unwrap_err();
        }
        let log = crashed(&disk, log);
        assert_eq!(read_values(&log, TP, 0), expected_values(0, 200), "seed {seed}");
    }
}

#[test]
fn a_batch_that_is_durable_is_acknowledged_again_after_many_refusals() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    log.create_partition(TP).unwrap();
    // Each time with durable groups before and behind.
    let refuse = || {
        disk.set_capacity(Some(0));
        while log.append(TP, batch(0, 10)).unwrap().wait() != Err(AppendError::DiskFull) {}
        disk.set_capacity(None);
        log.append(TP, batch(0, 10)).unwrap().wait().unwrap();
    };
    refuse();
    log.append(TP, produced(9, 0, 0)).unwrap().wait().unwrap();
    (0..1_100).for_each(|_| refuse());
    log.append(TP, produced(9, 0, 0)).unwrap().wait().unwrap();
    log.create_partition(TP).unwrap();
}

/// Recovery reads the checkpoint and the write-ahead log, however much is in segments.
#[test]
fn recovery_reads_no_data() {
    let read_by_recovery = |batches: u32| {
        let disk = SimDisk::new(1);
        let open = || {
            let options = LogOptions { segment_bytes_max: 1 << 20, ..small() };
            open_with(disk.clone(), Path::new("data"), options).unwrap()
        };
        let (log, _) = open();
        log.create_partition(TP).unwrap();
        for n in 0..batches {
            log.append(TP, batch(n * 10, 10)).unwrap().wait().unwrap();
            if n % 20 == 0 {
                log.step_segments(true).unwrap();
            }
        }
        log.step_segments(true).unwrap();
        // They do not fit into what is left of the last segment.
        for n in 0..35 {
            log.append(TP, batch(batches * 10 + n * 20, 20)).unwrap().wait().unwrap();
        }
        drop(log);
        disk.crash();
        let before = disk.calls().read_bytes;
        let (log, report) = open();
        let read = disk.calls().read_bytes - before;
        assert_eq!(report.replayed_batches, 35);
        let stored = log.partition_bytes(TP).unwrap();
        assert_eq!(read_values(&log, TP, 0), expected_values(0, batches * 10 + 35 * 20));
        (read, stored)
    };
    // A segment holds 935 batches.
    let (read, stored) = read_by_recovery(920);
    let (read_of_more, more_stored) = read_by_recovery(3 * 935 + 920);
    assert!(stored > 1 << 20 && more_stored > 3 * stored, "{more_stored} bytes, {stored}");
    // All write-ahead files; a segment takes 28 bytes of the checkpoint.
    let most = 3 * (128 << 10) + (4 << 10);
    assert!(read_of_more < most && read < most, "{read_of_more} bytes were read, {read} of less data");
}

/// A full disk is not full for good: the log cannot grow, but it can still delete.
#[test]
fn deletions_go_on_while_the_disk_is_full_and_make_room() {
    let other = partition(1);
    for (seed, deletes, crashes) in (0..20).map(|seed| (seed, seed % 2 == 0, seed % 4 < 2)) {
        let disk = SimDisk::new(seed);
        let mut log = with_partitions(&disk);
        // A crash keeps some of their names and loses others.
        let small_segments = PartitionOptions { segment_bytes_max: 8 << 10, ..PartitionOptions::default() };
        log.configure(TP, small_segments).unwrap();
        (0..100).for_each(|n| log.append(TP, batch(n * 10, 10)).unwrap().wait().unwrap());
        log.step_segments(true).unwrap();
        log.append(TP, batch(1_000, 10)).unwrap().wait().unwrap();
        disk.set_capacity(Some(disk.files().iter().map(|(_, len)| len).sum()));
        let mut next = 0;
        while log.append(other, batch(next, 1)).unwrap().wait().is_ok() {
            next += 1;
        }
        let before = log.append(other, batch(next, 1)).unwrap();
        let trimmed = (!deletes).then(|| log.trim(TP, 1_000).unwrap());
        let behind = log.append(other, batch(next, 1)).unwrap();
        while log.step() {}
        let refused = [before, behind].map(|ticket| ticket.poll_now().unwrap().unwrap_err());
        assert_eq!(refused, [AppendError::DiskFull, AppendError::DiskFull]);
        match trimmed {
            Some(trimmed) => trimmed.wait().unwrap(),
            None => log.delete_partition(TP).unwrap(),
        }
        assert!(log.step_segments(true).unwrap_err().is_disk_full());
        if crashes {
            log = crashed(&disk, log);
        }
        log.step_segments(true).unwrap();
        log.append(other, batch(next, 1)).unwrap().wait().unwrap();
        log.step_segments(true).unwrap();
        let log = crashed(&disk, log);
        assert_eq!(read_values(&log, other, 0), expected_values(0, next + 1), "seed {seed}");
        if !deletes {
            assert_eq!(log.bounds(TP).unwrap().log_start_offset, 1_000);
            assert_eq!(read_values(&log, TP, 1_000), expected_values(1_000, 1_010), "seed {seed}");
        }
    }
}

/// An index that was stored is continued, not made again, when its segment has grown.
#[test]
fn appending_and_closing_read_no_data_that_is_indexed() {
    let disk = SimDisk::new(1);
    let open = || {
        let options = LogOptions { segment_bytes_max: 1 << 20, ..small() };
        open_with(disk.clone(), Path::new("data"), options).unwrap().0
    };
    let log = open();
    log.create_partition(TP).unwrap();
    (0..800).for_each(|n| log.append(TP, batch(n * 10, 10)).unwrap().wait().unwrap());
    log.close().unwrap();
    let log = open();
    let before = disk.calls().read_bytes;
    for n in 800..900 {
        log.append(TP, batch(n * 10, 10)).unwrap().wait().unwrap();
        log.step_segments(true).unwrap();
    }
    log.close().unwrap();
    let read = disk.calls().read_bytes - before;
    assert!(read < 256 << 10, "{read} bytes were read");
    let log = open();
    for n in (0..9_000).step_by(97) {
        assert_eq!(log.offset_for_time(TP, 1_000 + n).unwrap(), Some((n, 1_000 + n)));
    }
    let before = disk.calls().reads;
    assert_eq!(log.read(TP, 8_500, 1).unwrap().batches[0].base_offset(), 8_500);
    let reads = disk.calls().reads - before;
    assert!(reads < 20, "{reads} reads");
}
