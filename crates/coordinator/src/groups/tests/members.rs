//! Joining, syncing, leaving, staying silent.

use super::*;

#[test]
fn a_new_member_is_given_an_id_first_and_leads_alone() {
    let node = Fixture::new();
    let asks = JoinRequest { member_id_required: true, ..member("one") };
    let refused = node.join_now(&asks).unwrap_err();
    assert_eq!(refused.reason, GroupRefusal::MemberIdRequired);
    assert!(refused.member_id.starts_with("one-") && refused.member_id.len() == 4 + 36);
    assert_eq!(node.state(), "Empty");
    let again = JoinRequest { member_id: refused.member_id.to_string(), ..asks };
    let joined = node.stable_group_of_one(&again);
    assert_eq!(joined.member_id, refused.member_id);
    assert_eq!((joined.generation, &joined.leader), (1, &joined.member_id));
    assert_eq!((&*joined.protocol_type, &*joined.protocol), ("consumer", "range"));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(node.heartbeat(&joined), Ok(()));
}

#[test]
fn an_id_that_nobody_uses_is_forgotten() {
    let node = Fixture::new();
    let asks = JoinRequest { member_id_required: true, ..member("one") };
    let id = node.join_now(&asks).unwrap_err().member_id;
    node.pass(SESSION_MS);
    let again = JoinRequest { member_id: id.to_string(), ..asks };
    assert_eq!(reason(node.join_now(&again)), GroupRefusal::UnknownMember);
}

#[test]
fn an_empty_group_waits_a_moment_for_more_members() {
    let node = Fixture::new();
    let mut first = node.join(&member("one"));
    node.pass(DELAY_MS - 1);
    let mut second = node.join(&member("two"));
    node.pass(1);
    // Someone came: it waits once more.
    assert!(look(&mut first).is_none() && look(&mut second).is_none());
    node.pass(DELAY_MS);
    let (first, second) = (look(&mut first).unwrap().unwrap(), look(&mut second).unwrap().unwrap());
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!(first.leader, second.leader);
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
}

#[test]
fn one_more_member_begins_a_new_generation() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    let (first, second) = node.rejoin_with(&joined, &member("two"));
    assert_eq!((first.generation, second.generation), (2, 2));
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
    // The follower waits for the leader's assignment.
    let mut waits = node.sync(&second, &[]);
    assert!(look(&mut waits).is_none());
    assert_eq!(node.heartbeat(&second), Ok(()));
    let mut leads = node.sync(&first, &[(&first.member_id, "a"), (&second.member_id, "b")]);
    // Nobody hears of it before it is durable.
    assert!(look(&mut leads).is_none() && look(&mut waits).is_none());
    while node.log.step() {}
    assert_eq!(look(&mut leads).unwrap().unwrap().assignment, "a");
    assert_eq!(look(&mut waits).unwrap().unwrap().assignment, "b");
    assert_eq!(node.heartbeat(&joined), Err(GroupRefusal::IllegalGeneration));
    // Asking again is answered again.
    assert_eq!(node.settle(node.sync(&second, &[])).unwrap().assignment, "b");
}

#[test]
fn a_join_that_changes_nothing_is_answered_without_a_rebalance() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    let (first, second) = node.rejoin_with(&joined, &member("two"));
    let again = JoinRequest { member_id: second.member_id.to_string(), ..member("two") };
    assert_eq!(node.join_now(&again).unwrap(), second);
    node.settle(node.sync(&first, &[])).unwrap();
    assert_eq!(node.join_now(&again).unwrap(), second);
    // With another subscription, or from the leader, it is a rebalance.
    let other = JoinRequest { protocols: vec![("range".to_owned(), subscription(&["u"]))], ..again };
    assert!(look(&mut node.join(&other)).is_none());
    assert_eq!(node.state(), "PreparingRebalance");
}

#[test]
fn who_leaves_is_not_waited_for() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    let (first, second) = node.rejoin_with(&joined, &member("two"));
    node.settle(node.sync(&first, &[])).unwrap();
    assert_eq!(
        node.groups.leave("g", &[leaving(&second), leaving(&second)]).unwrap(),
        [Ok(()), Err(GroupRefusal::UnknownMember)]
    );
    assert_eq!(node.heartbeat(&first), Err(GroupRefusal::RebalanceInProgress));
    assert_eq!(node.groups.leave("g", &[leaving(&first)]).unwrap(), [Ok(())]);
    assert_eq!(node.state(), "Empty");
    assert_eq!(node.heartbeat(&first), Err(GroupRefusal::UnknownMember));
    assert_eq!(node.groups.leave("nope", &[leaving(&first)]).unwrap(), [Err(GroupRefusal::UnknownMember)]);
}

