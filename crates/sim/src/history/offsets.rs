//! One offset holds one value for ever, one value has one offset, and no offset holds nothing.

use std::collections::{BTreeMap, BTreeSet};

use highwater_env::Offset;

use super::facts::{Facts, PartitionIndex, places};
use super::{FullRead, Isolation, Kind, Report, Stage, Value};

pub(super) fn check(facts: &Facts, report: &mut Report) {
    check_places(facts, report);
    check_senders(facts, report);
    for (_, read) in facts.reads.iter().filter(|(_, read)| !read.compacted) {
        if read.isolation == Isolation::ReadUncommitted {
            check_holes(read, report);
        }
    }
}

/// Every place of every value, acknowledged or served, against every other.
fn check_places(facts: &Facts, report: &mut Report) {
    let mut all: BTreeSet<(PartitionIndex, Offset, Option<Value>)> = BTreeSet::new();
    for send in facts.sends.iter().filter(|send| send.outcome == Stage::Ok) {
        let Some(base) = send.offset else { continue };
        all.extend((base..).zip(&send.values).map(|(offset, value)| (send.partition, offset, Some(*value))));
    }
    all.extend(facts.seen.iter().map(|seen| (seen.partition, seen.offset, Some(seen.value))));
    for (partition, read) in &facts.reads {
        all.extend(read.controls.iter().map(|offset| (*partition, *offset, None)));
    }
    let mut first_place: BTreeMap<Value, (PartitionIndex, Offset)> = BTreeMap::new();
    let mut before: Option<(PartitionIndex, Offset, Option<Value>)> = None;
    for place in all {
        let (partition, offset, value) = place;
        if let Some((same, at, other)) = before
            && (same, at) == (partition, offset)
        {
            let name = &facts.partitions[partition];
            report.add(Kind::OffsetReuse, || {
                format!("{name} offset {offset} held {} and {}", shown(other), shown(value))
            });
        }
        before = Some(place);
        let Some(value) = value else { continue };
        if let Some((other, at)) = first_place.insert(value, (partition, offset)) {
            let (name, other) = (&facts.partitions[partition], &facts.partitions[other]);
            report.add(Kind::Duplicate, || {
                format!("value {value} at {other} offset {at}, {name} offset {offset}")
            });
        }
    }
}

fn shown(value: Option<Value>) -> String {
    value.map_or_else(|| "a transaction marker".to_owned(), |value| format!("value {value}"))
}

/// What was served was sent before, and there.
fn check_senders(facts: &Facts, report: &mut Report) {
    for seen in &facts.seen {
        let send = facts.send_of.get(&seen.value).map(|index| &facts.sends[*index]);
        if send.is_none_or(|send| send.partition != seen.partition || send.invoked_at > seen.line) {
            let name = &facts.partitions[seen.partition];
            report.add(Kind::InventedRecord, || {
                format!(
                    "{name} offset {} holds value {}, which nobody had sent there",
                    seen.offset, seen.value
                )
            });
        }
    }
}

/// Each offset of a full read holds a record or a marker.
fn check_holes(read: &FullRead, report: &mut Report) {
    let mut held: Vec<Offset> = read.records.iter().flat_map(places).map(|(offset, _)| offset).collect();
    held.extend(&read.controls);
    held.push(read.end);
    held.sort_unstable();
    let mut next = read.start;
    for offset in held {
        if offset > next {
            let name = &read.partition;
            report.add(Kind::Hole, || format!("{name} offsets {next}..{offset} hold nothing"));
        }
        next = next.max(offset + 1);
    }
}
