use arrow::array::{AsArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, TimeUnit, TimestampMillisecondType};
use datafusion_common::Column;
use datafusion_expr::{Expr, lit};
use highwater_stream::{AggregateCall, AggregateFunction, Message, WATERMARK_END};
use proptest::prelude::*;

use super::*;

/// A row: key, time, value.
type Row = (i64, i64, i64);

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn schema(types: &[DataType]) -> SchemaRef {
    let fields = types.iter().enumerate();
    Arc::new(Schema::new(
        fields.map(|(index, t)| Field::new(format!("c{index}"), t.clone(), true)).collect::<Vec<_>>(),
    ))
}

fn input() -> SchemaRef {
    schema(&[DataType::Int64, time(), DataType::Int64])
}

fn value(index: usize) -> Expr {
    Expr::Column(Column::new_unqualified(MatchValue::name(index)))
}

fn last(variable: usize) -> MatchValue {
    column(variable, false, 2)
}

fn column(variable: usize, first: bool, column: usize) -> MatchValue {
    MatchValue::Column { row: MatchRow { variable: Some(variable), first, offset: 0 }, column }
}

fn aggregate(variable: usize, function: AggregateFunction, argument: usize) -> MatchValue {
    let (argument, output) = (Some(argument), DataType::Int64);
    let call = AggregateCall { function, argument, distinct: false, filter: None, output };
    MatchValue::Aggregate { variable: Some(variable), call }
}

fn variable(min: u32, max: Option<u32>, greedy: bool, condition: Option<MatchCondition>) -> PatternVariable {
    PatternVariable { name: "X".to_owned(), min, max, greedy, condition }
}

fn operator(spec: &MatchSpec, output: &[DataType], (shard, shards): (usize, usize)) -> MatchRecognize {
    let (uid, title) = ("match:0".to_owned(), "Match".to_owned());
    let place = Place { uid, title, shard, shards, schema: schema(output), batch_rows_max: 8 };
    MatchRecognize::new(&place, &input(), spec).unwrap()
}

fn batch(rows: &[Row]) -> ChangeBatch {
    let numbers =
        |of: fn(&Row) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) };
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.1)));
    let columns = vec![numbers(|row| row.0), times, numbers(|row| row.2)];
    ChangeBatch::inserts(RecordBatch::try_new(input(), columns).unwrap())
}

/// The rows that come out until the operator has no more to say.
fn drain(
    operator: &mut MatchRecognize,
    first: impl FnOnce(&mut MatchRecognize, &mut Output) -> Result<Progress, JobError>,
) -> Vec<RecordBatch> {
    let mut out = Output::default();
    let mut progress = first(operator, &mut out).unwrap();
    while progress == Progress::More {
        progress = operator.resume(&mut out).unwrap();
    }
    let rows = out.messages.into_iter().filter_map(|message| match message {
        Message::Batch(batch) => Some(batch.rows),
        _ => None,
    });
    rows.collect()
}

