//! Consume, transform, produce: a member of a group that copies what it reads to another topic, in one
//! transaction with its offsets. Each value has one copy in the end, whatever was killed and when.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use highwater_env::{Entropy, SeededEntropy};

use super::TOPIC;
use super::client::{Connection, code};
use super::member::Member;
use super::producer::{Session, deliver};
use super::reader::leave;
use super::stage::Stage;
use super::transactional::{Ended, Identity, add_partitions, begin, end};
use crate::history::{Action, Stage as Outcome, Value};

/// The group of all copiers.
pub(super) const COPIERS: &str = "soak-copiers";
/// Of a hundred transactions, how many are committed, and how many are left open by one that is gone.
const COMMITTED_OF_100: u64 = 85;
const ABANDONED_OF_100: u64 = 3;
/// Of a hundred commits of offsets, how many come from one that has left the group.
const LEAVES_OF_100: u64 = 3;
/// Of a hundred broken connections while offsets are committed, how many end the session.
const GIVE_UP_OF_100: u64 = 30;
const PAUSE_MS_MAX: u64 = 25;
const RETRY_MS: u64 = 10;
const RETRIES_MAX: u32 = 2_000;

/// Copies until it is time to end.
pub(super) fn run(stage: &Stage, identity: &Identity) -> Result<()> {
    let entropy = stage.entropy();
    let mut connection = None;
    let mut member = Member::new(COPIERS);
    let mut session: Option<Session> = None;
    loop {
        // Before it rests: what a session that is gone left open would hold up readers.
        let mut current = match session.take() {
            Some(current) => current,
            None => {
                member.forget_positions();
                let Some(new) = begin(stage, identity, &mut connection)? else { return Ok(()) };
                new
            }
        };
        if !stage.may_go() {
            return Ok(());
        }
        let given = member.poll(stage, current.process, &mut connection)?;
        let ended = match given.is_empty() {
            true => Ended::Yes,
            false => copy(stage, &entropy, &mut current, &mut member, given, &mut connection)?,
        };
        if matches!(ended, Ended::Yes) {
            session = Some(current);
        }
        stage.pause_ms(entropy.below(PAUSE_MS_MAX));
    }
}

/// One transaction: copies of what was given, and the offsets behind it.
fn copy(
    stage: &Stage,
    entropy: &SeededEntropy,
    session: &mut Session,
    member: &mut Member,
    given: BTreeMap<i32, Vec<Value>>,
    connection: &mut Option<Connection>,
) -> Result<Ended> {
    stage.record(stage.new_op(), session.process, Outcome::Ok, Action::Begin)?;
    let partitions: Vec<i32> = given.keys().copied().collect();
    let batches = given.into_iter().map(|(partition, values)| session.copies(stage, partition, values));
    let window = vec![batches.collect::<Result<Vec<_>>>()?];
    if !session.is_second() && !add_partitions(stage, session, &partitions, connection)? {
        window.iter().flatten().try_for_each(|batch| session.settle(stage, batch, Outcome::Info, None))?;
        return Ok(Ended::Unknown);
    }
    if !deliver(stage, entropy, session, window, connection)? {
        return Ok(Ended::Unknown);
    }
    let Some(committed) = commit_offsets(stage, entropy, session, member, connection)? else {
        return Ok(Ended::Unknown);
    };
    if entropy.below(100) < ABANDONED_OF_100 {
        return Ok(Ended::Unknown);
    }
    let commit = committed && entropy.below(100) < COMMITTED_OF_100;
    if !commit {
        member.forget_positions();
    }
    end(stage, entropy, session, commit, connection)
}

/// Commits the offsets in the transaction: whether they were taken. None if the session is given up.
fn commit_offsets(
    stage: &Stage,
    entropy: &SeededEntropy,
    session: &Session,
    member: &mut Member,
    connection: &mut Option<Connection>,
) -> Result<Option<bool>> {
    let commit = member.committing(stage, session.process)?;
    let commit = commit.context("who was given something has a new position")?;
    let id = session.transactional_id().context("a transactional producer has an id")?;
    let mut left = entropy.below(100) < LEAVES_OF_100 && leave(stage, member, connection);
    for _ in 0..RETRIES_MAX {
        let code = stage.ask(connection, |open| {
            if !session.is_second() {
                let code = open.add_offsets(id, session.producer, member.claim().group)?;
                if code != code::NONE {
                    return Ok(code);
                }
            }
            let producer = (id, session.producer, session.is_second());
            open.commit_offsets_in_transaction(producer, member.claim(), TOPIC, &commit.offsets)
        });
        match code {
            Some(code::NONE) if left => bail!("{id} commits offsets although it left the group"),
            Some(code::NONE) => {
                member.committed(stage, session.process, commit, Outcome::Ok)?;
                return Ok(Some(true));
            }
            Some(code::UNKNOWN_MEMBER_ID | code::ILLEGAL_GENERATION | code::REBALANCE_IN_PROGRESS) => {
                member.committed(stage, session.process, commit, Outcome::Fail)?;
                member.heed("commit", code)?;
                return Ok(Some(false));
            }
            Some(code) if code::RETRIABLE.contains(&code) => stage.pause_ms(RETRY_MS),
            Some(code) => bail!("{id}: offsets are refused: error code {code}"),
            None if entropy.below(100) < GIVE_UP_OF_100 => {
                member.committed(stage, session.process, commit, Outcome::Info)?;
                return Ok(None);
            }
            // A node that was killed in between takes members back.
            None => left = false,
        }
    }
    bail!("{id}: offsets are not committed after {RETRIES_MAX} attempts")
}
