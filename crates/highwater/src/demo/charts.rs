//! The last minute of the demo's tables, as the terminal draws it.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

/// Windows kept per line.
const POINTS_MAX: usize = 60;

/// One line per region and one for this machine.
#[derive(Default)]
pub(crate) struct Charts {
    regions: BTreeMap<String, VecDeque<Point>>,
    host: VecDeque<Point>,
}

/// One window of one line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Point {
    window_start: String,
    /// Events in the window; percent of CPU for the machine.
    pub(crate) height: f64,
    /// km/h; percent of memory for the machine.
    pub(crate) second: f64,
    /// Hottest engine, °C; MB/s of disk for the machine.
    pub(crate) third: f64,
}

impl Charts {
    /// Takes the data of one server-sent event of table `region_rates` or `host_load`.
    pub(crate) fn take(&mut self, event: &str) {
        let Ok(event) = serde_json::from_str::<Value>(event) else { return };
        for row in rows_in(&event) {
            let number = |name: &str| row[name].as_f64().unwrap_or_default();
            let window_start = row["window_start"].as_str().unwrap_or_default().to_owned();
            let (line, names) = match row["region"].as_str() {
                Some(region) => (
                    self.regions.entry(region.to_owned()).or_default(),
                    ["events", "avg_speed_kmh", "max_engine_temp_c"],
                ),
                None => (&mut self.host, ["cpu_percent", "memory_percent", "disk_mb_s"]),
            };
            let [height, second, third] = names.map(number);
            put(line, Point { window_start, height, second, third });
        }
    }

    /// Name and points (oldest first) of each region.
    pub(crate) fn regions(&self) -> impl Iterator<Item = (&str, &VecDeque<Point>)> {
        self.regions.iter().map(|(name, points)| (name.as_str(), points))
    }

    /// This machine's points, oldest first.
    pub(crate) fn host(&self) -> &VecDeque<Point> {
        &self.host
    }
}

/// A window seen before is replaced: after a reconnect the table is sent again.
fn put(line: &mut VecDeque<Point>, point: Point) {
    match line.binary_search_by(|other| other.window_start.cmp(&point.window_start)) {
        Ok(at) => line[at] = point,
        Err(at) => line.insert(at, point),
    }
    while line.len() > POINTS_MAX {
        line.pop_front();
    }
}

/// Rows that came in or changed: objects under `row`, or listed under `rows`; -U and -D are left out.
fn rows_in(event: &Value) -> Vec<&Value> {
    match event {
        Value::Array(items) => items.iter().flat_map(rows_in).collect(),
        Value::Object(fields) => {
            let gone = fields.get("op").and_then(Value::as_str).is_some_and(|op| op == "-U" || op == "-D");
            match (fields.get("row"), fields.contains_key("window_start")) {
                (Some(row), _) if !gone => vec![row],
                (Some(_), _) => Vec::new(),
                (None, true) => vec![event],
                (None, false) => {
                    ["rows", "changes"].iter().filter_map(|f| fields.get(*f)).flat_map(rows_in).collect()
                }
            }
        }
        _ => Vec::new(),
    }
}

/// One character per value, scaled to the highest of them.
pub(crate) fn sparkline(values: impl DoubleEndedIterator<Item = f64> + Clone, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = values.clone().fold(f64::MIN_POSITIVE, f64::max);
    let mut bars: Vec<char> = values
        .rev()
        .take(width)
        .map(|value| {
            let level = (value / highest * 7.0).round().clamp(0.0, 7.0);
            // In 0..=7 by the clamp; the cast drops no digits.
            BARS[level as usize]
        })
        .collect();
    bars.resize(width, ' ');
    bars.into_iter().rev().collect()
}

#[cfg(test)]
mod tests;
