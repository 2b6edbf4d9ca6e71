use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion_expr::{Expr, col};
use highwater_state::KeyCodec;
use highwater_stream::{JoinKind, Message};
use proptest::prelude::*;

use super::*;

/// A row: key (may be NULL) and value.
type Row = (Option<i64>, i64);
/// A row of the result: each side may be missing.
type Pair = (Option<Row>, Option<Row>);

fn schema(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(
        names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>(),
    ))
}

fn join(kind: JoinKind, residual: Option<Expr>, (shard, shards): (usize, usize)) -> Join {
    let (uid, title) = ("join:0".to_owned(), "Join(k)".to_owned());
    let columns: &[&str] = if kind.is_left_only() { &["k", "v"] } else { &["k", "v", "k0", "v0"] };
    let place = Place { uid, title, shard, shards, schema: schema(columns), batch_rows_max: 8 };
    let spec = JoinSpec { kind, left_keys: vec![0], right_keys: vec![0], null_safe: vec![false], residual };
    Join::new(&place, &schema(&["k", "v"]), &schema(&["k0", "v0"]), &spec).unwrap()
}

fn batch(input: usize, rows: &[(Row, bool)]) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter(rows.iter().map(|((key, _), _)| *key))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|((_, value), _)| *value))),
    ];
    let names = [["k", "v"], ["k0", "v0"]][input];
    let rows_in = RecordBatch::try_new(schema(&names), columns).unwrap();
    let kind = |comes| if comes { RowKind::Insert } else { RowKind::Delete };
    ChangeBatch::with_kinds(rows_in, rows.iter().map(|(_, comes)| kind(*comes)).collect())
}

