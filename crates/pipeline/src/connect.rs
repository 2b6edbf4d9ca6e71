//! Which end of a plan is whose: materialized tables and bare selects are the node's own, the rest
//! are connectors.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use highwater_stream::{
    Committer, Connect, ConnectorError, ErrorKind, SinkConnector, SinkSpec, SinkTarget, SourceConnector,
    SourceSpec,
};

use crate::collect::{Collect, CollectCommitter, CollectSink};
use crate::materialize::{MaterializedCommitter, MaterializedSink};
use crate::tables::{TableDefinition, Tables};

/// The ends of one pipeline.
pub(crate) struct PipelineConnect {
    pub(crate) connectors: Arc<dyn Connect>,
    pub(crate) tables: Arc<Tables>,
    pub(crate) collect: Option<Collect>,
}

impl PipelineConnect {
    fn table(&self, name: &str) -> Result<TableDefinition, ConnectorError> {
        let missing =
            || ConnectorError::new(ErrorKind::Config, name, "the table is not defined on this node");
        self.tables.definition(name).ok_or_else(missing)
    }

    fn collect(&self) -> Result<&Collect, ConnectorError> {
        let missing = "a bare SELECT has nowhere to go here; use INSERT INTO or CREATE MATERIALIZED TABLE";
        self.collect.as_ref().ok_or_else(|| ConnectorError::new(ErrorKind::Config, "SELECT", missing))
    }
}

impl Connect for PipelineConnect {
    fn source(&self, spec: &SourceSpec) -> Result<Box<dyn SourceConnector>, ConnectorError> {
        self.connectors.source(spec)
    }

    fn sink(
        &self,
        uid: &str,
        spec: &SinkSpec,
        input: &SchemaRef,
        shard: usize,
    ) -> Result<Box<dyn SinkConnector>, ConnectorError> {
        match &spec.target {
            SinkTarget::Table { .. } => self.connectors.sink(uid, spec, input, shard),
            SinkTarget::Materialized { table } => {
                Ok(Box::new(MaterializedSink::new(Arc::clone(&self.tables), &self.table(table)?)))
            }
            SinkTarget::Collect => Ok(Box::new(CollectSink::new(self.collect()?.format, input)?)),
        }
    }

    fn committer(
        &self,
        uid: &str,
        spec: &SinkSpec,
        input: &SchemaRef,
    ) -> Result<Box<dyn Committer>, ConnectorError> {
        match &spec.target {
            SinkTarget::Table { .. } => self.connectors.committer(uid, spec, input),
            SinkTarget::Materialized { table } => {
                Ok(Box::new(MaterializedCommitter::new(Arc::clone(&self.tables), table)))
            }
            SinkTarget::Collect => Ok(Box::new(CollectCommitter::new(self.collect()?.target.clone()))),
        }
    }
}
