//! Columns as they grow, value by value.

use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, BooleanBufferBuilder, NullBufferBuilder, RecordBatch, StructArray, make_array,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::error::ArrowError;

use crate::convert::Kind;

/// One decoded value of a record, not yet in its column. Text lies in the record itself or, if it
/// had to be unescaped, in the decoder's scratch space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell {
    Missing,
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Wide(i128),
    /// `record[start..end]`.
    Record(u32, u32),
    /// `scratch[start..end]`.
    Scratch(u32, u32),
    /// Index into the record's nested values.
    Nested(u32),
    /// A ROW whose fields have cells of their own.
    Row,
}

/// A value inside a ROW, ARRAY or MAP.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Wide(i128),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Struct(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

/// Where the bytes of a record's cells lie.
pub(crate) struct Places<'a> {
    pub(crate) record: &'a [u8],
    pub(crate) scratch: &'a [u8],
    pub(crate) nested: &'a mut [Value],
}

/// A growing column.
pub(crate) struct Column {
    data_type: DataType,
    /// How many cells a row has.
    cells: usize,
    values: Values,
    nulls: NullBufferBuilder,
}

enum Values {
    Null,
    Bool(BooleanBufferBuilder),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    I128(Vec<i128>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bytes {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    Nested(Vec<Value>),
    Row {
        fields: Vec<Column>,
        /// NULL rows at the end that the fields have not taken yet.
        absent: usize,
    },
}

impl Column {
    /// A column whose rows come cell by cell, one for each ROW and one for each of its fields.
    pub(crate) fn of_cells(data_type: &DataType, kind: &Kind) -> Self {
        let (DataType::Struct(fields), Kind::Struct(kinds)) = (data_type, kind) else {
            return Self::new(data_type, kind);
        };
        let field =
            |(field, (_, kind)): (&FieldRef, &(Box<str>, Kind))| Self::of_cells(field.data_type(), kind);
        let fields: Vec<Self> = fields.iter().zip(kinds).map(field).collect();
        let cells = 1 + fields.iter().map(|field| field.cells).sum::<usize>();
        let values = Values::Row { fields, absent: 0 };
        Self { data_type: data_type.clone(), cells, values, nulls: NullBufferBuilder::new(0) }
    }

    pub(crate) fn new(data_type: &DataType, kind: &Kind) -> Self {
        let values = match kind {
            Kind::Null => Values::Null,
            Kind::Bool => Values::Bool(BooleanBufferBuilder::new(0)),
            Kind::I8 => Values::I8(Vec::new()),
            Kind::I16 => Values::I16(Vec::new()),
            Kind::I32 | Kind::Date | Kind::Time => Values::I32(Vec::new()),
            Kind::I64 | Kind::Timestamp { .. } => Values::I64(Vec::new()),
            Kind::F32 => Values::F32(Vec::new()),
            Kind::F64 => Values::F64(Vec::new()),
            Kind::Decimal { .. } => Values::I128(Vec::new()),
            Kind::Text | Kind::Bytes => Values::Bytes { ends: Vec::new(), bytes: Vec::new() },
            Kind::List(_) | Kind::Struct(_) | Kind::Map(_) => Values::Nested(Vec::new()),
        };
        Self { data_type: data_type.clone(), cells: 1, values, nulls: NullBufferBuilder::new(0) }
    }

    /// How many cells a row has.
    pub(crate) fn cells(&self) -> usize {
        self.cells
    }

    /// Bytes of text so far: offsets of 32 bits limit them.
    pub(crate) fn text_bytes(&self) -> usize {
        match &self.values {
            Values::Bytes { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    /// Takes one row, a cell for the value and, if it is a ROW, one for each field in it.
    #[inline]
    pub(crate) fn push_row(&mut self, cells: &[Cell], places: &mut Places<'_>) {
        let Values::Row { fields, absent } = &mut self.values else { return self.push(cells[0], places) };
        if cells[0] != Cell::Row {
            *absent += 1;
            return self.nulls.append_null();
        }
        catch_up(fields, absent);
        let mut rest = &cells[1..];
        for field in fields {
            let (own, others) = rest.split_at(field.cells);
            field.push_row(own, places);
            rest = others;
        }
        self.nulls.append_non_null();
    }

    /// Takes one value; a kind of cell that does not belong here counts as NULL.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the converter checked the range")]
    pub(crate) fn push(&mut self, cell: Cell, places: &mut Places<'_>) {
        match (&mut self.values, cell) {
            (Values::I64(values), Cell::Int(value)) => values.push(value),
            (Values::I32(values), Cell::Int(value)) => values.push(value as i32),
            (Values::Bytes { ends, bytes }, Cell::Record(start, end)) => {
                bytes.extend_from_slice(&places.record[start as usize..end as usize]);
                ends.push(end_of(bytes));
            }
            (Values::Bytes { ends, bytes }, Cell::Scratch(start, end)) => {
                bytes.extend_from_slice(&places.scratch[start as usize..end as usize]);
                ends.push(end_of(bytes));
            }
            (Values::F64(values), Cell::Float(value)) => values.push(value),
            (Values::Bool(values), Cell::Bool(value)) => values.append(value),
            (Values::I8(values), Cell::Int(value)) => values.push(value as i8),
            (Values::I16(values), Cell::Int(value)) => values.push(value as i16),
            (Values::F32(values), Cell::Float(value)) => values.push(value as f32),
            (Values::I128(values), Cell::Wide(value)) => values.push(value),
            (Values::Nested(values), Cell::Nested(index)) => {
                values.push(std::mem::replace(&mut places.nested[index as usize], Value::Null));
            }
            _ => return self.push_null(),
        }
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.push_nulls(1);
    }

    fn push_nulls(&mut self, count: usize) {
        fn zeros<T: Copy + Default>(values: &mut Vec<T>, count: usize) {
            values.resize(values.len() + count, T::default());
        }
        match &mut self.values {
            Values::Null => {}
            Values::Bool(values) => values.append_n(count, false),
            Values::I8(values) => zeros(values, count),
            Values::I16(values) => zeros(values, count),
            Values::I32(values) => zeros(values, count),
            Values::I64(values) => zeros(values, count),
            Values::I128(values) => zeros(values, count),
            Values::F32(values) => zeros(values, count),
            Values::F64(values) => zeros(values, count),
            Values::Bytes { ends, bytes } => ends.resize(ends.len() + count, end_of(bytes)),
            Values::Nested(values) => values.resize(values.len() + count, Value::Null),
            Values::Row { absent, .. } => *absent += count,
        }
        self.nulls.append_n_nulls(count);
    }

    /// The column so far; this one starts again, with room for as many.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let rows = self.nulls.len();
        let nulls = self.nulls.finish();
        let fixed = |buffer: Buffer| vec![buffer];
        let buffers = match &mut self.values {
            Values::Null => return Ok(arrow::array::new_null_array(&self.data_type, rows)),
            Values::Nested(values) => {
                let values = std::mem::take(values);
                return nested_array(&self.data_type, &values.iter().collect::<Vec<_>>());
            }
            Values::Row { fields, absent } => {
                catch_up(fields, absent);
                let arrays = fields.iter_mut().map(Self::finish).collect::<Result<Vec<_>, _>>()?;
                let DataType::Struct(fields) = &self.data_type else {
                    return Err(ArrowError::SchemaError(format!("rows of type {}", self.data_type)));
                };
                let rows = StructArray::try_new_with_length(fields.clone(), arrays, nulls, rows)?;
                return Ok(Arc::new(rows));
            }
            Values::Bool(values) => {
                let bits = values.finish();
                *values = BooleanBufferBuilder::new(rows);
                fixed(bits.into_inner())
            }
            Values::I8(values) => fixed(Buffer::from_vec(fresh(values))),
            Values::I16(values) => fixed(Buffer::from_vec(fresh(values))),
            Values::I32(values) => fixed(Buffer::from_vec(fresh(values))),
            Values::I64(values) => fixed(Buffer::from_vec(fresh(values))),
            Values::I128(values) => fixed(Buffer::from_vec(fresh(values))),
            Values::F32(values) => fixed(Buffer::from_vec(fresh(values))),
            Values::F64(values) => fixed(Buffer::from_vec(fresh(values))),
            Values::Bytes { ends, bytes } => {
                let mut offsets = Vec::with_capacity(ends.len() + 1);
                offsets.push(0);
                offsets.append(ends);
                vec![Buffer::from_vec(offsets), Buffer::from_vec(fresh(bytes))]
            }
        };
        let data = ArrayData::builder(self.data_type.clone()).len(rows).buffers(buffers).nulls(nulls);
        Ok(make_array(data.build()?))
    }
}

/// All columns as one batch; they start again.
pub(crate) fn finish_batch(
    schema: &SchemaRef,
    columns: &mut [Column],
    rows: usize,
) -> Result<RecordBatch, ArrowError> {
    let arrays = columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), arrays, &options)
}

/// Gives the fields of a ROW the NULLs they have not taken yet.
#[inline]
fn catch_up(fields: &mut [Column], absent: &mut usize) {
    let count = std::mem::take(absent);
    if count > 0 {
        fields.iter_mut().for_each(|field| field.push_nulls(count));
    }
}

fn fresh<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = values.len();
    std::mem::replace(values, Vec::with_capacity(room))
}

fn end_of(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).expect("the decoder refuses a record that would pass 2 GiB of text")
}

