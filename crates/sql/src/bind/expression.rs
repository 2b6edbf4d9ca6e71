//! Expressions: names, types, conversions.

use std::sync::Arc;

use chrono_tz::Tz;
use datafusion_common::ScalarValue;
use datafusion_expr::expr::InList;
use datafusion_expr::{Expr, Operator};
use sqlparser::ast::{
    self, AccessExpr, BinaryOperator, CastKind, CeilFloorKind, Expr as Syntax, Spanned, Subscript,
    UnaryOperator, Value,
};
use sqlparser::tokenizer::Location;

use super::aggregate::Grouping;
use super::literal::{bind_interval, bind_value, is_of_days, typed_literal};
use super::over::Overs;
use super::subquery::{self, Nesting};
use crate::error::{Bound, Fault, nearest};
use crate::functions::cast::{self, OnFailure};
use crate::functions::compare::{self, binary, case, compare};
use crate::functions::times::{self, Unit};
use crate::functions::{
    self, Call, Typed, arithmetic, clock, collection, is_fallible, literal, nested, regexp, text, text_forms,
};
use crate::relation::{Relation, named};
use crate::types::SqlType;

/// Expressions nested deeper are refused.
const DEPTH_MAX: usize = 128;

/// The columns an expression may name.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) relation: Arc<Relation>,
    /// Per column, the name before the point: `t` in `t.a`.
    pub(crate) qualifiers: Vec<Option<String>>,
    /// What each column is called in SQL; within one relation several may be called the same.
    pub(crate) names: Vec<String>,
    /// Per column: only its qualified name finds it, and `*` does not show it.
    pub(crate) hidden: Vec<bool>,
    /// The query around, and the subqueries within.
    pub(crate) nesting: Nesting,
}

impl Scope {
    pub(crate) fn new(relation: Arc<Relation>, qualifier: Option<String>) -> Self {
        let names: Vec<String> = relation.columns.iter().map(|column| column.name.clone()).collect();
        let (qualifiers, hidden) = (vec![qualifier; names.len()], vec![false; names.len()]);
        Self { relation, qualifiers, names, hidden, nesting: Nesting::default() }
    }

    /// The names of the columns that are not hidden.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &String> {
        self.names.iter().zip(&self.hidden).filter(|(_, hidden)| !**hidden).map(|(name, _)| name)
    }

    /// The column, or a field of it, that the names stand for.
    fn column(&self, names: &[ast::Ident], at: Location) -> Bound<Option<Typed>> {
        if let [table, column, rest @ ..] = names
            && let Some(column) = self.found(Some(&table.value), &column.value, at)?
        {
            return fields(column, rest).map(Some);
        }
        match self.found(None, &names[0].value, at)? {
            Some(column) => fields(column, &names[1..]).map(Some),
            None => Ok(None),
        }
    }

    fn found(&self, qualifier: Option<&str>, name: &str, at: Location) -> Bound<Option<Typed>> {
        let Self { qualifiers, names, hidden, .. } = self;
        let fits = |index: &usize| match qualifier {
            Some(_) => qualifiers[*index].as_deref() == qualifier,
            None => !hidden[*index],
        };
        let mut found = (0..names.len()).filter(|index| names[*index] == name).filter(fits);
        let Some(index) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(Fault::new(at, format!("column '{name}' is ambiguous"))
                .hint("put the table before the column, or name the columns apart with AS"));
        }
        let column = &self.relation.columns[index];
        Ok(Some(Typed { expr: named(&column.name), ty: column.ty.clone(), at }))
    }

    /// Whether a table of that name is in FROM.
    pub(crate) fn is_qualifier(&self, name: &str) -> bool {
        self.qualifiers.iter().any(|qualifier| qualifier.as_deref() == Some(name))
    }
}

/// Binds expressions over one scope; with `grouping`, over the result of an aggregation.
pub(crate) struct ExprBinder<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) zone: Tz,
    pub(crate) grouping: Option<&'a mut Grouping>,
    /// Where calls with `OVER` go; none: they are not allowed.
    pub(super) overs: Option<&'a mut Overs>,
    depth: usize,
}

impl<'a> ExprBinder<'a> {
    pub(crate) fn new(scope: &'a Scope, zone: Tz) -> Self {
        Self { scope, zone, grouping: None, overs: None, depth: 0 }
    }

