//! A table's `WITH` options, read with errors that name the table.

use std::collections::BTreeMap;

use highwater_stream::{ConnectorError, ConnectorOptions, ErrorKind, connector_options};

/// The options of one table.
#[derive(Clone, Copy)]
pub(crate) struct TableOptions<'a> {
    pub(crate) table: &'a str,
    pub(crate) options: &'a BTreeMap<String, String>,
}

impl<'a> TableOptions<'a> {
    /// The table's connector, with every option known and every required one there.
    pub(crate) fn connector(self) -> Result<&'static ConnectorOptions, ConnectorError> {
        let name = self.required("connector")?;
        let connector = connector_options(name).ok_or_else(|| {
            self.error(format!(
                "unknown connector '{name}', expected kafka, filesystem, datagen, nexmark, print, blackhole or checksum"
            ))
        })?;
        if let Some(unknown) = self.options.keys().find(|key| !connector.knows(key)) {
            return Err(self.error(format!("connector '{name}' has no option '{unknown}'")));
        }
        for option in connector.options.iter().filter(|option| option.required) {
            self.required(option.name)?;
        }
        Ok(connector)
    }

    pub(crate) fn get(self, key: &str) -> Option<&'a str> {
        self.options.get(key).map(String::as_str)
    }

    pub(crate) fn required(self, key: &str) -> Result<&'a str, ConnectorError> {
        self.get(key).ok_or_else(|| self.error(format!("option '{key}' is missing")))
    }

    /// A number, or `default`.
    pub(crate) fn number<T: std::str::FromStr>(self, key: &str, default: T) -> Result<T, ConnectorError> {
        Ok(self.parsed(key, "a number")?.unwrap_or(default))
    }

    /// A value of some type, if the option is there.
    pub(crate) fn parsed<T: std::str::FromStr>(
        self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, ConnectorError> {
        let Some(text) = self.get(key) else { return Ok(None) };
        match text.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.error(format!("option '{key}' is '{text}', expected {expected}"))),
        }
    }

    /// The format of values.
    pub(crate) fn format(self) -> Result<&'a str, ConnectorError> {
        let format = self.get("value.format").or_else(|| self.get("format"));
        format.ok_or_else(|| self.error("option 'format' is missing".to_owned()))
    }

    /// The options of the format, `value.json.x` also as `json.x`.
    pub(crate) fn format_options(self, prefix: &str) -> BTreeMap<String, String> {
        let mut options = self.options.clone();
        for (key, value) in self.options {
            if let Some(rest) = key.strip_prefix(prefix) {
                options.insert(rest.to_owned(), value.clone());
            }
        }
        options
    }

    /// What to do with records that do not fit.
    pub(crate) fn bad_records(self, default: BadRecords) -> Result<BadRecords, ConnectorError> {
        match self.get("bad-records") {
            None => Ok(default),
            Some("fail") => Ok(BadRecords::Fail),
            Some("dead-letter") => Ok(BadRecords::DeadLetter),
            Some("skip") => Ok(BadRecords::Skip),
            Some(other) => {
                Err(self
                    .error(format!("option 'bad-records' is '{other}', expected fail, dead-letter or skip")))
            }
        }
    }

    /// A mistake in the table's options.
    pub(crate) fn error(self, message: String) -> ConnectorError {
        ConnectorError::new(ErrorKind::Config, format!("table {}", self.table), message)
    }
}

/// What to do with a record that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRecords {
    /// Stop the pipeline.
    Fail,
    /// Hand it over with the reason, and go on.
    DeadLetter,
    /// Count it, and go on.
    Skip,
}
