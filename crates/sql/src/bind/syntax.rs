//! Calls with a syntax of their own: JSON functions with clauses, `MAP[..]`, `BETWEEN SYMMETRIC`.

use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, Operator};
use sqlparser::ast::{Expr as Syntax, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};
use sqlparser::tokenizer::Location;

use super::expression::ExprBinder;
use crate::dialect::{BETWEEN_SYMMETRIC, IS_JSON, MAP};
use crate::error::{Bound, Fault};
use crate::functions::compare::{binary, case, compare};
use crate::functions::json::{self, Otherwise, Part, Wrapper};
use crate::functions::{Call, Typed, collection, literal};
use crate::types::SqlType;

/// The call's arguments: plain ones, and clauses by name.
pub(super) struct Clauses<'a> {
    pub(super) plain: Vec<&'a Syntax>,
    pub(super) clauses: Vec<(&'a str, &'a Syntax)>,
}

/// Sorts the arguments of a call that the dialect parsed.
pub(super) fn clauses(function: &Function) -> Clauses<'_> {
    let mut found = Clauses { plain: Vec::new(), clauses: Vec::new() };
    let FunctionArguments::List(list) = &function.args else { return found };
    for argument in &list.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => found.plain.push(expr),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                found.clauses.push((&name.value, expr));
            }
            _ => {}
        }
    }
    found
}

/// Binds such a call. None: it is a call like any other.
pub(super) fn bind(
    binder: &mut ExprBinder<'_>,
    function: &Function,
    name: &str,
    at: Location,
) -> Bound<Option<Typed>> {
    let bind: fn(&mut ExprBinder<'_>, &Clauses<'_>, Location) -> Bound<Typed> = match name {
        IS_JSON => is_json,
        BETWEEN_SYMMETRIC => between_symmetric,
        MAP => |binder, found, at| collection::map(all(binder, found)?, at, binder.zone),
        "ROW" => |binder, found, at| collection::row(all(binder, found)?, at),
        "JSON_EXISTS" => json_exists,
        "JSON_VALUE" => json_value,
        "JSON_QUERY" => json_query,
        "JSON_OBJECT" => |binder, found, at| construct(binder, found, true, at),
        "JSON_ARRAY" => |binder, found, at| construct(binder, found, false, at),
        _ => return Ok(None),
    };
    bind(binder, &clauses(function), at).map(Some)
}

fn all(binder: &mut ExprBinder<'_>, found: &Clauses<'_>) -> Bound<Vec<Typed>> {
    found.plain.iter().map(|argument| binder.bind(argument)).collect()
}

fn is_json(binder: &mut ExprBinder<'_>, found: &Clauses<'_>, at: Location) -> Bound<Typed> {
    let [operand, kind] = found.plain.as_slice() else { return Err(Fault::new(at, "IS JSON of nothing")) };
    let operand = binder.bind(operand)?;
    json::is_json(operand, &text_of(kind), at)
}

