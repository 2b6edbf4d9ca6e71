//! Cells of Arrow columns as text: every column is looked at once per batch, not per cell.

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, ListArray, MapArray, StringArray,
    StringViewArray, StructArray, Time32MillisecondArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, TimeUnit};

use crate::FormatError;

/// A column of one batch, ready to be read cell by cell.
pub(crate) enum Reader<'a> {
    Null,
    Bool(&'a BooleanArray),
    Int(Ints<'a>),
    F32(&'a Float32Array),
    F64(&'a Float64Array),
    Decimal(&'a Decimal128Array, i8),
    Date(&'a Date32Array),
    Time(&'a Time32MillisecondArray),
    Timestamp { values: &'a [i64], unit: TimeUnit, zoned: bool, array: &'a dyn Array },
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    TextView(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    List(&'a ListArray, Box<Reader<'a>>),
    Struct(&'a StructArray, Vec<(&'a str, Reader<'a>)>),
    Map(&'a MapArray, Box<(Reader<'a>, Reader<'a>)>),
}

pub(crate) enum Ints<'a> {
    I8(&'a Int8Array),
    I16(&'a Int16Array),
    I32(&'a Int32Array),
    I64(&'a Int64Array),
    U8(&'a UInt8Array),
    U16(&'a UInt16Array),
    U32(&'a UInt32Array),
    U64(&'a UInt64Array),
}

impl Ints<'_> {
    pub(crate) fn value(&self, row: usize) -> i128 {
        match self {
            Self::I8(array) => array.value(row).into(),
            Self::I16(array) => array.value(row).into(),
            Self::I32(array) => array.value(row).into(),
            Self::I64(array) => array.value(row).into(),
            Self::U8(array) => array.value(row).into(),
            Self::U16(array) => array.value(row).into(),
            Self::U32(array) => array.value(row).into(),
            Self::U64(array) => array.value(row).into(),
        }
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::I8(array) => *array,
            Self::I16(array) => *array,
            Self::I32(array) => *array,
            Self::I64(array) => *array,
            Self::U8(array) => *array,
            Self::U16(array) => *array,
            Self::U32(array) => *array,
            Self::U64(array) => *array,
        }
    }
}

/// Whether columns of this type can be read.
///
/// # Errors
/// If not.
pub(crate) fn check(data_type: &DataType) -> Result<(), FormatError> {
    Reader::new(&arrow::array::new_empty_array(data_type)).map(|_| ())
}

impl<'a> Reader<'a> {
    pub(crate) fn new(array: &'a ArrayRef) -> Result<Self, FormatError> {
        fn get<T: 'static>(array: &ArrayRef) -> Result<&T, FormatError> {
            let found = || FormatError(format!("a column of type {} cannot be written", array.data_type()));
            array.as_any().downcast_ref().ok_or_else(found)
        }
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(get(array)?),
            DataType::Int8 => Self::Int(Ints::I8(get(array)?)),
            DataType::Int16 => Self::Int(Ints::I16(get(array)?)),
            DataType::Int32 => Self::Int(Ints::I32(get(array)?)),
            DataType::Int64 => Self::Int(Ints::I64(get(array)?)),
            DataType::UInt8 => Self::Int(Ints::U8(get(array)?)),
            DataType::UInt16 => Self::Int(Ints::U16(get(array)?)),
            DataType::UInt32 => Self::Int(Ints::U32(get(array)?)),
            DataType::UInt64 => Self::Int(Ints::U64(get(array)?)),
            DataType::Float32 => Self::F32(get(array)?),
            DataType::Float64 => Self::F64(get(array)?),
            DataType::Decimal128(_, scale) => Self::Decimal(get(array)?, *scale),
            DataType::Date32 => Self::Date(get(array)?),
            DataType::Time32(TimeUnit::Millisecond) => Self::Time(get(array)?),
            DataType::Timestamp(unit, zone) => {
                let values: &[i64] = match unit {
                    TimeUnit::Second => get::<TimestampSecondArray>(array)?.values(),
                    TimeUnit::Millisecond => get::<TimestampMillisecondArray>(array)?.values(),
                    TimeUnit::Microsecond => get::<TimestampMicrosecondArray>(array)?.values(),
                    TimeUnit::Nanosecond => get::<TimestampNanosecondArray>(array)?.values(),
                };
                Self::Timestamp { values, unit: *unit, zoned: zone.is_some(), array }
            }
            DataType::Utf8 => Self::Text(get(array)?),
            DataType::LargeUtf8 => Self::LargeText(get(array)?),
            DataType::Utf8View => Self::TextView(get(array)?),
            DataType::Binary => Self::Bytes(get(array)?),
            DataType::List(_) => {
                let list: &ListArray = get(array)?;
                Self::List(list, Box::new(Self::new(list.values())?))
            }
            DataType::Struct(fields) => {
                let parts: &StructArray = get(array)?;
                let part = |(field, column): (&'a arrow::datatypes::FieldRef, &'a ArrayRef)| {
                    Ok((field.name().as_str(), Self::new(column)?))
                };
                let columns = fields.iter().zip(parts.columns()).map(part);
                Self::Struct(parts, columns.collect::<Result<_, FormatError>>()?)
            }
            DataType::Map(..) => {
                let map: &MapArray = get(array)?;
                Self::Map(map, Box::new((Self::new(map.keys())?, Self::new(map.values())?)))
            }
            other => return Err(FormatError(format!("a column of type {other} cannot be written"))),
        })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(array) => array.is_null(row),
            Self::Int(ints) => ints.array().is_null(row),
            Self::F32(array) => array.is_null(row),
            Self::F64(array) => array.is_null(row),
            Self::Decimal(array, _) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Time(array) => array.is_null(row),
            Self::Timestamp { array, .. } => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::LargeText(array) => array.is_null(row),
            Self::TextView(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::List(array, _) => array.is_null(row),
            Self::Struct(array, _) => array.is_null(row),
            Self::Map(array, _) => array.is_null(row),
        }
    }
}

/// The elements of list `row`, as rows of the element column.
pub(crate) fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |index: usize| usize::try_from(offsets[index]).unwrap_or(0);
    at(row)..at(row + 1)
}

/// The columns of a batch.
pub(crate) fn readers(rows: &arrow::array::RecordBatch) -> Result<Vec<Reader<'_>>, FormatError> {
    rows.columns().iter().map(Reader::new).collect()
}
