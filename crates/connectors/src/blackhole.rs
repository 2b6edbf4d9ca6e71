//! `blackhole`: takes everything, keeps nothing.

use bytes::Bytes;
use highwater_env::Epoch;
use highwater_stream::{ChangeBatch, Committable, Committer, ConnectorError, SinkConnector};

/// Discards what is written.
pub(crate) struct Blackhole;

impl SinkConnector for Blackhole {
    fn write(&mut self, _changes: &ChangeBatch) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn prepare(&mut self, _epoch: Epoch) -> Result<Committable, ConnectorError> {
        Ok(Committable(Bytes::new()))
    }
}

/// The committer of sinks whose rows are out, or gone, when the epoch ends.
pub(crate) struct NothingToCommit;

impl Committer for NothingToCommit {
    fn commit(&mut self, _epoch: Epoch, _prepared: &[Committable]) -> Result<(), ConnectorError> {
        Ok(())
    }
}
