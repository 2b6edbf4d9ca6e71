//! Requests handed over as bytes, without sockets.

mod admin;
mod gate;
mod groups;
mod produce_configs;
mod transactions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_coordinator::{Coordinators, TopicOptions, Topics};
use highwater_env::{Clock, Disk, Entropy, MemoryBudget, RealDisk, SeededEntropy, SystemClock};
use highwater_log::{BatchBuilder, Log, LogBatch, LogOptions};
use tempfile::TempDir;

use super::{Answer, Broker, Handled, LEADER_EPOCH};
use crate::api::APIS;
use crate::errors::ErrorCode;
use crate::guard::tests::{Writer, shape_of};
use crate::listener::Listener;
use crate::options::BrokerOptions;
use crate::request::Refusal;
use crate::response::concat;
use crate::wire::{WireReader, WireWriter};

struct Fixture {
    broker: Arc<Broker>,
    _dir: TempDir,
}

fn fixture() -> Fixture {
    fixture_with(BrokerOptions::default(), MemoryBudget::unlimited())
}

fn fixture_with(options: BrokerOptions, budget: MemoryBudget) -> Fixture {
    fixture_on(Arc::new(RealDisk), options, budget)
}

fn fixture_on(disk: Arc<dyn Disk>, options: BrokerOptions, budget: MemoryBudget) -> Fixture {
    let dir = TempDir::new().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
    let log_budget = MemoryBudget::unlimited();
    let (log, _) =
        Log::open(disk, Arc::clone(&clock), dir.path(), LogOptions::default(), &log_budget).unwrap();
    let topics = Topics::open(log.clone(), Arc::clone(&entropy), TopicOptions::default()).unwrap();
    let coordinators = Coordinators::open(&log, topics, &clock, &entropy).unwrap();
    let broker = Broker::new(log, coordinators, options, clock, entropy, &budget);
    Fixture { broker: Arc::new(broker), _dir: dir }
}

impl Fixture {
    /// The answer's bytes after its correlation id (classic header).
    fn ask(&self, key: i16, version: i16, body: &[u8]) -> Result<Bytes, Refusal> {
        match self.settle(self.broker.handle(frame(key, version, 77, body))) {
            Answer::Reply(response) => {
                let mut bytes = response.to_bytes().unwrap();
                assert_eq!(bytes.len(), response.wire_len());
                assert_eq!(usize::try_from(bytes.get_i32()).unwrap(), bytes.len());
                assert_eq!(bytes.get_i32(), 77);
                Ok(bytes)
            }
            Answer::Silent => Ok(Bytes::new()),
            Answer::Close(refusal) => Err(refusal),
        }
    }

    /// Asks in a version that is classic or flexible; the answer from its first field on.
    fn call(&self, key: i16, version: i16, write: impl FnOnce(&mut WireWriter)) -> WireReader {
        let api = APIS.iter().find(|api| api.key == key).unwrap();
        let mut writer = WireWriter::new(api.flexible(version));
        write(&mut writer);
        writer.tags();
        let mut answer = self.ask(key, version, &concat(&writer.finish()).unwrap()).unwrap();
        if api.flexible_response_header(version) {
            assert_eq!(answer.get_u8(), 0);
        }
        WireReader::new(answer, api.flexible(version))
    }

