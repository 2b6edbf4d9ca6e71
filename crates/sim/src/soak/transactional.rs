//! A transactional producer: commits or aborts over every crash of the node, in Kafka's first or second
//! version of transactions (KIP-98, KIP-890). Now and then it is taken over while one is open, and now
//! and then its predecessor wakes up and writes.

use anyhow::{Context, Result, bail};
use highwater_env::{Entropy, SeededEntropy};

use super::client::{Connection, code};
use super::producer::{Session, deliver, window};
use super::stage::Stage;
use crate::history::{Action, Stage as Outcome};

/// Of a hundred transactions, how many are committed, and how many are left open by a producer that
/// is gone; the rest is aborted.
const COMMITTED_OF_100: u64 = 70;
const ABANDONED_OF_100: u64 = 3;
/// Of a hundred broken connections while a transaction ends, how many end the session.
const GIVE_UP_OF_100: u64 = 30;
/// Of a hundred new sessions, after how many the old one tries to write.
const ZOMBIES_OF_100: u64 = 20;
const WINDOWS_MAX: u64 = 3;
const PAUSE_MS_MAX: u64 = 25;
const RETRY_MS: u64 = 10;
const RETRIES_MAX: u32 = 2_000;

/// Whose transactions, where to, in which version of the protocol.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) id: String,
    pub(super) topic: &'static str,
    /// The second version: Produce adds partitions, EndTxn raises the epoch.
    pub(super) second: bool,
}

/// Produces until it is time to end.
pub(super) fn run(stage: &Stage, identity: &Identity) -> Result<()> {
    let entropy = stage.entropy();
    let mut connection = None;
    let mut session: Option<Session> = None;
    let mut before: Option<Session> = None;
    loop {
        // Before it rests: what a session that is gone left open would hold up readers.
        if session.is_none() {
            let Some(new) = begin(stage, identity, &mut connection)? else { return Ok(()) };
            if let Some(zombie) = before.take()
                && entropy.below(100) < ZOMBIES_OF_100
            {
                write_as_zombie(stage, &entropy, zombie, &mut connection)?;
            }
            session = Some(new);
        }
        if !stage.may_go() {
            return Ok(());
        }
        let Some(mut current) = session.take() else { continue };
        match transact(stage, &entropy, &mut current, &mut connection)? {
            Ended::Yes => session = Some(current),
            Ended::Unknown => before = Some(current),
        }
        stage.pause_ms(entropy.below(PAUSE_MS_MAX));
    }
}

/// Takes the id over; what was open under it is aborted. None when it is time to end.
pub(super) fn begin(
    stage: &Stage,
    identity: &Identity,
    connection: &mut Option<Connection>,
) -> Result<Option<Session>> {
    for _ in 0..RETRIES_MAX {
        let Some(mut open) = connection.take().or_else(|| stage.connect()) else { return Ok(None) };
        let Ok(answer) = open.init_producer(Some(&identity.id)) else { continue };
        *connection = Some(open);
        match answer {
            Ok(producer) => return Ok(Some(Session::new(stage, producer, Some(identity.clone())))),
            Err(code) if code::RETRIABLE.contains(&code) => stage.pause_ms(RETRY_MS),
            Err(code) => bail!("{} is not initialised: error code {code}", identity.id),
        }
    }
    bail!("{} is not initialised after {RETRIES_MAX} attempts", identity.id)
}

/// Whether a transaction came to its end.
pub(super) enum Ended {
    Yes,
    /// The session is given up.
    Unknown,
}

fn transact(
    stage: &Stage,
    entropy: &SeededEntropy,
    session: &mut Session,
    connection: &mut Option<Connection>,
) -> Result<Ended> {
    stage.record(stage.new_op(), session.process, Outcome::Ok, Action::Begin)?;
    let mut added: Vec<i32> = Vec::new();
    for _ in 0..=entropy.below(WINDOWS_MAX) {
        let window = window(stage, entropy, session)?;
        let partitions: Vec<i32> = window.iter().flatten().map(|batch| batch.partition).collect();
        added.extend(&partitions);
        if !session.is_second() && !add_partitions(stage, session, &partitions, connection)? {
            window
                .iter()
                .flatten()
                .try_for_each(|batch| session.settle(stage, batch, Outcome::Info, None))?;
            return Ok(Ended::Unknown);
        }
        if !deliver(stage, entropy, session, window, connection)? {
            return Ok(Ended::Unknown);
        }
    }
    if entropy.below(100) < ABANDONED_OF_100 {
        return Ok(Ended::Unknown);
    }
    if added.is_empty() {
        // Nothing to end: the next transaction begins in this one's place.
        stage.record(stage.new_op(), session.process, Outcome::Ok, Action::Abort)?;
        return Ok(Ended::Yes);
    }
    let commit = entropy.below(100) < COMMITTED_OF_100;
    end(stage, entropy, session, commit, connection)
}

