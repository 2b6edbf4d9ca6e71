use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::{BATCH_HEADER_BYTES, BatchBuilder, BatchError, LogBatch, Record};

const INFLATED_MAX: usize = 1 << 20;

fn sample() -> LogBatch {
    let mut batch = BatchBuilder::new(1_000).with_producer(7, 2, 40);
    batch.push(1_000, Some(b"k"), Some(b"hello"), &[]);
    let header = (Bytes::from_static(b"trace"), Some(Bytes::from_static(b"1")));
    batch.push(999, None, Some(b"world"), &[header, (Bytes::from_static(b"none"), None)]);
    batch.push(1_500, Some(b"gone"), None, &[]);
    batch.finish()
}

/// `batch` with its records replaced by `block` and the codec's code in the attributes.
fn with_block(batch: &LogBatch, code: u8, block: &[u8]) -> Bytes {
    let mut out = BytesMut::from(&batch.bytes()[..BATCH_HEADER_BYTES]);
    out.put_slice(block);
    let len = i32::try_from(out.len() - 12).unwrap();
    out[8..12].copy_from_slice(&len.to_be_bytes());
    out[22] = code;
    let crc = crc32c::crc32c(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out.freeze()
}

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n").collect()
}

fn check_error(bytes: Bytes, expected: Expect) {
    expected.assert_eq(&LogBatch::parse(bytes).unwrap_err().to_string());
}

