//! Dates and times as text, in the forms of Flink's `TimeFormats`.

use arrow::datatypes::TimeUnit;

use crate::FormatError;

/// How a format writes timestamps (Flink's `*.timestamp-format.standard`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimestampFormat {
    /// `2026-01-01 00:00:00.123`, with local time zone `2026-01-01 00:00:00.123Z`.
    #[default]
    Sql,
    /// `2026-01-01T00:00:00.123`, with local time zone `2026-01-01T00:00:00.123Z`.
    Iso8601,
    /// As [`TimestampFormat::Iso8601`], an offset such as `+02:00` may follow.
    Iso8601WithOffset,
}

impl TimestampFormat {
    /// The format an option names.
    ///
    /// # Errors
    /// If it is none of Flink's.
    pub fn from_option(key: &str, value: &str) -> Result<Self, FormatError> {
        match value {
            "SQL" => Ok(Self::Sql),
            "ISO-8601" => Ok(Self::Iso8601),
            "ISO-8601-WITH-OFFSET" => Ok(Self::Iso8601WithOffset),
            _ => Err(FormatError(format!(
                "option '{key}' is '{value}', expected SQL, ISO-8601 or ISO-8601-WITH-OFFSET"
            ))),
        }
    }
}

/// Seconds since 1970 and nanoseconds within the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

impl Moment {
    /// In `unit` since 1970, finer digits cut off; None if it does not fit.
    pub(crate) fn in_unit(self, unit: TimeUnit) -> Option<i64> {
        let per_second = per_second(unit);
        let fraction = i64::from(self.nanos) / (1_000_000_000 / per_second);
        self.seconds.checked_mul(per_second)?.checked_add(fraction)
    }
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

const SECONDS_PER_DAY: i64 = 86_400;

/// Days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn two_digits(text: &[u8], at: usize) -> Option<u32> {
    let digit = |at: usize| text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10);
    Some(u32::from(digit(at)?) * 10 + u32::from(digit(at + 1)?))
}

/// `yyyy-MM-dd` as days since 1970-01-01.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = two_digits(text, 0)? * 100 + two_digits(text, 2)?;
    let (month, day) = (two_digits(text, 5)?, two_digits(text, 8)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    i32::try_from(days_from_civil(i64::from(year), month, day)).ok()
}

