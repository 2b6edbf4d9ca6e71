//! Key columns as bytes: what state is addressed by.

mod nested;

use std::sync::Arc;

use arrow::array::ArrayData;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use crate::StateError;

/// Turns key columns into bytes and back. Equal keys have equal bytes; NULL equals NULL, NaN equals NaN.
///
/// Layout, columns one after the other (part of the on-disk format):
/// ```text
/// +--------------+-----------------------------------------------+
/// | 0            | NULL                                          |
/// | 1, value     | fixed width: little-endian, bool as 0 or 1    |
/// | 1, n, bytes  | text and bytes: n is u32 little-endian        |
/// | 1, fields    | a row: its fields one after the other         |
/// | 1, n, items  | an array, or a map as rows of key and value:  |
/// |              | before each of n items its length, u32        |
/// +--------------+-----------------------------------------------+
/// ```
#[derive(Debug, Clone)]
pub struct KeyCodec {
    types: Vec<DataType>,
}

/// The keys of a batch's rows.
#[derive(Debug, Default)]
pub struct EncodedKeys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl EncodedKeys {
    /// Keys that stand one after the other in `bytes`, and where each ends.
    pub(crate) fn from_parts(bytes: Vec<u8>, ends: Vec<usize>) -> Self {
        Self { bytes, ends }
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The key of row `row`.
    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }
}

/// A column, ready to be copied value by value.
enum Source {
    Fixed {
        bytes: Buffer,
        width: usize,
        nulls: Option<NullBuffer>,
    },
    Bool(BooleanArray),
    Text(ArrayRef),
    /// Rows, arrays and maps, ready as they are.
    Nested(EncodedKeys),
}

impl KeyCodec {
    /// A codec for columns of these types.
    ///
    /// # Errors
    /// If a type cannot be a key.
    pub fn new(types: Vec<DataType>) -> Result<Self, StateError> {
        types.iter().try_for_each(check)?;
        Ok(Self { types })
    }

    /// The keys of `rows` rows, each behind `prefixes[row]` if given (big-endian with the sign bit
    /// flipped, so that bytes sort as numbers).
    ///
    /// # Errors
    /// If a column is not of its declared type.
    pub fn encode(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        prefixes: Option<&[i64]>,
    ) -> Result<EncodedKeys, StateError> {
        let sources =
            columns.iter().zip(&self.types).map(|(c, t)| source(c, t)).collect::<Result<Vec<_>, _>>()?;
        let ends = row_ends(&sources, rows, if prefixes.is_some() { 8 } else { 0 });
        let mut bytes = vec![0; ends.last().copied().unwrap_or(0)];
        let mut at: Vec<usize> = Vec::with_capacity(rows);
        at.extend(std::iter::once(0).chain(ends.iter().copied()).take(rows));
        if let Some(prefixes) = prefixes {
            for (at, prefix) in at.iter_mut().zip(prefixes) {
                bytes[*at..*at + 8].copy_from_slice(&Self::prefix(*prefix));
                *at += 8;
            }
        }
        for source in &sources {
            write_column(source, &mut bytes, &mut at);
        }
        Ok(EncodedKeys { bytes, ends })
    }

    /// The bytes of a prefix.
    pub fn prefix(number: i64) -> [u8; 8] {
        ((number as u64) ^ (1 << 63)).to_be_bytes()
    }

    /// The number in a prefix.
    pub fn prefix_number(key: &[u8]) -> Option<i64> {
        let bytes = key.get(..8)?.try_into().ok()?;
        Some((u64::from_be_bytes(bytes) ^ (1 << 63)) as i64)
    }

    /// The columns of these keys (without their prefixes).
    ///
    /// # Errors
    /// If the bytes are not keys of these types.
    pub fn decode<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, StateError> {
        let mut rest: Vec<&[u8]> = keys.collect();
        let columns =
            self.types.iter().map(|t| read_column(t, &mut rest)).collect::<Result<Vec<_>, StateError>>()?;
        match rest.iter().all(|key| key.is_empty()) {
            true => Ok(columns),
            false => Err(StateError::Corrupt("a key is longer than its columns".to_owned())),
        }
    }
}

