//! Offsets of consumer groups in the simulation: one group's are committed in transactions, each client
//! having a partition of its own, another's plainly.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use highwater_coordinator::{CommitRequest, MemberClaim, OffsetCommit, TransactionVersion};
use highwater_env::Entropy;
use highwater_log::Log;

use super::{Node, Run};

const IN_TRANSACTIONS: &str = "copiers";
const PLAINLY: &str = "readers";
const TOPIC: &str = "orders";
/// Steps of the log within which it must have answered.
const STEPS_MAX: usize = 100;

/// Whether a transaction counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    Yes,
    No,
    /// Its end has no answer, and it wrote no record that would tell.
    Perhaps,
}

/// Commits to one partition.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    acknowledged: Option<i64>,
    /// Since then, without an answer.
    unanswered: Vec<i64>,
}

fn request(group: &str, partition: usize, offset: i64) -> CommitRequest {
    let partition = i32::try_from(partition).expect("a few partitions");
    let offset =
        OffsetCommit { topic: TOPIC.into(), partition, offset, leader_epoch: -1, metadata: String::new() };
    let claim = MemberClaim { generation: -1, ..MemberClaim::default() };
    CommitRequest { group: group.to_owned(), claim, retention: None, offsets: vec![offset] }
}

/// Steps the log until the future ends.
fn finish<T>(log: &Log, future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    for _ in 0..STEPS_MAX {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => return Ok(done),
            Poll::Pending => drop(log.step()),
        }
    }
    Err("a commit or fetch of offsets waits for more than the disk".to_owned())
}

impl Run {
    pub(crate) fn commit_in_transaction(&mut self, node: &Node, index: usize) -> Result<(), String> {
        let transactions = &node.coordinators.transactions;
        let client = &mut self.clients[index];
        let Some(identity) = client.identity else { return Ok(()) };
        if client.version == TransactionVersion::One && !client.offsets_added {
            let added = transactions.add_offsets(&client.id, identity);
            match added.and_then(highwater_coordinator::PendingChange::wait) {
                Ok(()) => client.offsets_added = true,
                Err(error) => return self.failed(node, index, &error),
            }
        }
        let open = self.begun(index);
        self.next_offset += 1;
        let (client, offset) = (&self.clients[index], self.next_offset);
        let asked = request(IN_TRANSACTIONS, index, offset);
        match transactions.commit_offsets(&client.id, client.version, identity, asked) {
            Ok(committing) => match finish(&node.log, committing)? {
                Ok(outcomes) if outcomes == [Ok(())] => self.transactions[open].offset = Some(offset),
                // The power went: it takes over from itself, and what it left open never counts.
                _ => return self.gave_up(index),
            },
            Err(error) => return self.failed(node, index, &error),
        }
        Ok(())
    }

    pub(crate) fn commit_plainly(&mut self, node: &Node) -> Result<(), String> {
        self.next_offset += 1;
        let partition =
            usize::try_from(self.entropy.below(self.plain.len() as u64)).map_err(|e| e.to_string())?;
        let committing =
            node.coordinators.groups.commit_offsets(request(PLAINLY, partition, self.next_offset));
        // Some clients are gone before they hear the answer.
        let outcome = if self.entropy.below(3) > 0 { Some(finish(&node.log, committing)?) } else { None };
        let plain = &mut self.plain[partition];
        plain.unanswered.push(self.next_offset);
        if outcome == Some(Ok(vec![Ok(())])) {
            *plain = Plain { acknowledged: Some(self.next_offset), unanswered: Vec::new() };
        }
        Ok(())
    }

    /// What the groups have committed; everything on its way is durable, and the log is in order.
    pub(crate) fn check_offsets(&mut self, node: &Node, counts: &[Counts]) -> Result<(), String> {
        for client in 0..self.clients.len() {
            let found = committed(node, IN_TRANSACTIONS, client, false)?;
            let mine = || self.transactions.iter().zip(counts).filter(move |(t, _)| t.client == client);
            let of = |which: Counts| mine().filter(move |(_, c)| **c == which).filter_map(|(t, _)| t.offset);
            let least = of(Counts::Yes).max();
            let is_possible =
                found == least || of(Counts::Perhaps).any(|o| Some(o) == found && found > least);
            if !is_possible {
                return Err(format!(
                    "client {client} has committed {least:?} in transactions, has {found:?}"
                ));
            }
        }
        for partition in 0..self.plain.len() {
            let found = committed(node, PLAINLY, partition, false)?;
            let plain = &mut self.plain[partition];
            let is_possible =
                found == plain.acknowledged || found.is_some_and(|found| plain.unanswered.contains(&found));
            if !is_possible {
                return Err(format!("partition {partition}: {plain:?}, but {found:?} is committed"));
            }
            *plain = Plain { acknowledged: found, unanswered: Vec::new() };
        }
        Ok(())
    }

    /// Nothing is left that a transaction might change.
    pub(crate) fn check_stable(&self, node: &Node) -> Result<(), String> {
        (0..self.clients.len())
            .try_for_each(|client| committed(node, IN_TRANSACTIONS, client, true).map(|_| ()))
    }
}

fn committed(node: &Node, group: &str, partition: usize, stable: bool) -> Result<Option<i64>, String> {
    let partition = i32::try_from(partition).map_err(|e| e.to_string())?;
    let selection = Some(vec![(TOPIC.into(), vec![partition])]);
    let fetching = node.coordinators.groups.fetch_offsets(group.to_owned(), selection, stable);
    let found = finish(&node.log, fetching)?.map_err(|refusal| refusal.to_string())?;
    let [only] = &found[..] else { return Err(format!("{} offsets, expected one", found.len())) };
    let kept = only.offset.as_ref().map_err(|refusal| format!("{group} partition {partition}: {refusal}"))?;
    Ok(kept.as_ref().map(|kept| kept.offset))
}
