//! Transactions by requests, in old and new versions.

use std::thread;

use bytes::Bytes;
use highwater_log::{BatchBuilder, LogBatch};

use super::{Fixture, fixture};
use crate::errors::ErrorCode;
use crate::wire::{WireReader, WireWriter};

type Producer = (i64, i16);

fn put_strings(out: &mut WireWriter, strings: &[&str]) {
    out.len(Some(strings.len()));
    strings.iter().for_each(|string| out.string(string));
}

/// Topics with partitions, one each.
fn put_partitions(out: &mut WireWriter, partitions: &[(&str, i32)]) {
    out.len(Some(partitions.len()));
    for (topic, partition) in partitions {
        out.string(topic);
        out.len(Some(1));
        out.i32(*partition);
        out.tags();
    }
}

fn all<T>(answer: &mut WireReader, mut read: impl FnMut(&mut WireReader) -> T) -> Vec<T> {
    answer.array(1, |answer| Ok(read(answer))).unwrap()
}

/// Of topics, each with partitions: number and code.
fn codes(answer: &mut WireReader) -> Vec<i16> {
    let topics = all(answer, |answer| {
        answer.string().unwrap();
        let codes = all(answer, |answer| {
            answer.i32().unwrap();
            let code = answer.i16().unwrap();
            answer.tags().unwrap();
            code
        });
        answer.tags().unwrap();
        codes
    });
    topics.concat()
}

/// What a Fetch says of its one partition.
struct Fetched {
    high_watermark: i64,
    last_stable_offset: i64,
    aborted: Option<Vec<(i64, i64)>>,
    records: Bytes,
}

impl Fixture {
    fn init_for(&self, version: i16, name: &str, timeout_ms: i32, expected: Producer) -> (i16, Producer) {
        let mut answer = self.call(22, version, |out| {
            out.nullable_string(Some(name));
            out.i32(timeout_ms);
            if version >= 3 {
                out.i64(expected.0);
                out.i16(expected.1);
            }
        });
        answer.i32().unwrap();
        (answer.i16().unwrap(), (answer.i64().unwrap(), answer.i16().unwrap()))
    }

    fn init(&self, version: i16, name: &str, expected: Producer) -> (i16, Producer) {
        self.init_for(version, name, 60_000, expected)
    }

    fn new_producer(&self, name: &str) -> Producer {
        let (code, producer) = self.init(4, name, (-1, -1));
        assert_eq!(code, 0);
        producer
    }

    /// The code for each partition, in versions up to 3.
    fn add(&self, version: i16, name: &str, producer: Producer, partitions: &[(&str, i32)]) -> Vec<i16> {
        let mut answer = self.call(24, version, |out| {
            out.string(name);
            out.i64(producer.0);
            out.i16(producer.1);
            put_partitions(out, partitions);
        });
        answer.i32().unwrap();
        codes(&mut answer)
    }

    /// One transactional record: the code.
    fn write(
        &self,
        version: i16,
        name: Option<&str>,
        (producer_id, epoch): Producer,
        (topic, partition, sequence): (&str, i32, i32),
        value: &str,
    ) -> i16 {
        let mut batch = BatchBuilder::new(5).with_producer(producer_id, epoch, sequence).transactional();
        batch.push(5, None, Some(value.as_bytes()), &[]);
        let mut answer = self.call(0, version, |out| {
            out.nullable_string(name);
            out.i16(-1);
            out.i32(30_000);
            out.len(Some(1));
            out.string(topic);
            out.len(Some(1));
            out.i32(partition);
            out.bytes(vec![batch.finish().bytes().clone()]);
            out.tags();
            out.tags();
        });
        assert_eq!(answer.array_len(1).unwrap(), Some(1));
        answer.string().unwrap();
        assert_eq!(answer.array_len(1).unwrap(), Some(1));
        assert_eq!(answer.i32().unwrap(), partition);
        answer.i16().unwrap()
    }

    fn end(&self, version: i16, name: &str, producer: Producer, commit: bool) -> (i16, Producer) {
        let mut answer = self.call(26, version, |out| {
            out.string(name);
            out.i64(producer.0);
            out.i16(producer.1);
            out.bool(commit);
        });
        answer.i32().unwrap();
        let code = answer.i16().unwrap();
        let next = if version >= 5 { (answer.i64().unwrap(), answer.i16().unwrap()) } else { (-1, -1) };
        answer.tags().unwrap();
        assert!(answer.into_rest().is_empty());
        (code, next)
    }

