//! What all clients of a soak share: where the node is, what they may do, and the history.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use highwater_env::{Clock, Entropy, SeededEntropy, SystemClock};

use super::client::Connection;
use crate::history::{Action, Event, Recorder, Stage as Outcome, Value, read_file};

/// A client that cannot go on although the node is there for this long is stuck.
const STUCK: Duration = Duration::from_secs(90);
const RECONNECT_MS: u64 = 20;

/// What the clients may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Go,
    /// Finish what is under way, then wait.
    Rest,
    /// End.
    Stop,
}

struct State {
    turn: Turn,
    resting: usize,
    /// The first client that failed, and why.
    failure: Option<String>,
    node: Option<SocketAddr>,
}

/// The shared state.
pub(super) struct Stage {
    /// Of each topic.
    pub(super) partitions: i32,
    state: Mutex<State>,
    changed: Condvar,
    recorder: Recorder,
    next_op: AtomicU64,
    next_process: AtomicU64,
    next_value: AtomicU64,
    next_client: AtomicU64,
    seed: u64,
    clock: SystemClock,
}

impl Stage {
    /// Goes on with a history, or begins one. With it: how many kills it holds.
    pub(super) fn open(path: &Path, partitions: i32, seed: u64) -> Result<(Self, u64)> {
        let recorder = Recorder::open(path)?;
        let (mut op, mut process, mut value, mut kills) = (0, 0, 0, 0);
        for event in read_file(path)? {
            let event = event?;
            op = event.op.max(op);
            process = event.process.max(process);
            match event.action {
                Action::Send { values, .. } => value = values.into_iter().max().unwrap_or(0).max(value),
                Action::Kill => kills += 1,
                _ => {}
            }
        }
        let state = State { turn: Turn::Rest, resting: 0, failure: None, node: None };
        let stage = Self {
            partitions,
            state: Mutex::new(state),
            changed: Condvar::new(),
            recorder,
            next_op: AtomicU64::new(op + 1),
            next_process: AtomicU64::new(process + 1),
            next_value: AtomicU64::new(value + 1),
            next_client: AtomicU64::new(0),
            seed: seed ^ op,
            clock: SystemClock::new(),
        };
        Ok((stage, kills))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Randomness of one more client.
    pub(super) fn entropy(&self) -> SeededEntropy {
        let client = self.next_client.fetch_add(1, Ordering::Relaxed);
        SeededEntropy::new(self.seed.wrapping_add(client.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Since the Unix epoch, UTC.
    pub(super) fn now_ms(&self) -> i64 {
        self.clock.unix_ms()
    }

    pub(super) fn new_op(&self) -> u64 {
        self.next_op.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn new_process(&self) -> u64 {
        self.next_process.fetch_add(1, Ordering::Relaxed)
    }

    /// A batch's worth of fresh values, each with a padding: mostly small, now and then large.
    pub(super) fn new_values(&self, entropy: &SeededEntropy) -> Vec<(Value, usize)> {
        let count = 1 + entropy.below(8);
        let first = self.next_value.fetch_add(count, Ordering::Relaxed);
        let padding = |_: &Value| if entropy.below(100) == 0 { 20_000 } else { entropy.below(250) };
        (first..first + count).map(|value| (value, padding(&value) as usize)).collect()
    }

    /// So many fresh values, without a padding.
    pub(super) fn new_small_values(&self, count: usize) -> Vec<(Value, usize)> {
        let first = self.next_value.fetch_add(count as u64, Ordering::Relaxed);
        (first..).take(count).map(|value| (value, 0)).collect()
    }

    pub(super) fn some_partition(&self, entropy: &SeededEntropy) -> i32 {
        i32::try_from(entropy.below(self.partitions.unsigned_abs().into())).expect("one of an i32's worth")
    }

    pub(super) fn record(&self, op: u64, process: u64, stage: Outcome, action: Action) -> Result<()> {
        Ok(self.recorder.record(&Event { op, process, stage, action })?)
    }

    // ---- The director's side

    pub(super) fn node_is_at(&self, node: Option<SocketAddr>) {
        self.state().node = node;
        self.changed.notify_all();
    }

    pub(super) fn set_turn(&self, turn: Turn) {
        self.state().turn = turn;
        self.changed.notify_all();
    }

    /// Waits for `ms`; ends early, with an error, when a client fails.
    pub(super) fn wait_ms(&self, ms: u64) -> Result<()> {
        let wait = Duration::from_millis(ms);
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), wait, |state| state.failure.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.failure.as_ref().map_or(Ok(()), |failure| bail!("{failure}"))
    }

    /// Waits until that many clients rest.
    pub(super) fn wait_for_rest(&self, clients: usize) -> Result<()> {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), STUCK, |state| {
                state.failure.is_none() && state.resting < clients
            })
            .unwrap_or_else(PoisonError::into_inner);
        match &state.failure {
            Some(failure) => bail!("{failure}"),
            None if state.resting < clients => {
                bail!("{} of {clients} clients are stuck after {STUCK:?}", clients - state.resting)
            }
            None => Ok(()),
        }
    }

    // ---- The clients' side

    /// Waits while it is time to rest. False when it is time to end.
    pub(super) fn may_go(&self) -> bool {
        let mut state = self.state();
        if state.turn == Turn::Rest {
            state.resting += 1;
            self.changed.notify_all();
            state = self
                .changed
                .wait_while(state, |state| state.turn == Turn::Rest)
                .unwrap_or_else(PoisonError::into_inner);
            state.resting -= 1;
        }
        state.turn == Turn::Go
    }

    pub(super) fn failed(&self, client: &str, error: &anyhow::Error) {
        let mut state = self.state();
        state.failure.get_or_insert_with(|| format!("{client}: {error:#}"));
        drop(state);
        self.changed.notify_all();
    }

    /// Waits, but not beyond the end.
    pub(super) fn pause_ms(&self, ms: u64) {
        let state = self.state();
        let wait = Duration::from_millis(ms);
        drop(self.changed.wait_timeout_while(state, wait, |state| state.turn == Turn::Go));
    }

    /// Asks over a connection that is kept unless it breaks. None if it broke, or when it is time to end.
    pub(super) fn ask<T>(
        &self,
        connection: &mut Option<Connection>,
        call: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> Option<T> {
        let mut open = connection.take().or_else(|| self.connect())?;
        let answer = call(&mut open).ok()?;
        *connection = Some(open);
        Some(answer)
    }

    /// Connects to the node, waiting for it to be there. None when it is time to end.
    pub(super) fn connect(&self) -> Option<Connection> {
        loop {
            let state = self.state();
            if state.turn == Turn::Stop {
                return None;
            }
            let node = state.node;
            drop(state);
            if let Some(connection) = node.and_then(|node| Connection::open(node).ok()) {
                return Some(connection);
            }
            let wait = Duration::from_millis(RECONNECT_MS);
            let wait = self.changed.wait_timeout_while(self.state(), wait, |state| state.turn != Turn::Stop);
            drop(wait);
        }
    }
}

/// A partition's name in the history.
pub(super) fn partition_name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}
