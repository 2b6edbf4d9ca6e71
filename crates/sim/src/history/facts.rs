//! What a history says, gathered from its lines.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use highwater_env::Offset;

use super::groups::Groups;
use super::trims::Trims;
use super::{Action, Counts, Event, FullRead, Isolation, Run, Stage, Value};

/// Number of a partition in [`Facts::partitions`].
pub(super) type PartitionIndex = usize;
/// Number of an event in its history.
pub(super) type Line = usize;

/// Why a history cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {line} of the history: {what}")]
pub struct HistoryError {
    /// Number of the event, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// One batch sent.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) process: u64,
    pub(super) partition: PartitionIndex,
    pub(super) values: Vec<Value>,
    /// For each value the one it is a copy of; empty if they are none.
    pub(super) copies: Vec<Value>,
    pub(super) invoked_at: Line,
    /// `Invoke` while nothing is known.
    pub(super) outcome: Stage,
    /// Of the first value, as acknowledged.
    pub(super) offset: Option<Offset>,
    pub(super) transaction: Option<usize>,
}

/// One transaction.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// When its commit was first asked for.
    pub(super) commit_invoked_at: Option<Line>,
    /// When and how that was answered.
    commit: Option<(Line, Stage)>,
    /// Seen by a reader of committed records.
    seen_committed: bool,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Committed,
    /// Aborted, or still open: no commit was asked for, or it was refused.
    NotCommitted,
    /// A commit was asked for and not answered.
    Unknown,
}

impl Transaction {
    pub(super) fn fate(&self) -> Fate {
        match (self.commit_invoked_at, self.commit) {
            (None, _) | (_, Some((_, Stage::Fail))) => Fate::NotCommitted,
            (_, Some((_, Stage::Ok))) => Fate::Committed,
            _ if self.seen_committed => Fate::Committed,
            _ => Fate::Unknown,
        }
    }

    /// When its commit was acknowledged.
    pub(super) fn committed_at(&self) -> Option<Line> {
        self.commit.filter(|(_, stage)| *stage == Stage::Ok).map(|(line, _)| line)
    }
}

/// A value that somebody was served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) partition: PartitionIndex,
    pub(super) offset: Offset,
    pub(super) value: Value,
    pub(super) isolation: Isolation,
    pub(super) line: Line,
}

/// Where a value was seen first, and whether by readers of everything and of what is committed.
struct FirstSeen {
    place: (PartitionIndex, Offset),
    by: [bool; 2],
}

/// One consumer's run over one partition, between two assignments.
#[derive(Debug)]
pub(super) struct Ride {
    pub(super) process: u64,
    pub(super) partition: PartitionIndex,
    pub(super) isolation: Isolation,
    pub(super) offsets: Vec<Offset>,
}

/// What a history says.
#[derive(Default)]
pub(super) struct Facts {
    line: Line,
    pub(super) partitions: Vec<String>,
    partition_index: HashMap<String, PartitionIndex>,
    pub(super) sends: Vec<Send>,
    pub(super) send_of: HashMap<Value, usize>,
    send_by_op: HashMap<u64, usize>,
    pub(super) transactions: Vec<Transaction>,
    open_transaction: HashMap<u64, usize>,
    /// Each value at each place, once for each kind of readers.
    pub(super) seen: Vec<Seen>,
    first_seen: HashMap<Value, FirstSeen>,
    pub(super) rides: Vec<Ride>,
    current_ride: HashMap<(u64, PartitionIndex), usize>,
    pub(super) reads: Vec<(PartitionIndex, FullRead)>,
    pub(super) groups: Groups,
    pub(super) trims: Trims,
    polled: u64,
    read: u64,
    kills: u64,
}

