//! Functions of JSON text.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int32Array, ListArray, ListBuilder, MapArray,
    StringArray, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion_common::Result as EvalResult;
use datafusion_expr::Expr;
use sqlparser::tokenizer::Location;

use super::codec::base64;
use super::json_path::{Found, JsonPath};
use super::json_value::{Json, java_decimal, quote};
use super::times::{Moment, moments};
use super::{
    Binder, Call, Typed, call, cast, decimal, downcast, failed, fallible_call, java_time, primitive, strings,
};
use crate::error::{Bound, Fault};
use crate::types::SqlType;

/// Functions by name, as far as they have no clauses.
pub(crate) const FUNCTIONS: &[(&str, Binder)] =
    &[("JSON_QUOTE", json_quote), ("JSON_UNQUOTE", json_unquote), ("JSON_STRING", json_string)];

/// `ON EMPTY` or `ON ERROR`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Otherwise {
    Null,
    Fail,
    /// Which of the call's further arguments.
    Default(usize),
    EmptyArray,
    EmptyObject,
    True,
    False,
}

/// `WITH .. WRAPPER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrapper {
    Without,
    Conditional,
    Unconditional,
}

/// `text IS JSON kind`; FALSE of NULL.
pub(crate) fn is_json(text: Typed, kind: &str, at: Location) -> Bound<Typed> {
    if !text.ty.is_text() {
        return Err(Fault::new(at, format!("IS JSON of {}: expected STRING", text.ty)));
    }
    let test: fn(&Json) -> bool = match kind {
        "SCALAR" => Json::is_scalar,
        "ARRAY" => |json| matches!(json, Json::Array(_)),
        "OBJECT" => |json| matches!(json, Json::Object(_)),
        _ => |_| true,
    };
    let expr = call(format!("is_json[{kind}]"), DataType::Boolean, vec![text.expr], move |arguments| {
        let rows = strings(&arguments[0])?.iter();
        let rows = rows.map(|text| Some(text.and_then(Json::parse).is_some_and(|json| test(&json))));
        Ok(Arc::new(rows.collect::<BooleanArray>()))
    });
    Ok(Typed { expr, ty: SqlType::Boolean, at })
}

/// Checks the first two arguments of a function of JSON and a path.
fn text_and_path(c: &Call<'_>) -> Bound<(Expr, JsonPath, String)> {
    c.arity(2, 2)?;
    let text = c.text(0)?;
    let written = c.literal_text(1)?;
    let path = JsonPath::new(&written).map_err(|message| {
        Fault::unsupported(c.arguments[1].at, message)
            .or_at(c.at)
            .hint("paths: $.name, $['name'], $[0], $.*, $[*], after lax or strict")
    })?;
    Ok((text, path, written))
}

/// `JSON_EXISTS(text, path on_error)`.
pub(crate) fn exists(c: &Call<'_>, on_error: Otherwise) -> Bound<Typed> {
    let (text, path, written) = text_and_path(c)?;
    let name = format!("json_exists['{written}' {on_error:?}]");
    let expr = fallible_call(name, DataType::Boolean, vec![text], move |arguments| {
        let mut rows = Vec::with_capacity(arguments[0].len());
        for text in strings(&arguments[0])? {
            let Some(text) = text else {
                rows.push(None);
                continue;
            };
            rows.push(match path.find(Json::parse(text)) {
                Found::Value(_) => Some(true),
                Found::Empty => Some(false),
                Found::Error(message) => match on_error {
                    Otherwise::True => Some(true),
                    Otherwise::False => Some(false),
                    Otherwise::Fail => return Err(failed(format!("JSON_EXISTS: {message}"))),
                    _ => None,
                },
            });
        }
        Ok(Arc::new(BooleanArray::from(rows)))
    });
    Ok(c.typed(expr, SqlType::Boolean))
}

/// What a row of JSON_VALUE gives.
enum Scalar {
    Null,
    Json(Json),
    Default(usize),
}

