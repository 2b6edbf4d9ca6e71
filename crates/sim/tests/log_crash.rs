//! The log on a disk that forgets: random appends, a power cut at a random call, recovery, and
//! a model that knows what was acknowledged. `HIGHWATER_CRASH_SEEDS=<n>` runs more seeds.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater_env::{
    DiskFault, Entropy, ManualClock, MemoryBudget, Offset, SeededEntropy, SimDisk, TopicId, TopicPartition,
};
use highwater_log::{AppendError, BatchBuilder, Log, LogBatch, LogError, LogOptions, Ticket};

const DIR: &str = "data";
const PARTITIONS: u64 = 3;
const PRODUCERS: u64 = 2;

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
        tidy_interval: std::time::Duration::from_secs(3600),
        cluster_id: None,
        entropy: Arc::new(SeededEntropy::new(seed)),
    }
}

fn open(disk: &SimDisk, seed: u64) -> Result<Log, LogError> {
    let disk = Arc::new(disk.clone());
    let clock = Arc::new(ManualClock::at(0));
    let budget = MemoryBudget::unlimited();
    Ok(Log::open_stepped(disk, clock, Path::new(DIR), options(seed), &budget)?.0)
}

fn tp(index: u64) -> TopicPartition {
    TopicPartition { topic: TopicId(u128::from(index) + 1), partition: 0 }
}

/// What must be there.
#[derive(Default)]
struct Model {
    partitions: BTreeMap<TopicPartition, Expected>,
}

#[derive(Default)]
struct Expected {
    /// Batches acknowledged or seen after a recovery, as stored.
    durable: Vec<LogBatch>,
    /// Batches whose fate is unknown, in order, as they would be stored.
    pending: Vec<(LogBatch, Ticket)>,
    /// The next sequence of each producer.
    sequences: BTreeMap<i64, i32>,
}

impl Expected {
    fn end(&self) -> Offset {
        self.durable.last().map_or(0, LogBatch::next_offset)
    }
}

/// The batch as the log stores it at `offset`.
fn at_offset(batch: &LogBatch, offset: Offset) -> LogBatch {
    let mut bytes = batch.bytes().to_vec();
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    LogBatch::parse(Bytes::from(bytes)).expect("only the base offset changed")
}

struct Run {
    seed: u64,
    entropy: SeededEntropy,
    disk: SimDisk,
    model: Model,
    values: u64,
}

impl Run {
    fn new(seed: u64, ignore_syncs: bool) -> Self {
        let disk = SimDisk::new(seed ^ 0x5eed);
        disk.ignore_syncs(ignore_syncs);
        Self { seed, entropy: SeededEntropy::new(seed), disk, model: Model::default(), values: 0 }
    }

    fn chance(&self, of_100: u64) -> bool {
        self.entropy.below(100) < of_100
    }

    fn run(&mut self) -> Result<(), String> {
        let rounds = 2 + self.entropy.below(4);
        for round in 0..rounds {
            self.round().map_err(|e| format!("round {round}: {e}"))?;
        }
        let log = open(&self.disk, self.seed).map_err(|e| format!("last open: {e}"))?;
        self.verify(&log)
    }

    /// Open, work until something happens, recover.
    fn round(&mut self) -> Result<(), String> {
        if self.chance(15) {
            // The power may also go during recovery, which must be repeatable.
            self.disk.inject(DiskFault::PowerOff, self.entropy.below(12));
            drop(open(&self.disk, self.seed));
            self.disk.crash();
        }
        let log = open(&self.disk, self.seed).map_err(|e| format!("open: {e}"))?;
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
        if log_is_dead_only(&self.disk) {
            self.disk.crash();
        }
        Ok(())
    }

    /// One random action; false once the log has stopped.
    fn act(&mut self, log: &Log) -> Result<bool, String> {
        let index = self.entropy.below(PARTITIONS);
        match self.entropy.below(100) {
            0..65 => self.append(log, tp(index))?,
            65..85 => drop(log.step()),
            85..90 => drop(log.step_segments(false)),
            90..94 => drop(log.step_segments(true)),
            _ => self.read_some(log, tp(index))?,
        }
        self.collect()?;
        Ok(log.stats().poisoned.is_none())
    }

