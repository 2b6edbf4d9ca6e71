//! Consumer groups: who reads what, and how far.

use std::sync::Arc;

use highwater_env::{Clock, Entropy};
use highwater_log::Log;

use crate::{TopicError, Topics};

/// Limits and defaults of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupOptions {}

/// The groups cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// Their topic cannot be made.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

/// All groups of a node; a cheap handle, shared by clones.
#[derive(Clone)]
#[expect(dead_code, reason = "the state machine comes next")]
pub struct Groups(Arc<Shared>);

#[expect(dead_code, reason = "the state machine comes next")]
struct Shared {
    log: Log,
    topics: Topics,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    options: GroupOptions,
}

impl Groups {
    /// Reads the groups back from the log.
    ///
    /// # Errors
    /// If the log fails.
    pub fn open(
        log: Log,
        topics: Topics,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        options: GroupOptions,
    ) -> Result<Self, GroupError> {
        Ok(Self(Arc::new(Shared { log, topics, clock, entropy, options })))
    }

    /// Does what is due by now.
    pub fn tick(&self) {}
}
