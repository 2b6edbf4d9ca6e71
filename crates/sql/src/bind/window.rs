//! Window table functions.

use std::sync::Arc;

use highwater_stream::WindowColumn;
use sqlparser::ast::{Expr as Syntax, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned};
use sqlparser::tokenizer::Location;

use super::{Ctes, Session};
use crate::error::{Bound, Fault, nearest};
use crate::relation::{Column, Node, Relation, Window, WindowRole, column_name, named, unique};
use crate::types::SqlType;

const FORM: &str = "TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND [, INTERVAL '2' SECOND offset])";

/// `TABLE(TUMBLE(...))`.
pub(crate) fn bind(session: &Session<'_>, ctes: &Ctes, syntax: &Syntax) -> Bound<Arc<Relation>> {
    let at = syntax.span().start;
    let Syntax::Function(function) = syntax else {
        return Err(Fault::unsupported(at, "this table function").hint(FORM));
    };
    let name = function.name.to_string().to_uppercase();
    if name != "TUMBLE" {
        let hint = match name.as_str() {
            "HOP" | "CUMULATE" | "SESSION" => "TUMBLE is supported",
            _ => FORM,
        };
        return Err(Fault::unsupported(at, format!("table function {name}")).hint(hint));
    }
    let arguments = named_arguments(function, at)?;
    let [Some(data), Some(time), Some(size), offset] = arguments else {
        return Err(Fault::new(at, "TUMBLE needs a table, a time column and a size").hint(FORM));
    };
    let input = match data {
        Syntax::Identifier(name) => session.relation(ctes, std::slice::from_ref(name))?,
        Syntax::CompoundIdentifier(names) => session.relation(ctes, names)?,
        Syntax::Subquery(query) => session.query(ctes, query)?,
        other => {
            return Err(Fault::new(other.span().start, format!("'{other}' is no table"))
                .or_at(at)
                .hint(FORM));
        }
    };
    let index = time_column(&input, time, at)?;
    let size_ms = interval(size, at)?;
    if size_ms <= 0 {
        return Err(Fault::new(size.span().start, format!("window size {size_ms} ms: expected more than 0"))
            .or_at(at));
    }
    let offset_ms = offset.map(|offset| interval(offset, at)).transpose()?.unwrap_or(0);
    if offset_ms.abs() >= size_ms {
        return Err(Fault::new(
            at,
            format!("window offset {offset_ms} ms: expected less than the size, {size_ms} ms"),
        ));
    }
    let zone =
        matches!(input.columns[index].ty, SqlType::TimestampLtz(_)).then(|| session.zone.name().to_owned());
    let window = Window { time: input.columns[index].name.clone(), size_ms, offset_ms, zone };
    Ok(table(&input, index, window))
}

fn table(input: &Arc<Relation>, index: usize, window: Window) -> Arc<Relation> {
    let mut columns: Vec<Column> = input
        .columns
        .iter()
        .map(|column| Column { rowtime: false, window: None, ..column.clone() })
        .collect();
    for (part, name) in [
        (WindowColumn::Start, "window_start"),
        (WindowColumn::End, "window_end"),
        (WindowColumn::Time, "window_time"),
    ] {
        let time = part == WindowColumn::Time;
        columns.push(Column {
            name: name.to_owned(),
            ty: if time { input.columns[index].ty.clone() } else { SqlType::Timestamp(3) },
            rowtime: time,
            proctime: false,
            window: Some(WindowRole { part, closed: false }),
        });
    }
    let names = unique(columns.iter().map(|column| column.name.clone()).collect());
    for (column, name) in columns.iter_mut().zip(names) {
        column.name = name;
    }
    Arc::new(Relation {
        columns,
        updating: input.updating,
        keys: input.keys.clone(),
        node: Node::WindowTable { input: Arc::clone(input), window },
    })
}

/// Table, time column, size, offset; by place or by name.
fn named_arguments(function: &Function, at: Location) -> Bound<[Option<&Syntax>; 4]> {
    const NAMES: [&str; 4] = ["DATA", "TIMECOL", "SIZE", "OFFSET"];
    let FunctionArguments::List(list) = &function.args else {
        return Err(Fault::new(at, "TUMBLE without arguments").hint(FORM));
    };
    let mut places = [None; 4];
    for (index, argument) in list.args.iter().enumerate() {
        let (place, expr) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (Some(index), expr),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                (NAMES.iter().position(|known| name.value.eq_ignore_ascii_case(known)), expr)
            }
            _ => return Err(Fault::new(at, "TUMBLE with an argument that is no expression").hint(FORM)),
        };
        match place.and_then(|place| places.get_mut(place)) {
            Some(slot @ None) => *slot = Some(expr),
            _ => {
                return Err(Fault::new(expr.span().start, "an argument TUMBLE does not have")
                    .or_at(at)
                    .hint(FORM));
            }
        }
    }
    Ok(places)
}

