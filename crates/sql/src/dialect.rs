//! What sqlparser must know about Flink's syntax.

use std::any::TypeId;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, UnaryOperator, Value, ValueWithSpan,
};
use sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Flink SQL for queries and expressions; statements have a parser of their own.
#[derive(Debug, Default)]
pub(crate) struct FlinkDialect;

impl Dialect for FlinkDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let first = parser.peek_token();
        let Token::Word(word) = &first.token else { return None };
        if word.quote_style.is_some() {
            return None;
        }
        let name = word.value.to_uppercase();
        match (name.as_str(), &parser.peek_nth_token(1).token) {
            ("MAP", Token::LBracket) => Some(map_constructor(parser)),
            (name, Token::LParen) if WITH_CLAUSES.contains(&name) => Some(json_call(parser)),
            _ => None,
        }
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let start = parser.peek_token();
        if let Some(negated) = is_words(parser, Keyword::IS, &["JSON"]) {
            return Some(is_json(parser, expr, &start, negated));
        }
        let negated = [["BETWEEN", "SYMMETRIC"], ["BETWEEN", "ASYMMETRIC"]];
        let found = negated.iter().find_map(|words| Some((between_words(parser, words)?, words[1])));
        let (negated, kind) = found?;
        Some(between(parser, expr, &start, negated, kind == "SYMMETRIC"))
    }
}

/// Functions whose arguments end with clauses such as `NULL ON EMPTY`.
const WITH_CLAUSES: [&str; 7] = [
    "JSON_EXISTS",
    "JSON_VALUE",
    "JSON_QUERY",
    "JSON_OBJECT",
    "JSON_ARRAY",
    "JSON_OBJECTAGG",
    "JSON_ARRAYAGG",
];

/// Names that no call can have: syntax of its own, as a call.
pub(crate) const IS_JSON: &str = "$IS_JSON";
/// `x BETWEEN SYMMETRIC a AND b`.
pub(crate) const BETWEEN_SYMMETRIC: &str = "$BETWEEN_SYMMETRIC";
/// `MAP[k, v]`.
pub(crate) const MAP: &str = "$MAP";

/// The clauses that may stand behind the arguments, and what they become: the name of an argument.
const CLAUSES: [&[&str]; 20] = [
    &["NULL", "ON", "EMPTY"],
    &["NULL", "ON", "ERROR"],
    &["NULL", "ON", "NULL"],
    &["ABSENT", "ON", "NULL"],
    &["ERROR", "ON", "EMPTY"],
    &["ERROR", "ON", "ERROR"],
    &["TRUE", "ON", "ERROR"],
    &["FALSE", "ON", "ERROR"],
    &["UNKNOWN", "ON", "ERROR"],
    &["EMPTY", "ARRAY", "ON", "EMPTY"],
    &["EMPTY", "ARRAY", "ON", "ERROR"],
    &["EMPTY", "OBJECT", "ON", "EMPTY"],
    &["EMPTY", "OBJECT", "ON", "ERROR"],
    &["WITHOUT", "ARRAY", "WRAPPER"],
    &["WITHOUT", "WRAPPER"],
    &["WITH", "CONDITIONAL", "ARRAY", "WRAPPER"],
    &["WITH", "CONDITIONAL", "WRAPPER"],
    &["WITH", "UNCONDITIONAL", "ARRAY", "WRAPPER"],
    &["WITH", "UNCONDITIONAL", "WRAPPER"],
    &["WITH", "WRAPPER"],
];

/// Whether the next words are these; the first may be any of Flink's keywords or none.
fn words_ahead(parser: &Parser<'_>, from: usize, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(index, wanted)| {
        matches!(&parser.peek_nth_token(from + index).token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
    })
}

fn skip(parser: &mut Parser<'_>, count: usize) {
    for _ in 0..count {
        parser.next_token();
    }
}

/// `IS [NOT] words`; consumed if they are there. The flag: with NOT.
fn is_words(parser: &mut Parser<'_>, first: Keyword, words: &[&str]) -> Option<bool> {
    let Token::Word(word) = &parser.peek_token().token else { return None };
    if word.keyword != first {
        return None;
    }
    let negated = words_ahead(parser, 1, &["NOT"]);
    let before = 1 + usize::from(negated);
    if !words_ahead(parser, before, words) {
        return None;
    }
    skip(parser, before + words.len());
    Some(negated)
}

/// `[NOT] words`; consumed if they are there. The flag: with NOT.
fn between_words(parser: &mut Parser<'_>, words: &[&str]) -> Option<bool> {
    let negated = words_ahead(parser, 0, &["NOT"]);
    if !words_ahead(parser, usize::from(negated), words) {
        return None;
    }
    skip(parser, usize::from(negated) + words.len());
    Some(negated)
}

fn call_of(name: Ident, args: Vec<FunctionArg>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn plain(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

fn clause(name: &str, expr: Expr) -> FunctionArg {
    FunctionArg::Named {
        name: Ident::new(name),
        arg: FunctionArgExpr::Expr(expr),
        operator: FunctionArgOperator::Assignment,
    }
}

fn text(value: &str) -> Expr {
    Expr::Value(ValueWithSpan {
        value: Value::SingleQuotedString(value.to_owned()),
        span: sqlparser::tokenizer::Span::empty(),
    })
}

fn negated_if(negated: bool, expr: Expr) -> Expr {
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) } } else { expr }
}

