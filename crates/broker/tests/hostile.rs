//! What a frame may cost: its claims about lengths and counts are not believed, so that memory is
//! bounded by what was really sent. A test binary of its own, because it counts allocations.
#![expect(unsafe_code, reason = "a counting allocator can only be written with it")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{BufMut, Bytes, BytesMut};
use common::Node;
use highwater_broker::{BrokerOptions, Handled};
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
/// The worst is an array of empty names: two bytes on the wire, some 300 decoded and answered.
const BYTES_PER_FRAME_BYTE: usize = 400;
/// Whatever its length.
const BYTES_MAX: usize = 32 << 20;

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
            parked.read();
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
        for version in 0..20 {
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

/// Eight MiB of empty elements: the number of elements is bounded, not only the claims.
#[test]
fn the_largest_frames_stay_bounded() {
    let node = quiet_node();
    for api in 0..APIS.len() {
        for version in 0..20 {
            for fill in [0u8, 1, 2] {
                for (before, count) in [(0, 1 << 15), (0, (1 << 15) + 1), (7, 1 << 15), (0, 4_000_000)] {
                    let mut body = vec![0; before];
                    body.put_i32(count);
                    body.resize(8_000_000, fill);
                    check(&node, frame(api, version, &body));
                    let mut body = vec![0; before];
                    let mut varint = u32::try_from(count).unwrap() + 1;
                    while varint >= 0x80 {
                        body.put_u8(u8::try_from(varint & 0x7f).unwrap() | 0x80);
                        varint >>= 7;
                    }
                    body.put_u8(u8::try_from(varint).unwrap());
                    body.resize(8_000_000, fill);
                    check(&node, frame(api, version, &body));
                }
            }
        }
    }
}
