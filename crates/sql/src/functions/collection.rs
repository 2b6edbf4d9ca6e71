//! Functions and constructors of arrays, maps and rows.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DynComparator, Float64Array, Int32Array, ListArray, MapArray, StringArray,
    StringBuilder, StructArray, UInt32Array, make_comparator,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion_common::Result as EvalResult;
use datafusion_expr::Expr;
use sqlparser::tokenizer::Location;

use super::compare::unify_all;
use super::{Binder, Call, Typed, call, cast, downcast, failed, fallible_call, null_of, primitive, strings};
use crate::error::{Bound, Fault};
use crate::types::SqlType;

/// Functions by name.
pub(crate) const FUNCTIONS: &[(&str, Binder)] = &[
    ("ARRAY_CONTAINS", contains),
    ("ARRAY_POSITION", position),
    ("ARRAY_REMOVE", remove),
    ("ARRAY_APPEND", |c| append(c, false)),
    ("ARRAY_PREPEND", |c| append(c, true)),
    ("ARRAY_DISTINCT", |c| {
        of_arrays(c, "array_distinct", 1, |pool, row| Some(distinct(pool, pool.items(0, row))))
    }),
    ("ARRAY_REVERSE", |c| {
        of_arrays(c, "array_reverse", 1, |pool, row| Some(pool.items(0, row).rev().collect()))
    }),
    ("ARRAY_UNION", |c| {
        of_arrays(c, "array_union", 2, |pool, row| {
            Some(distinct(pool, pool.items(0, row).chain(pool.items(1, row))))
        })
    }),
    ("ARRAY_EXCEPT", |c| of_arrays(c, "array_except", 2, |pool, row| Some(common(pool, row, false)))),
    ("ARRAY_INTERSECT", |c| of_arrays(c, "array_intersect", 2, |pool, row| Some(common(pool, row, true)))),
    ("ARRAY_CONCAT", array_concat),
    ("ARRAY_MAX", |c| extreme(c, Ordering::Greater)),
    ("ARRAY_MIN", |c| extreme(c, Ordering::Less)),
    ("ARRAY_SORT", sort),
    ("ARRAY_SLICE", slice),
    ("ARRAY_JOIN", join),
    ("ELEMENT", element),
    ("MAP_KEYS", |c| map_part(c, true)),
    ("MAP_VALUES", |c| map_part(c, false)),
    ("MAP_ENTRIES", map_entries),
    ("MAP_FROM_ARRAYS", map_from_arrays),
    ("MAP_UNION", map_union),
];

/// The texts of an array, NULL left out, with a separator between them.
pub(crate) fn joined(array: Expr, separator: &str) -> Expr {
    let between = separator.to_owned();
    call(format!("join['{separator}']"), DataType::Utf8, vec![array], move |arguments| {
        let lists: &ListArray = downcast(&arguments[0])?;
        let texts = strings(lists.values())?;
        let rows = (0..lists.len()).map(|row| lists.is_valid(row).then_some((between.as_str(), None)));
        Ok(join_rows(lists, texts, rows))
    })
}

/// Per row: what stands between the texts, and for NULL.
fn join_rows<'a>(
    lists: &ListArray,
    texts: &StringArray,
    rows: impl Iterator<Item = Option<(&'a str, Option<&'a str>)>>,
) -> ArrayRef {
    let mut result = StringBuilder::new();
    let mut text = String::new();
    for (row, form) in rows.enumerate() {
        let Some((between, for_null)) = form else {
            result.append_null();
            continue;
        };
        text.clear();
        let mut first = true;
        for at in span(lists.value_offsets(), row) {
            let piece = if texts.is_valid(at) { Some(texts.value(at)) } else { for_null };
            let Some(piece) = piece else { continue };
            if !std::mem::replace(&mut first, false) {
                text.push_str(between);
            }
            text.push_str(piece);
        }
        result.append_value(&text);
    }
    Arc::new(result.finish())
}

