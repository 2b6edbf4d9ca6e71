//! When to cut an epoch, what to store, what to commit.

use std::collections::{BTreeMap, BTreeSet};

use highwater_env::Epoch;
use highwater_state::{InstanceSnapshot, OperatorSnapshot, SplitPosition};
use highwater_stream::{Barrier, BarrierKind, RejectedRecord, SplitId};

use crate::{Manifest, SinkCommittable, SnapshotRef};

/// Limits of the protocol.
#[derive(Clone, Debug)]
pub struct ProtocolOptions {
    /// The pipeline's name, for the manifest.
    pub pipeline: String,
    /// The plan's fingerprint, for the manifest.
    pub fingerprint: String,
    /// Instances per operator.
    pub shards: usize,
    /// How many instances report each epoch ([`highwater-dataflow`]'s `JobHandle::instances`).
    pub instances: usize,
    /// A chain of more snapshot files than this is replaced by a full one. At least 1.
    pub chain_files_max: usize,
    /// Epochs begun but not yet committed at one time. At least 1.
    pub epochs_open_max: usize,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Fact {
    /// It is time for an epoch.
    EpochDue,
    /// An instance reached the barrier of `epoch`.
    Snapshot {
        /// Whose barrier.
        epoch: Epoch,
        /// Which instance, `0..instances`.
        instance: usize,
        /// What it handed over.
        taken: InstanceSnapshot,
    },
    /// The snapshot of [`Action::StoreSnapshot`] is durable.
    SnapshotStored {
        /// Of which epoch.
        epoch: Epoch,
        /// Its name and length; `None` if there was nothing to store.
        stored: Option<(String, u64)>,
    },
    /// The manifest of [`Action::StoreManifest`] is durable.
    ManifestStored {
        /// Of which epoch.
        epoch: Epoch,
    },
    /// All sinks made the epoch visible.
    Committed {
        /// Which.
        epoch: Epoch,
    },
    /// All sources have ended and everything is flushed: the final barrier may go.
    InputEnded,
    /// The user wants the pipeline to stop at an epoch.
    StopRequested,
}

/// Something to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send the barrier to all sources; `full`: ask for full snapshots.
    Inject {
        /// The barrier.
        barrier: Barrier,
        /// Everything, not only changes.
        full: bool,
    },
    /// Aligned: make the state durable, then tell [`Fact::SnapshotStored`].
    StoreSnapshot {
        /// Of which epoch.
        epoch: Epoch,
        /// What all instances handed over, by instance.
        taken: Taken,
    },
    /// Make this durable, then tell [`Fact::ManifestStored`].
    StoreManifest(Manifest),
    /// Restorable: make it visible, uid by uid, then tell [`Fact::Committed`].
    Commit {
        /// Which epoch.
        epoch: Epoch,
        /// What the sinks prepared, in order of uid and shard.
        committables: Vec<SinkCommittable>,
    },
    /// Committed: older manifests, and snapshot files that are not in `keep`, may go.
    Release {
        /// The epoch that is now the last committed one.
        epoch: Epoch,
        /// Names of snapshot files still needed.
        keep: Vec<String>,
    },
    /// The last epoch is committed: the pipeline is over.
    Finish {
        /// The input ended (`true`), or a stop was asked for.
        input_ended: bool,
    },
}

/// An aligned epoch's state and rejected records.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Snapshots of all operators and instances.
    pub operators: Vec<OperatorSnapshot>,
    /// Rejected records of all sources, in order of instance.
    pub rejects: Vec<(String, RejectedRecord)>,
}

/// How far an epoch is. Epochs move through the phases in order, one per fact.
///
/// ```text
///            EpochDue            all instances        SnapshotStored       ManifestStored      Committed
/// (nothing) ---------> Aligning -------------> Storing -----------> Sealing -----------> Committing ------> (gone)
///            Inject              StoreSnapshot         StoreManifest         Commit              Release, Finish
/// ```
/// `StoreManifest(n)` waits until n-1 is restorable, `Commit(n)` until n-1 is committed.
#[derive(Debug)]
enum Phase {
    Aligning(BTreeMap<usize, InstanceSnapshot>),
    Storing,
    /// Stored; the manifest waits for its predecessor or is being written.
    Sealing {
        asked: bool,
    },
    /// Restorable; the commit waits for its predecessor or is under way.
    Committing {
        asked: bool,
    },
}

