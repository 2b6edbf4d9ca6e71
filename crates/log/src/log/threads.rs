//! The log's two threads: one makes groups durable, one moves them to segments.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::core::Core;

/// How long to wait before segments are tried again after a failure, a full disk most likely.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Threads {
    writer: JoinHandle<()>,
    segments: JoinHandle<()>,
}

impl Threads {
    pub(super) fn start(core: &Arc<Core>) -> io::Result<Self> {
        let writer = Arc::clone(core);
        let writer = Builder::new().name("log-writer".into()).spawn(move || write(&writer))?;
        let segments = Arc::clone(core);
        let spawned = Builder::new().name("log-segments".into()).spawn(move || fill_segments(&segments));
        match spawned {
            Ok(segments) => Ok(Self { writer, segments }),
            Err(e) => {
                core.end();
                let _ = writer.join();
                Err(e)
            }
        }
    }

    /// Waits until both have ended; [`Core::end`] was called before.
    pub(super) fn join(self) {
        for thread in [self.writer, self.segments] {
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
    while core.wait_for_group() {
        core.write_group();
        core.write_mark_if_idle();
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
