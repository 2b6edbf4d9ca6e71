//! At which moment which made-up row is due.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use highwater_env::Clock;

use crate::timer::Timer;

/// A slow table waits at least so long between batches.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// So many rows per second, from the moment a reader was opened.
pub(crate) struct Pace {
    clock: Arc<dyn Clock>,
    timer: Arc<Timer>,
    opened: Duration,
    first: u64,
    rows_per_second: u64,
}

impl Pace {
    /// From now on, and from row `first`.
    pub(crate) fn new(clock: Arc<dyn Clock>, timer: Arc<Timer>, first: u64, rows_per_second: u64) -> Self {
        Self { opened: clock.monotonic(), clock, timer, first, rows_per_second }
    }

    /// The row before which all are due. None: not even row `next` is; `waker` is woken once it is.
    pub(crate) fn due(&self, next: u64, waker: &Waker) -> Option<u64> {
        let now = self.clock.monotonic();
        let micros = now.saturating_sub(self.opened).as_micros();
        let rows = micros.saturating_mul(u128::from(self.rows_per_second)) / 1_000_000;
        let due = self.first.saturating_add(u64::try_from(rows).unwrap_or(u64::MAX));
        if due > next {
            return Some(due);
        }
        let rows = u128::from(next - self.first) + 1;
        let micros = (rows * 1_000_000).div_ceil(u128::from(self.rows_per_second));
        let at = self.opened + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        self.timer.wake_at(&self.clock, at.max(now + PAUSE_MIN), waker);
        None
    }
}