#[derive(Debug)]
struct OpenEpoch {
    phase: Phase,
    last: bool,
    full: bool,
    stored: Option<(String, u64)>,
    positions: Vec<SplitPosition>,
    committables: Vec<SinkCommittable>,
}

/// The protocol's state. One per pipeline.
#[derive(Debug)]
pub struct EpochProtocol {
    options: ProtocolOptions,
    open: BTreeMap<Epoch, OpenEpoch>,
    next: Epoch,
    chain: Vec<SnapshotRef>,
    /// Snapshots begun since the last full one, this one included: decides when the next full one is due.
    chain_begun: usize,
    /// Splits keep their position when no instance reports them again.
    positions: BTreeMap<(String, SplitId), SplitPosition>,
    ending: Option<Ending>,
    stopping: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    InputEnded,
    Stopped,
}

impl EpochProtocol {
    /// The protocol of a pipeline that starts empty, or from `restored`.
    pub fn new(options: ProtocolOptions, restored: Option<&Manifest>) -> Self {
        assert!(options.instances > 0 && options.chain_files_max > 0 && options.epochs_open_max > 0);
        let known = restored.map(|manifest| manifest.positions.as_slice()).unwrap_or_default();
        let chain = restored.map(|manifest| manifest.chain.clone()).unwrap_or_default();
        Self {
            open: BTreeMap::new(),
            next: restored.map_or(Epoch(1), |manifest| manifest.epoch.next()),
            chain_begun: chain.len(),
            chain,
            positions: known.iter().map(|p| ((p.uid.clone(), p.split.clone()), p.clone())).collect(),
            ending: None,
            stopping: false,
            options,
        }
    }

    /// The epoch that the next barrier will end.
    pub fn next_epoch(&self) -> Epoch {
        self.next
    }

    /// Takes a fact, says what to do. Facts that do not fit (late, doubled) change nothing.
    pub fn decide(&mut self, fact: Fact) -> Vec<Action> {
        match fact {
            Fact::EpochDue => self.begin(BarrierKind::Checkpoint),
            Fact::InputEnded => self.end(Ending::InputEnded),
            Fact::StopRequested => self.end(Ending::Stopped),
            Fact::Snapshot { epoch, instance, taken } => self.snapshot(epoch, instance, taken),
            Fact::SnapshotStored { epoch, stored } => self.snapshot_stored(epoch, stored),
            Fact::ManifestStored { epoch } => self.manifest_stored(epoch),
            Fact::Committed { epoch } => self.committed(epoch),
        }
    }

    fn begin(&mut self, kind: BarrierKind) -> Vec<Action> {
        let aligning = self.open.values().any(|epoch| matches!(epoch.phase, Phase::Aligning(_)));
        if self.stopping || aligning || self.open.len() >= self.options.epochs_open_max {
            return Vec::new();
        }
        let epoch = self.next;
        self.next = epoch.next();
        let last = kind == BarrierKind::Stop;
        self.stopping = last;
        let full = self.chain_begun == 0 || self.chain_begun >= self.options.chain_files_max;
        self.chain_begun = if full { 1 } else { self.chain_begun + 1 };
        let phase = Phase::Aligning(BTreeMap::new());
        let (positions, committables) = (Vec::new(), Vec::new());
        self.open.insert(epoch, OpenEpoch { phase, last, full, stored: None, positions, committables });
        vec![Action::Inject { barrier: Barrier { epoch, kind }, full }]
    }

    fn end(&mut self, ending: Ending) -> Vec<Action> {
        if !self.stopping && self.ending != Some(Ending::InputEnded) {
            self.ending = Some(ending);
        }
        self.begin(BarrierKind::Stop)
    }

    /// The final barrier could not go while other epochs were open.
    fn end_if_due(&mut self) -> Vec<Action> {
        if self.ending.is_some() { self.begin(BarrierKind::Stop) } else { Vec::new() }
    }

