//! JSON's tokens (RFC 8259): where they end, and whether they are well-formed. Positions are byte
//! indexes into one record; a read past its end gives the byte 0, which no grammar rule accepts.

use crate::DecodeError;
use crate::convert::Token;
use crate::error::shown;

/// Arrays and objects in each other, at most; as in `serde_json`.
pub(crate) const DEPTH_MAX: usize = 128;

/// The byte at `at`, 0 past the end.
#[inline(always)]
pub(crate) fn byte(record: &[u8], at: usize) -> u8 {
    record.get(at).copied().unwrap_or(0)
}

/// Skips blanks, tabs and line ends.
#[inline(always)]
pub(crate) fn blank(record: &[u8], mut at: usize) -> usize {
    while matches!(byte(record, at), b' ' | b'\t' | b'\n' | b'\r') {
        at += 1;
    }
    at
}

/// The error of finding something else at `at`.
#[cold]
pub(crate) fn unexpected(record: &[u8], at: usize, expected: &str) -> DecodeError {
    if at >= record.len() {
        return DecodeError::new(format!("byte {at}: expected {expected}, found the end of the record"));
    }
    DecodeError::new(format!("byte {at}: expected {expected}, found {}", shown(&record[at..])))
}

/// A string token.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    /// First byte behind the opening quote.
    pub(crate) start: usize,
    /// The closing quote.
    pub(crate) end: usize,
    /// Whether it has to be unescaped.
    pub(crate) escaped: bool,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The high bit of every byte that is zero; bits above the first one may be wrong.
#[inline(always)]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// The string whose opening quote is at `at`.
#[inline]
pub(crate) fn string(record: &[u8], at: usize) -> Result<Text, DecodeError> {
    if byte(record, at) != b'"' {
        return Err(unexpected(record, at, "a string"));
    }
    let start = at + 1;
    let mut at = start;
    let mut foreign = 0u64;
    // Eight bytes at a time up to the first quote, backslash or control character.
    while let Some(chunk) = record.get(at..at + 8) {
        let word = u64::from_le_bytes(chunk.try_into().expect("a slice of eight bytes"));
        let quote = zero_bytes(word ^ (ONES * b'"' as u64));
        let backslash = zero_bytes(word ^ (ONES * b'\\' as u64));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let stop = quote | backslash | control;
        if stop != 0 {
            let before = stop.trailing_zeros() & !7;
            foreign |= word & HIGHS & ((1u64 << before) - 1);
            at += before as usize / 8;
            break;
        }
        foreign |= word & HIGHS;
        at += 8;
    }
    loop {
        match byte(record, at) {
            b'"' => break,
            b'\\' => return escaped(record, start, at),
            0..0x20 => return Err(unexpected(record, at, "more of a string and its closing quote")),
            other => foreign |= u64::from(other & 0x80),
        }
        at += 1;
    }
    let text = Text { start, end: at, escaped: false };
    if foreign != 0 { utf8(record, text) } else { Ok(text) }
}

/// Goes on from the first backslash.
#[cold]
fn escaped(record: &[u8], start: usize, mut at: usize) -> Result<Text, DecodeError> {
    loop {
        match byte(record, at) {
            b'"' => return utf8(record, Text { start, end: at, escaped: true }),
            b'\\' => at = escape(record, at)?.1,
            0..0x20 => return Err(unexpected(record, at, "more of a string and its closing quote")),
            _ => at += 1,
        }
    }
}

#[cold]
fn utf8(record: &[u8], text: Text) -> Result<Text, DecodeError> {
    match std::str::from_utf8(&record[text.start..text.end]) {
        Ok(_) => Ok(text),
        Err(error) => Err(unexpected(record, text.start + error.valid_up_to(), "UTF-8")),
    }
}

/// The character of the escape at `at`, and where the next begins.
fn escape(record: &[u8], at: usize) -> Result<(char, usize), DecodeError> {
    let plain = |c: char| Ok((c, at + 2));
    match byte(record, at + 1) {
        b'"' => plain('"'),
        b'\\' => plain('\\'),
        b'/' => plain('/'),
        b'b' => plain('\u{8}'),
        b'f' => plain('\u{c}'),
        b'n' => plain('\n'),
        b'r' => plain('\r'),
        b't' => plain('\t'),
        b'u' => {
            let wrong = || unexpected(record, at, "an escape of a Unicode character");
            let first = hex(record, at + 2).ok_or_else(wrong)?;
            if let Some(c) = char::from_u32(first) {
                return Ok((c, at + 6));
            }
            // A surrogate: the second half must follow.
            let second = match (byte(record, at + 6), byte(record, at + 7)) {
                (b'\\', b'u') => hex(record, at + 8).ok_or_else(wrong)?,
                _ => return Err(wrong()),
            };
            if first >= 0xDC00 || !(0xDC00..0xE000).contains(&second) {
                return Err(wrong());
            }
            let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            Ok((char::from_u32(code).ok_or_else(wrong)?, at + 12))
        }
        _ => Err(unexpected(record, at, "an escape")),
    }
}

fn hex(record: &[u8], at: usize) -> Option<u32> {
    let mut code = 0;
    for byte in record.get(at..at + 4)? {
        code = code * 16 + char::from(*byte).to_digit(16)?;
    }
    Some(code)
}

