//! Rows that change a result.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;

use crate::EventTime;

/// What a row does to a result. The four kinds and their order are Flink's `RowKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RowKind {
    /// `+I`: a row that was not there.
    Insert = 0,
    /// `-U`: the old version of a row that changes; its `+U` follows.
    UpdateBefore = 1,
    /// `+U`: the new version of a row that changed.
    UpdateAfter = 2,
    /// `-D`: a row that goes.
    Delete = 3,
}

impl RowKind {
    /// `+I`, `-U`, `+U` or `-D`.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        }
    }

    /// The kind written as `symbol`.
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        match symbol {
            "+I" => Some(Self::Insert),
            "-U" => Some(Self::UpdateBefore),
            "+U" => Some(Self::UpdateAfter),
            "-D" => Some(Self::Delete),
            _ => None,
        }
    }

    /// The kind numbered `code` on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Insert),
            1 => Some(Self::UpdateBefore),
            2 => Some(Self::UpdateAfter),
            3 => Some(Self::Delete),
            _ => None,
        }
    }

    /// +1 for a row that comes (`+I`, `+U`), -1 for one that goes (`-U`, `-D`).
    pub fn weight(self) -> i64 {
        match self {
            Self::Insert | Self::UpdateAfter => 1,
            Self::UpdateBefore | Self::Delete => -1,
        }
    }
}

/// Rows, in order, with what each does and what time it is before each.
///
/// `kinds` absent: all rows are `+I`. `watermarks` absent: the watermark does not move within
/// the batch; else `watermarks[i]` is the watermark before row `i`, never decreasing, in ms
/// ([`EventTime`]). Both, if present, have one entry per row.
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    /// The rows.
    pub rows: RecordBatch,
    /// What each row does.
    pub kinds: Option<Arc<[RowKind]>>,
    /// The watermark before each row.
    pub watermarks: Option<ScalarBuffer<EventTime>>,
}

impl ChangeBatch {
    /// Rows that are all `+I`, without time.
    pub fn inserts(rows: RecordBatch) -> Self {
        Self { rows, kinds: None, watermarks: None }
    }

    /// Rows with their kinds, without time.
    ///
    /// # Panics
    /// If `kinds` has not one entry per row.
    pub fn with_kinds(rows: RecordBatch, kinds: Vec<RowKind>) -> Self {
        assert_eq!(rows.num_rows(), kinds.len(), "one row kind per row");
        let all_inserts = kinds.iter().all(|kind| *kind == RowKind::Insert);
        Self { rows, kinds: (!all_inserts).then(|| kinds.into()), watermarks: None }
    }

    /// The same rows with the watermark before each.
    ///
    /// # Panics
    /// If `watermarks` has not one entry per row.
    pub fn with_watermarks(self, watermarks: ScalarBuffer<EventTime>) -> Self {
        assert_eq!(self.rows.num_rows(), watermarks.len(), "one watermark per row");
        Self { watermarks: Some(watermarks), ..self }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The kind of row `row`.
    pub fn kind(&self, row: usize) -> RowKind {
        self.kinds.as_ref().map_or(RowKind::Insert, |kinds| kinds[row])
    }

    /// `len` rows from `start`, without copying the columns.
    pub fn slice(&self, start: usize, len: usize) -> Self {
        Self {
            rows: self.rows.slice(start, len),
            kinds: self.kinds.as_ref().map(|kinds| kinds[start..start + len].into()),
            watermarks: self.watermarks.as_ref().map(|marks| marks.slice(start, len)),
        }
    }

    /// Bytes held by the columns, shared buffers counted in full.
    pub fn memory_bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.kinds.as_ref().map_or(0, |kinds| kinds.len())
    }
}
