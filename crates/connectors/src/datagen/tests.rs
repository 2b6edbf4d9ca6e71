use std::sync::Arc;
use std::task::Waker;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit};
use highwater_env::ManualClock;
use highwater_stream::{Connect, Position, SourcePoll, SourceSpec, SplitId};

use crate::registry::tests::{Printed, options, outside, registry, source_spec};
use crate::{Outside, Registry};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("k", DataType::Int32, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("d", DataType::Float64, true),
        Field::new("p", DataType::Decimal128(6, 2), true),
        Field::new("b", DataType::Boolean, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
    ]))
}

fn spec(more: &[(&str, &str)]) -> SourceSpec {
    let pairs = [
        ("connector", "datagen"),
        ("rows-per-second", "1000"),
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "10"),
        ("fields.id.end", "109"),
        ("fields.k.min", "-2"),
        ("fields.k.max", "2"),
        ("fields.s.length", "5"),
        ("fields.p.min", "-1.5"),
        ("fields.p.max", "1.5"),
        ("fields.t.max-past", "10 s"),
        ("fields.b.null-rate", "0.5"),
    ];
    source_spec(options(&pairs, more), schema())
}

/// All rows from `from` on, the clock moving by `step_ms` whenever nothing is due.
fn read(spec: &SourceSpec, from: Option<u64>, rows_max: usize, step_ms: i64) -> RecordBatch {
    let clock = Arc::new(ManualClock::at(0));
    let connect = Registry::new(Outside { clock: Arc::clone(&clock) as _, ..outside(&Printed::default()) });
    let mut source = connect.source(spec).unwrap();
    let mut reader = source.open(&SplitId("0".into()), from.map(Position)).unwrap();
    let mut batches = Vec::new();
    loop {
        match reader.poll(rows_max, Waker::noop()).unwrap() {
            SourcePoll::Batch(batch) => {
                assert!(batch.rows.num_rows() <= rows_max);
                batches.push(batch.rows);
            }
            SourcePoll::Pending => clock.advance_ms(step_ms),
            SourcePoll::End => return concat_batches(&spec.physical, &batches).unwrap(),
        }
    }
}

#[test]
fn rows_depend_on_their_number_only() {
    let mut spec = spec(&[]);
    // A column that shows the time is the exception.
    spec.physical = Arc::new(spec.physical.project(&[0, 1, 2, 3, 4, 5]).unwrap());
    let all = read(&spec, None, 1_000, 1_000);
    assert_eq!(all.num_rows(), 100);
    assert_eq!(read(&spec, None, 7, 13), all);
    for from in [0, 1, 42, 99] {
        assert_eq!(read(&spec, Some(from), 7, 13), all.slice(from as usize, 100 - from as usize));
    }
    let ids = all.column(0).as_primitive::<Int64Type>();
    assert_eq!((ids.value(0), ids.value(99)), (10, 109));
    let keys: std::collections::BTreeSet<i32> =
        all.column(1).as_primitive::<Int32Type>().values().iter().copied().collect();
    assert_eq!(keys, (-2..=2).collect());
    assert!(all.column(2).as_string::<i32>().iter().all(|text| text.unwrap().len() == 5));
    assert!((20..80).contains(&all.column(5).null_count()));
    let other = read(&self::spec(&[("seed", "1")]), None, 1_000, 1_000);
    assert_ne!(other.column(1), all.column(1));
    // The plan may need less; the sequence still ends the table.
    spec.physical = Arc::new(spec.physical.project(&[1]).unwrap());
    assert_eq!(read(&spec, None, 1_000, 1_000).column(0), all.column(1));
}

#[test]
fn the_rate_is_kept() {
    let clock = Arc::new(ManualClock::at(0));
    let connect = Registry::new(Outside { clock: Arc::clone(&clock) as _, ..outside(&Printed::default()) });
    let mut source = connect.source(&spec(&[("number-of-rows", "50")])).unwrap();
    assert!(source.is_bounded());
    let mut reader = source.open(&SplitId("0".into()), None).unwrap();
    assert!(matches!(reader.poll(100, Waker::noop()).unwrap(), SourcePoll::Pending));
    clock.advance_ms(20);
    match reader.poll(100, Waker::noop()).unwrap() {
        SourcePoll::Batch(batch) => assert_eq!((batch.rows.num_rows(), batch.next.0), (20, 20)),
        other => panic!("{other:?}"),
    }
    clock.advance_ms(1_000);
    assert!(
        matches!(reader.poll(100, Waker::noop()).unwrap(), SourcePoll::Batch(batch) if batch.rows.num_rows() == 30)
    );
    assert!(matches!(reader.poll(100, Waker::noop()).unwrap(), SourcePoll::End));
}

#[test]
fn impossible_columns_are_refused() {
    for (more, expected) in [
        (("fields.k.kind", "gauss"), "expected random or sequence"),
        (("fields.k.min", "3"), "expected min up to max"),
        (("fields.k.max", "3000000000"), "expected within"),
        (("fields.id.end", "5"), "expected it to rise"),
        (("fields.t.max-past", "long"), "expected a duration"),
        (("rows-per-second", "0"), "expected at least 1"),
        (("number-of-rows", "many"), "expected a number of rows"),
    ] {
        let error = registry().source(&spec(&[more])).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
