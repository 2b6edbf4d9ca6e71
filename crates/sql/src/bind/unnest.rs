//! `UNNEST` behind a table: each row once per element.

use std::sync::Arc;

use chrono_tz::Tz;
use sqlparser::ast::{
    Expr as Syntax, Join, JoinConstraint, JoinOperator, Spanned, TableAlias, TableFactor, TableWithJoins,
    Value,
};
use sqlparser::tokenizer::Location;

use super::expression::{ExprBinder, Scope};
use crate::error::{Bound, Fault};
use crate::relation::{Column, Node, Relation, named, unique};
use crate::types::SqlType;

/// Whether nothing but `UNNEST` stands behind the first table.
pub(super) fn only(joins: &[Join], rest: &[TableWithJoins]) -> bool {
    let is_unnest = |factor: &TableFactor| matches!(factor, TableFactor::UNNEST { .. });
    let all = |joins: &[Join]| joins.iter().all(|join| is_unnest(&join.relation));
    all(joins) && rest.iter().all(|from| is_unnest(&from.relation) && all(&from.joins))
}

/// The columns of `scope` and those of every `UNNEST` behind it.
pub(super) fn join(scope: Scope, joins: &[Join], rest: &[TableWithJoins], zone: Tz) -> Bound<Scope> {
    let mut scope = scope;
    for join in joins {
        scope = unnest(&scope, &join.relation, is_outer(join)?, zone)?;
    }
    for from in rest {
        scope = unnest(&scope, &from.relation, false, zone)?;
        for join in &from.joins {
            scope = unnest(&scope, &join.relation, is_outer(join)?, zone)?;
        }
    }
    Ok(scope)
}

fn is_outer(join: &Join) -> Bound<bool> {
    let at = join.relation.span().start;
    let (outer, constraint) = match &join.join_operator {
        JoinOperator::CrossJoin(JoinConstraint::None) => return Ok(false),
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (false, constraint),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (true, constraint),
        _ => {
            return Err(Fault::unsupported(at, "this kind of join with UNNEST")
                .hint("CROSS JOIN UNNEST(...) or LEFT JOIN UNNEST(...) AS u (...) ON TRUE"));
        }
    };
    match constraint {
        JoinConstraint::On(Syntax::Value(value)) if value.value == Value::Boolean(true) => Ok(outer),
        _ => Err(Fault::unsupported(at, "a join with UNNEST on a condition other than TRUE")
            .hint("write ON TRUE and put the condition into WHERE")),
    }
}

fn unnest(scope: &Scope, factor: &TableFactor, outer: bool, zone: Tz) -> Bound<Scope> {
    let at = factor.span().start;
    let TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } = factor else {
        return Err(Fault::unsupported(at, "UNNEST WITH OFFSET").hint("use WITH ORDINALITY"));
    };
    let [syntax] = array_exprs.as_slice() else {
        return Err(Fault::unsupported(at, "UNNEST of several collections").hint("write one UNNEST for each"));
    };
    let collection = ExprBinder::new(scope, zone).bind(syntax)?;
    let at = collection.at;
    let mut elements = elements(&collection.ty, *with_ordinality, at)?;
    name_columns(&mut elements, alias.as_ref(), &collection.ty, at)?;

    let below = &scope.relation;
    let mut carried: Vec<_> = below
        .columns
        .iter()
        .map(|column| (column.name.clone(), named(&column.name), column.ty.clone()))
        .collect();
    carried.push(("$unnest".to_owned(), collection.expr, collection.ty));
    let input = Relation::calc(below, None, carried);
    let collection = input.columns.last().map_or_else(String::new, |column| column.name.clone());

    let called = elements.iter().map(|(name, _)| name.clone());
    let all = below.columns.iter().map(|column| column.name.clone()).chain(called.clone()).collect();
    let mut columns = below.columns.clone();
    let added = unique(all).into_iter().skip(columns.len());
    columns.extend(added.zip(&elements).map(|(name, (_, ty))| Column::plain(name, ty.clone())));

    let mut names = scope.names.clone();
    names.extend(called);
    let mut qualifiers = scope.qualifiers.clone();
    qualifiers.resize(names.len(), alias.as_ref().map(|alias| alias.name.value.clone()));
    let mut hidden = scope.hidden.clone();
    hidden.resize(names.len(), false);
    let node = Node::Unnest { input, collection, ordinality: *with_ordinality, outer };
    let relation = Arc::new(Relation { node, columns, updating: below.updating, keys: Vec::new() });
    let nesting = scope.nesting.clone();
    Ok(Scope { relation, qualifiers, names, hidden, nesting })
}

/// Names and types of an element's columns.
fn elements(ty: &SqlType, ordinality: bool, at: Location) -> Bound<Vec<(String, SqlType)>> {
    let mut columns = match ty {
        SqlType::Array(element) => match element.as_ref() {
            SqlType::Row(fields) => fields.clone(),
            element => vec![(String::new(), element.clone())],
        },
        SqlType::Map(..) if ordinality => {
            return Err(Fault::unsupported(at, "UNNEST of a MAP WITH ORDINALITY")
                .hint("the entries of a map have no order"));
        }
        SqlType::Map(key, value) => {
            vec![(String::new(), (**key).clone()), (String::new(), (**value).clone())]
        }
        other => return Err(Fault::new(at, format!("UNNEST of {other}: expected ARRAY or MAP"))),
    };
    if ordinality {
        columns.push(("ORDINALITY".to_owned(), SqlType::Int));
    }
    Ok(columns)
}

fn name_columns(
    elements: &mut [(String, SqlType)],
    alias: Option<&TableAlias>,
    ty: &SqlType,
    at: Location,
) -> Bound<()> {
    let names = alias.map_or(&[][..], |alias| alias.columns.as_slice());
    if names.is_empty() {
        let named = elements.len() > 1 && elements.iter().all(|(name, _)| !name.is_empty());
        return if named {
            Ok(())
        } else {
            Err(Fault::unsupported(at, format!("UNNEST of {ty} without column names"))
                .hint("UNNEST(...) AS u (x)"))
        };
    }
    if names.len() != elements.len() {
        let message = format!("{} column names for {} columns", names.len(), elements.len());
        return Err(Fault::new(names[0].name.span.start, message));
    }
    for (index, name) in names.iter().enumerate() {
        let name = &name.name;
        if names[..index].iter().any(|other| other.name.value == name.value) {
            return Err(Fault::new(name.span.start, format!("column '{}' appears twice", name.value)));
        }
        elements[index].0.clone_from(&name.value);
    }
    Ok(())
}
