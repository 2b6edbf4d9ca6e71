//! What was acknowledged, kept outside the node: the demo's own half of the balance.

use std::collections::{BTreeMap, HashMap};

use highwater_gateway::LogPosition;
use serde::Serialize;
use serde_json::Value;

use super::api::{Accepted, NodeApi};
use super::fleet::{Event, Fleet};

/// Rows one answer of the node holds at most.
const ROWS_MAX: usize = 10_000;
/// How long the node may wait for a table to catch up before it answers that it did not.
const CATCH_UP_MS: u64 = 25_000;

/// Per vehicle, how many events are acknowledged and the sum of their sequence numbers.
///
/// Two sums, so that one event lost and another doubled do not cancel out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) events: u64,
    pub(crate) seq_sum: u64,
}

/// Everything acknowledged so far.
#[derive(Default)]
pub(crate) struct Ledger {
    vehicles: Vec<Count>,
    /// Per partition, the offset after the last one known to hold an acknowledged event.
    next_offsets: BTreeMap<i32, i64>,
    acknowledged: u64,
}

/// The table against the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Balance {
    /// Events acknowledged.
    pub(crate) acknowledged: u64,
    /// Events the table has counted.
    pub(crate) processed: u64,
    /// Acknowledged, but not in the table.
    pub(crate) lost: u64,
    /// In the table more often than acknowledged.
    pub(crate) doubled: u64,
    /// Vehicles whose counts agree while the sums of their sequence numbers do not.
    pub(crate) mixed_up: u64,
}

impl Ledger {
    pub(crate) fn new(vehicles: usize) -> Self {
        Self { vehicles: vec![Count::default(); vehicles], ..Self::default() }
    }

    /// Events acknowledged, of all vehicles.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// `?after=` of this covers everything acknowledged.
    pub(crate) fn position(&self, topic: &str) -> String {
        let mut position = LogPosition::start_of(topic);
        for (partition, next) in self.next_offsets.iter().filter(|(_, next)| **next > 0) {
            position.include(*partition, next - 1);
        }
        position.to_string()
    }

    /// The node acknowledged all of `events`.
    pub(crate) fn acknowledge(&mut self, events: &[Event], answer: &Accepted) {
        for event in events {
            self.count(event);
        }
        for range in &answer.positions {
            let next = self.next_offsets.entry(range.partition).or_default();
            *next = (*next).max(range.last_offset + 1);
        }
    }

    fn count(&mut self, event: &Event) {
        let count = &mut self.vehicles[event.vehicle];
        count.events += 1;
        count.seq_sum += event.seq;
        self.acknowledged += 1;
    }

    /// After a request without an answer: which of `events` are in the log nevertheless?
    /// Those are counted; the others are returned, to be sent again.
    ///
    /// This sender is the topic's only writer and has one request under way, so the answer lies
    /// in each partition behind the last acknowledged offset.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub(crate) fn settle(
        &mut self,
        api: &NodeApi,
        topic: &str,
        partitions: i32,
        fleet: &Fleet,
        events: Vec<Event>,
    ) -> anyhow::Result<Vec<Event>> {
        let mut landed: HashMap<(String, u64), ()> = HashMap::new();
        let mut ends = Vec::new();
        for partition in 0..partitions {
            let mut from = self.next_offsets.get(&partition).copied().unwrap_or(0);
            loop {
                let limit = events.len().max(1);
                let path =
                    format!("/v1/topics/{topic}/records?partition={partition}&from={from}&limit={limit}");
                let page = api.get(&path)?;
                let records = page["records"].as_array().map(Vec::as_slice).unwrap_or_default();
                let Some(last) = records.last().and_then(|record| record["offset"].as_i64()) else { break };
                landed.extend(records.iter().filter_map(|record| Some((event_name(&record["value"])?, ()))));
                from = last + 1;
            }
            ends.push((partition, from));
        }
        let (there, missing): (Vec<_>, Vec<_>) = events
            .into_iter()
            .partition(|event| landed.contains_key(&(fleet.vehicle_id(event.vehicle).to_owned(), event.seq)));
        there.iter().for_each(|event| self.count(event));
        self.next_offsets.extend(ends);
        Ok(missing)
    }

    /// Waits until the table covers everything acknowledged, and compares each vehicle's row.
    /// Nothing may be sent meanwhile.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(crate) fn compare(
        &self,
        api: &NodeApi,
        topic: &str,
        table: &str,
        fleet: &Fleet,
    ) -> anyhow::Result<Balance> {
        let after = percent_encoded(&self.position(topic));
        let rows = table_rows(api, table, &format!("&timeout_ms={CATCH_UP_MS}&after={after}"))?;
        let counted: HashMap<&str, Count> = rows.iter().filter_map(count_in_row).collect();
        let mut balance = Balance { acknowledged: self.acknowledged, ..Balance::default() };
        for (index, expected) in self.vehicles.iter().enumerate() {
            let found = counted.get(fleet.vehicle_id(index)).copied().unwrap_or_default();
            balance.processed += found.events;
            balance.lost += expected.events.saturating_sub(found.events);
            balance.doubled += found.events.saturating_sub(expected.events);
            balance.mixed_up +=
                u64::from(found.events == expected.events && found.seq_sum != expected.seq_sum);
        }
        Ok(balance)
    }
}

/// The first 10,000 rows of a table; `more` is appended to the query.
///
/// # Errors
/// When the table cannot be read.
pub(crate) fn table_rows(api: &NodeApi, table: &str, more: &str) -> anyhow::Result<Vec<Value>> {
    let mut page = api.get(&format!("/v1/tables/{table}?limit={ROWS_MAX}{more}"))?;
    match page["rows"].take() {
        Value::Array(rows) => Ok(rows),
        other => anyhow::bail!("table {table} answered without rows: {other}"),
    }
}

fn count_in_row(row: &Value) -> Option<(&str, Count)> {
    let count = Count { events: row["events"].as_u64()?, seq_sum: row["seq_sum"].as_u64()? };
    Some((row["vehicle_id"].as_str()?, count))
}

/// (vehicle, sequence number) of a record's value, which arrives as JSON or as text holding JSON.
fn event_name(value: &Value) -> Option<(String, u64)> {
    let parsed;
    let event = match value {
        Value::String(text) => {
            parsed = serde_json::from_str::<Value>(text).ok()?;
            &parsed
        }
        other => other,
    };
    Some((event["vehicle_id"].as_str()?.to_owned(), event["seq"].as_u64()?))
}

/// For a query string: everything but unreserved characters (RFC 3986 §2.3) is escaped.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
