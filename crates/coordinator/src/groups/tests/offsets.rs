//! Committing, fetching, deleting and expiring offsets.

use super::*;
use crate::groups::{CommitRequest, Committed, OffsetCommit};

pub(super) fn commit(group: &str, partition: i32, offset: i64) -> CommitRequest {
    let offset = OffsetCommit {
        topic: "t".into(),
        partition,
        offset,
        leader_epoch: 0,
        metadata: format!("at {offset}"),
    };
    CommitRequest { group: group.to_owned(), claim: nobody(), retention: None, offsets: vec![offset] }
}

fn nobody() -> MemberClaim {
    MemberClaim { generation: -1, ..MemberClaim::default() }
}

impl Fixture {
    pub(super) fn commit(&self, request: CommitRequest) -> Result<Committed, GroupRefusal> {
        self.settle(self.groups.commit_offsets(request))
    }

    /// All offsets of a group: partition and offset, -1 for one that is not told.
    pub(super) fn offsets(&self, group: &str, stable: bool) -> Vec<(i32, i64)> {
        let fetched = self.settle(self.groups.fetch_offsets(group.to_owned(), None, stable)).unwrap();
        let told = |offset: super::super::FetchedOffset| match offset.offset {
            Ok(Some(committed)) => committed.offset,
            Ok(None) => panic!("all offsets are those that are there"),
            Err(reason) => {
                assert_eq!(reason, GroupRefusal::Unstable);
                -1
            }
        };
        fetched.into_iter().map(|offset| (offset.partition, told(offset))).collect()
    }
}

#[test]
fn a_consumer_without_a_group_of_members_keeps_offsets() {
    let node = Fixture::new();
    assert_eq!(node.commit(commit("g", 0, 5)), Ok(vec![Ok(())]));
    assert_eq!(node.commit(commit("g", 1, 7)), Ok(vec![Ok(())]));
    assert_eq!(node.commit(commit("g", 0, 6)), Ok(vec![Ok(())]));
    let asked = Some(vec![("t".into(), vec![0, 9])]);
    let fetched = node.settle(node.groups.fetch_offsets("g".to_owned(), asked, false)).unwrap();
    let kept = fetched[0].offset.clone().unwrap().unwrap();
    assert_eq!((kept.offset, kept.leader_epoch, &*kept.metadata), (6, 0, "at 6"));
    assert_eq!(fetched[1].offset, Ok(None));
    assert_eq!(node.offsets("g", false), [(0, 6), (1, 7)]);
    assert_eq!(node.offsets("nobody", false), []);
    assert_eq!(node.state(), "Empty");
}

#[test]
fn progress_counts_what_commits_went_past() {
    let node = Fixture::new();
    let progress = || {
        let groups = node.settle(node.groups.progress()).unwrap();
        let group = groups.into_iter().find(|group| &*group.overview.group == "g").unwrap();
        (group.topics[0].read, group.topics[0].committed.clone())
    };
    node.commit(commit("g", 0, 500)).unwrap();
    assert_eq!(progress(), (0, vec![(0, 500)]), "where it began is not what it read");
    node.commit(commit("g", 0, 520)).unwrap();
    node.commit(commit("g", 1, 7)).unwrap();
    node.commit(commit("g", 1, 10)).unwrap();
    assert_eq!(progress(), (23, vec![(0, 520), (1, 10)]));
    node.commit(commit("g", 0, 100)).unwrap();
    node.commit(commit("g", 0, 105)).unwrap();
    assert_eq!(progress(), (28, vec![(0, 105), (1, 10)]), "set back, it reads on");
}

#[test]
fn an_offset_is_shown_when_it_is_durable() {
    let node = Fixture::new();
    node.commit(commit("g", 0, 1)).unwrap();
    let mut committing: Waiting<_> = Box::pin(node.groups.commit_offsets(commit("g", 0, 2)));
    let mut fetching: Waiting<_> = Box::pin(node.groups.fetch_offsets("g".to_owned(), None, false));
    assert!(look(&mut committing).is_none() && look(&mut fetching).is_none());
    while node.log.step() {}
    assert_eq!(look(&mut committing), Some(Ok(vec![Ok(())])));
    let fetched = look(&mut fetching).unwrap().unwrap();
    assert_eq!(fetched[0].offset.clone().unwrap().unwrap().offset, 2);
}

