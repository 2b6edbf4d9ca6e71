//! A member of a consumer group: joins, keeps its place over the crashes of the node or loses it, and reads
//! on where its group has committed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use highwater_env::Offset;

use super::TOPIC;
use super::client::{Connection, code};
use super::consumer::{self, Positions};
use super::group_client::Claim;
use super::stage::{Stage, partition_name};
use crate::history::{Action, Isolation, Stage as Outcome, Value};

const RETRY_MS: u64 = 10;

/// A member, or one that is about to join.
pub(super) struct Member {
    group: &'static str,
    id: String,
    generation: i32,
    /// What its generation's leader assigned to it; none while it has no place in a generation.
    partitions: Option<Vec<i32>>,
    /// Where to read on; none until it is known what its group has committed.
    positions: Option<Positions>,
    /// What its group has committed, as far as it knows.
    committed: Positions,
}

/// A commit of offsets that is written down as asked for.
pub(super) struct Committing {
    op: u64,
    pub(super) offsets: Vec<(i32, Offset)>,
}

impl Member {
    pub(super) fn new(group: &'static str) -> Self {
        let (id, committed) = (String::new(), Positions::new());
        Self { group, id, generation: -1, partitions: None, positions: None, committed }
    }

    pub(super) fn claim(&self) -> Claim<'_> {
        Claim { group: self.group, generation: self.generation, member_id: &self.id }
    }

    /// It must ask what its group has committed before it reads on.
    pub(super) fn forget_positions(&mut self) {
        self.positions = None;
    }

    /// Polls as a member; nothing if it must wait for its place or has nothing to read.
    pub(super) fn poll(
        &mut self,
        stage: &Stage,
        process: u64,
        connection: &mut Option<Connection>,
    ) -> Result<BTreeMap<i32, Vec<Value>>> {
        if !self.is_ready(stage, process, connection)? {
            stage.pause_ms(RETRY_MS);
            return Ok(BTreeMap::new());
        }
        let positions = self.positions.as_mut().context("it was ready")?;
        if positions.is_empty() {
            return Ok(BTreeMap::new());
        }
        consumer::poll(stage, process, Isolation::ReadCommitted, positions, connection)
    }

    /// Gets a place and positions, or keeps them: one attempt.
    fn is_ready(&mut self, stage: &Stage, process: u64, connection: &mut Option<Connection>) -> Result<bool> {
        match self.partitions {
            None => self.join(stage, connection)?,
            Some(_) => {
                let code = stage.ask(connection, |open| open.heartbeat(self.claim()));
                self.heed("heartbeat", code)?;
            }
        }
        if self.partitions.is_some() && self.positions.is_none() {
            self.fetch_positions(stage, process, connection)?;
        }
        Ok(self.partitions.is_some() && self.positions.is_some())
    }

    fn join(&mut self, stage: &Stage, connection: &mut Option<Connection>) -> Result<()> {
        self.positions = None;
        let Some(joined) = stage.ask(connection, |open| open.join_group(self.group, &self.id)) else {
            return Ok(());
        };
        match joined.code {
            code::NONE => {}
            code::MEMBER_ID_REQUIRED => {
                self.id = joined.member_id;
                return Ok(());
            }
            code => return self.heed("join", Some(code)),
        }
        let assignments = match joined.leader == joined.member_id {
            true => assign(&joined.members, stage.partitions),
            false => Vec::new(),
        };
        (self.id, self.generation) = (joined.member_id, joined.generation);
        let synced = stage.ask(connection, |open| open.sync_group(self.claim(), &assignments));
        match synced {
            Some((code::NONE, assignment)) => self.partitions = Some(read_assignment(&assignment)?),
            Some((code, _)) => self.heed("sync", Some(code))?,
            None => {}
        }
        Ok(())
    }

    /// What a refusal means for its place; no answer means nothing.
    ///
    /// # Errors
    /// If there is no reason for the refusal.
    pub(super) fn heed(&mut self, what: &str, answered: Option<i16>) -> Result<()> {
        match answered {
            None | Some(code::NONE) => return Ok(()),
            Some(code::UNKNOWN_MEMBER_ID) => self.id.clear(),
            Some(code::ILLEGAL_GENERATION | code::REBALANCE_IN_PROGRESS) => {}
            Some(code) if code::RETRIABLE.contains(&code) => {}
            Some(code) => bail!("{what} of a member of {}: error code {code}", self.group),
        }
        (self.partitions, self.positions) = (None, None);
        Ok(())
    }

    fn fetch_positions(
        &mut self,
        stage: &Stage,
        process: u64,
        connection: &mut Option<Connection>,
    ) -> Result<()> {
        let partitions = self.partitions.clone().unwrap_or_default();
        let Some(found) = fetch_offsets(stage, process, self.group, &partitions, connection)? else {
            return Ok(());
        };
        let group = self.group.to_owned();
        stage.record(stage.new_op(), process, Outcome::Ok, Action::Assigned { group })?;
        self.committed = found.into_iter().map(|(partition, offset)| (partition, offset.max(0))).collect();
        self.positions = Some(self.committed.clone());
        Ok(())
    }

    /// Positions that are not committed yet, written down as about to be; none if all are.
    pub(super) fn committing(&self, stage: &Stage, process: u64) -> Result<Option<Committing>> {
        let positions = self.positions.iter().flatten();
        let is_new = |(partition, offset): &(&i32, &Offset)| self.committed.get(*partition) != Some(*offset);
        let offsets: Vec<(i32, Offset)> = positions.filter(is_new).map(|(p, offset)| (*p, *offset)).collect();
        if offsets.is_empty() {
            return Ok(None);
        }
        let op = stage.new_op();
        let action = Action::CommitOffsets { group: self.group.to_owned(), offsets: named(&offsets) };
        stage.record(op, process, Outcome::Invoke, action)?;
        Ok(Some(Committing { op, offsets }))
    }

    /// Writes down how a commit was answered.
    pub(super) fn committed(
        &mut self,
        stage: &Stage,
        process: u64,
        commit: Committing,
        outcome: Outcome,
    ) -> Result<()> {
        if outcome == Outcome::Ok {
            self.committed.extend(commit.offsets);
        }
        let action = Action::CommitOffsets { group: self.group.to_owned(), offsets: BTreeMap::new() };
        stage.record(commit.op, process, outcome, action)
    }
}

