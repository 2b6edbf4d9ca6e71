//! Consumer groups: who reads what, and how far.
//!
//! Members live in memory, driven by the clock; what outlives a restart is a record of the internal
//! topic `__consumer_offsets`: each stable or emptied group and each committed offset. Changes are
//! made when they are asked for, in order; answers wait for what they show to be durable. Nothing here
//! waits: who must be waited for is behind a future.
//!
//! Lock order: this state, then the log.

mod consumer_protocol;
mod expiry;
mod group;
mod member;
mod membership;
mod offsets;
mod options;
mod promise;
mod records;
mod refusal;
mod replay;
mod requests;
mod state;
mod storage;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use highwater_env::{Clock, Entropy, TopicPartition};
use highwater_log::{AppendError, BatchBuilder, Log, LogBatch, ReadError, Ticket};

use crate::{TopicError, Topics};
use group::{Gated, Group, Moment};
use state::State;

pub use consumer_protocol::assigned_partitions;
pub use options::GroupOptions;
pub use refusal::GroupRefusal;
pub use requests::{
    CommitRequest, Committed, CommittedOffset, FetchedOffset, GroupDescription, GroupOverview, GroupProgress,
    JoinRefused, JoinRequest, Joined, JoinedMember, Leaving, MemberClaim, MemberDescription, OffsetCommit,
    OffsetSelection, SyncRequest, Synced, TopicProgress,
};

/// The topic of the groups' records.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The groups cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// Their topic cannot be made.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Their topic cannot be read.
    #[error("{OFFSETS_TOPIC} cannot be read: {0}")]
    Read(#[from] ReadError),
    /// A record makes no sense.
    #[error("{OFFSETS_TOPIC} record at offset {offset}: {what}")]
    BadRecord {
        /// Its offset.
        offset: i64,
        /// What is wrong.
        what: String,
    },
}

/// All groups of a node; a cheap handle, shared by clones.
#[derive(Clone)]
pub struct Groups(Arc<Shared>);

struct Shared {
    log: Log,
    topics: Topics,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    options: GroupOptions,
    state: Mutex<State>,
}

impl Groups {
    /// Reads the groups back from their topic, if it is there.
    ///
    /// # Errors
    /// If the log fails or a record is damaged.
    pub fn open(
        log: Log,
        topics: Topics,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        options: GroupOptions,
    ) -> Result<Self, GroupError> {
        let at = Moment { now: clock.monotonic(), unix_ms: clock.unix_ms(), options: &options };
        let partition = topics.get(OFFSETS_TOPIC).map(|topic| topic.partition(0));
        let state = Mutex::new(replay::replay(&log, partition, &at)?);
        Ok(Self(Arc::new(Shared { log, topics, clock, entropy, options, state })))
    }

    /// The partition of the groups' records: a transaction that commits offsets writes there. Its topic
    /// is made if it is missing, which waits for the disk; clients ask for their coordinator first, and
    /// that is when this is to be called.
    ///
    /// # Errors
    /// If the topic cannot be made.
    pub fn partition(&self) -> Result<TopicPartition, TopicError> {
        self.0.partition()
    }

    /// Whether `tp` is [`Groups::partition`].
    pub(crate) fn is_partition(&self, tp: TopicPartition) -> bool {
        self.0.topics.get(OFFSETS_TOPIC).is_some_and(|topic| topic.partition(0) == tp)
    }

    /// Does what is due by now: removes members that stayed silent, ends rebalances that took too
    /// long, forgets expired offsets. To be called about every 100 ms; never waits.
    pub fn tick(&self) {
        let at = self.0.moment();
        let mut state = self.0.lock();
        if state.next_due.is_some_and(|due| due <= at.now) {
            state.next_due = None;
            let State { groups, .. } = &mut *state;
            let mut touched = Vec::new();
            for group in groups.values_mut() {
                match group.next_deadline() {
                    Some(due) if due <= at.now => {
                        group.tick(&at);
                        touched.push(Arc::clone(&group.id));
                    }
                    Some(_) => touched.push(Arc::clone(&group.id)),
                    None => {}
                }
            }
            for id in touched {
                self.0.finish(&mut state, &id, &at);
            }
        }
        if state.next_expiry <= at.now {
            state.next_expiry = at.now + self.0.options.expiry_interval;
            self.0.expire(&mut state, &at);
        }
    }
}

impl Shared {
    /// The state, with everything in it that is durable by now.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle();
        state
    }

    fn moment(&self) -> Moment<'_> {
        Moment { now: self.clock.monotonic(), unix_ms: self.clock.unix_ms(), options: &self.options }
    }

    /// Takes a step with a group, if there is one, and does what it leaves to be done.
    fn step<T>(
        &self,
        state: &mut State,
        id: &str,
        step: impl FnOnce(&mut Group, &Moment<'_>) -> T,
    ) -> Option<T> {
        let at = self.moment();
        let done = step(state.groups.get_mut(id)?, &at);
        self.finish(state, id, &at);
        Some(done)
    }

    /// Writes and answers what a group's last step left, and notes when it must step by itself.
    fn finish(&self, state: &mut State, id: &str, at: &Moment<'_>) {
        let Some(group) = state.groups.get_mut(id) else { return };
        if group.effects.write {
            match self.write_group(group, at) {
                Ok(ticket) => {
                    group.effects.write = false;
                    group.written = Some(ticket.clone());
                    state.appended(&ticket);
                }
                Err(error) => {
                    tracing::warn!(group = id, "the group is not written: {error}");
                    group.not_written(at);
                }
            }
        }
        state.count_members(id);
        let Some(group) = state.groups.get_mut(id) else { return };
        group.written.take_if(|ticket| ticket.poll_now() == Some(Ok(())));
        for (resolver, outcome) in group.effects.joins.drain(..) {
            // A static member's new id must be durable; a generation needs not be.
            let ticket = if matches!(group.state, group::GroupState::Stable { .. }) {
                group.written.clone()
            } else {
                None
            };
            resolver.resolve(Gated { outcome, ticket });
        }
        for (resolver, outcome) in group.effects.syncs.drain(..) {
            resolver.resolve(Gated { outcome, ticket: group.written.clone() });
        }
        if let Some(due) = group.next_deadline() {
            state.next_due = Some(state.next_due.map_or(due, |next| next.min(due)));
        }
    }

    fn write_group(&self, group: &Group, at: &Moment<'_>) -> Result<Ticket, AppendError> {
        let mut batch = BatchBuilder::new(at.unix_ms);
        let (key, value) = (records::group_key(&group.id), records::group_value(group));
        batch.push(at.unix_ms, Some(&key), Some(&value), &[]);
        self.append(batch.finish())
    }

    fn partition(&self) -> Result<TopicPartition, TopicError> {
        self.topics.coordinator_partition(OFFSETS_TOPIC)
    }

    /// Hands a batch of records to the log, in the order of calls.
    fn append(&self, batch: LogBatch) -> Result<Ticket, AppendError> {
        let partition = self.partition().map_err(|error| {
            tracing::warn!("{OFFSETS_TOPIC} cannot be made: {error}");
            AppendError::Refused("the topic of the groups' records is missing")
        })?;
        if !batch.is_transactional() {
            return self.log.append(partition, batch);
        }
        // Only `append_all` takes batches in a producer's name without its sequence.
        let mut tickets = self.log.append_all(vec![(partition, batch)])?;
        Ok(tickets.pop().expect("one ticket for each batch"))
    }
}
