use bytes::{Bytes, BytesMut};
use expect_test::expect;
use highwater_env::TopicId;
use highwater_log::Bounds;
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchResponse, ProducerId, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;
use uuid::Uuid;

use super::{FetchPartition, FetchRequest, FetchTopic, Form, NO_LEADER_EPOCH, PartitionAnswer, write};
use crate::api::TopicRef;
use crate::response::{Part, concat};
use crate::wire::{WireReader, WireWriter};

const FLEXIBLE_SINCE: i16 = 12;

fn written(request: &FetchRequest, version: i16) -> Bytes {
    let mut out = WireWriter::new(version >= FLEXIBLE_SINCE);
    let i8 = |out: &mut WireWriter, value: u8| {
        // A one-byte varint is the byte itself.
        out.uvarint(u32::from(value));
    };
    if version <= 14 {
        out.i32(-1);
    }
    out.i32(request.max_wait_ms);
    out.i32(request.min_bytes);
    out.i32(request.max_bytes);
    i8(&mut out, u8::from(request.committed_only));
    if version >= 7 {
        out.i32(request.session_id);
        out.i32(-1);
    }
    out.len(Some(request.topics.len()));
    for topic in &request.topics {
        topic.topic.write(&mut out);
        out.len(Some(topic.partitions.len()));
        for partition in &topic.partitions {
            out.i32(partition.index);
            if version >= 9 {
                out.i32(partition.leader_epoch);
            }
            out.i64(partition.offset);
            if version >= 12 {
                out.i32(-1);
            }
            if version >= 5 {
                out.i64(-1);
            }
            out.i32(partition.max_bytes);
            out.tags();
        }
        out.tags();
    }
    if version >= 7 {
        out.len(Some(1));
        topic_ref(version, 9).write(&mut out);
        out.len(Some(2));
        out.i32(1);
        out.i32(2);
        out.tags();
    }
    if version >= 11 {
        out.string("rack");
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
        version in 4..=18i16,
        id in any::<u128>(),
        limits in any::<[i32; 3]>(),
        committed_only in any::<bool>(),
        session_id in any::<i32>(),
        partitions in prop::collection::vec(any::<(i32, i32, i64, i32)>(), 0..5),
    ) -> (i16, FetchRequest) {
        let partitions = partitions.into_iter().map(|(index, leader_epoch, offset, max_bytes)| {
            let leader_epoch = if version >= 9 { leader_epoch } else { NO_LEADER_EPOCH };
            FetchPartition { index, leader_epoch, offset, max_bytes }
        });
        let topics = vec![FetchTopic { topic: topic_ref(version, id), partitions: partitions.collect() }];
        let [max_wait_ms, min_bytes, max_bytes] = limits;
        let session_id = if version >= 7 { session_id } else { 0 };
        (version, FetchRequest { max_wait_ms, min_bytes, max_bytes, committed_only, session_id, topics })
    }
}

