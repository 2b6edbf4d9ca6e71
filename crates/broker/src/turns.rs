//! Turns: how many do something at one time.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A number of places that are taken in turn.
#[derive(Debug)]
pub(crate) struct Turns {
    places: Box<[Mutex<()>]>,
    next: AtomicUsize,
}

impl Turns {
    /// `places`: at least 1.
    pub(crate) fn new(places: usize) -> Self {
        Self { places: (0..places.max(1)).map(|_| Mutex::default()).collect(), next: AtomicUsize::new(0) }
    }

    /// Waits for a place, which is held until the guard is dropped. Not for threads that serve sockets.
    pub(crate) fn take(&self) -> MutexGuard<'_, ()> {
        let place = self.next.fetch_add(1, Relaxed) % self.places.len();
        self.places[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
