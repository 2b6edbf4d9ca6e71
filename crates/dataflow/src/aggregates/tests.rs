use std::sync::Arc;

use arrow::array::{
    BooleanArray, Decimal128Array, Float32Array, Float64Array, Int8Array, Int32Array, Int64Array,
    StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{Field, Schema};
use arrow::util::display::array_value_to_string;

use super::*;

/// Feeds `batches` of (values, weights) into one group, through a snapshot after each, and shows the result
/// after each.
fn check(
    function: AggregateFunction,
    distinct: bool,
    output: &DataType,
    batches: &[(ArrayRef, &[i8])],
    expected: &str,
) {
    let argument = (function != AggregateFunction::CountStar).then_some(0);
    let call = AggregateCall { function, argument, distinct, filter: None, output: output.clone() };
    let schema = Arc::new(Schema::new(vec![Field::new("x", batches[0].0.data_type().clone(), true)]));
    let retract = batches.iter().any(|(_, weights)| weights.contains(&-1));
    let make = || Aggregates::new(std::slice::from_ref(&call), &schema, retract, "test").unwrap();
    let (mut aggregates, mut results) = (make(), Vec::new());
    aggregates.grow(4);
    for (values, weights) in batches {
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(values)]).unwrap();
        let weights = (!weights.is_empty()).then_some(*weights);
        aggregates.update(&rows, &vec![3; rows.num_rows()], weights).unwrap();
        let result = &aggregates.output(&[3, 0]).unwrap()[0];
        assert_eq!(result.data_type(), output);
        let nothing = if function_counts(function) { "0" } else { "" };
        assert_eq!(array_value_to_string(result, 1).unwrap(), nothing, "another slot is untouched");
        results.push(if result.is_null(0) {
            "NULL".to_owned()
        } else {
            array_value_to_string(result, 0).unwrap()
        });
        let mut state = Vec::new();
        aggregates.write(3, &mut state);
        aggregates = make();
        aggregates.grow(4);
        let mut cursor = Cursor::new(&state);
        aggregates.read(3, &mut cursor).unwrap();
        assert!(cursor.is_empty());
        for len in 0..state.len() {
            let mut damaged = make();
            damaged.grow(4);
            assert!(
                damaged.read(3, &mut Cursor::new(&state[..len])).is_err(),
                "{len} of {} bytes",
                state.len()
            );
        }
    }
    assert_eq!(results.join(" "), expected, "{function:?} distinct={distinct}");
}

fn function_counts(function: AggregateFunction) -> bool {
    matches!(function, AggregateFunction::Count | AggregateFunction::CountStar)
}

fn ints(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn decimals(values: &[i128], precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap())
}

use AggregateFunction::{
    ArrayAgg, Avg, Collect, Count, CountStar, FirstValue, LastValue, Max, Min, SquaredDistances, Sum,
};

#[test]
fn nothing_but_null_gives_null_and_counts_count() {
    let batches = [(ints(&[None]), &[][..]), (ints(&[Some(3), None, Some(4)]), &[])];
    check(CountStar, false, &DataType::Int64, &batches, "1 4");
    check(Count, false, &DataType::Int64, &batches, "0 2");
    check(Sum, false, &DataType::Int64, &batches, "NULL 7");
    check(Avg, false, &DataType::Int64, &batches, "NULL 3");
    check(Min, false, &DataType::Int64, &batches, "NULL 3");
    check(Max, false, &DataType::Int64, &batches, "NULL 4");
}

#[test]
fn sums_wrap_in_their_type_and_averages_truncate_toward_zero() {
    let bytes: ArrayRef = Arc::new(Int8Array::from(vec![100, 100]));
    check(Sum, false, &DataType::Int8, &[(bytes, &[])], "-56");
    check(Sum, false, &DataType::Int64, &[(ints(&[Some(i64::MAX), Some(1)]), &[])], "-9223372036854775808");
    let int: ArrayRef = Arc::new(Int32Array::from(vec![-3, -4]));
    check(Avg, false, &DataType::Int32, &[(int, &[])], "-3");
    let float: ArrayRef = Arc::new(Float32Array::from(vec![1.5, 2.0]));
    check(Avg, false, &DataType::Float32, &[(float, &[])], "1.75");
}

#[test]
fn decimals_round_half_up_and_overflow_to_null_and_back() {
    let scale = |precision, scale| DataType::Decimal128(precision, scale);
    check(Sum, false, &scale(38, 2), &[(decimals(&[150, -25], 10, 2), &[])], "1.25");
    check(Avg, false, &scale(38, 6), &[(decimals(&[100, 100, 101], 10, 2), &[])], "1.003333");
    check(Avg, false, &scale(38, 6), &[(decimals(&[-5, -6], 7, 6), &[])], "-0.000006");
    let most = 10_i128.pow(38) - 1;
    let batches = [
        (decimals(&[most], 38, 0), &[][..]),
        (decimals(&[most, most], 38, 0), &[]),
        (decimals(&[-most, -most, -most + 1], 38, 0), &[]),
    ];
    check(Sum, false, &scale(38, 0), &batches, &format!("{most} NULL 1"));
}

