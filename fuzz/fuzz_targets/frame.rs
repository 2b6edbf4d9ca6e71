//! Frames of the Kafka protocol: any bytes, and any body behind a right header. Each input is a few
//! frames of one connection.
#![no_main]

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::{BufMut, Bytes, BytesMut};
use highwater_broker::{Answer, Broker, BrokerOptions, Handled};
use highwater_coordinator::{Coordinators, TopicOptions, Topics};
use highwater_env::{Clock, Entropy, ManualClock, MemoryBudget, SeededEntropy, SimDisk};
use highwater_fuzz::meter;
use highwater_log::{Log, LogOptions};
use libfuzzer_sys::fuzz_target;

const FRAMES_MAX: usize = 8;
/// What one small frame may take, its answer included.
const MEMORY_MAX: usize = 64 << 20;
/// A node is made anew after so many inputs, or once it has so many partitions.
const INPUTS_PER_NODE: u32 = 4096;
const PARTITIONS_PER_NODE: usize = 400;
/// Keys of Kafka's APIs end a little above.
const KEYS: u8 = 96;
const VERSIONS: u8 = 20;

struct Node {
    broker: Arc<Broker>,
    log: Log,
    clock: Arc<ManualClock>,
    inputs: u32,
}

thread_local! {
    static NODE: RefCell<Option<Node>> = const { RefCell::new(None) };
}

fuzz_target!(|input: &[u8]| NODE.with_borrow_mut(|slot| {
    let node = slot.get_or_insert_with(Node::new);
    let mut rest = input;
    for _ in 0..FRAMES_MAX {
        let Some(([how, key, version, len], tail)) = rest.split_first_chunk::<4>() else { break };
        let (body, tail) = tail.split_at(tail.len().min(usize::from(*len) * 4));
        let frame = match how & 1 {
            0 => Bytes::copy_from_slice(body),
            _ => headed(key % KEYS, version % VERSIONS, how & 2 != 0, body),
        };
        meter::within(MEMORY_MAX, || node.take(frame));
        rest = tail;
    }
    node.inputs += 1;
    node.clock.advance_ms(i64::from(input.first().copied().unwrap_or(0)));
    node.broker.tick();
    if node.inputs.is_multiple_of(64) {
        drop(node.log.step_segments(true));
    }
    if node.inputs >= INPUTS_PER_NODE || node.log.partitions().len() > PARTITIONS_PER_NODE {
        *slot = None;
    }
}));

/// A frame for that API: classic header, or flexible.
fn headed(key: u8, version: u8, flexible: bool, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(11 + body.len());
    frame.put_i16(i16::from(key));
    frame.put_i16(i16::from(version));
    frame.put_i32(7);
    frame.put_i16(-1);
    if flexible {
        frame.put_u8(0);
    }
    frame.put_slice(body);
    frame.freeze()
}

impl Node {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        let options = LogOptions {
            batch_bytes_max: 64 << 10,
            group_bytes_max: 64 << 10,
            wal_file_bytes: 512 << 10,
            wal_zero_bytes: 64 << 10,
            memory_bytes_max: 16 << 20,
            tail_cache_bytes: 1 << 20,
            ..LogOptions::default()
        };
        let budget = MemoryBudget::unlimited();
        let disk = Arc::new(SimDisk::new(1));
        let opened = Log::open_stepped(disk, Arc::clone(&shared), Path::new("data"), options, &budget);
        let log = opened.expect("a new directory").0;
        let topics = Topics::open(log.clone(), Arc::clone(&entropy), TopicOptions::default());
        let coordinators = Coordinators::open(&log, topics.expect("a new directory"), &shared, &entropy);
        let coordinators = coordinators.expect("a new directory");
        let broker =
            Broker::new(log.clone(), coordinators, BrokerOptions::default(), shared, entropy, &budget);
        Self { broker: Arc::new(broker), log, clock, inputs: 0 }
    }

    /// As a connection does, but without its patience.
    fn take(&self, frame: Bytes) {
        let answer = match self.broker.handle(frame) {
            Handled::Answered(answer) => answer,
            Handled::Parked(mut parked) => {
                while self.log.step() {}
                if parked.is_blocked() {
                    parked.retry();
                    while self.log.step() {}
                }
                if parked.is_blocked() {
                    parked.give_up();
                }
                if parked.read_memory() {
                    parked.read();
                }
                let _ = parked.poll(&mut Context::from_waker(Waker::noop()));
                parked.finish()
            }
        };
        if let Answer::Reply(response) = answer {
            let bytes = response.to_bytes().expect("a simulated disk that does not fail");
            assert_eq!(bytes.len(), response.wire_len(), "an answer is as long as it says");
        }
    }
}
