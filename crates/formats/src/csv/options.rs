//! The format's options in `WITH`.

use std::collections::BTreeMap;

use crate::FormatError;
use crate::json::flag;

/// Options of format `csv`, named as in Flink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// `csv.field-delimiter`.
    pub delimiter: u8,
    /// `csv.quote-character`; None with `csv.disable-quote-character`.
    pub quote: Option<u8>,
    /// `csv.escape-character`.
    pub escape: Option<u8>,
    /// `csv.allow-comments`: a line that starts with `#` is skipped.
    pub comments: bool,
    /// `csv.ignore-parse-errors`: NULL for a bad field, no row for a bad record.
    pub ignore_parse_errors: bool,
    /// `csv.ignore-first-line`: of each file. The reader of the file does it.
    pub ignore_first_line: bool,
    /// `csv.null-literal`.
    pub null_literal: Option<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            comments: false,
            ignore_parse_errors: false,
            ignore_first_line: false,
            null_literal: None,
        }
    }
}

impl CsvOptions {
    /// Reads the options that start with `csv.`.
    ///
    /// # Errors
    /// If a value is not possible.
    pub fn from_options(options: &BTreeMap<String, String>) -> Result<Self, FormatError> {
        let defaults = Self::default();
        let unquoted = flag(options, "csv.disable-quote-character")?;
        if unquoted && options.contains_key("csv.quote-character") {
            return Err(FormatError(
                "'csv.quote-character' cannot be set with 'csv.disable-quote-character'".to_owned(),
            ));
        }
        let quote = character(options, "csv.quote-character")?.or(defaults.quote);
        Ok(Self {
            delimiter: character(options, "csv.field-delimiter")?.unwrap_or(defaults.delimiter),
            quote: if unquoted { None } else { quote },
            escape: character(options, "csv.escape-character")?,
            comments: flag(options, "csv.allow-comments")?,
            ignore_parse_errors: flag(options, "csv.ignore-parse-errors")?,
            ignore_first_line: flag(options, "csv.ignore-first-line")?,
            null_literal: options.get("csv.null-literal").cloned(),
        })
    }
}

/// One ASCII character, or `\t` and `\\` written out as Flink allows.
fn character(options: &BTreeMap<String, String>, key: &str) -> Result<Option<u8>, FormatError> {
    let Some(text) = options.get(key) else { return Ok(None) };
    match text.as_bytes() {
        [one] if one.is_ascii() && !matches!(one, b'\n' | b'\r') => Ok(Some(*one)),
        br"\t" => Ok(Some(b'\t')),
        br"\\" => Ok(Some(b'\\')),
        _ => Err(FormatError(format!("option '{key}' is '{text}', expected one ASCII character"))),
    }
}