proptest! {
    #[test]
    fn reads_what_the_crate_reads((version, request) in request()) {
        let bytes = written(&request, version);
        let mut rest = bytes.clone();
        let theirs = kafka_protocol::messages::FetchRequest::decode(&mut rest, version).unwrap();
        prop_assert!(rest.is_empty());
        let ours = FetchRequest::read(WireReader::new(bytes, version >= FLEXIBLE_SINCE), version).unwrap();
        prop_assert_eq!(theirs.max_wait_ms, ours.max_wait_ms);
        prop_assert_eq!(theirs.min_bytes, ours.min_bytes);
        prop_assert_eq!(theirs.max_bytes, ours.max_bytes);
        prop_assert_eq!(theirs.isolation_level == 1, ours.committed_only);
        prop_assert_eq!(theirs.session_id, ours.session_id);
        prop_assert_eq!(theirs.topics.len(), ours.topics.len());
        for (theirs, ours) in theirs.topics.iter().zip(&ours.topics) {
            let topic = match version {
                13.. => TopicRef::Id(TopicId(theirs.topic_id.as_u128())),
                _ => TopicRef::Name(theirs.topic.0.clone()),
            };
            prop_assert_eq!(&topic, &ours.topic);
            let partitions: Vec<_> = theirs.partitions.iter().map(|p| FetchPartition {
                index: p.partition,
                leader_epoch: p.current_leader_epoch,
                offset: p.fetch_offset,
                max_bytes: p.partition_max_bytes,
            }).collect();
            prop_assert_eq!(&partitions, &ours.partitions);
        }
        prop_assert_eq!(ours, request);
    }

    #[test]
    fn no_bytes_panic(version in 4..=18i16, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = FetchRequest::read(WireReader::new(bytes.into(), version >= FLEXIBLE_SINCE), version);
    }

    #[test]
    fn writes_what_the_crate_writes(
        version in 4..=18i16,
        id in any::<u128>(),
        codes in any::<[i16; 2]>(),
        offsets in any::<[i64; 4]>(),
        committed_only in any::<bool>(),
        aborted in prop::collection::vec(any::<(i64, i64)>(), 0..3),
        batches in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..4),
        partitions in 0..4i32,
    ) {
        let [code, top_code] = codes;
        let [log_start_offset, last_stable_offset, high_watermark, log_end_offset] = offsets;
        let bounds = Bounds { log_start_offset, last_stable_offset, high_watermark, log_end_offset };
        let topic = topic_ref(version, id);
        let flexible = version >= FLEXIBLE_SINCE;
        let answers: Vec<_> = (0..partitions).map(|index| PartitionAnswer {
            index,
            code,
            bounds,
            aborted: aborted.clone(),
            batches: batches.iter().cloned().map(|batch| Bytes::from(batch).into()).collect(),
        }).collect();
        let form = Form { version, flexible, committed_only };
        let ours: Bytes = concat(&write(form, top_code, [(&topic, answers)].into_iter())).unwrap();

        let aborted = aborted.iter().map(|(producer_id, first_offset)| {
            AbortedTransaction::default()
                .with_producer_id(ProducerId(*producer_id))
                .with_first_offset(*first_offset)
        });
        let aborted: Vec<_> = aborted.collect();
        let partitions = (0..partitions).map(|index| {
            PartitionData::default()
                .with_partition_index(index)
                .with_error_code(code)
                .with_high_watermark(high_watermark)
                .with_last_stable_offset(last_stable_offset)
                .with_log_start_offset(log_start_offset)
                .with_aborted_transactions(committed_only.then(|| aborted.clone()))
                .with_records(Some(batches.concat().into()))
        });
        let theirs = FetchableTopicResponse::default().with_partitions(partitions.collect());
        let theirs = match topic {
            TopicRef::Name(name) => theirs.with_topic(TopicName(name)),
            TopicRef::Id(id) => theirs.with_topic_id(Uuid::from_u128(id.0)),
        };
        let mut expected = BytesMut::new();
        let theirs = FetchResponse::default().with_error_code(top_code).with_responses(vec![theirs]);
        theirs.encode(&mut expected, version).unwrap();
        prop_assert_eq!(ours, expected.freeze());
    }
}

fn golden(version: i16, expected: &expect_test::Expect) {
    let bounds = Bounds { log_start_offset: 1, last_stable_offset: 2, high_watermark: 3, log_end_offset: 4 };
    let batches = vec![Bytes::from_static(b"one").into(), Bytes::from_static(b"two").into()];
    let answer = PartitionAnswer { index: 1, code: 0, bounds, aborted: vec![(8, 9)], batches };
    let form = Form { version, flexible: version >= FLEXIBLE_SINCE, committed_only: false };
    let bytes = concat(&write(form, 0, [(&topic_ref(version, 7), vec![answer])].into_iter())).unwrap();
    expected.assert_eq(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}

#[test]
fn golden_answers() {
    golden(
        4,
        &expect![
            "0000000000000001000274370000000100000001000000000000000000030000000000000002ffffffff000000066f6e6574776f"
        ],
    );
    golden(
        11,
        &expect![
            "00000000000000000000000000010002743700000001000000010000000000000000000300000000000000020000000000000001ffffffffffffffff000000066f6e6574776f"
        ],
    );
    golden(
        16,
        &expect![
            "0000000000000000000002000000000000000000000000000000070200000001000000000000000000030000000000000002000000000000000100ffffffff076f6e6574776f000000"
        ],
    );
}

/// Stored batches are parts of the answer as they are, not copies.
#[test]
fn batches_are_not_copied() {
    let batch = Bytes::from(vec![7; 1000]);
    let answer = PartitionAnswer {
        index: 0,
        code: 0,
        bounds: PartitionAnswer::NO_BOUNDS,
        aborted: Vec::new(),
        batches: vec![batch.clone().into(), batch.clone().into()],
    };
    let form = Form { version: 12, flexible: true, committed_only: true };
    let parts = write(form, 0, [(&topic_ref(12, 1), vec![answer])].into_iter());
    assert_eq!(
        parts
            .iter()
            .filter(|part| matches!(part, Part::Bytes(bytes) if bytes.as_ptr() == batch.as_ptr()))
            .count(),
        2
    );
}
