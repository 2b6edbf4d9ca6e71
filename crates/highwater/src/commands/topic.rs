//! `highwater topic ...`

use std::collections::BTreeMap;
use std::io::{Read, Write};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::client::{Client, escaped};
use crate::cli::{NodeUrl, TopicCommand};

/// Bytes of standard input sent in one request; lines are kept whole.
const PRODUCE_BYTES: usize = 1 << 20;

pub(crate) fn run(command: &TopicCommand, out: &mut dyn Write) -> Result<()> {
    match command {
        TopicCommand::Create { topic, partitions, configs, node } => {
            let configs: BTreeMap<_, _> = configs.iter().cloned().collect();
            let body = json!({ "name": topic, "partitions": partitions, "configs": configs }).to_string();
            Client::new(node).post("/v1/topics", "application/json", body.as_bytes())?;
            writeln!(out, "created topic {topic} with {partitions} partition(s)")?;
        }
        TopicCommand::List { node } => list(&Client::new(node).get("/v1/topics")?, out)?,
        TopicCommand::Describe { topic, node } => {
            let answer = Client::new(node).get(&format!("/v1/topics/{}", escaped(topic)))?;
            writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
        }
        TopicCommand::Alter { topic, configs, deleted, node } => {
            let set = configs.iter().map(|(name, value)| (name, Some(value)));
            let changes: BTreeMap<_, _> = set.chain(deleted.iter().map(|name| (name, None))).collect();
            let answer = change(node, topic, "configs", &json!({ "configs": changes }))?;
            writeln!(out, "configs of topic {topic}: {}", answer["configs"])?;
        }
        TopicCommand::AddPartitions { topic, partitions, node } => {
            change(node, topic, "partitions", &json!({ "partitions": partitions }))?;
            writeln!(out, "topic {topic} has {partitions} partition(s)")?;
        }
        TopicCommand::DeleteRecords { topic, partition, before, node } => {
            let body = json!({ "partition": partition, "before": before });
            let answer = change(node, topic, "delete-records", &body)?;
            for one in answer["partitions"].as_array().into_iter().flatten() {
                writeln!(out, "{topic}-{} starts at offset {}", one["partition"], one["log_start_offset"])?;
            }
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

/// Asks for a change of a topic; the topic as it is then.
fn change(node: &NodeUrl, topic: &str, what: &str, body: &Value) -> Result<Value> {
    let path = format!("/v1/topics/{}/{what}", escaped(topic));
    Client::new(node).post(&path, "application/json", body.to_string().as_bytes())
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
