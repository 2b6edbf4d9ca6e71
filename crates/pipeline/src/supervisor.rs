//! A pipeline's thread: starts it, and starts it again from its last epoch when it fails for a
//! reason that may pass.
//!
//! ```text
//! Starting -> Running -> Finished            (the input ended)
//!                |  \--> Stopped             (stop, or the node goes down)
//!                |  \--> Failed              (somebody must act)
//!                v
//!            Restarting -> Starting          (waits longer each time, up to a minute)
//! ```

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use highwater_stream::StreamPlan;

use crate::progress::Progress;
use crate::run::{Outcome, RunContext, RunOptions, run};

const RESTART_WAIT_MIN: Duration = Duration::from_secs(1);
const RESTART_WAIT_MAX: Duration = Duration::from_secs(60);
/// A run that lasted so long was healthy: the next wait is the shortest again.
const HEALTHY_AFTER: Duration = Duration::from_secs(120);

/// What a pipeline is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its last epoch is being restored.
    Starting,
    /// It runs.
    Running,
    /// Its input ended and everything is committed.
    Finished,
    /// It was stopped at an epoch.
    Stopped,
    /// It failed and will start again.
    Restarting {
        /// Why it failed.
        error: String,
    },
    /// It failed and will not start again by itself.
    Failed {
        /// Why.
        error: String,
    },
}

/// A pipeline with its own thread.
pub struct Supervisor {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    stop: AtomicBool,
    state: Mutex<State>,
    restarts: AtomicU64,
    progress: Arc<Progress>,
}

impl Supervisor {
    /// Starts the pipeline whose epochs are kept in `dir`.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(
        plan: StreamPlan,
        dir: PathBuf,
        context: RunContext,
        options: RunOptions,
        progress: Arc<Progress>,
    ) -> std::io::Result<Self> {
        let state = Mutex::new(State::Starting);
        let (stop, restarts) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { stop, state, restarts, progress });
        let (name, for_thread) = (format!("pipeline-{}", options.pipeline), Arc::clone(&shared));
        let body = move || for_thread.supervise(&plan, &dir, &context, &options);
        let thread = thread::Builder::new().name(name).spawn(body)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.shared.state().clone()
    }

    /// How often it was started again after a failure.
    pub fn restarts(&self) -> u64 {
        self.shared.restarts.load(Ordering::Relaxed)
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.shared.progress
    }

    /// Asks it to stop at an epoch; [`Supervisor::join`] waits for that.
    pub fn request_stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.lock_thread().as_ref() {
            thread.thread().unpark();
        }
    }

    /// Waits until it is over.
    pub fn join(&self) {
        let thread = self.lock_thread().take();
        if let Some(Err(_)) = thread.map(JoinHandle::join) {
            *self.shared.state() =
                State::Failed { error: "internal error: the pipeline's thread panicked".into() };
        }
    }

    fn lock_thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn supervise(
        &self,
        plan: &StreamPlan,
        dir: &std::path::Path,
        context: &RunContext,
        options: &RunOptions,
    ) {
        let mut wait = RESTART_WAIT_MIN;
        loop {
            *self.state() = State::Running;
            let started = context.clock.monotonic();
            let error = match run(plan, dir, context, options, &self.stop, &self.progress) {
                Ok(Outcome::InputEnded) => return *self.state() = State::Finished,
                Ok(Outcome::Stopped) => return *self.state() = State::Stopped,
                Err(error) => error,
            };
            tracing::error!("pipeline {} failed: {error}", options.pipeline);
            if !error.retry() {
                return *self.state() = State::Failed { error: error.to_string() };
            }
            *self.state() = State::Restarting { error: error.to_string() };
            if context.clock.monotonic().saturating_sub(started) > HEALTHY_AFTER {
                wait = RESTART_WAIT_MIN;
            }
            if self.stopped_while_waiting(wait, context) {
                return *self.state() = State::Stopped;
            }
            wait = (wait * 2).min(RESTART_WAIT_MAX);
            self.restarts.fetch_add(1, Ordering::Relaxed);
            *self.state() = State::Starting;
        }
    }

    fn stopped_while_waiting(&self, wait: Duration, context: &RunContext) -> bool {
        let until = context.clock.monotonic() + wait;
        while !self.stop.load(Ordering::Acquire) {
            match until.checked_sub(context.clock.monotonic()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => return false,
            }
        }
        true
    }
}
