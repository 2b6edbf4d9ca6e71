//! What a frame may cost: its claims about lengths and counts are not believed, so that memory is
//! bounded by what was really sent. A test binary of its own, because it counts allocations.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(unsafe_code, reason = "a counting allocator can only be written with it")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{BufMut, Bytes, BytesMut};
use common::Node;
use highwater_broker::{Answer, BrokerOptions, Handled};
use proptest::prelude::*;

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(by: isize) {
    let live = LIVE.get() + by;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as this function's own contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as this function's own contract.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A frame costs at most this much, and [`BYTES_PER_FRAME_BYTE`] times its own length.
const BYTES_FIXED: usize = 64 << 10;
/// The worst is an array of empty names: one or two bytes on the wire, 100 to 300 once decoded and
/// answered.
const BYTES_PER_FRAME_BYTE: usize = 200;
/// Whatever its length: the largest number of elements, at about 300 bytes each.
const BYTES_MAX: usize = 12 << 20;

/// (key, lowest and highest version, first flexible version) of every API but those that would
/// make or remove topics for real.
const APIS: [(i16, i16, i16, i16); 9] = [
    (0, 3, 13, 9),
    (1, 4, 18, 12),
    (2, 1, 10, 6),
    (3, 0, 13, 9),
    (10, 0, 6, 3),
    (18, 0, 4, 3),
    (22, 0, 5, 2),
    (32, 1, 4, 4),
    (60, 0, 2, 0),
];

fn frame(api: usize, version: u16, body: &[u8]) -> Bytes {
    let (key, min, max, flexible_since) = APIS[api % APIS.len()];
    let version = min + i16::try_from(version % (max - min + 1).unsigned_abs()).unwrap();
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(1);
    frame.put_i16(-1);
    if version >= flexible_since {
        frame.put_u8(0);
    }
    frame.put_slice(body);
    frame.freeze()
}

fn peak_of(node: &Node, frame: Bytes) -> usize {
    LIVE.set(0);
    PEAK.set(0);
    match node.broker.handle(frame) {
        Handled::Answered(answer) => drop(answer),
        Handled::Parked(mut parked) => {
            if parked.read_memory() {
                parked.read();
            }
            drop(parked.finish());
        }
    }
    usize::try_from(PEAK.get()).unwrap()
}

fn check(node: &Node, frame: Bytes) {
    let len = frame.len();
    let peak = peak_of(node, frame);
    let allowed = (BYTES_FIXED + BYTES_PER_FRAME_BYTE * len).min(BYTES_MAX + len);
    assert!(peak <= allowed, "a frame of {len} bytes cost {peak}, expected at most {allowed}");
}

fn quiet_node() -> Node {
    Node::start_without_auto_create(BrokerOptions::default())
}

#[test]
fn random_frames_cost_little() {
    let node = quiet_node();
    // Bytes that make lengths: small, huge, negative, varints that go on.
    let byte = prop_oneof![Just(0u8), Just(1), Just(2), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
    let frames = (any::<usize>(), any::<u16>(), prop::collection::vec(byte, 0..400));
    proptest!(ProptestConfig::with_cases(4000), |((api, version, body) in frames)| {
        check(&node, frame(api, version, &body));
    });
}

#[test]
fn claims_cost_nothing() {
    let node = quiet_node();
    for api in 0..APIS.len() {
        for version in 0..15 {
            for claim in
                [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0, 0xff, 0xff, 0xff]]
            {
                for before in 0..24 {
                    let body = [&vec![0; before][..], claim, &[0; 64]].concat();
                    check(&node, frame(api, version, &body));
                }
            }
        }
    }
}

/// Well-formed requests with as many of the smallest elements as are allowed. One more is refused.
#[test]
fn the_fullest_requests_stay_bounded() {
    let node = quiet_node();
    let requests: [Repeated; 7] = [
        (0, 3, &[0xff, 0xff, 0, 1, 0, 0, 0, 0], &[0; 6], &[]),
        (1, 4, &[0; 17], &[0; 6], &[]),
        (2, 1, &[0; 4], &[0; 6], &[]),
        (3, 4, &[], &[0; 2], &[0]),
        (3, 9, &[], &[1, 0], &[0; 4]),
        (10, 4, &[0], &[1], &[0]),
        (32, 1, &[], &[0; 7], &[0]),
    ];
    for (key, version, before, element, after) in requests {
        let api = APIS.iter().position(|api| api.0 == key).unwrap();
        let (_, min, _, flexible_since) = APIS[api];
        let full = |count: i32| {
            let length =
                if version >= flexible_since { varint(count) } else { i32::to_be_bytes(count).to_vec() };
            let elements = element.repeat(usize::try_from(count).unwrap());
            frame(api, (version - min).unsigned_abs(), &[before, &length, &elements, after].concat())
        };
        let answered = |frame| !matches!(node.broker.handle(frame), Handled::Answered(Answer::Close(_)));
        assert!(answered(full(ELEMENTS_MAX)), "api {key} version {version}");
        assert!(!answered(full(ELEMENTS_MAX + 1)), "api {key} version {version}");
        check(&node, full(ELEMENTS_MAX));
    }
}

/// One topic, named as often as a request allows, is described once.
#[test]
fn a_wide_topic_named_often_stays_bounded() {
    let node = quiet_node();
    node.topics.create("wide", 1024, Default::default()).unwrap();
    let count = i32::to_be_bytes(ELEMENTS_MAX);
    let metadata = [&count, &b"\0\x04wide".repeat(1 << 15)[..], &[0]].concat();
    let configs = [&count, &b"\x02\0\x04wide\xff\xff\xff\xff".repeat(1 << 15)[..], &[0]].concat();
    for (key, version, body) in [(3, 4, metadata), (32, 1, configs)] {
        let api = APIS.iter().position(|api| api.0 == key).unwrap();
        let version = u16::try_from(version - APIS[api].1).unwrap();
        let Handled::Answered(Answer::Reply(answer)) = node.broker.handle(frame(api, version, &body)) else {
            panic!("api {key} was not answered");
        };
        assert!(answer.wire_len() < 64 << 10, "api {key}: {} bytes", answer.wire_len());
        check(&node, frame(api, version, &body));
    }
}

/// (api key, version, bytes before the array, one element, bytes after it)
type Repeated = (i16, i16, &'static [u8], &'static [u8], &'static [u8]);

const ELEMENTS_MAX: i32 = 1 << 15;

/// An array's count as flexible versions write it.
fn varint(count: i32) -> Vec<u8> {
    let mut rest = count.unsigned_abs() + 1;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    bytes.push(rest.to_le_bytes()[0]);
    bytes
}
