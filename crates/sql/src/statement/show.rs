//! Questions: `SHOW`, `DESCRIBE`, `EXPLAIN`, `USE`.

use std::fmt::Write as _;

use sqlparser::tokenizer::Token;

use super::{ColumnSyntaxKind, CreateTable, Cursor, Name, Statement, parse_any};
use crate::error::{Bound, Fault};

/// A question whose answer is a list.
#[derive(Debug)]
pub(crate) enum Show {
    Tables(Like),
    Views(Like),
    CreateTable(Name),
    CreateView(Name),
    /// `DESCRIBE t`, `SHOW COLUMNS FROM t`.
    Columns(Name, Like),
    Catalogs,
    CurrentCatalog,
    Databases,
    CurrentDatabase,
    /// `SET` without a key.
    Settings,
}

/// `LIKE 'pattern'`.
#[derive(Debug, Default)]
pub(crate) struct Like {
    pattern: Option<(String, bool)>,
}

impl Like {
    fn parse(cursor: &mut Cursor<'_>) -> Bound<Self> {
        let negated = cursor.take_keyword("NOT");
        if !cursor.take_keyword("LIKE") {
            return if negated { Err(cursor.expected("LIKE")) } else { Ok(Self::default()) };
        }
        Ok(Self { pattern: Some((cursor.string("a quoted pattern")?.value, negated)) })
    }

    /// Whether the name is asked for.
    pub(crate) fn takes(&self, name: &str) -> bool {
        self.pattern.as_ref().is_none_or(|(pattern, negated)| {
            let pattern: Vec<char> = pattern.chars().collect();
            let name: Vec<char> = name.chars().collect();
            like(&pattern, &name) != *negated
        })
    }
}