fn text_of(syntax: &Syntax) -> String {
    match syntax {
        Syntax::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

/// `(x >= low AND x <= high) OR (x >= high AND x <= low)`.
fn between_symmetric(binder: &mut ExprBinder<'_>, found: &Clauses<'_>, at: Location) -> Bound<Typed> {
    let mut values = all(binder, found)?;
    let (Some(high), Some(low), Some(x)) = (values.pop(), values.pop(), values.pop()) else {
        return Err(Fault::new(at, "BETWEEN SYMMETRIC needs two bounds"));
    };
    let zone = binder.zone;
    let within = |low: &Typed, high: &Typed| -> Bound<Expr> {
        let above = compare(x.clone(), Operator::GtEq, low.clone(), at, zone)?;
        let below = compare(x.clone(), Operator::LtEq, high.clone(), at, zone)?;
        Ok(binary(above.expr, Operator::And, below.expr))
    };
    let expr = binary(within(&low, &high)?, Operator::Or, within(&high, &low)?);
    Ok(Typed { expr, ty: SqlType::Boolean, at })
}

/// `(a, b) OVERLAPS (c, d)`; the second of a pair is a time or an interval.
pub(super) fn overlaps(
    binder: &mut ExprBinder<'_>,
    left: &Syntax,
    right: &Syntax,
    at: Location,
) -> Bound<Typed> {
    let (left, right) = (period(binder, left, at)?, period(binder, right, at)?);
    let zone = binder.zone;
    let reaches = |end: Typed, start: Typed| compare(end, Operator::GtEq, start, at, zone);
    let expr = binary(reaches(left.1, right.0)?.expr, Operator::And, reaches(right.1, left.0)?.expr);
    Ok(Typed { expr, ty: SqlType::Boolean, at })
}

/// The earlier and the later end.
fn period(binder: &mut ExprBinder<'_>, syntax: &Syntax, at: Location) -> Bound<(Typed, Typed)> {
    let Syntax::Tuple(ends) = syntax else {
        return Err(Fault::new(at, "OVERLAPS of what is no pair").hint("(start, end) OVERLAPS (start, end)"));
    };
    let [from, to] = ends.as_slice() else {
        return Err(Fault::new(at, format!("OVERLAPS of {} values: expected 2", ends.len())));
    };
    let (from, to) = (binder.bind(from)?, binder.bind(to)?);
    let to = if to.ty.is_interval() {
        crate::functions::times::plus_interval(from.clone(), to, false, at)?
    } else {
        to
    };
    let zone = binder.zone;
    let turned = compare(from.clone(), Operator::Gt, to.clone(), at, zone)?.expr;
    let pick = |first: &Typed, second: &Typed| -> Typed {
        let expr = case(vec![(turned.clone(), first.expr.clone())], Some(second.expr.clone()));
        Typed { expr, ty: second.ty.clone(), at }
    };
    if from.ty.to_arrow() != to.ty.to_arrow() {
        return Err(
            Fault::unsupported(at, format!("OVERLAPS of {} and {}", from.ty, to.ty)).hint("CAST one of them")
        );
    }
    Ok((pick(&to, &from), pick(&from, &to)))
}

fn call<'a>(
    binder: &mut ExprBinder<'_>,
    found: &Clauses<'_>,
    name: &'a str,
    at: Location,
) -> Bound<Call<'a>> {
    Ok(Call { name, at, arguments: all(binder, found)?, zone: binder.zone })
}

fn unexpected(clause: &str, name: &str, at: Location) -> Fault {
    Fault::new(at, format!("{name} with {clause}"))
}

fn json_exists(binder: &mut ExprBinder<'_>, found: &Clauses<'_>, at: Location) -> Bound<Typed> {
    let mut on_error = Otherwise::False;
    for (clause, _) in &found.clauses {
        on_error = match *clause {
            "TRUE ON ERROR" => Otherwise::True,
            "FALSE ON ERROR" => Otherwise::False,
            "UNKNOWN ON ERROR" => Otherwise::Null,
            "ERROR ON ERROR" => Otherwise::Fail,
            other => return Err(unexpected(other, "JSON_EXISTS", at)),
        };
    }
    json::exists(&call(binder, found, "JSON_EXISTS", at)?, on_error)
}

fn json_value(binder: &mut ExprBinder<'_>, found: &Clauses<'_>, at: Location) -> Bound<Typed> {
    let mut ty = SqlType::STRING;
    if let Some((_, returning)) = found.clauses.iter().find(|(clause, _)| *clause == "RETURNING") {
        ty = binder_type(returning, at)?;
        if !matches!(ty, SqlType::STRING | SqlType::Boolean | SqlType::Int | SqlType::Double) {
            return Err(Fault::unsupported(at, format!("JSON_VALUE RETURNING {ty}"))
                .hint("STRING, BOOLEAN, INT or DOUBLE; CAST the result to others"));
        }
    }
    let (mut on_empty, mut on_error, mut defaults) = (Otherwise::Null, Otherwise::Null, Vec::new());
    for (clause, value) in &found.clauses {
        let (otherwise, when) = match *clause {
            "RETURNING" => continue,
            "NULL ON EMPTY" => (Otherwise::Null, &mut on_empty),
            "ERROR ON EMPTY" => (Otherwise::Fail, &mut on_empty),
            "NULL ON ERROR" => (Otherwise::Null, &mut on_error),
            "ERROR ON ERROR" => (Otherwise::Fail, &mut on_error),
            "DEFAULT ON EMPTY" | "DEFAULT ON ERROR" => {
                defaults.push(default_of(binder.bind(value)?, &ty, at)?);
                let when = if clause.ends_with("EMPTY") { &mut on_empty } else { &mut on_error };
                (Otherwise::Default(defaults.len() - 1), when)
            }
            other => return Err(unexpected(other, "JSON_VALUE", at)),
        };
        *when = otherwise;
    }
    json::value(&call(binder, found, "JSON_VALUE", at)?, &ty, on_empty, on_error, defaults)
}