    pub(crate) fn grouped(scope: &'a Scope, zone: Tz, grouping: &'a mut Grouping) -> Self {
        Self { scope, zone, grouping: Some(grouping), overs: None, depth: 0 }
    }

    /// Calls with `OVER` are allowed and go to `overs`.
    pub(super) fn with_overs(self, overs: &'a mut Overs) -> Self {
        Self { overs: Some(overs), ..self }
    }

    /// Binds a condition.
    pub(crate) fn condition(&mut self, syntax: &Syntax, what: &str) -> Bound<Expr> {
        let bound = self.bind(syntax)?;
        arithmetic::boolean(bound, what).map_err(|fault| fault.or_at(syntax.span().start))
    }

    pub(crate) fn bind(&mut self, syntax: &Syntax) -> Bound<Typed> {
        let at = syntax.span().start;
        if self.depth >= DEPTH_MAX {
            return Err(Fault::new(at, format!("expression nested deeper than {DEPTH_MAX}")));
        }
        self.depth += 1;
        let bound = self.bind_grouped(syntax, at).map_err(|fault| fault.or_at(at));
        self.depth -= 1;
        bound
    }

    fn bind_grouped(&mut self, syntax: &Syntax, at: Location) -> Bound<Typed> {
        if let Syntax::Subquery(query) = syntax
            && let Some(value) = self.scope.nesting.scalar(query)
        {
            return Ok(Typed { at, ..value.clone() });
        }
        if let Syntax::Function(function) = syntax
            && let Some(over) = &function.over
        {
            return self.bind_over(function, over, at);
        }
        if self.grouping.is_some() && !matches!(syntax, Syntax::Nested(_) | Syntax::Value(_)) {
            if let Syntax::Function(function) = syntax
                && let Some(call) = super::aggregate::aggregate_name(function)
            {
                return self.bind_aggregate(function, call, at);
            }
            let plain = self.plain();
            if let Some(key) = self.grouping.as_ref().and_then(|grouping| grouping.find_key(plain, syntax)) {
                return Ok(Typed { at, ..key });
            }
            if let Syntax::Identifier(_) | Syntax::CompoundIdentifier(_) = syntax {
                // An unknown name is reported as such.
                ExprBinder::new(self.scope, self.zone).bind_plain(syntax, at)?;
                return Err(Fault::new(at, format!("expression '{syntax}' is not being grouped"))
                    .hint("add it to GROUP BY or put it into an aggregate such as MAX"));
            }
        }
        self.bind_plain(syntax, at)
    }

    /// A binder over the input itself.
    pub(super) fn plain<'s>(&self) -> ExprBinder<'s>
    where
        'a: 's,
    {
        ExprBinder { scope: self.scope, zone: self.zone, grouping: None, overs: None, depth: self.depth }
    }

    fn bind_aggregate(&mut self, function: &ast::Function, name: &'static str, at: Location) -> Bound<Typed> {
        let mut plain = self.plain();
        let Some(grouping) = self.grouping.as_mut() else {
            return Err(Fault::new(at, format!("aggregate {name} is not allowed here")));
        };
        if matches!(name, "GROUPING" | "GROUPING_ID" | "GROUP_ID") {
            return grouping.indicator(&mut plain, function, name, at);
        }
        let part = super::group_window::bind_part(&mut plain, grouping.window.as_mut(), function, name, at)?;
        if let Some(part) = part {
            return Ok(part);
        }
        super::aggregate::bind_result(&mut plain, function, name, at, &mut |call| grouping.add_call(call, at))
    }

