//! Windows of all shapes beside their definition.

use std::collections::{BTreeMap, BTreeSet};

use highwater_stream::{EventTime, SessionTableSpec};
use proptest::prelude::*;

use super::*;

/// Key, event time, value.
type Row = (&'static str, i64, i64);

const KEYS: [&str; 3] = ["a", "b", "c"];
const OFFSET: i64 = 3;
const GAP: i64 = 4;
/// The watermark is the highest time less this.
const LAG: i64 = 5;

fn spec(shape: WindowShape, size_ms: i64) -> WindowSpec {
    WindowSpec { shape, offset_ms: OFFSET, ..window(size_ms) }
}

fn aggregation(window: &WindowSpec) -> Box<dyn Operator> {
    let fields = [("k", DataType::Utf8), ("n", DataType::Int64), ("sum", DataType::Int64)];
    let more = [("max", DataType::Int64), ("values", DataType::Int64), ("s", time()), ("e", time())];
    let schema = schema(&[&fields[..], &more[..]].concat());
    let distinct = AggregateCall { distinct: true, ..call(AggregateFunction::Count, Some(2)) };
    let spec = WindowAggregateSpec {
        window: window.clone(),
        keys: vec![0],
        calls: vec![
            call(AggregateFunction::CountStar, None),
            call(AggregateFunction::Sum, Some(2)),
            call(AggregateFunction::Max, Some(2)),
            distinct,
        ],
        window_columns: vec![WindowColumn::Start, WindowColumn::End],
    };
    let place = place(schema);
    match window.shape {
        WindowShape::Session => Box::new(SessionAggregate::new(&place, &input(), &spec, false).unwrap()),
        _ => Box::new(WindowAggregate::new(&place, &input(), &spec, false).unwrap()),
    }
}

fn session_table() -> Box<dyn Operator> {
    let fields = [("k", DataType::Utf8), ("ts", time()), ("v", DataType::Int64)];
    let schema = schema(&[&fields[..], &[("s", time()), ("e", time()), ("t", time())]].concat());
    let spec = SessionTableSpec { window: spec(WindowShape::Session, GAP), keys: vec![0] };
    Box::new(SessionTable::new(&place(schema), &input(), &spec).unwrap())
}

/// What came out: rows as text, and how many were late.
#[derive(Default)]
struct Said {
    rows: Vec<String>,
    late: u64,
    marks: Vec<EventTime>,
}

impl Said {
    fn call(
        &mut self,
        operator: &mut dyn Operator,
        now_ms: i64,
        call: impl FnOnce(&mut dyn Operator, &mut Output) -> Result<Progress, crate::JobError>,
    ) {
        let mut out = Output { now_ms, ..Output::default() };
        let mut progress = call(operator, &mut out).unwrap();
        loop {
            for message in std::mem::take(&mut out.messages) {
                match message {
                    Message::Batch(batch) => {
                        assert!(batch.len() <= 2, "a batch of more than is allowed");
                        self.rows.extend((0..batch.len()).map(|row| show_row(&batch, row)));
                    }
                    Message::Watermark(mark) => self.marks.push(mark),
                    other => panic!("{other:?}"),
                }
            }
            if progress == Progress::Done {
                break;
            }
            progress = operator.resume(&mut out).unwrap();
        }
        self.late += out.late;
    }
}

/// Runs the batches with a watermark after each row, restored from a chain of snapshots before batch `cut`.
fn run(make: &dyn Fn() -> Box<dyn Operator>, batches: &[Vec<Row>], cut: usize) -> Said {
    let (mut operator, mut chain, mut said) = (make(), RestoredState::new(), Said::default());
    let mut mark = EventTime::MIN;
    for (number, batch) in batches.iter().enumerate() {
        chain.apply(&[operator.snapshot(number % 4 == 3).unwrap()]).unwrap();
        if number == cut {
            operator = make();
            operator.restore(&chain).unwrap();
        }
        let mut marks = Vec::new();
        for (_, time, _) in batch {
            marks.push(mark);
            mark = mark.max(time - LAG);
        }
        let plain: Vec<_> = batch.iter().map(|(key, time, value)| (*key, Some(*time), *value)).collect();
        let batch = ChangeBatch::inserts(rows(&plain)).with_watermarks(ScalarBuffer::from(marks));
        said.call(operator.as_mut(), 0, |operator, out| operator.on_batch(0, batch, out));
        said.call(operator.as_mut(), 0, |operator, out| operator.on_watermark(mark, out));
    }
    said.call(operator.as_mut(), 0, |operator, out| operator.on_watermark(WATERMARK_END, out));
    assert_eq!(operator.held().1, 0, "nothing is kept of windows that are over");
    said.rows.sort();
    said
}

/// The windows of a time, by definition.
fn windows_of(shape: WindowShape, size: i64, time: i64) -> Vec<(i64, i64)> {
    let floor = |step: i64| time - (time - OFFSET).rem_euclid(step);
    match shape {
        WindowShape::Hop { slide_ms, .. } => (0..=size / slide_ms)
            .map(|back| floor(slide_ms) - back * slide_ms)
            .filter(|start| time < start + size)
            .map(|start| (start, start + size))
            .collect(),
        WindowShape::Cumulate { step_ms } => (1..=size / step_ms)
            .map(|steps| (floor(size), floor(size) + steps * step_ms))
            .filter(|(_, end)| time < *end)
            .collect(),
        _ => vec![(floor(size), floor(size) + size)],
    }
}

fn results(groups: BTreeMap<(&str, i64, i64), Vec<i64>>) -> Vec<String> {
    let result = |((key, start, end), values): (&(&str, i64, i64), &Vec<i64>)| {
        let (count, sum, max) = (values.len(), values.iter().sum::<i64>(), values.iter().max().unwrap());
        let distinct = values.iter().collect::<BTreeSet<_>>().len();
        format!("+I({key},{count},{sum},{max},{distinct},{start},{end})")
    };
    let mut rows: Vec<String> = groups.iter().map(result).collect();
    rows.sort();
    rows
}

/// Each row counts in those of its windows that are open before it.
fn expected(shape: WindowShape, size: i64, batches: &[Vec<Row>]) -> (Vec<String>, u64) {
    let (mut groups, mut late, mut mark) = (BTreeMap::new(), 0, EventTime::MIN);
    for (key, time, value) in batches.iter().flatten() {
        let windows = windows_of(shape, size, *time);
        let open: Vec<_> = windows.iter().filter(|(_, end)| *end > mark.saturating_add(1)).collect();
        late += u64::from(open.is_empty() && !windows.is_empty());
        for (start, end) in open {
            groups.entry((*key, *start, *end)).or_insert_with(Vec::new).push(*value);
        }
        mark = mark.max(time - LAG);
    }
    (results(groups), late)
}

/// Start, end and rows.
type Session = (i64, i64, Vec<Row>);

/// The sessions by definition: those that the watermark passed, with their rows, and the late rows.
fn sessions(batches: &[Vec<Row>]) -> (Vec<Session>, u64) {
    let mut open: Vec<Session> = Vec::new();
    let mut over = Vec::new();
    let (mut late, mut mark) = (0, EventTime::MIN);
    for row in batches.iter().flatten() {
        let closed = open.extract_if(.., |(_, end, _)| *end <= mark.saturating_add(1));
        over.extend(closed);
        let mut own = (row.1, row.1 + GAP, vec![*row]);
        let touches = |(start, end, rows): &mut (i64, i64, Vec<Row>)| {
            rows[0].0 == row.0 && *start <= row.1 + GAP && *end >= row.1
        };
        let touched: Vec<_> = open.extract_if(.., touches).collect();
        if touched.is_empty() && own.1 <= mark.saturating_add(1) {
            late += 1;
        } else {
            for (start, end, rows) in touched {
                own = (own.0.min(start), own.1.max(end), [own.2, rows].concat());
            }
            open.push(own);
        }
        mark = mark.max(row.1 - LAG);
    }
    over.append(&mut open);
    (over, late)
}

/// Batches of rows whose times go up, with some that come late.
fn batches() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let row = (0..KEYS.len(), 0..6_i64, prop_oneof![4 => 0..3_i64, 1 => 0..25_i64], 0..5_i64);
    prop::collection::vec(prop::collection::vec(row, 1..6), 0..12).prop_map(|batches| {
        let mut now = -25;
        let mut row = |(key, ahead, behind, value): (usize, i64, i64, i64)| {
            now += ahead;
            (KEYS[key], now - behind, value)
        };
        batches.into_iter().map(|batch| batch.into_iter().map(&mut row).collect()).collect()
    })
}