fn nested_array(data_type: &DataType, values: &[&Value]) -> Result<ArrayRef, ArrowError> {
    let mut nulls = NullBufferBuilder::new(values.len());
    values.iter().for_each(|value| nulls.append(!matches!(value, Value::Null)));
    let builder = ArrayData::builder(data_type.clone()).len(values.len());
    let data = match data_type {
        DataType::Struct(fields) => {
            let child = |index: usize| {
                let parts: Vec<&Value> = values.iter().map(|value| part(value, index)).collect();
                nested_array(fields[index].data_type(), &parts)
            };
            let children = (0..fields.len()).map(child).collect::<Result<Vec<_>, _>>()?;
            builder.nulls(nulls.finish()).child_data(children.iter().map(|child| child.to_data()).collect())
        }
        DataType::List(element) => {
            let (mut offsets, mut flat) = (vec![0], Vec::new());
            for value in values {
                if let Value::List(items) = value {
                    flat.extend(items);
                }
                offsets.push(offset_of(flat.len())?);
            }
            let items = nested_array(element.data_type(), &flat)?;
            builder
                .nulls(nulls.finish())
                .add_buffer(Buffer::from_vec(offsets))
                .add_child_data(items.to_data())
        }
        DataType::Map(entries, _) => {
            let (mut offsets, mut keys, mut items) = (vec![0], Vec::new(), Vec::new());
            for value in values {
                if let Value::Map(pairs) = value {
                    keys.extend(pairs.iter().map(|(key, _)| key));
                    items.extend(pairs.iter().map(|(_, item)| item));
                }
                offsets.push(offset_of(keys.len())?);
            }
            let pairs = pair_array(entries.data_type(), &keys, &items)?;
            builder
                .nulls(nulls.finish())
                .add_buffer(Buffer::from_vec(offsets))
                .add_child_data(pairs.to_data())
        }
        _ => return leaf_array(data_type, values),
    };
    Ok(make_array(data.build()?))
}

