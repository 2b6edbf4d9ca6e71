//! The power fails, and comes back.

use highwater_log::{Marker, MarkerKind, OpenTransaction};

use super::{Abort, Commit, Node, One, TIMEOUT_MS, Two, record, why};
use crate::ProducerIdentity;

#[test]
fn a_transaction_of_version_1_goes_on_after_a_crash() {
    let node = Node::new();
    let producer = node.init("t");
    node.add("t", producer, &[0, 1]).unwrap();
    node.write("t", One, producer, (0, 0), "a").unwrap();
    node.clock.advance_ms(500);
    let node = node.crash();
    let found = node.transactions.describe("t").unwrap();
    assert_eq!((found.state.name(), found.started_ms), ("Ongoing", 1_000));
    assert_eq!(found.partitions, [node.tp(0), node.tp(1)]);
    node.write("t", One, producer, (1, 0), "b").unwrap();
    node.end("t", One, producer, Commit).unwrap();
    assert_eq!((node.committed(0), node.committed(1)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    let node = node.crash();
    assert_eq!(node.end("t", One, producer, Commit).unwrap(), producer, "the answer was lost");
}

#[test]
fn a_transaction_of_version_2_goes_on_after_a_crash() {
    let node = Node::new();
    let producer = node.init("t");
    node.write("t", Two, producer, (0, 0), "a").unwrap();
    node.write("t", Two, producer, (1, 0), "b").unwrap();
    node.log.step_segments(true).unwrap();
    node.clock.advance_ms(i64::from(TIMEOUT_MS));
    let node = node.crash();
    let found = node.transactions.describe("t").unwrap();
    assert_eq!((found.state.name(), found.partitions), ("Ongoing", vec![node.tp(0), node.tp(1)]));
    node.transactions.tick();
    assert_eq!(node.state("t"), "Ongoing", "its beginning is in no record: the timeout begins again");
    let next = node.end("t", Two, producer, Commit).unwrap();
    assert_eq!((node.committed(0), node.committed(1)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    let node = node.crash();
    assert_eq!(node.end("t", Two, producer, Commit).unwrap(), next, "the answer was lost");
    assert_eq!(node.state("t"), "CompleteCommit");
}

#[test]
fn a_crash_leaves_all_of_an_end_or_nothing() {
    for durable in [false, true] {
        let node = Node::new();
        let producer = node.init("t");
        node.write("t", Two, producer, (0, 0), "a").unwrap();
        node.write("t", Two, producer, (1, 0), "b").unwrap();
        let ending = node.transactions.end("t", producer, Commit, Two).unwrap();
        if durable {
            ending.wait().unwrap();
        } else {
            drop(ending);
        }
        let node = node.crash();
        let seen = (node.committed(0), node.committed(1), node.state("t"));
        let (a, b) = (vec!["a".to_owned()], vec!["b".to_owned()]);
        match durable {
            true => assert_eq!(seen, (a, b, "CompleteCommit")),
            false => assert_eq!(seen, (vec![], vec![], "Ongoing")),
        }
        node.end("t", Two, producer, Commit).unwrap();
        assert_eq!((node.committed(0).len(), node.committed(1).len()), (1, 1));
    }
}

#[test]
fn fencing_survives_a_crash() {
    let node = Node::new();
    let zombie = node.init("t");
    node.write("t", Two, zombie, (0, 0), "a").unwrap();
    let current = node.init("t");
    let node = node.crash();
    assert_eq!(why(node.write("t", Two, zombie, (1, 0), "late")), "fenced");
    assert_eq!(why(node.end("t", Two, zombie, Commit)), "fenced");
    node.write("t", Two, current, (0, 0), "b").unwrap();
    node.end("t", Two, current, Commit).unwrap();
    assert_eq!(node.committed(0), ["b"]);
    assert_eq!(node.init("t").id, zombie.id);
}

/// KIP-360: a producer that goes on after an error and did not see the answer asks again.
#[test]
fn an_answer_lost_with_the_node_is_asked_for_again() {
    let node = Node::new();
    let first = node.init("t");
    let raised = node.transactions.init_producer("t", TIMEOUT_MS, Some(first)).unwrap().wait().unwrap();
    assert_eq!(raised.epoch, first.epoch + 1);
    let node = node.crash();
    let again = node.transactions.init_producer("t", TIMEOUT_MS, Some(first)).unwrap().wait().unwrap();
    assert_eq!(again, raised);
    node.init("t");
    assert_eq!(why(node.transactions.init_producer("t", TIMEOUT_MS, Some(first))), "fenced");
}

/// As in Kafka: what belongs to no transactional id is left to an operator.
#[test]
fn a_hanging_transaction_is_left_open_and_ended_by_hand() {
    let node = Node::new();
    let stranger = ProducerIdentity { id: 77, epoch: 3 };
    node.log.append(node.tp(0), record(stranger, 0, "a")).unwrap().wait().unwrap();
    let node = node.crash();
    let tp = node.tp(0);
    let open =
        OpenTransaction { tp, producer_id: 77, producer_epoch: 3, first_offset: 0, last_timestamp_ms: 5 };
    assert_eq!(node.log.open_transactions(), [open]);
    assert_eq!(node.transactions.stats().ids, 0);
    let marker = Marker { kind: MarkerKind::Abort, producer_id: 77, producer_epoch: 3, coordinator_epoch: 0 };
    node.transactions.write_marker(tp, marker).unwrap().wait().unwrap();
    assert_eq!((node.log.open_transactions(), node.committed(0)), (vec![], vec![]));
    assert_eq!(node.log.bounds(tp).unwrap().last_stable_offset, 2);
}

#[test]
fn an_abort_survives_a_crash() {
    let node = Node::new();
    let producer = node.init("t");
    node.write("t", Two, producer, (0, 0), "a").unwrap();
    let next = node.end("t", Two, producer, Abort).unwrap();
    let node = node.crash();
    assert_eq!((node.state("t"), node.committed(0)), ("CompleteAbort", vec![]));
    node.write("t", Two, next, (0, 0), "b").unwrap();
    let node = node.crash();
    node.end("t", Two, next, Commit).unwrap();
    assert_eq!(node.committed(0), ["b"]);
}
