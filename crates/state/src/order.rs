//! Columns as bytes that sort as the rows do.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};

use crate::{EncodedKeys, StateError};

/// How one column sorts.
#[derive(Debug, Clone)]
pub struct OrderColumn {
    /// The column's type.
    pub data_type: DataType,
    /// The greatest first.
    pub descending: bool,
    /// NULL before all values (else behind them).
    pub nulls_first: bool,
}

/// Turns columns into bytes whose order is that of the rows. -0.0 equals 0.0, NaN is above all numbers, text
/// sorts by its bytes.
///
/// Layout, columns one after the other (part of the on-disk format); the value's bytes are inverted where the
/// column descends:
/// ```text
/// +--------------+-------------------------------------------------------------+
/// | 0 or 2       | NULL: first or last                                         |
/// | 1, value     | integers, times: i64 big-endian, sign bit flipped           |
/// |              | floats: as f64, its bits made an i64 of the same order      |
/// |              | decimals: i128 big-endian, sign bit flipped                 |
/// |              | text, bytes: 0 as 0 255, then 0 0 behind the last           |
/// +--------------+-------------------------------------------------------------+
/// ```
#[derive(Debug, Clone)]
pub struct OrderCodec {
    columns: Vec<OrderColumn>,
}

/// A column, ready to be written value by value.
enum Values {
    Number(ArrayRef),
    Float(ArrayRef),
    Decimal(ArrayRef),
    Text(ArrayRef),
}

impl OrderCodec {
    /// A codec for these columns.
    ///
    /// # Errors
    /// If a type has no order (nested types, intervals).
    pub fn new(columns: Vec<OrderColumn>) -> Result<Self, StateError> {
        match columns.iter().find(|column| plain(&column.data_type).is_none()) {
            Some(column) => Err(StateError::KeyType(column.data_type.to_string())),
            None => Ok(Self { columns }),
        }
    }

    /// The bytes of `rows` rows.
    ///
    /// # Errors
    /// If a column is not of its declared type.
    pub fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<EncodedKeys, StateError> {
        let values =
            columns.iter().zip(&self.columns).map(|(c, o)| values(c, o)).collect::<Result<Vec<_>, _>>()?;
        let mut bytes = Vec::with_capacity(rows * self.columns.len() * 9);
        let mut ends = Vec::with_capacity(rows);
        for row in 0..rows {
            for (values, order) in values.iter().zip(&self.columns) {
                values.write(row, order, &mut bytes);
            }
            ends.push(bytes.len());
        }
        Ok(EncodedKeys::from_parts(bytes, ends))
    }
}

/// What a type is read as. None: it has no order.
fn plain(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..) => DataType::Int64,
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Decimal128(..) => data_type.clone(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        _ => return None,
    })
}

fn values(column: &ArrayRef, order: &OrderColumn) -> Result<Values, StateError> {
    if *column.data_type() != order.data_type {
        let message = format!("{}, expected {}", column.data_type(), order.data_type);
        return Err(StateError::KeyType(message));
    }
    let wrong = || StateError::KeyType(order.data_type.to_string());
    let plain = plain(&order.data_type).ok_or_else(wrong)?;
    // Times of 32 bits have no cast to 64.
    let column = match order.data_type {
        DataType::Date32 | DataType::Time32(_) => cast(column, &DataType::Int32),
        _ => Ok(ArrayRef::clone(column)),
    };
    let column = column.and_then(|column| cast(&column, &plain));
    let column = column.map_err(|e| StateError::KeyType(e.to_string()))?;
    Ok(match plain {
        DataType::Float64 => Values::Float(column),
        DataType::Decimal128(..) => Values::Decimal(column),
        DataType::Int64 => Values::Number(column),
        _ => Values::Text(column),
    })
}

impl Values {
    fn column(&self) -> &ArrayRef {
        match self {
            Self::Number(column) | Self::Float(column) | Self::Decimal(column) | Self::Text(column) => column,
        }
    }

    fn write(&self, row: usize, order: &OrderColumn, out: &mut Vec<u8>) {
        if self.column().is_null(row) {
            out.push(if order.nulls_first { 0 } else { 2 });
            return;
        }
        out.push(1);
        let start = out.len();
        match self {
            Self::Number(column) => number(column.as_primitive::<Int64Type>().value(row), out),
            Self::Float(column) => {
                let value = column.as_primitive::<Float64Type>().value(row);
                // Adding 0.0 makes -0.0 positive.
                let value = if value.is_nan() { f64::NAN.abs() } else { value + 0.0 };
                let bits = value.to_bits() as i64;
                number(if bits < 0 { bits ^ i64::MAX } else { bits }, out);
            }
            Self::Decimal(column) => {
                let value = column.as_primitive::<Decimal128Type>().value(row);
                out.extend_from_slice(&((value as u128) ^ (1 << 127)).to_be_bytes());
            }
            Self::Text(column) => match column.data_type() {
                DataType::Utf8 => text(column.as_string::<i32>().value(row).as_bytes(), out),
                _ => text(column.as_binary::<i32>().value(row), out),
            },
        }
        if order.descending {
            out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
}

fn number(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&((value as u64) ^ (1 << 63)).to_be_bytes());
}

fn text(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        out.push(*byte);
        if *byte == 0 {
            out.push(u8::MAX);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

#[cfg(test)]
mod tests;
