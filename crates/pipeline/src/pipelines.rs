//! All pipelines of a node.
//!
//! ```text
//! pipelines/<name>/pipeline.json     what was submitted
//! pipelines/<name>/epochs/           its state
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use highwater_dataflow::{JobStats, WorkerPool};
use highwater_env::{Clock, Disk, MemoryBudget, Offset, TopicId};
use highwater_sql::{Compiled, Script, SqlError};
use highwater_stream::{Connect, ConnectorError, OperatorSpec, Position, SplitId, StreamPlan};

use crate::connect::PipelineConnect;
use crate::definition::{Definition, DefinitionError, Wanted, is_valid_name};
use crate::epochs::EpochStore;
use crate::materialize::check_storable;
use crate::progress::{CommittedEpoch, Progress};
use crate::run::{RunContext, RunOptions, check_fingerprint};
use crate::settings::epoch_interval;
use crate::supervisor::{State, Supervisor};
use crate::tables::{TableDefinition, TableError, Tables};

/// A dropped pipeline's directory until it is removed; no pipeline's name starts with a dot.
const DROPPED_PREFIX: &str = ".dropped-";

/// What the pipelines of a node share.
#[derive(Clone)]
pub struct Host {
    /// The node's disk.
    pub disk: Arc<dyn Disk>,
    /// The node's clock.
    pub clock: Arc<dyn Clock>,
    /// The directory `pipelines`.
    pub dir: PathBuf,
    /// The threads.
    pub pool: Arc<WorkerPool>,
    /// The connectors.
    pub connectors: Arc<dyn Connect>,
    /// The materialized tables.
    pub tables: Arc<Tables>,
    /// What pipelines may hold in memory.
    pub budget: MemoryBudget,
    /// Instances of each operator, `1..=256`.
    pub shards: usize,
    /// From barrier to barrier, unless the script sets `execution.checkpointing.interval`.
    pub epoch_interval: Duration,
    /// Called after each committed epoch of any pipeline.
    pub on_commit: Arc<dyn Fn() + Send + Sync>,
}

/// A pipeline cannot be submitted, stopped or dropped.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The script is refused.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// It runs already.
    #[error("pipeline {0} is running")]
    Running(String),
    /// There is none.
    #[error("no pipeline named {0}")]
    Unknown(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A table cannot be kept.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A connector refuses its options.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The definition cannot be stored.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// The node has no thread or disk for it.
    #[error("{0}")]
    Node(String),
}

/// What a pipeline is doing.
#[derive(Clone, Debug)]
pub struct PipelineStatus {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// The last committed epoch.
    pub committed: CommittedEpoch,
    /// How often it was started again after a failure.
    pub restarts: u64,
    /// Its operators.
    pub plan: Arc<StreamPlan>,
    /// Their figures since it last started.
    pub stats: JobStats,
    /// Of the changes each sink received, how many are committed; by uid.
    pub committed_changes: BTreeMap<String, u64>,
}

/// All pipelines of a node.
pub struct Pipelines {
    host: Host,
    entries: RwLock<BTreeMap<String, Arc<Entry>>>,
    /// Held while a pipeline is submitted, stopped or dropped.
    changing: Mutex<()>,
}

struct Entry {
    name: String,
    plan: Arc<StreamPlan>,
    tables: Vec<String>,
    /// None if it was stopped before the node started, or could not be started.
    supervisor: Option<Supervisor>,
    progress: Arc<Progress>,
    /// Why it could not be started.
    failed: Option<String>,
}

