//! Hands rows to a connector.

use highwater_env::Epoch;
use highwater_stream::{ChangeBatch, Committable, SinkConnector};

use crate::JobError;
use crate::operator::{Operator, Output, Progress};

/// Hands rows to a connector. What it wrote since the last barrier is prepared at the barrier.
pub(crate) struct Sink {
    connector: Box<dyn SinkConnector>,
}

impl Sink {
    pub(crate) fn new(connector: Box<dyn SinkConnector>) -> Self {
        Self { connector }
    }
}

impl Operator for Sink {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        _out: &mut Output,
    ) -> Result<Progress, JobError> {
        self.connector.write(&batch)?;
        Ok(Progress::Done)
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<Option<Committable>, JobError> {
        Ok(Some(self.connector.prepare(epoch)?))
    }
}
