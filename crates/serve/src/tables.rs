//! `/v1/tables`.

use std::str::FromStr;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use highwater_gateway::{HttpProblem, LogPosition};

use crate::live;
use crate::node::{NodeError, RowQuery, TableStatus, Visibility};
use crate::problem::Problem;
use crate::rows::rows_json;
use crate::server::Server;

/// Rows one answer holds at most.
const ROWS_MAX: usize = 10_000;
/// Rows one answer holds unless asked for.
const ROWS_DEFAULT: usize = 100;
/// How long `?after=` waits unless told.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);

pub(crate) async fn list(State(server): State<Server>) -> Result<Response, Problem> {
    let tables = server.ask(|node| Ok(node.tables())).await?;
    Ok(Json(serde_json::json!({ "tables": tables })).into_response())
}

/// The query parameters of a read.
#[derive(Debug, Default, PartialEq, Eq)]
struct ReadQuery {
    limit: usize,
    /// Values of `key`, in order.
    keys: Vec<String>,
    /// Columns and values of `key.COLUMN`.
    named_keys: Vec<(String, String)>,
    after: Option<LogPosition>,
    timeout: Duration,
}

impl ReadQuery {
    fn parse(params: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut query = Self { limit: ROWS_DEFAULT, timeout: WAIT_DEFAULT, ..Self::default() };
        for (name, value) in params {
            match name.as_str() {
                "limit" => query.limit = number::<usize>(&name, &value)?.clamp(1, ROWS_MAX),
                "timeout_ms" => query.timeout = Duration::from_millis(number(&name, &value)?),
                "key" => query.keys.push(value),
                "after" => {
                    let position = value.parse().map_err(|error| bad_param(&error))?;
                    query.after = Some(position);
                }
                _ => match name.strip_prefix("key.") {
                    Some(column) => query.named_keys.push((column.to_owned(), value)),
                    None => return Err(bad_param(&format!("unknown parameter `{name}`"))),
                },
            }
        }
        Ok(query)
    }

