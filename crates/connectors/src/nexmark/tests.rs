use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use highwater_stream::{Connect, Position, SourcePoll, SplitId};

use super::columns;
use super::event::{Event, Events};
use crate::registry::tests::{options, registry, source_spec};

fn read(schema: &SchemaRef, from: u64, rows_max: usize) -> RecordBatch {
    let options = options(&[("connector", "nexmark"), ("number-of-rows", "1000")], &[]);
    let spec = source_spec(options, Arc::clone(schema));
    let mut source = registry().source(&spec).unwrap();
    let mut reader = source.open(&SplitId("0".into()), Some(Position(from))).unwrap();
    let mut batches = Vec::new();
    loop {
        match reader.poll(rows_max, Waker::noop()).unwrap() {
            SourcePoll::Batch(batch) => batches.push(batch.rows),
            SourcePoll::Pending => panic!("without a rate all rows are there"),
            SourcePoll::End => return concat_batches(schema, &batches).unwrap(),
        }
    }
}

#[test]
fn a_row_is_the_same_wherever_reading_starts() {
    let schema: SchemaRef = Arc::new(Schema::new(columns()));
    let all = read(&schema, 0, 128);
    assert_eq!(all.num_rows(), 1000);
    assert_eq!(read(&schema, 333, 7), all.slice(333, 667));
}

#[test]
fn one_row_of_fifty_is_a_person_and_three_are_auctions() {
    let schema: SchemaRef = Arc::new(Schema::new(columns()));
    let rows = read(&schema, 0, 1000);
    let mut counts = [0; 3];
    for (row, kind) in rows.column(0).as_primitive::<Int32Type>().values().iter().enumerate() {
        counts[usize::try_from(*kind).unwrap()] += 1;
        for (place, column) in rows.columns()[1..].iter().enumerate() {
            assert_eq!(column.is_valid(row), place == usize::try_from(*kind).unwrap());
        }
    }
    assert_eq!(counts, [20, 60, 920]);
}

#[test]
fn a_plan_may_need_some_fields_only() {
    let bid = DataType::Struct(vec![Field::new("price", DataType::Int64, true)].into());
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("bid", bid, true)]));
    let rows = read(&schema, 0, 1000);
    let prices = rows.column(0).as_struct().column(0).as_primitive::<Int64Type>().clone();
    assert!(prices.iter().flatten().all(|price| (100..=100_000_000).contains(&price)));
}

#[test]
fn half_of_the_bids_are_for_hot_auctions_and_ids_stay_near_the_newest() {
    let events = Events { seed: 1, per_second: 10_000 };
    let mut bids = BTreeMap::<i64, u64>::new();
    let mut newest = 0;
    for n in 0..50_000 {
        match events.event(n) {
            Event::Auction(auction) => {
                assert!(newest == 0 || auction.id == newest + 1, "auctions are numbered");
                newest = auction.id;
            }
            Event::Bid(bid) => {
                assert!(bid.auction <= newest + 10 && bid.auction + 201 > newest, "{bid:?}, newest {newest}");
                *bids.entry(bid.auction).or_default() += 1;
            }
            Event::Person(_) => {}
        }
    }
    let hot: u64 = bids.iter().filter(|(auction, _)| **auction % 100 == 0).map(|(_, count)| count).sum();
    let all: u64 = bids.values().sum();
    assert!((0.48..0.54).contains(&(hot as f64 / all as f64)), "{hot} of {all}");
}

#[test]
fn unknown_columns_and_other_types_are_refused() {
    for (field, expected) in [
        (Field::new("seller", DataType::Int64, true), "column seller: nexmark has event_type, person"),
        (Field::new("event_type", DataType::Int64, true), "column event_type is Int64, expected Int32"),
    ] {
        let options = options(&[("connector", "nexmark")], &[]);
        let spec = source_spec(options, Arc::new(Schema::new(vec![field])));
        let error = registry().source(&spec).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
