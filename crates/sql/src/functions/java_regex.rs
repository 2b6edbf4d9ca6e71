//! Java's regular expressions, as far as they mean the same without backtracking.
//!
//! A pattern is read and written again for the `regex` crate: classes such as `\d` are ASCII as in Java, `.` and
//! `$` know Java's line terminators. Refused: look-around, back-references, possessive quantifiers, atomic
//! groups, all flags but `i` and `s`.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use regex::{Captures, Regex};

/// A pattern, ready to search with.
#[derive(Clone, Debug)]
pub(crate) struct JavaRegex {
    plain: Regex,
    /// For texts that end with a line terminator, where `$` also matches before it. None: there is no `$`.
    before_terminator: Option<Regex>,
    /// Capturing groups of the pattern.
    pub(crate) groups: usize,
}

/// Where a match and its groups are, in bytes.
pub(crate) struct Match {
    spans: Vec<Option<(usize, usize)>>,
}

impl Match {
    /// The group's place; 0 is the whole match.
    pub(crate) fn group(&self, index: usize) -> Option<(usize, usize)> {
        self.spans.get(index).copied().flatten()
    }

    pub(crate) fn span(&self) -> (usize, usize) {
        self.group(0).unwrap_or((0, 0))
    }
}

const TERMINATORS: &str = "\\n\\r\\x{85}\\x{2028}\\x{2029}";
const END_GROUP: &str = "end_of_text_";

impl JavaRegex {
    /// Reads a pattern. The error says what is not understood.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let mut reader = Reader {
            chars: pattern.chars().peekable(),
            out: String::new(),
            groups: 0,
            ends: 0,
            flags: vec![Flags::default()],
        };
        reader.read()?;
        let (groups, ends) = (reader.groups, reader.ends);
        let compile = |text: &str| {
            Regex::new(text).map_err(|_| format!("regular expression '{pattern}' is invalid or too large"))
        };
        let mut plain = reader.out.clone();
        let mut before = reader.out;
        for number in 0..ends {
            plain = plain.replacen(END_MARK, "\\z", 1);
            let end = format!("(?:(?P<{END_GROUP}{number}>\\r\\n|[{TERMINATORS}])?\\z)");
            before = before.replacen(END_MARK, &end, 1);
        }
        let before_terminator = if ends > 0 { Some(compile(&before)?) } else { None };
        Ok(Self { plain: compile(&plain)?, before_terminator, groups })
    }

    fn regex_for(&self, text: &str) -> &Regex {
        let ends_line = |text: &str| text.ends_with(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']);
        match &self.before_terminator {
            Some(regex) if ends_line(text) => regex,
            _ => &self.plain,
        }
    }

    /// The first match at or behind `from`, a byte position between characters.
    pub(crate) fn find_at(&self, text: &str, from: usize) -> Option<Match> {
        let regex = self.regex_for(text);
        let captures = regex.captures_at(text, from)?;
        let mut spans: Vec<Option<(usize, usize)>> = regex
            .capture_names()
            .zip(captures.iter())
            .filter(|(name, _)| name.is_none_or(|name| !name.starts_with(END_GROUP)))
            .map(|(_, found)| found.map(|found| (found.start(), found.end())))
            .collect();
        if let Some(end) = end_of(regex, &captures) {
            spans.iter_mut().flatten().for_each(|span| *span = (span.0.min(end), span.1.min(end)));
        }
        Some(Match { spans })
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex_for(text).is_match(text)
    }

    /// All matches from left to right, as Java's `Matcher.find` gives them.
    pub(crate) fn find_all<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Match> + 'a {
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let found = self.find_at(text, from?)?;
            let (start, end) = found.span();
            from =
                if end > start { Some(end) } else { text[end..].chars().next().map(|c| end + c.len_utf8()) };
            Some(found)
        })
    }
}

/// Where the match ends, if its end also took the terminator.
fn end_of(regex: &Regex, captures: &Captures<'_>) -> Option<usize> {
    let ends = regex.capture_names().flatten().filter(|name| name.starts_with(END_GROUP));
    ends.filter_map(|name| captures.name(name)).map(|found| found.start()).min()
}

