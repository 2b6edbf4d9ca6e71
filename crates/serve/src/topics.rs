//! `/v1/topics`.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::node::{ConfigStatus, NodeError, RecordsFrom, TopicRecord, TopicStatus};
use crate::problem::Problem;
use crate::server::Server;

/// Records one answer holds at most.
const RECORDS_MAX: usize = 1000;
/// Records one answer holds unless asked for.
const RECORDS_DEFAULT: usize = 100;

#[derive(Serialize)]
struct TopicView {
    #[serde(flatten)]
    topic: TopicStatus,
    /// Records that exist.
    records: i64,
    /// Over the last seconds; null just after the start.
    records_per_s: Option<f64>,
    /// Records that consumer groups read, by their commits, over the last seconds; null just after the
    /// start, and if no group reads it.
    read_per_s: Option<f64>,
}

pub(crate) async fn list(State(server): State<Server>) -> Result<Response, Problem> {
    let measuring = server.clone();
    let topics = server.ask(move |node| {
        // For the rates; topics can be listed without.
        let _ = measuring.groups();
        Ok(node.topics())
    });
    let topics = topics.await?;
    let topics: Vec<_> = topics.into_iter().map(|topic| view(&server, topic)).collect();
    Ok(Json(serde_json::json!({ "topics": topics })).into_response())
}

pub(crate) async fn describe(
    State(server): State<Server>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let of = name.clone();
    let (topics, all_configs) = server.ask(move |node| Ok((node.topics(), node.topic_configs(&of)?))).await?;
    match topics.into_iter().find(|topic| topic.name == name) {
        Some(topic) => Ok(Json(Described { topic: view(&server, topic), all_configs }).into_response()),
        None => Err(NodeError::NotFound { what: "topic", name }.into()),
    }
}

#[derive(Serialize)]
struct Described {
    #[serde(flatten)]
    topic: TopicView,
    /// Every config, also those that were not given.
    all_configs: Vec<ConfigStatus>,
}

fn view(server: &Server, topic: TopicStatus) -> TopicView {
    let held = |(start, end): (i64, i64)| (end - start).max(0);
    let records = topic.partitions.iter().map(|one| held((one.log_start_offset, one.high_watermark))).sum();
    let records_per_s = server.rates().per_s(&topic.id);
    let read_per_s = server.progress().read_of_topic(&topic.name);
    TopicView { records, records_per_s, read_per_s, topic }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTopic {
    name: String,
    #[serde(default = "one")]
    partitions: i32,
    #[serde(default)]
    configs: BTreeMap<String, String>,
}

fn one() -> i32 {
    1
}

pub(crate) async fn create(State(server): State<Server>, body: Bytes) -> Result<Response, Problem> {
    let hint = r#"expected {"name": "orders", "partitions": 4, "configs": {}}"#;
    let new: NewTopic =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string(), hint))?;
    let name = new.name.clone();
    server.ask(move |node| node.create_topic(&new.name, new.partitions, new.configs)).await?;
    let described = describe(State(server), Path(name)).await?;
    Ok((StatusCode::CREATED, described).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alteration {
    configs: BTreeMap<String, Option<String>>,
}

pub(crate) async fn alter(
    State(server): State<Server>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let hint = r#"expected {"configs": {"retention.ms": "1000", "segment.ms": null}}; null is the default"#;
    let change: Alteration =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string(), hint))?;
    let topic = name.clone();
    server.ask(move |node| node.alter_topic(&topic, change.configs)).await?;
    describe(State(server), Path(name)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Growth {
    partitions: i32,
}

pub(crate) async fn add_partitions(
    State(server): State<Server>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let hint = r#"expected {"partitions": 8}: how many in all"#;
    let growth: Growth =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string(), hint))?;
    let topic = name.clone();
    server.ask(move |node| node.add_partitions(&topic, growth.partitions)).await?;
    describe(State(server), Path(name)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deletion {
    partition: Option<i32>,
    before: Option<i64>,
}

pub(crate) async fn delete_records(
    State(server): State<Server>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let hint = r#"expected {"partition": 0, "before": 100}; without partition: each; without before: all"#;
    let deletion: Deletion =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string(), hint))?;
    let topic = name.clone();
    server.ask(move |node| node.delete_records(&topic, deletion.partition, deletion.before)).await?;
    describe(State(server), Path(name)).await
}

pub(crate) async fn delete(
    State(server): State<Server>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let deleted = name.clone();
    server.ask(move |node| node.delete_topic(&name)).await?;
    Ok(Json(serde_json::json!({ "deleted": deleted })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordsQuery {
    #[serde(default)]
    partition: i32,
    from: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn records(
    State(server): State<Server>,
    Path(topic): Path<String>,
    Query(query): Query<RecordsQuery>,
) -> Result<Response, Problem> {
    let from = match query.from.as_deref() {
        None | Some("tail") => RecordsFrom::Tail,
        Some("start") => RecordsFrom::Start,
        Some(offset) => RecordsFrom::Offset(offset.parse().map_err(|_| {
            Problem::bad_request(
                format!("from `{offset}` is no offset"),
                "expected an offset, `start` or `tail`",
            )
        })?),
    };
    let limit = query.limit.unwrap_or(RECORDS_DEFAULT).clamp(1, RECORDS_MAX);
    let partition = query.partition;
    let records = server.ask(move |node| node.records(&topic, partition, from, limit)).await?;
    let next = records.last().map(|record| record.offset + 1);
    let records: Vec<_> = records.iter().map(record_json).collect();
    Ok(Json(serde_json::json!({ "partition": partition, "records": records, "next": next })).into_response())
}

/// Text as text; other bytes in hexadecimal under `key_hex` and `value_hex`.
fn record_json(record: &TopicRecord) -> serde_json::Value {
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|(name, value)| {
            serde_json::json!([String::from_utf8_lossy(name), value.as_deref().map(String::from_utf8_lossy)])
        })
        .collect();
    let mut json = serde_json::json!({ "offset": record.offset, "timestamp_ms": record.timestamp_ms });
    for (name, bytes) in [("key", &record.key), ("value", &record.value)] {
        match bytes.as_deref().map(std::str::from_utf8) {
            None => json[name] = serde_json::Value::Null,
            Some(Ok(text)) => json[name] = text.into(),
            Some(Err(_)) => json[format!("{name}_hex")] = hex(bytes.as_deref().unwrap_or_default()).into(),
        }
    }
    if !headers.is_empty() {
        json["headers"] = headers.into();
    }
    json
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