fn span(offsets: &[i32], row: usize) -> Range<usize> {
    let place = |offset: i32| usize::try_from(offset).unwrap_or(0);
    place(offsets[row])..place(offsets[row + 1])
}

/// The elements of several array columns, and values of others, as one column.
struct Pool<'a> {
    arguments: &'a [ArrayRef],
    values: ArrayRef,
    /// Where each argument's values start.
    starts: Vec<usize>,
    order: DynComparator,
}

impl<'a> Pool<'a> {
    fn new(arguments: &'a [ArrayRef]) -> EvalResult<Self> {
        let mut parts: Vec<&dyn Array> = Vec::with_capacity(arguments.len());
        let mut starts = Vec::with_capacity(arguments.len());
        let mut start = 0;
        for (index, argument) in arguments.iter().enumerate() {
            let lists = argument.as_any().downcast_ref::<ListArray>();
            // A value beside a list of lists is an element, not a list of elements.
            let element = index > 0 && arguments[0].data_type() != argument.data_type();
            let part: &dyn Array = match lists {
                Some(lists) if !element => lists.values().as_ref(),
                _ => argument.as_ref(),
            };
            starts.push(start);
            start += part.len();
            parts.push(part);
        }
        let values = concat(&parts)?;
        let order = make_comparator(&values, &values, SortOptions::default())?;
        Ok(Self { arguments, values, starts, order })
    }

    fn rows(&self) -> usize {
        self.arguments[0].len()
    }

    /// The places of a row's elements.
    fn items(&self, argument: usize, row: usize) -> Range<usize> {
        let Some(lists) = self.arguments[argument].as_any().downcast_ref::<ListArray>() else { return 0..0 };
        let Range { start, end } = span(lists.value_offsets(), row);
        let base = self.starts[argument];
        base + start..base + end
    }

    /// The place of a row's value in an argument that is no array.
    fn value(&self, argument: usize, row: usize) -> usize {
        self.starts[argument] + row
    }

    fn same(&self, a: usize, b: usize) -> bool {
        (self.order)(a, b) == Ordering::Equal
    }

    fn is_null(&self, place: usize) -> bool {
        self.values.is_null(place)
    }

    fn any_null(&self, row: usize) -> bool {
        self.arguments.iter().any(|argument| argument.is_null(row))
    }

    /// Lists of the values at those places.
    fn lists(&self, rows: impl Iterator<Item = Option<Vec<usize>>>, ty: &DataType) -> EvalResult<ArrayRef> {
        let DataType::List(field) = ty else { return Err(failed("no list")) };
        let mut places: Vec<u32> = Vec::new();
        let mut lengths = Vec::with_capacity(self.rows());
        let mut valid = Vec::with_capacity(self.rows());
        for row in rows {
            valid.push(row.is_some());
            let row = row.unwrap_or_default();
            lengths.push(row.len());
            places.extend(row.into_iter().map(|place| u32::try_from(place).unwrap_or(u32::MAX)));
        }
        let values = take(&self.values, &UInt32Array::from(places), None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, Some(NullBuffer::from(valid)))?))
    }
}

fn distinct(pool: &Pool<'_>, items: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut sorted: Vec<usize> = items.collect();
    let order = sorted.clone();
    sorted.sort_by(|a, b| (pool.order)(*a, *b).then(a.cmp(b)));
    let repeated: std::collections::HashSet<usize> =
        sorted.windows(2).filter(|pair| pool.same(pair[0], pair[1])).map(|pair| pair[1]).collect();
    order.into_iter().filter(|place| !repeated.contains(place)).collect()
}

/// The different elements of the first array that are (or are not) in the second.
fn common(pool: &Pool<'_>, row: usize, wanted: bool) -> Vec<usize> {
    let mut second: Vec<usize> = pool.items(1, row).collect();
    second.sort_by(|a, b| (pool.order)(*a, *b));
    let mut kept = distinct(pool, pool.items(0, row));
    kept.retain(|place| second.binary_search_by(|other| (pool.order)(*other, *place)).is_ok() == wanted);
    kept
}