#[test]
fn golden_bytes() {
    expect![[r#"
        0000000000000000000000640000000002d1abadf40000000000020000000000
        0003e800000000000005dc000000000000000700020000002800000003180000
        00026b0a68656c6c6f0032000102010a776f726c64040a74726163650231086e
        6f6e65011600e8070408676f6e650100
    "#]]
    .assert_eq(&hex(sample().bytes()));
    let batch = sample();
    assert_eq!(LogBatch::split_all(batch.bytes().clone()).unwrap(), std::slice::from_ref(&batch));
    assert_eq!(
        (batch.record_count(), batch.max_timestamp(), batch.last_sequence(), batch.producer_epoch()),
        (3, 1_500, 42, 2)
    );
}

#[test]
fn every_codec_inflates_to_the_same_records() {
    let plain = sample();
    let expected = plain.records(INFLATED_MAX).unwrap();
    let block = &plain.bytes()[BATCH_HEADER_BYTES..];
    let gzip = {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(block).unwrap();
        out.finish().unwrap()
    };
    let raw_snappy = snap::raw::Encoder::new().compress_vec(block).unwrap();
    let xerial = {
        let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        for part in block.chunks(20) {
            let part = snap::raw::Encoder::new().compress_vec(part).unwrap();
            out.put_i32(i32::try_from(part.len()).unwrap());
            out.put_slice(&part);
        }
        out
    };
    let lz4 = {
        let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
        out.write_all(block).unwrap();
        out.finish().unwrap()
    };
    let zstd = zstd::stream::encode_all(block, 3).unwrap();
    for (code, block) in [(1, gzip), (2, raw_snappy), (2, xerial), (3, lz4), (4, zstd)] {
        let batch = LogBatch::parse(with_block(&plain, code, &block)).unwrap();
        assert_eq!(batch.records(INFLATED_MAX).unwrap(), expected, "{}", batch.compression().name());
    }
}

#[test]
fn bombs_are_refused() {
    let plain = sample();
    let zeros = vec![0; 64 << 20];
    let gzip = {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(&zeros).unwrap();
        out.finish().unwrap()
    };
    let snappy = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
    let lz4 = {
        let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
        out.write_all(&zeros).unwrap();
        out.finish().unwrap()
    };
    let zstd = zstd::stream::encode_all(&zeros[..], 1).unwrap();
    for (code, block) in [(1, gzip), (2, snappy), (3, lz4), (4, zstd)] {
        let batch = LogBatch::parse(with_block(&plain, code, &block)).unwrap();
        assert_eq!(
            batch.records(INFLATED_MAX),
            Err(BatchError::InflatesTooFar { bytes_max: INFLATED_MAX }),
            "{}",
            batch.compression().name()
        );
    }
}

#[test]
fn damage_is_named() {
    let good = sample().bytes().clone();
    let changed = |at: usize, to: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = to;
        Bytes::from(bytes)
    };
    check_error(good.slice(..60), expect!["batch needs 61 bytes, 60 are there"]);
    check_error(good.slice(..good.len() - 1), expect!["batch needs 112 bytes, 111 are there"]);
    check_error(changed(16, 1), expect!["message format 1, expected 2"]);
    check_error(changed(8, 0x80), expect!["invalid batch: length -2147483548"]);
    check_error(with_block(&sample(), 5, b"x"), expect!["compression code 5, expected 0..=4"]);
    check_error(with_block(&sample(), 0, b"x"), expect!["invalid batch: 3 records in 1 bytes"]);
    let countless = {
        let mut bytes = with_block(&sample(), 4, b"x").to_vec();
        bytes[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
        bytes[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(bytes)
    };
    check_error(countless, expect!["invalid batch: 2147483647 records in 134217728 bytes"]);
    let two = Bytes::from([&good[..], &good[..]].concat());
    check_error(two, expect!["112 bytes follow the batch"]);
    let flipped = LogBatch::parse(changed(70, 0xff)).unwrap_err();
    assert!(matches!(flipped, BatchError::BadChecksum { .. }), "{flipped}");
}

/// Timestamp, key, value, headers.
type AnyRecord = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn any_record() -> impl Strategy<Value = AnyRecord> {
    let field = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200));
    let headers = proptest::collection::vec((".{0,8}", field()), 0..3);
    (any::<i32>().prop_map(i64::from), field(), field(), headers)
}

proptest! {
    #[test]
    fn what_is_built_is_read(records in proptest::collection::vec(any_record(), 1..20)) {
        let mut batch = BatchBuilder::new(records[0].0);
        let mut expected = Vec::new();
        for (offset, (timestamp_ms, key, value, headers)) in (0..).zip(records) {
            let headers: Vec<_> = headers
                .into_iter()
                .map(|(name, value)| (Bytes::from(name.into_bytes()), value.map(Bytes::from)))
                .collect();
            batch.push(timestamp_ms, key.as_deref(), value.as_deref(), &headers);
            let (key, value) = (key.map(Bytes::from), value.map(Bytes::from));
            expected.push(Record { offset, timestamp_ms, key, value, headers });
        }
        let len = batch.bytes();
        let batch = batch.finish();
        prop_assert_eq!(batch.bytes().len(), len);
        let parsed = LogBatch::parse(batch.bytes().clone()).unwrap();
        prop_assert_eq!(parsed.records(INFLATED_MAX).unwrap(), expected);
    }

    #[test]
    fn any_bytes_are_refused_calmly(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = LogBatch::split_all(Bytes::from(bytes));
    }

    /// Random records behind a valid header and checksum: the decoder sees them.
    #[test]
    fn any_records_are_refused_calmly(code in 0_u8..5, block in proptest::collection::vec(any::<u8>(), 21..300)) {
        if let Ok(batch) = LogBatch::parse(with_block(&sample(), code, &block)) {
            let _ = batch.records(INFLATED_MAX);
        }
    }

    /// One changed byte in the records of a valid batch.
    #[test]
    fn any_changed_record_is_refused_calmly(at in 0_usize..52, to in any::<u8>()) {
        let plain = sample();
        let mut block = plain.bytes()[BATCH_HEADER_BYTES..].to_vec();
        let at = at % block.len();
        block[at] = to;
        let _ = LogBatch::parse(with_block(&plain, 0, &block)).unwrap().records(INFLATED_MAX);
    }
}

/// Whoever appends under a lock copies before it.
#[test]
fn an_unshared_batch_is_not_copied_again() {
    let sent = sample();
    let batch = sent.clone().unshared();
    let at = batch.bytes().as_ptr();
    assert_ne!(at, sent.bytes().as_ptr());
    assert_eq!(batch.into_unshared().at(7).bytes().as_ptr(), at);
}