/// Patterns over one key, with the answers of Apache Flink 2.3.0: each variable's quantifier (`!`: greedy) and
/// range of values, the skip strategy, `WITHIN` in s, rows as time in s and value, and per match the first row's
/// time and the number of rows of each variable.
#[test]
fn matches_are_those_of_flink() {
    let cases = include_str!("tests/flink.txt").trim().split("\n\n");
    for case in cases {
        let lines: Vec<&str> = case.lines().collect();
        let [title, variables, skip, within, rows, expected] = lines.as_slice() else { panic!("{case}") };
        let number = |text: &str| text.parse::<i64>().unwrap();
        let variables: Vec<PatternVariable> = variables
            .split(' ')
            .enumerate()
            .map(|(index, text)| {
                let (quantifier, range) = text.split_once('=').unwrap();
                let (min, max) = quantifier.trim_end_matches('!').split_once("..").unwrap();
                let (low, high) = range.split_once('-').unwrap();
                let condition = value(0).gt_eq(lit(number(low))).and(value(0).lt_eq(lit(number(high))));
                // Every second condition is asked for only when it is needed.
                let condition =
                    MatchCondition { condition, values: vec![last(index)], total: index % 2 == 0 };
                variable(min.parse().unwrap(), max.parse().ok(), quantifier.ends_with('!'), Some(condition))
            })
            .collect();
        let count = variables.len();
        let (values, output): (Vec<_>, Vec<_>) = (0..count)
            .flat_map(|index| {
                let rows = aggregate(index, AggregateFunction::Count, 1);
                [(column(index, true, 1), time()), (rows, DataType::Int64)]
            })
            .unzip();
        let spec = MatchSpec {
            keys: Vec::new(),
            time_column: Some(1),
            order: Vec::new(),
            variables,
            skip: match *skip {
                "PAST LAST ROW" => AfterMatch::PastLastRow,
                "TO NEXT ROW" => AfterMatch::ToNextRow,
                "TO FIRST D" => AfterMatch::ToFirst(3),
                "TO LAST D" => AfterMatch::ToLast(3),
                other => panic!("{other}"),
            },
            within_ms: within.parse::<i64>().ok().map(|s| s * 1000),
            measures: (0..values.len()).map(value).collect(),
            values,
        };
        let rows: Vec<Row> = rows
            .split(' ')
            .map(|row| row.split_once(':').unwrap())
            .map(|(time, value)| (0, number(time) * 1000, number(value)))
            .collect();
        let mut matcher = operator(&spec, &output, (0, 1));
        let mut chain = RestoredState::new();
        let mut found = Vec::new();
        for some in rows.chunks(7) {
            found.extend(drain(&mut matcher, |m, out| m.on_batch(0, batch(some), out)));
            // The last second may still get rows.
            let watermark = some.last().map_or(0, |row| row.1 - 1);
            found.extend(drain(&mut matcher, |m, out| m.on_watermark(watermark, out)));
            chain.apply(&[matcher.snapshot(false).unwrap()]).unwrap();
            matcher = operator(&spec, &output, (0, 1));
            matcher.restore(&chain).unwrap();
        }
        found.extend(drain(&mut matcher, |m, out| m.on_watermark(WATERMARK_END, out)));
        let found: Vec<String> = found.iter().flat_map(|batch| shown(batch, count)).collect();
        assert_eq!(found.join(" "), *expected, "{title}");
    }
}

fn shown(batch: &RecordBatch, variables: usize) -> Vec<String> {
    let row = |row: usize| {
        let of = (0..variables).map(|variable| {
            let first = batch.column(2 * variable).as_primitive::<TimestampMillisecondType>();
            let count = batch.column(2 * variable + 1).as_primitive::<Int64Type>().value(row);
            let first =
                if first.is_valid(row) { (first.value(row) / 1000).to_string() } else { "-".to_owned() };
            format!("{first}x{count}")
        });
        of.collect::<Vec<_>>().join(",")
    };
    (0..batch.num_rows()).map(row).collect()
}

/// `PATTERN (A+ B) DEFINE A AS AVG(A.v) < 5`, skipping past the last row.
fn low_average() -> MatchSpec {
    let condition = value(0).lt(lit(5_i64));
    let values = vec![aggregate(0, AggregateFunction::Avg, 2)];
    let low = MatchCondition { condition, values, total: true };
    MatchSpec {
        keys: vec![0],
        time_column: Some(1),
        order: Vec::new(),
        variables: vec![variable(1, None, true, Some(low)), variable(1, Some(1), false, None)],
        skip: AfterMatch::PastLastRow,
        within_ms: None,
        measures: (0..3).map(value).collect(),
        values: vec![column(0, true, 2), last(1), aggregate(0, AggregateFunction::Sum, 2)],
    }
}

