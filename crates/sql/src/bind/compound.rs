//! Aggregates that are made of others: `LISTAGG`, variances, `COUNT` of several columns.

use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, Operator};
use highwater_stream::AggregateFunction;
use sqlparser::ast::{
    DuplicateTreatment, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    NullTreatment,
};
use sqlparser::tokenizer::Location;

use super::aggregate::BoundCall;
use super::expression::ExprBinder;
use crate::error::{Bound, Fault};
use crate::functions::cast::{self, OnFailure};
use crate::functions::compare::{binary, case, compare};
use crate::functions::{Call, Typed, arithmetic, collection, find, json, literal, null_of, text};
use crate::types::SqlType;

/// Adds a call to the aggregation and gives its result's column.
type Add<'a> = &'a mut dyn FnMut(BoundCall) -> Typed;

/// An aggregate call as written.
struct Written {
    name: String,
    at: Location,
    arguments: Vec<Typed>,
    distinct: bool,
    ignores_null: bool,
    filter: Option<Expr>,
    zone: chrono_tz::Tz,
}

/// Binds an aggregate that is made of others. None: it is one itself.
pub(super) fn bind(
    plain: &mut ExprBinder<'_>,
    function: &Function,
    name: &str,
    at: Location,
    add: Add<'_>,
) -> Bound<Option<Typed>> {
    let several =
        name == "COUNT" && matches!(&function.args, FunctionArguments::List(list) if list.args.len() > 1);
    if let "JSON_OBJECTAGG" | "JSON_ARRAYAGG" = name {
        return json_aggregate(plain, function, name == "JSON_OBJECTAGG", at, add).map(Some);
    }
    let bind: fn(Written, Add<'_>) -> Bound<Typed> = match name {
        "LISTAGG" => list_agg,
        "ARRAY_AGG" => array_agg,
        "STDDEV_POP" => |call, add| deviation(call, true, true, add),
        "STDDEV_SAMP" | "STDDEV" => |call, add| deviation(call, false, true, add),
        "VAR_POP" => |call, add| deviation(call, true, false, add),
        "VAR_SAMP" | "VARIANCE" => |call, add| deviation(call, false, false, add),
        "COUNT" if several => count_of_several,
        "PERCENTILE" => percentile,
        _ => return Ok(None),
    };
    let call = written(plain, function, name, at)?;
    bind(call, add).map(Some)
}

fn written(plain: &mut ExprBinder<'_>, function: &Function, name: &str, at: Location) -> Bound<Written> {
    if !function.within_group.is_empty() {
        return Err(Fault::unsupported(at, format!("WITHIN GROUP in {name}"))
            .hint("values are taken in order of arrival"));
    }
    let FunctionArguments::List(list) = &function.args else {
        return Err(Fault::new(at, format!("{name} without arguments")));
    };
    let mut treatment = function.null_treatment;
    for clause in &list.clauses {
        match clause {
            FunctionArgumentClause::IgnoreOrRespectNulls(found) if treatment.is_none() => {
                treatment = Some(*found);
            }
            other => return Err(Fault::unsupported(at, format!("'{other}' in {name}"))),
        }
    }
    if treatment.is_some() && name != "ARRAY_AGG" {
        return Err(Fault::new(at, format!("{name} takes no IGNORE NULLS or RESPECT NULLS")));
    }
    let mut arguments = Vec::with_capacity(list.args.len());
    for argument in &list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument else {
            return Err(Fault::new(at, format!("{name} of * or of a named argument")));
        };
        arguments.push(plain.bind(expr)?);
    }
    let filter = function.filter.as_deref().map(|filter| plain.condition(filter, "FILTER"));
    Ok(Written {
        name: name.to_owned(),
        at,
        arguments,
        distinct: list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
        ignores_null: treatment == Some(NullTreatment::IgnoreNulls),
        filter: filter.transpose()?,
        zone: plain.zone,
    })
}

impl Written {
    fn arity(&self, least: usize, most: usize) -> Bound<()> {
        let count = self.arguments.len();
        if (least..=most).contains(&count) {
            return Ok(());
        }
        let expected = if least == most { format!("{least}") } else { format!("{least} or {most}") };
        Err(Fault::new(self.at, format!("{} with {count} arguments: expected {expected}", self.name)))
    }

    fn call(&self, function: AggregateFunction, argument: Typed, output: SqlType) -> BoundCall {
        BoundCall {
            function,
            argument: Some(argument),
            distinct: self.distinct,
            filter: self.filter.clone(),
            output,
        }
    }

