//! Rows, arrays and maps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, ListArray, MapArray, StructArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::internal_datafusion_err;
use datafusion_expr::Expr;
use sqlparser::tokenizer::Location;

use super::{Binder, Call, Typed, call, cast, downcast, primitive};
use crate::error::{Bound, Fault, nearest};
use crate::types::SqlType;

/// Functions by name.
pub(crate) const FUNCTIONS: &[(&str, Binder)] = &[("CARDINALITY", cardinality)];

/// The function that [`field`] makes is named so, then the field, then `]`.
const FIELD: &str = "field[";

/// The field's name and the row, if `expr` is nothing but a field of a row.
pub(crate) fn as_field(expr: &Expr) -> Option<(&str, &Expr)> {
    let Expr::ScalarFunction(function) = expr else { return None };
    let name = function.name().strip_prefix(FIELD)?.strip_suffix(']')?;
    Some((name, function.args.first()?))
}

/// `row.field`; NULL if the row is NULL.
pub(crate) fn field(row: Typed, name: &str, at: Location) -> Bound<Typed> {
    let SqlType::Row(fields) = &row.ty else {
        return Err(Fault::new(at, format!("{} has no field {name}: it is no ROW", row.ty)));
    };
    let Some(index) = fields.iter().position(|(known, _)| known == name) else {
        let fault = Fault::new(at, format!("ROW has no field {name}"));
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        let hint =
            nearest(name, names.iter().copied()).unwrap_or_else(|| format!("fields: {}", names.join(", ")));
        return Err(fault.hint(hint));
    };
    let ty = fields[index].1.clone();
    let wanted = name.to_owned();
    // By name: a source leaves out fields that nobody needs.
    let expr = call(format!("{FIELD}{name}]"), ty.to_arrow(), vec![row.expr], move |arguments| {
        let rows: &StructArray = downcast(&arguments[0])?;
        let Some(column) = rows.column_by_name(&wanted) else {
            return Err(internal_datafusion_err!("the row has no field {wanted}"));
        };
        let Some(nulls) = rows.nulls() else { return Ok(Arc::clone(column)) };
        let masked = NullBuffer::union(Some(nulls), column.nulls());
        if masked.is_none_or(|masked| masked.null_count() == column.null_count()) {
            return Ok(Arc::clone(column));
        }
        let present: UInt32Array = (0..rows.len())
            .map(|row| nulls.is_valid(row).then(|| u32::try_from(row).unwrap_or(u32::MAX)))
            .collect();
        Ok(take(column, &present, None)?)
    });
    Ok(Typed { expr, ty, at })
}

/// `array[index]` from 1, or `map[key]`; NULL if there is none.
pub(crate) fn element(container: Typed, key: Typed, at: Location, zone: chrono_tz::Tz) -> Bound<Typed> {
    match container.ty.clone() {
        SqlType::Array(element) if key.ty.is_integer() => {
            if let Some(index) = super::integer_literal(&key.expr).filter(|index| *index < 1) {
                return Err(Fault::new(at, format!("array item {index}: items count from 1")));
            }
            let key = cast::implicit(key, &SqlType::BigInt, zone)?;
            let arguments = vec![container.expr, key.expr];
            let expr = call("array_item", element.to_arrow(), arguments, |arguments| {
                let lists: &ListArray = downcast(&arguments[0])?;
                let indexes = primitive::<Int64Type>(&arguments[1])?;
                let places: UInt32Array = (0..lists.len())
                    .map(|row| {
                        if lists.is_null(row) || indexes.is_null(row) {
                            return None;
                        }
                        let length = i64::from(lists.value_length(row));
                        let index = indexes.value(row);
                        (1..=length).contains(&index).then_some(())?;
                        u32::try_from(i64::from(lists.value_offsets()[row]) + index - 1).ok()
                    })
                    .collect();
                Ok(take(lists.values(), &places, None)?)
            });
            Ok(Typed { expr, ty: *element, at })
        }
        SqlType::Map(key_type, value) if key.ty.converts_to(&key_type) => {
            let key = cast::implicit(key, &key_type, zone)?;
            let arguments = vec![container.expr, key.expr];
            let expr = call("map_item", value.to_arrow(), arguments, map_items);
            Ok(Typed { expr, ty: *value, at })
        }
        ty => Err(Fault::new(at, format!("cannot take item {} of {ty}", key.ty))),
    }
}

fn map_items(arguments: &[ArrayRef]) -> datafusion_common::Result<ArrayRef> {
    let maps: &MapArray = downcast(&arguments[0])?;
    let same =
        arrow::array::make_comparator(maps.keys(), &arguments[1], arrow::compute::SortOptions::default())?;
    let places: UInt32Array = (0..maps.len())
        .map(|row| {
            if maps.is_null(row) || arguments[1].is_null(row) {
                return None;
            }
            let offsets = maps.value_offsets();
            let (from, to) = (usize::try_from(offsets[row]).ok()?, usize::try_from(offsets[row + 1]).ok()?);
            (from..to).find(|at| same(*at, row).is_eq()).and_then(|at| u32::try_from(at).ok())
        })
        .collect();
    Ok(take(maps.values(), &places, None)?)
}

fn cardinality(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    let argument = c.arguments[0].clone();
    let lists = match argument.ty {
        SqlType::Array(_) => true,
        SqlType::Map(..) => false,
        _ => return Err(c.mismatch(0, "ARRAY or MAP")),
    };
    let expr = call("cardinality", DataType::Int32, vec![argument.expr], move |arguments| {
        let array = &arguments[0];
        let count =
            |row: usize, offsets: &[i32]| array.is_valid(row).then(|| offsets[row + 1] - offsets[row]);
        let counts: Int32Array = if lists {
            let offsets = downcast::<ListArray>(array)?.value_offsets();
            (0..array.len()).map(|row| count(row, offsets)).collect()
        } else {
            let offsets = downcast::<MapArray>(array)?.value_offsets();
            (0..array.len()).map(|row| count(row, offsets)).collect()
        };
        Ok(Arc::new(counts))
    });
    Ok(c.typed(expr, SqlType::Int))
}
