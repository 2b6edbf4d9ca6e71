use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMillisecondArray,
};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

fn encoded(rows: &RecordBatch) -> Vec<Vec<u8>> {
    let columns: Vec<usize> = (0..rows.num_columns()).collect();
    let one = |row| {
        let mut out = Vec::new();
        encode_row(rows, &columns, row, &mut out);
        out
    };
    (0..rows.num_rows()).map(one).collect()
}

fn check_round_trip(rows: &RecordBatch) {
    let columns: Vec<usize> = (0..rows.num_columns()).collect();
    let mut decoder = RowDecoder::new(&rows.schema(), &columns);
    for row in encoded(rows) {
        decoder.push(&row).unwrap();
    }
    assert_eq!(decoder.finish(), *rows);
}

#[test]
fn every_type_comes_back() {
    check_round_trip(&batch(vec![
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("i", Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(7)]))),
        ("l", Arc::new(Int64Array::from(vec![Some(-1), Some(i64::MAX), None]))),
        ("f", Arc::new(Float64Array::from(vec![Some(-0.5), None, Some(f64::INFINITY)]))),
        ("s", Arc::new(StringArray::from(vec![Some("a\0b"), Some(""), None]))),
        ("y", Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0, 0, 1][..]), None, Some(&[])]))),
        (
            "d",
            Arc::new(
                Decimal128Array::from(vec![Some(-12), None, Some(1)])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
        ),
        ("t", Arc::new(TimestampMillisecondArray::from(vec![Some(-1), None, Some(5)]).with_timezone("UTC"))),
    ]));
}

proptest! {
    #[test]
    fn bytes_sort_like_values(numbers in prop::collection::vec(any::<Option<i64>>(), 2..40)) {
        let rows = batch(vec![("n", Arc::new(Int64Array::from(numbers.clone())))]);
        let mut by_bytes: Vec<(Vec<u8>, Option<i64>)> = encoded(&rows).into_iter().zip(numbers.clone()).collect();
        by_bytes.sort();
        let mut by_value = numbers;
        by_value.sort();
        prop_assert_eq!(by_bytes.into_iter().map(|(_, n)| n).collect::<Vec<_>>(), by_value);
    }

    #[test]
    fn text_sorts_and_comes_back(texts in prop::collection::vec("[\\x00a-c]{0,4}", 2..40)) {
        let rows = batch(vec![("s", Arc::new(StringArray::from(texts.clone())))]);
        check_round_trip(&rows);
        let mut by_bytes: Vec<(Vec<u8>, String)> = encoded(&rows).into_iter().zip(texts.clone()).collect();
        by_bytes.sort();
        let mut by_value = texts;
        by_value.sort();
        prop_assert_eq!(by_bytes.into_iter().map(|(_, s)| s).collect::<Vec<_>>(), by_value);
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let rows = batch(vec![
            ("s", Arc::new(StringArray::from(vec!["x"]))),
            ("n", Arc::new(Int64Array::from(vec![1]))),
        ]);
        let _ = RowDecoder::new(&rows.schema(), &[0, 1]).push(&bytes);
    }
}

#[test]
fn layout_is_fixed() {
    fn check(rows: &RecordBatch, want: &Expect) {
        let hex = |row: Vec<u8>| row.iter().map(|b| format!("{b:02x}")).collect::<String>();
        want.assert_eq(&encoded(rows).into_iter().map(hex).collect::<Vec<_>>().join("\n"));
    }
    check(
        &batch(vec![
            ("i", Arc::new(Int32Array::from(vec![Some(-1), None]))),
            ("s", Arc::new(StringArray::from(vec![Some("a\0"), Some("")]))),
            ("f", Arc::new(Float64Array::from(vec![Some(1.5), Some(-1.5)]))),
        ]),
        &expect![[r#"
            017fffffff016100ff000101bff8000000000000
            00010001014007ffffffffffff"#]],
    );
}
