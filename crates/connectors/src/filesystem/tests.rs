use std::path::Path;
use std::sync::Arc;
use std::task::Waker;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use expect_test::{Expect, expect};
use highwater_env::{Disk, Epoch, OpenMode, RealDisk};
use highwater_formats::ValuesEncoder;
use highwater_stream::{
    ChangeBatch, Committable, Connect, ErrorKind, Position, RowKind, SourcePoll, SourceSpec, SplitId,
};

use crate::decode::metadata_field;
use crate::registry::tests::{options, registry, sink_spec, source_spec};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
    ]))
}

fn write(dir: &Path, name: &str, text: &str) {
    let file = RealDisk.open(&dir.join(name), OpenMode::Create).unwrap();
    file.write_all_at(text.as_bytes(), 0).unwrap();
}

fn spec(dir: &Path, more: &[(&str, &str)]) -> SourceSpec {
    let path = dir.to_str().unwrap();
    let pairs = [("connector", "filesystem"), ("path", path), ("format", "json")];
    source_spec(options(&pairs, more), schema())
}

/// Everything a table gives, `rows_max` rows at a time, as lines; each batch with its position.
fn read(spec: &SourceSpec, rows_max: usize) -> Vec<(SplitId, u64, String)> {
    let connect = registry();
    let mut source = connect.source(spec).unwrap();
    assert!(source.is_bounded());
    let mut found = Vec::new();
    for split in source.splits().unwrap() {
        let mut reader = source.open(&split, None).unwrap();
        loop {
            match reader.poll(rows_max, Waker::noop()) {
                Ok(SourcePoll::Batch(batch)) => {
                    let mut text = shown(&batch.rows);
                    for reject in &batch.rejects {
                        let split = Path::new(&reject.split).file_name().unwrap().to_str().unwrap();
                        let payload = String::from_utf8_lossy(&reject.payload);
                        text.push_str(&format!(
                            "rejected {split}:{} {payload}: {}\n",
                            reject.position, reject.reason
                        ));
                    }
                    if batch.skipped > 0 {
                        text.push_str(&format!("skipped {}\n", batch.skipped));
                    }
                    found.push((split.clone(), batch.next.0, text));
                }
                Ok(SourcePoll::End) => break,
                Ok(SourcePoll::Pending) => panic!("a file is never pending"),
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::BadRecord);
                    let place = Path::new(&error.place).file_name().unwrap().to_str().unwrap().to_owned();
                    found.push((split.clone(), 0, format!("! {place}: {}\n", error.message)));
                    break;
                }
            }
        }
    }
    found
}

fn shown(rows: &RecordBatch) -> String {
    let mut out = Vec::new();
    ValuesEncoder::new(&rows.schema()).unwrap().rows(rows, &mut out, |_, out| out.push(b'\n')).unwrap();
    String::from_utf8(out).unwrap()
}

fn check(spec: &SourceSpec, expected: Expect) {
    let text: String = read(spec, 100).into_iter().map(|(_, _, text)| text).collect();
    expected.assert_eq(&text);
    let one_by_one: String = read(spec, 1).into_iter().map(|(_, _, text)| text).collect();
    assert_eq!(one_by_one.matches('{').count(), text.matches('{').count());
}

