//! The ingest route over a real loopback socket, in front of a real log on a disk.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use highwater_coordinator::{LogTopicWriter, Topic, TopicOptions, Topics};
use highwater_env::{Clock, Disk, DiskFault, ManualClock, MemoryBudget, RealDisk, SeededEntropy, SimDisk};
use highwater_gateway::{Gateway, GatewayOptions, LogPosition};
use highwater_log::{Log, LogOptions};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const JSON: &str = "Content-Type: application/json";
const NDJSON: &str = "Content-Type: application/x-ndjson";
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;
const EVENT_BYTES_MAX: usize = 100 * 1024;
const NOW_MS: i64 = 1_700_000_000_000;

struct Fixture {
    address: SocketAddr,
    gateway: Gateway,
    log: Log,
    topics: Topics,
    _dir: tempfile::TempDir,
}

/// How the log makes progress.
enum Threads {
    Real,
    /// Only by `Log::step`.
    Stepped,
}

async fn start(threads: Threads, log_options: LogOptions, budget: MemoryBudget) -> Fixture {
    start_on(Arc::new(RealDisk), threads, log_options, budget).await
}

async fn start_on(
    disk: Arc<dyn Disk>,
    threads: Threads,
    log_options: LogOptions,
    budget: MemoryBudget,
) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW_MS));
    let open = match threads {
        Threads::Real => Log::open,
        Threads::Stepped => Log::open_stepped,
    };
    let (log, _) =
        open(disk, Arc::clone(&clock), dir.path(), log_options, &MemoryBudget::unlimited()).unwrap();
    let entropy = Arc::new(SeededEntropy::new(7));
    let topic_options = TopicOptions { auto_create: false, ..TopicOptions::default() };
    let topics = Topics::open(log.clone(), entropy, topic_options).unwrap();
    topics.create("fleet", 3, Default::default()).unwrap();
    topics.create("one", 1, Default::default()).unwrap();
    let writer = Arc::new(LogTopicWriter::new(log.clone(), topics.clone(), Arc::clone(&clock)));
    let options = GatewayOptions {
        body_bytes_max: BODY_BYTES_MAX,
        event_bytes_max: EVENT_BYTES_MAX,
        idle_timeout: Duration::from_millis(300),
        ..GatewayOptions::default()
    };
    let gateway = Gateway::new(writer, clock, options, budget);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = gateway.routes();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    Fixture { address, gateway, log, topics, _dir: dir }
}

async fn start_plain() -> Fixture {
    start(Threads::Real, LogOptions::default(), MemoryBudget::unlimited()).await
}

struct Answer {
    status: u16,
    head: String,
    json: Value,
}

async fn post(address: SocketAddr, target: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    headers.iter().for_each(|header| head.push_str(&format!("{header}\r\n")));
    if !headers.iter().any(|header| header.starts_with("Content-Length") || header.starts_with("Transfer")) {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    exchange(address, &[format!("{head}\r\n").as_bytes(), body].concat()).await
}

async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let write = async {
        // A server that refuses early stops reading.
        let _ = writing.write_all(request).await;
    };
    let read = async {
        let _ = reading.read_to_end(&mut answer).await;
    };
    tokio::join!(write, read);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer {
        status,
        head: head.to_ascii_lowercase(),
        json: serde_json::from_str(body).unwrap_or(Value::Null),
    }
}

