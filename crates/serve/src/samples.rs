//! `GET /metrics` and `GET /healthz`.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::metrics::{Sample, render};
use crate::node::{GroupOverview, OperatorStatus, PipelineState, PipelineStatus, TableStatus, TopicStatus};
use crate::problem::Problem;
use crate::server::Server;

pub(crate) async fn health() -> Response {
    Json(serde_json::json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })).into_response()
}

pub(crate) async fn metrics(State(server): State<Server>) -> Result<Response, Problem> {
    let measuring = server.clone();
    let of_node = move |node: &dyn crate::Node| {
        Ok((node.samples(), node.topics(), measuring.groups()?, node.tables(), node.pipelines()))
    };
    let (mut samples, topics, groups, tables, pipelines) = server.ask(of_node).await?;
    samples.extend(of_server(&server));
    topics.iter().for_each(|topic| of_topic(topic, &mut samples));
    of_groups(&groups, &mut samples);
    tables.iter().for_each(|table| of_table(table, &mut samples));
    pipelines.iter().for_each(|pipeline| of_pipeline(pipeline, &mut samples));
    let text = render(&samples);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

fn of_server(server: &Server) -> Vec<Sample> {
    let gateway = server.gateway().counters().now();
    let own = server.counters();
    vec![
        Sample::count("highwater_gateway_requests_total", gateway.requests),
        Sample::count("highwater_gateway_refused_requests_total", gateway.refused_requests),
        Sample::count("highwater_gateway_accepted_events_total", gateway.accepted_events),
        Sample::count("highwater_gateway_body_bytes_total", gateway.body_bytes),
        Sample::count("highwater_gateway_rejected_events_total", gateway.rejected_events),
        Sample::count("highwater_serve_requests_total", own.requests.load(Ordering::Relaxed)),
        Sample::count("highwater_serve_refused_requests_total", own.refused_requests.load(Ordering::Relaxed)),
        Sample::count("highwater_serve_subscribers_count", own.subscribers.load(Ordering::Relaxed)),
        Sample::count("highwater_serve_overflows_total", own.overflows.load(Ordering::Relaxed)),
    ]
}

fn of_topic(topic: &TopicStatus, samples: &mut Vec<Sample>) {
    for one in &topic.partitions {
        let partition = one.partition.to_string();
        let bounds = [
            ("highwater_coordinator_partition_start_offset", one.log_start_offset),
            ("highwater_coordinator_partition_end_offset", one.high_watermark),
        ];
        for (name, offset) in bounds {
            let sample = Sample::count(name, offset.max(0).unsigned_abs());
            samples.push(sample.with("topic", &topic.name).with("partition", &partition));
        }
    }
}

fn of_groups(groups: &[GroupOverview], samples: &mut Vec<Sample>) {
    samples.push(Sample::count("highwater_coordinator_groups_count", groups.len() as u64));
    for group in groups {
        let members = Sample::count("highwater_coordinator_group_members_count", group.members as u64);
        samples.push(members.with("group", &group.name));
        for topic in &group.topics {
            for (partition, lag) in &topic.partitions {
                let Some(lag) = lag else { continue };
                let lag = lag.max(&0).unsigned_abs();
                let sample = Sample::count("highwater_coordinator_group_lag_records", lag);
                let sample = sample.with("group", &group.name).with("topic", &topic.topic);
                samples.push(sample.with("partition", &partition.to_string()));
            }
        }
    }
}

fn of_table(table: &TableStatus, samples: &mut Vec<Sample>) {
    samples.push(Sample::count("highwater_pipeline_table_rows", table.rows).with("table", &table.name));
}

fn of_pipeline(pipeline: &PipelineStatus, samples: &mut Vec<Sample>) {
    let mut add = |sample: Sample| samples.push(sample.with("pipeline", &pipeline.name));
    add(Sample::new("highwater_pipeline_state_info", 1.0).with("state", state_name(pipeline.state)));
    add(Sample::count("highwater_pipeline_epoch_count", pipeline.epoch));
    add(Sample::count("highwater_pipeline_restarts_total", pipeline.restarts));
    if let Some(ms) = pipeline.epoch_duration_ms {
        add(seconds("highwater_pipeline_epoch_seconds", ms));
    }
    if let Some(lag) = pipeline.lag {
        add(Sample::count("highwater_pipeline_lag_records", lag));
    }
    for source in &pipeline.sources {
        let name = "highwater_pipeline_source_records_total";
        let outcomes = [
            ("decoded", source.decoded),
            ("dead_lettered", source.dead_lettered),
            ("skipped", source.skipped),
        ];
        for (outcome, count) in outcomes {
            add(Sample::count(name, count).with("table", &source.table).with("outcome", outcome));
        }
    }
    for sink in &pipeline.sinks {
        let name = "highwater_pipeline_sink_changes_total";
        for (outcome, count) in [("committed", sink.committed), ("suppressed", sink.suppressed)] {
            add(Sample::count(name, count).with("table", &sink.table).with("outcome", outcome));
        }
    }
    for operator in &pipeline.operators {
        of_operator(operator).into_iter().for_each(&mut add);
    }
}

fn of_operator(operator: &OperatorStatus) -> Vec<Sample> {
    let mut samples = vec![
        Sample::count("highwater_dataflow_input_rows_total", operator.rows_in),
        Sample::count("highwater_dataflow_output_rows_total", operator.rows_out),
        Sample::count("highwater_dataflow_filtered_rows_total", operator.filtered),
        Sample::count("highwater_dataflow_late_rows_total", operator.late_rows),
        seconds("highwater_dataflow_busy_seconds_total", operator.busy_ms),
        Sample::count("highwater_dataflow_state_bytes", operator.state_bytes),
    ];
    if let Some(ms) = operator.watermark_ms {
        let sign = if ms < 0 { -1.0 } else { 1.0 };
        let magnitude = seconds("highwater_dataflow_watermark_seconds", ms.unsigned_abs());
        samples.push(Sample { value: sign * magnitude.value, ..magnitude });
    }
    samples.into_iter().map(|sample| sample.with("operator", &operator.uid)).collect()
}

fn seconds(name: &'static str, ms: u64) -> Sample {
    let sample = Sample::count(name, ms);
    Sample { value: sample.value / 1000.0, ..sample }
}

fn state_name(state: PipelineState) -> &'static str {
    match state {
        PipelineState::Starting => "starting",
        PipelineState::Running => "running",
        PipelineState::Finished => "finished",
        PipelineState::Stopped => "stopped",
        PipelineState::Restarting => "restarting",
        PipelineState::Failed => "failed",
    }
}
