//! An idempotent producer: up to five batches per partition under way, repeated over every crash of
//! the node until each is acknowledged.

use std::collections::HashMap;

use anyhow::{Result, bail};
use bytes::Bytes;
use highwater_env::{Entropy, SeededEntropy};

use super::TOPIC;
use super::client::{Connection, Produced, ProducerId, code};
use super::records::encode;
use super::stage::{Stage, partition_name};
use super::transactional::Identity;
use crate::history::{Action, Stage as Outcome, Value};

/// As many as Kafka allows an idempotent producer.
const IN_FLIGHT_MAX: u64 = 5;
/// Of a thousand windows, how many are a session's last.
const NEW_SESSION_OF_1000: u64 = 10;
/// Of a hundred broken connections, how many end the session, its batches' fate unknown.
const GIVE_UP_OF_100: u64 = 20;
const PAUSE_MS_MAX: u64 = 25;
const RETRY_MS: u64 = 10;
/// Answers "try again" in a row after which something is wrong.
const RETRIES_MAX: u32 = 2_000;

/// One batch sent until it is acknowledged.
pub(super) struct Batch {
    pub(super) op: u64,
    pub(super) partition: i32,
    pub(super) bytes: Bytes,
}

/// A producer with one identity.
pub(super) struct Session {
    pub(super) topic: &'static str,
    pub(super) process: u64,
    pub(super) producer: ProducerId,
    /// The next sequence, by partition.
    sequences: HashMap<i32, i32>,
    transactional: Option<Identity>,
}

impl Session {
    pub(super) fn new(stage: &Stage, producer: ProducerId, transactional: Option<Identity>) -> Self {
        let topic = transactional.as_ref().map_or(TOPIC, |identity| identity.topic);
        Self { topic, process: stage.new_process(), producer, sequences: HashMap::new(), transactional }
    }

    pub(super) fn transactional_id(&self) -> Option<&str> {
        self.transactional.as_ref().map(|identity| &identity.id[..])
    }

    /// Whether it speaks the second version of transactions.
    pub(super) fn is_second(&self) -> bool {
        self.transactional.as_ref().is_some_and(|identity| identity.second)
    }

    /// Where the epoch is new, sequences begin anew.
    pub(super) fn go_on_as(&mut self, producer: ProducerId) {
        if self.producer != producer {
            self.producer = producer;
            self.sequences.clear();
        }
    }

    /// A batch of fresh values, written down as about to be sent.
    pub(super) fn batch(&mut self, stage: &Stage, entropy: &SeededEntropy, partition: i32) -> Result<Batch> {
        let values = stage.new_values(entropy);
        self.batch_of(stage, partition, &values, Vec::new())
    }

    /// A batch of copies of these values, written down as about to be sent.
    pub(super) fn copies(&mut self, stage: &Stage, partition: i32, of: Vec<Value>) -> Result<Batch> {
        let values = stage.new_small_values(of.len());
        self.batch_of(stage, partition, &values, of)
    }

    fn batch_of(
        &mut self,
        stage: &Stage,
        partition: i32,
        values: &[(Value, usize)],
        copies: Vec<Value>,
    ) -> Result<Batch> {
        let sequence = self.sequences.entry(partition).or_insert(0);
        let bytes = encode(stage.now_ms(), self.producer, *sequence, self.transactional.is_some(), values);
        *sequence = sequence.wrapping_add(i32::try_from(values.len())?) & i32::MAX;
        let op = stage.new_op();
        let values: Vec<Value> = values.iter().map(|(value, _)| *value).collect();
        let name = partition_name(self.topic, partition);
        let send = Action::Send { partition: name, values, copies, offset: None };
        stage.record(op, self.process, Outcome::Invoke, send)?;
        Ok(Batch { op, partition, bytes })
    }

    /// Writes down what became of a batch.
    pub(super) fn settle(
        &self,
        stage: &Stage,
        batch: &Batch,
        outcome: Outcome,
        offset: Option<i64>,
    ) -> Result<()> {
        let partition = partition_name(self.topic, batch.partition);
        let send = Action::Send { partition, values: Vec::new(), copies: Vec::new(), offset };
        stage.record(batch.op, self.process, outcome, send)
    }

    /// Settles what the answer acknowledges, and keeps what must be sent again, in order.
    pub(super) fn settle_answered(
        &self,
        stage: &Stage,
        request: &mut Vec<Batch>,
        answers: &[Produced],
    ) -> Result<()> {
        let mut again = Vec::new();
        for batch in request.drain(..) {
            let answer = answers.iter().find(|answer| answer.partition == batch.partition);
            match answer.map(|answer| (answer.code, answer.offset)) {
                Some((code::NONE, offset)) => self.settle(stage, &batch, Outcome::Ok, Some(offset))?,
                Some((code::DUPLICATE_SEQUENCE_NUMBER, _)) => {
                    self.settle(stage, &batch, Outcome::Ok, None)?
                }
                Some((code, _)) if code::RETRIABLE.contains(&code) => again.push(batch),
                Some((code, _)) => bail!("{} was refused: error code {code}", describe(&batch)),
                None => bail!("{} has no answer", describe(&batch)),
            }
        }
        *request = again;
        Ok(())
    }
}

