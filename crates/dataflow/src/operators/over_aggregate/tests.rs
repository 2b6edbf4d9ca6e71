use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMillisecondType};
use highwater_stream::{AggregateCall, AggregateFunction, Message, OverCall, WATERMARK_END};
use proptest::prelude::*;

use super::*;

/// A row: key (may be NULL), event time, value (may be NULL).
type Row = (Option<i64>, i64, Option<i64>);
/// What comes out beside the row: COUNT(*), SUM, MIN, COUNT(DISTINCT), FIRST_VALUE, LAST_VALUE.
type Results = [Option<i64>; 6];

fn schema(results: usize) -> SchemaRef {
    let number = |name: String| Field::new(name, DataType::Int64, true);
    let time = Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true);
    let mut fields = vec![number("k".to_owned()), time, number("v".to_owned())];
    fields.extend((0..results).map(|index| number(format!("r{index}"))));
    Arc::new(Schema::new(fields))
}

fn over(frame: OverFrame, (shard, shards): (usize, usize)) -> OverAggregate {
    let (uid, title) = ("over:0".to_owned(), "Over(k)".to_owned());
    let place = Place { uid, title, shard, shards, schema: schema(6), batch_rows_max: 3 };
    let call = |function, argument, distinct| {
        OverCall::Aggregate(AggregateCall {
            function,
            argument,
            distinct,
            filter: None,
            output: DataType::Int64,
        })
    };
    let calls = vec![
        call(AggregateFunction::CountStar, None, false),
        call(AggregateFunction::Sum, Some(2), false),
        call(AggregateFunction::Min, Some(2), false),
        call(AggregateFunction::Count, Some(2), true),
        OverCall::FirstValue(2),
        OverCall::LastValue(2),
    ];
    let spec = OverAggregateSpec { keys: vec![0], order: OverOrder::EventTime(1), frame, calls };
    OverAggregate::new(&place, &schema(0), &spec).unwrap()
}

fn batch(rows: &[Row], marks: &[EventTime]) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.0))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2))),
    ];
    let rows = RecordBatch::try_new(schema(0), columns).unwrap();
    ChangeBatch::inserts(rows).with_watermarks(ScalarBuffer::from(marks.to_vec()))
}

/// Time, value and what is computed.
type SaidRow = (i64, Option<i64>, Results);

/// Rows per key in the order they come out, and how many were too late.
#[derive(Debug, Default, PartialEq)]
struct Said {
    rows: BTreeMap<Option<i64>, Vec<SaidRow>>,
    late: u64,
}

impl Said {
    fn take(&mut self, out: Output) {
        self.late += out.late;
        for message in out.messages {
            let Message::Batch(batch) = message else { continue };
            assert!(batch.len() <= 3, "bounded");
            let number = |column: usize, row: usize| {
                let column = batch.rows.column(column).as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            for row in 0..batch.len() {
                let time = batch.rows.column(1).as_primitive::<TimestampMillisecondType>().value(row);
                let results = std::array::from_fn(|index| number(3 + index, row));
                self.rows.entry(number(0, row)).or_default().push((time, number(2, row), results));
            }
        }
    }
}

enum Step {
    Rows(Vec<Row>, Vec<EventTime>),
    Watermark(EventTime),
}

fn feed(over: &mut OverAggregate, step: &Step, said: &mut Said) {
    let mut out = Output::default();
    let mut progress = match step {
        Step::Rows(rows, marks) => over.on_batch(0, batch(rows, marks), &mut out).unwrap(),
        Step::Watermark(watermark) => over.on_watermark(*watermark, &mut out).unwrap(),
    };
    said.take(out);
    while progress == Progress::More {
        let mut out = Output::default();
        progress = over.resume(&mut out).unwrap();
        said.take(out);
    }
}

/// One partition as Flink's functions keep it, by definition: all rows that came out stay.
#[derive(Default)]
struct Model {
    /// (time, arrival, value): came out.
    done: Vec<(i64, Option<i64>)>,
    waiting: BTreeMap<i64, Vec<Option<i64>>>,
    last: i64,
    forget_at: Option<i64>,
    timers: std::collections::BTreeSet<i64>,
}

impl Model {
    fn admit(&mut self, frame: OverFrame, watermark: i64, (_, time, value): Row) -> bool {
        let floor = if frame.is_bounded() { self.last } else { watermark };
        if time <= floor {
            return false;
        }
        self.waiting.entry(time).or_default().push(value);
        self.timers.insert(time);
        if let OverFrame::RangePreceding(ms) = frame
            && self.forget_at.is_none_or(|at| at < time + ms + 1)
        {
            let at = time + (ms as f64 * 1.5) as i64 + 1;
            self.forget_at = Some(at);
            self.timers.insert(at);
        }
        true
    }