/// Appends the text of a string that [`string`] accepted.
pub(crate) fn unescape(record: &[u8], text: Text, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut at = text.start;
    while at < text.end {
        let run = memchr::memchr(b'\\', &record[at..text.end]).map_or(text.end, |run| at + run);
        out.extend_from_slice(&record[at..run]);
        at = run;
        if at < text.end {
            let (c, next) = escape(record, at)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            at = next;
        }
    }
    Ok(())
}

/// The end of the number at `at`, and its form.
#[inline]
pub(crate) fn number(record: &[u8], at: usize) -> Result<(usize, Token), DecodeError> {
    let digits = |mut at: usize| {
        while byte(record, at).is_ascii_digit() {
            at += 1;
        }
        at
    };
    let wrong = |at: usize| unexpected(record, at, "a digit");
    let whole = if byte(record, at) == b'-' { at + 1 } else { at };
    let mut end = digits(whole);
    if end == whole {
        return Err(wrong(end));
    }
    if byte(record, whole) == b'0' && end > whole + 1 {
        return Err(unexpected(record, whole, "a number without leading zeros"));
    }
    let mut token = Token::Integer;
    if byte(record, end) == b'.' {
        let fraction = end + 1;
        end = digits(fraction);
        if end == fraction {
            return Err(wrong(end));
        }
        token = Token::Fractional;
    }
    if matches!(byte(record, end), b'e' | b'E') {
        let sign = usize::from(matches!(byte(record, end + 1), b'+' | b'-'));
        let exponent = end + 1 + sign;
        end = digits(exponent);
        if end == exponent {
            return Err(wrong(end));
        }
        token = Token::Fractional;
    }
    Ok((end, token))
}

/// The end of the word `true`, `false` or `null` at `at`.
pub(crate) fn word(record: &[u8], at: usize, word: &str) -> Result<usize, DecodeError> {
    if record[at..].starts_with(word.as_bytes()) {
        return Ok(at + word.len());
    }
    Err(unexpected(record, at, "a value"))
}

/// The end of the value at `at`, checked but not kept.
pub(crate) fn skip(record: &[u8], at: usize, depth: usize) -> Result<usize, DecodeError> {
    match byte(record, at) {
        b'"' => string(record, at).map(|text| text.end + 1),
        b'-' | b'0'..=b'9' => number(record, at).map(|(end, _)| end),
        b't' => word(record, at, "true"),
        b'f' => word(record, at, "false"),
        b'n' => word(record, at, "null"),
        b'[' => items(record, at, depth, |at| skip(record, at, depth + 1)),
        b'{' => members(record, at, depth, |_, at| skip(record, at, depth + 1)),
        _ => Err(unexpected(record, at, "a value")),
    }
}

/// Visits every key in the value at `at`, at any depth, and gives the value's end.
pub(crate) fn keys(
    record: &[u8],
    at: usize,
    depth: usize,
    visit: &mut dyn FnMut(Text) -> Result<(), DecodeError>,
) -> Result<usize, DecodeError> {
    match byte(record, at) {
        b'[' => items(record, at, depth, |at| keys(record, at, depth + 1, visit)),
        b'{' => members(record, at, depth, |key, at| {
            visit(key)?;
            keys(record, at, depth + 1, visit)
        }),
        _ => skip(record, at, depth),
    }
}

/// Visits the elements of the array at `at`: `visit` takes where one starts and gives where it ends.
pub(crate) fn items(
    record: &[u8],
    at: usize,
    depth: usize,
    mut visit: impl FnMut(usize) -> Result<usize, DecodeError>,
) -> Result<usize, DecodeError> {
    check_depth(record, at, depth)?;
    let mut at = blank(record, at + 1);
    if byte(record, at) == b']' {
        return Ok(at + 1);
    }
    loop {
        at = blank(record, visit(blank(record, at))?);
        match byte(record, at) {
            b',' => at += 1,
            b']' => return Ok(at + 1),
            _ => return Err(unexpected(record, at, "',' or ']'")),
        }
    }
}

/// Visits the members of the object at `at`: `visit` takes the key and where the value starts.
pub(crate) fn members(
    record: &[u8],
    at: usize,
    depth: usize,
    mut visit: impl FnMut(Text, usize) -> Result<usize, DecodeError>,
) -> Result<usize, DecodeError> {
    check_depth(record, at, depth)?;
    let mut at = blank(record, at + 1);
    if byte(record, at) == b'}' {
        return Ok(at + 1);
    }
    loop {
        let (key, value) = key(record, blank(record, at))?;
        at = blank(record, visit(key, value)?);
        match byte(record, at) {
            b',' => at += 1,
            b'}' => return Ok(at + 1),
            _ => return Err(unexpected(record, at, "',' or '}'")),
        }
    }
}

/// The key at `at`, and where its value starts.
pub(crate) fn key(record: &[u8], at: usize) -> Result<(Text, usize), DecodeError> {
    let key = string(record, at)?;
    let colon = blank(record, key.end + 1);
    if byte(record, colon) != b':' {
        return Err(unexpected(record, colon, "':' behind a key"));
    }
    Ok((key, blank(record, colon + 1)))
}

fn check_depth(record: &[u8], at: usize, depth: usize) -> Result<(), DecodeError> {
    if depth < DEPTH_MAX {
        Ok(())
    } else {
        Err(unexpected(record, at, "at most 128 arrays and objects in each other"))
    }
}