/// The element's type of an argument that is an array.
fn element_type(c: &Call<'_>, index: usize) -> Bound<SqlType> {
    match &c.arguments[index].ty {
        SqlType::Array(element) => Ok((**element).clone()),
        _ => Err(c.mismatch(index, "ARRAY")),
    }
}

fn comparable(c: &Call<'_>, element: &SqlType) -> Bound<()> {
    match element {
        SqlType::Map(..) | SqlType::Multiset(_) => {
            Err(Fault::unsupported(c.at, format!("{} of elements of type {element}", c.name)))
        }
        _ => Ok(()),
    }
}

/// A function of arrays of one type that gives an array of it; NULL if any is NULL.
fn of_arrays(
    c: Call<'_>,
    name: &'static str,
    count: usize,
    pick: fn(&Pool<'_>, usize) -> Option<Vec<usize>>,
) -> Bound<Typed> {
    c.arity(count, count)?;
    let element = element_type(&c, 0)?;
    comparable(&c, &element)?;
    for index in 1..count {
        if element_type(&c, index)?.to_arrow() != element.to_arrow() {
            return Err(c
                .mismatch(index, &format!("ARRAY<{element}>"))
                .hint("CAST the elements to one type"));
        }
    }
    let ty = SqlType::Array(Box::new(element));
    let arguments = c.arguments.iter().map(|argument| argument.expr.clone()).collect();
    let output = ty.to_arrow();
    let expr = call(name, ty.to_arrow(), arguments, move |arguments| {
        let pool = Pool::new(arguments)?;
        let rows = (0..pool.rows()).map(|row| if pool.any_null(row) { None } else { pick(&pool, row) });
        pool.lists(rows, &output)
    });
    Ok(c.typed(expr, ty))
}

/// An array and a value of its element's type.
fn array_and_value(c: &Call<'_>) -> Bound<(SqlType, Vec<Expr>)> {
    c.arity(2, 2)?;
    let element = element_type(c, 0)?;
    comparable(c, &element)?;
    let value = c.arguments[1].clone();
    let fits = value.ty.to_arrow() == element.to_arrow()
        || value.ty == SqlType::Null
        || element.common(&value.ty).is_some_and(|common| common == element);
    if !fits {
        return Err(c.mismatch(1, &element.to_string()).hint("CAST it to the element's type"));
    }
    let value = if value.ty == SqlType::Null {
        null_of(&element.to_arrow())
    } else if value.ty.to_arrow() == element.to_arrow() {
        value.expr
    } else {
        cast::implicit(value, &element, c.zone)?.expr
    };
    Ok((element, vec![c.arguments[0].expr.clone(), value]))
}

/// NULL is found too.
fn contains(c: Call<'_>) -> Bound<Typed> {
    let (_, arguments) = array_and_value(&c)?;
    let expr = call("array_contains", DataType::Boolean, arguments, |arguments| {
        let pool = Pool::new(arguments)?;
        let rows = (0..pool.rows()).map(|row| {
            let wanted = pool.value(1, row);
            arguments[0].is_valid(row).then(|| pool.items(0, row).any(|item| pool.same(item, wanted)))
        });
        Ok(Arc::new(rows.collect::<BooleanArray>()))
    });
    Ok(c.typed(expr, SqlType::Boolean))
}

/// From 1; 0: not there.
fn position(c: Call<'_>) -> Bound<Typed> {
    let (_, arguments) = array_and_value(&c)?;
    let expr = call("array_position", DataType::Int32, arguments, |arguments| {
        let pool = Pool::new(arguments)?;
        let rows = (0..pool.rows()).map(|row| {
            let wanted = pool.value(1, row);
            let found = || pool.items(0, row).position(|item| pool.same(item, wanted)).map_or(0, |at| at + 1);
            (!pool.any_null(row)).then(|| i32::try_from(found()).unwrap_or(i32::MAX))
        });
        Ok(Arc::new(rows.collect::<Int32Array>()))
    });
    Ok(c.typed(expr, SqlType::Int))
}

fn remove(c: Call<'_>) -> Bound<Typed> {
    let (element, arguments) = array_and_value(&c)?;
    let ty = SqlType::Array(Box::new(element));
    let output = ty.to_arrow();
    let expr = call("array_remove", ty.to_arrow(), arguments, move |arguments| {
        let pool = Pool::new(arguments)?;
        let rows = (0..pool.rows()).map(|row| {
            let wanted = pool.value(1, row);
            let kept = || pool.items(0, row).filter(|item| !pool.same(*item, wanted)).collect();
            arguments[0].is_valid(row).then(kept)
        });
        pool.lists(rows, &output)
    });
    Ok(c.typed(expr, ty))
}

fn append(c: Call<'_>, before: bool) -> Bound<Typed> {
    let (element, arguments) = array_and_value(&c)?;
    let ty = SqlType::Array(Box::new(element));
    let output = ty.to_arrow();
    let name = if before { "array_prepend" } else { "array_append" };
    let expr = call(name, ty.to_arrow(), arguments, move |arguments| {
        let pool = Pool::new(arguments)?;
        let rows = (0..pool.rows()).map(|row| {
            let value = pool.value(1, row);
            let all = || {
                let mut all: Vec<usize> = pool.items(0, row).collect();
                all.insert(if before { 0 } else { all.len() }, value);
                all
            };
            arguments[0].is_valid(row).then(all)
        });
        pool.lists(rows, &output)
    });
    Ok(c.typed(expr, ty))
}

fn array_concat(c: Call<'_>) -> Bound<Typed> {
    let count = c.arguments.len().max(1);
    of_arrays(c, "array_concat", count, |pool, row| {
        Some((0..pool.arguments.len()).flat_map(|argument| pool.items(argument, row)).collect())
    })
}

/// NULL elements do not count.
fn extreme(c: Call<'_>, wanted: Ordering) -> Bound<Typed> {
    c.arity(1, 1)?;
    let element = element_type(&c, 0)?;
    if matches!(element, SqlType::Array(_) | SqlType::Map(..) | SqlType::Row(_) | SqlType::Multiset(_)) {
        return Err(Fault::unsupported(c.at, format!("{} of elements of type {element}", c.name)));
    }
    let name = if wanted == Ordering::Greater { "array_max" } else { "array_min" };
    let expr = call(name, element.to_arrow(), vec![c.arguments[0].expr.clone()], move |arguments| {
        let pool = Pool::new(arguments)?;
        let places: UInt32Array = (0..pool.rows())
            .map(|row| {
                let items =
                    pool.items(0, row).filter(|item| arguments[0].is_valid(row) && !pool.is_null(*item));
                let best =
                    items.reduce(|best, item| if (pool.order)(item, best) == wanted { item } else { best });
                best.and_then(|place| u32::try_from(place).ok())
            })
            .collect();
        Ok(take(&pool.values, &places, None)?)
    });
    Ok(c.typed(expr, element))
}

/// `ARRAY_SORT(array [, ascending [, nulls first]])`; NULLs stand first when ascending, unless it is said.
fn sort(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 3)?;
    let element = element_type(&c, 0)?;
    comparable(&c, &element)?;
    for index in 1..c.arguments.len() {
        if c.arguments[index].ty != SqlType::Boolean {
            return Err(c.mismatch(index, "BOOLEAN"));
        }
    }
    let ty = SqlType::Array(Box::new(element));
    let output = ty.to_arrow();
    let arguments = c.arguments.iter().map(|argument| argument.expr.clone()).collect();
    let expr = call("array_sort", ty.to_arrow(), arguments, move |arguments| {
        let pool = Pool::new(&arguments[..1])?;
        let flags = arguments[1..]
            .iter()
            .map(downcast::<BooleanArray>)
            .collect::<EvalResult<Vec<&BooleanArray>>>()?;
        let rows = (0..pool.rows()).map(|row| {
            if arguments.iter().any(|argument| argument.is_null(row)) {
                return None;
            }
            let ascending = flags.first().is_none_or(|flag| flag.value(row));
            let nulls_first = flags.get(1).map_or(ascending, |flag| flag.value(row));
            let (mut nulls, mut items): (Vec<usize>, Vec<usize>) =
                pool.items(0, row).partition(|item| pool.is_null(*item));
            items.sort_by(|a, b| {
                let order = (pool.order)(*a, *b);
                if ascending { order } else { order.reverse() }
            });
            if nulls_first {
                nulls.extend(items);
                return Some(nulls);
            }
            items.extend(nulls);
            Some(items)
        });
        pool.lists(rows, &output)
    });
    Ok(c.typed(expr, ty))
}

