//! A plan, instantiated.

use std::sync::{Arc, Mutex};

use highwater_env::{Clock, MemoryBudget};
use highwater_state::RestoredState;
use highwater_stream::{Connect, StreamPlan};

use crate::handle::JobShared;
use crate::ready::Signal;
use crate::task::Task;
use crate::{JobError, JobHandle, build};

/// Limits of one job.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// Instances of every operator that is not single, `1..=256`.
    pub shards: usize,
    /// Rows in a batch at most.
    pub batch_rows_max: usize,
    /// Batches queued on one channel at most.
    pub channel_batches_max: usize,
    /// Bytes queued on one channel at most (one batch always fits).
    pub channel_bytes_max: usize,
    /// How often sources look for new splits, ms.
    pub split_discovery_ms: u64,
    /// Rejected records held per source instance and epoch at most; then the source waits for the barrier.
    pub rejects_max: usize,
    /// The same for the bytes of their payloads; the batch that passes it is still taken.
    pub reject_bytes_max: usize,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            shards: 1,
            batch_rows_max: 8192,
            channel_batches_max: 8,
            channel_bytes_max: 8 << 20,
            split_discovery_ms: 5_000,
            rejects_max: 65_536,
            reject_bytes_max: 16 << 20,
        }
    }
}

/// A plan, instantiated: ready to be submitted to a [`WorkerPool`](crate::WorkerPool).
pub struct Job {
    shared: Arc<JobShared>,
    instances: Vec<Instance>,
}

/// Fused operators of one shard.
pub(crate) struct Instance {
    pub(crate) number: usize,
    pub(crate) signal: Arc<Signal>,
    pub(crate) shared: Arc<JobShared>,
    /// None once it is over.
    pub(crate) task: Mutex<Option<Task>>,
}

impl Job {
    /// Instantiates `plan`: opens its sources and sinks, restores state and positions.
    ///
    /// # Errors
    /// If the plan asks for what the engine cannot do, a connector refuses, or state cannot be read.
    pub fn build(
        plan: &StreamPlan,
        connect: &dyn Connect,
        settings: JobSettings,
        restore: Option<&RestoredState>,
        clock: Arc<dyn Clock>,
        budget: &MemoryBudget,
    ) -> Result<Self, JobError> {
        let (shared, tasks) = build::build(plan, connect, &settings, restore, clock, budget)?;
        let instance = |(number, task): (usize, Task)| Instance {
            number,
            signal: Arc::clone(&shared.signals[number]),
            shared: Arc::clone(&shared),
            task: Mutex::new(Some(task)),
        };
        Ok(Self { instances: tasks.into_iter().enumerate().map(instance).collect(), shared })
    }

    /// How many instances there are: as many report each epoch.
    pub fn instances(&self) -> usize {
        self.instances.len()
    }

    /// A handle, also to be had from [`WorkerPool::submit`](crate::WorkerPool::submit).
    pub fn handle(&self) -> JobHandle {
        JobHandle::new(Arc::clone(&self.shared))
    }

    pub(crate) fn into_parts(self) -> (Arc<JobShared>, Vec<Instance>) {
        (self.shared, self.instances)
    }
}
