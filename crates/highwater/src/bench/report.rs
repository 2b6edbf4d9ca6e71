//! What a benchmark prints.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::process::Usage;

/// One benchmark's figures.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    /// What was done, in words.
    what: String,
    events: u64,
    seconds: f64,
    events_per_second: f64,
    mb_per_second: f64,
    cpu_seconds_per_million_events: f64,
    peak_memory_mb: f64,
    pub(super) fdatasync_p50_us: u64,
    processors: usize,
    version: &'static str,
    /// Figures only this benchmark has.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// What was measured.
pub(super) struct Measured {
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) took: Duration,
    /// CPU used meanwhile by the process under test.
    pub(super) cpu: Duration,
    /// Of the process under test, at the end.
    pub(super) usage: Usage,
}

impl Report {
    pub(super) fn new(bench: &'static str, what: String, measured: &Measured) -> Self {
        let seconds = measured.took.as_secs_f64().max(1e-9);
        let events = measured.events as f64;
        Self {
            bench,
            what,
            events: measured.events,
            seconds: rounded(seconds),
            events_per_second: (events / seconds).round(),
            mb_per_second: rounded(measured.bytes as f64 / 1e6 / seconds),
            cpu_seconds_per_million_events: rounded(measured.cpu.as_secs_f64() * 1e6 / events.max(1.0)),
            peak_memory_mb: rounded(measured.usage.memory_bytes_peak as f64 / 1e6),
            fdatasync_p50_us: 0,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            version: env!("CARGO_PKG_VERSION"),
            more: Map::new(),
        }
    }

    /// Adds a figure only this benchmark has.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Lines for people, or one JSON object.
    pub(super) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if as_json {
            writeln!(out, "{}", serde_json::to_string(self)?)?;
            return Ok(());
        }
        writeln!(out, "{}: {}", self.bench, self.what)?;
        let figures = [
            ("events", self.events as f64),
            ("seconds", self.seconds),
            ("events per second", self.events_per_second),
            ("MB per second", self.mb_per_second),
            ("CPU seconds per million events", self.cpu_seconds_per_million_events),
            ("peak memory, MB", self.peak_memory_mb),
            ("fdatasync p50, µs", self.fdatasync_p50_us as f64),
            ("processors", self.processors as f64),
        ];
        for (name, value) in figures {
            writeln!(out, "  {name:32} {value}")?;
        }
        for (name, value) in &self.more {
            writeln!(out, "  {:32} {value}", name.replace('_', " "))?;
        }
        Ok(())
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
