//! The queue between two instances.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use highwater_env::{MemoryBudget, Reservation};
use highwater_stream::Message;

use crate::handle::lock;
use crate::ready::Signal;

/// A bounded queue of messages from one instance to another. Neither side blocks: the sender is rung when there
/// is room again, the receiver when something arrives.
pub(crate) struct Channel {
    queue: Mutex<Queue>,
    sender: Arc<Signal>,
    receiver: Arc<Signal>,
    limits: ChannelLimits,
    budget: MemoryBudget,
}

/// When a channel is full.
#[derive(Clone, Copy)]
pub(crate) struct ChannelLimits {
    pub(crate) batches_max: usize,
    pub(crate) bytes_max: usize,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<(Message, Option<Reservation>)>,
    batches: usize,
    bytes: usize,
    sender_waits: bool,
    starts_idle: bool,
}

impl Channel {
    pub(crate) fn new(
        sender: &Arc<Signal>,
        receiver: &Arc<Signal>,
        limits: ChannelLimits,
        budget: &MemoryBudget,
    ) -> Arc<Self> {
        let (sender, receiver) = (Arc::clone(sender), Arc::clone(receiver));
        Arc::new(Self { queue: Mutex::default(), sender, receiver, limits, budget: budget.clone() })
    }

    /// Appends `message`, or gives it back if the channel is full: then the sender is rung once there is room.
    ///
    /// Only batches count; an empty channel takes any batch, so that every channel moves on.
    pub(crate) fn push(&self, message: Message) -> Result<(), Message> {
        let mut queue = lock(&self.queue);
        let was_empty = queue.messages.is_empty();
        match message {
            Message::Batch(batch) => {
                let bytes = batch.memory_bytes();
                let full =
                    queue.batches >= self.limits.batches_max || queue.bytes + bytes > self.limits.bytes_max;
                let reservation = if full { None } else { self.budget.reserve(bytes as u64).ok() };
                if queue.batches > 0 && reservation.is_none() {
                    queue.sender_waits = true;
                    return Err(Message::Batch(batch));
                }
                queue.batches += 1;
                queue.bytes += bytes;
                queue.messages.push_back((Message::Batch(batch), reservation));
            }
            // Of watermarks in a row only the last matters.
            Message::Watermark(_) if matches!(queue.messages.back(), Some((Message::Watermark(_), _))) => {
                queue.messages.pop_back();
                queue.messages.push_back((message, None));
            }
            message => queue.messages.push_back((message, None)),
        }
        drop(queue);
        if was_empty {
            self.receiver.ring();
        }
        Ok(())
    }

    /// The sender has nothing to read: it holds the watermark back from no one, not even until its first message.
    /// Called before the receiver is built.
    pub(crate) fn start_idle(&self) {
        lock(&self.queue).starts_idle = true;
    }

    pub(crate) fn starts_idle(&self) -> bool {
        lock(&self.queue).starts_idle
    }

    pub(crate) fn pop(&self) -> Option<Message> {
        let mut queue = lock(&self.queue);
        let (message, reservation) = queue.messages.pop_front()?;
        let mut wake = false;
        if let Message::Batch(batch) = &message {
            queue.batches -= 1;
            queue.bytes -= batch.memory_bytes();
            wake = std::mem::take(&mut queue.sender_waits);
        }
        drop(queue);
        drop(reservation);
        if wake {
            self.sender.ring();
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests;
