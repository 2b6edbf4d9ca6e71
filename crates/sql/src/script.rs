//! A script's text: variables put in, tokens, statements, hints, places.

use std::collections::BTreeMap;

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};

use crate::dialect::FlinkDialect;
use crate::error::{Bound, Fault, FaultAt, SqlError};
use crate::match_syntax::known_syntax;

/// A pipeline file.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The file's name, for messages; its stem names the pipeline.
    pub name: String,
    /// Its statements.
    pub text: String,
    /// What stands for `${K}`.
    pub vars: BTreeMap<String, String>,
}

/// Longer scripts are refused.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// Tokens of one statement; more are refused.
const STATEMENT_TOKENS_MAX: usize = 20_000;

/// Characters of the offending line that a message repeats.
const EXCERPT_CHARS_MAX: usize = 60;

/// The text with its variables put in, and where each piece came from.
pub(crate) struct Source<'a> {
    script: &'a Script,
    pub(crate) text: String,
    /// Pieces that stand for a variable: bytes of `text`, bytes of the script.
    replaced: Vec<(std::ops::Range<usize>, std::ops::Range<usize>)>,
}

/// Options that hints gave to tables: place of the token before the hint, options.
pub(crate) type Hints = Vec<(Location, BTreeMap<String, String>)>;

/// The tokens of one statement, without the `;`.
pub(crate) struct StatementTokens {
    pub(crate) tokens: Vec<TokenWithSpan>,
    pub(crate) start: Location,
}

impl<'a> Source<'a> {
    /// Replaces `${K}`.
    pub(crate) fn new(script: &'a Script) -> Result<Self, SqlError> {
        let mut source =
            Self { script, text: String::with_capacity(script.text.len()), replaced: Vec::new() };
        if script.text.len() > TEXT_BYTES_MAX {
            let message = format!("script of {} bytes: expected up to {TEXT_BYTES_MAX}", script.text.len());
            return Err(source.error_at(0, message, None));
        }
        let text = &script.text;
        let mut from = 0;
        while let Some(found) = text[from..].find("${") {
            let start = from + found;
            let name_start = start + 2;
            let Some(length) = text[name_start..].find('}') else { break };
            let name = &text[name_start..name_start + length];
            let end = name_start + length + 1;
            if in_comment(text, start) {
                source.text.push_str(&text[from..end]);
                from = end;
                continue;
            }
            let Some(value) = script.vars.get(name) else {
                let message = format!("variable ${{{name}}} has no value");
                return Err(source.error_at(start, message, Some(format!("pass --var {name}=..."))));
            };
            source.text.push_str(&text[from..start]);
            let begin = source.text.len();
            source.text.push_str(value);
            source.replaced.push((begin..source.text.len(), start..end));
            from = end;
        }
        source.text.push_str(&text[from..]);
        Ok(source)
    }

    /// Tokens by statement, and the hints that were among them.
    pub(crate) fn statements(&self) -> Result<(Vec<StatementTokens>, Hints), SqlError> {
        let tokens = Tokenizer::new(&FlinkDialect, &self.text)
            .tokenize_with_location()
            .map_err(|error| self.error(Fault::new(error.location, lower_first(&error.message))))?;
        let mut statements = Vec::new();
        let mut hints = Hints::new();
        let mut current: Vec<TokenWithSpan> = Vec::new();
        for token in tokens {
            match &token.token {
                Token::SemiColon => push_statement(&mut statements, std::mem::take(&mut current)),
                Token::Whitespace(Whitespace::MultiLineComment(comment)) => {
                    if let Some(hint) = comment.strip_prefix('+') {
                        read_hint(hint, &token, current.last(), &mut hints)
                            .map_err(|fault| self.error(fault))?;
                    }
                }
                Token::Whitespace(_) => {}
                Token::ShiftRight => current.extend(split_shift(&token)),
                _ => {
                    drop_table_word(&mut current, &token);
                    current.push(token);
                }
            }
            if current.len() > STATEMENT_TOKENS_MAX {
                let at = current[0].span.start;
                return Err(self
                    .error(Fault::new(at, format!("statement of more than {STATEMENT_TOKENS_MAX} tokens"))));
            }
        }
        push_statement(&mut statements, current);
        Ok((statements, hints))
    }