impl Pipelines {
    /// The pipelines stored in the host's directory; those that ran are started.
    ///
    /// # Errors
    /// If a definition cannot be read. A pipeline that no longer compiles is there as failed.
    pub fn open(host: Host) -> Result<Self, PipelineError> {
        let node_error =
            |error: std::io::Error| PipelineError::Node(format!("{}: {error}", host.dir.display()));
        host.disk.create_dir_all(&host.dir).map_err(node_error)?;
        let entries = host.disk.list(&host.dir).map_err(node_error)?;
        let pipelines = Self { host: host.clone(), entries: RwLock::default(), changing: Mutex::default() };
        for entry in entries.into_iter().filter(|entry| entry.is_dir) {
            let dir = host.dir.join(&entry.name);
            if entry.name.starts_with(DROPPED_PREFIX) {
                host.disk.remove_dir_all(&dir).map_err(node_error)?;
                continue;
            }
            let Some(definition) = Definition::load(host.disk.as_ref(), &dir)? else { continue };
            let started = compile(&definition).and_then(|compiled| pipelines.start(&definition, compiled));
            if let Err(error) = started {
                tracing::error!("pipeline {} is not started: {error}", definition.name);
                pipelines.insert(Entry::failed(&definition.name, &error));
            }
        }
        Ok(pipelines)
    }

    /// Compiles a script without starting it.
    ///
    /// # Errors
    /// If it is refused.
    pub fn check(&self, script: &Script) -> Result<Compiled, PipelineError> {
        compile_script(script)
    }

    /// Compiles and starts a pipeline; it is durable when this returns. A stopped pipeline of the
    /// same name goes on from its last epoch if its SQL still means the same.
    ///
    /// # Errors
    /// If the script is refused, or a pipeline of this name runs.
    pub fn submit(
        &self,
        name: Option<&str>,
        script: &Script,
    ) -> Result<(String, Vec<String>), PipelineError> {
        let compiled = compile_script(script)?;
        let name = name.unwrap_or(&compiled.pipeline_name).to_owned();
        if !is_valid_name(&name) {
            let expected = "expected 1 to 100 of a-z A-Z 0-9 . _ -, not starting with a dot";
            return Err(PipelineError::Invalid(format!("`{name}` cannot name a pipeline: {expected}")));
        }
        let _changing = self.changing();
        if let Some(entry) = self.entry(&name)
            && entry.is_active()
        {
            return Err(PipelineError::Running(name));
        }
        // Every refusal comes before anything is changed.
        let dir = self.host.dir.join(&name);
        self.check_state(&name, &dir, &compiled.plan)?;
        self.check_tables(&name, &compiled)?;
        if let Some(before) = self.entry(&name) {
            let kept = |table: &String| compiled.materialized.iter().any(|new| new.name == *table);
            for table in before.tables.iter().filter(|table| !kept(table)) {
                self.host.tables.drop_table(table)?;
            }
        }
        let definition = Definition::new(&name, &script.name, &script.text, script.vars.clone());
        definition.store(self.host.disk.as_ref(), &dir)?;
        let tables = self.start(&definition, compiled)?;
        Ok((name, tables))
    }

    /// Whether the stored epochs of the pipeline, if any, were made by this plan.
    fn check_state(&self, name: &str, dir: &Path, plan: &StreamPlan) -> Result<(), PipelineError> {
        let epochs = dir.join("epochs");
        let node_error = |error: &dyn std::fmt::Display| PipelineError::Node(error.to_string());
        if !self.host.disk.exists(&epochs).map_err(|error| node_error(&error))? {
            return Ok(());
        }
        let store =
            EpochStore::open(Arc::clone(&self.host.disk), &epochs).map_err(|error| node_error(&error))?;
        let manifest = store.latest_manifest().map_err(|error| node_error(&error))?;
        let checked = manifest.map_or(Ok(()), |manifest| check_fingerprint(name, &manifest, plan));
        checked.map_err(|error| PipelineError::Invalid(error.to_string()))
    }

    /// Whether the pipeline may keep its tables.
    fn check_tables(&self, name: &str, compiled: &Compiled) -> Result<(), PipelineError> {
        for table in &compiled.materialized {
            check_storable(&table.name, &table.schema)?;
            self.host.tables.check_free(&table.name, name)?;
        }
        Ok(())
    }

