//! Also of the operators beside it that keep first rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, TimestampMillisecondArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use highwater_state::KeyCodec;
use highwater_stream::{FirstRowSpec, Message, SortKey, SortSpec, WATERMARK_END, WindowRankSpec};
use proptest::prelude::*;

use super::*;
use crate::operators::{FirstRow, FirstRows, Sort, TopRow, WindowRank};

/// A row: key, value (may be NULL), number.
type Row = (i64, Option<i64>, i64);
/// A row of the result, with its rank or 0.
type Ranked = (Row, i64);

fn schema(numbered: bool) -> SchemaRef {
    let names = ["k", "v", "id", "rank"].into_iter().take(if numbered { 4 } else { 3 });
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Int64, true)).collect::<Vec<_>>()))
}

fn place(schema: SchemaRef, (shard, shards): (usize, usize)) -> Place {
    let (uid, title) = ("rank:0".to_owned(), "Rank(k)".to_owned());
    Place { uid, title, shard, shards, schema, batch_rows_max: 3 }
}

fn batch(rows: &[(Row, bool)]) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|((key, ..), _)| *key))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|((_, value, _), _)| *value))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|((.., id), _)| *id))),
    ];
    let kind = |comes| if comes { RowKind::Insert } else { RowKind::Delete };
    let batch = RecordBatch::try_new(schema(false), columns).unwrap();
    ChangeBatch::with_kinds(batch, rows.iter().map(|(_, comes)| kind(*comes)).collect())
}