impl Facts {
    pub(super) fn take(&mut self, event: Event) -> Result<(), HistoryError> {
        self.line += 1;
        let Event { op, process, stage, action } = event;
        match action {
            Action::Send { partition, values, copies, offset } => {
                let partition = self.partition(&partition);
                match stage {
                    Stage::Invoke => self.sent(op, process, partition, (values, copies))?,
                    _ => self.answered(op, stage, offset)?,
                }
            }
            Action::Poll { isolation, records } if stage == Stage::Ok => {
                self.polled(process, isolation, records);
            }
            Action::Read(read) if stage == Stage::Ok => self.read(read),
            Action::Assign => self.current_ride.retain(|(of, _), _| *of != process),
            Action::Assigned { group } => {
                self.current_ride.retain(|(of, _), _| *of != process);
                self.groups.joined(process, group).map_err(|what| self.impossible(what))?;
            }
            Action::CommitOffsets { group, offsets } => {
                let offsets = self.by_index(offsets);
                let transaction = self.open_transaction.get(&process).copied();
                let commit = (op, stage, self.line);
                let noted = self.groups.committed(commit, &group, offsets, transaction);
                noted.map_err(|what| self.impossible(what))?;
            }
            Action::FetchOffsets { group, offsets } => {
                let offsets = self.by_index(offsets);
                let noted = self.groups.fetched((op, stage, self.line), &group, offsets);
                noted.map_err(|what| self.impossible(what))?;
            }
            Action::Trim { partition, offset } => {
                let partition = self.partition(&partition);
                self.trims.asked(partition, stage, offset);
            }
            Action::Begin if stage != Stage::Fail => self.begun(process, stage),
            Action::Commit => self.committing(process, stage)?,
            // A transaction whose commit nobody asked for is not committed, however its abort went.
            Action::Abort => drop(self.open_transaction.remove(&process)),
            Action::Kill => self.kills += 1,
            Action::Poll { .. } | Action::Read(_) | Action::Begin | Action::Start => {}
        }
        Ok(())
    }

    fn impossible(&self, what: impl Into<String>) -> HistoryError {
        HistoryError { line: self.line, what: what.into() }
    }

    fn partition(&mut self, name: &str) -> PartitionIndex {
        if let Some(index) = self.partition_index.get(name) {
            return *index;
        }
        self.partitions.push(name.to_owned());
        self.partition_index.insert(name.to_owned(), self.partitions.len() - 1);
        self.partitions.len() - 1
    }

    fn by_index(&mut self, offsets: BTreeMap<String, Offset>) -> Vec<(PartitionIndex, Offset)> {
        offsets.into_iter().map(|(name, offset)| (self.partition(&name), offset)).collect()
    }

    fn sent(
        &mut self,
        op: u64,
        process: u64,
        partition: PartitionIndex,
        (values, copies): (Vec<Value>, Vec<Value>),
    ) -> Result<(), HistoryError> {
        if !copies.is_empty() && copies.len() != values.len() {
            return Err(self.impossible(format!("{} values, copies of {}", values.len(), copies.len())));
        }
        let index = self.sends.len();
        for value in &values {
            if self.send_of.insert(*value, index).is_some() {
                return Err(self.impossible(format!("value {value} is sent a second time")));
            }
        }
        if self.send_by_op.insert(op, index).is_some() {
            return Err(self.impossible(format!("op {op} is invoked a second time")));
        }
        let transaction = self.open_transaction.get(&process).copied();
        self.sends.push(Send {
            process,
            partition,
            values,
            copies,
            invoked_at: self.line,
            outcome: Stage::Invoke,
            offset: None,
            transaction,
        });
        Ok(())
    }

    fn answered(&mut self, op: u64, stage: Stage, offset: Option<Offset>) -> Result<(), HistoryError> {
        let index = self.send_by_op.get(&op).copied();
        let index = index.ok_or_else(|| self.impossible(format!("op {op} was never invoked")))?;
        let send = &mut self.sends[index];
        (send.outcome, send.offset) = (stage, offset);
        Ok(())
    }

    fn begun(&mut self, process: u64, stage: Stage) {
        // Invocation and outcome may both be there: the outcome begins nothing new.
        let open = self.open_transaction.get(&process).map(|open| &self.transactions[*open]);
        if stage == Stage::Invoke || open.is_none_or(|open| open.commit_invoked_at.is_some()) {
            self.open_transaction.insert(process, self.transactions.len());
            self.transactions.push(Transaction::default());
        }
    }

    fn committing(&mut self, process: u64, stage: Stage) -> Result<(), HistoryError> {
        let open = self.open_transaction.get(&process).copied();
        let open =
            open.ok_or_else(|| self.impossible(format!("process {process} has no open transaction")))?;
        let transaction = &mut self.transactions[open];
        if stage == Stage::Invoke {
            transaction.commit_invoked_at.get_or_insert(self.line);
        } else {
            transaction.commit = Some((self.line, stage));
            self.open_transaction.remove(&process);
        }
        Ok(())
    }

