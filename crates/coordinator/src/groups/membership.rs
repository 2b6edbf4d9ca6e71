//! The requests of members, and what is told about them.

use std::sync::Arc;

use super::group::Gated;
use super::member::{JoinOutcome, SyncOutcome};
use super::promise::{Promise, promise};
use super::refusal::GroupRefusal;
use super::requests::{
    GroupDescription, GroupOverview, GroupProgress, JoinRefused, JoinRequest, Joined, Leaving, MemberClaim,
    SyncRequest, Synced,
};
use super::state::State;
use super::{Groups, Shared};

/// Longest group id, in bytes.
const GROUP_ID_BYTES_MAX: usize = 4096;
/// So much of a client's name begins its member ids, in characters.
const MEMBER_ID_PREFIX_CHARS: usize = 200;

impl Groups {
    /// Joins a group. The future ends when the group's next generation begins, or at once.
    pub fn join(
        &self,
        request: &JoinRequest,
    ) -> impl Future<Output = Result<Joined, JoinRefused>> + Send + use<> {
        let promise = self.start_join(request);
        let member_id: Arc<str> = request.member_id.as_str().into();
        async move {
            let refused = |reason| JoinRefused { reason, member_id };
            match promise {
                Ok(promise) => match settled(promise).await {
                    Ok(outcome) => outcome,
                    Err(reason) => Err(refused(reason)),
                },
                Err(reason) => Err(refused(reason)),
            }
        }
    }

    fn start_join(&self, request: &JoinRequest) -> Result<Promise<Gated<JoinOutcome>>, GroupRefusal> {
        let options = &self.0.options;
        check_id(&request.group)?;
        let allowed = options.session_timeout_min..=options.session_timeout_max;
        if !allowed.contains(&request.session_timeout) {
            return Err(GroupRefusal::InvalidSessionTimeout);
        }
        let mut state = self.0.lock();
        if state.members_bytes >= options.members_bytes_max {
            return Err(GroupRefusal::Full);
        }
        if !state.groups.contains_key(&*request.group) {
            if !request.member_id.is_empty() {
                return Err(GroupRefusal::UnknownMember);
            }
            self.0.make_room(&state)?;
        }
        state.group(&request.group);
        let (resolver, promise) = promise();
        let fresh_id = self.fresh_member_id(request);
        self.0.step(&mut state, &request.group, |group, at| group.join(request, fresh_id, resolver, at));
        // A refused join makes no group.
        if state.groups.get(&*request.group).is_some_and(|group| group.is_gone() && group.generation == 0) {
            state.groups.remove(&*request.group);
        }
        Ok(promise)
    }

    fn fresh_member_id(&self, request: &JoinRequest) -> Arc<str> {
        let prefix = request.instance_id.as_deref().unwrap_or(&request.client_id);
        let prefix: String = prefix.chars().take(MEMBER_ID_PREFIX_CHARS).collect();
        let hex = format!("{:032x}", self.0.entropy.next_u128());
        let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        format!("{prefix}-{a}-{b}-{c}-{d}-{e}").into()
    }

    /// Asks for a member's assignment. The future ends when the leader has brought it and it is
    /// durable.
    pub fn sync(
        &self,
        request: &SyncRequest,
    ) -> impl Future<Output = Result<Synced, GroupRefusal>> + Send + use<> {
        let promise = self.start_sync(request);
        async move { settled(promise?).await? }
    }

    fn start_sync(&self, request: &SyncRequest) -> Result<Promise<Gated<SyncOutcome>>, GroupRefusal> {
        check_id(&request.group)?;
        let (resolver, promise) = promise();
        let mut state = self.0.lock();
        let known = self.0.step(&mut state, &request.group, |group, at| group.sync(request, resolver, at));
        known.map(|()| promise).ok_or(GroupRefusal::UnknownMember)
    }

    /// A sign of life of a member.
    ///
    /// # Errors
    /// If it must join again.
    pub fn heartbeat(&self, group: &str, claim: &MemberClaim) -> Result<(), GroupRefusal> {
        check_id(group)?;
        let mut state = self.0.lock();
        let known = self.0.step(&mut state, group, |group, at| group.heartbeat(claim, at));
        known.unwrap_or(Err(GroupRefusal::UnknownMember))
    }

    /// Removes members from a group: what became of each, in order.
    ///
    /// # Errors
    /// If the group's name is not one.
    pub fn leave(
        &self,
        group: &str,
        leaving: &[Leaving],
    ) -> Result<Vec<Result<(), GroupRefusal>>, GroupRefusal> {
        check_id(group)?;
        let mut state = self.0.lock();
        let left = self.0.step(&mut state, group, |group, at| {
            leaving.iter().map(|leaving| group.leave(leaving, at)).collect()
        });
        Ok(left.unwrap_or_else(|| vec![Err(GroupRefusal::UnknownMember); leaving.len()]))
    }

    /// All groups, by name, once they are durable as they are.
    pub fn list(&self) -> impl Future<Output = Result<Vec<GroupOverview>, GroupRefusal>> + Send + use<> {
        self.read(|state| state.groups.values().map(|group| group.overview()).collect())
    }

    /// How far all groups have read, by name. Costs one look at every offset, and copies little.
    pub fn progress(&self) -> impl Future<Output = Result<Vec<GroupProgress>, GroupRefusal>> + Send + use<> {
        self.read(|state| {
            let groups = state.groups.values().map(|group| GroupProgress {
                overview: group.overview(),
                topics: group.offsets.progress().collect(),
            });
            groups.collect()
        })
    }

    /// Groups with their members, in the order asked for; none for a group that is not there.
    pub fn describe(
        &self,
        groups: Vec<String>,
    ) -> impl Future<Output = Result<Vec<Option<GroupDescription>>, GroupRefusal>> + Send + use<> {
        self.read(move |state| {
            groups.iter().map(|id| state.groups.get(&**id).map(|group| group.describe())).collect()
        })
    }

    /// Waits until everything is durable that is on its way, then reads.
    pub(super) fn read<T, F: FnOnce(&mut State) -> T + Send>(
        &self,
        read: F,
    ) -> impl Future<Output = Result<T, GroupRefusal>> + Send + use<T, F> {
        let shared = Arc::clone(&self.0);
        let gate = shared.lock().gate();
        async move {
            if let Some(ticket) = gate {
                // What was refused is not in the state either.
                let _ = ticket.await;
            }
            Ok(read(&mut shared.lock()))
        }
    }
}

/// The answer, once the record behind it is durable.
async fn settled<T>(promise: Promise<Gated<T>>) -> Result<T, GroupRefusal> {
    let Gated { outcome, ticket } = promise.await.ok_or(GroupRefusal::Unavailable)?;
    if let Some(ticket) = ticket {
        ticket.await.map_err(|_| GroupRefusal::Unavailable)?;
    }
    Ok(outcome)
}

/// Whether it can be the name of a group with members.
fn check_id(group: &str) -> Result<(), GroupRefusal> {
    if group.is_empty() { Err(GroupRefusal::InvalidGroupId) } else { check_id_len(group) }
}

/// Whether it can be the name of a group; offsets may be kept under the empty name.
pub(super) fn check_id_len(group: &str) -> Result<(), GroupRefusal> {
    if group.len() > GROUP_ID_BYTES_MAX { Err(GroupRefusal::InvalidGroupId) } else { Ok(()) }
}

impl Shared {
    /// Whether there may be one more group.
    pub(super) fn make_room(&self, state: &State) -> Result<(), GroupRefusal> {
        if state.groups.len() < self.options.groups_max { Ok(()) } else { Err(GroupRefusal::Full) }
    }
}
