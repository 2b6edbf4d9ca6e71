//! The log's threads: one makes groups durable, one moves them to segments, one deletes and compacts.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::core::Core;

/// How long to wait before segments are tried again after a failure, a full disk most likely.
const RETRY: Duration = Duration::from_secs(1);

/// The write-ahead log is marked as durable to its end when nothing was appended for this long.
const MARK_AFTER: Duration = Duration::from_millis(50);

pub(super) struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    pub(super) fn start(core: &Arc<Core>) -> io::Result<Self> {
        let mut threads = Self(Vec::new());
        let mut spawn = |name: &str, run: fn(&Core)| {
            let core = Arc::clone(core);
            threads.0.push(Builder::new().name(name.into()).spawn(move || run(&core))?);
            Ok(())
        };
        let started = spawn("log-writer", write)
            .and_then(|()| spawn("log-segments", fill_segments))
            .and_then(|()| spawn("log-tidy", tidy));
        if let Err(e) = started {
            core.end();
            threads.join();
            return Err(e);
        }
        Ok(threads)
    }

    /// Waits until all have ended; [`Core::end`] was called before.
    pub(super) fn join(self) {
        for thread in self.0 {
            if thread.join().is_err() {
                tracing::error!("a log thread panicked");
            }
        }
    }
}

/// Stops the log if its thread panics: nobody else would end the waits for it.
struct PoisonOnPanic<'a>(&'a Core);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison(&io::Error::other("a log thread panicked"));
        }
    }
}

fn write(core: &Core) {
    let _guard = PoisonOnPanic(core);
    let mut marked = true;
    while let Some(group) = core.wait_for_group((!marked).then_some(MARK_AFTER)) {
        if group {
            core.write_group();
        } else {
            core.write_mark_if_idle();
        }
        marked = !group;
    }
}

fn fill_segments(core: &Core) {
    let _guard = PoisonOnPanic(core);
    let mut failed = false;
    while let Some(checkpoint) = core.wait_for_segments(failed.then_some(RETRY)) {
        let done = if checkpoint { core.checkpoint() } else { core.materialise() };
        if let Err(e) = &done
            && !failed
        {
            tracing::error!("{e}; records are safe in the write-ahead log, trying again");
        }
        failed = done.is_err();
    }
}

fn tidy(core: &Core) {
    let _guard = PoisonOnPanic(core);
    while core.wait_to_tidy(core.options.tidy_interval) {
        if let Err(e) = core.materialise_due().and_then(|()| core.seal_overdue()) {
            tracing::warn!("segments not written for retention and compaction: {e}");
        }
        core.delete_expired();
        core.forget_cold_indexes();
        // One after the other, so that a partition with much to do does not keep the others waiting.
        loop {
            match core.compact_one() {
                Ok(true) if core.wait_to_tidy(Duration::ZERO) => {}
                Ok(_) => break,
                Err(e) => {
                    tracing::warn!("compaction put off: {e}");
                    break;
                }
            }
        }
    }
}