    /// An error for people.
    pub(crate) fn error(&self, fault: Fault) -> SqlError {
        let FaultAt { at, message, hint } = fault.into_parts();
        let byte = byte_of(&self.text, at);
        self.error_at(self.to_script(byte), message, hint)
    }

    fn to_script(&self, byte: usize) -> usize {
        let mut shift: isize = 0;
        for (here, there) in &self.replaced {
            if byte < here.start {
                break;
            }
            if byte < here.end {
                return there.start;
            }
            shift = signed(there.end) - signed(here.end);
        }
        usize::try_from(signed(byte) + shift).unwrap_or(0)
    }

    fn error_at(&self, byte: usize, message: String, hint: Option<String>) -> SqlError {
        let text = &self.script.text;
        let mut byte = byte.min(text.len());
        while !text.is_char_boundary(byte) {
            byte -= 1;
        }
        let before = &text[..byte];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let excerpt = text[byte..].lines().next().unwrap_or("");
        let mut shown: String = excerpt.chars().take(EXCERPT_CHARS_MAX).collect();
        if shown.len() < excerpt.len() {
            shown.push_str("...");
        }
        SqlError {
            file: self.script.name.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            text: shown.trim_end().to_owned(),
            message,
            hint,
        }
    }
}

fn signed(value: usize) -> isize {
    isize::try_from(value).unwrap_or(isize::MAX)
}

/// Whether `byte` lies in a `--` comment of its line.
fn in_comment(text: &str, byte: usize) -> bool {
    let line_start = text[..byte].rfind('\n').map_or(0, |newline| newline + 1);
    let mut quoted = false;
    let mut previous = ' ';
    for c in text[line_start..byte].chars() {
        if c == '\'' {
            quoted = !quoted;
        }
        if c == '-' && previous == '-' && !quoted {
            return true;
        }
        previous = c;
    }
    false
}

fn byte_of(text: &str, at: Location) -> usize {
    if at.line == 0 {
        return 0;
    }
    let line = usize::try_from(at.line - 1).unwrap_or(usize::MAX);
    let column = usize::try_from(at.column.saturating_sub(1)).unwrap_or(usize::MAX);
    let mut start = 0;
    for _ in 0..line {
        match text[start..].find('\n') {
            Some(newline) => start += newline + 1,
            None => return text.len(),
        }
    }
    text[start..].char_indices().nth(column).map_or(text.len(), |(byte, _)| start + byte)
}

fn push_statement(statements: &mut Vec<StatementTokens>, tokens: Vec<TokenWithSpan>) {
    let mut tokens = partitions_as_arguments(tokens);
    known_syntax(&mut tokens);
    if let Some(first) = tokens.first() {
        statements.push(StatementTokens { start: first.span.start, tokens });
    }
}

/// `>>` closes two types.
fn split_shift(token: &TokenWithSpan) -> [TokenWithSpan; 2] {
    let gt = |start: Location, end: Location| TokenWithSpan { token: Token::Gt, span: Span { start, end } };
    let Span { start, end } = token.span;
    let middle = Location { line: start.line, column: start.column + 1 };
    [gt(start, middle), gt(middle, end)]
}

/// sqlparser knows no `TABLE t` among a function's arguments: `f(TABLE t, ...)` becomes `f(t, ...)`.
fn drop_table_word(current: &mut Vec<TokenWithSpan>, next: &TokenWithSpan) {
    let is_name = matches!(&next.token, Token::Word(_));
    let [.., before, last] = current.as_slice() else { return };
    let opens = matches!(before.token, Token::LParen | Token::Comma | Token::RArrow);
    let is_table = matches!(&last.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("TABLE"));
    if is_name && opens && is_table {
        current.pop();
    }
}

/// What stands for PARTITION BY among a table function's arguments.
pub(crate) const PARTITION: &str = "$partition";

