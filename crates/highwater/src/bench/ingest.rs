//! JSON events over HTTP, each request answered when it is durable.

use std::fmt::Write as _;

use anyhow::{Context, bail};

use crate::demo::api::NodeApi;

use super::Bench;
use super::process::Usage;
use super::report::{Measured, Report};

pub(super) const TOPIC: &str = "bench";
pub(super) const PARTITIONS: i32 = 4;
/// Distinct keys.
pub(super) const KEYS: u64 = 1_000;
const CLIENTS: u64 = 4;
const EVENTS_PER_REQUEST: u64 = 1_000;
const EVENTS: u64 = 1_000_000;
const SPAN_MS: u64 = 60_000;

pub(super) fn run(bench: &Bench) -> anyhow::Result<Report> {
    let events = bench.events_or(EVENTS);
    let node = bench.start_node()?;
    let api = NodeApi::new(node.http.clone());
    create_topic(&api)?;
    let cpu_before = Usage::of(node.pid()).cpu;
    let begun = bench.clock.monotonic();
    let bytes = send(&api, events, SPAN_MS)?;
    let took = bench.clock.monotonic() - begun;
    let usage = Usage::of(node.pid());
    node.stop();
    let measured = Measured { events, bytes, took, cpu: usage.cpu.saturating_sub(cpu_before), usage };
    let what = format!(
        "JSON events of {} bytes over HTTP (NDJSON, {EVENTS_PER_REQUEST} a request, {CLIENTS} connections, \
         {PARTITIONS} partitions), each request acknowledged after fdatasync; CPU and memory are the node's",
        bytes / events.max(1)
    );
    Ok(Report::new("ingest", what, &measured))
}

pub(super) fn create_topic(api: &NodeApi) -> anyhow::Result<()> {
    let body = serde_json::json!({"name": TOPIC, "partitions": PARTITIONS}).to_string();
    api.post("/v1/topics", "application/json", &body)?;
    Ok(())
}

/// Sends `events` events from several connections; their event times are spread evenly over the
/// first `span_ms` after the Unix epoch. Answers the bytes sent.
pub(super) fn send(api: &NodeApi, events: u64, span_ms: u64) -> anyhow::Result<u64> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                // Connections are not shared: each client is one sender.
                let api = NodeApi::new(api.base().to_owned());
                scope.spawn(move || send_share(&api, client, events, span_ms))
            })
            .collect();
        clients.into_iter().try_fold(0, |sum, client| match client.join() {
            Ok(bytes) => Ok(sum + bytes?),
            Err(_) => bail!("a client ended early"),
        })
    })
}

/// Requests number `client`, `client` + CLIENTS, ...
fn send_share(api: &NodeApi, client: u64, events: u64, span_ms: u64) -> anyhow::Result<u64> {
    let mut sent = 0;
    let mut first = client * EVENTS_PER_REQUEST;
    while first < events {
        let last = (first + EVENTS_PER_REQUEST).min(events);
        let body = body(first..last, events, span_ms);
        let answer = api.post_events(TOPIC, Some("key"), &body).context("an event was not accepted")?;
        if answer.accepted != last - first || answer.rejected != 0 {
            bail!("{} of {} events were accepted", answer.accepted, last - first);
        }
        sent += body.len() as u64;
        first += CLIENTS * EVENTS_PER_REQUEST;
    }
    Ok(sent)
}

fn body(numbers: std::ops::Range<u64>, events: u64, span_ms: u64) -> String {
    let mut body = String::with_capacity(160 * EVENTS_PER_REQUEST as usize);
    for number in numbers {
        // Writing to a String does not fail. The multiplier spreads keys over neighbouring events.
        let _ = writeln!(
            body,
            "{{\"id\":{number},\"key\":\"sensor-{:04}\",\"event_time\":{},\"temperature\":{}.{},\
             \"pressure\":{}.5,\"site\":\"plant-{}\",\"state\":\"running\"}}",
            number.wrapping_mul(2_654_435_761) % KEYS,
            number * span_ms / events,
            number % 60 + 20,
            number % 10,
            number % 40 + 980,
            number % 7,
        );
    }
    body
}
