//! A producer's values lie in a partition in the order in which it sent them.

use std::collections::{BTreeMap, HashMap};

use highwater_env::Offset;

use super::facts::{Facts, PartitionIndex};
use super::{Kind, Report, Stage, Value};

pub(super) fn check(facts: &Facts, report: &mut Report) {
    // A value with two places is reported as such; here the first one counts.
    let mut seen: HashMap<Value, Offset> = HashMap::new();
    for place in &facts.seen {
        seen.entry(place.value).and_modify(|at| *at = place.offset.min(*at)).or_insert(place.offset);
    }
    let mut last: BTreeMap<(u64, PartitionIndex), (Value, Offset)> = BTreeMap::new();
    for send in &facts.sends {
        for (index, value) in send.values.iter().enumerate() {
            let acknowledged = send.offset.filter(|_| send.outcome == Stage::Ok);
            let offset = seen.get(value).copied().or(acknowledged.map(|base| base + index as i64));
            let Some(offset) = offset else { continue };
            let before = last.insert((send.process, send.partition), (*value, offset));
            if let Some((earlier, at)) = before
                && at > offset
            {
                let (name, process) = (&facts.partitions[send.partition], send.process);
                report.add(Kind::Reordered, || {
                    format!(
                        "process {process} sent {earlier}, then {value}; {name} has them at {at}, {offset}"
                    )
                });
            }
        }
    }
}
