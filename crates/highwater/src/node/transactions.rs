//! Transactions in the server's words.

use highwater_coordinator::{
    Topics, TransactionDescription, TransactionError, TransactionState, Transactions,
};
use highwater_env::TopicPartition;
use highwater_log::Log;
use highwater_serve::{HangingTransaction, NodeError, TransactionPartition, TransactionStatus};

pub(super) fn list(
    topics: &Topics,
    transactions: &Transactions,
) -> (Vec<TransactionStatus>, Vec<HangingTransaction>) {
    let listed = transactions.list(&Default::default());
    let listed = listed.iter().map(|found| status(found, |tp| partition(topics, tp)));
    let hanging = transactions.hanging().into_iter().filter_map(|hanging| {
        Some(HangingTransaction {
            topic: topics.by_id(hanging.tp.topic)?.name.to_string(),
            partition: hanging.tp.partition,
            producer_id: hanging.producer_id,
            producer_epoch: hanging.producer_epoch,
            first_offset: hanging.first_offset,
            last_written_ms: hanging.last_timestamp_ms,
        })
    });
    (listed.collect(), hanging.collect())
}

pub(super) fn describe(
    log: &Log,
    topics: &Topics,
    transactions: &Transactions,
    id: &str,
) -> Result<TransactionStatus, NodeError> {
    let found = transactions.describe(id).map_err(|error| refused(id, error))?;
    let producer_id = found.producer.id;
    Ok(status(&found, |tp| {
        let producers = log.producers(tp).unwrap_or_default();
        let writer = producers.into_iter().find(|producer| producer.producer_id == producer_id);
        let first_offset = writer.and_then(|producer| producer.open_since);
        Some(TransactionPartition { first_offset, ..partition(topics, tp)? })
    }))
}

/// None if its topic is deleted.
fn partition(topics: &Topics, tp: TopicPartition) -> Option<TransactionPartition> {
    let topic = topics.by_id(tp.topic)?.name.to_string();
    Some(TransactionPartition { topic, partition: tp.partition, first_offset: None })
}

fn status(
    found: &TransactionDescription,
    partition: impl Fn(TopicPartition) -> Option<TransactionPartition>,
) -> TransactionStatus {
    TransactionStatus {
        id: found.transactional_id.to_string(),
        state: found.state.name().to_owned(),
        producer_id: found.producer.id,
        producer_epoch: found.producer.epoch,
        timeout_ms: found.timeout_ms,
        open_since_ms: (found.state == TransactionState::Ongoing).then_some(found.started_ms),
        partitions: found.partitions.iter().filter_map(|tp| partition(*tp)).collect(),
    }
}

pub(super) fn abort(transactions: &Transactions, id: &str) -> Result<(), NodeError> {
    let aborted = transactions.abort(id).and_then(highwater_coordinator::PendingChange::wait);
    aborted.map_err(|error| refused(id, error))
}

pub(super) fn abort_hanging(
    topics: &Topics,
    transactions: &Transactions,
    (topic, partition): (&str, i32),
    producer_id: i64,
) -> Result<(), NodeError> {
    let name = format!("of producer {producer_id} in {topic}-{partition}");
    let not_found = || NodeError::NotFound { what: "transaction", name: name.clone() };
    let tp = topics.get(topic).ok_or_else(not_found)?.partition(partition);
    let hanging = transactions.hanging();
    let found = hanging.iter().find(|one| one.tp == tp && one.producer_id == producer_id);
    let aborted = transactions.abort_hanging(found.ok_or_else(not_found)?);
    aborted.map_err(|error| refused(&name, error))
}

