use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater_env::{ManualClock, MemoryBudget, SeededEntropy, SimDisk};
use highwater_log::{AppendError, Log, LogOptions};

use super::{LogTopicWriter, NewRecord, TopicWriter, WriteError, WriteOutcome, partition_for_key};
use crate::{TopicOptions, Topics, Unfit};

fn writer(partitions: i32) -> (LogTopicWriter, Topics, Log) {
    writer_with(partitions, LogOptions::default())
}

fn writer_with(partitions: i32, log_options: LogOptions) -> (LogTopicWriter, Topics, Log) {
    let clock = Arc::new(ManualClock::at(5_000));
    let (disk, budget) = (Arc::new(SimDisk::new(1)), MemoryBudget::unlimited());
    let (log, _) =
        Log::open_stepped(disk, Arc::clone(&clock) as _, Path::new("data"), log_options, &budget).unwrap();
    let options = TopicOptions { default_partitions: partitions, ..TopicOptions::default() };
    let topics = Topics::open(log.clone(), Arc::new(SeededEntropy::new(1)), options).unwrap();
    (LogTopicWriter::new(log.clone(), topics.clone(), clock), topics, log)
}

fn record(key: Option<&str>, value: &str) -> NewRecord {
    NewRecord {
        key: key.map(|key| Bytes::from(key.to_owned())),
        value: Some(Bytes::from(value.to_owned())),
        ..NewRecord::default()
    }
}

/// Values from Kafka's `UtilsTest.testMurmur2`, via `toPositive(hash) % n`.
#[test]
fn keys_find_the_partition_of_kafkas_java_client() {
    let hashes: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    for (key, hash) in hashes {
        assert_eq!(partition_for_key(key.as_bytes(), i32::MAX), (hash & i32::MAX) % i32::MAX, "{key}");
    }
}

#[test]
fn every_record_finds_its_offset() {
    let (writer, topics, log) = writer(4);
    let input: Vec<_> = (0..100).map(|n| record(Some(&format!("key {}", n % 10)), &n.to_string())).collect();
    let WriteOutcome { written, refused } = writer.write("t", input.clone()).unwrap();
    assert!(refused.is_empty());
    let topic = topics.get("t").unwrap();
    let mut seen = 0;
    for batch in written {
        let (base, indexes) = (batch.ticket.base_offset, batch.record_indexes);
        batch.ticket.wait().unwrap();
        let range = log.read(topic.partition(batch.partition), base, 1 << 20).unwrap();
        let records = range.batches[0].records(1 << 20).unwrap();
        assert_eq!(records.len(), indexes.len());
        for (stored, index) in records.iter().zip(&indexes) {
            let new = &input[*index as usize];
            assert_eq!((&stored.key, &stored.value), (&new.key, &new.value));
            assert_eq!(stored.timestamp_ms, 5_000);
            assert_eq!(partition_for_key(new.key.as_ref().unwrap(), 4), batch.partition);
        }
        assert!(indexes.is_sorted());
        seen += indexes.len();
    }
    assert_eq!(seen, 100);
}

#[test]
fn records_without_a_key_stay_together_and_calls_take_turns() {
    let (writer, _, _) = writer(3);
    let mut partitions = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let written = writer.write("t", vec![record(None, "a"), record(None, "b")]).unwrap().written;
        assert_eq!(written.len(), 1);
        partitions.insert(written[0].partition);
    }
    assert_eq!(partitions.len(), 3);
    assert!(writer.write("t", vec![]).unwrap().written.is_empty());
}

#[test]
fn a_large_write_becomes_several_batches() {
    let (writer, _, _) = writer(1);
    let big = "x".repeat(100 << 10);
    let written = writer.write("t", (0..30).map(|_| record(None, &big)).collect()).unwrap().written;
    let sizes: Vec<_> = written.iter().map(|batch| batch.record_indexes.len()).collect();
    assert_eq!(sizes, [9, 9, 9, 3], "none above max.message.bytes");
    assert_eq!(written[1].record_indexes[0], 9);
}

#[test]
fn a_refusal_names_what_was_appended_before_it() {
    let (writer, ..) = writer_with(4, LogOptions { memory_bytes_max: 250 << 10, ..LogOptions::default() });
    let big = "x".repeat(100 << 10);
    let input: Vec<_> = (0..20).map(|n| record(Some(&n.to_string()), &big)).collect();
    let Err(WriteError::Append { error, before }) = writer.write("t", input[..3].to_vec()) else {
        panic!("300 KiB fit in 250");
    };
    assert!(matches!(error, AppendError::Backpressure(_)), "{error}");
    let taken: Vec<_> =
        before.written.iter().flat_map(|batch| batch.record_indexes.iter().copied()).collect();
    assert!((1..3).contains(&taken.len()), "{taken:?}");
}

#[test]
fn a_topics_configs_hold_for_what_is_written() {
    let (writer, topics, log) = writer(1);
    let configs = [("message.timestamp.type", "LogAppendTime"), ("compression.type", "zstd")];
    let configs = configs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let topic = topics.create("t", 1, configs.into()).unwrap();
    for written in writer.write("t", vec![record(None, "a")]).unwrap().written {
        written.ticket.wait().unwrap();
    }
    let batch = &log.read(topic.partition(0), 0, 1 << 20).unwrap().batches[0];
    assert_eq!((batch.compression(), batch.max_timestamp()), (highwater_log::Compression::Zstd, 5_000));
    assert!(batch.is_log_append_time());
}

#[test]
fn records_a_topic_does_not_take_are_refused_one_by_one() {
    let (writer, topics, _) = writer(1);
    topics.create("keyed", 1, [("cleanup.policy".to_owned(), "compact".to_owned())].into()).unwrap();
    let outcome = writer.write("keyed", vec![record(None, "a"), record(Some("k"), "b"), record(None, "c")]);
    let WriteOutcome { written, refused } = outcome.unwrap();
    assert_eq!(written[0].record_indexes, [1]);
    assert!(matches!(&refused[..], [(0, Unfit::KeyWanted { .. }), (2, Unfit::KeyWanted { .. })]));

    topics.create("small", 1, [("max.message.bytes".to_owned(), "300".to_owned())].into()).unwrap();
    let sizes = [50, 50, 100, 400, 10];
    let records = sizes.map(|bytes| record(None, &"x".repeat(bytes))).to_vec();
    let WriteOutcome { written, refused } = writer.write("small", records).unwrap();
    let batches: Vec<_> = written.iter().map(|batch| &batch.record_indexes[..]).collect();
    assert_eq!(batches, [&[0, 1][..], &[2], &[4]]);
    assert_eq!(refused.len(), 1);
    assert!(matches!(refused[0], (3, Unfit::TooLarge { bytes: 469.., bytes_max: 300, .. })), "{refused:?}");
    topics.ensure_internal("__consumer_offsets", 1, [].into()).unwrap();
    let outcome = writer.write("__consumer_offsets", vec![record(Some("k"), "a")]).unwrap();
    assert!(outcome.written.is_empty());
    assert!(matches!(&outcome.refused[..], [(0, Unfit::Internal(_))]));
}