/// From and to that place, from 1 or from the end; 0 is the beginning.
fn slice(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 3)?;
    let ty = SqlType::Array(Box::new(element_type(&c, 0)?));
    let mut arguments = vec![c.arguments[0].expr.clone(), c.integer(1)?];
    if c.arguments.len() == 3 {
        arguments.push(c.integer(2)?);
    }
    let output = ty.to_arrow();
    let expr = call("array_slice", ty.to_arrow(), arguments, move |arguments| {
        let pool = Pool::new(&arguments[..1])?;
        let starts = primitive::<Int64Type>(&arguments[1])?;
        let ends = arguments.get(2).map(primitive::<Int64Type>).transpose()?;
        let rows = (0..pool.rows()).map(|row| {
            if arguments.iter().any(|argument| argument.is_null(row)) {
                return None;
            }
            let items = pool.items(0, row);
            let count = i64::try_from(items.len()).ok()?;
            let place = |offset: i64| if offset < 0 { offset.saturating_add(count + 1) } else { offset };
            let first = place(starts.value(row)).max(1);
            let last = match ends.map_or(count, |ends| place(ends.value(row))) {
                0 => 1,
                end => end.min(count),
            };
            if first > last || count == 0 {
                return Some(Vec::new());
            }
            let (first, last) = (usize::try_from(first).ok()?, usize::try_from(last).ok()?);
            Some((items.start + first - 1..items.start + last).collect())
        });
        pool.lists(rows, &output)
    });
    Ok(c.typed(expr, ty))
}

