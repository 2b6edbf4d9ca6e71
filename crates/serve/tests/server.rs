//! The server over a real loopback socket, in front of a node in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/client.rs"]
mod client;
#[path = "support/double.rs"]
mod double;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{Events, exchange, get, send};
use double::{DoubleNode, Row, topic};
use highwater_coordinator::{LogTopicWriter, TopicOptions, Topics};
use highwater_env::{Clock, ManualClock, MemoryBudget, RealDisk, SeededEntropy};
use highwater_gateway::{Gateway, GatewayOptions};
use highwater_log::{Log, LogOptions};
use highwater_serve::*;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

struct Fixture {
    address: SocketAddr,
    node: Arc<DoubleNode>,
    clock: Arc<ManualClock>,
    stop: Option<oneshot::Sender<()>>,
    stopped: tokio::task::JoinHandle<std::io::Result<()>>,
    _dir: tempfile::TempDir,
}

async fn start() -> Fixture {
    start_with(ServerOptions::default()).await
}

async fn start_with(options: ServerOptions) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let manual = Arc::new(ManualClock::at(1_700_000_000_000));
    let clock: Arc<dyn Clock> = manual.clone();
    let budget = MemoryBudget::unlimited();
    let (log, _) =
        Log::open(Arc::new(RealDisk), Arc::clone(&clock), dir.path(), LogOptions::default(), &budget)
            .unwrap();
    let topics = Topics::open(log.clone(), Arc::new(SeededEntropy::new(1)), TopicOptions::default()).unwrap();
    let writer = Arc::new(LogTopicWriter::new(log, topics, Arc::clone(&clock)));
    let gateway = Gateway::new(writer, Arc::clone(&clock), GatewayOptions::default(), budget);
    let node = Arc::new(DoubleNode::default());
    *node.topics.lock().unwrap() = vec![topic("fleet", &[10, 20])];
    let server = Server::new(Arc::clone(&node) as Arc<dyn Node>, gateway, clock, options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = oneshot::channel();
    let stopped = tokio::spawn(async move {
        let until = async move { drop(stopping.await) };
        server.serve(listener, until).await
    });
    Fixture { address, node, clock: manual, stop: Some(stop), stopped, _dir: dir }
}

fn row(vehicle: &str, events: i64) -> Row {
    Row {
        vehicle: vehicle.to_owned(),
        region: "north".to_owned(),
        at_ms: 1000,
        speed: Some(1.5),
        engine_c: 90.0,
        events,
    }
}

#[tokio::test]
async fn every_route_is_described_and_answers() {
    let fixture = start().await;
    let document = get(fixture.address, "/openapi.json").await.json();
    for route in ROUTES {
        let verb = format!("{:?}", route.verb);
        let described = &document["paths"][route.path][verb.to_lowercase()];
        assert_eq!(described["operationId"], format!("{:?}", route.operation), "{}", route.path);
        let path = route
            .path
            .replace("{topic}", "fleet")
            .replace("{table}", "vehicle_health")
            .replace("{pipeline}", "nope");
        if path.ends_with("/stream") {
            let (name, _) = Events::open(fixture.address, &path).await.next().await;
            assert_eq!(name, "snapshot");
            continue;
        }
        let answer =
            send(fixture.address, &verb.to_uppercase(), &path, &["Content-Type: application/json"], "{}")
                .await;
        assert_ne!(answer.status, 405, "{path}");
        let no_route = answer.body.contains("there is nothing at this path");
        assert!(answer.status != 404 || !no_route, "{verb} {path} is not routed");
    }
    let paths = document["paths"].as_object().unwrap();
    let described: usize = paths.values().map(|verbs| verbs.as_object().unwrap().len()).sum();
    assert_eq!(described, ROUTES.len());
}

