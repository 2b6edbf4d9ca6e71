//! What is wrong with a script, and where.

use std::fmt;

use sqlparser::tokenizer::Location;

/// A script that is refused. The user must act; trying again does not help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// The file's name.
    pub file: String,
    /// Line, counting from 1.
    pub line: usize,
    /// Column in characters, counting from 1.
    pub column: usize,
    /// The line's text from the offending place on, cut short.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if !self.text.is_empty() {
            write!(f, "\n  near: {}", self.text)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SqlError {}

/// An error at a place of the text after variables were put in. Boxed: it is the rare case.
#[derive(Clone, Debug)]
pub(crate) struct Fault(Box<FaultAt>);

#[derive(Clone, Debug)]
pub(crate) struct FaultAt {
    /// Line 0: unknown; the statement's start then.
    pub(crate) at: Location,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// The result of a step of compilation.
pub(crate) type Bound<T> = Result<T, Fault>;

impl Fault {
    pub(crate) fn new(at: Location, message: impl Into<String>) -> Self {
        Self(Box::new(FaultAt { at, message: message.into(), hint: None }))
    }

    /// Something Flink has and this version has not.
    pub(crate) fn unsupported(at: Location, what: impl fmt::Display) -> Self {
        Self::new(at, format!("{what} is not supported yet"))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Gives a place to an error that has none.
    pub(crate) fn or_at(mut self, at: Location) -> Self {
        if self.0.at.line == 0 {
            self.0.at = at;
        }
        self
    }

    pub(crate) fn into_parts(self) -> FaultAt {
        *self.0
    }
}

/// The names most like `wanted`, at most three, as a hint.
pub(crate) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = wanted.to_lowercase();
    let mut scored: Vec<(usize, &str)> = names
        .into_iter()
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count().min(wanted.chars().count()) / 3)
        .collect();
    scored.sort_unstable();
    scored.dedup();
    let best: Vec<&str> = scored.into_iter().take(3).map(|(_, name)| name).collect();
    (!best.is_empty()).then(|| format!("did you mean {}?", best.join(" or ")))
}

/// Levenshtein's edit distance; names are short.
fn distance(a: &str, b: &str) -> usize {
    const LENGTH_MAX: usize = 64;
    let b: Vec<char> = b.chars().take(LENGTH_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(LENGTH_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
