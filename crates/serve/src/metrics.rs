//! `/metrics`: the one table of names, and Prometheus' text format (version 0.0.4).

use std::fmt::Write;

/// Whether a metric only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows, until a restart.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A metric's name and meaning.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// `highwater_<crate>_<noun>_<unit>`.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: MetricKind,
    /// What it says, for `# HELP`.
    pub help: &'static str,
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// A name in [`METRICS`].
    pub name: &'static str,
    /// Label names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// A value without labels.
    pub fn new(name: &'static str, value: f64) -> Self {
        Self { name, labels: Vec::new(), value }
    }

    /// A counter's value without labels.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus' values are doubles")]
    pub fn count(name: &'static str, value: u64) -> Self {
        Self::new(name, value as f64)
    }

    /// The same value with one label more.
    #[must_use]
    pub fn with(mut self, label: &'static str, value: &str) -> Self {
        self.labels.push((label, value.to_owned()));
        self
    }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, help }
}

/// Every metric of the program.
pub const METRICS: &[Metric] = &[
    gauge("highwater_env_memory_used_bytes", "Memory reserved in the node's budget."),
    gauge("highwater_env_memory_limit_bytes", "The node's memory budget."),
    counter("highwater_log_appended_batches_total", "Record batches appended to the log."),
    counter("highwater_log_appended_bytes_total", "Bytes of record batches appended to the log."),
    counter("highwater_log_syncs_total", "fdatasync calls of the log."),
    counter("highwater_log_sync_seconds_total", "Time spent in the log's fdatasync calls."),
    gauge("highwater_log_disk_bytes", "Bytes of the log's files."),
    counter("highwater_broker_requests_total", "Kafka requests answered."),
    gauge("highwater_broker_connections_count", "Open Kafka connections."),
    counter("highwater_gateway_requests_total", "HTTP ingest requests."),
    counter("highwater_gateway_refused_requests_total", "HTTP ingest requests answered with an error."),
    counter("highwater_gateway_accepted_events_total", "Events made durable over HTTP."),
    counter("highwater_gateway_body_bytes_total", "Bytes of ingest bodies read, inflated."),
    counter("highwater_gateway_rejected_events_total", "Events refused for what they are."),
    gauge("highwater_coordinator_partition_start_offset", "First offset that still exists."),
    gauge("highwater_coordinator_partition_end_offset", "The high watermark: records below are durable."),
    gauge("highwater_coordinator_open_transactions_count", "Transactions that are open."),
    gauge(
        "highwater_coordinator_oldest_transaction_seconds",
        "How long the oldest open transaction is open.",
    ),
    gauge("highwater_coordinator_groups_count", "Consumer groups."),
    gauge("highwater_coordinator_group_members_count", "Members of a consumer group."),
    gauge("highwater_coordinator_group_lag_records", "Records a group has not read, by partition."),
    gauge("highwater_pipeline_state_info", "1 for the state a pipeline is in."),
    gauge("highwater_pipeline_epoch_count", "Last committed epoch."),
    gauge("highwater_pipeline_epoch_seconds", "Duration of the last epoch, from barrier to commit."),
    counter("highwater_pipeline_restarts_total", "Restarts after a failure."),
    gauge("highwater_pipeline_lag_records", "Source records that wait to be read."),
    counter(
        "highwater_pipeline_source_records_total",
        "Records read, by outcome: decoded, dead_lettered, skipped.",
    ),
    counter(
        "highwater_pipeline_sink_changes_total",
        "Changes that reached a sink, by outcome: committed, suppressed.",
    ),
    counter("highwater_dataflow_input_rows_total", "Rows that came into an operator."),
    counter("highwater_dataflow_output_rows_total", "Rows an operator put out."),
    counter("highwater_dataflow_filtered_rows_total", "Rows a condition removed."),
    counter("highwater_dataflow_late_rows_total", "Rows that came after their window."),
    gauge("highwater_dataflow_watermark_seconds", "Lowest watermark of an operator, since the Unix epoch."),
    counter("highwater_dataflow_busy_seconds_total", "Time an operator was running."),
    gauge("highwater_dataflow_state_bytes", "Bytes of an operator's state."),
    gauge("highwater_pipeline_table_rows", "Rows of a materialized table."),
    counter("highwater_serve_requests_total", "HTTP requests, ingest included."),
    counter("highwater_serve_refused_requests_total", "HTTP requests answered with a 4xx or 5xx status."),
    gauge("highwater_serve_subscribers_count", "Open table subscriptions."),
    counter("highwater_serve_overflows_total", "Subscriptions that began anew because they were slow."),
];

/// The samples as Prometheus reads them, grouped by metric, in the order of [`METRICS`]. A sample
/// whose name is not listed there is left out.
pub fn render(samples: &[Sample]) -> String {
    let mut text = String::new();
    for metric in METRICS {
        let mut of_metric = samples.iter().filter(|sample| sample.name == metric.name).peekable();
        if of_metric.peek().is_none() {
            continue;
        }
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.help, metric.name);
        for sample in of_metric {
            write_sample(&mut text, sample);
        }
    }
    text
}

fn write_sample(text: &mut String, sample: &Sample) {
    text.push_str(sample.name);
    for (index, (label, value)) in sample.labels.iter().enumerate() {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{}{label}=\"{value}\"", if index == 0 { '{' } else { ',' });
    }
    if !sample.labels.is_empty() {
        text.push('}');
    }
    let _ = writeln!(text, " {}", sample.value);
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const CRATES: &[&str] =
        &["env", "log", "broker", "gateway", "coordinator", "pipeline", "dataflow", "serve"];
    const UNITS: &[&str] = &["total", "bytes", "seconds", "rows", "records", "count", "offset", "info"];

    #[test]
    fn names_follow_the_rule() {
        for (index, metric) in METRICS.iter().enumerate() {
            let parts: Vec<_> = metric.name.split('_').collect();
            assert!(parts.len() >= 4 && parts[0] == "highwater", "{}", metric.name);
            assert!(CRATES.contains(&parts[1]), "{} names no crate", metric.name);
            assert!(UNITS.contains(&parts[parts.len() - 1]), "{} has no unit", metric.name);
            assert_eq!(
                metric.kind == MetricKind::Counter,
                metric.name.ends_with("_total"),
                "{}",
                metric.name
            );
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{}", metric.name);
            assert!(
                METRICS[..index].iter().all(|earlier| earlier.name != metric.name),
                "{} twice",
                metric.name
            );
        }
    }

    #[test]
    fn labels_are_escaped() {
        let samples = [
            Sample::count("highwater_serve_requests_total", 3),
            Sample::new("highwater_pipeline_lag_records", 0.5).with("pipeline", "a\"b\\c\nd").with("x", "y"),
            Sample::new("not_listed", 1.0),
        ];
        expect![[r#"
            # HELP highwater_pipeline_lag_records Source records that wait to be read.
            # TYPE highwater_pipeline_lag_records gauge
            highwater_pipeline_lag_records{pipeline="a\"b\\c\nd",x="y"} 0.5
            # HELP highwater_serve_requests_total HTTP requests, ingest included.
            # TYPE highwater_serve_requests_total counter
            highwater_serve_requests_total 3
        "#]]
        .assert_eq(&render(&samples));
    }
}
