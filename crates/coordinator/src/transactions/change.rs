//! Making a change durable, or taking it back.

use std::sync::Arc;

use highwater_env::TopicPartition;
use highwater_log::{AppendError, BatchBuilder, LogBatch, Marker, MarkerKind, Ticket};

use super::producer::{ProducerIdentity, TransactionResult, TransactionalProducer, wrong_mapping};
use super::records::{self, Value};
use super::{COORDINATOR_EPOCH, EXPIRED_MAX, Entry, Pending, State, TransactionError, Transactions};

/// A change that is made and whose outcome holds once it is durable.
#[must_use = "the change is durable only once it was waited for"]
pub struct PendingChange<T> {
    transactions: Transactions,
    /// The transactional id to look after once it is known how it went.
    id: Option<Arc<str>>,
    ticket: Option<Ticket>,
    outcome: T,
}

impl<T> PendingChange<T> {
    pub(super) fn new(
        transactions: &Transactions,
        id: Option<Arc<str>>,
        ticket: Option<Ticket>,
        outcome: T,
    ) -> Self {
        Self { transactions: transactions.clone(), id, ticket, outcome }
    }

    /// The outcome, once it is durable.
    ///
    /// # Errors
    /// If the log lost it: then the change is taken back.
    pub async fn durable(self) -> Result<T, TransactionError> {
        let durable = match self.ticket {
            Some(ticket) => ticket.await,
            None => Ok(()),
        };
        Self::settled(&self.transactions, self.id.as_deref(), durable, self.outcome)
    }

    /// Blocks for the outcome.
    ///
    /// # Errors
    /// As [`PendingChange::durable`].
    pub fn wait(self) -> Result<T, TransactionError> {
        let durable = self.ticket.map_or(Ok(()), Ticket::wait);
        Self::settled(&self.transactions, self.id.as_deref(), durable, self.outcome)
    }

    fn settled(
        transactions: &Transactions,
        id: Option<&str>,
        durable: Result<(), AppendError>,
        outcome: T,
    ) -> Result<T, TransactionError> {
        if let Some(id) = id {
            transactions.settle(&mut transactions.state(), id);
        }
        durable?;
        Ok(outcome)
    }
}

