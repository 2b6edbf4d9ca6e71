//! One group's members and generations: Kafka's classic group protocol, as a state machine without
//! time, sockets or log of its own. What must be written or answered collects in [`Effects`].

mod join;
mod leave;
mod rebalance;
mod sync;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::consumer_protocol;
use super::member::{JoinOutcome, Member, SyncOutcome};
use super::offsets::Offsets;
use super::options::GroupOptions;
use super::promise::Resolver;
use super::refusal::GroupRefusal;
use super::requests::{GroupDescription, GroupOverview, MemberClaim, MemberDescription};
use highwater_log::Ticket;

/// An id that was given out takes about this many bytes besides itself.
const PENDING_BYTES: usize = 64;

/// An answer, and the record that must be durable before it is given.
pub(super) struct Gated<T> {
    pub(super) outcome: T,
    pub(super) ticket: Option<Ticket>,
}

/// Now, and what limits the group.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    /// The clock's monotonic time.
    pub(super) now: Duration,
    /// ms since the Unix epoch, UTC.
    pub(super) unix_ms: i64,
    pub(super) options: &'a GroupOptions,
}

/// Where a group is.
///
/// ```text
///            a member joins
///   Empty ─────────────────► PreparingRebalance ◄────────────────────────────┐
///     ▲                        │        │                                    │ a member joins anew,
///     │   nobody joined        │        │ all joined, or the time is up:     │ leaves, stays silent
///     └────────────────────────┘        │ a new generation                   │ or does not sync
///                                       ▼                                    │
///                              CompletingRebalance ──────────────────────────┤
///                                       │                                    │
///                                       │ the leader's assignment            │
///                                       ▼                                    │
///                                     Stable ────────────────────────────────┘
/// ```
/// A group that is not there at all is what Kafka calls dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupState {
    /// Without members; it may have offsets.
    Empty,
    /// Members are joining.
    PreparingRebalance {
        /// When those that have not joined are given up.
        deadline: Duration,
        /// For the first rebalance of an empty group.
        initial: Option<Initial>,
    },
    /// Members have joined and wait for the leader's assignment.
    CompletingRebalance {
        /// When those that have not asked for it are given up.
        sync_by: Duration,
    },
    /// Every member may know its assignment.
    Stable {
        /// When those that have not asked for it are given up; none once all have.
        sync_by: Option<Duration>,
    },
}

/// The first rebalance of an empty group: it waits for others to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Initial {
    /// It waits no longer than until then.
    until: Duration,
    /// Whether someone came since it last looked.
    grew: bool,
}

impl GroupState {
    /// Kafka's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance { .. } => "PreparingRebalance",
            Self::CompletingRebalance { .. } => "CompletingRebalance",
            Self::Stable { .. } => "Stable",
        }
    }
}

/// What a step leaves to be done by whoever has a log.
#[derive(Default)]
pub(super) struct Effects {
    /// The group's record must be written anew.
    pub(super) write: bool,
    pub(super) joins: Vec<(Resolver<Gated<JoinOutcome>>, JoinOutcome)>,
    pub(super) syncs: Vec<(Resolver<Gated<SyncOutcome>>, SyncOutcome)>,
}

pub(super) struct Group {
    pub(super) id: Arc<str>,
    pub(super) state: GroupState,
    /// When it became what it is, ms since the Unix epoch, UTC; none if that is not known.
    pub(super) since_ms: Option<i64>,
    pub(super) generation: i32,
    /// What the metadata of its members means; none for a group that only ever had offsets.
    pub(super) protocol_type: Option<Arc<str>>,
    /// The protocol chosen for this generation.
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Ids of static members, by their names.
    static_ids: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out and not yet used, and until when they may be.
    pending: BTreeMap<Arc<str>, Duration>,
    pub(super) offsets: Offsets,
    /// [`Group::members_bytes`] when they were last counted.
    pub(super) counted_bytes: usize,
    /// The group's last record.
    pub(super) written: Option<Ticket>,
    pub(super) effects: Effects,
}

