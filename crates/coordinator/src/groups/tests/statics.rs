//! Static members (KIP-345, KIP-814).

use super::*;

fn named(client_id: &str, instance_id: &str) -> JoinRequest {
    JoinRequest {
        instance_id: Some(instance_id.to_owned()),
        member_id_required: true,
        can_skip_assignment: true,
        ..member(client_id)
    }
}

fn claimed(joined: &Joined, instance_id: &str) -> MemberClaim {
    MemberClaim { instance_id: Some(instance_id.to_owned()), ..claim(joined) }
}

#[test]
fn a_static_member_comes_back_to_its_assignment_without_a_rebalance() {
    let node = Fixture::new();
    let before = node.stable_group_of_one(&named("one", "i"));
    let after = node.join_now(&named("one", "i")).unwrap();
    assert_eq!((after.generation, after.skip_assignment), (1, true));
    assert_ne!(after.member_id, before.member_id);
    assert_eq!((&after.leader, after.members.len()), (&after.member_id, 1));
    assert_eq!(node.state(), "Stable");
    assert_eq!(node.settle(node.sync(&after, &[])).unwrap().assignment, "all");
    // Whoever goes on under the old id is another process.
    let old = claimed(&before, "i");
    assert_eq!(node.groups.heartbeat("g", &old), Err(GroupRefusal::FencedInstance));
    assert_eq!(node.groups.heartbeat("g", &claimed(&after, "i")), Ok(()));
    assert_eq!(node.groups.heartbeat("g", &claimed(&after, "j")), Err(GroupRefusal::UnknownMember));
    let fenced = JoinRequest { member_id: before.member_id.to_string(), ..named("one", "i") };
    assert_eq!(reason(node.join_now(&fenced)), GroupRefusal::FencedInstance);
}

#[test]
fn a_leader_of_an_older_client_is_told_that_its_old_id_leads() {
    let node = Fixture::new();
    let before = node.stable_group_of_one(&named("one", "i"));
    let old = JoinRequest { can_skip_assignment: false, ..named("one", "i") };
    let after = node.join_now(&old).unwrap();
    assert_eq!((after.leader, after.skip_assignment, after.members.len()), (before.member_id, false, 0));
}

#[test]
fn a_static_member_that_wants_another_protocol_rebalances() {
    let node = Fixture::new();
    node.stable_group_of_one(&named("one", "i"));
    let other = JoinRequest { protocols: protocols(&["sticky"]), ..named("one", "i") };
    let mut join = node.join(&other);
    let joined = look(&mut join).unwrap().unwrap();
    assert_eq!((joined.generation, &*joined.protocol), (2, "sticky"));
}

#[test]
fn the_waiting_join_of_a_replaced_process_is_fenced() {
    let node = Fixture::new();
    let mut first = node.join(&named("one", "i"));
    let mut second = node.join(&named("one", "i"));
    assert_eq!(look(&mut first).unwrap().unwrap_err().reason, GroupRefusal::FencedInstance);
    node.pass(DELAY_MS);
    let joined = look(&mut second).unwrap().unwrap();
    assert_eq!(joined.members.len(), 1);
    // Its sync waits while another takes over once more.
    let mut third = node.join(&named("one", "i"));
    let joined_again = look(&mut third).unwrap().unwrap();
    assert_eq!(joined_again.generation, 2);
    assert_eq!(node.groups.heartbeat("g", &claimed(&joined, "i")), Err(GroupRefusal::FencedInstance));
}

#[test]
fn a_silent_static_member_keeps_its_place_through_a_rebalance_but_not_its_session() {
    let node = Fixture::new();
    let mut one = node.join(&named("one", "i"));
    let mut two = node.join(&named("two", "j"));
    node.pass(DELAY_MS);
    node.pass(DELAY_MS);
    let (one, two) = (look(&mut one).unwrap().unwrap(), look(&mut two).unwrap().unwrap());
    let mut waits = node.sync(&two, &[]);
    let leader = if one.leader == one.member_id { &one } else { panic!("the first leads") };
    node.settle(node.sync(leader, &[])).unwrap();
    node.settle(std::future::poll_fn(|context| waits.as_mut().poll(context))).unwrap();
    // The leader joins again; the other is silent until its session is over.
    let again = JoinRequest { member_id: one.member_id.to_string(), ..named("one", "i") };
    let mut join = node.join(&again);
    node.pass(SESSION_MS - 1);
    assert!(look(&mut join).is_none());
    node.pass(1);
    assert_eq!(look(&mut join).unwrap().unwrap().members.len(), 1);
}

#[test]
fn an_operator_removes_a_static_member_by_its_name() {
    let node = Fixture::new();
    let joined = node.stable_group_of_one(&named("one", "i"));
    let by = |member_id: &str, instance_id: &str| Leaving {
        member_id: member_id.to_owned(),
        instance_id: Some(instance_id.to_owned()),
    };
    let left = node.groups.leave("g", &[by("", "j"), by("wrong", "i"), by("", "i")]).unwrap();
    assert_eq!(left, [Err(GroupRefusal::UnknownMember), Err(GroupRefusal::FencedInstance), Ok(())]);
    assert_eq!(node.state(), "Empty");
    assert_eq!(node.groups.heartbeat("g", &claimed(&joined, "i")), Err(GroupRefusal::UnknownMember));
}
