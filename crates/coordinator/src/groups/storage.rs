//! The requests about offsets, and how they become records.

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_log::{AppendError, BatchBuilder, Ticket};

use super::group::{Group, Moment};
use super::membership::check_id_len;
use super::offsets::{Entry, Kept, Offsets};
use super::records;
use super::refusal::GroupRefusal;
use super::requests::{
    CommitRequest, Committed, CommittedOffset, FetchedOffset, OffsetCommit, OffsetSelection,
};
use super::state::{Change, State};
use super::{Groups, Shared};

/// The producer in whose transaction offsets are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    id: i64,
    epoch: i16,
}

impl Groups {
    /// Commits offsets. The future ends when they are durable; it need not be awaited.
    pub fn commit_offsets(
        &self,
        request: CommitRequest,
    ) -> impl Future<Output = Result<Committed, GroupRefusal>> + Send + use<> {
        let started = self.0.start_commit(request, None);
        async move { durable(started?).await }
    }

    /// Commits offsets as part of a producer's transaction: they are durable when the future ends,
    /// and count once [`Groups::complete_transaction`]
    /// says so. The group and, if the request claims
    /// one, its member and generation are checked here; the producer and that the transaction is
    /// open are the caller's business. The record is one transactional batch of
    /// [`Groups::partition`], where the marker that ends the transaction must go too.
    pub fn commit_offsets_in_transaction(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        request: CommitRequest,
    ) -> impl Future<Output = Result<Committed, GroupRefusal>> + Send + use<> {
        let producer = Producer { id: producer_id, epoch: producer_epoch };
        let started = self.0.start_commit(request, Some(producer));
        async move { durable(started?).await }
    }

    /// Ends a producer's transaction, whose marker is durable, as far as offsets are concerned: its
    /// pending offsets count, or are dropped. Nothing happens if it has none.
    pub fn complete_transaction(&self, producer_id: i64, committed: bool) {
        self.0.lock().end_transaction(producer_id, committed);
    }

    /// The offsets of a group, as they are durable. With `require_stable`, offsets that a transaction
    /// is about to change are refused.
    pub fn fetch_offsets(
        &self,
        group: String,
        selection: OffsetSelection,
        require_stable: bool,
    ) -> impl Future<Output = Result<Vec<FetchedOffset>, GroupRefusal>> + Send + use<> {
        self.read(move |state| fetch(state, &group, selection, require_stable))
    }

    /// Deletes a group without members, and its offsets. Durable when the future ends.
    pub fn delete(&self, group: &str) -> impl Future<Output = Result<(), GroupRefusal>> + Send + use<> {
        let started = self.0.start_delete(group);
        async move { started?.await.map_err(|_| GroupRefusal::Unavailable) }
    }

    /// Deletes offsets of topics that no member subscribes to: what became of each, in order. Durable
    /// when the future ends.
    pub fn delete_offsets(
        &self,
        group: &str,
        partitions: Vec<(Arc<str>, i32)>,
    ) -> impl Future<Output = Result<Committed, GroupRefusal>> + Send + use<> {
        let started = self.0.start_delete_offsets(group, partitions);
        async move { durable(started?).await }
    }

    /// Forgets what groups have committed for a topic that is deleted. Not waited for: a topic made
    /// again under its name must not inherit it, one that a crash brings back is harmless.
    pub fn topic_deleted(&self, topic: &str) {
        let mut state = self.0.lock();
        let at = self.0.moment();
        let groups: Vec<Arc<str>> = state.groups.keys().cloned().collect();
        for id in groups {
            let Some(group) = state.groups.get(&id) else { continue };
            let partitions = state.pending.of_group(&id).into_iter().chain(group.offsets.keys());
            let of_topic: BTreeSet<(Arc<str>, i32)> =
                partitions.filter(|(name, _)| **name == *topic).collect();
            let partitions = of_topic.into_iter().collect();
            if let Err(error) = self.0.remove_offsets(&mut state, &id, partitions, false, &at) {
                tracing::warn!(group = &*id, topic, "offsets of a deleted topic stay: {error}");
            }
        }
    }
}

/// What a change will answer, once the ticket says that it is durable.
struct Started {
    outcome: Committed,
    ticket: Option<Ticket>,
}

async fn durable(started: Started) -> Result<Committed, GroupRefusal> {
    if let Some(ticket) = started.ticket {
        ticket.await.map_err(|_| GroupRefusal::Unavailable)?;
    }
    Ok(started.outcome)
}

