//! Deletes what both groups have read from the start of one partition, as programs do with topics that are
//! only a way from one step to the next. The other partitions keep everything for the checker.

use anyhow::{Result, bail};
use highwater_env::Entropy;

use super::TOPIC;
use super::client::code;
use super::copier::COPIERS;
use super::reader::READERS;
use super::stage::{Stage, partition_name};
use crate::history::{Action, Stage as Outcome};

const PARTITION: i32 = 0;
/// Offsets that stay though they were read, at most.
const LEFT_MAX: u64 = 200;
const PAUSE_MS_MAX: u64 = 300;

/// Deletes until it is time to end.
pub(super) fn run(stage: &Stage) -> Result<()> {
    let (entropy, process) = (stage.entropy(), stage.new_process());
    let mut connection = None;
    while stage.may_go() {
        stage.pause_ms(entropy.below(PAUSE_MS_MAX));
        let read = [COPIERS, READERS].map(|group| {
            let found = stage.ask(&mut connection, |open| open.fetch_offsets(group, TOPIC, &[PARTITION]));
            found.and_then(Result::ok).and_then(|offsets| offsets.first().map(|(_, offset)| *offset))
        });
        let read_by_all = read.into_iter().min().flatten().unwrap_or(0);
        let offset = read_by_all - entropy.below(LEFT_MAX).cast_signed();
        if offset <= 0 {
            continue;
        }
        let (op, trim) =
            (stage.new_op(), Action::Trim { partition: partition_name(TOPIC, PARTITION), offset });
        stage.record(op, process, Outcome::Invoke, trim.clone())?;
        let outcome = match stage.ask(&mut connection, |open| open.delete_records(TOPIC, PARTITION, offset)) {
            Some(code::NONE) => Outcome::Ok,
            None => Outcome::Info,
            Some(code) if code::RETRIABLE.contains(&code) => Outcome::Info,
            Some(code) => bail!("records below {offset} are not deleted: error code {code}"),
        };
        stage.record(op, process, outcome, trim)?;
    }
    Ok(())
}
