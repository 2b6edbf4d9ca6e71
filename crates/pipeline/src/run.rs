//! One start of a pipeline: from its last epoch to its end, a stop, or a failure.
//!
//! ```text
//!            latest manifest
//!                  |  restore state, commit its epoch once more (a crash may have come in between)
//!                  v
//! timer ---> EpochProtocol ---> barrier ---> job ---> snapshots ---> disk ---> manifest ---> sinks
//! ```
//!
//! The protocol decides; this file does. All of it runs on the pipeline's own thread.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use highwater_checkpoint::{Action, EpochProtocol, Fact, Manifest, ProtocolOptions, SinkCommittable, Taken};
use highwater_dataflow::{Job, JobError, JobEvent, JobHandle, JobSettings, WorkerPool};
use highwater_env::{Clock, Disk, Epoch, MemoryBudget};
use highwater_state::RestoredState;
use highwater_stream::{
    Committable, Committer, Connect, ConnectorError, ErrorKind, OperatorSpec, SinkSpec, SinkTarget,
    StreamPlan,
};

use crate::dead_letter::{self, DeadLetter};
use crate::epochs::{EpochError, EpochStore};
use crate::progress::Progress;
use crate::tables::{TableError, Tables};

/// How often the control thread looks for a stop request, at most.
const CONTROL_WAIT_MAX: Duration = Duration::from_millis(50);
/// Snapshot files from which an epoch may have to be restored.
const CHAIN_FILES_MAX: usize = 20;
/// Epochs under way at one time.
const EPOCHS_OPEN_MAX: usize = 2;
/// How often a commit is tried while its target is out of reach, and how long between tries.
const COMMIT_TRIES_MAX: u32 = 5;
const COMMIT_RETRY_WAIT: Duration = Duration::from_millis(200);
/// Rejected records shown in the log of a pipeline that has no topic for them.
const REJECTS_SHOWN_MAX: usize = 10;

/// What a run needs of its surroundings.
#[derive(Clone)]
pub struct RunContext {
    /// Where epochs are kept.
    pub disk: Arc<dyn Disk>,
    /// Time, for epochs and for processing-time operators.
    pub clock: Arc<dyn Clock>,
    /// The threads.
    pub pool: Arc<WorkerPool>,
    /// The connectors.
    pub connect: Arc<dyn Connect>,
    /// The materialized tables.
    pub tables: Arc<Tables>,
    /// The pipeline's share of memory.
    pub budget: MemoryBudget,
    /// Whether there is a log to keep dead letters in.
    pub dead_letters: bool,
}

/// How a run goes.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The pipeline's name.
    pub pipeline: String,
    /// Instances of each operator, `1..=256`.
    pub shards: usize,
    /// From barrier to barrier.
    pub epoch_interval: Duration,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All input is used up and committed.
    InputEnded,
    /// It was stopped at an epoch.
    Stopped,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The job.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A sink could not commit, or a connector could not be made.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// Epochs cannot be stored or read.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// A materialized table cannot be emptied.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The stored epochs belong to another query.
    #[error(
        "the state of pipeline {pipeline} was made by other SQL (plan {stored}, now {now}); \
         drop the pipeline to start over, or give this one another name"
    )]
    PlanChanged {
        /// The pipeline.
        pipeline: String,
        /// Fingerprint in the manifest.
        stored: String,
        /// Fingerprint of the plan.
        now: String,
    },
}

impl RunError {
    /// Whether starting again may help without anybody acting.
    pub fn retry(&self) -> bool {
        match self {
            Self::Job(error) => error.retry(),
            Self::Connector(error) => error.retry(),
            Self::Epoch(error) => error.retry(),
            Self::Table(_) | Self::PlanChanged { .. } => false,
        }
    }
}

