use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::groups::group::GroupState;
use crate::groups::options::GroupOptions;

fn kept(expires_ms: Option<i64>) -> Kept {
    let committed = CommittedOffset { offset: 258, leader_epoch: 3, metadata: "m".into(), committed_ms: 1 };
    Kept { committed, expires_ms, log_offset: 9 }
}

/// Bytes as Apache Kafka's generated schemas write them.
#[test]
fn golden_offset() {
    let key = offset_key("g", "topic", 2);
    assert_eq!(key, b"\x00\x01\x00\x01g\x00\x05topic\x00\x00\x00\x02");
    let value = offset_value(&kept(None));
    let golden =
        b"\x00\x03\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x03\x00\x01m\x00\x00\x00\x00\x00\x00\x00\x01";
    assert_eq!(value, golden);
    let read = read_key(&key.into()).unwrap().unwrap();
    assert_eq!(read, Key::Offset { group: "g".into(), topic: "topic".into(), partition: 2 });
    assert_eq!(read_offset(&value.into(), 9), Ok(kept(None)));
    let flexible =
        b"\x00\x04\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x03\x02m\x00\x00\x00\x00\x00\x00\x00\x01\x00";
    assert_eq!(read_offset(&Bytes::from_static(flexible), 9), Ok(kept(None)));
}

#[test]
fn an_offset_with_an_expiry_is_an_older_version() {
    let value = offset_value(&kept(Some(77)));
    assert_eq!(value[..2], [0, 1]);
    let mut expected = kept(Some(77));
    expected.committed.leader_epoch = -1;
    assert_eq!(read_offset(&value.into(), 9), Ok(expected));
}

#[test]
fn golden_group() {
    let options = GroupOptions::default();
    let at = Moment { now: Duration::ZERO, unix_ms: 0, options: &options };
    let mut group = Group::new("g".into());
    (group.generation, group.since_ms) = (7, Some(5));
    group.protocol_type = Some("consumer".into());
    group.protocol = Some("range".into());
    group.leader = Some("a".into());
    let stored = StoredMember {
        id: "a".into(),
        instance_id: Some("i".into()),
        client_id: "c".into(),
        client_host: "/h".into(),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 10_000,
        subscription: Bytes::from_static(b"sub"),
        assignment: Bytes::from_static(b"asg"),
    };
    group.restore(vec![stored.into_member("range", &at)], &at);
    assert_eq!(group.state, GroupState::Stable { sync_by: None });
    let value = group_value(&group);
    let golden = [
        &b"\x00\x03\x00\x08consumer\x00\x00\x00\x07\x00\x05range\x00\x01a"[..],
        b"\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x01",
        b"\x00\x01a\x00\x01i\x00\x01c\x00\x02/h\x00\x00\xea\x60\x00\x00\x27\x10\x00\x00\x00\x03sub\x00\x00\x00\x03asg",
    ];
    assert_eq!(value, golden.concat());
    assert_eq!(group_key("g"), b"\x00\x02\x00\x01g");
    assert_eq!(read_key(&group_key("g").into()), Ok(Some(Key::Group("g".into()))));
    let read = read_group(&value.clone().into()).unwrap();
    assert_eq!((read.generation, read.protocol.as_deref(), read.since_ms), (7, Some("range"), Some(5)));
    assert_eq!(read.members[0].subscription, "sub");
    for len in 0..value.len() {
        assert!(read_group(&Bytes::copy_from_slice(&value[..len])).is_err(), "{len}");
    }
}

#[test]
fn what_a_later_kafka_wrote_is_skipped_or_named() {
    assert_eq!(read_key(&Bytes::from_static(b"\x00\x03\x00\x01g")), Ok(None));
    assert!(read_key(&Bytes::from_static(b"\x00")).is_err());
    assert!(read_offset(&Bytes::from_static(b"\x00\x05"), 0).is_err());
}
