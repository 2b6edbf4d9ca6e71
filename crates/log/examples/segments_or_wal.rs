//! The measurement behind `docs/decisions/2026-11-20-write-ahead-log.md`: durable appends when
//! - `segments`: every partition has a preallocated file of its own, synced in parallel;
//! - `wal`: all partitions share one preallocated file, synced by one thread;
//! - `log`: this crate's log, which writes segments behind its write-ahead log.
//!
//! The first two are bare files, without recovery, rolling or a second write; the third is all.
//! `cargo run -p highwater-log --example segments_or_wal -- [DIR] [SECONDS] [BATCH_BYTES]`
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::collections::VecDeque;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use highwater_env::{
    Clock, Disk, DiskFile, MemoryBudget, OpenMode, RealDisk, SystemClock, TopicId, TopicPartition,
};
use highwater_log::{BatchBuilder, Log, LogBatch, LogOptions};

const PRODUCERS: usize = 64;
const RECORD_BYTES: usize = 512;
/// Threads that sync segments; more did not help.
const SYNC_THREADS: usize = 16;
/// Preallocated bytes over all segments; each is overwritten from its start when full, which
/// favours segments: a real one would have to be allocated and rolled.
const SEGMENTS_BYTES: u64 = 512 << 20;
/// Bytes written to the log before it is measured.
const WARM_UP_BYTES: usize = 320 << 20;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from).join("highwater-segments-or-wal");
    let seconds: u64 = args.next().map_or(Ok(3), |seconds| seconds.parse())?;
    let batch_bytes: usize = args.next().map_or(Ok(16 << 10), |bytes| bytes.parse())?;
    RealDisk.remove_dir_all(&dir)?;
    RealDisk.create_dir_all(&dir)?;
    let (p50, p99) = sync_alone(&dir)?;
    println!("fdatasync of one overwritten 4 KiB page: p50 {p50} us, p99 {p99} us");
    println!("{PRODUCERS} producers in closed loop, batches of {batch_bytes} bytes, {seconds} s each");
    println!(
        "{:>10} {:>10} {:>10} {:>9} {:>9} {:>9}",
        "layout", "partitions", "batches/s", "MB/s", "p50 ms", "p99 ms"
    );
    for partitions in [1, 16, 256] {
        let load = Load { partitions, seconds, batch: batch(batch_bytes) };
        load.print("segments", segments(&dir, &load, partitions)?);
        load.print("wal", segments(&dir, &load, 1)?);
        load.print("log", log(&dir, &load)?);
    }
    RealDisk.remove_dir_all(&dir)?;
    Ok(())
}

/// Median and 99th percentile of fdatasync with nothing else going on, µs.
fn sync_alone(dir: &Path) -> Result<(u128, u128), Failure> {
    let clock = SystemClock::new();
    let file = RealDisk.open(&dir.join("alone"), OpenMode::Create)?;
    file.write_all_at(&vec![0; 4 << 20], 0)?;
    file.sync_data()?;
    let mut took = Vec::new();
    for round in 0..500_u64 {
        file.write_all_at(&[1; 4096], (round * 4096) % (4 << 20))?;
        let started = clock.monotonic();
        file.sync_data()?;
        took.push((clock.monotonic() - started).as_micros());
    }
    took.sort_unstable();
    Ok((took[took.len() / 2], took[took.len() * 99 / 100]))
}

struct Load {
    partitions: usize,
    seconds: u64,
    batch: LogBatch,
}

/// Acknowledgement latencies of one run, ns.
type Latencies = Vec<u64>;

impl Load {
    fn print(&self, layout: &str, mut latencies: Latencies) {
        latencies.sort_unstable();
        let batches = latencies.len();
        let percentile = |p: usize| latencies.get(batches * p / 100).map_or(0.0, |ns| *ns as f64 / 1e6);
        let per_second = batches as f64 / self.seconds as f64;
        let megabytes = per_second * self.batch.bytes().len() as f64 / 1e6;
        println!(
            "{layout:>10} {:>10} {per_second:>10.0} {megabytes:>9.1} {:>9.2} {:>9.2}",
            self.partitions,
            percentile(50),
            percentile(99)
        );
    }

    /// Runs the producers: each appends, waits, appends again; producer `i` begins at partition
    /// `i` and goes round.
    fn produce(
        &self,
        append: impl Fn(usize, LogBatch) -> Result<(), Failure> + Sync,
    ) -> Result<Latencies, Failure> {
        let clock = SystemClock::new();
        let until = clock.monotonic() + Duration::from_secs(self.seconds);
        let one = |producer: usize| -> Result<Latencies, Failure> {
            let mut took = Vec::new();
            let mut turn = producer;
            while clock.monotonic() < until {
                let started = clock.monotonic();
                append(turn % self.partitions, self.batch.clone())?;
                took.push(u64::try_from((clock.monotonic() - started).as_nanos())?);
                turn += PRODUCERS + 1;
            }
            Ok(took)
        };
        thread::scope(|scope| {
            let one = &one;
            let producers: Vec<_> = (0..PRODUCERS).map(|i| scope.spawn(move || one(i))).collect();
            let mut all = Vec::new();
            for producer in producers {
                all.extend(producer.join().map_err(|_| "a producer panicked")??);
            }
            Ok(all)
        })
    }
}