/// What a group has committed, written down. None if that cannot be told now.
pub(super) fn fetch_offsets(
    stage: &Stage,
    process: u64,
    group: &str,
    partitions: &[i32],
    connection: &mut Option<Connection>,
) -> Result<Option<Vec<(i32, Offset)>>> {
    let op = stage.new_op();
    let action = |offsets| Action::FetchOffsets { group: group.to_owned(), offsets };
    stage.record(op, process, Outcome::Invoke, action(BTreeMap::new()))?;
    match stage.ask(connection, |open| open.fetch_offsets(group, TOPIC, partitions)) {
        None => Ok(None),
        Some(Ok(found)) => {
            stage.record(op, process, Outcome::Ok, action(named(&found)))?;
            Ok(Some(found))
        }
        Some(Err(code::UNSTABLE_OFFSET_COMMIT)) => Ok(None),
        Some(Err(code)) if code::RETRIABLE.contains(&code) => Ok(None),
        Some(Err(code)) => bail!("offsets of {group} are not told: error code {code}"),
    }
}

fn named(offsets: &[(i32, Offset)]) -> BTreeMap<String, Offset> {
    offsets.iter().map(|(partition, offset)| (partition_name(TOPIC, *partition), *offset)).collect()
}

/// Each member's share of the partitions.
fn assign(members: &[String], partitions: i32) -> Vec<(String, Vec<u8>)> {
    let share = |(index, member): (usize, &String)| {
        let mine = (0..partitions).skip(index).step_by(members.len());
        (member.clone(), mine.flat_map(i32::to_be_bytes).collect())
    };
    members.iter().enumerate().map(share).collect()
}

fn read_assignment(bytes: &[u8]) -> Result<Vec<i32>> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    ensure!(rest.is_empty(), "an assignment of {} bytes is not ours", bytes.len());
    Ok(numbers.iter().map(|number| i32::from_be_bytes(*number)).collect())
}
