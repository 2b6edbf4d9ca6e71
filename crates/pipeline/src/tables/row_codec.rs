//! Rows as bytes that sort like the rows.
//!
//! A row is its columns one after the other. Each column is
//!
//! ```text
//! 00                 NULL
//! 01 <payload>       a value
//! ```
//!
//! | type | payload |
//! |---|---|
//! | BOOLEAN | 1 byte, 0 or 1 |
//! | integers, DATE, TIME, TIMESTAMP, DECIMAL | 1 to 16 bytes, big endian, sign bit flipped |
//! | FLOAT, DOUBLE | IEEE bits, big endian; sign bit flipped if positive, all bits if negative |
//! | STRING, BYTES | bytes with 00 written as 00 FF, then 00 01 |
//!
//! So bytes compare as the values do, NULL first. The layout is on disk: it never changes within
//! a version of the table store.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, PrimitiveBuilder, RecordBatch, StringBuilder,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, SchemaRef, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};

/// Bytes are not a row of the expected schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored row does not fit its table: column {column} ({expected}) {found}")]
pub struct RowCodecError {
    column: String,
    expected: DataType,
    found: &'static str,
}

/// Whether a column of this type can be stored.
pub fn is_storable(data_type: &DataType) -> bool {
    use DataType as D;
    matches!(
        data_type,
        D::Boolean
            | D::Int8
            | D::Int16
            | D::Int32
            | D::Int64
            | D::Float32
            | D::Float64
            | D::Utf8
            | D::Binary
            | D::Date32
            | D::Time32(TimeUnit::Millisecond)
            | D::Decimal128(_, _)
            | D::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
    )
}

/// Appends the `columns` of row `row` to `out`.
///
/// # Panics
/// If a column is not [storable](is_storable).
pub fn encode_row(rows: &RecordBatch, columns: &[usize], row: usize, out: &mut Vec<u8>) {
    for column in columns {
        encode_value(rows.column(*column), row, out);
    }
}

fn encode_value(array: &ArrayRef, row: usize, out: &mut Vec<u8>) {
    use DataType as D;
    if array.is_null(row) {
        out.push(0);
        return;
    }
    out.push(1);
    match array.data_type() {
        D::Boolean => out.push(u8::from(array.as_boolean().value(row))),
        D::Int8 => put_signed(i128::from(native::<Int8Type>(array, row)), 1, out),
        D::Int16 => put_signed(i128::from(native::<Int16Type>(array, row)), 2, out),
        D::Int32 => put_signed(i128::from(native::<Int32Type>(array, row)), 4, out),
        D::Int64 => put_signed(i128::from(native::<Int64Type>(array, row)), 8, out),
        D::Date32 => put_signed(i128::from(native::<Date32Type>(array, row)), 4, out),
        D::Time32(_) => put_signed(i128::from(native::<Time32MillisecondType>(array, row)), 4, out),
        D::Decimal128(_, _) => put_signed(native::<Decimal128Type>(array, row), 16, out),
        D::Timestamp(unit, _) => put_signed(i128::from(timestamp(array, *unit, row)), 8, out),
        D::Float32 => {
            let bits = native::<Float32Type>(array, row).to_bits();
            out.extend((if bits >> 31 == 0 { bits ^ (1 << 31) } else { !bits }).to_be_bytes());
        }
        D::Float64 => {
            let bits = native::<Float64Type>(array, row).to_bits();
            out.extend((if bits >> 63 == 0 { bits ^ (1 << 63) } else { !bits }).to_be_bytes());
        }
        D::Utf8 => put_escaped(array.as_string::<i32>().value(row).as_bytes(), out),
        D::Binary => put_escaped(array.as_binary::<i32>().value(row), out),
        other => panic!("a column of type {other} was let into a table; expected a storable type"),
    }
}

fn native<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

fn timestamp(array: &ArrayRef, unit: TimeUnit, row: usize) -> i64 {
    match unit {
        TimeUnit::Microsecond => native::<TimestampMicrosecondType>(array, row),
        TimeUnit::Nanosecond => native::<TimestampNanosecondType>(array, row),
        _ => native::<TimestampMillisecondType>(array, row),
    }
}

