//! `MATCH_RECOGNIZE`.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_stream::{AfterMatch, MatchOrder, VARIABLES_MAX};
use sqlparser::ast::{
    AfterMatchSkip, Expr as Syntax, FunctionArg, FunctionArgExpr, Ident, MatchRecognizePattern,
    MatchRecognizeSymbol, Measure, OrderByExpr, Query, RepetitionQuantifier, RowsPerMatch, Spanned,
    SymbolDefinition, TableAlias, TableFactor,
};
use sqlparser::tokenizer::Location;

use super::expression::{ExprBinder, Scope};
use super::literal::bind_interval;
use super::match_values::{Before, Rewriter};
use super::{Ctes, Session};
use crate::error::{Bound, Fault, nearest};
use crate::functions::clock::reads_clock;
use crate::functions::{Typed, integer_literal, is_fallible};
use crate::match_syntax::{DERIVED, WITHIN};
use crate::relation::{Column, Node, Relation, column_name};
use crate::types::SqlType;

/// The time attribute, if it is of event time, and the order among rows of one time.
type Order = (Option<String>, Vec<(String, MatchOrder)>);
/// `WITHIN` in ms, and per defined variable, by its number, its condition.
type Definitions<'a> = (Option<i64>, Vec<(usize, &'a Syntax)>);
/// Each measure with its name, and what they are computed from.
type Measures = (Vec<(String, Typed)>, Vec<Value>);

/// A pattern by the names of its input's columns.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) keys: Vec<String>,
    /// None: the order of arrival.
    pub(crate) time: Option<String>,
    /// The order among rows of one time; places are not known yet.
    pub(crate) order: Vec<(String, MatchOrder)>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) skip: AfterMatch,
    pub(crate) within_ms: Option<i64>,
    pub(crate) measures: Vec<datafusion_expr::Expr>,
    pub(crate) values: Vec<Value>,
}

/// A variable of a pattern.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) min: u32,
    pub(crate) max: Option<u32>,
    pub(crate) greedy: bool,
    pub(crate) condition: Option<Condition>,
}

/// What `DEFINE` says of a variable.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) condition: datafusion_expr::Expr,
    pub(crate) values: Vec<Value>,
    pub(crate) total: bool,
}

/// A value of a match.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Column { row: highwater_stream::MatchRow, column: String },
    Aggregate { variable: Option<usize>, call: crate::relation::Aggregate },
    Time(SqlType),
}

/// The clauses as written.
struct Clauses<'a> {
    partition_by: &'a [Syntax],
    order_by: &'a [OrderByExpr],
    measures: &'a [Measure],
    rows_per_match: Option<&'a RowsPerMatch>,
    skip: Option<&'a AfterMatchSkip>,
    pattern: &'a MatchRecognizePattern,
    symbols: &'a [SymbolDefinition],
}

/// Binds `t MATCH_RECOGNIZE (...) AS alias`.
pub(crate) fn bind<'a>(
    session: &Session<'_>,
    ctes: &Ctes,
    factor: &'a TableFactor,
    at: Location,
) -> Bound<(Arc<Relation>, Option<&'a TableAlias>)> {
    let TableFactor::MatchRecognize {
        table,
        partition_by,
        order_by,
        measures,
        rows_per_match,
        after_match_skip,
        pattern,
        symbols,
        alias,
    } = factor
    else {
        return Err(Fault::unsupported(at, "this item of FROM"));
    };
    let clauses = Clauses {
        partition_by,
        order_by,
        measures,
        rows_per_match: rows_per_match.as_ref(),
        skip: after_match_skip.as_ref(),
        pattern,
        symbols,
    };
    if let Some(column) = alias.as_ref().and_then(|alias| alias.columns.first()) {
        return Err(Fault::unsupported(column.name.span.start, "names for the columns of MATCH_RECOGNIZE")
            .hint("name them in MEASURES"));
    }
    let scope = match derived(table) {
        Some(query) => Scope::new(session.query(ctes, query)?, None),
        None => session.factor(ctes, table, at)?,
    };
    let relation = clauses.bind(session, &scope, at).map_err(|fault| fault.or_at(at))?;
    Ok((relation, alias.as_ref()))
}

