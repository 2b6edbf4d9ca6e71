//! Limits and defaults of groups.

use std::time::Duration;

/// Limits and defaults of groups. Names and values are Apache Kafka's where it has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// The shortest session a member may ask for (`group.min.session.timeout.ms`).
    pub session_timeout_min: Duration,
    /// The longest session a member may ask for (`group.max.session.timeout.ms`).
    pub session_timeout_max: Duration,
    /// How long an empty group waits for more members than its first, again after each one that
    /// came (`group.initial.rebalance.delay.ms`; Kafka waits 3 s).
    pub initial_rebalance_delay: Duration,
    /// A new member whose join is not answered for so long is forgotten.
    pub new_member_join_max: Duration,
    /// Members of one group, those that were only given an id included (`group.max.size`).
    pub members_max: usize,
    /// Groups of the node.
    pub groups_max: usize,
    /// Bytes of one group's subscriptions and assignments.
    pub group_bytes_max: usize,
    /// Bytes of all groups' subscriptions and assignments, and of ids that were given out.
    pub members_bytes_max: usize,
    /// Partitions for which one group may keep offsets.
    pub offsets_per_group_max: usize,
    /// Bytes of one committed offset's metadata (`offset.metadata.max.bytes`).
    pub offset_metadata_bytes_max: usize,
    /// Bytes of the records of one commit.
    pub commit_bytes_max: usize,
    /// Bytes of all committed and pending offsets of the node, approximately.
    pub offsets_bytes_max: usize,
    /// How long offsets are kept once a group is empty (`offsets.retention.minutes`).
    pub offsets_retention: Duration,
    /// How often expired offsets are looked for (`offsets.retention.check.interval.ms`).
    pub expiry_interval: Duration,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(1800),
            initial_rebalance_delay: Duration::from_millis(500),
            new_member_join_max: Duration::from_secs(300),
            members_max: 1000,
            groups_max: 20_000,
            group_bytes_max: 4 << 20,
            members_bytes_max: 256 << 20,
            offsets_per_group_max: 100_000,
            offset_metadata_bytes_max: 4096,
            commit_bytes_max: 3 << 20,
            offsets_bytes_max: 256 << 20,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            expiry_interval: Duration::from_secs(600),
        }
    }
}
