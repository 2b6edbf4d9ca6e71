//! Several transactional producers over a log on a disk that forgets: writes, commits, aborts,
//! takeovers and timeouts interleaved at random, the power cut at a random call, the node opened
//! again, and lost answers asked for again. A reader of committed records must see all of a
//! transaction or nothing, once, in order, and so must whoever asks for the offsets of a consumer group that
//! it commits; offsets committed plainly are there once they were acknowledged.
//! `HIGHWATER_TRANSACTION_SEEDS=<n>` runs more seeds.

mod offsets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use highwater_coordinator::{
    Coordinators, ProducerIdentity, TopicOptions, Topics, TransactionError, TransactionResult,
    TransactionVersion,
};
use highwater_env::{
    Clock, DiskFault, Entropy, ManualClock, MemoryBudget, SeededEntropy, SimDisk, TopicPartition,
};
use highwater_log::{BatchBuilder, Log, LogBatch, LogOptions, OpenTransaction, ReadError, Record};

const PRODUCERS: u64 = 4;
const PARTITIONS: i32 = 3;
const TIMEOUT_MS: i32 = 60_000;
const SEEDS: u64 = 200;
const ROUNDS: u64 = 8;

/// What must come of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// None of it is seen.
    Open,
    /// All of it is seen, or none: its end was asked for, without an answer.
    Unknown,
    /// All of it is seen.
    Committed,
    /// None of it is seen, ever.
    Aborted,
}

struct Transaction {
    fate: Fate,
    /// Number of its client.
    client: usize,
    /// The last offset it commits for its client's partition.
    offset: Option<i64>,
    /// Partition and value of every write, in order.
    writes: Vec<(i32, String)>,
}

/// A client: it keeps no more than one would.
struct Client {
    id: String,
    version: TransactionVersion,
    identity: Option<ProducerIdentity>,
    sequences: BTreeMap<i32, i32>,
    added: BTreeSet<i32>,
    offsets_added: bool,
    /// Its open transaction.
    open: Option<usize>,
    /// Whether it has writes in flight.
    unsure: bool,
    /// The end it asked for without getting an answer.
    unanswered: Option<TransactionResult>,
}

struct Node {
    log: Log,
    coordinators: Coordinators,
    partitions: Vec<TopicPartition>,
}

struct Run {
    entropy: SeededEntropy,
    disk: SimDisk,
    clock: Arc<ManualClock>,
    clients: Vec<Client>,
    transactions: Vec<Transaction>,
    /// Offsets that are committed plainly, by partition.
    plain: Vec<offsets::Plain>,
    next_offset: i64,
    committed_seen: usize,
}

fn open(disk: &SimDisk, clock: &Arc<ManualClock>, seed: u64) -> Result<Node, String> {
    let options = LogOptions {
        batch_bytes_max: 8 << 10,
        group_bytes_max: 16 << 10,
        wal_file_bytes: 64 << 10,
        wal_zero_bytes: 16 << 10,
        wal_files_max: 3,
        segment_bytes_max: 12 << 10,
        materialise_bytes: 8 << 10,
        entropy: Arc::new(SeededEntropy::new(seed)),
        ..LogOptions::default()
    };
    let shared: Arc<dyn Clock> = clock.clone();
    let budget = MemoryBudget::unlimited();
    let disk = Arc::new(disk.clone());
    let opened = Log::open_stepped(disk, Arc::clone(&shared), Path::new("data"), options, &budget);
    let (log, _) = opened.map_err(|e| e.to_string())?;
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
    let topics = Topics::open(log.clone(), Arc::clone(&entropy), TopicOptions::default());
    let topics = topics.map_err(|e| e.to_string())?;
    let coordinators =
        Coordinators::open(&log, topics.clone(), &shared, &entropy).map_err(|e| e.to_string())?;
    let topic = match topics.get("orders") {
        Some(topic) => topic,
        None => topics.create("orders", PARTITIONS, BTreeMap::new()).map_err(|e| e.to_string())?,
    };
    let partitions = (0..PARTITIONS).map(|partition| topic.partition(partition)).collect();
    Ok(Node { log, coordinators, partitions })
}

