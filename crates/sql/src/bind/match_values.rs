//! What the expressions of `MATCH_RECOGNIZE` are computed from: rows of variables and aggregates over them.

use std::ops::ControlFlow;
use std::sync::Arc;

use chrono_tz::Tz;
use datafusion_common::ScalarValue;
use highwater_stream::{MatchRow, MatchValue};
use sqlparser::ast::{
    Expr as Syntax, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Spanned,
    Value as Literal, Visit, VisitMut, Visitor, VisitorMut,
};
use sqlparser::tokenizer::{Location, Span};

use super::aggregate::{aggregate_name, bind_call, plain_arguments};
use super::expression::{ExprBinder, Scope};
use super::match_recognize::{Value, known_column};
use crate::error::{Bound, Fault};
use crate::functions::times::Unit;
use crate::functions::{is_fallible, literal};
use crate::relation::{Aggregate, Column, Node, Relation, named};
use crate::types::SqlType;

/// Marks names that stand for values: no name of a user has this quote.
const MARK: char = '[';

/// The projection below the pattern: the columns it needs.
pub(super) struct Before {
    input: Arc<Relation>,
    columns: Vec<(String, datafusion_expr::Expr, SqlType)>,
}

impl Before {
    pub(super) fn new(input: &Arc<Relation>) -> Self {
        Self { input: Arc::clone(input), columns: Vec::new() }
    }

    /// Asks for a column of the input.
    pub(super) fn column(&mut self, name: &str, at: Location) -> Bound<()> {
        let column = self.input.index(name).map(|index| &self.input.columns[index]);
        let column = column.ok_or_else(|| Fault::new(at, format!("column '{name}' not found")))?;
        if column.proctime {
            return Err(Fault::unsupported(at, "processing time in MATCH_RECOGNIZE"));
        }
        self.expression(named(name), column.ty.clone(), at).map(|_| ())
    }

    fn expression(&mut self, expr: datafusion_expr::Expr, ty: SqlType, at: Location) -> Bound<String> {
        if let Some((name, ..)) = self.columns.iter().find(|(_, known, _)| *known == expr) {
            return Ok(name.clone());
        }
        if matches!(ty, SqlType::Array(_) | SqlType::Map(..) | SqlType::Row(_) | SqlType::Multiset(_)) {
            return Err(Fault::unsupported(at, format!("a column of type {ty} in MATCH_RECOGNIZE"))
                .hint("select the parts of it that are needed in a view"));
        }
        let name = crate::relation::column_name(&expr).map(str::to_owned);
        let name = name.unwrap_or_else(|| format!("$argument{}", self.columns.len()));
        self.columns.push((name.clone(), expr, ty));
        Ok(name)
    }

    pub(super) fn relation(mut self) -> Arc<Relation> {
        if self.columns.is_empty() {
            // Rows are counted by some column.
            let row = literal(ScalarValue::Boolean(Some(true)));
            self.columns.push(("$row".to_owned(), row, SqlType::Boolean));
        }
        Relation::calc(&self.input, None, self.columns)
    }
}

/// Puts names for values in place of references to rows.
pub(super) struct Rewriter<'a> {
    before: &'a mut Before,
    variables: &'a [String],
    /// The variable that is being defined; none: a measure.
    defined: Option<usize>,
    zone: Tz,
    values: Vec<Value>,
    types: Vec<SqlType>,
    navigation: Option<Navigation>,
}

/// `FIRST(.., offset)` or `LAST(.., offset)` around the place.
struct Navigation {
    first: bool,
    offset: usize,
    /// The variable of its columns, once known.
    variable: Option<Option<usize>>,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(
        before: &'a mut Before,
        variables: &'a [String],
        defined: Option<usize>,
        zone: Tz,
    ) -> Self {
        let (values, types) = (Vec::new(), Vec::new());
        Self { before, variables, defined, zone, values, types, navigation: None }
    }

    /// The expression over names of values.
    pub(super) fn rewrite(&mut self, syntax: &Syntax) -> Bound<Syntax> {
        let mut rewritten = syntax.clone();
        match VisitMut::visit(&mut rewritten, self) {
            ControlFlow::Continue(()) => Ok(rewritten),
            ControlFlow::Break(fault) => Err(fault.or_at(syntax.span().start)),
        }
    }

    /// The values, and a scope of their names.
    pub(super) fn finish(self) -> (Vec<Value>, Scope) {
        let columns = self.types.into_iter().enumerate();
        let columns = columns.map(|(index, ty)| Column::plain(MatchValue::name(index), ty)).collect();
        let relation = Relation { node: Node::OneRow, columns, updating: false, keys: Vec::new() };
        (self.values, Scope::new(Arc::new(relation), None))
    }

