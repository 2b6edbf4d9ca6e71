//! SIGINT, SIGTERM: finish well the first time, at once the second. SIGHUP: read the log level again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit status after a second signal, as a shell reports SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// Both signals that ask a program to end.
pub(crate) struct Ending {
    interrupt: Signal,
    terminate: Signal,
}

impl Ending {
    /// Takes the signals over; needs a tokio runtime.
    pub(crate) fn listen() -> Result<Self> {
        let take = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { interrupt: take(SignalKind::interrupt())?, terminate: take(SignalKind::terminate())? })
    }

    /// Waits for the next of them.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Sends this process SIGTERM when standard input ends: its supervisor is gone.
pub(crate) fn end_with_stdin() -> Result<()> {
    let wait = || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
    };
    std::thread::Builder::new().name("supervised".into()).spawn(wait).context("cannot start a thread")?;
    Ok(())
}

/// Calls `reload` at each SIGHUP, for as long as the runtime lives.
pub(crate) fn on_hangup(reload: impl Fn() + Send + 'static) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for signals")?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reload();
        }
    });
    Ok(())
}

/// Sets `stop` at the first signal and ends the process at the second.
pub(crate) fn on_interrupt(stop: Arc<AtomicBool>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let ending = {
        let _inside = runtime.enter();
        Ending::listen()?
    };
    let wait = move || runtime.block_on(set_then_exit(ending, stop));
    std::thread::Builder::new().name("signals".into()).spawn(wait).context("cannot start a thread")?;
    Ok(())
}

/// Signals of a program that runs one thing after another: each ends the one that runs; without one, the program.
pub(crate) struct Interrupts {
    current: Arc<Mutex<Arc<AtomicBool>>>,
}

impl Interrupts {
    /// Takes the signals over.
    pub(crate) fn listen() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let mut ending = {
            let _inside = runtime.enter();
            Ending::listen()?
        };
        let current = Arc::new(Mutex::new(Arc::new(AtomicBool::new(true))));
        let watched = Arc::clone(&current);
        let wait = move || {
            runtime.block_on(async {
                loop {
                    ending.next().await;
                    let flag = Arc::clone(&watched.lock().unwrap_or_else(PoisonError::into_inner));
                    if flag.swap(true, Ordering::AcqRel) {
                        std::process::exit(EXIT_INTERRUPTED);
                    }
                }
            });
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait).context("cannot start a thread")?;
        Ok(Self { current })
    }

    /// A flag that the next signal sets. Whoever is done sets it too: a signal then ends the program.
    pub(crate) fn fresh(&self) -> Arc<AtomicBool> {
        let flag = Arc::new(AtomicBool::new(false));
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&flag);
        flag
    }
}

async fn set_then_exit(mut ending: Ending, stop: Arc<AtomicBool>) {
    ending.next().await;
    stop.store(true, Ordering::Release);
    ending.next().await;
    std::process::exit(EXIT_INTERRUPTED);
}