    fn settle(&self, handled: Handled) -> Answer {
        let mut parked = match handled {
            Handled::Answered(answer) => return answer,
            Handled::Parked(parked) => parked,
        };
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if parked.read_memory() {
                parked.read();
            }
            let left = parked.deadline().saturating_sub(self.broker.clock.monotonic());
            if parked.is_done() || left.is_zero() {
                return parked.finish();
            }
            if parked.poll(&mut Context::from_waker(&waker)).is_pending() {
                thread::park_timeout(left);
            }
        }
    }

    fn create(&self, topic: &str) {
        self.broker.topics.ensure(topic).unwrap();
    }

    /// Produces in version 7: (error code, base offset).
    fn produce(&self, topic: &str, partition: i32, acks: i16, records: &[u8]) -> (i16, i64) {
        let mut answer = self.ask(0, 7, &produce_body(topic, partition, acks, records)).unwrap();
        skip_topic(&mut answer, topic);
        assert_eq!(answer.get_i32(), partition);
        (answer.get_i16(), answer.get_i64())
    }

    /// Fetches in version 11: (error code, high watermark, record bytes).
    fn fetch(&self, topic: &str, offset: i64, wait_ms: i32, min_bytes: i32) -> (i16, i64, Bytes) {
        let mut answer = self.ask(1, 11, &fetch_body(topic, offset, wait_ms, min_bytes)).unwrap();
        answer.advance(10);
        skip_topic(&mut answer, topic);
        assert_eq!(answer.get_i32(), 0);
        let code = answer.get_i16();
        let high_watermark = answer.get_i64();
        answer.advance(8 + 8 + 4 + 4);
        let len = usize::try_from(answer.get_i32()).unwrap();
        (code, high_watermark, answer.split_to(len))
    }

    /// ListOffsets in version 9: (error code, offset).
    fn list_offset(&self, topic: &str, timestamp: i64) -> (i16, i64) {
        self.list_offset_in(9, topic, timestamp, -1)
    }

    /// ListOffsets in version 4 or later: (error code, offset).
    fn list_offset_in(&self, version: i16, topic: &str, timestamp: i64, leader_epoch: i32) -> (i16, i64) {
        let mut answer = self.call(2, version, |w| {
            w.i32(-1);
            w.i8(0);
            w.len(Some(1));
            w.string(topic);
            w.len(Some(1));
            w.i32(0);
            w.i32(leader_epoch);
            w.i64(timestamp);
            w.tags();
            w.tags();
        });
        answer.skip(4).unwrap();
        assert_eq!(answer.array_len(1).unwrap(), Some(1));
        assert_eq!(&*answer.string().unwrap(), topic);
        assert_eq!(answer.array_len(1).unwrap(), Some(1));
        assert_eq!(answer.i32().unwrap(), 0);
        let code = answer.i16().unwrap();
        answer.skip(8).unwrap();
        (code, answer.i64().unwrap())
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn frame(key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Bytes {
    let api = APIS.iter().find(|api| api.key == key);
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(correlation_id);
    frame.put_i16(-1);
    if api.is_some_and(|api| api.flexible(version)) {
        frame.put_u8(0);
    }
    frame.put_slice(body);
    frame.freeze()
}

/// An array of one topic with an array of one partition, classic.
fn put_topic(body: &mut BytesMut, topic: &str) {
    body.put_i32(1);
    body.put_i16(i16::try_from(topic.len()).unwrap());
    body.put_slice(topic.as_bytes());
    body.put_i32(1);
}

fn skip_topic(answer: &mut Bytes, topic: &str) {
    assert_eq!(answer.get_i32(), 1);
    let len = usize::try_from(answer.get_i16()).unwrap();
    assert_eq!(answer.split_to(len), topic.as_bytes());
    assert_eq!(answer.get_i32(), 1);
}

fn produce_body(topic: &str, partition: i32, acks: i16, records: &[u8]) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_i16(-1);
    body.put_i16(acks);
    body.put_i32(10_000);
    put_topic(&mut body, topic);
    body.put_i32(partition);
    body.put_i32(i32::try_from(records.len()).unwrap());
    body.put_slice(records);
    body
}

fn fetch_body(topic: &str, offset: i64, wait_ms: i32, min_bytes: i32) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_i32(-1);
    body.put_i32(wait_ms);
    body.put_i32(min_bytes);
    body.put_i32(1 << 20);
    body.put_i8(0);
    body.put_i32(0);
    body.put_i32(-1);
    put_topic(&mut body, topic);
    body.put_i32(0);
    body.put_i32(-1);
    body.put_i64(offset);
    body.put_i64(-1);
    body.put_i32(1 << 20);
    body.put_i32(0);
    body.put_i16(0);
    body
}

fn batch(values: &[&str], timestamp_ms: i64) -> Bytes {
    let mut batch = BatchBuilder::new(timestamp_ms);
    for value in values {
        batch.push(timestamp_ms, None, Some(value.as_bytes()), &[]);
    }
    batch.finish().bytes().clone()
}

fn values(records: Bytes) -> Vec<(i64, String)> {
    let batches = LogBatch::split_all(records).unwrap();
    let records = batches.iter().flat_map(|batch| batch.records(1 << 20).unwrap());
    records.map(|r| (r.offset, String::from_utf8(r.value.unwrap().to_vec()).unwrap())).collect()
}

