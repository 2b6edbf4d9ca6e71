//! Consumers: one that polls while the node is killed under it, and full reads while nobody writes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use highwater_env::{Entropy, Offset, SeededEntropy};

use super::client::{Connection, Fetched, code};
use super::records::{Decoded, decode};
use super::stage::Stage;
use crate::history::{Action, FullRead, Isolation, Run, Stage as Outcome};

/// Of a thousand polls, how many are a session's last; the next one begins elsewhere.
const NEW_SESSION_OF_1000: u64 = 5;
const WAIT_MS: i32 = 100;
const PAUSE_MS_MAX: u64 = 40;
/// The director and full reads.
pub(super) const DIRECTOR: u64 = 0;

fn is_committed(isolation: Isolation) -> bool {
    isolation == Isolation::ReadCommitted
}

/// Polls until it is time to end.
pub(super) fn run(stage: &Stage, isolation: Isolation) -> Result<()> {
    let entropy = stage.entropy();
    let mut process = stage.new_process();
    let mut positions: BTreeMap<i32, Offset> = (0..stage.partitions).map(|p| (p, 0)).collect();
    let mut connection = None;
    while stage.may_go() {
        if entropy.below(1000) < NEW_SESSION_OF_1000 {
            process = stage.new_process();
            positions.values_mut().for_each(|position| *position = somewhat_before(*position, &entropy));
        }
        let Some(mut open) = connection.take().or_else(|| stage.connect()) else { continue };
        let from: Vec<(i32, Offset)> = positions.iter().map(|(p, offset)| (*p, *offset)).collect();
        // An error means that the node is gone; poll it again once it is there.
        let Ok(fetched) = open.fetch(&stage.topic, &from, is_committed(isolation), WAIT_MS) else { continue };
        connection = Some(open);
        let mut records = BTreeMap::new();
        for part in fetched {
            let position = positions.get_mut(&part.partition).context("a partition nobody asked for")?;
            let decoded = decode_checked(&part, *position, isolation)?;
            *position = decoded.next;
            if !decoded.runs.is_empty() {
                records.insert(stage.partition_name(part.partition), decoded.runs);
            }
        }
        if !records.is_empty() {
            stage.record(stage.new_op(), process, Outcome::Ok, Action::Poll { isolation, records })?;
        }
        stage.pause_ms(entropy.below(PAUSE_MS_MAX));
    }
    Ok(())
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

/// Reads every partition from its start to its end, for both kinds of readers, into the history.
/// Nobody may write meanwhile.
///
/// # Errors
/// If the node is not there, or what it serves cannot be.
pub(super) fn read_all(stage: &Stage) -> Result<()> {
    let mut connection = stage.connect().context("the node is gone")?;
    for partition in 0..stage.partitions {
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let read = read_partition(stage, &mut connection, partition, isolation)?;
            stage.record(stage.new_op(), DIRECTOR, Outcome::Ok, Action::Read(read))?;
        }
    }
    Ok(())
}

fn read_partition(
    stage: &Stage,
    connection: &mut Connection,
    partition: i32,
    isolation: Isolation,
) -> Result<FullRead> {
    let (mut records, mut controls): (Vec<Run>, Vec<Offset>) = (Vec::new(), Vec::new());
    let mut next = 0;
    loop {
        let fetched = connection.fetch(&stage.topic, &[(partition, next)], is_committed(isolation), 0)?;
        let part = fetched.first().context("an answer without the partition")?;
        let decoded = decode_checked(part, next, isolation)?;
        let end = if is_committed(isolation) { part.last_stable_offset } else { part.high_watermark };
        let is_end = decoded.next == next;
        if is_end && next != end {
            bail!("partition {partition} serves {isolation:?} up to {next}, its end is {end}");
        }
        if is_end {
            let (partition, start) = (stage.partition_name(partition), part.log_start_offset);
            return Ok(FullRead { partition, isolation, start, end, records, controls, compacted: false });
        }
        next = decoded.next;
        records.extend(decoded.runs);
        controls.extend(decoded.controls);
    }
}