impl Shared {
    fn start_commit(
        &self,
        request: CommitRequest,
        producer: Option<Producer>,
    ) -> Result<Started, GroupRefusal> {
        check_id_len(&request.group)?;
        let at = self.moment();
        let mut state = self.lock();
        self.check_commit(&mut state, &request, producer.is_some(), &at)?;
        let group: Arc<str> = request.group.as_str().into();
        let metadata_max = self.options.offset_metadata_bytes_max;
        let outcome: Committed = request
            .offsets
            .iter()
            .map(|offset| match offset.metadata.len() > metadata_max {
                true => Err(GroupRefusal::MetadataTooLarge),
                false => Ok(()),
            })
            .collect();
        let taken = request.offsets.into_iter().zip(&outcome).filter(|(_, outcome)| outcome.is_ok());
        let taken: Vec<OffsetCommit> = taken.map(|(offset, _)| offset).collect();
        if taken.is_empty() {
            return Ok(Started { outcome, ticket: None });
        }
        let retention =
            request.retention.map(|retention| i64::try_from(retention.as_millis()).unwrap_or(i64::MAX));
        let expires_ms = retention.map(|retention| at.unix_ms.saturating_add(retention));
        let mut entries: Vec<Entry> =
            taken.into_iter().map(|offset| entry(offset, expires_ms, &at)).collect();
        let ticket = self.append_commit(&group, &entries, producer, &at).map_err(|error| refused(&error))?;
        state.group(&group);
        for (entry, log_offset) in entries.iter_mut().zip(ticket.base_offset..) {
            entry.kept.log_offset = log_offset;
        }
        let change = match producer {
            None => Change::Commit { group, entries },
            Some(producer) => Change::Pend { producer_id: producer.id, group, entries },
        };
        state.when_durable(&ticket, vec![change]);
        Ok(Started { outcome, ticket: Some(ticket) })
    }

    /// Checks who commits, and that there is room. Where a limit is reached, offsets that are kept may
    /// still be replaced by others that are no larger: consumers at work go on.
    fn check_commit(
        &self,
        state: &mut State,
        request: &CommitRequest,
        in_transaction: bool,
        at: &Moment<'_>,
    ) -> Result<(), GroupRefusal> {
        let group = state.groups.get_mut(&*request.group);
        let (mut adds, mut grows, mut kept_count) = (group.is_none(), group.is_none(), 0);
        match group {
            Some(group) => {
                group.check_commit(&request.claim, in_transaction, at)?;
                kept_count = group.offsets.len();
                for asked in &request.offsets {
                    let kept = group.offsets.get(&asked.topic, asked.partition);
                    adds |= kept.is_none();
                    grows |= kept.is_none_or(|kept| asked.metadata.len() > kept.committed.metadata.len());
                }
            }
            None if request.claim.generation >= 0 => return Err(GroupRefusal::IllegalGeneration),
            None => self.make_room(state)?,
        }
        let bytes =
            request.offsets.iter().map(|o| records::commit_bytes(&request.group, &o.topic, &o.metadata));
        // What a transaction commits is kept beside what it will replace.
        let is_full = (grows || in_transaction) && state.offsets_bytes() >= self.options.offsets_bytes_max;
        let too_many = adds && kept_count >= self.options.offsets_per_group_max;
        if bytes.sum::<usize>() > self.options.commit_bytes_max || is_full || too_many {
            return Err(GroupRefusal::OffsetsTooLarge);
        }
        Ok(())
    }

    fn append_commit(
        &self,
        group: &str,
        entries: &[Entry],
        producer: Option<Producer>,
        at: &Moment<'_>,
    ) -> Result<Ticket, AppendError> {
        let mut batch = BatchBuilder::new(at.unix_ms);
        if let Some(producer) = producer {
            batch = batch.with_producer(producer.id, producer.epoch, -1).transactional();
        }
        for Entry { topic, partition, kept } in entries {
            let key = records::offset_key(group, topic, *partition);
            batch.push(at.unix_ms, Some(&key), Some(&records::offset_value(kept)), &[]);
        }
        self.append(batch.finish())
    }

    fn start_delete(&self, group: &str) -> Result<Ticket, GroupRefusal> {
        let mut state = self.lock();
        let at = self.moment();
        let found = state.groups.get(group).ok_or(GroupRefusal::UnknownGroup)?;
        if !found.is_empty() {
            return Err(GroupRefusal::NonEmpty);
        }
        let id = Arc::clone(&found.id);
        let partitions = found.offsets.keys().chain(state.pending.of_group(&id));
        let partitions = partitions.collect::<BTreeSet<_>>().into_iter().collect();
        let ticket =
            self.remove_offsets(&mut state, &id, partitions, true, &at).map_err(|error| refused(&error))?;
        Ok(ticket.expect("a group's tombstone is always written"))
    }

