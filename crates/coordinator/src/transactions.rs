//! Transactions of producers (KIP-98, KIP-447, KIP-890).
//!
//! - A change applies at once and is answered once the log made it durable. Until then the same
//!   transactional id takes no other change.
//! - The end of a transaction is **one** group of the log: a marker in every partition it wrote to,
//!   and the record that says how it ended. A crash leaves all of it or nothing.
//! - A transactional batch is checked and appended under the lock that its transaction ends under:
//!   none gets in behind a marker.
//! - What is open survives a restart: partitions added by request are in the records, partitions
//!   added by writing to them are known to the log.
//!
//! Lock order: transactions, groups, log. It must not know requests or error codes.

mod change;
mod error;
mod listing;
mod offsets;
mod operating;
mod producer;
mod records;
mod recovery;
mod state;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use highwater_env::{Clock, Entropy, TopicPartition};
use highwater_log::{Log, LogBatch, Marker, MarkerKind, Ticket};

use crate::{Groups, TopicError, Topics};
use producer::{End, TransactionalProducer, wrong_mapping};

pub use change::PendingChange;
pub use error::TransactionError;
pub use listing::{TransactionDescription, TransactionFilter, TransactionStats};
pub use producer::{ProducerIdentity, TransactionResult, TransactionVersion};
pub use state::TransactionState;

/// The topic that holds the transactions' records.
pub const TRANSACTION_TOPIC: &str = "__transaction_state";
/// There is one coordinator for ever: this node.
pub const COORDINATOR_EPOCH: i32 = 0;

/// Between two looks for transactional ids that expired.
const EXPIRY_PAUSE_MS: i64 = 60_000;
/// Most transactional ids that one look lets go.
const EXPIRED_MAX: usize = 1_000;

/// Limits of transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionOptions {
    /// The longest timeout a producer may ask for (Kafka's `transaction.max.timeout.ms`).
    pub timeout_max: Duration,
    /// A transactional id is forgotten that was not used for so long (`transactional.id.expiration.ms`).
    pub expiration: Duration,
    /// Transactional ids known at one time.
    pub ids_max: usize,
    /// Bytes of all transactional ids.
    pub ids_bytes_max: usize,
    /// Partitions of one transaction. The markers that end it share a group of the log, which must have
    /// room for them.
    pub partitions_max: usize,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            timeout_max: Duration::from_secs(15 * 60),
            expiration: DAY * 7,
            ids_max: 1_000_000,
            ids_bytes_max: 128 << 20,
            partitions_max: 20_000,
        }
    }
}

/// All transactions of a node; a cheap handle, shared by clones.
#[derive(Clone)]
pub struct Transactions(Arc<Coordinator>);

struct Coordinator {
    log: Log,
    topics: Topics,
    groups: Groups,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    options: TransactionOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ids: HashMap<Arc<str>, Entry>,
    /// Bytes of all of them.
    ids_bytes: usize,
    /// Those with an open transaction.
    open: BTreeSet<Arc<str>>,
    /// Those with a change of which it is not known yet whether it is durable.
    unsettled: BTreeSet<Arc<str>>,
    next_expiry_ms: i64,
}

struct Entry {
    now: TransactionalProducer,
    pending: Option<Pending>,
    /// The newest record of its partitions, which lists no more than `now.partitions`.
    added: Option<Ticket>,
}

/// A change that may still be lost, if the disk is full.
struct Pending {
    ticket: Ticket,
    /// What to go back to; nothing if the id was unknown.
    before: Option<TransactionalProducer>,
    /// The producer id whose transaction it ends, and how.
    ended: Option<(i64, TransactionResult)>,
}

impl Transactions {
    /// Reads the transactions back from the log.
    ///
    /// # Errors
    /// If the log fails or a record is damaged.
    pub fn open(
        log: Log,
        topics: Topics,
        groups: Groups,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        options: TransactionOptions,
    ) -> Result<Self, TransactionError> {
        let records = topics.get(TRANSACTION_TOPIC).map(|topic| topic.partition(0));
        let state = Mutex::new(recovery::recover(&log, &topics, records, clock.unix_ms())?);
        Ok(Self(Arc::new(Coordinator { log, topics, groups, clock, entropy, options, state })))
    }

    /// The partition of the transactions' records. Made, which waits for the disk, for the first
    /// producer with a transactional id.
    ///
    /// # Errors
    /// If its topic cannot be made.
    pub fn partition(&self) -> Result<TopicPartition, TopicError> {
        self.0.topics.coordinator_partition(TRANSACTION_TOPIC)
    }

