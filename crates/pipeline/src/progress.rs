//! How far a pipeline is, for whoever asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use highwater_dataflow::{JobHandle, JobStats};
use highwater_env::Epoch;
use highwater_state::SplitPosition;
use highwater_stream::{Position, SplitId};

/// Shared between a pipeline's thread, which writes, and everybody who asks.
#[derive(Default)]
pub struct Progress {
    inner: Mutex<Inner>,
    on_commit: Option<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Inner {
    handle: Option<JobHandle>,
    epoch: Epoch,
    committed_at_ms: Option<i64>,
    epoch_took: Option<Duration>,
    positions: HashMap<(String, SplitId), Position>,
    /// Changes each sink had received at the barrier of the last committed epoch, since the last start.
    received: BTreeMap<String, u64>,
}

/// The last committed epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommittedEpoch {
    /// Its number; 0: none yet.
    pub epoch: Epoch,
    /// When, ms since the Unix epoch.
    pub at_ms: Option<i64>,
    /// From its barrier to its commit.
    pub took: Option<Duration>,
}

impl Progress {
    /// Calls `on_commit` after each committed epoch, on the pipeline's thread.
    pub fn new(on_commit: impl Fn() + Send + Sync + 'static) -> Self {
        Self { inner: Mutex::default(), on_commit: Some(Box::new(on_commit)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn started(&self, handle: &JobHandle) {
        let mut inner = self.lock();
        inner.handle = Some(handle.clone());
        inner.received.clear();
    }

    pub(crate) fn epoch_took(&self, took: Duration) {
        self.lock().epoch_took = Some(took);
    }

    pub(crate) fn sinks_received(&self, received: BTreeMap<String, u64>) {
        self.lock().received = received;
    }

    pub(crate) fn committed(&self, epoch: Epoch, positions: &[SplitPosition], now_ms: i64) {
        {
            let mut inner = self.lock();
            inner.epoch = epoch;
            inner.committed_at_ms = Some(now_ms);
            for position in positions {
                inner.positions.insert((position.uid.clone(), position.split.clone()), position.position);
            }
        }
        if let Some(on_commit) = &self.on_commit {
            on_commit();
        }
    }

    /// The last committed epoch.
    pub fn committed_epoch(&self) -> CommittedEpoch {
        let inner = self.lock();
        CommittedEpoch { epoch: inner.epoch, at_ms: inner.committed_at_ms, took: inner.epoch_took }
    }

    /// How far the committed epochs have read a split of a source.
    pub fn committed_position(&self, uid: &str, split: &SplitId) -> Option<Position> {
        self.lock().positions.get(&(uid.to_owned(), split.clone())).copied()
    }

    /// Changes received since the last start that are committed, by the sink's uid.
    pub fn committed_changes(&self) -> BTreeMap<String, u64> {
        self.lock().received.clone()
    }

    /// The figures of the operators since the pipeline last started.
    pub fn stats(&self) -> JobStats {
        let handle = self.lock().handle.clone();
        handle.map(|handle| handle.stats()).unwrap_or_default()
    }
}