/// `ARRAY_JOIN(array of texts, between [, for NULL])`.
fn join(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 3)?;
    if !element_type(&c, 0)?.is_text() {
        return Err(c.mismatch(0, "ARRAY<STRING>"));
    }
    let mut arguments = vec![c.arguments[0].expr.clone(), c.text(1)?];
    if c.arguments.len() == 3 {
        arguments.push(c.text(2)?);
    }
    let expr = call("array_join", DataType::Utf8, arguments, |arguments| {
        let lists: &ListArray = downcast(&arguments[0])?;
        let texts = strings(lists.values())?;
        let between = strings(&arguments[1])?;
        let for_null = arguments.get(2).map(strings).transpose()?;
        let rows = (0..lists.len()).map(|row| {
            let present = arguments.iter().all(|argument| argument.is_valid(row));
            present.then(|| (between.value(row), for_null.map(|texts| texts.value(row))))
        });
        Ok(join_rows(lists, texts, rows))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

/// The only element; NULL of none, and the job fails on more.
fn element(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    let element = element_type(&c, 0)?;
    let arguments = vec![c.arguments[0].expr.clone()];
    let expr = fallible_call("element", element.to_arrow(), arguments, |arguments| {
        let lists: &ListArray = downcast(&arguments[0])?;
        let mut places = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            let items = span(lists.value_offsets(), row);
            if lists.is_valid(row) && items.len() > 1 {
                return Err(failed("ELEMENT of an array with more than one element"));
            }
            places.push((lists.is_valid(row) && items.len() == 1).then_some(items.start as u64));
        }
        Ok(take(lists.values(), &arrow::array::UInt64Array::from(places), None)?)
    });
    Ok(c.typed(expr, element))
}

/// The value at that share of the sorted numbers; NULL of none.
pub(crate) fn percentile(values: Expr, share: f64) -> Expr {
    call(format!("percentile[{share}]"), DataType::Float64, vec![values], move |arguments| {
        let lists: &ListArray = downcast(&arguments[0])?;
        let numbers = primitive::<Float64Type>(lists.values())?;
        let rows = (0..lists.len()).map(|row| {
            let mut sorted = numbers.values().get(span(lists.value_offsets(), row))?.to_vec();
            if lists.is_null(row) || sorted.is_empty() {
                return None;
            }
            sorted.sort_by(f64::total_cmp);
            #[expect(clippy::cast_precision_loss, reason = "as Flink computes it")]
            let place = (sorted.len() - 1) as f64 * share;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to the length")]
            let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            let same = place.floor() == place.ceil() || low == high;
            Some(if same { low } else { (place.ceil() - place) * low + (place - place.floor()) * high })
        });
        Ok(Arc::new(rows.collect::<Float64Array>()))
    })
}

fn map_types(c: &Call<'_>, index: usize) -> Bound<(SqlType, SqlType)> {
    match &c.arguments[index].ty {
        SqlType::Map(key, value) => Ok(((**key).clone(), (**value).clone())),
        _ => Err(c.mismatch(index, "MAP")),
    }
}

fn list_of_map(map: &MapArray, values: ArrayRef, ty: &DataType) -> EvalResult<ArrayRef> {
    let DataType::List(field) = ty else { return Err(failed("no list")) };
    let offsets = map.offsets().clone();
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, map.nulls().cloned())?))
}

