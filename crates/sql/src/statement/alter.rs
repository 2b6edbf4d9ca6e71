//! `ALTER TABLE`, `ALTER VIEW` and `LIKE`: declarations made of others.

use sqlparser::ast::Query;
use sqlparser::tokenizer::{Location, Token};

use super::{CreateTable, Cursor, Name, Options, Statement, name_list, parse_options, parse_table_item};
use crate::error::{Bound, Fault};

/// `LIKE source (INCLUDING ...)`.
#[derive(Clone, Debug)]
pub(crate) struct Like {
    pub(crate) source: Name,
    /// As they stand, each feature once.
    pub(crate) choices: Vec<(Feature, Merge)>,
}

/// A part of a table that `LIKE` takes over or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    All,
    Constraints,
    Distribution,
    Generated,
    Metadata,
    Options,
    Partitions,
    Watermarks,
}

/// What happens to a part of the source table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    Including,
    Excluding,
    Overwriting,
}

const FEATURES: &[(&str, Feature)] = &[
    ("ALL", Feature::All),
    ("CONSTRAINTS", Feature::Constraints),
    ("DISTRIBUTION", Feature::Distribution),
    ("GENERATED", Feature::Generated),
    ("METADATA", Feature::Metadata),
    ("OPTIONS", Feature::Options),
    ("PARTITIONS", Feature::Partitions),
    ("WATERMARKS", Feature::Watermarks),
];

/// Behind the word `LIKE`.
pub(super) fn parse_like(cursor: &mut Cursor<'_>) -> Bound<Like> {
    let source = cursor.table_name()?;
    let mut choices: Vec<(Feature, Merge)> = Vec::new();
    if cursor.take(&Token::LParen) {
        while !cursor.take(&Token::RParen) {
            let at = cursor.at();
            let merge = match cursor.take_any_word().unwrap_or_default().to_uppercase().as_str() {
                "INCLUDING" => Merge::Including,
                "EXCLUDING" => Merge::Excluding,
                "OVERWRITING" => Merge::Overwriting,
                _ => return Err(Fault::new(at, "expected INCLUDING, EXCLUDING or OVERWRITING")),
            };
            let place = cursor.at();
            let word = cursor.take_any_word().unwrap_or_default().to_uppercase();
            let Some((_, feature)) = FEATURES.iter().find(|(name, _)| *name == word) else {
                let names: Vec<&str> = FEATURES.iter().map(|(name, _)| *name).collect();
                return Err(Fault::new(place, format!("expected one of {}", names.join(", "))));
            };
            let overwrites = [Feature::Generated, Feature::Metadata, Feature::Options, Feature::Watermarks];
            if merge == Merge::Overwriting && !overwrites.contains(feature) {
                return Err(Fault::new(at, format!("{word} cannot be overwritten"))
                    .hint("OVERWRITING takes GENERATED, METADATA, OPTIONS or WATERMARKS"));
            }
            if choices.iter().any(|(known, _)| known == feature) {
                return Err(Fault::new(at, format!("{word} appears twice")));
            }
            choices.push((*feature, merge));
        }
    }
    Ok(Like { source, choices })
}

impl Like {
    fn merge(&self, feature: Feature) -> Merge {
        let choice =
            |wanted| self.choices.iter().find(|(known, _)| *known == wanted).map(|(_, merge)| *merge);
        let default = if feature == Feature::Options { Merge::Overwriting } else { Merge::Including };
        choice(feature).or_else(|| choice(Feature::All)).unwrap_or(default)
    }
}

/// The declaration `create` with what it takes over from `source`.
pub(crate) fn merge(source: &CreateTable, like: &Like, create: CreateTable) -> Bound<CreateTable> {
    use super::ColumnSyntaxKind as Kind;
    let mut merged = CreateTable { columns: Vec::new(), options: Options::new(), ..create.clone() };
    merged.like = None;
    let takes = |feature: Feature| like.merge(feature) != Merge::Excluding;
    merged.columns.extend(
        source
            .columns
            .iter()
            .filter(|column| match column.kind {
                Kind::Physical { .. } => true,
                Kind::Metadata { .. } => takes(Feature::Metadata),
                Kind::Computed(_) => takes(Feature::Generated),
            })
            .cloned(),
    );
    for column in create.columns {
        let Some(place) = merged.columns.iter().position(|known| known.name.value == column.name.value)
        else {
            merged.columns.push(column);
            continue;
        };
        let feature = match (&merged.columns[place].kind, &column.kind) {
            (Kind::Metadata { .. }, Kind::Metadata { .. }) => Feature::Metadata,
            (Kind::Computed(_), Kind::Computed(_)) => Feature::Generated,
            _ => return Err(exists(&column.name, "column", None)),
        };
        // A column that the new table declares twice stands behind those of the source.
        let of_source = source.columns.iter().any(|known| known.name.value == column.name.value);
        if !of_source || like.merge(feature) != Merge::Overwriting {
            let word = if feature == Feature::Metadata { "METADATA" } else { "GENERATED" };
            return Err(exists(&column.name, "column", Some(word)));
        }
        merged.columns[place] = column;
    }
    match (&create.watermark, &source.watermark) {
        (None, Some(watermark)) if takes(Feature::Watermarks) => merged.watermark = Some(watermark.clone()),
        (Some((column, _)), Some(_)) if like.merge(Feature::Watermarks) == Merge::Including => {
            return Err(exists(column, "watermark of column", Some("WATERMARKS")));
        }
        _ => {}
    }
    if takes(Feature::Constraints) && source.primary_key.is_some() {
        if let Some((at, _)) = create.primary_key {
            return Err(Fault::new(at, format!("table '{}' already has a primary key", like.source.value))
                .hint("LIKE ... (EXCLUDING CONSTRAINTS)"));
        }
        merged.primary_key.clone_from(&source.primary_key);
    }
    if takes(Feature::Options) {
        merged.options.clone_from(&source.options);
    }
    for (key, value) in create.options {
        if like.merge(Feature::Options) == Merge::Including && merged.options.contains_key(&key) {
            return Err(Fault::new(
                value.at,
                format!("option '{key}' exists already in '{}'", like.source.value),
            )
            .hint("LIKE ... (OVERWRITING OPTIONS) or (EXCLUDING OPTIONS)"));
        }
        merged.options.insert(key, value);
    }
    Ok(merged)
}

