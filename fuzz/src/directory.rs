//! A small data directory on a simulated disk, made once, copied for each execution, then damaged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_env::{
    Disk, ManualClock, MemoryBudget, OpenMode, SeededEntropy, SimDisk, TopicId, TopicPartition,
};
use highwater_log::{BatchBuilder, Log, LogError, LogOptions, Marker, MarkerKind, ReadError};

const DIR: &str = "data";
const PARTITIONS: u128 = 2;
const BATCHES: u64 = 40;
/// What a read of one partition may return, and opening may take.
pub const MEMORY_MAX: usize = 64 << 20;

/// Offset and value of each record of a partition, markers included.
type Records = Vec<(i64, Vec<u8>)>;

/// A data directory and what it holds.
pub struct Template {
    files: Vec<(PathBuf, Vec<u8>)>,
    expected: Vec<(TopicPartition, Records)>,
}

/// How the directory was left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// By a clean stop: everything is in segments, with their indexes.
    Clean,
    /// By a crash: much of it is in the write-ahead log alone.
    Crashed,
}

fn options() -> LogOptions {
    LogOptions {
        batch_bytes_max: 8 << 10,
        group_bytes_max: 8 << 10,
        wal_file_bytes: 48 << 10,
        wal_zero_bytes: 16 << 10,
        wal_files_max: 4,
        segment_bytes_max: 4 << 10,
        materialise_bytes: 1 << 20,
        memory_bytes_max: 4 << 20,
        tail_cache_bytes: 4 << 10,
        compaction_keys_bytes_max: 1 << 10,
        cluster_id: Some("AAAAAAAAAAAAAAAAAAAAAA".to_owned()),
        entropy: Arc::new(SeededEntropy::new(7)),
        ..LogOptions::default()
    }
}

/// Opens the log of that disk.
pub fn open(disk: &SimDisk) -> Result<Log, LogError> {
    let clock = Arc::new(ManualClock::at(0));
    let budget = MemoryBudget::unlimited();
    Ok(Log::open_stepped(Arc::new(disk.clone()), clock, Path::new(DIR), options(), &budget)?.0)
}

fn fill(log: &Log, tp: TopicPartition, number: u64) {
    let producer = 100 + i64::try_from(number % 3).unwrap_or(0);
    let sequence = i32::try_from(number / 3 * 2).unwrap_or(0);
    let mut batch = BatchBuilder::new(1000).with_producer(producer, 0, sequence);
    // Producer 102 works in transactions.
    if producer == 102 {
        batch = batch.transactional();
    }
    for record in 0..2_u64 {
        let mut value = (number * 2 + record).to_be_bytes().to_vec();
        value.resize(8 + usize::try_from(number * 37 % 500).unwrap_or(0), b'.');
        batch.push(1000 + i64::try_from(number).unwrap_or(0), Some(&number.to_be_bytes()), Some(&value), &[]);
    }
    drop(log.append(tp, batch.finish()));
    if producer == 102 {
        let kind = if number % 2 == 0 { MarkerKind::Commit } else { MarkerKind::Abort };
        let marker = Marker { kind, producer_id: producer, producer_epoch: 0, coordinator_epoch: 0 };
        drop(log.append(tp, marker.batch(2000)));
    }
    log.step();
}

impl Template {
    /// Makes one.
    pub fn new(left: Left) -> Self {
        let disk = SimDisk::new(1);
        let log = open(&disk).expect("a new directory");
        let tps: Vec<_> =
            (1..=PARTITIONS).map(|topic| TopicPartition { topic: TopicId(topic), partition: 0 }).collect();
        for tp in &tps {
            log.create_partition(*tp).expect("room");
        }
        for number in 0..BATCHES {
            for tp in &tps {
                fill(&log, *tp, number);
            }
            if number == BATCHES / 2 {
                log.step_segments(true).expect("room");
            }
        }
        while log.step() {}
        let expected = tps.iter().map(|tp| (*tp, read_all(&log, *tp).expect("undamaged"))).collect();
        match left {
            Left::Clean => log.close().expect("room"),
            Left::Crashed => {
                drop(log);
                disk.crash();
            }
        }
        let files = disk.files().into_iter().filter(|(path, _)| path.extension().is_none_or(|e| e != "lock"));
        let read = |path: &Path| disk.open(path, OpenMode::Read).and_then(|file| file.read_all());
        let files = files.map(|(path, _)| (path.clone(), read(&path).expect("undamaged"))).collect();
        Self { files, expected }
    }