    /// A producer takes over the transactional id, or goes on after an error, naming itself
    /// (`expected`, KIP-360). Its predecessor is fenced, and an open transaction aborted.
    ///
    /// # Errors
    /// See [`TransactionError`]; then nothing changed.
    pub fn init_producer(
        &self,
        id: &str,
        timeout_ms: i32,
        expected: Option<ProducerIdentity>,
    ) -> Result<PendingChange<ProducerIdentity>, TransactionError> {
        check_id(id)?;
        let timeout_ms_max = i32::try_from(self.0.options.timeout_max.as_millis()).unwrap_or(i32::MAX);
        if !(1..=timeout_ms_max).contains(&timeout_ms) {
            return Err(TransactionError::InvalidTimeout { timeout_ms, timeout_ms_max });
        }
        self.partition()?;
        let (mut state, now_ms, fresh_id) = (self.state(), self.now_ms(), self.fresh_producer_id());
        self.settle(&mut state, id);
        let (key, marker, next) = match state.ids.get_key_value(id) {
            Some((key, entry)) => {
                entry.check_settled()?;
                let (marker, next) = entry.now.initialised(expected, timeout_ms, now_ms, fresh_id)?;
                (Arc::clone(key), marker, next)
            }
            None if state.ids.len() >= self.0.options.ids_max
                || state.ids_bytes + id.len() > self.0.options.ids_bytes_max =>
            {
                return Err(TransactionError::TooMany(state.ids.len()));
            }
            None => (Arc::from(id), None, TransactionalProducer::new(fresh_id, timeout_ms, now_ms)),
        };
        let identity = next.identity;
        let ended = marker.map(|marker| (marker, TransactionResult::Abort));
        let ticket = self.change(&mut state, &key, ended, next)?;
        Ok(PendingChange::new(self, Some(key), Some(ticket), identity))
    }

    /// Adds partitions to the transaction, and begins it if none is open (version 1).
    ///
    /// # Errors
    /// See [`TransactionError`]; then nothing changed.
    pub fn add_partitions(
        &self,
        id: &str,
        producer: ProducerIdentity,
        partitions: &[TopicPartition],
    ) -> Result<PendingChange<()>, TransactionError> {
        check_id(id)?;
        let (mut state, now_ms) = (self.state(), self.now_ms());
        let entry = self.settled(&mut state, id, producer)?;
        let lost = entry.added.as_ref().and_then(Ticket::poll_now).is_some_and(|added| added.is_err());
        if lost || !partitions.iter().all(|tp| entry.now.writes_to(*tp)) {
            let mut next = entry.now.clone();
            next.add(partitions.iter().copied(), now_ms);
            self.check_count(next.partitions.len())?;
            let ticket = self.0.log.append(self.partition()?, self.record(id, &next, now_ms))?;
            (entry.now, entry.added) = (next, Some(ticket));
        }
        let added = entry.added.clone();
        state.note_open(id);
        Ok(PendingChange::new(self, None, added, ()))
    }

    /// Whether each of the partitions was added to the transaction (KIP-890's verification).
    ///
    /// # Errors
    /// See [`TransactionError`].
    pub fn verify_partitions(
        &self,
        id: &str,
        producer: ProducerIdentity,
        partitions: &[TopicPartition],
    ) -> Result<Vec<bool>, TransactionError> {
        check_id(id)?;
        let mut state = self.state();
        let entry = self.settled(&mut state, id, producer)?;
        Ok(partitions.iter().map(|tp| entry.now.writes_to(*tp)).collect())
    }

    /// Appends a transactional batch. In version 2 the first batch in a partition adds it.
    ///
    /// # Errors
    /// See [`TransactionError`]; then nothing was appended.
    pub fn append(
        &self,
        id: &str,
        version: TransactionVersion,
        tp: TopicPartition,
        batch: LogBatch,
    ) -> Result<Ticket, TransactionError> {
        let producer = ProducerIdentity { id: batch.producer_id(), epoch: batch.producer_epoch() };
        // Copied before all transactions are locked, which are for as long as the log takes it: no I/O.
        let batch = batch.unshared();
        self.write(id, producer, version, tp, || Ok(self.0.log.append(tp, batch)?))
    }

    /// Lets `write` append to `tp`, within the transaction.
    fn write<T>(
        &self,
        id: &str,
        producer: ProducerIdentity,
        version: TransactionVersion,
        tp: TopicPartition,
        write: impl FnOnce() -> Result<T, TransactionError>,
    ) -> Result<T, TransactionError> {
        check_id(id)?;
        let mut state = self.state();
        let entry = self.settled(&mut state, id, producer)?;
        let added = entry.now.writes_to(tp);
        if version == TransactionVersion::One && !added {
            return Err(TransactionError::NotAdded);
        }
        if !added {
            self.check_count(entry.now.partitions.len() + 1)?;
        }
        let written = write()?;
        if !added {
            entry.now.add([tp], self.now_ms());
            state.note_open(id);
        }
        Ok(written)
    }

