//! Transactions over a log on a simulated disk, and their pure transitions.

mod abort;
mod lost;
mod offsets;
mod operators;
mod restart;
mod transitions;
mod wire;

use std::sync::Arc;

use highwater_env::{Clock, Entropy, ManualClock, SeededEntropy, SimDisk, TopicPartition};
use highwater_log::{BatchBuilder, Log, LogBatch};

use super::{
    ProducerIdentity, TransactionError, TransactionOptions, TransactionResult, TransactionVersion,
    Transactions,
};
use crate::testing::open_log;
use crate::{GroupOptions, Groups, TopicOptions, Topics};
use TransactionResult::{Abort, Commit};
use TransactionVersion::{One, Two};

const TIMEOUT_MS: i32 = 60_000;

struct Node {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    log: Log,
    topics: Topics,
    transactions: Transactions,
}

impl Node {
    fn new() -> Self {
        Self::open(SimDisk::new(1), Arc::new(ManualClock::at(1_000)))
    }

    fn open(disk: SimDisk, clock: Arc<ManualClock>) -> Self {
        let shared: Arc<dyn Clock> = clock.clone();
        let log = open_log(&disk, Arc::clone(&shared));
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
        let topics = Topics::open(log.clone(), Arc::clone(&entropy), TopicOptions::default()).unwrap();
        if topics.get("orders").is_none() {
            topics.create("orders", 2, [].into()).unwrap();
        }
        let groups = Groups::open(
            log.clone(),
            topics.clone(),
            Arc::clone(&shared),
            Arc::clone(&entropy),
            GroupOptions::default(),
        )
        .unwrap();
        let transactions = Transactions::open(
            log.clone(),
            topics.clone(),
            groups,
            shared,
            entropy,
            TransactionOptions::default(),
        )
        .unwrap();
        Self { disk, clock, log, topics, transactions }
    }

    /// The power fails, and comes back.
    fn crash(self) -> Self {
        let Self { disk, clock, log, topics, transactions } = self;
        drop((log, topics, transactions));
        disk.crash();
        Self::open(disk, clock)
    }

    fn tp(&self, partition: i32) -> TopicPartition {
        self.topics.get("orders").unwrap().partition(partition)
    }

    fn init(&self, id: &str) -> ProducerIdentity {
        self.transactions.init_producer(id, TIMEOUT_MS, None).unwrap().wait().unwrap()
    }

    fn add(&self, id: &str, producer: ProducerIdentity, partitions: &[i32]) -> Result<(), TransactionError> {
        let partitions: Vec<_> = partitions.iter().map(|partition| self.tp(*partition)).collect();
        self.transactions.add_partitions(id, producer, &partitions)?.wait()
    }

    /// Writes one record.
    fn write(
        &self,
        id: &str,
        version: TransactionVersion,
        producer: ProducerIdentity,
        (partition, sequence): (i32, i32),
        value: &str,
    ) -> Result<(), TransactionError> {
        let batch = record(producer, sequence, value);
        Ok(self.transactions.append(id, version, self.tp(partition), batch)?.wait()?)
    }

    fn end(
        &self,
        id: &str,
        version: TransactionVersion,
        producer: ProducerIdentity,
        result: TransactionResult,
    ) -> Result<ProducerIdentity, TransactionError> {
        self.transactions.end(id, producer, result, version)?.wait()
    }

    /// What a reader of committed records sees.
    fn committed(&self, partition: i32) -> Vec<String> {
        let tp = self.tp(partition);
        let bounds = self.log.bounds(tp).unwrap();
        let (mut next, mut values) = (0, Vec::new());
        while next < bounds.last_stable_offset {
            let range = self.log.read(tp, next, 1 << 20).unwrap();
            next = range.next_offset(next);
            for batch in range.batches.iter().filter(|batch| batch.base_offset() < bounds.last_stable_offset)
            {
                if range.is_committed(batch) {
                    let records = batch.records(1 << 20).unwrap();
                    values.extend(
                        records
                            .into_iter()
                            .map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()),
                    );
                }
            }
        }
        values
    }

    fn state(&self, id: &str) -> &'static str {
        self.transactions.describe(id).unwrap().state.name()
    }
}

fn record(producer: ProducerIdentity, sequence: i32, value: &str) -> LogBatch {
    let mut batch = BatchBuilder::new(5).with_producer(producer.id, producer.epoch, sequence).transactional();
    batch.push(5, None, Some(value.as_bytes()), &[]);
    batch.finish()
}