    fn read(&self, committed_only: bool, topic: &str, offset: i64, wait_ms: i32) -> Fetched {
        let mut answer = self.call(1, 12, |out| {
            out.i32(-1);
            out.i32(wait_ms);
            out.i32(1);
            out.i32(1 << 20);
            out.bool(committed_only);
            out.i32(0);
            out.i32(-1);
            out.len(Some(1));
            out.string(topic);
            out.len(Some(1));
            out.i32(0);
            out.i32(-1);
            out.i64(offset);
            out.i32(-1);
            out.i64(-1);
            out.i32(1 << 20);
            out.tags();
            out.tags();
            out.len(Some(0));
            out.string("");
        });
        answer.skip(4 + 2 + 4).unwrap();
        assert_eq!(answer.array_len(1).unwrap(), Some(1));
        answer.string().unwrap();
        assert_eq!(answer.array_len(1).unwrap(), Some(1));
        assert_eq!((answer.i32().unwrap(), answer.i16().unwrap()), (0, 0));
        let (high_watermark, last_stable_offset) = (answer.i64().unwrap(), answer.i64().unwrap());
        answer.i64().unwrap();
        let aborted = answer.array_len(16).unwrap().map(|len| {
            let one = |_| {
                let one = (answer.i64().unwrap(), answer.i64().unwrap());
                answer.tags().unwrap();
                one
            };
            (0..len).map(one).collect()
        });
        answer.i32().unwrap();
        let records = answer.nullable_bytes().unwrap().unwrap_or_default();
        Fetched { high_watermark, last_stable_offset, aborted, records }
    }
}

fn code(code: ErrorCode) -> i16 {
    code.code()
}

/// Base offsets and whether they are markers.
fn batches(data: &Fetched) -> Vec<(i64, bool)> {
    let batches = LogBatch::split_all(data.records.clone()).unwrap();
    batches.iter().map(|batch| (batch.base_offset(), batch.is_control())).collect()
}

fn aborted(data: &Fetched) -> Option<Vec<(i64, i64)>> {
    data.aborted.clone()
}

#[test]
fn readers_of_committed_records_see_them_once_they_are() {
    let node = fixture();
    node.create("t");
    let first = node.new_producer("app");
    assert_eq!(node.write(12, Some("app"), first, ("t", 0, 0), "a"), 0);
    let open = node.read(true, "t", 0, 0);
    assert_eq!((open.last_stable_offset, open.high_watermark, batches(&open)), (0, 1, vec![]));
    assert_eq!((batches(&node.read(false, "t", 0, 0)), aborted(&open)), (vec![(0, false)], Some(vec![])));
    let (none, second) = node.end(5, "app", first, true);
    assert_eq!((none, second), (0, (first.0, first.1 + 1)));
    let done = node.read(true, "t", 0, 0);
    assert_eq!((done.last_stable_offset, batches(&done)), (2, vec![(0, false), (1, true)]));
    assert_eq!(aborted(&done), Some(vec![]));

    assert_eq!(node.write(12, Some("app"), second, ("t", 0, 0), "b"), 0);
    assert_eq!(node.produce("t", 0, -1, &super::batch(&["plain"], 1)), (0, 3));
    assert_eq!(batches(&node.read(true, "t", 2, 0)), []);
    assert_eq!(node.end(5, "app", second, false), (0, (first.0, second.1 + 1)));
    let after = node.read(true, "t", 2, 0);
    assert_eq!(batches(&after), [(2, false), (3, false), (4, true)]);
    assert_eq!(aborted(&after), Some(vec![(first.0, 2)]));
    assert_eq!(aborted(&node.read(true, "t", 0, 0)), Some(vec![(first.0, 2)]));
    assert_eq!(aborted(&node.read(false, "t", 2, 0)), None);
}