impl Group {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            state: GroupState::Empty,
            since_ms: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_ids: BTreeMap::new(),
            pending: BTreeMap::new(),
            offsets: Offsets::default(),
            counted_bytes: 0,
            written: None,
            effects: Effects::default(),
        }
    }

    /// Takes members as a record of the log has them; they are given a session from now on.
    pub(super) fn restore(&mut self, members: Vec<Member>, at: &Moment<'_>) {
        self.members.clear();
        self.static_ids.clear();
        for mut member in members {
            member.is_new = false;
            member.synced = true;
            member.is_alive(at);
            if let Some(instance_id) = &member.instance_id {
                self.static_ids.insert(Arc::clone(instance_id), Arc::clone(&member.id));
            }
            self.members.insert(Arc::clone(&member.id), member);
        }
        self.state = match self.members.is_empty() {
            true => GroupState::Empty,
            false => GroupState::Stable { sync_by: None },
        };
    }

    /// Bytes of its members, and of the ids that were given out.
    pub(super) fn members_bytes(&self) -> usize {
        let members: usize = self.members.values().map(Member::bytes).sum();
        members + self.pending.keys().map(|id| PENDING_BYTES + id.len()).sum::<usize>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state == GroupState::Empty
    }

    /// Whether there is nothing to keep of it.
    pub(super) fn is_gone(&self) -> bool {
        self.is_empty() && self.pending.is_empty() && self.offsets.is_empty()
    }

    /// Whether its members speak the consumers' protocol.
    pub(super) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(consumer_protocol::NAME)
    }

    /// Whether a member subscribes to the topic. True also where that cannot be known.
    pub(super) fn subscribes_to(&self, topic: &str) -> bool {
        let Some(protocol) = self.protocol.as_deref() else { return !self.members.is_empty() };
        self.members.values().any(|member| {
            let topics = consumer_protocol::subscribed_topics(&member.metadata(protocol));
            topics.is_none_or(|topics| topics.iter().any(|subscribed| subscribed == topic))
        })
    }

    fn transition(&mut self, to: GroupState, at: &Moment<'_>) {
        tracing::debug!(
            group = &*self.id,
            generation = self.generation,
            "{} to {}",
            self.state.name(),
            to.name()
        );
        self.state = to;
        self.since_ms = Some(at.unix_ms);
    }

    /// A sign of life.
    pub(super) fn heartbeat(&mut self, claim: &MemberClaim, at: &Moment<'_>) -> Result<(), GroupRefusal> {
        let id = self.check_member(&claim.member_id, claim.instance_id.as_deref())?;
        self.check_generation(claim.generation)?;
        if let Some(member) = self.members.get_mut(&id) {
            member.is_alive(at);
        }
        match self.state {
            GroupState::Empty => Err(GroupRefusal::UnknownMember),
            GroupState::PreparingRebalance { .. } => Err(GroupRefusal::RebalanceInProgress),
            GroupState::CompletingRebalance { .. } | GroupState::Stable { .. } => Ok(()),
        }
    }

    /// Whether these offsets may be committed by whoever claims to be a member.
    pub(super) fn check_commit(
        &mut self,
        claim: &MemberClaim,
        in_transaction: bool,
        at: &Moment<'_>,
    ) -> Result<(), GroupRefusal> {
        let nobodys = claim.generation < 0 && claim.member_id.is_empty() && claim.instance_id.is_none();
        if claim.generation < 0 && self.is_empty() {
            return Ok(());
        }
        if nobodys {
            // Early versions of the transactional request name no member.
            return if in_transaction { Ok(()) } else { Err(GroupRefusal::UnknownMember) };
        }
        let id = self.check_member(&claim.member_id, claim.instance_id.as_deref())?;
        self.check_generation(claim.generation)?;
        if !in_transaction && matches!(self.state, GroupState::CompletingRebalance { .. }) {
            return Err(GroupRefusal::RebalanceInProgress);
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.is_alive(at);
        }
        Ok(())
    }

    /// The member that is meant, if it is one and not another that has its name.
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<Arc<str>, GroupRefusal> {
        if let Some(instance_id) = instance_id {
            let current = self.static_ids.get(instance_id).ok_or(GroupRefusal::UnknownMember)?;
            if **current != *member_id {
                return Err(GroupRefusal::FencedInstance);
            }
        }
        self.members.get_key_value(member_id).map(|(id, _)| Arc::clone(id)).ok_or(GroupRefusal::UnknownMember)
    }

    fn check_generation(&self, generation: i32) -> Result<(), GroupRefusal> {
        if generation == self.generation { Ok(()) } else { Err(GroupRefusal::IllegalGeneration) }
    }

    /// When [`Group::tick`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        if self.effects.write {
            return Some(Duration::ZERO);
        }
        let state = match self.state {
            GroupState::Empty => None,
            GroupState::PreparingRebalance { deadline, .. } => Some(deadline),
            GroupState::CompletingRebalance { sync_by } => Some(sync_by),
            GroupState::Stable { sync_by } => sync_by,
        };
        let members = self.members.values().map(|member| member.expires_at).min();
        let pending = self.pending.values().min().copied();
        [state, members, pending].into_iter().flatten().min()
    }

    /// Removes who stayed silent, and ends what has waited long enough.
    pub(super) fn tick(&mut self, at: &Moment<'_>) {
        let pending = self.pending.len();
        self.pending.retain(|_, until| *until > at.now);
        if self.pending.len() != pending {
            self.try_complete_join(at);
        }
        let silent = self.members.values().filter(|member| member.is_expired(at));
        let silent: Vec<Arc<str>> = silent.map(|member| Arc::clone(&member.id)).collect();
        for id in silent {
            tracing::info!(group = &*self.id, member = &*id, "removed: no sign of life");
            self.remove_member(&id, at);
        }
        self.end_waits(at);
    }

    pub(super) fn overview(&self) -> GroupOverview {
        GroupOverview {
            group: Arc::clone(&self.id),
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: self.members.len(),
        }
    }

    pub(super) fn describe(&self) -> GroupDescription {
        let stable = matches!(self.state, GroupState::Stable { .. });
        let protocol = self.protocol.clone().filter(|_| stable);
        let members = self.members.values().map(|member| MemberDescription {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            metadata: protocol.as_deref().map(|protocol| member.metadata(protocol)).unwrap_or_default(),
            assignment: if stable { member.assignment.clone() } else { bytes::Bytes::new() },
        });
        GroupDescription {
            overview: self.overview(),
            generation: self.generation,
            members: members.collect(),
            protocol: protocol.unwrap_or_default(),
        }
    }
}