fn is_json(
    parser: &mut Parser<'_>,
    expr: &Expr,
    start: &TokenWithSpan,
    negated: bool,
) -> Result<Expr, ParserError> {
    let kinds = ["VALUE", "SCALAR", "ARRAY", "OBJECT"];
    let kind = kinds.into_iter().find(|kind| words_ahead(parser, 0, &[kind]));
    skip(parser, usize::from(kind.is_some()));
    let name = Ident::with_span(start.span, IS_JSON);
    let arguments = vec![plain(expr.clone()), plain(text(kind.unwrap_or("VALUE")))];
    Ok(negated_if(negated, call_of(name, arguments)))
}

fn between(
    parser: &mut Parser<'_>,
    expr: &Expr,
    start: &TokenWithSpan,
    negated: bool,
    symmetric: bool,
) -> Result<Expr, ParserError> {
    let precedence = FlinkDialect.prec_value(Precedence::Between);
    let low = parser.parse_subexpr(precedence)?;
    parser.expect_keyword(Keyword::AND)?;
    let high = parser.parse_subexpr(precedence)?;
    if !symmetric {
        return Ok(Expr::Between {
            expr: Box::new(expr.clone()),
            negated,
            low: Box::new(low),
            high: Box::new(high),
        });
    }
    let name = Ident::with_span(start.span, BETWEEN_SYMMETRIC);
    let arguments = vec![plain(expr.clone()), plain(low), plain(high)];
    Ok(negated_if(negated, call_of(name, arguments)))
}

fn map_constructor(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let start = parser.next_token();
    parser.expect_token(&Token::LBracket)?;
    let values = parser.parse_comma_separated0(Parser::parse_expr, Token::RBracket)?;
    parser.expect_token(&Token::RBracket)?;
    Ok(call_of(Ident::with_span(start.span, MAP), values.into_iter().map(plain).collect()))
}

/// `NAME(expression [VALUE expression], .. clauses)`. A key of JSON_OBJECT is an argument named KEY.
fn json_call(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let start = parser.next_token();
    let Token::Word(word) = &start.token else { return parser.expected("a function", start) };
    let name = Ident::with_span(start.span, word.value.to_uppercase());
    let object = name.value.starts_with("JSON_OBJECT");
    parser.expect_token(&Token::LParen)?;
    let mut arguments = Vec::new();
    let mut more = !next_is_clause(parser);
    while more && parser.peek_token().token != Token::RParen {
        if object {
            let keyed = words_ahead(parser, 0, &["KEY"]) && parser.peek_nth_token(1).token != Token::LParen;
            skip(parser, usize::from(keyed));
            arguments.push(clause("KEY", parser.parse_expr()?));
            if parser.consume_token(&Token::Colon) {
                // `key : value`
            } else {
                parser.expect_keyword(Keyword::VALUE)?;
            }
        }
        arguments.push(plain(parser.parse_expr()?));
        more = parser.consume_token(&Token::Comma);
    }
    while parser.peek_token().token != Token::RParen {
        arguments.push(next_clause(parser)?);
    }
    parser.expect_token(&Token::RParen)?;
    let Expr::Function(mut function) = call_of(name, arguments) else {
        return parser.expected("a function", start);
    };
    if words_ahead(parser, 0, &["FILTER"]) && parser.peek_nth_token(1).token == Token::LParen {
        skip(parser, 2);
        parser.expect_keyword(Keyword::WHERE)?;
        function.filter = Some(Box::new(parser.parse_expr()?));
        parser.expect_token(&Token::RParen)?;
    }
    if words_ahead(parser, 0, &["OVER"]) {
        return parser.expected("no OVER behind a JSON function", parser.peek_token());
    }
    Ok(Expr::Function(function))
}

fn next_is_clause(parser: &Parser<'_>) -> bool {
    CLAUSES.iter().any(|words| words_ahead(parser, 0, words))
}

fn next_clause(parser: &mut Parser<'_>) -> Result<FunctionArg, ParserError> {
    if let Some(words) = CLAUSES.iter().find(|words| words_ahead(parser, 0, words)) {
        skip(parser, words.len());
        return Ok(clause(&words.join(" "), text("")));
    }
    if words_ahead(parser, 0, &["RETURNING"]) {
        skip(parser, 1);
        return Ok(clause("RETURNING", text(&parser.parse_data_type()?.to_string())));
    }
    if words_ahead(parser, 0, &["DEFAULT"]) {
        skip(parser, 1);
        let value = parser.parse_expr()?;
        for when in ["EMPTY", "ERROR"] {
            if words_ahead(parser, 0, &["ON", when]) {
                skip(parser, 2);
                return Ok(clause(&format!("DEFAULT ON {when}"), value));
            }
        }
        return parser.expected("ON EMPTY or ON ERROR", parser.peek_token());
    }
    parser.expected("')' or a clause such as NULL ON EMPTY", parser.peek_token())
}