fn exists(name: &Name, what: &str, feature: Option<&str>) -> Fault {
    let fault = Fault::new(name.at, format!("{what} '{}' exists already in the source table", name.value));
    match feature {
        Some(word) => fault.hint(format!("LIKE ... (EXCLUDING {word}) or (OVERWRITING {word})")),
        None => fault,
    }
}

/// A change of a declaration.
#[derive(Debug)]
pub(crate) enum Alter {
    Rename(Name),
    RenameColumn {
        from: Name,
        to: Name,
    },
    Set(Options),
    Reset(Vec<Name>),
    /// Columns, key and watermark that are new, with the places of the columns.
    Add(Box<CreateTable>, Vec<Place>),
    /// Those that take the place of others.
    Modify(Box<CreateTable>, Vec<Place>),
    DropColumns(Vec<Name>),
    DropPrimaryKey(Location),
    DropWatermark(Location),
}

/// Where a column goes.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// At the end, or where it is.
    Unsaid,
    First,
    After(Name),
}

/// Behind the word `ALTER`.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Bound<Statement> {
    let at = cursor.at();
    if cursor.take_keyword("VIEW") {
        let name = cursor.table_name()?;
        if cursor.take_keywords(&["RENAME", "TO"]) {
            return Ok(Statement::AlterView { name, to: Some(cursor.table_name()?), query: None });
        }
        cursor.expect_keyword("AS")?;
        let query: Box<Query> = cursor.query()?;
        return Ok(Statement::AlterView { name, to: None, query: Some(query) });
    }
    if !cursor.take_keyword("TABLE") {
        return Err(Fault::unsupported(at, "this ALTER statement").hint("ALTER TABLE, ALTER VIEW"));
    }
    let if_exists = cursor.take_keywords(&["IF", "EXISTS"]);
    let name = cursor.table_name()?;
    Ok(Statement::AlterTable { name, if_exists, change: parse_change(cursor)? })
}

fn parse_change(cursor: &mut Cursor<'_>) -> Bound<Alter> {
    let at = cursor.at();
    if cursor.take_keywords(&["RENAME", "TO"]) {
        return Ok(Alter::Rename(cursor.table_name()?));
    }
    if cursor.take_keyword("RENAME") {
        let from = cursor.identifier("a column name")?;
        cursor.expect_keyword("TO")?;
        return Ok(Alter::RenameColumn { from, to: cursor.identifier("a column name")? });
    }
    if cursor.take_keyword("SET") {
        return Ok(Alter::Set(parse_options(cursor)?));
    }
    if cursor.take_keyword("RESET") {
        cursor.expect(&Token::LParen)?;
        let mut keys = vec![cursor.string("a quoted option")?];
        while cursor.take(&Token::Comma) {
            keys.push(cursor.string("a quoted option")?);
        }
        cursor.expect(&Token::RParen)?;
        return Ok(Alter::Reset(keys));
    }
    if cursor.take_keyword("ADD") {
        let (items, places) = parse_items(cursor)?;
        return Ok(Alter::Add(items, places));
    }
    if cursor.take_keyword("MODIFY") {
        let (items, places) = parse_items(cursor)?;
        return Ok(Alter::Modify(items, places));
    }
    if cursor.take_keyword("DROP") {
        if cursor.take_keywords(&["PRIMARY", "KEY"]) {
            return Ok(Alter::DropPrimaryKey(at));
        }
        if cursor.take_keyword("CONSTRAINT") {
            cursor.identifier("a constraint name")?;
            return Ok(Alter::DropPrimaryKey(at));
        }
        if cursor.take_keyword("WATERMARK") {
            return Ok(Alter::DropWatermark(at));
        }
        if cursor.take(&Token::LParen) {
            return Ok(Alter::DropColumns(name_list(cursor, false)?));
        }
        return Ok(Alter::DropColumns(vec![cursor.identifier("a column name")?]));
    }
    Err(Fault::unsupported(at, "this change of a table")
        .hint("ALTER TABLE t RENAME TO u, RENAME a TO b, SET ('k' = 'v'), RESET ('k'), ADD, MODIFY, DROP"))
}

