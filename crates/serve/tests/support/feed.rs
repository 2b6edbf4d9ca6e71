//! Hands the double's changes to many subscribers, each with a bounded queue.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use highwater_serve::{SUBSCRIBER_QUEUE_MAX, TableChanges};

/// How many subscribers one table has at most.
const SUBSCRIBERS_MAX: usize = 1000;

/// The publishing end. Calls must come in the order of
/// the changes; a snapshot belongs to a subscriber if both are taken under the node's table lock.
#[derive(Debug, Default)]
pub struct Feed {
    subscribers: Mutex<Vec<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    queue: Sender<TableChanges>,
    overflowed: Arc<AtomicBool>,
}

impl Feed {
    /// A new subscriber's queue and overflow flag, for a [`highwater_serve::Subscription`]; none if there are
    /// 1000 already.
    pub fn subscribe(&self) -> Option<(Receiver<TableChanges>, Arc<AtomicBool>)> {
        let mut subscribers = self.lock();
        subscribers.retain(|subscriber| !subscriber.queue.is_closed());
        if subscribers.len() >= SUBSCRIBERS_MAX {
            return None;
        }
        let (queue, changes) = channel(SUBSCRIBER_QUEUE_MAX);
        let overflowed = Arc::new(AtomicBool::new(false));
        subscribers.push(Subscriber { queue, overflowed: Arc::clone(&overflowed) });
        Some((changes, overflowed))
    }

    /// Gives `changes` to every subscriber. Never waits: one that is full is told to begin anew.
    pub fn publish(&self, changes: &TableChanges) {
        self.lock().retain(|subscriber| match subscriber.queue.try_send(changes.clone()) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(_)) => {
                subscriber.overflowed.store(true, Ordering::Release);
                false
            }
        });
    }

    /// Tells every subscriber to begin anew: what it was given is no longer true.
    pub fn restart(&self) {
        for subscriber in self.lock().drain(..) {
            subscriber.overflowed.store(true, Ordering::Release);
        }
    }

    /// Subscribers now.
    pub fn subscribers(&self) -> usize {
        self.lock().iter().filter(|subscriber| !subscriber.queue.is_closed()).count()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