/// Adds what comes out to `result`, in which no row may go that is not there.
fn feed(operator: &mut dyn Operator, message: Message, result: &mut BTreeMap<Ranked, i64>) -> Vec<Ranked> {
    let mut out = Output::default();
    let mut progress = match message {
        Message::Batch(batch) => operator.on_batch(0, batch, &mut out).unwrap(),
        Message::Watermark(watermark) => operator.on_watermark(watermark, &mut out).unwrap(),
        other => panic!("{other:?}"),
    };
    while progress == Progress::More {
        progress = operator.resume(&mut out).unwrap();
    }
    let mut said = Vec::new();
    for message in out.messages {
        let Message::Batch(batch) = message else { continue };
        assert!(batch.len() <= 8, "bounded output");
        for row in 0..batch.len() {
            let cell = |column: usize| {
                let column = batch.rows.columns().get(column)?.as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            let row_of = (cell(0).unwrap(), cell(1), cell(2).unwrap());
            let ranked = (row_of, cell(3).unwrap_or(0));
            let count = result.entry(ranked).or_default();
            *count += batch.kind(row).weight();
            assert!(*count >= 0, "{ranked:?} goes, but is not there");
            said.push(ranked);
        }
    }
    result.retain(|_, count| *count != 0);
    said
}

/// The wanted rows of all rows, by definition.
fn expected(spec: &RankSpec, there: &[Row]) -> BTreeMap<Ranked, i64> {
    let mut result = BTreeMap::new();
    for key in 0..3 {
        let mut rows: Vec<Row> = there.iter().filter(|row| row.0 == key).copied().collect();
        if spec.later_first {
            rows.reverse();
        }
        if let Some(order) = spec.order.first() {
            // None is below all.
            rows.sort_by(|a, b| if order.descending { b.1.cmp(&a.1) } else { a.1.cmp(&b.1) });
        }
        for (row, rank) in rows.into_iter().zip(1..=spec.ranks.1) {
            if rank >= spec.ranks.0 {
                *result.entry((row, if spec.numbered { rank as i64 } else { 0 })).or_default() += 1;
            }
        }
    }
    result
}

fn operator(spec: &RankSpec, retract: bool, shard: (usize, usize)) -> Box<dyn Operator> {
    let (place, input) = (place(schema(spec.numbered), shard), schema(false));
    match (spec.order.is_empty(), spec.ranks, spec.numbered) {
        (true, ..) if !retract && !spec.later_first => {
            Box::new(FirstRows::new(&place, &input, spec).unwrap())
        }
        (_, (1, 1), false) if !retract => Box::new(TopRow::new(&place, &input, spec).unwrap()),
        _ => Box::new(Rank::new(&place, &input, spec, retract).unwrap()),
    }
}

fn specs() -> impl Strategy<Value = RankSpec> {
    let ranks = prop_oneof![Just((1, 1)), Just((1, 2)), Just((2, 3)), Just((1, 4))];
    (ranks, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(ranks, numbered, descending, ordered, later)| RankSpec {
            keys: vec![0],
            order: if ordered {
                vec![SortKey { column: 1, descending, nulls_first: !descending }]
            } else {
                Vec::new()
            },
            later_first: later,
            ranks,
            numbered,
            each_row: false,
        },
    )
}

fn batches() -> impl Strategy<Value = Vec<Vec<(Row, bool)>>> {
    let row = (0..3_i64, prop::option::weighted(0.8, 0..3_i64), 0..3_i64);
    prop::collection::vec(prop::collection::vec((row, prop::bool::weighted(0.65)), 1..8), 0..12)
}

fn shard_of(key: i64, shards: usize) -> usize {
    let key: ArrayRef = Arc::new(Int64Array::from(vec![key]));
    let key = KeyCodec::new(vec![DataType::Int64]).unwrap().encode(&[key], 1, None).unwrap();
    KeyGroup::of_hash(hash_bytes(key.get(0))).shard(shards)
}

proptest! {
    /// Whatever comes and goes in whatever batches, the changes add up to the wanted ranks of what is there; and
    /// it goes on from a snapshot at any point, in another number of shards.
    #[test]
    fn changes_add_up_to_the_ranks(spec in specs(), retract: bool, batches in batches(), cut in 0..12_usize) {
        let mut shards = vec![operator(&spec, retract, (0, 1))];
        let mut chain = RestoredState::new();
        let (mut result, mut there) = (BTreeMap::new(), Vec::<Row>::new());
        for (number, rows) in batches.into_iter().enumerate() {
            if number == cut {
                chain.apply(&[shards[0].snapshot(false).unwrap()]).unwrap();
                shards = (0..3).map(|shard| operator(&spec, retract, (shard, 3))).collect();
                for shard in &mut shards {
                    shard.restore(&chain).unwrap();
                }
            } else if number < cut && number % 3 == 0 {
                chain.apply(&[shards[0].snapshot(number == 3).unwrap()]).unwrap();
            }
            let mut feasible = Vec::new();
            for (row, comes) in rows {
                let comes = comes || !retract;
                match (comes, there.iter().position(|other| *other == row)) {
                    (true, _) => there.push(row),
                    (false, Some(place)) => {
                        there.remove(place);
                    }
                    // Nobody knows of it: nothing happens.
                    (false, None) => {}
                }
                feasible.push((row, comes));
            }
            let count = shards.len();
            for (number, shard) in shards.iter_mut().enumerate() {
                let rows: Vec<_> =
                    feasible.iter().filter(|((key, ..), _)| shard_of(*key, count) == number).copied().collect();
                if !rows.is_empty() {
                    feed(shard.as_mut(), Message::Batch(batch(&rows)), &mut result);
                }
            }
            prop_assert_eq!(&result, &expected(&spec, &there));
        }
    }
}

/// What goes is said before what comes: a consumer by `id` alone never drops the new row for the old.
#[test]
fn all_that_goes_is_said_first() {
    let order = vec![SortKey { column: 1, descending: false, nulls_first: true }];
    let spec =
        RankSpec { keys: vec![0], order, later_first: false, ranks: (1, 3), numbered: true, each_row: false };
    let mut rank = operator(&spec, false, (0, 1));
    let mut result = BTreeMap::new();
    feed(
        rank.as_mut(),
        Message::Batch(batch(&[((0, Some(5), 1), true), ((0, Some(6), 2), true)])),
        &mut result,
    );
    let said = feed(rank.as_mut(), Message::Batch(batch(&[((0, Some(4), 3), true)])), &mut result);
    let ids: Vec<(i64, i64)> = said.iter().map(|((.., id), rank)| (*id, *rank)).collect();
    assert_eq!(ids, [(1, 1), (2, 2), (3, 1), (1, 2), (2, 3)]);
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

/// Rows of key, time and value with the watermark before each.
fn timed(rows: &[(i64, i64, i64, EventTime)]) -> Message {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    let marks = ScalarBuffer::from(rows.iter().map(|row| row.3).collect::<Vec<_>>());
    let rows = RecordBatch::try_new(timed_schema(false), columns).unwrap();
    Message::Batch(ChangeBatch::inserts(rows).with_watermarks(marks))
}

fn timed_schema(numbered: bool) -> SchemaRef {
    let types =
        [("k", DataType::Int64), ("ts", time_type()), ("v", DataType::Int64), ("rank", DataType::Int64)];
    let types = types.into_iter().take(if numbered { 4 } else { 3 });
    Arc::new(Schema::new(types.map(|(name, t)| Field::new(name, t, true)).collect::<Vec<_>>()))
}

#[derive(Clone, Copy, Debug)]
enum Timed {
    FirstRow,
    Window(bool),
    Sort,
}

impl Timed {
    fn operator(self, shard: (usize, usize)) -> Box<dyn Operator> {
        let by_value = SortKey { column: 2, descending: true, nulls_first: false };
        let input = timed_schema(false);
        match self {
            Self::FirstRow => {
                let spec = FirstRowSpec { keys: vec![0], time_column: 1 };
                Box::new(FirstRow::new(&place(timed_schema(false), shard), &input, &spec).unwrap())
            }
            Self::Window(later_first) => {
                let (keys, order) = (vec![0], vec![by_value]);
                let rank =
                    RankSpec { keys, order, later_first, ranks: (1, 2), numbered: true, each_row: false };
                let spec = WindowRankSpec { rank, window_end: 1, zone: None };
                Box::new(WindowRank::new(&place(timed_schema(true), shard), &input, &spec).unwrap())
            }
            Self::Sort => {
                let spec = SortSpec { time_column: 1, order: vec![by_value] };
                Box::new(Sort::new(&place(timed_schema(false), shard), &input, &spec).unwrap())
            }
        }
    }

    /// What must have come out when the watermark has reached `end`, by definition; rows and the watermark
    /// before each. For the sort, in order.
    fn expected(self, rows: &[(i64, i64, i64, EventTime)]) -> Vec<(i64, i64, i64, i64)> {
        match self {
            Self::FirstRow => {
                let mut first: BTreeMap<i64, (i64, i64, i64, i64)> = BTreeMap::new();
                for (k, ts, v, _) in rows.iter().filter(|row| row.1 >= row.3) {
                    let kept = first.entry(*k).or_insert((*k, *ts, *v, 0));
                    if *ts < kept.1 {
                        *kept = (*k, *ts, *v, 0);
                    }
                }
                first.into_values().collect()
            }
            Self::Window(later_first) => {
                let mut windows: BTreeMap<(i64, i64), Vec<i64>> = BTreeMap::new();
                for (k, end, v, _) in rows.iter().filter(|row| row.1 - 1 > row.3) {
                    windows.entry((*k, *end)).or_default().push(*v);
                }
                let mut ranked = Vec::new();
                for ((k, end), mut values) in windows {
                    if later_first {
                        values.reverse();
                    }
                    values.sort_by(|a, b| b.cmp(a));
                    ranked.extend(values.into_iter().take(2).zip(1..).map(|(v, rank)| (k, end, v, rank)));
                }
                ranked
            }
            Self::Sort => {
                let mut reached = i64::MIN;
                let mut waiting: Vec<(i64, i64, i64, i64)> = Vec::new();
                let mut watermark = i64::MIN;
                for (k, ts, v, mark) in rows {
                    if *mark > watermark {
                        watermark = *mark;
                        let last = waiting.iter().map(|row| row.1).filter(|ts| ts <= mark).max();
                        reached = reached.max(last.unwrap_or(i64::MIN));
                    }
                    if *ts > reached {
                        waiting.push((*k, *ts, *v, 0));
                    }
                }
                waiting.sort_by(|a, b| a.1.cmp(&b.1).then(b.2.cmp(&a.2)));
                waiting
            }
        }
    }
}

fn said_of(messages: &[Message]) -> Vec<(i64, i64, i64, i64)> {
    let mut said = Vec::new();
    for message in messages {
        let Message::Batch(batch) = message else { continue };
        assert!(batch.kinds.is_none(), "inserts only");
        for row in 0..batch.len() {
            let number = |column: usize| {
                let column = batch.rows.columns().get(column);
                column.map_or(0, |column| column.as_primitive::<Int64Type>().value(row))
            };
            let time = batch.rows.column(1).as_primitive::<arrow::datatypes::TimestampMillisecondType>();
            said.push((number(0), time.value(row), number(2), number(3)));
        }
    }
    said
}

proptest! {
    /// Rows come out once, when their time has come, whatever the batches and the snapshots between them.
    #[test]
    fn rows_come_out_in_time(
        which in prop_oneof![Just(Timed::FirstRow), any::<bool>().prop_map(Timed::Window), Just(Timed::Sort)],
        batches in prop::collection::vec(prop::collection::vec((0..2_i64, 0..20_i64, 0..3_i64), 1..6), 0..8),
        lag in 0..6_i64,
        cut in 0..8_usize,
    ) {
        let mut operator = which.operator((0, 1));
        let mut chain = RestoredState::new();
        let (mut all, mut out) = (Vec::new(), Output::default());
        let mut mark = -100;
        for (number, rows) in batches.into_iter().enumerate() {
            if number == cut {
                chain.apply(&[operator.snapshot(false).unwrap()]).unwrap();
                operator = which.operator((0, 1));
                operator.restore(&chain).unwrap();
            } else if number < cut && number % 2 == 0 {
                chain.apply(&[operator.snapshot(number == 2).unwrap()]).unwrap();
            }
            let mut marked = Vec::new();
            for (k, ts, v) in rows {
                marked.push((k, ts, v, mark));
                mark = mark.max(ts - lag);
            }
            all.extend(marked.iter().copied());
            for message in [timed(&marked), Message::Watermark(mark)] {
                let mut progress = match message {
                    Message::Batch(batch) => operator.on_batch(0, batch, &mut out).unwrap(),
                    _ => operator.on_watermark(mark, &mut out).unwrap(),
                };
                while progress == Progress::More {
                    progress = operator.resume(&mut out).unwrap();
                }
            }
            // Time has come for nothing that is above the watermark.
            let early = said_of(&out.messages).into_iter().any(|row| row.1 - i64::from(matches!(which, Timed::Window(_))) > mark);
            prop_assert!(!early);
        }
        let mut progress = operator.on_watermark(WATERMARK_END, &mut out).unwrap();
        while progress == Progress::More {
            progress = operator.resume(&mut out).unwrap();
        }
        let (mut said, mut expected) = (said_of(&out.messages), which.expected(&all));
        if !matches!(which, Timed::Sort) {
            said.sort_unstable();
            expected.sort_unstable();
        }
        prop_assert_eq!(said, expected);
    }
}
