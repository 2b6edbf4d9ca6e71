//! `highwater group ...`

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::client::{Client, escaped};
use crate::cli::GroupCommand;

pub(crate) fn run(command: &GroupCommand, out: &mut dyn Write) -> Result<()> {
    match command {
        GroupCommand::List { node } => list(&Client::new(node).get("/v1/groups")?, out)?,
        GroupCommand::Describe { group, node } => {
            describe(&Client::new(node).get(&format!("/v1/groups/{}", escaped(group)))?, out)?;
        }
        GroupCommand::ResetOffsets { group, topic, partition, to, node } => {
            let path = format!("/v1/groups/{}/offsets", escaped(group));
            let body = json!({ "topic": topic, "partition": partition, "to": to }).to_string();
            let answer = Client::new(node).post(&path, "application/json", body.as_bytes())?;
            offsets(&answer, out)?;
        }
        GroupCommand::Delete { group, node } => {
            Client::new(node).delete(&format!("/v1/groups/{}", escaped(group)))?;
            writeln!(out, "deleted group {group}")?;
        }
    }
    Ok(())
}

fn list(answer: &Value, out: &mut dyn Write) -> Result<()> {
    for group in answer["groups"].as_array().into_iter().flatten() {
        let (name, state) = (text(&group["name"]), text(&group["state"]));
        writeln!(out, "{name}\t{state}\t{} member(s)\tlag {}", group["members"], group["lag"])?;
    }
    Ok(())
}

fn describe(answer: &Value, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{}\t{}\tlag {}", text(&answer["name"]), text(&answer["state"]), answer["lag"])?;
    for member in answer["members"].as_array().into_iter().flatten() {
        let assigned = member["assigned"].as_array().into_iter().flatten().map(text);
        let assigned = assigned.collect::<Vec<_>>().join(" ");
        writeln!(out, "member\t{}\t{}\t{assigned}", text(&member["id"]), text(&member["client_host"]))?;
    }
    offsets(answer, out)
}

fn offsets(answer: &Value, out: &mut dyn Write) -> Result<()> {
    for one in answer["offsets"].as_array().into_iter().flatten() {
        let lag = one["lag"].as_i64().map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
        let topic = text(&one["topic"]);
        writeln!(out, "{topic}-{}\toffset {}\tlag {lag}", one["partition"], one["committed"])?;
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