    /// The name of a value.
    fn value(&mut self, value: Value, ty: SqlType, at: Location) -> Ident {
        let index = self.values.iter().position(|known| *known == value).unwrap_or_else(|| {
            self.values.push(value);
            self.types.push(ty);
            self.values.len() - 1
        });
        Ident { value: MatchValue::name(index), quote_style: Some(MARK), span: Span::new(at, at) }
    }

    /// What stands in place of `syntax`, if it refers to rows.
    fn replaced(&mut self, syntax: &Syntax) -> Bound<Option<Syntax>> {
        let at = syntax.span().start;
        match syntax {
            Syntax::Identifier(name) if name.quote_style == Some(MARK) => Ok(None),
            Syntax::CompoundIdentifier(names) if names.iter().any(|name| name.quote_style == Some(MARK)) => {
                Ok(None)
            }
            Syntax::Identifier(name) => {
                if self.before.input.index(&name.value).is_none() {
                    if Unit::parse(&name.value).is_some() {
                        // Of `TIMESTAMPDIFF(SECOND, ..)`.
                        return Ok(None);
                    }
                    // It may be a function without parentheses; else it is unknown, and reported as such.
                    let scope = Scope::new(Arc::clone(&self.before.input), None);
                    return ExprBinder::new(&scope, self.zone).bind(syntax).map(|_| None);
                }
                self.column(None, name, &[]).map(Some)
            }
            Syntax::CompoundIdentifier(names) => match names.as_slice() {
                [variable, column, fields @ ..] => {
                    self.column(Some(self.variable(variable)?), column, fields).map(Some)
                }
                _ => Ok(None),
            },
            Syntax::CompoundFieldAccess { .. } => {
                Err(Fault::unsupported(at, "access to an element in MATCH_RECOGNIZE")
                    .hint("select the element in a view"))
            }
            Syntax::Function(function) => self.function(function, at),
            _ => Ok(None),
        }
    }

    fn variable(&self, name: &Ident) -> Bound<usize> {
        self.variables.iter().position(|variable| *variable == name.value).ok_or_else(|| {
            Fault::new(name.span.start, format!("pattern variable '{}' not found", name.value))
                .hint(format!("variables: {}", self.variables.join(", ")))
        })
    }

    fn column(&mut self, variable: Option<usize>, column: &Ident, fields: &[Ident]) -> Bound<Syntax> {
        let at = column.span.start;
        let index = known_column(&self.before.input, column)?;
        let ty = self.before.input.columns[index].ty.clone();
        self.before.column(&column.value, at)?;
        let (first, offset) = match &mut self.navigation {
            None => (false, 0),
            Some(navigation) => {
                if *navigation.variable.get_or_insert(variable) != variable {
                    return Err(Fault::new(at, "several pattern variables in one FIRST or LAST"));
                }
                (navigation.first, navigation.offset)
            }
        };
        let row = MatchRow { variable, first, offset };
        let value = self.value(Value::Column { row, column: column.value.clone() }, ty, at);
        if fields.is_empty() {
            return Ok(Syntax::Identifier(value));
        }
        Ok(Syntax::CompoundIdentifier(std::iter::once(value).chain(fields.iter().cloned()).collect()))
    }

    fn function(&mut self, function: &Function, at: Location) -> Bound<Option<Syntax>> {
        let name = function.name.to_string().to_uppercase();
        if let Some(aggregate) = aggregate_name(function) {
            return self.aggregate(function, aggregate, at).map(Some);
        }
        match name.as_str() {
            "FIRST" | "LAST" => self.navigate(function, name == "FIRST", at).map(Some),
            "MATCH_ROWTIME" => self.rowtime(function, at).map(Some),
            "PREV" | "NEXT" => {
                Err(Fault::unsupported(at, name).hint("LAST(A.x, 1) is the row of A before the last"))
            }
            "MATCH_PROCTIME" | "CLASSIFIER" | "MATCH_NUMBER" => Err(Fault::unsupported(at, name)),
            _ => Ok(None),
        }
    }

    fn navigate(&mut self, function: &Function, first: bool, at: Location) -> Bound<Syntax> {
        let name = if first { "FIRST" } else { "LAST" };
        if self.navigation.is_some() {
            return Err(Fault::unsupported(at, "FIRST or LAST within FIRST or LAST"));
        }
        let (of, offset) = match plain_arguments(function, at)?.as_slice() {
            [of] => (*of, 0),
            [of, Syntax::Value(value)] => {
                let offset = match &value.value {
                    Literal::Number(text, false) => text.parse::<u32>().ok(),
                    _ => None,
                };
                let wrong = || {
                    Fault::new(value.span.start, format!("{name} of row {value}: expected a whole number"))
                };
                (*of, offset.ok_or_else(wrong)? as usize)
            }
            _ => {
                return Err(Fault::new(at, format!("{name} takes a value and how many rows further"))
                    .hint(format!("{name}(A.x, 1)")));
            }
        };
        self.navigation = Some(Navigation { first, offset, variable: None });
        let rewritten = self.rewrite(of);
        self.navigation = None;
        Ok(Syntax::Nested(Box::new(rewritten?)))
    }

