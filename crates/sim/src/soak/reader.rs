//! A consumer that commits its offsets plainly, one of several members of a group. Now and then it is gone
//! without a word, and now and then it commits although it has left.

use anyhow::{Result, bail};
use highwater_env::{Entropy, SeededEntropy};

use super::client::{Connection, code};
use super::member::Member;
use super::stage::Stage;
use crate::history::Stage as Outcome;

/// The group of all readers.
pub(super) const READERS: &str = "soak-readers";
/// Of a thousand polls, how many are a member's last.
const NEW_MEMBER_OF_1000: u64 = 5;
/// Of a hundred polls, how many are followed by a commit, and how many of these by a leave before.
const COMMITS_OF_100: u64 = 40;
const LEAVES_OF_100: u64 = 2;
const PAUSE_MS_MAX: u64 = 25;

/// Reads and commits until it is time to end.
pub(super) fn run(stage: &Stage) -> Result<()> {
    let entropy = stage.entropy();
    let (mut member, mut process) = (Member::new(READERS), stage.new_process());
    let mut connection = None;
    while stage.may_go() {
        if entropy.below(1000) < NEW_MEMBER_OF_1000 {
            (member, process) = (Member::new(READERS), stage.new_process());
        }
        member.poll(stage, process, &mut connection)?;
        if entropy.below(100) < COMMITS_OF_100 {
            commit(stage, &entropy, process, &mut member, &mut connection)?;
        }
        stage.pause_ms(entropy.below(PAUSE_MS_MAX));
    }
    Ok(())
}

fn commit(
    stage: &Stage,
    entropy: &SeededEntropy,
    process: u64,
    member: &mut Member,
    connection: &mut Option<Connection>,
) -> Result<()> {
    let Some(commit) = member.committing(stage, process)? else { return Ok(()) };
    let left = entropy.below(100) < LEAVES_OF_100 && leave(stage, member, connection);
    let code = match left {
        // Over the same connection: a node that was killed in between takes members back.
        true => connection
            .as_mut()
            .and_then(|open| open.commit_offsets(member.claim(), super::TOPIC, &commit.offsets).ok()),
        false => {
            stage.ask(connection, |open| open.commit_offsets(member.claim(), super::TOPIC, &commit.offsets))
        }
    };
    let outcome = match code {
        Some(code::NONE) if left => bail!("a member that left {READERS} commits"),
        Some(code::NONE) => Outcome::Ok,
        Some(code::UNKNOWN_MEMBER_ID | code::ILLEGAL_GENERATION | code::REBALANCE_IN_PROGRESS) => {
            Outcome::Fail
        }
        _ => Outcome::Info,
    };
    if outcome == Outcome::Info {
        *connection = None;
        member.forget_positions();
    }
    member.committed(stage, process, commit, outcome)?;
    member.heed("commit", code)
}

/// Leaves the group; whether it has.
pub(super) fn leave(stage: &Stage, member: &Member, connection: &mut Option<Connection>) -> bool {
    stage.ask(connection, |open| open.leave_group(member.claim())) == Some(code::NONE)
}
