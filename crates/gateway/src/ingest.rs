//! `POST /v1/topics/{topic}/events`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures_util::StreamExt;
use highwater_coordinator::{NewRecord, TopicError, TopicWriter, Unfit, WriteError, WriteOutcome, Written};
use highwater_env::{Clock, MemoryBudget, Reservation};
use highwater_log::{AppendError, LogError};
use serde::Deserialize;

use crate::answer::{HttpProblem, IngestAnswer, PartitionRange};
use crate::counters::GatewayCounters;
use crate::events::{Event, Framing, Splitter, on_one_line};
use crate::inflate::Inflate;
use crate::json::check_object;
use crate::position::LogPosition;

/// A chunk is worked on in slices of so many bytes, so that the events of one slice stay few.
const SLICE_BYTES: usize = 64 * 1024;

/// Writes whose durability may be awaited at once by one request.
const IN_FLIGHT_MAX: usize = 16;

/// Memory a waiting record takes beside its value.
const RECORD_BYTES: usize = size_of::<NewRecord>() + size_of::<u64>();

/// Limits of the gateway.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Bytes of one body, inflated.
    pub body_bytes_max: u64,
    /// Bytes of one event.
    pub event_bytes_max: usize,
    /// Records wait for so many bytes before they are written.
    pub flush_bytes: usize,
    /// Records wait for so many before they are written.
    pub flush_records: usize,
    /// How long a body may be silent.
    pub idle_timeout: Duration,
    /// How long one request waits for durability.
    pub durable_wait: Duration,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 * 1024 * 1024,
            event_bytes_max: 1024 * 1024,
            flush_bytes: 512 * 1024,
            flush_records: 10_000,
            idle_timeout: Duration::from_secs(30),
            durable_wait: Duration::from_secs(30),
        }
    }
}

/// The gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Parts>);

struct Parts {
    writer: Arc<dyn TopicWriter>,
    clock: Arc<dyn Clock>,
    options: GatewayOptions,
    budget: MemoryBudget,
    counters: GatewayCounters,
}

impl Gateway {
    /// A gateway that writes through `writer` and reserves what requests hold in `budget`.
    pub fn new(
        writer: Arc<dyn TopicWriter>,
        clock: Arc<dyn Clock>,
        options: GatewayOptions,
        budget: MemoryBudget,
    ) -> Self {
        Self(Arc::new(Parts { writer, clock, options, budget, counters: GatewayCounters::default() }))
    }

    /// Its routes, for a server to merge.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/v1/topics/{topic}/events", post(ingest))
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone())
    }

    /// What it counts.
    pub fn counters(&self) -> &GatewayCounters {
        &self.0.counters
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// The field whose value is the record's key.
    key: Option<String>,
}

async fn ingest(
    State(gateway): State<Gateway>,
    topic: Result<Path<String>, PathRejection>,
    params: Result<Query<Params>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    GatewayCounters::add(&gateway.0.counters.requests, 1);
    let response = match Request::open(&gateway, topic, params, &headers) {
        Ok(request) => request.run(body.into_data_stream()).await.into_response(),
        Err(problem) => problem.into_response(),
    };
    if !response.status().is_success() {
        GatewayCounters::add(&gateway.0.counters.refused_requests, 1);
    }
    response
}

/// One request under way.
struct Request {
    parts: Arc<Parts>,
    topic: Arc<str>,
    key_field: Option<String>,
    inflate: Option<Inflate>,
    splitter: Splitter,
    /// Bytes of the body so far: as they came, and inflated.
    wire_bytes: u64,
    body_bytes: u64,
    /// Records that wait to be written, and their lines.
    batch: Vec<NewRecord>,
    batch_lines: Vec<u64>,
    batch_bytes: usize,
    /// The line behind the last event looked at.
    next_line: u64,
    /// Writes not known to be durable, each with the line its records began at.
    in_flight: VecDeque<(u64, Written)>,
    reservation: Reservation,
    answer: IngestAnswer,
    position: LogPosition,
}

