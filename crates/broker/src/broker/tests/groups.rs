//! Consumer groups, as requests in bytes.

use super::admin::one;
use super::*;
use crate::response::concat;
use crate::wire::{WireReader, WireWriter};

/// The session and rebalance timeout of members here.
const TIMEOUT_MS: i32 = 30_000;

struct JoinAnswer {
    code: i16,
    generation: i32,
    leader: String,
    member_id: String,
    members: usize,
}

impl Fixture {
    /// JoinGroup in version 9.
    fn join(&self, member_id: &str) -> JoinAnswer {
        let mut writer = WireWriter::new(true);
        writer.string("g");
        writer.i32(TIMEOUT_MS);
        writer.i32(TIMEOUT_MS);
        writer.string(member_id);
        writer.nullable_string(None);
        writer.string("consumer");
        one(&mut writer, |w| {
            w.string("range");
            w.bytes(vec![Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff")]);
            w.tags();
        });
        writer.nullable_string(Some("to test"));
        writer.tags();
        let handled = self.broker.handle(frame(11, 9, 77, &concat(&writer.finish()).unwrap()));
        let Handled::Parked(mut parked) = handled else { panic!("answered at once") };
        // The first rebalance of a group takes a moment, by the clock.
        while parked.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.broker.tick();
            thread::park_timeout(Duration::from_millis(5));
        }
        let Answer::Reply(response) = parked.finish() else { panic!("no answer") };
        let mut answer = response.to_bytes().unwrap();
        answer.advance(4 + 4 + 1);
        let mut answer = WireReader::new(answer, true);
        answer.i32().unwrap();
        let code = answer.i16().unwrap();
        let generation = answer.i32().unwrap();
        let protocols = (answer.nullable_string().unwrap(), answer.nullable_string().unwrap());
        assert_eq!(protocols.0.is_some(), code == 0);
        let leader = answer.string().unwrap().to_string();
        answer.i8().unwrap();
        let member_id = answer.string().unwrap().to_string();
        let members = answer.array_len(1).unwrap().unwrap();
        JoinAnswer { code, generation, leader, member_id, members }
    }

    /// SyncGroup in version 5 of a leader that assigns itself everything: code and assignment.
    fn sync(&self, generation: i32, member_id: &str) -> (i16, Bytes) {
        let mut answer = self.call(14, 5, |w| {
            w.string("g");
            w.i32(generation);
            w.string(member_id);
            w.nullable_string(None);
            w.nullable_string(Some("consumer"));
            w.nullable_string(Some("range"));
            one(w, |w| {
                w.string(member_id);
                w.bytes(vec![Bytes::from_static(b"all")]);
                w.tags();
            });
        });
        answer.i32().unwrap();
        let code = answer.i16().unwrap();
        answer.nullable_string().unwrap();
        answer.nullable_string().unwrap();
        (code, answer.nullable_bytes().unwrap().unwrap())
    }

    /// Heartbeat in version 4: error code.
    fn heartbeat(&self, generation: i32, member_id: &str) -> i16 {
        let mut answer = self.call(12, 4, |w| {
            w.string("g");
            w.i32(generation);
            w.string(member_id);
            w.nullable_string(None);
        });
        answer.i32().unwrap();
        answer.i16().unwrap()
    }

    /// OffsetCommit in version 8 to partition 0: error code.
    fn commit(&self, (generation, member_id): (i32, &str), topic: &str, offset: i64, metadata: &str) -> i16 {
        let mut answer = self.call(8, 8, |w| {
            w.string("g");
            w.i32(generation);
            w.string(member_id);
            w.nullable_string(None);
            one(w, |w| {
                w.string(topic);
                one(w, |w| {
                    w.i32(0);
                    w.i64(offset);
                    w.i32(0);
                    w.nullable_string(Some(metadata));
                    w.tags();
                });
                w.tags();
            });
        });
        answer.i32().unwrap();
        assert_eq!(answer.array_len(1).unwrap(), Some(1));
        assert_eq!(&*answer.string().unwrap(), topic);
        assert_eq!((answer.array_len(1).unwrap(), answer.i32().unwrap()), (Some(1), 0));
        answer.i16().unwrap()
    }

    /// OffsetFetch of all topics, in version 5 and in version 9: topic, offset and metadata of the
    /// only one, if there is one.
    fn offset(&self) -> Option<(String, i64, String)> {
        let mut old = self.call(9, 5, |w| {
            w.string("g");
            w.len(None);
        });
        old.i32().unwrap();
        let old = only_offset(&mut old);
        let mut new = self.call(9, 9, |w| {
            one(w, |w| {
                w.string("g");
                w.nullable_string(None);
                w.i32(-1);
                w.len(None);
                w.tags();
            });
            w.bool(true);
        });
        new.i32().unwrap();
        assert_eq!(new.array_len(1).unwrap(), Some(1));
        assert_eq!(&*new.string().unwrap(), "g");
        let new = only_offset(&mut new);
        assert_eq!(new, old);
        new
    }

    /// ListGroups in version 5: names, states and types.
    fn list_groups(&self, states: &[&str]) -> Vec<(String, String, String)> {
        let mut answer = self.call(16, 5, |w| {
            w.len(Some(states.len()));
            states.iter().for_each(|state| w.string(state));
            w.len(Some(0));
        });
        answer.skip(4 + 2).unwrap();
        let group = |answer: &mut WireReader| {
            let name = answer.string()?.to_string();
            answer.string()?;
            let told = (name, answer.string()?.to_string(), answer.string()?.to_string());
            answer.tags()?;
            Ok(told)
        };
        answer.array(1, group).unwrap()
    }

    /// DescribeGroups in version 6: error code, state, members.
    fn describe_group(&self, group: &str) -> (i16, String, usize) {
        let mut answer = self.call(15, 6, |w| {
            one(w, |w| w.string(group));
            w.bool(true);
        });
        answer.skip(4 + 1).unwrap();
        let code = answer.i16().unwrap();
        answer.nullable_string().unwrap();
        assert_eq!(&*answer.string().unwrap(), group);
        let state = answer.string().unwrap().to_string();
        answer.string().unwrap();
        answer.string().unwrap();
        (code, state, answer.array_len(1).unwrap().unwrap())
    }

    /// DeleteGroups in version 2: error code.
    fn delete_group(&self, group: &str) -> i16 {
        let mut answer = self.call(42, 2, |w| one(w, |w| w.string(group)));
        answer.skip(4 + 1).unwrap();
        assert_eq!(&*answer.string().unwrap(), group);
        answer.i16().unwrap()
    }

    /// OffsetDelete of a topic's partition 0: the group's error code, the partition's if there is one.
    fn delete_offset(&self, topic: &str) -> (i16, Option<i16>) {
        let mut answer = self.call(47, 0, |w| {
            w.string("g");
            one(w, |w| {
                w.string(topic);
                one(w, |w| w.i32(0));
            });
        });
        let code = answer.i16().unwrap();
        answer.i32().unwrap();
        if answer.array_len(1).unwrap() == Some(0) {
            return (code, None);
        }
        answer.string().unwrap();
        answer.skip(4 + 4).unwrap();
        (code, answer.i16().ok())
    }

    /// LeaveGroup in version 5: the group's error code and the member's.
    fn leave(&self, member_id: &str) -> (i16, i16) {
        let mut answer = self.call(13, 5, |w| {
            w.string("g");
            one(w, |w| {
                w.string(member_id);
                w.nullable_string(None);
                w.nullable_string(Some("bye"));
                w.tags();
            });
        });
        answer.i32().unwrap();
        let code = answer.i16().unwrap();
        assert_eq!(answer.array_len(1).unwrap(), Some(1));
        answer.string().unwrap();
        answer.nullable_string().unwrap();
        (code, answer.i16().unwrap())
    }
}

fn only_offset(answer: &mut WireReader) -> Option<(String, i64, String)> {
    match answer.array_len(1).unwrap() {
        Some(0) => return None,
        topics => assert_eq!(topics, Some(1)),
    }
    let topic = answer.string().unwrap().to_string();
    assert_eq!((answer.array_len(1).unwrap(), answer.i32().unwrap()), (Some(1), 0));
    let offset = answer.i64().unwrap();
    assert_eq!(answer.i32().unwrap(), 0);
    let metadata = answer.string().unwrap().to_string();
    assert_eq!(answer.i16().unwrap(), 0);
    Some((topic, offset, metadata))
}

#[test]
fn a_members_whole_life() {
    let node = fixture();
    node.create("t");
    let asked = node.join("");
    assert_eq!((asked.code, asked.generation), (ErrorCode::MemberIdRequired.code(), -1));
    let joined = node.join(&asked.member_id);
    let me = joined.member_id.as_str();
    assert_eq!((joined.code, joined.generation, joined.members), (0, 1, 1));
    assert_eq!((me, &*joined.leader), (&*asked.member_id, me));
    assert_eq!(node.sync(1, me), (0, Bytes::from_static(b"all")));
    assert_eq!(node.heartbeat(1, me), 0);
    assert_eq!(node.heartbeat(2, me), ErrorCode::IllegalGeneration.code());
    assert_eq!(node.heartbeat(1, "x"), ErrorCode::UnknownMemberId.code());
    assert_eq!(node.commit((1, me), "t", 5, "here"), 0);
    assert_eq!(node.commit((1, me), "u", 5, ""), ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(node.commit((1, me), "t", 6, &"x".repeat(5000)), ErrorCode::OffsetMetadataTooLarge.code());
    assert_eq!(node.commit((-1, ""), "t", 6, ""), ErrorCode::UnknownMemberId.code());
    assert_eq!(node.offset(), Some(("t".to_owned(), 5, "here".to_owned())));
    let listed = |state: &str| vec![("g".to_owned(), state.to_owned(), "classic".to_owned())];
    assert_eq!(node.list_groups(&[]), listed("Stable"));
    assert_eq!(node.list_groups(&["Empty"]), []);
    assert_eq!(node.list_groups(&["stable", "Empty"]), listed("Stable"));
    assert_eq!(node.describe_group("g"), (0, "Stable".to_owned(), 1));
    assert_eq!(node.describe_group("h"), (ErrorCode::GroupIdNotFound.code(), "Dead".to_owned(), 0));
    assert_eq!(node.delete_offset("t"), (0, Some(ErrorCode::GroupSubscribedToTopic.code())));
    assert_eq!(node.delete_group("g"), ErrorCode::NonEmptyGroup.code());
    assert_eq!(node.leave("x"), (0, ErrorCode::UnknownMemberId.code()));
    assert_eq!(node.leave(me), (0, 0));
    assert_eq!(node.describe_group("g"), (0, "Empty".to_owned(), 0));
    assert_eq!(node.commit((-1, ""), "t", 7, "set"), 0);
    assert_eq!(node.offset(), Some(("t".to_owned(), 7, "set".to_owned())));
    assert_eq!(node.delete_offset("t"), (0, Some(0)));
    assert_eq!(node.offset(), None);
    assert_eq!(node.delete_group("g"), 0);
    assert_eq!(node.delete_group("g"), ErrorCode::GroupIdNotFound.code());
    assert_eq!(node.delete_offset("t"), (ErrorCode::GroupIdNotFound.code(), None));
    assert_eq!(node.list_groups(&[]), []);
}

#[test]
fn a_commit_is_answered_and_shown_when_it_is_durable() {
    let gate = Arc::new(gate::Gate::default());
    let disk = Arc::new(gate::GatedDisk(Arc::clone(&gate)));
    let node = fixture_on(disk, BrokerOptions::default(), MemoryBudget::unlimited());
    node.create("t");
    assert_eq!(node.commit((-1, ""), "t", 1, ""), 0);
    gate.shut();
    thread::scope(|scope| {
        let commit = scope.spawn(|| node.commit((-1, ""), "t", 2, ""));
        thread::park_timeout(Duration::from_millis(50));
        assert!(!commit.is_finished());
        let fetch = scope.spawn(|| node.offset());
        thread::park_timeout(Duration::from_millis(50));
        assert!(!fetch.is_finished());
        gate.open();
        assert_eq!(commit.join().unwrap(), 0);
        assert_eq!(fetch.join().unwrap().unwrap().1, 2);
    });
}

#[test]
fn a_topic_made_again_inherits_no_offsets() {
    let node = fixture();
    node.create("t");
    assert_eq!(node.commit((-1, ""), "t", 5, ""), 0);
    let mut answer = node.call(20, 1, |w| {
        one(w, |w| w.string("t"));
        w.i32(1000);
    });
    answer.skip(4 + 4).unwrap();
    assert_eq!((&*answer.string().unwrap(), answer.i16().unwrap()), ("t", 0));
    node.create("t");
    assert_eq!(node.offset(), None);
}

#[test]
fn where_the_leaders_records_end() {
    let node = fixture();
    node.create("t");
    node.produce("t", 0, -1, &batch(&["a", "b"], 1));
    let end = |current: i32, epoch: i32| {
        let mut answer = node.call(23, 3, |w| {
            w.i32(-1);
            one(w, |w| {
                w.string("t");
                one(w, |w| {
                    w.i32(0);
                    w.i32(current);
                    w.i32(epoch);
                });
            });
        });
        answer.skip(4 + 4).unwrap();
        answer.string().unwrap();
        answer.skip(4).unwrap();
        let code = answer.i16().unwrap();
        answer.skip(4).unwrap();
        (code, answer.i32().unwrap(), answer.i64().unwrap())
    };
    assert_eq!(end(-1, 0), (0, 0, 2));
    assert_eq!(end(0, 0), (0, 0, 2));
    assert_eq!(end(0, 1), (0, -1, -1));
    assert_eq!(end(1, 0), (ErrorCode::UnknownLeaderEpoch.code(), -1, -1));
}

#[test]
fn a_partition_named_again_is_fetched_once() {
    let node = fixture();
    let mut answer = node.call(9, 5, |w| {
        w.string("g");
        w.len(Some(2));
        for _ in 0..2 {
            w.string("t");
            w.len(Some(3));
            [0, 1, 0].into_iter().for_each(|partition| w.i32(partition));
        }
    });
    answer.skip(4).unwrap();
    let topics = answer.array(1, |answer| {
        let topic = answer.string()?.to_string();
        let partitions = answer.array(1, |answer| {
            let partition = answer.i32()?;
            answer.skip(8 + 4)?;
            answer.nullable_string()?;
            answer.i16().map(|code| (partition, code))
        })?;
        Ok((topic, partitions))
    });
    assert_eq!(topics.unwrap(), [("t".to_owned(), vec![(0, 0), (1, 0)])]);
}
