//! Consumers: one that polls while the node is killed under it, and full reads while nobody writes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use highwater_env::{Entropy, Offset, SeededEntropy};

use super::TOPIC;
use super::client::{Connection, Fetched, code};
use super::records::{Decoded, decode};
use super::stage::{Stage, partition_name};
use crate::history::{Action, FullRead, Isolation, Run, Stage as Outcome, Value};

/// Of a thousand polls, how many are a session's last; the next one begins elsewhere.
const NEW_SESSION_OF_1000: u64 = 5;
const WAIT_MS: i32 = 100;
const PAUSE_MS_MAX: u64 = 40;
/// The director and full reads.
pub(super) const DIRECTOR: u64 = 0;

fn is_committed(isolation: Isolation) -> bool {
    isolation == Isolation::ReadCommitted
}

/// Where a consumer reads on, by partition.
pub(super) type Positions = BTreeMap<i32, Offset>;

/// Polls until it is time to end.
pub(super) fn run(stage: &Stage, isolation: Isolation) -> Result<()> {
    let entropy = stage.entropy();
    let mut process = stage.new_process();
    let mut positions: Positions = (0..stage.partitions).map(|p| (p, 0)).collect();
    let mut connection = None;
    while stage.may_go() {
        if entropy.below(1000) < NEW_SESSION_OF_1000 {
            process = stage.new_process();
            positions.values_mut().for_each(|position| *position = somewhat_before(*position, &entropy));
        }
        poll(stage, process, isolation, &mut positions, &mut connection)?;
        stage.pause_ms(entropy.below(PAUSE_MS_MAX));
    }
    Ok(())
}

/// One poll of the soak's topic, written down: what was given, by partition. Nothing if the node is gone.
pub(super) fn poll(
    stage: &Stage,
    process: u64,
    isolation: Isolation,
    positions: &mut Positions,
    connection: &mut Option<Connection>,
) -> Result<BTreeMap<i32, Vec<Value>>> {
    let from: Vec<(i32, Offset)> = positions.iter().map(|(p, offset)| (*p, *offset)).collect();
    // An error means that the node is gone; poll it again once it is there.
    let fetched = stage.ask(connection, |open| open.fetch(TOPIC, &from, is_committed(isolation), WAIT_MS));
    let (mut records, mut given) = (BTreeMap::new(), BTreeMap::new());
    for part in fetched.unwrap_or_default() {
        let position = positions.get_mut(&part.partition).context("a partition nobody asked for")?;
        if part.code == code::OFFSET_OUT_OF_RANGE {
            // Deleted by the trimmer meanwhile.
            let earliest = stage.ask(connection, |open| open.earliest_offset(TOPIC, part.partition));
            let Some(earliest) = earliest else { continue };
            ensure!(earliest > *position, "offset {position} is refused, the partition begins at {earliest}");
            *position = earliest;
            continue;
        }
        let decoded = decode_checked(&part, *position, isolation)?;
        *position = decoded.next;
        if !decoded.runs.is_empty() {
            given.insert(part.partition, decoded.runs.iter().flat_map(|run| run.1.clone()).collect());
            records.insert(partition_name(TOPIC, part.partition), decoded.runs);
        }
    }
    if !records.is_empty() {
        stage.record(stage.new_op(), process, Outcome::Ok, Action::Poll { isolation, records })?;
    }
    Ok(given)
}

/// Up to a thousand offsets back: a whole history read again and again would drown the rest.
fn somewhat_before(position: Offset, entropy: &SeededEntropy) -> Offset {
    position.saturating_sub(entropy.below(1000).cast_signed()).max(0)
}

fn decode_checked(part: &Fetched, from: Offset, isolation: Isolation) -> Result<Decoded> {
    let Fetched { partition, code, high_watermark, .. } = part;
    ensure!(*code == code::NONE, "fetch of partition {partition} from {from}: error code {code}");
    let decoded = decode(part, from, is_committed(isolation))
        .with_context(|| format!("fetch of partition {partition} from {from}"))?;
    ensure!(decoded.next <= *high_watermark, "partition {partition} serves beyond its high watermark");
    Ok(decoded)
}

/// Reads every partition of a topic from its start to its end, for both kinds of readers, into the
/// history. Nobody may write meanwhile.
///
/// # Errors
/// If the node is not there, or what it serves cannot be.
pub(super) fn read_all(stage: &Stage, topic: &str) -> Result<()> {
    let mut connection = stage.connect().context("the node is gone")?;
    for partition in 0..stage.partitions {
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let read = read_partition(&mut connection, topic, partition, isolation)?;
            stage.record(stage.new_op(), DIRECTOR, Outcome::Ok, Action::Read(read))?;
        }
    }
    Ok(())
}

fn read_partition(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    isolation: Isolation,
) -> Result<FullRead> {
    let (mut records, mut controls): (Vec<Run>, Vec<Offset>) = (Vec::new(), Vec::new());
    let mut next = connection.earliest_offset(topic, partition)?;
    loop {
        let fetched = connection.fetch(topic, &[(partition, next)], is_committed(isolation), 0)?;
        let part = fetched.first().context("an answer without the partition")?;
        let decoded = decode_checked(part, next, isolation)?;
        let end = if is_committed(isolation) { part.last_stable_offset } else { part.high_watermark };
        let is_end = decoded.next == next;
        if is_end && next != end {
            bail!("partition {partition} serves {isolation:?} up to {next}, its end is {end}");
        }
        if is_end {
            let (partition, start) = (partition_name(topic, partition), part.log_start_offset);
            return Ok(FullRead { partition, isolation, start, end, records, controls, compacted: false });
        }
        next = decoded.next;
        records.extend(decoded.runs);
        controls.extend(decoded.controls);
    }
}