    fn polled(&mut self, process: u64, isolation: Isolation, records: BTreeMap<String, Vec<Run>>) {
        for (partition, runs) in records {
            let partition = self.partition(&partition);
            let ride = *self.current_ride.entry((process, partition)).or_insert_with(|| {
                self.rides.push(Ride { process, partition, isolation, offsets: Vec::new() });
                self.rides.len() - 1
            });
            for (offset, value) in runs.iter().flat_map(places) {
                self.rides[ride].offsets.push(offset);
                self.polled += 1;
                self.see(partition, offset, value, isolation);
            }
        }
    }

    fn read(&mut self, read: FullRead) {
        let partition = self.partition(&read.partition);
        for (offset, value) in read.records.iter().flat_map(places) {
            self.read += 1;
            self.see(partition, offset, value, read.isolation);
        }
        self.trims.started(partition, read.start);
        self.reads.push((partition, read));
    }

    /// A value that is seen again in its place says nothing new: full reads repeat all that was read before.
    fn see(&mut self, partition: PartitionIndex, offset: Offset, value: Value, isolation: Isolation) {
        let place = (partition, offset);
        let first = self.first_seen.entry(value).or_insert(FirstSeen { place, by: [false; 2] });
        let by = &mut first.by[usize::from(isolation == Isolation::ReadCommitted)];
        if first.place == place && std::mem::replace(by, true) {
            return;
        }
        self.seen.push(Seen { partition, offset, value, isolation, line: self.line });
        if isolation == Isolation::ReadCommitted
            && let Some(transaction) = self.send_of.get(&value).and_then(|send| self.sends[*send].transaction)
        {
            self.transactions[transaction].seen_committed = true;
        }
    }

    /// The last full read of each partition with that isolation.
    pub(super) fn last_reads(&self, isolation: Isolation) -> BTreeMap<PartitionIndex, &FullRead> {
        let reads = self.reads.iter().filter(|(_, read)| read.isolation == isolation);
        reads.map(|(partition, read)| (*partition, read)).collect()
    }

    /// Partitions whose records may be missing by design.
    pub(super) fn compacted(&self) -> BTreeSet<PartitionIndex> {
        self.reads.iter().filter(|(_, read)| read.compacted).map(|(partition, _)| *partition).collect()
    }

    pub(super) fn fate(&self, send: &Send) -> Fate {
        match send.transaction {
            None => Fate::Committed,
            Some(transaction) => self.transactions[transaction].fate(),
        }
    }

    /// Every value that anybody was served, by offset.
    pub(super) fn known_values(&self) -> BTreeMap<PartitionIndex, BTreeSet<(Offset, Value)>> {
        let mut known: BTreeMap<PartitionIndex, BTreeSet<(Offset, Value)>> = BTreeMap::new();
        for seen in &self.seen {
            known.entry(seen.partition).or_default().insert((seen.offset, seen.value));
        }
        known
    }

    /// Whether such a reader must be given the value.
    pub(super) fn is_visible(&self, isolation: Isolation, value: Value) -> bool {
        let Some(send) = self.send_of.get(&value).map(|index| &self.sends[*index]) else { return false };
        match isolation {
            Isolation::ReadUncommitted => true,
            Isolation::ReadCommitted => self.fate(send) == Fate::Committed,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let values = |outcomes: &[Stage]| {
            let sends = self.sends.iter().filter(|send| outcomes.contains(&send.outcome));
            sends.map(|send| send.values.len() as u64).sum()
        };
        let fates = |fate| self.transactions.iter().filter(|t| t.fate() == fate).count() as u64;
        let copies = self.sends.iter().filter(|send| self.fate(send) == Fate::Committed);
        Counts {
            sent: self.send_of.len() as u64,
            acknowledged: values(&[Stage::Ok]),
            unknown: values(&[Stage::Info, Stage::Invoke]),
            polled: self.polled,
            read: self.read,
            committed: fates(Fate::Committed),
            aborted: fates(Fate::NotCommitted),
            copied: copies.map(|send| send.copies.len() as u64).sum(),
            offsets: self.groups.acknowledged(),
            kills: self.kills,
        }
    }
}

/// Each value of a run with its offset.
pub(super) fn places(run: &Run) -> impl Iterator<Item = (Offset, Value)> {
    (run.0..).zip(run.1.iter().copied())
}
