//! The Nexmark queries over JSON in the log, each by `highwater run` in a process of its own.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use highwater_env::{Disk, OpenMode, RealDisk};

use crate::demo::stop::Stop;

use super::Bench;
use super::process::Usage;
use super::report::{Measured, Report};

const EVENTS: u64 = 2_000_000;
const TOPIC: &str = "nexmark";
const TABLES: &str = include_str!("../../../../benches/nexmark/queries/tables.sql");
/// Pause between looks at the memory of a running query.
const LOOK_EVERY: Duration = Duration::from_millis(5);

macro_rules! queries {
    ($($name:literal)*) => {
        /// Name and text. Flink refuses q6; q10 and q13 need other connectors.
        const QUERIES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../../benches/nexmark/queries/", $name, ".sql")))),*];
    };
}
queries!("q0" "q1" "q2" "q3" "q4" "q5" "q7" "q8" "q9" "q11" "q12" "q14" "q15" "q16" "q17" "q18" "q19" "q20"
    "q21" "q22");

/// All queries, or the one named.
pub(super) fn run(bench: &Bench, query: Option<&str>) -> anyhow::Result<Vec<Report>> {
    let wanted: Vec<_> =
        QUERIES.iter().filter(|(name, _)| query.is_none_or(|query| query == *name)).collect();
    if wanted.is_empty() {
        let known: Vec<&str> = QUERIES.iter().map(|(name, _)| *name).collect();
        bail!("unknown query '{}', expected one of: {}", query.unwrap_or_default(), known.join(", "));
    }
    let events = bench.events_or(EVENTS);
    let data_dir = bench.dir.join("node");
    RealDisk.create_dir_all(&data_dir)?;
    execute(bench, "fill", &fill(events), &data_dir).context("cannot write the events")?;
    let bytes = bytes_below(&data_dir.join("segments"))?;
    let source = format!(
        "'connector' = 'kafka', 'topic' = '{TOPIC}', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset', \
         'scan.bounded.mode' = 'latest-offset'"
    );
    let report = |(name, text): &'static (&'static str, &'static str)| {
        let script = format!("{}{text}", TABLES.replace("${SOURCE}", &source));
        let (said, took, usage) = execute(bench, name, &script, &data_dir).context(*name)?;
        let what = format!("Nexmark {name} over JSON in the log, process start and end included");
        let measured = Measured { events, bytes, took, cpu: usage.cpu, usage };
        let checksum = said.lines().last().unwrap_or_default().to_owned();
        Ok(Report::new("nexmark", what, &measured).with("query", *name).with("result", checksum))
    };
    wanted.into_iter().map(report).collect()
}

fn fill(events: u64) -> String {
    const COLUMNS: &str = "event_type INT,
        person ROW<id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING,
          `dateTime` TIMESTAMP(3), extra STRING>,
        auction ROW<id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT,
          `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING>,
        bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3),
          extra STRING>";
    format!(
        "CREATE TABLE made ({COLUMNS}) WITH ('connector' = 'nexmark', 'number-of-rows' = '{events}');
         CREATE TABLE written ({COLUMNS}) WITH ('connector' = 'kafka', 'topic' = '{TOPIC}', 'format' = 'json',
           'json.encode.ignore-null-fields' = 'true');
         INSERT INTO written SELECT * FROM made;"
    )
}

/// Runs a script as a pipeline of that name; what it printed, its time and what it used.
fn execute(
    bench: &Bench,
    name: &str,
    script: &str,
    data_dir: &Path,
) -> anyhow::Result<(String, Duration, Usage)> {
    let path = bench.dir.join(format!("{name}.sql"));
    let file = RealDisk.open(&path, OpenMode::Create)?;
    file.write_all_at(script.as_bytes(), 0)?;
    let program = std::env::current_exe().context("which program is this?")?;
    let mut command = Command::new(program);
    command.arg("run").arg(&path).arg("--data-dir").arg(data_dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let cpu_before = Usage::of_children();
    let begun = bench.clock.monotonic();
    let mut child = command.spawn()?;
    let mut usage = Usage::default();
    let pause = Stop::default();
    while child.try_wait()?.is_none() {
        let now = Usage::of(child.id());
        usage.memory_bytes_peak = usage.memory_bytes_peak.max(now.memory_bytes_peak);
        pause.wait(LOOK_EVERY);
    }
    let took = bench.clock.monotonic() - begun;
    let output = child.wait_with_output()?;
    usage.cpu = Usage::of_children().saturating_sub(cpu_before);
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), took, usage))
}

fn bytes_below(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in RealDisk.list(dir)? {
        let path = dir.join(&entry.name);
        bytes += if entry.is_dir { bytes_below(&path)? } else { entry.len };
    }
    Ok(bytes)
}