    /// All values that are not NULL, as an array.
    fn all_values(&self, argument: Typed, add: Add<'_>) -> Typed {
        let present = Expr::IsNotNull(Box::new(argument.expr.clone()));
        let filter = match &self.filter {
            Some(filter) => binary(filter.clone(), Operator::And, present),
            None => present,
        };
        let output = SqlType::Array(Box::new(argument.ty.clone()));
        let call = self.call(AggregateFunction::ArrayAgg, argument, output);
        add(BoundCall { filter: Some(filter), ..call })
    }
}

/// The values, NULL left out, with a literal between them. NULL over none.
fn list_agg(call: Written, add: Add<'_>) -> Bound<Typed> {
    call.arity(1, 2)?;
    let argument = call.arguments[0].clone();
    if !argument.ty.is_text() {
        return Err(Fault::new(argument.at, format!("LISTAGG of {}: expected STRING", argument.ty))
            .or_at(call.at)
            .hint("CAST(x AS STRING)"));
    }
    let separator = match call.arguments.get(1).map(|separator| &separator.expr) {
        None => ",".to_owned(),
        Some(Expr::Literal(ScalarValue::Utf8(Some(separator)), _)) => separator.clone(),
        Some(_) => return Err(Fault::new(call.at, "the separator of LISTAGG: expected a text literal")),
    };
    let argument = cast::implicit(argument, &SqlType::STRING, call.zone)?;
    let values = call.all_values(argument, add);
    Ok(Typed { expr: collection::joined(values.expr, &separator), ty: SqlType::STRING, at: call.at })
}

fn array_agg(call: Written, add: Add<'_>) -> Bound<Typed> {
    call.arity(1, 1)?;
    let argument = call.arguments[0].clone();
    super::aggregate::check_kept("ARRAY_AGG", &argument, call.at)?;
    if call.ignores_null {
        return Ok(call.all_values(argument, add));
    }
    let output = SqlType::Array(Box::new(argument.ty.clone()));
    Ok(add(call.call(AggregateFunction::ArrayAgg, argument, output)))
}

/// `[POWER(] squared distances / count [- 1] [, 0.5)]` in the type that AVG would have.
fn deviation(call: Written, population: bool, root: bool, add: Add<'_>) -> Bound<Typed> {
    call.arity(1, 1)?;
    let (at, zone) = (call.at, call.zone);
    let argument = call.arguments[0].clone();
    let Some((_, output)) = super::aggregate::result_type("AVG", &argument.ty) else {
        return Err(Fault::new(at, format!("cannot apply {} to {}", call.name, argument.ty)));
    };
    let inexact = matches!(argument.ty, SqlType::BigInt | SqlType::Decimal(..));
    if call.distinct && inexact {
        return Err(Fault::unsupported(at, format!("{} of DISTINCT {}", call.name, argument.ty))
            .hint("CAST the argument to DOUBLE"));
    }
    let squares = add(call.call(AggregateFunction::SquaredDistances, argument.clone(), SqlType::Double));
    let count = add(call.call(AggregateFunction::Count, argument, SqlType::BigInt));
    let number =
        |value: i64| Typed { expr: literal(ScalarValue::Int64(Some(value))), ty: SqlType::BigInt, at };
    let divisor = if population {
        count
    } else {
        let alone = compare(count.clone(), Operator::Eq, number(1), at, zone)?;
        let less = arithmetic::arithmetic(count, Operator::Minus, number(1), at, zone)?;
        let nothing = null_of(&SqlType::BigInt.to_arrow());
        Typed { expr: case(vec![(alone.expr, nothing)], Some(less.expr)), ..less }
    };
    let mut result = arithmetic::arithmetic(squares, Operator::Divide, divisor, at, zone)?;
    if root {
        let half = Typed { expr: literal(ScalarValue::Float64(Some(0.5))), ty: SqlType::Double, at };
        let arguments = vec![result, half];
        let Some(power) = find("POWER") else { return Err(Fault::unsupported(at, call.name)) };
        result = power(Call { name: "POWER", at, arguments, zone })?;
    }
    cast::explicit(result, &output, OnFailure::Fail, zone)
}

/// Rows in which no argument is NULL; with DISTINCT, their different combinations.
fn count_of_several(call: Written, add: Add<'_>) -> Bound<Typed> {
    let mut parts = Vec::with_capacity(call.arguments.len() * 2);
    for argument in &call.arguments {
        super::aggregate::check_kept("COUNT", argument, call.at)?;
        let text = cast::explicit(argument.clone(), &SqlType::STRING, OnFailure::Null, call.zone)?;
        parts.push(text::with_length(text.expr));
    }
    let key = Typed { expr: text::concat_all(parts), ty: SqlType::STRING, at: call.at };
    Ok(add(call.call(AggregateFunction::Count, key, SqlType::BigInt)))
}