    /// Defines the pipeline's tables and, if it is to run, starts its thread.
    fn start(&self, definition: &Definition, compiled: Compiled) -> Result<Vec<String>, PipelineError> {
        let host = &self.host;
        let name = definition.name.clone();
        let epoch_interval = epoch_interval(&compiled.settings).map_err(PipelineError::Invalid)?;
        let mut tables = Vec::new();
        self.check_tables(&name, &compiled)?;
        for table in &compiled.materialized {
            host.tables.define(TableDefinition {
                name: table.name.clone(),
                schema: Arc::clone(&table.schema),
                primary_key: table.primary_key.clone(),
                pipeline: name.clone(),
            })?;
            tables.push(table.name.clone());
        }
        let on_commit = Arc::clone(&host.on_commit);
        let progress = Arc::new(Progress::new(move || on_commit()));
        let plan = Arc::new(compiled.plan);
        let connect = PipelineConnect {
            connectors: Arc::clone(&host.connectors),
            tables: Arc::clone(&host.tables),
            collect: None,
        };
        let context = RunContext {
            disk: Arc::clone(&host.disk),
            clock: Arc::clone(&host.clock),
            pool: Arc::clone(&host.pool),
            connect: Arc::new(connect),
            tables: Arc::clone(&host.tables),
            budget: host.budget.child(&name, host.budget.bytes_max()),
            dead_letters: true,
        };
        let options = RunOptions {
            pipeline: name.clone(),
            shards: host.shards,
            epoch_interval: epoch_interval.unwrap_or(host.epoch_interval),
        };
        let dir = host.dir.join(&name).join("epochs");
        let start = || Supervisor::start(plan.as_ref().clone(), dir, context, options, Arc::clone(&progress));
        let supervisor = match definition.wanted {
            Wanted::Running => Some(start().map_err(|error| PipelineError::Node(error.to_string()))?),
            Wanted::Stopped => None,
        };
        self.insert(Entry { name, plan, tables: tables.clone(), supervisor, progress, failed: None });
        Ok(tables)
    }