/// The query in front of `MATCH_RECOGNIZE`.
fn derived(table: &TableFactor) -> Option<&Query> {
    let TableFactor::Table { name, args: Some(arguments), .. } = table else { return None };
    let [name] = name.0.as_slice() else { return None };
    match arguments.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Syntax::Subquery(query)))]
            if name.as_ident().is_some_and(|name| name.value == DERIVED) =>
        {
            Some(query)
        }
        _ => None,
    }
}

impl Clauses<'_> {
    fn bind(&self, session: &Session<'_>, scope: &Scope, at: Location) -> Bound<Arc<Relation>> {
        let input = &scope.relation;
        if input.updating {
            return Err(Fault::unsupported(at, "MATCH_RECOGNIZE over rows that change")
                .hint("rows that a GROUP BY or a join changes have no order in time"));
        }
        let same = scope.names.iter().zip(&input.columns).all(|(name, column)| *name == column.name);
        if !same || scope.hidden.contains(&true) {
            return Err(
                Fault::unsupported(at, "MATCH_RECOGNIZE over this item of FROM").hint("put it into a view")
            );
        }
        if let Some(RowsPerMatch::AllRows(_)) = self.rows_per_match {
            return Err(Fault::unsupported(at, "ALL ROWS PER MATCH").hint("ONE ROW PER MATCH"));
        }
        let keys = self.keys(input)?;
        let (time, order) = self.order(input, at)?;
        if self.measures.is_empty() {
            return Err(Fault::new(at, "MATCH_RECOGNIZE without MEASURES"));
        }
        let mut variables = variables(self.pattern, at)?;
        let (within_ms, definitions) = self.definitions(&variables)?;
        let names: Vec<String> = variables.iter().map(|variable| variable.name.clone()).collect();
        let mut before = Before::new(input);
        for column in keys.iter().chain(&time).chain(order.iter().map(|(column, _)| column)) {
            before.column(column, at)?;
        }
        for (index, definition) in &definitions {
            let mut rewriter = Rewriter::new(&mut before, &names, Some(*index), session.zone);
            let syntax = rewriter.rewrite(definition)?;
            let (values, of_values) = rewriter.finish();
            let condition = ExprBinder::new(&of_values, session.zone).condition(&syntax, "DEFINE")?;
            refuse_clock(&condition, definition.span().start)?;
            let total = !is_fallible(&condition);
            variables[*index].condition = Some(Condition { condition, values, total });
        }
        let (measures, values) = self.measures(session, &mut before, &names)?;
        let mut columns: Vec<Column> = Vec::with_capacity(keys.len() + measures.len());
        columns.extend(keys.iter().filter_map(|key| input.index(key)).map(|index| {
            let column = &input.columns[index];
            Column::plain(column.name.clone(), column.ty.clone())
        }));
        for (name, bound) in &measures {
            let value = column_name(&bound.expr).and_then(|name| name.strip_prefix("$value")?.parse().ok());
            let value = value.and_then(|index: usize| values.get(index));
            let rowtime = matches!(value, Some(Value::Time(_)));
            columns.push(Column { rowtime, ..Column::plain(name.clone(), bound.ty.clone()) });
        }
        check_names(&columns, at)?;
        if time.is_none() && values.iter().any(|value| matches!(value, Value::Time(_))) {
            return Err(Fault::unsupported(at, "MATCH_ROWTIME in the order of processing time"));
        }
        let pattern = Pattern {
            keys,
            time,
            order,
            skip: self.skip(&names, at)?,
            variables,
            within_ms,
            measures: measures.into_iter().map(|(_, bound)| bound.expr).collect(),
            values,
        };
        let node = Node::MatchRecognize { input: before.relation(), pattern: Arc::new(pattern) };
        Ok(Arc::new(Relation { node, columns, updating: false, keys: Vec::new() }))
    }

    fn keys(&self, input: &Relation) -> Bound<Vec<String>> {
        let key = |syntax: &Syntax| match syntax {
            Syntax::Identifier(name) => {
                known_column(input, name).map(|index| input.columns[index].name.clone())
            }
            other => Err(Fault::unsupported(other.span().start, "PARTITION BY an expression")
                .hint("name a column; compute it in a view")),
        };
        let keys = self.partition_by.iter().map(key).collect::<Bound<Vec<_>>>()?;
        if !keys.iter().filter_map(|key| input.index(key)).is_sorted_by(|a, b| a < b) {
            let place = self.partition_by[0].span().start;
            // Flink gives the values in the order of the table under names in the order as written.
            return Err(Fault::unsupported(place, "PARTITION BY columns in another order than the table's")
                .hint("name them in the order in which the table has them"));
        }
        Ok(keys)
    }

    /// The time attribute, and the order among rows of one time.
    fn order(&self, input: &Relation, at: Location) -> Bound<Order> {
        let column = |order: &OrderByExpr| {
            let place = order.expr.span().start;
            let Syntax::Identifier(name) = &order.expr else {
                return Err(Fault::unsupported(place, "ORDER BY an expression")
                    .or_at(at)
                    .hint("name a column"));
            };
            if order.with_fill.is_some() {
                return Err(Fault::unsupported(place, "WITH FILL"));
            }
            Ok((place, &input.columns[known_column(input, name)?]))
        };
        let [first, rest @ ..] = self.order_by else {
            return Err(Fault::new(at, "MATCH_RECOGNIZE needs ORDER BY a time attribute"));
        };
        let (place, time) = column(first)?;
        if !time.rowtime && !time.proctime {
            let message =
                format!("ORDER BY needs a time attribute first, but '{}' is {}", time.name, time.ty);
            return Err(Fault::new(place, message).hint(format!(
                "declare WATERMARK FOR {} AS ... in CREATE TABLE, and select the column unchanged",
                time.name
            )));
        }
        if first.options.asc == Some(false) {
            return Err(Fault::new(place, "the order by time must be ascending"));
        }
        let mut order = Vec::with_capacity(rest.len());
        for item in rest {
            let (place, column) = column(item)?;
            if time.proctime {
                return Err(Fault::unsupported(place, "ORDER BY more than processing time"));
            }
            let descending = item.options.asc == Some(false);
            let nulls_first = item.options.nulls_first.unwrap_or(!descending);
            order.push((column.name.clone(), MatchOrder { column: 0, descending, nulls_first }));
        }
        Ok(((!time.proctime).then(|| time.name.clone()), order))
    }

    /// `WITHIN`, and per defined variable its condition.
    fn definitions(&self, variables: &[Variable]) -> Bound<Definitions<'_>> {
        let (mut within_ms, mut defined) = (None, BTreeMap::new());
        for SymbolDefinition { symbol, definition } in self.symbols {
            let place = symbol.span.start;
            if symbol.value == WITHIN {
                within_ms = within(definition, place)?;
                continue;
            }
            // A variable that does not stand in PATTERN takes no row: what it would take does not matter.
            let known = variables.iter().position(|variable| variable.name == symbol.value);
            let Some(index) = known else { continue };
            if defined.insert(index, definition).is_some() {
                return Err(Fault::new(place, format!("variable '{}' is defined twice", symbol.value)));
            }
        }
        Ok((within_ms, defined.into_iter().collect()))
    }

    fn skip(&self, names: &[String], at: Location) -> Bound<AfterMatch> {
        let variable = |symbol: &Ident| {
            let place = names.iter().position(|name| *name == symbol.value);
            place.ok_or_else(|| {
                let message = format!("SKIP TO '{}': PATTERN has no such variable", symbol.value);
                Fault::new(symbol.span.start, message)
            })
        };
        Ok(match self.skip {
            // Not the default of the SQL standard, but Flink's.
            None | Some(AfterMatchSkip::ToNextRow) => AfterMatch::ToNextRow,
            Some(AfterMatchSkip::PastLastRow) => AfterMatch::PastLastRow,
            Some(AfterMatchSkip::ToFirst(symbol)) => {
                AfterMatch::ToFirst(variable(symbol).map_err(|f| f.or_at(at))?)
            }
            Some(AfterMatchSkip::ToLast(symbol)) => {
                AfterMatch::ToLast(variable(symbol).map_err(|f| f.or_at(at))?)
            }
        })
    }

    /// Each measure with its name, and what they are computed from.
    fn measures(&self, session: &Session<'_>, before: &mut Before, names: &[String]) -> Bound<Measures> {
        let mut rewriter = Rewriter::new(before, names, None, session.zone);
        let mut rewritten = Vec::with_capacity(self.measures.len());
        for measure in self.measures {
            rewritten.push(rewriter.rewrite(&measure.expr)?);
        }
        let (values, scope) = rewriter.finish();
        let mut measures = Vec::with_capacity(rewritten.len());
        for (syntax, measure) in rewritten.iter().zip(self.measures) {
            let bound = ExprBinder::new(&scope, session.zone).bind(syntax)?;
            if bound.ty == SqlType::Null || bound.ty.is_interval() {
                let message = format!("measure '{}' of type {}", measure.alias.value, bound.ty);
                return Err(Fault::unsupported(bound.at, message));
            }
            refuse_clock(&bound.expr, bound.at)?;
            measures.push((measure.alias.value.clone(), bound));
        }
        Ok((measures, values))
    }
}

