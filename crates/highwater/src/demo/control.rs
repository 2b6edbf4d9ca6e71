//! The demo's own small HTTP endpoint, for the node's page: figures, and the kill button.
//!
//! Routes: `GET /v1/demo`, `POST /v1/demo/kill`. It listens on loopback, answers only requests
//! addressed to it by a loopback name, and lets only the node's page read it or press the button.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Longest request head that is read.
const HEAD_BYTES_MAX: u64 = 8 * 1024;
/// A client that says nothing this long is hung up on.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// What the endpoint shows and does.
pub(crate) trait Controlled: Send + Sync + 'static {
    /// The figures, as JSON.
    fn figures(&self) -> String;
    /// Asks for a kill -9 of the node; it happens soon.
    fn ask_kill(&self);
}

/// Serves requests one after the other for as long as the process lives.
///
/// `node_port` is the port of the node's page.
///
/// # Errors
/// When the thread cannot be started.
pub(crate) fn serve(listener: TcpListener, node_port: u16, demo: Arc<impl Controlled>) -> anyhow::Result<()> {
    let own_port = listener.local_addr()?.port();
    std::thread::Builder::new().name("demo-control".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that hangs up early is its own affair.
            let _ = answer(stream, own_port, node_port, demo.as_ref());
        }
    })?;
    Ok(())
}

#[derive(Default)]
struct Request {
    method: String,
    path: String,
    host: String,
    origin: Option<String>,
}

fn answer(
    mut stream: TcpStream,
    own_port: u16,
    node_port: u16,
    demo: &impl Controlled,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_write_timeout(Some(READ_TIMEOUT))?;
    let request = Request::read(&stream)?;
    let response = respond(&request, own_port, node_port, demo);
    stream.write_all(response.as_bytes())
}

impl Request {
    fn read(stream: &TcpStream) -> std::io::Result<Self> {
        let mut lines = BufReader::new(stream.take(HEAD_BYTES_MAX)).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut words = first.split(' ').map(str::to_owned);
        let mut request = Self {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            ..Self::default()
        };
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "host" => request.host = value.trim().to_owned(),
                "origin" => request.origin = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        Ok(request)
    }
}

fn respond(request: &Request, own_port: u16, node_port: u16, demo: &impl Controlled) -> String {
    let is_local = |host: &str, port: u16| {
        ["127.0.0.1", "localhost"].iter().any(|name| host == format!("{name}:{port}"))
    };
    let origin = request.origin.as_deref();
    let is_page =
        origin.and_then(|o| o.strip_prefix("http://")).is_some_and(|host| is_local(host, node_port));
    // Another site's name for our address (DNS rebinding), or another site's page.
    if !is_local(&request.host, own_port) || (origin.is_some() && !is_page) {
        return response("403 Forbidden", None, r#"{"error":"only the node's own page may ask"}"#);
    }
    let allowed = origin.filter(|_| is_page);
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/demo") => response("200 OK", allowed, &demo.figures()),
        ("POST", "/v1/demo/kill") => {
            demo.ask_kill();
            response("202 Accepted", allowed, r#"{"killing":true}"#)
        }
        ("OPTIONS", _) => response("204 No Content", allowed, ""),
        _ => response("404 Not Found", allowed, r#"{"error":"routes: GET /v1/demo, POST /v1/demo/kill"}"#),
    }
}

fn response(status: &str, allowed_origin: Option<&str>, body: &str) -> String {
    let cors = allowed_origin.map_or_else(String::new, |origin| {
        format!(
            "access-control-allow-origin: {origin}\r\naccess-control-allow-methods: GET, POST\r\n\
             access-control-allow-headers: content-type\r\nvary: origin\r\n"
        )
    });
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n{cors}\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests;
