//! Rows as the program shows them: changelog lines and the rows of REST answers.
//!
//! ```text
//! {"op":"+U","row":{"route":"7","n":3,"speed":12.5,"at":"2026-01-01 00:05:00.000"}}
//! ```
//! Numbers as numbers, DECIMAL as a string, TIMESTAMP `yyyy-MM-dd HH:mm:ss.SSS`, TIMESTAMP_LTZ
//! `yyyy-MM-ddTHH:mm:ss.SSSZ` (more digits only if not zero), NaN and Infinity as strings, BYTES in
//! lower-case hexadecimal.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use highwater_stream::ChangeBatch;

use crate::FormatError;
use crate::json::{JsonStyle, check_columns, keys, write_row};
use crate::reader::readers;

/// Writes rows in our own JSON.
pub struct ValuesEncoder {
    keys: Vec<Vec<u8>>,
}

impl ValuesEncoder {
    /// An encoder of rows of `schema`.
    ///
    /// # Errors
    /// If a column's type cannot be written.
    pub fn new(schema: &SchemaRef) -> Result<Self, FormatError> {
        check_columns(schema)?;
        Ok(Self { keys: keys(schema) })
    }

    /// Appends one line per change: `{"op":"+I","row":{...}}`.
    ///
    /// # Errors
    /// If the batch is not of the schema given at the start.
    pub fn changes(&self, changes: &ChangeBatch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let readers = readers(&changes.rows)?;
        for row in 0..changes.len() {
            out.extend_from_slice(b"{\"op\":\"");
            out.extend_from_slice(changes.kind(row).symbol().as_bytes());
            out.extend_from_slice(b"\",\"row\":");
            write_row(&self.keys, &readers, row, JsonStyle::Values, false, out);
            out.extend_from_slice(b"}\n");
        }
        Ok(())
    }

    /// Appends each row as an object and calls `ended` behind each.
    ///
    /// # Errors
    /// If the batch is not of the schema given at the start.
    pub fn rows(
        &self,
        rows: &RecordBatch,
        out: &mut Vec<u8>,
        mut ended: impl FnMut(usize, &mut Vec<u8>),
    ) -> Result<(), FormatError> {
        let readers = readers(rows)?;
        for row in 0..rows.num_rows() {
            write_row(&self.keys, &readers, row, JsonStyle::Values, false, out);
            ended(row, out);
        }
        Ok(())
    }
}
