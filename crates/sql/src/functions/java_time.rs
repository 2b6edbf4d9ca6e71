//! Times as text: Flink's standard forms and the patterns of Java's `DateTimeFormatter`.

use chrono::{Datelike, Days, NaiveDate, Timelike};

use super::times::Moment;
use super::zone::wall_clock;

/// ms of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn epoch() -> NaiveDate {
    NaiveDate::default()
}

/// The date `days` after 1 January 1970.
pub(crate) fn date_of(days: i64) -> Option<NaiveDate> {
    if days >= 0 {
        epoch().checked_add_days(Days::new(days.unsigned_abs()))
    } else {
        epoch().checked_sub_days(Days::new(days.unsigned_abs()))
    }
}

/// Days since 1 January 1970.
pub(crate) fn days_of(date: NaiveDate) -> i32 {
    i32::try_from(date.signed_duration_since(epoch()).num_days()).unwrap_or(i32::MAX)
}

/// `2026-01-31`.
pub(crate) fn date_text(days: i32) -> Option<String> {
    let date = date_of(i64::from(days))?;
    Some(format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()))
}

/// `12:34:56`, with `precision` fractional digits.
pub(crate) fn time_text(ms: i32, precision: u8) -> String {
    let seconds = ms / 1000;
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    push_fraction(&mut text, i64::from(ms % 1000) * 1_000_000, precision);
    text
}

/// `2026-01-31 12:34:56`, with `precision` fractional digits.
pub(crate) fn timestamp_text(moment: Moment, precision: u8) -> Option<String> {
    let clock = wall_clock(moment.ms)?;
    let mut text = format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        clock.year(),
        clock.month(),
        clock.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    );
    push_fraction(&mut text, moment.nanos_of_second(), precision);
    Some(text)
}

fn push_fraction(text: &mut String, nanos: i64, precision: u8) {
    if precision > 0 {
        let digits = format!("{nanos:09}");
        text.push('.');
        text.push_str(&digits[..usize::from(precision.min(9))]);
    }
}

/// `2026`, `2026-1`, `2026-01-31`, a time behind a blank ignored; as Flink casts text to DATE.
pub(crate) fn parse_sql_date(text: &str) -> Option<i32> {
    let date = text.trim().split(' ').next()?;
    let mut parts = date.split('-');
    let number = |part: Option<&str>, default: u32| match part {
        None => Some(default),
        Some(part) if !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit()) => {
            part.parse().ok()
        }
        Some(_) => None,
    };
    let year = number(Some(parts.next()?), 0)?;
    let (month, day) = (number(parts.next(), 1)?, number(parts.next(), 1)?);
    if parts.next().is_some() || year > 9999 {
        return None;
    }
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day).map(days_of)
}

/// `h[:m[:s[.fraction]]]`, in ms of the day.
pub(crate) fn parse_sql_time(text: &str) -> Option<i32> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.split(':');
    let mut seconds = 0;
    for (limit, factor) in [(24, 3600), (60, 60), (60, 1)] {
        let Some(part) = parts.next() else { break };
        let short = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let value: i32 = if short { part.parse().ok()? } else { return None };
        if value >= limit {
            return None;
        }
        seconds += value * factor;
    }
    if parts.next().is_some() || !clock.contains(':') {
        return None;
    }
    Some(seconds * 1000 + i32::try_from(parse_nanos(fraction)? / 1_000_000).ok()?)
}

/// `yyyy-MM-dd[ HH:mm:ss[.f...]]`; single digits allowed.
pub(crate) fn parse_sql_timestamp(text: &str) -> Option<Moment> {
    let (date, clock) = match text.split_once(' ') {
        Some((date, clock)) => (date, clock),
        None => (text, "0:0:0"),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return None };
    let digits = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
    };
    if !digits(year, 9) || !digits(month, 2) || !digits(day, 2) {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    if clock.matches(':').count() != 2 {
        return None;
    }
    let ms = i64::from(days_of(date)) * DAY_MS + i64::from(parse_sql_time(clock)?);
    Some(Moment::new(ms, parse_nanos(fraction)?))
}

/// The digits behind the point, as nanoseconds.
fn parse_nanos(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    format!("{fraction:0<9}").parse().ok()
}

/// A pattern of Java's `DateTimeFormatter`, in the subset that is read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// A letter and how often it stands.
    Field(char, usize),
}

