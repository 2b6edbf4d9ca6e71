//! The demo's figures: for the terminal, the page and the exit code.

use serde::Serialize;

use super::ledger::Balance;

/// What the node is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Starting for the first time.
    #[default]
    Starting,
    Running,
    /// Killed; being started again.
    Down,
    /// Answers, its tables are not yet where they were.
    CatchingUp,
}

/// How long one kill -9 was felt, in ms from the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Recovery {
    /// Until the node answered again.
    pub(crate) healthy_ms: u64,
    /// Until its tables covered everything acknowledged before the kill.
    pub(crate) caught_up_ms: u64,
}

/// All figures.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    /// Events the node has acknowledged.
    pub(crate) acknowledged: u64,
    /// Events in the table, at the last look.
    pub(crate) processed: u64,
    /// Acknowledged per second, over the last seconds.
    pub(crate) events_per_second: u64,
    /// From the last exact comparison.
    pub(crate) lost: u64,
    /// From the last exact comparison.
    pub(crate) doubled: u64,
    /// Vehicles with exchanged events, from the last exact comparison.
    pub(crate) mixed_up: u64,
    /// Exact comparisons made (each stops the fleet for a moment).
    pub(crate) comparisons: u64,
    pub(crate) kills: u64,
    pub(crate) recoveries: Vec<Recovery>,
    /// The latest difficulty, in words; empty: none.
    pub(crate) trouble: String,
}

impl Status {
    /// Takes over the outcome of an exact comparison. Losses and doubles never shrink.
    pub(crate) fn take(&mut self, balance: Balance) {
        self.acknowledged = balance.acknowledged;
        self.processed = balance.processed;
        self.lost = self.lost.max(balance.lost);
        self.doubled = self.doubled.max(balance.doubled);
        self.mixed_up = self.mixed_up.max(balance.mixed_up);
        self.comparisons += 1;
    }

    /// Nothing was lost, doubled or exchanged.
    pub(crate) fn is_exact(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.mixed_up == 0
    }

    /// For the terminal.
    pub(crate) fn lines(&self) -> Vec<String> {
        let phase = match self.phase {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Down => "killed, starting again",
            Phase::CatchingUp => "back, catching up",
        };
        let mut lines = vec![
            format!("node {phase}   {} events/s acknowledged", self.events_per_second),
            format!(
                "acknowledged {}   processed {}   lost {}   doubled {}   (compared exactly {} times)",
                self.acknowledged, self.processed, self.lost, self.doubled, self.comparisons
            ),
        ];
        lines.push(match self.recoveries.last() {
            Some(recovery) => format!(
                "kill -9: {} times; last time healthy again after {} ms, tables caught up after {} ms",
                self.kills, recovery.healthy_ms, recovery.caught_up_ms
            ),
            None => format!("kill -9: {} times", self.kills),
        });
        if !self.trouble.is_empty() {
            lines.push(format!("trouble: {}", self.trouble));
        }
        lines
    }
}
