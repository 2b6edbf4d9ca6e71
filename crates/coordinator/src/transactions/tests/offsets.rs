//! Offsets of a consumer group within a transaction.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::{Abort, Commit, Node, One, TransactionError, Two, why};
use crate::{CommitRequest, GroupRefusal, MemberClaim, OffsetCommit, ProducerIdentity, TransactionVersion};

impl Node {
    /// Runs a future to its end; the log takes a step whenever it waits.
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(done) => return done,
                Poll::Pending => drop(self.log.step()),
            }
        }
        panic!("it never ends");
    }

    fn commit_offset(
        &self,
        version: TransactionVersion,
        producer: ProducerIdentity,
        offset: i64,
    ) -> Result<(), TransactionError> {
        let committing = self.transactions.commit_offsets("t", version, producer, request(offset))?;
        assert_eq!(self.run(committing).unwrap(), [Ok(())]);
        Ok(())
    }

    /// The group's offset; whether a transaction is about to change it.
    fn offset(&self) -> (Option<i64>, bool) {
        let groups = &self.transactions.0.groups;
        let of = |stable| {
            let selection = Some(vec![("orders".into(), vec![0])]);
            let found = self.run(groups.fetch_offsets("g".to_owned(), selection, stable)).unwrap();
            found.into_iter().next().unwrap().offset
        };
        let unstable = matches!(of(true), Err(GroupRefusal::Unstable));
        (of(false).unwrap().map(|kept| kept.offset), unstable)
    }
}

/// Commits an offset for group `g`, in the name of no member.
fn request(offset: i64) -> CommitRequest {
    let offset = OffsetCommit { topic: "orders".into(), offset, leader_epoch: -1, ..OffsetCommit::default() };
    let claim = MemberClaim { generation: -1, ..MemberClaim::default() };
    CommitRequest { group: "g".to_owned(), claim, retention: None, offsets: vec![offset] }
}

#[test]
fn offsets_count_if_the_transaction_does() {
    let node = Node::new();
    let first = node.init("t");
    assert_eq!(why(node.commit_offset(One, first, 5)), "not added");
    node.write("t", Two, first, (0, 0), "a").unwrap();
    node.commit_offset(Two, first, 5).unwrap();
    assert_eq!(node.offset(), (None, true));
    let second = node.end("t", Two, first, Commit).unwrap();
    assert_eq!((node.offset(), node.committed(0)), ((Some(5), false), vec!["a".to_owned()]));
    assert_eq!(why(node.commit_offset(Two, first, 6)), "fenced");
    node.commit_offset(Two, second, 7).unwrap();
    node.end("t", Two, second, Abort).unwrap();
    assert_eq!(node.offset(), (Some(5), false));
    assert_eq!(node.log.open_transactions(), []);
}

#[test]
fn offsets_added_beforehand_survive_a_crash_and_count_with_the_end() {
    let node = Node::new();
    let producer = node.init("t");
    node.transactions.add_offsets("t", producer).unwrap().wait().unwrap();
    node.commit_offset(One, producer, 5).unwrap();
    let node = node.crash();
    assert_eq!((node.offset(), node.state("t")), ((None, true), "Ongoing"));
    node.end("t", One, producer, Commit).unwrap();
    assert_eq!(node.offset(), (Some(5), false));
    let node = node.crash();
    assert_eq!(node.offset(), (Some(5), false));
}

#[test]
fn a_takeover_drops_the_offsets_of_who_is_fenced() {
    let node = Node::new();
    let zombie = node.init("t");
    node.commit_offset(Two, zombie, 5).unwrap();
    node.init("t");
    assert_eq!(node.offset(), (None, false));
    assert_eq!(node.crash().offset(), (None, false));
}

#[test]
fn an_operator_drops_the_offsets_of_a_transaction_of_nobody() {
    let node = Node::new();
    let groups = &node.transactions.0.groups;
    node.run(groups.commit_offsets_in_transaction(77, 3, request(5))).unwrap();
    assert_eq!(node.offset(), (None, true));
    let hanging = node.transactions.hanging();
    node.transactions.abort_hanging(&hanging[0]).unwrap();
    assert_eq!(node.offset(), (None, false));
    assert_eq!(node.crash().offset(), (None, false));
}