pub(super) fn known_column(input: &Relation, name: &Ident) -> Bound<usize> {
    input.index(&name.value).ok_or_else(|| {
        let fault = Fault::new(name.span.start, format!("column '{}' not found", name.value));
        match nearest(&name.value, input.columns.iter().map(|column| column.name.as_str())) {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    })
}

fn refuse_clock(expr: &datafusion_expr::Expr, at: Location) -> Bound<()> {
    if reads_clock(expr) {
        Err(Fault::unsupported(at, "the current time in MATCH_RECOGNIZE"))
    } else {
        Ok(())
    }
}

fn check_names(columns: &[Column], at: Location) -> Bound<()> {
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].iter().any(|other| other.name == column.name) {
            return Err(Fault::new(at, format!("columns ambiguously defined: {}", column.name))
                .hint("give the measure another name"));
        }
    }
    Ok(())
}

fn within(syntax: &Syntax, at: Location) -> Bound<Option<i64>> {
    let Syntax::Interval(interval) = syntax else {
        return Err(Fault::new(at, format!("WITHIN '{syntax}': expected an interval"))
            .hint("WITHIN INTERVAL '1' HOUR"));
    };
    let bound = bind_interval(interval, at).map_err(|fault| fault.or_at(at))?;
    match (bound.ty, integer_literal(&bound.expr)) {
        (SqlType::IntervalDay, Some(ms)) if ms >= 0 => Ok(Some(ms).filter(|ms| *ms > 0)),
        (SqlType::IntervalDay, Some(_)) => Err(Fault::new(at, "WITHIN a negative interval")),
        _ => Err(Fault::new(at, "WITHIN an interval of months: expected a fixed length")
            .hint("WITHIN INTERVAL '30' DAY")),
    }
}