#[tokio::test]
async fn events_go_through_to_the_log() {
    let fixture = start().await;
    let answer = send(
        fixture.address,
        "POST",
        "/v1/topics/t/events",
        &["Content-Type: application/x-ndjson"],
        "{\"a\":1}\nx\n",
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["position"], "t:0@1");
    let metrics = get(fixture.address, "/metrics").await.body;
    assert!(metrics.contains("\nhighwater_gateway_accepted_events_total 1\n"), "{metrics}");
    assert!(metrics.contains("\nhighwater_log_syncs_total 7\n"), "{metrics}");
    assert!(
        metrics.contains("highwater_coordinator_partition_end_offset{topic=\"fleet\",partition=\"1\"} 20\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn groups() {
    let fixture = start().await;
    let offset = |partition, committed, lag| GroupOffsetStatus {
        topic: "fleet".to_owned(),
        partition,
        committed,
        lag: Some(lag),
    };
    let group = |name: &str, members| GroupStatus {
        name: name.to_owned(),
        state: "Stable".to_owned(),
        protocol_type: "consumer".to_owned(),
        members,
        offsets: vec![offset(0, 6, 4), offset(1, 20, 0)],
    };
    let member = GroupMemberStatus {
        id: "c-1".to_owned(),
        instance_id: None,
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        assigned: vec!["fleet-0".to_owned()],
    };
    *fixture.node.groups.lock().unwrap() = vec![group("busy", vec![member]), group("idle", Vec::new())];
    let listed = get(fixture.address, "/v1/groups").await.json();
    let busy = json!({"name": "busy", "state": "Stable", "protocol_type": "consumer", "members": 1, "partitions": 2, "lag": 4, "read_per_s": null});
    assert_eq!((&listed["groups"][0], listed["groups"].as_array().unwrap().len()), (&busy, 2));
    let described = get(fixture.address, "/v1/groups/busy").await.json();
    assert_eq!(described["lag"], 4);
    assert_eq!(described["members"][0]["assigned"], json!(["fleet-0"]));
    assert_eq!(described["offsets"][0], json!({"topic": "fleet", "partition": 0, "committed": 6, "lag": 4}));
    assert_eq!(get(fixture.address, "/v1/groups/nope").await.status, 404);
    let metrics = get(fixture.address, "/metrics").await.body;
    for line in [
        "highwater_coordinator_groups_count 2",
        "highwater_coordinator_group_members_count{group=\"busy\"} 1",
        "highwater_coordinator_group_lag_records{group=\"busy\",topic=\"fleet\",partition=\"0\"} 4",
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line} is missing in:\n{metrics}");
    }
    let json_type = &["Content-Type: application/json"];
    let reset = |group: &str, body: &'static str| {
        let path = format!("/v1/groups/{group}/offsets");
        async move { send(fixture.address, "POST", &path, json_type, body).await }
    };
    let done = reset("idle", r#"{"topic":"fleet","partition":0,"to":"start"}"#).await;
    assert_eq!((done.status, &done.json()["lag"]), (200, &json!(10)));
    let done = reset("idle", r#"{"topic":"fleet","to":"end"}"#).await.json();
    assert_eq!(done["lag"], 0);
    assert_eq!(
        reset("idle", r#"{"topic":"fleet","partition":0,"to":7}"#).await.json()["offsets"][0]["committed"],
        7
    );
    assert_eq!(reset("busy", r#"{"topic":"fleet","to":"end"}"#).await.status, 400);
    assert_eq!(reset("idle", r#"{"topic":"fleet","to":"soon"}"#).await.status, 400);
    assert_eq!(reset("idle", "{}").await.status, 400);
    assert_eq!(send(fixture.address, "DELETE", "/v1/groups/idle", &[], "").await.status, 200);
    assert_eq!(send(fixture.address, "DELETE", "/v1/groups/idle", &[], "").await.status, 404);
}

#[tokio::test]
async fn groups_are_looked_at_so_often_however_many_ask() {
    let fixture = start().await;
    let group = |committed, lag| GroupStatus {
        name: "g".to_owned(),
        state: "Stable".to_owned(),
        protocol_type: "consumer".to_owned(),
        members: Vec::new(),
        offsets: vec![GroupOffsetStatus {
            topic: "fleet".to_owned(),
            partition: 0,
            committed,
            lag: Some(lag),
        }],
    };
    let asked = || fixture.node.groups_asked.load(std::sync::atomic::Ordering::SeqCst);
    *fixture.node.groups.lock().unwrap() = vec![group(5, 10)];
    for path in ["/v1/groups", "/v1/topics", "/metrics", "/v1/groups"] {
        assert_eq!(get(fixture.address, path).await.status, 200);
    }
    assert_eq!(asked(), 1);
    fixture.clock.advance_ms(1000);
    *fixture.node.groups.lock().unwrap() = vec![group(35, 0)];
    let listed = get(fixture.address, "/v1/groups").await.json();
    assert_eq!((&listed["groups"][0]["lag"], &listed["groups"][0]["read_per_s"]), (&json!(0), &json!(30.0)));
    let topics = get(fixture.address, "/v1/topics").await.json();
    assert_eq!(topics["topics"][0]["read_per_s"], 30.0);
    assert_eq!(asked(), 2);
    // What was changed by request shows at once.
    send(fixture.address, "DELETE", "/v1/groups/g", &[], "").await;
    assert_eq!(get(fixture.address, "/v1/groups").await.json()["groups"], json!([]));
}

#[tokio::test]
async fn transactions() {
    let fixture = start().await;
    let partition = TransactionPartition { topic: "fleet".to_owned(), partition: 1, first_offset: Some(7) };
    let transaction = |id: &str, open_since_ms, partitions| TransactionStatus {
        id: id.to_owned(),
        state: if Option::is_some(&open_since_ms) { "Ongoing" } else { "Empty" }.to_owned(),
        producer_id: 4,
        producer_epoch: 2,
        timeout_ms: 60_000,
        open_since_ms,
        partitions,
    };
    *fixture.node.transactions.lock().unwrap() = vec![
        transaction("a/b", Some(1_700_000_000_000 - 250), vec![partition]),
        transaction("idle", None, Vec::new()),
    ];
    *fixture.node.hanging.lock().unwrap() = vec![HangingTransaction {
        topic: "fleet".to_owned(),
        partition: 0,
        producer_id: 9,
        producer_epoch: 1,
        first_offset: 3,
        last_written_ms: 5,
    }];
    let listed = get(fixture.address, "/v1/transactions").await.json();
    let open = json!({"id": "a/b", "state": "Ongoing", "producer_id": 4, "producer_epoch": 2, "timeout_ms": 60_000, "open_for_ms": 250, "partitions": 1});
    assert_eq!((&listed["transactions"][0], &listed["more"]), (&open, &json!(false)));
    assert_eq!(
        (listed["transactions"].as_array().unwrap().len(), &listed["hanging"][0]["producer_id"]),
        (2, &json!(9))
    );
    let only_open = get(fixture.address, "/v1/transactions?open=true").await.json();
    assert_eq!(only_open["transactions"], json!([open]));
    let described = get(fixture.address, "/v1/transactions/a%2Fb").await.json();
    assert_eq!(described["partitions"], json!([{"topic": "fleet", "partition": 1, "first_offset": 7}]));
    assert_eq!(get(fixture.address, "/v1/transactions/nope").await.status, 404);
    let post = |path: &'static str, body: &'static str| async move {
        send(fixture.address, "POST", path, &["Content-Type: application/json"], body).await
    };
    let aborted = post("/v1/transactions/a%2Fb/abort", "").await;
    assert_eq!((aborted.status, &aborted.json()["state"]), (200, &json!("CompleteAbort")));
    assert_eq!(post("/v1/transactions/a%2Fb/abort", "").await.status, 400);
    let hanging = "/v1/topics/fleet/abort-transaction";
    assert_eq!(post(hanging, r#"{"partition":1,"producer_id":9}"#).await.status, 404);
    assert_eq!(post(hanging, r#"{"partition":0}"#).await.status, 400);
    assert_eq!(post(hanging, r#"{"partition":0,"producer_id":9}"#).await.status, 200);
    assert_eq!(get(fixture.address, "/v1/transactions").await.json()["hanging"], json!([]));
}

#[tokio::test]
async fn topics() {
    let fixture = start().await;
    let fleet = get(fixture.address, "/v1/topics/fleet").await.json();
    assert_eq!((&fleet["records"], &fleet["partitions"][1]["high_watermark"]), (&json!(30), &json!(20)));
    let json_type = &["Content-Type: application/json"];
    let new = r#"{"name":"new","partitions":2,"configs":{"retention.ms":"1000"}}"#;
    let made = send(fixture.address, "POST", "/v1/topics", json_type, new).await;
    assert_eq!((made.status, made.json()["partitions"].as_array().unwrap().len()), (201, 2));
    assert_eq!(send(fixture.address, "POST", "/v1/topics", json_type, new).await.status, 409);
    for bad in
        ["", "{}", "[]", r#"{"name":"x","partition":2}"#, r#"{"name":"x","partitions":0}"#, r#"{"name":7}"#]
    {
        let refused = send(fixture.address, "POST", "/v1/topics", json_type, bad).await;
        assert_eq!(refused.status, 400, "{bad}");
        assert!(refused.json()["error"]["hint"].is_string(), "{bad}");
    }
    let post = async |path: &str, body: &str| {
        let path = format!("/v1/topics/new/{path}");
        send(fixture.address, "POST", &path, json_type, body).await
    };
    let altered = post("configs", r#"{"configs":{"segment.ms":"7","retention.ms":null}}"#).await.json();
    assert_eq!(altered["configs"], json!({"segment.ms": "7"}));
    assert_eq!(altered["all_configs"][0]["name"], "segment.ms");
    let grown = post("partitions", r#"{"partitions":5}"#).await.json();
    assert_eq!(grown["partitions"].as_array().unwrap().len(), 5);
    let trimmed = post("delete-records", r#"{"partition":1,"before":0}"#).await;
    assert_eq!((trimmed.status, &trimmed.json()["partitions"][1]["log_start_offset"]), (200, &json!(0)));
    for (path, bad) in [
        ("configs", "{}"),
        ("configs", r#"{"configs":{"segment.ms":7}}"#),
        ("partitions", r#"{"partitions":5}"#),
        ("partitions", r#"{"partitions":"6"}"#),
        ("delete-records", r#"{"offset":1}"#),
    ] {
        assert_eq!(post(path, bad).await.status, 400, "{path} {bad}");
    }
    assert_eq!(send(fixture.address, "DELETE", "/v1/topics/new", &[], "").await.status, 200);
    assert_eq!(post("partitions", r#"{"partitions":9}"#).await.status, 404);
    assert_eq!(send(fixture.address, "DELETE", "/v1/topics/new", &[], "").await.status, 404);
}

#[tokio::test]
async fn records_are_shown_as_text_or_hexadecimal() {
    let fixture = start().await;
    let record = |offset, key: Option<&[u8]>, value: &[u8]| TopicRecord {
        offset,
        timestamp_ms: 5,
        key: key.map(<[u8]>::to_vec),
        value: Some(value.to_vec()),
        headers: vec![(b"h".to_vec(), None)],
    };
    *fixture.node.records.lock().unwrap() = vec![record(0, None, b"a"), record(1, Some(b"k"), b"\xff\x01")];
    let all = get(fixture.address, "/v1/topics/fleet/records?from=start").await.json();
    let expected = json!([
        {"offset": 0, "timestamp_ms": 5, "key": null, "value": "a", "headers": [["h", null]]},
        {"offset": 1, "timestamp_ms": 5, "key": "k", "value_hex": "ff01", "headers": [["h", null]]},
    ]);
    assert_eq!((&all["records"], &all["next"]), (&expected, &json!(2)));
    let last = get(fixture.address, "/v1/topics/fleet/records?limit=1").await.json();
    assert_eq!(last["records"][0]["offset"], 1);
    for bad in ["from=x", "limit=-1", "partition=x", "unknown=1"] {
        assert_eq!(
            get(fixture.address, &format!("/v1/topics/fleet/records?{bad}")).await.status,
            400,
            "{bad}"
        );
    }
    assert_eq!(get(fixture.address, "/v1/topics/fleet/records?partition=9").await.status, 404);
}

#[tokio::test]
async fn tables_by_scan_and_by_key() {
    let fixture = start().await;
    fixture.node.commit(vec![row("a", 1), Row { speed: None, ..row("b", 2) }]);
    let all = get(fixture.address, "/v1/tables/vehicle_health").await.json();
    let expected = json!([
        {"vehicle": "a", "region": "north", "at": "1970-01-01 00:00:01.000", "speed": 1.5, "engine_c": 90.0, "events": 1},
        {"vehicle": "b", "region": "north", "at": "1970-01-01 00:00:01.000", "speed": null, "engine_c": 90.0, "events": 2},
    ]);
    assert_eq!((&all["rows"], &all["epoch"], &all["more"]), (&expected, &json!(1), &json!(false)));
    let first = get(fixture.address, "/v1/tables/vehicle_health?limit=1").await.json();
    assert_eq!((first["rows"].as_array().unwrap().len(), &first["more"]), (1, &json!(true)));
    for query in ["key=b", "key.vehicle=b"] {
        let found = get(fixture.address, &format!("/v1/tables/vehicle_health?{query}")).await.json();
        assert_eq!(found["rows"], json!([expected[1]]), "{query}");
    }
    assert_eq!(get(fixture.address, "/v1/tables/vehicle_health?key=zzz").await.json()["rows"], json!([]));
    assert_eq!(get(fixture.address, "/v1/tables/vehicle_health?key=a&key=b").await.status, 400);
    assert_eq!(get(fixture.address, "/v1/tables/nope").await.status, 404);
    assert_eq!(get(fixture.address, "/v1/tables").await.json()["tables"][0]["rows"], 2);
}

#[tokio::test]
async fn after_waits_for_a_committed_epoch() {
    let fixture = start().await;
    let target = "/v1/tables/vehicle_health?after=fleet:0@5&timeout_ms=60000";
    let asked = tokio::spawn(async move { get(fixture.address, target).await });
    let early = get(fixture.address, "/v1/tables/vehicle_health?after=fleet:0@5&timeout_ms=50").await;
    assert_eq!(early.status, 504, "{}", early.body);
    assert!(!asked.is_finished());
    fixture.node.cover(4);
    fixture.node.commit(vec![row("a", 1)]);
    fixture.node.cover(5);
    let answer = asked.await.unwrap();
    assert_eq!((answer.status, &answer.json()["rows"][0]["vehicle"]), (200, &json!("a")));
    assert_eq!(get(fixture.address, "/v1/tables/vehicle_health?after=other:0@5").await.status, 400);
    assert_eq!(get(fixture.address, "/v1/tables/vehicle_health?after=nonsense").await.status, 400);
}

#[tokio::test]
async fn a_subscription_is_a_snapshot_and_then_changes() {
    let fixture = start().await;
    fixture.node.commit((0..2500).map(|n| row(&format!("v{n:04}"), n)).collect());
    let mut events = Events::open(fixture.address, "/v1/tables/vehicle_health/stream").await;
    let mut seen = 0;
    for (part, rows) in [1000, 1000, 500].into_iter().enumerate() {
        let (name, data) = events.next().await;
        assert_eq!(name, "snapshot");
        assert_eq!(data["rows"].as_array().unwrap().len(), rows);
        assert_eq!((&data["first"], &data["more"]), (&json!(part == 0), &json!(part < 2)));
        seen += rows;
    }
    assert_eq!(seen, 2500);
    fixture.node.commit(vec![row("v0000", 77), row("new", 1)]);
    let (name, data) = events.next().await;
    assert_eq!((name.as_str(), &data["epoch"], &data["committed"]), ("changes", &json!(2), &json!(true)));
    let ops: Vec<_> = data["changes"].as_array().unwrap().iter().map(|change| change["op"].clone()).collect();
    assert_eq!(ops, ["-U", "+U", "+I"]);
    assert_eq!(data["changes"][1]["row"]["events"], 77);
    assert_eq!(get(fixture.address, "/v1/tables/nope/stream").await.status, 404);
    assert_eq!(get(fixture.address, "/v1/tables/vehicle_health/stream?uncommitted=maybe").await.status, 400);
}

#[tokio::test]
async fn a_slow_subscriber_is_told_and_begins_anew() {
    let fixture = start().await;
    let mut events = Events::open(fixture.address, "/v1/tables/vehicle_health/stream").await;
    assert_eq!(events.next().await.0, "snapshot");
    // It does not read: socket buffers fill, then its queue, then it overflows.
    let mut epochs = 0;
    while fixture.node.feed.subscribers() > 0 {
        fixture.node.commit((0..1000).map(|n| row(&format!("v{n}"), epochs)).collect());
        epochs += 1;
        assert!(epochs < 5000, "the queue is not bounded");
        tokio::task::yield_now().await;
    }
    let mut named = Vec::new();
    let snapshot = loop {
        let (name, data) = events.next().await;
        named.push(name.clone());
        if name == "snapshot" {
            break data;
        }
    };
    assert_eq!(&named[named.len() - 2..], ["overflow", "snapshot"]);
    assert_eq!(snapshot["rows"][0]["events"], epochs - 1, "the new snapshot is of the last epoch");
    fixture.node.commit(vec![row("v0", -1)]);
    assert_eq!(events.next().await.1["changes"][1]["row"]["events"], -1);
    assert!(get(fixture.address, "/metrics").await.body.contains("highwater_serve_overflows_total 1\n"));
}

#[tokio::test]
async fn pipelines() {
    let fixture = start().await;
    let check =
        send(fixture.address, "POST", "/v1/sql/check?name=p&var.A=1&var.B=x%20y", &[], "SELECT 1").await;
    assert_eq!(check.json(), json!({"pipeline": "p", "explain": "A=1 B=x y"}));
    let wrong = send(fixture.address, "POST", "/v1/pipelines", &[], "SELCT 1").await;
    let error = &wrong.json()["error"];
    assert_eq!((wrong.status, &error["line"], &error["text"]), (400, &json!(1), &json!("SELCT ")));
    assert_eq!(send(fixture.address, "POST", "/v1/pipelines?name=p", &[], "SELECT 1").await.status, 201);
    assert_eq!(send(fixture.address, "POST", "/v1/pipelines?x=1", &[], "SELECT 1").await.status, 400);
    assert_eq!(send(fixture.address, "POST", "/v1/pipelines", &[], &" ".repeat(2 << 20)).await.status, 413);
    assert_eq!(send(fixture.address, "POST", "/v1/pipelines/nope/stop", &[], "").await.status, 404);
    assert_eq!(send(fixture.address, "DELETE", "/v1/pipelines/nope", &[], "").await.status, 404);
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused() {
    let hosts = HostRules { hosts: vec!["stream.example".to_owned()] };
    let fixture = start_with(ServerOptions { hosts, ..ServerOptions::default() }).await;
    let cases: &[(u16, &str, &[&str])] = &[
        (200, "GET", &["Host: localhost:8080"]),
        (200, "GET", &["Host: [::1]:8080"]),
        (200, "GET", &["Host: stream.example"]),
        (403, "GET", &["Host: evil.example"]),
        (403, "GET", &["Host: 127.0.0.1.evil.example:8080"]),
        (403, "GET", &["Host: localhost", "Host: evil.example"]),
        (200, "GET", &["Origin: http://evil.example"]),
        (403, "POST", &["Origin: http://evil.example"]),
        (403, "POST", &["Origin: null"]),
        (403, "DELETE", &["Origin: http://localhost.evil.example"]),
        (400, "POST", &["Origin: http://127.0.0.1:9999"]),
        (400, "POST", &[]),
    ];
    for (status, method, headers) in cases {
        let target = if *method == "DELETE" { "/v1/topics/fleet" } else { "/v1/topics" };
        let answer = send(fixture.address, method, target, headers, "").await;
        assert_eq!(answer.status, *status, "{method} {headers:?}: {}", answer.body);
    }
    assert!(!fixture.node.topics.lock().unwrap().is_empty());
    let absolute = exchange(
        fixture.address,
        b"GET http://evil.example/v1/topics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(absolute.status, 403);
    let nameless = exchange(fixture.address, b"GET /v1/topics HTTP/1.0\r\n\r\n").await;
    assert_eq!(nameless.status, 403);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let fixture = start().await;
    for target in [
        "/",
        "/v1/topics",
        "/nope",
        "/metrics",
        "/v1/tables/nope",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//",
        "/v1/topics/%ff",
    ] {
        let answer = get(fixture.address, target).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{target}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{target}: {policy}");
        if answer.status >= 400 {
            assert!(answer.json()["error"]["hint"].is_string(), "{target}: {}", answer.body);
        }
        assert!(!answer.body.contains("root:"), "{target}");
    }
    assert_eq!(send(fixture.address, "PUT", "/v1/topics", &[], "").await.status, 405);
    let page = get(fixture.address, "/").await;
    let nonce = page
        .header("content-security-policy")
        .unwrap()
        .split("'nonce-")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    assert!(page.body.contains(&format!("<script nonce=\"{nonce}\">")));
    assert!(!page.body.contains("__"), "a placeholder was left");
    assert_ne!(
        get(fixture.address, "/").await.header("content-security-policy"),
        page.header("content-security-policy")
    );
}

#[tokio::test]
async fn the_page_knows_the_demo_only_if_there_is_one() {
    let url = "http://127.0.0.1:4567".to_owned();
    let fixture = start_with(ServerOptions { demo_url: Some(url.clone()), ..ServerOptions::default() }).await;
    let page = get(fixture.address, "/").await;
    assert!(page.body.contains(&format!("content=\"{url}\"")));
    assert!(page.header("content-security-policy").unwrap().contains(&format!("connect-src 'self' {url};")));
    let evil = Some("http://x\"><script>; script-src *".to_owned());
    let fixture = start_with(ServerOptions { demo_url: evil, ..ServerOptions::default() }).await;
    assert!(get(fixture.address, "/").await.body.contains("<meta name=\"highwater-demo\" content=\"\">"));
}

#[tokio::test]
async fn a_stop_ends_subscriptions_and_returns() {
    let mut fixture = start().await;
    let mut events = Events::open(fixture.address, "/v1/tables/vehicle_health/stream").await;
    assert_eq!(events.next().await.0, "snapshot");
    fixture.stop.take().unwrap().send(()).unwrap();
    assert_eq!(events.next().await.0, "end");
    fixture.stopped.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let options = ServerOptions {
        idle_timeout: Duration::from_millis(100),
        connections_max: 1,
        ..ServerOptions::default()
    };
    let fixture = start_with(options).await;
    // It holds the only place, says half a request and no more.
    let slow = exchange(fixture.address, b"GET / HTTP/1.1\r\nHost: loc").await;
    assert!(slow.status == 0 || slow.status == 408, "{}", slow.status);
    assert_eq!(get(fixture.address, "/healthz").await.status, 200);
}
