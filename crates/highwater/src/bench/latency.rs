//! From POST to the live table's stream: what a person at a chart waits for.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::demo::api::NodeApi;
use crate::demo::stop::{Stop, locked};

use super::process::Usage;
use super::report::{Measured, Report};
use super::{Bench, micros, percentile};

const EVENTS: u64 = 500;
/// One event at a time, this far apart.
const SEND_EVERY: Duration = Duration::from_millis(20);
/// An event not seen by then is a failure.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Two views of a table: each epoch as it commits, and changes as they are computed.
const VIEWS: [(&str, &str); 2] = [("committed", ""), ("uncommitted", "?uncommitted=true")];

const SQL: &str = "
CREATE TABLE pings (id BIGINT, sent BIGINT)
WITH ('connector' = 'kafka', 'topic' = 'pings', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE MATERIALIZED TABLE bench_latency AS
SELECT id, COUNT(*) AS events, MAX(sent) AS sent FROM pings GROUP BY id;";

pub(super) fn run(bench: &Bench) -> anyhow::Result<Report> {
    let events = bench.events_or(EVENTS);
    let node = bench.start_node()?;
    let api = NodeApi::new(node.http.clone());
    api.post("/v1/topics", "application/json", r#"{"name":"pings","partitions":1}"#)?;
    api.post("/v1/pipelines?name=bench_latency", "application/sql", SQL)
        .context("the pipeline was refused")?;
    let cpu_before = Usage::of(node.pid()).cpu;
    let begun = bench.clock.monotonic();
    let mut figures = Vec::new();
    for (round, (view, query)) in VIEWS.iter().enumerate() {
        let first = events * round as u64;
        let mut times = measure(bench, &api, query, first..first + events)?;
        figures.push((format!("{view}_p50_us"), micros(percentile(&mut times, 50))));
        figures.push((format!("{view}_p99_us"), micros(percentile(&mut times, 99))));
    }
    let took = bench.clock.monotonic() - begun;
    let usage = Usage::of(node.pid());
    node.stop();
    let cpu = usage.cpu.saturating_sub(cpu_before);
    let measured = Measured { events: events * VIEWS.len() as u64, bytes: 0, took, cpu, usage };
    let what = format!(
        "from the start of POST to the event in the table's stream, one event every {} ms, once seeing committed \
         epochs and once changes as they are computed",
        SEND_EVERY.as_millis()
    );
    let report = Report::new("latency", what, &measured);
    Ok(figures.into_iter().fold(report, |report, (name, value)| report.with(&name, value)))
}

/// Sends the events of `ids` one by one; answers how long each took to be seen.
fn measure(
    bench: &Bench,
    api: &NodeApi,
    query: &str,
    ids: std::ops::Range<u64>,
) -> anyhow::Result<Vec<Duration>> {
    let seen: Mutex<Vec<(u64, Duration)>> = Mutex::default();
    let all_seen = Stop::default();
    let wanted = usize::try_from(ids.end - ids.start)?;
    let path = format!("bench_latency/stream{query}");
    let mut sent = Vec::with_capacity(wanted);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The outcome shows in what was seen.
            let _ = api.follow(&path, |event| {
                let now = bench.clock.monotonic();
                let mut seen = locked(&seen);
                seen.extend(ids_in(event).into_iter().filter(|id| ids.contains(id)).map(|id| (id, now)));
                let complete = seen.len() >= wanted;
                if complete {
                    all_seen.stop();
                }
                !complete && !all_seen.is_stopped()
            });
            all_seen.stop();
        });
        let pause = Stop::default();
        for id in ids.clone() {
            pause.wait(SEND_EVERY);
            sent.push((id, bench.clock.monotonic()));
            let line = format!("{{\"id\":{id},\"sent\":{}}}", bench.clock.unix_ms());
            api.post_events("pings", None, &line)?;
        }
        all_seen.wait(WAIT_MAX);
        all_seen.stop();
        anyhow::Ok(())
    })?;
    let seen = locked(&seen);
    let first_seen = |id: u64| seen.iter().find(|(other, _)| *other == id).map(|(_, at)| *at);
    let times: Vec<Duration> =
        sent.iter().filter_map(|(id, at)| Some(first_seen(*id)?.saturating_sub(*at))).collect();
    if times.len() < wanted {
        bail!("{} of {wanted} events were seen in the table's stream", times.len());
    }
    Ok(times)
}

/// Every `"id":N` in an event of the stream, whatever surrounds it.
fn ids_in(event: &str) -> Vec<u64> {
    event
        .split("\"id\":")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .collect()
}