impl Pattern {
    /// Reads a pattern. The error names what is not understood.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                pieces.push(Piece::Literal(quoted(&mut chars)?));
            } else if c.is_ascii_alphabetic() {
                let mut count = 1;
                while chars.next_if_eq(&c).is_some() {
                    count += 1;
                }
                check_field(c, count)?;
                pieces.push(Piece::Field(c, count));
            } else if matches!(c, '[' | ']' | '{' | '}' | '#') {
                return Err(format!("'{c}' in a pattern is not supported yet"));
            } else {
                pieces.push(Piece::Literal(c.to_string()));
            }
        }
        Ok(Self { pieces })
    }

    /// A wall clock written by the pattern. None: out of range.
    pub(crate) fn format(&self, local: Moment) -> Option<String> {
        let clock = wall_clock(local.ms)?;
        let mut text = String::with_capacity(32);
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Field(letter, count) => {
                    push_field(&mut text, *letter, *count, clock, local.nanos_of_second())
                }
            }
        }
        Some(text)
    }

    /// The wall clock that `text` says. None: it does not follow the pattern.
    pub(crate) fn parse(&self, text: &str) -> Option<Moment> {
        let mut parsed = Parsed::default();
        let mut rest = text;
        for (index, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Piece::Field(letter, count) => {
                    let adjacent = matches!(self.pieces.get(index + 1), Some(Piece::Field(next, _)) if next.is_ascii_alphabetic());
                    rest = parsed.field(*letter, *count, adjacent, rest)?;
                }
            }
        }
        if rest.is_empty() { parsed.finish() } else { None }
    }
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    if chars.next_if_eq(&'\'').is_some() {
        return Ok("'".to_owned());
    }
    let mut literal = String::new();
    loop {
        match chars.next() {
            None => return Err("pattern with an unclosed quote".to_owned()),
            Some('\'') if chars.next_if_eq(&'\'').is_some() => literal.push('\''),
            Some('\'') => return Ok(literal),
            Some(c) => literal.push(c),
        }
    }
}

fn check_field(letter: char, count: usize) -> Result<(), String> {
    let known = match letter {
        'y' | 'u' | 'Y' => count <= 4,
        'M' | 'L' | 'E' => count <= 4,
        'd' | 'H' | 'h' | 'k' | 'K' | 'm' | 's' | 'w' => count <= 2,
        'D' => count <= 3,
        'S' => count <= 9,
        'a' | 'Q' | 'n' => count == 1,
        'X' | 'x' => count <= 3,
        _ => false,
    };
    if known {
        Ok(())
    } else {
        Err(format!("'{}' in a pattern is not supported yet", letter.to_string().repeat(count)))
    }
}

/// The US week-based year and week, as Java's default locale has them: weeks start on Sunday,
/// week 1 holds 1 January.
fn us_week(date: NaiveDate) -> (i32, u32) {
    let week_start = |year: i32| {
        let first = NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or(date);
        i64::from(days_of(first)) - i64::from(first.weekday().num_days_from_sunday())
    };
    let day = i64::from(days_of(date));
    let year = if day >= week_start(date.year() + 1) { date.year() + 1 } else { date.year() };
    (year, u32::try_from((day - week_start(year)) / 7 + 1).unwrap_or(1))
}

fn push_field(text: &mut String, letter: char, count: usize, clock: chrono::NaiveDateTime, nanos: i64) {
    let number = |value: i64| format!("{value:0count$}");
    let year = |value: i32| {
        if count == 2 { format!("{:02}", value.rem_euclid(100)) } else { format!("{value:0count$}") }
    };
    let twelve = i64::from(clock.hour() % 12);
    let piece = match letter {
        'y' | 'u' => year(clock.year()),
        'Y' => year(us_week(clock.date()).0),
        'w' => number(i64::from(us_week(clock.date()).1)),
        'M' | 'L' => match count {
            1 | 2 => number(i64::from(clock.month())),
            3 => MONTHS[clock.month0() as usize][..3].to_owned(),
            _ => MONTHS[clock.month0() as usize].to_owned(),
        },
        'E' => {
            let name = WEEKDAYS[clock.weekday().num_days_from_monday() as usize];
            if count < 4 { name[..3].to_owned() } else { name.to_owned() }
        }
        'd' => number(i64::from(clock.day())),
        'D' => number(i64::from(clock.ordinal())),
        'Q' => number(i64::from(clock.month0() / 3 + 1)),
        'H' => number(i64::from(clock.hour())),
        'k' => number(if clock.hour() == 0 { 24 } else { i64::from(clock.hour()) }),
        'h' => number(if twelve == 0 { 12 } else { twelve }),
        'K' => number(twelve),
        'm' => number(i64::from(clock.minute())),
        's' => number(i64::from(clock.second())),
        'S' => format!("{nanos:09}")[..count.min(9)].to_owned(),
        'n' => nanos.to_string(),
        'a' => if clock.hour() < 12 { "AM" } else { "PM" }.to_owned(),
        _ => String::new(),
    };
    text.push_str(&piece);
}

