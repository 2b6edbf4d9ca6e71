//! An answer that one request gives to another.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

struct Slot<T> {
    state: SlotState<T>,
    waker: Option<Waker>,
}

enum SlotState<T> {
    Waiting,
    Kept(T),
    /// Nobody will answer, or the answer is taken.
    Over,
}

type Shared<T> = Arc<Mutex<Slot<T>>>;

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, Slot<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The side that answers, once.
pub(super) struct Resolver<T>(Shared<T>);

/// The side that waits: resolves to `None` if the other side is dropped without an answer.
pub(super) struct Promise<T>(Shared<T>);

pub(super) fn promise<T>() -> (Resolver<T>, Promise<T>) {
    let shared = Arc::new(Mutex::new(Slot { state: SlotState::Waiting, waker: None }));
    (Resolver(Arc::clone(&shared)), Promise(shared))
}

impl<T> Resolver<T> {
    pub(super) fn resolve(self, answer: T) {
        lock(&self.0).state = SlotState::Kept(answer);
        // Dropping wakes.
    }
}

impl<T> Drop for Resolver<T> {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        if matches!(slot.state, SlotState::Waiting) {
            slot.state = SlotState::Over;
        }
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Promise<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = lock(&self.0);
        match std::mem::replace(&mut slot.state, SlotState::Over) {
            SlotState::Kept(answer) => Poll::Ready(Some(answer)),
            SlotState::Over => Poll::Ready(None),
            SlotState::Waiting => {
                slot.state = SlotState::Waiting;
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
