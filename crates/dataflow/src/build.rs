//! From a plan to wired instances.

use std::sync::Arc;

use highwater_env::{Clock, MemoryBudget};
use highwater_state::RestoredState;
use highwater_stream::{Connect, StreamPlan};

use crate::handle::JobShared;
use crate::task::Task;
use crate::{JobError, JobSettings};

pub(crate) fn build(
    _plan: &StreamPlan,
    _connect: &dyn Connect,
    _settings: &JobSettings,
    _restore: Option<&RestoredState>,
    _clock: Arc<dyn Clock>,
    _budget: &MemoryBudget,
) -> Result<(Arc<JobShared>, Vec<Task>), JobError> {
    Err(JobError::Plan("the engine is being built".to_owned()))
}