#[test]
fn only_members_commit_while_there_are_members() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    let with = |claim: MemberClaim| CommitRequest { claim, ..commit("g", 0, 3) };
    let mine = claim(&joined);
    assert_eq!(node.commit(with(mine.clone())), Ok(vec![Ok(())]));
    assert_eq!(node.commit(with(nobody())), Err(GroupRefusal::UnknownMember));
    let stale = MemberClaim { generation: 9, ..mine.clone() };
    assert_eq!(node.commit(with(stale)), Err(GroupRefusal::IllegalGeneration));
    let other = MemberClaim { member_id: "x".to_owned(), ..mine.clone() };
    assert_eq!(node.commit(with(other)), Err(GroupRefusal::UnknownMember));
    let named = MemberClaim { instance_id: Some("i".to_owned()), ..mine.clone() };
    assert_eq!(node.commit(with(named)), Err(GroupRefusal::UnknownMember));
    let unknown = CommitRequest { claim: mine, ..commit("unknown", 0, 3) };
    assert_eq!(node.commit(unknown), Err(GroupRefusal::IllegalGeneration));
    // Between join and sync it may not know yet what it reads.
    let (first, _) = node.rejoin_with(&joined, &member("two"));
    assert_eq!(node.commit(with(claim(&first))), Err(GroupRefusal::RebalanceInProgress));
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    for offset in 0..5 {
        node.pass(SESSION_MS - 1);
        node.commit(CommitRequest { claim: claim(&joined), ..commit("g", 0, offset) }).unwrap();
    }
    assert_eq!(node.heartbeat(&joined), Ok(()));
}

#[test]
fn limits_are_named() {
    let node =
        Fixture::with(GroupOptions { commit_bytes_max: 10_000, offsets_per_group_max: 2, ..options() });
    let mut mixed = commit("g", 0, 1);
    mixed.offsets[0].metadata = "x".repeat(4097);
    mixed.offsets.push(OffsetCommit { partition: 1, metadata: "x".repeat(4096), ..mixed.offsets[0].clone() });
    assert_eq!(node.commit(mixed), Ok(vec![Err(GroupRefusal::MetadataTooLarge), Ok(())]));
    let mut many = commit("g", 0, 1);
    many.offsets = vec![many.offsets[0].clone(); 1000];
    assert_eq!(node.commit(many), Err(GroupRefusal::OffsetsTooLarge));
    assert_eq!(node.offsets("g", false), [(1, 1)]);
    node.commit(commit("g", 2, 1)).unwrap();
    assert_eq!(node.commit(commit("g", 3, 1)), Err(GroupRefusal::OffsetsTooLarge));
    assert_eq!(node.commit(commit("g", 2, 9)), Ok(vec![Ok(())]), "consumers at work go on");
    assert_eq!(node.offsets("g", false), [(1, 1), (2, 9)]);
}

#[test]
fn a_node_full_of_offsets_takes_those_that_are_no_larger() {
    let node = Fixture::with(GroupOptions { offsets_bytes_max: 100, ..options() });
    node.commit(commit("g", 0, 10)).unwrap();
    assert_eq!(node.commit(commit("g", 1, 1)), Err(GroupRefusal::OffsetsTooLarge));
    assert_eq!(node.commit(commit("h", 0, 1)), Err(GroupRefusal::OffsetsTooLarge));
    assert_eq!(node.commit(commit("g", 0, 11)), Ok(vec![Ok(())]));
    assert_eq!(node.commit(commit("g", 0, 100)), Err(GroupRefusal::OffsetsTooLarge), "longer metadata");
    let pend = node.settle(node.groups.commit_offsets_in_transaction(7, 0, commit("g", 0, 12)));
    assert_eq!(pend, Err(GroupRefusal::OffsetsTooLarge), "it is kept beside the other");
    assert_eq!(node.offsets("g", false), [(0, 11)]);
}

#[test]
fn a_refused_commit_makes_no_group() {
    let node = Fixture::new();
    let mut large = commit("g", 0, 1);
    large.offsets[0].metadata = "x".repeat(4097);
    assert_eq!(node.commit(large), Ok(vec![Err(GroupRefusal::MetadataTooLarge)]));
    assert_eq!(node.state(), "Dead");
}

#[test]
fn a_deleted_topic_takes_its_offsets_along_pending_ones_too() {
    let node = Fixture::new();
    node.commit(commit("g", 0, 1)).unwrap();
    let pend = node.groups.commit_offsets_in_transaction(7, 0, commit("g", 1, 2));
    node.settle(pend).unwrap();
    node.groups.topic_deleted("t");
    while node.log.step() {}
    node.groups.complete_transaction(7, true);
    assert_eq!(node.offsets("g", true), []);
}

/// A tombstone behind it in the log would take it away.
#[test]
fn a_commit_on_its_way_keeps_its_offset_from_expiring() {
    const WEEK_MS: i64 = 7 * 24 * 3_600_000;
    let node = Fixture::new();
    node.commit(commit("g", 0, 1)).unwrap();
    node.clock.advance_ms(WEEK_MS + 1);
    let mut committing: Waiting<_> = Box::pin(node.groups.commit_offsets(commit("g", 0, 2)));
    node.groups.tick();
    while node.log.step() {}
    assert_eq!(look(&mut committing), Some(Ok(vec![Ok(())])));
    assert_eq!(node.offsets("g", false), [(0, 2)]);
    assert_eq!(node.crash().offsets("g", false), [(0, 2)]);
}

