//! What an operator ends, and what is bounded whoever asks.

use std::sync::Arc;

use highwater_env::SeededEntropy;
use highwater_log::{Marker, MarkerKind};

use super::{
    Commit, Node, ProducerIdentity, TIMEOUT_MS, TransactionError, TransactionOptions, Transactions, Two, why,
};

impl Node {
    /// The same with other limits.
    fn with(self, options: TransactionOptions) -> Self {
        let groups = self.transactions.0.groups.clone();
        let (log, topics, clock) = (self.log.clone(), self.topics.clone(), self.clock.clone());
        let entropy = Arc::new(SeededEntropy::new(8));
        let transactions = Transactions::open(log, topics, groups, clock, entropy, options).unwrap();
        Self { transactions, ..self }
    }

    /// An operator aborts what `producer` has open in a partition, under an epoch far above.
    fn abort_by_hand(&self, producer: ProducerIdentity, partition: i32) {
        let producer_epoch = producer.epoch + 10;
        let marker = Marker {
            kind: MarkerKind::Abort,
            producer_id: producer.id,
            producer_epoch,
            coordinator_epoch: 0,
        };
        self.transactions.write_marker(self.tp(partition), marker).unwrap().wait().unwrap();
        self.transactions.marker_written(self.tp(partition), marker);
    }
}

#[test]
fn what_an_operator_ended_under_a_higher_epoch_keeps_nothing_else_from_ending() {
    let opened = || {
        let node = Node::new();
        let producer = node.init("t");
        node.write("t", Two, producer, (0, 0), "a").unwrap();
        node.write("t", Two, producer, (1, 0), "b").unwrap();
        node.abort_by_hand(producer, 0);
        (node, producer)
    };
    let (node, producer) = opened();
    let next = node.end("t", Two, producer, Commit).unwrap();
    assert_eq!((node.committed(0), node.committed(1)), (vec![], vec!["b".to_owned()]));
    assert_eq!((node.log.open_transactions(), node.state("t")), (vec![], "CompleteCommit"));
    assert_eq!(node.end("t", Two, producer, Commit).unwrap(), next, "asked again");

    let (node, _) = opened();
    node.init("t");
    assert_eq!((node.log.open_transactions(), node.state("t")), (vec![], "Empty"));

    let (node, _) = opened();
    node.clock.advance_ms(i64::from(TIMEOUT_MS));
    node.transactions.tick();
    while node.log.step() {}
    node.transactions.tick();
    assert_eq!((node.log.open_transactions(), node.state("t")), (vec![], "CompleteAbort"));
}

#[test]
fn a_transaction_has_no_more_partitions_than_its_end_has_room_for() {
    let node = Node::new().with(TransactionOptions { partitions_max: 1, ..TransactionOptions::default() });
    let producer = node.init("t");
    assert_eq!(why(node.add("t", producer, &[0, 1])), "invalid request");
    assert_eq!(node.state("t"), "Empty");
    node.write("t", Two, producer, (0, 0), "a").unwrap();
    assert_eq!(why(node.write("t", Two, producer, (1, 0), "b")), "invalid request");
    assert_eq!(why(node.add("t", producer, &[1])), "invalid request");
    node.write("t", Two, producer, (0, 1), "c").unwrap();
    let next = node.end("t", Two, producer, Commit).unwrap();
    assert_eq!(node.committed(0), ["a", "c"]);
    node.write("t", Two, next, (1, 0), "d").unwrap();
}

#[test]
fn transactional_ids_are_bounded_in_number_and_bytes() {
    let few = TransactionOptions { ids_max: 3, ids_bytes_max: 10, ..TransactionOptions::default() };
    let is_refused = |node: &Node, id: &str| {
        let asked = node.transactions.init_producer(id, TIMEOUT_MS, None);
        matches!(asked.map(|_| ()), Err(TransactionError::TooMany(_)))
    };
    let node = Node::new().with(few.clone());
    node.init("12345678");
    assert!(is_refused(&node, "abc"));
    node.init("12345678");
    node.init("ab");
    assert!(is_refused(&node, "c"));
    // The bytes are counted again after a restart, and given back when an id is forgotten.
    let node = node.crash().with(few.clone());
    assert!(is_refused(&node, "c"));
    node.clock.advance_ms(i64::try_from(few.expiration.as_millis()).unwrap());
    node.transactions.tick();
    node.init("0123456789");
    let one = TransactionOptions { ids_max: 1, ..TransactionOptions::default() };
    let node = Node::new().with(one);
    node.init("a");
    assert!(is_refused(&node, "b"));
}

#[test]
fn adding_no_partition_opens_no_transaction() {
    let node = Node::new();
    let producer = node.init("t");
    node.add("t", producer, &[]).unwrap();
    assert_eq!((node.state("t"), node.transactions.stats().open), ("Empty", 0));
}
