//! A member of a group.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::group::{Gated, Moment};
use super::promise::Resolver;
use super::refusal::GroupRefusal;
use super::requests::{JoinRefused, JoinRequest, Joined, Synced};

/// How a join ends.
pub(super) type JoinOutcome = Result<Joined, JoinRefused>;
/// How a sync ends, and what must be durable before anyone is told.
pub(super) type SyncOutcome = Result<Synced, GroupRefusal>;

pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// Most wanted first.
    pub(super) protocols: Vec<(Arc<str>, Bytes)>,
    pub(super) assignment: Bytes,
    /// Whether its first join is not answered yet.
    pub(super) is_new: bool,
    /// When it is removed if it stays silent.
    pub(super) expires_at: Duration,
    pub(super) joining: Option<Resolver<Gated<JoinOutcome>>>,
    pub(super) syncing: Option<Resolver<Gated<SyncOutcome>>>,
    /// Whether it asked for its assignment in this generation.
    pub(super) synced: bool,
}

impl Member {
    pub(super) fn new(id: Arc<str>, request: &JoinRequest, at: &Moment<'_>) -> Self {
        let mut member = Self {
            id,
            instance_id: request.instance_id.as_deref().map(Arc::from),
            client_id: request.client_id.as_str().into(),
            client_host: request.client_host.as_str().into(),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            is_new: true,
            expires_at: at.now + at.options.new_member_join_max,
            joining: None,
            syncing: None,
            synced: false,
        };
        member.update(request);
        member
    }

    /// What a member may say anew whenever it joins.
    pub(super) fn update(&mut self, request: &JoinRequest) {
        self.session_timeout = request.session_timeout;
        self.rebalance_timeout = request.rebalance_timeout;
        // Copied: a slice would hold on to the whole request.
        let copied =
            |(name, metadata): &(String, Bytes)| (Arc::from(name.as_str()), Bytes::copy_from_slice(metadata));
        self.protocols = request.protocols.iter().map(copied).collect();
    }

    /// Whether it would say exactly this.
    pub(super) fn says(&self, protocols: &[(String, Bytes)]) -> bool {
        let same = |(mine, theirs): (&(Arc<str>, Bytes), &(String, Bytes))| {
            *mine.0 == *theirs.0 && mine.1 == theirs.1
        };
        self.protocols.len() == protocols.len() && self.protocols.iter().zip(protocols).all(same)
    }

    pub(super) fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| **name == *protocol)
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| **name == *protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// A sign of life.
    pub(super) fn is_alive(&mut self, at: &Moment<'_>) {
        let patience = if self.is_new { at.options.new_member_join_max } else { self.session_timeout };
        self.expires_at = at.now + patience;
    }

    /// Whether it has been silent for too long. Who waits for the group is not silent; a new member
    /// has other times.
    pub(super) fn is_expired(&self, at: &Moment<'_>) -> bool {
        let waits = self.joining.is_some() || self.syncing.is_some();
        at.now >= self.expires_at && (self.is_new || !waits)
    }

    /// Bytes of its names and subscription.
    pub(super) fn subscription_bytes(&self) -> usize {
        let names = self.id.len() + self.client_id.len() + self.instance_id.as_ref().map_or(0, |id| id.len());
        let protocols = self.protocols.iter().map(|(name, metadata)| name.len() + metadata.len());
        names + protocols.sum::<usize>()
    }

    /// Bytes of its names, subscription and assignment.
    pub(super) fn bytes(&self) -> usize {
        self.subscription_bytes() + self.assignment.len()
    }
}
