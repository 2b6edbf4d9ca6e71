//! Topic configs that a Produce must keep.

use highwater_log::Compression;

use super::*;
use crate::wire::WireReader;

impl Fixture {
    fn with_configs(configs: &[(&str, &str)]) -> Self {
        let node = fixture();
        let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        node.broker.topics.create("t", 1, configs.collect()).unwrap();
        node
    }

    /// Produces in version 8, to topic t: what is answered.
    fn produce_8(&self, records: &[u8]) -> Produced {
        let mut answer = self.ask(0, 8, &produce_body("t", 0, -1, records)).unwrap();
        skip_topic(&mut answer, "t");
        let mut reader = WireReader::new(answer, false);
        reader.skip(4).unwrap();
        Produced {
            code: reader.i16().unwrap(),
            base_offset: reader.i64().unwrap(),
            append_time_ms: reader.i64().unwrap(),
            log_start_offset: reader.i64().unwrap(),
            record_errors: reader
                .array(1, |r| Ok((r.i32()?, r.nullable_string()?.is_some_and(|text| !text.is_empty()))))
                .unwrap(),
        }
    }

    fn refused(&self, records: &[u8], code: ErrorCode) {
        let got = self.produce_8(records);
        assert_eq!((got.code, got.base_offset, got.append_time_ms), (code.code(), -1, -1), "{code:?}");
    }