impl Run {
    fn new(seed: u64) -> Self {
        let entropy = SeededEntropy::new(seed);
        let client = |n| Client {
            id: format!("app-{n}"),
            version: if n % 2 == 0 { TransactionVersion::One } else { TransactionVersion::Two },
            identity: None,
            sequences: BTreeMap::new(),
            added: BTreeSet::new(),
            offsets_added: false,
            open: None,
            unsure: false,
            unanswered: None,
        };
        Self {
            disk: SimDisk::new(seed),
            clock: Arc::new(ManualClock::at(1_000_000)),
            clients: (0..PRODUCERS).map(client).collect(),
            transactions: Vec::new(),
            plain: (0..PARTITIONS).map(|_| offsets::Plain::default()).collect(),
            next_offset: 0,
            committed_seen: 0,
            entropy,
        }
    }

    fn run(mut self) -> Result<usize, String> {
        for _ in 0..ROUNDS {
            let node = open(&self.disk, &self.clock, self.entropy.next_u64())?;
            self.check(&node, false)?;
            if self.entropy.below(5) > 0 {
                self.disk.inject(DiskFault::PowerOff, self.entropy.below(200));
            }
            for _ in 0..self.entropy.below(150) {
                self.act(&node)?;
                if node.log.stats().poisoned.is_some() {
                    break;
                }
                if self.entropy.below(10) == 0 {
                    self.check(&node, true)?;
                }
            }
            drop(node);
            self.disk.clear_faults();
            self.disk.crash();
            // Writes without an answer may be gone: their client begins anew.
            for client in self.clients.iter_mut().filter(|client| client.unsure) {
                (client.identity, client.unanswered, client.unsure) = (None, None, false);
            }
        }
        let node = open(&self.disk, &self.clock, self.entropy.next_u64())?;
        for index in 0..self.clients.len() {
            self.take_over(&node, index)?;
        }
        self.check(&node, false)?;
        self.check_stable(&node)?;
        match node.log.open_transactions().is_empty() {
            true => Ok(self.committed_seen),
            false => Err(format!("left open: {:?}", node.log.open_transactions())),
        }
    }

    fn act(&mut self, node: &Node) -> Result<(), String> {
        let index = usize::try_from(self.entropy.below(PRODUCERS)).map_err(|e| e.to_string())?;
        if let Some(result) = self.clients[index].unanswered {
            // A client asks again until it knows.
            return self.end(node, index, result);
        }
        if self.clients[index].identity.is_none() {
            return self.take_over(node, index);
        }
        match self.entropy.below(100) {
            0..50 => self.write(node, index),
            50..58 => self.commit_in_transaction(node, index),
            58..64 => self.commit_plainly(node),
            64..78 => self.end(node, index, TransactionResult::Commit),
            78..86 => self.end(node, index, TransactionResult::Abort),
            86..90 => self.take_over(node, index),
            90..96 => {
                let _ = node.log.step_segments(self.entropy.below(3) == 0);
                Ok(())
            }
            _ => {
                self.clock.advance_ms(i64::from(TIMEOUT_MS) / 3);
                node.coordinators.transactions.tick();
                Ok(())
            }
        }
    }

    /// A new incarnation: whatever was open is aborted.
    fn take_over(&mut self, node: &Node, index: usize) -> Result<(), String> {
        let client = &mut self.clients[index];
        let change = node.coordinators.transactions.init_producer(&client.id, TIMEOUT_MS, None);
        match change.and_then(highwater_coordinator::PendingChange::wait) {
            Ok(identity) => {
                client.identity = Some(identity);
                client.sequences.clear();
                client.added.clear();
                client.offsets_added = false;
                (client.unanswered, client.unsure) = (None, false);
                if let Some(open) = client.open.take() {
                    let fate = &mut self.transactions[open].fate;
                    // A commit without an answer may have come first.
                    *fate = if *fate == Fate::Unknown { Fate::Unknown } else { Fate::Aborted };
                }
                Ok(())
            }
            Err(TransactionError::Append(_) | TransactionError::Topic(_)) => {
                client.identity = None;
                Ok(())
            }
            Err(TransactionError::Concurrent) => self.settle(node),
            Err(error) => Err(format!("{} takes over: {error}", client.id)),
        }
    }

    fn settle(&mut self, node: &Node) -> Result<(), String> {
        while node.log.step() {}
        node.coordinators.transactions.tick();
        Ok(())
    }