impl Request {
    fn open(
        gateway: &Gateway,
        topic: Result<Path<String>, PathRejection>,
        params: Result<Query<Params>, QueryRejection>,
        headers: &HeaderMap,
    ) -> Result<Self, HttpProblem> {
        let bad_request =
            |message: String| HttpProblem::new(StatusCode::BAD_REQUEST, message, "see /openapi.json");
        let Path(topic) = topic.map_err(|rejection| bad_request(rejection.body_text()))?;
        let Query(params) = params.map_err(|rejection| bad_request(rejection.body_text()))?;
        check_topic_name(&topic)?;
        let framing = framing(headers)?;
        let inflate = is_gzip(headers)?.then(Inflate::new);
        let parts = Arc::clone(&gateway.0);
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|bytes| bytes > parts.options.body_bytes_max) {
            return Err(too_large(parts.options.body_bytes_max));
        }
        let reservation = parts.budget.reserve(0).map_err(|full| memory_full(&full.to_string()))?;
        Ok(Self {
            splitter: Splitter::new(framing, parts.options.event_bytes_max),
            position: LogPosition::start_of(&topic),
            topic: topic.into(),
            key_field: params.key,
            inflate,
            wire_bytes: 0,
            body_bytes: 0,
            batch: Vec::new(),
            batch_lines: Vec::new(),
            batch_bytes: 0,
            next_line: 1,
            in_flight: VecDeque::new(),
            reservation,
            answer: IngestAnswer::new(),
            parts,
        })
    }

    async fn run(mut self, mut body: BodyDataStream) -> IngestAnswer {
        let read = self.read(&mut body).await;
        // What was read before a failure is still written: good events are kept.
        let written = self.flush().await;
        let durable = self.settle(0).await;
        if let Err(problem) = read.and(written).and(durable) {
            let next = self.answer.resume_at_line.unwrap_or(self.next_line);
            self.answer.resume_at_line = Some(next).filter(|line| *line > 1);
            self.answer.error = Some(problem);
        }
        self.answer.position = self.position.to_string();
        GatewayCounters::add(&self.parts.counters.accepted_events, self.answer.accepted);
        GatewayCounters::add(&self.parts.counters.rejected_events, self.answer.rejected);
        GatewayCounters::add(&self.parts.counters.body_bytes, self.body_bytes);
        self.answer
    }

    async fn read(&mut self, body: &mut BodyDataStream) -> Result<(), HttpProblem> {
        let idle_timeout = self.parts.options.idle_timeout;
        loop {
            let next = tokio::time::timeout(idle_timeout, body.next());
            let chunk = match next.await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(error))) => return Err(broken(format!("the body broke off: {error}"))),
                Ok(None) => break,
                Err(_) => {
                    let message = format!("the body was silent for {} s", idle_timeout.as_secs());
                    return Err(HttpProblem::new(
                        StatusCode::REQUEST_TIMEOUT,
                        message,
                        "send the body without pauses",
                    ));
                }
            };
            self.wire_bytes += chunk.len() as u64;
            if self.wire_bytes > self.parts.options.body_bytes_max {
                return Err(too_large(self.parts.options.body_bytes_max));
            }
            self.take_chunk(chunk).await?;
        }
        if let Some(mut inflate) = self.inflate.take() {
            let rest = inflate.finish().map_err(|bad| broken(bad.0))?;
            self.take_plain(rest).await?;
        }
        let mut events = Vec::new();
        let end = self.splitter.finish(&mut events);
        self.take_events(events).await?;
        end.map_err(broken)
    }

    async fn take_chunk(&mut self, mut chunk: Bytes) -> Result<(), HttpProblem> {
        let Some(mut inflate) = self.inflate.take() else { return self.take_plain(chunk).await };
        while let Some(block) = inflate.push(&mut chunk).map_err(|bad| broken(bad.0))? {
            self.take_plain(block).await?;
        }
        self.inflate = Some(inflate);
        Ok(())
    }

    async fn take_plain(&mut self, mut plain: Bytes) -> Result<(), HttpProblem> {
        while !plain.is_empty() {
            let slice = plain.split_to(plain.len().min(SLICE_BYTES));
            self.body_bytes += slice.len() as u64;
            if self.body_bytes > self.parts.options.body_bytes_max {
                return Err(too_large(self.parts.options.body_bytes_max));
            }
            let mut events = Vec::new();
            let cut = self.splitter.push(&slice, &mut events);
            self.take_events(events).await?;
            cut.map_err(broken)?;
        }
        Ok(())
    }

    async fn take_events(&mut self, events: Vec<Event>) -> Result<(), HttpProblem> {
        let timestamp_ms = self.parts.clock.unix_ms();
        for event in events {
            self.next_line = event.line + 1;
            let text = match event.text {
                Ok(text) => text,
                Err(reason) => {
                    self.answer.reject(event.line, reason);
                    continue;
                }
            };
            let key = match check_object(&text, self.key_field.as_deref()) {
                Ok(key) => key.map(|key| Bytes::copy_from_slice(&key)),
                Err(problem) => {
                    self.answer.reject(event.line, problem.to_string());
                    continue;
                }
            };
            let text = on_one_line(text);
            self.batch_bytes += text.len() + key.as_ref().map_or(0, Bytes::len);
            let record =
                NewRecord { key, value: Some(text), headers: Vec::new(), timestamp_ms: Some(timestamp_ms) };
            self.batch.push(record);
            self.batch_lines.push(event.line);
            if self.batch_bytes >= self.parts.options.flush_bytes
                || self.batch.len() >= self.parts.options.flush_records
            {
                self.flush().await?;
            }
        }
        self.reserve()
    }

    /// Makes the reservation what the request holds.
    fn reserve(&mut self) -> Result<(), HttpProblem> {
        let held =
            self.batch_bytes + self.batch.len() * RECORD_BYTES + self.splitter.held_bytes() + SLICE_BYTES;
        self.reservation.resize(held as u64).map_err(|full| memory_full(&full.to_string()))
    }

    /// Writes the records that wait; waits a while if the log is full.
    async fn flush(&mut self) -> Result<(), HttpProblem> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (records, lines) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.batch_lines));
        self.batch_bytes = 0;
        let first = lines.first().copied().unwrap_or(self.next_line);
        self.write(records, &lines).await.inspect_err(|_| self.not_taken(first))?;
        self.settle(IN_FLIGHT_MAX).await
    }

    /// Writes records, which came in these lines.
    async fn write(&mut self, records: Vec<NewRecord>, lines: &[u64]) -> Result<(), HttpProblem> {
        let (parts, topic) = (Arc::clone(&self.parts), Arc::clone(&self.topic));
        // Making a topic waits for the disk.
        let write = tokio::task::spawn_blocking(move || parts.writer.write(&topic, records));
        let (WriteOutcome { written, refused }, outcome) = match write.await {
            Ok(Ok(outcome)) => (outcome, Ok(())),
            // Not tried again here: what was appended before the refusal would be there twice.
            Ok(Err(WriteError::Append { error, before })) => (before, Err(append_problem(&error))),
            Ok(Err(WriteError::Topic(refused))) => (WriteOutcome::default(), Err(topic_problem(&refused))),
            Err(panicked) => (WriteOutcome::default(), Err(internal(&panicked.to_string()))),
        };
        let line = |index: u32| lines.get(index as usize).copied().unwrap_or(0);
        for (index, unfit) in &refused {
            self.answer.reject(line(*index), refusal(unfit));
        }
        let first = line(0);
        self.in_flight.extend(written.into_iter().map(|written| (first, written)));
        outcome
    }

    /// Some event from `line` on is not durable: the sender must go back as far as that.
    fn not_taken(&mut self, line: u64) {
        let first = self.answer.resume_at_line.map_or(line, |earlier| earlier.min(line));
        self.answer.resume_at_line = Some(first);
    }

    /// Waits until at most `left` writes are not durable. Gives the first failure.
    async fn settle(&mut self, left: usize) -> Result<(), HttpProblem> {
        let mut outcome = Ok(());
        while self.in_flight.len() > left {
            let Some((line, written)) = self.in_flight.pop_front() else { break };
            let settled = self.settle_one(written).await.inspect_err(|_| self.not_taken(line));
            outcome = outcome.and(settled);
        }
        outcome
    }

    async fn settle_one(&mut self, written: Written) -> Result<(), HttpProblem> {
        let range = PartitionRange {
            partition: written.partition,
            base_offset: written.ticket.base_offset,
            last_offset: written.ticket.last_offset,
        };
        let events = written.record_indexes.len() as u64;
        match tokio::time::timeout(self.parts.options.durable_wait, written.ticket).await {
            Ok(Ok(())) => {
                self.answer.accept(range, events, &mut self.position);
                Ok(())
            }
            Ok(Err(error)) => Err(append_problem(&error)),
            Err(_) => {
                let message =
                    format!("{events} events were not durable in time: they may be in the topic or not");
                Err(HttpProblem::retry(StatusCode::SERVICE_UNAVAILABLE, message, DISK_HINT))
            }
        }
    }
}

