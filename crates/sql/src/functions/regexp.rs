//! Functions of regular expressions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result as EvalResult, ScalarValue};
use datafusion_expr::Expr;
use sqlparser::tokenizer::Location;

use super::collection::maps;
use super::java_regex::{JavaRegex, similar};
use super::{Binder, Call, Typed, call, failed, fallible_call, primitive, strings};
use crate::error::{Bound, Fault};
use crate::types::SqlType;

/// Functions by name.
pub(crate) const FUNCTIONS: &[(&str, Binder)] = &[
    ("REGEXP", regexp),
    ("REGEXP_EXTRACT", extract),
    ("REGEXP_EXTRACT_ALL", extract_all),
    ("REGEXP_REPLACE", replace),
    ("REGEXP_COUNT", count),
    ("REGEXP_INSTR", instr),
    ("REGEXP_SUBSTR", |c| {
        c.arity(2, 2)?;
        extract(c)
    }),
    ("STR_TO_MAP", str_to_map),
];

/// The pattern argument: read once if it is a literal.
struct Patterns {
    literal: Option<JavaRegex>,
    name: String,
    /// The pattern's column, if it is none.
    expr: Option<Expr>,
}

fn patterns(c: &Call<'_>, index: usize) -> Bound<Patterns> {
    let expr = c.text(index)?;
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = &expr else {
        return Ok(Patterns { literal: None, name: String::new(), expr: Some(expr) });
    };
    let regex = JavaRegex::new(text).map_err(|message| {
        Fault::unsupported(c.arguments[index].at, message)
            .or_at(c.at)
            .hint("groups, classes, alternatives and quantifiers are understood; look-around and back-references are not")
    })?;
    Ok(Patterns { literal: Some(regex), name: text.clone(), expr: None })
}

/// The pattern of each row.
struct PatternRows<'a> {
    literal: Option<&'a JavaRegex>,
    column: Option<&'a StringArray>,
    known: Option<(&'a str, JavaRegex)>,
}

impl<'a> PatternRows<'a> {
    /// `column`: the array behind the fixed arguments, if the pattern is no literal.
    fn new(literal: Option<&'a JavaRegex>, column: Option<&'a ArrayRef>) -> EvalResult<Self> {
        Ok(Self { literal, column: column.map(strings).transpose()?, known: None })
    }

    fn at(&mut self, row: usize) -> EvalResult<Option<&JavaRegex>> {
        if let Some(literal) = self.literal {
            return Ok(Some(literal));
        }
        let Some(column) = self.column.filter(|column| column.is_valid(row)) else { return Ok(None) };
        let text = column.value(row);
        if self.known.as_ref().is_none_or(|(known, _)| *known != text) {
            self.known = Some((text, JavaRegex::new(text).map_err(failed)?));
        }
        Ok(self.known.as_ref().map(|(_, regex)| regex))
    }
}

/// A call whose first argument is the text; `rest` are arguments between text and pattern.
fn regex_call(
    name: &str,
    output: DataType,
    text: Expr,
    rest: Vec<Expr>,
    patterns: Patterns,
    eval: impl Fn(&StringArray, &[ArrayRef], PatternRows<'_>) -> EvalResult<ArrayRef> + Send + Sync + 'static,
) -> Expr {
    let Patterns { literal, name: pattern, expr } = patterns;
    let fixed = 1 + rest.len();
    let mut arguments = vec![text];
    arguments.extend(rest);
    let fallible = expr.is_some();
    arguments.extend(expr);
    let run = move |arrays: &[ArrayRef]| -> EvalResult<ArrayRef> {
        let rows = PatternRows::new(literal.as_ref(), arrays.get(fixed))?;
        eval(strings(&arrays[0])?, &arrays[1..fixed], rows)
    };
    let name = format!("{name}['{pattern}']");
    if fallible { fallible_call(name, output, arguments, run) } else { call(name, output, arguments, run) }
}

/// Whether the pattern is anywhere in the text; never an empty pattern.
fn regexp(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 2)?;
    let never =
        matches!(&c.arguments[1].expr, Expr::Literal(ScalarValue::Utf8(Some(text)), _) if text.is_empty());
    let name = if never { "regexp_never" } else { "regexp" };
    let expr = regex_call(
        name,
        DataType::Boolean,
        c.text(0)?,
        Vec::new(),
        patterns(&c, 1)?,
        move |texts, _, mut patterns| {
            let column = patterns.column;
            let mut rows = Vec::with_capacity(texts.len());
            for (row, text) in texts.iter().enumerate() {
                let empty = never || column.is_some_and(|column| column.value(row).is_empty());
                let regex = patterns.at(row)?;
                rows.push(text.zip(regex).map(|(text, regex)| !empty && regex.is_match(text)));
            }
            Ok(Arc::new(BooleanArray::from(rows)))
        },
    );
    Ok(c.typed(expr, SqlType::Boolean))
}

