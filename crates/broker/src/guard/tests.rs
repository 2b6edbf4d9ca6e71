use bytes::{BufMut, Bytes, BytesMut};
use highwater_env::{Entropy, SeededEntropy};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterConfigsRequest,
    AlterPartitionReassignmentsRequest, ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest, DescribeProducersRequest,
    DescribeTopicPartitionsRequest, DescribeTransactionsRequest, ElectLeadersRequest, EndTxnRequest,
    FindCoordinatorRequest, HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    JoinGroupRequest, LeaveGroupRequest, ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, ListTransactionsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest, SyncGroupRequest,
    TxnOffsetCommitRequest, UpdateFeaturesRequest, WriteTxnMarkersRequest,
};
use kafka_protocol::protocol::Decodable;

use super::{Field, Layout, Shape};
use crate::api::{APIS, Serve, api_versions};
use crate::wire::WireError;

/// Writes random requests of a shape.
pub(crate) struct Writer {
    entropy: SeededEntropy,
    version: i16,
    flexible: bool,
    out: BytesMut,
}

impl Writer {
    pub(crate) fn request(shape: &Shape, version: i16, seed: u64) -> Bytes {
        let flexible = version >= shape.flexible_since;
        let mut writer = Self { entropy: SeededEntropy::new(seed), version, flexible, out: BytesMut::new() };
        writer.fields(shape.fields);
        writer.out.freeze()
    }

    fn below(&self, bound: u64) -> usize {
        usize::try_from(self.entropy.below(bound)).unwrap()
    }

    fn fields(&mut self, fields: &[Field]) {
        let version = self.version;
        for field in fields.iter().filter(|field| (field.since..=field.until).contains(&version)) {
            match field.layout {
                Layout::Fixed(bytes) => self.noise(bytes),
                Layout::Text => self.text(),
                Layout::Bytes => self.bytes(),
                Layout::Numbers(bytes) => (0..self.count()).for_each(|_| self.noise(bytes)),
                Layout::Texts => (0..self.count()).for_each(|_| self.text()),
                Layout::Structs(fields) => (0..self.count()).for_each(|_| self.fields(fields)),
                Layout::Optional(fields) => match self.below(2) {
                    0 => self.out.put_i8(-1),
                    _ => {
                        self.out.put_i8(1);
                        self.fields(fields);
                    }
                },
            }
        }
        if self.flexible {
            let tags = self.below(3);
            self.out.put_u8(u8::try_from(tags).unwrap());
            for tag in 0..tags {
                let len = self.below(4);
                self.out.put_u8(u8::try_from(90 + tag).unwrap());
                self.out.put_u8(u8::try_from(len).unwrap());
                self.noise(len);
            }
        }
    }

    fn noise(&mut self, bytes: usize) {
        for _ in 0..bytes {
            let byte = u8::try_from(self.below(256)).unwrap();
            self.out.put_u8(byte);
        }
    }

    fn count(&mut self) -> usize {
        let count = self.below(4);
        match self.flexible {
            true => self.out.put_u8(u8::try_from(count).unwrap() + 1),
            false => self.out.put_i32(i32::try_from(count).unwrap()),
        }
        count
    }

    fn bytes(&mut self) {
        let len = self.count();
        self.noise(len);
    }

    fn text(&mut self) {
        let len = self.below(6);
        match self.flexible {
            true => self.out.put_u8(u8::try_from(len).unwrap() + 1),
            false => self.out.put_i16(i16::try_from(len).unwrap()),
        }
        self.out.put_bytes(b'x', len);
    }
}

pub(crate) fn shape_of(serve: &Serve) -> Option<&'static Shape> {
    match serve {
        Serve::Control(shape, _) | Serve::Waiting(shape, _) => Some(shape),
        Serve::ApiVersions => Some(&api_versions::SHAPE),
        Serve::Produce | Serve::Fetch => None,
    }
}

