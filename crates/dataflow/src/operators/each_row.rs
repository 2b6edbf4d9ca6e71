//! An operator that is given one row at a time, so that it tells what each of them changes.

use highwater_env::Epoch;
use highwater_state::{OperatorSnapshot, RestoredState};
use highwater_stream::{ChangeBatch, Committable, EventTime};

use crate::JobError;
use crate::operator::{Operator, Output, Progress};

/// Rows per call at most: each may give a batch or two.
const ROWS_MAX: usize = 64;

/// Hands the rows of a batch on one by one. A batch leaves nothing behind, so the state is the inner
/// operator's.
pub(crate) struct EachRow {
    inner: Box<dyn Operator>,
    /// The input, its batch and the row that comes next.
    pending: Option<(usize, ChangeBatch, usize)>,
    /// The inner operator has more to say about the last row.
    more: bool,
}

impl EachRow {
    pub(crate) fn new(inner: Box<dyn Operator>) -> Self {
        Self { inner, pending: None, more: false }
    }
}

impl Operator for EachRow {
    fn on_batch(&mut self, input: usize, batch: ChangeBatch, out: &mut Output) -> Result<Progress, JobError> {
        self.pending = Some((input, batch, 0));
        self.resume(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        let progress = self.inner.on_watermark(watermark, out)?;
        self.more = progress == Progress::More;
        Ok(progress)
    }

    fn next_timer(&self) -> Option<i64> {
        self.inner.next_timer()
    }

    fn on_time(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        let progress = self.inner.on_time(out)?;
        self.more = progress == Progress::More;
        Ok(progress)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        if self.more {
            self.more = self.inner.resume(out)? == Progress::More;
            if self.more {
                return Ok(Progress::More);
            }
        }
        for _ in 0..ROWS_MAX {
            let Some((input, batch, row)) = &mut self.pending else { return Ok(Progress::Done) };
            if *row == batch.len() {
                self.pending = None;
                return Ok(Progress::Done);
            }
            let one = batch.slice(*row, 1);
            *row += 1;
            self.more = self.inner.on_batch(*input, one, out)? == Progress::More;
            if self.more {
                break;
            }
        }
        Ok(Progress::More)
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        self.inner.snapshot(full)
    }

    fn restore(&mut self, state: &RestoredState) -> Result<(), JobError> {
        self.inner.restore(state)
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<Option<Committable>, JobError> {
        self.inner.prepare(epoch)
    }

    fn held(&self) -> (usize, usize) {
        self.inner.held()
    }
}
