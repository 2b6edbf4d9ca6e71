use arrow::array::{
    Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray, StringViewArray, UInt32Array,
};
use arrow::datatypes::{Field, TimeUnit};
use proptest::prelude::*;

use super::*;

type Row = (Option<i64>, Option<String>, Option<bool>, f64);

fn columns(rows: &[Row]) -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1.as_deref()))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.2))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.3))),
    ]
}

fn codec_of(columns: &[ArrayRef]) -> KeyCodec {
    KeyCodec::new(columns.iter().map(|column| column.data_type().clone()).collect()).unwrap()
}

proptest! {
    #[test]
    fn keys_come_back(rows in prop::collection::vec(
        (any::<Option<i64>>(), prop::option::of(".{0,9}"), any::<Option<bool>>(), -9.0..9.0), 0..40),
        skip in 0_usize..3, prefix in any::<bool>())
    {
        let columns: Vec<ArrayRef> =
            columns(&rows).iter().map(|c| c.slice(skip.min(rows.len()), rows.len().saturating_sub(skip))).collect();
        let len = columns[0].len();
        let codec = codec_of(&columns);
        let prefixes: Vec<i64> = (0..len as i64).map(|row| row - 3).collect();
        let keys = codec.encode(&columns, len, prefix.then_some(&prefixes)).unwrap();
        let from = if prefix { 8 } else { 0 };
        let back = codec.decode((0..len).map(|row| &keys.get(row)[from..])).unwrap();
        prop_assert_eq!(&back, &columns);
        if prefix {
            for (row, number) in prefixes.iter().enumerate() {
                prop_assert_eq!(KeyCodec::prefix_number(keys.get(row)), Some(*number));
            }
        }
    }

    #[test]
    fn damaged_keys_are_refused_not_believed(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let codec = codec_of(&columns(&[]));
        let _ = codec.decode(std::iter::once(&bytes[..]));
    }
}

/// The layout is on disk: it never changes.
#[test]
fn golden_bytes() {
    let columns =
        columns(&[(Some(-2), Some("ab".to_owned()), Some(true), 0.5), (None, None, None, f64::NAN)]);
    let keys = codec_of(&columns).encode(&columns, 2, None).unwrap();
    assert_eq!(
        keys.get(0),
        b"\x01\xfe\xff\xff\xff\xff\xff\xff\xff\x01\x02\0\0\0ab\x01\x01\x01\0\0\0\0\0\0\xe0\x3f"
    );
    assert_eq!(keys.get(1), b"\0\0\0\x01\0\0\0\0\0\0\xf8\x7f");
}

#[test]
fn every_plain_type_is_a_key_and_others_are_refused() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from(vec![Some(1), None])),
        Arc::new(Decimal128Array::from(vec![Some(7), None]).with_precision_and_scale(9, 2).unwrap()),
        Arc::new(StringViewArray::from(vec![Some("a text longer than twelve bytes"), None])),
        cast(
            &Int64Array::from(vec![Some(5), None]),
            &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        )
        .unwrap(),
    ];
    let codec = codec_of(&columns);
    let keys = codec.encode(&columns, 2, None).unwrap();
    assert_eq!(codec.decode((0..2).map(|row| keys.get(row))).unwrap(), columns);
    let list = DataType::new_list(DataType::Null, true);
    assert!(matches!(KeyCodec::new(vec![list]), Err(StateError::KeyType(_))));
}

/// An array, a map, and the text of a row that holds the array as well.
type NestedRow = (Option<Vec<Option<i64>>>, Option<Vec<(String, Option<i64>)>>, Option<Option<String>>);

fn nested_columns(rows: &[NestedRow]) -> Vec<ArrayRef> {
    use arrow::array::{Int64Builder, ListBuilder, MapBuilder, StringBuilder, StructArray};
    let mut lists = ListBuilder::new(Int64Builder::new());
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for (list, map, _) in rows {
        lists.append_option(list.clone());
        for (key, value) in map.iter().flatten() {
            maps.keys().append_value(key);
            maps.values().append_option(*value);
        }
        maps.append(map.is_some()).unwrap();
    }
    let lists: ArrayRef = Arc::new(lists.finish());
    let texts: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2.clone().flatten())));
    let nulls = NullBuffer::from_iter(rows.iter().map(|row| row.2.is_some()));
    let field = |name: &str, column: &ArrayRef| Field::new(name, column.data_type().clone(), true);
    let fields = vec![field("text", &texts), field("list", &lists)].into();
    // What stands below a row that is NULL does not count: here it is NULL, as it comes back.
    let below = UInt32Array::from_iter(
        rows.iter().enumerate().map(|(row, columns)| columns.2.is_some().then_some(row as u32)),
    );
    let below = arrow::compute::take(&lists, &below, None).unwrap();
    let structs: ArrayRef = Arc::new(StructArray::new(fields, vec![texts, below], Some(nulls)));
    vec![lists, Arc::new(maps.finish()), structs]
}

proptest! {
    #[test]
    fn nested_columns_come_back(rows in prop::collection::vec((
        prop::option::of(prop::collection::vec(any::<Option<i64>>(), 0..4)),
        prop::option::of(prop::collection::vec((".{0,3}", any::<Option<i64>>()), 0..3)),
        prop::option::of(prop::option::of(".{0,5}"))), 0..12), skip in 0_usize..3)
    {
        let columns = nested_columns(&rows);
        let skip = skip.min(rows.len());
        let columns: Vec<ArrayRef> = columns.iter().map(|c| c.slice(skip, rows.len() - skip)).collect();
        let codec = codec_of(&columns);
        let keys = codec.encode(&columns, columns[0].len(), None).unwrap();
        let back = codec.decode((0..keys.len()).map(|row| keys.get(row))).unwrap();
        prop_assert_eq!(&back, &columns);
        for row in 1..keys.len() {
            let same = rows[skip + row] == rows[skip];
            prop_assert_eq!(keys.get(row) == keys.get(0), same);
        }
    }

    #[test]
    fn damaged_nested_keys_are_refused_not_believed(bytes in prop::collection::vec(0_u8..3, 0..40)) {
        let codec = codec_of(&nested_columns(&[]));
        let _ = codec.decode(std::iter::once(&bytes[..]));
    }
}
