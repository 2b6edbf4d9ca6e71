//! `COUNT`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;
use highwater_state::{Cursor, Slot, StateError};

use super::{Rows, Slab};
use crate::JobError;
use crate::expressions::as_type;

/// State: the count, i64.
pub(super) struct Count {
    counts: Vec<i64>,
    output: DataType,
}

impl Count {
    pub(super) fn new(output: &DataType) -> Self {
        Self { counts: Vec::new(), output: output.clone() }
    }
}

impl Slab for Count {
    fn grow(&mut self, slots: usize) {
        self.counts.resize(slots, 0);
    }

    fn clear(&mut self, slot: usize) {
        self.counts[slot] = 0;
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let counts = &mut self.counts[..];
        rows.each(|_, slot, weight| counts[slot] += weight);
    }

    fn merge(&mut self, into: usize, from: usize) {
        self.counts[into] += self.counts[from];
    }

    fn output(&self, slots: &[Slot]) -> Result<ArrayRef, JobError> {
        let counts = Int64Array::from_iter_values(slots.iter().map(|slot| self.counts[*slot as usize]));
        as_type(Arc::new(counts), &self.output, "COUNT")
    }

    fn series(&mut self, rows: &Rows<'_>, ends: &[usize]) -> Result<ArrayRef, JobError> {
        let mut results = Vec::with_capacity(ends.len());
        let take = |counts: &mut Vec<i64>, _, slot: usize, weight| counts[slot] += weight;
        rows.run(&mut self.counts, ends, take, |counts, slot| results.push(counts[slot]));
        as_type(Arc::new(Int64Array::from(results)), &self.output, "COUNT")
    }

    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.counts[slot].to_le_bytes());
    }

    fn read(&mut self, slot: usize, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        self.counts[slot] = i64::from_le_bytes(cursor.array()?);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * 8
    }
}