fn map_part(c: Call<'_>, keys: bool) -> Bound<Typed> {
    c.arity(1, 1)?;
    let (key, value) = map_types(&c, 0)?;
    let ty = SqlType::Array(Box::new(if keys { key } else { value }));
    let output = ty.to_arrow();
    let name = if keys { "map_keys" } else { "map_values" };
    let expr = call(name, ty.to_arrow(), vec![c.arguments[0].expr.clone()], move |arguments| {
        let map: &MapArray = downcast(&arguments[0])?;
        list_of_map(map, Arc::clone(if keys { map.keys() } else { map.values() }), &output)
    });
    Ok(c.typed(expr, ty))
}

fn map_entries(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    let (key, value) = map_types(&c, 0)?;
    let row = SqlType::Row(vec![("key".to_owned(), key), ("value".to_owned(), value)]);
    let DataType::Struct(fields) = row.to_arrow() else { return Err(c.mismatch(0, "MAP")) };
    let ty = SqlType::Array(Box::new(row));
    let output = ty.to_arrow();
    let expr = call("map_entries", ty.to_arrow(), vec![c.arguments[0].expr.clone()], move |arguments| {
        let map: &MapArray = downcast(&arguments[0])?;
        let columns = vec![Arc::clone(map.keys()), Arc::clone(map.values())];
        list_of_map(map, Arc::new(StructArray::try_new(fields.clone(), columns, None)?), &output)
    });
    Ok(c.typed(expr, ty))
}

/// A map column of keys and values that stand one after the other.
pub(crate) fn maps(
    keys: ArrayRef,
    values: ArrayRef,
    offsets: OffsetBuffer<i32>,
    nulls: Option<NullBuffer>,
    ty: &DataType,
) -> EvalResult<ArrayRef> {
    let DataType::Map(entries, _) = ty else { return Err(failed("no map")) };
    let DataType::Struct(fields) = entries.data_type() else { return Err(failed("no map")) };
    let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, false)?))
}

