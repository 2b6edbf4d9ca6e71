//! Fused operators of one shard, stepped.

use std::time::Duration;

use highwater_env::Clock;

use crate::JobError;

/// How a step ended.
#[allow(dead_code)]
pub(crate) enum Step {
    /// There is more to do.
    Ran,
    /// Nothing to do until a bell rings.
    Blocked,
    /// Nothing to do until a bell rings or the monotonic clock shows this.
    IdleUntil(Duration),
    /// Over.
    Done,
}

pub(crate) struct Task;

impl Task {
    pub(crate) fn step(&mut self, _clock: &dyn Clock) -> Result<Step, JobError> {
        Ok(Step::Done)
    }
}
