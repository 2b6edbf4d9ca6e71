//! Functions of text with a form: URLs, digits, alphabets.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Int64Type};
use sqlparser::tokenizer::Location;

use super::compare::unify_all;
use super::{Binder, Call, Typed, call, cast, literal, primitive, strings};
use crate::error::{Bound, Fault};
use crate::types::SqlType;

/// Functions by name.
pub(crate) const FUNCTIONS: &[(&str, Binder)] = &[
    ("TRANSLATE", translate),
    ("ELT", elt),
    ("PARSE_URL", parse_url),
    ("PRINTF", super::printf::printf),
    ("IS_ALPHA", |c| all_of(c, "is_alpha", "^\\p{L}+$")),
    ("IS_DIGIT", |c| all_of(c, "is_digit", "^\\p{Nd}+$")),
    ("IS_DECIMAL", |c| test(c, "is_decimal", is_decimal)),
    ("CURRENT_DATABASE", |c| {
        c.arity(0, 0)?;
        let name = datafusion_common::ScalarValue::Utf8(Some("default_database".to_owned()));
        Ok(c.typed(literal(name), SqlType::STRING))
    }),
];

/// FALSE of NULL.
fn test(c: Call<'_>, name: &'static str, f: fn(&str) -> bool) -> Bound<Typed> {
    c.arity(1, 1)?;
    let expr = call(name, DataType::Boolean, vec![c.text(0)?], move |arguments| {
        let rows = strings(&arguments[0])?.iter().map(|text| Some(text.is_some_and(f)));
        Ok(Arc::new(rows.collect::<BooleanArray>()))
    });
    Ok(c.typed(expr, SqlType::Boolean))
}

/// Whether the text follows a pattern of the `regex` crate; FALSE of NULL.
fn all_of(c: Call<'_>, name: &'static str, pattern: &str) -> Bound<Typed> {
    c.arity(1, 1)?;
    let pattern = regex::Regex::new(pattern).map_err(|e| Fault::unsupported(c.at, e))?;
    let expr = call(name, DataType::Boolean, vec![c.text(0)?], move |arguments| {
        let rows = strings(&arguments[0])?.iter();
        let rows = rows.map(|text| Some(text.is_some_and(|text| pattern.is_match(text))));
        Ok(Arc::new(rows.collect::<BooleanArray>()))
    });
    Ok(c.typed(expr, SqlType::Boolean))
}

/// A number as Java's `Double` or `Long` reads it.
fn is_decimal(text: &str) -> bool {
    text.parse::<i64>().is_ok() || cast::double_from_text(text.trim_matches(|c: char| c <= ' ')).is_some()
}

