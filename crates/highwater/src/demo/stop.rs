//! A flag that ends waits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Set once; whoever waits wakes.
#[derive(Default)]
pub(crate) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// From now on every wait returns at once.
    pub(crate) fn stop(&self) {
        *locked(&self.stopped) = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *locked(&self.stopped)
    }

    /// Waits at most `at_most`; answers whether it was stopped.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        let guard = locked(&self.stopped);
        let (guard, _) = self
            .changed
            .wait_timeout_while(guard, at_most, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        *guard
    }
}

/// Locks; a panic elsewhere must not hide the figures gathered so far.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
