//! Rows to CSV.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::CsvOptions;
use crate::FormatError;
use crate::json::check_columns;
use crate::pretty::{TextStyle, write_text};
use crate::reader::{Reader, readers};

/// Longer text is always quoted, as by Jackson.
const UNQUOTED_BYTES_MAX: usize = 24;

/// Writes rows as Flink's CSV format does. Line ends are the caller's.
pub struct CsvEncoder {
    options: CsvOptions,
}

impl CsvEncoder {
    /// An encoder of rows of `schema`.
    ///
    /// # Errors
    /// If CSV cannot carry a column's type.
    pub fn new(schema: &SchemaRef, options: &CsvOptions) -> Result<Self, FormatError> {
        check_columns(schema)?;
        if let Some(field) = schema.fields().iter().find(|field| field.data_type().is_nested()) {
            return Err(FormatError(format!(
                "column {}: CSV cannot carry {}",
                field.name(),
                field.data_type()
            )));
        }
        Ok(Self { options: options.clone() })
    }

    /// Appends each row as a line without its end and calls `ended` behind each.
    ///
    /// # Errors
    /// If the batch is not of the schema given at the start.
    pub fn encode(
        &self,
        rows: &RecordBatch,
        out: &mut Vec<u8>,
        mut ended: impl FnMut(usize, &mut Vec<u8>),
    ) -> Result<(), FormatError> {
        let readers = readers(rows)?;
        let mut text = Vec::new();
        for row in 0..rows.num_rows() {
            for (index, reader) in readers.iter().enumerate() {
                if index > 0 {
                    out.push(self.options.delimiter);
                }
                text.clear();
                if reader.is_null(row) {
                    text.extend_from_slice(
                        self.options.null_literal.as_deref().unwrap_or_default().as_bytes(),
                    );
                } else {
                    write_text(reader, row, TextStyle::Csv, &mut text);
                }
                let numeric =
                    matches!(reader, Reader::Int(_) | Reader::F32(_) | Reader::F64(_) | Reader::Decimal(..));
                self.write_field(&text, numeric, out);
            }
            ended(row, out);
        }
        Ok(())
    }

    fn write_field(&self, text: &[u8], numeric: bool, out: &mut Vec<u8>) {
        let quote = match self.options.quote {
            Some(quote) if !numeric && self.needs_quotes(text, quote) => quote,
            _ => return out.extend_from_slice(text),
        };
        out.push(quote);
        for byte in text {
            if *byte == quote {
                out.push(self.options.escape.unwrap_or(quote));
            }
            out.push(*byte);
        }
        out.push(quote);
    }

    /// Jackson quotes whatever holds a character up to the greatest special one.
    fn needs_quotes(&self, text: &[u8], quote: u8) -> bool {
        let greatest = self.options.delimiter.max(quote).max(b'\r').max(self.options.escape.unwrap_or(0));
        text.len() > UNQUOTED_BYTES_MAX || text.iter().any(|byte| *byte <= greatest)
    }
}