fn parse_items(cursor: &mut Cursor<'_>) -> Bound<(Box<CreateTable>, Vec<Place>)> {
    let mut items = Box::new(CreateTable::empty(Name { value: String::new(), at: cursor.at() }));
    let mut places = Vec::new();
    let list = cursor.take(&Token::LParen);
    loop {
        parse_table_item(cursor, &mut items)?;
        if items.columns.len() > places.len() {
            let place = if cursor.take_keyword("FIRST") {
                Place::First
            } else if cursor.take_keyword("AFTER") {
                Place::After(cursor.identifier("a column name")?)
            } else {
                Place::Unsaid
            };
            places.push(place);
        }
        if !list || !cursor.take(&Token::Comma) {
            break;
        }
    }
    if list {
        cursor.expect(&Token::RParen)?;
    }
    Ok((items, places))
}

/// Makes the change, except that of the table's name.
pub(crate) fn apply(table: &mut CreateTable, change: Alter) -> Bound<()> {
    match change {
        Alter::Rename(name) => table.name = name,
        Alter::RenameColumn { from, to } => {
            if table.columns.iter().any(|column| column.name.value == to.value) {
                return Err(Fault::new(to.at, format!("column '{}' exists already", to.value)));
            }
            let place = find(table, &from)?;
            for name in table.primary_key.iter_mut().flat_map(|(_, names)| names) {
                if name.value == from.value {
                    name.value.clone_from(&to.value);
                }
            }
            table.columns[place].name = to;
        }
        Alter::Set(options) => table.options.extend(options),
        Alter::Reset(keys) => {
            for key in keys {
                if key.value == "connector" {
                    return Err(Fault::new(key.at, "'connector' cannot be reset"));
                }
                table.options.remove::<String>(&key.value);
            }
        }
        Alter::Add(items, places) => add(table, *items, places)?,
        Alter::Modify(items, places) => modify(table, *items, places)?,
        Alter::DropColumns(names) => {
            for name in names {
                let place = find(table, &name)?;
                table.columns.remove(place);
            }
        }
        Alter::DropPrimaryKey(at) => {
            if table.primary_key.take().is_none() {
                return Err(Fault::new(at, format!("table '{}' has no primary key", table.name.value)));
            }
        }
        Alter::DropWatermark(at) => {
            if table.watermark.take().is_none() {
                return Err(Fault::new(at, format!("table '{}' has no watermark", table.name.value)));
            }
        }
    }
    Ok(())
}

fn find(table: &CreateTable, name: &Name) -> Bound<usize> {
    let place = table.columns.iter().position(|column| column.name.value == name.value);
    place.ok_or_else(|| {
        Fault::new(name.at, format!("table '{}' has no column '{}'", table.name.value, name.value))
    })
}

fn add(table: &mut CreateTable, items: CreateTable, places: Vec<Place>) -> Bound<()> {
    for (column, place) in items.columns.into_iter().zip(places) {
        if table.columns.iter().any(|known| known.name.value == column.name.value) {
            let message = format!("column '{}' exists already", column.name.value);
            return Err(Fault::new(column.name.at, message).hint("ALTER TABLE ... MODIFY"));
        }
        let index = match place {
            Place::Unsaid => table.columns.len(),
            Place::First => 0,
            Place::After(name) => find(table, &name)? + 1,
        };
        table.columns.insert(index, column);
    }
    if let Some((at, key)) = items.primary_key {
        if table.primary_key.is_some() {
            return Err(Fault::new(at, format!("table '{}' already has a primary key", table.name.value)));
        }
        table.primary_key = Some((at, key));
    }
    if let Some((column, expression)) = items.watermark {
        if table.watermark.is_some() {
            return Err(Fault::new(
                column.at,
                format!("table '{}' already has a watermark", table.name.value),
            ));
        }
        table.watermark = Some((column, expression));
    }
    Ok(())
}

fn modify(table: &mut CreateTable, items: CreateTable, places: Vec<Place>) -> Bound<()> {
    for (column, place) in items.columns.into_iter().zip(places) {
        let index = find(table, &column.name)?;
        match place {
            Place::Unsaid => table.columns[index] = column,
            Place::First => {
                table.columns.remove(index);
                table.columns.insert(0, column);
            }
            Place::After(name) => {
                table.columns.remove(index);
                let index = find(table, &name)? + 1;
                table.columns.insert(index, column);
            }
        }
    }
    if let Some((at, key)) = items.primary_key {
        if table.primary_key.is_none() {
            return Err(Fault::new(at, format!("table '{}' has no primary key", table.name.value)));
        }
        table.primary_key = Some((at, key));
    }
    if let Some((column, expression)) = items.watermark {
        if table.watermark.is_none() {
            return Err(Fault::new(column.at, format!("table '{}' has no watermark", table.name.value)));
        }
        table.watermark = Some((column, expression));
    }
    Ok(())
}
