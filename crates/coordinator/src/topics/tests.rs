use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};
use highwater_env::{ManualClock, SeededEntropy, SimDisk};
use highwater_log::{BatchBuilder, Log};

use super::{CATALOG_PARTITION, TopicError, TopicOptions, Topics};
use crate::testing;

fn open_log(disk: &SimDisk) -> Log {
    testing::open_log(disk, Arc::new(ManualClock::at(0)))
}

fn open(disk: &SimDisk, seed: u64) -> Topics {
    let entropy = Arc::new(SeededEntropy::new(seed));
    Topics::open(open_log(disk), entropy, TopicOptions::default()).unwrap()
}

fn check(result: Result<super::Topic, TopicError>, expected: Expect) {
    expected.assert_eq(&result.unwrap_err().to_string());
}

#[test]
fn topics_survive_a_crash_with_ids_and_settings() {
    let disk = SimDisk::new(1);
    let topics = open(&disk, 1);
    let configs = BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]);
    let orders = topics.create("orders", 3, configs).unwrap();
    let auto = topics.ensure("auto.created").unwrap();
    assert_eq!((orders.partitions, auto.partitions, auto.internal), (3, 1, false));
    assert!(topics.ensure_internal("__stage.p.s", 1, BTreeMap::new()).unwrap().internal);
    assert!(!topics.ensure("__debezium-heartbeat").unwrap().internal);
    assert_eq!(topics.ensure("orders").unwrap(), orders);
    let all = topics.list();
    drop(topics);
    disk.crash();
    let topics = open(&disk, 2);
    assert_eq!(topics.list(), all);
    assert_eq!(topics.by_id(orders.id), Some(orders.clone()));
    topics.delete("orders").unwrap();
    assert_eq!((topics.by_id(orders.id), topics.get("orders")), (None, None));
}

#[test]
fn a_topic_made_again_shares_nothing_with_its_predecessor() {
    let disk = SimDisk::new(1);
    let topics = open(&disk, 1);
    let old = topics.create("t", 1, BTreeMap::new()).unwrap();
    let mut batch = BatchBuilder::new(0);
    batch.push(0, None, Some(b"old"), &[]);
    topics.0.log.append(old.partition(0), batch.finish()).unwrap().wait().unwrap();
    topics.delete("t").unwrap();
    assert_eq!(topics.get("t"), None);
    let new = topics.create("t", 1, BTreeMap::new()).unwrap();
    assert_ne!(old.id, new.id);
    drop(topics);
    disk.crash();
    let topics = open(&disk, 2);
    assert_eq!(topics.list(), std::slice::from_ref(&new));
    assert_eq!(topics.0.log.bounds(new.partition(0)).unwrap().high_watermark, 0);
    assert!(topics.0.log.bounds(old.partition(0)).is_err());
}

#[test]
fn partitions_of_a_creation_cut_short_are_removed() {
    let disk = SimDisk::new(1);
    let topics = open(&disk, 1);
    let orphan = highwater_env::TopicPartition { topic: highwater_env::TopicId(99), partition: 0 };
    topics.0.log.create_partition(orphan).unwrap();
    drop(topics);
    let topics = open(&disk, 2);
    assert_eq!(topics.0.log.partitions(), [CATALOG_PARTITION]);
}

