//! Tables that statements declare and change.

use std::sync::Arc;

use sqlparser::ast::Query;
use sqlparser::tokenizer::Location;

use super::File;
use crate::bind::{View, table};
use crate::catalog::{ColumnDefinition, ColumnKind, TableDefinition};
use crate::error::{Bound, Fault};
use crate::relation::Relation;
use crate::statement::{Alter, ColumnSyntax, ColumnSyntaxKind, CreateTable, Name, apply_alter, merge_like};
use crate::types::SqlType;

impl File<'_> {
    pub(super) fn create_table(&mut self, mut create: CreateTable) -> Bound<()> {
        if !self.check_name(&create.name, create.if_not_exists, false)? {
            return Ok(());
        }
        if let Some(query) = create.query.take() {
            return self.create_as(create, &query);
        }
        if let Some(like) = create.like.take() {
            let Some(source) = self.declared.get(&like.source.value) else {
                let fault = Fault::new(like.source.at, format!("table '{}' not found", like.source.value));
                return Err(fault.hint("LIKE takes a table of this file"));
            };
            create = merge_like(source, &like, create)?;
        }
        self.declare(create)
    }

    /// Checks a declaration and keeps it.
    fn declare(&mut self, create: CreateTable) -> Bound<()> {
        let name = create.name.value.clone();
        let definition = table::define(&self.session, create.clone())?;
        self.session.tables.insert(name.clone(), Arc::new(definition));
        self.declared.insert(name, create);
        Ok(())
    }

    /// `CREATE TABLE ... AS SELECT`: the query's columns, and what it gives.
    fn create_as(&mut self, mut create: CreateTable, query: &Query) -> Bound<()> {
        if let Some(column) = create.columns.first() {
            return Err(Fault::unsupported(column.name.at, "columns in CREATE TABLE ... AS SELECT")
                .hint("name and convert them in the SELECT"));
        }
        let bound = self.session.top_query(query)?;
        let at = create.name.at;
        create.columns = bound.columns.iter().map(|column| physical(&column.name, &column.ty, at)).collect();
        let name = create.name.clone();
        self.declare(create)?;
        let output = self.output(&name, &[], &bound)?;
        self.sinks.push(name.value);
        self.outputs.push(output);
        Ok(())
    }

    pub(super) fn alter_table(&mut self, name: &Name, if_exists: bool, change: Alter) -> Bound<()> {
        let Some(declared) = self.declared.get(&name.value) else {
            if if_exists {
                return Ok(());
            }
            let what = if self.session.views.contains_key(&name.value) { "is a view" } else { "not found" };
            return Err(Fault::new(name.at, format!("table '{}' {what}", name.value)));
        };
        if let Alter::Rename(to) = &change {
            self.check_name(to, false, false)?;
        }
        let mut changed = declared.clone();
        apply_alter(&mut changed, change)?;
        let renamed = changed.name.value != name.value;
        self.declare(changed).map_err(|fault| fault.or_at(name.at))?;
        if renamed {
            self.declared.remove(&name.value);
            self.session.tables.remove(&name.value);
        }
        Ok(())
    }

    pub(super) fn alter_view(
        &mut self,
        name: &Name,
        to: Option<Name>,
        query: Option<Box<Query>>,
    ) -> Bound<()> {
        if !self.session.views.contains_key(&name.value) {
            return Err(Fault::new(name.at, format!("view '{}' not found", name.value)));
        }
        if let Some(to) = to {
            self.check_name(&to, false, false)?;
            if let Some(view) = self.session.views.remove(&name.value) {
                self.session.views.insert(to.value, view);
            }
        }
        if let Some(query) = query {
            self.session.top_query(&query)?;
            let view = View { columns: Vec::new(), query };
            self.session.views.insert(name.value.clone(), Arc::new(view));
        }
        Ok(())
    }
}

fn physical(name: &str, ty: &SqlType, at: Location) -> ColumnSyntax {
    let name = Name { value: name.to_owned(), at };
    ColumnSyntax { name, kind: ColumnSyntaxKind::Physical { ty: ty.clone(), not_null: false } }
}

/// The columns of a table or query as `DESCRIBE` shows them: name, type, nullable, key, extras, watermark.
pub(super) fn described(table: &TableDefinition, declared: Option<&CreateTable>) -> Vec<Vec<String>> {
    let syntax = |name: &str| declared?.columns.iter().find(|column| column.name.value == name);
    let watermark = declared.and_then(|create| create.watermark.as_ref());
    let key: Vec<&str> = table.primary_key.iter().map(|index| table.columns[*index].name.as_str()).collect();
    let cells = |column: &ColumnDefinition| {
        let extras = match (&column.kind, syntax(&column.name).map(|column| &column.kind)) {
            (ColumnKind::Physical, _) => String::new(),
            (ColumnKind::Metadata { key, is_virtual }, _) => {
                let from = if *key == column.name { String::new() } else { format!(" FROM '{key}'") };
                format!("METADATA{from}{}", if *is_virtual { " VIRTUAL" } else { "" })
            }
            (ColumnKind::Computed(_), Some(ColumnSyntaxKind::Computed(expression))) => {
                format!("AS {expression}")
            }
            (ColumnKind::Computed(expression), _) => format!("AS {expression}"),
        };
        let is_key = key.contains(&column.name.as_str());
        let key = if is_key { format!("PRI({})", key.join(", ")) } else { String::new() };
        let mark = watermark.filter(|(name, _)| name.value == column.name);
        let mark = mark.map_or_else(String::new, |(_, expression)| expression.to_string());
        let nullable = if column.not_null { "FALSE" } else { "TRUE" };
        vec![column.name.clone(), column.ty.to_string(), nullable.to_owned(), key, extras, mark]
    };
    table.columns.iter().map(cells).collect()
}

/// The columns of a view likewise.
pub(super) fn described_view(view: &Relation) -> Vec<Vec<String>> {
    let cells = |column: &crate::relation::Column| {
        let nullable = "TRUE".to_owned();
        vec![
            column.name.clone(),
            column.ty.to_string(),
            nullable,
            String::new(),
            String::new(),
            String::new(),
        ]
    };
    view.columns.iter().map(cells).collect()
}
