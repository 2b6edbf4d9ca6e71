use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMillisecondType};
use datafusion_expr::{Expr, col};
use highwater_stream::{JoinKind, JoinSpec, Message};
use proptest::prelude::*;

use super::*;

/// A row: key (may be NULL), event time, value.
type Row = (Option<i64>, EventTime, i64);
/// A row of the result: each side may be missing.
type Pair = (Option<Row>, Option<Row>);

fn schema(names: &[&str]) -> SchemaRef {
    let time = |name: &&str| name.starts_with('t');
    let of = |name: &&str| match time(name) {
        true => DataType::Timestamp(TimeUnit::Millisecond, None),
        false => DataType::Int64,
    };
    Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, of(name), true)).collect::<Vec<_>>()))
}

#[derive(Clone, Debug)]
struct Case {
    kind: JoinKind,
    residual: bool,
    bounds: (i64, i64),
}

impl Case {
    fn join(&self, (shard, shards): (usize, usize)) -> IntervalJoin {
        let (uid, title) = ("join:0".to_owned(), "IntervalJoin(k)".to_owned());
        let schema_of_result = schema(&["k", "t", "v", "k0", "t0", "v0"]);
        let place = Place { uid, title, shard, shards, schema: schema_of_result, batch_rows_max: 8 };
        let residual: Option<Expr> = self.residual.then(|| col("v").lt(col("v0")));
        let join = JoinSpec {
            kind: self.kind,
            left_keys: vec![0],
            right_keys: vec![0],
            null_safe: vec![false],
            residual,
        };
        let (lower_ms, upper_ms) = self.bounds;
        let spec = IntervalJoinSpec { join, left_time: 1, right_time: 1, lower_ms, upper_ms };
        IntervalJoin::new(&place, &schema(&["k", "t", "v"]), &schema(&["k0", "t0", "v0"]), &spec).unwrap()
    }

    fn matches(&self, a: &Row, b: &Row) -> bool {
        let near = (self.bounds.0..=self.bounds.1).contains(&(a.1 - b.1));
        a.0.is_some() && a.0 == b.0 && near && (!self.residual || a.2 < b.2)
    }
}

fn batch(input: usize, rows: &[(Row, EventTime)]) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter(rows.iter().map(|((key, ..), _)| *key))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|((_, time, _), _)| *time))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|((.., value), _)| *value))),
    ];
    let names = [["k", "t", "v"], ["k0", "t0", "v0"]][input];
    let marks: Vec<EventTime> = rows.iter().map(|(_, mark)| *mark).collect();
    let rows = RecordBatch::try_new(schema(&names), columns).unwrap();
    ChangeBatch::inserts(rows).with_watermarks(marks.into())
}

/// What came out, and that no row came behind a watermark that is past both its times.
#[derive(Default)]
struct Result {
    pairs: BTreeMap<Pair, i64>,
    watermark: Option<EventTime>,
}

impl Result {
    fn take(&mut self, out: Output) {
        for message in out.messages {
            let batch = match message {
                Message::Watermark(watermark) => {
                    assert!(self.watermark.is_none_or(|before| before <= watermark));
                    self.watermark = Some(watermark);
                    continue;
                }
                Message::Batch(batch) => batch,
                other => panic!("{other:?}"),
            };
            for row in 0..batch.len() {
                let number = |column: usize| {
                    let column = batch.rows.column(column).as_primitive::<Int64Type>();
                    column.is_valid(row).then(|| column.value(row))
                };
                let side = |first: usize| {
                    let time = batch.rows.column(first + 1).as_primitive::<TimestampMillisecondType>();
                    number(first + 2).map(|value| (number(first), time.value(row), value))
                };
                *self.pairs.entry((side(0), side(3))).or_default() += 1;
            }
        }
    }
}

fn drive(
    join: &mut IntervalJoin,
    message: Option<(usize, ChangeBatch)>,
    mark: EventTime,
    result: &mut Result,
) {
    let mut out = Output::default();
    let mut progress = match message {
        Some((input, batch)) => join.on_batch(input, batch, &mut out).unwrap(),
        None => join.on_watermark(mark, &mut out).unwrap(),
    };
    while progress == Progress::More {
        progress = join.resume(&mut out).unwrap();
    }
    result.take(out);
}

/// Flink's rules, row by row over plain lists.
struct Model {
    case: Case,
    /// Per side: rows that wait, and whether they had a partner.
    rows: [Vec<(Row, bool)>; 2],
    pairs: BTreeMap<Pair, i64>,
}

impl Model {
    fn kept(&self, side: usize) -> bool {
        [self.case.kind.keeps_left(), self.case.kind.keeps_right()][side]
    }

    /// How long after its time a row of the side may find partners.
    fn patience(&self, side: usize) -> i64 {
        [-self.case.bounds.0, self.case.bounds.1][side]
    }

    fn say(&mut self, side: usize, own: Row, other: Option<Row>) {
        let pair = if side == 0 { (Some(own), other) } else { (other, Some(own)) };
        *self.pairs.entry(pair).or_default() += 1;
    }

