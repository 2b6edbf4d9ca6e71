//! Requests to a running node.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cli::NodeUrl;

/// Longest wait for an answer; a submit may have to restore state first.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);

/// An HTTP client of one node.
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
}

/// What a node refused because the user's input is wrong: exit 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongInput(pub(crate) String);

impl Client {
    pub(crate) fn new(node: &NodeUrl) -> Self {
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_WAIT_MAX));
        Self { agent: config.build().into(), url: node.url.trim_end_matches('/').to_owned() }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        self.answer(self.agent.get(self.address(path)).call())
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Value> {
        self.answer(self.agent.delete(self.address(path)).call())
    }

    pub(crate) fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Result<Value> {
        self.answer(self.agent.post(self.address(path)).header("content-type", content_type).send(body))
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn answer(&self, sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value> {
        let hint = || {
            format!("cannot reach a node at {}; start one with: highwater serve (or give --url)", self.url)
        };
        let mut response = sent.with_context(hint)?;
        let status = response.status();
        let text = response.body_mut().read_to_string().context("the node's answer broke off")?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status.is_success() {
            return Ok(value);
        }
        let error = &value["error"];
        let message = error["message"].as_str().map_or_else(|| format!("{status}: {value}"), str::to_owned);
        let message = match error["hint"].as_str() {
            Some(hint) if !hint.is_empty() => format!("{message}\nhint: {hint}"),
            _ => message,
        };
        if status == 400 {
            return Err(WrongInput(message).into());
        }
        bail!("{message}")
    }
}

/// `text` as one segment of a path or value of a query.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}
