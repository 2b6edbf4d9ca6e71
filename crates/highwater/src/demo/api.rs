//! A node's HTTP interface, as the demo and the benchmarks use it.

use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;
use ureq::Agent;

/// Longer than a durable append of any batch we send takes on a disk that still works.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Loopback connects at once or is refused.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Larger than any page of rows asked for here.
const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A node at one base address. Cheap to clone; clones share connections.
#[derive(Clone)]
pub(crate) struct NodeApi {
    base: String,
    agent: Agent,
}

/// The answer to a post of events: what is durable, and where.
#[derive(Debug, Deserialize)]
pub(crate) struct Accepted {
    /// Events that are durable now.
    pub(crate) accepted: u64,
    /// Events refused, one by one.
    #[serde(default)]
    pub(crate) rejected: u64,
    /// Offsets per partition.
    #[serde(default)]
    pub(crate) positions: Vec<PartitionRange>,
}

/// Offsets `[base_offset, last_offset]` of one partition.
#[derive(Debug, Deserialize)]
pub(crate) struct PartitionRange {
    pub(crate) partition: i32,
    #[serde(default)]
    pub(crate) last_offset: i64,
}

/// Why a post of events was not acknowledged.
#[derive(Debug)]
pub(crate) enum PostError {
    /// The node answered, and kept nothing: the same batch may be sent again.
    Refused { status: u16, message: String },
    /// No answer: the batch may have landed in whole, in part or not at all.
    Unknown(String),
}

impl std::fmt::Display for PostError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { status, message } => write!(f, "the node answered {status}: {message}"),
            Self::Unknown(message) => write!(f, "no answer: {message}"),
        }
    }
}

impl std::error::Error for PostError {}

impl NodeApi {
    /// `base` is `http://host:port` without a slash at its end.
    pub(crate) fn new(base: impl Into<String>) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(REQUEST_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            // The node is on this machine: a proxy meant for the Internet must not see it.
            .proxy(None)
            .build();
        Self { base: base.into(), agent: config.new_agent() }
    }

    /// `http://host:port`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// GET of a JSON document; `path` begins with a slash.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut answer =
            self.agent.get(format!("{}{path}", self.base)).call().with_context(|| format!("GET {path}"))?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_string()?;
        if !status.is_success() {
            bail!("GET {path}: {status}: {}", body.trim());
        }
        serde_json::from_str(&body).with_context(|| format!("GET {path} did not answer with JSON"))
    }

    /// POST of `body`; the answer is JSON or empty.
    pub(crate) fn post(&self, path: &str, content_type: &str, body: &str) -> anyhow::Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("content-type", content_type);
        let mut answer = request.send(body).with_context(|| format!("POST {path}"))?;
        let status = answer.status();
        let body = answer.body_mut().read_to_string()?;
        if !status.is_success() {
            bail!("POST {path}: {status}: {}", body.trim());
        }
        Ok(serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// Posts newline-delimited JSON and waits until it is durable.
    pub(crate) fn post_events(
        &self,
        topic: &str,
        key: Option<&str>,
        body: &str,
    ) -> Result<Accepted, PostError> {
        let key = key.map(|key| format!("?key={key}")).unwrap_or_default();
        let url = format!("{}/v1/topics/{topic}/events{key}", self.base);
        let unknown = |error: ureq::Error| PostError::Unknown(error.to_string());
        let request = self.agent.post(url).header("content-type", "application/x-ndjson");
        let mut answer = request.send(body).map_err(unknown)?;
        let status = answer.status();
        let body = answer.body_mut().read_to_string().map_err(unknown)?;
        if !status.is_success() {
            return Err(PostError::Refused { status: status.as_u16(), message: body.trim().to_owned() });
        }
        serde_json::from_str(&body).map_err(|error| PostError::Unknown(format!("{error} in {}", body.trim())))
    }

    /// Follows a stream of server-sent events, `stream` being `TABLE/stream` with its query, until
    /// `on_event` answers false or the node goes away. `on_event` gets the data of each event, and
    /// nothing for the lines between (a silent stream still sends heartbeats).
    pub(crate) fn follow(&self, stream: &str, mut on_event: impl FnMut(&str) -> bool) -> anyhow::Result<()> {
        let request = self.agent.get(format!("{}/v1/tables/{stream}", self.base));
        // A stream has no end: only connecting is bounded.
        let answer = request.config().timeout_global(None).build().call()?;
        if !answer.status().is_success() {
            bail!("GET /v1/tables/{stream}: {}", answer.status());
        }
        let reader = std::io::BufReader::new(answer.into_body().into_with_config().limit(u64::MAX).reader());
        for line in reader.lines() {
            if !on_event(line?.strip_prefix("data:").unwrap_or_default().trim()) {
                break;
            }
        }
        Ok(())
    }
}