fn put_signed(value: i128, width: usize, out: &mut Vec<u8>) {
    let mut bytes = value.to_be_bytes();
    let first = bytes.len() - width;
    bytes[first] ^= 0x80;
    out.extend(&bytes[first..]);
}

fn put_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xFF);
        }
    }
    out.extend([0, 1]);
}

/// Puts rows back together: columns `order[i]` of `schema` come at place `i` in the bytes.
pub struct RowDecoder {
    schema: SchemaRef,
    order: Vec<usize>,
    builders: Vec<ColumnBuilder>,
    rows: usize,
}

impl RowDecoder {
    /// A decoder of rows whose bytes hold the columns of `schema` in this `order`.
    pub fn new(schema: &SchemaRef, order: &[usize]) -> Self {
        let builders = schema.fields().iter().map(|field| ColumnBuilder::new(field.data_type())).collect();
        Self { schema: Arc::clone(schema), order: order.to_vec(), builders, rows: 0 }
    }

    /// Takes one row.
    ///
    /// # Errors
    /// If the bytes are not such a row; the decoder must then be dropped.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), RowCodecError> {
        for column in &self.order {
            let wrong = |found| {
                let field = self.schema.field(*column);
                RowCodecError { column: field.name().clone(), expected: field.data_type().clone(), found }
            };
            self.builders[*column].take(&mut bytes).ok_or_else(|| wrong("ends early or is malformed"))?;
        }
        if let (false, Some(last)) = (bytes.is_empty(), self.order.last()) {
            let field = self.schema.field(*last);
            let (column, expected) = (field.name().clone(), field.data_type().clone());
            return Err(RowCodecError { column, expected, found: "is followed by more bytes" });
        }
        self.rows += 1;
        Ok(())
    }

    /// How many rows were taken.
    pub fn row_count(&self) -> usize {
        self.rows
    }

    /// The rows taken.
    pub fn finish(self) -> RecordBatch {
        let columns: Vec<ArrayRef> = self.builders.into_iter().map(ColumnBuilder::finish).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.rows));
        // Nullability is the table's promise, not the store's: rows come back as they were written.
        RecordBatch::try_new_with_options(self.schema, columns, &options)
            .expect("every builder got one value of its field's type per row")
    }
}

/// One column while it is put together.
enum ColumnBuilder {
    Boolean(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time32MillisecondType>),
    Decimal(PrimitiveBuilder<Decimal128Type>),
    Timestamp(Vec<Option<i64>>, DataType),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
}

impl ColumnBuilder {
    fn new(data_type: &DataType) -> Self {
        use DataType as D;
        match data_type {
            D::Boolean => Self::Boolean(BooleanBuilder::new()),
            D::Int8 => Self::Int8(PrimitiveBuilder::new()),
            D::Int16 => Self::Int16(PrimitiveBuilder::new()),
            D::Int32 => Self::Int32(PrimitiveBuilder::new()),
            D::Int64 => Self::Int64(PrimitiveBuilder::new()),
            D::Float32 => Self::Float32(PrimitiveBuilder::new()),
            D::Float64 => Self::Float64(PrimitiveBuilder::new()),
            D::Date32 => Self::Date(PrimitiveBuilder::new()),
            D::Time32(_) => Self::Time(PrimitiveBuilder::new()),
            D::Decimal128(_, _) => Self::Decimal(PrimitiveBuilder::new().with_data_type(data_type.clone())),
            D::Timestamp(_, _) => Self::Timestamp(Vec::new(), data_type.clone()),
            D::Utf8 => Self::Text(StringBuilder::new()),
            D::Binary => Self::Bytes(BinaryBuilder::new()),
            other => panic!("a column of type {other} was let into a table; expected a storable type"),
        }
    }

