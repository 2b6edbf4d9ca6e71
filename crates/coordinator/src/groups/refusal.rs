//! What a group says no to.

/// A request was refused. Each has a Kafka error code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefusal {
    /// A group needs a name.
    #[error("group id is empty")]
    InvalidGroupId,
    /// No such group.
    #[error("unknown group")]
    UnknownGroup,
    /// The group has no such member (any more): join again as a new one.
    #[error("unknown member")]
    UnknownMember,
    /// The member must join again with the id it was given (KIP-394).
    #[error("join again with the member id of this answer")]
    MemberIdRequired,
    /// Another process has taken over this static member (KIP-345).
    #[error("another member joined with this group.instance.id")]
    FencedInstance,
    /// The generation is not the current one.
    #[error("not the group's current generation")]
    IllegalGeneration,
    /// The group is rebalancing: join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// No protocol is common to all members.
    #[error("no protocol in common with the group's members")]
    InconsistentProtocol,
    /// The session is shorter or longer than allowed.
    #[error("session timeout out of range")]
    InvalidSessionTimeout,
    /// The group, or the node, has no room for more.
    #[error("the group is full")]
    Full,
    /// The group has members.
    #[error("the group is not empty")]
    NonEmpty,
    /// A member of the group subscribes to the topic.
    #[error("the group is subscribed to the topic")]
    Subscribed,
    /// An offset's metadata is too large.
    #[error("offset metadata is too large")]
    MetadataTooLarge,
    /// A commit, or all offsets together, take too many bytes.
    #[error("too many offsets, or too large")]
    OffsetsTooLarge,
    /// The group's assignments take too many bytes.
    #[error("assignments are too large")]
    AssignmentTooLarge,
    /// A transaction that writes this offset is not over.
    #[error("a transaction with this offset is open")]
    Unstable,
    /// The log cannot take or keep the change now: try again.
    #[error("the log cannot take the change now")]
    Unavailable,
}
