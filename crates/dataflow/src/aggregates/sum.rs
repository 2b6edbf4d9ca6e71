//! `SUM` and `AVG`.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowNativeTypeOp, AsArray, Decimal128Array, PrimitiveArray, new_empty_array};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use highwater_state::{Cursor, Slot, StateError};

use super::cell::Number;
use super::{Rows, Slab};
use crate::JobError;
use crate::expressions::as_type;

/// Digits of the widest decimal.
const DECIMAL_DIGITS_MAX: u8 = 38;

/// A slab for `SUM`, and the type its argument must have: integers add and wrap around in the result's type.
pub(super) fn make_sum(argument: &DataType, output: &DataType) -> Result<(Box<dyn Slab>, DataType), String> {
    let slab: Box<dyn Slab> = match output {
        DataType::Int8 => Box::new(Sum::<Int8Type>::new(Kind::Total)),
        DataType::Int16 => Box::new(Sum::<Int16Type>::new(Kind::Total)),
        DataType::Int32 => Box::new(Sum::<Int32Type>::new(Kind::Total)),
        DataType::Int64 => Box::new(Sum::<Int64Type>::new(Kind::Total)),
        DataType::UInt8 => Box::new(Sum::<UInt8Type>::new(Kind::Total)),
        DataType::UInt16 => Box::new(Sum::<UInt16Type>::new(Kind::Total)),
        DataType::UInt32 => Box::new(Sum::<UInt32Type>::new(Kind::Total)),
        DataType::UInt64 => Box::new(Sum::<UInt64Type>::new(Kind::Total)),
        DataType::Float32 => Box::new(Sum::<Float32Type>::new(Kind::Total)),
        DataType::Float64 => Box::new(Sum::<Float64Type>::new(Kind::Total)),
        DataType::Decimal128(precision, scale) => {
            let DataType::Decimal128(_, argument_scale) = argument else {
                return Err(format!("SUM of {argument} as {output} is not supported"));
            };
            let sum = DecimalSum::new(*argument_scale, *precision, *scale, false);
            return Ok((Box::new(sum), argument.clone()));
        }
        other => return Err(format!("SUM as {other} is not supported")),
    };
    Ok((slab, output.clone()))
}

/// A slab for `AVG`, and the type its argument must have: integers add in 64 bits, floats in double precision.
pub(super) fn make_avg(argument: &DataType, output: &DataType) -> Result<(Box<dyn Slab>, DataType), String> {
    match argument {
        DataType::Decimal128(_, argument_scale) => match output {
            DataType::Decimal128(precision, scale) => {
                let average = DecimalSum::new(*argument_scale, *precision, *scale, true);
                Ok((Box::new(average), argument.clone()))
            }
            other => Err(format!("AVG of {argument} as {other} is not supported")),
        },
        DataType::Float32 | DataType::Float64 => {
            let average = Sum::<Float64Type>::new(Kind::Average(output.clone()));
            Ok((Box::new(average), DataType::Float64))
        }
        _ if argument.is_integer() => {
            let average = Sum::<Int64Type>::new(Kind::Average(output.clone()));
            Ok((Box::new(average), DataType::Int64))
        }
        other => Err(format!("AVG of {other} is not supported")),
    }
}

/// What a sum is for.
enum Kind {
    Total,
    /// The sum over the count, in this type; integers truncate toward zero.
    Average(DataType),
}

/// Numbers of one type. NULL over no rows. State: the sum, the count (i64).
struct Sum<T: ArrowPrimitiveType> {
    sums: Vec<T::Native>,
    counts: Vec<i64>,
    result: Kind,
}

impl<T: ArrowPrimitiveType> Sum<T> {
    fn new(result: Kind) -> Self {
        Self { sums: Vec::new(), counts: Vec::new(), result }
    }
}

impl<T: ArrowPrimitiveType> Sum<T>
where
    T::Native: FromCount,
{
    fn result(&self, slot: usize) -> Option<T::Native> {
        let (sum, count) = (self.sums[slot], self.counts[slot]);
        match self.result {
            _ if count == 0 => None,
            Kind::Total => Some(sum),
            Kind::Average(_) => Some(sum.div_wrapping(T::Native::from_count(count))),
        }
    }

    fn finish(&self, results: PrimitiveArray<T>) -> Result<ArrayRef, JobError> {
        match &self.result {
            Kind::Total => Ok(Arc::new(results)),
            Kind::Average(output) => as_type(Arc::new(results), output, "AVG"),
        }
    }
}

