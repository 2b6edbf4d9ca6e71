//! `GET /`: the embedded page.

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use highwater_env::{Entropy, OsEntropy};

use crate::server::Server;

/// One file, no dependencies. `__NONCE__` and `__DEMO_URL__` are filled in.
const PAGE: &str = include_str!("page.html");

pub(crate) async fn page(State(server): State<Server>) -> Response {
    // Seeded by the operating system for each page: a script that is not the page's cannot know it.
    let nonce = format!("{:032x}", OsEntropy::new().next_u128());
    let demo_url = server.options().demo_url.as_deref().filter(|url| is_plain_url(url)).unwrap_or("");
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
         connect-src 'self' {demo_url}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let html = PAGE.replace("__NONCE__", &nonce).replace("__DEMO_URL__", demo_url);
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response()
}

/// `http://host:port` and nothing that could end an attribute or a policy.
fn is_plain_url(url: &str) -> bool {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'[' | b']');
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(plain))
}
