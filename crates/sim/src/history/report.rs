//! What the checker found.

use std::collections::BTreeMap;
use std::fmt;

use super::{Anomaly, Kind};

/// Examples kept of each kind of anomaly; the rest is counted.
const EXAMPLES_MAX: u64 = 20;

/// How much a history holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Values sent.
    pub sent: u64,
    /// Of those, acknowledged.
    pub acknowledged: u64,
    /// Of those sent, with an unknown outcome.
    pub unknown: u64,
    /// Values polled.
    pub polled: u64,
    /// Values in full reads.
    pub read: u64,
    /// Transactions known to be committed.
    pub committed: u64,
    /// Transactions never committed.
    pub aborted: u64,
    /// Values copied in committed transactions.
    pub copied: u64,
    /// Offsets of groups whose commit was acknowledged.
    pub offsets: u64,
    /// Kills of the node.
    pub kills: u64,
}

/// What the checker found.
#[derive(Clone, Debug)]
pub struct Report {
    counts: Counts,
    found: BTreeMap<Kind, u64>,
    examples: Vec<Anomaly>,
}

impl Report {
    pub(super) fn new(counts: Counts) -> Self {
        Self { counts, found: BTreeMap::new(), examples: Vec::new() }
    }

    pub(super) fn add(&mut self, kind: Kind, what: impl FnOnce() -> String) {
        let count = self.found.entry(kind).or_default();
        *count += 1;
        if *count <= EXAMPLES_MAX {
            self.examples.push(Anomaly { kind, what: what() });
        }
    }

    /// How much was judged.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How often each kind was found; empty for a good history.
    pub fn found(&self) -> &BTreeMap<Kind, u64> {
        &self.found
    }

    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.found.is_empty()
    }

    /// The first of each kind.
    pub fn examples(&self) -> &[Anomaly] {
        &self.examples
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { sent, acknowledged, unknown, polled, read, .. } = self.counts;
        let Counts { committed, aborted, copied, offsets, kills, .. } = self.counts;
        write!(f, "{kills} kills; {sent} values sent, {acknowledged} acknowledged, {unknown} unknown; ")?;
        write!(
            f,
            "{committed} transactions committed, {aborted} not; {copied} values copied, {offsets} offsets \
             committed; {polled} values polled, {read} read; "
        )?;
        if self.is_good() {
            return f.write_str("no anomaly");
        }
        for (index, (kind, count)) in self.found.iter().enumerate() {
            write!(f, "{}{kind} {count}", if index == 0 { "" } else { ", " })?;
        }
        self.examples.iter().try_for_each(|anomaly| write!(f, "\n  {anomaly}"))
    }
}
