//! Joining: new members, known ones, and static ones that lost their id.

use std::sync::Arc;

use super::{Gated, Group, GroupState, Initial, Moment};
use crate::groups::member::{JoinOutcome, Member};
use crate::groups::promise::Resolver;
use crate::groups::refusal::GroupRefusal;
use crate::groups::requests::{JoinRefused, JoinRequest};

/// What a join is.
enum Joining {
    /// A new member.
    New(Arc<str>),
    /// A new member that must join again with this id, so that ids of clients that gave up before
    /// they heard theirs do not stay behind (KIP-394).
    MustReturn(Arc<str>),
    /// A static member's process came back without its id (KIP-345).
    Returned { old: Arc<str>, new: Arc<str> },
    /// A member.
    Known(Arc<str>),
}

impl Group {
    /// Lets a member join; the answer comes with the next generation, or at once. `fresh_id`: the id
    /// of a new member.
    pub(in crate::groups) fn join(
        &mut self,
        request: &JoinRequest,
        fresh_id: Arc<str>,
        resolver: Resolver<Gated<JoinOutcome>>,
        at: &Moment<'_>,
    ) {
        match self.admit(request, fresh_id, at) {
            Err(reason) => {
                let member_id = request.member_id.as_str().into();
                self.effects.joins.push((resolver, Err(JoinRefused { reason, member_id })));
            }
            Ok(Joining::MustReturn(id)) => {
                self.pending.insert(Arc::clone(&id), at.now + request.session_timeout);
                let refused = JoinRefused { reason: GroupRefusal::MemberIdRequired, member_id: id };
                self.effects.joins.push((resolver, Err(refused)));
            }
            Ok(Joining::New(id)) => self.add_member(id, request, resolver, at),
            Ok(Joining::Known(id)) => self.rejoin(&id, request, resolver, at),
            Ok(Joining::Returned { old, new }) => {
                self.replace_static(&old, &new, request);
                self.rejoin_as_static(&old, &new, request, resolver, at);
            }
        }
    }

    fn admit(
        &self,
        request: &JoinRequest,
        fresh_id: Arc<str>,
        at: &Moment<'_>,
    ) -> Result<Joining, GroupRefusal> {
        let instance_id = request.instance_id.as_deref();
        let returned = match instance_id {
            Some(name) if request.member_id.is_empty() => self.static_ids.get(name).cloned(),
            _ => None,
        };
        let this = returned.as_deref().unwrap_or(&request.member_id);
        if !self.has_protocol_in_common(this, request) {
            return Err(GroupRefusal::InconsistentProtocol);
        }
        if let Some(old) = returned {
            self.check_bytes(&old, request, at)?;
            return Ok(Joining::Returned { old, new: fresh_id });
        }
        if request.member_id.is_empty() {
            self.check_room(request, at)?;
            let must_return = instance_id.is_none() && request.member_id_required;
            return Ok(if must_return { Joining::MustReturn(fresh_id) } else { Joining::New(fresh_id) });
        }
        if let Some((id, _)) = self.pending.get_key_value(&*request.member_id) {
            self.check_room(request, at)?;
            return Ok(Joining::New(Arc::clone(id)));
        }
        let id = self.check_member(&request.member_id, instance_id)?;
        self.check_bytes(&id, request, at)?;
        Ok(Joining::Known(id))
    }

    /// Whether some protocol is known to this member and to all others.
    fn has_protocol_in_common(&self, this: &str, request: &JoinRequest) -> bool {
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        let others: Vec<&Member> = self.members.values().filter(|member| *member.id != *this).collect();
        let same_type = self.protocol_type.as_deref() == Some(&*request.protocol_type);
        let common = |(name, _): &(String, bytes::Bytes)| others.iter().all(|member| member.knows(name));
        (same_type || others.is_empty()) && request.protocols.iter().any(common)
    }

    fn check_room(&self, request: &JoinRequest, at: &Moment<'_>) -> Result<(), GroupRefusal> {
        // The pending one that comes back has its place already.
        let counted = self.members.len() + self.pending.len();
        let counted = counted - usize::from(self.pending.contains_key(&*request.member_id));
        if counted >= at.options.members_max {
            return Err(GroupRefusal::Full);
        }
        self.check_bytes(&request.member_id, request, at)
    }

    /// Whether there is room for what a member, known or new, says of itself.
    fn check_bytes(&self, this: &str, request: &JoinRequest, at: &Moment<'_>) -> Result<(), GroupRefusal> {
        let asked: usize = request.protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum();
        let others = self.members.values().filter(|member| *member.id != *this);
        let held: usize = others.map(Member::bytes).sum();
        match held + asked > at.options.group_bytes_max {
            true => Err(GroupRefusal::Full),
            false => Ok(()),
        }
    }