/// Identifies what a plan means for its state: its operators' uids, and what its sources compute.
pub fn fingerprint(plan: &StreamPlan) -> String {
    let mut meaning = String::new();
    for node in &plan.nodes {
        meaning.push_str(&node.uid);
        if let OperatorSpec::Source(source) = &node.spec {
            for column in &source.columns {
                meaning.push_str(&format!(" {column}"));
            }
            for field in source.physical.fields() {
                meaning.push_str(&format!(" {} {}", field.name(), field.data_type()));
            }
        }
        meaning.push('\n');
    }
    format!("{:016x}", highwater_state::hash_bytes(meaning.as_bytes()))
}

/// Refuses a plan that did not make the state it would start from.
///
/// # Errors
/// [`RunError::PlanChanged`].
pub fn check_fingerprint(pipeline: &str, stored: &Manifest, plan: &StreamPlan) -> Result<(), RunError> {
    let now = fingerprint(plan);
    if stored.fingerprint == now {
        return Ok(());
    }
    Err(RunError::PlanChanged { pipeline: pipeline.to_owned(), stored: stored.fingerprint.clone(), now })
}

/// Runs `plan` from the last epoch in `dir` until its input ends or `stop` is set.
///
/// # Errors
/// If it cannot start or go on; the epochs in `dir` stay as they are.
pub fn run(
    plan: &StreamPlan,
    dir: &Path,
    context: &RunContext,
    options: &RunOptions,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<Outcome, RunError> {
    let store = EpochStore::open(Arc::clone(&context.disk), dir)?;
    let restored = store.latest()?;
    let mut sinks = Sinks::open(plan, context, &options.pipeline)?;
    match &restored {
        None => reset_tables(plan, &context.tables)?,
        Some((manifest, _)) => {
            check_fingerprint(&options.pipeline, manifest, plan)?;
            // A crash may have come between the manifest and the sinks.
            if !store.is_committed(manifest.epoch) {
                sinks.commit(manifest.epoch, &manifest.committables, context)?;
            }
            progress.committed(manifest.epoch, &manifest.positions, context.clock.unix_ms());
            if manifest.finished {
                return Ok(Outcome::InputEnded);
            }
        }
    }
    let job = build_job(plan, context, options, restored.as_ref().map(|(_, state)| state))?;
    let protocol_options = ProtocolOptions {
        pipeline: options.pipeline.clone(),
        fingerprint: fingerprint(plan),
        shards: options.shards,
        instances: job.instances(),
        chain_files_max: CHAIN_FILES_MAX,
        epochs_open_max: EPOCHS_OPEN_MAX,
    };
    let protocol = EpochProtocol::new(protocol_options, restored.as_ref().map(|(manifest, _)| manifest));
    let handle = context.pool.submit(job);
    progress.started(&handle);
    let mut run = Run {
        context,
        store,
        sinks,
        protocol,
        handle,
        progress,
        rejects: BTreeMap::new(),
        positions: HashMap::new(),
        received: HashMap::new(),
        begun_at: HashMap::new(),
        outcome: None,
    };
    let outcome = run.follow(options.epoch_interval, stop);
    if outcome.is_err() {
        run.handle.cancel();
    }
    outcome
}

/// A pipeline without an epoch has committed nothing: rows under its tables' names are not its own.
fn reset_tables(plan: &StreamPlan, tables: &Tables) -> Result<(), TableError> {
    for node in &plan.nodes {
        if let OperatorSpec::Sink(SinkSpec { target: SinkTarget::Materialized { table }, .. }) = &node.spec {
            tables.reset(table)?;
        }
    }
    Ok(())
}

fn build_job(
    plan: &StreamPlan,
    context: &RunContext,
    options: &RunOptions,
    state: Option<&RestoredState>,
) -> Result<Job, JobError> {
    let settings = JobSettings { shards: options.shards, ..JobSettings::default() };
    let clock = Arc::clone(&context.clock);
    Job::build(plan, context.connect.as_ref(), settings, state, clock, &context.budget)
}

/// A run under way.
struct Run<'a> {
    context: &'a RunContext,
    store: EpochStore,
    sinks: Sinks,
    protocol: EpochProtocol,
    handle: JobHandle,
    progress: &'a Progress,
    /// Dead letters of epochs whose manifest is not written yet.
    rejects: BTreeMap<Epoch, SinkCommittable>,
    /// Source positions of epochs that are not committed yet.
    positions: HashMap<Epoch, Vec<highwater_state::SplitPosition>>,
    /// Changes each sink received up to the barrier of an epoch that is not committed yet.
    received: HashMap<Epoch, BTreeMap<String, u64>>,
    /// When an epoch's barrier was sent, monotonic.
    begun_at: HashMap<Epoch, Duration>,
    outcome: Option<Outcome>,
}

