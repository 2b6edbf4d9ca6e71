//! `CREATE TABLE`.

use std::sync::Arc;

use sqlparser::tokenizer::Location;

use super::Session;
use super::expression::{ExprBinder, Scope};
use crate::catalog::{ColumnDefinition, ColumnKind, TableDefinition, split_options};
use crate::error::{Bound, Fault, nearest};
use crate::relation::{Column, Node, Relation};
use crate::statement::{ColumnSyntaxKind, CreateTable, Name};
use crate::types::SqlType;

/// Metadata that `'connector' = 'kafka'` has, with its type.
const KAFKA_METADATA: &[(&str, SqlType, bool)] = &[
    ("topic", SqlType::STRING, true),
    ("partition", SqlType::Int, true),
    ("offset", SqlType::BigInt, true),
    ("timestamp", SqlType::TimestampLtz(3), false),
    ("timestamp-type", SqlType::STRING, true),
    ("leader-epoch", SqlType::Int, true),
];

/// Checks a declaration and binds its expressions.
pub(crate) fn define(session: &Session<'_>, create: CreateTable) -> Bound<TableDefinition> {
    let at = create.name.at;
    let (options, places) = split_options(create.options);
    let mut columns: Vec<ColumnDefinition> = Vec::with_capacity(create.columns.len());
    let mut computed = Vec::new();
    for column in create.columns {
        let name = column.name;
        if columns
            .iter()
            .chain(computed.iter().map(|(_, column, _)| column))
            .any(|known| known.name == name.value)
        {
            return Err(Fault::new(name.at, format!("column '{}' appears twice", name.value)));
        }
        let place = columns.len() + computed.len();
        match column.kind {
            ColumnSyntaxKind::Physical { ty, not_null } => {
                columns.push(ColumnDefinition { name: name.value, ty, not_null, kind: ColumnKind::Physical });
            }
            ColumnSyntaxKind::Metadata { ty, key, is_virtual } => {
                let key = key.unwrap_or_else(|| name.value.clone());
                let connector = options.get("connector").map_or("", String::as_str);
                check_metadata(connector, &key, &ty, is_virtual, name.at)?;
                let kind = ColumnKind::Metadata { key, is_virtual };
                columns.push(ColumnDefinition { name: name.value, ty, not_null: false, kind });
            }
            ColumnSyntaxKind::Computed(syntax) => {
                // The type is not known before all declared columns are.
                let kind = ColumnKind::Physical;
                let column = ColumnDefinition { name: name.value, ty: SqlType::Null, not_null: false, kind };
                computed.push((place, column, syntax));
            }
        }
    }
    let declared = scope(&columns, &create.name.value);
    for (place, mut column, syntax) in computed {
        let bound = ExprBinder::new(&declared, session.zone).bind(&syntax)?;
        if bound.ty == SqlType::Null || bound.ty.is_interval() {
            return Err(Fault::new(
                bound.at,
                format!("computed column '{}' of type {}", column.name, bound.ty),
            ));
        }
        column.ty = bound.ty;
        column.kind = ColumnKind::Computed(bound.expr);
        columns.insert(place.min(columns.len()), column);
    }
    if columns.is_empty() {
        return Err(Fault::new(at, format!("table {} has no columns", create.name.value)));
    }
    let mut table = TableDefinition {
        name: create.name.value,
        columns,
        rowtime: None,
        primary_key: Vec::new(),
        options,
        materialized: false,
        places,
        at,
    };
    if let Some((column, expression)) = create.watermark {
        table.rowtime = Some(watermark(session, &table, &column, &expression)?);
    }
    if let Some((at, names)) = create.primary_key {
        table.primary_key = primary_key(&table, at, &names)?;
        for index in &table.primary_key {
            table.columns[*index].not_null = true;
        }
    }
    Ok(table)
}

fn scope(columns: &[ColumnDefinition], table: &str) -> Scope {
    let columns =
        columns.iter().map(|column| Column::plain(column.name.clone(), column.ty.clone())).collect();
    let relation = Relation { node: Node::OneRow, columns, updating: false, keys: Vec::new() };
    Scope::new(Arc::new(relation), Some(table.to_owned()))
}

