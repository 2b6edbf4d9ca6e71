//! What a name means: tables of the file, and what the node adds.

use std::collections::BTreeMap;

use datafusion_expr::Expr;
use highwater_stream::{CONNECTORS, FORMATS, connector_options, format_options};
use sqlparser::tokenizer::Location;

use crate::error::{Bound, Fault, nearest};
use crate::statement::Options;
use crate::types::SqlType;

/// Tables that exist outside the file.
pub trait Catalog {
    /// The global table of that name.
    fn table(&self, name: &str) -> Option<TableDefinition>;
}

/// Nothing exists outside the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCatalog;

impl Catalog for NoCatalog {
    fn table(&self, _name: &str) -> Option<TableDefinition> {
        None
    }
}

/// A table that is declared.
#[derive(Clone, Debug)]
pub struct TableDefinition {
    /// Its name.
    pub name: String,
    /// Its columns, in order; names are unique.
    pub columns: Vec<ColumnDefinition>,
    /// Index of the rowtime column, and the watermark over all columns.
    pub rowtime: Option<(usize, Expr)>,
    /// Indexes of the primary key's columns.
    pub primary_key: Vec<usize>,
    /// Its `WITH` options.
    pub options: BTreeMap<String, String>,
    /// Whether it is a materialized table of the node: no connector reads it.
    pub materialized: bool,
    pub(crate) places: BTreeMap<String, Location>,
    pub(crate) at: Location,
}

/// A column that is declared.
#[derive(Clone, Debug)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// Whether it was declared `NOT NULL`.
    pub not_null: bool,
    /// Where its values come from.
    pub kind: ColumnKind,
}

/// Where a column's values come from.
#[derive(Clone, Debug)]
pub enum ColumnKind {
    /// The record.
    Physical,
    /// The connector: topic, partition, offset, timestamp.
    Metadata {
        /// The connector's name for it.
        key: String,
        /// Whether writers leave it out.
        is_virtual: bool,
    },
    /// An expression over the other columns.
    Computed(Expr),
}

impl TableDefinition {
    /// The columns that a writer fills.
    pub fn written_columns(&self) -> impl Iterator<Item = &ColumnDefinition> {
        self.columns.iter().filter(|column| match &column.kind {
            ColumnKind::Physical => true,
            ColumnKind::Metadata { is_virtual, .. } => !is_virtual,
            ColumnKind::Computed(_) => false,
        })
    }

    pub(crate) fn place(&self, option: &str) -> Location {
        self.places.get(option).copied().unwrap_or(self.at)
    }
}

/// Options and where they stand.
pub(crate) fn split_options(options: Options) -> (BTreeMap<String, String>, BTreeMap<String, Location>) {
    let places = options.iter().map(|(key, option)| (key.clone(), option.at)).collect();
    (options.into_iter().map(|(key, option)| (key, option.value)).collect(), places)
}

/// What a table is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    Read,
    Write,
}

/// Checks connector, format and the names of all options.
pub(crate) fn check_options(
    table: &TableDefinition,
    options: &BTreeMap<String, String>,
    usage: Usage,
    at: Location,
) -> Bound<()> {
    let names = || CONNECTORS.iter().map(|connector| connector.name);
    let Some(name) = options.get("connector") else {
        return Err(Fault::new(at, format!("table {} has no option 'connector'", table.name))
            .hint(format!("connectors: {}", names().collect::<Vec<_>>().join(", "))));
    };
    let place = |key: &str| if table.places.contains_key(key) { table.place(key) } else { at };
    let Some(connector) = connector_options(name) else {
        let hint = nearest(name, names())
            .unwrap_or_else(|| format!("connectors: {}", names().collect::<Vec<_>>().join(", ")));
        return Err(Fault::unsupported(place("connector"), format!("connector '{name}'")).hint(hint));
    };
    let (usable, verb) = match usage {
        Usage::Read => (connector.source, "read"),
        Usage::Write => (connector.sink, "written"),
    };
    if !usable {
        return Err(Fault::new(at, format!("table {}: connector '{name}' cannot be {verb}", table.name)));
    }
    for option in connector.options.iter().filter(|option| option.required) {
        if !options.contains_key(option.name) {
            return Err(Fault::new(
                at,
                format!("table {}: connector '{name}' needs option '{}'", table.name, option.name),
            )
            .hint(format!("'{}' = ... ({})", option.name, option.meaning)));
        }
    }
    if let Some(key) = options.keys().find(|key| !connector.knows(key)) {
        let known: Vec<&str> = connector
            .options
            .iter()
            .chain(FORMATS.iter().filter(|_| connector.formatted).flat_map(|format| format.options))
            .map(|option| option.name)
            .collect();
        let hint =
            nearest(key, known.iter().copied()).unwrap_or_else(|| format!("options: {}", known.join(", ")));
        return Err(Fault::new(place(key), format!("connector '{name}' has no option '{key}'")).hint(hint));
    }
    if connector.formatted { check_formats(table, options, at) } else { Ok(()) }
}

fn check_formats(table: &TableDefinition, options: &BTreeMap<String, String>, at: Location) -> Bound<()> {
    let known = || FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", ");
    if !options.contains_key("format") && !options.contains_key("value.format") {
        return Err(Fault::new(at, format!("table {} needs option 'format'", table.name))
            .hint(format!("formats: {}", known())));
    }
    for key in ["format", "value.format", "key.format"] {
        if let Some(name) = options.get(key)
            && format_options(name).is_none()
        {
            let place = if table.places.contains_key(key) { table.place(key) } else { at };
            return Err(
                Fault::unsupported(place, format!("format '{name}'")).hint(format!("formats: {}", known()))
            );
        }
    }
    if let Some(key) = options.get("key.format")
        && format_options(key).is_some_and(|format| format.changes)
    {
        return Err(Fault::new(at, format!("key.format '{key}' has changes, but a key is only inserted"))
            .hint("use 'key.format' = 'json'"));
    }
    Ok(())
}
