use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMillisecondType};
use datafusion_expr::{Expr, col};
use highwater_stream::{JoinKind, JoinSpec, Message, WATERMARK_END};
use proptest::prelude::*;

use super::*;

/// A row: key (may be NULL), event time, value.
type Row = (Option<i64>, EventTime, i64);
/// A row of left with its version's value, and the weights of all of them.
type Result = BTreeMap<(Row, Option<i64>), i64>;

fn schema(names: &[&str]) -> SchemaRef {
    let of = |name: &&str| match name.starts_with('t') {
        true => DataType::Timestamp(TimeUnit::Millisecond, None),
        false => DataType::Int64,
    };
    Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, of(name), true)).collect::<Vec<_>>()))
}

fn join(kind: JoinKind, residual: Option<Expr>, (shard, shards): (usize, usize)) -> TemporalJoin {
    let (uid, title) = ("join:0".to_owned(), "TemporalJoin(k)".to_owned());
    let both = ["k", "t", "v", "k0", "t0", "v0"];
    let place = Place { uid, title, shard, shards, schema: schema(&both), batch_rows_max: 8 };
    let join = JoinSpec { kind, left_keys: vec![0], right_keys: vec![0], null_safe: vec![false], residual };
    let spec = TemporalJoinSpec { join, left_time: 1, right_time: 1 };
    TemporalJoin::new(&place, &schema(&both[..3]), &schema(&both[3..]), &spec).unwrap()
}

fn batch(input: usize, rows: &[(Row, RowKind, EventTime)]) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter(rows.iter().map(|((key, ..), ..)| *key))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|((_, time, _), ..)| *time))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|((.., value), ..)| *value))),
    ];
    let names = [["k", "t", "v"], ["k0", "t0", "v0"]][input];
    let marks: Vec<EventTime> = rows.iter().map(|(.., mark)| *mark).collect();
    let kinds = rows.iter().map(|(_, kind, _)| *kind).collect();
    let rows = RecordBatch::try_new(schema(&names), columns).unwrap();
    ChangeBatch::with_kinds(rows, kinds).with_watermarks(marks.into())
}

fn drive(
    join: &mut TemporalJoin,
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
    for message in out.messages {
        let Message::Batch(batch) = message else { continue };
        for row in 0..batch.len() {
            let number = |column: usize| {
                let column = batch.rows.column(column).as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            let times = batch.rows.column(1).as_primitive::<TimestampMillisecondType>();
            let left = (number(0), times.value(row), number(2).unwrap());
            *result.entry((left, number(5))).or_default() += batch.kind(row).weight();
        }
    }
}

/// Flink's rules, row by row over plain lists.
#[derive(Default)]
struct Model {
    waiting: Vec<(Row, RowKind)>,
    /// By key and time: whether a row is there, and its value.
    versions: BTreeMap<(i64, EventTime), Option<i64>>,
    result: Result,
}

impl Model {
    fn advance(&mut self, mark: EventTime, kind: JoinKind, residual: bool) {
        let (due, stay) = std::mem::take(&mut self.waiting).into_iter().partition(|(row, _)| row.1 <= mark);
        self.waiting = stay;
        let due: Vec<(Row, RowKind)> = due;
        for (row, row_kind) in due {
            let version =
                row.0.and_then(|key| self.versions.range((key, EventTime::MIN)..=(key, row.1)).next_back());
            let version = version.and_then(|(_, value)| *value).filter(|value| !residual || row.2 < *value);
            if version.is_some() || kind == JoinKind::Left {
                *self.result.entry((row, version)).or_default() += row_kind.weight();
            }
        }
    }
}

/// The input, how far its watermark rises, and its changes.
type Step = (usize, i64, Vec<(Row, RowKind)>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (prop::option::weighted(0.9, 0..3_i64), 0..50_i64, 0..4_i64);
    let kind = prop_oneof![
        4 => Just(RowKind::Insert),
        1 => Just(RowKind::UpdateBefore),
        1 => Just(RowKind::UpdateAfter),
        1 => Just(RowKind::Delete)
    ];
    prop::collection::vec((0..2_usize, 0..3_i64, prop::collection::vec((row, kind), 1..6)), 0..16)
}

proptest! {
    /// Rows and versions in any order, in time and late, changes and deletions: the result is what the rules say; also
    /// over a snapshot at any point, in another number of shards.
    #[test]
    fn each_row_joins_the_version_of_its_time(outer: bool, residual: bool, steps in steps(), cut in 0..16_usize) {
        let kind = if outer { JoinKind::Left } else { JoinKind::Inner };
        let on = || residual.then(|| col("v").lt(col("v0")));
        let mut shards = vec![join(kind, on(), (0, 1))];
        let mut chain = RestoredState::new();
        let (mut result, mut model) = (Result::new(), Model::default());
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
            for (row, row_kind) in rows {
                model.advance(mark, kind, residual);
                match (input, row.0) {
                    (0, _) if row.1 >= mark => model.waiting.push((row, row_kind)),
                    (1, Some(key)) if row_kind != RowKind::UpdateBefore => {
                        model.versions.insert((key, row.1), (row_kind.weight() > 0).then_some(row.2));
                    }
                    _ => {}
                }
                marked.push((row, row_kind, mark));
                mark = mark.max(number as i64).saturating_add(step);
            }
            model.advance(mark, kind, residual);
            let count = shards.len();
            for (number, shard) in shards.iter_mut().enumerate() {
                let codec = KeyCodec::new(vec![DataType::Int64]).unwrap();
                let owned = |((key, ..), ..): &&(Row, RowKind, EventTime)| {
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
            prop_assert!(shard.waiting.is_empty() && shard.versions.is_empty());
            let versions = shard.state.live().map(|slot| shard.state.len_at(slot));
            prop_assert!(versions.into_iter().all(|count| count == 1), "one version per key stays");
        }
        model.advance(WATERMARK_END, kind, residual);
        prop_assert_eq!(result, model.result);
    }
}