/// What [`low_average`] finds among one key's values: first, last, sum of A.
fn expected(values: &[i64]) -> Vec<(i64, i64, i64)> {
    let (mut found, mut start) = (Vec::new(), 0);
    while start < values.len() {
        let (mut sum, mut end) = (0, start);
        while end < values.len() && (sum + values[end]) / ((end - start) as i64 + 1) < 5 {
            sum += values[end];
            end += 1;
        }
        if end == values.len() {
            break;
        }
        if end == start {
            start += 1;
            continue;
        }
        found.push((values[start], values[end], sum));
        start = end + 1;
    }
    found
}

proptest! {
    /// However rows are cut into batches, whenever the watermark comes, and from a snapshot at any point in
    /// another number of shards.
    #[test]
    fn low_averages_are_found(
        batches in prop::collection::vec((prop::collection::vec((0..3_i64, 0..12_i64), 1..9), 0..6_i64), 1..12),
        cut in 0..12_usize,
    ) {
        let spec = low_average();
        let output = vec![DataType::Int64; 4];
        let mut shards = vec![operator(&spec, &output, (0, 1))];
        let mut chain = RestoredState::new();
        let (mut now, mut all, mut found) = (0, vec![Vec::new(); 3], vec![Vec::new(); 3]);
        let mut take = |batches: Vec<RecordBatch>| {
            for batch in batches {
                let cell = |column: usize, row| batch.column(column).as_primitive::<Int64Type>().value(row);
                for row in 0..batch.num_rows() {
                    found[cell(0, row) as usize].push((cell(1, row), cell(2, row), cell(3, row)));
                }
            }
        };
        for (number, (rows, delay)) in batches.into_iter().enumerate() {
            if number == cut {
                chain.apply(&[shards[0].snapshot(false).unwrap()]).unwrap();
                shards = (0..3).map(|shard| operator(&spec, &output, (shard, 3))).collect();
                for shard in &mut shards {
                    shard.restore(&chain).unwrap();
                }
            } else if number < cut && number % 2 == 0 {
                chain.apply(&[shards[0].snapshot(number == 2).unwrap()]).unwrap();
            }
            let mut timed: Vec<Row> = Vec::new();
            for (key, value) in rows {
                now += 1;
                all[key as usize].push(value);
                timed.push((key, now, value));
            }
            let count = shards.len();
            for (number, shard) in shards.iter_mut().enumerate() {
                let codec = KeyCodec::new(vec![DataType::Int64]).unwrap();
                let owned = |row: &&Row| {
                    let key: ArrayRef = Arc::new(Int64Array::from_iter_values([row.0]));
                    let key = codec.encode(&[key], 1, None).unwrap();
                    KeyGroup::of_hash(hash_bytes(key.get(0))).shard(count) == number
                };
                // Rows of one batch come in any order: time puts them right.
                let mut own: Vec<Row> = timed.iter().filter(owned).copied().collect();
                own.reverse();
                if !own.is_empty() {
                    take(drain(shard, |shard, out| shard.on_batch(0, batch(&own), out)));
                }
                take(drain(shard, |shard, out| shard.on_watermark(now - delay.min(now), out)));
            }
        }
        for shard in &mut shards {
            take(drain(shard, |shard, out| shard.on_watermark(WATERMARK_END, out)));
        }
        for (values, found) in all.iter().zip(&found) {
            prop_assert_eq!(found, &expected(values));
        }
    }
}

/// A pattern of too many states is refused, not built.
#[test]
fn a_huge_repetition_is_refused() {
    let mut spec = low_average();
    spec.variables[0].min = 1_000_000;
    let place = Place {
        uid: "match:0".to_owned(),
        title: "Match".to_owned(),
        shard: 0,
        shards: 1,
        schema: schema(&vec![DataType::Int64; 4]),
        batch_rows_max: 8,
    };
    assert!(matches!(MatchRecognize::new(&place, &input(), &spec), Err(JobError::Unsupported { .. })));
}
