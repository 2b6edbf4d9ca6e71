//! Changes that the log refuses, or loses because the disk is full.

use highwater_log::{AppendError, BatchBuilder};

use super::{Commit, Node, One, TIMEOUT_MS, TransactionError, Two, record, why};

/// Leaves no room for even the smallest batch.
fn fill(node: &Node) {
    node.disk.set_capacity(Some(0));
    for len in [30_000, 1_000, 1] {
        loop {
            let mut batch = BatchBuilder::new(0);
            batch.push(0, None, Some(&vec![b'x'; len]), &[]);
            match node.log.append(node.tp(1), batch.finish()).unwrap().wait() {
                Ok(()) => {}
                Err(AppendError::DiskFull) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn is_full<T>(result: Result<T, TransactionError>) -> bool {
    matches!(result, Err(TransactionError::Append(AppendError::DiskFull)))
}

#[test]
fn what_a_full_disk_loses_is_taken_back() {
    let node = Node::new();
    let producer = node.init("t");
    node.write("t", Two, producer, (0, 0), "a").unwrap();
    fill(&node);
    assert!(is_full(node.end("t", Two, producer, Commit)));
    assert_eq!((node.state("t"), node.committed(0)), ("Ongoing", vec![]));
    assert!(is_full(node.transactions.init_producer("t", TIMEOUT_MS, None).unwrap().wait()));
    assert_eq!(node.state("t"), "Ongoing");
    assert!(is_full(node.transactions.init_producer("new", TIMEOUT_MS, None).unwrap().wait()));
    assert_eq!(why(node.transactions.describe("new")), "unknown");
    node.disk.set_capacity(None);
    node.write("t", Two, producer, (0, 1), "b").unwrap();
    node.end("t", Two, producer, Commit).unwrap();
    assert_eq!(node.committed(0), ["a", "b"]);
}

#[test]
fn a_change_nobody_waits_for_is_taken_back_too() {
    let node = Node::new();
    let producer = node.init("t");
    node.write("t", Two, producer, (0, 0), "a").unwrap();
    fill(&node);
    drop(node.transactions.end("t", producer, Commit, Two).unwrap());
    assert_eq!(node.state("t"), "CompleteCommit");
    while node.log.step() {}
    node.transactions.tick();
    assert_eq!((node.state("t"), node.transactions.stats().open), ("Ongoing", 1));
}

#[test]
fn partitions_whose_record_was_lost_are_recorded_again() {
    let node = Node::new();
    let producer = node.init("t");
    fill(&node);
    assert!(is_full(node.add("t", producer, &[0])));
    node.disk.set_capacity(None);
    node.add("t", producer, &[0]).unwrap();
    let node = node.crash();
    assert_eq!(node.transactions.describe("t").unwrap().partitions, [node.tp(0)]);
    node.write("t", One, producer, (0, 0), "a").unwrap();
}

#[test]
fn a_batch_that_the_log_refuses_adds_no_partition() {
    let node = Node::new();
    let producer = node.init("t");
    let gap = node.transactions.append("t", Two, node.tp(0), record(producer, 5, "a"));
    assert!(matches!(gap, Err(TransactionError::Append(AppendError::OutOfOrderSequence { .. }))));
    assert_eq!(node.state("t"), "Empty");
}