/// The group's text in the first match; NULL if there is none.
fn extract(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 3)?;
    let index = if c.arguments.len() == 3 { vec![c.integer(2)?] } else { Vec::new() };
    let expr = regex_call(
        "regexp_extract",
        DataType::Utf8,
        c.text(0)?,
        index,
        patterns(&c, 1)?,
        |texts, rest, mut patterns| {
            let indexes = rest.first().map(primitive::<Int64Type>).transpose()?;
            let mut found = StringBuilder::new();
            for (row, text) in texts.iter().enumerate() {
                let index = match indexes {
                    Some(indexes) if indexes.is_null(row) => None,
                    Some(indexes) => usize::try_from(indexes.value(row)).ok(),
                    None => Some(0),
                };
                let regex = patterns.at(row)?;
                let span = match (text, regex, index) {
                    (Some(text), Some(regex), Some(index)) => regex
                        .find_at(text, 0)
                        .and_then(|found| found.group(index))
                        .map(|(from, to)| &text[from..to]),
                    _ => None,
                };
                found.append_option(span);
            }
            Ok(Arc::new(found.finish()))
        },
    );
    Ok(c.typed(expr, SqlType::STRING))
}

/// The group's text in every match; group 1 by default. NULL if there is no such group.
fn extract_all(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 3)?;
    let index = if c.arguments.len() == 3 { vec![c.integer(2)?] } else { Vec::new() };
    let ty = SqlType::Array(Box::new(SqlType::STRING));
    let expr = regex_call(
        "regexp_extract_all",
        ty.to_arrow(),
        c.text(0)?,
        index,
        patterns(&c, 1)?,
        |texts, rest, mut patterns| {
            let indexes = rest.first().map(primitive::<Int64Type>).transpose()?;
            let mut lists = ListBuilder::new(StringBuilder::new());
            for (row, text) in texts.iter().enumerate() {
                let index = match indexes {
                    Some(indexes) if indexes.is_null(row) => None,
                    Some(indexes) => usize::try_from(indexes.value(row)).ok(),
                    None => Some(1),
                };
                let regex = patterns.at(row)?;
                let known = regex.zip(index).filter(|(regex, index)| *index <= regex.groups);
                let (Some(text), Some((regex, index))) = (text, known) else {
                    lists.append(false);
                    continue;
                };
                for found in regex.find_all(text) {
                    lists.values().append_option(found.group(index).map(|(from, to)| &text[from..to]));
                }
                lists.append(true);
            }
            Ok(Arc::new(lists.finish()))
        },
    );
    Ok(c.typed(expr, ty))
}

/// Every match replaced by a text that is taken as it is.
fn replace(c: Call<'_>) -> Bound<Typed> {
    c.arity(3, 3)?;
    let with = vec![c.text(2)?];
    let expr = regex_call(
        "regexp_replace",
        DataType::Utf8,
        c.text(0)?,
        with,
        patterns(&c, 1)?,
        |texts, rest, mut patterns| {
            let replacements = strings(&rest[0])?;
            let mut replaced = StringBuilder::new();
            let mut out = String::new();
            for (row, text) in texts.iter().enumerate() {
                let regex = patterns.at(row)?;
                let (Some(text), Some(regex), true) = (text, regex, replacements.is_valid(row)) else {
                    replaced.append_null();
                    continue;
                };
                out.clear();
                let mut done = 0;
                for found in regex.find_all(text) {
                    let (from, to) = found.span();
                    out.push_str(&text[done..from]);
                    out.push_str(replacements.value(row));
                    done = to;
                }
                out.push_str(&text[done..]);
                replaced.append_value(&out);
            }
            Ok(Arc::new(replaced.finish()))
        },
    );
    Ok(c.typed(expr, SqlType::STRING))
}

fn integer_of(
    c: &Call<'_>,
    name: &str,
    f: impl Fn(&JavaRegex, &str) -> usize + Send + Sync + 'static,
) -> Bound<Typed> {
    c.arity(2, 2)?;
    let expr = regex_call(
        name,
        DataType::Int32,
        c.text(0)?,
        Vec::new(),
        patterns(c, 1)?,
        move |texts, _, mut patterns| {
            let mut rows = Vec::with_capacity(texts.len());
            for (row, text) in texts.iter().enumerate() {
                let regex = patterns.at(row)?;
                rows.push(
                    text.zip(regex).map(|(text, regex)| i32::try_from(f(regex, text)).unwrap_or(i32::MAX)),
                );
            }
            Ok(Arc::new(Int32Array::from(rows)))
        },
    );
    Ok(c.typed(expr, SqlType::Int))
}

