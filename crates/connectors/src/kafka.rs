//! `kafka`: topics of the node's own log, read and written in process, without sockets.

mod sink;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use sink::{KafkaCommitter, KafkaSink};
pub(crate) use source::KafkaSource;

use highwater_coordinator::{Topic, Topics};
use highwater_log::Log;
use highwater_stream::{ConnectorError, ErrorKind};

use crate::options::TableOptions;

/// The own log, if this table means it.
fn own_log<'a>(
    log: Option<&'a (Log, Topics)>,
    options: TableOptions<'_>,
) -> Result<&'a (Log, Topics), ConnectorError> {
    if let Some(servers) = options.get("properties.bootstrap.servers") {
        return Err(options.error(format!(
            "'properties.bootstrap.servers' = '{servers}' asks for an external Kafka, which this version \
             does not reach; leave the option out to use the node's own log"
        )));
    }
    log.ok_or_else(|| {
        options.error(
            "this process has no log of its own; run the pipeline on a node, or with --data-dir".to_owned(),
        )
    })
}

/// The table's topic, made if it is missing and that is switched on.
fn topic(topics: &Topics, options: TableOptions<'_>) -> Result<Topic, ConnectorError> {
    let name = options.required("topic")?;
    if name.contains(';') {
        return Err(
            options.error(format!("option 'topic' is '{name}', this version reads one topic per table"))
        );
    }
    topics.ensure(name).map_err(|error| {
        ConnectorError::new(ErrorKind::Config, format!("table {}", options.table), error.to_string())
    })
}
