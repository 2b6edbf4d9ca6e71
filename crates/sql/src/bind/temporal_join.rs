//! `JOIN versions FOR SYSTEM_TIME AS OF left.time`.

use std::sync::Arc;

use datafusion_expr::Expr;
use highwater_stream::JoinKind;
use sqlparser::ast::{Expr as Syntax, Spanned, TableFactor, TableVersion};
use sqlparser::tokenizer::Location;

use super::expression::{ExprBinder, Scope};
use super::join::{product, split};
use super::time_join::joined;
use super::{Ctes, Session};
use crate::error::{Bound, Fault};
use crate::relation::{Node, Over, Relation, column_name};
use crate::types::SqlType;

/// The time of the versions that a table in FROM is asked for.
pub(super) fn version(factor: &TableFactor) -> Option<&TableVersion> {
    match factor {
        TableFactor::Table { version, .. } => version.as_ref(),
        _ => None,
    }
}

impl Session<'_> {
    /// `left` joined with the versions of the table at `version`, where `on` is true.
    pub(super) fn temporal_join(
        &self,
        ctes: &Ctes,
        left: Scope,
        (factor, version): (&TableFactor, &TableVersion),
        kind: JoinKind,
        on: &Syntax,
        at: Location,
    ) -> Bound<Scope> {
        let TableVersion::ForSystemTimeAsOf(time) = version else {
            return Err(Fault::unsupported(at, "this clause behind a table").hint("FOR SYSTEM_TIME AS OF"));
        };
        let time = self.time_of_left(&left, time, at)?;
        let mut table = factor.clone();
        if let TableFactor::Table { version, .. } = &mut table {
            *version = None;
        }
        let right = self.factor(ctes, &table, at)?;
        let mut scope = product(left, right, kind);
        let on = ExprBinder::new(&scope, self.zone).condition(on, "ON")?;
        let Node::Join { left, right, .. } = &scope.relation.node else {
            return Err(Fault::unsupported(at, "FOR SYSTEM_TIME AS OF here"));
        };
        scope.relation = bind(left, right, kind, on, time, at)?;
        Ok(scope)
    }

    /// The column of `left` that the syntax names: its event time.
    fn time_of_left(&self, left: &Scope, syntax: &Syntax, at: Location) -> Bound<String> {
        let place = syntax.span().start;
        let place = if place.line == 0 { at } else { place };
        let bound = ExprBinder::new(left, self.zone).bind(syntax)?;
        let column = column_name(&bound.expr).and_then(|name| left.relation.index(name));
        let column = column.map(|index| &left.relation.columns[index]);
        match column {
            Some(column) if column.rowtime => Ok(column.name.clone()),
            Some(column) if column.proctime => {
                Err(Fault::unsupported(place, "a lookup join (FOR SYSTEM_TIME AS OF a processing time)")
                    .hint("join versions at an event time, or without FOR SYSTEM_TIME for the latest row"))
            }
            _ => Err(Fault::new(place, "FOR SYSTEM_TIME AS OF needs a time attribute of the left table")
                .hint("a column with a WATERMARK, unchanged")),
        }
    }
}

fn bind(
    left: &Arc<Relation>,
    right: &Arc<Relation>,
    kind: JoinKind,
    on: Expr,
    left_time: String,
    at: Location,
) -> Bound<Arc<Relation>> {
    if !matches!(kind, JoinKind::Inner | JoinKind::Left) {
        return Err(Fault::new(at, "a temporal join is an INNER or a LEFT JOIN"));
    }
    let (keys, residual) = split(left, right, super::join::conjuncts(on));
    let equal: Vec<usize> = keys.iter().filter_map(|key| right.index(&key.right)).collect();
    if !right.keys.iter().any(|key| !key.is_empty() && key.iter().all(|column| equal.contains(column))) {
        return Err(Fault::new(at, "a temporal join needs the primary key of its versioned table in ON")
            .hint("declare PRIMARY KEY (..) NOT ENFORCED, and compare all its columns with =; or a view that keeps the last row per key by ROW_NUMBER()"));
    }
    if !right.keys.iter().any(|key| equal.iter().all(|column| key.contains(column))) {
        return Err(Fault::unsupported(at, "a temporal join with more columns in '=' than the primary key")
            .hint("compare the others in WHERE"));
    }
    if keys.iter().any(|key| key.null_safe) {
        return Err(Fault::unsupported(at, "IS NOT DISTINCT FROM in a temporal join").hint("use ="));
    }
    let Some(right_time) = right.columns.iter().find(|column| column.rowtime) else {
        return Err(Fault::new(at, "a temporal join needs an event time of its versioned table")
            .hint("declare WATERMARK FOR .. AS .. on it"));
    };
    let is_instant = |side: &Relation, name: &str| {
        side.index(name).is_some_and(|index| matches!(side.columns[index].ty, SqlType::TimestampLtz(_)))
    };
    if is_instant(left, &left_time) != is_instant(right, &right_time.name) {
        let message = "a temporal join of a TIMESTAMP and a TIMESTAMP_LTZ as event times";
        return Err(Fault::new(at, message).hint("declare both of one type"));
    }
    let over = Over::Version { left: left_time, right: right_time.name.clone() };
    Ok(joined(left, right, kind, (keys, residual), over))
}