/// KIP-320: a client that believes in another leader is told so.
#[test]
fn a_fetch_names_the_leader_epoch_it_knows() {
    let node = fixture();
    node.create("t");
    let code = |epoch: i32| {
        let mut body = fetch_body("t", 0, 0, 0);
        let at = body.len() - (2 + 4 + 4 + 8 + 8 + 4);
        body[at..at + 4].copy_from_slice(&epoch.to_be_bytes());
        let mut answer = node.ask(1, 11, &body).unwrap();
        answer.advance(10);
        skip_topic(&mut answer, "t");
        answer.advance(4);
        answer.get_i16()
    };
    let codes = [-1, LEADER_EPOCH, LEADER_EPOCH + 1].map(code);
    let expected = [ErrorCode::None, ErrorCode::None, ErrorCode::UnknownLeaderEpoch].map(ErrorCode::code);
    assert_eq!(codes, expected);
}

#[test]
fn what_is_produced_is_fetched() {
    let node = fixture();
    node.create("t");
    assert_eq!(node.produce("t", 0, -1, &batch(&["a", "b"], 1000)), (0, 0));
    assert_eq!(node.produce("t", 0, 1, &batch(&["c"], 2000)), (0, 2));
    let (code, high_watermark, records) = node.fetch("t", 0, 0, 1);
    assert_eq!((code, high_watermark), (0, 3));
    let all = [(0, "a".to_owned()), (1, "b".to_owned()), (2, "c".to_owned())];
    assert_eq!(values(records), all);
    // A batch is served whole, also from its middle.
    assert_eq!(values(node.fetch("t", 1, 0, 1).2), all);
    assert_eq!(values(node.fetch("t", 2, 0, 1).2), all[2..]);
    assert_eq!(node.fetch("t", 3, 0, 1), (0, 3, Bytes::new()));
}

/// A large frame would otherwise stay in memory until the disk, or other clients, answer.
#[test]
fn what_waits_has_let_go_of_its_frame() {
    let node = fixture();
    node.create("t");
    let produce = produce_body("t", 0, -1, &batch(&["a"], 0)).to_vec();
    for (key, version, body) in [(0, 7, produce), (1, 11, fetch_body("t", 0, 1000, 1 << 20).to_vec())] {
        let frame = frame(key, version, 77, &body);
        let kept = frame.clone();
        let handled = node.broker.handle(frame);
        assert!(matches!(handled, Handled::Parked(_)));
        assert!(kept.is_unique(), "api {key}");
    }
}

#[test]
fn offsets_by_time() {
    let node = fixture();
    node.create("t");
    for (value, at) in [("a", 1000), ("b", 2000), ("c", 3000)] {
        node.produce("t", 0, 1, &batch(&[value], at));
    }
    let none = ErrorCode::None.code();
    assert_eq!(node.list_offset("t", -2), (none, 0));
    assert_eq!(node.list_offset("t", -1), (none, 3));
    assert_eq!(node.list_offset("t", 0), (none, 0));
    assert_eq!(node.list_offset("t", 1500), (none, 1));
    assert_eq!(node.list_offset("t", 3000), (none, 2));
    assert_eq!(node.list_offset("t", 3001), (none, -1));
    node.produce("t", 0, 1, &batch(&["an old one"], 500));
    assert_eq!(node.list_offset("t", -3), (none, 2));
    node.create("empty");
    assert_eq!(node.list_offset("empty", -3), (none, -1));
    assert_eq!(node.list_offset("nope", -1), (ErrorCode::UnknownTopicOrPartition.code(), -1));
    // Marks of later versions, and of none.
    let unsupported = (ErrorCode::UnsupportedVersion.code(), -1);
    assert_eq!(node.list_offset("t", -77), unsupported);
    assert_eq!(node.list_offset_in(6, "t", -3, -1), unsupported);
    assert_eq!(node.list_offset_in(7, "t", -4, -1), unsupported);
    assert_eq!(node.list_offset_in(8, "t", -4, -1), (none, 0));
    assert_eq!(node.list_offset_in(8, "t", -5, -1), unsupported);
    assert_eq!(node.list_offset("t", -5), (none, -1));
}

#[test]
fn a_foreign_leader_epoch_is_told() {
    let node = fixture();
    node.create("t");
    assert_eq!(node.list_offset_in(4, "t", -1, 0), (0, 0));
    assert_eq!(node.list_offset_in(4, "t", -1, 1), (ErrorCode::UnknownLeaderEpoch.code(), -1));
    assert_eq!(node.list_offset_in(4, "t", -1, -2), (ErrorCode::FencedLeaderEpoch.code(), -1));
}

