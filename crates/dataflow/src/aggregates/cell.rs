//! Values of columns, as state keeps them.

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowNativeTypeOp, AsArray, BinaryArray, PrimitiveArray};
use arrow::datatypes::ArrowPrimitiveType;
use highwater_state::{Cursor, StateError};

/// A number with a fixed form on disk: little-endian.
pub(super) trait Number: ArrowNativeTypeOp + Send {
    fn put(self, out: &mut Vec<u8>);
    fn take(cursor: &mut Cursor<'_>) -> Result<Self, StateError>;
}

macro_rules! number {
    ($($native:ty),*) => {$(
        impl Number for $native {
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn take(cursor: &mut Cursor<'_>) -> Result<Self, StateError> {
                Ok(Self::from_le_bytes(cursor.array()?))
            }
        }
    )*};
}

number!(i8, i16, i32, i64, u8, u16, u32, u64, i128, f32, f64);

/// A kind of column whose values can be ordered and kept.
pub(super) trait Cell: Send + 'static {
    type View<'a>;
    type Value: Ord + Clone + Send;

    fn view(column: &ArrayRef) -> Self::View<'_>;
    fn compare(view: &Self::View<'_>, row: usize, value: &Self::Value) -> Ordering;
    fn value(view: &Self::View<'_>, row: usize) -> Self::Value;
    fn column<'a>(values: impl Iterator<Item = Option<&'a Self::Value>>) -> ArrayRef;
    fn put(value: &Self::Value, out: &mut Vec<u8>);
    fn take(cursor: &mut Cursor<'_>) -> Result<Self::Value, StateError>;
    /// Bytes a value holds beside itself.
    fn extra_bytes(value: &Self::Value) -> usize;
}

/// Numbers, in their total order (NaN is the greatest).
pub(super) struct Numbers<T>(PhantomData<T>);

/// A number ordered by arrow's total order.
#[derive(Clone, Copy)]
pub(super) struct Total<N>(N);

impl<N: ArrowNativeTypeOp> PartialEq for Total<N> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<N: ArrowNativeTypeOp> Eq for Total<N> {}

impl<N: ArrowNativeTypeOp> PartialOrd for Total<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<N: ArrowNativeTypeOp> Ord for Total<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.compare(other.0)
    }
}

impl<T: ArrowPrimitiveType + Send> Cell for Numbers<T>
where
    T::Native: Number,
{
    type View<'a> = &'a [T::Native];
    type Value = Total<T::Native>;

    fn view(column: &ArrayRef) -> Self::View<'_> {
        column.as_primitive::<T>().values()
    }

    #[inline]
    fn compare(view: &Self::View<'_>, row: usize, value: &Self::Value) -> Ordering {
        view[row].compare(value.0)
    }

    #[inline]
    fn value(view: &Self::View<'_>, row: usize) -> Self::Value {
        Total(view[row])
    }

    fn column<'a>(values: impl Iterator<Item = Option<&'a Self::Value>>) -> ArrayRef {
        Arc::new(values.map(|value| value.map(|total| total.0)).collect::<PrimitiveArray<T>>())
    }

    fn put(value: &Self::Value, out: &mut Vec<u8>) {
        value.0.put(out);
    }

    fn take(cursor: &mut Cursor<'_>) -> Result<Self::Value, StateError> {
        T::Native::take(cursor).map(Total)
    }

    fn extra_bytes(_value: &Self::Value) -> usize {
        0
    }
}

/// Text and bytes, in the order of their bytes. Columns are `Binary`.
pub(super) struct Text;

impl Cell for Text {
    type View<'a> = &'a BinaryArray;
    type Value = Box<[u8]>;

    fn view(column: &ArrayRef) -> Self::View<'_> {
        column.as_binary::<i32>()
    }

    #[inline]
    fn compare(view: &Self::View<'_>, row: usize, value: &Self::Value) -> Ordering {
        view.value(row).cmp(value)
    }

    fn value(view: &Self::View<'_>, row: usize) -> Self::Value {
        view.value(row).into()
    }

    fn column<'a>(values: impl Iterator<Item = Option<&'a Self::Value>>) -> ArrayRef {
        Arc::new(values.collect::<BinaryArray>())
    }

    fn put(value: &Self::Value, out: &mut Vec<u8>) {
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(value);
    }

    fn take(cursor: &mut Cursor<'_>) -> Result<Self::Value, StateError> {
        Ok(cursor.counted()?.into())
    }

    fn extra_bytes(value: &Self::Value) -> usize {
        value.len()
    }
}