impl<T: ArrowPrimitiveType + Send> Slab for Sum<T>
where
    T::Native: Number + FromCount,
{
    fn grow(&mut self, slots: usize) {
        self.sums.resize(slots, T::Native::ZERO);
        self.counts.resize(slots, 0);
    }

    fn clear(&mut self, slot: usize) {
        self.sums[slot] = T::Native::ZERO;
        self.counts[slot] = 0;
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(column) = rows.argument else { return };
        let values: &[T::Native] = column.as_primitive::<T>().values();
        let (sums, counts) = (&mut self.sums[..], &mut self.counts[..]);
        rows.each(|row, slot, weight| {
            let sum = &mut sums[slot];
            *sum = if weight > 0 { sum.add_wrapping(values[row]) } else { sum.sub_wrapping(values[row]) };
            counts[slot] += weight;
        });
    }

    fn merge(&mut self, into: usize, from: usize) {
        self.sums[into] = self.sums[into].add_wrapping(self.sums[from]);
        self.counts[into] += self.counts[from];
    }

    fn output(&self, slots: &[Slot]) -> Result<ArrayRef, JobError> {
        self.finish(slots.iter().map(|slot| self.result(*slot as usize)).collect())
    }

    fn series(&mut self, rows: &Rows<'_>, ends: &[usize]) -> Result<ArrayRef, JobError> {
        let Some(column) = rows.argument else { return Ok(new_empty_array(&T::DATA_TYPE)) };
        let values: &[T::Native] = column.as_primitive::<T>().values();
        let mut results = Vec::with_capacity(ends.len());
        let take = |this: &mut Self, row: usize, slot: usize, weight| {
            let sum = &mut this.sums[slot];
            *sum = if weight > 0 { sum.add_wrapping(values[row]) } else { sum.sub_wrapping(values[row]) };
            this.counts[slot] += weight;
        };
        rows.run(self, ends, take, |this, slot| results.push(this.result(slot)));
        self.finish(results.into_iter().collect())
    }

    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        self.sums[slot].put(out);
        self.counts[slot].put(out);
    }

    fn read(&mut self, slot: usize, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        self.sums[slot] = T::Native::take(cursor)?;
        self.counts[slot] = i64::take(cursor)?;
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>() + self.counts.capacity() * 8
    }
}

/// Decimals. The sum is exact beyond 38 digits: `low + high * 2^128`, so that it is NULL exactly while it does
/// not fit. State: low (i128), high (i64), the count (i64).
struct DecimalSum {
    low: Vec<i128>,
    high: Vec<i64>,
    counts: Vec<i64>,
    argument_scale: i8,
    precision: u8,
    scale: i8,
    average: bool,
}

impl DecimalSum {
    fn new(argument_scale: i8, precision: u8, scale: i8, average: bool) -> Self {
        let (low, high, counts) = (Vec::new(), Vec::new(), Vec::new());
        Self { low, high, counts, argument_scale, precision, scale, average }
    }

    fn result(&self, slot: usize) -> Option<i128> {
        let (sum, count) = (self.low[slot], self.counts[slot]);
        if count == 0 || self.high[slot] != 0 {
            return None;
        }
        let up = u32::try_from(self.scale - self.argument_scale).ok()?;
        let scaled = sum.checked_mul(10_i128.checked_pow(up)?)?;
        let value = if self.average { divide_half_up(scaled, i128::from(count)) } else { scaled };
        let limit = 10_u128.pow(u32::from(self.precision.min(DECIMAL_DIGITS_MAX)));
        (value.unsigned_abs() < limit).then_some(value)
    }
}

/// Rounds half away from zero, as Java's `RoundingMode.HALF_UP`.
fn divide_half_up(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    let up = rest.unsigned_abs() * 2 >= by.unsigned_abs();
    if up { quotient + value.signum() * by.signum() } else { quotient }
}

impl Slab for DecimalSum {
    fn grow(&mut self, slots: usize) {
        self.low.resize(slots, 0);
        self.high.resize(slots, 0);
        self.counts.resize(slots, 0);
    }

    fn clear(&mut self, slot: usize) {
        (self.low[slot], self.high[slot], self.counts[slot]) = (0, 0, 0);
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(column) = rows.argument else { return };
        let values: &[i128] = column.as_primitive::<Decimal128Type>().values();
        rows.each(|row, slot, weight| {
            let add = if weight > 0 { values[row] } else { values[row].wrapping_neg() };
            let (sum, overflowed) = self.low[slot].overflowing_add(add);
            self.low[slot] = sum;
            if overflowed {
                self.high[slot] += if add > 0 { 1 } else { -1 };
            }
            self.counts[slot] += weight;
        });
    }

    fn merge(&mut self, into: usize, from: usize) {
        let (add, high) = (self.low[from], self.high[from]);
        let (sum, overflowed) = self.low[into].overflowing_add(add);
        self.low[into] = sum;
        self.high[into] += high;
        if overflowed {
            self.high[into] += if add > 0 { 1 } else { -1 };
        }
        self.counts[into] += self.counts[from];
    }

    fn output(&self, slots: &[Slot]) -> Result<ArrayRef, JobError> {
        let values: Decimal128Array = slots.iter().map(|slot| self.result(*slot as usize)).collect();
        let values = values.with_precision_and_scale(self.precision, self.scale);
        Ok(Arc::new(values.map_err(|e| JobError::Plan(e.to_string()))?))
    }

    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        self.low[slot].put(out);
        self.high[slot].put(out);
        self.counts[slot].put(out);
    }

    fn read(&mut self, slot: usize, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        self.low[slot] = i128::take(cursor)?;
        self.high[slot] = i64::take(cursor)?;
        self.counts[slot] = i64::take(cursor)?;
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.low.capacity() * 16 + self.high.capacity() * 8 + self.counts.capacity() * 8
    }
}

/// Numbers a count can be turned into, to divide by it. Only averages do: i64 and f64.
pub(super) trait FromCount {
    fn from_count(count: i64) -> Self;
}

macro_rules! from_count {
    ($($native:ty),*) => {$(
        impl FromCount for $native {
            fn from_count(count: i64) -> Self {
                count as Self
            }
        }
    )*};
}

from_count!(i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);
