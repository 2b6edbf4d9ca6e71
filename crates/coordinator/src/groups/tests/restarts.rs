//! What is there after a power cut.

use highwater_log::{Marker, MarkerKind};

use super::offsets::commit;
use super::*;
use crate::groups::CommitRequest;

#[test]
fn members_go_on_as_if_nothing_had_been() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    node.commit(CommitRequest { claim: claim(&joined), ..commit("g", 0, 3) }).unwrap();
    let described = node.settle(node.groups.describe(vec!["g".to_owned()])).unwrap();
    let node = node.crash();
    assert_eq!(node.heartbeat(&joined), Ok(()));
    assert_eq!(node.settle(node.groups.describe(vec!["g".to_owned()])).unwrap(), described);
    assert_eq!(node.settle(node.sync(&joined, &[])).unwrap().assignment, "all");
    assert_eq!(node.offsets("g", true), [(0, 3)]);
    // They have a session from the restart on, and no longer.
    node.pass(SESSION_MS);
    assert_eq!(node.heartbeat(&joined), Err(GroupRefusal::UnknownMember));
    assert_eq!(node.state(), "Empty");
    assert_eq!(node.offsets("g", true), [(0, 3)]);
}

#[test]
fn a_static_member_is_known_by_its_newest_id() {
    let node = Fixture::new();
    let named = JoinRequest { instance_id: Some("i".to_owned()), ..member("one") };
    let old = node.stable_group_of_one(&named);
    let new = node.join_now(&named).unwrap();
    let node = node.crash();
    let claim = |joined| MemberClaim { instance_id: Some("i".to_owned()), ..claim(joined) };
    assert_eq!(node.groups.heartbeat("g", &claim(&new)), Ok(()));
    assert_eq!(node.groups.heartbeat("g", &claim(&old)), Err(GroupRefusal::FencedInstance));
}

#[test]
fn an_assignment_that_was_not_durable_was_told_to_nobody() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    let (first, second) = node.rejoin_with(&joined, &member("two"));
    let mut leads = node.sync(&first, &[]);
    assert!(look(&mut leads).is_none());
    let node = node.crash();
    assert_eq!(node.heartbeat(&second), Err(GroupRefusal::UnknownMember));
    assert_eq!(node.heartbeat(&joined), Ok(()));
}

#[test]
fn a_group_that_was_emptied_is_empty() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    node.groups.leave("g", &[leaving(&joined)]).unwrap();
    while node.log.step() {}
    let node = node.crash();
    assert_eq!(node.state(), "Empty");
    // It counts on where it was.
    assert_eq!(node.stable_group_of_one(&member("two")).generation, 3);
}

#[test]
fn commits_are_there_or_not_never_half() {
    let node = Fixture::new();
    node.commit(commit("g", 0, 1)).unwrap();
    drop(node.groups.commit_offsets(commit("g", 0, 2)));
    let node = node.crash();
    assert_eq!(node.offsets("g", false), [(0, 1)]);
}

#[test]
fn transactions_are_pending_until_their_marker() {
    let node = Fixture::new();
    node.commit(commit("g", 0, 1)).unwrap();
    for (id, partition) in [(7, 0), (8, 1), (9, 2)] {
        let pend = node.groups.commit_offsets_in_transaction(id, 0, commit("g", partition, 5));
        node.settle(pend).unwrap();
    }
    let partition = node.groups.partition().unwrap();
    for (kind, producer_id) in [(MarkerKind::Commit, 7), (MarkerKind::Abort, 8)] {
        let marker = Marker { kind, producer_id, producer_epoch: 0, coordinator_epoch: 0 };
        node.log.append_all(vec![(partition, marker.batch(0))]).unwrap().pop().unwrap().wait().unwrap();
    }
    let node = node.crash();
    assert_eq!(node.offsets("g", false), [(0, 5)]);
    assert_eq!(node.offsets("g", true), [(0, 5), (2, -1)]);
    node.groups.complete_transaction(9, true);
    assert_eq!(node.offsets("g", true), [(0, 5), (2, 5)]);
}
