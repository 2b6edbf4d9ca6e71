use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater_env::{ManualClock, MemoryBudget, SeededEntropy, SimDisk};
use highwater_log::{BatchBuilder, Compression, Log, LogBatch, LogOptions};

use super::{HEADER_BYTES_EXTRA, RECORD_BYTES_EXTRA, Unfit};
use crate::{Topic, TopicOptions, Topics};

fn topic(configs: &[(&str, &str)]) -> Topic {
    let (disk, clock) = (Arc::new(SimDisk::new(1)), Arc::new(ManualClock::at(0)));
    let (log, _) =
        Log::open_stepped(disk, clock, Path::new("data"), LogOptions::default(), &MemoryBudget::unlimited())
            .unwrap();
    let topics = Topics::open(log, Arc::new(SeededEntropy::new(1)), TopicOptions::default()).unwrap();
    let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    topics.create("t", 1, configs.collect::<BTreeMap<_, _>>()).unwrap()
}

fn batch(value: &[u8]) -> LogBatch {
    let mut batch = BatchBuilder::new(1_000);
    batch.push(1_000, None, Some(value), &[]);
    batch.finish()
}

/// Bytes of zstd that zstd cannot make smaller.
fn dense(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn the_size_holds_for_what_comes_and_for_what_is_kept() {
    let plain = topic(&[("max.message.bytes", "200")]);
    assert_eq!(plain.admit(batch(b"a"), 0).unwrap().append_time_ms, None);
    let large = plain.admit(batch(&[b'x'; 200]), 0).unwrap_err();
    assert!(matches!(large, Unfit::TooLarge { bytes_max: 200, .. }), "{large}");
    // It grows as it is compressed.
    let value = dense(500);
    let bytes = batch(&value).bytes().len();
    let exact = bytes.to_string();
    let zstd = topic(&[("max.message.bytes", &exact), ("compression.type", "zstd")]);
    assert!(matches!(zstd.admit(batch(&value), 0), Err(Unfit::TooLarge { bytes: kept, .. }) if kept > bytes));
    assert!(zstd.batch_bytes_target() < bytes);
}

#[test]
fn a_batch_is_kept_in_the_topics_codec_with_the_topics_time() {
    let topic = topic(&[("compression.type", "lz4"), ("message.timestamp.type", "LogAppendTime")]);
    let admitted = topic.admit(batch(b"a"), 7_000).unwrap();
    assert_eq!((admitted.append_time_ms, admitted.batch.max_timestamp()), (Some(7_000), 7_000));
    assert_eq!(admitted.batch.compression(), Compression::Lz4);
    // Stamped once more, when it is appended later.
    assert_eq!(topic.config.stamped(admitted.batch, 8_000).0.max_timestamp(), 8_000);
}

#[test]
fn no_record_is_larger_than_it_is_taken_for() {
    let long = Bytes::from(vec![b'x'; 70_000]);
    for bytes in [None, Some(Bytes::new()), Some(long)] {
        let headers = vec![(Bytes::from_static(b"name"), bytes.clone())];
        let mut builder = BatchBuilder::new(i64::MAX);
        let before = builder.bytes();
        builder.push(i64::MIN, bytes.as_deref(), bytes.as_deref(), &headers);
        let payload = 3 * bytes.map_or(0, |bytes| bytes.len()) + 4;
        let most = payload + RECORD_BYTES_EXTRA + HEADER_BYTES_EXTRA;
        assert!((payload..=most).contains(&(builder.bytes() - before)));
    }
}
