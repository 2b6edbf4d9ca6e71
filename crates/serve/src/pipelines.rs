//! `/v1/pipelines` and `/v1/sql/check`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::node::{NodeError, SubmitRequest};
use crate::problem::Problem;
use crate::server::Server;

type Params = Query<Vec<(String, String)>>;

pub(crate) async fn list(State(server): State<Server>) -> Result<Response, Problem> {
    let pipelines = server.ask(|node| Ok(node.pipelines())).await?;
    Ok(Json(serde_json::json!({ "pipelines": pipelines })).into_response())
}

pub(crate) async fn describe(
    State(server): State<Server>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let pipelines = server.ask(|node| Ok(node.pipelines())).await?;
    match pipelines.into_iter().find(|pipeline| pipeline.name == name) {
        Some(pipeline) => Ok(Json(pipeline).into_response()),
        None => Err(NodeError::NotFound { what: "pipeline", name }.into()),
    }
}

pub(crate) async fn submit(
    State(server): State<Server>,
    Query(params): Params,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = script(params, &body)?;
    let submitted = server.ask(move |node| node.submit(request)).await?;
    Ok((StatusCode::CREATED, Json(submitted)).into_response())
}

pub(crate) async fn check(
    State(server): State<Server>,
    Query(params): Params,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = script(params, &body)?;
    let checked = server.ask(move |node| node.check(request)).await?;
    Ok(Json(checked).into_response())
}

pub(crate) async fn stop(
    State(server): State<Server>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let stopped = name.clone();
    server.ask(move |node| node.stop_pipeline(&name)).await?;
    Ok(Json(serde_json::json!({ "stopped": stopped })).into_response())
}

pub(crate) async fn remove(
    State(server): State<Server>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let dropped = name.clone();
    server.ask(move |node| node.drop_pipeline(&name)).await?;
    Ok(Json(serde_json::json!({ "dropped": dropped })).into_response())
}

fn script(params: Vec<(String, String)>, body: &[u8]) -> Result<SubmitRequest, Problem> {
    let sql = std::str::from_utf8(body)
        .map_err(|_| Problem::bad_request("the script is not UTF-8", "send SQL as text"))?;
    let mut request = SubmitRequest { sql: sql.to_owned(), ..SubmitRequest::default() };
    for (name, value) in params {
        match name.strip_prefix("var.") {
            Some(var) if !var.is_empty() => {
                request.vars.insert(var.to_owned(), value);
            }
            _ if name == "name" => request.name = Some(value),
            _ if name == "file" => request.file = Some(value),
            _ => {
                return Err(Problem::bad_request(
                    format!("unknown parameter `{name}`"),
                    "expected name, file or var.K",
                ));
            }
        }
    }
    Ok(request)
}
