//! The log on a disk that forgets: random appends, transactions, trims, retention and compaction, a
//! power cut at a random call, recovery, and a model that knows what was acknowledged.
//! `HIGHWATER_CRASH_SEEDS=<n>` runs more seeds, `HIGHWATER_CRASH_SEED=<seed>` begins with that one.

mod model;
mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use highwater_env::{
    Clock, DiskFault, Entropy, ManualClock, MemoryBudget, Offset, SeededEntropy, SimDisk, TopicId,
    TopicPartition,
};
use highwater_log::{
    AppendError, BatchBuilder, Log, LogBatch, LogError, LogOptions, Marker, MarkerKind, PartitionOptions,
};
use model::Expected;

const DIR: &str = "data";
/// 0 and 1 keep everything, 2 has a retention, 3 is compacted.
const PARTITIONS: u64 = 4;
/// Idempotent producers, 0 and 1.
const PRODUCERS: u64 = 2;
/// Transactional producers. The second one's epoch rises with each transaction (KIP-890).
const TRANSACTIONAL: [i64; 2] = [10, 11];
const KEYS: u64 = 5;
const RETENTION_BYTES: u64 = 6 << 10;
pub(crate) const TOMBSTONE_MS: i64 = 60_000;

fn options(seed: u64) -> LogOptions {
    LogOptions {
        batch_bytes_max: 8 << 10,
        group_bytes_max: 8 << 10,
        wal_file_bytes: 48 << 10,
        wal_zero_bytes: 16 << 10,
        wal_files_max: 3,
        segment_bytes_max: 12 << 10,
        materialise_bytes: 8 << 10,
        memory_bytes_max: 1 << 20,
        tail_cache_bytes: 4 << 10,
        // Two keys or all of them.
        compaction_keys_bytes_max: if seed.is_multiple_of(2) { 100 } else { 1 << 20 },
        tidy_interval: Duration::from_secs(5),
        cluster_id: None,
        entropy: Arc::new(SeededEntropy::new(seed)),
    }
}

fn partition_options(index: u64) -> PartitionOptions {
    let defaults = PartitionOptions::default();
    match index {
        2 => PartitionOptions {
            segment_bytes_max: 2 << 10,
            delete: true,
            retention_bytes: Some(RETENTION_BYTES),
            ..defaults
        },
        3 => PartitionOptions {
            segment_bytes_max: 1 << 10,
            compact: true,
            delete_retention_ms: TOMBSTONE_MS,
            max_compaction_lag_ms: 20_000,
            min_dirty_per_mille: 100,
            ..defaults
        },
        _ => defaults,
    }
}

fn tp(index: u64) -> TopicPartition {
    TopicPartition { topic: TopicId(u128::from(index) + 1), partition: 0 }
}

struct Run {
    seed: u64,
    entropy: SeededEntropy,
    disk: SimDisk,
    clock: Arc<ManualClock>,
    partitions: BTreeMap<u64, Expected>,
    values: u64,
    groups: u64,
}

impl Run {
    fn new(seed: u64, ignore_syncs: bool) -> Self {
        let disk = SimDisk::new(seed ^ 0x5eed);
        disk.ignore_syncs(ignore_syncs);
        let (entropy, clock) = (SeededEntropy::new(seed), Arc::new(ManualClock::at(0)));
        Self { seed, entropy, disk, clock, partitions: BTreeMap::new(), values: 0, groups: 0 }
    }

    fn chance(&self, of_100: u64) -> bool {
        self.entropy.below(100) < of_100
    }

    fn open(&self) -> Result<Log, LogError> {
        let disk = Arc::new(self.disk.clone());
        let clock: Arc<ManualClock> = Arc::clone(&self.clock);
        let budget = MemoryBudget::unlimited();
        let (log, _) = Log::open_stepped(disk, clock, Path::new(DIR), options(self.seed), &budget)?;
        // Settings are not the log's to remember.
        for index in self.partitions.keys() {
            log.configure(tp(*index), partition_options(*index))?;
        }
        Ok(log)
    }