    fn append(&mut self, log: &Log, tp: TopicPartition) -> Result<(), String> {
        if let Entry::Vacant(unknown) = self.model.partitions.entry(tp) {
            if log.create_partition(tp).is_ok() {
                unknown.insert(Expected::default());
            }
            return Ok(());
        }
        let producer = i64::try_from(self.entropy.below(PRODUCERS + 1)).unwrap_or(0) - 1;
        let repeat = self.chance(10);
        let batch = self.batch(tp, producer);
        let expected = self.model.partitions.get_mut(&tp).ok_or("partition vanished")?;
        if repeat && let Some(known) = expected.durable.iter().rev().take(3).find(|b| b.producer_id() >= 0) {
            let is_last = expected.pending.iter().all(|(b, _)| b.producer_id() != known.producer_id())
                && expected.durable.iter().rfind(|b| b.producer_id() == known.producer_id()) == Some(known);
            if is_last {
                return match log.append(tp, known.clone()) {
                    Ok(ticket) if ticket.base_offset == known.base_offset() => Ok(()),
                    Ok(ticket) => Err(format!("{known:?} repeated was given offset {}", ticket.base_offset)),
                    Err(AppendError::Poisoned(_)) => Ok(()),
                    Err(e) => Err(format!("{known:?} repeated: {e}")),
                };
            }
        }
        match log.append(tp, batch.clone()) {
            Ok(ticket) => {
                let due = expected.pending.last().map_or(expected.end(), |(batch, _)| batch.next_offset());
                if ticket.base_offset != due {
                    return Err(format!("offset {} given, expected {due}", ticket.base_offset));
                }
                if producer >= 0 {
                    expected.sequences.insert(producer, batch.last_sequence() + 1);
                }
                expected.pending.push((at_offset(&batch, ticket.base_offset), ticket));
                Ok(())
            }
            Err(AppendError::Poisoned(_) | AppendError::Backpressure(_)) => Ok(()),
            Err(e) => Err(format!("append to {tp}: {e}")),
        }
    }

    fn batch(&mut self, tp: TopicPartition, producer: i64) -> LogBatch {
        let mut batch = BatchBuilder::new(0);
        if producer >= 0 {
            let known = self.model.partitions.get(&tp).and_then(|p| p.sequences.get(&producer));
            batch = batch.with_producer(producer, 0, known.copied().unwrap_or(0));
        }
        for _ in 0..=self.entropy.below(3) {
            self.values += 1;
            let len = if self.chance(10) { self.entropy.below(2000) } else { self.entropy.below(60) };
            let mut value = self.values.to_be_bytes().to_vec();
            value.resize(8 + usize::try_from(len).unwrap_or(0), b'.');
            batch.push(0, None, Some(&value), &[]);
        }
        batch.finish()
    }

    /// Learns what became of pending batches.
    fn collect(&mut self) -> Result<(), String> {
        for (tp, expected) in &mut self.model.partitions {
            while let Some((batch, ticket)) = expected.pending.first() {
                match ticket.poll_now() {
                    None => break,
                    Some(Ok(())) => {
                        let (batch, _) = expected.pending.remove(0);
                        expected.durable.push(batch);
                    }
                    Some(Err(AppendError::DiskFull)) => {
                        if batch.producer_id() >= 0 {
                            expected.sequences.insert(batch.producer_id(), batch.base_sequence());
                        }
                        // All behind it are refused too; the first of each producer counts.
                        let refused = std::mem::take(&mut expected.pending);
                        for (batch, ticket) in refused.iter().rev() {
                            if ticket.poll_now() != Some(Err(AppendError::DiskFull)) {
                                return Err(format!("{tp}: {batch:?} outlived a refused one"));
                            }
                            if batch.producer_id() >= 0 {
                                expected.sequences.insert(batch.producer_id(), batch.base_sequence());
                            }
                        }
                    }
                    Some(Err(_)) => break,
                }
            }
        }
        Ok(())
    }

