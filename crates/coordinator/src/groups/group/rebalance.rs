//! From one generation to the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Group, GroupState, Initial, Moment};
use crate::groups::refusal::GroupRefusal;
use crate::groups::requests::{Joined, JoinedMember};

impl Group {
    /// Begins a rebalance, or looks whether the one that is going on is complete.
    pub(super) fn rebalance(&mut self, at: &Moment<'_>) {
        match self.state {
            GroupState::PreparingRebalance { .. } => self.try_complete_join(at),
            GroupState::Empty => {
                let wait = self.rebalance_timeout();
                let delay = at.options.initial_rebalance_delay.min(wait);
                let initial = (!delay.is_zero()).then_some(Initial { until: at.now + wait, grew: false });
                self.prepare(at.now + if initial.is_some() { delay } else { wait }, initial, at);
            }
            GroupState::CompletingRebalance { .. } | GroupState::Stable { .. } => {
                self.refuse_syncs(GroupRefusal::RebalanceInProgress);
                self.prepare(at.now + self.rebalance_timeout(), None, at);
            }
        }
    }

    fn prepare(&mut self, deadline: Duration, initial: Option<Initial>, at: &Moment<'_>) {
        self.transition(GroupState::PreparingRebalance { deadline, initial }, at);
        self.try_complete_join(at);
    }

    /// Ends waiting syncs; what the leader has assigned so far is void.
    pub(super) fn refuse_syncs(&mut self, reason: GroupRefusal) {
        for member in self.members.values_mut() {
            if matches!(self.state, GroupState::CompletingRebalance { .. }) {
                member.assignment = Bytes::new();
            }
            if let Some(resolver) = member.syncing.take() {
                self.effects.syncs.push((resolver, Err(reason)));
            }
        }
    }

    /// The longest that any member may take to join.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Ends the joining if nobody is waited for.
    pub(super) fn try_complete_join(&mut self, at: &Moment<'_>) {
        let GroupState::PreparingRebalance { initial: None, .. } = self.state else { return };
        if self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some()) {
            self.complete_join(at);
        }
    }

    /// Gives up on whoever is late.
    pub(super) fn end_waits(&mut self, at: &Moment<'_>) {
        match self.state {
            GroupState::PreparingRebalance { deadline, initial } if at.now >= deadline => match initial {
                Some(Initial { until, grew: true }) if at.now < until => {
                    let deadline = (at.now + at.options.initial_rebalance_delay).min(until);
                    let initial = Some(Initial { until, grew: false });
                    self.state = GroupState::PreparingRebalance { deadline, initial };
                }
                _ => self.complete_join(at),
            },
            GroupState::CompletingRebalance { sync_by } | GroupState::Stable { sync_by: Some(sync_by) }
                if at.now >= sync_by =>
            {
                self.remove_unsynced(at);
            }
            _ => {}
        }
    }

    fn remove_unsynced(&mut self, at: &Moment<'_>) {
        let late = self.members.values().filter(|member| !member.synced);
        let late: Vec<Arc<str>> = late.map(|member| Arc::clone(&member.id)).collect();
        if late.is_empty() {
            // All have: only the leader's assignment is missing, or nothing.
            self.state = match self.state {
                GroupState::Stable { .. } => GroupState::Stable { sync_by: None },
                _ => return self.rebalance(at),
            };
            return;
        }
        for id in late {
            tracing::info!(group = &*self.id, member = &*id, "removed: it never asked for its assignment");
            self.forget_member(&id);
        }
        self.rebalance(at);
    }

    /// A new generation of those that have joined. Static members keep their places a while longer.
    fn complete_join(&mut self, at: &Moment<'_>) {
        let late = self.members.values().filter(|m| m.joining.is_none() && m.instance_id.is_none());
        let late: Vec<Arc<str>> = late.map(|member| Arc::clone(&member.id)).collect();
        for id in late {
            tracing::info!(group = &*self.id, member = &*id, "removed: it did not join in time");
            self.forget_member(&id);
        }
        if self.members.is_empty() {
            self.generation = self.generation.wrapping_add(1).max(0);
            (self.protocol, self.leader) = (None, None);
            self.transition(GroupState::Empty, at);
            self.effects.write = true;
            return;
        }
        if !self.elect_leader() {
            // Only static members, and none of them is back.
            let deadline = at.now + self.rebalance_timeout();
            self.state = GroupState::PreparingRebalance { deadline, initial: None };
            return;
        }
        self.generation = self.generation.wrapping_add(1).max(0);
        self.protocol = self.choose_protocol();
        let sync_by = at.now + self.rebalance_timeout();
        self.transition(GroupState::CompletingRebalance { sync_by }, at);
        self.answer_joins(at);
    }

    /// Keeps the leader if it has joined, else takes another that has. Whether anyone has.
    fn elect_leader(&mut self) -> bool {
        let joined = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if !self.leader.as_ref().is_some_and(joined) {
            self.leader = self.members.keys().find(|id| joined(id)).cloned();
        }
        self.leader.is_some()
    }

    /// Of the protocols that all members know, the one that most of them want most.
    pub(super) fn choose_protocol(&self) -> Option<Arc<str>> {
        let mut votes: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let mut wanted = member.protocols.iter().map(|(name, _)| name);
            if let Some(name) = wanted.find(|name| self.members.values().all(|other| other.knows(name))) {
                *votes.entry(Arc::clone(name)).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(name, _)| name)
    }

    fn answer_joins(&mut self, at: &Moment<'_>) {
        let all = self.joined_members();
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let is_leader = self.leader.as_ref() == Some(&id);
            let joined = self.joined(&id, if is_leader { all.clone() } else { Vec::new() });
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.is_new = false;
            member.synced = false;
            member.assignment = Bytes::new();
            member.is_alive(at);
            if let Some(resolver) = member.joining.take() {
                self.effects.joins.push((resolver, Ok(joined)));
            }
        }
    }

    /// All members with their metadata, for the leader.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| JoinedMember {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        });
        members.collect()
    }

    /// This generation as one member is told it.
    pub(super) fn joined(&self, id: &Arc<str>, members: Vec<JoinedMember>) -> Joined {
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: self.protocol.clone().unwrap_or_default(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: Arc::clone(id),
            skip_assignment: false,
            members,
        }
    }
}
