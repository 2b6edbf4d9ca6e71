//! The admin APIs, as requests in bytes.

use super::*;
use crate::wire::{WireReader, WireWriter};

/// Kinds of config resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

impl Fixture {
    /// DeleteRecords in version 1: (low watermark, error code).
    fn delete_records(&self, topic: &str, partition: i32, offset: i64) -> (i64, i16) {
        let mut answer = self.call(21, 1, |w| {
            one(w, |w| {
                w.string(topic);
                one(w, |w| {
                    w.i32(partition);
                    w.i64(offset);
                });
            });
            w.i32(10_000);
        });
        answer.skip(4 + 4).unwrap();
        assert_eq!(&*answer.string().unwrap(), topic);
        answer.skip(4 + 4).unwrap();
        (answer.i64().unwrap(), answer.i16().unwrap())
    }

    /// CreatePartitions in version 1: error code.
    fn create_partitions(&self, topic: &str, count: i32, validate_only: bool) -> i16 {
        let mut answer = self.call(37, 1, |w| {
            one(w, |w| {
                w.string(topic);
                w.i32(count);
                w.len(None);
            });
            w.i32(10_000);
            w.bool(validate_only);
        });
        answer.skip(4 + 4).unwrap();
        assert_eq!(&*answer.string().unwrap(), topic);
        answer.i16().unwrap()
    }

    /// IncrementalAlterConfigs in version 0 of one resource: error code and message.
    fn alter(&self, kind: i8, name: &str, changes: &[(&str, i8, Option<&str>)]) -> (i16, Option<String>) {
        let mut answer = self.call(44, 0, |w| {
            one(w, |w| {
                w.i8(kind);
                w.string(name);
                w.len(Some(changes.len()));
                for (name, operation, value) in changes {
                    w.string(name);
                    w.i8(*operation);
                    w.nullable_string(*value);
                }
            });
            w.bool(false);
        });
        answer.skip(4 + 4).unwrap();
        (answer.i16().unwrap(), answer.nullable_string().unwrap().map(|text| text.to_string()))
    }

    fn set(&self, topic: &str, name: &str, value: &str) -> i16 {
        self.alter(TOPIC, topic, &[(name, 0, Some(value))]).0
    }

    /// AlterConfigs in version 1 of one topic: error code.
    fn replace_configs(&self, topic: &str, configs: &[(&str, &str)]) -> i16 {
        let mut answer = self.call(33, 1, |w| {
            one(w, |w| {
                w.i8(TOPIC);
                w.string(topic);
                w.len(Some(configs.len()));
                for (name, value) in configs {
                    w.string(name);
                    w.string(value);
                }
            });
            w.bool(false);
        });
        answer.skip(4 + 4).unwrap();
        answer.i16().unwrap()
    }

    /// DescribeConfigs in version 3: error code and what is said of each config.
    fn describe(&self, kind: i8, name: &str, keys: Option<&[&str]>) -> (i16, Vec<Described>) {
        let mut answer = self.call(32, 3, |w| {
            one(w, |w| {
                w.i8(kind);
                w.string(name);
                w.len(keys.map(<[_]>::len));
                keys.unwrap_or_default().iter().for_each(|key| w.string(key));
            });
            w.bool(true);
            w.bool(true);
        });
        answer.skip(4 + 4).unwrap();
        let code = answer.i16().unwrap();
        answer.nullable_string().unwrap();
        answer.skip(1).unwrap();
        assert_eq!(&*answer.string().unwrap(), name);
        (code, answer.array(1, Described::read).unwrap())
    }
}

