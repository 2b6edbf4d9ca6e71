//! Rows, arrays and maps as bytes.

use std::slice;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;

use super::{EncodedKeys, KeyCodec, corrupt, cut, read_column};
use crate::StateError;

/// What a nested type is made of. None: it is not nested.
pub(super) fn parts(data_type: &DataType) -> Option<&[FieldRef]> {
    match data_type {
        DataType::Struct(fields) => Some(fields),
        DataType::List(item) | DataType::Map(item, _) => Some(slice::from_ref(item)),
        _ => None,
    }
}

/// Each value of the column: whether it is there, and its bytes.
pub(super) fn encode(column: &ArrayRef) -> Result<EncodedKeys, StateError> {
    let values = |values: &ArrayRef| {
        let codec = KeyCodec::new(vec![values.data_type().clone()])?;
        codec.encode(slice::from_ref(values), values.len(), None)
    };
    let mut encoded = EncodedKeys::default();
    match column.data_type() {
        DataType::Struct(_) => {
            let fields = column.as_struct().columns().iter().map(values).collect::<Result<Vec<_>, _>>()?;
            for row in 0..column.len() {
                encoded.bytes.push(u8::from(column.is_valid(row)));
                if column.is_valid(row) {
                    fields.iter().for_each(|field| encoded.bytes.extend_from_slice(field.get(row)));
                }
                encoded.ends.push(encoded.bytes.len());
            }
        }
        DataType::List(_) | DataType::Map(..) => {
            let (offsets, items): (&[i32], ArrayRef) = match column.data_type() {
                DataType::Map(..) => {
                    let maps = column.as_map();
                    (maps.value_offsets(), Arc::new(maps.entries().clone()))
                }
                _ => {
                    let lists = column.as_list::<i32>();
                    (lists.value_offsets(), Arc::clone(lists.values()))
                }
            };
            // A slice of a column still holds the items of all.
            let first = offsets.first().copied().unwrap_or(0) as usize;
            let last = offsets.last().copied().unwrap_or(0) as usize;
            let items = values(&items.slice(first, last - first))?;
            for row in 0..column.len() {
                encoded.bytes.push(u8::from(column.is_valid(row)));
                if column.is_valid(row) {
                    let own = offsets[row] as usize - first..offsets[row + 1] as usize - first;
                    encoded.bytes.extend_from_slice(&(own.len() as u32).to_le_bytes());
                    for item in own {
                        let item = items.get(item);
                        encoded.bytes.extend_from_slice(&(item.len() as u32).to_le_bytes());
                        encoded.bytes.extend_from_slice(item);
                    }
                }
                encoded.ends.push(encoded.bytes.len());
            }
        }
        other => return Err(StateError::KeyType(other.to_string())),
    }
    Ok(encoded)
}

/// Reads a column off the front of each of `rest`.
pub(super) fn read(data_type: &DataType, rest: &mut [&[u8]]) -> Result<ArrayRef, StateError> {
    let valid =
        rest.iter_mut().map(|key| Ok(cut(key, 1)?[0] != 0)).collect::<Result<Vec<bool>, StateError>>()?;
    let nulls = NullBuffer::new(BooleanBuffer::from(valid.as_slice()));
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    let wrong = |e: ArrowError| StateError::Corrupt(e.to_string());
    match data_type {
        DataType::Struct(fields) => {
            let columns = read_fields(fields, &valid, rest)?;
            let rows = StructArray::try_new_with_length(fields.clone(), columns, nulls, rest.len());
            Ok(Arc::new(rows.map_err(wrong)?))
        }
        DataType::List(item) => {
            let (offsets, items) = read_items(item, &valid, rest)?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, nulls).map_err(wrong)?))
        }
        DataType::Map(entry, sorted) => {
            let (offsets, entries) = read_items(entry, &valid, rest)?;
            let entries = entries.as_struct().clone();
            let maps = MapArray::try_new(Arc::clone(entry), offsets, entries, nulls, *sorted);
            Ok(Arc::new(maps.map_err(wrong)?))
        }
        other => Err(StateError::KeyType(other.to_string())),
    }
}

/// The fields of the rows that are there; NULL in the others.
fn read_fields(fields: &[FieldRef], valid: &[bool], rest: &mut [&[u8]]) -> Result<Vec<ArrayRef>, StateError> {
    let mut there: Vec<&[u8]> =
        rest.iter().zip(valid).filter(|(_, valid)| **valid).map(|(key, _)| *key).collect();
    let mut next = 0..;
    let places: UInt32Array = valid.iter().map(|valid| if *valid { next.next() } else { None }).collect();
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let column = read_column(field.data_type(), &mut there)?;
        columns.push(take(&column, &places, None).map_err(|e| StateError::Corrupt(e.to_string()))?);
    }
    let mut there = there.into_iter();
    for (key, _) in rest.iter_mut().zip(valid).filter(|(_, valid)| **valid) {
        *key = there.next().ok_or_else(|| corrupt("a row is missing"))?;
    }
    Ok(columns)
}

/// The items of the arrays that are there, and where those of each begin.
fn read_items(
    item: &FieldRef,
    valid: &[bool],
    rest: &mut [&[u8]],
) -> Result<(OffsetBuffer<i32>, ArrayRef), StateError> {
    let mut offsets: Vec<i32> = vec![0];
    let mut items: Vec<&[u8]> = Vec::new();
    for (key, valid) in rest.iter_mut().zip(valid) {
        let count = if *valid { cut_number(key)? } else { 0 };
        for _ in 0..count {
            let len = cut_number(key)?;
            items.push(cut(key, len as usize)?);
        }
        offsets.push(i32::try_from(items.len()).map_err(|_| corrupt("too many items of arrays"))?);
    }
    let values = read_column(item.data_type(), &mut items)?;
    if items.iter().any(|item| !item.is_empty()) {
        return Err(corrupt("an item of an array is longer than its type"));
    }
    Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), values))
}

fn cut_number(rest: &mut &[u8]) -> Result<u32, StateError> {
    Ok(u32::from_le_bytes(cut(rest, 4)?.try_into().expect("4 bytes")))
}