    fn write(&mut self, node: &Node, index: usize) -> Result<(), String> {
        let partition = i32::try_from(self.entropy.below(3)).map_err(|e| e.to_string())?;
        let tp = node.partitions[usize::try_from(partition).map_err(|e| e.to_string())?];
        let client = &mut self.clients[index];
        let Some(identity) = client.identity else { return Ok(()) };
        let transactions = &node.coordinators.transactions;
        if client.version == TransactionVersion::One && !client.added.contains(&partition) {
            let added = transactions.add_partitions(&client.id, identity, &[tp]);
            match added.and_then(highwater_coordinator::PendingChange::wait) {
                Ok(()) => drop(client.added.insert(partition)),
                Err(error) => return self.failed(node, index, &error),
            }
        }
        let open = self.begun(index);
        let client = &mut self.clients[index];
        let value = format!("{open}.{}", self.transactions[open].writes.len());
        let sequence = client.sequences.get(&partition).copied().unwrap_or(0);
        let appended = transactions.append(&client.id, client.version, tp, batch(identity, sequence, &value));
        // Some are left to the next sync, as a client's batches in flight are.
        let waits = self.entropy.below(3) == 0;
        let written = appended.and_then(|ticket| if waits { Ok(ticket.wait()?) } else { Ok(()) });
        match written {
            Ok(()) => {
                client.unsure |= !waits;
                client.sequences.insert(partition, sequence + 1);
                self.transactions[open].writes.push((partition, value));
                Ok(())
            }
            Err(error) => self.failed(node, index, &error),
        }
    }

    /// The client's open transaction; begun if there is none.
    fn begun(&mut self, index: usize) -> usize {
        *self.clients[index].open.get_or_insert_with(|| {
            let (fate, client) = (Fate::Open, index);
            self.transactions.push(Transaction { fate, client, offset: None, writes: Vec::new() });
            self.transactions.len() - 1
        })
    }

    fn end(&mut self, node: &Node, index: usize, result: TransactionResult) -> Result<(), String> {
        let client = &mut self.clients[index];
        let (Some(identity), Some(open)) = (client.identity, client.open) else { return Ok(()) };
        let known_before = client.unanswered.replace(result).is_some();
        if !known_before && result == TransactionResult::Commit {
            // A client commits only what it knows to be written.
            while node.log.step() {}
            client.unsure &= node.log.stats().poisoned.is_some();
            if client.unsure {
                client.unanswered = None;
                return self.gave_up(index);
            }
            self.transactions[open].fate = Fate::Unknown;
        }
        let client = &mut self.clients[index];
        let change = node.coordinators.transactions.end(&client.id, identity, result, client.version);
        match change.and_then(highwater_coordinator::PendingChange::wait) {
            Ok(next) => {
                if next != identity {
                    client.sequences.clear();
                }
                client.identity = Some(next);
                client.added.clear();
                client.offsets_added = false;
                (client.open, client.unanswered) = (None, None);
                self.transactions[open].fate = match result {
                    TransactionResult::Commit => Fate::Committed,
                    TransactionResult::Abort => Fate::Aborted,
                };
                Ok(())
            }
            // Asked again after the restart: the answer must be yes, or a timeout came first.
            Err(TransactionError::Append(_)) => Ok(()),
            Err(TransactionError::Concurrent) => self.settle(node),
            Err(TransactionError::Fenced { .. }) => {
                client.unanswered = None;
                if !known_before {
                    self.transactions[open].fate = Fate::Aborted;
                }
                self.gave_up(index)
            }
            Err(error) => Err(format!("{} ends with {result:?}: {error}", client.id)),
        }
    }

    /// A write was refused, or its fate is unknown: the client begins anew.
    fn failed(&mut self, node: &Node, index: usize, error: &TransactionError) -> Result<(), String> {
        match error {
            TransactionError::Concurrent => self.settle(node),
            TransactionError::Append(_) | TransactionError::Topic(_) | TransactionError::Fenced { .. } => {
                self.gave_up(index)
            }
            other => Err(format!("{} writes: {other}", self.clients[index].id)),
        }
    }

    /// The client will take over from itself; what it left open must never be seen.
    fn gave_up(&mut self, index: usize) -> Result<(), String> {
        self.clients[index].identity = None;
        Ok(())
    }