    fn advance(&mut self, mark: EventTime) {
        for side in [0, 1] {
            let oldest =
                if mark == WATERMARK_END { EventTime::MAX } else { mark.max(0) - self.patience(side) };
            let (gone, stay) =
                std::mem::take(&mut self.rows[side]).into_iter().partition(|(row, _)| row.1 < oldest);
            self.rows[side] = stay;
            let gone: Vec<(Row, bool)> = gone;
            for (row, matched) in gone {
                if self.kept(side) && !matched {
                    self.say(side, row, None);
                }
            }
        }
    }

    fn row(&mut self, side: usize, row: Row, mark: EventTime) {
        self.advance(mark);
        let mut matched = false;
        for index in 0..self.rows[1 - side].len() {
            let other = self.rows[1 - side][index].0;
            let pair = if side == 0 { (&row, &other) } else { (&other, &row) };
            if self.case.matches(pair.0, pair.1) {
                matched = true;
                self.rows[1 - side][index].1 = true;
                self.say(side, row, Some(other));
            }
        }
        let never = self.case.bounds.0 > self.case.bounds.1;
        if !never && mark.max(0) < row.1 + self.patience(side) {
            self.rows[side].push((row, matched));
        } else if !matched && self.kept(side) {
            self.say(side, row, None);
        }
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let kind =
        prop_oneof![Just(JoinKind::Inner), Just(JoinKind::Left), Just(JoinKind::Right), Just(JoinKind::Full)];
    (kind, any::<bool>(), (-6..6_i64, -1..6_i64)).prop_map(|(kind, residual, (lower, width))| Case {
        kind,
        residual,
        bounds: (lower, lower + width),
    })
}

type Step = (usize, i64, Vec<Row>);

/// Batches: input, how far the watermark goes on with each row, rows.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (prop::option::weighted(0.9, 0..3_i64), 0..40_i64, 0..3_i64);
    prop::collection::vec((0..2_usize, 0..3_i64, prop::collection::vec(row, 1..5)), 0..14)
}

proptest! {
    /// Whatever comes in whatever order, in time or late: what comes out is what Flink's rules say; also over a
    /// snapshot at any point, in another number of shards.
    #[test]
    fn the_result_is_that_of_the_rules(case in cases(), steps in steps(), cut in 0..14_usize) {
        let mut shards = vec![case.join((0, 1))];
        let mut chain = RestoredState::new();
        let mut result = Result::default();
        let mut model = Model { case: case.clone(), rows: [vec![], vec![]], pairs: BTreeMap::new() };
        let mut mark = WATERMARK_NONE;
        for (number, (input, step, rows)) in steps.into_iter().enumerate() {
            if number == cut {
                chain.apply(&[shards[0].snapshot(false).unwrap()]).unwrap();
                shards = (0..3).map(|shard| case.join((shard, 3))).collect();
                for shard in &mut shards {
                    shard.restore(&chain).unwrap();
                }
                result.watermark = None;
            } else if number < cut && number % 3 == 0 {
                chain.apply(&[shards[0].snapshot(number == 3).unwrap()]).unwrap();
            }
            let mut marked = Vec::new();
            for row in rows {
                marked.push((row, mark));
                model.row(input, row, mark);
                mark = mark.max(number as i64 * 2).saturating_add(step);
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
                if step == 2 {
                    drive(shard, None, mark, &mut result);
                }
                result.watermark = None;
            }
            if step == 2 {
                model.advance(mark);
            }
        }
        for shard in &mut shards {
            drive(shard, None, WATERMARK_END, &mut result);
            prop_assert_eq!(result.watermark.take(), Some(WATERMARK_END));
            prop_assert_eq!(shard.held().1, 0);
        }
        model.advance(WATERMARK_END);
        prop_assert_eq!(result.pairs, model.pairs);
    }
}

/// Pairs and rows without partner come in several calls, and all of them.
#[test]
fn a_large_result_comes_in_parts() {
    let case = Case { kind: JoinKind::Full, residual: false, bounds: (0, 10) };
    let mut join = case.join((0, 1));
    let mut result = Result::default();
    let left: Vec<_> = (0..300).map(|value| ((Some(1), 5, value), 0)).collect();
    drive(&mut join, Some((0, batch(0, &left))), 0, &mut result);
    let right: Vec<_> = (0..200).map(|value| ((Some(1), 5, value), 0)).collect();
    let mut out = Output::default();
    assert_eq!(join.on_batch(1, batch(1, &right), &mut out).unwrap(), Progress::More);
    while join.resume(&mut out).unwrap() == Progress::More {}
    result.take(out);
    assert_eq!(result.pairs.len(), 60_000);
    let alone: Vec<_> = (0..20_000).map(|value| ((Some(value), 5, value), 0)).collect();
    drive(&mut join, Some((0, batch(0, &alone))), 0, &mut result);
    let mut out = Output::default();
    assert_eq!(join.on_watermark(WATERMARK_END, &mut out).unwrap(), Progress::More);
    let mut calls = 1;
    while join.resume(&mut out).unwrap() == Progress::More {
        calls += 1;
    }
    result.take(out);
    assert_eq!((result.pairs.values().sum::<i64>(), calls), (80_199, 2));
}