fn part(value: &Value, index: usize) -> &Value {
    match value {
        Value::Struct(parts) => parts.get(index).unwrap_or(&Value::Null),
        _ => &Value::Null,
    }
}

fn offset_of(len: usize) -> Result<i32, ArrowError> {
    i32::try_from(len)
        .map_err(|_| ArrowError::ComputeError(format!("{len} nested elements, expected at most 2^31")))
}

/// The entries of a MAP column: a struct of a key and a value column.
fn pair_array(entries: &DataType, keys: &[&Value], items: &[&Value]) -> Result<ArrayRef, ArrowError> {
    let DataType::Struct(fields) = entries else {
        return Err(ArrowError::SchemaError(format!("map entries of type {entries}, expected a struct")));
    };
    let columns =
        vec![nested_array(fields[0].data_type(), keys)?, nested_array(fields[1].data_type(), items)?];
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None)?))
}

fn leaf_array(data_type: &DataType, values: &[&Value]) -> Result<ArrayRef, ArrowError> {
    let kind = Kind::of(data_type).map_err(|error| ArrowError::NotYetImplemented(error.to_string()))?;
    let mut column = Column::new(data_type, &kind);
    for value in values {
        let (cell, bytes): (Cell, &[u8]) = match value {
            Value::Bool(value) => (Cell::Bool(*value), &[]),
            Value::Int(value) => (Cell::Int(*value), &[]),
            Value::Float(value) => (Cell::Float(*value), &[]),
            Value::Wide(value) => (Cell::Wide(*value), &[]),
            Value::Bytes(bytes) => {
                (Cell::Record(0, u32::try_from(bytes.len()).unwrap_or(u32::MAX)), bytes.as_slice())
            }
            _ => (Cell::Null, &[]),
        };
        column.push(cell, &mut Places { record: bytes, scratch: &[], nested: &mut [] });
    }
    column.finish()
}
