use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Wake, Waker};
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use expect_test::expect;
use highwater_coordinator::{TopicOptions, Topics};
use highwater_env::{Epoch, MemoryBudget, RealDisk, SeededEntropy, SystemClock};
use highwater_formats::ValuesEncoder;
use highwater_log::{BatchBuilder, Log, LogOptions, Marker, MarkerKind};
use highwater_stream::{
    ChangeBatch, Committable, Connect, ErrorKind, Position, SourcePoll, SourceSpec, SplitId, SplitReader,
};

use crate::decode::metadata_field;
use crate::registry::tests::{Printed, options, outside, sink_spec, source_spec};
use crate::{Outside, Registry};

fn open(dir: &Path) -> (Log, Topics) {
    let options = LogOptions { batch_bytes_max: 8 << 20, wal_file_bytes: 32 << 20, ..LogOptions::default() };
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
    let (log, _) = Log::open(disk, clock, dir, options, &MemoryBudget::unlimited()).unwrap();
    let options = TopicOptions { default_partitions: 2, ..TopicOptions::default() };
    let topics = Topics::open(log.clone(), Arc::new(SeededEntropy::new(1)), options).unwrap();
    (log, topics)
}

fn registry(node: &(Log, Topics), seed: u64) -> Registry {
    let entropy = Arc::new(SeededEntropy::new(seed));
    Registry::new(Outside { log: Some(node.clone()), entropy, ..outside(&Printed::default()) })
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
    ]))
}

fn source(more: &[(&str, &str)]) -> SourceSpec {
    source_spec(options(&[("connector", "kafka"), ("topic", "events"), ("format", "json")], more), schema())
}

/// Appends one batch to a partition and waits.
fn append(node: &(Log, Topics), partition: i32, values: &[Option<&str>]) {
    let topic = node.1.ensure("events").unwrap();
    let mut batch = BatchBuilder::new(1_000);
    for (index, value) in (0..).zip(values) {
        batch.push(1_000 + index, None, value.map(str::as_bytes), &[]);
    }
    node.0.append(topic.partition(partition), batch.finish()).unwrap().wait().unwrap();
}

fn shown(rows: &RecordBatch) -> String {
    let mut out = Vec::new();
    ValuesEncoder::new(&rows.schema()).unwrap().rows(rows, &mut out, |_, out| out.push(b'\n')).unwrap();
    String::from_utf8(out).unwrap()
}

fn reader(connect: &Registry, spec: &SourceSpec, partition: &str, from: Option<u64>) -> Box<dyn SplitReader> {
    let mut source = connect.source(spec).unwrap();
    let split = source.splits().unwrap().swap_remove(partition.parse().unwrap());
    source.open(&split, from.map(Position)).unwrap()
}

