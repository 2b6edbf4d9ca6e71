//! The HTTP server over a node in memory that invents a fleet, with a false demo supervisor: to
//! look at the page. `cargo run -p highwater-serve --example double [PORT]`

#![allow(clippy::unwrap_used, missing_docs, clippy::print_stdout, reason = "a tool for developers")]

#[path = "../tests/support/double.rs"]
mod double;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::http::HeaderValue;
use axum::routing::{get, post};
use double::{DoubleNode, Row, topic};
use highwater_coordinator::{NewRecord, TopicError, TopicWriter, WriteError, WriteOutcome};
use highwater_env::{Clock, MemoryBudget, SystemClock};
use highwater_gateway::{Gateway, GatewayOptions};
use highwater_serve::{
    GroupOffsetStatus, GroupStatus, OperatorStatus, PipelineState, PipelineStatus, Server, ServerOptions,
    SinkBalance, SourceBalance,
};
use tokio::net::TcpListener;

struct NoTopics;

impl TopicWriter for NoTopics {
    fn write(&self, topic: &str, _records: Vec<NewRecord>) -> Result<WriteOutcome, WriteError> {
        Err(TopicError::Unknown(topic.to_owned()).into())
    }
}

#[tokio::main]
async fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8090);
    let node = Arc::new(DoubleNode::default());
    let clock = Arc::new(SystemClock::new());
    let killed = Arc::new(tokio::sync::Notify::new());
    let down = Arc::new(AtomicBool::new(false));
    tokio::spawn(drive(Arc::clone(&node), Arc::clone(&clock)));
    tokio::spawn(supervise(port + 1, Arc::clone(&killed), Arc::clone(&down), Arc::clone(&node)));
    loop {
        let gateway = Gateway::new(
            Arc::new(NoTopics),
            clock.clone(),
            GatewayOptions::default(),
            MemoryBudget::unlimited(),
        );
        let options = ServerOptions {
            demo_url: Some(format!("http://127.0.0.1:{}", port + 1)),
            shutdown_grace: Duration::from_millis(10),
            ..ServerOptions::default()
        };
        let server = Server::new(node.clone(), gateway, clock.clone(), options);
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        println!("http://127.0.0.1:{port}/");
        let kill = Arc::clone(&killed);
        server.serve(listener, async move { kill.notified().await }).await.expect("it serves");
        tokio::time::sleep(Duration::from_millis(1400)).await;
        down.store(false, Ordering::SeqCst);
    }
}

/// Moves the fleet twice a second.
async fn drive(node: Arc<DoubleNode>, clock: Arc<SystemClock>) {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    let mut step = 0_u32;
    loop {
        tick.tick().await;
        step += 1;
        let at_ms = clock.unix_ms();
        let row = |number: u32| {
            let wave = f64::from(step) / (6.0 + f64::from(number)) + f64::from(number);
            Row {
                vehicle: format!("truck-{number:02}"),
                region: ["north", "east", "south", "west"][number as usize % 4].to_owned(),
                at_ms,
                speed: (step % 23 != number).then(|| 45.0 + 25.0 * wave.sin() + 4.0 * (wave * 7.0).cos()),
                engine_c: 88.0
                    + 6.0 * (wave / 2.0).sin()
                    + if number == 5 && step % 60 > 45 { 25.0 } else { 0.0 },
                events: i64::from(step) * 12,
            }
        };
        node.commit((0..14).map(row).collect());
        let records = i64::from(step) * 700;
        *node.topics.lock().unwrap() = vec![
            topic("fleet", &[records, records * 9 / 10, records * 11 / 10, records]),
            topic("fleet.dead-letter", &[i64::from(step / 7)]),
            topic("host", &[i64::from(step) * 4]),
            topic("__catalog", &[12]),
        ];
        *node.groups.lock().unwrap() =
            vec![group("billing", records, 40), group("search.index", records, 9_000)];
        *node.pipelines.lock().unwrap() = vec![pipeline(u64::from(step), at_ms)];
    }
}

