//! Values in record batches: encoded to be sent, decoded from what a Fetch found.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use bytes::Bytes;
use highwater_env::Offset;
use highwater_log::{BatchBuilder, LogBatch};

use super::client::{Fetched, ProducerId};
use crate::history::{Run, Value};

const INFLATED_BYTES_MAX: usize = 16 << 20;
const VALUE_BYTES: usize = 8;

/// One batch of these values, each padded to its length; `now_ms`: a record of old would fall to the
/// topic's retention.
pub(super) fn encode(
    now_ms: i64,
    producer: ProducerId,
    sequence: i32,
    transactional: bool,
    values: &[(Value, usize)],
) -> Bytes {
    let mut batch = BatchBuilder::new(now_ms).with_producer(producer.id, producer.epoch, sequence);
    if transactional {
        batch = batch.transactional();
    }
    for (value, padding) in values {
        let mut payload = value.to_be_bytes().to_vec();
        payload.resize(VALUE_BYTES + padding, b'.');
        batch.push(now_ms, None, Some(&payload), &[]);
    }
    batch.finish().bytes().clone()
}

/// What a Fetch handed over.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) runs: Vec<Run>,
    /// Offsets of transaction markers.
    pub(super) controls: Vec<Offset>,
    /// Where to go on.
    pub(super) next: Offset,
}

/// Decodes from offset `from` on. A reader of committed records leaves out what the answer's aborted
/// transactions wrote, as every Kafka consumer does.
///
/// # Errors
/// If a batch is damaged or does not hold our values.
pub(super) fn decode(fetched: &Fetched, from: Offset, committed: bool) -> Result<Decoded> {
    let mut aborted = fetched.aborted.clone();
    aborted.sort_unstable_by_key(|(_, first_offset)| std::cmp::Reverse(*first_offset));
    let mut aborting: BTreeSet<i64> = BTreeSet::new();
    let mut decoded = Decoded { next: from, ..Decoded::default() };
    for batch in LogBatch::split_all(Bytes::from(fetched.records.clone()))? {
        while aborted.last().is_some_and(|(_, first_offset)| *first_offset <= batch.last_offset()) {
            aborting.extend(aborted.pop().map(|(producer, _)| producer));
        }
        decoded.next = batch.next_offset().max(from);
        if batch.is_control() {
            decoded.controls.extend((batch.base_offset()..batch.next_offset()).filter(|at| *at >= from));
            aborting.remove(&batch.producer_id());
        } else if !(committed && batch.is_transactional() && aborting.contains(&batch.producer_id())) {
            decoded.runs.extend(run(&batch, from)?);
        }
    }
    Ok(decoded)
}

/// The batch's values from offset `from` on.
fn run(batch: &LogBatch, from: Offset) -> Result<Option<Run>> {
    let records = batch.records(INFLATED_BYTES_MAX)?;
    let mut values = Vec::with_capacity(records.len());
    let mut base = None;
    for record in records.iter().filter(|record| record.offset >= from) {
        let payload = record.value.as_deref().and_then(|value| value.first_chunk::<VALUE_BYTES>());
        let payload =
            payload.with_context(|| format!("the record at offset {} is not ours", record.offset))?;
        base.get_or_insert(record.offset);
        values.push(Value::from_be_bytes(*payload));
    }
    Ok(base.map(|base| Run(base, values)))
}