fn shapes() -> impl Strategy<Value = (WindowShape, i64)> {
    prop_oneof![
        Just((WindowShape::Tumble, 10)),
        Just((WindowShape::Hop { slide_ms: 4, in_order: false }, 12)),
        Just((WindowShape::Hop { slide_ms: 4, in_order: false }, 10)),
        Just((WindowShape::Hop { slide_ms: 9, in_order: false }, 4)),
        Just((WindowShape::Hop { slide_ms: 1, in_order: false }, 7)),
        Just((WindowShape::Cumulate { step_ms: 4 }, 12)),
        Just((WindowShape::Cumulate { step_ms: 1 }, 5))
    ]
}

proptest! {
    #[test]
    fn windows_hold_what_their_definition_says(
        (shape, size) in shapes(), batches in batches(), cut in 0..12_usize
    ) {
        let said = run(&|| aggregation(&spec(shape, size)), &batches, cut);
        let (rows, late) = expected(shape, size, &batches);
        prop_assert_eq!(said.rows, rows);
        prop_assert_eq!(said.late, late);
    }

    #[test]
    fn sessions_hold_what_their_definition_says(batches in batches(), cut in 0..12_usize) {
        let (over, late) = sessions(&batches);
        let said = run(&|| aggregation(&spec(WindowShape::Session, GAP)), &batches, cut);
        let group = |(start, end, rows): &(i64, i64, Vec<Row>)| {
            ((rows[0].0, *start, *end), rows.iter().map(|row| row.2).collect::<Vec<_>>())
        };
        // Of one key no two sessions have the same bounds, but for one that came after the other was over.
        let mut single: Vec<String> =
            over.iter().flat_map(|session| results(BTreeMap::from([group(session)]))).collect();
        single.sort();
        prop_assert_eq!(said.rows, single);
        prop_assert_eq!(said.late, late);

        let said = run(&session_table, &batches, cut);
        let mut rows: Vec<String> = over
            .iter()
            .flat_map(|(start, end, rows)| {
                let show = move |(key, time, value): &Row| {
                    format!("+I({key},{time},{value},{start},{end},{})", end - 1)
                };
                rows.iter().map(show)
            })
            .collect();
        rows.sort();
        prop_assert_eq!(said.rows, rows);
        prop_assert_eq!(said.late, late);
    }
}

