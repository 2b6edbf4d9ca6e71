//! Which instances have something to do.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Wake;

/// Takes note of instances that became ready. The worker pool is one; the simulation is another.
pub(crate) trait Scheduler: Send + Sync {
    /// Instance `instance` of job `job` has something to do.
    fn ready(&self, job: u64, instance: usize);
}

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const RUNNING_WOKEN: u8 = 3;
const DONE: u8 = 4;

/// An instance's bell. Ringing it while the instance runs makes it run once more.
///
/// ```text
/// IDLE --wake--> QUEUED --begin--> RUNNING --wake--> RUNNING_WOKEN
///  ^                ^                 |                    |
///  +---- sleep -----|-----------------+                    |
///                   +------------- sleep ------------------+      finish: any --> DONE
/// ```
pub(crate) struct Signal {
    instance: usize,
    state: AtomicU8,
    /// The job's number at the one who runs it.
    scheduler: OnceLock<(u64, Arc<dyn Scheduler>)>,
}

impl Signal {
    pub(crate) fn new(instance: usize) -> Arc<Self> {
        Arc::new(Self { instance, state: AtomicU8::new(IDLE), scheduler: OnceLock::new() })
    }

    /// Says who runs the instance, and rings once.
    pub(crate) fn attach(&self, job: u64, scheduler: Arc<dyn Scheduler>) {
        if self.scheduler.set((job, scheduler)).is_ok() {
            self.ring();
        }
    }

    pub(crate) fn ring(&self) {
        let Some((job, scheduler)) = self.scheduler.get() else { return };
        let step = |state| match state {
            IDLE => Some(QUEUED),
            RUNNING => Some(RUNNING_WOKEN),
            _ => None,
        };
        if self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step) == Ok(IDLE) {
            scheduler.ready(*job, self.instance);
        }
    }

    /// The instance starts to run.
    pub(crate) fn begin(&self) {
        self.state.store(RUNNING, Ordering::SeqCst);
    }

    /// The instance has more to do at once.
    pub(crate) fn again(&self) {
        self.state.store(QUEUED, Ordering::SeqCst);
        if let Some((job, scheduler)) = self.scheduler.get() {
            scheduler.ready(*job, self.instance);
        }
    }

    /// The instance has nothing to do, unless it was rung while it ran.
    pub(crate) fn sleep(&self) {
        if self.state.compare_exchange(RUNNING, IDLE, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            self.again();
        }
    }

    /// The instance is over.
    pub(crate) fn finish(&self) {
        self.state.store(DONE, Ordering::SeqCst);
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
