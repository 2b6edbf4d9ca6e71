use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use highwater_stream::Message;

use super::*;

fn repeat(spec: &RepeatSpec) -> Repeat {
    let mut fields = vec![Field::new("id", DataType::Int64, true)];
    if spec.ordinal {
        fields.push(Field::new("number", DataType::Int32, true));
    }
    let place = Place {
        uid: "repeat:1".to_owned(),
        title: "Repeat".to_owned(),
        shard: 0,
        shards: 1,
        schema: Arc::new(Schema::new(fields)),
        batch_rows_max: 3,
    };
    Repeat::new(&place, spec)
}

/// Rows numbered from 1, each to come so often.
fn batch(times: Vec<Option<i64>>) -> ChangeBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=times.len() as i64));
    let times: ArrayRef = Arc::new(Int64Array::from(times));
    let rows = RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("times", times, true)]).unwrap();
    let kinds = (0..rows.num_rows()).map(|row| if row == 1 { RowKind::Delete } else { RowKind::Insert });
    let marks: Vec<i64> = (0..rows.num_rows() as i64).collect();
    ChangeBatch::with_kinds(rows.clone(), kinds.collect()).with_watermarks(ScalarBuffer::from(marks))
}

/// What each call emits.
fn calls(operator: &mut Repeat, batch: ChangeBatch) -> Vec<String> {
    let mut calls = Vec::new();
    let mut out = Output::default();
    let mut progress = operator.on_batch(0, batch, &mut out).unwrap();
    loop {
        let mut rows = Vec::new();
        for message in std::mem::take(&mut out.messages) {
            let Message::Batch(batch) = message else { panic!("{message:?}") };
            for row in 0..batch.len() {
                let id = batch.rows.column(0).as_primitive::<Int64Type>().value(row);
                let mark = batch.watermarks.as_ref().unwrap()[row];
                rows.push(format!("{}{id}@{mark}", batch.kind(row).symbol()));
            }
        }
        calls.push(rows.join(" "));
        if progress == Progress::Done {
            return calls;
        }
        progress = operator.resume(&mut out).unwrap();
    }
}

#[test]
fn a_column_says_how_often_and_batches_are_bounded() {
    let spec = RepeatSpec { times: Times::Column(1), kept: vec![0], ordinal: false };
    let times = vec![Some(2), Some(3), None, Some(-1), Some(0), Some(1)];
    let expected = ["+I1@0 +I1@0 -D2@1", "-D2@1 -D2@1 +I6@5"];
    assert_eq!(calls(&mut repeat(&spec), batch(times)), expected);
}

#[test]
fn a_fixed_number_is_counted() {
    let spec = RepeatSpec { times: Times::Fixed(2), kept: vec![0], ordinal: true };
    let mut operator = repeat(&spec);
    let mut out = Output::default();
    assert_eq!(operator.on_batch(0, batch(vec![None, None]), &mut out).unwrap(), Progress::More);
    assert_eq!(operator.resume(&mut out).unwrap(), Progress::Done);
    let mut numbers = Vec::new();
    for message in out.messages {
        let Message::Batch(batch) = message else { panic!("{message:?}") };
        numbers
            .extend_from_slice(batch.rows.column(1).as_primitive::<arrow::datatypes::Int32Type>().values());
    }
    assert_eq!(numbers, [0, 1, 0, 1]);
}