fn check(data_type: &DataType) -> Result<(), StateError> {
    match nested::parts(data_type) {
        Some(parts) => parts.iter().try_for_each(|part| check(part.data_type())),
        None if is_text(data_type) || *data_type == DataType::Boolean => Ok(()),
        None if data_type.primitive_width().is_some() => Ok(()),
        None => Err(StateError::KeyType(data_type.to_string())),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
    )
}

/// Text types are read as `Utf8`, byte types as `Binary`.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        _ => DataType::Binary,
    }
}

fn corrupt(what: &str) -> StateError {
    StateError::Corrupt(what.to_owned())
}

fn source(column: &ArrayRef, declared: &DataType) -> Result<Source, StateError> {
    if column.data_type() != declared {
        return Err(StateError::KeyType(format!("{}, expected {declared}", column.data_type())));
    }
    if nested::parts(declared).is_some() {
        return nested::encode(column).map(Source::Nested);
    }
    if *declared == DataType::Boolean {
        return Ok(Source::Bool(column.as_boolean().clone()));
    }
    if is_text(declared) {
        let column = cast(column, &plain(declared)).map_err(|e| StateError::KeyType(e.to_string()))?;
        return Ok(Source::Text(column));
    }
    let column: ArrayRef = match declared {
        DataType::Float32 => Arc::new(
            column
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v }),
        ),
        DataType::Float64 => Arc::new(
            column
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v }),
        ),
        _ => Arc::clone(column),
    };
    let width = declared.primitive_width().ok_or_else(|| StateError::KeyType(declared.to_string()))?;
    let data = column.to_data();
    let bytes = data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width);
    Ok(Source::Fixed { bytes, width, nulls: column.nulls().cloned() })
}

fn text_parts(column: &ArrayRef) -> (&[i32], &[u8]) {
    match column.data_type() {
        DataType::Utf8 => {
            let text = column.as_string::<i32>();
            (text.value_offsets(), text.value_data())
        }
        _ => {
            let text = column.as_binary::<i32>();
            (text.value_offsets(), text.value_data())
        }
    }
}

fn row_ends(sources: &[Source], rows: usize, prefix: usize) -> Vec<usize> {
    let mut fixed = prefix;
    let mut varying = false;
    for source in sources {
        match source {
            Source::Fixed { width, nulls: None, .. } => fixed += 1 + width,
            Source::Bool(column) if column.nulls().is_none() => fixed += 2,
            _ => varying = true,
        }
    }
    if !varying {
        return (1..=rows).map(|row| row * fixed).collect();
    }
    let mut ends = vec![fixed; rows];
    for source in sources {
        match source {
            Source::Fixed { width, nulls: Some(nulls), .. } => {
                ends.iter_mut().zip(nulls).for_each(|(len, valid)| *len += if valid { 1 + width } else { 1 });
            }
            Source::Bool(column) => {
                if let Some(nulls) = column.nulls() {
                    ends.iter_mut().zip(nulls).for_each(|(len, valid)| *len += if valid { 2 } else { 1 });
                }
            }
            Source::Text(column) => {
                let (offsets, _) = text_parts(column);
                for (row, len) in ends.iter_mut().enumerate() {
                    let bytes = (offsets[row + 1] - offsets[row]) as usize;
                    *len += if column.is_null(row) { 1 } else { 5 + bytes };
                }
            }
            Source::Nested(values) => {
                ends.iter_mut().enumerate().for_each(|(row, len)| *len += values.get(row).len());
            }
            Source::Fixed { .. } => {}
        }
    }
    let mut end = 0;
    for len in &mut ends {
        end += *len;
        *len = end;
    }
    ends
}

