//! Records in Kafka's format.

use bytes::Bytes;
use expect_test::expect;

use super::super::records::{Value, key, read_key};
use crate::{ProducerIdentity, TransactionState};

fn value() -> Value {
    Value {
        producer: ProducerIdentity { id: 0x0102, epoch: 3 },
        previous_id: 9,
        last_epoch: 2,
        timeout_ms: 60_000,
        state: TransactionState::Ongoing,
        partitions: vec![("ab".to_owned(), vec![0, 1])],
        updated_ms: 16,
        started_ms: 15,
        client_level: 2,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checked against Kafka's schemas of `TransactionLogKey` 0 and `TransactionLogValue` 1 by hand.
#[test]
fn records_have_kafkas_bytes() {
    expect!["000000027431"].assert_eq(&hex(&key("t1")));
    expect![
        "00010000000000000102000300\
             00ea60010203616203000000000000000100000000000000001000000000000000\
             0f03000800000000000000090202000264020002"
    ]
    .assert_eq(&hex(&value().encode()));
}

#[test]
fn records_are_read_back() {
    assert_eq!(read_key(key("transaktion-ä")).unwrap(), "transaktion-ä");
    assert_eq!(Value::read(value().encode()).unwrap(), value());
    let closed = Value { state: TransactionState::CompleteAbort, partitions: vec![], ..value() };
    assert_eq!(Value::read(closed.encode()).unwrap(), closed);
    // As Kafka writes it: without tags.
    let mut kafkas = closed.encode().to_vec();
    kafkas.truncate(kafkas.len() - 18);
    *kafkas.last_mut().unwrap() = 0;
    let read = Value::read(Bytes::from(kafkas)).unwrap();
    assert_eq!(read, Value { previous_id: -1, last_epoch: -1, client_level: 0, ..closed });
}

#[test]
fn damaged_records_are_refused_without_a_panic() {
    let good = value().encode();
    for len in 0..good.len() {
        assert!(Value::read(good.slice(..len)).is_err(), "{len} bytes");
    }
    for (at, bit) in (0..good.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1 << bit;
        let _ = Value::read(Bytes::from(bytes));
    }
    assert!(read_key(Bytes::from_static(&[0, 0, 0, 5, b'a'])).is_err());
    assert!(read_key(Bytes::from_static(&[0, 1, 0, 1, b'a'])).is_err());
}
