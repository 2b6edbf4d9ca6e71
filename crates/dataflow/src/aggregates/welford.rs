//! The squared distances from the mean, from which variances and standard deviations are made.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;
use highwater_state::{Cursor, Slot, StateError};

use super::{Rows, Slab};
use crate::JobError;

/// Welford's online sum of squared distances from the mean, step by step as Flink computes it, so that also the
/// last bits agree. NULL over no rows, and where rows that never came were taken back.
///
/// State: the count (i64), the mean and the sum (f64 each).
#[derive(Default)]
pub(super) struct Welford {
    slots: Vec<Moments>,
}

#[derive(Clone, Copy, Default)]
struct Moments {
    count: i64,
    mean: f64,
    squares: f64,
}

#[expect(clippy::cast_precision_loss, reason = "Flink divides by the count as a double")]
impl Moments {
    fn add(&mut self, x: f64) {
        self.count += 1;
        if self.count > 0 {
            let from_old = x - self.mean;
            self.mean += from_old / self.count as f64;
            self.squares += from_old * (x - self.mean);
        }
    }

    /// Both together, as Chan et al. do it.
    fn with(self, other: Self) -> Self {
        if self.count <= 0 || other.count <= 0 {
            return if other.count > 0 { other } else { self };
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        Self {
            count: self.count + other.count,
            mean: self.mean + apart * b / (a + b),
            squares: self.squares + other.squares + apart * apart * a * b / (a + b),
        }
    }

    fn take_back(&mut self, x: f64) {
        self.count -= 1;
        if self.count > 0 {
            let from_old = x - self.mean;
            self.mean -= from_old / self.count as f64;
            self.squares -= (x - self.mean) * from_old;
        } else if self.count == 0 {
            *self = Self::default();
        }
    }
}

impl Slab for Welford {
    fn grow(&mut self, slots: usize) {
        self.slots.resize(slots, Moments::default());
    }

    fn clear(&mut self, slot: usize) {
        self.slots[slot] = Moments::default();
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(column) = rows.argument else { return };
        let values = column.as_primitive::<Float64Type>().values();
        let slots = &mut self.slots[..];
        rows.each(|row, slot, weight| match weight {
            0.. => slots[slot].add(values[row]),
            _ => slots[slot].take_back(values[row]),
        });
    }

    fn merge(&mut self, into: usize, from: usize) {
        let (a, b) = (self.slots[into], self.slots[from]);
        self.slots[into] = a.with(b);
    }

    fn output(&self, slots: &[Slot]) -> Result<ArrayRef, JobError> {
        let values = slots.iter().map(|slot| {
            let Moments { count, squares, .. } = self.slots[*slot as usize];
            (count > 0 && squares.partial_cmp(&0.0) != Some(std::cmp::Ordering::Less)).then_some(squares)
        });
        Ok(Arc::new(values.collect::<Float64Array>()))
    }

    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        let Moments { count, mean, squares } = self.slots[slot];
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&mean.to_le_bytes());
        out.extend_from_slice(&squares.to_le_bytes());
    }

    fn read(&mut self, slot: usize, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        self.slots[slot] = Moments {
            count: i64::from_le_bytes(cursor.array()?),
            mean: f64::from_le_bytes(cursor.array()?),
            squares: f64::from_le_bytes(cursor.array()?),
        };
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Moments>()
    }
}
