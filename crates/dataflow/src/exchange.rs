//! Spreads messages over the receiving instances.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::take_record_batch;
use highwater_env::KeyGroup;
use highwater_state::{KeyCodec, hash_bytes};
use highwater_stream::{ChangeBatch, EventTime, Message, RowKind};

use crate::JobError;
use crate::channel::Channel;

/// How rows find their instance.
pub(crate) enum Spread {
    /// All rows to all targets (of which there may be one).
    All,
    /// By the hash of these columns.
    ByKey { columns: Vec<usize>, codec: KeyCodec },
}

/// The sending side of one edge of one instance.
pub(crate) struct Outlet {
    spread: Spread,
    targets: Vec<Arc<Channel>>,
    /// Per target: what its channel had no room for. At most one batch each, and what came behind it.
    waiting: Vec<VecDeque<Message>>,
}

impl Outlet {
    pub(crate) fn new(spread: Spread, targets: Vec<Arc<Channel>>) -> Self {
        let waiting = targets.iter().map(|_| VecDeque::new()).collect();
        Self { spread, targets, waiting }
    }

    /// Sends what is waiting; true if nothing waits any more.
    pub(crate) fn flush(&mut self) -> bool {
        let mut done = true;
        for (target, waiting) in self.targets.iter().zip(&mut self.waiting) {
            while let Some(message) = waiting.pop_front() {
                if let Err(message) = target.push(message) {
                    waiting.push_front(message);
                    done = false;
                    break;
                }
            }
        }
        done
    }

    /// See [`Channel::start_idle`].
    pub(crate) fn start_idle(&self) {
        self.targets.iter().for_each(|target| target.start_idle());
    }

    /// Says that nothing follows.
    pub(crate) fn end(&mut self) {
        self.waiting.iter_mut().for_each(|waiting| waiting.push_back(Message::End));
    }

    /// Takes a message; call [`Outlet::flush`] until all of it is sent before the next.
    pub(crate) fn send(&mut self, message: Message) -> Result<(), JobError> {
        match (&self.spread, message) {
            (Spread::ByKey { columns, codec }, Message::Batch(batch)) if self.targets.len() > 1 => {
                let parts = split(&batch, columns, codec, self.targets.len())?;
                for (waiting, part) in self.waiting.iter_mut().zip(parts) {
                    waiting.extend(part.map(Message::Batch));
                }
            }
            (_, message) => self.waiting.iter_mut().for_each(|waiting| waiting.push_back(message.clone())),
        }
        Ok(())
    }
}

/// The rows of each of `targets` instances, in order, with their kinds and watermarks.
fn split(
    batch: &ChangeBatch,
    columns: &[usize],
    codec: &KeyCodec,
    targets: usize,
) -> Result<Vec<Option<ChangeBatch>>, JobError> {
    let columns: Vec<ArrayRef> = columns.iter().map(|column| batch.rows.column(*column).clone()).collect();
    let keys = codec.encode(&columns, batch.len(), None).map_err(|e| JobError::Plan(e.to_string()))?;
    let mut rows: Vec<Vec<u32>> = vec![Vec::with_capacity(batch.len() / targets + 16); targets];
    for row in 0..batch.len() {
        let group = KeyGroup::of_hash(hash_bytes(keys.get(row)));
        rows[group.shard(targets)].push(row as u32);
    }
    rows.into_iter().map(|rows| part(batch, rows)).collect()
}

fn part(batch: &ChangeBatch, rows: Vec<u32>) -> Result<Option<ChangeBatch>, JobError> {
    if rows.is_empty() {
        return Ok(None);
    }
    if rows.len() == batch.len() {
        return Ok(Some(batch.clone()));
    }
    let kinds = batch
        .kinds
        .as_ref()
        .map(|kinds| rows.iter().map(|row| kinds[*row as usize]).collect::<Vec<RowKind>>());
    let marks = batch.watermarks.as_ref();
    let marks = marks.map(|marks| rows.iter().map(|row| marks[*row as usize]).collect::<Vec<EventTime>>());
    let taken = take_record_batch(&batch.rows, &UInt32Array::from(rows))
        .map_err(|e| JobError::Plan(e.to_string()))?;
    Ok(Some(ChangeBatch {
        rows: taken,
        kinds: kinds.map(Into::into),
        watermarks: marks.map(ScalarBuffer::from),
    }))
}

#[cfg(test)]
mod tests;