fn map_from_arrays(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 2)?;
    let (key, value) = (element_type(&c, 0)?, element_type(&c, 1)?);
    let ty = SqlType::Map(Box::new(key), Box::new(value));
    let output = ty.to_arrow();
    let arguments = c.arguments.iter().map(|argument| argument.expr.clone()).collect();
    let expr = fallible_call("map_from_arrays", ty.to_arrow(), arguments, move |arguments| {
        let (keys, values): (&ListArray, &ListArray) = (downcast(&arguments[0])?, downcast(&arguments[1])?);
        let (mut key_places, mut value_places, mut lengths, mut valid) = (vec![], vec![], vec![], vec![]);
        for row in 0..keys.len() {
            let present = keys.is_valid(row) && values.is_valid(row);
            let (a, b) = (span(keys.value_offsets(), row), span(values.value_offsets(), row));
            if present && a.len() != b.len() {
                return Err(failed("MAP_FROM_ARRAYS of arrays of different lengths"));
            }
            valid.push(present);
            lengths.push(if present { a.len() } else { 0 });
            if present {
                if a.clone().any(|at| keys.values().is_null(at)) {
                    return Err(failed("MAP_FROM_ARRAYS with a NULL key"));
                }
                key_places.extend(a.map(|at| at as u64));
                value_places.extend(b.map(|at| at as u64));
            }
        }
        let pick = |list: &ListArray, places: Vec<u64>| {
            take(list.values(), &arrow::array::UInt64Array::from(places), None)
        };
        let offsets = OffsetBuffer::from_lengths(lengths);
        let (keys, values) = (pick(keys, key_places)?, pick(values, value_places)?);
        maps(keys, values, offsets, Some(NullBuffer::from(valid)), &output)
    });
    Ok(c.typed(expr, ty))
}

/// Of equal keys the last map's value counts.
fn map_union(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 64)?;
    let (key, value) = map_types(&c, 0)?;
    let ty = SqlType::Map(Box::new(key), Box::new(value));
    for index in 1..c.arguments.len() {
        if c.arguments[index].ty.to_arrow() != ty.to_arrow() {
            return Err(c.mismatch(index, &ty.to_string()));
        }
    }
    let output = ty.to_arrow();
    let arguments = c.arguments.iter().map(|argument| argument.expr.clone()).collect();
    let expr = call("map_union", ty.to_arrow(), arguments, move |arguments| {
        let columns = arguments.iter().map(downcast::<MapArray>).collect::<EvalResult<Vec<_>>>()?;
        let all = |part: fn(&MapArray) -> &ArrayRef| -> EvalResult<ArrayRef> {
            Ok(concat(&columns.iter().map(|map| part(map).as_ref()).collect::<Vec<_>>())?)
        };
        let (keys, values) = (all(MapArray::keys)?, all(MapArray::values)?);
        let order = make_comparator(&keys, &keys, SortOptions::default())?;
        let (mut places, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..columns[0].len() {
            let present = arguments.iter().all(|argument| argument.is_valid(row));
            let mut entries: Vec<u64> = Vec::new();
            let mut start = 0;
            for map in columns.iter().filter(|_| present) {
                for at in span(map.value_offsets(), row) {
                    let place = start + at;
                    match entries.iter_mut().find(|known| order(**known as usize, place).is_eq()) {
                        Some(known) => *known = place as u64,
                        None => entries.push(place as u64),
                    }
                }
                start += map.keys().len();
            }
            valid.push(present);
            lengths.push(entries.len());
            places.extend(entries);
        }
        let places = arrow::array::UInt64Array::from(places);
        let (keys, values) = (take(&keys, &places, None)?, take(&values, &places, None)?);
        maps(keys, values, OffsetBuffer::from_lengths(lengths), Some(NullBuffer::from(valid)), &output)
    });
    Ok(c.typed(expr, ty))
}

/// Values of several columns, those of a row beside each other.
fn interleaved(columns: &[ArrayRef]) -> EvalResult<ArrayRef> {
    let rows = columns[0].len();
    let places: Vec<(usize, usize)> =
        (0..rows).flat_map(|row| (0..columns.len()).map(move |column| (column, row))).collect();
    let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    Ok(arrow::compute::interleave(&columns, &places)?)
}

