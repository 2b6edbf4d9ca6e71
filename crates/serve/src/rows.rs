//! Arrow rows as JSON text.

use arrow::array::RecordBatch;
use highwater_formats::ValuesEncoder;
use highwater_stream::ChangeBatch;

use crate::problem::Problem;

/// `[{"col":value,...},...]`.
pub(crate) fn rows_json(rows: &RecordBatch) -> Result<String, Problem> {
    let encoder = ValuesEncoder::new(&rows.schema()).map_err(failed)?;
    let mut out = vec![b'['];
    let last = rows.num_rows().saturating_sub(1);
    let comma = |row: usize, out: &mut Vec<u8>| {
        if row < last {
            out.push(b',');
        }
    };
    encoder.rows(rows, &mut out, comma).map_err(failed)?;
    out.push(b']');
    text(out)
}

/// `[{"op":"+I","row":{...}},...]`.
pub(crate) fn changes_json(changes: &ChangeBatch) -> Result<String, Problem> {
    let encoder = ValuesEncoder::new(&changes.rows.schema()).map_err(failed)?;
    let mut out = vec![b'['];
    encoder.changes(changes, &mut out).map_err(failed)?;
    // Line ends occur between changes only: within strings they are escaped.
    if out.last() == Some(&b'\n') {
        out.pop();
    }
    out.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b',');
    out.push(b']');
    text(out)
}

fn text(json: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(json).map_err(|error| Problem::internal(&error.to_string()))
}

fn failed(error: impl std::fmt::Display) -> Problem {
    Problem::internal(&error.to_string())
}
