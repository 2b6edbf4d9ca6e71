//! `MIN` and `MAX`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use highwater_state::{Cursor, Slot, StateError};

use super::cell::{Cell, Numbers, Text};
use super::{Rows, Slab};
use crate::JobError;
use crate::expressions::as_type;

/// A slab for `MIN` (`least`) or `MAX`, and the type its argument must have.
pub(super) fn make_extreme(
    least: bool,
    argument: &DataType,
    output: &DataType,
    retract: bool,
) -> Result<(Box<dyn Slab>, DataType), String> {
    let works_in = match argument {
        DataType::Boolean => DataType::UInt8,
        DataType::Date32 | DataType::Time32(_) => DataType::Int32,
        DataType::Date64 | DataType::Time64(_) | DataType::Timestamp(..) | DataType::Duration(_) => {
            DataType::Int64
        }
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    };
    let form = Form { least, argument: argument.clone(), works_in: works_in.clone(), output: output.clone() };
    let slab = match &works_in {
        DataType::Int8 => make::<Numbers<Int8Type>>(form, retract),
        DataType::Int16 => make::<Numbers<Int16Type>>(form, retract),
        DataType::Int32 => make::<Numbers<Int32Type>>(form, retract),
        DataType::Int64 => make::<Numbers<Int64Type>>(form, retract),
        DataType::UInt8 => make::<Numbers<UInt8Type>>(form, retract),
        DataType::UInt16 => make::<Numbers<UInt16Type>>(form, retract),
        DataType::UInt32 => make::<Numbers<UInt32Type>>(form, retract),
        DataType::UInt64 => make::<Numbers<UInt64Type>>(form, retract),
        DataType::Float32 => make::<Numbers<Float32Type>>(form, retract),
        DataType::Float64 => make::<Numbers<Float64Type>>(form, retract),
        DataType::Decimal128(..) => make::<Numbers<Decimal128Type>>(form, retract),
        DataType::Binary => make::<Text>(form, retract),
        other => return Err(format!("MIN and MAX of {other} are not supported")),
    };
    Ok((slab, works_in))
}

fn make<C: Cell>(form: Form, retract: bool) -> Box<dyn Slab> {
    if retract {
        Box::new(Counted::<C> { form, values: Vec::new(), distinct: 0 })
    } else {
        Box::new(Extreme::<C> { form, best: Vec::new(), extra: 0 })
    }
}

/// Which extreme, and the types from the argument to the result.
struct Form {
    least: bool,
    argument: DataType,
    works_in: DataType,
    output: DataType,
}

impl Form {
    fn finish(&self, column: ArrayRef) -> Result<ArrayRef, JobError> {
        // Decimals are collected with a default precision: give them theirs first, their digits are the same.
        let column = match (&self.works_in, column.data_type()) {
            (DataType::Decimal128(..), DataType::Decimal128(..)) => {
                let data = column.to_data().into_builder().data_type(self.works_in.clone()).build();
                arrow::array::make_array(data.map_err(|e| JobError::Plan(e.to_string()))?)
            }
            _ => column,
        };
        as_type(as_type(column, &self.argument, "MIN/MAX")?, &self.output, "MIN/MAX")
    }
}

/// Over rows that only come. State: 0, or 1 and the value.
struct Extreme<C: Cell> {
    form: Form,
    best: Vec<Option<C::Value>>,
    extra: usize,
}

impl<C: Cell> Slab for Extreme<C> {
    fn grow(&mut self, slots: usize) {
        self.best.resize(slots, None);
    }

    fn clear(&mut self, slot: usize) {
        if let Some(value) = self.best[slot].take() {
            self.extra -= C::extra_bytes(&value);
        }
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(column) = rows.argument else { return };
        let view = C::view(column);
        let wanted = if self.form.least { Ordering::Less } else { Ordering::Greater };
        let (best, extra) = (&mut self.best[..], &mut self.extra);
        rows.each(|row, slot, _| {
            let best = &mut best[slot];
            let held = match best {
                Some(value) if C::compare(&view, row, value) != wanted => return,
                Some(value) => C::extra_bytes(value),
                None => 0,
            };
            let value = C::value(&view, row);
            *extra = *extra + C::extra_bytes(&value) - held;
            *best = Some(value);
        });
    }

    fn merge(&mut self, into: usize, from: usize) {
        let Some(value) = self.best[from].clone() else { return };
        let better = if self.form.least { Ordering::Less } else { Ordering::Greater };
        let held = match &self.best[into] {
            Some(best) if value.cmp(best) != better => return,
            Some(best) => C::extra_bytes(best),
            None => 0,
        };
        self.extra = self.extra + C::extra_bytes(&value) - held;
        self.best[into] = Some(value);
    }