fn why<T>(result: Result<T, TransactionError>) -> &'static str {
    match result.map(|_| ()).unwrap_err() {
        TransactionError::InvalidRequest(_) => "invalid request",
        TransactionError::InvalidTimeout { .. } => "invalid timeout",
        TransactionError::InvalidProducerIdMapping { .. } => "mapping",
        TransactionError::Fenced { .. } => "fenced",
        TransactionError::InvalidState(_) => "state",
        TransactionError::NotAdded => "not added",
        TransactionError::Concurrent => "concurrent",
        TransactionError::Unknown(_) => "unknown",
        other => panic!("{other}"),
    }
}

#[test]
fn version_1_commits_and_aborts_in_all_partitions_at_once() {
    let node = Node::new();
    let producer = node.init("t");
    assert_eq!((producer.epoch, node.state("t")), (0, "Empty"));
    assert_eq!(why(node.write("t", One, producer, (0, 0), "too early")), "not added");
    node.add("t", producer, &[0, 1]).unwrap();
    node.write("t", One, producer, (0, 0), "a").unwrap();
    node.write("t", One, producer, (1, 0), "b").unwrap();
    assert_eq!((node.state("t"), node.committed(0), node.committed(1)), ("Ongoing", vec![], vec![]));
    assert_eq!(node.end("t", One, producer, Commit).unwrap(), producer);
    assert_eq!((node.committed(0), node.committed(1)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert_eq!(node.end("t", One, producer, Commit).unwrap(), producer, "asked again");
    assert_eq!(why(node.end("t", One, producer, Abort)), "state");
    assert_eq!(why(node.write("t", One, producer, (0, 1), "late")), "not added");

    node.add("t", producer, &[0]).unwrap();
    node.write("t", One, producer, (0, 1), "c").unwrap();
    node.end("t", One, producer, Abort).unwrap();
    node.end("t", One, producer, Abort).unwrap();
    assert_eq!((node.state("t"), node.committed(0)), ("CompleteAbort", vec!["a".to_owned()]));
    assert_eq!(node.log.open_transactions(), []);
}

#[test]
fn version_2_adds_by_writing_and_raises_the_epoch_at_the_end() {
    let node = Node::new();
    let first = node.init("t");
    node.write("t", Two, first, (0, 0), "a").unwrap();
    node.write("t", Two, first, (1, 0), "b").unwrap();
    let second = node.end("t", Two, first, Commit).unwrap();
    assert_eq!(second, ProducerIdentity { epoch: first.epoch + 1, ..first });
    assert_eq!(node.end("t", Two, first, Commit).unwrap(), second, "the answer was lost");
    assert_eq!(why(node.end("t", Two, first, Abort)), "state");
    assert_eq!(why(node.write("t", Two, first, (0, 1), "late")), "fenced");
    node.write("t", Two, second, (0, 0), "c").unwrap();
    assert_eq!(why(node.end("t", Two, first, Commit)), "fenced", "the next one has begun");
    let third = node.end("t", Two, second, Abort).unwrap();
    assert_eq!((node.committed(0), node.committed(1)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert_eq!(node.end("t", Two, third, Abort).unwrap().epoch, third.epoch + 1, "nothing was written");
}

#[test]
fn a_new_producer_fences_the_old_and_aborts_what_it_left() {
    let node = Node::new();
    let zombie = node.init("t");
    node.write("t", Two, zombie, (0, 0), "a").unwrap();
    let current = node.init("t");
    assert_eq!((current.id, node.state("t")), (zombie.id, "Empty"));
    assert!(current.epoch > zombie.epoch);
    assert_eq!(why(node.write("t", Two, zombie, (0, 1), "late")), "fenced");
    assert_eq!(why(node.write("t", One, zombie, (1, 0), "late")), "fenced");
    assert_eq!(why(node.add("t", zombie, &[1])), "fenced");
    assert_eq!(why(node.end("t", Two, zombie, Commit)), "fenced");
    assert_eq!(why(node.end("t", One, zombie, Commit)), "fenced");
    assert_eq!(why(node.transactions.init_producer("t", TIMEOUT_MS, Some(zombie))), "fenced");
    node.write("t", Two, current, (0, 0), "b").unwrap();
    assert_eq!(why(node.transactions.init_producer("t", TIMEOUT_MS, Some(zombie))), "fenced", "open");
    node.end("t", Two, current, Commit).unwrap();
    assert_eq!(node.committed(0), ["b"]);
}

#[test]
fn others_do_not_speak_for_a_transactional_id() {
    let node = Node::new();
    let (mine, other) = (node.init("t"), node.init("u"));
    assert_ne!(mine.id, other.id);
    assert_eq!(why(node.write("t", Two, other, (0, 0), "a")), "mapping");
    assert_eq!(why(node.write("nobody", Two, mine, (0, 0), "a")), "mapping");
    assert_eq!(why(node.add("t", other, &[0])), "mapping");
    assert_eq!(why(node.end("t", Two, other, Commit)), "mapping");
    assert_eq!(why(node.end("nobody", One, mine, Commit)), "mapping");
    assert_eq!(why(node.transactions.init_producer("t", TIMEOUT_MS, Some(other))), "fenced");
    assert_eq!(why(node.transactions.init_producer("", TIMEOUT_MS, None)), "invalid request");
    for timeout_ms in [0, -1, 15 * 60 * 1000 + 1] {
        assert_eq!(why(node.transactions.init_producer("t", timeout_ms, None)), "invalid timeout");
    }
    assert_eq!(why(node.transactions.describe("nobody")), "unknown");
    let tps = [node.tp(0), node.tp(1)];
    node.add("t", mine, &[1]).unwrap();
    assert_eq!(node.transactions.verify_partitions("t", mine, &tps).unwrap(), [false, true]);
    assert_eq!(why(node.transactions.verify_partitions("t", other, &tps)), "mapping");
}

#[test]
fn what_is_open_for_too_long_is_aborted_and_its_producer_fenced() {
    let node = Node::new();
    let producer = node.init("t");
    node.clock.advance_ms(50_000);
    node.write("t", Two, producer, (0, 0), "a").unwrap();
    node.clock.advance_ms(i64::from(TIMEOUT_MS) - 1);
    node.transactions.tick();
    assert_eq!((node.state("t"), node.transactions.stats().open), ("Ongoing", 1));
    node.clock.advance_ms(1);
    node.transactions.tick();
    assert_eq!(why(node.write("t", Two, producer, (0, 1), "b")), "fenced", "before it is durable");
    while node.log.step() {}
    node.transactions.tick();
    assert_eq!((node.state("t"), node.transactions.stats().open), ("CompleteAbort", 0));
    assert_eq!(node.log.open_transactions(), []);
    for version in [One, Two] {
        assert_eq!(why(node.end("t", version, producer, Commit)), "fenced");
        assert_eq!(why(node.end("t", version, producer, Abort)), "fenced");
    }
    assert_eq!(node.committed(0), [""; 0]);
    let next = node.init("t");
    node.write("t", Two, next, (0, 0), "c").unwrap();
    node.end("t", Two, next, Commit).unwrap();
    assert_eq!(node.committed(0), ["c"]);
}

#[test]
fn a_change_on_its_way_lets_no_other_in() {
    let node = Node::new();
    let producer = node.init("t");
    node.write("t", Two, producer, (0, 0), "a").unwrap();
    let ending = node.transactions.end("t", producer, Commit, Two).unwrap();
    let next = ProducerIdentity { epoch: producer.epoch + 1, ..producer };
    assert_eq!(why(node.transactions.init_producer("t", TIMEOUT_MS, None)), "concurrent");
    assert_eq!(why(node.write("t", Two, next, (0, 0), "b")), "concurrent");
    assert_eq!(why(node.write("t", Two, producer, (0, 1), "b")), "fenced");
    assert_eq!(why(node.add("t", next, &[0])), "concurrent");
    let again = node.transactions.end("t", producer, Commit, Two).unwrap();
    assert_eq!(node.committed(0), [""; 0]);
    assert_eq!(again.wait().unwrap(), next);
    assert_eq!(node.committed(0), ["a"]);
    assert_eq!(ending.wait().unwrap(), next);
    node.write("t", Two, next, (0, 0), "b").unwrap();
}

#[test]
fn a_topic_deleted_in_between_does_not_keep_a_transaction_from_ending() {
    let node = Node::new();
    let gone = node.topics.create("gone", 1, [].into()).unwrap().partition(0);
    let producer = node.init("t");
    node.write("t", Two, producer, (0, 0), "a").unwrap();
    node.transactions.append("t", Two, gone, record(producer, 0, "x")).unwrap().wait().unwrap();
    node.topics.delete("gone").unwrap();
    node.end("t", Two, producer, Commit).unwrap();
    assert_eq!(node.committed(0), ["a"]);
}

#[test]
fn who_is_unused_for_a_week_is_forgotten() {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let node = Node::new();
    let old = node.init("old");
    node.clock.advance_ms(6 * DAY_MS);
    node.init("young");
    node.clock.advance_ms(DAY_MS);
    node.transactions.tick();
    assert_eq!(why(node.transactions.describe("old")), "unknown");
    while node.log.step() {}
    let node = node.crash();
    assert_eq!((node.transactions.stats().ids, node.state("young")), (1, "Empty"));
    assert_eq!(why(node.write("old", Two, old, (0, 0), "a")), "mapping");
    assert_ne!(node.init("old").id, old.id);
}