    fn run(&mut self) -> Result<(), String> {
        let rounds = 2 + self.entropy.below(4);
        for round in 0..rounds {
            self.round().map_err(|e| format!("round {round}: {e}"))?;
        }
        let log = self.open().map_err(|e| format!("last open: {e}"))?;
        self.verify(&log)
    }

    /// Open, work until something happens, recover.
    fn round(&mut self) -> Result<(), String> {
        if self.chance(15) {
            // The power may also go during recovery, which must be repeatable.
            self.disk.inject(DiskFault::PowerOff, self.entropy.below(12));
            drop(self.open());
            self.disk.crash();
        }
        let log = self.open().map_err(|e| format!("open: {e}"))?;
        self.verify(&log)?;
        match self.entropy.below(10) {
            0 => self.disk.inject(DiskFault::SyncFails, self.entropy.below(20)),
            1 => self.disk.inject(DiskFault::WriteFails, self.entropy.below(60)),
            2 => {}
            _ => self.disk.inject(DiskFault::PowerOff, self.entropy.below(150)),
        }
        if self.chance(10) {
            let used: u64 = self.disk.files().iter().map(|(_, len)| len).sum();
            self.disk.set_capacity(Some(used + self.entropy.below(32 << 10)));
        }
        for _ in 0..self.entropy.below(120) {
            if !self.act(&log)? {
                break;
            }
        }
        self.disk.set_capacity(None);
        self.disk.clear_faults();
        match self.entropy.below(6) {
            0 => {
                // A clean end; what was accepted is durable if it says so.
                if log.close().is_ok() {
                    self.collect()?;
                }
            }
            1 => drop(log),
            _ => {
                drop(log);
                self.disk.crash();
            }
        }
        if power_is_off(&self.disk) {
            self.disk.crash();
        }
        Ok(())
    }

    /// One random action; false once the log has stopped.
    fn act(&mut self, log: &Log) -> Result<bool, String> {
        let index = self.entropy.below(PARTITIONS);
        self.clock.advance_ms(self.entropy.below(2_000).cast_signed());
        match self.entropy.below(100) {
            0..65 => self.write(log, index)?,
            65..83 => drop(log.step()),
            83..87 => drop(log.step_segments(false)),
            87..90 => drop(log.step_segments(true)),
            90..93 => drop(log.step_housekeeping()),
            93..95 => self.trim(log, index)?,
            _ => self.read_some(log, index)?,
        }
        self.collect()?;
        Ok(log.stats().poisoned.is_none())
    }

    fn write(&mut self, log: &Log, index: u64) -> Result<(), String> {
        if !self.partitions.contains_key(&index) {
            return self.create(log, index);
        }
        match self.entropy.below(10) {
            0..6 => self.append(log, index),
            6..8 => self.append_transactional(log, index),
            8 => self.append_together(log),
            _ => self.end_transaction(log),
        }
    }

    fn create(&mut self, log: &Log, index: u64) -> Result<(), String> {
        if log.create_partition(tp(index)).is_ok() {
            log.configure(tp(index), partition_options(index)).map_err(|e| e.to_string())?;
            let (retention, compacted) = (index == 2, index == 3);
            self.partitions.insert(index, Expected { retention, compacted, ..Expected::default() });
        }
        Ok(())
    }

    fn expected(&mut self, index: u64) -> Result<&mut Expected, String> {
        self.partitions.get_mut(&index).ok_or_else(|| "the partition vanished".to_owned())
    }

    fn append(&mut self, log: &Log, index: u64) -> Result<(), String> {
        let producer = i64::try_from(self.entropy.below(PRODUCERS + 1)).unwrap_or(0) - 1;
        if self.chance(10) && self.repeat(log, index)? {
            return Ok(());
        }
        let batch = self.batch(index, producer, Numbered::Yes);
        self.submit(log, vec![(index, batch)])
    }

