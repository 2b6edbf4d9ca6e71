//! Leaving, willingly or not.

use std::sync::Arc;

use super::{Group, GroupState, Moment};
use crate::groups::refusal::GroupRefusal;
use crate::groups::requests::{JoinRefused, Leaving};

impl Group {
    /// A member leaves, or an operator removes a static one by its name.
    pub(in crate::groups) fn leave(
        &mut self,
        leaving: &Leaving,
        at: &Moment<'_>,
    ) -> Result<(), GroupRefusal> {
        let id = match &leaving.instance_id {
            Some(instance_id) => {
                let id = self.static_ids.get(&**instance_id).ok_or(GroupRefusal::UnknownMember)?;
                if !leaving.member_id.is_empty() && *leaving.member_id != **id {
                    return Err(GroupRefusal::FencedInstance);
                }
                Arc::clone(id)
            }
            None if self.pending.remove(&*leaving.member_id).is_some() => {
                self.try_complete_join(at);
                return Ok(());
            }
            None => self.check_member(&leaving.member_id, None)?,
        };
        self.remove_member(&id, at);
        Ok(())
    }

    /// Removes a member; the others must rebalance.
    pub(super) fn remove_member(&mut self, id: &Arc<str>, at: &Moment<'_>) {
        self.forget_member(id);
        if self.state != GroupState::Empty {
            self.rebalance(at);
        }
    }

    /// Removes a member and nothing more.
    pub(super) fn forget_member(&mut self, id: &Arc<str>) {
        let Some(mut member) = self.members.remove(id) else { return };
        if let Some(instance_id) = &member.instance_id
            && self.static_ids.get(instance_id) == Some(id)
        {
            self.static_ids.remove(instance_id);
        }
        let reason = GroupRefusal::UnknownMember;
        if let Some(resolver) = member.joining.take() {
            let refused = JoinRefused { reason, member_id: Arc::clone(id) };
            self.effects.joins.push((resolver, Err(refused)));
        }
        if let Some(resolver) = member.syncing.take() {
            self.effects.syncs.push((resolver, Err(reason)));
        }
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }
}
