use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, TimeUnit};
use datafusion_expr::{Expr, col};
use highwater_stream::{JoinSpec, Message, WATERMARK_END};
use proptest::prelude::*;

use super::*;

/// A row: key (may be NULL), the end of its window, value.
type Row = (Option<i64>, i64, i64);
/// A row of the result: each side may be missing.
type Pair = (Option<Row>, Option<Row>);

fn schema(names: &[&str]) -> SchemaRef {
    let of = |name: &&str| match name.starts_with('e') {
        true => DataType::Timestamp(TimeUnit::Millisecond, None),
        false => DataType::Int64,
    };
    Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, of(name), true)).collect::<Vec<_>>()))
}

fn join(kind: JoinKind, residual: Option<Expr>, (shard, shards): (usize, usize)) -> WindowJoin {
    let (uid, title) = ("join:0".to_owned(), "WindowJoin(k)".to_owned());
    let both = ["k", "e", "v", "k0", "e0", "v0"];
    let schema_of_result = schema(if kind.is_left_only() { &both[..3] } else { &both });
    let place = Place { uid, title, shard, shards, schema: schema_of_result, batch_rows_max: 8 };
    let join = JoinSpec { kind, left_keys: vec![0], right_keys: vec![0], null_safe: vec![false], residual };
    let spec = WindowJoinSpec { join, left_end: 1, right_end: 1, zone: None };
    WindowJoin::new(&place, &schema(&both[..3]), &schema(&both[3..]), &spec).unwrap()
}

fn batch(input: usize, rows: &[(Row, EventTime)]) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter(rows.iter().map(|((key, ..), _)| *key))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|((_, end, _), _)| *end))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|((.., value), _)| *value))),
    ];
    let names = [["k", "e", "v"], ["k0", "e0", "v0"]][input];
    let marks: Vec<EventTime> = rows.iter().map(|(_, mark)| *mark).collect();
    let rows = RecordBatch::try_new(schema(&names), columns).unwrap();
    ChangeBatch::inserts(rows).with_watermarks(marks.into())
}

