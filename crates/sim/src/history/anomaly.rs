//! What can be wrong with a history.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// An acknowledged value, or one that was served before, is not where later ones are.
    LostWrite,
    /// An acknowledged value that nobody was ever served, at the end of its partition.
    UnseenAcknowledged,
    /// One value at two offsets.
    Duplicate,
    /// Two values at one offset, at the same time or one after the other.
    OffsetReuse,
    /// A producer's later value lies before its earlier one in the same partition.
    Reordered,
    /// An offset between a partition's start and end that holds nothing.
    Hole,
    /// A value that nobody had sent there.
    InventedRecord,
    /// A value whose transaction was not committed, or whose send was refused, was served.
    AbortedRead,
    /// A reader of committed records was served a value before its commit was even asked for.
    PrecommittedRead,
    /// A consumer was given an offset at or below one it had been given.
    NonmonotonicPoll,
    /// A consumer was not given a value between two that it was given.
    PollSkip,
    /// A group's offset is below one that was committed, or shown, before it was asked for.
    OffsetWentBack,
    /// A group's offset is that of a transaction whose commit nobody had asked for.
    UncommittedOffset,
    /// A group's offset that nobody had committed.
    InventedOffset,
    /// A group's offset lies behind the last stable offset.
    OffsetBeyondEnd,
    /// No member of a group was given a value below what the group has committed.
    GroupSkip,
    /// A value that a group of copiers has passed has no copy.
    NotCopied,
    /// A value has two copies.
    CopiedTwice,
    /// A value has a copy, but the offset committed with the copy does not count.
    CopyWithoutOffset,
    /// What lay below an acknowledged deletion is there again.
    DeletedRead,
    /// A partition that clients delete from begins above all that they asked to be deleted.
    LostStart,
}

impl Kind {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::LostWrite => "lost write",
            Self::UnseenAcknowledged => "unseen acknowledged",
            Self::Duplicate => "duplicate",
            Self::OffsetReuse => "offset reuse",
            Self::Reordered => "reordered",
            Self::Hole => "hole",
            Self::InventedRecord => "invented record",
            Self::AbortedRead => "aborted read",
            Self::PrecommittedRead => "precommitted read",
            Self::NonmonotonicPoll => "nonmonotonic poll",
            Self::PollSkip => "poll skip",
            Self::OffsetWentBack => "committed offset went back",
            Self::UncommittedOffset => "uncommitted offset",
            Self::InventedOffset => "invented offset",
            Self::OffsetBeyondEnd => "offset beyond the end",
            Self::GroupSkip => "group skip",
            Self::NotCopied => "not copied",
            Self::CopiedTwice => "copied twice",
            Self::CopyWithoutOffset => "copy without its offset",
            Self::DeletedRead => "deleted read",
            Self::LostStart => "lost start",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What.
    pub kind: Kind,
    /// With which values and offsets, for a person.
    pub what: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.what)
    }
}