impl Transactions {
    /// The entry of a producer that may speak for `id`, with no change on its way.
    pub(super) fn settled<'s>(
        &self,
        state: &'s mut State,
        id: &str,
        producer: ProducerIdentity,
    ) -> Result<&'s mut Entry, TransactionError> {
        self.settle(state, id);
        let entry = state.ids.get_mut(id).ok_or_else(|| wrong_mapping(id, producer.id))?;
        entry.now.check(id, producer)?;
        entry.check_settled()?;
        Ok(entry)
    }

    /// Finishes the change of `id` whose fate is known, if there is one.
    pub(super) fn settle(&self, state: &mut State, id: &str) {
        let Some(entry) = state.ids.get_mut(id) else { return };
        let Some((pending, outcome)) =
            entry.pending.take_if(|pending| pending.ticket.poll_now().is_some()).and_then(|pending| {
                let outcome = pending.ticket.poll_now()?;
                Some((pending, outcome))
            })
        else {
            return;
        };
        match (outcome, pending.before) {
            (Ok(()), _) => {
                if let Some((producer_id, result)) = pending.ended {
                    self.0.groups.complete_transaction(producer_id, result == TransactionResult::Commit);
                }
            }
            (Err(error), Some(before)) => {
                tracing::warn!(id, "change of a transaction is taken back: {error}");
                entry.now = before;
            }
            (Err(_), None) => state.remove(id),
        }
        state.note_open(id);
    }

    /// Writes `next` and, if a transaction ends, its markers: all or nothing. The ticket says when
    /// it is durable.
    pub(super) fn change(
        &self,
        state: &mut State,
        id: &Arc<str>,
        ended: Option<(ProducerIdentity, TransactionResult)>,
        next: TransactionalProducer,
    ) -> Result<Ticket, TransactionError> {
        let (records, now_ms) = (self.partition()?, next.updated_ms);
        let before = state.ids.get(id).map(|entry| entry.now.clone());
        let mut partitions: Vec<TopicPartition> = match (&before, ended) {
            (Some(before), Some(_)) => before.partitions.iter().copied().collect(),
            _ => Vec::new(),
        };
        let ticket = loop {
            let markers = ended.iter().flat_map(|(producer, result)| {
                let marker = marker(*producer, *result).batch(now_ms);
                partitions.iter().map(move |tp| (*tp, marker.clone()))
            });
            let record = (records, self.record(id, &next, now_ms));
            match self.0.log.append_all(markers.chain([record]).collect()) {
                Ok(mut tickets) => break tickets.pop().expect("one ticket for each batch"),
                // Its topic was deleted meanwhile, with all its partitions.
                Err(AppendError::UnknownPartition(tp)) if partitions.contains(&tp) => {
                    partitions.retain(|known| known.topic != tp.topic);
                }
                Err(AppendError::FencedProducer { .. }) if self.leave_out_ended(&mut partitions, ended) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let ended = ended.map(|(producer, result)| (producer.id, result));
        let pending = Some(Pending { ticket: ticket.clone(), before, ended });
        state.put(id, Entry { now: next, pending, added: None });
        state.unsettled.insert(Arc::clone(id));
        state.note_open(id);
        Ok(ticket)
    }

    /// Leaves out the partitions where an operator has ended the transaction under a higher epoch than
    /// its marker would have: there is nothing to end, and the marker is fenced. (In Kafka, too, such a
    /// partition gets no marker and the end is answered with yes.) Whether there were any.
    fn leave_out_ended(
        &self,
        partitions: &mut Vec<TopicPartition>,
        ended: Option<(ProducerIdentity, TransactionResult)>,
    ) -> bool {
        let Some((marker, _)) = ended else { return false };
        let is_ended = |tp: &TopicPartition| {
            let producers = self.0.log.producers(*tp).unwrap_or_default();
            let known = producers.into_iter().find(|known| known.producer_id == marker.id);
            known.is_some_and(|known| known.epoch > marker.epoch && known.open_since.is_none())
        };
        let before = partitions.len();
        partitions.retain(|tp| !is_ended(tp));
        partitions.len() < before
    }

    /// The record of `id` as it is to be.
    pub(super) fn record(&self, id: &str, next: &TransactionalProducer, now_ms: i64) -> LogBatch {
        let value = self.value(next);
        let mut batch = BatchBuilder::new(now_ms);
        batch.push(now_ms, Some(&records::key(id)), Some(&value.encode()), &[]);
        batch.finish()
    }

    fn value(&self, producer: &TransactionalProducer) -> Value {
        let mut partitions: Vec<(String, Vec<i32>)> = Vec::new();
        let mut topic = None;
        // Ordered by topic: each is looked up once.
        for tp in &producer.partitions {
            if topic != Some(tp.topic) {
                topic = Some(tp.topic);
                let name =
                    self.0.topics.by_id(tp.topic).map_or(String::new(), |topic| topic.name.to_string());
                partitions.push((name, Vec::new()));
            }
            if let Some((_, numbers)) = partitions.last_mut() {
                numbers.push(tp.partition);
            }
        }
        // Deleted meanwhile.
        partitions.retain(|(name, _)| !name.is_empty());
        Value {
            producer: producer.identity,
            previous_id: producer.previous_id,
            last_epoch: producer.last_epoch,
            timeout_ms: producer.timeout_ms,
            state: producer.state,
            partitions,
            updated_ms: producer.updated_ms,
            started_ms: producer.started_ms,
            client_level: producer.client_level,
        }
    }

    /// Forgets transactional ids that nobody used for long.
    pub(super) fn expire(&self, state: &mut State, now_ms: i64) {
        let unused_ms = i64::try_from(self.0.options.expiration.as_millis()).unwrap_or(i64::MAX);
        let expired = state
            .ids
            .iter()
            .filter(|(_, entry)| entry.pending.is_none() && entry.now.is_expired(now_ms, unused_ms));
        let expired: Vec<Arc<str>> = expired.map(|(id, _)| Arc::clone(id)).take(EXPIRED_MAX).collect();
        if expired.is_empty() {
            return;
        }
        let mut batch = BatchBuilder::new(now_ms);
        for id in &expired {
            batch.push(now_ms, Some(&records::key(id)), None, &[]);
        }
        // Should the record get lost, they are forgotten again after the next start.
        let appended = self.partition().map_err(TransactionError::from);
        match appended.and_then(|records| Ok(self.0.log.append(records, batch.finish())?)) {
            Ok(_) => expired.iter().for_each(|id| state.remove(id)),
            Err(error) => tracing::debug!("transactional ids cannot be forgotten yet: {error}"),
        }
    }
}

impl State {
    /// Puts an entry in the place of an id's last one.
    pub(super) fn put(&mut self, id: &Arc<str>, entry: Entry) {
        if self.ids.insert(Arc::clone(id), entry).is_none() {
            self.ids_bytes += id.len();
        }
    }

    fn remove(&mut self, id: &str) {
        if self.ids.remove(id).is_some() {
            self.ids_bytes -= id.len();
        }
    }

    /// Keeps the list of open transactions true.
    pub(super) fn note_open(&mut self, id: &str) {
        let open = |entry: &Entry| entry.now.state == super::TransactionState::Ongoing;
        match self.ids.get_key_value(id).filter(|(_, entry)| open(entry)) {
            Some((id, _)) => drop(self.open.insert(Arc::clone(id))),
            None => drop(self.open.remove(id)),
        }
    }
}

fn marker(producer: ProducerIdentity, result: TransactionResult) -> Marker {
    Marker {
        kind: match result {
            TransactionResult::Commit => MarkerKind::Commit,
            TransactionResult::Abort => MarkerKind::Abort,
        },
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        coordinator_epoch: COORDINATOR_EPOCH,
    }
}
