//! A group's offsets are those that somebody committed, count with their transaction, never go back,
//! and lie behind nothing that is not there.

use std::collections::BTreeMap;

use highwater_env::Offset;

use super::facts::{Facts, Fate, Line};
use super::groups::{Commit, Place, Shown};
use super::{Isolation, Kind, Report, Stage};

pub(super) fn check(facts: &Facts, report: &mut Report) {
    let ends = facts.last_reads(Isolation::ReadCommitted);
    for ((group, partition), place) in &facts.groups.places {
        let name = &format!("{group} in {}", facts.partitions[*partition]);
        check_direction(facts, name, place, report);
        check_origins(facts, name, place, report);
        let Some(end) = ends.get(partition).map(|read| read.end) else { continue };
        for shown in place.shown.iter().filter(|shown| shown.offset > end) {
            let offset = shown.offset;
            report.add(Kind::OffsetBeyondEnd, || {
                format!("{name} has committed {offset}, readers of committed records get up to {end}")
            });
        }
    }
}

/// When the commit counted at the latest.
fn counted_at(facts: &Facts, commit: &Commit) -> Option<Line> {
    let (answered_at, _) = commit.answered.filter(|(_, stage)| *stage == Stage::Ok)?;
    match commit.transaction {
        None => Some(answered_at),
        Some(index) => Some(facts.transactions[index].committed_at()?.max(answered_at)),
    }
}

/// What counted, or was shown, before it was asked for is a lower bound.
fn check_direction(facts: &Facts, name: &str, place: &Place, report: &mut Report) {
    let commits = place.commits.iter().filter_map(|commit| Some((counted_at(facts, commit)?, commit.offset)));
    let shown = place.shown.iter().map(|shown| (shown.answered_at, shown.offset));
    let mut bounds: Vec<(Line, Offset)> = commits.chain(shown).collect();
    bounds.sort_unstable();
    let mut asked: Vec<&Shown> = place.shown.iter().collect();
    asked.sort_unstable_by_key(|shown| shown.invoked_at);
    let (mut known, mut least) = (bounds.into_iter().peekable(), -1);
    for shown in asked {
        while let Some((_, offset)) = known.next_if(|(line, _)| *line < shown.invoked_at) {
            least = offset.max(least);
        }
        let offset = shown.offset;
        if offset < least {
            report.add(Kind::OffsetWentBack, || format!("{name} had committed {least}, has {offset}"));
        }
    }
}

/// Somebody committed it, and its transaction, if it has one, may have been committed by then.
fn check_origins(facts: &Facts, name: &str, place: &Place, report: &mut Report) {
    let mut by_offset: BTreeMap<Offset, Vec<&Commit>> = BTreeMap::new();
    for commit in &place.commits {
        by_offset.entry(commit.offset).or_default().push(commit);
    }
    for shown in place.shown.iter().filter(|shown| shown.offset >= 0) {
        let (offset, line) = (shown.offset, shown.answered_at);
        let candidates =
            by_offset.get(&offset).map_or(&[][..], Vec::as_slice).iter().filter(|commit| {
                commit.invoked_at < line && !matches!(commit.answered, Some((_, Stage::Fail)))
            });
        let may_count = |commit: &&&Commit| match commit.transaction.map(|index| &facts.transactions[index]) {
            None => true,
            Some(transaction) => {
                transaction.fate() != Fate::NotCommitted
                    && transaction.commit_invoked_at.is_some_and(|invoked| invoked < line)
            }
        };
        let candidates: Vec<&&Commit> = candidates.collect();
        if candidates.is_empty() {
            report.add(Kind::InventedOffset, || format!("{name} has {offset}, which nobody had committed"));
        } else if !candidates.iter().any(may_count) {
            report.add(Kind::UncommittedOffset, || {
                format!("{name} has {offset}, of a transaction not committed then")
            });
        }
    }
}
