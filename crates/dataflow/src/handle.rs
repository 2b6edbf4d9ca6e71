//! A running job, seen from outside.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use highwater_env::Epoch;
use highwater_state::InstanceSnapshot;
use highwater_stream::Barrier;

use crate::counters::JobCounters;
use crate::ready::Signal;
use crate::{JobError, JobStats};

/// Something that happened to a job.
#[derive(Debug)]
pub enum JobEvent {
    /// An instance reached the barrier of `epoch`. The epoch is aligned once all instances did.
    Snapshot {
        /// Whose barrier.
        epoch: Epoch,
        /// Which instance, `0..instances`.
        instance: usize,
        /// Its state, positions, committables and rejected records.
        taken: InstanceSnapshot,
    },
    /// All sources have ended and everything is flushed: the job waits for the final barrier.
    InputEnded,
    /// All instances passed the final barrier.
    Finished,
    /// An instance failed; the job is stopped. Comes at most once, and last.
    Failed(JobError),
}

/// The events of one job, in order. Bounded: instances times epochs begun, as the owner begins epochs.
#[derive(Debug, Default)]
pub struct JobEvents {
    queue: Mutex<EventQueue>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct EventQueue {
    events: VecDeque<JobEvent>,
    waker: Option<Waker>,
}

impl JobEvents {
    pub(crate) fn push(&self, event: JobEvent) {
        let waker = {
            let mut queue = lock(&self.queue);
            queue.events.push_back(event);
            queue.waker.take()
        };
        self.arrived.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next event, if there is one.
    pub fn try_recv(&self) -> Option<JobEvent> {
        lock(&self.queue).events.pop_front()
    }

    /// The next event; waits up to `timeout` for it.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<JobEvent> {
        let queue = lock(&self.queue);
        let empty = |queue: &mut EventQueue| queue.events.is_empty();
        let (mut queue, _) =
            self.arrived.wait_timeout_while(queue, timeout, empty).unwrap_or_else(PoisonError::into_inner);
        queue.events.pop_front()
    }

    /// The next event; if there is none, `waker` is woken when one arrives.
    pub fn poll_recv(&self, waker: &Waker) -> Option<JobEvent> {
        let mut queue = lock(&self.queue);
        let event = queue.events.pop_front();
        if event.is_none() {
            queue.waker = Some(waker.clone());
        }
        event
    }
}

/// A lock whose holder panicked is still usable: every critical section below leaves its data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Barriers on their way into one source instance.
#[derive(Default)]
pub(crate) struct BarrierInbox {
    barriers: Mutex<VecDeque<Barrier>>,
}

impl BarrierInbox {
    pub(crate) fn pop(&self) -> Option<Barrier> {
        lock(&self.barriers).pop_front()
    }
}

/// What the instances of a job and its handle share.
pub(crate) struct JobShared {
    pub(crate) events: JobEvents,
    pub(crate) cancelled: AtomicBool,
    pub(crate) counters: JobCounters,
    pub(crate) signals: Vec<Arc<Signal>>,
    /// Per source instance: its inbox and its bell.
    pub(crate) inboxes: Vec<(Arc<BarrierInbox>, Arc<Signal>)>,
    full: Mutex<BTreeSet<Epoch>>,
    flushed: AtomicUsize,
    finished: AtomicUsize,
}

impl JobShared {
    pub(crate) fn new(
        counters: JobCounters,
        signals: Vec<Arc<Signal>>,
        inboxes: Vec<(Arc<BarrierInbox>, Arc<Signal>)>,
    ) -> Self {
        Self {
            events: JobEvents::default(),
            cancelled: AtomicBool::new(false),
            counters,
            signals,
            inboxes,
            full: Mutex::default(),
            flushed: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
        }
    }

    /// Whether the snapshot of `epoch` is to hold everything.
    pub(crate) fn is_full(&self, epoch: Epoch) -> bool {
        lock(&self.full).contains(&epoch)
    }

    /// An instance has flushed all there will ever be.
    pub(crate) fn instance_flushed(&self) {
        if self.flushed.fetch_add(1, Ordering::SeqCst) + 1 == self.signals.len() {
            self.events.push(JobEvent::InputEnded);
        }
    }

    /// An instance passed the final barrier.
    pub(crate) fn instance_finished(&self) {
        if self.finished.fetch_add(1, Ordering::SeqCst) + 1 == self.signals.len() {
            self.events.push(JobEvent::Finished);
        }
    }

    /// An instance failed: the job stops.
    pub(crate) fn fail(&self, error: JobError) {
        if !self.cancelled.swap(true, Ordering::SeqCst) {
            self.events.push(JobEvent::Failed(error));
        }
        self.ring_all();
    }

    fn ring_all(&self) {
        for signal in &self.signals {
            signal.ring();
        }
    }
}

/// A job that runs. Dropping the handle does not stop it: see [`JobHandle::cancel`].
#[derive(Clone)]
pub struct JobHandle {
    shared: Arc<JobShared>,
}

impl JobHandle {
    pub(crate) fn new(shared: Arc<JobShared>) -> Self {
        Self { shared }
    }

    /// How many instances the job has: as many report each epoch.
    pub fn instances(&self) -> usize {
        self.shared.signals.len()
    }

    /// Sends a barrier into all sources. Snapshots hold what changed since the barrier before.
    pub fn barrier(&self, barrier: Barrier) {
        let mut full = lock(&self.shared.full);
        full.retain(|epoch| epoch.0 + 64 > barrier.epoch.0);
        drop(full);
        for (inbox, signal) in &self.shared.inboxes {
            lock(&inbox.barriers).push_back(barrier);
            signal.ring();
        }
    }

    /// As [`JobHandle::barrier`]; snapshots hold everything.
    pub fn barrier_full(&self, barrier: Barrier) {
        lock(&self.shared.full).insert(barrier.epoch);
        self.barrier(barrier);
    }

    /// What happens to the job.
    pub fn events(&self) -> &JobEvents {
        &self.shared.events
    }

    /// Stops the job where it is, without a snapshot. No event follows.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::SeqCst);
        self.shared.ring_all();
    }

    /// The job's figures now.
    pub fn stats(&self) -> JobStats {
        self.shared.counters.read()
    }
}