    fn add_member(
        &mut self,
        id: Arc<str>,
        request: &JoinRequest,
        resolver: Resolver<Gated<JoinOutcome>>,
        at: &Moment<'_>,
    ) {
        self.pending.remove(&id);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.as_str().into());
        }
        let mut member = Member::new(Arc::clone(&id), request, at);
        member.joining = Some(resolver);
        if let Some(instance_id) = &member.instance_id {
            self.static_ids.insert(Arc::clone(instance_id), Arc::clone(&id));
        }
        self.leader.get_or_insert_with(|| Arc::clone(&id));
        self.members.insert(id, member);
        if let GroupState::PreparingRebalance { initial: Some(Initial { grew, .. }), .. } = &mut self.state {
            *grew = true;
        }
        self.rebalance(at);
    }

    fn rejoin(
        &mut self,
        id: &Arc<str>,
        request: &JoinRequest,
        resolver: Resolver<Gated<JoinOutcome>>,
        at: &Moment<'_>,
    ) {
        let is_leader = self.leader.as_ref() == Some(id);
        let unchanged = self.members.get(id).is_some_and(|member| member.says(&request.protocols));
        let answer_now = match self.state {
            GroupState::Empty => {
                let refused = JoinRefused { reason: GroupRefusal::UnknownMember, member_id: Arc::clone(id) };
                self.effects.joins.push((resolver, Err(refused)));
                return;
            }
            GroupState::PreparingRebalance { .. } => false,
            // It may not have heard the answer to its last join.
            GroupState::CompletingRebalance { .. } => unchanged,
            // A leader that joins again wants to assign again.
            GroupState::Stable { .. } => unchanged && !is_leader,
        };
        if answer_now {
            let members = if is_leader { self.joined_members() } else { Vec::new() };
            let joined = self.joined(id, members);
            if let Some(member) = self.members.get_mut(id) {
                member.is_alive(at);
            }
            self.effects.joins.push((resolver, Ok(joined)));
            return;
        }
        if let Some(member) = self.members.get_mut(id) {
            member.update(request);
            member.joining = Some(resolver);
        }
        self.rebalance(at);
    }

    /// Gives a static member another id. Whoever still waits under the old one is another process.
    fn replace_static(&mut self, old: &Arc<str>, new: &Arc<str>, request: &JoinRequest) {
        let Some(mut member) = self.members.remove(old) else { return };
        let reason = GroupRefusal::FencedInstance;
        if let Some(resolver) = member.joining.take() {
            let refused = JoinRefused { reason, member_id: Arc::clone(old) };
            self.effects.joins.push((resolver, Err(refused)));
        }
        if let Some(resolver) = member.syncing.take() {
            self.effects.syncs.push((resolver, Err(reason)));
        }
        member.id = Arc::clone(new);
        member.client_id = request.client_id.as_str().into();
        member.client_host = request.client_host.as_str().into();
        if let Some(instance_id) = &member.instance_id {
            self.static_ids.insert(Arc::clone(instance_id), Arc::clone(new));
        }
        if self.leader.as_ref() == Some(old) {
            self.leader = Some(Arc::clone(new));
        }
        self.members.insert(Arc::clone(new), member);
    }

    fn rejoin_as_static(
        &mut self,
        old: &Arc<str>,
        new: &Arc<str>,
        request: &JoinRequest,
        resolver: Resolver<Gated<JoinOutcome>>,
        at: &Moment<'_>,
    ) {
        let Some(member) = self.members.get_mut(new) else { return };
        member.update(request);
        member.is_alive(at);
        let stable = matches!(self.state, GroupState::Stable { .. });
        if stable && self.choose_protocol() == self.protocol {
            // The assignment stays as it is: no rebalance. The new id must outlive a restart.
            self.effects.write = true;
            let is_leader = self.leader.as_ref() == Some(new);
            let may_lead = is_leader && request.can_skip_assignment;
            let members = if may_lead { self.joined_members() } else { Vec::new() };
            let mut joined = self.joined(new, members);
            joined.skip_assignment = may_lead;
            if is_leader && !may_lead {
                // Told that the old id leads, it does not assign: nobody would hear of it.
                joined.leader = Arc::clone(old);
            }
            self.effects.joins.push((resolver, Ok(joined)));
            return;
        }
        member_waits(self, new, resolver);
        self.rebalance(at);
    }
}

fn member_waits(group: &mut Group, id: &Arc<str>, resolver: Resolver<Gated<JoinOutcome>>) {
    if let Some(member) = group.members.get_mut(id) {
        member.joining = Some(resolver);
    }
}