    fn series(&mut self, rows: &Rows<'_>, ends: &[usize]) -> Result<ArrayRef, JobError> {
        let Some(column) = rows.argument else { return self.output(&[]) };
        let view = C::view(column);
        let wanted = if self.form.least { Ordering::Less } else { Ordering::Greater };
        let mut results = Vec::with_capacity(ends.len());
        let take = |this: &mut Self, row, slot: usize, _| {
            let best = &mut this.best[slot];
            let held = match best {
                Some(value) if C::compare(&view, row, value) != wanted => return,
                Some(value) => C::extra_bytes(value),
                None => 0,
            };
            let value = C::value(&view, row);
            this.extra = this.extra + C::extra_bytes(&value) - held;
            *best = Some(value);
        };
        rows.run(self, ends, take, |this, slot| results.push(this.best[slot].clone()));
        self.form.finish(C::column(results.iter().map(Option::as_ref)))
    }

    fn output(&self, slots: &[Slot]) -> Result<ArrayRef, JobError> {
        self.form.finish(C::column(slots.iter().map(|slot| self.best[*slot as usize].as_ref())))
    }

    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        out.push(u8::from(self.best[slot].is_some()));
        if let Some(value) = &self.best[slot] {
            C::put(value, out);
        }
    }

    fn read(&mut self, slot: usize, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        self.clear(slot);
        if cursor.take(1)?[0] != 0 {
            let value = C::take(cursor)?;
            self.extra += C::extra_bytes(&value);
            self.best[slot] = Some(value);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.best.capacity() * size_of::<Option<C::Value>>() + self.extra
    }
}

/// Over rows that also go: every value and how often it is there. State: the number of values (u32), then each
/// value and its count (i64).
struct Counted<C: Cell> {
    form: Form,
    values: Vec<BTreeMap<C::Value, i64>>,
    distinct: usize,
}

impl<C: Cell> Counted<C> {
    fn add(&mut self, value: C::Value, slot: usize, weight: i64) {
        let values = &mut self.values[slot];
        let before = values.len();
        let count = values.entry(value.clone()).or_insert(0);
        *count += weight;
        if *count == 0 {
            values.remove(&value);
        }
        self.distinct = self.distinct + values.len() - before;
    }

    /// The extreme. A count below 0 is a row taken back before it came: it is not there.
    fn pick(&self, slot: usize) -> Option<&C::Value> {
        let mut values = self.values[slot].iter();
        let found = match self.form.least {
            true => values.find(|(_, count)| **count > 0),
            false => values.rfind(|(_, count)| **count > 0),
        };
        found.map(|(value, _)| value)
    }
}

impl<C: Cell> Slab for Counted<C> {
    fn grow(&mut self, slots: usize) {
        self.values.resize_with(slots, BTreeMap::new);
    }

    fn clear(&mut self, slot: usize) {
        self.distinct -= self.values[slot].len();
        self.values[slot].clear();
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(column) = rows.argument else { return };
        let view = C::view(column);
        rows.each(|row, slot, weight| self.add(C::value(&view, row), slot, weight));
    }

    fn merge(&mut self, into: usize, from: usize) {
        let others = self.values[from].clone();
        let values = &mut self.values[into];
        let before = values.len();
        for (value, weight) in others {
            let count = values.entry(value.clone()).or_insert(0);
            *count += weight;
            if *count == 0 {
                values.remove(&value);
            }
        }
        self.distinct = self.distinct + values.len() - before;
    }

    fn output(&self, slots: &[Slot]) -> Result<ArrayRef, JobError> {
        self.form.finish(C::column(slots.iter().map(|slot| self.pick(*slot as usize))))
    }

    fn series(&mut self, rows: &Rows<'_>, ends: &[usize]) -> Result<ArrayRef, JobError> {
        let Some(column) = rows.argument else { return self.output(&[]) };
        let view = C::view(column);
        let mut results = Vec::with_capacity(ends.len());
        let take = |this: &mut Self, row, slot: usize, weight| this.add(C::value(&view, row), slot, weight);
        rows.run(self, ends, take, |this, slot| results.push(this.pick(slot).cloned()));
        self.form.finish(C::column(results.iter().map(Option::as_ref)))
    }

    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.values[slot].len() as u32).to_le_bytes());
        for (value, count) in &self.values[slot] {
            C::put(value, out);
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    fn read(&mut self, slot: usize, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        self.clear(slot);
        for _ in 0..u32::from_le_bytes(cursor.array()?) {
            let value = C::take(cursor)?;
            self.values[slot].insert(value, i64::from_le_bytes(cursor.array()?));
        }
        self.distinct += self.values[slot].len();
        Ok(())
    }

    fn bytes(&self) -> usize {
        // A B-tree entry with its share of the nodes.
        self.values.capacity() * size_of::<BTreeMap<C::Value, i64>>()
            + self.distinct * (size_of::<C::Value>() + 16)
    }
}
