use std::fmt::Write;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use expect_test::{Expect, expect};
use highwater_env::{Epoch, MemoryBudget};

use super::*;
use crate::channel::ChannelLimits;
use crate::ready::Signal;

fn batch(marks: &[i64]) -> Message {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
    let values = Int64Array::from_iter_values(0..marks.len() as i64);
    let rows = RecordBatch::try_new(schema, vec![Arc::new(values)]).unwrap();
    Message::Batch(ChangeBatch::inserts(rows).with_watermarks(ScalarBuffer::from(marks.to_vec())))
}

fn barrier(epoch: u64) -> Message {
    Message::Barrier(Barrier { epoch: Epoch(epoch), kind: BarrierKind::Checkpoint })
}

/// Pushes messages into two channels, in order, and shows what comes out behind each.
fn check(messages: Vec<(usize, Message)>, expected: Expect) {
    let limits = ChannelLimits { batches_max: 100, bytes_max: usize::MAX };
    let make = |_| Channel::new(&Signal::new(0), &Signal::new(1), limits, &MemoryBudget::unlimited());
    let channels: Vec<_> = (0..2).map(make).collect();
    let mut inputs = Inputs::new(channels.iter().cloned().enumerate().collect());
    let mut shown = String::new();
    for (channel, message) in messages {
        assert!(channels[channel].push(message).is_ok());
        while let Some((input, message)) = inputs.poll() {
            match message {
                Message::Batch(batch) => {
                    writeln!(shown, "{channel}: batch of {input} {:?}", batch.watermarks.as_deref())
                }
                Message::Barrier(barrier) => writeln!(shown, "{channel}: barrier {}", barrier.epoch),
                other => writeln!(shown, "{channel}: {other:?}"),
            }
            .unwrap();
        }
    }
    expected.assert_eq(&shown);
}

#[test]
fn the_slowest_input_holds_the_watermark_and_rows_are_clamped_to_it() {
    use Message::{Idle, Watermark};
    check(
        vec![
            (0, Watermark(10)),
            (1, batch(&[3, 5, 12])),
            (1, Watermark(15)),
            (0, batch(&[10, 14, 20])),
            (0, Watermark(21)),
            (1, Idle),
            (1, batch(&[15])),
            (0, Idle),
            (1, Idle),
            (0, batch(&[21])),
        ],
        expect![[r#"
            1: batch of 1 Some([3, 5, 10])
            1: Watermark(10)
            0: batch of 0 Some([10, 14, 15])
            0: Watermark(15)
            1: Watermark(21)
            1: batch of 1 None
            1: Idle
            0: Watermark(21)
            0: batch of 0 None
        "#]],
    );
}

#[test]
fn a_barrier_waits_for_all_inputs_and_blocks_those_that_delivered_it() {
    check(
        vec![
            (0, barrier(1)),
            (0, batch(&[1])),
            (0, Message::Watermark(7)),
            (1, batch(&[2])),
            (1, barrier(1)),
        ],
        expect![[r#"
            1: batch of 1 None
            1: barrier 1
            1: batch of 0 Some([1])
            1: Watermark(2)
        "#]],
    );
}

#[test]
fn idle_and_ended_inputs_do_not_end_time() {
    use Message::{Idle, Watermark};
    check(
        vec![(0, Idle), (1, Watermark(WATERMARK_END)), (0, Watermark(4)), (0, Watermark(WATERMARK_END))],
        expect![[r#"
            1: Idle
            0: Watermark(4)
            0: Watermark(9223372036854775807)
        "#]],
    );
}
