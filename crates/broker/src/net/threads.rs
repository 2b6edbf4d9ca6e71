//! The threads that serve sockets.
//!
//! A connection stays on one thread: a runtime that moves work between threads would wake a second one for
//! most requests, and a wake costs more than the request.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Threads that serve sockets until dropped.
pub struct SocketThreads {
    runtimes: Vec<Handle>,
    next: AtomicUsize,
    ending: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl SocketThreads {
    /// One thread for two processors: the log's threads and the rest of the node need the others.
    ///
    /// # Errors
    /// If the system gives no thread or no poll.
    pub fn start() -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2));
        let (ending, ended) = watch::channel(false);
        let mut threads =
            Self { runtimes: Vec::new(), next: AtomicUsize::new(0), ending, threads: Vec::new() };
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            threads.runtimes.push(runtime.handle().clone());
            let mut ended = ended.clone();
            let serve = move || {
                // An error means that the sender is gone: the end as well.
                let _ = runtime.block_on(ended.wait_for(|ended| *ended));
            };
            threads.threads.push(thread::Builder::new().name(format!("kafka-{number}")).spawn(serve)?);
        }
        Ok(threads)
    }

    /// Where the next connection goes.
    pub(super) fn next(&self) -> &Handle {
        &self.runtimes[self.next.fetch_add(1, Relaxed) % self.runtimes.len()]
    }
}

impl Drop for SocketThreads {
    fn drop(&mut self) {
        self.ending.send_replace(true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a socket thread panicked");
            }
        }
    }
}
