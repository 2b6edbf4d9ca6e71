//! What every operator does.

use highwater_env::Epoch;
use highwater_state::{OperatorSnapshot, RestoredState};
use highwater_stream::{ChangeBatch, Committable, EventTime, Message};

use crate::JobError;

/// Whether an operator has said all it has to say about its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The next input may come.
    Done,
    /// [`Operator::resume`] first: output is bounded per call.
    More,
}

/// A synchronous state machine between batches in and batches out. Never blocks, never reads a clock: it is told
/// the time ([`Output::now_ms`]).
///
/// Each call emits about one bounded batch and returns [`Progress::More`] until all is said.
/// Batches and watermarks of one instance arrive in order; watermarks never decrease.
pub(crate) trait Operator: Send {
    /// Takes rows of the input numbered `input` in the plan. `batch.watermarks`, if present, never falls below
    /// the last [`Operator::on_watermark`].
    fn on_batch(&mut self, input: usize, batch: ChangeBatch, out: &mut Output) -> Result<Progress, JobError>;

    /// The watermark rises to `watermark`. Emits it behind everything it sets off.
    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        out.watermark(watermark);
        Ok(Progress::Done)
    }

    /// The wall clock at which [`Operator::on_time`] is due, ms since the Unix epoch. Asked after each call.
    fn next_timer(&self) -> Option<i64> {
        None
    }

    /// The time of [`Operator::next_timer`] has come. Not called any more once the input has ended.
    fn on_time(&mut self, _out: &mut Output) -> Result<Progress, JobError> {
        Ok(Progress::Done)
    }

    /// Goes on after [`Progress::More`].
    fn resume(&mut self, _out: &mut Output) -> Result<Progress, JobError> {
        Ok(Progress::Done)
    }

    /// What changed since the last call, or everything. None: the operator has no state.
    fn snapshot(&mut self, _full: bool) -> Option<OperatorSnapshot> {
        None
    }

    /// Takes over the state that this instance owns. Called once, before any input.
    fn restore(&mut self, _state: &RestoredState) -> Result<(), JobError> {
        Ok(())
    }

    /// Ends the epoch of a sink.
    fn prepare(&mut self, _epoch: Epoch) -> Result<Option<Committable>, JobError> {
        Ok(None)
    }

    /// Bytes and keys of state now.
    fn held(&self) -> (usize, usize) {
        (0, 0)
    }
}

/// Where an operator puts what it emits, in order.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) messages: Vec<Message>,
    /// The wall clock when the call began, ms since the Unix epoch. May jump back.
    pub(crate) now_ms: i64,
    /// Rows a filter removed.
    pub(crate) filtered: u64,
    /// Rows dropped because their window was over.
    pub(crate) late: u64,
}

impl Output {
    pub(crate) fn batch(&mut self, batch: ChangeBatch) {
        if !batch.is_empty() {
            self.messages.push(Message::Batch(batch));
        }
    }

    pub(crate) fn watermark(&mut self, watermark: EventTime) {
        self.messages.push(Message::Watermark(watermark));
    }
}
