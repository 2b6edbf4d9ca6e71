//! Tables that are read: only the columns, and of rows only the fields, that any query needs.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_expr::Expr;
use highwater_stream::{
    NodeId, OperatorSpec, RowtimeSpec, SourceSpec, carries_changes, finds_fields_by_name,
};

use super::{Draft, Lowering, mode, place_of, scan_key};
use crate::catalog::{ColumnDefinition, ColumnKind, TableDefinition};
use crate::relation::{Scan, named};
use crate::uses::Uses;

impl Lowering {
    pub(super) fn scan(&mut self, scan: &Scan) -> NodeId {
        let table = &scan.table;
        let read = Read::of(scan, &self.needed_of(scan));
        let rowtime = table.rowtime.as_ref().and_then(|(index, watermark)| {
            let name = &table.columns[*index].name;
            let column = read.kept.iter().position(|column| column.name == *name)?;
            Some(RowtimeSpec { column, watermark: watermark.clone(), idle_timeout_ms: scan.idle_timeout_ms })
        });
        let schema = Schema::new(read.kept.iter().map(|column| read.field(column)).collect::<Vec<_>>());
        let spec = SourceSpec {
            table: table.name.clone(),
            options: scan.options.clone(),
            physical: read.physical(),
            declared: declared(table),
            columns: read.columns,
            rowtime,
        };
        let updating = carries_changes(&scan.options);
        let mut identity = format!("source {} {}", table.name, place_of(&scan.options));
        if updating {
            // What reads it keeps another state than over rows that only come.
            identity.push_str(" changes");
        }
        self.node(Draft {
            kind: "source",
            description: format!("source {}", scan_key(scan)),
            identity: Some(identity),
            title: format!("Source({})", table.name),
            spec: OperatorSpec::Source(spec),
            inputs: Vec::new(),
            schema: Arc::new(schema),
            changelog: mode(updating),
            single: false,
            shared: true,
        })
    }

    /// Which of the table's columns any query or the watermark needs, at least one.
    fn needed_of(&self, scan: &Scan) -> Uses {
        let table = &scan.table;
        let mut needed = self.needed.get(&scan_key(scan)).cloned().unwrap_or_default();
        if let Some((index, watermark)) = &table.rowtime {
            needed.add_whole(&table.columns[*index].name);
            needed.add(watermark);
        }
        if needed.is_empty() {
            // COUNT(*) needs rows, not columns; the first is as good as any.
            table.columns.iter().take(1).for_each(|column| needed.add_whole(&column.name));
        }
        needed
    }
}

/// What is read of a table for the columns that are kept.
struct Read<'a> {
    table: &'a TableDefinition,
    kept: Vec<&'a ColumnDefinition>,
    /// What the kept columns are of those that are read.
    columns: Vec<Expr>,
    uses: Uses,
    /// Fields are found by their places: none may be left out.
    whole_rows: bool,
}

impl<'a> Read<'a> {
    fn of(scan: &'a Scan, needed: &Uses) -> Self {
        let table = &*scan.table;
        let kept: Vec<_> = table.columns.iter().filter(|column| needed.contains(&column.name)).collect();
        let mut uses = Uses::default();
        let mut columns = Vec::with_capacity(kept.len());
        for column in &kept {
            match &column.kind {
                ColumnKind::Computed(expr) => {
                    uses.add(expr);
                    columns.push(expr.clone());
                }
                ColumnKind::Physical | ColumnKind::Metadata { .. } => {
                    uses.add_all_of(&column.name, needed);
                    columns.push(named(&column.name));
                }
            }
        }
        if uses.is_empty() {
            // Rows of computed columns alone still need a column to be counted by.
            let physical = table.columns.iter().find(|column| matches!(column.kind, ColumnKind::Physical));
            physical.iter().for_each(|column| uses.add_whole(&column.name));
        }
        Self { table, kept, columns, uses, whole_rows: !finds_fields_by_name(&scan.options) }
    }

    fn field(&self, column: &ColumnDefinition) -> Field {
        match &column.kind {
            ColumnKind::Physical if !self.whole_rows => {
                self.uses.narrowed(&column.name, &column.ty).field(&column.name)
            }
            _ => column.ty.field(&column.name),
        }
    }

    /// What the connector delivers.
    fn physical(&self) -> SchemaRef {
        let read = self.table.columns.iter().filter(|column| self.uses.contains(&column.name));
        let fields = read.filter_map(|column| match &column.kind {
            ColumnKind::Physical => Some(self.field(column)),
            ColumnKind::Metadata { key, .. } => {
                let mut field = self.field(column);
                let mut marks = field.metadata().clone();
                marks.insert("metadata".to_owned(), key.clone());
                field.set_metadata(marks);
                Some(field)
            }
            ColumnKind::Computed(_) => None,
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// All columns of the record, whole.
fn declared(table: &TableDefinition) -> SchemaRef {
    let physical = table.columns.iter().filter(|column| matches!(column.kind, ColumnKind::Physical));
    Arc::new(Schema::new(physical.map(|column| column.ty.field(&column.name)).collect::<Vec<_>>()))
}