    /// What is served now must be what was acknowledged.
    fn read_some(&self, log: &Log, tp: TopicPartition) -> Result<(), String> {
        let Some(expected) = self.model.partitions.get(&tp) else { return Ok(()) };
        let from = i64::try_from(self.entropy.below(expected.end().unsigned_abs() + 1)).unwrap_or(0);
        let range = match log.read(tp, from, 2000) {
            Ok(range) => range,
            Err(_) if log.stats().poisoned.is_some() || log_is_dead_only(&self.disk) => return Ok(()),
            Err(e) => return Err(format!("read {tp} from {from}: {e}")),
        };
        for batch in &range.batches {
            if batch.next_offset() <= expected.end() && !expected.durable.contains(batch) {
                return Err(format!("{tp} serves {batch:?}, which was not appended"));
            }
        }
        let first = range.batches.first();
        if from < expected.end() && first.is_none_or(|b| b.base_offset() > from || b.last_offset() < from) {
            return Err(format!("{tp} from {from} serves {first:?}"));
        }
        Ok(())
    }

    /// After recovery: all that was acknowledged is at its offset, then perhaps some of what was
    /// pending, in order, and nothing else.
    fn verify(&mut self, log: &Log) -> Result<(), String> {
        for (tp, expected) in &mut self.model.partitions {
            let found = read_all(log, *tp)?;
            let pending = expected.pending.drain(..).map(|(batch, _)| batch);
            let candidates: Vec<LogBatch> = expected.durable.iter().cloned().chain(pending).collect();
            if found.len() < expected.durable.len() {
                let (found, due) = (found.len(), expected.durable.len());
                return Err(format!("{tp}: {found} batches recovered, {due} were acknowledged"));
            }
            if found.len() > candidates.len() || found[..] != candidates[..found.len()] {
                return Err(format!("{tp}: recovered {found:?}, expected a start of {candidates:?}"));
            }
            expected.durable = found;
            expected.sequences.clear();
            for batch in expected.durable.iter().filter(|batch| batch.producer_id() >= 0) {
                expected.sequences.insert(batch.producer_id(), batch.last_sequence() + 1);
            }
            for (producer, next) in &expected.sequences {
                let last = log.last_sequence(*tp, *producer);
                if last != Some(next - 1) {
                    return Err(format!("{tp}: producer {producer} at {last:?}, expected {}", next - 1));
                }
            }
        }
        Ok(())
    }
}

/// Whether the power is off, so that only a crash brings it back.
fn log_is_dead_only(disk: &SimDisk) -> bool {
    highwater_env::Disk::exists(disk, Path::new(DIR)).is_err()
}

fn read_all(log: &Log, tp: TopicPartition) -> Result<Vec<LogBatch>, String> {
    let mut found: Vec<LogBatch> = Vec::new();
    let mut next = 0;
    loop {
        let range = log.read(tp, next, 4096).map_err(|e| format!("read {tp} from {next}: {e}"))?;
        if range.batches.is_empty() {
            let end = range.bounds.high_watermark;
            return if next == end { Ok(found) } else { Err(format!("{tp} ends at {next}, not at {end}")) };
        }
        for batch in range.batches {
            if batch.base_offset() != next {
                return Err(format!("{tp}: hole at {next}, {batch:?} follows"));
            }
            next = batch.next_offset();
            found.push(batch);
        }
    }
}

fn seeds() -> u64 {
    std::env::var("HIGHWATER_CRASH_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000)
}

#[test]
fn acknowledged_batches_survive_power_cuts() {
    for seed in 0..seeds() {
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
        let log = open(&self.disk, self.seed).map_err(|e| e.to_string())?;
        for _ in 0..20 + self.entropy.below(60) {
            self.append(&log, tp(self.entropy.below(PARTITIONS)))?;
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
        let log = match open(&self.disk, self.seed) {
            Ok(log) => log,
            Err(LogError::Corrupt { .. } | LogError::NotOurs { .. } | LogError::NewerVersion { .. }) => {
                return Ok(true);
            }
            Err(e) => return Err(format!("{described}: {e}")),
        };
        for (tp, expected) in &self.model.partitions {
            match read_all(&log, *tp) {
                Ok(found) if found == expected.durable => {}
                Ok(found) => {
                    let (found, due) = (found.len(), expected.durable.len());
                    return Err(format!("{described}: {tp} serves {found} of {due} batches"));
                }
                Err(e) if e.contains("corrupt") => return Ok(true),
                Err(e) => return Err(format!("{described}: {e}")),
            }
        }
        Ok(false)
    }
}
