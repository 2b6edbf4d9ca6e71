//! `highwater topic ...`

use std::io::{Read, Write};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::client::{Client, escaped};
use crate::cli::TopicCommand;

/// Bytes of standard input sent in one request; lines are kept whole.
const PRODUCE_BYTES: usize = 1 << 20;

pub(crate) fn run(command: &TopicCommand, out: &mut dyn Write) -> Result<()> {
    match command {
        TopicCommand::Create { topic, partitions, node } => {
            let body = json!({ "name": topic, "partitions": partitions }).to_string();
            Client::new(node).post("/v1/topics", "application/json", body.as_bytes())?;
            writeln!(out, "created topic {topic} with {partitions} partition(s)")?;
        }
        TopicCommand::List { node } => list(&Client::new(node).get("/v1/topics")?, out)?,
        TopicCommand::Describe { topic, node } => {
            let answer = Client::new(node).get(&format!("/v1/topics/{}", escaped(topic)))?;
            writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
        }
        TopicCommand::Produce { topic, key, node } => {
            produce(&Client::new(node), topic, key.as_deref(), out)?
        }
        TopicCommand::Tail { topic, partition, limit, node } => {
            let path = format!("/v1/topics/{}/records?partition={partition}&limit={limit}", escaped(topic));
            for record in Client::new(node).get(&path)?["records"].as_array().into_iter().flatten() {
                writeln!(out, "{record}")?;
            }
        }
        TopicCommand::Delete { topic, node } => {
            Client::new(node).delete(&format!("/v1/topics/{}", escaped(topic)))?;
            writeln!(out, "deleted topic {topic}")?;
        }
    }
    Ok(())
}

fn list(answer: &Value, out: &mut dyn Write) -> Result<()> {
    for topic in answer["topics"].as_array().into_iter().flatten() {
        let partitions = topic["partitions"].as_array().map_or(&[][..], Vec::as_slice);
        let records = |p: &Value| {
            p["high_watermark"].as_i64().unwrap_or(0) - p["log_start_offset"].as_i64().unwrap_or(0)
        };
        let name = topic["name"].as_str().unwrap_or_default();
        let total: i64 = partitions.iter().map(records).sum();
        writeln!(out, "{name}\t{} partition(s)\t{total} record(s)", partitions.len())?;
    }
    Ok(())
}

/// Sends standard input in pieces of whole lines, each durable before the next.
fn produce(client: &Client, topic: &str, key: Option<&str>, out: &mut dyn Write) -> Result<()> {
    let key = key.map_or(String::new(), |field| format!("?key={}", escaped(field)));
    let path = format!("/v1/topics/{}/events{key}", escaped(topic));
    let (mut accepted, mut rejected, mut kept, mut ended) = (0, 0, Vec::new(), false);
    while !ended {
        let room = (PRODUCE_BYTES as u64).saturating_sub(kept.len() as u64).max(1);
        let read = std::io::stdin()
            .lock()
            .take(room)
            .read_to_end(&mut kept)
            .context("cannot read standard input")?;
        ended = read == 0;
        let whole =
            if ended { kept.len() } else { kept.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1) };
        if whole == 0 {
            continue;
        }
        let answer = client.post(&path, "application/x-ndjson", &kept[..whole])?;
        accepted += answer["accepted"].as_u64().unwrap_or(0);
        rejected += answer["rejected"].as_u64().unwrap_or(0);
        kept.drain(..whole);
    }
    writeln!(out, "accepted {accepted}, rejected {rejected}")?;
    Ok(())
}
