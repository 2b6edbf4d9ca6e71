//! A promise of durability.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use highwater_env::Offset;

use crate::AppendError;

/// An accepted batch: its offsets are fixed; it is durable once the ticket resolves to `Ok`.
///
/// Await it, or block on [`Ticket::wait`]. Dropping it changes nothing.
#[must_use = "the batch is durable only once the ticket resolves"]
#[derive(Clone)]
pub struct Ticket {
    /// Offset of the batch's first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    pub(crate) sequence: u64,
    pub(crate) durability: Arc<Durability>,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({}..={}, group {})", self.base_offset, self.last_offset, self.sequence)
    }
}

impl Ticket {
    /// Blocks until the batch is durable.
    ///
    /// # Errors
    /// If it could not be made durable.
    pub fn wait(self) -> Result<(), AppendError> {
        self.durability.wait(self.sequence)
    }

    /// The answer, if it is known by now.
    pub fn poll_now(&self) -> Option<Result<(), AppendError>> {
        self.durability.lock().outcome(self.sequence)
    }
}

impl Future for Ticket {
    type Output = Result<(), AppendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.durability.lock();
        match state.outcome(self.sequence) {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                state.wakers.push((self.sequence, context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// Steps a log that has no threads of its own, so that a blocked caller makes progress.
pub(crate) trait Drive: Send + Sync {
    fn drive(&self);
}

/// How far the write-ahead log is durable, and who waits for it.
pub(crate) struct Durability {
    state: Mutex<DurabilityState>,
    changed: Condvar,
    /// Set once for a log without threads.
    pub(crate) driver: std::sync::OnceLock<std::sync::Weak<dyn Drive>>,
}

pub(crate) struct DurabilityState {
    /// All groups up to this sequence number are durable, except those in `refused`.
    durable: u64,
    /// Ranges of groups that were given up because the disk was full, ascending; bounded by
    /// [`REFUSED_MAX`], the oldest are merged.
    refused: Vec<(u64, u64)>,
    failed: Option<AppendError>,
    wakers: Vec<(u64, Waker)>,
}

/// How many ranges of refused groups are remembered. Tickets are resolved long before.
const REFUSED_MAX: usize = 1024;

impl DurabilityState {
    fn outcome(&self, sequence: u64) -> Option<Result<(), AppendError>> {
        if self.refused.iter().any(|(from, to)| (*from..=*to).contains(&sequence)) {
            return Some(Err(AppendError::DiskFull));
        }
        if sequence <= self.durable {
            return Some(Ok(()));
        }
        self.failed.clone().map(Err)
    }
}

impl Durability {
    pub(crate) fn new(durable: u64) -> Self {
        let state = DurabilityState { durable, refused: Vec::new(), failed: None, wakers: Vec::new() };
        Self { state: Mutex::new(state), changed: Condvar::new(), driver: std::sync::OnceLock::new() }
    }

    fn lock(&self) -> MutexGuard<'_, DurabilityState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, sequence: u64) -> Result<(), AppendError> {
        loop {
            let state = self.lock();
            if let Some(outcome) = state.outcome(sequence) {
                return outcome;
            }
            match self.driver.get() {
                None => drop(self.changed.wait(state)),
                Some(log) => {
                    drop(state);
                    log.upgrade().ok_or(AppendError::Closed)?.drive();
                }
            }
        }
    }

    /// Groups up to `sequence` are durable.
    pub(crate) fn reached(&self, sequence: u64) {
        let mut state = self.lock();
        state.durable = state.durable.max(sequence);
        let durable = state.durable;
        let due: Vec<Waker> = state.wakers.extract_if(.., |(at, _)| *at <= durable).map(|(_, w)| w).collect();
        drop(state);
        self.changed.notify_all();
        due.into_iter().for_each(Waker::wake);
    }

    /// These groups, ascending, were given up; later ones take new numbers.
    pub(crate) fn refuse(&self, groups: &[u64]) {
        let mut state = self.lock();
        for group in groups {
            match state.refused.last_mut() {
                Some((_, to)) if *to + 1 == *group => *to = *group,
                _ => state.refused.push((*group, *group)),
            }
        }
        while state.refused.len() > REFUSED_MAX {
            let (oldest, _) = state.refused.remove(0);
            state.refused[0].0 = oldest;
        }
        let due: Vec<Waker> = state.wakers.drain(..).map(|(_, waker)| waker).collect();
        drop(state);
        self.changed.notify_all();
        due.into_iter().for_each(Waker::wake);
    }

    /// Nothing more becomes durable.
    pub(crate) fn fail(&self, why: AppendError) {
        let mut state = self.lock();
        state.failed.get_or_insert(why);
        let due: Vec<Waker> = state.wakers.drain(..).map(|(_, waker)| waker).collect();
        drop(state);
        self.changed.notify_all();
        due.into_iter().for_each(Waker::wake);
    }
}