/// Why the topic does not take an event.
fn refusal(unfit: &Unfit) -> String {
    match unfit {
        Unfit::KeyWanted { .. } => format!("{unfit}: say which field is the key with ?key=FIELD"),
        other => other.to_string(),
    }
}

const DISK_HINT: &str = "the node's disk is slow or full: see its log";

fn check_topic_name(topic: &str) -> Result<(), HttpProblem> {
    let refuse = |message: String, hint: &str| Err(HttpProblem::new(StatusCode::BAD_REQUEST, message, hint));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let shown: String = topic.chars().take(100).collect();
    if topic.is_empty() || topic.len() > 249 || topic == "." || topic == ".." || !topic.bytes().all(allowed) {
        let hint = "a topic name has 1 to 249 of the characters a-z A-Z 0-9 . _ -";
        return refuse(format!("`{shown}` is no topic name"), hint);
    }
    if topic.starts_with("__") {
        return refuse(format!("topic `{shown}` is internal"), "choose a name that does not begin with `__`");
    }
    Ok(())
}

fn framing(headers: &HeaderMap) -> Result<Framing, HttpProblem> {
    let hint =
        "send Content-Type: application/json (one object or an array) or application/x-ndjson (one per line)";
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Framing::Json) };
    let media_type =
        value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        // curl -d says the second. A page of another origin cannot use that: its Origin is refused.
        "application/json" | "application/x-www-form-urlencoded" => Ok(Framing::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Ok(Framing::Lines)
        }
        _ => {
            let message = format!("Content-Type `{media_type}` is not understood");
            Err(HttpProblem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message, hint))
        }
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, HttpProblem> {
    let encodings: Vec<_> = headers.get_all(header::CONTENT_ENCODING).iter().collect();
    match encodings.as_slice() {
        [] => Ok(false),
        [one] if one.as_bytes().eq_ignore_ascii_case(b"identity") => Ok(false),
        [one] if one.as_bytes().eq_ignore_ascii_case(b"gzip") => Ok(true),
        _ => {
            let message = "this Content-Encoding is not understood";
            Err(HttpProblem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message, "send gzip, or no encoding"))
        }
    }
}