/// The value at a share of the sorted values, between two of them by their distance.
fn percentile(call: Written, add: Add<'_>) -> Bound<Typed> {
    call.arity(2, 2)?;
    let argument = call.arguments[0].clone();
    if !argument.ty.is_numeric() {
        return Err(Fault::new(call.at, format!("cannot apply PERCENTILE to {}", argument.ty)));
    }
    if call.distinct {
        return Err(Fault::unsupported(call.at, "PERCENTILE of DISTINCT"));
    }
    let shares = shares(&call)?;
    let argument = cast::explicit(argument, &SqlType::Double, OnFailure::Fail, call.zone)?;
    let output = SqlType::Multiset(Box::new(SqlType::Double));
    let values = add(call.call(AggregateFunction::Collect, argument, output)).expr;
    let at = call.at;
    let of = |share: f64| {
        let expr = collection::percentile(values.clone(), share);
        Typed { expr, ty: SqlType::Double, at }
    };
    if let (SqlType::Double, [share]) = (shares.1, shares.0.as_slice()) {
        return Ok(of(*share));
    }
    let all = collection::array(shares.0.into_iter().map(of).collect(), at, call.zone)?;
    let nothing = null_of(&all.ty.to_arrow());
    let expr = case(vec![(Expr::IsNull(Box::new(values)), nothing)], Some(all.expr));
    Ok(Typed { expr, ..all })
}

/// The shares of PERCENTILE, and whether they are an array.
fn shares(call: &Written) -> Bound<(Vec<f64>, SqlType)> {
    let written = &call.arguments[1];
    let (values, ty) = match (&written.ty, &written.expr) {
        (SqlType::Array(element), Expr::ScalarFunction(array)) if array.func.name() == "array" => {
            let typed = |expr: &Expr| Typed { expr: expr.clone(), ty: (**element).clone(), at: written.at };
            (array.args.iter().map(typed).collect(), written.ty.clone())
        }
        _ => (vec![written.clone()], SqlType::Double),
    };
    let mut shares = Vec::with_capacity(values.len());
    for value in values {
        let share = cast::explicit(value, &SqlType::Double, OnFailure::Fail, call.zone)?;
        let Expr::Literal(ScalarValue::Float64(Some(share)), _) = share.expr else {
            return Err(Fault::unsupported(share.at, "PERCENTILE of a share that is no number literal")
                .or_at(call.at));
        };
        if !(0.0..=1.0).contains(&share) {
            return Err(Fault::new(call.at, format!("PERCENTILE of {share}: expected 0 to 1")));
        }
        shares.push(share);
    }
    Ok((shares, ty))
}

/// `JSON_OBJECTAGG(KEY key VALUE value ..)` or `JSON_ARRAYAGG(value ..)`: the values as JSON, in an array.
fn json_aggregate(
    plain: &mut ExprBinder<'_>,
    function: &Function,
    object: bool,
    at: Location,
    add: Add<'_>,
) -> Bound<Typed> {
    let name = if object { "JSON_OBJECTAGG" } else { "JSON_ARRAYAGG" };
    let found = super::syntax::clauses(function);
    let (mut nulls, mut key) = (object, None);
    for (clause, value) in &found.clauses {
        match *clause {
            "KEY" if key.is_none() => key = Some(plain.bind(value)?),
            "NULL ON NULL" => nulls = true,
            "ABSENT ON NULL" => nulls = false,
            other => return Err(Fault::new(at, format!("{name} with {other}"))),
        }
    }
    let [value] = found.plain.as_slice() else {
        return Err(Fault::new(at, format!("{name} with {} values: expected 1", found.plain.len())));
    };
    let raw = super::syntax::is_constructor(value);
    let value = plain.bind(value)?;
    let text = if raw { value.expr } else { json::text_of(value)? };
    let entry = match key {
        None => text,
        Some(key) if key.ty.is_text() => json::entry(key.expr, text),
        Some(key) => {
            return Err(
                Fault::new(key.at, format!("a key of {name} is {}: expected STRING", key.ty)).or_at(at)
            );
        }
    };
    let filter = function.filter.as_deref().map(|filter| plain.condition(filter, "FILTER"));
    let call = BoundCall {
        function: AggregateFunction::ArrayAgg,
        argument: Some(Typed { expr: entry, ty: SqlType::STRING, at }),
        distinct: false,
        filter: filter.transpose()?,
        output: SqlType::Array(Box::new(SqlType::STRING)),
    };
    let entries = add(call);
    Ok(Typed { expr: json::collected(entries.expr, object, nulls), ty: SqlType::STRING, at })
}
