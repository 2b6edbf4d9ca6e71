//! A consumer is given a partition's values in order and leaves none out.

use std::collections::{BTreeMap, BTreeSet};

use highwater_env::Offset;

use super::facts::{Facts, Fate, PartitionIndex, Ride};
use super::{Isolation, Kind, Report, Value};

pub(super) fn check(facts: &Facts, report: &mut Report) {
    let known = known_values(facts);
    let compacted = facts.compacted();
    let mut starts: BTreeMap<PartitionIndex, Offset> = BTreeMap::new();
    for (partition, read) in &facts.reads {
        let start = starts.entry(*partition).or_insert(read.start);
        *start = read.start.max(*start);
    }
    for ride in &facts.rides {
        let start = starts.get(&ride.partition).copied().unwrap_or(0);
        let skipped = |value: Value| is_visible(facts, ride.isolation, value);
        let known = known.get(&ride.partition).filter(|_| !compacted.contains(&ride.partition));
        for pair in ride.offsets.windows(2) {
            let (before, next) = (pair[0], pair[1]);
            check_step(facts, ride, (before, next), report);
            if next <= before + 1 || next <= start {
                continue;
            }
            let between = known.map(|known| known.range((before.max(start - 1) + 1, 0)..(next, 0)));
            let missing = between.and_then(|mut between| between.find(|(_, value)| skipped(*value)));
            if let Some((offset, value)) = missing {
                let (name, process) = (&facts.partitions[ride.partition], ride.process);
                report.add(Kind::PollSkip, || {
                    format!("process {process} was not given {name} offset {offset}, value {value}")
                });
            }
        }
    }
}

fn check_step(facts: &Facts, ride: &Ride, (before, next): (Offset, Offset), report: &mut Report) {
    if next <= before {
        let (name, process) = (&facts.partitions[ride.partition], ride.process);
        report.add(Kind::NonmonotonicPoll, || {
            format!("process {process} was given {name} offset {next} after offset {before}")
        });
    }
}

/// Every value that anybody was served, by offset.
fn known_values(facts: &Facts) -> BTreeMap<PartitionIndex, BTreeSet<(Offset, Value)>> {
    let mut known: BTreeMap<PartitionIndex, BTreeSet<(Offset, Value)>> = BTreeMap::new();
    for seen in &facts.seen {
        known.entry(seen.partition).or_default().insert((seen.offset, seen.value));
    }
    known
}

fn is_visible(facts: &Facts, isolation: Isolation, value: Value) -> bool {
    let Some(send) = facts.send_of.get(&value).map(|index| &facts.sends[*index]) else { return false };
    match isolation {
        Isolation::ReadUncommitted => true,
        Isolation::ReadCommitted => facts.fate(send) == Fate::Committed,
    }
}
