//! Values in order of arrival: `FIRST_VALUE`, `LAST_VALUE` and `ARRAY_AGG`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use hashbrown::HashTable;
use highwater_state::{Cursor, KeyCodec, Slot, StateError, hash_bytes};

use super::{Rows, Slab};
use crate::JobError;
use crate::expressions::as_type;

/// NULL as [`KeyCodec`] writes it.
const NULL: &[u8] = &[0];

/// What of the values is the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// The first.
    First,
    /// The last.
    Last,
    /// All, as an array; NULL if there is none.
    All,
}

/// A slab for values in order; a row taken back takes the earliest equal value with it.
pub(super) fn make_sequence(
    pick: Pick,
    argument: &DataType,
    output: &DataType,
    retract: bool,
) -> Result<Box<dyn Slab>, StateError> {
    let codec = KeyCodec::new(vec![argument.clone()])?;
    let keeps = if retract { Pick::All } else { pick };
    Ok(Box::new(Sequence {
        pick,
        keeps,
        retract,
        codec,
        output: output.clone(),
        slots: Vec::new(),
        bytes: 0,
    }))
}

/// State: the number of values (u32), then each (u32 length, bytes as [`KeyCodec`] writes them).
struct Sequence {
    pick: Pick,
    /// Which values can still be asked for: without retraction not all of them.
    keeps: Pick,
    retract: bool,
    codec: KeyCodec,
    output: DataType,
    slots: Vec<Values>,
    bytes: usize,
}

#[derive(Default)]
struct Values {
    /// By number of arrival.
    values: BTreeMap<u64, Box<[u8]>>,
    next: u64,
    /// The numbers of equal values, ascending. Only kept when rows may go.
    places: HashTable<VecDeque<u64>>,
}

/// What a value costs beside its bytes.
const VALUE_BYTES: usize = 48;

impl Values {
    fn push(&mut self, value: &[u8], findable: bool) {
        let number = self.next;
        self.next += 1;
        if findable {
            let values = &self.values;
            let hash = hash_bytes(value);
            match self.places.find_mut(hash, |places| *values[&places[0]] == *value) {
                Some(places) => places.push_back(number),
                None => {
                    self.values.insert(number, value.into());
                    let values = &self.values;
                    self.places.insert_unique(hash, VecDeque::from([number]), |p| hash_bytes(&values[&p[0]]));
                    return;
                }
            }
        }
        self.values.insert(number, value.into());
    }

    /// Takes the earliest equal value away; false: there is none.
    fn remove(&mut self, value: &[u8]) -> bool {
        let values = &self.values;
        let Ok(mut found) = self.places.find_entry(hash_bytes(value), |places| *values[&places[0]] == *value)
        else {
            return false;
        };
        let number = found.get_mut().pop_front();
        if found.get().is_empty() {
            found.remove();
        }
        number.is_some_and(|number| self.values.remove(&number).is_some())
    }
}

impl Sequence {
    fn add(&mut self, slot: usize, value: &[u8]) {
        let slot = &mut self.slots[slot];
        match self.keeps {
            Pick::First if !slot.values.is_empty() => return,
            Pick::Last => {
                if let Some((_, old)) = slot.values.pop_first() {
                    self.bytes -= old.len() + VALUE_BYTES;
                }
            }
            Pick::First | Pick::All => {}
        }
        self.bytes += value.len() + VALUE_BYTES;
        slot.push(value, self.retract);
    }

    fn lists(&self, slots: &[Slot]) -> Result<ArrayRef, JobError> {
        let DataType::List(field) = &self.output else {
            return Err(JobError::Plan(format!("ARRAY_AGG as {} is no array", self.output)));
        };
        let of = |slot: &Slot| &self.slots[*slot as usize].values;
        let decoded = self.codec.decode(slots.iter().flat_map(|slot| of(slot).values().map(|v| &**v)));
        let elements = decoded.map_err(|e| JobError::Plan(e.to_string()))?.remove(0);
        let elements = as_type(elements, field.data_type(), "ARRAY_AGG")?;
        let total: usize = slots.iter().map(|slot| of(slot).len()).sum();
        if i32::try_from(total).is_err() {
            return Err(JobError::Plan("ARRAY_AGG gives more than 2147483647 values in a batch".to_owned()));
        }
        let offsets = OffsetBuffer::from_lengths(slots.iter().map(|slot| of(slot).len()));
        let nulls = NullBuffer::from_iter(slots.iter().map(|slot| !of(slot).is_empty()));
        let lists = ListArray::try_new(Arc::clone(field), offsets, elements, Some(nulls));
        lists.map(|lists| Arc::new(lists) as ArrayRef).map_err(|e| JobError::Plan(e.to_string()))
    }
}

impl Slab for Sequence {
    fn grow(&mut self, slots: usize) {
        self.slots.resize_with(slots, Values::default);
    }

    fn clear(&mut self, slot: usize) {
        let old = std::mem::take(&mut self.slots[slot]);
        self.bytes -= old.values.values().map(|value| value.len() + VALUE_BYTES).sum::<usize>();
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(column) = rows.argument else { return };
        let encoded = self.codec.encode(std::slice::from_ref(column), column.len(), None);
        let values = encoded.expect("the argument was cast to the codec's type");
        rows.each(|row, slot, weight| {
            let value = values.get(row);
            if weight > 0 {
                self.add(slot, value);
            } else if self.slots[slot].remove(value) {
                self.bytes -= value.len() + VALUE_BYTES;
            }
        });
    }

    fn merge(&mut self, into: usize, from: usize) {
        let values: Vec<Box<[u8]>> = self.slots[from].values.values().cloned().collect();
        values.iter().for_each(|value| self.add(into, value));
    }

    fn output(&self, slots: &[Slot]) -> Result<ArrayRef, JobError> {
        let pick = |slot: &Slot| {
            let values = &self.slots[*slot as usize].values;
            let found = match self.pick {
                Pick::First => values.first_key_value(),
                _ => values.last_key_value(),
            };
            found.map_or(NULL, |(_, value)| &**value)
        };
        if self.pick == Pick::All {
            return self.lists(slots);
        }
        let decoded = self.codec.decode(slots.iter().map(pick));
        as_type(decoded.map_err(|e| JobError::Plan(e.to_string()))?.remove(0), &self.output, "FIRST_VALUE")
    }

    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        let values = &self.slots[slot].values;
        out.extend_from_slice(&(values.len() as u32).to_le_bytes());
        for value in values.values() {
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(value);
        }
    }

    fn read(&mut self, slot: usize, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        self.clear(slot);
        for _ in 0..u32::from_le_bytes(cursor.array()?) {
            let value = cursor.counted()?;
            self.add(slot, value);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes + self.slots.capacity() * size_of::<Values>()
    }
}