/// `JSON_VALUE(text, path RETURNING ty ..)`. `defaults` are of type `ty`.
pub(crate) fn value(
    c: &Call<'_>,
    ty: &SqlType,
    on_empty: Otherwise,
    on_error: Otherwise,
    defaults: Vec<Expr>,
) -> Bound<Typed> {
    let (text, path, written) = text_and_path(c)?;
    let name = format!("json_value['{written}' {ty} {on_empty:?} {on_error:?}]");
    let mut arguments = vec![text];
    arguments.extend(defaults);
    let output = ty.clone();
    let pick = move |text: &str| -> EvalResult<Scalar> {
        let (otherwise, message) = match path.find(Json::parse(text)) {
            Found::Value(value) if value.is_scalar() => return Ok(Scalar::Json(value)),
            Found::Value(_) if !path.lax => (&on_error, "the value is no scalar".to_owned()),
            Found::Value(_) | Found::Empty => (&on_empty, "no value at the path".to_owned()),
            Found::Error(message) => (&on_error, message),
        };
        match otherwise {
            Otherwise::Default(index) => Ok(Scalar::Default(*index)),
            Otherwise::Fail => Err(failed(format!("JSON_VALUE: {message}"))),
            _ => Ok(Scalar::Null),
        }
    };
    let expr = fallible_call(name, ty.to_arrow(), arguments, move |arguments| {
        let texts = strings(&arguments[0])?;
        let mut scalars = Vec::with_capacity(texts.len());
        for text in texts {
            scalars.push(text.map_or(Ok(Scalar::Null), &pick)?);
        }
        scalar_column(scalars, &arguments[1..], &output)
    });
    Ok(c.typed(expr, ty.clone()))
}

fn scalar_column(scalars: Vec<Scalar>, defaults: &[ArrayRef], ty: &SqlType) -> EvalResult<ArrayRef> {
    macro_rules! column {
        ($array:ty, $read:expr, $convert:expr) => {{
            let mut rows = Vec::with_capacity(scalars.len());
            for (row, scalar) in scalars.into_iter().enumerate() {
                rows.push(match scalar {
                    Scalar::Null => None,
                    Scalar::Json(json) => Some($convert(json)?),
                    Scalar::Default(index) if defaults[index].is_null(row) => None,
                    Scalar::Default(index) => Some($read(&defaults[index], row)?),
                });
            }
            Ok(Arc::new(<$array>::from(rows)))
        }};
    }
    let wrong = |json: &Json| failed(format!("JSON_VALUE: {} is no {ty}", json.to_text()));
    match ty {
        SqlType::Boolean => column!(
            BooleanArray,
            |array: &ArrayRef, row| Ok::<_, datafusion_common::DataFusionError>(
                downcast::<BooleanArray>(array)?.value(row)
            ),
            |json: Json| match json {
                Json::Bool(value) => Ok(value),
                other => Err(wrong(&other)),
            }
        ),
        SqlType::Int => column!(
            Int32Array,
            |array: &ArrayRef, row| Ok::<_, datafusion_common::DataFusionError>(
                downcast::<Int32Array>(array)?.value(row)
            ),
            |json: Json| match &json {
                Json::Integer(digits) => digits.parse::<i32>().map_err(|_| wrong(&json)),
                other => Err(wrong(other)),
            }
        ),
        SqlType::Double => column!(
            Float64Array,
            |array: &ArrayRef, row| Ok::<_, datafusion_common::DataFusionError>(
                downcast::<Float64Array>(array)?.value(row)
            ),
            |json: Json| match &json {
                Json::Decimal(digits) => digits.parse::<f64>().map_err(|_| wrong(&json)),
                other => Err(wrong(other)),
            }
        ),
        _ => column!(
            StringArray,
            |array: &ArrayRef, row| Ok::<_, datafusion_common::DataFusionError>(
                strings(array)?.value(row).to_owned()
            ),
            |json: Json| Ok::<_, datafusion_common::DataFusionError>(json.plain())
        ),
    }
}

