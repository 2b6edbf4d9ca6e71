//! What every request passes: Host and Origin checks, security headers, counts.
//!
//! A loopback port is within reach of any web page the user has open: by DNS rebinding (a name of
//! the page's own that resolves to 127.0.0.1, so the Host header is foreign), and by plain
//! cross-site writes (the Origin header is foreign).

use std::sync::atomic::Ordering;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use highwater_gateway::HttpProblem;

use crate::server::Server;

/// Names under which a node on this machine is reached. Any port.
const LOOPBACK_HOSTS: &[&str] = &["localhost", "127.0.0.1", "[::1]"];

/// Bytes of a plain-text refusal that are kept.
const SAID_BYTES_MAX: usize = 4096;

/// Who may be asked for, and by whom.
#[derive(Clone, Debug, Default)]
pub struct HostRules {
    /// Host names, without port, allowed beside `localhost`, `127.0.0.1` and `[::1]`; lower case.
    pub hosts: Vec<String>,
}

impl HostRules {
    /// Whether a Host header names this node.
    pub fn allows_host(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        LOOPBACK_HOSTS.contains(&name.as_str()) || self.hosts.contains(&name)
    }

    /// Whether a page of this origin may write. Its port may differ: the demo's page does.
    pub fn allows_origin(&self, origin: &str) -> bool {
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        rest.is_some_and(|host| !host.contains(['/', '@']) && self.allows_host(host))
    }
}

/// `[::1]:80` without `:80`.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(at)
            if host[at + 1..].bytes().all(|byte| byte.is_ascii_digit()) && !host[..at].ends_with(':') =>
        {
            &host[..at]
        }
        _ => host,
    }
}

pub(crate) async fn guard(State(server): State<Server>, request: Request, next: Next) -> Response {
    server.counters().requests.fetch_add(1, Ordering::Relaxed);
    let response = match check(server.host_rules(), request.method(), request.headers(), request.uri().host())
    {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        server.counters().refused_requests.fetch_add(1, Ordering::Relaxed);
    }
    with_security_headers(as_json_problem(response).await)
}

fn check(
    rules: &HostRules,
    method: &Method,
    headers: &HeaderMap,
    uri_host: Option<&str>,
) -> Result<(), HttpProblem> {
    let refuse = |message: String, hint: &str| Err(HttpProblem::new(StatusCode::FORBIDDEN, message, hint));
    let one = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        (values.next().map(|value| value.to_str().unwrap_or("\u{fffd}")), values.next().is_some())
    };
    let (host, several) = one(header::HOST);
    let foreign = [host, uri_host].into_iter().flatten().any(|host| !rules.allows_host(host));
    if several || foreign || (host.is_none() && uri_host.is_none()) {
        let shown: String = host.unwrap_or("").chars().take(100).collect();
        return refuse(
            format!("Host `{shown}` is not this node"),
            "use localhost, or add the name to [http] hosts",
        );
    }
    let writes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let (origin, several) = one(header::ORIGIN);
    if writes && (several || origin.is_some_and(|origin| !rules.allows_origin(origin))) {
        return refuse(
            "a page of another origin may not write here".to_owned(),
            "open the page of this node itself",
        );
    }
    Ok(())
}

/// The router's own refusals have no body (404, 405) or plain text (bad parameters): make them JSON.
async fn as_json_problem(response: Response) -> Response {
    let status = response.status();
    let media_type = response.headers().get(header::CONTENT_TYPE).map(|value| value.as_bytes().to_owned());
    let is_text = media_type.as_ref().is_some_and(|name| name.starts_with(b"text/plain"));
    if !status.is_client_error() || (media_type.is_some() && !is_text) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let said = to_bytes(body, SAID_BYTES_MAX).await.unwrap_or_default();
    let message = match status {
        StatusCode::NOT_FOUND => "there is nothing at this path".into(),
        StatusCode::METHOD_NOT_ALLOWED => "this path has no such method".into(),
        _ if said.is_empty() => status.canonical_reason().unwrap_or("refused").into(),
        _ => String::from_utf8_lossy(&said),
    };
    let mut told = HttpProblem::new(status, message, "see /openapi.json").into_response();
    if let Some(allow) = parts.headers.get(header::ALLOW) {
        told.headers_mut().insert(header::ALLOW, allow.clone());
    }
    told
}

fn with_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let set = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.insert(header::CONTENT_SECURITY_POLICY, nothing);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let rules = HostRules { hosts: vec!["stream.example".to_owned()] };
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]", "[::1]:8080", "stream.example:443"]
        {
            assert!(rules.allows_host(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "localhost:80:80",
            "localhost:x",
            "::1",
            "0.0.0.0",
        ] {
            assert!(!rules.allows_host(host), "{host}");
        }
    }

    #[test]
    fn origins() {
        let rules = HostRules::default();
        for origin in ["http://localhost:8080", "https://127.0.0.1", "http://[::1]:9"] {
            assert!(rules.allows_origin(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "localhost",
            "http://evil.example",
            "http://evil@localhost",
            "file://localhost",
            "http://localhost/",
        ] {
            assert!(!rules.allows_origin(origin), "{origin}");
        }
    }
}