/// `HH:mm:ss[.fraction]` as a moment of the first day; the seconds may be missing if `short`.
pub(crate) fn parse_time(text: &[u8], short: bool) -> Option<Moment> {
    if text.len() < 5 || text[2] != b':' {
        return None;
    }
    let (hour, minute) = (two_digits(text, 0)?, two_digits(text, 3)?);
    let (second, fraction) = match &text[5..] {
        [] if short => (0, &[][..]),
        [b':', rest @ ..] => (two_digits(rest, 0)?, &rest[2..]),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = match fraction {
        [] => 0,
        [b'.', digits @ ..] => parse_fraction(digits)?,
        _ => return None,
    };
    Some(Moment { seconds: i64::from(hour * 3_600 + minute * 60 + second), nanos })
}

fn parse_fraction(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let mut nanos = 0;
    for index in 0..9 {
        let digit = match digits.get(index) {
            Some(byte) => u32::from(byte.wrapping_sub(b'0')),
            None => 0,
        };
        if digit > 9 {
            return None;
        }
        nanos = nanos * 10 + digit;
    }
    Some(nanos)
}

/// A timestamp in `format`; `zoned` for `TIMESTAMP_LTZ`, whose text ends with `Z`.
pub(crate) fn parse_timestamp(text: &[u8], format: TimestampFormat, zoned: bool) -> Option<Moment> {
    let (separator, short) = match format {
        TimestampFormat::Sql => (b' ', false),
        TimestampFormat::Iso8601 | TimestampFormat::Iso8601WithOffset => (b'T', true),
    };
    let (text, offset) = match format {
        TimestampFormat::Iso8601WithOffset => split_offset(text)?,
        _ if zoned => (text.strip_suffix(b"Z")?, 0),
        _ => (text, 0),
    };
    let (date, rest) = text.split_at_checked(10)?;
    if rest.first() != Some(&separator) {
        return None;
    }
    let day = i64::from(parse_date(date)?);
    let time = parse_time(&rest[1..], short)?;
    Some(Moment { seconds: day * SECONDS_PER_DAY + time.seconds - offset, nanos: time.nanos })
}

/// Cuts `Z`, `+hh:mm` or `+hh:mm:ss` off the end; no offset counts as UTC. In seconds.
fn split_offset(text: &[u8]) -> Option<(&[u8], i64)> {
    if let Some(local) = text.strip_suffix(b"Z") {
        return Some((local, 0));
    }
    // A sign behind the date can only start an offset.
    let Some(sign) = text.iter().skip(10).position(|byte| matches!(byte, b'+' | b'-')) else {
        return Some((text, 0));
    };
    let (local, offset) = text.split_at(10 + sign);
    let (hours, minutes) = (two_digits(offset, 1)?, two_digits(offset, 4)?);
    let seconds = match &offset[3..] {
        [b':', _, _] => 0,
        [b':', _, _, b':', ..] if offset.len() == 9 => two_digits(offset, 7)?,
        _ => return None,
    };
    if hours > 18 || minutes > 59 || seconds > 59 {
        return None;
    }
    let total = i64::from(hours * 3_600 + minutes * 60 + seconds);
    Some((local, if offset[0] == b'-' { -total } else { total }))
}

/// `java.sql.Timestamp.valueOf`: `yyyy-[M]M-[d]d HH:mm:ss[.fraction]`.
pub(crate) fn parse_jdbc_timestamp(text: &[u8]) -> Option<Moment> {
    let text = text.trim_ascii();
    let space = text.iter().position(|byte| *byte == b' ')?;
    let day = i64::from(parse_jdbc_date(&text[..space])?);
    let time = parse_time(text[space + 1..].trim_ascii_start(), false)?;
    Some(Moment { seconds: day * SECONDS_PER_DAY + time.seconds, nanos: time.nanos })
}

/// `java.sql.Date.valueOf`: `yyyy-[M]M-[d]d`.
pub(crate) fn parse_jdbc_date(text: &[u8]) -> Option<i32> {
    let mut padded = Vec::with_capacity(10);
    for (index, part) in text.split(|byte| *byte == b'-').enumerate() {
        match (index, part.len()) {
            (0, 4) => {}
            (1 | 2, 2) => padded.push(b'-'),
            (1 | 2, 1) => padded.extend_from_slice(b"-0"),
            _ => return None,
        }
        padded.extend_from_slice(part);
    }
    parse_date(&padded)
}

/// How a timestamp is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimestampStyle {
    /// Between date and time.
    pub(crate) separator: u8,
    /// Digits of the second's fraction that are written even if zero; further zeros are not.
    pub(crate) fraction_digits_min: usize,
    /// Whether `Z` follows.
    pub(crate) zoned: bool,
}

/// Appends `value` (in `unit` since 1970).
pub(crate) fn write_timestamp(value: i64, unit: TimeUnit, style: TimestampStyle, out: &mut Vec<u8>) {
    let per_second = per_second(unit);
    let seconds = value.div_euclid(per_second);
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(style.separator);
    write_time(seconds.rem_euclid(SECONDS_PER_DAY), nanos, style.fraction_digits_min, out);
    if style.zoned {
        out.push(b'Z');
    }
}

/// Appends `yyyy-MM-dd`; years beyond 9999 with a sign, as Java does.
pub(crate) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    if year > 9_999 {
        out.push(b'+');
    } else if year < 0 {
        out.push(b'-');
    }
    write_padded(year.unsigned_abs(), 4, out);
    out.push(b'-');
    write_padded(month.unsigned_abs(), 2, out);
    out.push(b'-');
    write_padded(day.unsigned_abs(), 2, out);
}