    fn stored(&self) -> Vec<LogBatch> {
        LogBatch::split_all(self.fetch("t", 0, 0, 1).2).unwrap()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Produced {
    code: i16,
    base_offset: i64,
    append_time_ms: i64,
    log_start_offset: i64,
    record_errors: Vec<(i32, bool)>,
}

fn keyed(records: &[(Option<&str>, &str)]) -> Bytes {
    let mut batch = BatchBuilder::new(1000);
    for (key, value) in records {
        batch.push(1000, key.map(str::as_bytes), Some(value.as_bytes()), &[]);
    }
    batch.finish().bytes().clone()
}

fn compressed(records: &Bytes, codec: Compression) -> Bytes {
    let batch = LogBatch::parse(records.clone()).unwrap();
    batch.recompressed(codec, 1 << 20).unwrap().bytes().clone()
}

#[test]
fn batches_keep_the_topics_size() {
    let node = Fixture::with_configs(&[("max.message.bytes", "200")]);
    assert_eq!(node.produce_8(&batch(&["small"], 1000)).code, 0);
    node.refused(&batch(&[&"x".repeat(200)], 1000), ErrorCode::MessageTooLarge);
    // What came small and would be kept large is refused, too.
    let node = Fixture::with_configs(&[("max.message.bytes", "200"), ("compression.type", "uncompressed")]);
    let dense = compressed(&batch(&[&"x".repeat(300)], 1000), Compression::Zstd);
    assert!(dense.len() < 200);
    node.refused(&dense, ErrorCode::MessageTooLarge);
}

/// The topic decides, up to what the log takes from any topic.
#[test]
fn large_batches_are_taken_as_the_topic_says_up_to_the_logs_limit() {
    let node = Fixture::with_configs(&[("max.message.bytes", "2147483647")]);
    let bytes_max = LogOptions::default().batch_bytes_max;
    let large = batch(&[&"x".repeat(bytes_max - 100)], 1000);
    assert!(large.len() <= bytes_max);
    assert_eq!(node.produce_8(&large).code, 0);
    assert_eq!(node.stored()[0].bytes().len(), large.len());
    node.refused(&batch(&[&"x".repeat(bytes_max)], 1000), ErrorCode::MessageTooLarge);
}

#[test]
fn append_time_replaces_the_producers() {
    let node = Fixture::with_configs(&[("message.timestamp.type", "LogAppendTime")]);
    let before = node.broker.clock.unix_ms();
    let got = node.produce_8(&batch(&["a", "b"], 1000));
    let now = node.broker.clock.unix_ms();
    assert_eq!((got.code, got.base_offset), (0, 0));
    assert!((before..=now).contains(&got.append_time_ms), "{}", got.append_time_ms);
    let stored = &node.stored()[0];
    assert!(stored.is_log_append_time());
    let times = stored.records(1 << 20).unwrap().into_iter().map(|record| record.timestamp_ms);
    assert_eq!(times.collect::<Vec<_>>(), [got.append_time_ms; 2]);
    assert_eq!(node.list_offset("t", got.append_time_ms), (0, 0));
    // No producer may claim it.
    let claimed = LogBatch::parse(batch(&["a"], 1000)).unwrap().with_append_time(now);
    let plain = Fixture::with_configs(&[]);
    plain.refused(claimed.bytes(), ErrorCode::InvalidTimestamp);
    assert_eq!(plain.produce_8(&batch(&["a"], 1000)).append_time_ms, -1);
}

#[test]
fn timestamps_stay_within_the_topics_bounds() {
    let node = Fixture::with_configs(&[
        ("message.timestamp.before.max.ms", "60000"),
        ("message.timestamp.after.max.ms", "60000"),
    ]);
    let now = node.broker.clock.unix_ms();
    assert_eq!(node.produce_8(&batch(&["a"], now)).code, 0);
    assert_eq!(node.produce_8(&batch(&["a"], -1)).code, 0, "no timestamp is not a wrong one");
    node.refused(&batch(&["a"], now - 70_000), ErrorCode::InvalidTimestamp);
    node.refused(&batch(&["a"], now + 70_000), ErrorCode::InvalidTimestamp);
    // By default, as in Kafka: any time ago, at most an hour ahead.
    let node = Fixture::with_configs(&[]);
    assert_eq!(node.produce_8(&batch(&["a"], 0)).code, 0);
    assert_eq!(node.produce_8(&batch(&["a"], now + 3_000_000)).code, 0);
    node.refused(&batch(&["a"], now + 4_000_000), ErrorCode::InvalidTimestamp);
}

#[test]
fn batches_are_kept_in_the_topics_codec() {
    let plain = batch(&["a", "b", "c"], 1000);
    let codecs = [
        ("uncompressed", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ];
    for (name, codec) in codecs {
        let node = Fixture::with_configs(&[("compression.type", name)]);
        for sent in codecs.map(|(_, codec)| compressed(&plain, codec)) {
            assert_eq!(node.produce_8(&sent).code, 0, "{name}");
        }
        let stored = node.stored();
        assert_eq!(stored.len(), 5);
        for batch in stored {
            assert_eq!(batch.compression(), codec);
            let values = batch.records(1 << 20).unwrap().into_iter().map(|record| record.value.unwrap());
            assert_eq!(values.collect::<Vec<_>>(), ["a", "b", "c"], "{name}");
        }
    }
    // As they came, if the topic leaves it to the producer.
    let node = Fixture::with_configs(&[("compression.type", "producer")]);
    let sent = compressed(&plain, Compression::Lz4);
    assert_eq!(node.produce_8(&sent).code, 0);
    assert_eq!(*node.stored()[0].bytes(), sent);
    // Clients of an old version cannot have sent zstd.
    let zstd = compressed(&plain, Compression::Zstd);
    let mut answer = node.ask(0, 6, &produce_body("t", 0, -1, &zstd)).unwrap();
    skip_topic(&mut answer, "t");
    answer.advance(4);
    assert_eq!(answer.get_i16(), ErrorCode::UnsupportedCompressionType.code());
}

#[test]
fn compacted_topics_want_keys() {
    for policy in ["compact", "compact,delete"] {
        let node = Fixture::with_configs(&[("cleanup.policy", policy)]);
        let mixed = keyed(&[(Some("k"), "a"), (None, "b"), (Some("k"), "c"), (None, "d")]);
        let got = node.produce_8(&mixed);
        assert_eq!(
            (got.code, got.record_errors),
            (ErrorCode::InvalidRecord.code(), vec![(1, true), (3, true)])
        );
        let got = node.produce_8(&compressed(&mixed, Compression::Zstd));
        assert_eq!((got.code, got.record_errors.len()), (ErrorCode::InvalidRecord.code(), 2));
        let got = node.produce_8(&keyed(&[(Some("k"), "a")]));
        assert_eq!((got.code, got.base_offset, got.record_errors), (0, 0, Vec::new()));
    }
}

#[test]
fn altered_configs_hold_for_the_next_batch() {
    let node = Fixture::with_configs(&[]);
    let small = batch(&["a"], 1000);
    assert_eq!(node.produce_8(&small).code, 0);
    let set = |value: &str| {
        let edit = |configs: &mut std::collections::BTreeMap<String, String>| {
            configs.insert("max.message.bytes".to_owned(), value.to_owned());
            Ok::<_, highwater_coordinator::TopicError>(())
        };
        node.broker.topics.alter_configs("t", edit).unwrap();
    };
    set("10");
    node.refused(&small, ErrorCode::MessageTooLarge);
    set("100");
    assert_eq!(node.produce_8(&small).code, 0);
}

#[test]
fn what_must_be_decoded_is_answered_off_the_socket_threads() {
    let may_block = |configs: &[(&str, &str)]| {
        let node = Fixture::with_configs(configs);
        node.create("other");
        let of = |topic: &str| {
            let frame = frame(0, 8, 7, &produce_body(topic, 0, -1, &batch(&["a"], 1000)));
            node.broker.open(frame, &Arc::default()).unwrap().may_block()
        };
        assert!(!of("other") && !of("nope"));
        of("t")
    };
    assert!(!may_block(&[]));
    assert!(may_block(&[("compression.type", "zstd")]));
    assert!(may_block(&[("cleanup.policy", "compact")]));
    // Known again after a change.
    let node = Fixture::with_configs(&[("cleanup.policy", "compact")]);
    assert!(node.broker.topics.any_decodes());
    node.broker.topics.delete("t").unwrap();
    assert!(!node.broker.topics.any_decodes());
}
