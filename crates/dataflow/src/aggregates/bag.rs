//! `COLLECT`: a multiset.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use highwater_state::{Cursor, KeyCodec, Slot, StateError};

use super::{Rows, Slab};
use crate::JobError;
use crate::expressions::as_type;

/// Each value and how often it is there; the result is a list in which equal values stand together. NULL over
/// no values at all.
///
/// State: the number of values (u32), then each (u32 length, bytes as [`KeyCodec`] writes them) and its count
/// (i64).
pub(super) struct Bag {
    codec: KeyCodec,
    output: DataType,
    slots: Vec<BTreeMap<Box<[u8]>, i64>>,
    bytes: usize,
}

/// What a value costs beside its bytes.
const VALUE_BYTES: usize = 40;

impl Bag {
    pub(super) fn new(argument: &DataType, output: &DataType) -> Result<Self, StateError> {
        let codec = KeyCodec::new(vec![argument.clone()])?;
        Ok(Self { codec, output: output.clone(), slots: Vec::new(), bytes: 0 })
    }

    fn change(&mut self, slot: usize, value: &[u8], weight: i64) {
        let values = &mut self.slots[slot];
        let Some(count) = values.get_mut(value) else {
            values.insert(value.into(), weight);
            self.bytes += value.len() + VALUE_BYTES;
            return;
        };
        *count += weight;
        if *count == 0 {
            values.remove(value);
            self.bytes -= value.len() + VALUE_BYTES;
        }
    }
}

impl Slab for Bag {
    fn grow(&mut self, slots: usize) {
        self.slots.resize_with(slots, BTreeMap::new);
    }

    fn clear(&mut self, slot: usize) {
        let old = std::mem::take(&mut self.slots[slot]);
        self.bytes -= old.keys().map(|value| value.len() + VALUE_BYTES).sum::<usize>();
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(column) = rows.argument else { return };
        let encoded = self.codec.encode(std::slice::from_ref(column), column.len(), None);
        let values = encoded.expect("the argument was cast to the codec's type");
        rows.each(|row, slot, weight| self.change(slot, values.get(row), weight));
    }

    fn merge(&mut self, into: usize, from: usize) {
        for (value, count) in self.slots[from].clone() {
            self.change(into, &value, count);
        }
    }

    fn output(&self, slots: &[Slot]) -> Result<ArrayRef, JobError> {
        let DataType::List(field) = &self.output else {
            return Err(JobError::Plan(format!("COLLECT as {} is no list", self.output)));
        };
        let plan = |message: String| JobError::Plan(format!("COLLECT: {message}"));
        // A count below 0 is a row taken back before it came: it is not there.
        let times = |count: &i64| usize::try_from(*count).unwrap_or(0);
        let of = |slot: &Slot| &self.slots[*slot as usize];
        let lengths: Vec<usize> = slots.iter().map(|slot| of(slot).values().map(times).sum()).collect();
        if i32::try_from(lengths.iter().sum::<usize>()).is_err() {
            return Err(plan("more than 2147483647 values in a batch".to_owned()));
        }
        let repeated = |(value, count)| std::iter::repeat_n::<&[u8]>(value, times(count));
        let values = slots
            .iter()
            .flat_map(|slot| of(slot).iter().map(|(value, count)| (&**value, count)))
            .flat_map(repeated);
        let elements = self.codec.decode(values).map_err(|e| plan(e.to_string()))?.remove(0);
        let elements = as_type(elements, field.data_type(), "COLLECT")?;
        let nulls = NullBuffer::from_iter(lengths.iter().map(|length| *length > 0));
        let lists =
            ListArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths(lengths), elements, Some(nulls));
        lists.map(|lists| Arc::new(lists) as ArrayRef).map_err(|e| plan(e.to_string()))
    }

    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.slots[slot].len() as u32).to_le_bytes());
        for (value, count) in &self.slots[slot] {
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(value);
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    fn read(&mut self, slot: usize, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        self.clear(slot);
        for _ in 0..u32::from_le_bytes(cursor.array()?) {
            let value = cursor.counted()?;
            self.change(slot, value, i64::from_le_bytes(cursor.array()?));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes + self.slots.capacity() * size_of::<BTreeMap<Box<[u8]>, i64>>()
    }
}