#[test]
fn a_directory_is_read_in_the_order_of_names_without_hidden_files() {
    let dir = tempfile::tempdir().unwrap();
    RealDisk.create_dir_all(&dir.path().join("c/_d")).unwrap();
    write(dir.path(), "b.json", "{\"id\": 3}");
    write(dir.path(), "a.json", "{\"id\": 1, \"name\": \"x\"}\r\n\n{\"id\": 2}\n");
    write(dir.path(), "c/x.json", "{\"id\": 4}\n");
    write(dir.path(), ".hidden", "rubbish");
    write(dir.path(), "_SUCCESS", "");
    write(dir.path(), "c/_d/y.json", "rubbish");
    check(
        &spec(dir.path(), &[]),
        expect![[r#"
            {"id":1,"name":"x"}
            {"id":2,"name":null}
            {"id":3,"name":null}
            {"id":4,"name":null}
        "#]],
    );
    check(
        &spec(&dir.path().join("b.json"), &[]),
        expect![[r#"
            {"id":3,"name":null}
        "#]],
    );
}

#[test]
fn bad_records_by_policy() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "t.json", "{\"id\": 1}\n{broken\n{\"id\": \"x\"}\n{\"id\": 2}\n");
    check(
        &spec(dir.path(), &[]),
        expect![[r#"
            {"id":1,"name":null}
            ! t.json:2: byte 1: expected a string, found "broken"
        "#]],
    );
    check(
        &spec(dir.path(), &[("bad-records", "dead-letter")]),
        expect![[r#"
            {"id":1,"name":null}
            {"id":2,"name":null}
            rejected t.json:2 {broken: byte 1: expected a string, found "broken"
            rejected t.json:3 {"id": "x"}: column id: expected BIGINT, found "x"
        "#]],
    );
    check(
        &spec(dir.path(), &[("bad-records", "skip")]),
        expect![[r#"
            {"id":1,"name":null}
            {"id":2,"name":null}
            skipped 2
        "#]],
    );
    check(
        &spec(dir.path(), &[("json.ignore-parse-errors", "true")]),
        expect![[r#"
            {"id":1,"name":null}
            {"id":null,"name":null}
            {"id":2,"name":null}
            skipped 1
        "#]],
    );
}

#[test]
fn csv_with_a_header_quoted_line_ends_and_metadata() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "t.csv", "id,name\n1,\"a\nb\"\n2,c\nx,d\n");
    let csv = [("format", "csv"), ("csv.ignore-first-line", "true")];
    let mut spec = spec(dir.path(), &csv);
    check(
        &spec,
        expect![[r#"
            {"id":1,"name":"a\nb"}
            {"id":2,"name":"c"}
            ! t.csv:5: column id: expected BIGINT, found "x"
        "#]],
    );
    // Only what the plan needs, and where it came from.
    let fields =
        [Field::new("name", DataType::Utf8, true), metadata_field("file", DataType::Utf8, "file.name")];
    spec.physical = Arc::new(Schema::new(fields.to_vec()));
    check(
        &spec,
        expect![[r#"
            {"name":"a\nb","file":"t.csv"}
            {"name":"c","file":"t.csv"}
            {"name":"d","file":"t.csv"}
        "#]],
    );
    spec.physical = Arc::new(Schema::empty());
    let rows: usize = read(&spec, 2).iter().map(|(_, _, text)| text.lines().count()).sum();
    assert_eq!(rows, 3, "a count needs no column");
}

#[test]
fn every_position_goes_on_with_the_very_next_row() {
    let dir = tempfile::tempdir().unwrap();
    let json: String =
        (0..50).map(|id| format!("{{\"id\": {id}, \"name\": \"{}\"}}\n", "é".repeat(id))).collect();
    let csv: String = (0..50).map(|id| format!("{id},\"x{}\n\"\"\"\n", "y".repeat(id))).collect();
    write(dir.path(), "t.json", &json);
    write(dir.path(), "t.csv", &format!("id,name\n{csv}"));
    for (file, more) in [
        ("t.json", &[("format", "json")][..]),
        ("t.csv", &[("format", "csv"), ("csv.ignore-first-line", "true")]),
    ] {
        let spec = spec(&dir.path().join(file), more);
        let batches = read(&spec, 1);
        assert_eq!(batches.len(), 50);
        let connect = registry();
        for (done, (split, next, _)) in batches.iter().enumerate() {
            let mut source = connect.source(&spec).unwrap();
            let mut reader = source.open(split, Some(Position(*next))).unwrap();
            let mut ids = Vec::new();
            while let SourcePoll::Batch(batch) = reader.poll(7, Waker::noop()).unwrap() {
                ids.extend(batch.rows.column(0).as_primitive::<Int64Type>().values().iter().copied());
            }
            assert_eq!(ids, (done as i64 + 1..50).collect::<Vec<_>>(), "{file} from byte {next}");
        }
        let mut source = connect.source(&spec).unwrap();
        let lost = source.open(&batches[0].0, Some(Position(1 << 40))).err().unwrap();
        assert_eq!(lost.kind, ErrorKind::PositionLost);
    }
}

#[test]
fn big_files_pass_through_a_small_buffer() {
    let dir = tempfile::tempdir().unwrap();
    let filler = "z".repeat(1_000);
    let lines: String = (0..3_000).map(|id| format!("{{\"id\":{id},\"name\":\"{filler}\"}}\n")).collect();
    write(dir.path(), "t.json", &lines);
    let batches = read(&spec(dir.path(), &[]), 1_000);
    assert_eq!(batches.len(), 3);
    assert_eq!(batches.last().unwrap().1, lines.len() as u64);
}

#[test]
fn mistakes_in_options_are_the_users() {
    let dir = tempfile::tempdir().unwrap();
    let connect = registry();
    let error =
        |spec: &SourceSpec| connect.source(spec).err().map(|error| error.to_string()).unwrap_or_default();
    for (more, expected) in [
        (("formt", "json"), "has no option 'formt'"),
        (("format", "xml"), "unknown format 'xml'"),
        (("bad-records", "hide"), "expected fail, dead-letter or skip"),
        (("path", "s3://b/k"), "expected a local file"),
        (("connector", "kafkaesque"), "unknown connector 'kafkaesque'"),
    ] {
        let message = error(&spec(dir.path(), &[more]));
        assert!(message.contains(expected), "{message}");
        assert!(message.starts_with("table t: "), "{message}");
    }
    let mut missing = spec(dir.path(), &[]);
    missing.options.remove("path");
    assert_eq!(error(&missing), "table t: option 'path' is missing");
    let absent = connect.source(&spec(&dir.path().join("none"), &[])).unwrap().splits().unwrap_err();
    assert_eq!(absent.kind, ErrorKind::Config);
}

fn rows(ids: std::ops::Range<i64>) -> ChangeBatch {
    let names: Vec<String> = ids.clone().map(|id| format!("n{id}")).collect();
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(arrow::array::Int64Array::from(ids.collect::<Vec<_>>())),
        Arc::new(arrow::array::StringArray::from(names)),
    ];
    ChangeBatch::inserts(RecordBatch::try_new(schema(), columns).unwrap())
}

/// The ids in a directory of JSON files, sorted.
fn ids(dir: &Path) -> Vec<i64> {
    let connect = registry();
    let mut source = connect.source(&spec(dir, &[])).unwrap();
    let mut ids = Vec::new();
    for split in source.splits().unwrap() {
        let mut reader = source.open(&split, None).unwrap();
        while let SourcePoll::Batch(batch) = reader.poll(100, Waker::noop()).unwrap() {
            assert!(batch.rows.column(0).null_count() == 0);
            ids.extend(batch.rows.column(0).as_primitive::<Int64Type>().values().iter().copied());
        }
    }
    ids.sort_unstable();
    ids
}

#[test]
fn rows_show_when_their_epoch_commits_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    let pairs = [("connector", "filesystem"), ("path", target.to_str().unwrap()), ("format", "json")];
    let spec = sink_spec(options(&pairs, &[]), Vec::new());
    let connect = registry();
    let mut writers: Vec<_> =
        (0..2).map(|shard| connect.sink("u", &spec, &schema(), shard).unwrap()).collect();
    let mut committer = connect.committer("u", &spec, &schema()).unwrap();
    let mut epoch = |epoch: u64, ranges: [std::ops::Range<i64>; 2]| -> Vec<Committable> {
        let pairs = writers.iter_mut().zip(ranges);
        pairs
            .map(|(writer, range)| {
                writer.write(&rows(range)).unwrap();
                writer.prepare(Epoch(epoch)).unwrap()
            })
            .collect()
    };
    let first = epoch(1, [0..3, 3..5]);
    assert_eq!(ids(&target), Vec::<i64>::new());
    committer.commit(Epoch(1), &first).unwrap();
    committer.commit(Epoch(1), &first).unwrap();
    assert_eq!(ids(&target), (0..5).collect::<Vec<_>>());
    let second = epoch(2, [5..5, 5..6]);
    // A crash: other writers and another committer, which is given the last epoch again.
    drop(committer);
    let mut committer = connect.committer("u", &spec, &schema()).unwrap();
    committer.commit(Epoch(2), &second).unwrap();
    committer.commit(Epoch(2), &second).unwrap();
    assert_eq!(ids(&target), (0..6).collect::<Vec<_>>());

    let mut writer = connect.sink("u", &spec, &schema(), 0).unwrap();
    let deletes = ChangeBatch::with_kinds(rows(0..1).rows, vec![RowKind::Delete]);
    assert_eq!(writer.write(&deletes).unwrap_err().kind, ErrorKind::Config);
    let lost = Committable(bytes::Bytes::from_static(br#"{"v":1,"files":[[".a","a"]]}"#));
    assert!(committer.commit(Epoch(3), &[lost]).unwrap_err().to_string().contains("is gone"));
    let rubbish = Committable(bytes::Bytes::from_static(b"\xff"));
    assert!(committer.commit(Epoch(3), &[rubbish]).is_err());
}