/// The pattern's variables in their order, as far as Flink takes the pattern.
fn variables(pattern: &MatchRecognizePattern, at: Location) -> Bound<Vec<Variable>> {
    let mut variables: Vec<Variable> = Vec::new();
    flatten(pattern, at, &mut variables)?;
    if variables.len() > VARIABLES_MAX {
        return Err(Fault::unsupported(at, format!("a pattern of more than {VARIABLES_MAX} variables")));
    }
    if variables.iter().all(|variable| variable.min == 0) {
        return Err(Fault::new(at, "patterns that can produce empty matches are not supported")
            .hint("there must be at least one variable that is not optional"));
    }
    if variables.last().is_some_and(|variable| variable.greedy) {
        return Err(Fault::new(at, "greedy quantifiers are not allowed as the last element of a pattern")
            .hint("finish the pattern with either a simple variable or a reluctant quantifier such as B+?"));
    }
    Ok(variables)
}

fn flatten(pattern: &MatchRecognizePattern, at: Location, variables: &mut Vec<Variable>) -> Bound<()> {
    match pattern {
        MatchRecognizePattern::Concat(parts) => {
            parts.iter().try_for_each(|part| flatten(part, at, variables))
        }
        MatchRecognizePattern::Group(inner) => flatten(inner, at, variables),
        MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(name)) => {
            add(name, RepetitionQuantifier::Exactly(1), false, variables)
        }
        MatchRecognizePattern::Repetition(inner, quantifier) => {
            let (inner, quantifier, reluctant) = match (&**inner, quantifier) {
                (MatchRecognizePattern::Repetition(inner, of), RepetitionQuantifier::AtMostOne) => {
                    (&**inner, of, true)
                }
                (inner, quantifier) => (inner, quantifier, false),
            };
            match name_of(inner) {
                Some(name) => add(name, quantifier.clone(), reluctant, variables),
                None => Err(Fault::unsupported(at, format!("'{pattern}': a quantifier behind a group"))
                    .hint("quantifiers stand behind variables")),
            }
        }
        MatchRecognizePattern::Symbol(_) => Err(Fault::unsupported(at, "^ and $ in PATTERN")),
        MatchRecognizePattern::Exclude(_) => Err(Fault::unsupported(at, "{- -} in PATTERN")),
        MatchRecognizePattern::Permute(_) => Err(Fault::unsupported(at, "PERMUTE in PATTERN")),
        MatchRecognizePattern::Alternation(_) => {
            Err(Fault::unsupported(at, format!("'{pattern}': alternation in PATTERN"))
                .hint("write one variable whose condition has an OR"))
        }
    }
}