    fn bind_plain(&mut self, syntax: &Syntax, at: Location) -> Bound<Typed> {
        match syntax {
            Syntax::Identifier(name) => self.column(std::slice::from_ref(name)),
            Syntax::CompoundIdentifier(names) => self.column(names),
            Syntax::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, at),
            Syntax::Nested(inner) => self.bind(inner),
            Syntax::Value(value) => bind_value(&value.value, value.span.start),
            Syntax::TypedString(typed) => typed_literal(typed, at),
            Syntax::Interval(interval) => bind_interval(interval, at),
            Syntax::BinaryOp { left, op, right } => self.binary(left, op, right, at),
            Syntax::UnaryOp { op, expr } => self.unary(*op, expr, at),
            Syntax::IsNull(e) => self.is_test(e, at, |e| Expr::IsNull(Box::new(e)), false),
            Syntax::IsNotNull(e) => self.is_test(e, at, |e| Expr::IsNotNull(Box::new(e)), false),
            Syntax::IsTrue(e) => self.is_test(e, at, |e| Expr::IsTrue(Box::new(e)), true),
            Syntax::IsNotTrue(e) => self.is_test(e, at, |e| Expr::IsNotTrue(Box::new(e)), true),
            Syntax::IsFalse(e) => self.is_test(e, at, |e| Expr::IsFalse(Box::new(e)), true),
            Syntax::IsNotFalse(e) => self.is_test(e, at, |e| Expr::IsNotFalse(Box::new(e)), true),
            Syntax::IsUnknown(e) => self.is_test(e, at, |e| Expr::IsUnknown(Box::new(e)), true),
            Syntax::IsNotUnknown(e) => self.is_test(e, at, |e| Expr::IsNotUnknown(Box::new(e)), true),
            Syntax::IsDistinctFrom(a, b) => self.compare(a, Operator::IsDistinctFrom, b, at),
            Syntax::IsNotDistinctFrom(a, b) => self.compare(a, Operator::IsNotDistinctFrom, b, at),
            Syntax::InList { expr, list, negated } => self.in_list(expr, list, *negated, at),
            Syntax::Between { expr, negated, low, high } => self.between(expr, *negated, low, high, at),
            Syntax::Cast { kind, expr, data_type, array: false, format: None } => {
                self.cast(kind, expr, data_type, at)
            }
            Syntax::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), at)
            }
            Syntax::Extract { field, expr, .. } => {
                let word = field.to_string();
                let unit =
                    Unit::parse(&word).ok_or_else(|| Fault::unsupported(at, format!("EXTRACT({word})")))?;
                times::extract(self.bind(expr)?, unit, at, self.zone)
            }
            Syntax::Floor { expr, field } => self.floor_ceil("FLOOR", expr, field, at),
            Syntax::Ceil { expr, field } => self.floor_ceil("CEIL", expr, field, at),
            Syntax::Function(function) => self.function(function, at),
            other => self.bind_form(other, at),
        }
    }

    /// Expressions with words between their parts.
    fn bind_form(&mut self, syntax: &Syntax, at: Location) -> Bound<Typed> {
        match syntax {
            Syntax::Like { negated, any: false, expr, pattern, escape_char } => {
                let escape = escape_of(escape_char.as_ref(), at)?;
                let like = text::like(self.bind(expr)?, self.bind(pattern)?, escape, at)?;
                Ok(if *negated { Typed { expr: Expr::Not(Box::new(like.expr)), ..like } } else { like })
            }
            Syntax::Position { expr, r#in } => {
                let arguments = vec![self.bind(expr)?, self.bind(r#in)?];
                self.call("LOCATE", arguments, at)
            }
            Syntax::Substring { expr, substring_from, substring_for, .. } => {
                let mut arguments = vec![self.bind(expr)?];
                for part in [substring_from, substring_for].into_iter().flatten() {
                    arguments.push(self.bind(part)?);
                }
                self.call("SUBSTRING", arguments, at)
            }
            Syntax::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                self.trim(trim_where.as_ref(), trim_what.as_deref(), expr, at)
            }
            Syntax::Exists { .. } | Syntax::Subquery(_) | Syntax::InSubquery { .. } => {
                Err(Fault::unsupported(at, "a subquery at this place").hint(
                    "IN and EXISTS stand in WHERE, alone or combined by AND; others become a derived table in FROM",
                ))
            }
            Syntax::Array(array) => {
                let values = array.elem.iter().map(|value| self.bind(value)).collect::<Bound<Vec<_>>>()?;
                collection::array(values, at, self.zone)
            }
            Syntax::Tuple(values) => {
                let values = values.iter().map(|value| self.bind(value)).collect::<Bound<Vec<_>>>()?;
                collection::row(values, at)
            }
            Syntax::SimilarTo { negated, expr, pattern, escape_char } => {
                let escape = escape_of(escape_char.as_ref(), at)?;
                let pattern = self.bind(pattern)?;
                let similar = regexp::similar_to(self.bind(expr)?, &pattern, escape, at)?;
                Ok(if *negated {
                    Typed { expr: Expr::Not(Box::new(similar.expr)), ..similar }
                } else {
                    similar
                })
            }
            Syntax::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut arguments =
                    vec![self.bind(expr)?, self.bind(overlay_what)?, self.bind(overlay_from)?];
                if let Some(length) = overlay_for {
                    arguments.push(self.bind(length)?);
                }
                text_forms::overlay(arguments, at, self.zone)
            }
            Syntax::AtTimeZone { .. } => Err(Fault::unsupported(at, "AT TIME ZONE").hint("use CONVERT_TZ")),
            other => Err(Fault::unsupported(at, format!("expression '{}'", shortened(&other.to_string())))),
        }
    }

    fn column(&self, names: &[ast::Ident]) -> Bound<Typed> {
        let Some(first) = names.first() else {
            return Err(Fault::new(Location { line: 0, column: 0 }, "a column without a name"));
        };
        let at = first.span.start;
        if let Some(column) = self.scope.column(names, at)? {
            return Ok(column);
        }
        if let Some(outer) = &self.scope.nesting.outer
            && let Some(column) = outer.column(names, at)?
        {
            return Ok(Typed { expr: subquery::of_outer(column.expr), ..column });
        }
        if names.len() == 1
            && first.quote_style.is_none()
            && let Some(now) = clock::word(&first.value, at, self.zone)
        {
            return now;
        }
        let wanted = names.iter().map(|name| name.value.as_str()).collect::<Vec<_>>().join(".");
        let last = names.last().map_or("", |name| name.value.as_str());
        let fault = Fault::new(at, format!("column '{wanted}' not found"));
        let known = self.scope.names.iter().map(String::as_str);
        let hint = nearest(last, known.clone())
            .unwrap_or_else(|| format!("columns: {}", known.collect::<Vec<_>>().join(", ")));
        Err(fault.hint(hint))
    }

    fn access(&mut self, root: &Syntax, chain: &[AccessExpr], at: Location) -> Bound<Typed> {
        let mut bound = self.bind(root)?;
        for access in chain {
            bound = match access {
                AccessExpr::Dot(Syntax::Identifier(name)) => {
                    nested::field(bound, &name.value, name.span.start)?
                }
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let key = self.bind(index)?;
                    nested::element(bound, key, at, self.zone)?
                }
                other => return Err(Fault::unsupported(at, format!("access {other}"))),
            };
        }
        Ok(bound)
    }

    fn binary(&mut self, left: &Syntax, op: &BinaryOperator, right: &Syntax, at: Location) -> Bound<Typed> {
        let operator = match op {
            BinaryOperator::Eq => Operator::Eq,
            BinaryOperator::NotEq => Operator::NotEq,
            BinaryOperator::Lt => Operator::Lt,
            BinaryOperator::LtEq => Operator::LtEq,
            BinaryOperator::Gt => Operator::Gt,
            BinaryOperator::GtEq => Operator::GtEq,
            BinaryOperator::And | BinaryOperator::Or => {
                return self.logic(left, *op == BinaryOperator::And, right, at);
            }
            BinaryOperator::Overlaps => return super::syntax::overlaps(self, left, right, at),
            BinaryOperator::StringConcat => {
                let (left, right) = (self.bind(left)?, self.bind(right)?);
                return text::concat_operator(left, right, at, self.zone);
            }
            arithmetic_operator => {
                let operator = match arithmetic_operator {
                    BinaryOperator::Plus => Operator::Plus,
                    BinaryOperator::Minus => Operator::Minus,
                    BinaryOperator::Multiply => Operator::Multiply,
                    BinaryOperator::Divide => Operator::Divide,
                    BinaryOperator::Modulo => Operator::Modulo,
                    other => return Err(Fault::unsupported(at, format!("operator '{other}'"))),
                };
                let days = matches!(right, Syntax::Interval(interval) if is_of_days(interval));
                let (left, right) = (self.bind(left)?, self.bind(right)?);
                if days && left.ty == SqlType::Date && matches!(operator, Operator::Plus | Operator::Minus) {
                    return Ok(times::plus_days(left, right, operator == Operator::Minus, at));
                }
                return arithmetic::arithmetic(left, operator, right, at, self.zone);
            }
        };
        self.compare(left, operator, right, at)
    }

    fn compare(&mut self, left: &Syntax, operator: Operator, right: &Syntax, at: Location) -> Bound<Typed> {
        let (left, right) = (self.bind(left)?, self.bind(right)?);
        compare(left, operator, right, at, self.zone)
    }

    /// The right side is not evaluated where the left decides, so that it cannot fail there.
    fn logic(&mut self, left: &Syntax, and: bool, right: &Syntax, at: Location) -> Bound<Typed> {
        let word = if and { "an operand of AND" } else { "an operand of OR" };
        let (a, b) = (self.condition(left, word)?, self.condition(right, word)?);
        let operator = if and { Operator::And } else { Operator::Or };
        let both = binary(a.clone(), operator, b.clone());
        if !is_fallible(&b) {
            return Ok(Typed { expr: both, ty: SqlType::Boolean, at });
        }
        let decided = if and { Expr::IsFalse(Box::new(a)) } else { Expr::IsTrue(Box::new(a)) };
        let answer = literal(ScalarValue::Boolean(Some(!and)));
        Ok(Typed { expr: case(vec![(decided, answer)], Some(both)), ty: SqlType::Boolean, at })
    }

    fn unary(&mut self, op: UnaryOperator, operand: &Syntax, at: Location) -> Bound<Typed> {
        match op {
            UnaryOperator::Not => {
                let expr = self.condition(operand, "the operand of NOT")?;
                Ok(Typed { expr: Expr::Not(Box::new(expr)), ty: SqlType::Boolean, at })
            }
            UnaryOperator::Minus => {
                let operand = self.bind(operand)?;
                arithmetic::negate(operand, at, self.zone)
            }
            UnaryOperator::Plus => self.bind(operand),
            other => Err(Fault::unsupported(at, format!("operator '{other}'"))),
        }
    }

    fn is_test(
        &mut self,
        operand: &Syntax,
        at: Location,
        make: fn(Expr) -> Expr,
        logical: bool,
    ) -> Bound<Typed> {
        let expr =
            if logical { self.condition(operand, "the operand of IS")? } else { self.bind(operand)?.expr };
        Ok(Typed { expr: make(expr), ty: SqlType::Boolean, at })
    }

    fn in_list(&mut self, operand: &Syntax, list: &[Syntax], negated: bool, at: Location) -> Bound<Typed> {
        let mut values = vec![self.bind(operand)?];
        for item in list {
            values.push(self.bind(item)?);
        }
        let (mut values, ty) = compare::unify_all(values, "IN", at, self.zone)?;
        let operand = values.remove(0);
        let simple = !ty.is_float() && values.iter().all(|value| matches!(value.expr, Expr::Literal(..)));
        if simple {
            let list = values.into_iter().map(|value| value.expr).collect();
            let expr = Expr::InList(InList { expr: Box::new(operand.expr), list, negated });
            return Ok(Typed { expr, ty: SqlType::Boolean, at });
        }
        let mut any: Option<Expr> = None;
        for value in values {
            let equal = compare(operand.clone(), Operator::Eq, value, at, self.zone)?.expr;
            any = Some(match any {
                None => equal,
                Some(any) => binary(any, Operator::Or, equal),
            });
        }
        let expr = any.unwrap_or_else(|| literal(ScalarValue::Boolean(Some(false))));
        let expr = if negated { Expr::Not(Box::new(expr)) } else { expr };
        Ok(Typed { expr, ty: SqlType::Boolean, at })
    }

    fn between(
        &mut self,
        operand: &Syntax,
        negated: bool,
        low: &Syntax,
        high: &Syntax,
        at: Location,
    ) -> Bound<Typed> {
        let (operand, low, high) = (self.bind(operand)?, self.bind(low)?, self.bind(high)?);
        let above = compare(operand.clone(), Operator::GtEq, low, at, self.zone)?;
        let below = compare(operand, Operator::LtEq, high, at, self.zone)?;
        let expr = binary(above.expr, Operator::And, below.expr);
        let expr = if negated { Expr::Not(Box::new(expr)) } else { expr };
        Ok(Typed { expr, ty: SqlType::Boolean, at })
    }

    fn cast(
        &mut self,
        kind: &CastKind,
        operand: &Syntax,
        data_type: &ast::DataType,
        at: Location,
    ) -> Bound<Typed> {
        let on_failure = match kind {
            CastKind::Cast => OnFailure::Fail,
            CastKind::TryCast => OnFailure::Null,
            _ => {
                return Err(
                    Fault::new(at, "Flink has no such cast").hint("CAST(x AS type) or TRY_CAST(x AS type)")
                );
            }
        };
        let to = cast_type(data_type).map_err(|fault| fault.or_at(at))?;
        let operand = self.bind(operand)?;
        cast::explicit(operand, &to, on_failure, self.zone)
    }

    fn case(
        &mut self,
        operand: Option<&Syntax>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&Syntax>,
        at: Location,
    ) -> Bound<Typed> {
        let operand = operand.map(|operand| self.bind(operand)).transpose()?;
        let mut tests = Vec::with_capacity(conditions.len());
        let mut values = Vec::with_capacity(conditions.len() + 1);
        for branch in conditions {
            tests.push(match &operand {
                None => self.condition(&branch.condition, "a condition of CASE")?,
                Some(operand) => {
                    let value = self.bind(&branch.condition)?;
                    compare(operand.clone(), Operator::Eq, value, at, self.zone)?.expr
                }
            });
            values.push(self.bind(&branch.result)?);
        }
        if let Some(otherwise) = otherwise {
            values.push(self.bind(otherwise)?);
        }
        let (mut values, ty) = compare::unify_all(values, "CASE", at, self.zone)?;
        if ty == SqlType::Null {
            return Err(Fault::new(at, "CASE with nothing but NULL").hint("CAST(NULL AS type)"));
        }
        let otherwise = if otherwise.is_some() { values.pop().map(|value| value.expr) } else { None };
        let branches = tests.into_iter().zip(values.into_iter().map(|value| value.expr)).collect();
        Ok(Typed { expr: case(branches, otherwise), ty, at })
    }

    fn floor_ceil(
        &mut self,
        name: &str,
        operand: &Syntax,
        field: &CeilFloorKind,
        at: Location,
    ) -> Bound<Typed> {
        let operand = self.bind(operand)?;
        match field {
            CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) => {
                self.call(name, vec![operand], at)
            }
            CeilFloorKind::DateTimeField(field) => {
                let word = field.to_string();
                let unit =
                    Unit::parse(&word).ok_or_else(|| Fault::unsupported(at, format!("{name} TO {word}")))?;
                times::round_to(operand, unit, name == "CEIL", at, self.zone)
            }
            CeilFloorKind::Scale(_) => Err(Fault::new(at, format!("{name} with 2 arguments: expected 1"))),
        }
    }

    fn trim(
        &mut self,
        side: Option<&ast::TrimWhereField>,
        what: Option<&Syntax>,
        operand: &Syntax,
        at: Location,
    ) -> Bound<Typed> {
        let name = match side {
            None | Some(ast::TrimWhereField::Both) => "BTRIM",
            Some(ast::TrimWhereField::Leading) => "LTRIM",
            Some(ast::TrimWhereField::Trailing) => "RTRIM",
        };
        let mut arguments = vec![self.bind(operand)?];
        if let Some(what) = what {
            arguments.push(self.bind(what)?);
        }
        self.call(name, arguments, at)
    }

    fn function(&mut self, function: &ast::Function, at: Location) -> Bound<Typed> {
        let name = function.name.to_string().to_uppercase();
        if super::aggregate::aggregate_name(function).is_some() {
            return Err(Fault::new(at, format!("aggregate {name} is not allowed here"))
                .hint("aggregates stand in SELECT and HAVING, not within each other, WHERE or GROUP BY"));
        }
        if matches!(function.args, ast::FunctionArguments::None)
            && let Some(now) = clock::word(&name, at, self.zone)
        {
            return now;
        }
        if function.filter.is_some() || !function.within_group.is_empty() || function.null_treatment.is_some()
        {
            return Err(Fault::new(
                at,
                format!("{name} is no aggregate: it takes no FILTER, WITHIN GROUP or NULLS"),
            ));
        }
        if let Some(bound) = super::syntax::bind(self, function, &name, at)? {
            return Ok(bound);
        }
        let arguments = super::aggregate::plain_arguments(function, at)?;
        if arguments.is_empty()
            && matches!(function.args, ast::FunctionArguments::List(_))
            && let Some(now) =
                clock::function(&name, at).map(Ok).or_else(|| clock::word(&name, at, self.zone))
        {
            return now;
        }
        if matches!(name.as_str(), "TIMESTAMPDIFF" | "TIMESTAMPADD") {
            return self.timestamp_function(&name, &arguments, at);
        }
        let Some(binder) = functions::find(&name) else { return Err(unknown_function(&name, at)) };
        let arguments =
            arguments.into_iter().map(|argument| self.bind(argument)).collect::<Bound<Vec<_>>>()?;
        binder(Call { name: &name, at, arguments, zone: self.zone })
    }

    fn timestamp_function(&mut self, name: &str, arguments: &[&Syntax], at: Location) -> Bound<Typed> {
        let [unit, first, second] = arguments else {
            return Err(Fault::new(at, format!("{name} with {} arguments: expected 3", arguments.len())));
        };
        let word = unit.to_string();
        let unit = Unit::parse(&word)
            .ok_or_else(|| Fault::new(unit.span().start, format!("{word} is no unit of time")).or_at(at))?;
        let (first, second) = (self.bind(first)?, self.bind(second)?);
        if name == "TIMESTAMPDIFF" {
            return times::difference(unit, first, second, at);
        }
        let (factor, ty) = match (unit.ms(), unit.months()) {
            (Some(ms), _) => (ms, SqlType::IntervalDay),
            (_, Some(months)) => (months, SqlType::IntervalMonth),
            _ => return Err(Fault::unsupported(at, format!("TIMESTAMPADD({word}, ...)"))),
        };
        if !first.ty.is_integer() {
            return Err(Fault::new(
                first.at,
                format!("TIMESTAMPADD of {} units: expected a whole number", first.ty),
            )
            .or_at(at));
        }
        let count = cast::implicit(first, &SqlType::BigInt, self.zone)?;
        let factor = literal(ScalarValue::Int64(Some(factor)));
        let interval = Typed { expr: binary(count.expr, Operator::Multiply, factor), ty, at };
        if second.ty == SqlType::Date && matches!(unit, Unit::Day | Unit::Week) {
            return Ok(times::plus_days(second, interval, false, at));
        }
        times::plus_interval(second, interval, false, at)
    }

    fn call(&self, name: &str, arguments: Vec<Typed>, at: Location) -> Bound<Typed> {
        let Some(binder) = functions::find(name) else { return Err(unknown_function(name, at)) };
        binder(Call { name, at, arguments, zone: self.zone })
    }
}