    fn start_delete_offsets(
        &self,
        group: &str,
        partitions: Vec<(Arc<str>, i32)>,
    ) -> Result<Started, GroupRefusal> {
        let mut state = self.lock();
        let at = self.moment();
        let found = state.groups.get(group).ok_or(GroupRefusal::UnknownGroup)?;
        if !found.is_empty() && !found.is_of_consumers() {
            return Err(GroupRefusal::NonEmpty);
        }
        let id = Arc::clone(&found.id);
        let outcome: Committed = partitions
            .iter()
            .map(|(topic, _)| match !found.is_empty() && found.subscribes_to(topic) {
                true => Err(GroupRefusal::Subscribed),
                false => Ok(()),
            })
            .collect();
        let kept = |(topic, partition): &(Arc<str>, i32)| found.offsets.get(topic, *partition).is_some();
        let removed = partitions.iter().zip(&outcome).filter(|(at, outcome)| outcome.is_ok() && kept(at));
        let removed: Vec<_> = removed.map(|(at, _)| at.clone()).collect();
        let ticket =
            self.remove_offsets(&mut state, &id, removed, false, &at).map_err(|error| refused(&error))?;
        Ok(Started { outcome, ticket })
    }

    /// Writes tombstones of offsets, in batches the log takes, and with `whole` of the group. The last
    /// one's ticket.
    pub(super) fn remove_offsets(
        &self,
        state: &mut State,
        group: &Arc<str>,
        mut partitions: Vec<(Arc<str>, i32)>,
        whole: bool,
        at: &Moment<'_>,
    ) -> Result<Option<Ticket>, AppendError> {
        let mut last = None;
        let mut batch = BatchBuilder::new(at.unix_ms);
        let mut removed = Vec::new();
        while let Some((topic, partition)) = partitions.pop() {
            batch.push(at.unix_ms, Some(&records::offset_key(group, &topic, partition)), None, &[]);
            removed.push((topic, partition));
            if batch.bytes() >= self.options.commit_bytes_max / 2 {
                let full = std::mem::replace(&mut batch, BatchBuilder::new(at.unix_ms));
                let ticket = self.append(full.finish())?;
                let partitions = std::mem::take(&mut removed);
                state.when_durable(&ticket, vec![Change::Remove { group: Arc::clone(group), partitions }]);
                last = Some(ticket);
            }
        }
        if whole {
            batch.push(at.unix_ms, Some(&records::group_key(group)), None, &[]);
        }
        if batch.is_empty() {
            return Ok(last);
        }
        let ticket = self.append(batch.finish())?;
        let mut changes = vec![Change::Remove { group: Arc::clone(group), partitions: removed }];
        if whole {
            changes.push(Change::Delete { group: Arc::clone(group) });
        }
        state.when_durable(&ticket, changes);
        Ok(Some(ticket))
    }
}

fn entry(offset: OffsetCommit, expires_ms: Option<i64>, at: &Moment<'_>) -> Entry {
    let committed = CommittedOffset {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.into(),
        committed_ms: at.unix_ms,
    };
    Entry {
        topic: offset.topic,
        partition: offset.partition,
        kept: Kept { committed, expires_ms, log_offset: -1 },
    }
}

fn refused(error: &AppendError) -> GroupRefusal {
    tracing::warn!("offsets are not written: {error}");
    GroupRefusal::Unavailable
}

fn fetch(state: &State, group: &str, selection: OffsetSelection, require_stable: bool) -> Vec<FetchedOffset> {
    let offsets = state.groups.get(group).map(|group: &Group| &group.offsets);
    let unstable = |topic: &Arc<str>, partition| require_stable && state.pending.has(group, topic, partition);
    let one = |topic: Arc<str>, partition: i32| {
        let kept = offsets.and_then(|offsets| offsets.get(&topic, partition));
        let offset = match unstable(&topic, partition) {
            true => Err(GroupRefusal::Unstable),
            false => Ok(kept.map(|kept| kept.committed.clone())),
        };
        FetchedOffset { topic, partition, offset }
    };
    let Some(topics) = selection else {
        let mut all: BTreeSet<(Arc<str>, i32)> = offsets.into_iter().flat_map(Offsets::keys).collect();
        if require_stable {
            all.extend(state.pending.of_group(group));
        }
        return all.into_iter().map(|(topic, partition)| one(topic, partition)).collect();
    };
    let one = &one;
    let selected = topics.into_iter().flat_map(|(topic, partitions)| {
        partitions.into_iter().map(move |partition| one(Arc::clone(&topic), partition))
    });
    selected.collect()
}