/// `JSON_QUERY(text, path RETURNING .. wrapper ..)`; `array`: RETURNING ARRAY<STRING>.
pub(crate) fn query(
    c: &Call<'_>,
    array: bool,
    wrapper: Wrapper,
    on_empty: Otherwise,
    on_error: Otherwise,
) -> Bound<Typed> {
    let (text, path, written) = text_and_path(c)?;
    if array && [&on_empty, &on_error].contains(&&Otherwise::EmptyObject) {
        return Err(Fault::new(c.at, "EMPTY OBJECT is no ARRAY<STRING>"));
    }
    let name = format!("json_query['{written}' {array} {wrapper:?} {on_empty:?} {on_error:?}]");
    let pick = move |text: &str| -> EvalResult<Option<Json>> {
        let (otherwise, message) = match path.find(Json::parse(text)) {
            Found::Value(value) => {
                let value = match (wrapper, value) {
                    (Wrapper::Conditional, Json::Array(items)) => Json::Array(items),
                    (Wrapper::Without, value) => value,
                    (_, value) => Json::Array(vec![value]),
                };
                match value {
                    value if value.is_scalar() && path.lax => (&on_empty, "no array or object".to_owned()),
                    value if value.is_scalar() => (&on_error, "no array or object at the path".to_owned()),
                    Json::Object(_) if array => (&on_error, "the value is no array".to_owned()),
                    value => return Ok(Some(value)),
                }
            }
            Found::Empty => (&on_empty, "no value at the path".to_owned()),
            Found::Error(message) => (&on_error, message),
        };
        match otherwise {
            Otherwise::EmptyArray => Ok(Some(Json::Array(Vec::new()))),
            Otherwise::EmptyObject => Ok(Some(Json::Object(Vec::new()))),
            Otherwise::Fail => Err(failed(format!("JSON_QUERY: {message}"))),
            _ => Ok(None),
        }
    };
    let ty = if array { SqlType::Array(Box::new(SqlType::STRING)) } else { SqlType::STRING };
    let expr = fallible_call(name, ty.to_arrow(), vec![text], move |arguments| {
        let mut found = Vec::with_capacity(arguments[0].len());
        for text in strings(&arguments[0])? {
            found.push(text.map(&pick).transpose()?.flatten());
        }
        if array {
            return Ok(text_lists(found));
        }
        let texts = found.into_iter().map(|json| json.map(|json| json.to_text()));
        Ok(Arc::new(texts.collect::<StringArray>()))
    });
    Ok(c.typed(expr, ty))
}

fn text_lists(found: Vec<Option<Json>>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for json in found {
        let present = json.is_some();
        if let Some(Json::Array(items)) = json {
            for item in items {
                lists.values().append_option((item != Json::Null).then(|| item.plain()));
            }
        }
        lists.append(present);
    }
    Arc::new(lists.finish())
}

/// A value of JSON_OBJECT or JSON_ARRAY; `raw`: it is JSON already.
pub(crate) struct Part {
    pub(crate) key: Option<String>,
    pub(crate) value: Typed,
    pub(crate) raw: bool,
}

/// `JSON_OBJECT(..)` (parts with keys) or `JSON_ARRAY(..)`.
pub(crate) fn construct(parts: Vec<Part>, object: bool, nulls: bool, at: Location) -> Bound<Typed> {
    let mut name = format!("json_{}[{nulls}", if object { "object" } else { "array" });
    let mut arguments = Vec::with_capacity(parts.len() + 1);
    let mut forms = Vec::with_capacity(parts.len());
    for part in parts {
        check_json(&part.value)?;
        name.push_str(&format!(" {:?}:{}", part.key, part.raw));
        arguments.push(part.value.expr);
        forms.push((part.key, part.value.ty, part.raw));
    }
    name.push(']');
    if arguments.is_empty() {
        let text = if object { "{}" } else { "[]" };
        let expr = super::literal(datafusion_common::ScalarValue::Utf8(Some(text.to_owned())));
        return Ok(Typed { expr, ty: SqlType::STRING, at });
    }
    let expr = call(name, DataType::Utf8, arguments, move |arguments| {
        let mut texts = StringBuilder::new();
        for row in 0..arguments[0].len() {
            let mut pieces: Vec<(&str, String)> = Vec::with_capacity(forms.len());
            for ((key, ty, raw), array) in forms.iter().zip(arguments) {
                let text = match (array.is_null(row) || *ty == SqlType::Null, raw) {
                    (true, _) if !nulls => continue,
                    (true, _) => "null".to_owned(),
                    (false, true) => strings(array)?.value(row).to_owned(),
                    (false, false) => to_json(array, row, ty)?.to_text(),
                };
                let key = key.as_deref().unwrap_or("");
                match pieces.iter_mut().find(|(known, _)| object && *known == key) {
                    Some(piece) => piece.1 = text,
                    None => pieces.push((key, text)),
                }
            }
            texts.append_value(joined(pieces, object));
        }
        Ok(Arc::new(texts.finish()))
    });
    Ok(Typed { expr, ty: SqlType::STRING, at })
}

/// JSON of keys and JSON texts; keys in order.
pub(crate) fn joined(mut pieces: Vec<(&str, String)>, object: bool) -> String {
    let mut text = String::from(if object { "{" } else { "[" });
    if object {
        pieces.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
    }
    for (index, (key, value)) in pieces.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        if object {
            quote(key, &mut text);
            text.push(':');
        }
        text.push_str(&value);
    }
    text.push(if object { '}' } else { ']' });
    text
}