    /// Names the columns of the primary key whose values were given.
    fn row_query(self, table: &TableStatus) -> Result<RowQuery, Problem> {
        let columns = &table.primary_key;
        let shown = columns.join(", ");
        let mut key: Vec<(String, String)> = self.named_keys;
        if self.keys.len() > columns.len() || (!self.keys.is_empty() && !key.is_empty()) {
            let message = format!("{} key values, the primary key is ({shown})", self.keys.len() + key.len());
            return Err(Problem::bad_request(
                message,
                "give `key` once per column of the primary key, or `key.COLUMN`",
            ));
        }
        key.extend(columns.iter().cloned().zip(self.keys));
        let unknown = key.iter().find(|(column, _)| !columns.contains(column));
        if let Some((column, _)) = unknown {
            let message = format!("column `{column}` is not in the primary key ({shown})");
            return Err(Problem::bad_request(message, "rows are looked up by columns of the primary key"));
        }
        Ok(RowQuery { key, limit: self.limit })
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, Problem> {
    value.parse().map_err(|_| bad_param(&format!("{name} `{value}` is no number")))
}

fn bad_param(message: &dyn std::fmt::Display) -> Problem {
    Problem::bad_request(message.to_string(), "see /openapi.json")
}

pub(crate) async fn read(
    State(server): State<Server>,
    Path(name): Path<String>,
    Query(params): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let mut query = ReadQuery::parse(params)?;
    if let Some(position) = query.after.take() {
        wait_until_covered(&server, &name, position, query.timeout).await?;
    }
    let table = find(&server, &name).await?;
    let row_query = query.row_query(&table)?;
    let found = server.ask(move |node| node.table_rows(&name, &row_query)).await?;
    let rows = rows_json(&found.rows)?;
    let head = serde_json::json!({
        "table": table.name,
        "epoch": found.epoch.0,
        "columns": table.columns,
        "primary_key": table.primary_key,
        "more": found.more,
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], with_raw(&head, "rows", &rows)).into_response())
}

/// `object` with one more field, whose value is JSON text already.
pub(crate) fn with_raw(object: &serde_json::Value, name: &str, json: &str) -> String {
    let object = object.to_string();
    let open = object.strip_suffix('}').unwrap_or(&object);
    format!("{open},\"{name}\":{json}}}")
}

async fn find(server: &Server, name: &str) -> Result<TableStatus, Problem> {
    let tables = server.ask(|node| Ok(node.tables())).await?;
    let found = tables.into_iter().find(|table| table.name == name);
    found.ok_or_else(|| NodeError::NotFound { what: "table", name: name.to_owned() }.into())
}

async fn wait_until_covered(
    server: &Server,
    table: &str,
    position: LogPosition,
    timeout: Duration,
) -> Result<(), Problem> {
    let Ok(_place) = server.waits().try_acquire() else {
        return Err(Problem::retry("too many requests wait already", "try again"));
    };
    let timeout = timeout.min(server.options().wait_max);
    let covered = async {
        let mut commits = server.node().commits();
        let mut closing = server.closing();
        loop {
            // Noted before the question: a commit in between is not missed.
            commits.borrow_and_update();
            let (name, at) = (table.to_owned(), position.clone());
            if server.ask(move |node| node.covers(&name, &at)).await? {
                return Ok(());
            }
            let ended = tokio::select! {
                changed = commits.changed() => changed.is_err(),
                _ = closing.wait_for(|closing| *closing) => true,
            };
            if ended {
                return Err(Problem::retry("the node is stopping", "try again"));
            }
        }
    };
    tokio::time::timeout(timeout, covered).await.unwrap_or_else(|_| {
        let message = format!("no committed epoch covers {position} after {} ms", timeout.as_millis());
        let hint = "ask again with the same position, or look at the pipeline's lag";
        Err(Problem::Http(HttpProblem::retry(StatusCode::GATEWAY_TIMEOUT, message, hint)))
    })
}

pub(crate) async fn stream(
    State(server): State<Server>,
    Path(name): Path<String>,
    Query(params): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let mut visibility = Visibility::Committed;
    for (param, value) in &params {
        visibility = match (param.as_str(), value.as_str()) {
            ("uncommitted", "true") => Visibility::Uncommitted,
            ("uncommitted", "false") => Visibility::Committed,
            _ => return Err(bad_param(&format!("unknown parameter `{param}={value}`"))),
        };
    }
    live::stream(server, name, visibility).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(primary_key: &[&str]) -> TableStatus {
        TableStatus {
            name: "t".to_owned(),
            pipeline: "p".to_owned(),
            columns: Vec::new(),
            primary_key: primary_key.iter().map(|&column| column.to_owned()).collect(),
            rows: 0,
            epoch: 0,
            committed_at_ms: None,
        }
    }

    fn key_of(primary_key: &[&str], params: &[(&str, &str)]) -> Option<String> {
        let params = params.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let query = ReadQuery::parse(params).ok()?.row_query(&table(primary_key)).ok()?;
        Some(
            query.key.iter().map(|(column, value)| format!("{column}={value}")).collect::<Vec<_>>().join(" "),
        )
    }

    #[test]
    fn keys_by_order_or_by_name() {
        assert_eq!(key_of(&["a", "b"], &[("key", "1"), ("key", "2")]).unwrap(), "a=1 b=2");
        assert_eq!(key_of(&["a", "b"], &[("key", "1")]).unwrap(), "a=1");
        assert_eq!(key_of(&["a", "b"], &[("key.b", "2"), ("limit", "5")]).unwrap(), "b=2");
        assert_eq!(key_of(&["a"], &[]).unwrap(), "");
    }

    #[test]
    fn what_is_no_query() {
        assert_eq!(key_of(&[], &[("key", "1")]), None);
        assert_eq!(key_of(&["a"], &[("key", "1"), ("key", "2")]), None);
        assert_eq!(key_of(&["a", "b"], &[("key", "1"), ("key.b", "2")]), None);
        assert_eq!(key_of(&["a"], &[("key.z", "1")]), None);
        assert_eq!(key_of(&["a"], &[("limit", "-1")]), None);
        assert_eq!(key_of(&["a"], &[("after", "nowhere")]), None);
        assert_eq!(key_of(&["a"], &[("unknown", "1")]), None);
    }
}
