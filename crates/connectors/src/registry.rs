//! Which connector a table names.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use highwater_coordinator::Topics;
use highwater_env::{Clock, Disk, Entropy};
use highwater_log::Log;
use highwater_stream::{
    Committer, Connect, ConnectorError, ErrorKind, SinkConnector, SinkSpec, SinkTarget, SourceConnector,
    SourceSpec,
};

use crate::options::TableOptions;
use crate::timer::Timer;
use crate::{Printer, blackhole, checksum, datagen, filesystem, kafka, nexmark, print};

/// What connectors reach the world through.
#[derive(Clone)]
pub struct Outside {
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Names of producers and files.
    pub entropy: Arc<dyn Entropy>,
    /// The node's own log and its topics; None: this process has none.
    pub log: Option<(Log, Topics)>,
    /// Where `print` writes.
    pub printer: Printer,
}

/// All connectors of this version. Materialized tables and bare selects are not among them: they
/// are the pipeline's own.
pub struct Registry {
    outside: Outside,
    timer: Arc<Timer>,
}

impl Registry {
    /// Connectors over `outside`.
    pub fn new(outside: Outside) -> Self {
        Self { outside, timer: Arc::new(Timer::default()) }
    }
}

impl Connect for Registry {
    fn source(&self, spec: &SourceSpec) -> Result<Box<dyn SourceConnector>, ConnectorError> {
        let options = TableOptions { table: &spec.table, options: &spec.options };
        let connector = options.connector()?;
        let outside = &self.outside;
        match connector.name {
            "kafka" => Ok(Box::new(kafka::KafkaSource::new(outside.log.as_ref(), spec, options)?)),
            "filesystem" => Ok(Box::new(filesystem::FileSource::new(&outside.disk, spec, options)?)),
            "datagen" => {
                let (clock, timer) = (Arc::clone(&outside.clock), Arc::clone(&self.timer));
                Ok(Box::new(datagen::Datagen::new(clock, timer, spec, options)?))
            }
            "nexmark" => {
                let (clock, timer) = (Arc::clone(&outside.clock), Arc::clone(&self.timer));
                Ok(Box::new(nexmark::Nexmark::new(clock, timer, spec, options)?))
            }
            name => Err(options.error(format!("connector '{name}' cannot be read"))),
        }
    }

    fn sink(
        &self,
        _uid: &str,
        spec: &SinkSpec,
        input: &SchemaRef,
        shard: usize,
    ) -> Result<Box<dyn SinkConnector>, ConnectorError> {
        let options = table(spec)?;
        let connector = options.connector()?;
        let outside = &self.outside;
        match connector.name {
            "kafka" => {
                Ok(Box::new(kafka::KafkaSink::new(outside, &spec.primary_key, options, input, shard)?))
            }
            "filesystem" => Ok(Box::new(filesystem::FileSink::new(outside, options, input, shard)?)),
            "print" => Ok(Box::new(print::PrintSink::new(&outside.printer, options)?)),
            "blackhole" => Ok(Box::new(blackhole::Blackhole)),
            "checksum" => Ok(Box::new(checksum::ChecksumSink::new(options))),
            name => Err(options.error(format!("connector '{name}' cannot be written"))),
        }
    }

    fn committer(
        &self,
        _uid: &str,
        spec: &SinkSpec,
        _input: &SchemaRef,
    ) -> Result<Box<dyn Committer>, ConnectorError> {
        let options = table(spec)?;
        match options.connector()?.name {
            "kafka" => Ok(Box::new(kafka::KafkaCommitter::new(&self.outside, options)?)),
            "filesystem" => Ok(Box::new(filesystem::FileCommitter::new(&self.outside.disk, options)?)),
            "checksum" => Ok(Box::new(checksum::ChecksumCommitter::new(&self.outside.printer, options))),
            _ => Ok(Box::new(blackhole::NothingToCommit)),
        }
    }
}

fn table(spec: &SinkSpec) -> Result<TableOptions<'_>, ConnectorError> {
    match &spec.target {
        SinkTarget::Table { table, options } => Ok(TableOptions { table, options }),
        SinkTarget::Materialized { table } => Err(ConnectorError::new(
            ErrorKind::Config,
            table.as_str(),
            "a materialized table has no connector",
        )),
        SinkTarget::Collect => {
            Err(ConnectorError::new(ErrorKind::Config, "SELECT", "a bare SELECT has no connector"))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
