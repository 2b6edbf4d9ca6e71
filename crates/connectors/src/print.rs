//! `print`: each change as a line, `+I[a, 1]`, at once. After a crash the epoch's lines come again.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use highwater_env::Epoch;
use highwater_formats::java_row;
use highwater_stream::{ChangeBatch, Committable, ConnectorError, ErrorKind, SinkConnector};

use crate::options::TableOptions;

/// Where text goes.
pub type Output = Arc<Mutex<dyn Write + Send>>;

/// Where `print` writes, by its option `standard-error`.
#[derive(Clone)]
pub struct Printer {
    /// Standard output, or what stands for it.
    pub out: Output,
    /// Standard error, or what stands for it.
    pub err: Output,
}

impl Printer {
    /// The process's own.
    pub fn standard() -> Self {
        Self { out: Arc::new(Mutex::new(std::io::stdout())), err: Arc::new(Mutex::new(std::io::stderr())) }
    }
}

/// Prints what is written.
pub(crate) struct PrintSink {
    output: Output,
    prefix: String,
    place: String,
    text: Vec<u8>,
}

impl PrintSink {
    pub(crate) fn new(printer: &Printer, options: TableOptions<'_>) -> Result<Self, ConnectorError> {
        let to_stderr = options.parsed("standard-error", "true or false")?.unwrap_or(false);
        let output = Arc::clone(if to_stderr { &printer.err } else { &printer.out });
        let prefix = options.get("print-identifier").map_or(String::new(), |name| format!("{name}> "));
        Ok(Self { output, prefix, place: format!("table {}", options.table), text: Vec::new() })
    }

    fn with_output(
        &self,
        act: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), ConnectorError> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        match act(&mut *output) {
            Err(error) => {
                Err(ConnectorError::new(ErrorKind::External, &*self.place, format!("cannot print: {error}")))
            }
            Ok(()) => Ok(()),
        }
    }
}

impl SinkConnector for PrintSink {
    fn write(&mut self, changes: &ChangeBatch) -> Result<(), ConnectorError> {
        self.text.clear();
        java_row(changes, &self.prefix, &mut self.text)
            .map_err(|error| ConnectorError::new(ErrorKind::Config, &*self.place, error.to_string()))?;
        self.with_output(|output| output.write_all(&self.text))
    }

    fn prepare(&mut self, _epoch: Epoch) -> Result<Committable, ConnectorError> {
        self.with_output(|output| output.flush())?;
        Ok(Committable(Bytes::new()))
    }
}