fn name_of(pattern: &MatchRecognizePattern) -> Option<&Ident> {
    match pattern {
        MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(name)) => Some(name),
        MatchRecognizePattern::Group(inner) => name_of(inner),
        _ => None,
    }
}

fn add(
    name: &Ident,
    quantifier: RepetitionQuantifier,
    reluctant: bool,
    variables: &mut Vec<Variable>,
) -> Bound<()> {
    let at = name.span.start;
    let (min, max) = match quantifier {
        RepetitionQuantifier::ZeroOrMore => (0, None),
        RepetitionQuantifier::OneOrMore => (1, None),
        RepetitionQuantifier::AtMostOne => (0, Some(1)),
        RepetitionQuantifier::Exactly(n) => (n, Some(n)),
        RepetitionQuantifier::AtLeast(n) => (n, None),
        RepetitionQuantifier::Range(n, m) => (n, Some(m)),
        RepetitionQuantifier::AtMost(m) => {
            return Err(Fault::unsupported(at, format!("quantifier {{,{m}}}")).hint(format!("{{0,{m}}}")));
        }
    };
    if max.is_some_and(|max| max == 0 || max < min) {
        return Err(Fault::new(
            at,
            format!("quantifier of '{}': expected n of at least 1, then no less", name.value),
        ));
    }
    if variables.iter().any(|known| known.name == name.value) {
        return Err(Fault::unsupported(at, format!("variable '{}' twice in PATTERN", name.value))
            .hint("pattern variables must be unique"));
    }
    let optional = (min, max) == (0, Some(1));
    if optional && reluctant {
        return Err(Fault::unsupported(at, "a reluctant optional variable"));
    }
    if min == 0 && (optional || max.is_none()) && variables.last().is_some_and(|previous| previous.greedy) {
        return Err(Fault::unsupported(at, "an optional variable behind a greedy one")
            .hint("make the one before reluctant, such as A+?"));
    }
    let greedy = !reluctant && !optional && max != Some(min);
    variables.push(Variable { name: name.value.clone(), min, max, greedy, condition: None });
    Ok(())
}
