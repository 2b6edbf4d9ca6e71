//! Record batches: any bytes as sent by a client, and any content behind a right checksum.
#![no_main]

use bytes::Bytes;
use highwater_fuzz::{forge, meter};
use highwater_log::{BatchBuilder, Compression, LogBatch};
use libfuzzer_sys::fuzz_target;

const INFLATED_BYTES_MAX: usize = 1 << 20;
/// Records are larger in memory than encoded, by a constant factor.
const MEMORY_MAX: usize = 48 << 20;

fuzz_target!(|input: &[u8]| meter::within(MEMORY_MAX, || {
    if let Ok(batches) = LogBatch::split_all(Bytes::copy_from_slice(input)) {
        batches.iter().for_each(check);
    }
    if let Some(batch) = forge::batch(input).and_then(|bytes| LogBatch::parse(bytes).ok()) {
        check(&batch);
    }
}));

/// What reads is what is written again.
fn check(batch: &LogBatch) {
    let _ = batch.marker();
    let Ok(records) = batch.records(INFLATED_BYTES_MAX) else { return };
    assert_eq!(records.len(), usize::try_from(batch.record_count()).expect("checked"));
    let same = |again: &LogBatch| {
        let again = again.records(2 * INFLATED_BYTES_MAX).expect("our own encoding");
        for (again, record) in again.iter().zip(&records) {
            assert_eq!(
                (&again.key, &again.value, &again.headers),
                (&record.key, &record.value, &record.headers)
            );
        }
    };
    let mut builder = BatchBuilder::new(batch.base_timestamp());
    for record in &records {
        builder.push(record.timestamp_ms, record.key.as_deref(), record.value.as_deref(), &record.headers);
    }
    same(&builder.finish());
    same(&batch.clone().with_append_time(77));
    if let Ok(again) = batch.clone().recompressed(Compression::Lz4, INFLATED_BYTES_MAX) {
        same(&again);
    }
}
