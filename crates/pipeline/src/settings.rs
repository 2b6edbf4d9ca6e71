//! What `SET` can change about how a pipeline runs.

use std::collections::BTreeMap;
use std::time::Duration;

/// Flink's name for the time between two barriers.
const EPOCH_INTERVAL: &str = "execution.checkpointing.interval";

/// The time from barrier to barrier that the script asks for.
///
/// # Errors
/// If it is not a duration: says what was expected.
pub fn epoch_interval(settings: &BTreeMap<String, String>) -> Result<Option<Duration>, String> {
    let Some(text) = settings.get(EPOCH_INTERVAL) else { return Ok(None) };
    let wrong = || {
        format!(
            "SET '{EPOCH_INTERVAL}' = '{text}': expected a duration above 0 such as '500 ms', '1 s' or '1 min'"
        )
    };
    parse_duration(text).filter(|interval| !interval.is_zero()).map(Some).ok_or_else(wrong)
}

/// Flink's durations: a number and a unit; without a unit, milliseconds.
fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit_ms = match text[digits..].trim() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_flinks() {
        for (text, ms) in
            [("500", 500), ("500 ms", 500), ("2s", 2_000), (" 1 min ", 60_000), ("3 hours", 10_800_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "1 fortnight", "-1 s", "99999999999999999999 s", "99999999999999999 d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        let settings = BTreeMap::from([(EPOCH_INTERVAL.to_owned(), "0 s".to_owned())]);
        assert!(epoch_interval(&settings).unwrap_err().contains("expected a duration above 0"));
    }
}
