//! The transitions of one transactional id, without a log.

use highwater_env::{TopicId, TopicPartition};

use super::super::producer::{End, TransactionalProducer};
use super::{Abort, Commit, One, TIMEOUT_MS, TransactionResult, TransactionVersion, Two, why};
use crate::{ProducerIdentity, TransactionState};

const FRESH: i64 = 999;
const TP: TopicPartition = TopicPartition { topic: TopicId(5), partition: 0 };

fn at(epoch: i16, state: TransactionState) -> TransactionalProducer {
    let mut producer = TransactionalProducer::new(1, TIMEOUT_MS, 0);
    producer.identity.epoch = epoch;
    producer.state = state;
    producer.client_level = Two.level();
    if state == TransactionState::Ongoing {
        producer.partitions.insert(TP);
    }
    producer
}

fn end(
    producer: &TransactionalProducer,
    epoch: i16,
    result: TransactionResult,
    version: TransactionVersion,
) -> &'static str {
    let from = ProducerIdentity { id: 1, epoch };
    match producer.end("t", from, result, version, 10, FRESH) {
        Ok(End::Repeated(_)) => "repeated",
        Ok(End::Now(ended)) => {
            assert_eq!((ended.result, ended.next.state, ended.next.updated_ms), (result, result.state(), 10));
            assert!(ended.next.partitions.is_empty());
            "ends"
        }
        Err(error) => why::<()>(Err(error)),
    }
}

/// The table in Kafka's `TransactionCoordinator`: abort again, abort, commit again, commit.
#[test]
fn ends_of_version_2_are_those_of_kafkas_table() {
    let rows = [
        (TransactionState::Empty, ["fenced", "ends", "fenced", "state"]),
        (TransactionState::Ongoing, ["fenced", "ends", "fenced", "ends"]),
        (TransactionState::CompleteAbort, ["repeated", "ends", "state", "state"]),
        (TransactionState::CompleteCommit, ["state", "ends", "repeated", "state"]),
    ];
    for (state, expected) in rows {
        let producer = at(5, state);
        let got = [
            end(&producer, 4, Abort, Two),
            end(&producer, 5, Abort, Two),
            end(&producer, 4, Commit, Two),
            end(&producer, 5, Commit, Two),
        ];
        assert_eq!(got, expected, "{state:?}");
        assert_eq!(end(&producer, 3, Abort, Two), "fenced");
        assert_eq!(end(&producer, 6, Abort, Two), "fenced");
    }
}

#[test]
fn ends_of_version_1_keep_the_epoch() {
    let rows = [
        (TransactionState::Empty, ["state", "state"]),
        (TransactionState::Ongoing, ["ends", "ends"]),
        (TransactionState::CompleteAbort, ["repeated", "state"]),
        (TransactionState::CompleteCommit, ["state", "repeated"]),
    ];
    for (state, expected) in rows {
        let producer = at(5, state);
        assert_eq!([end(&producer, 5, Abort, One), end(&producer, 5, Commit, One)], expected, "{state:?}");
        assert_eq!(end(&producer, 4, Commit, One), "fenced");
    }
}

/// Whose last transaction was not ended in version 2 did not get its epoch by that.
#[test]
fn only_an_end_of_version_2_is_asked_for_again_under_the_epoch_before() {
    let producer =
        TransactionalProducer { client_level: One.level(), ..at(5, TransactionState::CompleteCommit) };
    assert_eq!(end(&producer, 4, Commit, Two), "fenced");
}

#[test]
fn used_up_epochs_give_a_new_producer_id() {
    const LAST: i16 = i16::MAX - 1;
    let producer = at(LAST, TransactionState::Ongoing);
    let from = ProducerIdentity { id: 1, epoch: LAST };
    let Ok(End::Now(ended)) = producer.end("t", from, Commit, Two, 10, FRESH) else { panic!("it ends") };
    assert_eq!(ended.marker, ProducerIdentity { id: 1, epoch: i16::MAX });
    let fresh = ProducerIdentity { id: FRESH, epoch: 0 };
    assert_eq!((ended.next.identity, ended.next.previous_id), (fresh, 1));
    assert!(matches!(ended.next.end("t", from, Commit, Two, 11, 0), Ok(End::Repeated(id)) if id == fresh));

    let idle = at(LAST, TransactionState::Empty);
    for expected in [None, Some(from)] {
        let (marker, next) = idle.initialised(expected, TIMEOUT_MS, 10, FRESH).unwrap();
        assert_eq!((marker, next.identity, next.previous_id), (None, fresh, 1));
        let again = next.initialised(Some(from), TIMEOUT_MS, 11, 0);
        match expected {
            Some(_) => assert_eq!(again.unwrap().1.identity, fresh),
            None => assert_eq!(why(again), "fenced"),
        }
    }

    let (marker, next) = producer.initialised(None, TIMEOUT_MS, 10, FRESH).unwrap();
    assert_eq!((marker.unwrap().epoch, next.identity), (i16::MAX, fresh));
    let timed_out = producer.timed_out(i64::from(TIMEOUT_MS)).unwrap();
    assert_eq!((timed_out.marker.epoch, timed_out.next.identity.epoch), (i16::MAX, i16::MAX));
    let (_, next) = timed_out.next.initialised(None, TIMEOUT_MS, 10, FRESH).unwrap();
    assert_eq!(next.identity, fresh);
}

#[test]
fn a_producer_goes_on_after_an_error_under_a_higher_epoch() {
    let producer = at(5, TransactionState::CompleteAbort);
    let from = |epoch| Some(ProducerIdentity { id: 1, epoch });
    let (marker, raised) = producer.initialised(from(5), TIMEOUT_MS, 10, FRESH).unwrap();
    assert_eq!((marker, raised.identity.epoch, raised.state), (None, 6, TransactionState::Empty));
    let (_, again) = raised.initialised(from(5), TIMEOUT_MS, 11, FRESH).unwrap();
    assert_eq!(again.identity, raised.identity);
    let (_, taken_over) = raised.initialised(None, TIMEOUT_MS, 12, FRESH).unwrap();
    for epoch in [4, 5, 6, 8] {
        assert_eq!(why(taken_over.initialised(from(epoch), TIMEOUT_MS, 13, FRESH)), "fenced");
    }
    let mut open = raised.clone();
    open.add([TP], 20);
    let (marker, next) = open.initialised(from(6), TIMEOUT_MS, 21, FRESH).unwrap();
    assert_eq!((marker, next.identity.epoch), (Some(next.identity), 8));
    assert_eq!((next.state, next.partitions.len()), (TransactionState::Empty, 0));
}

#[test]
fn a_timeout_counts_from_the_first_partition() {
    let mut producer = at(5, TransactionState::CompleteCommit);
    assert_eq!(producer.timed_out(i64::MAX), None);
    producer.add([TP], 100);
    producer.add([TopicPartition { partition: 1, ..TP }], 200);
    assert_eq!(producer.timed_out(99 + i64::from(TIMEOUT_MS)), None);
    let ended = producer.timed_out(100 + i64::from(TIMEOUT_MS)).unwrap();
    assert_eq!((ended.marker.epoch, ended.next.state), (7, TransactionState::CompleteAbort));
}