    /// Sends a producer's last batch again; whether there was one.
    fn repeat(&mut self, log: &Log, index: u64) -> Result<bool, String> {
        let expected = self.expected(index)?;
        let is_numbered = |batch: &&LogBatch| (0..10).contains(&batch.producer_id());
        let Some(known) = expected.durable.iter().rev().take(3).find(is_numbered) else { return Ok(false) };
        let of_producer = |batch: &LogBatch| batch.producer_id() == known.producer_id();
        let is_last = !expected.pending.iter().any(|pending| of_producer(&pending.batch))
            && expected.durable.iter().rfind(|batch| of_producer(batch)) == Some(known);
        if !is_last {
            return Ok(false);
        }
        match log.append(tp(index), known.clone()) {
            Ok(ticket) if ticket.base_offset == known.base_offset() => Ok(true),
            Ok(ticket) => Err(format!("{known:?} repeated was given offset {}", ticket.base_offset)),
            Err(AppendError::Poisoned(_)) => Ok(true),
            Err(e) => Err(format!("{known:?} repeated: {e}")),
        }
    }

    fn append_transactional(&mut self, log: &Log, index: u64) -> Result<(), String> {
        let producer = TRANSACTIONAL[usize::from(self.chance(50))];
        if self.chance(20) {
            // As a coordinator does: offsets in the producer's name, without a number, all or nothing.
            let (here, there) = (index, self.other(index));
            let batches = [here, there].map(|index| (index, self.batch(index, producer, Numbered::No)));
            return self.submit(log, batches.into_iter().take(if here == there { 1 } else { 2 }).collect());
        }
        let batch = self.batch(index, producer, Numbered::Yes);
        self.submit(log, vec![(index, batch)])
    }

    /// Another partition that is there, or the same.
    fn other(&self, index: u64) -> u64 {
        let other = self.entropy.below(PARTITIONS);
        if self.partitions.contains_key(&other) { other } else { index }
    }

    /// Batches of nobody in particular to several partitions, all or nothing.
    fn append_together(&mut self, log: &Log) -> Result<(), String> {
        let indexes: Vec<u64> = self.partitions.keys().copied().filter(|_| self.chance(70)).collect();
        let batches = indexes.into_iter().map(|index| (index, self.batch(index, -1, Numbered::No))).collect();
        self.submit(log, batches)
    }

    /// Markers to every partition of a transaction, all or nothing.
    fn end_transaction(&mut self, log: &Log) -> Result<(), String> {
        let producer_id = TRANSACTIONAL[usize::from(self.chance(50))];
        let kind = if self.chance(60) { MarkerKind::Commit } else { MarkerKind::Abort };
        let mut markers = Vec::new();
        let epochs = self.partitions.values().filter_map(|e| e.producers.get(&producer_id));
        let epoch = epochs.map(|producer| producer.epoch).max().unwrap_or(0);
        let producer_epoch = if producer_id == TRANSACTIONAL[1] { epoch + 1 } else { epoch };
        for (index, expected) in &self.partitions {
            if expected.producers.get(&producer_id).is_some_and(|producer| producer.open_since.is_some()) {
                let marker = Marker { kind, producer_id, producer_epoch, coordinator_epoch: 0 };
                markers.push((*index, marker.batch(self.clock.unix_ms())));
            }
        }
        self.submit(log, markers)
    }

    /// Appends, all or nothing if it is more than one.
    fn submit(&mut self, log: &Log, batches: Vec<(u64, LogBatch)>) -> Result<(), String> {
        self.groups += 1;
        let alone = batches.len() == 1 && !batches[0].1.is_control() && batches[0].1.base_sequence() >= 0;
        let named: Vec<_> = batches.iter().map(|(index, batch)| (tp(*index), batch.clone())).collect();
        let tickets = match alone {
            true => log.append(named[0].0, named[0].1.clone()).map(|ticket| vec![ticket]),
            false => log.append_all(named),
        };
        match tickets {
            Ok(tickets) => {
                let group = self.groups;
                for ((index, batch), ticket) in batches.iter().zip(tickets) {
                    self.expected(*index)?.appended(batch, ticket, group)?;
                }
                Ok(())
            }
            Err(AppendError::Poisoned(_) | AppendError::Backpressure(_)) => Ok(()),
            Err(AppendError::TooLarge { .. }) if !alone => Ok(()),
            Err(e) => Err(format!("append of {batches:?}: {e}")),
        }
    }

