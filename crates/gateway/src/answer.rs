//! What a sender is told.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use highwater_env::Offset;
use serde::Serialize;

use crate::position::LogPosition;

/// How many refused events an answer lists; more are only counted.
const PROBLEMS_MAX: usize = 100;

/// How many partition ranges an answer lists; `position` names every partition all the same.
const RANGES_MAX: usize = 10_000;

/// The answer to an ingest request. What it calls accepted is durable.
#[derive(Clone, Debug, Serialize)]
pub struct IngestAnswer {
    /// Events that are durable.
    pub accepted: u64,
    /// Events refused for what they are.
    pub rejected: u64,
    /// Where the accepted events are. Other senders' events may lie within a range's neighbours,
    /// never inside one.
    pub positions: Vec<PartitionRange>,
    /// For `GET /v1/tables/{table}?after=`: covers all accepted events. Opaque.
    pub position: String,
    /// 100 refused events at most, by line.
    pub errors: Vec<EventProblem>,
    /// Why the request as a whole ended before its body did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<HttpProblem>,
    /// With `error`: not all events from this line (or array element) on are durable, all before it
    /// are; send again from here. Some may then be there twice. None: send all again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_at_line: Option<u64>,
}

/// Offsets `[base_offset, last_offset]` of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionRange {
    /// The partition.
    pub partition: i32,
    /// The first event's offset.
    pub base_offset: Offset,
    /// The last event's offset.
    pub last_offset: Offset,
}

/// A refused event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventProblem {
    /// The line, or the element of the array, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// A refused request. As a response: `{"error":{"message":...,"hint":...}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpProblem {
    /// The HTTP status.
    #[serde(skip)]
    pub status: u16,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// Seconds after which to try again, if trying again may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
}

impl HttpProblem {
    /// A refusal that trying again does not change.
    pub fn new(status: StatusCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: status.as_u16(), message: message.into(), hint: hint.into(), retry_after_s: None }
    }

    /// A refusal for now.
    pub fn retry(status: StatusCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { retry_after_s: Some(1), ..Self::new(status, message, hint) }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn decorate(&self, mut response: Response) -> Response {
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for HttpProblem {
    fn into_response(self) -> Response {
        let body = Json(serde_json::json!({ "error": self }));
        self.decorate((self.status(), body).into_response())
    }
}

impl IngestAnswer {
    pub(crate) fn new() -> Self {
        Self {
            accepted: 0,
            rejected: 0,
            positions: Vec::new(),
            position: String::new(),
            errors: Vec::new(),
            error: None,
            resume_at_line: None,
        }
    }

    pub(crate) fn reject(&mut self, line: u64, reason: String) {
        self.rejected += 1;
        if self.errors.len() < PROBLEMS_MAX {
            self.errors.push(EventProblem { line, reason });
        }
    }

    pub(crate) fn accept(&mut self, range: PartitionRange, events: u64, position: &mut LogPosition) {
        self.accepted += events;
        position.include(range.partition, range.last_offset);
        let room = self.positions.len() < RANGES_MAX;
        match self.positions.iter_mut().rev().find(|earlier| earlier.partition == range.partition) {
            Some(earlier) if earlier.last_offset + 1 == range.base_offset => {
                earlier.last_offset = range.last_offset
            }
            _ if room => self.positions.push(range),
            _ => {}
        }
    }
}

impl IntoResponse for IngestAnswer {
    fn into_response(mut self) -> Response {
        // What a topic refuses is known later than what is no event.
        self.errors.sort_by_key(|problem| problem.line);
        if self.error.is_none() && self.accepted == 0 {
            let message = match self.rejected {
                0 => "the body holds no event".to_owned(),
                rejected => format!("none of {rejected} events was accepted"),
            };
            self.error =
                Some(HttpProblem::new(StatusCode::BAD_REQUEST, message, "`errors` lists lines and reasons"));
        }
        match self.error.clone() {
            Some(problem) => problem.decorate((problem.status(), Json(self)).into_response()),
            None => Json(self).into_response(),
        }
    }
}