#[test]
fn extremes_of_every_kind_of_value() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some(""), Some("ab")]));
    check(Min, false, &DataType::Utf8, &[(Arc::clone(&text), &[])], "");
    check(Max, false, &DataType::Utf8, &[(text, &[])], "b");
    let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![5, -5]));
    check(Min, false, &time.data_type().clone(), &[(time, &[])], "1969-12-31T23:59:59.995");
    let bool: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
    check(Max, false, &DataType::Boolean, &[(bool, &[])], "true");
    check(Max, false, &DataType::Decimal128(5, 2), &[(decimals(&[5, 250], 5, 2), &[])], "2.50");
    let float: ArrayRef = Arc::new(Float64Array::from(vec![0.5, -1.0]));
    check(Min, false, &DataType::Float64, &[(float, &[])], "-1.0");
}

#[test]
fn rows_can_be_taken_back_in_any_order() {
    let batches = [
        (ints(&[Some(5), Some(7), Some(5), None]), &[1, 1, 1, 1][..]),
        (ints(&[Some(5), Some(9), Some(7)]), &[-1, 1, -1]),
        (ints(&[Some(5), Some(9), None]), &[-1, -1, -1]),
    ];
    check(CountStar, false, &DataType::Int64, &batches, "4 3 0");
    check(Count, false, &DataType::Int64, &batches, "3 2 0");
    check(Sum, false, &DataType::Int64, &batches, "17 14 NULL");
    check(Avg, false, &DataType::Int64, &batches, "5 7 NULL");
    check(Max, false, &DataType::Int64, &batches, "7 9 NULL");
    check(Min, false, &DataType::Int64, &batches, "5 5 NULL");
    check(Count, true, &DataType::Int64, &batches, "2 2 0");
    check(Sum, true, &DataType::Int64, &batches, "12 14 NULL");
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

#[test]
fn values_in_order_of_arrival() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![None, Some("b"), Some("a"), None]));
    let more: ArrayRef = Arc::new(StringArray::from(vec![Some("c")]));
    let batches = [(text, &[][..]), (more, &[])];
    check(FirstValue, false, &DataType::Utf8, &batches, "b b");
    check(LastValue, false, &DataType::Utf8, &batches, "a c");
    check(ArrayAgg, false, &list_of(DataType::Utf8), &batches, "[, b, a, ] [, b, a, , c]");
    check(ArrayAgg, true, &list_of(DataType::Utf8), &batches, "[, b, a] [, b, a, c]");
}

#[test]
fn a_row_taken_back_takes_the_earliest_equal_value() {
    let batches = [
        (ints(&[Some(5), Some(7), Some(5), None]), &[1, 1, 1, 1][..]),
        (ints(&[Some(5), Some(9), Some(8)]), &[-1, 1, -1]),
        (ints(&[Some(7), Some(9)]), &[-1, -1]),
        (ints(&[Some(5), None]), &[-1, -1]),
    ];
    check(FirstValue, false, &DataType::Int64, &batches, "5 7 5 NULL");
    check(LastValue, false, &DataType::Int64, &batches, "5 9 5 NULL");
    let list = list_of(DataType::Int64);
    check(ArrayAgg, false, &list, &batches, "[5, 7, 5, ] [7, 5, , 9] [5, ] NULL");
    check(Collect, false, &list, &batches[..1], "[5, 5, 7]");
    check(
        Collect,
        false,
        &list,
        &[batches[0].clone(), batches[2].clone(), batches[3].clone()],
        "[5, 5, 7] [5, 5] [5]",
    );
}

#[test]
fn squared_distances_follow_welford() {
    let batches = [(ints(&[Some(1), Some(2), Some(3), None]), &[1, 1, 1, 1][..]), (ints(&[Some(2)]), &[-1])];
    check(SquaredDistances, false, &DataType::Float64, &batches, "2.0 2.0");
    check(SquaredDistances, false, &DataType::Float64, &[(ints(&[Some(1)]), &[-1][..])], "NULL");
}

/// What a list of values in order of arrival says.
fn naive(function: AggregateFunction, values: &[i64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by_key(|value| value.to_le_bytes());
    let list =
        |values: &[i64]| format!("[{}]", values.iter().map(i64::to_string).collect::<Vec<_>>().join(", "));
    match (function, values) {
        (_, []) => "NULL".to_owned(),
        (FirstValue, values) => values[0].to_string(),
        (LastValue, values) => values[values.len() - 1].to_string(),
        (Collect, _) => list(&sorted),
        (_, values) => list(values),
    }
}

#[test]
fn random_rows_that_come_and_go_agree_with_a_list() {
    for seed in 1_u64..20 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut model: Vec<i64> = Vec::new();
        let (mut batches, mut models) = (Vec::new(), Vec::new());
        for _ in 0..12 {
            let (mut values, mut weights) = (Vec::new(), Vec::new());
            for _ in 0..1 + random(6) {
                let value = i64::try_from(random(4)).unwrap();
                let place = model.iter().position(|known| *known == value).filter(|_| random(2) == 0);
                match place {
                    Some(place) => drop(model.remove(place)),
                    None => model.push(value),
                }
                values.push(Some(value));
                weights.push(if place.is_some() { -1_i8 } else { 1 });
            }
            batches.push((ints(&values), weights));
            models.push(model.clone());
        }
        let batches: Vec<(ArrayRef, &[i8])> =
            batches.iter().map(|(values, weights)| (Arc::clone(values), &weights[..])).collect();
        for function in [FirstValue, LastValue, ArrayAgg, Collect] {
            let output = match function {
                FirstValue | LastValue => DataType::Int64,
                _ => list_of(DataType::Int64),
            };
            let expected: Vec<String> = models.iter().map(|values| naive(function, values)).collect();
            check(function, false, &output, &batches, &expected.join(" "));
        }
    }
}
