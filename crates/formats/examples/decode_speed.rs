//! How fast JSON lines become columns on one core: `cargo run -p highwater-formats --example decode_speed`.
//!
//! The lines are 258 bytes long with seven fields in one order, as a bid of Nexmark is.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use highwater_env::{Clock, SystemClock};
use highwater_formats::{JsonDecoder, JsonOptions};

const LINES: usize = 100_000;
const LINE_BYTES: usize = 258;
const BATCH_ROWS: usize = 8_192;
const ROUNDS: usize = 7;

fn line(n: usize) -> Vec<u8> {
    let start = format!(
        "{{\"auction\": {}, \"bidder\": {}, \"price\": {}, \"channel\": \"{}\", \"url\": \"https://www.nexmark.com/{:x}/item.htm?query=1&channel_id={}\", \"dateTime\": \"2026-01-01 {:02}:{:02}:{:02}.{:03}\", \"extra\": \"",
        1000 + n % 7919,
        1000 + n % 104_729,
        100 + n * 31 % 10_000_000,
        ["Google", "Facebook", "Baidu", "Apple"][n % 4],
        n * 2_654_435_761 % 4_294_967_296,
        n % 10_000,
        n / 3_600_000 % 24,
        n / 60_000 % 60,
        n / 1_000 % 60,
        n % 1_000,
    );
    let filler = LINE_BYTES.saturating_sub(start.len() + 2);
    let extra: String =
        (0..filler).map(|i| char::from(b'a' + u8::try_from((n + i * 7) % 26).unwrap_or(0))).collect();
    format!("{start}{extra}\"}}").into_bytes()
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let time = Field::new("dateTime", DataType::Timestamp(TimeUnit::Millisecond, None), true);
    let all = vec![
        number("auction"),
        number("bidder"),
        number("price"),
        text("channel"),
        text("url"),
        time.clone(),
        text("extra"),
    ];
    let three = vec![number("auction"), number("price"), time];
    let lines: Vec<Vec<u8>> = (0..LINES).map(line).collect();
    let bytes: usize = lines.iter().map(Vec::len).sum();
    println!("{LINES} lines of {:.0} bytes", bytes as f64 / LINES as f64);
    let clock = SystemClock::new();
    for (what, fields) in [("7 of 7 columns", all), ("3 of 7 columns", three)] {
        let mut decoder = JsonDecoder::new(Arc::new(Schema::new(fields)), JsonOptions::default())?;
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let started = clock.monotonic();
            let mut rows = 0;
            for line in &lines {
                decoder.push(line)?;
                if decoder.len() == BATCH_ROWS {
                    rows += decoder.finish()?.num_rows();
                }
            }
            rows += decoder.finish()?.num_rows();
            assert_eq!(rows, LINES);
            best = best.min(clock.monotonic() - started);
        }
        let rate = LINES as f64 / best.as_secs_f64();
        let megabytes = bytes as f64 / best.as_secs_f64() / 1e6;
        println!("{what}: {:.2} M events/s, {megabytes:.0} MB/s", rate / 1e6);
    }
    Ok(())
}