fn batch(bytes: usize) -> LogBatch {
    let value = Bytes::from(vec![b'x'; RECORD_BYTES.min(bytes / 2)]);
    let mut batch = BatchBuilder::new(0);
    while batch.is_empty() || batch.bytes() + value.len() < bytes {
        batch.push(0, None, Some(&value), &[]);
    }
    batch.finish()
}

fn log(dir: &Path, load: &Load) -> Result<Latencies, Failure> {
    let dir = dir.join("log");
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
    let (log, _) = Log::open(disk, clock, &dir, LogOptions::default(), &MemoryBudget::unlimited())?;
    let tp = |i: usize| TopicPartition { topic: TopicId(i as u128 + 1), partition: 0 };
    let tps: Vec<_> = (0..load.partitions).map(tp).collect();
    for tp in &tps {
        log.create_partition(*tp)?;
    }
    // Until all its files are recycled ones, as those of the others are preallocated.
    let filler = batch(256 << 10);
    for n in 0..WARM_UP_BYTES / filler.bytes().len() {
        log.append(tps[n % tps.len()], filler.clone())?.wait()?;
    }
    let before = log.stats();
    let latencies = load.produce(|partition, batch| Ok(log.append(tps[partition], batch)?.wait()?))?;
    let mut stats = log.stats();
    stats.groups -= before.groups;
    stats.checkpoints -= before.checkpoints;
    let mean_us = (stats.sync_ns - before.sync_ns) / 1000 / stats.groups.max(1);
    println!("# log: {} groups, mean sync {mean_us} us, {} checkpoints", stats.groups, stats.checkpoints);
    log.close()?;
    RealDisk.remove_dir_all(&dir)?;
    Ok(latencies)
}

/// One preallocated file per partition. A batch waits until its partition's next sync is done;
/// meanwhile others gather behind it: group commit per partition.
struct Segments {
    queue: Mutex<VecDeque<usize>>,
    wanted: Condvar,
    ended: AtomicBool,
    partitions: Vec<SegmentFile>,
}

struct SegmentFile {
    file: Arc<dyn DiskFile>,
    bytes: u64,
    state: Mutex<Pending>,
    synced: Condvar,
}

#[derive(Default)]
struct Pending {
    waiting: Vec<LogBatch>,
    /// Batches handed over, and batches durable.
    taken: u64,
    durable: u64,
    pos: u64,
    queued: bool,
}

/// The load on so many preallocated files: one per partition, or one for all.
fn segments(dir: &Path, load: &Load, files: usize) -> Result<Latencies, Failure> {
    let dir = dir.join("segments");
    RealDisk.create_dir_all(&dir)?;
    let bytes = SEGMENTS_BYTES / files as u64;
    let mut partitions = Vec::new();
    for partition in 0..files {
        let file = RealDisk.open(&dir.join(format!("{partition}.log")), OpenMode::Create)?;
        let zeros = vec![0; 1 << 20];
        for pos in (0..bytes).step_by(zeros.len()) {
            file.write_all_at(&zeros, pos)?;
        }
        file.sync_data()?;
        partitions.push(SegmentFile { file, bytes, state: Mutex::default(), synced: Condvar::new() });
    }
    let segments = Segments {
        queue: Mutex::default(),
        wanted: Condvar::new(),
        ended: AtomicBool::new(false),
        partitions,
    };
    let measured = thread::scope(|scope| {
        for _ in 0..SYNC_THREADS.min(files) {
            scope.spawn(|| segments.sync_in_turn());
        }
        let measured = load.produce(|partition, batch| {
            segments.append(partition % files, batch);
            Ok(())
        });
        segments.ended.store(true, Ordering::SeqCst);
        segments.wanted.notify_all();
        measured
    })?;
    RealDisk.remove_dir_all(&dir)?;
    Ok(measured)
}

impl Segments {
    fn append(&self, partition: usize, batch: LogBatch) {
        let file = &self.partitions[partition];
        let mut state = file.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.push(batch);
        state.taken += 1;
        let mine = state.taken;
        if !std::mem::replace(&mut state.queued, true) {
            drop(state);
            self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(partition);
            self.wanted.notify_one();
            state = file.state.lock().unwrap_or_else(PoisonError::into_inner);
        }
        let durable = file.synced.wait_while(state, |state| state.durable < mine);
        drop(durable);
    }

    fn sync_in_turn(&self) {
        loop {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            while queue.is_empty() && !self.ended.load(Ordering::SeqCst) {
                let waited = self.wanted.wait_timeout(queue, Duration::from_millis(50));
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let Some(partition) = queue.pop_front() else { return };
            drop(queue);
            let file = &self.partitions[partition];
            let mut state = file.state.lock().unwrap_or_else(PoisonError::into_inner);
            let batches = std::mem::take(&mut state.waiting);
            let bytes: u64 = batches.iter().map(|batch| batch.bytes().len() as u64).sum();
            if state.pos + bytes > file.bytes {
                state.pos = 0;
            }
            let (pos, upto) = (state.pos, state.taken);
            state.pos += bytes;
            drop(state);
            let parts: Vec<&[u8]> = batches.iter().map(|batch| &batch.bytes()[..]).collect();
            let written = file.file.write_all_parts_at(&parts, pos).and_then(|()| file.file.sync_data());
            written.expect("the disk of a measurement works");
            let mut state = file.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.durable = upto;
            state.queued = !state.waiting.is_empty();
            let again = state.queued;
            drop(state);
            file.synced.notify_all();
            if again {
                self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(partition);
            }
        }
    }
}