fn broken(message: String) -> HttpProblem {
    HttpProblem::new(StatusCode::BAD_REQUEST, message, "events before that point were taken: see `accepted`")
}

fn too_large(bytes_max: u64) -> HttpProblem {
    let message = format!("the body has more than {bytes_max} bytes (inflated)");
    HttpProblem::new(StatusCode::PAYLOAD_TOO_LARGE, message, "send several smaller bodies")
}

fn memory_full(message: &str) -> HttpProblem {
    HttpProblem::retry(StatusCode::SERVICE_UNAVAILABLE, message, "send fewer requests at once")
}

fn topic_problem(refused: &TopicError) -> HttpProblem {
    let bad_request = |hint: &str| HttpProblem::new(StatusCode::BAD_REQUEST, refused.to_string(), hint);
    match refused {
        TopicError::Unknown(_) => {
            HttpProblem::new(StatusCode::NOT_FOUND, refused.to_string(), "make it: POST /v1/topics")
        }
        TopicError::Log(LogError::Append(error)) => append_problem(error),
        TopicError::Log(error) if error.is_disk_full() => append_problem(&AppendError::DiskFull),
        TopicError::Log(_) | TopicError::Read(_) | TopicError::BadRecord { .. } => {
            internal(&refused.to_string())
        }
        _ => bad_request("see GET /v1/topics"),
    }
}

fn append_problem(error: &AppendError) -> HttpProblem {
    let message = error.to_string();
    match error {
        AppendError::Backpressure(_) => {
            HttpProblem::retry(StatusCode::TOO_MANY_REQUESTS, message, "send more slowly")
        }
        AppendError::DiskFull => HttpProblem::retry(StatusCode::SERVICE_UNAVAILABLE, message, DISK_HINT),
        AppendError::Poisoned(_) | AppendError::Closed => HttpProblem::retry(
            StatusCode::SERVICE_UNAVAILABLE,
            message,
            "the node must be restarted: see its log",
        ),
        AppendError::UnknownPartition(_) => {
            HttpProblem::retry(StatusCode::NOT_FOUND, "the topic was deleted meanwhile", "see GET /v1/topics")
        }
        AppendError::TooLarge { .. } => {
            HttpProblem::new(StatusCode::PAYLOAD_TOO_LARGE, message, "send smaller events")
        }
        _ => internal(&message),
    }
}

fn internal(message: &str) -> HttpProblem {
    tracing::error!(message, "an ingest request failed inside");
    HttpProblem::new(StatusCode::INTERNAL_SERVER_ERROR, "this is a bug", "see the node's log")
}