/// sqlparser knows no PARTITION BY among a function's arguments: `SESSION(t PARTITION BY k, ...)` becomes
/// `SESSION(t, $partition(k), ...)`.
fn partitions_as_arguments(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is = |token: Option<&TokenWithSpan>, word: &str| {
        matches!(token.map(|token| &token.token),
            Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
    };
    if !tokens.iter().any(|token| is(Some(token), "SESSION")) {
        return tokens;
    }
    let mut result: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 4);
    // Per open parenthesis: whether the arguments of SESSION are in it.
    let mut calls = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match &token.token {
            Token::LParen => calls.push(is(result.last(), "SESSION")),
            Token::RParen => {
                calls.pop();
            }
            _ => {}
        }
        let argument = calls.last() == Some(&true)
            && is(Some(token), "PARTITION")
            && is(tokens.get(at + 1), "BY")
            && !matches!(result.last().map(|last| &last.token), Some(Token::LParen | Token::Comma) | None);
        if !argument {
            result.push(token.clone());
            at += 1;
            continue;
        }
        let made = |kind: Token| TokenWithSpan { token: kind, span: token.span };
        result.extend([made(Token::Comma), made(Token::make_word(PARTITION, None))]);
        at += 2;
        let parenthesised = tokens.get(at).is_some_and(|token| token.token == Token::LParen);
        if !parenthesised {
            result.push(made(Token::LParen));
            let name = tokens.get(at..).unwrap_or_default().iter();
            let name = name.take_while(|token| !matches!(token.token, Token::Comma | Token::RParen));
            let before = result.len();
            result.extend(name.cloned());
            at += result.len() - before;
            result.push(made(Token::RParen));
        }
    }
    result
}

/// `OPTIONS('k' = 'v', ...)` behind a table's name.
fn read_hint(
    text: &str,
    token: &TokenWithSpan,
    before: Option<&TokenWithSpan>,
    hints: &mut Hints,
) -> Bound<()> {
    let at = token.span.start;
    let wrong = || {
        Fault::unsupported(at, format!("hint {}", text.trim()))
            .hint("supported: /*+ OPTIONS('key' = 'value', ...) */ behind a table's name")
    };
    let behind_select = before.is_some_and(|before| {
        matches!(&before.token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("SELECT"))
    });
    if behind_select && is_query_hint(text) {
        return Ok(());
    }
    let tokens = Tokenizer::new(&FlinkDialect, text).tokenize().map_err(|_| wrong())?;
    let mut words = tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_)));
    let is_options =
        matches!(words.next(), Some(Token::Word(word)) if word.value.eq_ignore_ascii_case("OPTIONS"));
    if !is_options || words.next() != Some(Token::LParen) {
        return Err(wrong());
    }
    let mut options = BTreeMap::new();
    loop {
        let (key, eq, value) = (words.next(), words.next(), words.next());
        let (Some(Token::SingleQuotedString(key)), Some(Token::Eq), Some(Token::SingleQuotedString(value))) =
            (key, eq, value)
        else {
            return Err(wrong());
        };
        options.insert(key, value);
        match words.next() {
            Some(Token::Comma) => {}
            Some(Token::RParen) => break,
            _ => return Err(wrong()),
        }
    }
    let Some(before) = before else { return Err(wrong()) };
    hints.push((before.span.start, options));
    Ok(())
}

/// Hints of a query that change how Flink runs it, not what it answers: state is kept as long as it needs, and
/// joins of streams have one way. A list of `NAME(...)`.
fn is_query_hint(text: &str) -> bool {
    const NAMES: [&str; 6] =
        ["STATE_TTL", "BROADCAST", "SHUFFLE_HASH", "SHUFFLE_MERGE", "NEST_LOOP", "MULTI_JOIN"];
    let mut rest = text.trim();
    loop {
        let Some((name, arguments)) = rest.split_once('(') else { return false };
        let Some((_, behind)) = arguments.split_once(')') else { return false };
        if !NAMES.iter().any(|known| name.trim().eq_ignore_ascii_case(known)) {
            return false;
        }
        rest = behind.trim().trim_start_matches(',').trim();
        if rest.is_empty() {
            return true;
        }
    }
}

/// sqlparser's messages start with a capital.
pub(crate) fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
