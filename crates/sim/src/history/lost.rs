//! What was acknowledged, or served once, is there at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use highwater_env::Offset;

use super::facts::{Facts, Fate, PartitionIndex, Send, places};
use super::{FullRead, Isolation, Kind, Report, Stage, Value};

pub(super) fn check(facts: &Facts, report: &mut Report) {
    let ends = Ends::of(facts);
    for send in &facts.sends {
        if !is_due(facts, &ends, send) || ends.compacted.contains(&send.partition) {
            continue;
        }
        let base = send.offset.or_else(|| ends.base_offset(send));
        for (index, value) in send.values.iter().enumerate() {
            let offset = ends.seen.get(value).copied().or(base.map(|base| base + index as i64));
            judge(facts, &ends, send, *value, offset, report);
        }
    }
}

/// What is known of the ends of partitions.
struct Ends<'a> {
    /// The place of each value that anybody was served.
    seen: HashMap<Value, Offset>,
    /// The highest offset served.
    highest: BTreeMap<PartitionIndex, Offset>,
    reads: [(Isolation, BTreeMap<PartitionIndex, Kept<'a>>); 2],
    compacted: BTreeSet<PartitionIndex>,
}

/// A last full read.
struct Kept<'a> {
    read: &'a FullRead,
    values: BTreeSet<Value>,
}

impl<'a> Ends<'a> {
    fn of(facts: &'a Facts) -> Self {
        let mut highest = BTreeMap::new();
        for seen in &facts.seen {
            let end = highest.entry(seen.partition).or_insert(seen.offset);
            *end = seen.offset.max(*end);
        }
        let reads = [Isolation::ReadUncommitted, Isolation::ReadCommitted].map(|isolation| {
            let kept = |read: &'a FullRead| Kept {
                read,
                values: read.records.iter().flat_map(places).map(|(_, value)| value).collect(),
            };
            let reads = facts.last_reads(isolation);
            (isolation, reads.into_iter().map(|(partition, read)| (partition, kept(read))).collect())
        });
        let seen = facts.seen.iter().map(|seen| (seen.value, seen.offset)).collect();
        Self { seen, highest, reads, compacted: facts.compacted() }
    }

    /// Where a batch lies of which only a part was served.
    fn base_offset(&self, send: &Send) -> Option<Offset> {
        let mut values = send.values.iter().enumerate();
        values.find_map(|(index, value)| Some(self.seen.get(value)? - index as i64))
    }
}

/// Whether all values of the batch must be there: it was acknowledged, or part of it was served;
/// and its transaction, if it has one, was committed.
fn is_due(facts: &Facts, ends: &Ends<'_>, send: &Send) -> bool {
    let happened = send.outcome == Stage::Ok || send.values.iter().any(|value| ends.seen.contains_key(value));
    happened && facts.fate(send) == Fate::Committed
}

fn judge(
    facts: &Facts,
    ends: &Ends<'_>,
    send: &Send,
    value: Value,
    offset: Option<Offset>,
    report: &mut Report,
) {
    let name = &facts.partitions[send.partition];
    let was_seen = ends.seen.contains_key(&value);
    let at = || offset.map_or_else(String::new, |offset| format!(" at offset {offset}"));
    let mut was_read = false;
    for (isolation, reads) in &ends.reads {
        let Some(Kept { read, values }) = reads.get(&send.partition) else { continue };
        was_read = true;
        if values.contains(&value) || offset.is_some_and(|offset| offset < read.start) {
            continue;
        }
        let is_inside = offset.is_some_and(|offset| offset < read.end);
        let kind = if was_seen || is_inside { Kind::LostWrite } else { Kind::UnseenAcknowledged };
        let end = read.end;
        report.add(kind, || format!("{name} value {value}{}: {isolation:?} up to {end} lacks it", at()));
        return;
    }
    if was_seen || was_read {
        return;
    }
    // Without a full read: later values of the partition were served, this one never.
    let highest = ends.highest.get(&send.partition).copied();
    let is_inside = offset.zip(highest).is_some_and(|(offset, highest)| offset < highest);
    let kind = if is_inside { Kind::LostWrite } else { Kind::UnseenAcknowledged };
    report.add(kind, || format!("{name} value {value}{}: nobody was served it", at()));
}