/// Keys and values of a partition.
fn stored(fixture: &Fixture, topic: &Topic, partition: i32) -> Vec<(Option<String>, String)> {
    let mut all = Vec::new();
    let mut from = 0;
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    loop {
        let range = fixture.log.read(topic.partition(partition), from, 1 << 20).unwrap();
        let next = range.next_offset(from);
        if next == from {
            return all;
        }
        for batch in range.batches {
            for record in batch.records(1 << 24).unwrap() {
                assert_eq!(record.timestamp_ms, NOW_MS);
                all.push((record.key.map(text), record.value.map(text).unwrap()));
            }
        }
        from = next;
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn good_lines_are_kept_and_bad_ones_named() {
    let fixture = start_plain().await;
    let body = "{\"v\":1}\n\nnot json\n {\"v\": 2} \r\n[1]\n{\"v\":3";
    let answer = post(fixture.address, "/v1/topics/one/events", &[NDJSON], body.as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json["accepted"], 2);
    assert_eq!(answer.json["rejected"], 3);
    assert_eq!(
        answer.json["positions"],
        serde_json::json!([{"partition": 0, "base_offset": 0, "last_offset": 1}])
    );
    assert_eq!(answer.json["position"], "one:0@2");
    let errors = answer.json["errors"].as_array().unwrap();
    let lines: Vec<_> = errors.iter().map(|error| error["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [3, 5, 6]);
    assert_eq!(errors[2]["reason"], "byte 7: the text ends early");
    let topic = fixture.topics.get("one").unwrap();
    let values: Vec<_> = stored(&fixture, &topic, 0).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["{\"v\":1}", "{\"v\": 2}"]);
    assert_eq!(fixture.gateway.counters().now().accepted_events, 2);
}

#[tokio::test]
async fn keys_choose_partitions() {
    let fixture = start_plain().await;
    let body = r#"[{"id":"a","n":1},{"id":7},{"id":null},{"n":2},{"id":"a","n":3}]"#;
    let answer = post(fixture.address, "/v1/topics/fleet/events?key=id", &[JSON], body.as_bytes()).await;
    assert_eq!((answer.status, &answer.json["accepted"]), (200, &Value::from(5)));
    let topic = fixture.topics.get("fleet").unwrap();
    let mut keys: Vec<_> = (0..3).flat_map(|partition| stored(&fixture, &topic, partition)).collect();
    let of_a: Vec<_> = (0..3)
        .map(|partition| stored(&fixture, &topic, partition))
        .filter(|records| records.iter().any(|(key, _)| key.as_deref() == Some("a")))
        .collect();
    assert_eq!(of_a.len(), 1, "one key, one partition");
    keys.sort();
    let keys: Vec<_> = keys.iter().map(|(key, _)| key.as_deref()).collect();
    assert_eq!(keys, [None, None, Some("7"), Some("a"), Some("a")]);
    let position: LogPosition = answer.json["position"].as_str().unwrap().parse().unwrap();
    let total: i64 = position.partitions.iter().map(|(_, next)| next).sum();
    assert_eq!(total, 5);
}

#[tokio::test]
async fn what_the_topic_does_not_take_is_refused_by_line() {
    let fixture = start_plain().await;
    let make = |name: &str, config: &str, value: &str| {
        fixture.topics.create(name, 1, [(config.to_owned(), value.to_owned())].into()).unwrap();
    };
    make("small", "max.message.bytes", "200");
    let body = format!("{{}}\n\n{{\"v\":\"{}\"}}\n{{broken\n{{\"n\":3}}\n", "x".repeat(300));
    let answer = post(fixture.address, "/v1/topics/small/events", &[NDJSON], body.as_bytes()).await;
    assert_eq!((answer.status, &answer.json["accepted"]), (200, &Value::from(2)), "{}", answer.json);
    assert_eq!(answer.json["rejected"], 2);
    let lines: Vec<_> = answer.json["errors"].as_array().unwrap().iter().map(|e| &e["line"]).collect();
    assert_eq!(lines, [3, 4]);
    let reason = answer.json["errors"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("takes at most 200 (max.message.bytes)"), "{reason}");
    let values: Vec<_> = stored(&fixture, &fixture.topics.get("small").unwrap(), 0);
    assert_eq!(values.iter().map(|(_, value)| &**value).collect::<Vec<_>>(), ["{}", "{\"n\":3}"]);

    make("keyed", "cleanup.policy", "compact");
    let body = b"[{\"id\":1},{\"n\":2},{\"id\":3}]";
    let answer = post(fixture.address, "/v1/topics/keyed/events?key=id", &[JSON], body).await;
    assert_eq!((answer.status, &answer.json["accepted"]), (200, &Value::from(2)), "{}", answer.json);
    assert_eq!(answer.json["errors"][0]["line"], 2);
    let answer = post(fixture.address, "/v1/topics/keyed/events", &[JSON], body).await;
    assert_eq!((answer.status, &answer.json["rejected"]), (400, &Value::from(3)), "{}", answer.json);
    let reason = answer.json["errors"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("?key=FIELD"), "{reason}");
}

#[tokio::test]
async fn one_object_over_several_lines_becomes_one_line() {
    let fixture = start_plain().await;
    let body = gzip(b"{\n  \"name\": \"a b\",\n  \"n\": [1, 2]\n}\n");
    let answer =
        post(fixture.address, "/v1/topics/one/events", &[JSON, "Content-Encoding: gzip"], &body).await;
    assert_eq!(answer.status, 200, "{}", answer.json);
    let topic = fixture.topics.get("one").unwrap();
    assert_eq!(stored(&fixture, &topic, 0)[0].1, r#"{"name":"a b","n":[1,2]}"#);
}

#[tokio::test]
async fn many_events_arrive_complete_and_in_order() {
    let fixture = start_plain().await;
    let body: String =
        (0..50_000).map(|n| format!("{{\"n\":{n},\"pad\":\"{}\"}}\n", "x".repeat(30))).collect();
    for headers in [&[NDJSON][..], &[NDJSON, "Content-Encoding: gzip"]] {
        let bytes = if headers.len() == 1 { body.clone().into_bytes() } else { gzip(body.as_bytes()) };
        let answer = post(fixture.address, "/v1/topics/one/events", headers, &bytes).await;
        assert_eq!(answer.json["accepted"], 50_000, "{}", answer.json["error"]);
        assert_eq!(
            answer.json["positions"].as_array().unwrap().len(),
            1,
            "neighbouring batches are one range"
        );
    }
    let records = stored(&fixture, &fixture.topics.get("one").unwrap(), 0);
    assert_eq!(records.len(), 100_000);
    for (n, (_, value)) in records.iter().enumerate() {
        assert!(value.starts_with(&format!("{{\"n\":{},", n % 50_000)), "record {n} is {value}");
    }
}

#[tokio::test]
async fn the_answer_waits_for_durability() {
    let fixture = start(Threads::Stepped, LogOptions::default(), MemoryBudget::unlimited()).await;
    let partition = fixture.topics.get("one").unwrap().partition(0);
    let mut asked = tokio::spawn(post(fixture.address, "/v1/topics/one/events", &[JSON], b"{\"v\":1}"));
    while fixture.log.bounds(partition).unwrap().log_end_offset == 0 {
        tokio::task::yield_now().await;
    }
    // Appended, not durable: no answer, however long one waits.
    let early = tokio::time::timeout(Duration::from_millis(200), &mut asked).await;
    assert!(early.is_err(), "answered before the record was durable");
    assert_eq!(fixture.log.bounds(partition).unwrap().high_watermark, 0);
    assert!(fixture.log.step());
    let answer = asked.await.unwrap();
    assert_eq!((answer.status, &answer.json["accepted"]), (200, &Value::from(1)));
    assert_eq!(fixture.log.bounds(partition).unwrap().high_watermark, 1);
}

#[tokio::test]
async fn a_full_log_refuses_for_now() {
    let options = LogOptions { memory_bytes_max: 400_000, ..LogOptions::default() };
    let fixture = start(Threads::Stepped, options, MemoryBudget::unlimited()).await;
    let line = format!("{{\"v\":\"{}\"}}\n", "x".repeat(1000));
    let body = line.repeat(3000);
    let (log, done) = (fixture.log.clone(), Arc::new(AtomicBool::new(false)));
    let ended = Arc::clone(&done);
    // Durable as they come, but never written to segments: memory fills up.
    let stepping = tokio::task::spawn_blocking(move || {
        while !ended.load(Ordering::Acquire) {
            log.step();
            std::thread::yield_now();
        }
    });
    let answer = post(fixture.address, "/v1/topics/one/events", &[NDJSON], body.as_bytes()).await;
    done.store(true, Ordering::Release);
    stepping.await.unwrap();
    assert_eq!(answer.status, 429, "{}", answer.json);
    assert!(answer.head.contains("retry-after: 1"));
    let accepted = answer.json["accepted"].as_u64().unwrap();
    let resume = answer.json["resume_at_line"].as_u64().unwrap_or(1);
    assert_eq!(resume, accepted + 1, "{}", answer.json);
}

#[tokio::test]
async fn events_whose_sync_failed_are_asked_for_again() {
    let disk = SimDisk::new(1);
    // One flush per group.
    let options = LogOptions { batch_bytes_max: 600_000, group_bytes_max: 600_000, ..LogOptions::default() };
    let budget = MemoryBudget::unlimited();
    let fixture = start_on(Arc::new(disk.clone()), Threads::Stepped, options, budget).await;
    let partition = fixture.topics.get("one").unwrap().partition(0);
    let body = format!("{{\"v\":\"{}\"}}\n", "x".repeat(1000)).repeat(2000);
    let asked = tokio::spawn(async move {
        post(fixture.address, "/v1/topics/one/events", &[NDJSON], body.as_bytes()).await
    });
    while fixture.log.bounds(partition).unwrap().log_end_offset < 2000 {
        tokio::task::yield_now().await;
    }
    assert!(fixture.log.step());
    disk.inject(DiskFault::SyncFails, 0);
    assert!(fixture.log.step());
    let answer = asked.await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.json);
    let durable = u64::try_from(fixture.log.bounds(partition).unwrap().high_watermark).unwrap();
    assert!((1..2000).contains(&durable), "{durable}");
    assert_eq!(answer.json["accepted"], durable);
    assert_eq!(answer.json["resume_at_line"], durable + 1);
}

#[tokio::test]
async fn what_some_partitions_took_of_a_refused_write_is_counted() {
    let options = LogOptions { memory_bytes_max: 400_000, ..LogOptions::default() };
    let fixture = start(Threads::Real, options, MemoryBudget::unlimited()).await;
    let pad = "x".repeat(95_000);
    let body: String = (0..5).map(|id| format!("{{\"id\":{id},\"v\":\"{pad}\"}}\n")).collect();
    let answer = post(fixture.address, "/v1/topics/fleet/events?key=id", &[NDJSON], body.as_bytes()).await;
    assert_eq!(answer.status, 429, "{}", answer.json);
    assert_eq!(answer.json["resume_at_line"], Value::Null, "from the first line on");
    let topic = fixture.topics.get("fleet").unwrap();
    let taken: usize = (0..3).map(|partition| stored(&fixture, &topic, partition).len()).sum();
    assert!((1..5).contains(&taken), "{taken}");
    assert_eq!(answer.json["accepted"], taken);
}

#[tokio::test]
async fn an_event_is_checked_as_it_was_sent() {
    let fixture = start_plain().await;
    let body = b"[{\"a\":1\n2},{\"a\":\"b\nc\"},{\"a\":\n1}]";
    let answer = post(fixture.address, "/v1/topics/one/events", &[JSON], body).await;
    assert_eq!((&answer.json["accepted"], &answer.json["rejected"]), (&Value::from(1), &Value::from(2)));
    assert_eq!(stored(&fixture, &fixture.topics.get("one").unwrap(), 0), [(None, "{\"a\":1}".to_owned())]);
}

#[tokio::test]
async fn a_full_memory_budget_refuses_for_now() {
    let fixture = start(Threads::Real, LogOptions::default(), MemoryBudget::root("test", 1000)).await;
    let answer = post(fixture.address, "/v1/topics/one/events", &[JSON], b"{\"v\":1}").await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 1"));
    assert_eq!(fixture.gateway.counters().now().refused_requests, 1);
}

#[tokio::test]
async fn hostile_requests_are_refused_in_words() {
    let fixture = start_plain().await;
    let one = "/v1/topics/one/events";
    let deep = format!("{{\"a\":{}", "[".repeat(90_000));
    let bomb = gzip(&vec![b' '; 100 * 1024 * 1024]);
    let long_line = format!("{{\"a\":\"{}\"}}", "x".repeat(EVENT_BYTES_MAX));
    let long_name = format!("/v1/topics/{}/events", "t".repeat(250));
    let big = vec![b'\n'; 5 * 1024 * 1024];
    let gzipped = "Content-Encoding: gzip";
    let cases: &[(u16, &str, &[&str], &[u8])] = &[
        (400, one, &[JSON], b""),
        (400, one, &[NDJSON], b"\n\n"),
        (400, one, &[JSON], b"5"),
        (400, one, &[JSON], b"{\"a\":1}{\"a\":2}"),
        (400, one, &[JSON], b"\xff\xfe\x00"),
        (400, one, &[JSON], deep.as_bytes()),
        (400, one, &[NDJSON], long_line.as_bytes()),
        (400, one, &[JSON], long_line.as_bytes()),
        (400, one, &[JSON, gzipped], b"{\"a\":1}"),
        (400, one, &[JSON, gzipped], &bomb[..100]),
        (413, one, &[NDJSON, gzipped], &bomb),
        (413, one, &[NDJSON], &big),
        (413, one, &[NDJSON, "Content-Length: 99999999999"], b""),
        (400, one, &["Content-Type: application/x-www-form-urlencoded"], b"a=1"),
        (415, one, &["Content-Type: text/plain"], b"{}"),
        (415, one, &[JSON, "Content-Encoding: br"], b"{}"),
        (415, one, &[JSON, gzipped, gzipped], b"{}"),
        (400, "/v1/topics/one/events?keys=a", &[JSON], b"{}"),
        (400, "/v1/topics/one/events?key=a&key=b", &[JSON], b"{}"),
        (404, "/v1/topics/unknown/events", &[JSON], b"{}"),
        (400, "/v1/topics/../events", &[JSON], b"{}"),
        (400, "/v1/topics/%2e%2e/events", &[JSON], b"{}"),
        (400, "/v1/topics/a%2Fb/events", &[JSON], b"{}"),
        (400, "/v1/topics/a%00b/events", &[JSON], b"{}"),
        (400, "/v1/topics/%ff/events", &[JSON], b"{}"),
        (400, "/v1/topics/__catalog/events", &[JSON], b"{}"),
        (400, &long_name, &[JSON], b"{}"),
    ];
    for (status, target, headers, body) in cases {
        let answer = post(fixture.address, target, headers, body).await;
        let what = format!("{target} {headers:?} {:?}", String::from_utf8_lossy(&body[..body.len().min(40)]));
        assert_eq!(answer.status, *status, "{what}: {}", answer.json);
        assert!(answer.json["error"]["message"].is_string(), "{what}: {}", answer.json);
        assert!(answer.json["error"]["hint"].is_string(), "{what}");
    }
    assert_eq!(stored(&fixture, &fixture.topics.get("one").unwrap(), 0), []);
}

#[tokio::test]
async fn what_curl_sends_unasked_is_json() {
    let fixture = start_plain().await;
    for headers in [&[][..], &["Content-Type: application/x-www-form-urlencoded"]] {
        let answer = post(fixture.address, "/v1/topics/one/events", headers, b"[{\"a\":1},{\"a\":2}]").await;
        assert_eq!((answer.status, &answer.json["accepted"]), (200, &Value::from(2)), "{headers:?}");
    }
}

#[tokio::test]
async fn broken_off_and_silent_bodies() {
    let fixture = start_plain().await;
    let head = |length: usize| {
        format!(
            "POST /v1/topics/one/events HTTP/1.1\r\nHost: localhost\r\n{NDJSON}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )
    };
    // The sender waits for ever: what came is kept, and the answer says so.
    let answer = exchange(fixture.address, format!("{}{{\"v\":1}}\n", head(1000)).as_bytes()).await;
    assert_eq!((answer.status, &answer.json["accepted"]), (408, &Value::from(1)));
    assert_eq!(answer.json["resume_at_line"], 2);
    // Chunked, with a bad chunk size.
    let chunked = format!(
        "POST /v1/topics/one/events HTTP/1.1\r\nHost: localhost\r\n{NDJSON}\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{{\"v\":2}}\n\r\nzz\r\n"
    );
    let answer = exchange(fixture.address, chunked.as_bytes()).await;
    assert!(answer.status == 400 || answer.status == 0, "{}", answer.status);
    let values: Vec<_> = stored(&fixture, &fixture.topics.get("one").unwrap(), 0)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(values, ["{\"v\":1}", "{\"v\":2}"]);
}

#[tokio::test]
async fn the_list_of_errors_is_bounded() {
    let fixture = start_plain().await;
    let answer =
        post(fixture.address, "/v1/topics/one/events", &[NDJSON], "x\n".repeat(5000).as_bytes()).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json["rejected"], 5000);
    assert_eq!(answer.json["errors"].as_array().unwrap().len(), 100);
}