    /// Paths of the files whose names end so.
    pub fn files_named(&self, end: &str) -> Vec<&(PathBuf, Vec<u8>)> {
        let is_named = |path: &Path| path.to_str().is_some_and(|path| path.ends_with(end));
        self.files.iter().filter(|(path, _)| is_named(path)).collect()
    }

    /// A disk that holds the directory, with other contents for one file.
    pub fn with(&self, path: &Path, content: &[u8]) -> SimDisk {
        let disk = SimDisk::new(2);
        for (name, original) in &self.files {
            let content = if name == path { content } else { original };
            disk.create_dir_all(name.parent().expect("below the directory")).expect("no faults");
            let file = disk.open(name, OpenMode::CreateNew).expect("no faults");
            file.write_all_at(content, 0).expect("no faults");
        }
        disk
    }

    /// Opens and reads everything: what is served must be the start of what was written, all of it
    /// unless damage is reported. Whether nothing was reported.
    pub fn check(&self, disk: &SimDisk) -> bool {
        let log = match open(disk) {
            Ok(log) => log,
            Err(LogError::Io { source, .. }) => panic!("nothing is wrong with the disk: {source}"),
            Err(_) => return false,
        };
        let mut whole = true;
        for (tp, expected) in &self.expected {
            match read_all(&log, *tp) {
                Ok(found) => assert!(found == *expected, "{tp} serves {} of {}", found.len(), expected.len()),
                Err(_) => whole = false,
            }
        }
        whole
    }
}

/// Every record, in order.
pub fn read_all(log: &Log, tp: TopicPartition) -> Result<Records, ReadError> {
    let mut records = Vec::new();
    let mut next = log.bounds(tp)?.log_start_offset;
    loop {
        let range = log.read(tp, next, 4096)?;
        if range.batches.is_empty() {
            assert_eq!(next, range.bounds.high_watermark, "{tp} ends early");
            return Ok(records);
        }
        for batch in &range.batches {
            assert_eq!(batch.base_offset(), next, "{tp} has a hole");
            next = batch.next_offset();
            let Ok(decoded) = batch.records(1 << 20) else { continue };
            records.extend(decoded.into_iter().map(|r| (r.offset, r.value.unwrap_or_default().to_vec())));
        }
    }
}

/// Reads what it can, whatever it is: for directories with forged checksums, which may say anything.
pub fn wander(disk: &SimDisk) {
    let Ok(log) = open(disk) else { return };
    for tp in log.partitions().into_iter().take(64) {
        let Ok(bounds) = log.bounds(tp) else { continue };
        let mut next = bounds.log_start_offset;
        for _ in 0..64 {
            let Ok(range) = log.read(tp, next, 4096) else { break };
            range.batches.iter().for_each(|batch| drop(batch.records(1 << 20)));
            let Some(last) = range.batches.last() else { break };
            next = last.next_offset();
        }
        drop(log.offset_for_time(tp, 1010));
        drop(log.producers(tp));
    }
    drop(log.step_segments(true));
    drop(log.close());
}

/// Writes the input's patches over `content`: each is a place (2 bytes, scaled), a length (1 byte)
/// and as many bytes. Places beyond the end lengthen the file; a length of 255 cuts it there.
pub fn patched(content: &[u8], mut input: &[u8]) -> Vec<u8> {
    let mut out = content.to_vec();
    while let Some((head, rest)) = input.split_first_chunk::<3>() {
        let place = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let place = place * (content.len() + 64) / 65536;
        if head[2] == 255 {
            out.truncate(place);
            input = rest;
            continue;
        }
        let (bytes, rest) = rest.split_at(usize::from(head[2]).min(rest.len()));
        if out.len() < place + bytes.len() {
            out.resize(place + bytes.len(), 0);
        }
        out[place..place + bytes.len()].copy_from_slice(bytes);
        input = rest;
    }
    out
}
