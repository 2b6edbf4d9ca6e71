//! `GROUPING SETS`, `ROLLUP` and `CUBE`: each row once per set, with NULL for the keys that the set has not.

use std::sync::Arc;

use datafusion_common::ScalarValue;
use datafusion_expr::expr::InList;
use datafusion_expr::{Expr, Operator};
use sqlparser::ast::{Expr as Syntax, Spanned};
use sqlparser::tokenizer::Location;

use crate::error::{Bound, Fault};
use crate::functions::compare::{binary, case};
use crate::functions::{literal, null_of};
use crate::relation::{Column, Node, Relation, Times, named};
use crate::types::SqlType;

/// More sets are refused: each row is aggregated once for each.
const SETS_MAX: usize = 4096;
/// The column that numbers the sets.
pub(super) const NUMBER: &str = "$set";

/// The sets of keys that `GROUP BY` asks for, by the syntax of the keys. None: just one.
pub(super) fn sets<'q>(
    elements: impl Iterator<Item = &'q Syntax>,
    at: Location,
) -> Bound<Vec<Vec<&'q Syntax>>> {
    let mut all: Vec<Vec<&Syntax>> = vec![Vec::new()];
    for element in elements {
        let choices = choices(element, at)?;
        if all.len().saturating_mul(choices.len()) > SETS_MAX {
            return Err(Fault::unsupported(
                element.span().start,
                format!("more than {SETS_MAX} grouping sets"),
            )
            .or_at(at));
        }
        all = all.iter().flat_map(|set| choices.iter().map(|choice| [&set[..], choice].concat())).collect();
    }
    Ok(all)
}

/// The sets among which an element of `GROUP BY` chooses.
fn choices<'q>(element: &'q Syntax, at: Location) -> Bound<Vec<Vec<&'q Syntax>>> {
    let set = |keys: &'q Vec<Syntax>| keys.iter().collect::<Vec<_>>();
    Ok(match element {
        Syntax::GroupingSets(sets) => sets.iter().map(set).collect(),
        Syntax::Rollup(parts) => {
            (0..=parts.len()).rev().map(|count| parts[..count].iter().flatten().collect()).collect()
        }
        Syntax::Cube(parts) => {
            if parts.len() > SETS_MAX.ilog2() as usize {
                return Err(Fault::unsupported(at, format!("more than {SETS_MAX} grouping sets")));
            }
            let has = |choice: usize, part: usize| choice >> (parts.len() - 1 - part) & 1 == 1;
            let choice = |choice: usize| {
                let parts = parts.iter().enumerate().filter(|(part, _)| has(choice, *part));
                parts.flat_map(|(_, part)| part).collect()
            };
            (0..1_usize << parts.len()).rev().map(choice).collect()
        }
        Syntax::Tuple(keys) => vec![set(keys)],
        Syntax::Nested(inner) => choices(inner, at)?,
        other => vec![vec![other]],
    })
}

/// The rows of `input` once per set of `keys`: the columns of `input`, then each key under its name in the
/// result, then the set's number.
pub(super) fn expanded(
    input: &Arc<Relation>,
    keys: &[(String, String, SqlType)],
    sets: &[Vec<bool>],
) -> Arc<Relation> {
    let number = Column::plain(NUMBER, SqlType::Int);
    let repeated = Arc::new(Relation {
        columns: input.columns.iter().cloned().chain([number]).collect(),
        updating: input.updating,
        keys: Vec::new(),
        node: Node::Repeat {
            input: Arc::clone(input),
            times: Times::Fixed(sets.len() as u32),
            ordinal: Some(NUMBER.to_owned()),
        },
    });
    let mut columns: Vec<(String, Expr, SqlType)> = input
        .columns
        .iter()
        .map(|column| (column.name.clone(), named(&column.name), column.ty.clone()))
        .collect();
    for (place, (name, from, ty)) in keys.iter().enumerate() {
        let with: Vec<usize> = (0..sets.len()).filter(|set| sets[*set][place]).collect();
        let expr = match with.len() == sets.len() {
            true => named(from),
            false => case(vec![(is_among(&with), named(from))], Some(null_of(&ty.to_arrow()))),
        };
        columns.push((name.clone(), expr, ty.clone()));
    }
    columns.push((NUMBER.to_owned(), named(NUMBER), SqlType::Int));
    Relation::calc(&repeated, None, columns)
}

fn is_among(sets: &[usize]) -> Expr {
    let number = |set: &usize| literal(ScalarValue::Int32(Some(*set as i32)));
    match sets {
        [set] => binary(named(NUMBER), Operator::Eq, number(set)),
        sets => Expr::InList(InList {
            expr: Box::new(named(NUMBER)),
            list: sets.iter().map(number).collect(),
            negated: false,
        }),
    }
}

/// `GROUPING(keys)`: a bit per key, the last is the lowest, set where the row's set has not the key.
pub(super) fn grouping(keys: &[usize], sets: &[Vec<bool>]) -> Expr {
    let of_set = |set: &Vec<bool>| keys.iter().fold(0_i64, |bits, key| bits << 1 | i64::from(!set[*key]));
    let mut values: Vec<(i64, Vec<usize>)> = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        let bits = of_set(set);
        match values.iter_mut().find(|(known, _)| *known == bits) {
            Some((_, sets)) => sets.push(number),
            None => values.push((bits, vec![number])),
        }
    }
    let value = |bits: i64| literal(ScalarValue::Int64(Some(bits)));
    let last = values.pop().map_or(0, |(bits, _)| bits);
    if values.is_empty() {
        return value(last);
    }
    let branches = values.iter().map(|(bits, sets)| (is_among(sets), value(*bits))).collect();
    case(branches, Some(value(last)))
}