/// Adds partitions to the transaction, as the first version does; false if the node is gone for good.
pub(super) fn add_partitions(
    stage: &Stage,
    session: &Session,
    partitions: &[i32],
    connection: &mut Option<Connection>,
) -> Result<bool> {
    let mut partitions = partitions.to_vec();
    partitions.sort_unstable();
    partitions.dedup();
    if partitions.is_empty() {
        return Ok(true);
    }
    let id = session.transactional_id().context("a transactional producer has an id")?;
    for _ in 0..RETRIES_MAX {
        let Some(mut open) = connection.take().or_else(|| stage.connect()) else { return Ok(false) };
        let Ok(codes) = open.add_partitions(id, session.producer, session.topic, &partitions) else {
            continue;
        };
        *connection = Some(open);
        match codes.into_iter().find(|code| *code != code::NONE) {
            None => return Ok(true),
            Some(code) if code::RETRIABLE.contains(&code) => stage.pause_ms(RETRY_MS),
            Some(code) => bail!("{id}: partitions are not added: error code {code}"),
        }
    }
    bail!("{id}: partitions are not added after {RETRIES_MAX} attempts")
}

/// Commits or aborts, asking again over every crash.
pub(super) fn end(
    stage: &Stage,
    entropy: &SeededEntropy,
    session: &mut Session,
    commit: bool,
    connection: &mut Option<Connection>,
) -> Result<Ended> {
    let action = if commit { Action::Commit } else { Action::Abort };
    let op = stage.new_op();
    stage.record(op, session.process, Outcome::Invoke, action.clone())?;
    let id = session.transactional_id().context("a transactional producer has an id")?.to_owned();
    for _ in 0..RETRIES_MAX {
        let Some(mut open) = connection.take().or_else(|| stage.connect()) else { break };
        let Ok(ended) = open.end_transaction(&id, session.producer, commit, session.is_second()) else {
            if entropy.below(100) < GIVE_UP_OF_100 {
                break;
            }
            continue;
        };
        *connection = Some(open);
        match ended {
            Ok(producer) => {
                stage.record(op, session.process, Outcome::Ok, action)?;
                session.go_on_as(producer);
                return Ok(Ended::Yes);
            }
            Err(code) if code::RETRIABLE.contains(&code) => stage.pause_ms(RETRY_MS),
            Err(code) => bail!("{id}: {action:?} is refused: error code {code}"),
        }
    }
    stage.record(op, session.process, Outcome::Info, action)?;
    Ok(Ended::Unknown)
}

/// A session that was taken over writes all the same. What becomes of it is for the checker to judge:
/// it belongs to a transaction that nobody commits.
fn write_as_zombie(
    stage: &Stage,
    entropy: &SeededEntropy,
    mut zombie: Session,
    connection: &mut Option<Connection>,
) -> Result<()> {
    zombie.process = stage.new_process();
    stage.record(stage.new_op(), zombie.process, Outcome::Ok, Action::Begin)?;
    let partition = stage.some_partition(entropy);
    let batch = zombie.batch(stage, entropy, partition)?;
    let Some(mut open) = connection.take().or_else(|| stage.connect()) else { return Ok(()) };
    let second = zombie.is_second();
    let batches = [(partition, &batch.bytes[..])];
    let body = Connection::produce_body(second, zombie.transactional_id(), zombie.topic, &batches);
    let answered = open.send_produce(&body).and_then(|()| open.receive_produce(second));
    let Ok(answers) = answered else { return zombie.settle(stage, &batch, Outcome::Info, None) };
    *connection = Some(open);
    let answer = answers.first().context("an answer without a partition")?;
    match answer.code {
        code::NONE => bail!("{:?} writes although it was taken over", zombie.transactional_id()),
        _ => zombie.settle(stage, &batch, Outcome::Fail, None),
    }
}
