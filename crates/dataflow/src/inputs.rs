//! The receiving side of an instance: merges channels, their watermarks and their barriers.

use std::sync::Arc;

use arrow::buffer::ScalarBuffer;
use highwater_stream::{
    Barrier, BarrierKind, ChangeBatch, EventTime, Message, WATERMARK_END, WATERMARK_NONE,
};

use crate::channel::Channel;

/// All channels into one instance, as one stream of messages.
///
/// - The instance's watermark is the lowest of its inputs', idle ones left out; it never decreases.
/// - A channel that delivered a barrier is not read until all did (aligned barriers); then the barrier comes
///   out once.
pub(crate) struct Inputs {
    channels: Vec<Input>,
    watermark: EventTime,
    idle: bool,
    /// The channel to look at next: all take turns.
    next: usize,
    aligning: Option<Barrier>,
    /// A batch whose sender must first be known to be active again.
    held: Option<(usize, ChangeBatch)>,
}

struct Input {
    /// Its number in the plan's node.
    number: usize,
    channel: Arc<Channel>,
    watermark: EventTime,
    idle: bool,
    /// Delivered the barrier that others still owe.
    blocked: bool,
    ended: bool,
}

impl Inputs {
    /// Over channels with the number of the input that each belongs to.
    pub(crate) fn new(channels: Vec<(usize, Arc<Channel>)>) -> Self {
        let input = |(number, channel): (usize, Arc<Channel>)| {
            let idle = channel.starts_idle();
            Input { number, channel, watermark: WATERMARK_NONE, idle, blocked: false, ended: false }
        };
        let channels = channels.into_iter().map(input).collect();
        Self { channels, watermark: WATERMARK_NONE, idle: false, next: 0, aligning: None, held: None }
    }

    /// The next message for the operator, if any has arrived, and the number of the input that a batch is from.
    pub(crate) fn poll(&mut self) -> Option<(usize, Message)> {
        if let Some((number, batch)) = self.held.take() {
            return Some((number, Message::Batch(batch)));
        }
        loop {
            let (index, message) = self.receive()?;
            let input = &mut self.channels[index];
            let number = input.number;
            if !matches!(message, Message::Barrier(_) | Message::End) {
                input.idle = matches!(message, Message::Idle);
            }
            match message {
                Message::Batch(batch) => {
                    let batch = self.clamp(index, batch);
                    if !std::mem::take(&mut self.idle) {
                        return Some((number, Message::Batch(batch)));
                    }
                    // Its rows may all be filtered out: say first that this instance is active again.
                    self.held = Some((number, batch));
                    return Some((number, Message::Watermark(self.watermark)));
                }
                Message::Watermark(watermark) => {
                    input.watermark = input.watermark.max(watermark);
                    if let Some(message) = self.advance() {
                        return Some((number, message));
                    }
                }
                Message::Idle => {
                    if let Some(message) = self.advance() {
                        return Some((number, message));
                    }
                }
                Message::Barrier(barrier) => {
                    input.blocked = true;
                    assert!(
                        self.aligning.is_none_or(|other| other == barrier),
                        "barriers of one epoch at a time"
                    );
                    self.aligning = Some(barrier);
                    if let Some(barrier) = self.aligned() {
                        return Some((number, Message::Barrier(barrier)));
                    }
                }
                Message::End => {
                    input.ended = true;
                    input.watermark = WATERMARK_END;
                    if self.channels.iter().all(|input| input.ended) {
                        return Some((number, Message::End));
                    }
                }
            }
        }
    }

    /// The next message of a channel that may be read.
    fn receive(&mut self) -> Option<(usize, Message)> {
        let count = self.channels.len();
        for turn in 0..count {
            let index = (self.next + turn) % count;
            let input = &self.channels[index];
            if input.blocked || input.ended {
                continue;
            }
            if let Some(message) = input.channel.pop() {
                self.next = index + 1;
                return Some((index, message));
            }
        }
        None
    }

    /// The barrier, once all channels delivered it.
    fn aligned(&mut self) -> Option<Barrier> {
        if !self.channels.iter().all(|input| input.blocked || input.ended) {
            return None;
        }
        let barrier = self.aligning.take()?;
        for input in &mut self.channels {
            input.blocked = false;
            // Nothing follows a final barrier but the end.
            debug_assert!(barrier.kind == BarrierKind::Checkpoint || !input.ended);
        }
        Some(barrier)
    }

    /// The instance's new watermark, or that all its inputs are idle, if that is news.
    fn advance(&mut self) -> Option<Message> {
        let active = self.channels.iter().filter(|input| !input.idle).map(|input| input.watermark).min();
        // Idle inputs may go on where ended ones cannot: then the time is not over, nobody knows it.
        let unknown = active == Some(WATERMARK_END) && self.channels.iter().any(|input| input.idle);
        match active.filter(|_| !unknown) {
            None if self.idle => None,
            None => {
                self.idle = true;
                Some(Message::Idle)
            }
            Some(lowest) if lowest > self.watermark || self.idle => {
                self.idle = false;
                self.watermark = self.watermark.max(lowest);
                Some(Message::Watermark(self.watermark))
            }
            Some(_) => None,
        }
    }

    /// A batch's watermarks, held back by the other inputs.
    fn clamp(&mut self, index: usize, batch: ChangeBatch) -> ChangeBatch {
        let others = self.channels.iter().enumerate().filter(|(other, input)| *other != index && !input.idle);
        let others = others.map(|(_, input)| input.watermark).min();
        let Some(marks) = batch.watermarks.as_ref() else { return batch };
        let input = &mut self.channels[index];
        let (Some(&first), Some(&last)) = (marks.first(), marks.last()) else { return batch };
        input.watermark = input.watermark.max(last);
        let (own, ceiling) = (self.watermark, others.unwrap_or(WATERMARK_END));
        if last.min(ceiling) <= own {
            return ChangeBatch { watermarks: None, ..batch };
        }
        if first >= own && last <= ceiling {
            return batch;
        }
        let clamped: Vec<EventTime> = marks.iter().map(|mark| own.max((*mark).min(ceiling))).collect();
        ChangeBatch { watermarks: Some(ScalarBuffer::from(clamped)), ..batch }
    }
}

#[cfg(test)]
mod tests;
