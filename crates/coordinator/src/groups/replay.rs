//! Reading the groups back from their topic.

use std::sync::Arc;

use highwater_env::TopicPartition;
use highwater_log::{Log, LogBatch, MarkerKind, ReadError, Record};

use super::GroupError;
use super::group::Moment;
use super::offsets::Entry;
use super::records::{self, Key, StoredGroup};
use super::state::{Change, State};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;
/// A batch inflates to no more than this.
const INFLATED_BYTES_MAX: usize = 64 << 20;

/// The state that the records add up to. Members are given a session from now on.
pub(super) fn replay(
    log: &Log,
    partition: Option<TopicPartition>,
    at: &Moment<'_>,
) -> Result<State, GroupError> {
    let mut state = State::default();
    state.next_expiry = at.now + at.options.expiry_interval;
    let Some(partition) = partition else { return Ok(state) };
    let mut next = log.bounds(partition)?.log_start_offset;
    loop {
        let range = log.read(partition, next, READ_BYTES)?;
        if range.batches.is_empty() {
            break;
        }
        for batch in &range.batches {
            replay_batch(&mut state, batch, at)?;
        }
        next = range.next_offset(next);
    }
    let ids: Vec<Arc<str>> = state.groups.keys().cloned().collect();
    ids.iter().for_each(|id| state.count_members(id));
    let deadlines = state.groups.values().filter_map(|group| group.next_deadline());
    state.next_due = deadlines.min();
    Ok(state)
}

fn replay_batch(state: &mut State, batch: &LogBatch, at: &Moment<'_>) -> Result<(), GroupError> {
    if batch.is_control() {
        if let Some(marker) = batch.marker() {
            state.end_transaction(marker.producer_id, marker.kind == MarkerKind::Commit);
        }
        return Ok(());
    }
    let records = batch.records(INFLATED_BYTES_MAX);
    let records = records.map_err(|source| ReadError::Batch { offset: batch.base_offset(), source })?;
    let producer = batch.is_transactional().then(|| batch.producer_id());
    for record in records {
        let offset = record.offset;
        replay_record(state, producer, record, at).map_err(|what| GroupError::BadRecord { offset, what })?;
    }
    Ok(())
}

fn replay_record(
    state: &mut State,
    producer: Option<i64>,
    record: Record,
    at: &Moment<'_>,
) -> Result<(), String> {
    let key = record.key.ok_or("it has no key")?;
    match (records::read_key(&key)?, record.value) {
        (None, _) => tracing::warn!(offset = record.offset, "skipped: a record of a later Kafka"),
        (Some(Key::Group(group)), Some(value)) => restore(state, &group, records::read_group(&value)?, at),
        (Some(Key::Group(group)), None) => {
            if let Some(found) = state.groups.get_mut(&*group) {
                found.restore(Vec::new(), at);
                let group = Arc::clone(&found.id);
                state.apply(Change::Delete { group }, record.offset);
            }
        }
        (Some(Key::Offset { group, topic, partition }), Some(value)) => {
            let group: Arc<str> = group.into();
            let kept = records::read_offset(&value, record.offset)?;
            let entries = vec![Entry { topic: topic.into(), partition, kept }];
            let change = match producer {
                Some(producer_id) => Change::Pend { producer_id, group, entries },
                None => Change::Commit { group, entries },
            };
            state.apply(change, record.offset);
        }
        (Some(Key::Offset { group, topic, partition }), None) => {
            let change = Change::Remove { group: group.into(), partitions: vec![(topic.into(), partition)] };
            state.apply(change, record.offset);
        }
    }
    Ok(())
}

fn restore(state: &mut State, id: &str, stored: StoredGroup, at: &Moment<'_>) {
    let group = state.group(id);
    group.generation = stored.generation;
    group.protocol_type = Some(stored.protocol_type.into()).filter(|name: &Arc<str>| !name.is_empty());
    group.protocol = stored.protocol.map(Arc::from);
    group.leader = stored.leader.map(Arc::from);
    group.since_ms = stored.since_ms;
    let protocol = group.protocol.clone().unwrap_or_default();
    let members = stored.members.into_iter().map(|member| member.into_member(&protocol, at));
    let members = members.collect();
    group.restore(members, at);
}