/// Refuses what Flink does not turn into JSON, or not surely the same way.
pub(crate) fn check_json(value: &Typed) -> Bound<()> {
    if json_type(&value.ty) {
        return Ok(());
    }
    Err(Fault::unsupported(value.at, format!("JSON of {}", value.ty)).hint("CAST it to STRING"))
}

fn json_type(ty: &SqlType) -> bool {
    match ty {
        SqlType::Array(element) => json_type(element),
        SqlType::Map(key, value) => key.is_text() && json_type(value),
        SqlType::Row(fields) => fields.iter().all(|(_, ty)| json_type(ty)),
        SqlType::Boolean | SqlType::Double | SqlType::Null | SqlType::Decimal(..) => true,
        SqlType::Binary(_) | SqlType::Varbinary(_) => true,
        ty => ty.is_text() || ty.is_integer() || ty.is_timestamp(),
    }
}

/// The value in that row as JSON.
pub(crate) fn to_json(array: &ArrayRef, row: usize, ty: &SqlType) -> EvalResult<Json> {
    if array.is_null(row) {
        return Ok(Json::Null);
    }
    Ok(match ty {
        SqlType::Char(_) | SqlType::Varchar(_) => Json::Text(strings(array)?.value(row).to_owned()),
        SqlType::Boolean => Json::Bool(downcast::<BooleanArray>(array)?.value(row)),
        SqlType::Decimal(_, scale) => {
            let text = decimal::to_text(primitive::<Decimal128Type>(array)?.value(row), *scale);
            if *scale == 0 { Json::Integer(text) } else { Json::Decimal(java_decimal(&text).unwrap_or(text)) }
        }
        SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt => {
            let wide = arrow::compute::cast(&array.slice(row, 1), &DataType::Int64)?;
            Json::Integer(primitive::<Int64Type>(&wide)?.value(0).to_string())
        }
        SqlType::Double => match primitive::<Float64Type>(array)?.value(row) {
            x if x.is_finite() => {
                let text = cast::java_double(&format!("{x:e}"));
                Json::Decimal(java_decimal(&text).unwrap_or(text))
            }
            x => Json::Text(cast::java_double(&format!("{x:e}"))),
        },
        SqlType::Timestamp(_) | SqlType::TimestampLtz(_) => {
            let moment = moments(&array.slice(row, 1))?.into_iter().next().flatten();
            let zone = if matches!(ty, SqlType::TimestampLtz(_)) { "Z" } else { "" };
            moment.and_then(iso_text).map_or(Json::Null, |text| Json::Text(text + zone))
        }
        SqlType::Binary(_) | SqlType::Varbinary(_) => {
            Json::Text(base64(downcast::<BinaryArray>(array)?.value(row)))
        }
        SqlType::Array(element) => {
            let items = downcast::<ListArray>(array)?.value(row);
            Json::Array((0..items.len()).map(|at| to_json(&items, at, element)).collect::<EvalResult<_>>()?)
        }
        SqlType::Map(_, value) => {
            let map = downcast::<MapArray>(array)?.value(row);
            let (keys, values) = (strings(map.column(0))?, map.column(1));
            let field = |at: usize| Ok((keys.value(at).to_owned(), to_json(values, at, value)?));
            Json::Object((0..map.len()).map(field).collect::<EvalResult<_>>()?)
        }
        SqlType::Row(fields) => {
            let rows = downcast::<StructArray>(array)?;
            let field = |(column, (name, ty)): (&ArrayRef, &(String, SqlType))| {
                Ok((name.clone(), to_json(column, row, ty)?))
            };
            Json::Object(rows.columns().iter().zip(fields).map(field).collect::<EvalResult<_>>()?)
        }
        other => return Err(failed(format!("{other} cannot be JSON"))),
    })
}

/// `2026-01-31T12:34:56.5`: no zeros behind the last digit.
fn iso_text(moment: Moment) -> Option<String> {
    let text = java_time::timestamp_text(moment, 9)?.replacen(' ', "T", 1);
    let (seconds, fraction) = text.split_once('.')?;
    let fraction = fraction.trim_end_matches('0');
    Some(if fraction.is_empty() { seconds.to_owned() } else { format!("{seconds}.{fraction}") })
}