#[test]
fn records_become_rows_with_metadata_and_bad_ones_are_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    append(&node, 1, &[Some(r#"{"id":1,"name":"a"}"#), None, Some("{broken"), Some(r#"{"id":2}"#)]);
    append(&node, 1, &[Some(r#"{"id":3}"#)]);
    let connect = registry(&node, 1);
    let mut spec = source(&[]);
    let zoned = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    spec.physical = Arc::new(Schema::new(vec![
        metadata_field("p", DataType::Int32, "partition"),
        Field::new("id", DataType::Int64, true),
        metadata_field("o", DataType::Int64, "offset"),
        metadata_field("ts", zoned, "timestamp"),
        metadata_field("topic", DataType::Utf8, "topic"),
    ]));
    assert_eq!(connect.source(&spec).unwrap().splits().unwrap().len(), 2);
    let mut reader = reader(&connect, &spec, "1", None);
    assert_eq!(reader.lag(), Some(5));
    let SourcePoll::Batch(batch) = reader.poll(100, Waker::noop()).unwrap() else { panic!("rows are there") };
    expect![[r#"
        {"p":1,"id":1,"o":0,"ts":"1970-01-01T00:00:01.000Z","topic":"events"}
        {"p":1,"id":2,"o":3,"ts":"1970-01-01T00:00:01.003Z","topic":"events"}
        {"p":1,"id":3,"o":4,"ts":"1970-01-01T00:00:01.000Z","topic":"events"}
    "#]]
    .assert_eq(&shown(&batch.rows));
    assert_eq!((batch.next, batch.skipped, batch.rejects.len()), (Position(5), 1, 1));
    let reject = &batch.rejects[0];
    assert_eq!((&*reject.split, reject.position, &reject.payload), ("events-1", 2, &Bytes::from("{broken")));
    assert_eq!(reader.lag(), Some(0));

    let mut strict = self::reader(&connect, &source(&[("bad-records", "fail")]), "1", None);
    let SourcePoll::Batch(batch) = strict.poll(100, Waker::noop()).unwrap() else { panic!("rows are there") };
    assert_eq!((batch.rows.num_rows(), batch.next), (1, Position(2)));
    let error = strict.poll(100, Waker::noop()).unwrap_err();
    assert_eq!((error.kind, &*error.place), (ErrorKind::BadRecord, "events-1:2"));
}

/// Counts wakes, and lets a test wait for one.
#[derive(Default)]
struct Bell {
    rung: Mutex<usize>,
    changed: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rung.lock().unwrap() += 1;
        self.changed.notify_all();
    }
}

#[test]
fn a_reader_waits_for_records_and_a_bounded_one_ends() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    append(&node, 0, &[Some(r#"{"id":1}"#)]);
    let connect = registry(&node, 1);
    let mut open_end = reader(&connect, &source(&[("scan.startup.mode", "latest-offset")]), "0", None);
    let mut bounded = reader(&connect, &source(&[("scan.bounded.mode", "latest-offset")]), "0", None);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    assert!(matches!(open_end.poll(10, &waker).unwrap(), SourcePoll::Pending));
    append(&node, 0, &[Some(r#"{"id":2}"#), Some(r#"{"id":3}"#)]);
    let rung = bell.rung.lock().unwrap();
    let wait = bell.changed.wait_timeout_while(rung, Duration::from_secs(60), |rung| *rung == 0);
    assert!(!wait.unwrap().1.timed_out(), "the log never woke the reader");
    let SourcePoll::Batch(batch) = open_end.poll(10, &waker).unwrap() else { panic!("rows are there") };
    assert_eq!(shown(&batch.rows), "{\"id\":2,\"name\":null}\n{\"id\":3,\"name\":null}\n");
    // The bounded one ends where the partition ended when it was opened.
    let SourcePoll::Batch(batch) = bounded.poll(10, &waker).unwrap() else { panic!("rows are there") };
    assert_eq!((batch.rows.num_rows(), batch.next), (1, Position(1)));
    assert!(matches!(bounded.poll(10, &waker).unwrap(), SourcePoll::End));
}

#[test]
fn only_committed_records_become_rows() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    let tp = node.1.ensure("events").unwrap().partition(0);
    let connect = registry(&node, 1);
    let mut reader = reader(&connect, &source(&[]), "0", None);
    let mut next = 0;
    let mut part = |value: &str| {
        let mut batch = BatchBuilder::new(0).with_producer(7, 0, next).transactional();
        batch.push(0, None, Some(value.as_bytes()), &[]);
        next += 1;
        node.0.append(tp, batch.finish()).unwrap().wait().unwrap();
    };
    let end = |kind| {
        let marker = Marker { kind, producer_id: 7, producer_epoch: 0, coordinator_epoch: 0 };
        for ticket in node.0.append_all(vec![(tp, marker.batch(0))]).unwrap() {
            ticket.wait().unwrap();
        }
    };
    let mut poll = || match reader.poll(100, Waker::noop()).unwrap() {
        SourcePoll::Batch(batch) => (shown(&batch.rows), batch.next.0),
        _ => (String::new(), reader.position().unwrap().0),
    };
    append(&node, 0, &[Some(r#"{"id":1}"#)]);
    part(r#"{"id":2}"#);
    append(&node, 0, &[Some(r#"{"id":3}"#)]);
    let row = |id: u32| format!("{{\"id\":{id},\"name\":null}}\n");
    assert_eq!(poll(), (row(1), 1), "nothing beyond the open transaction");
    assert_eq!(poll(), (String::new(), 1));
    end(MarkerKind::Abort);
    assert_eq!(poll(), (row(3), 4), "the aborted record and its marker are passed over");
    part(r#"{"id":4}"#);
    end(MarkerKind::Commit);
    assert_eq!(poll(), (row(4), 6));
}

#[test]
fn every_position_goes_on_with_the_very_next_record() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    let values: Vec<String> = (0..60).map(|id| format!("{{\"id\":{id}}}")).collect();
    for chunk in values.chunks(7) {
        append(&node, 0, &chunk.iter().map(|value| Some(value.as_str())).collect::<Vec<_>>());
    }
    let connect = registry(&node, 1);
    let spec = source(&[("scan.bounded.mode", "latest-offset")]);
    for from in 0..=60 {
        for rows_max in [1, 5, 1_000] {
            let mut reader = reader(&connect, &spec, "0", Some(from));
            let mut ids = Vec::new();
            while let SourcePoll::Batch(batch) = reader.poll(rows_max, Waker::noop()).unwrap() {
                ids.extend(batch.rows.column(0).as_primitive::<Int64Type>().values().iter().copied());
                assert_eq!(batch.next.0, from + ids.len() as u64);
            }
            assert_eq!(ids, (from.cast_signed()..60).collect::<Vec<_>>());
        }
    }
    let mut source = connect.source(&spec).unwrap();
    let split = source.splits().unwrap().swap_remove(0);
    let lost = source.open(&split, Some(Position(61))).err().unwrap();
    assert_eq!(lost.kind, ErrorKind::PositionLost);
}

#[test]
fn a_topic_made_again_is_another_topic() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    append(&node, 0, &[Some(r#"{"id":0}"#)]);
    let connect = registry(&node, 1);
    let split = connect.source(&source(&[])).unwrap().splits().unwrap().swap_remove(0);
    let (_, topics) = &node;
    topics.delete("events").unwrap();
    topics.ensure("events").unwrap();
    let gone = connect.source(&source(&[])).unwrap().open(&split, Some(Position(1))).err().unwrap();
    assert_eq!(gone.kind, ErrorKind::PositionLost);
    let foreign = SplitId("7".to_owned());
    assert!(connect.source(&source(&[])).unwrap().open(&foreign, None).is_err());
}

#[test]
fn a_row_too_large_for_the_log_is_refused_when_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    let connect = registry(&node, 1);
    let pairs = [("connector", "kafka"), ("topic", "out"), ("format", "json")];
    let spec = sink_spec(options(&pairs, &[]), Vec::new());
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![1])), Arc::new(StringArray::from(vec!["x".repeat(8 << 20)]))];
    let rows = RecordBatch::try_new(schema(), columns).unwrap();
    let mut sink = connect.sink("uid", &spec, &schema(), 0).unwrap();
    let error = sink.write(&ChangeBatch::inserts(rows)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::BadRecord);
}

fn made(node: &(Log, Topics), name: &str, configs: &[(&str, &str)]) {
    let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    node.1.create(name, 1, configs.collect()).unwrap();
}

#[test]
fn a_topics_configs_hold_for_a_pipelines_rows() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    let connect = registry(&node, 1);
    let spec = |topic: &str| {
        sink_spec(options(&[("connector", "kafka"), ("topic", topic), ("format", "json")], &[]), Vec::new())
    };
    let small = [("max.message.bytes", "300"), ("compression.type", "lz4")];
    made(&node, "out", &[&small[..], &[("message.timestamp.type", "LogAppendTime")]].concat());
    let mut sink = connect.sink("uid", &spec("out"), &schema(), 0).unwrap();
    sink.write(&rows(0..40)).unwrap();
    let prepared = sink.prepare(Epoch(1)).unwrap();
    connect.committer("u", &spec("out"), &schema()).unwrap().commit(Epoch(1), &[prepared]).unwrap();
    assert_eq!(records(&node, "out").len(), 40);
    let tp = node.1.get("out").unwrap().partition(0);
    for batch in node.0.read(tp, 0, 1 << 20).unwrap().batches {
        assert!(batch.bytes().len() <= 300 && batch.is_log_append_time());
        assert_eq!(batch.compression(), highwater_log::Compression::Lz4);
    }
    // A row that alone is too large, with the limit as it is now.
    let edit = |configs: &mut std::collections::BTreeMap<String, String>| {
        configs.insert("max.message.bytes".to_owned(), "50".to_owned());
        Ok::<_, highwater_coordinator::TopicError>(())
    };
    node.1.alter_configs("out", edit).unwrap();
    sink.write(&rows(0..1)).unwrap();
    let error = sink.prepare(Epoch(2)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::BadRecord);
    assert!(error.to_string().contains("takes at most 50 (max.message.bytes)"), "{error}");
    // Compaction would lose rows without a key.
    made(&node, "keyed", &[("cleanup.policy", "compact")]);
    let mut sink = connect.sink("uid", &spec("keyed"), &schema(), 0).unwrap();
    sink.write(&rows(0..1)).unwrap();
    assert_eq!(sink.prepare(Epoch(1)).unwrap_err().kind, ErrorKind::BadRecord);
}

#[test]
fn the_nodes_own_topics_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    node.1.ensure_internal("__consumer_offsets", 1, [].into()).unwrap();
    let connect = registry(&node, 1);
    let pairs = [("connector", "kafka"), ("topic", "__consumer_offsets"), ("format", "json")];
    let spec = sink_spec(options(&pairs, &[]), Vec::new());
    let error = connect.sink("uid", &spec, &schema(), 0).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(connect.committer("uid", &spec, &schema()).is_err());
}

#[test]
fn startup_modes() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    append(&node, 0, &[Some(r#"{"id":0}"#), Some(r#"{"id":1}"#), Some(r#"{"id":2}"#)]);
    let connect = registry(&node, 1);
    let first = |more: &[(&str, &str)]| -> Option<i64> {
        match reader(&connect, &source(more), "0", None).poll(1, Waker::noop()).unwrap() {
            SourcePoll::Batch(batch) => Some(batch.rows.column(0).as_primitive::<Int64Type>().value(0)),
            _ => None,
        }
    };
    assert_eq!(first(&[]), Some(0));
    assert_eq!(first(&[("scan.startup.mode", "earliest-offset")]), Some(0));
    assert_eq!(first(&[("scan.startup.mode", "latest-offset")]), None);
    assert_eq!(first(&[("properties.auto.offset.reset", "latest")]), None);
    let offsets = [
        ("scan.startup.mode", "specific-offsets"),
        ("scan.startup.specific-offsets", "partition:0,offset:2;partition:1,offset:0"),
    ];
    assert_eq!(first(&offsets), Some(2));
    let time = |ms| [("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", ms)];
    assert_eq!(first(&time("0")), Some(0));
    assert_eq!(first(&time("9999")), None);
    assert!(connect.source(&source(&[("scan.startup.mode", "somewhere")])).is_err());
    assert!(
        connect
            .source(&source(&[
                ("scan.startup.mode", "specific-offsets"),
                ("scan.startup.specific-offsets", "0:2")
            ]))
            .is_err()
    );
}

fn rows(ids: std::ops::Range<i64>) -> ChangeBatch {
    let names: Vec<String> = ids.clone().map(|id| format!("k{}", id % 5)).collect();
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(Int64Array::from(ids.collect::<Vec<_>>())), Arc::new(StringArray::from(names))];
    ChangeBatch::inserts(RecordBatch::try_new(schema(), columns).unwrap())
}

/// `(partition, key, value)` of every record, in order.
fn records(node: &(Log, Topics), name: &str) -> Vec<(i32, Option<String>, String)> {
    let (log, topics) = node;
    let topic = topics.get(name).unwrap();
    let mut found = Vec::new();
    for partition in 0..topic.partitions {
        let mut next = 0;
        loop {
            let range = log.read(topic.partition(partition), next, 1 << 20).unwrap();
            for record in range.batches.iter().flat_map(|batch| batch.records(1 << 24).unwrap()) {
                let text =
                    |bytes: &Option<Bytes>| bytes.as_ref().map(|b| String::from_utf8(b.to_vec()).unwrap());
                found.push((partition, text(&record.key), text(&record.value).unwrap_or_default()));
            }
            if range.batches.is_empty() {
                break;
            }
            next = range.next_offset(next);
        }
    }
    found
}

#[test]
fn an_epoch_committed_again_appends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    let pairs = [("connector", "kafka"), ("topic", "out"), ("format", "json"), ("key.fields", "name")];
    let spec = sink_spec(options(&pairs, &[]), Vec::new());
    let epochs = 12;
    let mut prepared: Vec<Vec<Committable>> = Vec::new();
    {
        let connect = registry(&node, 2);
        let mut writers: Vec<_> =
            (0..2).map(|shard| connect.sink("u", &spec, &schema(), shard).unwrap()).collect();
        for epoch in 0..epochs {
            let of_shard = |(shard, writer): (usize, &mut Box<dyn highwater_stream::SinkConnector>)| {
                let start = (epoch * 2 + shard as i64) * 10;
                writer.write(&rows(start..start + 4)).unwrap();
                writer.write(&rows(start + 4..start + 10)).unwrap();
                writer.prepare(Epoch(epoch.unsigned_abs() + 1)).unwrap()
            };
            prepared.push(writers.iter_mut().enumerate().map(of_shard).collect());
        }
        assert!(records(&node, "out").is_empty(), "nothing shows before its epoch commits");
        let mut committer = connect.committer("u", &spec, &schema()).unwrap();
        for (epoch, prepared) in (1..).zip(&prepared) {
            committer.commit(Epoch(epoch), prepared).unwrap();
            committer.commit(Epoch(epoch), prepared).unwrap();
        }
    }
    let expected: Vec<String> = {
        let mut all: Vec<String> =
            (0..epochs * 20).map(|id| format!("{{\"id\":{id},\"name\":\"k{}\"}}", id % 5)).collect();
        all.sort();
        all
    };
    let check = |node: &(Log, Topics)| {
        let found = records(node, "out");
        let mut values: Vec<String> = found.iter().map(|(_, _, value)| value.clone()).collect();
        values.sort();
        assert_eq!(values, expected);
        for (partition, key, _) in &found {
            let home = found.iter().find(|(_, other, _)| other == key).map(|(partition, _, _)| *partition);
            assert_eq!(home, Some(*partition), "a key lives in one partition");
        }
        assert_eq!(found[0].1.as_deref().map(|key| key.starts_with("{\"name\":\"k")), Some(true));
    };
    check(&node);
    // A crash: the log is read back from disk, and every epoch is committed once more.
    node.0.clone().close().unwrap();
    drop(node);
    let node = open(dir.path());
    let connect = registry(&node, 3);
    let mut committer = connect.committer("u", &spec, &schema()).unwrap();
    for (epoch, prepared) in (1..).zip(&prepared) {
        committer.commit(Epoch(epoch), prepared).unwrap();
    }
    check(&node);
    // Half an epoch was appended before a crash: the rest follows.
    let mut writer = connect.sink("u", &spec, &schema(), 0).unwrap();
    writer.write(&rows(1_000..1_010)).unwrap();
    let last = writer.prepare(Epoch(13)).unwrap();
    let (partition, batch) = super::sink::batches(last.0.clone()).unwrap().remove(0);
    let topic = node.1.get("out").unwrap();
    node.0.append(topic.partition(partition), batch).unwrap().wait().unwrap();
    committer.commit(Epoch(13), &[last]).unwrap();
    assert_eq!(records(&node, "out").len(), expected.len() + 10);
}

#[test]
fn values_without_their_key_and_damaged_committables() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    let connect = registry(&node, 4);
    let pairs = [
        ("connector", "kafka"),
        ("topic", "out"),
        ("format", "csv"),
        ("key.format", "json"),
        ("value.fields-include", "EXCEPT_KEY"),
    ];
    let spec = sink_spec(options(&pairs, &[]), vec![0]);
    let mut writer = connect.sink("u", &spec, &schema(), 0).unwrap();
    writer.write(&rows(1..2)).unwrap();
    let prepared = writer.prepare(Epoch(1)).unwrap();
    let mut committer = connect.committer("u", &spec, &schema()).unwrap();
    for cut in 1..prepared.0.len() {
        let damaged = Committable(prepared.0.slice(..cut));
        // Cut exactly behind the header, it holds no batch, which is allowed.
        assert!(cut == 5 || committer.commit(Epoch(1), &[damaged]).is_err(), "{cut}");
    }
    committer.commit(Epoch(1), &[prepared, Committable(Bytes::new())]).unwrap();
    let found = records(&node, "out");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].1.as_deref(), &*found[0].2), (Some("{\"id\":1}"), "k1"));
}

#[test]
fn rows_without_a_key_reach_all_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    let connect = registry(&node, 5);
    let spec =
        sink_spec(options(&[("connector", "kafka"), ("topic", "out"), ("format", "json")], &[]), Vec::new());
    let mut writer = connect.sink("u", &spec, &schema(), 0).unwrap();
    for at in 0..4 {
        writer.write(&rows(at..at + 1)).unwrap();
    }
    let prepared = writer.prepare(Epoch(1)).unwrap();
    connect.committer("u", &spec, &schema()).unwrap().commit(Epoch(1), &[prepared]).unwrap();
    let mut counts = [0; 2];
    for (partition, key, _) in records(&node, "out") {
        assert_eq!(key, None);
        counts[usize::try_from(partition).unwrap()] += 1;
    }
    assert_eq!(counts, [2, 2]);
}
