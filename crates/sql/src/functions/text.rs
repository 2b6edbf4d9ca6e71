//! Functions of text. Lengths and places count characters (code points), from 1.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result as EvalResult, ScalarValue};
use datafusion_expr::Expr;
use sqlparser::tokenizer::Location;

use super::pattern::LikePattern;
use super::{Binder, Call, Typed, call, cast, failed, fallible_call, null_of, primitive, strings};
use crate::error::{Bound, Fault};
use crate::types::SqlType;

/// Results longer than this are refused at run time (`REPEAT`, `LPAD`).
const TEXT_BYTES_MAX: usize = 64 << 20;

/// Functions by name.
pub(crate) const FUNCTIONS: &[(&str, Binder)] = &[
    ("UPPER", |c| map(c, "upper", |s| s.to_uppercase())),
    ("LOWER", |c| map(c, "lower", |s| s.to_lowercase())),
    ("INITCAP", |c| map(c, "initcap", initcap)),
    ("REVERSE", |c| map(c, "reverse", |s| s.chars().rev().collect())),
    ("CHAR_LENGTH", length),
    ("CHARACTER_LENGTH", length),
    ("ASCII", ascii),
    ("HEX", hex),
    ("CONCAT", concat),
    ("CONCAT_WS", concat_ws),
    ("SUBSTRING", substring_call),
    ("SUBSTR", substring_call),
    ("LEFT", |c| end(c, true)),
    ("RIGHT", |c| end(c, false)),
    ("REPLACE", replace),
    ("REPEAT", repeat),
    ("LPAD", |c| pad(c, true)),
    ("RPAD", |c| pad(c, false)),
    ("LTRIM", |c| trim_call(c, Side::Leading)),
    ("RTRIM", |c| trim_call(c, Side::Trailing)),
    ("BTRIM", |c| trim_call(c, Side::Both)),
    ("LOCATE", locate),
    ("INSTR", instr),
    ("STARTSWITH", |c| test(c, "startswith", |s, t| s.starts_with(t))),
    ("ENDSWITH", |c| test(c, "endswith", |s, t| s.ends_with(t))),
    ("SPLIT", split),
    ("SPLIT_INDEX", split_index),
];

pub(crate) fn map(c: Call<'_>, name: &'static str, f: fn(&str) -> String) -> Bound<Typed> {
    map_with(c, name, move |text| Some(f(text)))
}