fn count(c: Call<'_>) -> Bound<Typed> {
    integer_of(&c, "regexp_count", |regex, text| regex.find_all(text).count())
}

/// From 1, in UTF-16 units as in Java; 0: no match.
fn instr(c: Call<'_>) -> Bound<Typed> {
    integer_of(&c, "regexp_instr", |regex, text| {
        regex.find_at(text, 0).map_or(0, |found| text[..found.span().0].encode_utf16().count() + 1)
    })
}

/// `text SIMILAR TO pattern`; the pattern must be a literal.
pub(crate) fn similar_to(text: Typed, pattern: &Typed, escape: Option<char>, at: Location) -> Bound<Typed> {
    if !text.ty.is_text() {
        return Err(Fault::new(at, format!("SIMILAR TO of {}: expected STRING", text.ty)));
    }
    let Expr::Literal(ScalarValue::Utf8(Some(wanted)), _) = &pattern.expr else {
        return Err(Fault::unsupported(at, "SIMILAR TO with a pattern that is no literal").hint("use REGEXP"));
    };
    let regex = similar(wanted, escape).and_then(|regex| JavaRegex::new(&regex));
    let regex = regex.map_err(|message| Fault::unsupported(at, message).hint("use REGEXP"))?;
    let quoted = escape.map_or(String::new(), |escape| format!(" escape '{escape}'"));
    let name = format!("similar['{wanted}'{quoted}]");
    let expr = call(name, DataType::Boolean, vec![text.expr], move |arguments| {
        let rows = strings(&arguments[0])?.iter().map(|text| text.map(|text| regex.is_match(text)));
        Ok(Arc::new(rows.collect::<BooleanArray>()))
    });
    Ok(Typed { expr, ty: SqlType::Boolean, at })
}

/// `STR_TO_MAP(text [, between pairs, between key and value])`; both are regular expressions.
fn str_to_map(c: Call<'_>) -> Bound<Typed> {
    if c.arguments.len() != 1 {
        c.arity(3, 3)?;
    }
    let separator = |index: usize, default: &str| -> Bound<(JavaRegex, String)> {
        let text = if c.arguments.len() == 1 { default.to_owned() } else { c.literal_text(index)? };
        let regex = JavaRegex::new(&text)
            .map_err(|message| Fault::unsupported(c.at, message).hint("escape the separator with '\\'"))?;
        Ok((regex, text))
    };
    let ((pairs, pair_text), (between, value_text)) = (separator(1, ",")?, separator(2, "=")?);
    if pair_text.is_empty() || value_text.is_empty() {
        return Err(Fault::unsupported(c.at, "STR_TO_MAP with an empty separator"));
    }
    let ty = SqlType::Map(Box::new(SqlType::STRING), Box::new(SqlType::STRING));
    let output = ty.to_arrow();
    let name = format!("str_to_map['{pair_text}' '{value_text}']");
    let expr = call(name, ty.to_arrow(), vec![c.text(0)?], move |arguments| {
        let texts = strings(&arguments[0])?;
        let (mut keys, mut values) = (StringBuilder::new(), StringBuilder::new());
        let mut lengths = Vec::with_capacity(texts.len());
        for text in texts {
            let mut entries: Vec<(&str, Option<&str>)> = Vec::new();
            let text = text.unwrap_or("");
            let found = if text.is_empty() { Vec::new() } else { split(&pairs, text, usize::MAX) };
            for pair in found {
                let parts = split(&between, pair, 2);
                let value = parts.get(1).copied();
                let key = value.and(parts.first().copied()).unwrap_or(pair);
                match entries.iter_mut().find(|(known, _)| *known == key) {
                    Some(entry) => entry.1 = value,
                    None => entries.push((key, value)),
                }
            }
            lengths.push(entries.len());
            for (key, value) in entries {
                keys.append_value(key);
                values.append_option(value);
            }
        }
        let offsets = OffsetBuffer::from_lengths(lengths);
        let nulls = texts.nulls().cloned();
        maps(Arc::new(keys.finish()), Arc::new(values.finish()), offsets, nulls, &output)
    });
    Ok(c.typed(expr, ty))
}

/// Java's `String.split`: no empty pieces at the end, unless there is a limit; none before a match of nothing at
/// the start.
fn split<'a>(regex: &JavaRegex, text: &'a str, limit: usize) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let mut done = 0;
    for found in regex.find_all(text) {
        if pieces.len() + 1 >= limit {
            break;
        }
        let (from, to) = found.span();
        if to == 0 {
            continue;
        }
        pieces.push(&text[done..from]);
        done = to;
    }
    if pieces.is_empty() {
        return vec![text];
    }
    pieces.push(&text[done..]);
    if limit == usize::MAX {
        while pieces.last().is_some_and(|piece| piece.is_empty()) {
            pieces.pop();
        }
    }
    pieces
}