/// Bytes left over when the crate decodes a request.
fn decoded_by_crate(key: i16, version: i16, body: &Bytes) -> Result<usize, String> {
    fn left<T: Decodable>(version: i16, body: &Bytes) -> Result<usize, String> {
        let mut rest = body.clone();
        T::decode(&mut rest, version).map(|_| rest.len()).map_err(|e| format!("{e:#}"))
    }
    match key {
        2 => left::<ListOffsetsRequest>(version, body),
        3 => left::<MetadataRequest>(version, body),
        8 => left::<OffsetCommitRequest>(version, body),
        9 => left::<OffsetFetchRequest>(version, body),
        11 => left::<JoinGroupRequest>(version, body),
        12 => left::<HeartbeatRequest>(version, body),
        13 => left::<LeaveGroupRequest>(version, body),
        14 => left::<SyncGroupRequest>(version, body),
        15 => left::<DescribeGroupsRequest>(version, body),
        16 => left::<ListGroupsRequest>(version, body),
        23 => left::<OffsetForLeaderEpochRequest>(version, body),
        42 => left::<DeleteGroupsRequest>(version, body),
        47 => left::<OffsetDeleteRequest>(version, body),
        10 => left::<FindCoordinatorRequest>(version, body),
        18 => left::<ApiVersionsRequest>(version, body),
        19 => left::<CreateTopicsRequest>(version, body),
        20 => left::<DeleteTopicsRequest>(version, body),
        21 => left::<DeleteRecordsRequest>(version, body),
        22 => left::<InitProducerIdRequest>(version, body),
        24 => left::<AddPartitionsToTxnRequest>(version, body),
        25 => left::<AddOffsetsToTxnRequest>(version, body),
        28 => left::<TxnOffsetCommitRequest>(version, body),
        26 => left::<EndTxnRequest>(version, body),
        27 => left::<WriteTxnMarkersRequest>(version, body),
        61 => left::<DescribeProducersRequest>(version, body),
        65 => left::<DescribeTransactionsRequest>(version, body),
        66 => left::<ListTransactionsRequest>(version, body),
        32 => left::<DescribeConfigsRequest>(version, body),
        33 => left::<AlterConfigsRequest>(version, body),
        35 => left::<DescribeLogDirsRequest>(version, body),
        37 => left::<CreatePartitionsRequest>(version, body),
        43 => left::<ElectLeadersRequest>(version, body),
        44 => left::<IncrementalAlterConfigsRequest>(version, body),
        45 => left::<AlterPartitionReassignmentsRequest>(version, body),
        46 => left::<ListPartitionReassignmentsRequest>(version, body),
        57 => left::<UpdateFeaturesRequest>(version, body),
        60 => left::<DescribeClusterRequest>(version, body),
        74 => left::<ListConfigResourcesRequest>(version, body),
        75 => left::<DescribeTopicPartitionsRequest>(version, body),
        key => panic!("api {key} has a shape that no test compares with the crate"),
    }
}

/// The layouts here and the crate's decoders agree about every byte, in every version served.
#[test]
fn shapes_are_the_decoders_layouts() {
    let mut compared = 0;
    for api in APIS {
        let Some(shape) = shape_of(&api.serve) else { continue };
        for version in api.min..=api.max {
            for seed in 0..100 {
                let body = Writer::request(shape, version, seed);
                let about = format!("{} version {version} seed {seed}", api.name);
                assert_eq!(shape.check(version, &body), Ok(0), "{about}");
                assert_eq!(decoded_by_crate(api.key, version, &body), Ok(0), "{about}");
                compared += 1;
            }
        }
    }
    assert!(compared > 4000, "{compared} comparisons");
}

#[test]
fn every_cut_is_refused() {
    for api in APIS {
        let Some(shape) = shape_of(&api.serve) else { continue };
        for version in api.min..=api.max {
            let body = Writer::request(shape, version, 7);
            for len in 0..body.len() {
                assert!(shape.check(version, &body.slice(..len)).is_err(), "{} {version} {len}", api.name);
            }
        }
    }
}

#[test]
fn claimed_counts_are_not_believed() {
    let metadata = shape_of(&APIS.iter().find(|api| api.key == 3).unwrap().serve).unwrap();
    let classic = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0]);
    assert_eq!(metadata.check(4, &classic), Err(WireError::Count { count: 0x7fff_ffff, max: 1 }));
    let flexible = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]);
    assert_eq!(metadata.check(9, &flexible), Err(WireError::Count { count: 0xffff_fffe, max: 1 }));
}

/// Answers echo names with a 16-bit length.
#[test]
fn names_are_no_longer_than_an_answer_can_say() {
    let metadata = shape_of(&APIS.iter().find(|api| api.key == 3).unwrap().serve).unwrap();
    let named = |len: usize, varint: [u8; 3]| {
        let name = vec![b'n'; len];
        Bytes::from([&[2][..], &varint, &name, &[0; 5]].concat())
    };
    assert_eq!(metadata.check(9, &named(32_767, [0x80, 0x80, 0x02])), Ok(0));
    let refused = metadata.check(9, &named(32_768, [0x81, 0x80, 0x02]));
    assert_eq!(refused, Err(WireError::Count { count: 32_768, max: 32_767 }));
}