/// An id as long as a string can be is quoted in the message: it must still be a string.
#[test]
fn a_long_transactional_id_is_refused_like_any_other() {
    let node = fixture();
    node.create("t");
    let mut records = BatchBuilder::new(1).with_producer(7, 0, 0).transactional();
    records.push(1, None, Some(b"a"), &[]);
    let records = records.finish();
    let mut answer = node.call(0, 9, |w| {
        w.nullable_string(Some(&"x".repeat(32_767)));
        w.i16(-1);
        w.i32(1000);
        w.len(Some(1));
        w.string("t");
        w.len(Some(1));
        w.i32(0);
        w.bytes(vec![records.bytes().clone()]);
        w.tags();
        w.tags();
    });
    assert_eq!(answer.array_len(1).unwrap(), Some(1));
    assert_eq!(&*answer.string().unwrap(), "t");
    assert_eq!(answer.array_len(1).unwrap(), Some(1));
    answer.skip(4).unwrap();
    assert_eq!(answer.i16().unwrap(), ErrorCode::InvalidProducerIdMapping.code());
    answer.skip(8 + 8 + 8 + 1).unwrap();
    assert_eq!(answer.nullable_string().unwrap().unwrap().len(), 1024);
}

#[test]
fn refused_batches_have_kafkas_codes() {
    let node = fixture();
    node.create("t");
    node.broker.topics.ensure_internal("__stage.own", 1, BTreeMap::new()).unwrap();
    let good = batch(&["a"], 1);
    let check = |topic: &str, partition: i32, records: &[u8], code: ErrorCode| {
        assert_eq!(node.produce(topic, partition, -1, records), (code.code(), -1), "{code:?}");
    };
    let changed = |at: usize, to: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = to;
        bytes
    };
    check("nope", 0, &good, ErrorCode::UnknownTopicOrPartition);
    check("t", 9, &good, ErrorCode::UnknownTopicOrPartition);
    check("t", -1, &good, ErrorCode::UnknownTopicOrPartition);
    check("__stage.own", 0, &good, ErrorCode::InvalidTopic);
    check("t", 0, &good[..good.len() - 1], ErrorCode::CorruptMessage);
    check("t", 0, &[], ErrorCode::CorruptMessage);
    check("t", 0, &changed(good.len() - 1, 0x55), ErrorCode::CorruptMessage);
    check("t", 0, &changed(16, 1), ErrorCode::UnsupportedForMessageFormat);
    check("t", 0, &[&good[..], &good[..]].concat(), ErrorCode::InvalidRecord);
    check("t", 0, &batch(&[&"x".repeat(1 << 20)], 1), ErrorCode::MessageTooLarge);
    assert_eq!(node.broker.stats().errors, 10);
    assert_eq!(node.produce("t", 0, 2, &good).0, ErrorCode::InvalidRequiredAcks.code());
    // None of them left a trace.
    assert_eq!(node.produce("t", 0, -1, &good), (0, 0));
}

#[test]
fn acks_0_says_nothing_or_closes() {
    let node = fixture();
    node.create("t");
    let good = node.ask(0, 7, &produce_body("t", 0, 0, &batch(&["a"], 1)));
    assert_eq!(good, Ok(Bytes::new()));
    let bad = node.ask(0, 7, &produce_body("nope", 0, 0, &batch(&["a"], 1)));
    assert_eq!(bad, Err(Refusal::UnacknowledgedFailed { code: ErrorCode::UnknownTopicOrPartition.code() }));
}

#[test]
fn fetch_beyond_the_end_is_out_of_range() {
    let node = fixture();
    node.create("t");
    node.produce("t", 0, 1, &batch(&["a"], 1));
    let out_of_range = ErrorCode::OffsetOutOfRange.code();
    assert_eq!(node.fetch("t", 2, 60_000, 1), (out_of_range, -1, Bytes::new()));
    assert_eq!(node.fetch("t", -5, 60_000, 1), (out_of_range, -1, Bytes::new()));
    assert_eq!(node.fetch("u", 0, 60_000, 1).0, ErrorCode::UnknownTopicOrPartition.code());
}

#[test]
fn a_fetch_waits_for_records() {
    let node = fixture();
    node.create("t");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| node.fetch("t", 0, 60_000, 120));
        // Two batches are needed for 120 bytes; the first alone must not end the wait.
        node.produce("t", 0, 1, &batch(&["a"], 1));
        node.produce("t", 0, 1, &batch(&["b"], 1));
        let (code, _, records) = waiting.join().unwrap();
        assert_eq!((code, values(records).len()), (0, 2));
    });
    let before = node.broker.clock.monotonic();
    assert_eq!(node.fetch("t", 2, 30, 1), (0, 2, Bytes::new()));
    assert!(node.broker.clock.monotonic() - before >= Duration::from_millis(30));
}