    fn aggregate(&mut self, function: &Function, name: &'static str, at: Location) -> Bound<Syntax> {
        if self.navigation.is_some() {
            return Err(Fault::unsupported(at, format!("{name} within FIRST or LAST")));
        }
        let mut finder = VariableFinder { variables: self.variables, found: Vec::new() };
        let _ = Visit::visit(function, &mut finder);
        let variable = match finder.found.as_slice() {
            [variable] => *variable,
            [] if is_star(function) => None,
            [] => return Err(no_variable(name, at)),
            _ => return Err(Fault::new(at, format!("several pattern variables in {name}"))),
        };
        let qualifier = variable.map(|variable| self.variables[variable].clone());
        let scope = Scope::new(Arc::clone(&self.before.input), qualifier);
        let call = bind_call(&mut ExprBinder::new(&scope, self.zone), function, name, at)?;
        if call.distinct || call.filter.is_some() {
            return Err(Fault::unsupported(
                at,
                format!("DISTINCT or FILTER in {name} within MATCH_RECOGNIZE"),
            ));
        }
        if call.argument.as_ref().is_some_and(|argument| is_fallible(&argument.expr)) {
            return Err(Fault::unsupported(at, format!("{name} of an expression that can fail"))
                .hint("compute it in a view below MATCH_RECOGNIZE"));
        }
        let argument = call
            .argument
            .map(|argument| self.before.expression(argument.expr, argument.ty, at))
            .transpose()?;
        let ty = call.output.clone();
        let call = Aggregate {
            function: call.function,
            argument,
            distinct: false,
            filter: None,
            output: call.output,
        };
        Ok(Syntax::Identifier(self.value(Value::Aggregate { variable, call }, ty, at)))
    }

    fn rowtime(&mut self, function: &Function, at: Location) -> Bound<Syntax> {
        if self.defined.is_some() || self.navigation.is_some() {
            return Err(Fault::unsupported(at, "MATCH_ROWTIME outside of MEASURES"));
        }
        let arguments = match &function.args {
            FunctionArguments::None => Vec::new(),
            _ => plain_arguments(function, at)?,
        };
        let input = &self.before.input;
        let ty = match arguments.as_slice() {
            // Also where the time attribute is TIMESTAMP_LTZ: then it is the time in UTC.
            [] => SqlType::Timestamp(3),
            [Syntax::Identifier(column)] => {
                let column = &input.columns[known_column(input, column)?];
                if !column.rowtime {
                    let message =
                        format!("MATCH_ROWTIME needs a time attribute, but '{}' is none", column.name);
                    return Err(Fault::new(at, message));
                }
                column.ty.clone()
            }
            _ => return Err(Fault::new(at, "MATCH_ROWTIME takes a time attribute or nothing")),
        };
        Ok(Syntax::Identifier(self.value(Value::Time(ty.clone()), ty, at)))
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = Fault;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Fault> {
        ControlFlow::Break(Fault::unsupported(query.span().start, "a subquery in MATCH_RECOGNIZE"))
    }

    fn pre_visit_expr(&mut self, syntax: &mut Syntax) -> ControlFlow<Fault> {
        match self.replaced(syntax) {
            Ok(Some(replaced)) => *syntax = replaced,
            Ok(None) => {}
            Err(fault) => return ControlFlow::Break(fault.or_at(syntax.span().start)),
        }
        ControlFlow::Continue(())
    }
}

fn no_variable(name: &str, at: Location) -> Fault {
    Fault::new(at, format!("no pattern variable in {name}")).hint(format!("{name}(A.x)"))
}

fn is_star(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)])
}

/// Finds whose columns stand in an expression: a variable's, or any row's.
struct VariableFinder<'a> {
    variables: &'a [String],
    found: Vec<Option<usize>>,
}

impl Visitor for VariableFinder<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, syntax: &Syntax) -> ControlFlow<()> {
        let variable = match syntax {
            Syntax::Identifier(_) => None,
            Syntax::CompoundIdentifier(names) => {
                names.first().and_then(|name| self.variables.iter().position(|known| *known == name.value))
            }
            _ => return ControlFlow::Continue(()),
        };
        if !self.found.contains(&variable) {
            self.found.push(variable);
        }
        ControlFlow::Continue(())
    }
}