fn describe(batch: &Batch) -> String {
    format!("op {} to partition {}", batch.op, batch.partition)
}

/// Produces until it is time to end.
pub(super) fn run(stage: &Stage) -> Result<()> {
    let entropy = stage.entropy();
    let mut session = None;
    let mut connection = None;
    while stage.may_go() {
        if session.is_none() || entropy.below(1000) < NEW_SESSION_OF_1000 {
            session = begin(stage, &mut connection)?;
        }
        let Some(current) = &mut session else { continue };
        let window = window(stage, &entropy, current)?;
        if !deliver(stage, &entropy, current, window, &mut connection)? {
            session = None;
        }
        stage.pause_ms(entropy.below(PAUSE_MS_MAX));
    }
    Ok(())
}

/// A new producer id; None if the node is gone meanwhile.
fn begin(stage: &Stage, connection: &mut Option<Connection>) -> Result<Option<Session>> {
    let Some(mut open) = connection.take().or_else(|| stage.connect()) else { return Ok(None) };
    match open.init_producer(None) {
        Ok(Ok(producer)) => {
            *connection = Some(open);
            Ok(Some(Session::new(stage, producer, None)))
        }
        Ok(Err(code)) => bail!("no producer id: error code {code}"),
        Err(_) => Ok(None),
    }
}

/// Requests to have under way together, each with a batch for some partitions.
pub(super) fn window(
    stage: &Stage,
    entropy: &SeededEntropy,
    session: &mut Session,
) -> Result<Vec<Vec<Batch>>> {
    let partitions: Vec<i32> = (0..stage.partitions).filter(|_| entropy.below(3) == 0).collect();
    let requests = 1 + entropy.below(IN_FLIGHT_MAX);
    (0..requests)
        .map(|_| {
            let batch = |partition: &i32| session.batch(stage, entropy, *partition);
            partitions.iter().map(batch).collect::<Result<Vec<_>>>()
        })
        .filter(|request| request.as_ref().map_or(true, |batches| !batches.is_empty()))
        .collect()
}

/// Sends until all is acknowledged; false if the session was given up.
pub(super) fn deliver(
    stage: &Stage,
    entropy: &SeededEntropy,
    session: &Session,
    mut window: Vec<Vec<Batch>>,
    connection: &mut Option<Connection>,
) -> Result<bool> {
    let mut retries = 0;
    while !window.is_empty() {
        let Some(mut open) = connection.take().or_else(|| stage.connect()) else {
            return give_up(stage, session, window);
        };
        match attempt(stage, session, &mut window, &mut open)? {
            Link::Kept => {
                *connection = Some(open);
                retries += 1;
                if retries > RETRIES_MAX {
                    bail!("{} requests are refused again and again", window.len());
                }
                if !window.is_empty() {
                    stage.pause_ms(RETRY_MS);
                }
            }
            Link::Broken if entropy.below(100) < GIVE_UP_OF_100 => return give_up(stage, session, window),
            Link::Broken => retries = 0,
        }
    }
    Ok(true)
}

fn give_up(stage: &Stage, session: &Session, window: Vec<Vec<Batch>>) -> Result<bool> {
    for batch in window.iter().flatten() {
        session.settle(stage, batch, Outcome::Info, None)?;
    }
    Ok(false)
}

/// How a connection came out of an attempt.
enum Link {
    Kept,
    Broken,
}

/// Sends the whole window, reads all answers; what is left must be sent again.
fn attempt(
    stage: &Stage,
    session: &Session,
    window: &mut Vec<Vec<Batch>>,
    connection: &mut Connection,
) -> Result<Link> {
    let second = session.is_second();
    let mut sent = 0;
    for request in window.iter() {
        let batches: Vec<(i32, &[u8])> =
            request.iter().map(|batch| (batch.partition, &batch.bytes[..])).collect();
        let body = Connection::produce_body(second, session.transactional_id(), session.topic, &batches);
        if connection.send_produce(&body).is_err() {
            break;
        }
        sent += 1;
    }
    let mut link = if sent == window.len() { Link::Kept } else { Link::Broken };
    for request in &mut window[..sent] {
        let Ok(answers) = connection.receive_produce(second) else {
            link = Link::Broken;
            break;
        };
        session.settle_answered(stage, request, &answers)?;
    }
    window.retain(|request| !request.is_empty());
    Ok(link)
}
