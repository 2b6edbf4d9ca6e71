use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;

fn definition() -> TableDefinition {
    let schema =
        Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("k", DataType::Utf8, false)]);
    TableDefinition { name: "t".into(), schema: Arc::new(schema), primary_key: vec![1], pipeline: "p".into() }
}

/// Changes of table `t`: key, and the new number or None to delete.
fn changes(list: &[(&str, Option<i64>)]) -> Vec<KeyedChange> {
    let one = |(key, number): &(&str, Option<i64>)| {
        let rows = RecordBatch::try_new(
            definition().schema,
            vec![
                Arc::new(Int64Array::from(vec![number.unwrap_or(0)])),
                Arc::new(StringArray::from(vec![*key])),
            ],
        )
        .unwrap();
        let (mut key, mut rest) = (Vec::new(), Vec::new());
        encode_row(&rows, &[1], 0, &mut key);
        encode_row(&rows, &[0], 0, &mut rest);
        KeyedChange { key, rest: number.map(|_| rest) }
    };
    list.iter().map(one).collect()
}

fn shown(rows: &RecordBatch) -> Vec<(String, i64)> {
    let numbers = rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
    let keys = rows.column(1).as_any().downcast_ref::<StringArray>().unwrap();
    (0..rows.num_rows()).map(|row| (keys.value(row).to_owned(), numbers.value(row))).collect()
}

fn check_store(store: Arc<dyn TableStore>) {
    let tables = Tables::new(store);
    tables.define(definition()).unwrap();
    tables.apply("t", Epoch(1), &changes(&[("b", Some(1)), ("a", Some(2)), ("b", Some(3))])).unwrap();
    assert_eq!(shown(&tables.scan("t", 10).unwrap().rows), [("a".into(), 2), ("b".into(), 3)]);

    // The same epoch again changes nothing; the next one does.
    tables.apply("t", Epoch(1), &changes(&[("z", Some(9))])).unwrap();
    tables.apply("t", Epoch(2), &changes(&[("a", None), ("c", Some(4))])).unwrap();
    assert_eq!(shown(&tables.scan("t", 10).unwrap().rows), [("b".into(), 3), ("c".into(), 4)]);
    assert_eq!(tables.epoch("t").unwrap(), Epoch(2));

    let cut = tables.scan("t", 1).unwrap();
    assert!(cut.more);
    assert_eq!(shown(&cut.rows), [("b".into(), 3)]);

    let key = RecordBatch::try_from_iter([("k", Arc::new(StringArray::from(vec!["c"])) as _)]).unwrap();
    assert_eq!(shown(&tables.lookup("t", &key, 10).unwrap().rows), [("c".into(), 4)]);
    let wrong = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as _)]).unwrap();
    assert_eq!(tables.lookup("t", &wrong, 10).unwrap_err().to_string(), "table t has the primary key (k)");

    tables.drop_table("t").unwrap();
    tables.define(definition()).unwrap();
    assert_eq!(shown(&tables.scan("t", 10).unwrap().rows), []);
    assert_eq!(tables.epoch("t").unwrap(), Epoch(0));
}

#[test]
fn memory_store_keeps_tables() {
    check_store(Arc::new(MemoryStore::default()));
}

#[test]
fn fjall_store_keeps_tables() {
    let dir = tempfile::tempdir().unwrap();
    check_store(Arc::new(FjallStore::open(dir.path()).unwrap()));
}

#[test]
fn fjall_store_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for epoch in 1..4 {
        let tables = Tables::new(Arc::new(FjallStore::open(dir.path()).unwrap()));
        tables.define(definition()).unwrap();
        assert_eq!(tables.epoch("t").unwrap(), Epoch(epoch - 1));
        tables.apply("t", Epoch(epoch), &changes(&[("k", Some(i64::try_from(epoch).unwrap()))])).unwrap();
        assert_eq!(shown(&tables.scan("t", 10).unwrap().rows), [("k".into(), i64::try_from(epoch).unwrap())]);
    }
}

#[test]
fn a_subscriber_gets_a_snapshot_then_changes() {
    let tables = Tables::new(Arc::new(MemoryStore::default()));
    tables.define(definition()).unwrap();
    tables.apply("t", Epoch(1), &changes(&[("a", Some(1))])).unwrap();
    let (send, receive) = sync_channel(10);
    tables
        .subscribe("t", Visibility::Committed, 10, move |event| send.try_send(event.clone()).is_ok())
        .unwrap();
    tables.apply("t", Epoch(2), &changes(&[("a", None), ("b", Some(2))])).unwrap();

    let TableEvent::Snapshot { epoch, rows, .. } = receive.recv().unwrap() else {
        panic!("expected a snapshot")
    };
    assert_eq!((epoch, shown(&rows)), (Epoch(1), vec![("a".into(), 1)]));
    let TableEvent::Committed { epoch, changes: made } = receive.recv().unwrap() else {
        panic!("expected an epoch")
    };
    assert_eq!(epoch, Epoch(2));
    assert_eq!((made.kind(0), made.kind(1)), (RowKind::Delete, RowKind::UpdateAfter));
    assert_eq!(made.rows.column(0).null_count(), 1);

    drop(receive);
    tables.apply("t", Epoch(3), &changes(&[("c", Some(3))])).unwrap();
    assert!(
        !tables.table("t").unwrap().subscribers.any(Visibility::Committed),
        "a gone subscriber is forgotten"
    );
}

#[test]
fn a_name_belongs_to_one_pipeline() {
    let tables = Tables::new(Arc::new(MemoryStore::default()));
    tables.define(definition()).unwrap();
    let other = TableDefinition { pipeline: "q".into(), ..definition() };
    assert_eq!(
        tables.define(other).unwrap_err().to_string(),
        "table t is kept by pipeline p; drop that pipeline first or choose another name"
    );
}
