//! `DISTINCT`: each value of the argument counts once.

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use hashbrown::HashTable;
use highwater_state::{Cursor, KeyCodec, Slot, StateError, hash_bytes};

use super::{Rows, Slab};
use crate::JobError;

/// Lets through to `inner` only rows by which a value appears or disappears.
///
/// State: the inner state (u32 length, bytes), the number of values (u32), then each value (u32 length, bytes as
/// [`KeyCodec`] writes them) and how often it is there (i64).
pub(super) struct Distinct {
    inner: Box<dyn Slab>,
    codec: KeyCodec,
    values: Vec<HashTable<(Box<[u8]>, i64)>>,
    value_bytes: usize,
    value_count: usize,
}

impl Distinct {
    pub(super) fn new(inner: Box<dyn Slab>, argument: &DataType) -> Result<Self, StateError> {
        let codec = KeyCodec::new(vec![argument.clone()])?;
        Ok(Self { inner, codec, values: Vec::new(), value_bytes: 0, value_count: 0 })
    }

    /// Changes a value's count; +1 if the value appeared, -1 if it disappeared, else 0.
    fn change(&mut self, slot: usize, value: &[u8], weight: i64) -> i8 {
        let values = &mut self.values[slot];
        let hash = hash_bytes(value);
        match values.find_entry(hash, |(known, _)| **known == *value) {
            Ok(mut found) => {
                let count = &mut found.get_mut().1;
                let before = *count;
                *count += weight;
                let after = *count;
                if after == 0 {
                    found.remove();
                    self.value_bytes -= value.len();
                    self.value_count -= 1;
                }
                i8::from(after > 0) - i8::from(before > 0)
            }
            Err(_) => {
                values.insert_unique(hash, (value.into(), weight), |(known, _)| hash_bytes(known));
                self.value_bytes += value.len();
                self.value_count += 1;
                i8::from(weight > 0)
            }
        }
    }
}

impl Slab for Distinct {
    fn grow(&mut self, slots: usize) {
        self.values.resize_with(slots, HashTable::new);
        self.inner.grow(slots);
    }

    fn clear(&mut self, slot: usize) {
        self.value_bytes -= self.values[slot].iter().map(|(value, _)| value.len()).sum::<usize>();
        self.value_count -= self.values[slot].len();
        self.values[slot] = HashTable::new();
        self.inner.clear(slot);
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(column) = rows.argument else { return };
        let count = rows.slots.len();
        let encoded = self.codec.encode(std::slice::from_ref(column), count, None);
        let keys = encoded.expect("the argument was cast to the codec's type");
        let mut weights = vec![0_i8; count];
        rows.each(|row, slot, weight| weights[row] = self.change(slot, keys.get(row), weight));
        let counted = BooleanBuffer::from_iter(weights.iter().map(|weight| *weight != 0));
        let Rows { slots, argument, .. } = *rows;
        self.inner.update(&Rows { slots, argument, counted: Some(&counted), weights: Some(&weights) });
    }

    fn merge(&mut self, into: usize, from: usize) {
        let values = std::mem::take(&mut self.values[from]);
        let (mut changed, mut weights) = (Vec::new(), Vec::new());
        for (value, count) in &values {
            let weight = self.change(into, value, *count);
            if weight != 0 {
                changed.push(&**value);
                weights.push(weight);
            }
        }
        if !changed.is_empty() {
            let columns = self.codec.decode(changed.into_iter());
            let column = columns.expect("this codec wrote the values").remove(0);
            let slots = vec![into as Slot; weights.len()];
            let (argument, weights) = (Some(&column), Some(&weights[..]));
            self.inner.update(&Rows { slots: &slots, argument, counted: None, weights });
        }
        self.values[from] = values;
    }

    fn output(&self, slots: &[Slot]) -> Result<ArrayRef, JobError> {
        self.inner.output(slots)
    }

    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        let mut inner = Vec::new();
        self.inner.write(slot, &mut inner);
        out.extend_from_slice(&(inner.len() as u32).to_le_bytes());
        out.extend_from_slice(&inner);
        out.extend_from_slice(&(self.values[slot].len() as u32).to_le_bytes());
        for (value, count) in &self.values[slot] {
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(value);
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    fn read(&mut self, slot: usize, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        self.clear(slot);
        self.inner.read(slot, &mut Cursor::new(cursor.counted()?))?;
        for _ in 0..u32::from_le_bytes(cursor.array()?) {
            let value = cursor.counted()?;
            self.change(slot, value, i64::from_le_bytes(cursor.array()?));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        // Beside its bytes a value has a box, a count and its share of the table.
        self.inner.bytes() + self.value_bytes + self.value_count * 32 + self.values.capacity() * 32
    }
}