fn json_string(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    let expr = text_of(c.arguments[0].clone())?;
    Ok(c.typed(expr, SqlType::STRING))
}

/// The value as JSON text; NULL stays NULL.
pub(crate) fn text_of(argument: Typed) -> Bound<Expr> {
    check_json(&argument)?;
    let ty = argument.ty;
    Ok(call(format!("json_string[{ty}]"), DataType::Utf8, vec![argument.expr], move |arguments| {
        let array = &arguments[0];
        let mut texts = StringBuilder::new();
        for row in 0..array.len() {
            match array.is_null(row) || ty == SqlType::Null {
                true => texts.append_null(),
                false => texts.append_value(to_json(array, row, &ty)?.to_text()),
            }
        }
        Ok(Arc::new(texts.finish()))
    }))
}

/// A key and a JSON text (or NULL) as one text, from which both can be had.
pub(crate) fn entry(key: Expr, text: Expr) -> Expr {
    fallible_call("json_entry", DataType::Utf8, vec![key, text], |arguments| {
        let (keys, texts) = (strings(&arguments[0])?, strings(&arguments[1])?);
        let mut entries = StringBuilder::new();
        for row in 0..keys.len() {
            if keys.is_null(row) {
                return Err(failed("a NULL key in JSON_OBJECTAGG"));
            }
            let text = if texts.is_null(row) { "" } else { texts.value(row) };
            entries.append_value(format!("{}:{}{text}", keys.value(row).len(), keys.value(row)));
        }
        Ok(Arc::new(entries.finish()))
    })
}

fn entry_parts(entry: &str) -> Option<(&str, &str)> {
    let (length, rest) = entry.split_once(':')?;
    rest.split_at_checked(length.parse().ok()?)
}

/// JSON of an array of JSON texts, or of entries ([`entry`]); of no array as of an empty one.
pub(crate) fn collected(array: Expr, object: bool, nulls: bool) -> Expr {
    let name = format!("json_collected[{object} {nulls}]");
    fallible_call(name, DataType::Utf8, vec![array], move |arguments| {
        let lists: &ListArray = downcast(&arguments[0])?;
        let mut results = StringBuilder::new();
        for row in 0..lists.len() {
            let items = lists.value(row);
            let texts = strings(&items)?;
            let mut pieces: Vec<(&str, String)> = Vec::with_capacity(texts.len());
            for text in texts.iter().filter(|_| lists.is_valid(row)) {
                let (key, text) = match text {
                    Some(text) if object => {
                        entry_parts(text).ok_or_else(|| failed("no entry of an object"))?
                    }
                    other => ("", other.unwrap_or("")),
                };
                match text {
                    "" if nulls => pieces.push((key, "null".to_owned())),
                    "" => {}
                    text => pieces.push((key, text.to_owned())),
                }
            }
            let mut keys: Vec<&str> = pieces.iter().map(|(key, _)| *key).collect();
            keys.sort_unstable();
            if let Some(twice) = keys.windows(2).find(|pair| object && pair[0] == pair[1]) {
                return Err(failed(format!("key '{}' is twice in JSON_OBJECTAGG", twice[0])));
            }
            results.append_value(joined(pieces, object));
        }
        Ok(Arc::new(results.finish()))
    })
}

fn json_quote(c: Call<'_>) -> Bound<Typed> {
    super::text::map(c, "json_quote", |text| {
        let mut out = String::from("\"");
        for unit in text.encode_utf16() {
            match char::from_u32(u32::from(unit)) {
                Some(c @ ('"' | '\\' | '/')) => out.extend(['\\', c]),
                Some('\u{8}') => out.push_str("\\b"),
                Some('\u{c}') => out.push_str("\\f"),
                Some('\n') => out.push_str("\\n"),
                Some('\r') => out.push_str("\\r"),
                Some('\t') => out.push_str("\\t"),
                Some(c) if c.is_ascii() => out.push(c),
                _ => out.push_str(&format!("\\u{unit:04x}")),
            }
        }
        out.push('"');
        out
    })
}

/// A text that is no JSON string stays as it is.
fn json_unquote(c: Call<'_>) -> Bound<Typed> {
    super::text::map(c, "json_unquote", |text| {
        let quoted = text.len() > 1 && text.starts_with('"') && text.ends_with('"');
        match Json::parse(text) {
            Some(Json::Text(inner)) if quoted => inner,
            _ => text.to_owned(),
        }
    })
}