fn write_column(source: &Source, out: &mut [u8], at: &mut [usize]) {
    match source {
        Source::Fixed { bytes, width: 8, nulls: None } => {
            for (at, value) in at.iter_mut().zip(bytes.as_slice().chunks_exact(8)) {
                let cell = &mut out[*at..*at + 9];
                cell[0] = 1;
                cell[1..].copy_from_slice(value);
                *at += 9;
            }
        }
        Source::Fixed { bytes, width, nulls } => {
            for (row, (at, value)) in at.iter_mut().zip(bytes.as_slice().chunks_exact(*width)).enumerate() {
                if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                    put(out, at, value);
                } else {
                    *at += 1;
                }
            }
        }
        Source::Bool(column) => {
            for (row, at) in at.iter_mut().enumerate() {
                if column.is_valid(row) {
                    put(out, at, &[u8::from(column.value(row))]);
                } else {
                    *at += 1;
                }
            }
        }
        Source::Nested(values) => {
            for (row, at) in at.iter_mut().enumerate() {
                let value = values.get(row);
                out[*at..*at + value.len()].copy_from_slice(value);
                *at += value.len();
            }
        }
        Source::Text(column) => {
            let (offsets, data) = text_parts(column);
            for (row, at) in at.iter_mut().enumerate() {
                if column.is_null(row) {
                    *at += 1;
                    continue;
                }
                let value = &data[offsets[row] as usize..offsets[row + 1] as usize];
                out[*at] = 1;
                out[*at + 1..*at + 5].copy_from_slice(&(value.len() as u32).to_le_bytes());
                out[*at + 5..*at + 5 + value.len()].copy_from_slice(value);
                *at += 5 + value.len();
            }
        }
    }
}

#[inline]
fn put(out: &mut [u8], at: &mut usize, value: &[u8]) {
    out[*at] = 1;
    out[*at + 1..*at + 1 + value.len()].copy_from_slice(value);
    *at += 1 + value.len();
}

/// Cuts `len` bytes off the front of `rest`.
fn cut<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], StateError> {
    let (head, tail) =
        rest.split_at_checked(len).ok_or_else(|| corrupt("a key is shorter than its columns"))?;
    *rest = tail;
    Ok(head)
}

fn read_column(data_type: &DataType, rest: &mut [&[u8]]) -> Result<ArrayRef, StateError> {
    if nested::parts(data_type).is_some() {
        return nested::read(data_type, rest);
    }
    let text = is_text(data_type);
    let width = data_type.primitive_width().unwrap_or(1);
    let mut valid = Vec::with_capacity(rest.len());
    let mut values: Vec<u8> = Vec::with_capacity(rest.len() * width);
    let mut offsets: Vec<i32> = vec![0];
    for key in rest.iter_mut() {
        let present = cut(key, 1)?[0] != 0;
        valid.push(present);
        if text {
            if present {
                let len = u32::from_le_bytes(cut(key, 4)?.try_into().expect("4 bytes"));
                values.extend_from_slice(cut(key, len as usize)?);
            }
            offsets.push(i32::try_from(values.len()).map_err(|_| corrupt("keys of a batch exceed 2 GiB"))?);
        } else if present {
            values.extend_from_slice(cut(key, width)?);
        } else {
            values.resize(values.len() + width, 0);
        }
    }
    let nulls = NullBuffer::new(BooleanBuffer::from(valid));
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    build(data_type, rest.len(), values, offsets, nulls)
}

fn build(
    data_type: &DataType,
    rows: usize,
    values: Vec<u8>,
    offsets: Vec<i32>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, StateError> {
    if *data_type == DataType::Boolean {
        let bits = BooleanBuffer::from_iter(values.iter().map(|v| *v != 0));
        return Ok(Arc::new(BooleanArray::new(bits, nulls)));
    }
    let text = is_text(data_type);
    let built = if text { plain(data_type) } else { data_type.clone() };
    let mut data = ArrayData::builder(built).len(rows).nulls(nulls);
    if text {
        data = data.add_buffer(Buffer::from_vec(offsets));
    }
    // Aligned by copying: the bytes of a Vec<u8> may start anywhere.
    let data = data.add_buffer(Buffer::from_vec(values)).align_buffers(true).build();
    let column = make_array(data.map_err(|e| StateError::Corrupt(e.to_string()))?);
    if text { cast(&column, data_type).map_err(|e| StateError::Corrupt(e.to_string())) } else { Ok(column) }
}

#[cfg(test)]
mod tests;