    fn batch(&mut self, index: u64, producer: i64, numbered: Numbered) -> LogBatch {
        let now_ms = self.clock.unix_ms();
        let mut batch = BatchBuilder::new(now_ms);
        if producer >= 0 {
            let known = self.partitions.get(&index).and_then(|p| p.producers.get(&producer)).copied();
            let (epoch, sequence) = self.next_number(producer, known.unwrap_or_default());
            let sequence = if numbered == Numbered::Yes { sequence } else { -1 };
            batch = batch.with_producer(producer, epoch, sequence);
        }
        if TRANSACTIONAL.contains(&producer) {
            batch = batch.transactional();
        }
        for _ in 0..=self.entropy.below(3) {
            self.values += 1;
            let len = if self.chance(10) { self.entropy.below(2000) } else { self.entropy.below(60) };
            let mut value = self.values.to_be_bytes().to_vec();
            value.resize(8 + usize::try_from(len).unwrap_or(0), b'.');
            let key = self.entropy.below(KEYS).to_be_bytes();
            let is_tombstone = self.chance(10);
            batch.push(now_ms, Some(&key), (!is_tombstone).then_some(&value), &[]);
        }
        batch.finish()
    }

    /// A producer's epoch is the same in all partitions; where it is new, numbers begin at 0.
    fn next_number(&self, producer: i64, here: model::Producer) -> (i16, i32) {
        let all = self.partitions.values().filter_map(|expected| expected.producers.get(&producer));
        let epoch = all.map(|producer| producer.epoch).max().unwrap_or(0);
        (epoch, if epoch == here.epoch { here.next_sequence } else { 0 })
    }

    fn trim(&mut self, log: &Log, index: u64) -> Result<(), String> {
        if !self.partitions.contains_key(&index) || index == 3 {
            return Ok(());
        }
        let below = u64::try_from(self.expected(index)?.end()).unwrap_or(0) + 1;
        let start = self.entropy.below(below).cast_signed();
        match log.trim(tp(index), start) {
            Ok(ticket) => self.expected(index)?.trims.push((start, ticket)),
            Err(AppendError::Poisoned(_) | AppendError::Backpressure(_)) => {}
            Err(e) => return Err(format!("trim of {index} to {start}: {e}")),
        }
        Ok(())
    }

    fn collect(&mut self) -> Result<(), String> {
        let mut expected = self.partitions.iter_mut();
        expected
            .try_for_each(|(index, expected)| expected.collect().map_err(|e| format!("{}: {e}", tp(*index))))
    }

    /// What is served now must be what was acknowledged.
    fn read_some(&self, log: &Log, index: u64) -> Result<(), String> {
        let (Some(expected), tp) = (self.partitions.get(&index), tp(index)) else { return Ok(()) };
        let Ok(bounds) = log.bounds(tp) else { return Err(format!("{tp} has no bounds")) };
        let (start, end) = (bounds.log_start_offset, expected.end());
        if start >= end {
            return Ok(());
        }
        let from: Offset = start + self.entropy.below((end - start).unsigned_abs() + 1).cast_signed();
        let range = match log.read(tp, from, 2000) {
            Ok(range) => range,
            Err(_) if log.stats().poisoned.is_some() || power_is_off(&self.disk) => return Ok(()),
            Err(e) => return Err(format!("read {tp} from {from}: {e}")),
        };
        if expected.compacted {
            return Ok(());
        }
        for batch in &range.batches {
            if batch.next_offset() <= end && !expected.durable.contains(batch) {
                return Err(format!("{tp} serves {batch:?}, which was not appended"));
            }
        }
        let first = range.batches.first();
        if from < end && first.is_none_or(|b| b.base_offset() > from || b.last_offset() < from) {
            return Err(format!("{tp} from {from} serves {first:?}"));
        }
        Ok(())
    }

    /// After recovery: see [`Expected::verify`]; what was all or nothing is one of the two.
    fn verify(&mut self, log: &Log) -> Result<(), String> {
        let (mut there, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for (index, expected) in &mut self.partitions {
            let (found, lost) = expected.verify(log, tp(*index))?;
            there.extend(found);
            gone.extend(lost);
            served::verify(expected, log, tp(*index), self.clock.unix_ms())?;
        }
        match there.intersection(&gone).next() {
            Some(group) => Err(format!("appends number {group} were to be all or nothing")),
            None => Ok(()),
        }
    }
}

/// Whether a batch carries its producer's sequence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbered {
    Yes,
    No,
}

