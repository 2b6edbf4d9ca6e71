//! A consumer is given a partition's values in order and leaves none out.

use std::collections::BTreeMap;

use highwater_env::Offset;

use super::facts::{Facts, PartitionIndex, Ride};
use super::{Kind, Report, Value};

pub(super) fn check(facts: &Facts, report: &mut Report) {
    let known = facts.known_values();
    let compacted = facts.compacted();
    let mut starts: BTreeMap<PartitionIndex, Offset> = BTreeMap::new();
    for (partition, read) in &facts.reads {
        let start = starts.entry(*partition).or_insert(read.start);
        *start = read.start.max(*start);
    }
    for ride in &facts.rides {
        let start = starts.get(&ride.partition).copied().unwrap_or(0);
        let skipped = |value: Value| facts.is_visible(ride.isolation, value);
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