#[test]
fn who_stays_silent_is_removed() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    let (first, second) = node.rejoin_with(&joined, &member("two"));
    let mut waits = node.sync(&second, &[]);
    node.settle(node.sync(&first, &[])).unwrap();
    node.settle(std::future::poll_fn(|context| waits.as_mut().poll(context))).unwrap();
    node.pass(SESSION_MS - 1);
    assert_eq!(node.heartbeat(&first), Ok(()));
    node.pass(1);
    assert_eq!(node.heartbeat(&second), Err(GroupRefusal::UnknownMember));
    assert_eq!(node.heartbeat(&first), Err(GroupRefusal::RebalanceInProgress));
}

#[test]
fn who_does_not_join_in_time_is_left_behind() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    let mut second = node.join(&member("two"));
    for _ in 0..REBALANCE_MS / 5000 {
        // Alive, but never joining.
        let _ = node.heartbeat(&joined);
        node.pass(5000);
    }
    let second = look(&mut second).unwrap().unwrap();
    assert_eq!((second.generation, &second.leader, second.members.len()), (2, &second.member_id, 1));
    assert_eq!(node.heartbeat(&joined), Err(GroupRefusal::UnknownMember));
}

#[test]
fn who_never_asks_for_its_assignment_is_removed() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    let (first, second) = node.rejoin_with(&joined, &member("two"));
    let mut waits = node.sync(&second, &[]);
    for _ in 0..REBALANCE_MS / 5000 {
        node.heartbeat(&first).unwrap();
        node.pass(5000);
    }
    // The leader is gone; the other must join again.
    assert_eq!(look(&mut waits).unwrap().unwrap_err(), GroupRefusal::RebalanceInProgress);
    assert_eq!(node.heartbeat(&first), Err(GroupRefusal::UnknownMember));
    assert_eq!(node.heartbeat(&second), Err(GroupRefusal::RebalanceInProgress));
}

#[test]
fn a_rebalance_ends_waiting_syncs() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    let (_, second) = node.rejoin_with(&joined, &member("two"));
    let mut waits = node.sync(&second, &[]);
    let mut third = node.join(&member("three"));
    assert_eq!(look(&mut waits).unwrap().unwrap_err(), GroupRefusal::RebalanceInProgress);
    assert!(look(&mut third).is_none());
    assert_eq!(look(&mut node.sync(&second, &[])).unwrap().unwrap_err(), GroupRefusal::RebalanceInProgress);
}

#[test]
fn the_protocol_is_one_that_all_know_and_most_want() {
    let node = Fixture::new();
    let with = |name: &str, wanted: &[&str]| JoinRequest { protocols: protocols(wanted), ..member(name) };
    let mut joins = [
        node.join(&with("one", &["sticky", "range", "own"])),
        node.join(&with("two", &["range", "sticky"])),
        node.join(&with("three", &["range", "sticky"])),
    ];
    assert_eq!(reason(node.join_now(&with("four", &["own"]))), GroupRefusal::InconsistentProtocol);
    let other = JoinRequest { protocol_type: "connect".to_owned(), ..with("five", &["range"]) };
    assert_eq!(reason(node.join_now(&other)), GroupRefusal::InconsistentProtocol);
    node.pass(DELAY_MS);
    node.pass(DELAY_MS);
    let joined = joins.each_mut().map(|join| look(join).unwrap().unwrap());
    assert!(joined.iter().all(|joined| &*joined.protocol == "range"));
    let wrong = |protocol_type: &str, protocol: &str| SyncRequest {
        group: "g".to_owned(),
        claim: claim(&joined[0]),
        protocol_type: Some(protocol_type.to_owned()),
        protocol: Some(protocol.to_owned()),
        ..SyncRequest::default()
    };
    for wrong in [wrong("connect", "range"), wrong("consumer", "sticky")] {
        assert_eq!(node.settle(node.groups.sync(&wrong)), Err(GroupRefusal::InconsistentProtocol));
    }
}

