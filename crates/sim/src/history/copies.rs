//! Groups leave nothing out; and those that copy what they read, in one transaction with their offsets,
//! copy each value below their offset once and none above it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use highwater_env::Offset;

use super::facts::{Facts, PartitionIndex, places};
use super::{Isolation, Kind, Report, Value};

pub(super) fn check(facts: &Facts, report: &mut Report) {
    let known = facts.known_values();
    let copies = copies(facts);
    let copiers: BTreeSet<&str> = copies.keys().map(|(group, _)| *group).collect();
    let given = given(facts);
    for ((group, partition), place) in &facts.groups.places {
        let (Some(last), Some(known)) = (place.shown.last(), known.get(partition)) else { continue };
        let given = given.get(&(&**group, *partition));
        let committed = last.offset;
        let visible = known.iter().filter(|(_, value)| facts.is_visible(Isolation::ReadCommitted, *value));
        for (offset, value) in visible {
            let what = || {
                let name = &facts.partitions[*partition];
                format!("{name} offset {offset}, value {value}: group {group} has committed {committed}")
            };
            let is_passed = *offset < committed;
            if is_passed && !given.is_some_and(|given| given.contains(offset)) {
                report.add(Kind::GroupSkip, what);
            }
            if !copiers.contains(&**group) {
                continue;
            }
            match copies.get(&(&**group, *value)).copied().unwrap_or(0) {
                0 if is_passed => report.add(Kind::NotCopied, what),
                1 if !is_passed => report.add(Kind::CopyWithoutOffset, what),
                2.. => report.add(Kind::CopiedTwice, what),
                _ => {}
            }
        }
    }
}

/// How many copies of a value, made by members of a group, readers of committed records find at the end;
/// none for one whose copies they do not find.
fn copies(facts: &Facts) -> HashMap<(&str, Value), u64> {
    let reads = facts.last_reads(Isolation::ReadCommitted);
    let records = reads.values().flat_map(|read| &read.records);
    let found: HashSet<Value> = records.flat_map(places).map(|(_, value)| value).collect();
    let mut copies = HashMap::new();
    for send in &facts.sends {
        let Some(group) = facts.groups.of_process.get(&send.process) else { continue };
        for (value, copied) in send.values.iter().zip(&send.copies) {
            *copies.entry((&**group, *copied)).or_default() += u64::from(found.contains(value));
        }
    }
    copies
}

/// The offsets that a group's members were given.
fn given(facts: &Facts) -> BTreeMap<(&str, PartitionIndex), BTreeSet<Offset>> {
    let mut given: BTreeMap<(&str, PartitionIndex), BTreeSet<Offset>> = BTreeMap::new();
    for ride in &facts.rides {
        if let Some(group) = facts.groups.of_process.get(&ride.process) {
            given.entry((&**group, ride.partition)).or_default().extend(&ride.offsets);
        }
    }
    given
}