    /// Takes one value off the front of `bytes`; None if they are malformed.
    fn take(&mut self, bytes: &mut &[u8]) -> Option<()> {
        let there = match take_bytes(bytes, 1)? {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        match self {
            Self::Boolean(b) => {
                b.append_option(if there { Some(take_bytes(bytes, 1)?[0] != 0) } else { None })
            }
            Self::Int8(b) => b.append_option(take_signed(there, bytes, 1)?),
            Self::Int16(b) => b.append_option(take_signed(there, bytes, 2)?),
            Self::Int32(b) => b.append_option(take_signed(there, bytes, 4)?),
            Self::Int64(b) => b.append_option(take_signed(there, bytes, 8)?),
            Self::Date(b) => b.append_option(take_signed(there, bytes, 4)?),
            Self::Time(b) => b.append_option(take_signed(there, bytes, 4)?),
            Self::Decimal(b) => b.append_option(take_signed(there, bytes, 16)?),
            Self::Timestamp(values, _) => values.push(take_signed(there, bytes, 8)?),
            Self::Float32(b) => b.append_option(if there { Some(take_f32(bytes)?) } else { None }),
            Self::Float64(b) => b.append_option(if there { Some(take_f64(bytes)?) } else { None }),
            Self::Text(b) => match there {
                true => b.append_value(String::from_utf8(take_escaped(bytes)?).ok()?),
                false => b.append_null(),
            },
            Self::Bytes(b) => match there {
                true => b.append_value(take_escaped(bytes)?),
                false => b.append_null(),
            },
        }
        Some(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Boolean(mut b) => Arc::new(b.finish()),
            Self::Int8(mut b) => Arc::new(b.finish()),
            Self::Int16(mut b) => Arc::new(b.finish()),
            Self::Int32(mut b) => Arc::new(b.finish()),
            Self::Int64(mut b) => Arc::new(b.finish()),
            Self::Float32(mut b) => Arc::new(b.finish()),
            Self::Float64(mut b) => Arc::new(b.finish()),
            Self::Date(mut b) => Arc::new(b.finish()),
            Self::Time(mut b) => Arc::new(b.finish()),
            Self::Decimal(mut b) => Arc::new(b.finish()),
            Self::Text(mut b) => Arc::new(b.finish()),
            Self::Bytes(mut b) => Arc::new(b.finish()),
            Self::Timestamp(values, data_type) => finish_timestamps(values, &data_type),
        }
    }
}

fn finish_timestamps(values: Vec<Option<i64>>, data_type: &DataType) -> ArrayRef {
    use arrow::array::PrimitiveArray;
    let DataType::Timestamp(unit, zone) = data_type else { unreachable!("only timestamps are built here") };
    match unit {
        TimeUnit::Microsecond => {
            Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(values).with_timezone_opt(zone.clone()))
        }
        TimeUnit::Nanosecond => {
            Arc::new(PrimitiveArray::<TimestampNanosecondType>::from(values).with_timezone_opt(zone.clone()))
        }
        _ => {
            Arc::new(PrimitiveArray::<TimestampMillisecondType>::from(values).with_timezone_opt(zone.clone()))
        }
    }
}

fn take_bytes<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(head)
}

/// `Some(None)` is NULL; `None` is malformed.
fn take_signed<N: TryFrom<i128>>(there: bool, bytes: &mut &[u8], width: usize) -> Option<Option<N>> {
    if !there {
        return Some(None);
    }
    let head = take_bytes(bytes, width)?;
    let negative = head[0] & 0x80 == 0;
    let mut wide = [if negative { 0xFF } else { 0 }; 16];
    wide[16 - width..].copy_from_slice(head);
    wide[16 - width] ^= 0x80;
    Some(Some(N::try_from(i128::from_be_bytes(wide)).ok()?))
}

fn take_f32(bytes: &mut &[u8]) -> Option<f32> {
    let bits = u32::from_be_bytes(take_bytes(bytes, 4)?.try_into().ok()?);
    Some(f32::from_bits(if bits >> 31 == 1 { bits ^ (1 << 31) } else { !bits }))
}

fn take_f64(bytes: &mut &[u8]) -> Option<f64> {
    let bits = u64::from_be_bytes(take_bytes(bytes, 8)?.try_into().ok()?);
    Some(f64::from_bits(if bits >> 63 == 1 { bits ^ (1 << 63) } else { !bits }))
}

fn take_escaped(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    loop {
        match take_bytes(bytes, 1)? {
            [0] => match take_bytes(bytes, 1)? {
                [1] => return Some(value),
                [0xFF] => value.push(0),
                _ => return None,
            },
            byte => value.extend(byte),
        }
    }
}

#[cfg(test)]
mod tests;
