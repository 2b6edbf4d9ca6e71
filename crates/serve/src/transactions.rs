//! `/v1/transactions`: transactional ids, what they have open, and what hangs.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::node::TransactionStatus;
use crate::problem::Problem;
use crate::server::Server;

/// Transactional ids one answer lists at most.
const LISTED_MAX: usize = 10_000;

/// A transactional id in the list: without its partitions.
#[derive(Serialize)]
struct Listed {
    id: String,
    state: String,
    producer_id: i64,
    producer_epoch: i16,
    timeout_ms: i32,
    /// How long its transaction is open; null if none is.
    open_for_ms: Option<i64>,
    /// Partitions its open transaction writes to.
    partitions: usize,
}

#[derive(Serialize)]
struct Described {
    #[serde(flatten)]
    transaction: TransactionStatus,
    open_for_ms: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    #[serde(default)]
    open: bool,
}

pub(crate) async fn list(
    State(server): State<Server>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let (transactions, hanging) = server.ask(|node| Ok(node.transactions())).await?;
    let now_ms = server.now_ms();
    let wanted = transactions.into_iter().filter(|one| !query.open || one.open_since_ms.is_some());
    let mut listed: Vec<Listed> = wanted.map(|one| listed(one, now_ms)).collect();
    let more = listed.len() > LISTED_MAX;
    listed.truncate(LISTED_MAX);
    let body = serde_json::json!({ "transactions": listed, "more": more, "hanging": hanging });
    Ok(Json(body).into_response())
}

fn listed(transaction: TransactionStatus, now_ms: i64) -> Listed {
    Listed {
        open_for_ms: open_for_ms(&transaction, now_ms),
        partitions: transaction.partitions.len(),
        id: transaction.id,
        state: transaction.state,
        producer_id: transaction.producer_id,
        producer_epoch: transaction.producer_epoch,
        timeout_ms: transaction.timeout_ms,
    }
}

fn open_for_ms(transaction: &TransactionStatus, now_ms: i64) -> Option<i64> {
    transaction.open_since_ms.map(|since| (now_ms - since).max(0))
}

pub(crate) async fn describe(
    State(server): State<Server>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let transaction = server.ask(move |node| node.transaction(&id)).await?;
    let open_for_ms = open_for_ms(&transaction, server.now_ms());
    Ok(Json(Described { transaction, open_for_ms }).into_response())
}

pub(crate) async fn abort(State(server): State<Server>, Path(id): Path<String>) -> Result<Response, Problem> {
    let aborted = id.clone();
    server.ask(move |node| node.abort_transaction(&aborted)).await?;
    describe(State(server), Path(id)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hanging {
    partition: i32,
    producer_id: i64,
}

pub(crate) async fn abort_hanging(
    State(server): State<Server>,
    Path(topic): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let hint = r#"expected {"partition": 0, "producer_id": 7}, as in /v1/transactions under hanging"#;
    let Hanging { partition, producer_id } =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string(), hint))?;
    let answer =
        serde_json::json!({ "topic": topic, "partition": partition, "aborted_producer_id": producer_id });
    server.ask(move |node| node.abort_hanging(&topic, partition, producer_id)).await?;
    Ok(Json(answer).into_response())
}
