//! Why a job cannot be built or go on.

use highwater_env::MemoryExhausted;
use highwater_state::StateError;
use highwater_stream::ConnectorError;

/// Why a job cannot be built or go on.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The plan asks for something the engine cannot do (yet). The user changes the query.
    #[error("{operator}: {message}")]
    Unsupported {
        /// The operator's title.
        operator: String,
        /// What, and what to do instead.
        message: String,
    },
    /// The plan contradicts itself. Ours.
    #[error("invalid plan: {0}")]
    Plan(String),
    /// A source or sink failed; [`ConnectorError::retry`] tells whether to try again.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// An expression failed on a row: the user's data or query.
    #[error("{operator}: {message}")]
    Evaluation {
        /// The operator's title.
        operator: String,
        /// What happened.
        message: String,
    },
    /// State could not be read back.
    #[error("{operator}: {error}")]
    State {
        /// The operator's uid.
        operator: String,
        /// Why.
        error: StateError,
    },
    /// The operator's state does not fit in its memory budget.
    #[error("{operator}: {error}")]
    Memory {
        /// The operator's title.
        operator: String,
        /// Which budget.
        error: MemoryExhausted,
    },
    /// A defect: an operator panicked.
    #[error("internal error, please report it: {0}")]
    Panicked(String),
}

impl JobError {
    /// Whether starting again from the last epoch may help without anybody acting.
    pub fn retry(&self) -> bool {
        matches!(self, Self::Connector(error) if error.retry())
    }
}
