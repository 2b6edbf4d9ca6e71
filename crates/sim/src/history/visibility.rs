//! Readers of committed records see nothing of a transaction that was not committed, nor before it
//! was; and nobody sees what was refused.

use super::facts::{Facts, Fate};
use super::{Isolation, Kind, Report, Stage};

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for seen in &facts.seen {
        let Some(send) = facts.send_of.get(&seen.value).map(|index| &facts.sends[*index]) else { continue };
        let name = &facts.partitions[seen.partition];
        let (value, offset) = (seen.value, seen.offset);
        if send.outcome == Stage::Fail {
            report.add(Kind::AbortedRead, || format!("{name} offset {offset} serves refused value {value}"));
            continue;
        }
        let Some(transaction) = send.transaction.map(|index| &facts.transactions[index]) else { continue };
        if seen.isolation == Isolation::ReadUncommitted {
            continue;
        }
        if transaction.fate() == Fate::NotCommitted {
            report.add(Kind::AbortedRead, || {
                format!("{name} offset {offset} serves value {value} of a transaction not committed")
            });
        } else if transaction.commit_invoked_at.is_none_or(|commit| commit > seen.line) {
            report.add(Kind::PrecommittedRead, || {
                format!("{name} offset {offset} served value {value} before its commit was asked for")
            });
        }
    }
}