/// Stands for `$` until it is known what follows the text.
const END_MARK: &str = "\u{f8ff}$\u{f8ff}";

#[derive(Clone, Copy, Default)]
struct Flags {
    any_case: bool,
    dot_all: bool,
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    out: String,
    groups: usize,
    ends: usize,
    /// Of the open groups.
    flags: Vec<Flags>,
}

fn refused(what: &str) -> String {
    format!("{what} in a regular expression")
}

impl Reader<'_> {
    fn flags(&mut self) -> &mut Flags {
        if self.flags.is_empty() {
            self.flags.push(Flags::default());
        }
        let last = self.flags.len() - 1;
        &mut self.flags[last]
    }

    fn read(&mut self) -> Result<(), String> {
        while let Some(c) = self.chars.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                ')' => {
                    if self.flags.len() < 2 {
                        return Err(refused("an unmatched ')'"));
                    }
                    self.flags.pop();
                    self.out.push(')');
                }
                '.' if self.flags().dot_all => self.out.push_str("(?s:.)"),
                '.' => {
                    let _ = write!(self.out, "[^{TERMINATORS}]");
                }
                '^' => self.out.push_str("\\A"),
                '$' => {
                    if !matches!(self.chars.peek(), None | Some(')' | '|')) {
                        return Err(refused("'$' before something else"));
                    }
                    self.ends += 1;
                    self.out.push_str(END_MARK);
                }
                '*' | '+' | '?' => {
                    self.out.push(c);
                    self.after_quantifier()?;
                }
                '{' => self.repetition()?,
                '|' => self.out.push('|'),
                c => self.literal(c),
            }
        }
        if self.flags.len() != 1 {
            return Err(refused("an unclosed '('"));
        }
        Ok(())
    }

    /// `?` after a quantifier is the same in both; `+` is Java's possessive form.
    fn after_quantifier(&mut self) -> Result<(), String> {
        if self.chars.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        match self.chars.peek() {
            Some('+') => Err(refused("a possessive quantifier")),
            Some('*' | '?' | '{') => Err(refused("a quantifier of a quantifier")),
            _ => Ok(()),
        }
    }

    fn repetition(&mut self) -> Result<(), String> {
        let mut text = String::new();
        loop {
            match self.chars.next() {
                Some('}') => break,
                Some(c) if c.is_ascii_digit() || (c == ',' && !text.is_empty()) => text.push(c),
                _ => return Err(refused("'{'")),
            }
        }
        let _ = write!(self.out, "{{{text}}}");
        self.after_quantifier()
    }

    fn literal(&mut self, c: char) {
        let any_case = self.flags().any_case && c.is_ascii_alphabetic();
        if any_case {
            let _ = write!(self.out, "[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase());
        } else {
            self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
        }
    }

    fn group(&mut self) -> Result<(), String> {
        let inherited = *self.flags();
        if self.chars.next_if_eq(&'?').is_none() {
            self.groups += 1;
            self.flags.push(inherited);
            self.out.push('(');
            return Ok(());
        }
        match self.chars.next() {
            Some(':') => {
                self.flags.push(inherited);
                self.out.push_str("(?:");
            }
            Some('<') if self.chars.peek().is_some_and(char::is_ascii_alphabetic) => {
                // Named groups are only asked for by number.
                while self.chars.next_if(char::is_ascii_alphanumeric).is_some() {}
                if self.chars.next() != Some('>') {
                    return Err(refused("a group's name"));
                }
                self.groups += 1;
                self.flags.push(inherited);
                self.out.push('(');
            }
            Some(c @ ('i' | 's')) => self.set_flags(c, inherited)?,
            _ => return Err(refused("look-around, an atomic group or a flag other than i and s")),
        }
        Ok(())
    }

    fn set_flags(&mut self, first: char, inherited: Flags) -> Result<(), String> {
        let mut flags = inherited;
        let mut next = Some(first);
        loop {
            match next {
                Some('i') => flags.any_case = true,
                Some('s') => flags.dot_all = true,
                Some(')') => {
                    *self.flags() = flags;
                    return Ok(());
                }
                Some(':') => {
                    self.flags.push(flags);
                    self.out.push_str("(?:");
                    return Ok(());
                }
                _ => return Err(refused("a flag other than i and s")),
            }
            next = self.chars.next();
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.chars.next() else { return Err(refused("a '\\' at the end")) };
        match c {
            'b' => self.out.push_str("\\b"),
            'A' => self.out.push_str("\\A"),
            'z' => self.out.push_str("\\z"),
            'Q' => self.quoted(),
            _ => {
                if let Some(class) = predefined(c) {
                    let _ = write!(self.out, "[{class}]");
                } else if c == 'p' || c == 'P' {
                    let class = self.property(c == 'P')?;
                    self.out.push_str(&class);
                } else {
                    let c = self.escaped_char(c)?;
                    self.literal(c);
                }
            }
        }
        Ok(())
    }

    fn quoted(&mut self) {
        while let Some(c) = self.chars.next() {
            if c == '\\' && self.chars.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(c);
        }
    }

    fn escaped_char(&mut self, c: char) -> Result<char, String> {
        Ok(match c {
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'f' => '\u{c}',
            'a' => '\u{7}',
            'e' => '\u{1b}',
            'x' => self.hex(2)?,
            'u' => self.hex(4)?,
            c if c.is_ascii_alphanumeric() => return Err(refused(&format!("'\\{c}'"))),
            c => c,
        })
    }

    fn hex(&mut self, count: usize) -> Result<char, String> {
        let mut code = 0;
        for _ in 0..count {
            let digit = self.chars.next().and_then(|c| c.to_digit(16));
            code = code * 16 + digit.ok_or_else(|| refused("a character code"))?;
        }
        char::from_u32(code).ok_or_else(|| refused("half a surrogate pair"))
    }

    fn property(&mut self, negated: bool) -> Result<String, String> {
        let mut name = String::new();
        if self.chars.next_if_eq(&'{').is_some() {
            loop {
                match self.chars.next() {
                    Some('}') => break,
                    Some(c) => name.push(c),
                    None => return Err(refused("an unclosed \\p{")),
                }
            }
        } else {
            name.extend(self.chars.next());
        }
        let not = if negated { "^" } else { "" };
        if let Some(class) = ascii_class(&name) {
            return Ok(format!("[{not}{class}]"));
        }
        let general = ["L", "Lu", "Ll", "Lt", "Lm", "Lo", "N", "Nd", "Nl", "No", "P", "S", "Z", "M"];
        if general.contains(&name.as_str()) {
            return Ok(format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' }));
        }
        Err(refused(&format!("\\p{{{name}}}")))
    }

    /// `[...]`, without intersections.
    fn class(&mut self) -> Result<(), String> {
        let mut class = String::from("[");
        if self.chars.next_if_eq(&'^').is_some() {
            class.push('^');
        }
        let any_case = self.flags().any_case;
        let mut empty = true;
        loop {
            let Some(c) = self.chars.next() else { return Err(refused("an unclosed '['")) };
            let first = match c {
                ']' if !empty => break,
                ']' | '[' => return Err(refused(&format!("'{c}' in a class"))),
                '&' if self.chars.peek() == Some(&'&') => return Err(refused("'&&'")),
                '\\' => {
                    let Some(c) = self.chars.next() else { return Err(refused("an unclosed '['")) };
                    empty = false;
                    if let Some(set) = predefined(c) {
                        if set.starts_with('^') {
                            let _ = write!(class, "[{set}]");
                        } else {
                            class.push_str(set);
                        }
                        continue;
                    }
                    if c == 'p' || c == 'P' {
                        class.push_str(&self.property(c == 'P')?);
                        continue;
                    }
                    self.escaped_char(c)?
                }
                c => c,
            };
            empty = false;
            let last = self.range_end(first)?;
            if last < first {
                return Err(refused("a range from high to low"));
            }
            push_range(&mut class, first, last, any_case);
        }
        class.push(']');
        self.out.push_str(&class);
        Ok(())
    }

    /// The end of a range that starts with `first`; `first` if it is none.
    fn range_end(&mut self, first: char) -> Result<char, String> {
        let mut ahead = self.chars.clone();
        if ahead.next() != Some('-') || matches!(ahead.peek(), None | Some(']')) {
            return Ok(first);
        }
        self.chars.next();
        match self.chars.next() {
            Some('\\') => match self.chars.next() {
                Some(c) if predefined(c).is_none() => self.escaped_char(c),
                _ => Err(refused("a range to a class")),
            },
            Some('[') | None => Err(refused("a range to a class")),
            Some(c) => Ok(c),
        }
    }
}

fn push_range(class: &mut String, first: char, last: char, any_case: bool) {
    let mut push = |from: char, to: char| {
        let _ = write!(class, "\\x{{{:x}}}-\\x{{{:x}}}", u32::from(from), u32::from(to));
    };
    push(first, last);
    if !any_case {
        return;
    }
    for (low, high) in [('a', 'z'), ('A', 'Z')] {
        let (from, to) = (first.max(low), last.min(high));
        if from <= to {
            let swap = |c: char| char::from_u32(u32::from(c) ^ 32).unwrap_or(c);
            push(swap(from), swap(to));
        }
    }
}

/// What stands within the brackets of a class for `\d` and its kin.
fn predefined(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "0-9",
        'D' => "^0-9",
        'w' => "a-zA-Z_0-9",
        'W' => "^a-zA-Z_0-9",
        's' => " \\t\\n\\x0B\\f\\r",
        'S' => "^ \\t\\n\\x0B\\f\\r",
        'h' => " \\t\\x{a0}\\x{1680}\\x{180e}\\x{2000}-\\x{200a}\\x{202f}\\x{205f}\\x{3000}",
        'v' => "\\n\\x0B\\f\\r\\x{85}\\x{2028}\\x{2029}",
        _ => return None,
    })
}

