//! Is this one JSON object (RFC 8259)? One pass, no tree, no allocation.

use std::borrow::Cow;
use std::fmt;

/// How deep objects and arrays may nest.
pub(crate) const DEPTH_MAX: u32 = 64;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonProblem {
    /// Bytes before the offending one.
    pos: usize,
    what: &'static str,
}

impl fmt::Display for JsonProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.pos + 1, self.what)
    }
}

/// Checks that `text` is one JSON object and gives the value of its field `key_field` as text:
/// strings without quotes and escapes, all else as it stands; missing or null: none. If the
/// field occurs twice, the later counts.
pub(crate) fn check_object<'a>(
    text: &'a [u8],
    key_field: Option<&str>,
) -> Result<Option<Cow<'a, [u8]>>, JsonProblem> {
    if let Err(error) = std::str::from_utf8(text) {
        return Err(JsonProblem { pos: error.valid_up_to(), what: "not UTF-8" });
    }
    let mut scan = Scan { text, at: 0, objects: 0, depth: 0 };
    scan.skip_space();
    if scan.peek() != Some(b'{') {
        return scan.fail("expected a JSON object");
    }
    match scan.object(key_field)? {
        Some(found) => key_text(found),
        None => Ok(None),
    }
}

/// `text` without whitespace between its tokens. `text` must be valid JSON.
pub(crate) fn compact(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for &byte in text {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            out.push(byte);
        } else if !is_space(byte) {
            in_string = byte == b'"';
            out.push(byte);
        }
    }
    out
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    /// Bit `d`: the container at depth `d + 1` is an object.
    objects: u64,
    depth: u32,
}

/// The value of the key field: where it begins, and its bytes.
type Found<'a> = (usize, &'a [u8]);

impl<'a> Scan<'a> {
    /// Scans the whole text, which begins with `{` at `self.at`.
    fn object(&mut self, key_field: Option<&str>) -> Result<Option<Found<'a>>, JsonProblem> {
        let mut found = None;
        let mut value_start: Option<usize> = None;
        loop {
            // Here a value begins.
            let opened = self.value_or_open()?;
            if opened && self.enter(key_field, &mut value_start)? {
                continue;
            }
            // Here a value has just ended: close what ends with it, then go to the next value.
            loop {
                if self.depth == 0 {
                    self.skip_space();
                    return if self.at == self.text.len() {
                        Ok(found)
                    } else {
                        self.fail("text after the object")
                    };
                }
                if self.depth == 1
                    && let Some(start) = value_start.take()
                {
                    found = Some((start, &self.text[start..self.at]));
                }
                self.skip_space();
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        if self.in_object() {
                            self.field_name(key_field, &mut value_start)?;
                        }
                        self.skip_space();
                        break;
                    }
                    Some(b'}') if self.in_object() => self.close(),
                    Some(b']') if !self.in_object() => self.close(),
                    Some(_) if self.in_object() => return self.fail("expected `,` or `}`"),
                    Some(_) => return self.fail("expected `,` or `]`"),
                    None => return self.fail("the text ends early"),
                }
            }
        }
    }

    /// Behind `{` or `[`: whether a first value follows; if not, the container was closed again.
    fn enter(
        &mut self,
        key_field: Option<&str>,
        value_start: &mut Option<usize>,
    ) -> Result<bool, JsonProblem> {
        self.skip_space();
        let closing = if self.in_object() { b'}' } else { b']' };
        if self.peek() == Some(closing) {
            self.close();
            return Ok(false);
        }
        if self.in_object() {
            self.field_name(key_field, value_start)?;
        }
        Ok(true)
    }

    /// Scans `"name":` and the space behind it; notes where the key field's value begins.
    fn field_name(
        &mut self,
        key_field: Option<&str>,
        value_start: &mut Option<usize>,
    ) -> Result<(), JsonProblem> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return self.fail("expected a field name in quotes");
        }
        let start = self.at;
        self.string()?;
        let name = &self.text[start..self.at];
        self.skip_space();
        if self.peek() != Some(b':') {
            return self.fail("expected `:`");
        }
        self.at += 1;
        self.skip_space();
        if self.depth == 1
            && let Some(key_field) = key_field
            && names(name, key_field)
        {
            *value_start = Some(self.at);
        }
        Ok(())
    }

    /// Scans a scalar (false) or the opening of a container (true).
    fn value_or_open(&mut self) -> Result<bool, JsonProblem> {
        match self.peek() {
            Some(b'{') => self.open(true).map(|()| true),
            Some(b'[') => self.open(false).map(|()| true),
            Some(b'"') => self.string().map(|()| false),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| false),
            Some(b't') => self.word(b"true").map(|()| false),
            Some(b'f') => self.word(b"false").map(|()| false),
            Some(b'n') => self.word(b"null").map(|()| false),
            Some(_) => self.fail("expected a value"),
            None => self.fail("the text ends early"),
        }
    }

    fn open(&mut self, object: bool) -> Result<(), JsonProblem> {
        if self.depth == DEPTH_MAX {
            return self.fail("nested more than 64 deep");
        }
        let bit = 1_u64 << self.depth;
        self.objects = if object { self.objects | bit } else { self.objects & !bit };
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    fn in_object(&self) -> bool {
        self.objects & (1_u64 << (self.depth - 1)) != 0
    }

    fn string(&mut self) -> Result<(), JsonProblem> {
        self.at += 1;
        loop {
            while self.peek().is_some_and(|byte| PLAIN[usize::from(byte)]) {
                self.at += 1;
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return self.fail("a control character must be escaped"),
                None => return self.fail("the text ends early"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonProblem> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return self.fail("expected four hexadecimal digits");
                    }
                    self.at += 1;
                }
            }
            _ => return self.fail("no such escape"),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonProblem> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonProblem> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.fail("expected a digit") } else { Ok(()) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonProblem> {
        if !self.text[self.at..].starts_with(word) {
            return self.fail("expected a value");
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fail<T>(&self, what: &'static str) -> Result<T, JsonProblem> {
        Err(JsonProblem { pos: self.at, what })
    }
}

/// Whether `quoted`, a valid JSON string, reads `field`.
fn names(quoted: &[u8], field: &str) -> bool {
    let inner = &quoted[1..quoted.len() - 1];
    if inner.contains(&b'\\') {
        return serde_json::from_slice::<String>(quoted).is_ok_and(|name| name == field);
    }
    inner == field.as_bytes()
}

fn key_text((start, value): Found<'_>) -> Result<Option<Cow<'_, [u8]>>, JsonProblem> {
    if value == b"null" {
        return Ok(None);
    }
    if value[0] != b'"' {
        return Ok(Some(Cow::Borrowed(value)));
    }
    let inner = &value[1..value.len() - 1];
    if !inner.contains(&b'\\') {
        return Ok(Some(Cow::Borrowed(inner)));
    }
    match serde_json::from_slice::<String>(value) {
        Ok(text) => Ok(Some(Cow::Owned(text.into_bytes()))),
        Err(_) => Err(JsonProblem { pos: start, what: "the key is no valid text" }),
    }
}

pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Bytes that may stand in a string as they are.
static PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain
};

#[cfg(test)]
mod tests;
