//! `/v1/groups`: consumer groups, how far they are, and how far behind.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::{GroupOverview, GroupStatus, OffsetTarget};
use crate::problem::Problem;
use crate::server::Server;

/// A group in the list: without its members and partitions.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    state: &'a str,
    protocol_type: &'a str,
    members: usize,
    /// Partitions with a committed offset.
    partitions: usize,
    /// Records behind the high watermarks, all partitions together.
    lag: i64,
    /// Records it reads per second, by its commits; null before the second look.
    read_per_s: Option<f64>,
}

pub(crate) async fn list(State(server): State<Server>) -> Result<Response, Problem> {
    let measuring = server.clone();
    let groups = server.ask(move |_| measuring.groups()).await?;
    let groups: Vec<Listed<'_>> = groups.iter().map(|group| listed(&server, group)).collect();
    Ok(Json(serde_json::json!({ "groups": groups })).into_response())
}

fn listed<'a>(server: &Server, group: &'a GroupOverview) -> Listed<'a> {
    let partitions = || group.topics.iter().flat_map(|topic| &topic.partitions);
    Listed {
        name: &group.name,
        state: &group.state,
        protocol_type: &group.protocol_type,
        members: group.members,
        partitions: partitions().count(),
        lag: partitions().filter_map(|(_, lag)| *lag).sum(),
        read_per_s: server.progress().read_by_group(&group.name),
    }
}

#[derive(Serialize)]
struct Described {
    #[serde(flatten)]
    group: GroupStatus,
    lag: i64,
}

pub(crate) async fn describe(
    State(server): State<Server>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let group = server.ask(move |node| node.group(&name)).await?;
    let lag = group.offsets.iter().filter_map(|offset| offset.lag).sum();
    Ok(Json(Described { lag, group }).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    topic: String,
    partition: Option<i32>,
    to: Value,
}

pub(crate) async fn reset_offsets(
    State(server): State<Server>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let hint = r#"expected {"topic": "orders", "partition": 0, "to": "start"}; to: start, end, an offset, or @MILLISECONDS; without partition: each"#;
    let reset: Reset =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string(), hint))?;
    let Some(to) = target(&reset.to) else {
        return Err(Problem::bad_request(format!("to is {}", reset.to), hint));
    };
    let group = name.clone();
    server.ask(move |node| node.reset_offsets(&group, &reset.topic, reset.partition, to)).await?;
    server.progress().forget();
    describe(State(server), Path(name)).await
}

fn target(to: &Value) -> Option<OffsetTarget> {
    if let Some(offset) = to.as_i64() {
        return Some(OffsetTarget::Offset(offset));
    }
    match to.as_str()? {
        "start" => Some(OffsetTarget::Start),
        "end" => Some(OffsetTarget::End),
        text => match text.strip_prefix('@') {
            Some(ms) => ms.parse().ok().map(OffsetTarget::Time),
            None => text.parse().ok().map(OffsetTarget::Offset),
        },
    }
}

pub(crate) async fn delete(
    State(server): State<Server>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let deleted = name.clone();
    server.ask(move |node| node.delete_group(&name)).await?;
    server.progress().forget();
    Ok(Json(serde_json::json!({ "deleted": deleted })).into_response())
}