fn refused(id: &str, error: TransactionError) -> NodeError {
    let message = error.to_string();
    match error {
        TransactionError::Unknown(_) => NodeError::NotFound { what: "transaction", name: id.to_owned() },
        TransactionError::InvalidState(_) | TransactionError::InvalidRequest(_) => {
            NodeError::Invalid { message, hint: "see highwater transaction list --open".into() }
        }
        TransactionError::Concurrent => NodeError::Unavailable { message },
        _ => NodeError::Failed(message),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use highwater_coordinator::{Coordinators, TopicOptions, TransactionVersion};
    use highwater_env::{Clock, Entropy, ManualClock, MemoryBudget, SeededEntropy, SimDisk};
    use highwater_log::{BatchBuilder, LogBatch, LogOptions};

    use super::*;

    struct Fixture {
        log: Log,
        topics: Topics,
        transactions: Transactions,
    }

    fn fixture() -> Fixture {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(5_000));
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        let (disk, budget) = (Arc::new(SimDisk::new(1)), MemoryBudget::unlimited());
        let (log, _) =
            Log::open_stepped(disk, Arc::clone(&clock), Path::new("data"), LogOptions::default(), &budget)
                .unwrap();
        let topics = Topics::open(log.clone(), Arc::clone(&entropy), TopicOptions::default()).unwrap();
        topics.create("orders", 2, [].into()).unwrap();
        let coordinators = Coordinators::open(&log, topics.clone(), &clock, &entropy).unwrap();
        Fixture { log, topics, transactions: coordinators.transactions }
    }

    fn batch(producer_id: i64, epoch: i16) -> LogBatch {
        let mut batch = BatchBuilder::new(5_000).with_producer(producer_id, epoch, 0).transactional();
        batch.push(5_000, None, Some(b"a"), &[]);
        batch.finish()
    }

    #[test]
    fn an_open_transaction_is_listed_described_and_aborted() {
        let Fixture { log, topics, transactions } = &fixture();
        let tp = topics.get("orders").unwrap().partition(1);
        let producer = transactions.init_producer("t", 60_000, None).unwrap().wait().unwrap();
        let (listed, hanging) = list(topics, transactions);
        assert_eq!((listed[0].open_since_ms, listed[0].partitions.len(), hanging.len()), (None, 0, 0));
        let written = batch(producer.id, producer.epoch);
        transactions.append("t", TransactionVersion::Two, tp, written).unwrap().wait().unwrap();
        let (listed, _) = list(topics, transactions);
        assert_eq!((&*listed[0].state, listed[0].open_since_ms), ("Ongoing", Some(5_000)));
        let described = describe(log, topics, transactions, "t").unwrap();
        let orders = TransactionPartition { topic: "orders".to_owned(), partition: 1, first_offset: Some(0) };
        assert_eq!((described.producer_id, described.partitions), (producer.id, vec![orders]));
        abort(transactions, "t").unwrap();
        assert!(log.open_transactions().is_empty());
        assert!(matches!(abort(transactions, "t"), Err(NodeError::Invalid { .. })));
        assert!(matches!(abort(transactions, "u"), Err(NodeError::NotFound { what: "transaction", .. })));
        assert!(matches!(describe(log, topics, transactions, "u"), Err(NodeError::NotFound { .. })));
    }

    #[test]
    fn a_hanging_transaction_is_listed_and_aborted() {
        let Fixture { log, topics, transactions } = &fixture();
        log.append(topics.get("orders").unwrap().partition(0), batch(77, 3)).unwrap().wait().unwrap();
        let (_, hanging) = list(topics, transactions);
        let expected = HangingTransaction {
            topic: "orders".to_owned(),
            partition: 0,
            producer_id: 77,
            producer_epoch: 3,
            first_offset: 0,
            last_written_ms: 5_000,
        };
        assert_eq!(hanging, [expected]);
        for (topic, partition, producer) in [("orders", 1, 77), ("orders", 0, 7), ("nope", 0, 77)] {
            let aborted = abort_hanging(topics, transactions, (topic, partition), producer);
            assert!(matches!(aborted, Err(NodeError::NotFound { .. })));
        }
        abort_hanging(topics, transactions, ("orders", 0), 77).unwrap();
        assert!(log.open_transactions().is_empty());
    }
}