    fn insert(&self, entry: Entry) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.insert(entry.name.clone(), Arc::new(entry));
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, name: &str) -> Option<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn all(&self) -> Vec<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Stops a pipeline at an epoch. Its state and tables stay; it stays stopped over restarts.
    ///
    /// # Errors
    /// If there is none, or its new state cannot be stored.
    pub fn stop(&self, name: &str) -> Result<(), PipelineError> {
        let _changing = self.changing();
        let entry = self.entry(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
        entry.halt();
        let dir = self.host.dir.join(name);
        if let Some(mut definition) = Definition::load(self.host.disk.as_ref(), &dir)? {
            definition.wanted = Wanted::Stopped;
            definition.store(self.host.disk.as_ref(), &dir)?;
        }
        Ok(())
    }

    /// Stops a pipeline and forgets it, its state and its tables. Its topics stay.
    ///
    /// # Errors
    /// If there is none, or the disk fails.
    pub fn drop_pipeline(&self, name: &str) -> Result<(), PipelineError> {
        let _changing = self.changing();
        let entry = self.entry(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
        entry.halt();
        // The name goes first and at once: a crash in between leaves no pipeline over an empty table.
        let (disk, dir) = (&self.host.disk, self.host.dir.join(name));
        let gone = self.host.dir.join(format!("{DROPPED_PREFIX}{name}"));
        let failed = |error: std::io::Error| PipelineError::Node(format!("{}: {error}", dir.display()));
        disk.remove_dir_all(&gone).map_err(failed)?;
        if disk.exists(&dir).map_err(failed)? {
            disk.rename(&dir, &gone).and_then(|()| disk.sync_dir(&self.host.dir)).map_err(failed)?;
        }
        self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        for table in &entry.tables {
            self.host.tables.drop_table(table)?;
        }
        disk.remove_dir_all(&gone).map_err(failed)
    }

    /// Stops all pipelines at an epoch; they start again with the node.
    pub fn shut_down(&self) {
        let _changing = self.changing();
        let entries = self.all();
        for supervisor in entries.iter().filter_map(|entry| entry.supervisor.as_ref()) {
            supervisor.request_stop();
        }
        for supervisor in entries.iter().filter_map(|entry| entry.supervisor.as_ref()) {
            supervisor.join();
        }
    }

    /// What all pipelines are doing, by name.
    pub fn list(&self) -> Vec<PipelineStatus> {
        self.all().iter().map(|entry| entry.status()).collect()
    }

    /// Whether the committed epochs of the pipeline that keeps `table` include everything below
    /// these offsets of `topic`: `(partition, next offset)`.
    ///
    /// # Errors
    /// If there is no such table, or its pipeline does not read the topic from the own log.
    pub fn covers(
        &self,
        table: &str,
        (topic, id): (&str, TopicId),
        offsets: &[(i32, Offset)],
    ) -> Result<bool, PipelineError> {
        let unknown = || PipelineError::Table(TableError::Unknown(table.to_owned()));
        let definition = self.host.tables.definition(table).ok_or_else(unknown)?;
        let entry = self.entry(&definition.pipeline).ok_or_else(unknown)?;
        let sources: Vec<&str> = entry.sources_of(topic).collect();
        if sources.is_empty() {
            let pipeline = &entry.name;
            return Err(PipelineError::Invalid(format!(
                "table {table} does not follow topic {topic}: pipeline {pipeline} does not read it"
            )));
        }
        let covered = |uid: &str, partition: i32, next: Offset| {
            let read = entry.progress.committed_position(uid, &SplitId::of_partition(id, partition));
            next <= 0 || read >= u64::try_from(next).ok().map(Position)
        };
        Ok(sources.iter().all(|uid| offsets.iter().all(|(partition, next)| covered(uid, *partition, *next))))
    }
}

impl Entry {
    fn failed(name: &str, error: &PipelineError) -> Self {
        Self {
            name: name.to_owned(),
            plan: Arc::default(),
            tables: Vec::new(),
            supervisor: None,
            progress: Arc::new(Progress::new(|| {})),
            failed: Some(error.to_string()),
        }
    }

    fn state(&self) -> State {
        match (&self.failed, &self.supervisor) {
            (Some(error), _) => State::Failed { error: error.clone() },
            (None, Some(supervisor)) => supervisor.state(),
            (None, None) => State::Stopped,
        }
    }

    fn is_active(&self) -> bool {
        let ended = |state| matches!(state, State::Finished | State::Stopped | State::Failed { .. });
        self.supervisor.as_ref().is_some_and(|supervisor| !ended(supervisor.state()))
    }

    fn halt(&self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.request_stop();
            supervisor.join();
        }
    }

    fn status(&self) -> PipelineStatus {
        PipelineStatus {
            name: self.name.clone(),
            state: self.state(),
            committed: self.progress.committed_epoch(),
            restarts: self.supervisor.as_ref().map_or(0, Supervisor::restarts),
            plan: Arc::clone(&self.plan),
            // First, so that no sink seems to have committed more than it received.
            committed_changes: self.progress.committed_changes(),
            stats: self.progress.stats(),
        }
    }

    /// Uids of the sources that read `topic` from the own log.
    fn sources_of(&self, topic: &str) -> impl Iterator<Item = &str> {
        self.plan.nodes.iter().filter_map(move |node| match &node.spec {
            OperatorSpec::Source(source) => {
                let is = |key: &str, value: &str| source.options.get(key).is_some_and(|given| given == value);
                (is("connector", "kafka") && is("topic", topic)).then_some(node.uid.as_str())
            }
            _ => None,
        })
    }
}

fn compile(definition: &Definition) -> Result<Compiled, PipelineError> {
    let (name, text, vars) = (definition.file.clone(), definition.sql.clone(), definition.vars.clone());
    compile_script(&Script { name, text, vars })
}

fn compile_script(script: &Script) -> Result<Compiled, PipelineError> {
    let compiled = highwater_sql::compile(script, &highwater_sql::NoCatalog)?;
    if compiled.collect.is_some() {
        let message = "a bare SELECT has nowhere to go on a node: use INSERT INTO or CREATE MATERIALIZED TABLE, \
                       or run the file with: highwater run";
        return Err(PipelineError::Invalid(message.to_owned()));
    }
    Ok(compiled)
}
