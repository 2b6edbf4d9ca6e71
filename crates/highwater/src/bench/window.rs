//! TUMBLE count by key over JSON from the log.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::demo::api::NodeApi;

use super::Bench;
use super::ingest::{self, PARTITIONS, TOPIC};
use super::process::Usage;
use super::report::{Measured, Report};

const EVENTS: u64 = 2_000_000;
const WINDOW_MS: u64 = 10_000;
/// So many windows over all events; with 1,000 keys their rows fit one answer of the node.
const WINDOWS: u64 = 8;
/// The pipeline has this long.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Pause between looks while it works.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Four senders' requests interleave: events are out of order by some thousands of events.
const DELAY_S: u64 = 5;

pub(super) fn run(bench: &Bench) -> anyhow::Result<Report> {
    let events = bench.events_or(EVENTS);
    let node = bench.start_node()?;
    let api = NodeApi::new(node.http.clone());
    ingest::create_topic(&api)?;
    let bytes = ingest::send(&api, events, WINDOW_MS * WINDOWS)?;
    let position = end_of(&api)?;

    let cpu_before = Usage::of(node.pid()).cpu;
    let begun = bench.clock.monotonic();
    api.post("/v1/pipelines?name=bench_window", "application/sql", &sql())
        .context("the pipeline was refused")?;
    let stop = crate::demo::stop::Stop::default();
    let path = format!("/v1/tables/bench_window?limit=1&after={position}");
    while let Err(error) = api.get(&path) {
        if bench.clock.monotonic() - begun > WAIT_MAX {
            return Err(error.context("the pipeline did not get through"));
        }
        stop.wait(LOOK_EVERY);
    }
    let took = bench.clock.monotonic() - begun;
    let usage = Usage::of(node.pid());
    let rows = crate::demo::table_rows(&api, "bench_window", "")?;
    let counted: u64 = rows.iter().filter_map(|row| row["events"].as_u64()).sum();
    node.stop();

    let measured = Measured { events, bytes, took, cpu: usage.cpu.saturating_sub(cpu_before), usage };
    let what = format!(
        "COUNT per key (1000) and {} s window over JSON in the log ({PARTITIONS} partitions), from submitting the \
         pipeline to a committed epoch that covers all events; CPU and memory are the node's",
        WINDOW_MS / 1000
    );
    Ok(Report::new("window", what, &measured)
        .with("rows_in_closed_windows", rows.len())
        .with("events_in_closed_windows", counted))
}

fn sql() -> String {
    format!(
        "CREATE TABLE bench (`key` STRING, event_time BIGINT, ts AS TO_TIMESTAMP_LTZ(event_time, 3),
           WATERMARK FOR ts AS ts - INTERVAL '{DELAY_S}' SECOND)
         WITH ('connector' = 'kafka', 'topic' = '{TOPIC}', 'format' = 'json',
               'scan.startup.mode' = 'earliest-offset');
         CREATE MATERIALIZED TABLE bench_window AS
         SELECT `key`, window_start, window_end, COUNT(*) AS events
         FROM TABLE(TUMBLE(TABLE bench, DESCRIPTOR(ts), INTERVAL '{}' SECOND))
         GROUP BY `key`, window_start, window_end;",
        WINDOW_MS / 1000
    )
}

/// The position that covers every record of the topic, escaped for a query.
fn end_of(api: &NodeApi) -> anyhow::Result<String> {
    let topic = api.get(&format!("/v1/topics/{TOPIC}"))?;
    let Some(partitions) = topic["partitions"].as_array() else {
        bail!("the node described the topic without partitions: {topic}");
    };
    let ends: Vec<String> = partitions
        .iter()
        .filter_map(|p| Some(format!("{}@{}", p["partition"].as_i64()?, p["high_watermark"].as_i64()?)))
        .collect();
    Ok(format!("{TOPIC}%3A{}", ends.join("%2C").replace('@', "%40")))
}