/// A default in the type that is returned; a truth value as the text Java gives it.
fn default_of(value: Typed, ty: &SqlType, at: Location) -> Bound<Expr> {
    let text = *ty == SqlType::STRING;
    match &value.expr {
        Expr::Literal(ScalarValue::Boolean(Some(truth)), _) if text => {
            return Ok(literal(ScalarValue::Utf8(Some(truth.to_string()))));
        }
        Expr::Literal(ScalarValue::Int32(Some(number)), _) if text => {
            return Ok(literal(ScalarValue::Utf8(Some(number.to_string()))));
        }
        Expr::Literal(ScalarValue::Null, _) => return Ok(crate::functions::null_of(&ty.to_arrow())),
        _ => {}
    }
    if value.ty.to_arrow() == ty.to_arrow() {
        return Ok(value.expr);
    }
    Err(Fault::unsupported(value.at, format!("DEFAULT of type {} where {ty} is returned", value.ty))
        .or_at(at)
        .hint("CAST it"))
}

fn binder_type(returning: &Syntax, at: Location) -> Bound<SqlType> {
    crate::types::type_of(&text_of(returning))
        .ok_or_else(|| Fault::unsupported(at, format!("type {returning}")))
}

fn json_query(binder: &mut ExprBinder<'_>, found: &Clauses<'_>, at: Location) -> Bound<Typed> {
    let (mut array, mut wrapper) = (false, Wrapper::Without);
    let (mut on_empty, mut on_error) = (Otherwise::Null, Otherwise::Null);
    for (clause, value) in &found.clauses {
        let (what, when) = match clause.rsplit_once(" ON ") {
            Some((what, "EMPTY")) => (what, &mut on_empty),
            Some((what, _)) => (what, &mut on_error),
            None if *clause == "RETURNING" => {
                match binder_type(value, at)? {
                    SqlType::STRING => {}
                    SqlType::Array(element) if *element == SqlType::STRING => array = true,
                    other => return Err(Fault::unsupported(at, format!("JSON_QUERY RETURNING {other}"))),
                }
                continue;
            }
            None => {
                wrapper = match *clause {
                    "WITHOUT WRAPPER" | "WITHOUT ARRAY WRAPPER" => Wrapper::Without,
                    other if other.contains(" CONDITIONAL") => Wrapper::Conditional,
                    _ => Wrapper::Unconditional,
                };
                continue;
            }
        };
        *when = match what {
            "NULL" => Otherwise::Null,
            "ERROR" => Otherwise::Fail,
            "EMPTY ARRAY" => Otherwise::EmptyArray,
            "EMPTY OBJECT" => Otherwise::EmptyObject,
            _ => return Err(unexpected(clause, "JSON_QUERY", at)),
        };
    }
    json::query(&call(binder, found, "JSON_QUERY", at)?, array, wrapper, on_empty, on_error)
}

fn construct(binder: &mut ExprBinder<'_>, found: &Clauses<'_>, object: bool, at: Location) -> Bound<Typed> {
    let mut nulls = object;
    let mut keys = Vec::new();
    for (clause, value) in &found.clauses {
        match *clause {
            "KEY" => keys.push(key_of(binder.bind(value)?, at)?),
            "NULL ON NULL" => nulls = true,
            "ABSENT ON NULL" => nulls = false,
            other => return Err(unexpected(other, if object { "JSON_OBJECT" } else { "JSON_ARRAY" }, at)),
        }
    }
    let mut keys = keys.into_iter();
    let mut parts = Vec::with_capacity(found.plain.len());
    for value in &found.plain {
        parts.push(Part { key: keys.next(), value: binder.bind(value)?, raw: is_constructor(value) });
    }
    json::construct(parts, object, nulls, at)
}

fn key_of(key: Typed, at: Location) -> Bound<String> {
    match key.expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Ok(text),
        _ => Err(Fault::new(key.at, "a key of JSON_OBJECT: expected a text literal").or_at(at)),
    }
}

/// Whether the value is JSON already: another JSON_OBJECT or JSON_ARRAY.
pub(super) fn is_constructor(syntax: &Syntax) -> bool {
    match syntax {
        Syntax::Nested(inner) => is_constructor(inner),
        Syntax::Function(function) => {
            let name = function.name.to_string().to_uppercase();
            matches!(name.as_str(), "JSON_OBJECT" | "JSON_ARRAY")
        }
        _ => false,
    }
}
