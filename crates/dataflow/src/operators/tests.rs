mod windows;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::display::array_value_to_string;
use expect_test::{Expect, expect};
use highwater_state::RestoredState;
use highwater_stream::{
    AggregateCall, AggregateFunction, ChangeBatch, GroupAggregateSpec, Message, RowKind, WATERMARK_END,
    WindowAggregateSpec, WindowColumn, WindowShape, WindowSpec,
};

use super::*;
use crate::operator::{Operator, Output, Progress};

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(
        fields.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect::<Vec<_>>(),
    ))
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn input() -> SchemaRef {
    schema(&[("k", DataType::Utf8), ("ts", time()), ("v", DataType::Int64)])
}

fn place(schema: SchemaRef) -> Place {
    let (uid, title) = ("op:1".to_owned(), "Op".to_owned());
    Place { uid, title, shard: 0, shards: 1, schema, batch_rows_max: 2 }
}

fn rows(rows: &[(&str, Option<i64>, i64)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(TimestampMillisecondArray::from_iter(rows.iter().map(|row| row.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

fn changes(changes: &[(RowKind, &str, i64)]) -> ChangeBatch {
    let plain: Vec<_> = changes.iter().map(|(_, key, value)| (*key, Some(0), *value)).collect();
    ChangeBatch::with_kinds(rows(&plain), changes.iter().map(|(kind, ..)| *kind).collect())
}

/// Feeds messages and shows what comes out of each call, `...` where the operator has more to say.
fn check(operator: &mut dyn Operator, messages: Vec<Message>, expected: Expect) {
    let mut shown = Vec::new();
    for message in messages {
        let mut out = Output::default();
        let mut progress = match message {
            Message::Batch(batch) => operator.on_batch(0, batch, &mut out).unwrap(),
            Message::Watermark(watermark) => operator.on_watermark(watermark, &mut out).unwrap(),
            other => panic!("{other:?}"),
        };
        while progress == Progress::More {
            shown.push(format!("{} ...", show(&out.messages)));
            out = Output { late: out.late, ..Output::default() };
            progress = operator.resume(&mut out).unwrap();
        }
        let late = if out.late > 0 { format!(" late={}", out.late) } else { String::new() };
        shown.push(format!("{}{late}", show(&out.messages)));
    }
    expected.assert_eq(&shown.join("\n"));
}

fn show(messages: &[Message]) -> String {
    let message = |message: &Message| match message {
        Message::Batch(batch) => {
            (0..batch.len()).map(|row| show_row(batch, row)).collect::<Vec<_>>().join(" ")
        }
        Message::Watermark(watermark) => format!("watermark={watermark}"),
        other => format!("{other:?}"),
    };
    messages.iter().map(message).collect::<Vec<_>>().join("; ")
}

fn show_row(batch: &ChangeBatch, row: usize) -> String {
    let cell =
        |column: &ArrayRef| match column.as_primitive_opt::<arrow::datatypes::TimestampMillisecondType>() {
            Some(times) => times.value(row).to_string(),
            None => array_value_to_string(column, row).unwrap(),
        };
    let cells: Vec<String> = batch.rows.columns().iter().map(cell).collect();
    format!("{}({})", batch.kind(row).symbol(), cells.join(","))
}

fn call(function: AggregateFunction, argument: Option<usize>) -> AggregateCall {
    AggregateCall { function, argument, distinct: false, filter: None, output: DataType::Int64 }
}

fn window(size_ms: i64) -> WindowSpec {
    let (shape, zone) = (WindowShape::Tumble, None);
    WindowSpec { time_column: 1, shape, size_ms, offset_ms: 0, zone, processing_time: false }
}

fn window_count() -> WindowAggregate {
    window_count_over(false)
}

fn window_count_over(changing: bool) -> WindowAggregate {
    let schema =
        schema(&[("k", DataType::Utf8), ("n", DataType::Int64), ("s", time()), ("e", time()), ("t", time())]);
    let spec = WindowAggregateSpec {
        window: window(10),
        keys: vec![0],
        calls: vec![call(AggregateFunction::CountStar, None)],
        window_columns: vec![WindowColumn::Start, WindowColumn::End, WindowColumn::Time],
    };
    WindowAggregate::new(&place(schema), &input(), &spec, changing).unwrap()
}

#[test]
fn a_window_is_said_in_bounded_batches_before_its_watermark() {
    let batch = rows(&[("c", Some(1), 0), ("a", Some(12), 0), ("b", Some(2), 0), ("a", Some(3), 0)]);
    check(
        &mut window_count(),
        vec![
            Message::Batch(ChangeBatch::inserts(batch)),
            Message::Watermark(8),
            Message::Watermark(9),
            Message::Batch(ChangeBatch::inserts(rows(&[("a", Some(9), 0), ("a", Some(10), 0)]))),
            Message::Watermark(WATERMARK_END),
        ],
        expect![[r#"

            watermark=8
            +I(c,1,0,10,9) +I(b,1,0,10,9) ...
            +I(a,1,0,10,9) ...
            watermark=9
             late=1
            +I(a,2,10,20,19) ...
            watermark=9223372036854775807"#]],
    );
}

/// Rows 0 and 1 fall into [0, 10); the watermark before row 2 closes it, row 3 comes too late.
#[test]
fn a_watermark_inside_a_batch_cuts_it() {
    let batch = rows(&[("a", Some(1), 0), ("a", Some(9), 0), ("a", Some(12), 0), ("a", Some(5), 0)]);
    let marks = ScalarBuffer::from(vec![-9, -9, 9, 9]);
    check(
        &mut window_count(),
        vec![Message::Batch(ChangeBatch::inserts(batch).with_watermarks(marks)), Message::Watermark(19)],
        expect![[r#"
            +I(a,2,0,10,9) ...
            watermark=9 late=1
            +I(a,1,10,20,19) ...
            watermark=19"#]],
    );
}

/// Keys whose rows all went give no result, also after a restore; a change of a closed window is late.
#[test]
fn a_window_over_changes_counts_what_is_left() {
    let batch = |rows_of: &[(RowKind, &str, i64)]| {
        let plain: Vec<_> = rows_of.iter().map(|(_, key, time)| (*key, Some(*time), 0)).collect();
        let kinds = rows_of.iter().map(|(kind, ..)| *kind).collect();
        Message::Batch(ChangeBatch::with_kinds(rows(&plain), kinds))
    };
    let mut first = window_count_over(true);
    check(
        &mut first,
        vec![batch(&[(Insert, "a", 1), (Insert, "b", 2), (Insert, "a", 3), (Insert, "c", 12)])],
        expect![""],
    );
    let saved = first.snapshot(true).expect("a window aggregate keeps state");
    let mut second = window_count_over(true);
    let mut chain = RestoredState::new();
    chain.apply(&[saved]).unwrap();
    second.restore(&chain).unwrap();
    check(
        &mut second,
        vec![
            batch(&[(UpdateBefore, "a", 1), (UpdateAfter, "a", 11), (Delete, "b", 2), (Delete, "c", 12)]),
            Message::Watermark(9),
            batch(&[(Delete, "a", 3)]),
            Message::Watermark(WATERMARK_END),
        ],
        expect![[r#"

            +I(a,1,0,10,9) ...
            watermark=9
             late=1
            +I(a,1,10,20,19) ...
            watermark=9223372036854775807"#]],
    );
}

#[test]
fn an_event_time_of_null_is_an_error_that_says_so() {
    let batch = ChangeBatch::inserts(rows(&[("a", Some(1), 0), ("a", None, 0)]));
    let error = window_count().on_batch(0, batch, &mut Output::default()).unwrap_err().to_string();
    expect!["Op: event time ts is NULL in row 1 of a batch, expected a timestamp: filter such rows"]
        .assert_eq(&error);
}

#[test]
fn a_window_table_passes_late_rows_through() {
    let schema = schema(&[
        ("k", DataType::Utf8),
        ("ts", time()),
        ("v", DataType::Int64),
        ("window_start", time()),
        ("window_end", time()),
        ("window_time", time()),
    ]);
    let mut table = WindowTable::new(&place(schema), &window(10)).unwrap();
    let batch = ChangeBatch::inserts(rows(&[("a", Some(-1), 7), ("a", Some(10), 8)]));
    check(
        &mut table,
        vec![Message::Watermark(1_000), Message::Batch(batch)],
        expect![[r#"
        watermark=1000
        +I(a,-1,7,-10,0,-1) +I(a,10,8,10,20,19)"#]],
    );
}

fn group_sum(retract: bool, emit_update_before: bool, keys: Vec<usize>) -> GroupAggregate {
    let mut fields: Vec<(&str, DataType)> = keys.iter().map(|_| ("k", DataType::Utf8)).collect();
    fields.extend([("s", DataType::Int64), ("most", DataType::Int64)]);
    let calls = vec![call(AggregateFunction::Sum, Some(2)), call(AggregateFunction::Max, Some(2))];
    let spec = GroupAggregateSpec { keys, calls, emit_update_before };
    GroupAggregate::new(&place(schema(&fields)), &input(), &spec, retract).unwrap()
}

use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};

#[test]
fn a_changing_input_gives_minimal_changes() {
    check(
        &mut group_sum(true, true, vec![0]),
        vec![
            Message::Batch(changes(&[(Insert, "a", 1), (Insert, "b", 5), (Insert, "a", 2)])),
            Message::Batch(changes(&[(UpdateBefore, "a", 2), (UpdateAfter, "a", 2)])), // changes nothing
            Message::Batch(changes(&[(Delete, "a", 2), (Insert, "c", 9), (Delete, "c", 9)])),
            Message::Batch(changes(&[(Delete, "a", 1), (Delete, "b", 5), (Insert, "b", 6)])),
            Message::Batch(changes(&[(Insert, "a", 4), (Delete, "d", 4)])),
            Message::Watermark(3),
        ],
        expect![[r#"
            +I(a,3,2) +I(b,5,5)

            -U(a,3,2) +U(a,1,1)
            -D(a,1,1) -U(b,5,5) +U(b,6,6)
            +I(a,4,4)
            watermark=3"#]],
    );
}

#[test]
fn an_upsert_has_no_row_before() {
    let batch = |value| Message::Batch(changes(&[(Insert, "a", value)]));
    check(
        &mut group_sum(false, false, vec![0]),
        vec![batch(1), batch(0), batch(2)],
        expect![[r#"
        +I(a,1,1)

        +U(a,3,2)"#]],
    );
}

#[test]
fn a_global_aggregate_over_no_rows_says_nothing() {
    let mut global = group_sum(true, true, vec![]);
    check(
        &mut global,
        vec![
            Message::Watermark(WATERMARK_END),
            Message::Batch(changes(&[(Insert, "a", 1)])),
            Message::Batch(changes(&[(Delete, "a", 1)])),
        ],
        expect![[r#"
            watermark=9223372036854775807
            +I(1,1)
            -D(1,1)"#]],
    );
    assert_eq!(global.held().1, 0, "an empty group is forgotten");
}