/// An array of one element.
pub(super) fn one(writer: &mut WireWriter, element: impl FnOnce(&mut WireWriter)) {
    writer.len(Some(1));
    element(writer);
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Described {
    name: String,
    value: String,
    read_only: bool,
    source: i8,
    synonyms: Vec<(String, String, i8)>,
    kind: i8,
    documentation: String,
}

impl Described {
    fn read(reader: &mut WireReader) -> Result<Self, crate::wire::WireError> {
        let name = reader.string()?.to_string();
        let value = reader.string()?.to_string();
        let read_only = reader.i8()? == 1;
        let source = reader.i8()?;
        assert_eq!(reader.i8()?, 0, "{name} is sensitive");
        let synonyms =
            reader.array(1, |r| Ok((r.string()?.to_string(), r.string()?.to_string(), r.i8()?)))?;
        let kind = reader.i8()?;
        let documentation = reader.string()?.to_string();
        Ok(Self { name, value, read_only, source, synonyms, kind, documentation })
    }
}

#[test]
fn records_are_deleted_up_to_an_offset() {
    let node = fixture();
    node.create("t");
    node.produce("t", 0, -1, &batch(&["a", "b"], 1000));
    node.produce("t", 0, -1, &batch(&["c"], 2000));
    assert_eq!(node.delete_records("t", 0, 1), (1, 0));
    assert_eq!(node.list_offset("t", -2), (0, 1));
    assert_eq!(node.fetch("t", 0, 0, 1).0, ErrorCode::OffsetOutOfRange.code());
    // A lower offset changes nothing; -1 is the high watermark.
    assert_eq!(node.delete_records("t", 0, 0), (1, 0));
    assert_eq!(node.delete_records("t", 0, -1), (3, 0));
    assert_eq!(node.fetch("t", 3, 0, 1), (0, 3, Bytes::new()));
    let refused = |topic, partition, offset, code: ErrorCode| {
        assert_eq!(node.delete_records(topic, partition, offset), (-1, code.code()), "{code:?}");
    };
    refused("t", 0, 4, ErrorCode::OffsetOutOfRange);
    refused("t", 0, -2, ErrorCode::OffsetOutOfRange);
    refused("t", 1, 0, ErrorCode::UnknownTopicOrPartition);
    refused("nope", 0, 0, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(node.set("t", "cleanup.policy", "compact"), 0);
    refused("t", 0, -1, ErrorCode::PolicyViolation);
    assert_eq!(node.set("t", "cleanup.policy", "compact,delete"), 0);
    assert_eq!(node.delete_records("t", 0, -1), (3, 0));
}

#[test]
fn topics_grow_while_they_are_used() {
    let node = fixture();
    node.create("t");
    thread::scope(|scope| {
        let producing = scope.spawn(|| {
            (0..200).for_each(|at| assert_eq!(node.produce("t", 0, -1, &batch(&["a"], 1)), (0, at)));
        });
        assert_eq!(node.create_partitions("t", 3, true), 0);
        assert_eq!(node.broker.topics.get("t").unwrap().partitions, 1);
        for count in 2..=6 {
            assert_eq!(node.create_partitions("t", count, false), 0);
            assert_eq!(node.produce("t", count - 1, -1, &batch(&["b"], 1)), (0, 0));
        }
        producing.join().unwrap();
    });
    assert_eq!(node.list_offset("t", -1), (0, 200));
    assert_eq!(node.create_partitions("t", 6, false), ErrorCode::InvalidPartitions.code());
    assert_eq!(node.create_partitions("t", 99_999, false), ErrorCode::InvalidPartitions.code());
    assert_eq!(node.create_partitions("nope", 6, false), ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(node.produce("t", 6, -1, &batch(&["a"], 1)).0, ErrorCode::UnknownTopicOrPartition.code());
}

#[test]
fn configs_are_set_deleted_appended_and_subtracted() {
    let node = fixture();
    node.create("t");
    let now = || {
        let given = node.broker.topics.get("t").unwrap().configs;
        given.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    let changes = [("retention.ms", 0, Some("5000")), ("cleanup.policy", 2, Some("compact"))];
    assert_eq!(node.alter(TOPIC, "t", &changes), (0, None));
    assert_eq!(now(), "cleanup.policy=delete,compact retention.ms=5000");
    let changes = [("retention.ms", 1, None), ("cleanup.policy", 3, Some("delete"))];
    assert_eq!(node.alter(TOPIC, "t", &changes), (0, None));
    assert_eq!(now(), "cleanup.policy=compact");
    let refused = |changes: &[(&str, i8, Option<&str>)], code: ErrorCode| {
        let (got, message) = node.alter(TOPIC, "t", changes);
        assert_eq!((got, message.is_some()), (code.code(), true), "{changes:?}: {message:?}");
        assert_eq!(now(), "cleanup.policy=compact");
    };
    refused(&[("segment.ms", 0, Some("7")), ("retention.ms", 0, Some("x"))], ErrorCode::InvalidConfig);
    refused(&[("colour", 0, Some("blue"))], ErrorCode::InvalidConfig);
    refused(&[("retention.ms", 0, None)], ErrorCode::InvalidRequest);
    refused(&[("retention.ms", 2, Some("1"))], ErrorCode::InvalidConfig);
    refused(&[("retention.ms", 9, Some("1"))], ErrorCode::InvalidRequest);
    refused(&[("segment.ms", 0, Some("7")), ("segment.ms", 0, Some("8"))], ErrorCode::InvalidRequest);
    assert_eq!(node.set("nope", "segment.ms", "1"), ErrorCode::UnknownTopicOrPartition.code());
    let broker = node.alter(BROKER, "0", &[("message.max.bytes", 0, Some("1"))]);
    assert_eq!(broker.0, ErrorCode::InvalidRequest.code());
    assert_eq!(node.alter(99, "t", &[]).0, ErrorCode::InvalidRequest.code());
    // The old API replaces them all.
    assert_eq!(node.replace_configs("t", &[("segment.ms", "9")]), 0);
    assert_eq!(now(), "segment.ms=9");
    assert_eq!(node.replace_configs("t", &[("segment.ms", "0")]), ErrorCode::InvalidConfig.code());
    assert_eq!(node.replace_configs("t", &[]), 0);
    assert_eq!(now(), "");
}

#[test]
fn every_config_is_described_with_its_source() {
    let node = fixture();
    node.create("t");
    assert_eq!(node.set("t", "retention.ms", "77"), 0);
    let (code, all) = node.describe(TOPIC, "t", None);
    assert_eq!((code, all.len()), (0, highwater_coordinator::TOPIC_CONFIGS.len()));
    assert!(
        all.iter().all(|config| !config.read_only && config.kind > 0 && !config.documentation.is_empty())
    );
    let short = |name: &str| {
        let config = all.iter().find(|config| config.name == name).unwrap();
        let synonyms: Vec<_> = config.synonyms.iter().map(|(n, v, s)| format!("{n}={v}@{s}")).collect();
        format!("{}@{} {} [{}]", config.value, config.source, config.kind, synonyms.join(" "))
    };
    assert_eq!(short("retention.ms"), "77@1 5 [retention.ms=77@1 log.retention.ms=604800000@5]");
    assert_eq!(short("max.message.bytes"), "1048588@5 3 [message.max.bytes=1048588@5]");
    assert_eq!(short("cleanup.policy"), "delete@5 7 [log.cleanup.policy=delete@5]");
    assert_eq!(short("preallocate"), "false@5 1 [log.preallocate=false@5]");
    let (_, one) = node.describe(TOPIC, "t", Some(&["segment.bytes", "nonsense"]));
    assert_eq!(one.iter().map(|config| &*config.name).collect::<Vec<_>>(), ["segment.bytes"]);
    let (code, broker) = node.describe(BROKER, "0", None);
    let value = |name: &str| broker.iter().find(|config| config.name == name).map(|config| &*config.value);
    assert_eq!(
        (code, value("message.max.bytes"), value("log.retention.ms")),
        (0, Some("1048588"), Some("604800000"))
    );
    assert!(broker.iter().all(|config| config.read_only));
    assert!(broker.is_sorted_by(|a, b| a.name < b.name));
    assert_eq!(node.describe(BROKER, "", None), (0, Vec::new()));
    assert_eq!(node.describe(BROKER, "9", None).0, ErrorCode::InvalidRequest.code());
    assert_eq!(node.describe(TOPIC, "nope", None).0, ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(node.describe(3, "t", None).0, ErrorCode::InvalidRequest.code());
}

#[test]
fn log_directories_say_each_partitions_bytes() {
    let node = fixture();
    node.broker.topics.create("t", 2, Default::default()).unwrap();
    let sent = batch(&["a"], 1);
    node.produce("t", 1, -1, &sent);
    let mut answer = node.call(35, 4, |w| w.len(None));
    answer.skip(4).unwrap();
    assert_eq!(answer.i16(), Ok(0));
    assert_eq!(answer.array_len(1), Ok(Some(1)));
    assert_eq!(answer.i16(), Ok(0));
    assert_eq!(&*answer.string().unwrap(), node.broker.log.directory().to_str().unwrap());
    assert_eq!(answer.array_len(1), Ok(Some(1)));
    assert_eq!(&*answer.string().unwrap(), "t");
    let partitions = answer.array(1, |r| {
        let (index, bytes) = (r.i32()?, r.i64()?);
        r.skip(8 + 1)?;
        r.tags()?;
        Ok((index, bytes))
    });
    assert_eq!(partitions.unwrap(), [(0, 0), (1, i64::try_from(sent.len()).unwrap())]);
    answer.tags().unwrap();
    let (total, usable) = (answer.i64().unwrap(), answer.i64().unwrap());
    assert!((1..=total).contains(&usable), "{usable} of {total}");
}

/// DescribeTopicPartitions: (code, name, partitions) of each topic, and where to go on.
type Page = (Vec<(i16, String, Vec<i32>)>, Option<(String, i32)>);

fn page(node: &Fixture, topics: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> Page {
    let mut answer = node.call(75, 0, |w| {
        w.len(Some(topics.len()));
        for topic in topics {
            w.string(topic);
            w.tags();
        }
        w.i32(limit);
        w.i8(if cursor.is_some() { 1 } else { -1 });
        if let Some((topic, partition)) = cursor {
            w.string(topic);
            w.i32(partition);
            w.tags();
        }
    });
    answer.skip(4).unwrap();
    let topics = answer.array(1, |r| {
        let (code, name) = (r.i16()?, r.string()?.to_string());
        r.skip(16 + 1)?;
        let partitions = r.array(1, |r| {
            let (code, index) = (r.i16()?, r.i32()?);
            assert_eq!(code, 0);
            r.skip(4 + 4)?;
            for _ in 0..5 {
                r.array(4, |r| r.i32())?;
            }
            r.tags()?;
            Ok(index)
        })?;
        r.skip(4)?;
        r.tags()?;
        Ok((code, name, partitions))
    });
    let next =
        (answer.i8().unwrap() >= 0).then(|| (answer.string().unwrap().to_string(), answer.i32().unwrap()));
    (topics.unwrap(), next)
}

#[test]
fn topics_are_described_page_by_page() {
    let node = fixture();
    for (topic, partitions) in [("a", 2), ("b", 3), ("c", 1)] {
        node.broker.topics.create(topic, partitions, Default::default()).unwrap();
    }
    let of =
        |code: ErrorCode, name: &str, partitions: &[i32]| (code.code(), name.to_owned(), partitions.to_vec());
    let none = ErrorCode::None;
    let all = vec![of(none, "a", &[0, 1]), of(none, "b", &[0, 1, 2]), of(none, "c", &[0])];
    assert_eq!(page(&node, &[], 2000, None), (all, None));
    let first = (vec![of(none, "a", &[0, 1]), of(none, "b", &[0])], Some(("b".to_owned(), 1)));
    assert_eq!(page(&node, &[], 3, None), first);
    let rest = (vec![of(none, "b", &[1, 2]), of(none, "c", &[0])], None);
    assert_eq!(page(&node, &[], 3, Some(("b", 1))), rest);
    // A page that ends with a topic goes on with the next one.
    assert_eq!(page(&node, &[], 2, None), (vec![of(none, "a", &[0, 1])], Some(("b".to_owned(), 0))));
    let unknown = of(ErrorCode::UnknownTopicOrPartition, "nope", &[]);
    assert_eq!(page(&node, &["nope", "c"], 9, None), (vec![of(none, "c", &[0]), unknown], None));
}

#[test]
fn what_one_node_cannot_do_is_answered_properly() {
    let node = fixture();
    node.create("t");
    // ElectLeaders: not needed.
    let mut answer = node.call(43, 1, |w| {
        w.i8(0);
        one(w, |w| {
            w.string("t");
            w.len(Some(2));
            w.i32(0);
            w.i32(1);
        });
        w.i32(1000);
    });
    answer.skip(4 + 2 + 4).unwrap();
    assert_eq!(&*answer.string().unwrap(), "t");
    let results = answer.array(1, |r| {
        let result = (r.i32()?, r.i16()?);
        r.nullable_string()?;
        Ok(result)
    });
    let (needless, unknown) =
        (ErrorCode::ElectionNotNeeded.code(), ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(results.unwrap(), [(0, needless), (1, unknown)]);
    // ListPartitionReassignments: none.
    let mut answer = node.call(46, 0, |w| {
        w.i32(1000);
        w.len(None);
    });
    answer.skip(4).unwrap();
    assert_eq!((answer.i16(), answer.nullable_string(), answer.array_len(1)), (Ok(0), Ok(None), Ok(Some(0))));
    // AlterPartitionReassignments: to itself, to others, cancelled.
    let reassigned = |replicas: Option<&[i32]>| {
        let mut answer = node.call(45, 0, |w| {
            w.i32(1000);
            one(w, |w| {
                w.string("t");
                one(w, |w| {
                    w.i32(0);
                    w.len(replicas.map(<[_]>::len));
                    replicas.unwrap_or_default().iter().for_each(|replica| w.i32(*replica));
                    w.tags();
                });
                w.tags();
            });
        });
        answer.skip(4 + 2 + 1 + 1).unwrap();
        answer.string().unwrap();
        answer.skip(1 + 4).unwrap();
        answer.i16().unwrap()
    };
    assert_eq!(reassigned(Some(&[0])), 0);
    assert_eq!(reassigned(Some(&[0, 1])), ErrorCode::InvalidReplicaAssignment.code());
    assert_eq!(reassigned(None), ErrorCode::NoReassignmentInProgress.code());
}

#[test]
fn features_keep_their_level_and_config_resources_are_listed() {
    let node = fixture();
    node.create("t");
    // UpdateFeatures: nobody knows this one.
    let mut answer = node.call(57, 2, |w| {
        w.i32(1000);
        one(w, |w| {
            w.string("colour");
            w.i16(1);
            w.i8(1);
            w.tags();
        });
        w.bool(false);
    });
    answer.skip(4).unwrap();
    assert_eq!(answer.i16(), Ok(ErrorCode::InvalidUpdateVersion.code()));
}

#[test]
fn config_resources_are_topics_and_the_broker() {
    let node = fixture();
    node.create("t");
    let mut answer = node.call(74, 1, |w| w.len(Some(0)));
    answer.skip(4 + 2).unwrap();
    let resources = answer.array(1, |r| {
        let resource = (r.string()?.to_string(), r.i8()?);
        r.tags()?;
        Ok(resource)
    });
    let expected = [("t", 2), ("0", 4), ("0", 8)].map(|(name, kind)| (name.to_owned(), kind));
    assert_eq!(resources.unwrap(), expected);
}

/// As librdkafka 2.16 asks for all topics: it reserves four bytes for a count that takes one.
#[test]
fn bytes_behind_a_request_are_ignored() {
    let node = fixture();
    node.create("t");
    let answer = node.ask(3, 13, &[0, 0, 0, 0, 1, 0, 0]).unwrap();
    assert!(answer.windows(2).any(|name| name == [2, b't']), "{answer:?}");
    let mut produce = produce_body("t", 0, -1, &batch(&["a"], 1));
    produce.put_slice(b"more");
    assert!(node.ask(0, 7, &produce).is_ok());
    let mut fetch = fetch_body("t", 0, 0, 1);
    fetch.put_slice(b"more");
    assert!(node.ask(1, 11, &fetch).is_ok());
}

/// Metadata in version 4 of one topic by its name: error code.
fn metadata_code(node: &Fixture, topic: &str, create: bool) -> i16 {
    let mut answer = node.call(3, 4, |w| {
        one(w, |w| w.string(topic));
        w.bool(create);
    });
    answer.skip(4 + 4 + 4).unwrap();
    answer.string().unwrap();
    answer.skip(4).unwrap();
    assert_eq!(answer.nullable_string().unwrap(), None);
    answer.nullable_string().unwrap();
    answer.skip(4 + 4).unwrap();
    answer.i16().unwrap()
}

#[test]
fn names_that_no_topic_can_have_are_refused_for_good() {
    let node = fixture();
    for create in [false, true] {
        assert_eq!(metadata_code(&node, "a b", create), ErrorCode::InvalidTopic.code());
        let internal = metadata_code(&node, "__consumer_offsets", create);
        assert_eq!(internal, ErrorCode::UnknownTopicOrPartition.code(), "it is made by who needs it");
    }
    assert_eq!(metadata_code(&node, "t", false), ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(metadata_code(&node, "t", true), 0);
}

/// Metadata in version 1: host and port of the one broker.
fn broker_in_metadata(node: &Fixture, listener: &Arc<Listener>) -> (String, i32) {
    let handled = node.broker.handle_from(listener, frame(3, 1, 7, &[0, 0, 0, 0]));
    let Handled::Answered(Answer::Reply(response)) = handled else { panic!("not answered at once") };
    let mut answer = WireReader::new(response.to_bytes().unwrap(), false);
    answer.skip(4 + 4 + 4 + 4).unwrap();
    (answer.string().unwrap().to_string(), answer.i32().unwrap())
}

#[test]
fn a_topic_asked_for_by_id_with_an_empty_name_is_found() {
    let node = fixture();
    node.create("t");
    let id = node.broker.topics.get("t").unwrap().id.0;
    let mut answer = node.call(3, 12, |w| {
        one(w, |w| {
            w.u128(id);
            w.nullable_string(Some(""));
            w.tags();
        });
        w.bool(false);
        w.bool(false);
    });
    answer.skip(4).unwrap();
    assert_eq!(answer.array_len(1).unwrap(), Some(1));
    answer.skip(4).unwrap();
    answer.string().unwrap();
    answer.skip(4).unwrap();
    answer.nullable_string().unwrap();
    answer.tags().unwrap();
    answer.nullable_string().unwrap();
    answer.skip(4).unwrap();
    assert_eq!(answer.array_len(1).unwrap(), Some(1));
    assert_eq!(answer.i16().unwrap(), ErrorCode::None.code());
    assert_eq!(answer.nullable_string().unwrap().as_deref(), Some("t"));
}

#[test]
fn each_listener_sends_its_clients_to_itself() {
    let node = fixture();
    let listener =
        |host: &str, port| Arc::new(Listener { name: "x".to_owned(), host: host.to_owned(), port });
    assert_eq!(broker_in_metadata(&node, &listener("inside", 9)), ("inside".to_owned(), 9));
    assert_eq!(broker_in_metadata(&node, &listener("outside", 10)), ("outside".to_owned(), 10));
    let body = [0, 1, b'g', 0];
    let handled = node.broker.handle_from(&listener("outside", 10), frame(10, 1, 7, &body));
    let Handled::Answered(Answer::Reply(response)) = handled else { panic!("not answered at once") };
    let mut answer = WireReader::new(response.to_bytes().unwrap(), false);
    answer.skip(4 + 4 + 4 + 2).unwrap();
    assert_eq!(answer.nullable_string(), Ok(None));
    answer.skip(4).unwrap();
    assert_eq!((&*answer.string().unwrap(), answer.i32().unwrap()), ("outside", 10));
}
