use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int32Array, Int32Builder, Int64Array, ListArray, MapBuilder, StringArray, StringBuilder,
    StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use highwater_stream::{ChangeBatch, Message, RowKind, UnnestSpec};

use super::Unnest;
use crate::operator::{Operator, Output, Progress};
use crate::operators::Place;

fn unnest(spec: UnnestSpec, columns: &[DataType]) -> Unnest {
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(index, data_type)| Field::new(format!("c{index}"), data_type.clone(), true))
        .collect();
    let place = Place {
        uid: "unnest:1".to_owned(),
        title: "Unnest".to_owned(),
        shard: 0,
        shards: 1,
        schema: Arc::new(Schema::new(fields)),
        batch_rows_max: 2,
    };
    Unnest::new(&place, &spec)
}

fn plain() -> UnnestSpec {
    UnnestSpec { collection: 1, kept: vec![0], ordinality: false, outer: false }
}

/// Rows numbered from 1 with that collection.
fn batch(collection: ArrayRef) -> ChangeBatch {
    let ids = Int64Array::from_iter_values(1..=i64::try_from(collection.len()).unwrap());
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids) as ArrayRef, true),
        ("collection", collection, true),
    ]);
    ChangeBatch::inserts(rows.unwrap())
}

/// What each call emits: kind, row and, where there is one, watermark.
fn calls(operator: &mut Unnest, batch: ChangeBatch) -> Vec<String> {
    let mut out = Output::default();
    let mut progress = operator.on_batch(0, batch, &mut out).unwrap();
    let mut shown = vec![show(&out.messages)];
    while progress == Progress::More {
        out = Output::default();
        progress = operator.resume(&mut out).unwrap();
        shown.push(show(&out.messages));
    }
    shown
}

fn show(messages: &[Message]) -> String {
    let mut rows = Vec::new();
    for message in messages {
        let Message::Batch(batch) = message else { panic!("{message:?}") };
        for row in 0..batch.len() {
            let cell = |column: &ArrayRef| {
                if column.is_null(row) {
                    return "NULL".to_owned();
                }
                array_value_to_string(column, row).unwrap()
            };
            let cells: Vec<String> = batch.rows.columns().iter().map(cell).collect();
            let mark = batch.watermarks.as_ref().map_or_else(String::new, |marks| format!("@{}", marks[row]));
            rows.push(format!("{}({}){mark}", batch.kind(row).symbol(), cells.join(",")));
        }
    }
    rows.join(" ")
}

fn numbers() -> ArrayRef {
    let lists = vec![Some(vec![Some(7), None, Some(9)]), Some(vec![]), None, Some(vec![Some(1)])];
    Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))
}

#[test]
fn elements_become_rows_in_bounded_batches() {
    let mut operator = unnest(plain(), &[DataType::Int64, DataType::Int32]);
    assert_eq!(calls(&mut operator, batch(numbers())), ["+I(1,7) +I(1,NULL)", "+I(1,9) +I(4,1)"]);
}

#[test]
fn outer_keeps_rows_without_elements_and_ordinals_start_at_one() {
    let spec = UnnestSpec { ordinality: true, outer: true, ..plain() };
    let mut operator = unnest(spec, &[DataType::Int64, DataType::Int32, DataType::Int32]);
    let expected = ["+I(1,7,1) +I(1,NULL,2)", "+I(1,9,3) +I(2,NULL,NULL)", "+I(3,NULL,NULL) +I(4,1,1)"];
    assert_eq!(calls(&mut operator, batch(numbers())), expected);
}

#[test]
fn kinds_and_watermarks_follow_their_rows_also_of_a_slice() {
    let rows = batch(numbers());
    let kinds = vec![RowKind::Insert, RowKind::Delete, RowKind::Insert, RowKind::UpdateBefore];
    let marked =
        ChangeBatch::with_kinds(rows.rows, kinds).with_watermarks(ScalarBuffer::from(vec![5, 6, 7, 8]));
    let mut operator = unnest(plain(), &[DataType::Int64, DataType::Int32]);
    assert_eq!(calls(&mut operator, marked), ["+I(1,7)@5 +I(1,NULL)@5", "+I(1,9)@5 -U(4,1)@8"]);
    let sliced = ChangeBatch::inserts(batch(numbers()).rows.slice(1, 3));
    assert_eq!(calls(&mut operator, sliced), ["+I(4,1)"]);
}

#[test]
fn fields_of_rows_become_columns_and_a_null_row_none() {
    let sku = Arc::new(StringArray::from(vec![Some("A"), Some("hidden"), None])) as ArrayRef;
    let qty = Arc::new(Int32Array::from(vec![Some(2), Some(0), Some(1)])) as ArrayRef;
    let fields = vec![Field::new("sku", DataType::Utf8, true), Field::new("qty", DataType::Int32, true)];
    let nulls = NullBuffer::from(vec![true, false, true]);
    let rows = StructArray::new(fields.into(), vec![sku, qty], Some(nulls));
    let item = Arc::new(Field::new("item", rows.data_type().clone(), true));
    let lists = ListArray::new(item, OffsetBuffer::from_lengths([2, 1]), Arc::new(rows), None);
    let lists: ArrayRef = Arc::new(lists);
    let columns = [DataType::Int64, DataType::Utf8, DataType::Int32];
    let mut operator = unnest(plain(), &columns);
    assert_eq!(calls(&mut operator, batch(Arc::clone(&lists))), ["+I(1,A,2) +I(2,NULL,1)"]);
    let spec = UnnestSpec { ordinality: true, ..plain() };
    let mut operator = unnest(spec, &[columns.to_vec(), vec![DataType::Int32]].concat());
    let error = operator.on_batch(0, batch(lists), &mut Output::default()).unwrap_err();
    assert!(error.to_string().contains("NULL row"), "{error}");
}

#[test]
fn a_map_gives_keys_and_values() {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    maps.keys().append_value("p");
    maps.values().append_value(1);
    maps.keys().append_value("q");
    maps.values().append_null();
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    let mut operator = unnest(plain(), &[DataType::Int64, DataType::Utf8, DataType::Int32]);
    assert_eq!(calls(&mut operator, batch(Arc::new(maps.finish()))), ["+I(1,p,1) +I(1,q,NULL)"]);
}