fn take(out: Output, result: &mut BTreeMap<Pair, i64>) {
    for message in out.messages {
        let Message::Batch(batch) = message else { continue };
        for row in 0..batch.len() {
            let number = |column: usize| {
                let column = batch.rows.columns().get(column)?.as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            let side = |first: usize| {
                let value = number(first + 2)?;
                let ends = batch.rows.column(first + 1);
                let ends = ends.as_primitive::<arrow::datatypes::TimestampMillisecondType>();
                Some((number(first), ends.value(row), value))
            };
            *result.entry((side(0), side(3))).or_default() += 1;
        }
    }
}

fn drive(
    join: &mut WindowJoin,
    message: Option<(usize, ChangeBatch)>,
    mark: EventTime,
    result: &mut BTreeMap<Pair, i64>,
) {
    let mut out = Output::default();
    let mut progress = match message {
        Some((input, batch)) => join.on_batch(input, batch, &mut out).unwrap(),
        None => join.on_watermark(mark, &mut out).unwrap(),
    };
    while progress == Progress::More {
        progress = join.resume(&mut out).unwrap();
    }
    take(out, result);
}

/// The join of all rows that were not late, by definition.
fn expected(kind: JoinKind, residual: bool, [left, right]: &[Vec<Row>; 2]) -> BTreeMap<Pair, i64> {
    let matches = |a: &Row, b: &Row| a.0.is_some() && a.0 == b.0 && a.1 == b.1 && (!residual || a.2 < b.2);
    let mut result = BTreeMap::new();
    for a in left {
        let partners: Vec<&Row> = right.iter().filter(|b| matches(a, b)).collect();
        match kind {
            JoinKind::Semi | JoinKind::Anti => {
                if partners.is_empty() == (kind == JoinKind::Anti) {
                    *result.entry((Some(*a), None)).or_default() += 1;
                }
                continue;
            }
            _ if partners.is_empty() && kind.keeps_left() => {
                *result.entry((Some(*a), None)).or_default() += 1;
            }
            _ => partners.iter().for_each(|b| *result.entry((Some(*a), Some(**b))).or_default() += 1),
        }
    }
    for b in right.iter().filter(|b| kind.keeps_right() && !left.iter().any(|a| matches(a, b))) {
        *result.entry((None, Some(*b))).or_default() += 1;
    }
    result
}

fn kinds() -> impl Strategy<Value = JoinKind> {
    prop_oneof![
        Just(JoinKind::Inner),
        Just(JoinKind::Left),
        Just(JoinKind::Right),
        Just(JoinKind::Full),
        Just(JoinKind::Semi),
        Just(JoinKind::Anti)
    ]
}

fn steps() -> impl Strategy<Value = Vec<(usize, i64, Vec<Row>)>> {
    let row = (prop::option::weighted(0.9, 0..2_i64), (1..6_i64).prop_map(|end| end * 10), 0..3_i64);
    prop::collection::vec((0..2_usize, 0..4_i64, prop::collection::vec(row, 1..6)), 0..14)
}

proptest! {
    /// Rows in time and late ones, in any batches: the result is the join by definition; also over a snapshot at any
    /// point, in another number of shards.
    #[test]
    fn the_result_is_the_join_of_rows_in_time(kind in kinds(), residual: bool, steps in steps(), cut in 0..14_usize) {
        let on = || residual.then(|| col("v").lt(col("v0")));
        let mut shards = vec![join(kind, on(), (0, 1))];
        let mut chain = RestoredState::new();
        let (mut result, mut in_time, mut late) = (BTreeMap::new(), [Vec::new(), Vec::new()], 0);
        let mut mark = WATERMARK_NONE;
        for (number, (input, step, rows)) in steps.into_iter().enumerate() {
            if number == cut {
                chain.apply(&[shards[0].snapshot(false).unwrap()]).unwrap();
                shards = (0..3).map(|shard| join(kind, on(), (shard, 3))).collect();
                for shard in &mut shards {
                    shard.restore(&chain).unwrap();
                }
            } else if number < cut && number % 3 == 0 {
                chain.apply(&[shards[0].snapshot(number == 3).unwrap()]).unwrap();
            }
            let mut marked = Vec::new();
            for row in rows {
                if row.1 - 1 > mark { in_time[input].push(row) } else { late += 1 }
                marked.push((row, mark));
                mark = mark.max(0) + step;
            }
            let count = shards.len();
            for (number, shard) in shards.iter_mut().enumerate() {
                let codec = KeyCodec::new(vec![DataType::Int64]).unwrap();
                let owned = |((key, ..), _): &&(Row, EventTime)| {
                    let key: ArrayRef = Arc::new(Int64Array::from_iter([*key]));
                    let key = codec.encode(&[key], 1, None).unwrap();
                    KeyGroup::of_hash(hash_bytes(key.get(0))).shard(count) == number
                };
                let rows: Vec<_> = marked.iter().filter(owned).copied().collect();
                if !rows.is_empty() {
                    drive(shard, Some((input, batch(input, &rows))), mark, &mut result);
                }
                drive(shard, None, mark, &mut result);
            }
        }
        for shard in &mut shards {
            drive(shard, None, WATERMARK_END, &mut result);
            prop_assert_eq!(shard.held().1, 0);
        }
        let _ = late;
        prop_assert_eq!(result, expected(kind, residual, &in_time));
    }
}

/// Many pairs come in several calls, and all of them.
#[test]
fn a_large_window_comes_in_parts() {
    let mut join = join(JoinKind::Full, Some(col("v").lt(col("v0"))), (0, 1));
    let left: Vec<_> = (0..300).map(|value| ((Some(1), 10, value), 0)).collect();
    let right: Vec<_> = (-1..400).map(|value| ((Some(1), 10, value), 0)).collect();
    let mut result = BTreeMap::new();
    drive(&mut join, Some((0, batch(0, &left))), 0, &mut result);
    drive(&mut join, Some((1, batch(1, &right))), 0, &mut result);
    let mut out = Output::default();
    let mut calls = 1;
    let mut progress = join.on_watermark(9, &mut out).unwrap();
    while progress == Progress::More {
        progress = join.resume(&mut out).unwrap();
        calls += 1;
    }
    take(out, &mut result);
    let rows = |rows: &[(Row, EventTime)]| rows.iter().map(|(row, _)| *row).collect::<Vec<_>>();
    assert_eq!(result, expected(JoinKind::Full, true, &[rows(&left), rows(&right)]));
    assert_eq!(calls, 9);
}