fn time_column(input: &Relation, syntax: &Syntax, at: Location) -> Bound<usize> {
    let column = match syntax {
        Syntax::Function(function) if function.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") => {
            match super::aggregate::plain_arguments(function, at)?.as_slice() {
                [Syntax::Identifier(column)] => column,
                _ => return Err(Fault::new(at, "DESCRIPTOR needs one column").hint(FORM)),
            }
        }
        _ => return Err(Fault::new(syntax.span().start, "expected DESCRIPTOR(column)").or_at(at).hint(FORM)),
    };
    let place = column.span.start;
    let Some(index) = input.index(&column.value) else {
        let known = input.columns.iter().map(|column| column.name.as_str());
        let fault = Fault::new(place, format!("column '{}' not found", column.value));
        return Err(match nearest(&column.value, known) {
            Some(hint) => fault.hint(hint),
            None => fault,
        });
    };
    let found = &input.columns[index];
    if !found.rowtime {
        let message = format!("a window needs a time attribute, but '{}' is {}", column.value, found.ty);
        return Err(Fault::new(place, message).hint(format!(
            "declare WATERMARK FOR {} AS ... in CREATE TABLE, and select the column unchanged",
            column.value
        )));
    }
    Ok(index)
}

fn interval(syntax: &Syntax, at: Location) -> Bound<i64> {
    let place = syntax.span().start;
    let Syntax::Interval(interval) = syntax else {
        return Err(Fault::new(place, format!("'{syntax}' is no interval"))
            .or_at(at)
            .hint("INTERVAL '10' SECOND"));
    };
    let bound = super::expression::bind_interval(interval, place).map_err(|fault| fault.or_at(at))?;
    match (bound.ty, crate::functions::integer_literal(&bound.expr)) {
        (SqlType::IntervalDay, Some(ms)) => Ok(ms),
        _ => Err(Fault::new(place, "a window of months: expected a fixed length")
            .or_at(at)
            .hint("INTERVAL '30' DAY")),
    }
}

/// Names of the columns that windows added.
pub(crate) fn names(relation: &Relation) -> Vec<String> {
    relation
        .columns
        .iter()
        .filter(|column| column.window.is_some())
        .map(|column| column.name.clone())
        .collect()
}

/// The relation below a window table, with the projections and filters above it, and the window
/// by the names of the result.
pub(crate) fn strip(relation: &Arc<Relation>, at: Location) -> Bound<(Arc<Relation>, Window)> {
    match &relation.node {
        Node::WindowTable { input, window } => Ok((Arc::clone(input), window.clone())),
        Node::Calc { input, filter, columns } => {
            let (below, window) = strip(input, at)?;
            let gone = names(input);
            let touches = |expr: &datafusion_expr::Expr| {
                expr.column_refs().iter().any(|column| gone.contains(&column.name))
            };
            let mut kept = Vec::with_capacity(columns.len() + 1);
            for (column, expr) in relation.columns.iter().zip(columns) {
                if !touches(expr) {
                    kept.push((column.name.clone(), expr.clone(), column.ty.clone()));
                } else if column.window.is_none() {
                    return Err(computed_window(at));
                }
            }
            if filter.as_ref().is_some_and(touches) {
                return Err(computed_window(at));
            }
            let time = kept
                .iter()
                .find(|(_, expr, _)| column_name(expr) == Some(&window.time))
                .map(|(name, ..)| name.clone());
            let time = time.unwrap_or_else(|| {
                let ty = below
                    .index(&window.time)
                    .map_or(SqlType::Timestamp(3), |index| below.columns[index].ty.clone());
                kept.push(("$time".to_owned(), named(&window.time), ty));
                "$time".to_owned()
            });
            Ok((Relation::calc(&below, filter.clone(), kept), Window { time, ..window }))
        }
        _ => Err(Fault::unsupported(at, "a window aggregation over this query")
            .hint("aggregate directly over TABLE(TUMBLE(...)), its projections and filters")),
    }
}

fn computed_window(at: Location) -> Fault {
    Fault::unsupported(at, "an expression or filter over window_start, window_end below their aggregation")
        .hint("filter with HAVING, or select from the aggregation and filter there")
}
