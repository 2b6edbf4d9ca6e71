//! A small HTTP client: what it sends is exactly what a test wrote.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test uses a part of it"
)]

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Answer {
    pub status: u16,
    /// Lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(prefix.as_str()))
    }
}

pub async fn get(address: SocketAddr, target: &str) -> Answer {
    send(address, "GET", target, &[], "").await
}

pub async fn send(address: SocketAddr, method: &str, target: &str, headers: &[&str], body: &str) -> Answer {
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        head.push_str("Host: localhost\r\n");
    }
    headers
        .iter()
        .filter(|header| **header != "Host:")
        .for_each(|header| head.push_str(&format!("{header}\r\n")));
    exchange(address, format!("{head}\r\n{body}").as_bytes()).await
}

pub async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// A subscription that is read event by event.
pub struct Events {
    stream: TcpStream,
    text: String,
}

impl Events {
    pub async fn open(address: SocketAddr, target: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { stream, text: String::new() }
    }

    /// The next event's name and data.
    ///
    /// # Panics
    /// If none comes within ten seconds.
    pub async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some(event) = self.take() {
                return event;
            }
            let mut buffer = vec![0; 1 << 16];
            let read = tokio::time::timeout(Duration::from_secs(10), self.stream.read(&mut buffer));
            let count = read.await.expect("an event within ten seconds").unwrap();
            assert!(count > 0, "the stream ended: {}", self.text);
            self.text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    }

    fn take(&mut self) -> Option<(String, Value)> {
        let start = self.text.find("event: ")?;
        let end = start + self.text[start..].find("\n\n")?;
        // Chunk sizes of the transfer encoding stand on lines of their own.
        let event = self.text[start..end].to_owned();
        self.text = self.text[end..].to_owned();
        let name = event.lines().next()?.strip_prefix("event: ")?.to_owned();
        let data = event.lines().find_map(|line| line.strip_prefix("data: "))?;
        Some((name, serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))))
    }
}