#[test]
fn old_clients_add_partitions_first() {
    let node = fixture();
    node.create("t");
    node.create("u");
    let (none, producer) = node.init(1, "app", (-1, -1));
    assert_eq!(none, 0);
    assert_eq!(node.write(7, Some("app"), producer, ("t", 0, 0), "a"), code(ErrorCode::InvalidTxnState));
    assert_eq!(
        node.write(11, Some("app"), producer, ("t", 0, 0), "a"),
        code(ErrorCode::TransactionAbortable)
    );
    assert_eq!(node.add(0, "app", producer, &[("t", 0), ("u", 0)]), [0, 0]);
    assert_eq!(node.write(7, Some("app"), producer, ("t", 0, 0), "a"), 0);
    assert_eq!(node.write(9, Some("app"), producer, ("u", 0, 0), "a"), 0);
    assert_eq!(node.end(1, "app", producer, true).0, 0);
    assert_eq!(node.end(1, "app", producer, true).0, 0);
    assert_eq!(node.end(1, "app", producer, false).0, code(ErrorCode::InvalidTxnState));
    for topic in ["t", "u"] {
        assert_eq!(batches(&node.read(true, topic, 0, 0)), [(0, false), (1, true)]);
    }
    let unknown = node.add(3, "app", producer, &[("t", 0), ("nope", 0), ("t", 9)]);
    let missing = code(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(unknown, [code(ErrorCode::OperationNotAttempted), missing, missing]);
}

#[test]
fn refusals_have_the_codes_that_clients_of_each_version_expect() {
    let node = fixture();
    node.create("t");
    let zombie = node.new_producer("app");
    let current = node.new_producer("app");
    let (epoch, fenced) = (code(ErrorCode::InvalidProducerEpoch), code(ErrorCode::ProducerFenced));
    assert_eq!(node.write(7, Some("app"), zombie, ("t", 0, 0), "a"), epoch);
    assert_eq!(node.write(12, Some("app"), zombie, ("t", 0, 0), "a"), epoch);
    assert_eq!(node.add(1, "app", zombie, &[("t", 0)]), [epoch]);
    assert_eq!(node.add(2, "app", zombie, &[("t", 0)]), [fenced]);
    assert_eq!((node.end(1, "app", zombie, true).0, node.end(2, "app", zombie, true).0), (epoch, fenced));
    assert_eq!(node.end(5, "app", zombie, true), (fenced, (-1, -1)));
    assert_eq!(node.init(3, "app", (zombie.0, zombie.1)), (epoch, (-1, -1)));
    assert_eq!(node.init(4, "app", (zombie.0, zombie.1)).0, fenced);
    assert_eq!(node.init(4, "app", (current.0, -1)).0, code(ErrorCode::InvalidRequest));
    assert_eq!(node.init(4, "", (-1, -1)).0, code(ErrorCode::InvalidRequest));
    let mapping = code(ErrorCode::InvalidProducerIdMapping);
    assert_eq!(node.write(12, Some("other"), current, ("t", 0, 0), "a"), mapping);
    assert_eq!(node.end(5, "other", current, true).0, mapping);
    let unnamed = node.write(12, None, current, ("t", 0, 0), "a");
    assert_eq!(unnamed, code(ErrorCode::TransactionalIdAuthorizationFailed));
    let patient = node.init_for(0, "app", 15 * 60 * 1000 + 1, (-1, -1));
    assert_eq!(patient.0, code(ErrorCode::InvalidTransactionTimeout));
    assert_eq!(batches(&node.read(false, "t", 0, 0)), []);
}

/// What waits for committed records is woken by the marker, not by records still open.
#[test]
fn a_waiting_reader_is_woken_by_the_end_of_the_transaction() {
    let node = fixture();
    node.create("t");
    let producer = node.new_producer("app");
    assert_eq!(node.write(12, Some("app"), producer, ("t", 0, 0), "a"), 0);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| node.read(true, "t", 0, 60_000));
        assert_eq!(node.write(12, Some("app"), producer, ("t", 0, 1), "b"), 0);
        assert_eq!(node.end(5, "app", producer, true).0, 0);
        assert_eq!(batches(&waiting.join().unwrap()).first(), Some(&(0, false)));
    });
}