fn check_metadata(connector: &str, key: &str, ty: &SqlType, is_virtual: bool, at: Location) -> Bound<()> {
    if connector != "kafka" {
        return Err(Fault::unsupported(at, format!("metadata column '{key}' of connector '{connector}'"))
            .hint("connector 'kafka' has metadata columns"));
    }
    let names = || KAFKA_METADATA.iter().map(|(name, ..)| *name);
    let Some((_, delivered, read_only)) = KAFKA_METADATA.iter().find(|(name, ..)| *name == key) else {
        let fault = Fault::unsupported(at, format!("metadata key '{key}'"));
        let list = format!("keys: {}", names().collect::<Vec<_>>().join(", "));
        return Err(fault.hint(nearest(key, names()).unwrap_or(list)));
    };
    if delivered != ty {
        return Err(Fault::unsupported(at, format!("metadata '{key}' as {ty}"))
            .hint(format!("declare it as {delivered}")));
    }
    if *read_only && !is_virtual {
        return Err(Fault::new(at, format!("metadata '{key}' can only be read")).hint("add VIRTUAL"));
    }
    Ok(())
}

fn watermark(
    session: &Session<'_>,
    table: &TableDefinition,
    column: &Name,
    syntax: &sqlparser::ast::Expr,
) -> Bound<(usize, datafusion_expr::Expr)> {
    let known = || table.columns.iter().map(|column| column.name.as_str());
    let Some(index) = known().position(|name| name == column.value) else {
        let fault = Fault::new(
            column.at,
            format!("watermark column '{}' is not a column of the table", column.value),
        );
        return Err(fault.hint(format!("columns: {}", known().collect::<Vec<_>>().join(", "))));
    };
    if let ColumnKind::Computed(expr) = &table.columns[index].kind
        && highwater_stream::is_proctime(expr)
    {
        let message =
            format!("watermark column '{}' is a processing time, which has no watermark", column.value);
        return Err(Fault::new(column.at, message));
    }
    let is_rowtime = |ty: &SqlType| matches!(ty, SqlType::Timestamp(0..=3) | SqlType::TimestampLtz(0..=3));
    let ty = &table.columns[index].ty;
    if !is_rowtime(ty) {
        return Err(Fault::new(
            column.at,
            format!(
                "watermark column '{}' is {ty}: expected TIMESTAMP(p) or TIMESTAMP_LTZ(p), p up to 3",
                column.value
            ),
        ));
    }
    let bound = ExprBinder::new(&scope(&table.columns, &table.name), session.zone).bind(syntax)?;
    if !is_rowtime(&bound.ty) {
        return Err(Fault::new(
            bound.at,
            format!(
                "watermark expression is {}: expected TIMESTAMP(p) or TIMESTAMP_LTZ(p), p up to 3",
                bound.ty
            ),
        )
        .or_at(column.at));
    }
    Ok((index, bound.expr))
}

fn primary_key(table: &TableDefinition, at: Location, names: &[Name]) -> Bound<Vec<usize>> {
    let mut key = Vec::with_capacity(names.len());
    for name in names {
        let Some(index) = table.columns.iter().position(|column| column.name == name.value) else {
            return Err(Fault::new(
                name.at,
                format!("primary key column '{}' is not a column of the table", name.value),
            ));
        };
        if !matches!(table.columns[index].kind, ColumnKind::Physical) {
            return Err(Fault::new(
                name.at,
                format!("primary key column '{}' is not a physical column", name.value),
            ));
        }
        if key.contains(&index) {
            return Err(Fault::new(
                name.at,
                format!("column '{}' appears twice in the primary key", name.value),
            ));
        }
        key.push(index);
    }
    if key.is_empty() { Err(Fault::new(at, "a primary key without columns")) } else { Ok(key) }
}

/// `table.exec.source.idle-timeout`, ms; none or 0: never idle.
pub(crate) fn idle_timeout(session: &Session<'_>) -> Bound<Option<u64>> {
    let Some(text) = session.settings.get("table.exec.source.idle-timeout") else { return Ok(None) };
    match duration_ms(text) {
        Some(0) => Ok(None),
        Some(ms) => Ok(Some(ms)),
        None => {
            let nowhere = Location { line: 0, column: 0 };
            Err(Fault::new(
                nowhere,
                format!("table.exec.source.idle-timeout '{text}': expected a duration such as '5 s'"),
            ))
        }
    }
}

/// A duration as Flink writes it: `5 s`, `100ms`, `1 min`.
pub(crate) fn duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim().to_lowercase().as_str() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}
