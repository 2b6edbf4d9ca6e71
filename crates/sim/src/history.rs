//! Offline checker of what clients saw of a log, after the rules that Jepsen describes for its
//! Kafka workload: unique values, sends and polls, transactions, offsets of consumer groups, and outcomes
//! that may be unknown.
//!
//! A history is a file of JSON lines, one [`Event`] each, in the order in which they happened:
//! an invocation is written before its request leaves, its outcome after its answer has arrived.
//! What the rules cannot know from one line they take from the whole: a value sent without an answer
//! may or may not be there, but if one value of its batch was seen, all must be.
//!
//! What is legal in Kafka's model and therefore no [`Anomaly`]: that writes of open transactions
//! interleave, and that a reader of uncommitted records sees what is later aborted.

mod anomaly;
mod copies;
mod event;
mod facts;
mod file;
mod group_offsets;
mod groups;
mod lost;
mod offsets;
mod order;
mod polls;
mod report;
mod trims;
mod visibility;

#[cfg(test)]
mod tests;

pub use anomaly::{Anomaly, Kind};
pub use event::{Action, Event, FullRead, Isolation, Run, Stage, Value};
pub use facts::HistoryError;
pub use file::{Recorder, read_file};
pub use report::{Counts, Report};

use facts::Facts;

/// Judges a whole history.
///
/// # Errors
/// If the history itself is impossible: an outcome without an invocation, a value sent twice.
pub fn check(events: impl IntoIterator<Item = Event>) -> Result<Report, HistoryError> {
    let mut facts = Facts::default();
    for event in events {
        facts.take(event)?;
    }
    Ok(judge(&facts))
}

fn judge(facts: &Facts) -> Report {
    let mut report = Report::new(facts.counts());
    offsets::check(facts, &mut report);
    lost::check(facts, &mut report);
    order::check(facts, &mut report);
    visibility::check(facts, &mut report);
    polls::check(facts, &mut report);
    group_offsets::check(facts, &mut report);
    copies::check(facts, &mut report);
    trims::check(facts, &mut report);
    report
}
