//! Wakes readers that wait for a moment. One thread, started by the first that waits.

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
    /// Who waits, and for which moment of the monotonic clock.
    wakers: Vec<(Duration, Waker)>,
}

impl Timer {
    /// Wakes `waker` once `clock`'s monotonic time has reached `at`; now and then earlier.
    pub(crate) fn wake_at(self: &Arc<Self>, clock: &Arc<dyn Clock>, at: Duration, waker: &Waker) {
        let mut waiting = self.lock();
        match waiting.wakers.iter_mut().find(|(_, known)| known.will_wake(waker)) {
            Some(known) => known.0 = known.0.min(at),
            None => waiting.wakers.push((at, waker.clone())),
        }
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
                wakers.into_iter().for_each(|(_, waker)| waker.wake());
            }
        }
    }

    fn run(&self, clock: &dyn Clock) {
        let mut waiting = self.lock();
        loop {
            let now = clock.monotonic();
            let due: Vec<Waker> =
                waiting.wakers.extract_if(.., |(at, _)| *at <= now).map(|(_, w)| w).collect();
            let next = waiting.wakers.iter().map(|(at, _)| *at).min();
            if !due.is_empty() {
                drop(waiting);
                due.into_iter().for_each(Waker::wake);
                waiting = self.lock();
                continue;
            }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::task::Wake;

    use highwater_env::SystemClock;

    use super::*;

    struct Bell(&'static str, SyncSender<&'static str>);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.1.send(self.0).unwrap();
        }
    }

    #[test]
    fn the_earlier_is_woken_first_and_nobody_too_early() {
        let timer = Arc::new(Timer::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let (sender, receiver) = sync_channel(8);
        let late = Waker::from(Arc::new(Bell("late", sender.clone())));
        let early = Waker::from(Arc::new(Bell("early", sender)));
        timer.wake_at(&clock, Duration::from_millis(60), &late);
        timer.wake_at(&clock, Duration::from_millis(30), &early);
        timer.wake_at(&clock, Duration::from_secs(3_600), &early);
        for (name, at_ms) in [("early", 30), ("late", 60)] {
            assert_eq!(receiver.recv_timeout(Duration::from_secs(60)), Ok(name));
            assert!(clock.monotonic() >= Duration::from_millis(at_ms), "{name} was woken too early");
        }
    }
}
