//! `highwater transaction ...`

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::client::{Client, escaped};
use crate::cli::TransactionCommand;

pub(crate) fn run(command: &TransactionCommand, out: &mut dyn Write) -> Result<()> {
    match command {
        TransactionCommand::List { open, node } => {
            list(&Client::new(node).get(&format!("/v1/transactions?open={open}"))?, out)?;
        }
        TransactionCommand::Describe { id, node } => {
            describe(&Client::new(node).get(&format!("/v1/transactions/{}", escaped(id)))?, out)?;
        }
        TransactionCommand::Abort { id: Some(id), node, .. } => {
            let path = format!("/v1/transactions/{}/abort", escaped(id));
            Client::new(node).post(&path, "application/json", b"")?;
            writeln!(out, "aborted the transaction of {id}")?;
        }
        TransactionCommand::Abort { id: None, topic, partition, producer_id, node } => {
            let topic = topic.as_deref().unwrap_or_default();
            let path = format!("/v1/topics/{}/abort-transaction", escaped(topic));
            let body = json!({ "partition": partition, "producer_id": producer_id }).to_string();
            let done = Client::new(node).post(&path, "application/json", body.as_bytes())?;
            let (partition, producer) = (&done["partition"], &done["aborted_producer_id"]);
            writeln!(out, "aborted the transaction of producer {producer} in {topic}-{partition}")?;
        }
    }
    Ok(())
}

fn list(answer: &Value, out: &mut dyn Write) -> Result<()> {
    for one in answer["transactions"].as_array().into_iter().flatten() {
        writeln!(out, "{}\t{} partition(s)", head(one), one["partitions"])?;
    }
    if answer["more"] == true {
        writeln!(out, "...\tthere are more")?;
    }
    for one in answer["hanging"].as_array().into_iter().flatten() {
        let (topic, partition) = (text(&one["topic"]), &one["partition"]);
        let (producer, epoch, offset) = (&one["producer_id"], &one["producer_epoch"], &one["first_offset"]);
        writeln!(
            out,
            "hanging\t{topic}-{partition}\tproducer {producer} epoch {epoch}\topen from offset {offset}"
        )?;
    }
    Ok(())
}

fn describe(answer: &Value, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{}\ttimeout {} ms", head(answer), answer["timeout_ms"])?;
    for one in answer["partitions"].as_array().into_iter().flatten() {
        let from = match one["first_offset"].as_i64() {
            Some(offset) => format!("open from offset {offset}"),
            None => "nothing written yet".to_owned(),
        };
        writeln!(out, "{}-{}\t{from}", text(&one["topic"]), one["partition"])?;
    }
    Ok(())
}

fn head(one: &Value) -> String {
    let open = one["open_for_ms"].as_i64().map(|ms| format!(" for {ms} ms")).unwrap_or_default();
    let (id, state) = (text(&one["id"]), text(&one["state"]));
    format!("{id}\t{state}{open}\tproducer {} epoch {}", one["producer_id"], one["producer_epoch"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(print: fn(&Value, &mut dyn Write) -> Result<()>, answer: &Value, expected: &[&str]) {
        let mut out = Vec::new();
        print(answer, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn transactions_are_printed_one_by_line() {
        let listed = json!({
            "transactions": [
                {"id": "a", "state": "Ongoing", "producer_id": 5, "producer_epoch": 2, "timeout_ms": 1000,
                    "open_for_ms": 17, "partitions": 3},
                {"id": "b", "state": "Empty", "producer_id": 6, "producer_epoch": 0, "timeout_ms": 1000,
                    "open_for_ms": null, "partitions": 0},
            ],
            "more": true,
            "hanging": [{"topic": "t", "partition": 1, "producer_id": 9, "producer_epoch": 4,
                "first_offset": 80, "last_written_ms": 5}],
        });
        check(
            list,
            &listed,
            &[
                "a\tOngoing for 17 ms\tproducer 5 epoch 2\t3 partition(s)",
                "b\tEmpty\tproducer 6 epoch 0\t0 partition(s)",
                "...\tthere are more",
                "hanging\tt-1\tproducer 9 epoch 4\topen from offset 80",
            ],
        );
    }

    #[test]
    fn a_description_says_where_the_transaction_begins() {
        let described = json!({
            "id": "a", "state": "Ongoing", "producer_id": 5, "producer_epoch": 2, "timeout_ms": 1000,
            "open_for_ms": 17, "open_since_ms": 1,
            "partitions": [
                {"topic": "t", "partition": 0, "first_offset": 12},
                {"topic": "u", "partition": 3, "first_offset": null},
            ],
        });
        check(
            describe,
            &described,
            &[
                "a\tOngoing for 17 ms\tproducer 5 epoch 2\ttimeout 1000 ms",
                "t-0\topen from offset 12",
                "u-3\tnothing written yet",
            ],
        );
    }
}