/// SQL's `LIKE` without escapes: `%` any text, `_` one character.
fn like(pattern: &[char], text: &[char]) -> bool {
    // Where to go on if what follows the last `%` does not fit.
    let (mut p, mut t, mut retry) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '_' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match retry {
                Some((star, at)) => {
                    retry = Some((star, at + 1));
                    (p, t) = (star + 1, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '%')
}

/// The question, if the statement is one.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Bound<Option<Statement>> {
    let at = cursor.at();
    if cursor.take_keyword("SHOW") {
        return parse_show(cursor).map(|show| Some(Statement::Show(show)));
    }
    if cursor.take_keyword("DESCRIBE") || cursor.take_keyword("DESC") {
        cursor.take_keyword("EXTENDED");
        return Ok(Some(Statement::Show(Show::Columns(cursor.table_name()?, Like::default()))));
    }
    if cursor.take_keyword("EXPLAIN") {
        if !cursor.take_keywords(&["PLAN", "FOR"]) {
            const DETAILS: [&str; 4] =
                ["ESTIMATED_COST", "CHANGELOG_MODE", "JSON_EXECUTION_PLAN", "PLAN_ADVICE"];
            while DETAILS.iter().any(|word| cursor.take_keyword(word)) {
                cursor.take(&Token::Comma);
            }
        }
        let inner = parse_any(cursor)?;
        if !matches!(inner, Statement::Query(_) | Statement::Insert(_)) {
            return Err(Fault::new(at, "EXPLAIN takes SELECT or INSERT INTO"));
        }
        return Ok(Some(Statement::Explain(Box::new(inner))));
    }
    if cursor.take_keyword("USE") {
        let catalog = cursor.take_keyword("CATALOG");
        let place = cursor.at();
        let mut names = vec![cursor.identifier("a name")?.value];
        while cursor.take(&Token::Period) {
            names.push(cursor.identifier("a name")?.value);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let known = matches!(
            (catalog, names.as_slice()),
            (true, ["default_catalog"])
                | (false, ["default_database"] | ["default_catalog", "default_database"])
        );
        if !known {
            let kind = if catalog { "catalog" } else { "database" };
            return Err(Fault::new(place, format!("{kind} '{}' does not exist", names.join(".")))
                .hint("there is one: default_catalog.default_database"));
        }
        return Ok(Some(Statement::Use));
    }
    Ok(None)
}

fn parse_show(cursor: &mut Cursor<'_>) -> Bound<Show> {
    let at = cursor.at();
    if cursor.take_keywords(&["CREATE", "TABLE"]) {
        return Ok(Show::CreateTable(cursor.table_name()?));
    }
    if cursor.take_keywords(&["CREATE", "VIEW"]) {
        return Ok(Show::CreateView(cursor.table_name()?));
    }
    if cursor.take_keyword("TABLES") {
        return Ok(Show::Tables(Like::parse(cursor)?));
    }
    if cursor.take_keyword("VIEWS") {
        return Ok(Show::Views(Like::parse(cursor)?));
    }
    if cursor.take_keyword("COLUMNS") {
        if !cursor.take_keyword("FROM") && !cursor.take_keyword("IN") {
            return Err(cursor.expected("FROM"));
        }
        let table = cursor.table_name()?;
        return Ok(Show::Columns(table, Like::parse(cursor)?));
    }
    if cursor.take_keyword("CATALOGS") {
        return Ok(Show::Catalogs);
    }
    if cursor.take_keyword("DATABASES") {
        return Ok(Show::Databases);
    }
    if cursor.take_keywords(&["CURRENT", "CATALOG"]) {
        return Ok(Show::CurrentCatalog);
    }
    if cursor.take_keywords(&["CURRENT", "DATABASE"]) {
        return Ok(Show::CurrentDatabase);
    }
    Err(Fault::unsupported(at, "this SHOW statement").hint(
        "SHOW TABLES, VIEWS, COLUMNS FROM t, CREATE TABLE t, CREATE VIEW v, CATALOGS, DATABASES, \
         CURRENT CATALOG, CURRENT DATABASE",
    ))
}

/// The declaration as a statement.
pub(crate) fn create_text(table: &CreateTable) -> String {
    let mut items: Vec<String> = Vec::new();
    for column in &table.columns {
        let name = quoted(&column.name.value);
        items.push(match &column.kind {
            ColumnSyntaxKind::Physical { ty, not_null: true } => format!("{name} {ty} NOT NULL"),
            ColumnSyntaxKind::Physical { ty, not_null: false } => format!("{name} {ty}"),
            ColumnSyntaxKind::Computed(expression) => format!("{name} AS {expression}"),
            ColumnSyntaxKind::Metadata { ty, key, is_virtual } => {
                let from = key.as_ref().map_or_else(String::new, |key| format!(" FROM {}", text(key)));
                format!("{name} {ty} METADATA{from}{}", if *is_virtual { " VIRTUAL" } else { "" })
            }
        });
    }
    if let Some((column, expression)) = &table.watermark {
        items.push(format!("WATERMARK FOR {} AS {expression}", quoted(&column.value)));
    }
    if let Some((_, key)) = &table.primary_key {
        let names: Vec<String> = key.iter().map(|name| quoted(&name.value)).collect();
        items.push(format!("PRIMARY KEY ({}) NOT ENFORCED", names.join(", ")));
    }
    let options: Vec<String> = table
        .options
        .iter()
        .map(|(key, option)| format!("{} = {}", text(key), text(&option.value)))
        .collect();
    let mut create = format!(
        "CREATE TABLE `default_catalog`.`default_database`.{} (\n  {}\n)",
        quoted(&table.name.value),
        items.join(",\n  ")
    );
    if !options.is_empty() {
        let _ = write!(create, "\nWITH (\n  {}\n)", options.join(",\n  "));
    }
    create
}

pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn patterns_of_names() {
        let takes = |pattern: &str, name: &str| {
            like(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
        };
        assert!(takes("%", "") && takes("a%", "a") && takes("%b_", "aabc") && takes("a%a%", "abaa"));
        assert!(!takes("a", "ab") && !takes("_", "") && !takes("%b", "abc") && !takes("", "a"));
    }
}
