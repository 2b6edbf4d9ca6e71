use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use highwater_stream::ChangeBatch;

use super::*;

fn batch() -> Message {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
    let values = Int64Array::from(vec![0; 100]);
    Message::Batch(ChangeBatch::inserts(RecordBatch::try_new(schema, vec![Arc::new(values)]).unwrap()))
}

fn channel(batches_max: usize, bytes_max: usize, budget: &MemoryBudget) -> Arc<Channel> {
    Channel::new(&Signal::new(0), &Signal::new(1), ChannelLimits { batches_max, bytes_max }, budget)
}

/// How many batches fit until one is given back.
fn fits(channel: &Channel) -> usize {
    (0..100).take_while(|_| channel.push(batch()).is_ok()).count()
}

#[test]
fn batches_bytes_and_memory_bound_a_channel_but_one_batch_always_fits() {
    let budget = MemoryBudget::unlimited();
    assert_eq!(fits(&channel(3, usize::MAX, &budget)), 3);
    assert_eq!(fits(&channel(9, 1_000, &budget)), 1);
    assert_eq!(fits(&channel(9, 2_000, &budget)), 2);
    let small = MemoryBudget::root("small", 1_000);
    let first = channel(9, usize::MAX, &small);
    assert_eq!(fits(&first), 1);
    let second = channel(9, usize::MAX, &small);
    assert_eq!(fits(&second), 1, "the budget is used up, yet an empty channel takes a batch");
    assert!(first.push(Message::End).is_ok(), "what is not rows always fits");
    first.pop();
    assert_eq!(small.used(), 0);
}

#[test]
fn watermarks_in_a_row_merge() {
    let channel = channel(1, usize::MAX, &MemoryBudget::unlimited());
    for watermark in 0..1_000 {
        assert!(channel.push(Message::Watermark(watermark)).is_ok());
    }
    assert!(matches!(channel.pop(), Some(Message::Watermark(999))));
    assert!(channel.pop().is_none());
}