/// A group that is so far behind the four partitions' ends.
fn group(name: &str, records: i64, behind: i64) -> GroupStatus {
    let offset = |partition| GroupOffsetStatus {
        topic: "fleet".to_owned(),
        partition,
        committed: (records - behind).max(0),
        lag: Some(behind.min(records)),
    };
    GroupStatus {
        name: name.to_owned(),
        state: "Stable".to_owned(),
        protocol_type: "consumer".to_owned(),
        members: Vec::new(),
        offsets: (0..4).map(offset).collect(),
    }
}

fn pipeline(step: u64, at_ms: i64) -> PipelineStatus {
    let rows = step * 2800;
    let operator = |node: usize, title: &str, rows_in: u64, rows_out: u64, late_rows: u64| OperatorStatus {
        node,
        uid: format!("operator:{node}"),
        title: title.to_owned(),
        inputs: node.checked_sub(1).into_iter().collect(),
        rows_in,
        rows_out,
        filtered: if node == 1 { rows_in - rows_out } else { 0 },
        late_rows,
        watermark_ms: Some(at_ms - 4200),
        held_back_by: (node == 0).then(|| "partition 3".to_owned()),
        state_keys: if node == 2 { 14 } else { 0 },
        state_bytes: if node == 2 { 5120 } else { 0 },
        busy_ms: step * 3,
        lag: (node == 0).then_some(340),
    };
    PipelineStatus {
        name: "fleet".to_owned(),
        state: PipelineState::Running,
        error: None,
        epoch: step / 2,
        committed_at_ms: Some(at_ms),
        epoch_duration_ms: Some(38),
        restarts: 1,
        recovery_ms: Some(412),
        lag: Some(340),
        operators: vec![
            operator(0, "Source(fleet)", rows, rows, 0),
            operator(1, "Calc(speed IS NOT NULL)", rows, rows * 95 / 100, 0),
            operator(2, "WindowAggregate(vehicle, TUMBLE 5 s)", rows * 95 / 100, step * 14, step / 3),
            operator(3, "Sink(vehicle_health)", step * 14, 0, 0),
        ],
        sources: vec![SourceBalance {
            table: "fleet".to_owned(),
            records: rows + step / 7,
            decoded: rows,
            dead_lettered: step / 7,
            skipped: 0,
        }],
        sinks: vec![SinkBalance {
            table: "vehicle_health".to_owned(),
            connector: "materialized".to_owned(),
            guarantee: "exactly-once".to_owned(),
            received: step * 14,
            committed: step * 14 - 14,
            suppressed: 0,
            pending: 14,
        }],
    }
}

/// What `highwater demo` answers, invented.
async fn supervise(
    port: u16,
    killed: Arc<tokio::sync::Notify>,
    down: Arc<AtomicBool>,
    node: Arc<DoubleNode>,
) {
    let kills = Arc::new(AtomicU64::new(0));
    let (count, is_down) = (Arc::clone(&kills), Arc::clone(&down));
    let status = get(move || {
        let records =
            node.topics.lock().unwrap().first().map_or(0, |topic| topic.partitions[0].high_watermark * 4);
        let kills = count.load(Ordering::SeqCst);
        let recovery = serde_json::json!({ "healthy_ms": 412, "caught_up_ms": 1390 });
        let answer = serde_json::json!({
            "phase": if is_down.load(Ordering::SeqCst) { "down" } else { "running" },
            "acknowledged": records, "processed": records, "lost": 0, "doubled": 0,
            "kills": kills, "recoveries": if kills > 0 { vec![recovery] } else { vec![] }, "trouble": "",
        });
        async { Json(answer) }
    });
    let kill = post(move || {
        kills.fetch_add(1, Ordering::SeqCst);
        down.store(true, Ordering::SeqCst);
        killed.notify_waiters();
        async { Json(serde_json::json!({})) }
    });
    let allow = |mut response: axum::response::Response| async move {
        response.headers_mut().insert("access-control-allow-origin", HeaderValue::from_static("*"));
        response
    };
    let router = axum::Router::new()
        .route("/v1/demo", status)
        .route("/v1/demo/kill", kill)
        .layer(axum::middleware::map_response(allow));
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    axum::serve(listener, router).await.expect("it serves");
}