/// `ARRAY[a, b]`.
pub(crate) fn array(values: Vec<Typed>, at: Location, zone: chrono_tz::Tz) -> Bound<Typed> {
    if values.is_empty() {
        return Err(Fault::new(at, "ARRAY[] needs at least one element"));
    }
    let (values, element) = unify_all(values, "ARRAY", at, zone)?;
    if element == SqlType::Null {
        return Err(Fault::new(at, "ARRAY of nothing but NULL").hint("CAST(NULL AS type)"));
    }
    let count = values.len();
    let ty = SqlType::Array(Box::new(element));
    let output = ty.to_arrow();
    let arguments = values.into_iter().map(|value| value.expr).collect();
    let expr = call("array", ty.to_arrow(), arguments, move |arguments| {
        let DataType::List(field) = &output else { return Err(failed("no list")) };
        let offsets = OffsetBuffer::from_repeated_length(count, arguments[0].len());
        Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, interleaved(arguments)?, None)?))
    });
    Ok(Typed { expr, ty, at })
}

/// `MAP[key, value, ..]`; of equal keys the last counts.
pub(crate) fn map(values: Vec<Typed>, at: Location, zone: chrono_tz::Tz) -> Bound<Typed> {
    if values.is_empty() || values.len() % 2 == 1 {
        return Err(Fault::new(at, "MAP[..] needs pairs of keys and values"));
    }
    let (keys, values): (Vec<_>, Vec<_>) =
        values.into_iter().enumerate().partition(|(index, _)| index % 2 == 0);
    let plain = |part: Vec<(usize, Typed)>| part.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    let (keys, key) = unify_all(plain(keys), "MAP keys", at, zone)?;
    let (values, value) = unify_all(plain(values), "MAP values", at, zone)?;
    if key == SqlType::Null || value == SqlType::Null {
        return Err(Fault::new(at, "MAP of nothing but NULL").hint("CAST(NULL AS type)"));
    }
    let count = keys.len();
    let ty = SqlType::Map(Box::new(key), Box::new(value));
    let output = ty.to_arrow();
    let arguments = keys.into_iter().chain(values).map(|value| value.expr).collect();
    let expr = fallible_call("map", ty.to_arrow(), arguments, move |arguments| {
        let (keys, values) = (interleaved(&arguments[..count])?, interleaved(&arguments[count..])?);
        if keys.null_count() > 0 {
            return Err(failed("a NULL key in MAP[..]"));
        }
        let order = make_comparator(&keys, &keys, SortOptions::default())?;
        let (mut places, mut lengths): (Vec<u64>, Vec<usize>) = (Vec::new(), Vec::new());
        for start in (0..keys.len()).step_by(count) {
            let last = |at: &usize| !(at + 1..start + count).any(|later| order(*at, later).is_eq());
            let kept: Vec<u64> = (start..start + count).filter(last).map(|at| at as u64).collect();
            lengths.push(kept.len());
            places.extend(kept);
        }
        let places = arrow::array::UInt64Array::from(places);
        let (keys, values) = (take(&keys, &places, None)?, take(&values, &places, None)?);
        maps(keys, values, OffsetBuffer::from_lengths(lengths), None, &output)
    });
    Ok(Typed { expr, ty, at })
}

/// `ROW(a, b)`; its fields are named `EXPR$0`, `EXPR$1`.
pub(crate) fn row(values: Vec<Typed>, at: Location) -> Bound<Typed> {
    if values.is_empty() {
        return Err(Fault::unsupported(at, "ROW()"));
    }
    if let Some(null) = values.iter().find(|value| value.ty == SqlType::Null || value.ty.is_interval()) {
        return Err(Fault::unsupported(null.at, format!("{} in a ROW", null.ty))
            .or_at(at)
            .hint("CAST it to a type"));
    }
    let fields =
        values.iter().enumerate().map(|(index, value)| (format!("EXPR${index}"), value.ty.clone())).collect();
    let ty = SqlType::Row(fields);
    let DataType::Struct(fields) = ty.to_arrow() else { return Err(Fault::new(at, "no row")) };
    let arguments = values.into_iter().map(|value| value.expr).collect();
    let expr = call("row", ty.to_arrow(), arguments, move |arguments| {
        Ok(Arc::new(StructArray::try_new(fields.clone(), arguments.to_vec(), None)?))
    });
    Ok(Typed { expr, ty, at })
}
