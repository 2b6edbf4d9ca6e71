//! Wakes readers that wait for a moment. One thread, started by the first that waits.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use highwater_env::Clock;

/// The thread ends after so long without anyone waiting, and starts again when needed.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(crate) struct Timer {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    running: bool,
    /// By moment of the monotonic clock, the latest last; the number tells equal moments apart.
    wakers: BTreeMap<Reverse<(Duration, u64)>, Waker>,
    number: u64,
}

impl Timer {
    /// Wakes `waker` once `clock`'s monotonic time has reached `at`; now and then earlier.
    pub(crate) fn wake_at(self: &Arc<Self>, clock: &Arc<dyn Clock>, at: Duration, waker: &Waker) {
        let mut waiting = self.lock();
        waiting.number += 1;
        let number = waiting.number;
        waiting.wakers.insert(Reverse((at, number)), waker.clone());
        self.changed.notify_one();
        if waiting.running {
            return;
        }
        let (timer, clock) = (Arc::clone(self), Arc::clone(clock));
        let thread = std::thread::Builder::new().name("connector-timer".to_owned());
        match thread.spawn(move || timer.run(&*clock)) {
            Ok(_) => waiting.running = true,
            Err(error) => {
                // Without a thread the reader is asked again at once: slower, but it goes on.
                tracing::warn!(%error, "cannot start the timer thread");
                let wakers = std::mem::take(&mut waiting.wakers);
                drop(waiting);
                wakers.into_values().for_each(Waker::wake);
            }
        }
    }

    fn run(&self, clock: &dyn Clock) {
        let mut waiting = self.lock();
        loop {
            let now = clock.monotonic();
            while let Some(entry) = waiting.wakers.last_entry()
                && entry.key().0.0 <= now
            {
                entry.remove().wake();
            }
            let next = waiting.wakers.last_key_value().map(|(Reverse((at, _)), _)| *at);
            let pause = next.map_or(IDLE, |at| at.saturating_sub(now));
            let (guard, timeout) =
                self.changed.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner);
            waiting = guard;
            if timeout.timed_out() && waiting.wakers.is_empty() {
                waiting.running = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