#[test]
fn a_group_is_deleted_once_it_is_empty() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    node.commit(CommitRequest { claim: claim(&joined), ..commit("g", 0, 3) }).unwrap();
    assert_eq!(node.settle(node.groups.delete("g")), Err(GroupRefusal::NonEmpty));
    node.groups.leave("g", &[leaving(&joined)]).unwrap();
    assert_eq!(node.settle(node.groups.delete("g")), Ok(()));
    assert_eq!((node.state(), node.offsets("g", false)), ("Dead", vec![]));
    assert_eq!(node.settle(node.groups.delete("g")), Err(GroupRefusal::UnknownGroup));
    let node = node.crash();
    assert_eq!((node.state(), node.offsets("g", false)), ("Dead", vec![]));
}

#[test]
fn offsets_of_subscribed_topics_stay() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    let mut both = CommitRequest { claim: claim(&joined), ..commit("g", 0, 3) };
    both.offsets.push(OffsetCommit { topic: "u".into(), ..both.offsets[0].clone() });
    node.commit(both).unwrap();
    let partitions = vec![("t".into(), 0), ("u".into(), 0), ("v".into(), 0)];
    let deleted = node.settle(node.groups.delete_offsets("g", partitions));
    assert_eq!(deleted, Ok(vec![Err(GroupRefusal::Subscribed), Ok(()), Ok(())]));
    assert_eq!(node.offsets("g", false).len(), 1);
    assert_eq!(node.settle(node.groups.delete_offsets("no", Vec::new())), Err(GroupRefusal::UnknownGroup));
}

#[test]
fn offsets_expire_a_week_after_the_last_member_left() {
    const WEEK_MS: i64 = 7 * 24 * 3_600_000;
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    node.commit(CommitRequest { claim: claim(&joined), ..commit("g", 0, 3) }).unwrap();
    node.commit(commit("simple", 0, 4)).unwrap();
    node.pass(WEEK_MS - 1_000_000);
    // The member has been silent for long: the group is empty from now on.
    assert_eq!(node.state(), "Empty");
    node.pass(1_000_001);
    while node.log.step() {}
    assert_eq!(node.offsets("simple", false), []);
    assert_eq!(node.offsets("g", false), [(0, 3)]);
    node.pass(WEEK_MS);
    while node.log.step() {}
    assert_eq!((node.state(), node.offsets("g", false)), ("Dead", vec![]));
    // A client that says how long.
    let request = CommitRequest { retention: Some(Duration::from_secs(60)), ..commit("short", 0, 1) };
    node.commit(request).unwrap();
    node.pass(700_000);
    while node.log.step() {}
    assert_eq!(node.offsets("short", false), []);
}

#[test]
fn offsets_of_a_transaction_count_when_it_ends() {
    let node = Fixture::new();
    node.commit(commit("g", 0, 1)).unwrap();
    let pend = |id: i64, request| node.settle(node.groups.commit_offsets_in_transaction(id, 0, request));
    assert_eq!(pend(7, commit("g", 0, 2)), Ok(vec![Ok(())]));
    assert_eq!(pend(8, commit("g", 1, 9)), Ok(vec![Ok(())]));
    assert_eq!(node.offsets("g", false), [(0, 1)]);
    assert_eq!(node.offsets("g", true), [(0, -1), (1, -1)]);
    node.groups.complete_transaction(8, false);
    assert_eq!(node.offsets("g", true), [(0, -1)]);
    node.groups.complete_transaction(7, true);
    assert_eq!(node.offsets("g", true), [(0, 2)]);
    // The later record counts, whenever its transaction ends.
    pend(7, commit("g", 0, 3)).unwrap();
    node.commit(commit("g", 0, 4)).unwrap();
    node.groups.complete_transaction(7, true);
    assert_eq!(node.offsets("g", true), [(0, 4)]);
}

#[test]
fn a_transaction_commits_offsets_for_members_of_the_group_only() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    let pend = |claim| {
        let request = CommitRequest { claim, ..commit("g", 0, 2) };
        node.settle(node.groups.commit_offsets_in_transaction(7, 0, request))
    };
    assert_eq!(pend(claim(&joined)), Ok(vec![Ok(())]));
    assert_eq!(pend(MemberClaim { generation: 9, ..claim(&joined) }), Err(GroupRefusal::IllegalGeneration));
    assert_eq!(
        pend(MemberClaim { member_id: "x".to_owned(), ..claim(&joined) }),
        Err(GroupRefusal::UnknownMember)
    );
    // Early versions of the request name nobody.
    assert_eq!(pend(nobody()), Ok(vec![Ok(())]));
}
