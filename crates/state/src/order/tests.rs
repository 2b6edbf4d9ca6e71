use std::sync::Arc;

use arrow::array::{
    BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, StringArray, UInt32Array,
};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices};
use arrow::datatypes::Field;
use proptest::prelude::*;

use super::*;

/// The rows' numbers in the order of their bytes; equal rows in the order of their numbers.
fn order(columns: &[ArrayRef], options: &[SortOptions]) -> (Vec<u32>, EncodedKeys) {
    let order_columns = columns.iter().zip(options).map(|(column, options)| OrderColumn {
        data_type: column.data_type().clone(),
        descending: options.descending,
        nulls_first: options.nulls_first,
    });
    let rows = columns[0].len();
    let bytes = OrderCodec::new(order_columns.collect()).unwrap().encode(columns, rows).unwrap();
    let mut numbers: Vec<u32> = (0..rows as u32).collect();
    numbers.sort_by_key(|row| bytes.get(*row as usize).to_vec());
    (numbers, bytes)
}

type Row = (Option<f64>, Option<String>, Option<i32>, Option<i128>, Option<bool>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let float = prop_oneof![
        Just(f64::NAN),
        Just(-f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        -2.0..2.0_f64,
        any::<f64>()
    ];
    let text = prop::collection::vec(prop_oneof![Just('\0'), Just('a'), Just('\u{1}'), Just('ä')], 0..4);
    let text = text.prop_map(|letters| letters.into_iter().collect::<String>());
    let decimal = prop_oneof![-3..3_i128, Just(i128::MAX), Just(i128::MIN)];
    prop::collection::vec(
        (
            prop::option::of(float),
            prop::option::of(text),
            prop::option::of(any::<i32>()),
            prop::option::of(decimal),
            prop::option::of(any::<bool>()),
        ),
        1..20,
    )
}

proptest! {
    /// The order of the bytes is that of Arrow's sort, for every type and every option.
    #[test]
    fn bytes_sort_as_rows(rows in rows(), turn in 0..5_usize, bits in prop::collection::vec(any::<(bool, bool)>(), 5)) {
        // Arrow tells -0.0 from 0.0 and signs of NaN.
        let plain = |v: f64| if v.is_nan() { f64::NAN.abs() } else { v + 0.0 };
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.0.map(plain)))),
            Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1.as_deref()))),
            Arc::new(Date32Array::from_iter(rows.iter().map(|row| row.2))),
            Arc::new(Decimal128Array::from_iter(rows.iter().map(|row| row.3))),
            Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.4))),
        ];
        columns.rotate_left(turn);
        let options: Vec<_> =
            bits.iter().map(|(descending, nulls_first)| SortOptions { descending: *descending, nulls_first: *nulls_first }).collect();
        let sorted = columns.iter().zip(&options).map(|(values, options)| SortColumn { values: Arc::clone(values), options: Some(*options) });
        let number: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..rows.len() as u32));
        let sorted: Vec<_> = sorted.chain([SortColumn { values: number, options: None }]).collect();
        let expected = lexsort_to_indices(&sorted, None).unwrap();
        prop_assert_eq!(order(&columns, &options).0, expected.values().to_vec());
    }
}

#[test]
fn golden_bytes() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(-1), None])),
        Arc::new(StringArray::from(vec![Some("a\0"), Some("")])),
    ];
    let ascending = SortOptions { descending: false, nulls_first: false };
    let descending = SortOptions { descending: true, nulls_first: false };
    let (_, bytes) = order(&columns, &[ascending, descending]);
    assert_eq!(bytes.get(0), [1, 127, 255, 255, 255, 255, 255, 255, 255, 1, !97, 255, 0, 255, 255]);
    assert_eq!(bytes.get(1), [2, 1, 255, 255]);
}

#[test]
fn a_nested_type_has_no_order() {
    let row = DataType::Struct(vec![Field::new("a", DataType::Int32, true)].into());
    let column = OrderColumn { data_type: row, descending: false, nulls_first: true };
    assert!(matches!(OrderCodec::new(vec![column]), Err(StateError::KeyType(_))));
}
