//! What an operator aborts.

use super::*;

#[test]
fn an_operator_aborts_what_is_open_and_fences_its_producer() {
    let node = Node::new();
    let producer = node.init("t");
    let abort = |id: &str| node.transactions.abort(id).and_then(super::super::PendingChange::wait);
    assert!(matches!(abort("nope"), Err(TransactionError::Unknown(_))));
    assert!(matches!(abort("t"), Err(TransactionError::InvalidState(_))), "none is open");
    node.write("t", Two, producer, (0, 0), "a").unwrap();
    node.write("t", Two, producer, (1, 0), "b").unwrap();
    assert_eq!(node.transactions.hanging(), []);
    abort("t").unwrap();
    assert_eq!((node.log.open_transactions(), node.committed(0)), (vec![], vec![]));
    assert!(matches!(abort("t"), Err(TransactionError::InvalidState(_))));
    let late = node.write("t", Two, producer, (0, 1), "c");
    assert!(matches!(late, Err(TransactionError::Fenced { .. })), "{late:?}");
    // It outlives a crash.
    let node = node.crash();
    assert_eq!(node.transactions.describe("t").unwrap().state.name(), "CompleteAbort");
    assert!(matches!(node.end("t", Two, producer, Commit), Err(TransactionError::Fenced { .. })));
}

#[test]
fn a_transaction_of_nobody_is_found_and_aborted() {
    let node = Node::new();
    let producer = node.init("t");
    node.write("t", Two, producer, (0, 0), "mine").unwrap();
    let stranger = ProducerIdentity { id: 77, epoch: 3 };
    node.log.append(node.tp(1), record(stranger, 0, "lost")).unwrap().wait().unwrap();
    let hanging = node.transactions.hanging();
    assert_eq!(hanging.len(), 1);
    assert_eq!((hanging[0].tp, hanging[0].producer_id, hanging[0].first_offset), (node.tp(1), 77, 0));
    node.transactions.abort_hanging(&hanging[0]).unwrap();
    assert_eq!((node.transactions.hanging(), node.committed(1)), (vec![], vec![]));
    node.end("t", Two, producer, Commit).unwrap();
    assert_eq!(node.committed(0), ["mine"]);
}
