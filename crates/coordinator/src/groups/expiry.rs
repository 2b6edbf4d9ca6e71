//! Forgetting what nobody needs any more (Kafka's `offsets.retention.minutes`, KIP-211).

use std::sync::Arc;

use super::Shared;
use super::group::{Group, GroupState, Moment};
use super::offsets::Kept;
use super::state::State;

impl Shared {
    /// Removes expired offsets, and groups of which nothing is left.
    pub(super) fn expire(&self, state: &mut State, at: &Moment<'_>) {
        let groups: Vec<Arc<str>> = state.groups.keys().cloned().collect();
        for id in groups {
            let Some(group) = state.groups.get(&id) else { continue };
            let expired = group.offsets.iter().filter(|(topic, partition, kept)| {
                is_expired(group, topic, kept, at) && !state.pending.has(&id, topic, *partition)
            });
            let expired: Vec<(Arc<str>, i32)> =
                expired.map(|(topic, partition, _)| (Arc::clone(topic), partition)).collect();
            let nothing_left = expired.len() == group.offsets.len();
            let whole = group.is_empty() && nothing_left && !state.pending.has_group(&id);
            // A tombstone would lie behind a commit that is on its way, and take it away, too.
            if expired.is_empty() && !whole || state.is_changing(&id) {
                continue;
            }
            tracing::info!(group = &*id, offsets = expired.len(), whole, "forgotten: expired");
            if let Err(error) = self.remove_offsets(state, &id, expired, whole, at) {
                tracing::warn!(group = &*id, "expired offsets stay: {error}");
            }
        }
    }
}

/// Whether an offset has outlived its use.
fn is_expired(group: &Group, topic: &str, kept: &Kept, at: &Moment<'_>) -> bool {
    if let Some(expires_ms) = kept.expires_ms {
        return at.unix_ms >= expires_ms && group.is_empty();
    }
    let retention = i64::try_from(at.options.offsets_retention.as_millis()).unwrap_or(i64::MAX);
    let older = |since_ms: i64| at.unix_ms.saturating_sub(since_ms) >= retention;
    let committed_ms = kept.committed.committed_ms;
    match group.state {
        // A consumer that never was a member: from its last commit.
        GroupState::Empty if group.protocol_type.is_none() => older(committed_ms),
        // From when the last member left.
        GroupState::Empty => older(group.since_ms.unwrap_or(committed_ms)) && older(committed_ms),
        // Consumers that no longer read the topic.
        GroupState::Stable { .. } => {
            group.is_of_consumers() && older(committed_ms) && !group.subscribes_to(topic)
        }
        GroupState::PreparingRebalance { .. } | GroupState::CompletingRebalance { .. } => false,
    }
}
