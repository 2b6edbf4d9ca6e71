//! Refusals, as every route gives them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use highwater_gateway::HttpProblem;

use crate::node::{NodeError, SqlProblem};

/// A refusal. As a response: `{"error":{"message":...,"hint":...}}`.
#[derive(Debug)]
pub(crate) enum Problem {
    Http(HttpProblem),
    Sql(Box<SqlProblem>),
}

impl Problem {
    pub(crate) fn bad_request(message: impl Into<String>, hint: &str) -> Self {
        Self::Http(HttpProblem::new(StatusCode::BAD_REQUEST, message, hint))
    }

    /// What is wrong, for people.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Http(problem) => &problem.message,
            Self::Sql(problem) => &problem.message,
        }
    }

    pub(crate) fn internal(message: &str) -> Self {
        tracing::error!(message, "a request failed inside");
        Self::Http(HttpProblem::new(StatusCode::INTERNAL_SERVER_ERROR, "this is a bug", "see the node's log"))
    }

    pub(crate) fn retry(message: impl Into<String>, hint: &str) -> Self {
        Self::Http(HttpProblem::retry(StatusCode::SERVICE_UNAVAILABLE, message, hint))
    }
}

impl From<NodeError> for Problem {
    fn from(error: NodeError) -> Self {
        let message = error.to_string();
        match error {
            NodeError::NotFound { what: "partition", .. } => Self::Http(HttpProblem::new(
                StatusCode::NOT_FOUND,
                message,
                "GET /v1/topics/{topic} lists them",
            )),
            NodeError::NotFound { what, .. } => {
                let hint = format!("GET /v1/{what}s lists them");
                Self::Http(HttpProblem::new(StatusCode::NOT_FOUND, message, hint))
            }
            NodeError::AlreadyExists { what, .. } => {
                let hint = format!("choose another name, or delete the {what} first");
                Self::Http(HttpProblem::new(StatusCode::CONFLICT, message, hint))
            }
            NodeError::Invalid { hint, .. } => {
                Self::Http(HttpProblem::new(StatusCode::BAD_REQUEST, message, hint))
            }
            NodeError::Sql(problem) => Self::Sql(problem),
            NodeError::Unavailable { .. } => Self::retry(message, "try again"),
            NodeError::Failed(_) => {
                tracing::warn!(message, "a request failed");
                Self::Http(HttpProblem::new(StatusCode::INTERNAL_SERVER_ERROR, message, "see the node's log"))
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        match self {
            Self::Http(problem) => problem.into_response(),
            Self::Sql(problem) => {
                (StatusCode::BAD_REQUEST, Json(serde_json::json!({ "error": problem }))).into_response()
            }
        }
    }
}