    fn check_count(&self, partitions: usize) -> Result<(), TransactionError> {
        match partitions > self.0.options.partitions_max {
            true => Err(TransactionError::InvalidRequest("the transaction has too many partitions")),
            false => Ok(()),
        }
    }

    /// Ends the transaction. The identity returned is the one to go on with.
    ///
    /// # Errors
    /// See [`TransactionError`]; then nothing changed.
    pub fn end(
        &self,
        id: &str,
        producer: ProducerIdentity,
        result: TransactionResult,
        version: TransactionVersion,
    ) -> Result<PendingChange<ProducerIdentity>, TransactionError> {
        check_id(id)?;
        let (mut state, now_ms, fresh_id) = (self.state(), self.now_ms(), self.fresh_producer_id());
        self.settle(&mut state, id);
        let (key, entry) = state.ids.get_key_value(id).ok_or_else(|| wrong_mapping(id, producer.id))?;
        let (key, end) = (Arc::clone(key), entry.now.end(id, producer, result, version, now_ms, fresh_id));
        if let Some(pending) = &entry.pending {
            // Asked again before it is durable; or somebody else's change, which fences.
            return match end {
                Ok(End::Repeated(identity)) => {
                    Ok(PendingChange::new(self, Some(key), Some(pending.ticket.clone()), identity))
                }
                Ok(End::Now(_)) => Err(TransactionError::Concurrent),
                Err(error) => Err(error),
            };
        }
        match end? {
            End::Repeated(identity) => Ok(PendingChange::new(self, None, None, identity)),
            End::Now(ended) => {
                let identity = ended.next.identity;
                let markers = Some((ended.marker, ended.result));
                let ticket = self.change(&mut state, &key, markers, ended.next)?;
                Ok(PendingChange::new(self, Some(key), Some(ticket), identity))
            }
        }
    }

    /// Ends a transaction in one partition, whoever's it is: for an operator, if no producer will.
    ///
    /// # Errors
    /// If the log refuses it.
    pub fn write_marker(&self, tp: TopicPartition, marker: Marker) -> Result<Ticket, TransactionError> {
        let _no_other = self.state();
        let mut tickets = self.0.log.append_all(vec![(tp, marker.batch(self.now_ms()))])?;
        Ok(tickets.pop().expect("one ticket for each batch"))
    }

    /// The marker that [`Transactions::write_marker`] wrote is durable.
    pub fn marker_written(&self, tp: TopicPartition, marker: Marker) {
        if self.0.groups.is_partition(tp) {
            self.0.groups.complete_transaction(marker.producer_id, marker.kind == MarkerKind::Commit);
        }
    }

    /// Aborts transactions that are open for longer than their timeout, forgets transactional ids
    /// that nobody uses. To be called several times a second; never waits.
    pub fn tick(&self) {
        let (mut state, now_ms) = (self.state(), self.now_ms());
        for id in std::mem::take(&mut state.unsettled) {
            self.settle(&mut state, &id);
            if state.ids.get(&id).is_some_and(|entry| entry.pending.is_some()) {
                state.unsettled.insert(id);
            }
        }
        let due = state.open.iter().filter_map(|id| {
            let entry = state.ids.get(id).filter(|entry| entry.pending.is_none())?;
            Some((Arc::clone(id), entry.now.timed_out(now_ms)?))
        });
        for (id, ended) in due.collect::<Vec<_>>() {
            let (producer_id, markers) = (ended.marker.id, Some((ended.marker, ended.result)));
            match self.change(&mut state, &id, markers, ended.next) {
                Ok(_) => tracing::info!(%id, producer_id, "transaction timed out and is aborted"),
                // Tried again with the next tick.
                Err(error) => tracing::debug!(%id, producer_id, "transaction cannot be aborted yet: {error}"),
            }
        }
        if now_ms >= state.next_expiry_ms {
            state.next_expiry_ms = now_ms.saturating_add(EXPIRY_PAUSE_MS);
            self.expire(&mut state, now_ms);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        self.0.clock.unix_ms()
    }

    /// 62 random bits: unique without a record of who got which.
    fn fresh_producer_id(&self) -> i64 {
        i64::try_from(self.0.entropy.next_u64() >> 2).expect("62 bits are never negative")
    }
}

fn check_id(id: &str) -> Result<(), TransactionError> {
    match id.len() {
        0 => Err(TransactionError::InvalidRequest("the transactional id is empty")),
        len if len > records::ID_BYTES_MAX => {
            Err(TransactionError::InvalidRequest("the transactional id is longer than 32767 bytes"))
        }
        _ => Ok(()),
    }
}

impl Entry {
    fn check_settled(&self) -> Result<(), TransactionError> {
        if self.pending.is_some() { Err(TransactionError::Concurrent) } else { Ok(()) }
    }
}