    fn snapshot(&mut self, epoch: Epoch, instance: usize, taken: InstanceSnapshot) -> Vec<Action> {
        let Some(open) = self.open.get_mut(&epoch) else { return Vec::new() };
        let Phase::Aligning(instances) = &mut open.phase else { return Vec::new() };
        instances.entry(instance).or_insert(taken);
        if instances.len() < self.options.instances {
            return Vec::new();
        }
        let mut all = Taken::default();
        for (_, taken) in std::mem::take(instances) {
            all.operators.extend(taken.operators);
            all.rejects.extend(taken.rejects);
            for position in taken.positions {
                self.positions.insert((position.uid.clone(), position.split.clone()), position);
            }
            let sinks = taken.committables.into_iter();
            open.committables.extend(sinks.map(|(uid, shard, committable)| SinkCommittable {
                uid,
                shard,
                committable,
            }));
        }
        open.committables.sort_by(|a, b| (&a.uid, a.shard).cmp(&(&b.uid, b.shard)));
        open.positions = self.positions.values().cloned().collect();
        open.phase = Phase::Storing;
        let mut actions = vec![Action::StoreSnapshot { epoch, taken: all }];
        actions.extend(self.end_if_due());
        actions
    }

    fn snapshot_stored(&mut self, epoch: Epoch, stored: Option<(String, u64)>) -> Vec<Action> {
        let Some(open) = self.open.get_mut(&epoch) else { return Vec::new() };
        if !matches!(open.phase, Phase::Storing) {
            return Vec::new();
        }
        open.stored = stored;
        open.phase = Phase::Sealing { asked: false };
        self.seal_next()
    }

    /// Asks for the manifest of the oldest epoch that is not restorable yet, if its snapshot is stored.
    fn seal_next(&mut self) -> Vec<Action> {
        let oldest = self.open.iter_mut().find(|(_, open)| !matches!(open.phase, Phase::Committing { .. }));
        let Some((&epoch, open)) = oldest else { return Vec::new() };
        let Phase::Sealing { asked: asked @ false } = &mut open.phase else { return Vec::new() };
        *asked = true;
        if open.full {
            self.chain.clear();
        }
        if let Some((name, bytes)) = open.stored.take() {
            self.chain.push(SnapshotRef { epoch, name, bytes, full: open.full });
        }
        vec![Action::StoreManifest(Manifest {
            pipeline: self.options.pipeline.clone(),
            epoch,
            fingerprint: self.options.fingerprint.clone(),
            shards: self.options.shards,
            positions: std::mem::take(&mut open.positions),
            chain: self.chain.clone(),
            committables: open.committables.clone(),
            finished: open.last && self.ending == Some(Ending::InputEnded),
        })]
    }

    fn manifest_stored(&mut self, epoch: Epoch) -> Vec<Action> {
        let Some(open) = self.open.get_mut(&epoch) else { return Vec::new() };
        if !matches!(open.phase, Phase::Sealing { asked: true }) {
            return Vec::new();
        }
        open.phase = Phase::Committing { asked: false };
        let mut actions = self.commit_next();
        actions.extend(self.seal_next());
        actions
    }

    /// Commits the oldest open epoch, if it is restorable.
    fn commit_next(&mut self) -> Vec<Action> {
        let Some((&epoch, open)) = self.open.iter_mut().next() else { return Vec::new() };
        let Phase::Committing { asked: asked @ false } = &mut open.phase else { return Vec::new() };
        *asked = true;
        vec![Action::Commit { epoch, committables: open.committables.clone() }]
    }

    fn committed(&mut self, epoch: Epoch) -> Vec<Action> {
        let Some((&oldest, open)) = self.open.iter().next() else { return Vec::new() };
        if oldest != epoch || !matches!(open.phase, Phase::Committing { asked: true }) {
            return Vec::new();
        }
        let last = open.last;
        self.open.remove(&epoch);
        // Snapshots that a manifest still being written names are in the chain too; so is a chain that a full
        // snapshot replaced before its manifest is durable: nothing goes until every open epoch is older than it.
        let mut actions = Vec::new();
        if self.open.values().all(|open| !matches!(open.phase, Phase::Sealing { asked: true })) {
            let keep: BTreeSet<String> = self.chain.iter().map(|file| file.name.clone()).collect();
            let pending =
                self.open.values().filter_map(|open| open.stored.as_ref().map(|(name, _)| name.clone()));
            actions.push(Action::Release { epoch, keep: keep.into_iter().chain(pending).collect() });
        }
        actions.extend(self.commit_next());
        actions.extend(self.end_if_due());
        if last {
            actions.push(Action::Finish { input_ended: self.ending == Some(Ending::InputEnded) });
        }
        actions
    }
}

#[cfg(test)]
mod tests;