/// Appends `HH:mm:ss` and the fraction, without trailing zeros beyond `fraction_digits_min`.
pub(crate) fn write_time(second_of_day: i64, nanos: i64, fraction_digits_min: usize, out: &mut Vec<u8>) {
    write_padded((second_of_day / 3_600).unsigned_abs(), 2, out);
    out.push(b':');
    write_padded((second_of_day / 60 % 60).unsigned_abs(), 2, out);
    out.push(b':');
    write_padded((second_of_day % 60).unsigned_abs(), 2, out);
    let mut digits = 9;
    let mut fraction = nanos.unsigned_abs();
    while digits > fraction_digits_min && fraction.is_multiple_of(10) {
        fraction /= 10;
        digits -= 1;
    }
    if digits > 0 {
        out.push(b'.');
        write_padded(fraction, digits, out);
    }
}

fn write_padded(value: u64, digits: usize, out: &mut Vec<u8>) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    let mut rest = value;
    while rest > 0 {
        at -= 1;
        text[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    out.extend_from_slice(&text[at.min(text.len() - digits)..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str) -> Option<Moment> {
        parse_timestamp(text.as_bytes(), TimestampFormat::Sql, false)
    }

    #[test]
    fn dates_round_trip() {
        for days in (-800_000..3_000_000).step_by(37).filter(|days| (-719_528..2_932_896).contains(days)) {
            let mut text = Vec::new();
            write_date(days, &mut text);
            assert_eq!(parse_date(&text), i32::try_from(days).ok(), "{}", String::from_utf8_lossy(&text));
        }
        for bad in
            ["2026-02-29", "2026-13-01", "2026-00-01", "2026-01-00", "2026-1-01", "2026/01/01", "+026-01-01"]
        {
            assert_eq!(parse_date(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse_jdbc_date(b"2026-1-5"), parse_date(b"2026-01-05"));
        assert_eq!(parse_jdbc_date(b"2026-1"), None);
    }

    #[test]
    fn timestamps_in_the_formats_of_flink() {
        let moment = |seconds, nanos| Some(Moment { seconds, nanos });
        assert_eq!(sql("1970-01-01 00:00:01"), moment(1, 0));
        assert_eq!(sql("1969-12-31 23:59:59.5"), moment(-1, 500_000_000));
        assert_eq!(sql("2026-01-01 00:00:00.123456789"), moment(1_767_225_600, 123_456_789));
        for bad in [
            "2026-01-01T00:00:00",
            "2026-01-01 00:00",
            "2026-01-01 24:00:00",
            "2026-01-01 00:00:00.",
            "2026-01-01 00:00:00.1234567890",
            "2026-01-01 00:00:00Z",
            "",
        ] {
            assert_eq!(sql(bad), None, "{bad}");
        }
        let iso = |text: &str, zoned| parse_timestamp(text.as_bytes(), TimestampFormat::Iso8601, zoned);
        assert_eq!(iso("1970-01-01T00:01", false), moment(60, 0));
        assert_eq!(iso("1970-01-01T00:01:00.5Z", true), moment(60, 500_000_000));
        assert_eq!(iso("1970-01-01T00:01:00", true), None);
        let offset = |text: &str| parse_timestamp(text.as_bytes(), TimestampFormat::Iso8601WithOffset, true);
        assert_eq!(offset("2015-03-18T21:13:16-05:00"), offset("2015-03-19T02:13:16Z"));
        assert_eq!(offset("1970-01-01T01:00:00+01:00:00"), moment(0, 0));
        for bad in ["1970-01-01T00:00:00+1", "1970-01-01T00:00:00+19:00", "1970-01-01T00:00:00+01:0x"] {
            assert_eq!(offset(bad), None, "{bad}");
        }
    }

    #[test]
    fn fractions_are_as_long_as_needed() {
        let text = |value, unit, fraction_digits_min| {
            let mut out = Vec::new();
            let style = TimestampStyle { separator: b' ', fraction_digits_min, zoned: false };
            write_timestamp(value, unit, style, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(0, TimeUnit::Millisecond, 3), "1970-01-01 00:00:00.000");
        assert_eq!(text(0, TimeUnit::Millisecond, 0), "1970-01-01 00:00:00");
        assert_eq!(text(-1, TimeUnit::Microsecond, 3), "1969-12-31 23:59:59.999999");
        assert_eq!(text(100_000_000, TimeUnit::Nanosecond, 0), "1970-01-01 00:00:00.1");
        assert_eq!(text(i64::MIN, TimeUnit::Nanosecond, 0), "1677-09-21 00:12:43.145224192");
    }
}