/// Adds what comes out to `result`, in which no row may go that is not there.
fn collect(out: Output, result: &mut BTreeMap<Pair, i64>) {
    for message in out.messages {
        let Message::Batch(batch) = message else { continue };
        let column = |column: usize, row: usize| {
            let column = batch.rows.column(column).as_primitive::<Int64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        for row in 0..batch.len() {
            let side = |first: usize| {
                if first >= batch.rows.num_columns() {
                    return None;
                }
                column(first + 1, row).map(|value| (column(first, row), value))
            };
            let count = result.entry((side(0), side(2))).or_default();
            *count += batch.kind(row).weight();
            assert!(*count >= 0, "a row goes that is not there");
        }
    }
    result.retain(|_, count| *count != 0);
}

fn feed(join: &mut Join, input: usize, rows: &[(Row, bool)], result: &mut BTreeMap<Pair, i64>) {
    let mut out = Output::default();
    let mut progress = join.on_batch(input, batch(input, rows), &mut out).unwrap();
    while progress == Progress::More {
        progress = join.resume(&mut out).unwrap();
    }
    collect(out, result);
}

/// The join of all rows, by definition.
fn expected(kind: JoinKind, residual: bool, [left, right]: &[Vec<Row>; 2]) -> BTreeMap<Pair, i64> {
    let matches = |a: &Row, b: &Row| a.0.is_some() && a.0 == b.0 && (!residual || a.1 < b.1);
    let mut result = BTreeMap::new();
    if kind.is_left_only() {
        let wanted = |a: &&Row| right.iter().any(|b| matches(a, b)) == (kind == JoinKind::Semi);
        for a in left.iter().filter(wanted) {
            *result.entry((Some(*a), None)).or_default() += 1;
        }
        return result;
    }
    for a in left {
        for b in right.iter().filter(|b| matches(a, b)) {
            *result.entry((Some(*a), Some(*b))).or_default() += 1;
        }
        if kind.keeps_left() && !right.iter().any(|b| matches(a, b)) {
            *result.entry((Some(*a), None)).or_default() += 1;
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

fn rows() -> impl Strategy<Value = Vec<(usize, Vec<(Row, bool)>)>> {
    let row = (prop::option::weighted(0.8, 0..3_i64), 0..3_i64);
    let batch = prop::collection::vec((row, prop::bool::weighted(0.65)), 1..6);
    prop::collection::vec((0..2_usize, batch), 0..14)
}

proptest! {
    /// Whatever comes and goes in whatever batches, the changes add up to the join of what is there; and it goes
    /// on from a snapshot at any point, in another number of shards.
    #[test]
    fn changes_add_up_to_the_join(kind in kinds(), residual: bool, batches in rows(), cut in 0..14_usize) {
        let on = || residual.then(|| col("v").lt(col("v0")));
        let mut shards = vec![join(kind, on(), (0, 1))];
        let mut chain = RestoredState::new();
        let (mut result, mut there) = (BTreeMap::new(), [Vec::new(), Vec::new()]);
        for (number, (input, rows)) in batches.into_iter().enumerate() {
            if number == cut {
                chain.apply(&[shards[0].snapshot(false).unwrap()]).unwrap();
                shards = (0..3).map(|shard| join(kind, on(), (shard, 3))).collect();
                for shard in &mut shards {
                    shard.restore(&chain).unwrap();
                }
            } else if number < cut && number % 3 == 0 {
                chain.apply(&[shards[0].snapshot(number == 3).unwrap()]).unwrap();
            }
            // Only rows that are there go.
            let mut feasible = Vec::new();
            for (row, comes) in rows {
                let place = there[input].iter().position(|other| *other == row);
                match (comes, place) {
                    (true, _) => there[input].push(row),
                    (false, Some(place)) => {
                        there[input].remove(place);
                    }
                    (false, None) => continue,
                }
                feasible.push((row, comes));
            }
            let count = shards.len();
            for (number, shard) in shards.iter_mut().enumerate() {
                let codec = KeyCodec::new(vec![DataType::Int64]).unwrap();
                let owned = |((key, _), _): &&(Row, bool)| {
                    let key: ArrayRef = Arc::new(Int64Array::from_iter([*key]));
                    let key = codec.encode(&[key], 1, None).unwrap();
                    KeyGroup::of_hash(hash_bytes(key.get(0))).shard(count) == number
                };
                let rows: Vec<_> = feasible.iter().filter(owned).copied().collect();
                if !rows.is_empty() {
                    feed(shard, input, &rows, &mut result);
                }
            }
            prop_assert_eq!(&result, &expected(kind, residual, &there));
        }
    }
}

/// Many pairs come in several calls, and all of them.
#[test]
fn a_large_result_comes_in_parts() {
    let mut join = join(JoinKind::Inner, None, (0, 1));
    let mut result = BTreeMap::new();
    let left: Vec<_> = (0..300).map(|value| ((Some(1), value), true)).collect();
    feed(&mut join, 0, &left, &mut result);
    let right: Vec<_> = (0..200).map(|value| ((Some(1), value), true)).collect();
    let mut out = Output::default();
    assert_eq!(join.on_batch(1, batch(1, &right), &mut out).unwrap(), Progress::More);
    let mut calls = 1;
    while join.resume(&mut out).unwrap() == Progress::More {
        calls += 1;
    }
    collect(out, &mut result);
    assert_eq!((result.len(), calls), (60_000, 3));
    let gone: Vec<_> = left.iter().map(|(row, _)| (*row, false)).collect();
    feed(&mut join, 0, &gone, &mut result);
    assert!(result.is_empty());
}

/// The kinds are Flink's: a semi join hands the right row's kind on, an anti join tells `-D` and `+I`.
#[test]
fn rows_that_gain_or_lose_their_partner_come_as_flink_tells_them() {
    let kinds = |join: &mut Join, input: usize, kind: RowKind| {
        let mut out = Output::default();
        let rows = ChangeBatch { kinds: Some([kind].into()), ..batch(input, &[((Some(1), 5), true)]) };
        join.on_batch(input, rows, &mut out).unwrap();
        let mut kinds = Vec::new();
        for message in out.messages {
            let Message::Batch(batch) = message else { continue };
            kinds.extend((0..batch.len()).map(|row| batch.kind(row).symbol()));
        }
        kinds.join(" ")
    };
    let steps = [
        (0, RowKind::Insert, "", "+I"),
        (0, RowKind::UpdateAfter, "", "+U"),
        (1, RowKind::UpdateAfter, "+U +U", "-D -D"),
        (1, RowKind::Insert, "", ""),
        (0, RowKind::UpdateBefore, "-U", ""),
        (1, RowKind::Delete, "", ""),
        (1, RowKind::UpdateBefore, "-U", "+I"),
        (0, RowKind::Delete, "", "-D"),
    ];
    let (mut semi, mut anti) = (join(JoinKind::Semi, None, (0, 1)), join(JoinKind::Anti, None, (0, 1)));
    for (input, kind, of_semi, of_anti) in steps {
        assert_eq!(kinds(&mut semi, input, kind), of_semi);
        assert_eq!(kinds(&mut anti, input, kind), of_anti);
    }
    assert_eq!((semi.held().1, anti.held().1), (0, 0));
}