    fn rise(&mut self, frame: OverFrame, watermark: i64, said: &mut Vec<(i64, Option<i64>, Results)>) {
        while let Some(time) = self.timers.first().copied().filter(|time| *time <= watermark) {
            self.timers.pop_first();
            if self.forget_at.is_some_and(|at| at <= time) {
                *self = Self::default();
                continue;
            }
            self.last = time;
            let values = self.waiting.remove(&time).unwrap_or_default();
            let together = matches!(frame, OverFrame::Range | OverFrame::RangePreceding(_));
            if together {
                self.done.extend(values.iter().map(|value| (time, *value)));
            }
            for value in values {
                if !together {
                    self.done.push((time, value));
                }
                let from = match frame {
                    OverFrame::Rows | OverFrame::Range => 0,
                    OverFrame::RowsPreceding(rows) => self.done.len().saturating_sub(rows as usize + 1),
                    OverFrame::RangePreceding(ms) => {
                        self.done.iter().position(|row| row.0 >= time - ms).unwrap_or(0)
                    }
                };
                said.push((time, value, results(&self.done[from..])));
            }
        }
    }
}

fn results(frame: &[(i64, Option<i64>)]) -> Results {
    let values: Vec<i64> = frame.iter().filter_map(|row| row.1).collect();
    let mut distinct = values.clone();
    distinct.sort_unstable();
    distinct.dedup();
    [
        Some(frame.len() as i64),
        (!values.is_empty()).then(|| values.iter().sum()),
        values.iter().min().copied(),
        Some(distinct.len() as i64),
        values.first().copied(),
        values.last().copied(),
    ]
}

fn expected(frame: OverFrame, steps: &[Step]) -> Said {
    let (mut models, mut said, mut watermark) = (BTreeMap::<_, Model>::new(), Said::default(), i64::MIN);
    let rise = |models: &mut BTreeMap<Option<i64>, Model>, said: &mut Said, to: i64, watermark: &mut i64| {
        if to > *watermark {
            *watermark = to;
            for (key, model) in models {
                model.rise(frame, to, said.rows.entry(*key).or_default());
            }
        }
    };
    for step in steps {
        match step {
            Step::Watermark(to) => rise(&mut models, &mut said, *to, &mut watermark),
            Step::Rows(rows, marks) => {
                for (row, mark) in rows.iter().zip(marks) {
                    rise(&mut models, &mut said, *mark, &mut watermark);
                    let in_time = models.entry(row.0).or_default().admit(frame, watermark, *row);
                    said.late += u64::from(!in_time);
                }
            }
        }
    }
    said.rows.retain(|_, rows| !rows.is_empty());
    said
}

fn frames() -> impl Strategy<Value = OverFrame> {
    prop_oneof![
        Just(OverFrame::Rows),
        Just(OverFrame::Range),
        (0..4_u64).prop_map(OverFrame::RowsPreceding),
        (0..9_i64).prop_map(OverFrame::RangePreceding),
    ]
}

/// Rows with rising watermarks between them, late ones among them.
fn batches() -> impl Strategy<Value = Vec<Vec<(Row, i64)>>> {
    let row = (prop::option::weighted(0.8, 0..3_i64), -12..6_i64, prop::option::weighted(0.8, 0..4_i64));
    prop::collection::vec(prop::collection::vec((row, 0..4_i64), 1..7), 0..9)
}

fn owner(key: Option<i64>, shards: usize) -> usize {
    let codec = KeyCodec::new(vec![DataType::Int64]).unwrap();
    let key: ArrayRef = Arc::new(Int64Array::from_iter([key]));
    KeyGroup::of_hash(hash_bytes(codec.encode(&[key], 1, None).unwrap().get(0))).shard(shards)
}

proptest! {
    /// Whatever comes when, rows come out with the results over their frames; and it goes on from a snapshot at any
    /// point, in another number of shards.
    #[test]
    fn results_are_those_of_the_frames(frame in frames(), batches in batches(), cut in 0..9_usize) {
        let mut now = 20;
        let mut steps = Vec::new();
        for rows in batches {
            let (mut plain, mut marks) = (Vec::new(), Vec::new());
            for ((key, offset, value), step) in rows {
                marks.push(now - 5);
                plain.push((key, now + offset, value));
                now += step;
            }
            steps.push(Step::Rows(plain, marks));
            steps.push(Step::Watermark(now - 5));
        }
        steps.push(Step::Watermark(WATERMARK_END));
        let mut said = Said::default();
        let mut shards = vec![over(frame, (0, 1))];
        let mut chain = RestoredState::new();
        for (number, step) in steps.iter().enumerate() {
            if number == cut * 2 {
                chain.apply(&[shards[0].snapshot(false).unwrap()]).unwrap();
                shards = (0..3).map(|shard| over(frame, (shard, 3))).collect();
                for shard in &mut shards {
                    shard.restore(&chain).unwrap();
                }
            } else if number < cut * 2 && number % 3 == 0 {
                chain.apply(&[shards[0].snapshot(number == 3).unwrap()]).unwrap();
            }
            let count = shards.len();
            for (index, shard) in shards.iter_mut().enumerate() {
                let step = match step {
                    Step::Watermark(watermark) => Step::Watermark(*watermark),
                    Step::Rows(rows, marks) => {
                        let owned = rows.iter().zip(marks).filter(|(row, _)| owner(row.0, count) == index);
                        let (rows, marks): (Vec<Row>, Vec<EventTime>) = owned.unzip();
                        Step::Rows(rows, marks)
                    }
                };
                if !matches!(&step, Step::Rows(rows, _) if rows.is_empty()) {
                    feed(shard, &step, &mut said);
                }
            }
        }
        prop_assert_eq!(said, expected(frame, &steps));
        if let OverFrame::RangePreceding(_) = frame {
            prop_assert!(shards.iter().all(|shard| shard.held().1 == 0), "partitions are forgotten");
        }
    }
}

/// The watermark before a row that comes out is the one before it was brought out: what reads it judges by that
/// whether it is late.
#[test]
fn rows_come_out_with_the_watermark_before_them() {
    let mut over = over(OverFrame::RowsPreceding(1), (0, 1));
    let rows =
        [(Some(1), 10, Some(1)), (Some(1), 50, Some(2)), (Some(2), 36, Some(3)), (Some(1), 56, Some(4))];
    let mut out = Output::default();
    let mut progress = over.on_batch(0, batch(&rows, &[-3, 7, 47, 47]), &mut out).unwrap();
    while progress == Progress::More {
        progress = over.resume(&mut out).unwrap();
    }
    progress = over.on_watermark(53, &mut out).unwrap();
    while progress == Progress::More {
        progress = over.resume(&mut out).unwrap();
    }
    let mut marks = Vec::new();
    for message in out.messages {
        match message {
            Message::Batch(batch) => marks.extend(batch.watermarks.unwrap().iter().copied()),
            other => assert!(matches!(other, Message::Watermark(53))),
        }
    }
    assert_eq!(marks, [7, 47, 47], "for the rows of 10, 36 and 50");
}