/// Neither acknowledged nor served before the sync, whatever the acks asked for.
#[test]
fn nothing_is_acknowledged_or_served_before_it_is_durable() {
    let gate = Arc::new(gate::Gate::default());
    let disk = Arc::new(gate::GatedDisk(Arc::clone(&gate)));
    let node = fixture_on(disk, BrokerOptions::default(), MemoryBudget::unlimited());
    node.create("t");
    for acks in [1, -1] {
        let before = node.list_offset("t", -1).1;
        gate.shut();
        let handled = node.broker.handle(frame(0, 7, 77, &produce_body("t", 0, acks, &batch(&["a"], 1))));
        let Handled::Parked(mut parked) = handled else { panic!("answered at once") };
        let context = &mut Context::from_waker(Waker::noop());
        assert!(parked.poll(context).is_pending() && !parked.is_done());
        assert_eq!(node.fetch("t", before, 0, 1), (0, before, Bytes::new()));
        assert_eq!(node.list_offset("t", -1), (0, before));
        gate.open();
        assert!(matches!(node.settle(Handled::Parked(parked)), Answer::Reply(_)));
        assert_eq!(node.list_offset("t", -1), (0, before + 1));
    }
}

#[test]
fn a_fetch_without_memory_is_answered_empty() {
    let budget = MemoryBudget::root("test", 1000);
    let node = fixture_with(BrokerOptions::default(), budget.clone());
    node.create("t");
    node.produce("t", 0, 1, &batch(&["a"], 1));
    let held = budget.reserve(990).unwrap();
    assert_eq!(node.fetch("t", 0, 20, 1).2, Bytes::new());
    drop(held);
    assert_eq!(values(node.fetch("t", 0, 20, 1).2).len(), 1);
    assert_eq!(budget.used(), 0);
}

/// Every API answers random well-formed requests in every version: no field is set that a version
/// cannot carry.
#[test]
fn every_version_is_answered() {
    let node = fixture();
    for api in APIS {
        let Some(shape) = shape_of(&api.serve) else { continue };
        for version in api.min..=api.max {
            for seed in 0..3 {
                let body = Writer::request(shape, version, seed);
                let answer = node.ask(api.key, version, &body);
                let about = format!("{} version {version} seed {seed}", api.name);
                assert!(answer.is_ok_and(|body| !body.is_empty()), "{about}");
            }
        }
    }
}

#[test]
fn unknown_apis_close_and_unknown_versions_of_api_versions_do_not() {
    let node = fixture();
    assert_eq!(node.ask(999, 0, &[]), Err(Refusal::Unsupported { key: 999, version: 0 }));
    assert_eq!(node.ask(0, 2, &[]), Err(Refusal::Unsupported { key: 0, version: 2 }));
    for version in [-1, 5, 999] {
        let mut answer = node.ask(18, version, &[1, 2, 3]).unwrap();
        assert_eq!(answer.get_i16(), ErrorCode::UnsupportedVersion.code());
        assert_eq!(usize::try_from(answer.get_i32()).unwrap(), APIS.len());
        assert_eq!((answer.get_i16(), answer.get_i16(), answer.get_i16()), (0, 0, 13));
    }
}

#[test]
fn noise_never_panics() {
    let node = fixture();
    let entropy = SeededEntropy::new(42);
    let below = |n: u64| usize::try_from(highwater_env::Entropy::below(&entropy, n)).unwrap();
    for _ in 0..20_000 {
        let api = &APIS[below(APIS.len() as u64)];
        // Making random topics for real would only be slow.
        if matches!(api.key, 3 | 19 | 20 | 37) {
            continue;
        }
        let version =
            api.min + i16::try_from(below(u64::from((api.max - api.min + 1).unsigned_abs()))).unwrap();
        let body: Vec<u8> = (0..below(60)).map(|_| [0, 1, 2, 255, 128, 7][below(6)]).collect();
        if let Handled::Parked(mut parked) = node.broker.handle(frame(api.key, version, 1, &body)) {
            if parked.read_memory() {
                parked.read();
            }
            parked.finish();
        }
    }
}
