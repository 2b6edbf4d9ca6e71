//! Dying on purpose, for tests of recovery: `HIGHWATER_FAILPOINT=rows:N` aborts the process after N
//! source rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use arrow::datatypes::SchemaRef;
use highwater_stream::{
    Committer, Connect, ConnectorError, Position, SinkConnector, SinkSpec, SourceConnector, SourcePoll,
    SourceSpec, SplitId, SplitReader,
};

/// Connectors whose sources abort the process after so many rows.
pub struct FailpointConnect {
    inner: Arc<dyn Connect>,
    rows_left: Arc<AtomicU64>,
}

impl FailpointConnect {
    /// As `inner`, until `rows` rows were read from all sources together.
    pub fn after_rows(inner: Arc<dyn Connect>, rows: u64) -> Self {
        Self { inner, rows_left: Arc::new(AtomicU64::new(rows)) }
    }
}

impl Connect for FailpointConnect {
    fn source(&self, spec: &SourceSpec) -> Result<Box<dyn SourceConnector>, ConnectorError> {
        let rows_left = Arc::clone(&self.rows_left);
        Ok(Box::new(FailpointSource { inner: self.inner.source(spec)?, rows_left }))
    }

    fn sink(
        &self,
        uid: &str,
        spec: &SinkSpec,
        input: &SchemaRef,
        shard: usize,
    ) -> Result<Box<dyn SinkConnector>, ConnectorError> {
        self.inner.sink(uid, spec, input, shard)
    }

    fn committer(
        &self,
        uid: &str,
        spec: &SinkSpec,
        input: &SchemaRef,
    ) -> Result<Box<dyn Committer>, ConnectorError> {
        self.inner.committer(uid, spec, input)
    }
}

struct FailpointSource {
    inner: Box<dyn SourceConnector>,
    rows_left: Arc<AtomicU64>,
}

impl SourceConnector for FailpointSource {
    fn splits(&mut self) -> Result<Vec<SplitId>, ConnectorError> {
        self.inner.splits()
    }

    fn is_bounded(&self) -> bool {
        self.inner.is_bounded()
    }

    fn open(
        &mut self,
        split: &SplitId,
        from: Option<Position>,
    ) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let rows_left = Arc::clone(&self.rows_left);
        Ok(Box::new(FailpointReader { inner: self.inner.open(split, from)?, rows_left }))
    }
}

struct FailpointReader {
    inner: Box<dyn SplitReader>,
    rows_left: Arc<AtomicU64>,
}

impl SplitReader for FailpointReader {
    fn poll(&mut self, rows_max: usize, waker: &Waker) -> Result<SourcePoll, ConnectorError> {
        // Small batches, so that epochs fall between the start and the abort.
        let polled = self.inner.poll(rows_max.min(64), waker)?;
        if let SourcePoll::Batch(batch) = &polled {
            let rows = batch.rows.num_rows() as u64;
            if self.rows_left.fetch_sub(rows, Ordering::SeqCst) <= rows {
                std::process::abort();
            }
        }
        Ok(polled)
    }

    fn position(&self) -> Option<Position> {
        self.inner.position()
    }

    fn lag(&self) -> Option<u64> {
        self.inner.lag()
    }
}