    /// What is committed, in order: all of each transaction or nothing.
    fn check(&mut self, node: &Node, working: bool) -> Result<(), String> {
        // Which transactions are open is told by all that was appended.
        while node.log.step() {}
        if node.log.stats().poisoned.is_some() {
            return Ok(());
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (partition, tp) in (0..).zip(&node.partitions) {
            let (stable, held_back) = match committed(&node.log, *tp) {
                Ok(read) => read,
                // The power just went.
                Err(ReadError::Io { .. }) if working => return Ok(()),
                Err(error) => return Err(format!("read: {error}")),
            };
            let values = [stable, held_back].concat();
            let mut last: BTreeMap<&str, usize> = BTreeMap::new();
            for value in &values {
                let (transaction, n) =
                    value.split_once('.').ok_or_else(|| format!("{value:?} is a value of nobody"))?;
                let n: usize = n.parse().map_err(|_| format!("{value:?} is a value of nobody"))?;
                if last.insert(transaction, n).is_some_and(|before| before >= n) {
                    return Err(format!("partition {partition}: {value} is out of order"));
                }
                *seen.entry(value.clone()).or_default() += 1;
            }
        }
        self.committed_seen = 0;
        let mut counts: Vec<offsets::Counts> = Vec::new();
        for (number, transaction) in self.transactions.iter().enumerate() {
            let times = |(_, value): &(i32, String)| seen.remove(value).unwrap_or(0);
            let times: Vec<usize> = transaction.writes.iter().map(times).collect();
            let all = times.iter().all(|times| *times == 1);
            let none = times.iter().all(|times| *times == 0);
            let holds = match transaction.fate {
                Fate::Open | Fate::Aborted => none,
                Fate::Committed => all,
                Fate::Unknown => all || none,
            };
            if !holds {
                return Err(format!(
                    "transaction {number} is {:?} and seen {times:?} times",
                    transaction.fate
                ));
            }
            self.committed_seen += usize::from(all && !times.is_empty());
            counts.push(match (transaction.fate, times.is_empty()) {
                (Fate::Unknown, true) => offsets::Counts::Perhaps,
                _ if all && transaction.fate != Fate::Open && transaction.fate != Fate::Aborted => {
                    offsets::Counts::Yes
                }
                _ => offsets::Counts::No,
            });
        }
        self.check_offsets(node, &counts)?;
        match seen.is_empty() {
            true => Ok(()),
            false => Err(format!("never written, or given up, and seen: {seen:?}")),
        }
    }
}

fn batch(identity: ProducerIdentity, sequence: i32, value: &str) -> LogBatch {
    let mut batch = BatchBuilder::new(0).with_producer(identity.id, identity.epoch, sequence).transactional();
    batch.push(0, None, Some(value.as_bytes()), &[]);
    batch.finish()
}

/// Values of committed transactions, as a client filters them: by the aborted transactions that come
/// with what it reads, and the markers on its way. Before and after the last stable offset: a transaction that is still
/// open holds back what was committed behind it.
fn committed(log: &Log, tp: TopicPartition) -> Result<(Vec<String>, Vec<String>), ReadError> {
    let bounds = log.bounds(tp)?;
    let open = log.open_transactions();
    let is_open = |batch: &LogBatch| {
        let same = |open: &&OpenTransaction| open.tp == tp && open.producer_id == batch.producer_id();
        open.iter().find(same).is_some_and(|open| batch.base_offset() >= open.first_offset)
    };
    let (mut stable, mut held_back) = (Vec::new(), Vec::new());
    let mut next = 0;
    while next < bounds.high_watermark {
        let range = log.read(tp, next, 1 << 10)?;
        next = range.next_offset(next);
        let (mut skipped, mut aborted) = (BTreeSet::new(), range.aborted);
        aborted.sort_by_key(|aborted| aborted.first_offset);
        for batch in &range.batches {
            let begun =
                aborted.iter().take_while(|aborted| aborted.first_offset <= batch.last_offset()).count();
            skipped.extend(aborted.drain(..begun).map(|aborted| aborted.producer_id));
            let below = batch.base_offset() < bounds.last_stable_offset;
            if batch.is_control() {
                skipped.remove(&batch.producer_id());
            } else if !skipped.contains(&batch.producer_id()) && (below || !is_open(batch)) {
                let records = batch.records(1 << 20).unwrap_or_default();
                let value = |r: Record| String::from_utf8_lossy(&r.value.unwrap_or_default()).into();
                if below { &mut stable } else { &mut held_back }.extend(records.into_iter().map(value));
            }
        }
    }
    Ok((stable, held_back))
}

#[test]
fn readers_of_committed_records_see_all_of_a_transaction_or_nothing() {
    let seeds =
        std::env::var("HIGHWATER_TRANSACTION_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS);
    let mut committed = 0;
    for seed in 0..seeds {
        match Run::new(seed).run() {
            Ok(seen) => committed += seen,
            Err(why) => panic!("seed {seed}: {why}"),
        }
    }
    println!("{seeds} seeds, {committed} transactions committed");
    assert!(committed > usize::try_from(seeds).unwrap() * 5, "{committed} committed: too little happens");
}