/// Whether the power is off, so that only a crash brings it back.
fn power_is_off(disk: &SimDisk) -> bool {
    highwater_env::Disk::exists(disk, Path::new(DIR)).is_err()
}

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn seeds() -> u64 {
    number_from_env("HIGHWATER_CRASH_SEEDS", 2000)
}

#[test]
fn acknowledged_batches_survive_power_cuts() {
    let first = number_from_env("HIGHWATER_CRASH_SEED", 0);
    for seed in first..first + seeds() {
        if let Err(e) = Run::new(seed, false).run() {
            panic!("seed {seed}: {e}");
        }
    }
}

/// The proof that the test above can fail.
#[test]
fn a_build_without_fdatasync_is_caught() {
    let caught = (0..200).filter(|seed| Run::new(*seed, true).run().is_err()).count();
    assert!(caught > 100, "only {caught} of 200 seeds notice that nothing is synced");
}

/// Any bit of any file that matters: reported, or without consequence; never served, never cut.
/// Nothing is compacted here: offsets lie outside of a batch's checksum, and where there may be holes
/// one offset is as good as another (docs/guarantees.md).
#[test]
fn a_flipped_bit_is_reported_and_never_cut() {
    let mut reported = 0;
    for seed in 0..seeds() / 2 {
        let mut run = Run::new(seed, false);
        run.fill().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        match run.flip() {
            Ok(noticed) => reported += u64::from(noticed),
            Err(e) => panic!("seed {seed}: {e}"),
        }
    }
    assert!(reported > seeds() / 20, "only {reported} flips were noticed");
}

impl Run {
    /// A log whose batches are all acknowledged; closed, or left as a kill leaves it.
    fn fill(&mut self) -> Result<(), String> {
        let log = self.open().map_err(|e| e.to_string())?;
        for _ in 0..20 + self.entropy.below(60) {
            // Not the one with a retention, whose start may move.
            self.write(&log, [0, 1, 3][usize::try_from(self.entropy.below(3)).unwrap_or(0)])?;
            if self.chance(40) {
                log.step();
            }
            if self.chance(5) {
                log.step_segments(true).map_err(|e| e.to_string())?;
            }
        }
        while log.step() {}
        self.collect()?;
        // Else it is dropped, which is no clean stop.
        if self.chance(50) { log.close().map_err(|e| e.to_string()) } else { Ok(()) }
    }

    /// Whether the damage was noticed.
    fn flip(&mut self) -> Result<bool, String> {
        let mut files = self.disk.files();
        files.retain(|(path, len)| path.extension().is_none_or(|e| e != "lock") && *len > 0);
        let (path, len) = &files[usize::try_from(self.entropy.below(files.len() as u64)).unwrap_or(0)];
        let (byte, bit) = (self.entropy.below(*len), self.entropy.below(8));
        self.disk.flip_bit(path, byte, u8::try_from(bit).unwrap_or(0));
        let described = format!("{} byte {byte} bit {bit}", path.display());
        let log = match self.open() {
            Ok(log) => log,
            Err(LogError::Corrupt { .. } | LogError::NotOurs { .. } | LogError::NewerVersion { .. }) => {
                return Ok(true);
            }
            Err(e) => return Err(format!("{described}: {e}")),
        };
        for (index, expected) in &self.partitions {
            let bounds = log.bounds(tp(*index)).map_err(|e| format!("{described}: {e}"))?;
            let facts = expected.verify_facts(&log, tp(*index), &bounds);
            let served = || served::verify(expected, &log, tp(*index), self.clock.unix_ms());
            match facts.and_then(|()| served()) {
                Ok(()) => {}
                Err(e) if e.contains("corrupt") => return Ok(true),
                Err(e) => return Err(format!("{described}: {e}")),
            }
        }
        Ok(false)
    }
}