fn fields(column: Typed, names: &[ast::Ident]) -> Bound<Typed> {
    names.iter().try_fold(column, |row, name| nested::field(row, &name.value, name.span.start))
}

fn unknown_function(name: &str, at: Location) -> Fault {
    let fault = Fault::unsupported(at, format!("function {name}"));
    let aggregates = super::aggregate::NAMES.iter().map(|(name, _)| *name);
    let known = functions::tables().into_iter().flatten().map(|(name, _)| *name).chain(aggregates);
    match nearest(name, known) {
        Some(hint) => fault.hint(hint),
        None => fault.hint("docs/differences-from-flink.md says what is missing"),
    }
}

fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    if text.chars().count() <= CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(CHARS_MAX).chain("...".chars()).collect()
}

/// sqlparser's type, read again as Flink's.
pub(super) fn cast_type(data_type: &ast::DataType) -> Bound<SqlType> {
    let text = data_type.to_string();
    let nowhere = Location { line: 0, column: 0 };
    crate::types::type_of(&text).ok_or_else(|| Fault::unsupported(nowhere, format!("type {text}")))
}

fn escape_of(escape: Option<&ast::ValueWithSpan>, at: Location) -> Bound<Option<char>> {
    let Some(escape) = escape else { return Ok(None) };
    let Value::SingleQuotedString(text) = &escape.value else {
        return Err(Fault::new(at, "ESCAPE needs a text"));
    };
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(Some(c)),
        _ => Err(Fault::new(at, format!("ESCAPE '{text}': expected one character"))),
    }
}
