//! Reading the transactions back when the log is opened.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use highwater_env::TopicPartition;
use highwater_log::{Log, OpenTransaction, Record};

use super::producer::TransactionalProducer;
use super::records::{self, Value};
use super::{Entry, State, TransactionError, TransactionState};
use crate::Topics;

/// Bytes read from the records at a time.
const READ_BYTES: usize = 1 << 20;
/// A batch of records inflates to no more than this.
const INFLATED_BYTES_MAX: usize = 64 << 20;

/// Replays the records, then adds what the log knows to be open: a batch that added its partition by
/// being written has no record besides itself.
pub(super) fn recover(
    log: &Log,
    topics: &Topics,
    records: Option<TopicPartition>,
    now_ms: i64,
) -> Result<State, TransactionError> {
    let mut producers = match records {
        Some(records) => replay(log, topics, records)?,
        None => Producers::new(),
    };
    let by_id: BTreeMap<i64, Arc<str>> =
        producers.iter().map(|(id, producer)| (producer.identity.id, Arc::clone(id))).collect();
    for open in log.open_transactions() {
        let owner = by_id.get(&open.producer_id).and_then(|id| producers.get_mut(id));
        match owner.filter(|owner| owner.identity.epoch == open.producer_epoch) {
            // Whose beginning is in no record began anew: it gets its whole timeout once more.
            Some(owner) => {
                let updated_ms = owner.updated_ms;
                owner.add([open.tp], now_ms);
                owner.updated_ms = updated_ms;
            }
            None => report_hanging(topics, &open),
        }
    }
    let mut state = State::default();
    for (id, now) in producers {
        state.put(&id, Entry { now, pending: None, added: None });
        state.note_open(&id);
    }
    Ok(state)
}

/// As Kafka does, it is left to an operator: its writer may not be a client of this coordinator.
fn report_hanging(topics: &Topics, open: &OpenTransaction) {
    let topic = topics.by_id(open.tp.topic).map_or_else(|| open.tp.topic.to_string(), |t| t.name.to_string());
    tracing::warn!(
        topic,
        partition = open.tp.partition,
        producer_id = open.producer_id,
        first_offset = open.first_offset,
        "a transaction is open that belongs to no transactional id; readers of committed records wait \
         for it: see highwater transaction list and abort"
    );
}

type Producers = HashMap<Arc<str>, TransactionalProducer>;

fn replay(log: &Log, topics: &Topics, records: TopicPartition) -> Result<Producers, TransactionError> {
    let mut producers = Producers::new();
    let mut next = log.bounds(records)?.log_start_offset;
    loop {
        let range = log.read(records, next, READ_BYTES)?;
        if range.batches.is_empty() {
            return Ok(producers);
        }
        for batch in range.batches.iter().filter(|batch| !batch.is_control()) {
            let found = batch.records(INFLATED_BYTES_MAX);
            for record in found.map_err(|source| TransactionError::batch(batch.base_offset(), source))? {
                let offset = record.offset;
                apply(&mut producers, topics, record)
                    .map_err(|what| TransactionError::BadRecord { offset, what })?;
            }
        }
        next = range.next_offset(next);
    }
}

fn apply(producers: &mut Producers, topics: &Topics, record: Record) -> Result<(), String> {
    let id = records::read_key(record.key.ok_or("a record without a key")?)?;
    let Some(value) = record.value else {
        producers.remove(id.as_str());
        return Ok(());
    };
    let value = Value::read(value)?;
    producers.insert(Arc::from(id), restore(topics, value));
    Ok(())
}

fn restore(topics: &Topics, value: Value) -> TransactionalProducer {
    let mut partitions = BTreeSet::new();
    let is_open = value.state == TransactionState::Ongoing;
    for (name, numbers) in value.partitions.iter().filter(|_| is_open) {
        // A topic that was deleted needs no marker.
        let Some(topic) = topics.get(name) else { continue };
        let exists = |partition: &&i32| (0..topic.partitions).contains(*partition);
        partitions.extend(numbers.iter().filter(exists).map(|partition| topic.partition(*partition)));
    }
    TransactionalProducer {
        identity: value.producer,
        last_epoch: value.last_epoch,
        previous_id: value.previous_id,
        timeout_ms: value.timeout_ms,
        state: value.state,
        partitions,
        started_ms: value.started_ms,
        updated_ms: value.updated_ms,
        client_level: value.client_level,
    }
}
