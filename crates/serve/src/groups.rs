//! `/v1/groups`: consumer groups, how far they are, and how far behind.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::{GroupStatus, NodeError, OffsetTarget};
use crate::problem::Problem;
use crate::server::Server;

/// A group in the list: without its members and partitions.
#[derive(Serialize)]
struct Listed {
    name: String,
    state: String,
    protocol_type: String,
    members: usize,
    /// Partitions with a committed offset.
    partitions: usize,
    /// Records behind the high watermarks, all partitions together.
    lag: i64,
}

pub(crate) async fn list(State(server): State<Server>) -> Result<Response, Problem> {
    let groups = server.ask(|node| node.groups()).await?;
    let groups: Vec<Listed> = groups.into_iter().map(listed).collect();
    Ok(Json(serde_json::json!({ "groups": groups })).into_response())
}

fn listed(group: GroupStatus) -> Listed {
    Listed {
        lag: lag(&group),
        members: group.members.len(),
        partitions: group.offsets.len(),
        name: group.name,
        state: group.state,
        protocol_type: group.protocol_type,
    }
}

fn lag(group: &GroupStatus) -> i64 {
    group.offsets.iter().filter_map(|offset| offset.lag).sum()
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
    let groups = server.ask(|node| node.groups()).await?;
    match groups.into_iter().find(|group| group.name == name) {
        Some(group) => Ok(Json(Described { lag: lag(&group), group }).into_response()),
        None => Err(NodeError::NotFound { what: "group", name }.into()),
    }
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
    Ok(Json(serde_json::json!({ "deleted": deleted })).into_response())
}
