//! `highwater pipeline ...`

use std::io::Write;

use anyhow::Result;
use serde_json::Value;

use super::client::{Client, escaped};
use super::script::read_script;
use crate::cli::PipelineCommand;

pub(crate) fn run(command: &PipelineCommand, out: &mut dyn Write) -> Result<()> {
    match command {
        PipelineCommand::Submit { file, name, vars, node } => {
            let text = read_script(file)?;
            let mut path = format!("/v1/pipelines?file={}", escaped(&file.display().to_string()));
            if let Some(name) = name {
                path.push_str(&format!("&name={}", escaped(name)));
            }
            for (key, value) in &vars.vars {
                path.push_str(&format!("&var.{}={}", escaped(key), escaped(value)));
            }
            let answer = Client::new(node).post(&path, "application/sql", text.as_bytes())?;
            writeln!(out, "started pipeline {}", answer["pipeline"].as_str().unwrap_or_default())?;
        }
        PipelineCommand::List { node } => {
            for pipeline in
                Client::new(node).get("/v1/pipelines")?["pipelines"].as_array().into_iter().flatten()
            {
                let text = |key: &str| pipeline[key].as_str().unwrap_or_default().to_owned();
                writeln!(out, "{}\t{}\tepoch {}", text("name"), text("state"), pipeline["epoch"])?;
            }
        }
        PipelineCommand::Status { pipeline, node } => {
            let answer = Client::new(node).get(&format!("/v1/pipelines/{}", escaped(pipeline)))?;
            writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
        }
        PipelineCommand::Stop { pipeline, node } => {
            Client::new(node).post(
                &format!("/v1/pipelines/{}/stop", escaped(pipeline)),
                "application/json",
                b"",
            )?;
            writeln!(out, "stopped pipeline {pipeline}; its state stays, submit it again to go on")?;
        }
        PipelineCommand::Drop { pipeline, node } => {
            let _: Value = Client::new(node).delete(&format!("/v1/pipelines/{}", escaped(pipeline)))?;
            writeln!(out, "dropped pipeline {pipeline}, its state and its tables")?;
        }
    }
    Ok(())
}
