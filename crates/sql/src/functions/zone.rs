//! Session time zones: wall clocks and instants, with Java's rules for gaps and overlaps.

use chrono::{DateTime, FixedOffset, LocalResult, NaiveDateTime, Offset, TimeZone, Timelike};
use chrono_tz::Tz;

/// Floor of ms to seconds and the remaining nanoseconds.
pub(crate) fn wall_clock(ms: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_millis(ms).map(|instant| instant.naive_utc())
}

/// ms of a wall clock as if it were UTC.
pub(crate) fn millis(clock: NaiveDateTime) -> i64 {
    clock.and_utc().timestamp_millis()
}

/// A zone as Java names it: a region, `UTC`, `Z`, `+05:30`, `UTC-5`, `GMT+08:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    Region(Tz),
    Fixed(FixedOffset),
}

/// The zone with that name.
pub(crate) fn parse(name: &str) -> Option<Zone> {
    if name == "Z" {
        return Some(Zone::Region(Tz::UTC));
    }
    let offset = ["UTC", "GMT", "UT"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    if offset.is_empty() {
        return Some(Zone::Region(Tz::UTC));
    }
    if offset.starts_with(['+', '-']) {
        return parse_offset(offset).map(Zone::Fixed);
    }
    name.parse::<Tz>().ok().map(Zone::Region)
}

/// `+h`, `+hh`, `+hh:mm`, `+hhmm`, `+hh:mm:ss`, up to 18 hours.
fn parse_offset(text: &str) -> Option<FixedOffset> {
    let negative = text.starts_with('-');
    let digits = &text[1..];
    if !digits.bytes().all(|b| b.is_ascii_digit() || b == b':') {
        return None;
    }
    let parts: Vec<&str> = match digits.len() {
        1 | 2 => vec![digits],
        4 if !digits.contains(':') => vec![&digits[..2], &digits[2..]],
        5 | 8 => digits.split(':').collect(),
        _ => return None,
    };
    let mut seconds = 0;
    for (part, factor) in parts.iter().zip([3600, 60, 1]) {
        let value: i32 = part.parse().ok()?;
        if factor < 3600 && value > 59 {
            return None;
        }
        seconds += value * factor;
    }
    if seconds > 18 * 3600 {
        return None;
    }
    FixedOffset::east_opt(if negative { -seconds } else { seconds })
}

impl Zone {
    /// The wall clock at an instant, both in ms.
    pub(crate) fn to_local(self, instant_ms: i64) -> Option<i64> {
        match self {
            Self::Region(Tz::UTC) => Some(instant_ms),
            Self::Fixed(offset) => instant_ms.checked_add(i64::from(offset.local_minus_utc()) * 1000),
            Self::Region(tz) => {
                let clock = wall_clock(instant_ms)?;
                let offset = tz.offset_from_utc_datetime(&clock).fix().local_minus_utc();
                instant_ms.checked_add(i64::from(offset) * 1000)
            }
        }
    }

    /// The instant of a wall clock. In a gap the clock is moved on by the gap's length; of the two
    /// passes of an overlap the earlier is taken.
    pub(crate) fn to_instant(self, local_ms: i64) -> Option<i64> {
        self.resolve(local_ms, false)
    }

    /// As [`Zone::to_instant`], but the later pass of an overlap.
    pub(crate) fn to_later_instant(self, local_ms: i64) -> Option<i64> {
        self.resolve(local_ms, true)
    }

    fn resolve(self, local_ms: i64, later: bool) -> Option<i64> {
        match self {
            Self::Region(Tz::UTC) => Some(local_ms),
            Self::Fixed(offset) => local_ms.checked_sub(i64::from(offset.local_minus_utc()) * 1000),
            Self::Region(tz) => {
                let clock = wall_clock(local_ms)?;
                let sub_second = clock.nanosecond() / 1_000_000;
                let whole = clock.with_nanosecond(0)?;
                let instant = match tz.from_local_datetime(&whole) {
                    LocalResult::Single(instant) => instant.timestamp(),
                    LocalResult::Ambiguous(first, second) => {
                        let (first, second) = (first.timestamp(), second.timestamp());
                        if later { first.max(second) } else { first.min(second) }
                    }
                    LocalResult::None => {
                        // Before the gap the offset was this: applying it moves the clock on by the gap.
                        let before = whole.checked_sub_signed(chrono::Duration::days(1))?;
                        let offset = tz.offset_from_utc_datetime(&before).fix().local_minus_utc();
                        whole.and_utc().timestamp() - i64::from(offset)
                    }
                };
                instant.checked_mul(1000)?.checked_add(i64::from(sub_second))
            }
        }
    }
}
