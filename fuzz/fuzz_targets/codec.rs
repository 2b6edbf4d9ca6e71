//! Each compression codec: any bytes as a compressed block, and any values there and back.
#![no_main]

use highwater_fuzz::{forge, meter};
use highwater_log::{BatchBuilder, Compression, LogBatch};
use libfuzzer_sys::fuzz_target;

const INFLATED_BYTES_MAX: usize = 1 << 20;
/// zstd's window of 8 MiB, and what is inflated, more than once.
const MEMORY_MAX: usize = 64 << 20;
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fuzz_target!(|input: &[u8]| {
    let Some(([choice, count], block)) = input.split_first_chunk::<2>() else { return };
    meter::within(MEMORY_MAX, || {
        let codec = choice % 5;
        let forged = forge::compressed(codec, i32::from(*count) + 1, block);
        if let Some(batch) = forged.and_then(|bytes| LogBatch::parse(bytes).ok()) {
            drop(batch.records(INFLATED_BYTES_MAX));
        }
        there_and_back(CODECS[usize::from(codec)], block);
    });
});

fn there_and_back(codec: Compression, values: &[u8]) {
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, Some(b"first"), &[]);
    for value in values.chunks(17) {
        builder.push(0, Some(value), Some(value), &[]);
    }
    let batch = builder.finish();
    let compressed = batch.clone().recompressed(codec, INFLATED_BYTES_MAX).expect("small records compress");
    assert_eq!(compressed.compression(), codec);
    let (records, again) = (batch.records(INFLATED_BYTES_MAX), compressed.records(INFLATED_BYTES_MAX));
    assert_eq!(records.expect("our own encoding"), again.expect("our own encoding"));
}
