//! Cuts a body, chunk by chunk, into events.

use bytes::Bytes;

use crate::json::{compact, is_space};

/// How events stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One per line; empty lines do not count as events.
    Lines,
    /// One object, or the elements of one array.
    Json,
}

/// An event as it came, or why it is none. Not yet checked to be JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// The line, or the element of the array, from 1.
    pub(crate) line: u64,
    /// Its bytes, without space around them.
    pub(crate) text: Result<Bytes, String>,
}

/// Cuts one body. Holds at most one unfinished event.
#[derive(Debug)]
pub(crate) struct Splitter {
    event_bytes_max: usize,
    line: u64,
    /// The beginning of an event that the chunks so far did not finish.
    carry: Vec<u8>,
    /// The event under way is longer than allowed: its bytes are dropped until its end.
    too_long: bool,
    place: Place,
}

/// Where in the body the splitter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a line.
    Line,
    /// Before the `{` or `[` of the body.
    Start,
    /// In the body's one object.
    Single,
    /// In an element of the array, `depth` brackets deep.
    Element { depth: u32, in_string: bool, escaped: bool },
    /// Behind the array.
    Done,
}

const ELEMENT: Place = Place::Element { depth: 0, in_string: false, escaped: false };

impl Splitter {
    pub(crate) fn new(framing: Framing, event_bytes_max: usize) -> Self {
        let place = match framing {
            Framing::Lines => Place::Line,
            Framing::Json => Place::Start,
        };
        Self { event_bytes_max, line: 0, carry: Vec::new(), too_long: false, place }
    }

    /// Bytes held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.carry.capacity()
    }

    /// Takes the next chunk and appends the events it finishes to `out`.
    ///
    /// # Errors
    /// If the rest of the body cannot be understood.
    pub(crate) fn push(&mut self, chunk: &Bytes, out: &mut Vec<Event>) -> Result<(), String> {
        let mut rest = chunk.clone();
        while !rest.is_empty() {
            let used = match self.place {
                Place::Line => self.push_lines(&rest, out),
                Place::Start => self.push_start(&rest)?,
                Place::Single => self.hold(&rest),
                Place::Element { depth, in_string, escaped } => {
                    self.push_element(&rest, Nesting { depth, in_string, escaped }, out)
                }
                Place::Done => match rest.iter().position(|byte| !is_space(*byte)) {
                    Some(_) => return Err("text after the array".to_owned()),
                    None => rest.len(),
                },
            };
            rest = rest.slice(used..);
        }
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// If it ends too early.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), String> {
        match self.place {
            Place::Line => {
                self.line += 1;
                self.end_event(&Bytes::new(), Blank::Skip, out);
                Ok(())
            }
            Place::Start => Err("the body is empty".to_owned()),
            Place::Single => {
                self.line = 1;
                self.end_event(&Bytes::new(), Blank::Refuse, out);
                Ok(())
            }
            Place::Element { .. } => Err(format!(
                "the array does not end: element {} or a bracket before it is open",
                self.line + 1
            )),
            Place::Done => Ok(()),
        }
    }

    fn push_lines(&mut self, chunk: &Bytes, out: &mut Vec<Event>) -> usize {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            self.line += 1;
            self.end_event(&chunk.slice(start..end), Blank::Skip, out);
            start = end + 1;
        }
        self.hold(&chunk.slice(start..));
        chunk.len()
    }

    fn push_start(&mut self, chunk: &Bytes) -> Result<usize, String> {
        let Some(at) = chunk.iter().position(|byte| !is_space(*byte)) else { return Ok(chunk.len()) };
        match chunk[at] {
            b'{' => {
                self.place = Place::Single;
                Ok(at)
            }
            b'[' => {
                self.place = ELEMENT;
                Ok(at + 1)
            }
            _ => Err("expected a JSON object or an array of objects".to_owned()),
        }
    }

    /// Scans to the end of the element, or of the chunk; gives the bytes used.
    fn push_element(&mut self, chunk: &Bytes, mut nesting: Nesting, out: &mut Vec<Event>) -> usize {
        for (at, &byte) in chunk.iter().enumerate() {
            if let Some(end) = nesting.step(byte) {
                self.line += 1;
                let first_and_last = self.line == 1 && end == ElementEnd::Array;
                let blank = if first_and_last { Blank::Skip } else { Blank::Refuse };
                self.end_event(&chunk.slice(..at), blank, out);
                self.place = if end == ElementEnd::Array { Place::Done } else { ELEMENT };
                return at + 1;
            }
        }
        self.place =
            Place::Element { depth: nesting.depth, in_string: nesting.in_string, escaped: nesting.escaped };
        self.hold(chunk)
    }

    /// Keeps the beginning of an event for the next chunk.
    fn hold(&mut self, part: &Bytes) -> usize {
        if self.carry.len() + part.len() > self.event_bytes_max {
            self.too_long = true;
            self.carry = Vec::new();
        } else if !self.too_long {
            self.carry.extend_from_slice(part);
        }
        part.len()
    }

    /// `last` is the rest of the event whose beginning is in `carry`.
    fn end_event(&mut self, last: &Bytes, blank: Blank, out: &mut Vec<Event>) {
        let whole = if self.carry.is_empty() && !self.too_long {
            last.clone()
        } else {
            self.hold(last);
            Bytes::from(std::mem::take(&mut self.carry))
        };
        let line = self.line;
        if std::mem::take(&mut self.too_long) || whole.len() > self.event_bytes_max {
            let reason = format!("longer than {} bytes", self.event_bytes_max);
            out.push(Event { line, text: Err(reason) });
            return;
        }
        let text = trim(&whole);
        match blank {
            Blank::Skip if text.is_empty() => {}
            Blank::Refuse if text.is_empty() => {
                out.push(Event { line, text: Err("expected a value".to_owned()) })
            }
            _ => out.push(Event { line, text: Ok(text) }),
        }
    }
}

/// What an event of nothing but space means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blank {
    Skip,
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElementEnd {
    Comma,
    Array,
}

struct Nesting {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    fn step(&mut self, byte: u8) -> Option<ElementEnd> {
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            self.escaped = !self.escaped && byte == b'\\';
            return None;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b']' if self.depth == 0 => return Some(ElementEnd::Array),
            b',' if self.depth == 0 => return Some(ElementEnd::Comma),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        None
    }
}

fn trim(text: &Bytes) -> Bytes {
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(*byte)).map_or(start, |last| last + 1);
    text.slice(start..end)
}

/// A valid event printed over several lines is put on one, so that line-oriented tools can show topics.
pub(crate) fn on_one_line(text: Bytes) -> Bytes {
    if memchr::memchr2(b'\n', b'\r', &text).is_some() { compact(&text).into() } else { text }
}

#[cfg(test)]
mod tests;
