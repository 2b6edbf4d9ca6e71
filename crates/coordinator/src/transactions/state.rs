//! The states of a transactional id.

/// What a transactional id is doing.
///
/// ```text
///              init                     init (the epoch rises)
///   unknown ─────────► Empty ◄───────────────────────────────────┬──────────────────┐
///                        │  ▲                                    │                  │
///         first partition│  │init: aborts, the epoch rises       │                  │
///          or offsets    ▼  │                                    │                  │
///                      Ongoing ──── end: commit ────────► CompleteCommit            │
///                        │  ▲ ▲                                  │                  │
///   end: abort, timeout  │  │ └───────── first partition ────────┘                  │
///                        ▼  │                                                       │
///                  CompleteAbort ───────────────────────────────────────────────────┘
///
///   version 2 (KIP-890): `end: abort` also leads from Empty, CompleteCommit and CompleteAbort to
///   CompleteAbort, for a client need not know whether its first record arrived.
///   All but Ongoing: forgotten once unused for long enough.
/// ```
/// Kafka's PrepareCommit, PrepareAbort and PrepareEpochFence lie between the decision and the last
/// marker. Here the markers and the decision are one group of the log: there is no between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransactionState {
    /// No transaction was begun since its producer was initialised.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// The last transaction was committed.
    CompleteCommit,
    /// The last transaction was aborted.
    CompleteAbort,
}

/// States of Kafka's that are never seen here: known, so that a filter may name them.
const PASSED_OVER: [&str; 4] = ["PrepareCommit", "PrepareAbort", "Dead", "PrepareEpochFence"];

impl TransactionState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Empty, Self::Ongoing, Self::CompleteCommit, Self::CompleteAbort];

    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether Kafka knows a state of that name.
    pub fn is_known(name: &str) -> bool {
        Self::ALL.iter().any(|state| state.name() == name) || PASSED_OVER.contains(&name)
    }

    /// Its number in Kafka's records.
    pub(super) fn number(self) -> i8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::CompleteCommit => 4,
            Self::CompleteAbort => 5,
        }
    }

    pub(super) fn of_number(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }
}