fn at(keys: &[&'static str]) -> ChangeBatch {
    // The time column says nothing in processing time.
    ChangeBatch::inserts(rows(&keys.iter().map(|key| (*key, None, 1)).collect::<Vec<_>>()))
}

/// Rows belong to the windows of the clock; windows are said when it shows their end, and not at the input's end.
#[test]
fn processing_time_is_the_clocks() {
    let hop =
        WindowSpec { processing_time: true, ..spec(WindowShape::Hop { slide_ms: 5, in_order: false }, 10) };
    let mut operator = aggregation(&hop);
    let mut said = Said::default();
    let timers = |operator: &dyn Operator| operator.next_timer();
    assert_eq!(timers(operator.as_ref()), None);
    said.call(operator.as_mut(), 7, |operator, out| operator.on_batch(0, at(&["a", "b"]), out));
    assert_eq!(timers(operator.as_ref()), Some(8));
    // The clock jumps back: its windows stay closed.
    said.call(operator.as_mut(), 2, |operator, out| operator.on_batch(0, at(&["a"]), out));
    said.call(operator.as_mut(), 8, |operator, out| operator.on_time(out));
    said.call(operator.as_mut(), 9, |operator, out| operator.on_watermark(WATERMARK_END, out));
    assert_eq!(timers(operator.as_ref()), Some(13));
    expect!["+I(a,2,2,1,1,-2,8) +I(b,1,1,1,1,-2,8)"].assert_eq(&said.rows.join(" "));
    assert_eq!(said.marks, [WATERMARK_END]);
    // A batch that comes behind a window's end says the window first.
    said.call(operator.as_mut(), 13, |operator, out| operator.on_batch(0, at(&["c"]), out));
    assert_eq!(said.rows.len(), 4);
    assert_eq!(timers(operator.as_ref()), Some(18));
}

#[test]
fn sessions_of_processing_time_end_by_the_clock() {
    let window = WindowSpec { processing_time: true, ..spec(WindowShape::Session, GAP) };
    let mut operator = aggregation(&window);
    let mut said = Said::default();
    for now in [10, 13, 16] {
        said.call(operator.as_mut(), now, |operator, out| operator.on_batch(0, at(&["a"]), out));
    }
    // Its timers are looked at once the first ends have come.
    said.call(operator.as_mut(), 18, |operator, out| operator.on_time(out));
    assert_eq!((said.rows.len(), operator.next_timer()), (0, Some(20)));
    said.call(operator.as_mut(), 20, |operator, out| operator.on_time(out));
    expect!["+I(a,3,3,1,1,10,20)"].assert_eq(&said.rows.join(" "));
    assert_eq!(operator.next_timer(), None);
}
