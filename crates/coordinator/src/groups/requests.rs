//! What is asked of groups, and what they answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_env::Offset;

use super::refusal::GroupRefusal;

/// JoinGroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group.
    pub group: String,
    /// Empty for a new member.
    pub member_id: String,
    /// A static member's name (KIP-345).
    pub instance_id: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// Without a sign of life for so long the member is removed.
    pub session_timeout: Duration,
    /// How long the others may wait for it in a rebalance.
    pub rebalance_timeout: Duration,
    /// What the members' metadata means: `consumer`, `connect`.
    pub protocol_type: String,
    /// The protocols it knows, most wanted first, each with its metadata.
    pub protocols: Vec<(String, Bytes)>,
    /// Whether a new member must ask twice (KIP-394).
    pub member_id_required: bool,
    /// Whether a leader may be told to leave the assignment as it is (KIP-814).
    pub can_skip_assignment: bool,
}

/// A member's place in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The generation's number.
    pub generation: i32,
    /// What the metadata means.
    pub protocol_type: Arc<str>,
    /// The protocol chosen.
    pub protocol: Arc<str>,
    /// The member that assigns.
    pub leader: Arc<str>,
    /// This member.
    pub member_id: Arc<str>,
    /// Whether the leader must leave the assignment as it is.
    pub skip_assignment: bool,
    /// For the leader: all members.
    pub members: Vec<JoinedMember>,
}

/// A member as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static name.
    pub instance_id: Option<Arc<str>>,
    /// Its metadata for the protocol chosen.
    pub metadata: Bytes,
}

/// A join was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    /// Why.
    pub reason: GroupRefusal,
    /// The id it asked with, or was given.
    pub member_id: Arc<str>,
}

/// Who a request comes from, as far as the group must check it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberClaim {
    /// The generation it believes in, -1 for none.
    pub generation: i32,
    /// Its member id, or empty.
    pub member_id: String,
    /// Its static name.
    pub instance_id: Option<String>,
}

/// SyncGroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncRequest {
    /// The group.
    pub group: String,
    /// Who asks.
    pub claim: MemberClaim,
    /// What it believes to be the group's protocol type.
    pub protocol_type: Option<String>,
    /// What it believes to be the protocol chosen.
    pub protocol: Option<String>,
    /// From the leader: each member's assignment.
    pub assignments: Vec<(String, Bytes)>,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// What the metadata means.
    pub protocol_type: Arc<str>,
    /// The protocol chosen.
    pub protocol: Arc<str>,
    /// What the leader assigned.
    pub assignment: Bytes,
}

/// A member that is to leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Its id; may be empty for a static member.
    pub member_id: String,
    /// Its static name.
    pub instance_id: Option<String>,
}

/// An offset to commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record read, -1 if unknown.
    pub leader_epoch: i32,
    /// Anything the client wants to keep with it.
    pub metadata: String,
}

/// A commit of offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitRequest {
    /// The group; made if there is none and no generation is claimed.
    pub group: String,
    /// Who commits; generation -1 and no member id: nobody's member.
    pub claim: MemberClaim,
    /// When these offsets expire, if the client says so.
    pub retention: Option<Duration>,
    /// What is committed.
    pub offsets: Vec<OffsetCommit>,
}

/// What became of each offset of a commit, in order.
pub type Committed = Vec<Result<(), GroupRefusal>>;

/// Which offsets are asked for: topics with partitions, or all.
pub type OffsetSelection = Option<Vec<(Arc<str>, Vec<i32>)>>;

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record read, -1 if unknown.
    pub leader_epoch: i32,
    /// What the client kept with it.
    pub metadata: Arc<str>,
    /// When it was committed, ms since the Unix epoch, UTC.
    pub committed_ms: i64,
}

/// What is known of one partition: an offset, nothing, or why it is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset, if one is committed.
    pub offset: Result<Option<CommittedOffset>, GroupRefusal>,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOverview {
    /// Its name.
    pub group: Arc<str>,
    /// Its state, in Kafka's words.
    pub state: &'static str,
    /// What its members' metadata means; empty if it never had any.
    pub protocol_type: Arc<str>,
    /// How many members it has.
    pub members: usize,
}

/// How far a group has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupProgress {
    /// Name, state, protocol type, number of members.
    pub overview: GroupOverview,
    /// By name of the topic; those with a committed offset.
    pub topics: Vec<TopicProgress>,
}

/// How far a group has read one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicProgress {
    /// The topic.
    pub topic: Arc<str>,
    /// By how many records its committed offsets rose, all together, since the node started; an offset
    /// that is set back does not count.
    pub read: u64,
    /// Partitions and the next offset to read in each.
    pub committed: Vec<(i32, Offset)>,
}

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Name, state, protocol type.
    pub overview: GroupOverview,
    /// The protocol chosen; empty unless stable.
    pub protocol: Arc<str>,
    /// The generation's number.
    pub generation: i32,
    /// The members.
    pub members: Vec<MemberDescription>,
}

/// A member of a described group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static name.
    pub instance_id: Option<Arc<str>>,
    /// The client's name for itself.
    pub client_id: Arc<str>,
    /// Where it connects from.
    pub client_host: Arc<str>,
    /// Its metadata for the protocol chosen; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment; empty unless the group is stable.
    pub assignment: Bytes,
}