/// What a text said so far.
#[derive(Default)]
struct Parsed {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: Option<u32>,
    half_hour: Option<u32>,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    nanos: i64,
}

impl Parsed {
    fn field<'a>(&mut self, letter: char, count: usize, adjacent: bool, text: &'a str) -> Option<&'a str> {
        match letter {
            'M' | 'L' if count > 2 => return self.month_name(count, text),
            'E' => return skip_name(&WEEKDAYS, count, text),
            'a' => {
                let half = text.get(..2)?;
                self.afternoon = Some(match half {
                    "AM" => false,
                    "PM" => true,
                    _ => return None,
                });
                return text.get(2..);
            }
            'X' | 'x' => return skip_offset(letter, count, text),
            'S' => {
                let digits = text.get(..count).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
                self.nanos = parse_nanos(digits)?;
                return text.get(count..);
            }
            _ => {}
        }
        let (value, rest) = read_number(letter, count, adjacent, text)?;
        match letter {
            'y' | 'u' if count == 2 => self.year = Some(2000 + i32::try_from(value).ok()?),
            'y' | 'u' => self.year = Some(i32::try_from(value).ok()?),
            'M' | 'L' => self.month = Some(value),
            'd' => self.day = Some(value),
            'D' => self.day_of_year = Some(value),
            'H' => self.hour = Some(value),
            'k' => self.hour = Some(value % 24),
            'h' => self.half_hour = Some(value % 12),
            'K' => self.half_hour = Some(value),
            'm' => self.minute = value,
            's' => self.second = value,
            _ => return None,
        }
        Some(rest)
    }

    fn month_name<'a>(&mut self, count: usize, text: &'a str) -> Option<&'a str> {
        for (index, name) in MONTHS.iter().enumerate() {
            let name = if count == 3 { &name[..3] } else { name };
            if let Some(rest) = text.strip_prefix(name) {
                self.month = u32::try_from(index + 1).ok();
                return Some(rest);
            }
        }
        None
    }

    fn finish(self) -> Option<Moment> {
        let date = match (self.year, self.month, self.day, self.day_of_year) {
            (Some(year), _, _, Some(day)) => NaiveDate::from_yo_opt(year, day)?,
            // Java's default resolver (SMART) takes 31 February as its last day.
            (Some(year), month, day, None) => smart_date(year, month.unwrap_or(1), day.unwrap_or(1))?,
            _ => return None,
        };
        let hour = match (self.hour, self.half_hour) {
            (Some(hour), _) => hour,
            (None, Some(half)) => half + if self.afternoon? { 12 } else { 0 },
            (None, None) => 0,
        };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let seconds = i64::from(hour * 3600 + self.minute * 60 + self.second);
        Some(Moment::new(i64::from(days_of(date)) * DAY_MS + seconds * 1000, self.nanos))
    }
}

fn smart_date(year: i32, month: u32, day: u32) -> Option<NaiveDate> {
    if !(1..=31).contains(&day) {
        return None;
    }
    (28..=day.max(28)).rev().find_map(|last| NaiveDate::from_ymd_opt(year, month, day.min(last)))
}

fn read_number(letter: char, count: usize, adjacent: bool, text: &str) -> Option<(u32, &str)> {
    let width_max = match (letter, count) {
        (_, _) if adjacent || count == 2 => count,
        ('y' | 'u', _) => 9,
        (_, 1) => 9,
        _ => count,
    };
    let digits = text.bytes().take(width_max).take_while(u8::is_ascii_digit).count();
    if digits < count {
        return None;
    }
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

fn skip_name<'a>(names: &[&str], count: usize, text: &'a str) -> Option<&'a str> {
    names.iter().find_map(|name| text.strip_prefix(if count < 4 { &name[..3] } else { name }))
}

/// An offset is read and, as Flink does, not applied.
fn skip_offset(letter: char, count: usize, text: &str) -> Option<&str> {
    if letter == 'X'
        && let Some(rest) = text.strip_prefix('Z')
    {
        return Some(rest);
    }
    let rest = text.strip_prefix(['+', '-'])?;
    let wanted = match count {
        1 => 2,
        2 => 4,
        _ => 5,
    };
    let offset = rest.get(..wanted)?;
    let right = offset
        .char_indices()
        .all(|(at, c)| if wanted == 5 && at == 2 { c == ':' } else { c.is_ascii_digit() });
    right.then(|| &rest[wanted..])
}
