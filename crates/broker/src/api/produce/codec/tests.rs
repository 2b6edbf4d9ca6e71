use bytes::{BufMut, Bytes, BytesMut};
use expect_test::expect;
use highwater_env::TopicId;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceResponse, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;
use uuid::Uuid;

use super::{PartitionAnswer, ProducePartition, ProduceRequest, ProduceTopic, write};
use crate::api::TopicRef;
use crate::response::concat;
use crate::wire::{WireReader, WireWriter};

const FLEXIBLE_SINCE: i16 = 9;

fn written(request: &ProduceRequest, version: i16) -> Bytes {
    let mut out = WireWriter::new(version >= FLEXIBLE_SINCE);
    out.nullable_string(request.transactional_id.as_deref());
    out.i16(request.acks);
    out.i32(request.timeout_ms);
    out.len(Some(request.topics.len()));
    for topic in &request.topics {
        topic.topic.write(&mut out);
        out.len(Some(topic.partitions.len()));
        for partition in &topic.partitions {
            out.i32(partition.index);
            match &partition.records {
                Some(records) => out.bytes(vec![records.clone()]),
                None => out.len(None),
            }
            out.tags();
        }
        out.tags();
    }
    out.tags();
    concat(&out.finish()).unwrap()
}

fn topic_ref(version: i16, id: u128) -> TopicRef {
    if version >= 13 {
        TopicRef::Id(TopicId(id))
    } else {
        TopicRef::Name(StrBytes::from_string(format!("t{id}")))
    }
}

prop_compose! {
    fn request()(
        version in 3..=13i16,
        id in any::<u128>(),
        transactional in any::<bool>(),
        acks in -1..=1i16,
        timeout_ms in any::<i32>(),
        records in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..50)), 0..5),
    ) -> (i16, ProduceRequest) {
        let partitions = records.into_iter().enumerate().map(|(i, records)| ProducePartition {
            index: i32::try_from(i).unwrap(),
            records: records.map(Bytes::from),
        });
        let topics = vec![ProduceTopic { topic: topic_ref(version, id), partitions: partitions.collect() }];
        let transactional_id = transactional.then(|| StrBytes::from_static_str("tx"));
        let transactional_id = transactional_id.map(|id| id.to_string());
        (version, ProduceRequest { transactional_id, acks, timeout_ms, topics })
    }
}

proptest! {
    #[test]
    fn reads_what_the_crate_reads((version, request) in request()) {
        let bytes = written(&request, version);
        let mut rest = bytes.clone();
        let theirs = kafka_protocol::messages::ProduceRequest::decode(&mut rest, version).unwrap();
        prop_assert!(rest.is_empty());
        let ours = ProduceRequest::read(WireReader::new(bytes, version >= FLEXIBLE_SINCE), version).unwrap();
        prop_assert_eq!(theirs.acks, ours.acks);
        prop_assert_eq!(theirs.timeout_ms, ours.timeout_ms);
        prop_assert_eq!(theirs.transactional_id.map(|id| id.0.to_string()), ours.transactional_id.clone());
        prop_assert_eq!(theirs.topic_data.len(), ours.topics.len());
        for (theirs, ours) in theirs.topic_data.iter().zip(&ours.topics) {
            let topic = match version {
                13.. => TopicRef::Id(TopicId(theirs.topic_id.as_u128())),
                _ => TopicRef::Name(theirs.name.0.clone()),
            };
            prop_assert_eq!(&topic, &ours.topic);
            let partitions: Vec<_> = theirs.partition_data.iter().map(|p| ProducePartition {
                index: p.index,
                records: p.records.clone(),
            }).collect();
            prop_assert_eq!(&partitions, &ours.partitions);
        }
        prop_assert_eq!(ours, request);
    }

    #[test]
    fn no_bytes_panic(version in 3..=13i16, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = ProduceRequest::read(WireReader::new(bytes.into(), version >= FLEXIBLE_SINCE), version);
    }

    #[test]
    fn writes_what_the_crate_writes(
        version in 3..=13i16,
        id in any::<u128>(),
        code in any::<i16>(),
        base_offset in any::<i64>(),
        log_start_offset in any::<i64>(),
        append_time_ms in prop::option::of(0..i64::MAX),
        message in prop::option::of("[a-z]{0,200}"),
        bad_records in prop::collection::vec(any::<i32>(), 0..4),
        partitions in 0..4i32,
    ) {
        let topic = topic_ref(version, id);
        let answers = (0..partitions).map(|index| PartitionAnswer {
            index, code, base_offset, append_time_ms, log_start_offset,
            bad_records: &bad_records,
            message: message.as_deref(),
        });
        let answers: Vec<_> = answers.collect();
        let flexible = version >= FLEXIBLE_SINCE;
        let ours: Bytes = concat(&write(version, flexible, [(&topic, answers)].into_iter())).unwrap();

        let told = message.clone().map(StrBytes::from_string);
        let errors = bad_records.iter().filter(|_| version >= 8).map(|index| {
            BatchIndexAndErrorMessage::default()
                .with_batch_index(*index)
                .with_batch_index_error_message(told.clone())
        });
        let errors: Vec<_> = errors.collect();
        let partitions = (0..partitions).map(|index| {
            PartitionProduceResponse::default()
                .with_index(index)
                .with_error_code(code)
                .with_base_offset(base_offset)
                .with_log_append_time_ms(append_time_ms.unwrap_or(-1))
                .with_log_start_offset(log_start_offset)
                .with_record_errors(errors.clone())
                .with_error_message(message.clone().map(StrBytes::from_string))
        });
        let theirs = TopicProduceResponse::default().with_partition_responses(partitions.collect());
        let theirs = match topic {
            TopicRef::Name(name) => theirs.with_name(TopicName(name)),
            TopicRef::Id(id) => theirs.with_topic_id(Uuid::from_u128(id.0)),
        };
        let mut expected = BytesMut::new();
        ProduceResponse::default().with_responses(vec![theirs]).encode(&mut expected, version).unwrap();
        prop_assert_eq!(ours, expected.freeze());
    }
}

fn golden(version: i16, expected: &expect_test::Expect) {
    let topic = topic_ref(version, 7);
    let answer = PartitionAnswer {
        index: 1,
        code: 0,
        base_offset: 42,
        append_time_ms: None,
        log_start_offset: 5,
        bad_records: &[],
        message: None,
    };
    let bytes =
        concat(&write(version, version >= FLEXIBLE_SINCE, [(&topic, vec![answer])].into_iter())).unwrap();
    expected.assert_eq(&hex(&bytes));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_answers() {
    golden(
        7,
        &expect![
            "000000010002743700000001000000010000000000000000002affffffffffffffff000000000000000500000000"
        ],
    );
    golden(
        9,
        &expect!["0203743702000000010000000000000000002affffffffffffffff0000000000000005010000000000000000"],
    );
    golden(
        13,
        &expect![
            "020000000000000000000000000000000702000000010000000000000000002affffffffffffffff0000000000000005010000000000000000"
        ],
    );
}

#[test]
fn claimed_counts_are_not_believed() {
    let mut out = BytesMut::new();
    out.put_i16(-1);
    out.put_i16(1);
    out.put_i32(0);
    out.put_i32(i32::MAX);
    let read = ProduceRequest::read(WireReader::new(out.freeze(), false), 7);
    assert!(matches!(read, Err(crate::WireError::Count { count: 0x7fff_ffff, max: 0 })), "{read:?}");
}
