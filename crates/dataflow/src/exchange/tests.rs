use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::*;

#[test]
fn rows_go_with_kind_and_watermark_to_the_owner_of_their_key() {
    let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
    let keys = Int64Array::from_iter((0..200).map(|row| (row % 40 != 0).then_some(row % 40)));
    let rows = RecordBatch::try_new(schema, vec![Arc::new(keys)]).unwrap();
    let kinds = (0..200).map(|row| if row % 2 == 0 { RowKind::Insert } else { RowKind::Delete }).collect();
    let marks: Vec<EventTime> = (0..200).collect();
    let batch = ChangeBatch::with_kinds(rows, kinds).with_watermarks(ScalarBuffer::from(marks));
    let codec = KeyCodec::new(vec![DataType::Int64]).unwrap();
    let parts = split(&batch, &[0], &codec, 3).unwrap();
    let mut seen = std::collections::BTreeMap::new();
    for (target, part) in parts.iter().enumerate() {
        let part = part.as_ref().unwrap();
        let marks = part.watermarks.as_ref().unwrap();
        assert!(marks.is_sorted(), "order is kept");
        for row in 0..part.len() {
            let key = part.rows.column(0).as_primitive::<Int64Type>().iter().nth(row).unwrap();
            assert_eq!(marks[row] % 40, key.unwrap_or(0), "the row's own watermark");
            assert_eq!(part.kind(row), if marks[row] % 2 == 0 { RowKind::Insert } else { RowKind::Delete });
            assert_eq!(*seen.entry(key).or_insert(target), target, "one key, one shard");
        }
    }
    assert_eq!(seen.len(), 40);
    assert_eq!(parts.iter().flatten().map(ChangeBatch::len).sum::<usize>(), 200);
}