/// Characters of `from` become those at the same places of `to`, or go.
fn translate(c: Call<'_>) -> Bound<Typed> {
    c.arity(3, 3)?;
    let arguments = vec![c.text(0)?, c.text(1)?, c.text(2)?];
    let expr = call("translate", DataType::Utf8, arguments, |arguments| {
        let (texts, from, to) = (strings(&arguments[0])?, strings(&arguments[1])?, strings(&arguments[2])?);
        let mut results = StringBuilder::new();
        let mut out = String::new();
        for row in 0..texts.len() {
            if texts.is_null(row) {
                results.append_null();
                continue;
            }
            if from.is_null(row) {
                results.append_value(texts.value(row));
                continue;
            }
            let to = if to.is_null(row) { "" } else { to.value(row) };
            out.clear();
            for c in texts.value(row).chars() {
                match from.value(row).chars().position(|known| known == c) {
                    Some(place) => out.extend(to.chars().nth(place)),
                    None => out.push(c),
                }
            }
            results.append_value(&out);
        }
        Ok(Arc::new(results.finish()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

/// The text of that number, from 1.
fn elt(mut c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 64)?;
    let index = c.integer(0)?;
    let texts = c.arguments.split_off(1);
    if let Some(other) = texts.iter().find(|text| !text.ty.is_text() && text.ty != SqlType::Null) {
        return Err(Fault::unsupported(other.at, format!("ELT of {}", other.ty)).or_at(c.at));
    }
    let (texts, ty) = unify_all(texts, "ELT", c.at, c.zone)?;
    let ty = if ty == SqlType::Null { SqlType::STRING } else { ty };
    let mut arguments = vec![index];
    for text in texts {
        arguments.push(cast::implicit(text, &SqlType::STRING, c.zone)?.expr);
    }
    let expr = call("elt", DataType::Utf8, arguments, |arguments| {
        let indexes = primitive::<Int64Type>(&arguments[0])?;
        let columns: Vec<&StringArray> = arguments[1..].iter().map(strings).collect::<Result<_, _>>()?;
        let rows = indexes.iter().enumerate().map(|(row, index)| {
            let column = columns.get(usize::try_from(index? - 1).ok()?)?;
            column.is_valid(row).then(|| column.value(row))
        });
        Ok(Arc::new(rows.collect::<StringArray>()))
    });
    Ok(c.typed(expr, ty))
}

/// The parts of a URL as `java.net.URL` has them.
struct Url<'a> {
    protocol: String,
    authority: Option<&'a str>,
    user: Option<&'a str>,
    host: &'a str,
    path: String,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    /// None: Java knows no such protocol, or a part is malformed.
    fn new(text: &'a str) -> Option<Self> {
        let text = text.trim_matches(|c: char| c <= ' ');
        let text = if text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("url:")) {
            &text[4..]
        } else {
            text
        };
        let (protocol, rest) = text.split_once(':')?;
        let protocol = protocol.to_lowercase();
        if !["http", "https", "ftp", "file"].contains(&protocol.as_str()) {
            return None;
        }
        let (rest, fragment) = match rest.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (rest, None),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let mut url =
            Self { protocol, authority: None, user: None, host: "", path: String::new(), query, fragment };
        let mut path = rest;
        if let Some(behind) = rest.strip_prefix("//") {
            let end = behind.find('/').unwrap_or(behind.len());
            let authority = &behind[..end];
            path = &behind[end..];
            url.authority = Some(authority);
            let mut host = authority;
            if let Some((user, after)) = authority.split_once('@') {
                if after.contains('@') {
                    return None;
                }
                url.user = Some(user);
                host = after;
            }
            if host.starts_with('[') {
                return None;
            }
            if let Some((name, port)) = host.split_once(':') {
                let digits = port.strip_prefix('-').unwrap_or(port);
                if !digits.bytes().all(|b| b.is_ascii_digit())
                    || digits.len() > 9
                    || (port.len() != digits.len() && port != "-1")
                {
                    return None;
                }
                host = name;
            }
            url.host = host;
        }
        url.path = plain_path(path);
        Some(url)
    }

    fn part(&self, part: &str) -> Option<String> {
        Some(match part {
            "HOST" => self.host.to_owned(),
            "PATH" => self.path.clone(),
            "QUERY" => self.query?.to_owned(),
            "REF" => self.fragment?.to_owned(),
            "PROTOCOL" => self.protocol.clone(),
            "AUTHORITY" => self.authority?.to_owned(),
            "FILE" => match self.query {
                Some(query) => format!("{}?{query}", self.path),
                None => self.path.clone(),
            },
            "USERINFO" => self.user?.to_owned(),
            _ => return None,
        })
    }
}

/// Without `/./` and `name/../`.
fn plain_path(path: &str) -> String {
    let mut path = path.to_owned();
    while let Some(at) = path.find("/./") {
        path.replace_range(at..at + 2, "");
    }
    let mut from = 0;
    while let Some(at) = path[from..].find("/../").map(|at| at + from) {
        match path[..at].rfind('/') {
            Some(limit) if at > 0 && path[limit..].find("/../") != Some(0) => {
                path.replace_range(limit..at + 3, "");
                from = 0;
            }
            _ => from = at + 3,
        }
    }
    while path.ends_with("/..") {
        let at = path.find("/..").unwrap_or(0);
        match path[..at].rfind('/') {
            Some(limit) => path.truncate(limit + 1),
            None => break,
        }
    }
    if path.starts_with("./") && path.len() > 2 {
        path.replace_range(..2, "");
    }
    if path.ends_with("/.") {
        path.pop();
    }
    path
}

/// `PARSE_URL(url, part [, key of the query])`.
fn parse_url(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 3)?;
    let mut arguments = vec![c.text(0)?, c.text(1)?];
    if c.arguments.len() == 3 {
        arguments.push(c.text(2)?);
    }
    let expr = call("parse_url", DataType::Utf8, arguments, |arguments| {
        let (urls, parts) = (strings(&arguments[0])?, strings(&arguments[1])?);
        let keys = arguments.get(2).map(strings).transpose()?;
        let rows = urls.iter().zip(parts.iter()).enumerate().map(|(row, (url, part))| {
            let (url, part) = (Url::new(url?), part?);
            let Some(keys) = keys else { return url?.part(part) };
            if keys.is_null(row) || part != "QUERY" {
                return None;
            }
            let query = url?.part(part)?;
            let start = format!("{}=", keys.value(row));
            query.split('&').find_map(|pair| pair.strip_prefix(&start)).map(str::to_owned)
        });
        Ok(Arc::new(rows.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

/// `OVERLAY(text PLACING new FROM start [FOR length])`.
pub(crate) fn overlay(arguments: Vec<Typed>, at: Location, zone: chrono_tz::Tz) -> Bound<Typed> {
    let c = Call { name: "OVERLAY", at, arguments, zone };
    c.arity(3, 4)?;
    let mut arguments = vec![c.text(0)?, c.text(1)?, c.integer(2)?];
    if c.arguments.len() == 4 {
        arguments.push(c.integer(3)?);
    }
    let expr = call("overlay", DataType::Utf8, arguments, |arguments| {
        let (texts, news) = (strings(&arguments[0])?, strings(&arguments[1])?);
        let starts = primitive::<Int64Type>(&arguments[2])?;
        let lengths: Option<&Int64Array> = arguments.get(3).map(primitive::<Int64Type>).transpose()?;
        let rows = (0..texts.len()).map(|row| {
            if arguments.iter().any(|argument| argument.is_null(row)) {
                return None;
            }
            let (text, new) = (texts.value(row), news.value(row));
            let count = i64::try_from(text.chars().count()).ok()?;
            let start = starts.value(row);
            let length = match lengths {
                Some(lengths) => lengths.value(row),
                None => i64::try_from(new.chars().count()).ok()?,
            };
            if start <= 0 || start > count {
                return Some(text.to_owned());
            }
            let before = usize::try_from(start - 1).ok()?;
            let mut result: String = text.chars().take(before).collect();
            result.push_str(new);
            // Without a length above 0 all that is left goes, as in Flink.
            if length > 0 && start - 1 + length < count {
                result.extend(text.chars().skip(before + usize::try_from(length).ok()?));
            }
            Some(result)
        });
        Ok(Arc::new(rows.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}