#[test]
fn joins_are_refused_with_their_reason() {
    let node = Fixture::with(GroupOptions { members_max: 2, groups_max: 2, ..options() });
    let refused = |request: JoinRequest| reason(node.join_now(&request));
    let session = |ms| JoinRequest { session_timeout: Duration::from_millis(ms), ..member("one") };
    assert_eq!(refused(session(5_999)), GroupRefusal::InvalidSessionTimeout);
    assert_eq!(refused(session(1_800_001)), GroupRefusal::InvalidSessionTimeout);
    assert_eq!(refused(JoinRequest { group: String::new(), ..member("one") }), GroupRefusal::InvalidGroupId);
    assert_eq!(
        refused(JoinRequest { group: "g".repeat(5000), ..member("one") }),
        GroupRefusal::InvalidGroupId
    );
    let known = JoinRequest { member_id: "nobody".to_owned(), ..member("one") };
    assert_eq!(refused(known.clone()), GroupRefusal::UnknownMember);
    let none = JoinRequest { protocols: Vec::new(), ..member("one") };
    assert_eq!(refused(none), GroupRefusal::InconsistentProtocol);
    // A refused join makes no group.
    assert_eq!(node.state(), "Dead");
    let _first = node.join(&member("one"));
    let _second = node.join(&member("two"));
    assert_eq!(refused(member("three")), GroupRefusal::Full);
    assert_eq!(refused(known), GroupRefusal::UnknownMember);
    let _other = node.join(&JoinRequest { group: "h".to_owned(), ..member("one") });
    assert_eq!(refused(JoinRequest { group: "i".to_owned(), ..member("one") }), GroupRefusal::Full);
}

#[test]
fn large_metadata_and_assignments_are_refused() {
    let node = Fixture::with(GroupOptions { group_bytes_max: 1000, ..options() });
    let joined = node.stable_group_of_one(&member("one"));
    let large = vec![("range".to_owned(), Bytes::from(vec![0; 1000]))];
    let larger = JoinRequest { protocols: large.clone(), ..member("two") };
    assert_eq!(reason(node.join_now(&larger)), GroupRefusal::Full);
    // Nor may a member grow so large when it joins again.
    let member_id = joined.member_id.to_string();
    let grown = JoinRequest { protocols: large, member_id, ..member("one") };
    assert_eq!(reason(node.join_now(&grown)), GroupRefusal::Full);
    assert_eq!(node.state(), "Stable");
    let (first, second) = node.rejoin_with(&joined, &member("two"));
    let mut waits = node.sync(&second, &[]);
    let mut leads = node.sync(&first, &[(&second.member_id, &"x".repeat(1000))]);
    assert_eq!(look(&mut leads).unwrap(), Err(GroupRefusal::AssignmentTooLarge));
    assert_eq!(look(&mut waits).unwrap(), Err(GroupRefusal::AssignmentTooLarge));
    assert_eq!(node.state(), "PreparingRebalance");
}

#[test]
fn ids_that_are_only_given_out_count_among_the_bytes_of_members() {
    let node = Fixture::with(GroupOptions { members_bytes_max: 150, ..options() });
    let asks = JoinRequest { member_id_required: true, ..member("one") };
    assert_eq!(reason(node.join_now(&asks)), GroupRefusal::MemberIdRequired);
    assert_eq!(reason(node.join_now(&asks)), GroupRefusal::MemberIdRequired);
    assert_eq!(reason(node.join_now(&asks)), GroupRefusal::Full);
    node.pass(SESSION_MS);
    assert_eq!(reason(node.join_now(&asks)), GroupRefusal::MemberIdRequired, "unused ids are forgotten");
}

#[test]
fn a_described_group_shows_metadata_and_assignments_once_stable() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&member("one"));
    let describe = || node.settle(node.groups.describe(vec!["g".to_owned(), "no".to_owned()])).unwrap();
    let described = describe();
    assert_eq!(described[1], None);
    let group = described[0].clone().unwrap();
    assert_eq!((group.overview.state, &*group.protocol, group.generation), ("Stable", "range", 1));
    let [only] = &group.members[..] else { panic!("one member") };
    assert_eq!((&*only.client_id, &*only.client_host), ("one", "/127.0.0.1"));
    assert_eq!((&only.metadata, &only.assignment[..]), (&subscription(&["t"]), &b"all"[..]));
    let _second = node.join(&member("two"));
    let group = describe()[0].clone().unwrap();
    assert_eq!((group.overview.state, &*group.protocol, group.members.len()), ("PreparingRebalance", "", 2));
    assert!(group.members.iter().all(|member| member.metadata.is_empty() && member.assignment.is_empty()));
    assert_eq!(joined.generation, group.generation);
}