impl Run<'_> {
    fn follow(&mut self, interval: Duration, stop: &AtomicBool) -> Result<Outcome, RunError> {
        let clock = Arc::clone(&self.context.clock);
        let mut due = clock.monotonic() + interval;
        let mut stop_told = false;
        loop {
            let wait = due.saturating_sub(clock.monotonic()).min(CONTROL_WAIT_MAX);
            match self.handle.events().recv_timeout(wait) {
                Some(JobEvent::Snapshot { epoch, instance, taken }) => {
                    let received = self.received.entry(epoch).or_default();
                    for (uid, changes) in &taken.received {
                        *received.entry(uid.clone()).or_default() += changes;
                    }
                    self.tell(Fact::Snapshot { epoch, instance, taken })?;
                }
                Some(JobEvent::InputEnded) => self.tell(Fact::InputEnded)?,
                Some(JobEvent::Failed(error)) => return Err(error.into()),
                // The protocol ends the run when the last epoch is committed.
                Some(JobEvent::Finished) | None => {}
            }
            if stop.load(Ordering::Acquire) && !stop_told {
                stop_told = true;
                self.tell(Fact::StopRequested)?;
            }
            if clock.monotonic() >= due {
                due = clock.monotonic() + interval;
                self.tell(Fact::EpochDue)?;
            }
            if let Some(outcome) = self.outcome {
                return Ok(outcome);
            }
        }
    }

    /// Tells the protocol a fact and does what it says, which leads to more facts.
    fn tell(&mut self, fact: Fact) -> Result<(), RunError> {
        let mut facts = vec![fact];
        while let Some(fact) = facts.pop() {
            for action in self.protocol.decide(fact) {
                facts.extend(self.act(action)?);
            }
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<Option<Fact>, RunError> {
        match action {
            Action::Inject { barrier, full } => {
                self.begun_at.insert(barrier.epoch, self.context.clock.monotonic());
                if full {
                    self.handle.barrier_full(barrier);
                } else {
                    self.handle.barrier(barrier);
                }
                Ok(None)
            }
            Action::StoreSnapshot { epoch, taken } => {
                self.prepare_dead_letters(epoch, &taken)?;
                let stored = self.store.store_snapshot(epoch, &taken.operators)?;
                Ok(Some(Fact::SnapshotStored { epoch, stored }))
            }
            Action::StoreManifest(mut manifest) => {
                let epoch = manifest.epoch;
                manifest.committables.extend(self.rejects.get(&epoch).cloned());
                self.store.store_manifest(&manifest)?;
                self.positions.insert(epoch, manifest.positions);
                Ok(Some(Fact::ManifestStored { epoch }))
            }
            Action::Commit { epoch, mut committables } => {
                committables.extend(self.rejects.remove(&epoch));
                self.sinks.commit(epoch, &committables, self.context)?;
                warn_only(self.store.note_committed(epoch));
                self.announce(epoch);
                Ok(Some(Fact::Committed { epoch }))
            }
            Action::Release { epoch, keep } => {
                warn_only(self.store.release(epoch, &keep));
                Ok(None)
            }
            Action::Finish { input_ended } => {
                self.outcome = Some(if input_ended { Outcome::InputEnded } else { Outcome::Stopped });
                Ok(None)
            }
        }
    }

    fn prepare_dead_letters(&mut self, epoch: Epoch, taken: &Taken) -> Result<(), RunError> {
        if taken.rejects.is_empty() {
            return Ok(());
        }
        match &mut self.sinks.dead_letter {
            Some(dead_letter) => {
                let committable = dead_letter.prepare(epoch, &taken.rejects)?;
                let uid = dead_letter::UID.to_owned();
                self.rejects.insert(epoch, SinkCommittable { uid, shard: 0, committable });
            }
            None => {
                for (uid, record) in taken.rejects.iter().take(REJECTS_SHOWN_MAX) {
                    tracing::warn!("{uid}: {} at {}: {}", record.split, record.position, record.reason);
                }
            }
        }
        Ok(())
    }

    fn announce(&mut self, epoch: Epoch) {
        let clock = &self.context.clock;
        if let Some(begun) = self.begun_at.remove(&epoch) {
            self.progress.epoch_took(clock.monotonic().saturating_sub(begun));
        }
        self.progress.sinks_received(self.received.remove(&epoch).unwrap_or_default());
        let positions = self.positions.remove(&epoch).unwrap_or_default();
        self.progress.committed(epoch, &positions, clock.unix_ms());
    }
}

/// For what loses nothing when it fails.
fn warn_only(done: Result<(), EpochError>) {
    if let Err(error) = done {
        tracing::warn!("{error}");
    }
}

/// The committers of a pipeline.
struct Sinks {
    committers: BTreeMap<String, Box<dyn Committer>>,
    dead_letter: Option<DeadLetter>,
}

impl Sinks {
    fn open(plan: &StreamPlan, context: &RunContext, pipeline: &str) -> Result<Self, ConnectorError> {
        let mut committers = BTreeMap::new();
        for node in &plan.nodes {
            if let OperatorSpec::Sink(spec) = &node.spec {
                let committer = context.connect.committer(&node.uid, spec, &node.schema)?;
                committers.insert(node.uid.clone(), committer);
            }
        }
        let dead_letter =
            context.dead_letters.then(|| DeadLetter::new(Arc::clone(&context.connect), pipeline));
        Ok(Self { committers, dead_letter })
    }

    /// Makes an epoch visible in every sink, trying again where that may help.
    fn commit(
        &mut self,
        epoch: Epoch,
        committables: &[SinkCommittable],
        context: &RunContext,
    ) -> Result<(), ConnectorError> {
        let mut by_sink: BTreeMap<&str, Vec<Committable>> = BTreeMap::new();
        for one in committables {
            by_sink.entry(&one.uid).or_default().push(one.committable.clone());
        }
        for (uid, prepared) in by_sink {
            let mut tries = 1;
            while let Err(error) = self.commit_one(uid, epoch, &prepared) {
                if !error.retry() || tries == COMMIT_TRIES_MAX {
                    return Err(error);
                }
                tries += 1;
                tracing::warn!("commit of epoch {epoch} failed, trying again: {error}");
                wait(context.clock.as_ref(), COMMIT_RETRY_WAIT);
            }
        }
        Ok(())
    }

    fn commit_one(
        &mut self,
        uid: &str,
        epoch: Epoch,
        prepared: &[Committable],
    ) -> Result<(), ConnectorError> {
        if uid == dead_letter::UID {
            let missing =
                || ConnectorError::new(ErrorKind::Config, uid, "there are dead letters, but no log");
            let dead_letter = self.dead_letter.as_mut().ok_or_else(missing)?;
            return prepared.iter().try_for_each(|one| dead_letter.commit(epoch, one));
        }
        let unknown =
            || ConnectorError::new(ErrorKind::Config, uid, "the manifest names a sink the plan lacks");
        self.committers.get_mut(uid).ok_or_else(unknown)?.commit(epoch, prepared)
    }
}

/// Waits without touching the real clock below the rim: parks, and asks the clock it was given.
pub(crate) fn wait(clock: &dyn Clock, how_long: Duration) {
    let until = clock.monotonic() + how_long;
    while let Some(left) = until.checked_sub(clock.monotonic()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
