//! The format's options in `WITH`.

use std::collections::BTreeMap;

use crate::{FormatError, TimestampFormat};

/// Options of format `json`, named as in Flink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonOptions {
    /// `json.timestamp-format.standard`.
    pub timestamp_format: TimestampFormat,
    /// `json.fail-on-missing-field`.
    pub fail_on_missing_field: bool,
    /// `json.ignore-parse-errors`: NULL for a bad field, no row for a bad record.
    pub ignore_parse_errors: bool,
    /// `json.encode.ignore-null-fields`.
    pub ignore_null_fields: bool,
}

impl JsonOptions {
    /// Reads the options that start with `json.`.
    ///
    /// # Errors
    /// If a value is not possible.
    pub fn from_options(options: &BTreeMap<String, String>) -> Result<Self, FormatError> {
        Self::of_format("json", options)
    }

    /// Reads the options of a format that builds on JSON: those that start with its name and a dot.
    ///
    /// # Errors
    /// If a value is not possible.
    pub fn of_format(format: &str, options: &BTreeMap<String, String>) -> Result<Self, FormatError> {
        let key = |option: &str| format!("{format}.{option}");
        let timestamp_key = key("timestamp-format.standard");
        let timestamp_format = match options.get(&timestamp_key) {
            Some(value) => TimestampFormat::from_option(&timestamp_key, value)?,
            None => TimestampFormat::default(),
        };
        let read = Self {
            timestamp_format,
            fail_on_missing_field: flag(options, &key("fail-on-missing-field"))?,
            ignore_parse_errors: flag(options, &key("ignore-parse-errors"))?,
            ignore_null_fields: flag(options, &key("encode.ignore-null-fields"))?,
        };
        if read.fail_on_missing_field && read.ignore_parse_errors {
            return Err(FormatError(format!(
                "'{format}.fail-on-missing-field' and '{format}.ignore-parse-errors' cannot both be true"
            )));
        }
        if let Some(mode) = options.get(&key("map-null-key.mode"))
            && mode != "FAIL"
        {
            return Err(FormatError(format!(
                "'{format}.map-null-key.mode' is '{mode}', this version knows FAIL only"
            )));
        }
        Ok(read)
    }
}

/// A boolean option, false if absent.
pub(crate) fn flag(options: &BTreeMap<String, String>, key: &str) -> Result<bool, FormatError> {
    match options.get(key).map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(FormatError(format!("option '{key}' is '{other}', expected true or false"))),
    }
}