/// A function of one text that may give NULL.
pub(crate) fn map_with(
    c: Call<'_>,
    name: &'static str,
    f: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> Bound<Typed> {
    c.arity(1, 1)?;
    let expr = call(name, DataType::Utf8, vec![c.text(0)?], move |arguments| {
        let texts = strings(&arguments[0])?.iter().map(|s| s.and_then(&f));
        Ok(Arc::new(texts.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

/// ASCII letters and digits make words; others are between words and stay.
fn initcap(text: &str) -> String {
    let mut inside = false;
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        result.push(if inside { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() });
        inside = c.is_ascii_alphanumeric();
    }
    result
}

fn integers(values: impl Iterator<Item = Option<usize>>) -> ArrayRef {
    let values = values.map(|value| value.map(|value| i32::try_from(value).unwrap_or(i32::MAX)));
    Arc::new(values.collect::<Int32Array>())
}

fn length(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    let expr = call("char_length", DataType::Int32, vec![c.text(0)?], |arguments| {
        Ok(integers(strings(&arguments[0])?.iter().map(|s| s.map(|s| s.chars().count()))))
    });
    Ok(c.typed(expr, SqlType::Int))
}

/// The first byte, signed as Java's.
fn ascii(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    let expr = call("ascii", DataType::Int32, vec![c.text(0)?], |arguments| {
        let values = strings(&arguments[0])?
            .iter()
            .map(|s| s.map(|s| s.bytes().next().map_or(0, |byte| i32::from(byte.cast_signed()))));
        Ok(Arc::new(values.collect::<Int32Array>()))
    });
    Ok(c.typed(expr, SqlType::Int))
}

fn hex(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    if c.arguments[0].ty.is_integer() {
        let expr = call("hex[integer]", DataType::Utf8, vec![c.integer(0)?], |arguments| {
            let texts = primitive::<Int64Type>(&arguments[0])?.iter().map(|n| n.map(|n| format!("{n:X}")));
            Ok(Arc::new(texts.collect::<StringArray>()))
        });
        return Ok(c.typed(expr, SqlType::STRING));
    }
    map(c, "hex", |s| s.bytes().map(|byte| format!("{byte:02X}")).collect())
}

/// NULL if any part is NULL.
pub(crate) fn concat_all(parts: Vec<Expr>) -> Expr {
    call("concat", DataType::Utf8, parts, |arguments| {
        let columns = arguments.iter().map(strings).collect::<EvalResult<Vec<_>>>()?;
        let texts = (0..columns[0].len()).map(|row| {
            let present = columns.iter().all(|column| column.is_valid(row));
            present.then(|| columns.iter().map(|column| column.value(row)).collect::<String>())
        });
        Ok(Arc::new(texts.collect::<StringArray>()))
    })
}

/// The text behind its length, so that several in a row can be told apart.
pub(crate) fn with_length(text: Expr) -> Expr {
    call("with_length", DataType::Utf8, vec![text], |arguments| {
        let texts = strings(&arguments[0])?.iter().map(|s| s.map(|s| format!("{}:{s}", s.len())));
        Ok(Arc::new(texts.collect::<StringArray>()))
    })
}

fn concat(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 64)?;
    let parts = (0..c.arguments.len()).map(|index| c.text(index)).collect::<Bound<Vec<_>>>()?;
    Ok(c.typed(concat_all(parts), SqlType::STRING))
}

/// NULL parts are left out; NULL separator gives NULL.
fn concat_ws(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 64)?;
    let parts = (0..c.arguments.len()).map(|index| c.text(index)).collect::<Bound<Vec<_>>>()?;
    let expr = call("concat_ws", DataType::Utf8, parts, |arguments| {
        let columns = arguments.iter().map(strings).collect::<EvalResult<Vec<_>>>()?;
        let texts = (0..columns[0].len()).map(|row| {
            let present: Vec<&str> = columns[1..]
                .iter()
                .filter(|column| column.is_valid(row))
                .map(|column| column.value(row))
                .collect();
            columns[0].is_valid(row).then(|| present.join(columns[0].value(row)))
        });
        Ok(Arc::new(texts.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

/// `SUBSTRING(text FROM start [FOR length])`. From 0 is from 1, a negative start counts from the end; NULL for a
/// negative length.
fn substring_call(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 3)?;
    let mut arguments = vec![c.text(0)?, c.integer(1)?];
    if c.arguments.len() == 3 {
        arguments.push(c.integer(2)?);
    }
    let expr = call("substring", DataType::Utf8, arguments, |arguments| {
        let (texts, starts) = (strings(&arguments[0])?, primitive::<Int64Type>(&arguments[1])?);
        let lengths = arguments.get(2).map(primitive::<Int64Type>).transpose()?;
        let pieces = (0..texts.len()).map(|row| {
            let length = match lengths {
                Some(lengths) if lengths.is_null(row) => return None,
                Some(lengths) => lengths.value(row),
                None => i64::MAX,
            };
            (texts.is_valid(row) && starts.is_valid(row) && length >= 0)
                .then(|| substring(texts.value(row), starts.value(row), length))
        });
        Ok(Arc::new(pieces.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

fn substring(text: &str, start: i64, length: i64) -> &str {
    if length <= 0 {
        return "";
    }
    let from = match start {
        0 => 0,
        1.. => start - 1,
        _ => i64::try_from(text.chars().count()).unwrap_or(i64::MAX) + start,
    };
    if from < 0 {
        return "";
    }
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut places = text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len()));
    let Some(begin) = places.nth(from) else { return "" };
    let finish = places.nth(length - 1).unwrap_or(text.len());
    &text[begin..finish]
}

fn end(c: Call<'_>, left: bool) -> Bound<Typed> {
    c.arity(2, 2)?;
    let name = if left { "left" } else { "right" };
    let expr = call(name, DataType::Utf8, vec![c.text(0)?, c.integer(1)?], move |arguments| {
        let (texts, counts) = (strings(&arguments[0])?, primitive::<Int64Type>(&arguments[1])?);
        let pieces = texts.iter().zip(counts.iter()).map(|(text, count)| {
            let (text, count) = (text?, count?);
            if count <= 0 {
                return Some("");
            }
            let all = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            Some(if left {
                substring(text, 1, count)
            } else {
                substring(text, (all - count).max(0) + 1, count)
            })
        });
        Ok(Arc::new(pieces.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

fn replace(c: Call<'_>) -> Bound<Typed> {
    c.arity(3, 3)?;
    let expr = call("replace", DataType::Utf8, vec![c.text(0)?, c.text(1)?, c.text(2)?], |arguments| {
        let (texts, from, to) = (strings(&arguments[0])?, strings(&arguments[1])?, strings(&arguments[2])?);
        let replaced = texts
            .iter()
            .zip(from.iter())
            .zip(to.iter())
            .map(|((text, from), to)| Some(text?.replace(from?, to?)));
        Ok(Arc::new(replaced.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

fn repeat(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 2)?;
    let expr = fallible_call("repeat", DataType::Utf8, vec![c.text(0)?, c.integer(1)?], |arguments| {
        let (texts, counts) = (strings(&arguments[0])?, primitive::<Int64Type>(&arguments[1])?);
        let mut repeated = Vec::with_capacity(texts.len());
        for (text, count) in texts.iter().zip(counts.iter()) {
            let (Some(text), Some(count)) = (text, count) else {
                repeated.push(None);
                continue;
            };
            let count = usize::try_from(count).unwrap_or(0);
            if text.len().saturating_mul(count) > TEXT_BYTES_MAX {
                return Err(failed(format!("REPEAT gives more than {TEXT_BYTES_MAX} bytes")));
            }
            repeated.push(Some(text.repeat(count)));
        }
        Ok(Arc::new(StringArray::from(repeated)))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

/// NULL for a negative length or nothing to fill with.
fn pad(c: Call<'_>, left: bool) -> Bound<Typed> {
    c.arity(3, 3)?;
    let name = if left { "lpad" } else { "rpad" };
    let expr =
        fallible_call(name, DataType::Utf8, vec![c.text(0)?, c.integer(1)?, c.text(2)?], move |arguments| {
            let (texts, lengths, fills) =
                (strings(&arguments[0])?, primitive::<Int64Type>(&arguments[1])?, strings(&arguments[2])?);
            let mut padded = Vec::with_capacity(texts.len());
            for row in 0..texts.len() {
                if texts.is_null(row) || lengths.is_null(row) || fills.is_null(row) {
                    padded.push(None);
                    continue;
                }
                let Ok(length) = usize::try_from(lengths.value(row)) else {
                    padded.push(None);
                    continue;
                };
                if length > TEXT_BYTES_MAX / 4 {
                    return Err(failed(format!(
                        "padding to {length} characters: expected up to {}",
                        TEXT_BYTES_MAX / 4
                    )));
                }
                padded.push(padded_text(texts.value(row), length, fills.value(row), left));
            }
            Ok(Arc::new(StringArray::from(padded)))
        });
    Ok(c.typed(expr, SqlType::STRING))
}

/// Counts as Java counts: a character beyond U+FFFF is two, and half of one becomes `?`.
fn padded_text(text: &str, length: usize, fill: &str, left: bool) -> Option<String> {
    if fill.is_empty() {
        return None;
    }
    let (text, fill): (Vec<u16>, Vec<u16>) = (text.encode_utf16().collect(), fill.encode_utf16().collect());
    let missing = length.saturating_sub(text.len());
    let filling = fill.iter().copied().cycle().take(missing);
    let kept = text.iter().copied().take(length);
    let units: Vec<u16> = if left { filling.chain(kept).collect() } else { kept.chain(filling).collect() };
    Some(char::decode_utf16(units).map(|c| c.unwrap_or('?')).collect())
}

/// Where `TRIM` takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Both,
    Leading,
    Trailing,
}

/// `TRIM(side characters FROM text)`: any of the characters, blanks by default.
pub(crate) fn trim(side: Side, text: Expr, characters: Option<Expr>) -> Expr {
    let mut arguments = vec![text];
    arguments.extend(characters);
    call(format!("trim[{side:?}]"), DataType::Utf8, arguments, move |arguments| {
        let texts = strings(&arguments[0])?;
        let sets = arguments.get(1).map(strings).transpose()?;
        let trimmed = (0..texts.len()).map(|row| {
            let set = match sets {
                Some(sets) if sets.is_null(row) => return None,
                Some(sets) => sets.value(row),
                None => " ",
            };
            texts.is_valid(row).then(|| trimmed(texts.value(row), set, side))
        });
        Ok(Arc::new(trimmed.collect::<StringArray>()))
    })
}

fn trimmed<'a>(text: &'a str, set: &str, side: Side) -> &'a str {
    let inside = |c: char| set.contains(c);
    match side {
        Side::Both => text.trim_matches(inside),
        Side::Leading => text.trim_start_matches(inside),
        Side::Trailing => text.trim_end_matches(inside),
    }
}

fn trim_call(c: Call<'_>, side: Side) -> Bound<Typed> {
    c.arity(1, 2)?;
    let characters = if c.arguments.len() == 2 { Some(c.text(1)?) } else { None };
    Ok(c.typed(trim(side, c.text(0)?, characters), SqlType::STRING))
}

/// `POSITION(needle IN text)`; 0: not there.
pub(crate) fn position(needle: Expr, text: Expr) -> Expr {
    call("position", DataType::Int32, vec![needle, text], |arguments| {
        let (needles, texts) = (strings(&arguments[0])?, strings(&arguments[1])?);
        Ok(integers(needles.iter().zip(texts.iter()).map(|(needle, text)| Some(find(text?, needle?)))))
    })
}

fn find(text: &str, needle: &str) -> usize {
    text.find(needle).map_or(0, |at| text[..at].chars().count() + 1)
}

/// `LOCATE(needle, text [, from])`.
fn locate(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 3)?;
    if c.arguments.len() == 2 {
        return Ok(c.typed(position(c.text(0)?, c.text(1)?), SqlType::Int));
    }
    let arguments = vec![c.text(0)?, c.text(1)?, c.integer(2)?];
    let expr = call("locate", DataType::Int32, arguments, |arguments| {
        let (needles, texts) = (strings(&arguments[0])?, strings(&arguments[1])?);
        let starts = primitive::<Int64Type>(&arguments[2])?;
        let rows = needles.iter().zip(texts.iter()).zip(starts.iter()).map(|((needle, text), start)| {
            let (needle, text) = (needle?, text?);
            let skipped = usize::try_from(start? - 1).unwrap_or(0);
            let from = text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(skipped);
            if needle.is_empty() {
                return Some(1);
            }
            let found = from.map_or(0, |from| find(&text[from..], needle));
            Some(if found == 0 { 0 } else { found + skipped })
        });
        Ok(integers(rows))
    });
    Ok(c.typed(expr, SqlType::Int))
}

fn instr(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 2)?;
    Ok(c.typed(position(c.text(1)?, c.text(0)?), SqlType::Int))
}

fn test(c: Call<'_>, name: &'static str, f: fn(&str, &str) -> bool) -> Bound<Typed> {
    c.arity(2, 2)?;
    let expr = call(name, DataType::Boolean, vec![c.text(0)?, c.text(1)?], move |arguments| {
        let (texts, others) = (strings(&arguments[0])?, strings(&arguments[1])?);
        let rows = texts.iter().zip(others.iter()).map(|(text, other)| Some(f(text?, other?)));
        Ok(Arc::new(rows.collect::<BooleanArray>()))
    });
    Ok(c.typed(expr, SqlType::Boolean))
}

/// Pieces between separators; an empty text has none, an empty separator stands between all characters.
fn split(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 2)?;
    let ty = SqlType::Array(Box::new(SqlType::STRING));
    let expr = call("split", ty.to_arrow(), vec![c.text(0)?, c.text(1)?], |arguments| {
        let (texts, separators) = (strings(&arguments[0])?, strings(&arguments[1])?);
        let mut lists = ListBuilder::new(StringBuilder::new());
        for row in 0..texts.len() {
            let present = texts.is_valid(row) && separators.is_valid(row);
            if present {
                let (text, separator) = (texts.value(row), separators.value(row));
                if separator.is_empty() {
                    text.char_indices()
                        .for_each(|(at, c)| lists.values().append_value(&text[at..at + c.len_utf8()]));
                } else if !text.is_empty() {
                    text.split(separator).for_each(|piece| lists.values().append_value(piece));
                }
            }
            lists.append(present);
        }
        Ok(Arc::new(lists.finish()))
    });
    Ok(c.typed(expr, ty))
}

/// The piece of that number, from 0, between separators; NULL if there is none or the text is empty.
fn split_index(c: Call<'_>) -> Bound<Typed> {
    c.arity(3, 3)?;
    let expr =
        call("split_index", DataType::Utf8, vec![c.text(0)?, c.text(1)?, c.integer(2)?], |arguments| {
            let (texts, separators, indexes) =
                (strings(&arguments[0])?, strings(&arguments[1])?, primitive::<Int64Type>(&arguments[2])?);
            let pieces = (0..texts.len()).map(|row| {
                if texts.is_null(row) || separators.is_null(row) || indexes.is_null(row) {
                    return None;
                }
                let (text, separator) = (texts.value(row), separators.value(row));
                let index = usize::try_from(indexes.value(row)).ok()?;
                if text.is_empty() {
                    return None;
                }
                if separator.is_empty() {
                    return text.split(char::is_whitespace).nth(index);
                }
                text.split(separator).nth(index)
            });
            Ok(Arc::new(pieces.collect::<StringArray>()))
        });
    Ok(c.typed(expr, SqlType::STRING))
}

/// `text LIKE pattern`, without escape character unless one is given.
pub(crate) fn like(text: Typed, pattern: Typed, escape: Option<char>, at: Location) -> Bound<Typed> {
    for side in [&text, &pattern] {
        if !side.ty.is_text() && side.ty != SqlType::Null {
            return Err(Fault::new(side.at, format!("LIKE of {}: expected STRING", side.ty)).or_at(at));
        }
    }
    let side = |side: Typed| if side.ty == SqlType::Null { null_of(&DataType::Utf8) } else { side.expr };
    let invalid = |pattern: &str| format!("invalid escape sequence in LIKE pattern '{pattern}'");
    let quoted = escape.map_or(String::new(), |escape| format!(" escape '{escape}'"));
    if let Expr::Literal(ScalarValue::Utf8(Some(wanted)), _) = &pattern.expr {
        let Some(compiled) = LikePattern::new(wanted, escape) else {
            return Err(Fault::new(pattern.at, invalid(wanted)).or_at(at));
        };
        let expr = call(
            format!("like['{wanted}'{quoted}]"),
            DataType::Boolean,
            vec![side(text)],
            move |arguments| {
                let rows = strings(&arguments[0])?.iter().map(|text| text.map(|text| compiled.matches(text)));
                Ok(Arc::new(rows.collect::<BooleanArray>()))
            },
        );
        return Ok(Typed { expr, ty: SqlType::Boolean, at });
    }
    let arguments = vec![side(text), side(pattern)];
    let expr = fallible_call(format!("like[{quoted}]"), DataType::Boolean, arguments, move |arguments| {
        let (texts, patterns) = (strings(&arguments[0])?, strings(&arguments[1])?);
        let mut known: Option<(&str, LikePattern)> = None;
        let mut rows = Vec::with_capacity(texts.len());
        for (text, wanted) in texts.iter().zip(patterns.iter()) {
            let (Some(text), Some(wanted)) = (text, wanted) else {
                rows.push(None);
                continue;
            };
            if known.as_ref().is_none_or(|(last, _)| *last != wanted) {
                let pattern = LikePattern::new(wanted, escape).ok_or_else(|| failed(invalid(wanted)))?;
                known = Some((wanted, pattern));
            }
            rows.push(known.as_ref().map(|(_, pattern)| pattern.matches(text)));
        }
        Ok(Arc::new(BooleanArray::from(rows)))
    });
    Ok(Typed { expr, ty: SqlType::Boolean, at })
}

/// `left || right`.
pub(crate) fn concat_operator(left: Typed, right: Typed, at: Location, zone: chrono_tz::Tz) -> Bound<Typed> {
    let mut parts = Vec::with_capacity(2);
    for side in [left, right] {
        if !side.ty.is_text() && side.ty != SqlType::Null {
            return Err(Fault::new(side.at, format!("cannot apply '||' to {}", side.ty))
                .or_at(at)
                .hint("CAST(... AS STRING)"));
        }
        parts.push(cast::implicit(side, &SqlType::STRING, zone)?.expr);
    }
    Ok(Typed { expr: concat_all(parts), ty: SqlType::STRING, at })
}