#[test]
fn refusals_name_the_rule() {
    let topics = open(&SimDisk::new(1), 1);
    topics.create("taken", 1, BTreeMap::new()).unwrap();
    let create = |name: &str, partitions| topics.create(name, partitions, BTreeMap::new());
    check(create("taken", 1), expect!["topic taken already exists"]);
    check(create("", 1), expect![[r#"invalid topic name "": it is empty"#]]);
    check(create("..", 1), expect![[r#"invalid topic name "..": it is . or .."#]]);
    check(
        create("a/b", 1),
        expect![[r#"invalid topic name "a/b": only a-z, A-Z, 0-9, '.', '_' and '-' are allowed"#]],
    );
    check(
        create("__consumer_offsets", 1),
        expect![[r#"invalid topic name "__consumer_offsets": it is an internal topic's"#]],
    );
    check(topics.ensure("__transaction_state"), expect!["unknown topic __transaction_state"]);
    check(create("t", 0), expect!["0 partitions, expected 1..=4096"]);
    create("a.b_c", 1).unwrap();
    check(
        create("a_b.c", 1),
        expect![[
            r#"invalid topic name "a_b.c": it collides with existing topic a.b_c: '.' and '_' count as the same"#
        ]],
    );
    check(
        topics.ensure("a.b.c"),
        expect![[
            r#"invalid topic name "a.b.c": it collides with existing topic a.b_c: '.' and '_' count as the same"#
        ]],
    );
    assert!(matches!(create("__consumer.offsets", 1), Err(TopicError::InvalidName { .. })));
    create("a-b-c", 1).unwrap();
    topics.delete("a.b_c").unwrap();
    create("a_b.c", 1).unwrap();
    check(create("t", 4097), expect!["4097 partitions, expected 1..=4096"]);
    assert!(matches!(create(&"x".repeat(250), 1), Err(TopicError::InvalidName { .. })));
    create(&"x".repeat(249), -1).unwrap();
    assert!(matches!(topics.delete("nope"), Err(TopicError::Unknown(_))));
}

#[test]
fn auto_creation_can_be_switched_off() {
    let options = TopicOptions { auto_create: false, ..TopicOptions::default() };
    let entropy = Arc::new(SeededEntropy::new(1));
    let topics = Topics::open(open_log(&SimDisk::new(1)), entropy, options).unwrap();
    check(topics.ensure("t"), expect!["unknown topic t"]);
}

#[test]
fn a_damaged_record_is_named() {
    let refusal = |record: &str| {
        let disk = SimDisk::new(1);
        let topics = open(&disk, 1);
        let mut batch = BatchBuilder::new(0);
        batch.push(0, None, Some(record.as_bytes()), &[]);
        topics.0.log.append(CATALOG_PARTITION, batch.finish()).unwrap().wait().unwrap();
        drop(topics);
        let entropy = Arc::new(SeededEntropy::new(1));
        Topics::open(open_log(&disk), entropy, TopicOptions::default()).err().unwrap().to_string()
    };
    let newer = refusal(r#"{"v":3,"change":"renamed","name":"t"}"#);
    expect!["topic catalog record at offset 0: version 3, expected 1..=2"].assert_eq(&newer);
    let none = refusal(r#"{"v":1,"change":"created","name":"t","id":"1","partitions":0,"configs":{}}"#);
    expect!["topic catalog record at offset 0: topic t has 0 partitions"].assert_eq(&none);
}

fn configs(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn altered_configs_and_added_partitions_survive_a_crash() {
    let disk = SimDisk::new(1);
    let topics = open(&disk, 1);
    topics.create("t", 2, configs(&[("retention.ms", "1000"), ("segment.ms", "5")])).unwrap();
    let altered = topics
        .alter_configs("t", |configs| {
            configs.remove("retention.ms");
            configs.insert("cleanup.policy".to_owned(), "compact".to_owned());
            Ok::<_, TopicError>(())
        })
        .unwrap();
    assert_eq!(*altered.configs, configs(&[("cleanup.policy", "compact"), ("segment.ms", "5")]));
    assert!(altered.config.partition.compact && altered.config.partition.segment_ms == 5);
    let grown = topics.add_partitions("t", 5).unwrap();
    assert_eq!((grown.partitions, &grown.config), (5, &altered.config));
    topics.0.log.bounds(grown.partition(4)).unwrap();
    drop(topics);
    disk.crash();
    let topics = open(&disk, 2);
    assert_eq!(topics.get("t"), Some(grown.clone()));
    topics.0.log.bounds(grown.partition(4)).unwrap();
}

#[test]
fn refused_alterations_change_nothing() {
    let disk = SimDisk::new(1);
    let topics = open(&disk, 1);
    let before = topics.create("t", 2, BTreeMap::new()).unwrap();
    check(
        topics.create("u", 1, configs(&[("colour", "blue")])),
        expect!["Unknown topic config name: colour"],
    );
    assert_eq!(topics.get("u"), None);
    let set = |name: &'static str, value: &'static str| {
        topics.alter_configs("t", |configs| {
            configs.insert(name.to_owned(), value.to_owned());
            Ok::<_, TopicError>(())
        })
    };
    check(
        set("retention.ms", "soon"),
        expect!["Invalid value soon for configuration retention.ms: expected a 64-bit number of at least -1"],
    );
    check(topics.alter_configs("nope", |_| Ok::<_, TopicError>(())), expect!["unknown topic nope"]);
    check(topics.add_partitions("t", 2), expect!["topic t has 2 partitions, expected more than that, not 2"]);
    check(topics.add_partitions("t", 4097), expect!["4097 partitions, expected 1..=4096"]);
    check(topics.add_partitions("nope", 2), expect!["unknown topic nope"]);
    assert_eq!(topics.get("t"), Some(before));
}

/// A growth whose record a crash took leaves no partitions behind.
#[test]
fn partitions_of_a_growth_cut_short_are_removed() {
    let disk = SimDisk::new(1);
    let topics = open(&disk, 1);
    let topic = topics.create("t", 1, BTreeMap::new()).unwrap();
    topics.0.log.create_partition(topic.partition(1)).unwrap();
    drop(topics);
    let topics = open(&disk, 2);
    assert!(topics.0.log.bounds(topic.partition(1)).is_err());
    assert_eq!(topics.get("t").unwrap().partitions, 1);
}

#[test]
fn internal_topics_are_made_whatever_is_switched_off() {
    let options = TopicOptions { auto_create: false, ..TopicOptions::default() };
    let entropy = Arc::new(SeededEntropy::new(1));
    let topics = Topics::open(open_log(&SimDisk::new(1)), entropy, options).unwrap();
    let partition = topics.coordinator_partition("__consumer_offsets").unwrap();
    let made = topics.by_id(partition.topic).unwrap();
    let kept = &made.config.partition;
    assert_eq!((made.partitions, made.internal, kept.compact, kept.delete), (1, true, true, false));
    assert_eq!(kept.segment_bytes_max, 100 << 20);
    assert_eq!(topics.coordinator_partition("__consumer_offsets").unwrap(), partition);
}

/// Records as the first version wrote them, with configs that it took unseen.
#[test]
fn records_of_version_1_are_read() {
    let disk = SimDisk::new(1);
    let topics = open(&disk, 1);
    let mut batch = BatchBuilder::new(0);
    let records = [
        r#"{"v":1,"change":"created","name":"a","id":"0a","partitions":1,"configs":{}}"#,
        r#"{"v":1,"change":"created","name":"b","id":"0b","partitions":2,"configs":{"retention.ms":"soon","x":"y"}}"#,
        r#"{"v":1,"change":"deleted","name":"a","id":"0a"}"#,
    ];
    for record in records {
        batch.push(0, None, Some(record.as_bytes()), &[]);
    }
    topics.0.log.append(CATALOG_PARTITION, batch.finish()).unwrap().wait().unwrap();
    drop(topics);
    let topics = open(&disk, 2);
    let b = topics.get("b").unwrap();
    assert_eq!((topics.list().len(), b.partitions, b.id), (1, 2, highwater_env::TopicId(11)));
    assert_eq!(*b.configs, configs(&[("retention.ms", "soon"), ("x", "y")]));
    assert_eq!(*b.config, crate::TopicConfig::default());
}