#[test]
fn brokers_may_ask_whether_partitions_were_added() {
    let node = fixture();
    node.create("t");
    node.create("u");
    let producer = node.new_producer("app");
    let ask = |version, verify_only, name: &str, topics: &[&str]| {
        let mut answer = node.call(24, version, |out| {
            out.len(Some(1));
            out.string(name);
            out.i64(producer.0);
            out.i16(producer.1);
            out.bool(verify_only);
            put_partitions(out, &topics.iter().map(|topic| (*topic, 0)).collect::<Vec<_>>());
            out.tags();
        });
        answer.skip(4 + 2).unwrap();
        assert_eq!(answer.array_len(1).unwrap(), Some(1));
        assert_eq!(&*answer.string().unwrap(), name);
        codes(&mut answer)
    };
    assert_eq!(ask(4, false, "app", &["t"]), [0]);
    assert_eq!(ask(5, true, "app", &["t", "u"]), [0, code(ErrorCode::TransactionAbortable)]);
    assert_eq!(ask(4, true, "app", &["u"]), [code(ErrorCode::InvalidTxnState)]);
    assert_eq!(ask(5, true, "nobody", &["t"]), [code(ErrorCode::InvalidProducerIdMapping)]);
}

#[test]
fn operators_see_transactions() {
    let node = fixture();
    node.create("t");
    let producer = node.new_producer("app-1");
    node.new_producer("other");
    assert_eq!(node.write(12, Some("app-1"), producer, ("t", 0, 0), "a"), 0);

    // An id named again is answered once.
    let mut answer = node.call(65, 0, |out| put_strings(out, &["app-1", "nobody", "app-1"]));
    answer.i32().unwrap();
    assert_eq!(answer.array_len(1).unwrap(), Some(2));
    assert_eq!((answer.i16().unwrap(), &*answer.string().unwrap()), (0, "app-1"));
    assert_eq!((&*answer.string().unwrap(), answer.i32().unwrap()), ("Ongoing", 60_000));
    assert!(answer.i64().unwrap() > 0);
    assert_eq!((answer.i64().unwrap(), answer.i16().unwrap()), producer);
    let topics = all(&mut answer, |answer| {
        let topic = answer.string().unwrap().to_string();
        let partitions = all(answer, |answer| answer.i32().unwrap());
        answer.tags().unwrap();
        (topic, partitions)
    });
    assert_eq!(topics, [("t".to_owned(), vec![0])]);
    answer.tags().unwrap();
    assert_eq!(answer.i16().unwrap(), code(ErrorCode::TransactionalIdNotFound));

    let list = |states: &[&str], ids: &[i64], open_for_ms, pattern: Option<&str>| {
        let mut answer = node.call(66, 2, |out| {
            put_strings(out, states);
            out.len(Some(ids.len()));
            ids.iter().for_each(|id| out.i64(*id));
            out.i64(open_for_ms);
            out.nullable_string(pattern);
        });
        answer.i32().unwrap();
        let code = answer.i16().unwrap();
        let unknown = all(&mut answer, |answer| answer.string().unwrap()).len();
        let found = all(&mut answer, |answer| {
            let name = answer.string().unwrap().to_string();
            answer.i64().unwrap();
            answer.string().unwrap();
            answer.tags().unwrap();
            name
        });
        (code, found, unknown)
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(list(&[], &[], -1, None), (0, names(&["app-1", "other"]), 0));
    assert_eq!(list(&["Ongoing", "Odd"], &[], -1, None), (0, names(&["app-1"]), 1));
    assert_eq!(list(&["PrepareCommit"], &[], -1, None), (0, names(&[]), 0));
    assert_eq!(list(&[], &[producer.0], -1, None), (0, names(&["app-1"]), 0));
    assert_eq!(list(&[], &[], 3_600_000, None), (0, names(&[]), 0));
    assert_eq!(list(&[], &[], -1, Some("app-.*")), (0, names(&["app-1"]), 0));
    assert_eq!(list(&[], &[], -1, Some("app")), (0, names(&[]), 0), "as a whole");
    assert_eq!(list(&[], &[], -1, Some("(")).0, code(ErrorCode::InvalidRegularExpression));
}

#[test]
fn operators_end_transactions_that_hang() {
    let node = fixture();
    node.create("t");
    let producer = node.new_producer("app");
    assert_eq!(node.write(12, Some("app"), producer, ("t", 0, 0), "a"), 0);
    let describe = || {
        let mut answer = node.call(61, 0, |out| put_partitions(out, &[("t", 0), ("t", 9), ("t", 0)]));
        answer.i32().unwrap();
        assert_eq!(answer.array_len(1).unwrap(), Some(3));
        answer.string().unwrap();
        assert_eq!(answer.array_len(1).unwrap(), Some(1));
        assert_eq!((answer.i32().unwrap(), answer.i16().unwrap()), (0, 0));
        answer.nullable_string().unwrap();
        let producers = all(&mut answer, |answer| {
            let known = (answer.i64().unwrap(), answer.i32().unwrap(), answer.i32().unwrap());
            answer.skip(8 + 4).unwrap();
            let open_since = answer.i64().unwrap();
            answer.tags().unwrap();
            (known, open_since)
        });
        answer.tags().unwrap();
        answer.tags().unwrap();
        answer.string().unwrap();
        assert_eq!(answer.array_len(1).unwrap(), Some(1));
        let unknown = (answer.i32().unwrap(), answer.i16().unwrap());
        assert_eq!(unknown, (9, code(ErrorCode::UnknownTopicOrPartition)));
        answer.nullable_string().unwrap();
        answer.array_len(1).unwrap();
        answer.tags().unwrap();
        answer.tags().unwrap();
        answer.string().unwrap();
        assert_eq!(answer.array_len(1).unwrap(), Some(0), "a partition named again is answered once");
        producers
    };
    assert_eq!(describe(), [((producer.0, i32::from(producer.1), 0), 0)]);
    let marker = |epoch| {
        let mut answer = node.call(27, 1, |out| {
            out.len(Some(1));
            out.i64(producer.0);
            out.i16(epoch);
            out.bool(false);
            put_partitions(out, &[("t", 0), ("t", 9)]);
            out.i32(0);
            out.tags();
        });
        assert_eq!(answer.array_len(1).unwrap(), Some(1));
        assert_eq!(answer.i64().unwrap(), producer.0);
        codes(&mut answer)
    };
    assert_eq!(marker(producer.1), [0, code(ErrorCode::UnknownTopicOrPartition)]);
    assert_eq!(describe()[0].1, -1);
    assert_eq!(aborted(&node.read(true, "t", 0, 0)), Some(vec![(producer.0, 0)]));
}

#[test]
fn the_transaction_version_is_announced() {
    let node = fixture();
    for version in 0..=4 {
        let mut answer = node.call(18, version, |out| {
            if version >= 3 {
                out.string("client");
                out.string("1");
            }
        });
        assert_eq!(answer.i16().unwrap(), 0);
        all(&mut answer, |answer| {
            answer.skip(6).unwrap();
            answer.tags().unwrap();
        });
        if version >= 1 {
            answer.i32().unwrap();
        }
        let rest = answer.into_rest();
        if version < 3 {
            assert!(rest.is_empty());
            continue;
        }
        let mut features = Bytes::new();
        let mut finalized_epoch = -1;
        let mut supported = 0;
        let mut rest = WireReader::new(rest, true);
        for _ in 0..rest.uvarint().unwrap() {
            let (tag, len) = (rest.uvarint().unwrap(), rest.uvarint().unwrap());
            let field = rest.take(usize::try_from(len).unwrap()).unwrap();
            match tag {
                0 => supported = field[0] - 1,
                1 => finalized_epoch = WireReader::new(field, true).i64().unwrap(),
                2 => features = field,
                other => panic!("tag {other}"),
            }
        }
        // Clients of version 3 take no feature whose lowest level is 0.
        assert_eq!((supported, finalized_epoch), (u8::from(version >= 4), 0));
        let finalized = all(&mut WireReader::new(features, true), |answer| {
            let name = answer.string().unwrap().to_string();
            let levels = (answer.i16().unwrap(), answer.i16().unwrap());
            answer.tags().unwrap();
            (name, levels)
        });
        assert_eq!(finalized, [("transaction.version".to_owned(), (2, 2))]);
    }
}

#[test]
fn what_is_taken_in_for_a_transaction_is_refused_for_good_by_its_end() {
    let node = fixture();
    node.create("t");
    let producer = node.new_producer("app");
    assert_eq!(node.write(12, Some("app"), producer, ("t", 0, 0), "a"), 0);
    let (_, next) = node.end(5, "app", producer, true);
    let late = node.write(12, Some("app"), producer, ("t", 0, 1), "late");
    assert_eq!(late, code(ErrorCode::InvalidProducerEpoch));
    let repeated = node.write(12, Some("app"), producer, ("t", 0, 0), "a");
    assert_eq!(repeated, code(ErrorCode::InvalidProducerEpoch));
    assert_eq!(node.write(12, Some("app"), next, ("t", 0, 0), "b"), 0);
    assert_eq!(node.produce("t", 0, -1, &Bytes::new()).0, code(ErrorCode::CorruptMessage));
}
