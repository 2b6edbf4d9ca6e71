//! Handing the leader's assignment to everyone.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Gated, Group, GroupState, Moment};
use crate::groups::member::{Member, SyncOutcome};
use crate::groups::promise::Resolver;
use crate::groups::refusal::GroupRefusal;
use crate::groups::requests::{JoinRefused, SyncRequest, Synced};

impl Group {
    /// A member asks for its assignment; the leader brings everyone's.
    pub(in crate::groups) fn sync(
        &mut self,
        request: &SyncRequest,
        resolver: Resolver<Gated<SyncOutcome>>,
        at: &Moment<'_>,
    ) {
        let id = match self.check_sync(request) {
            Ok(id) => id,
            Err(reason) => return self.effects.syncs.push((resolver, Err(reason))),
        };
        let Some(member) = self.members.get_mut(&id) else { return };
        member.synced = true;
        member.is_alive(at);
        match self.state {
            GroupState::CompletingRebalance { sync_by } => {
                member.syncing = Some(resolver);
                if self.leader.as_ref() == Some(&id) {
                    self.assign(&request.assignments, sync_by, at);
                }
            }
            // `check_sync` lets pass no other state.
            _ => {
                let synced = self.synced(&id);
                self.effects.syncs.push((resolver, Ok(synced)));
            }
        }
        self.note_all_synced();
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<Arc<str>, GroupRefusal> {
        let claim = &request.claim;
        let id = self.check_member(&claim.member_id, claim.instance_id.as_deref())?;
        self.check_generation(claim.generation)?;
        let agrees = |said: &Option<String>, is: &Option<Arc<str>>| match (said, is) {
            (Some(said), Some(is)) => **said == **is,
            _ => true,
        };
        if !agrees(&request.protocol_type, &self.protocol_type) || !agrees(&request.protocol, &self.protocol)
        {
            // While the next protocol is not chosen the last one says nothing.
            if !matches!(self.state, GroupState::PreparingRebalance { .. }) {
                return Err(GroupRefusal::InconsistentProtocol);
            }
        }
        match self.state {
            GroupState::Empty => Err(GroupRefusal::UnknownMember),
            GroupState::PreparingRebalance { .. } => Err(GroupRefusal::RebalanceInProgress),
            GroupState::CompletingRebalance { .. } | GroupState::Stable { .. } => Ok(id),
        }
    }

    fn assign(&mut self, assignments: &[(String, Bytes)], sync_by: std::time::Duration, at: &Moment<'_>) {
        let assigned: BTreeMap<&str, &Bytes> =
            assignments.iter().map(|(member, assignment)| (member.as_str(), assignment)).collect();
        let asked: usize = assigned.values().map(|assignment| assignment.len()).sum();
        let held: usize = self.members.values().map(Member::subscription_bytes).sum();
        if held + asked > at.options.group_bytes_max {
            self.refuse_syncs(GroupRefusal::AssignmentTooLarge);
            return self.rebalance(at);
        }
        for member in self.members.values_mut() {
            let assignment = assigned.get(&*member.id).map(|bytes| Bytes::copy_from_slice(bytes));
            member.assignment = assignment.unwrap_or_default();
        }
        self.transition(GroupState::Stable { sync_by: Some(sync_by) }, at);
        self.effects.write = true;
        let waiting = self.members.values().filter(|member| member.syncing.is_some());
        let waiting: Vec<Arc<str>> = waiting.map(|member| Arc::clone(&member.id)).collect();
        for id in waiting {
            let synced = self.synced(&id);
            let resolver = self.members.get_mut(&id).and_then(|member| member.syncing.take());
            if let Some(resolver) = resolver {
                self.effects.syncs.push((resolver, Ok(synced)));
            }
        }
    }

    fn synced(&self, id: &Arc<str>) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: self.protocol.clone().unwrap_or_default(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    fn note_all_synced(&mut self) {
        if let GroupState::Stable { sync_by } = &mut self.state
            && self.members.values().all(|member| member.synced)
        {
            *sync_by = None;
        }
    }

    /// The log did not take the group's record: nobody may act on it, all must join again. That it
    /// became empty is written later.
    pub(in crate::groups) fn not_written(&mut self, at: &Moment<'_>) {
        for (_, outcome) in &mut self.effects.joins {
            if let Ok(joined) = outcome {
                let member_id = Arc::clone(&joined.member_id);
                *outcome = Err(JoinRefused { reason: GroupRefusal::Unavailable, member_id });
            }
        }
        for (_, outcome) in &mut self.effects.syncs {
            if outcome.is_ok() {
                *outcome = Err(GroupRefusal::Unavailable);
            }
        }
        if matches!(self.state, GroupState::Stable { .. }) {
            self.effects.write = false;
            self.rebalance(at);
        }
    }
}
