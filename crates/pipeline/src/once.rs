//! A script run in the foreground: `highwater run`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use highwater_dataflow::{JobStats, WorkerPool};
use highwater_env::{Clock, Disk, MemoryBudget};
use highwater_sql::Compiled;
use highwater_stream::{Connect, ConnectorError};

use crate::collect::Collect;
use crate::connect::PipelineConnect;
use crate::definition::is_valid_name;
use crate::materialize::check_storable;
use crate::progress::Progress;
use crate::run::{Outcome, RunContext, RunError, RunOptions, run};
use crate::settings::epoch_interval;
use crate::tables::{TableDefinition, TableError, Tables};

/// What a script run in the foreground needs.
pub struct Once {
    /// The compiled script.
    pub compiled: Compiled,
    /// The disk of `dir`.
    pub disk: Arc<dyn Disk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where the pipelines' state is kept; the script's is below, by its name.
    pub dir: PathBuf,
    /// The connectors.
    pub connectors: Arc<dyn Connect>,
    /// Where materialized tables are kept.
    pub tables: Arc<Tables>,
    /// Where the rows of a bare `SELECT` go.
    pub collect: Collect,
    /// Instances of each operator and threads, `1..=256`.
    pub shards: usize,
    /// From barrier to barrier, unless the script says otherwise.
    pub epoch_interval: Duration,
    /// Whether there is a log to keep dead letters in.
    pub dead_letters: bool,
    /// Set to stop at an epoch.
    pub stop: Arc<AtomicBool>,
}

/// Why a script cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// The script or a setting makes no sense: wrong input.
    #[error("{0}")]
    Invalid(String),
    /// A materialized table cannot be kept.
    #[error(transparent)]
    Table(#[from] TableError),
    /// It failed while running.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Runs a script from its last epoch to the end of its input, or until it is stopped.
///
/// # Errors
/// If it cannot start or go on.
pub fn run_once(once: Once) -> Result<(Outcome, JobStats), OnceError> {
    let name = once.compiled.pipeline_name.clone();
    if !is_valid_name(&name) {
        return Err(OnceError::Invalid(format!(
            "`{name}` cannot name a pipeline: use SET 'pipeline.name' = '...' with letters, digits, . _ -"
        )));
    }
    let interval = epoch_interval(&once.compiled.settings).map_err(OnceError::Invalid)?;
    for table in &once.compiled.materialized {
        check_storable(&table.name, &table.schema)
            .map_err(|error: ConnectorError| OnceError::Invalid(error.to_string()))?;
        once.tables.define(TableDefinition {
            name: table.name.clone(),
            schema: Arc::clone(&table.schema),
            primary_key: table.primary_key.clone(),
            pipeline: name.clone(),
        })?;
    }
    let connect = PipelineConnect {
        connectors: once.connectors,
        tables: Arc::clone(&once.tables),
        collect: Some(once.collect),
    };
    let context = RunContext {
        disk: once.disk,
        clock: Arc::clone(&once.clock),
        pool: Arc::new(WorkerPool::start(once.shards, once.clock)),
        connect: Arc::new(connect),
        tables: once.tables,
        budget: MemoryBudget::unlimited(),
        dead_letters: once.dead_letters,
    };
    let options = RunOptions {
        pipeline: name.clone(),
        shards: once.shards,
        epoch_interval: interval.unwrap_or(once.epoch_interval),
    };
    let progress = Progress::new(|| {});
    let dir = once.dir.join(&name).join("epochs");
    let outcome = run(&once.compiled.plan, &dir, &context, &options, &once.stop, &progress)?;
    Ok((outcome, progress.stats()))
}
