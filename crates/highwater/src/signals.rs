//! SIGINT, SIGTERM: finish well the first time, at once the second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

async fn set_then_exit(mut ending: Ending, stop: Arc<AtomicBool>) {
    ending.next().await;
    stop.store(true, Ordering::Release);
    ending.next().await;
    std::process::exit(EXIT_INTERRUPTED);
}