/// Java's POSIX classes: ASCII only.
fn ascii_class(name: &str) -> Option<&'static str> {
    Some(match name {
        "Lower" => "a-z",
        "Upper" => "A-Z",
        "ASCII" => "\\x00-\\x7F",
        "Alpha" => "a-zA-Z",
        "Digit" => "0-9",
        "Alnum" => "a-zA-Z0-9",
        "Punct" => "!-/:-@\\[-`{-~",
        "Graph" => "!-~",
        "Print" => " -~",
        "Blank" => " \\t",
        "Cntrl" => "\\x00-\\x1F\\x7F",
        "XDigit" => "0-9a-fA-F",
        "Space" => " \\t\\n\\x0B\\f\\r",
        _ => return None,
    })
}

/// The pattern of `SIMILAR TO` as a regular expression for the whole text.
pub(crate) fn similar(pattern: &str, escape: Option<char>) -> Result<String, String> {
    const SPECIAL: &str = "[]()|^-+*_%?{}";
    let mut out = String::from("(?:");
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let next = chars.next().filter(|next| SPECIAL.contains(*next) || Some(*next) == escape);
            let next = next.ok_or_else(|| "an invalid escape in a SIMILAR TO pattern".to_owned())?;
            if !next.is_ascii_alphanumeric() {
                out.push('\\');
            }
            out.push(next);
            continue;
        }
        match c {
            '\\' | '$' => out.extend(['\\', c]),
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if chars.as_str().starts_with('[') || chars.as_str().starts_with(':') {
                    return Err("a named class in a SIMILAR TO pattern".to_owned());
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '[' | ']' | '_' | '%' | '&' if in_class => {
                return Err(format!("'{c}' in a class of a SIMILAR TO pattern"));
            }
            ']' => return Err("an unmatched ']' in a SIMILAR TO pattern".to_owned()),
            '_' => out.push('.'),
            '%' => out.push_str("(?s:.*)"),
            c => out.push(c),
        }
    }
    out.push(')');
    Ok(format!("^{out}\\z"))
}
