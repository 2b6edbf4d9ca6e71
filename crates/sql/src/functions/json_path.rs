//! JSON paths, as far as they name one value or all children: `$.a['b'][0].*`.

use super::json_value::Json;

/// A path of the SQL functions: strict unless it says lax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonPath {
    pub(crate) lax: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Property(String),
    /// From the end if negative.
    Index(i64),
    /// All children.
    Any,
}

/// What is at a path.
pub(crate) enum Found {
    /// One value; JSON's null in strict mode is an error.
    Value(Json),
    /// Nothing, where that is no error.
    Empty,
    /// Nothing, and that is an error.
    Error(String),
}

impl JsonPath {
    /// Reads a path. The error says what is not understood.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let (lax, path) = mode_of(text);
        let path = path.trim();
        if path.is_empty() {
            return Err("an empty JSON path".to_owned());
        }
        let mut rest = match path.strip_prefix('$') {
            Some(rest) => rest.to_owned(),
            None => format!(".{path}"),
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = read_step(&rest).ok_or_else(|| format!("JSON path '{text}' at '{rest}'"))?;
            let after = after.to_owned();
            steps.push(step);
            rest = after;
        }
        Ok(Self { lax, steps })
    }

    /// The value at the path. `document`: None if the text was no JSON.
    pub(crate) fn find(&self, document: Option<Json>) -> Found {
        let Some(document) = document else {
            return if self.lax { Found::Empty } else { Found::Error("the text is no JSON".to_owned()) };
        };
        if document == Json::Null {
            return Found::Error("the JSON is null".to_owned());
        }
        let mut values = Vec::new();
        if let Err(message) = walk(&self.steps, &document, true, self.lax, &mut values) {
            return Found::Error(message);
        }
        let one = !self.steps.contains(&Step::Any);
        let value = if one {
            values.pop().cloned()
        } else {
            Some(Json::Array(values.into_iter().cloned().collect()))
        };
        match value {
            Some(Json::Null) | None if self.lax => Found::Empty,
            Some(Json::Null) => Found::Error("the value at the path is null".to_owned()),
            None => Found::Error("no value at the path".to_owned()),
            Some(value) => Found::Value(value),
        }
    }
}

/// Whether the path is lax, and the path without that word.
fn mode_of(text: &str) -> (bool, &str) {
    let trimmed = text.trim_start();
    for (word, lax) in [("strict", false), ("lax", true)] {
        if let Some(head) = trimmed.get(..word.len())
            && head.eq_ignore_ascii_case(word)
            && trimmed[word.len()..].starts_with(|c: char| c.is_ascii_whitespace())
            && !trimmed[word.len()..].trim().is_empty()
        {
            return (lax, &trimmed[word.len()..]);
        }
    }
    (false, text)
}

fn read_step(rest: &str) -> Option<(Step, &str)> {
    if let Some(inside) = rest.strip_prefix('[') {
        if let Some(after) = inside.strip_prefix("*]") {
            return Some((Step::Any, after));
        }
        for mark in ['\'', '"'] {
            if let Some(name) = inside.strip_prefix(mark) {
                let end = name.find(mark)?;
                let after = name[end + 1..].strip_prefix(']')?;
                return (!name[..end].contains('\\'))
                    .then(|| (Step::Property(name[..end].to_owned()), after));
            }
        }
        let end = inside.find(']')?;
        let number = inside[..end].trim();
        let digits = number.strip_prefix('-').unwrap_or(number);
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        return plain
            .then(|| number.parse().ok())
            .flatten()
            .map(|index| (Step::Index(index), &inside[end + 1..]));
    }
    let name = rest.strip_prefix('.')?;
    if name.starts_with('[') {
        return read_step(name);
    }
    if let Some(after) = name.strip_prefix('*') {
        return Some((Step::Any, after));
    }
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let word = &name[..end];
    let odd = |c: char| {
        c.is_whitespace() || matches!(c, '(' | ')' | '?' | '@' | '\'' | '"' | ',' | '*' | '$' | ']')
    };
    (!word.is_empty() && !word.contains(odd)).then(|| (Step::Property(word.to_owned()), &name[end..]))
}

/// Collects what is at `steps`. `certain`: so far the path named one value.
fn walk<'a>(
    steps: &[Step],
    value: &'a Json,
    certain: bool,
    lax: bool,
    out: &mut Vec<&'a Json>,
) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        out.push(value);
        return Ok(());
    };
    let quiet = lax || !certain;
    match (step, value) {
        (Step::Property(name), Json::Object(fields)) => {
            match fields.iter().find(|(known, _)| known == name) {
                Some((_, child)) => walk(rest, child, certain, lax, out),
                None if rest.is_empty() || quiet => Ok(()),
                None => Err(format!("missing property '{name}' in path")),
            }
        }
        (Step::Index(index), Json::Array(items)) => {
            let place =
                if *index < 0 { index.checked_add_unsigned(items.len() as u64) } else { Some(*index) };
            match place.and_then(|place| usize::try_from(place).ok()).and_then(|place| items.get(place)) {
                Some(child) => walk(rest, child, certain, lax, out),
                None => Ok(()),
            }
        }
        (Step::Any, Json::Array(items)) => {
            items.iter().try_for_each(|child| walk(rest, child, false, lax, out))
        }
        (Step::Any, Json::Object(fields)) => {
            fields.iter().try_for_each(|(_, child)| walk(rest, child, false, lax, out))
        }
        (Step::Any, _) => Ok(()),
        _ if quiet => Ok(()),
        (Step::Property(name), _) => Err(format!("property '{name}' of what is no JSON object")),
        (Step::Index(index), _) => Err(format!("item {index} of what is no JSON array")),
    }
}
