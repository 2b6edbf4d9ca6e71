//! Statements: Flink's, read with sqlparser's tokens; queries and expressions are sqlparser's.

mod alter;
mod show;

use std::collections::BTreeMap;

use sqlparser::ast::{Expr, Ident, Query};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use crate::dialect::FlinkDialect;
use crate::error::{Bound, Fault};
use crate::script::{StatementTokens, lower_first};
use crate::types::{SqlType, parse_type};

pub(crate) use alter::{Alter, Like, apply as apply_alter, merge as merge_like};
pub(crate) use show::{Show, create_text};

/// One statement.
#[derive(Debug)]
pub(crate) enum Statement {
    CreateTable(Box<CreateTable>),
    CreateView(CreateView),
    CreateMaterialized(CreateMaterialized),
    Drop {
        view: bool,
        if_exists: bool,
        name: Name,
    },
    Set {
        key: Name,
        value: String,
    },
    Reset {
        key: Option<String>,
    },
    Insert(Insert),
    Query(Box<Query>),
    BeginStatementSet,
    EndStatementSet,
    AlterTable {
        name: Name,
        if_exists: bool,
        change: Alter,
    },
    AlterView {
        name: Name,
        to: Option<Name>,
        query: Option<Box<Query>>,
    },
    /// A question whose answer is text.
    Show(Show),
    Explain(Box<Statement>),
    /// `USE` of the one catalog and database there are.
    Use,
}

/// A name and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) value: String,
    pub(crate) at: Location,
}

/// The value of a `WITH` option and where its key stands.
#[derive(Clone, Debug)]
pub(crate) struct OptionValue {
    pub(crate) value: String,
    pub(crate) at: Location,
}

pub(crate) type Options = BTreeMap<String, OptionValue>;

#[derive(Clone, Debug)]
pub(crate) struct CreateTable {
    pub(crate) name: Name,
    pub(crate) if_not_exists: bool,
    pub(crate) columns: Vec<ColumnSyntax>,
    pub(crate) watermark: Option<(Name, Expr)>,
    pub(crate) primary_key: Option<(Location, Vec<Name>)>,
    pub(crate) options: Options,
    pub(crate) like: Option<Like>,
    /// `AS SELECT`.
    pub(crate) query: Option<Box<Query>>,
}

impl CreateTable {
    fn empty(name: Name) -> Self {
        Self {
            name,
            if_not_exists: false,
            columns: Vec::new(),
            watermark: None,
            primary_key: None,
            options: Options::new(),
            like: None,
            query: None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ColumnSyntax {
    pub(crate) name: Name,
    pub(crate) kind: ColumnSyntaxKind,
}

#[derive(Clone, Debug)]
pub(crate) enum ColumnSyntaxKind {
    Physical { ty: SqlType, not_null: bool },
    Metadata { ty: SqlType, key: Option<String>, is_virtual: bool },
    Computed(Box<Expr>),
}

#[derive(Debug)]
pub(crate) struct CreateView {
    pub(crate) name: Name,
    pub(crate) if_not_exists: bool,
    pub(crate) or_replace: bool,
    pub(crate) columns: Vec<Name>,
    pub(crate) query: Box<Query>,
}

#[derive(Debug)]
pub(crate) struct CreateMaterialized {
    pub(crate) name: Name,
    pub(crate) primary_key: Option<(Location, Vec<Name>)>,
    pub(crate) options: Options,
    /// `FRESHNESS`, ms.
    pub(crate) freshness_ms: Option<u64>,
    pub(crate) query: Box<Query>,
}

#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) table: Name,
    pub(crate) columns: Vec<Name>,
    pub(crate) query: Box<Query>,
}

/// Reads one statement token by token.
pub(crate) struct Cursor<'a> {
    parser: Parser<'a>,
    end: Location,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(dialect: &'a FlinkDialect, tokens: Vec<TokenWithSpan>) -> Self {
        let end = tokens.last().map_or(Location { line: 0, column: 0 }, |token| token.span.end);
        Self { parser: Parser::new(dialect).with_tokens_with_locations(tokens), end }
    }

    pub(crate) fn peek(&self) -> Option<Token> {
        match self.parser.peek_token().token {
            Token::EOF => None,
            token => Some(token),
        }
    }

    pub(crate) fn at(&self) -> Location {
        let token = self.parser.peek_token();
        if token.token == Token::EOF { self.end } else { token.span.start }
    }

    pub(crate) fn next(&mut self) -> TokenWithSpan {
        self.parser.next_token()
    }

    pub(crate) fn take(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub(crate) fn expect(&mut self, token: &Token) -> Bound<()> {
        if self.take(token) { Ok(()) } else { Err(self.expected(&format!("'{token}'"))) }
    }

    pub(crate) fn expected(&self, what: &str) -> Fault {
        let found =
            self.peek().map_or_else(|| "the end of the statement".to_owned(), |token| format!("'{token}'"));
        Fault::new(self.at(), format!("expected {what}, found {found}"))
    }

    fn keyword_at(&self, n: usize, word: &str) -> bool {
        matches!(self.parser.peek_nth_token(n).token, Token::Word(found)
            if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    pub(crate) fn peek_keyword(&self, word: &str) -> bool {
        self.keyword_at(0, word)
    }

    fn peek_keywords(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| self.keyword_at(n, word))
    }

    pub(crate) fn take_keyword(&mut self, word: &str) -> bool {
        let found = self.peek_keyword(word);
        if found {
            self.next();
        }
        found
    }

    /// Takes all of the words or none.
    pub(crate) fn take_keywords(&mut self, words: &[&str]) -> bool {
        let found = self.peek_keywords(words);
        if found {
            words.iter().for_each(|_| {
                self.next();
            });
        }
        found
    }

    pub(crate) fn expect_keyword(&mut self, word: &str) -> Bound<()> {
        if self.take_keyword(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    pub(crate) fn take_any_word(&mut self) -> Option<String> {
        let Some(Token::Word(word)) = self.peek() else { return None };
        if word.quote_style.is_some() {
            return None;
        }
        self.next();
        Some(word.value)
    }

    pub(crate) fn take_number(&mut self) -> Option<String> {
        let Some(Token::Number(number, _)) = self.peek() else { return None };
        self.next();
        Some(number)
    }

    pub(crate) fn identifier(&mut self, what: &str) -> Bound<Name> {
        let at = self.at();
        let Some(Token::Word(word)) = self.peek() else { return Err(self.expected(what)) };
        self.next();
        Ok(Name { value: word.value, at })
    }

    /// `t`, or `default_catalog.default_database.t`.
    pub(crate) fn table_name(&mut self) -> Bound<Name> {
        let mut parts = vec![self.identifier("a table name")?];
        while self.take(&Token::Period) {
            parts.push(self.identifier("a name")?);
        }
        let idents: Vec<Ident> = parts
            .iter()
            .map(|part| Ident {
                value: part.value.clone(),
                quote_style: None,
                span: Span::new(part.at, part.at),
            })
            .collect();
        global_name(&idents)
    }

    pub(crate) fn string(&mut self, what: &str) -> Bound<Name> {
        let at = self.at();
        let Some(Token::SingleQuotedString(value)) = self.peek() else { return Err(self.expected(what)) };
        self.next();
        Ok(Name { value, at })
    }

    pub(crate) fn expression(&mut self) -> Bound<Expr> {
        let at = self.at();
        self.parser.parse_expr().map_err(|error| syntax(&error, at))
    }

    fn query(&mut self) -> Bound<Box<Query>> {
        let at = self.at();
        self.parser.parse_query().map_err(|error| syntax(&error, at))
    }

    fn finish(&self) -> Bound<()> {
        if self.peek().is_some() { Err(self.expected("the end of the statement")) } else { Ok(()) }
    }
}

/// A table's name without the one catalog and database there are.
pub(crate) fn global_name(parts: &[Ident]) -> Bound<Name> {
    let texts: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
    let at = parts.first().map_or(Location { line: 0, column: 0 }, |part| part.span.start);
    match texts.as_slice() {
        [name] | ["default_database", name] | ["default_catalog", "default_database", name] => {
            Ok(Name { value: (*name).to_owned(), at })
        }
        _ => Err(Fault::new(at, format!("unknown catalog or database in {}", texts.join(".")))
            .hint("there is one: default_catalog.default_database")),
    }
}

/// sqlparser puts the place at the end of its message.
fn syntax(error: &ParserError, fallback: Location) -> Fault {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => "nested too deeply".to_owned(),
    };
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return Fault::new(fallback, lower_first(&text));
    };
    let mut numbers = place.split(", Column: ").map(|number| number.trim().parse::<u64>().unwrap_or(0));
    let line = numbers.next().unwrap_or(0);
    let column = numbers.next().unwrap_or(0);
    let fault = Fault::new(Location { line, column }, lower_first(message)).or_at(fallback);
    if message.ends_with("found: EOF") { Fault::new(fallback, lower_first(message)) } else { fault }
}

/// Reads one statement.
pub(crate) fn parse(dialect: &FlinkDialect, statement: StatementTokens) -> Bound<Statement> {
    let mut cursor = Cursor::new(dialect, statement.tokens);
    let parsed = parse_any(&mut cursor)?;
    if !matches!(parsed, Statement::BeginStatementSet) {
        cursor.finish()?;
    }
    Ok(parsed)
}

/// The tokens behind `EXECUTE STATEMENT SET BEGIN`: the set's first statement.
pub(crate) fn split_statement_set(
    dialect: &FlinkDialect,
    statement: StatementTokens,
) -> (bool, StatementTokens) {
    let cursor = Cursor::new(dialect, statement.tokens.clone());
    let count = if cursor.peek_keywords(&["EXECUTE", "STATEMENT", "SET", "BEGIN"]) {
        4
    } else if cursor.peek_keywords(&["BEGIN", "STATEMENT", "SET"]) {
        3
    } else {
        return (false, statement);
    };
    let tokens: Vec<TokenWithSpan> = statement.tokens.into_iter().skip(count).collect();
    let start = tokens.first().map_or(statement.start, |token| token.span.start);
    (true, StatementTokens { tokens, start })
}

fn parse_any(cursor: &mut Cursor<'_>) -> Bound<Statement> {
    let at = cursor.at();
    if cursor.peek_keyword("SELECT")
        || cursor.peek_keyword("WITH")
        || cursor.peek_keyword("VALUES")
        || cursor.peek() == Some(Token::LParen)
    {
        return Ok(Statement::Query(cursor.query()?));
    }
    if cursor.take_keyword("CREATE") {
        return parse_create(cursor);
    }
    if cursor.take_keyword("INSERT") {
        return parse_insert(cursor);
    }
    if cursor.take_keyword("EXECUTE") {
        return parse_execute(cursor);
    }
    if cursor.take_keyword("ALTER") {
        return alter::parse(cursor);
    }
    if let Some(question) = show::parse(cursor)? {
        return Ok(question);
    }
    if cursor.take_keyword("DROP") {
        return parse_drop(cursor);
    }
    if cursor.take_keyword("SET") {
        return parse_set(cursor);
    }
    if cursor.take_keyword("RESET") {
        let key = if cursor.peek().is_some() { Some(cursor.string("a quoted key")?.value) } else { None };
        return Ok(Statement::Reset { key });
    }
    if cursor.take_keyword("END") {
        return Ok(Statement::EndStatementSet);
    }
    let Some(Token::Word(word)) = cursor.peek() else { return Err(cursor.expected("a statement")) };
    let hint = match word.value.to_uppercase().as_str() {
        "DELETE" | "UPDATE" | "TRUNCATE" => "a stream only takes INSERT INTO",
        "ADD" | "REMOVE" | "LOAD" | "UNLOAD" => "there is no module or jar to load",
        _ => {
            "statements: SET, RESET, CREATE TABLE, CREATE VIEW, CREATE MATERIALIZED TABLE, ALTER, DROP, USE, SHOW, \
              DESCRIBE, EXPLAIN, INSERT INTO, EXECUTE STATEMENT SET, SELECT"
        }
    };
    Err(Fault::unsupported(at, format!("statement {}", word.value)).hint(hint))
}

/// Behind the word `EXECUTE`.
fn parse_execute(cursor: &mut Cursor<'_>) -> Bound<Statement> {
    if cursor.take_keyword("INSERT") {
        return parse_insert(cursor);
    }
    if cursor.peek_keyword("SELECT") || cursor.peek_keyword("WITH") {
        return Ok(Statement::Query(cursor.query()?));
    }
    Err(cursor.expected("INSERT, SELECT or STATEMENT SET"))
}

fn parse_set(cursor: &mut Cursor<'_>) -> Bound<Statement> {
    if cursor.peek().is_none() {
        return Ok(Statement::Show(Show::Settings));
    }
    let key = cursor.string("a quoted key")?;
    cursor.expect(&Token::Eq)?;
    let value = cursor.string("a quoted value")?.value;
    Ok(Statement::Set { key, value })
}

fn parse_drop(cursor: &mut Cursor<'_>) -> Bound<Statement> {
    let at = cursor.at();
    if cursor.peek_keyword("MATERIALIZED") {
        return Err(Fault::unsupported(at, "DROP MATERIALIZED TABLE in a pipeline file")
            .hint("use `highwater pipeline drop`"));
    }
    cursor.take_keyword("TEMPORARY");
    let view = if cursor.take_keyword("VIEW") {
        true
    } else {
        cursor.expect_keyword("TABLE")?;
        false
    };
    let if_exists = cursor.take_keywords(&["IF", "EXISTS"]);
    Ok(Statement::Drop { view, if_exists, name: cursor.table_name()? })
}

fn parse_create(cursor: &mut Cursor<'_>) -> Bound<Statement> {
    let at = cursor.at();
    let or_replace = cursor.take_keywords(&["OR", "REPLACE"]);
    let temporary = cursor.take_keyword("TEMPORARY");
    if cursor.take_keyword("VIEW") {
        return parse_view(cursor, or_replace);
    }
    if cursor.take_keyword("TABLE") && !or_replace {
        return parse_table(cursor);
    }
    if !or_replace && !temporary && cursor.take_keyword("MATERIALIZED") {
        cursor.expect_keyword("TABLE")?;
        return parse_materialized(cursor);
    }
    Err(Fault::unsupported(at, "this CREATE statement")
        .hint("CREATE [TEMPORARY] TABLE, CREATE [OR REPLACE] [TEMPORARY] VIEW, CREATE MATERIALIZED TABLE"))
}

fn parse_view(cursor: &mut Cursor<'_>, or_replace: bool) -> Bound<Statement> {
    let if_not_exists = cursor.take_keywords(&["IF", "NOT", "EXISTS"]);
    let name = cursor.table_name()?;
    let mut columns = Vec::new();
    if cursor.take(&Token::LParen) {
        columns = name_list(cursor, true)?;
    }
    take_comment(cursor)?;
    cursor.expect_keyword("AS")?;
    let query = cursor.query()?;
    Ok(Statement::CreateView(CreateView { name, if_not_exists, or_replace, columns, query }))
}

/// Names up to the closing parenthesis.
fn name_list(cursor: &mut Cursor<'_>, comments: bool) -> Bound<Vec<Name>> {
    let mut names = Vec::new();
    loop {
        names.push(cursor.identifier("a column name")?);
        if comments {
            take_comment(cursor)?;
        }
        if !cursor.take(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(names)
}

fn take_comment(cursor: &mut Cursor<'_>) -> Bound<()> {
    if cursor.take_keyword("COMMENT") {
        cursor.string("a comment")?;
    }
    Ok(())
}

fn parse_table(cursor: &mut Cursor<'_>) -> Bound<Statement> {
    let if_not_exists = cursor.take_keywords(&["IF", "NOT", "EXISTS"]);
    let name = cursor.table_name()?;
    let mut table = CreateTable { if_not_exists, ..CreateTable::empty(name) };
    if cursor.take(&Token::LParen) {
        loop {
            parse_table_item(cursor, &mut table)?;
            if !cursor.take(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen)?;
    }
    take_comment(cursor)?;
    for (word, hint) in [
        ("PARTITIONED", "a partitioned table cannot be written yet; leave the clause out"),
        ("DISTRIBUTED", "leave the clause out"),
        ("DISTRIBUTION", "leave the clause out"),
    ] {
        if cursor.peek_keyword(word) {
            return Err(Fault::unsupported(cursor.at(), word).hint(hint));
        }
    }
    if cursor.take_keyword("WITH") {
        table.options = parse_options(cursor)?;
    }
    if cursor.take_keyword("LIKE") {
        table.like = Some(alter::parse_like(cursor)?);
    } else if cursor.take_keyword("AS") {
        table.query = Some(cursor.query()?);
    }
    Ok(Statement::CreateTable(Box::new(table)))
}

fn parse_table_item(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Bound<()> {
    let at = cursor.at();
    if cursor.peek_keywords(&["WATERMARK", "FOR"]) {
        cursor.take_keywords(&["WATERMARK", "FOR"]);
        let column = cursor.identifier("a column name")?;
        cursor.expect_keyword("AS")?;
        let expression = cursor.expression()?;
        if table.watermark.is_some() {
            return Err(Fault::new(at, "a table has one watermark"));
        }
        table.watermark = Some((column, expression));
        return Ok(());
    }
    if cursor.take_keyword("CONSTRAINT") {
        cursor.identifier("a constraint name")?;
    }
    if cursor.peek_keywords(&["PRIMARY", "KEY"]) {
        let key = parse_primary_key(cursor)?;
        return set_primary_key(table, at, key);
    }
    let name = cursor.identifier("a column name")?;
    if cursor.take_keyword("AS") {
        let kind = ColumnSyntaxKind::Computed(Box::new(cursor.expression()?));
        take_comment(cursor)?;
        table.columns.push(ColumnSyntax { name, kind });
        return Ok(());
    }
    let (ty, not_null) = parse_type(cursor)?;
    if cursor.take_keyword("METADATA") {
        let key =
            if cursor.take_keyword("FROM") { Some(cursor.string("a metadata key")?.value) } else { None };
        let is_virtual = cursor.take_keyword("VIRTUAL");
        take_comment(cursor)?;
        table.columns.push(ColumnSyntax { name, kind: ColumnSyntaxKind::Metadata { ty, key, is_virtual } });
        return Ok(());
    }
    if cursor.take_keywords(&["PRIMARY", "KEY"]) {
        not_enforced(cursor)?;
        set_primary_key(table, at, vec![name.clone()])?;
    }
    take_comment(cursor)?;
    table.columns.push(ColumnSyntax { name, kind: ColumnSyntaxKind::Physical { ty, not_null } });
    Ok(())
}

fn set_primary_key(table: &mut CreateTable, at: Location, key: Vec<Name>) -> Bound<()> {
    if table.primary_key.is_some() {
        return Err(Fault::new(at, "a table has one primary key"));
    }
    table.primary_key = Some((at, key));
    Ok(())
}

fn parse_primary_key(cursor: &mut Cursor<'_>) -> Bound<Vec<Name>> {
    cursor.expect_keyword("PRIMARY")?;
    cursor.expect_keyword("KEY")?;
    cursor.expect(&Token::LParen)?;
    let names = name_list(cursor, false)?;
    not_enforced(cursor)?;
    Ok(names)
}

fn not_enforced(cursor: &mut Cursor<'_>) -> Bound<()> {
    let at = cursor.at();
    if cursor.take_keywords(&["NOT", "ENFORCED"]) {
        return Ok(());
    }
    Err(Fault::new(at, "a primary key is not enforced on streams")
        .hint("write PRIMARY KEY (...) NOT ENFORCED"))
}

fn parse_options(cursor: &mut Cursor<'_>) -> Bound<Options> {
    cursor.expect(&Token::LParen)?;
    let mut options = Options::new();
    loop {
        let key = cursor.string("a quoted option")?;
        cursor.expect(&Token::Eq)?;
        let value = cursor.string("a quoted value")?.value;
        let at = key.at;
        if options.insert(key.value.clone(), OptionValue { value, at }).is_some() {
            return Err(Fault::new(at, format!("option '{}' appears twice", key.value)));
        }
        if !cursor.take(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(options)
}

fn parse_materialized(cursor: &mut Cursor<'_>) -> Bound<Statement> {
    let name = cursor.table_name()?;
    let mut primary_key = None;
    if cursor.take(&Token::LParen) {
        let at = cursor.at();
        if cursor.take_keyword("CONSTRAINT") {
            cursor.identifier("a constraint name")?;
        }
        if !cursor.peek_keyword("PRIMARY") {
            return Err(Fault::unsupported(at, "a column list of a materialized table")
                .hint("name the columns in the SELECT; only PRIMARY KEY (...) NOT ENFORCED may stand here"));
        }
        primary_key = Some((at, parse_primary_key(cursor)?));
        cursor.expect(&Token::RParen)?;
    }
    take_comment(cursor)?;
    if cursor.peek_keyword("PARTITIONED") {
        return Err(Fault::unsupported(cursor.at(), "PARTITIONED BY").hint("leave the clause out"));
    }
    let options = if cursor.take_keyword("WITH") { parse_options(cursor)? } else { Options::new() };
    let freshness_ms = if cursor.take_keyword("FRESHNESS") { Some(parse_freshness(cursor)?) } else { None };
    if cursor.take_keyword("REFRESH_MODE") {
        cursor.expect(&Token::Eq)?;
        let at = cursor.at();
        if !cursor.take_keyword("CONTINUOUS") {
            return Err(Fault::unsupported(at, "REFRESH_MODE other than CONTINUOUS"));
        }
    }
    cursor.expect_keyword("AS")?;
    let query = cursor.query()?;
    Ok(Statement::CreateMaterialized(CreateMaterialized { name, primary_key, options, freshness_ms, query }))
}

fn parse_freshness(cursor: &mut Cursor<'_>) -> Bound<u64> {
    cursor.expect(&Token::Eq)?;
    cursor.expect_keyword("INTERVAL")?;
    let number = cursor.string("a quoted number")?;
    let at = cursor.at();
    let unit = cursor.take_any_word().unwrap_or_default().to_uppercase();
    let factor = match unit.trim_end_matches('S') {
        "SECOND" => 1_000,
        "MINUTE" => 60_000,
        "HOUR" => 3_600_000,
        "DAY" => 86_400_000,
        _ => return Err(Fault::new(at, "expected SECOND, MINUTE, HOUR or DAY")),
    };
    let count = number.value.trim().parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
    count.ok_or_else(|| Fault::new(number.at, format!("freshness {}: expected a whole number", number.value)))
}

fn parse_insert(cursor: &mut Cursor<'_>) -> Bound<Statement> {
    if cursor.peek_keyword("OVERWRITE") {
        return Err(Fault::unsupported(cursor.at(), "INSERT OVERWRITE").hint("use INSERT INTO"));
    }
    if !cursor.take_keyword("INTO") {
        return Err(cursor.expected("INTO"));
    }
    let table = cursor.table_name()?;
    if cursor.peek_keyword("PARTITION") {
        return Err(Fault::unsupported(cursor.at(), "INSERT INTO ... PARTITION").hint("leave the clause out"));
    }
    let mut columns = Vec::new();
    if cursor.peek() == Some(Token::LParen)
        && !cursor.keyword_at(1, "SELECT")
        && !cursor.keyword_at(1, "WITH")
    {
        cursor.next();
        columns = name_list(cursor, false)?;
    }
    let query = cursor.query()?;
    Ok(Statement::Insert(Insert { table, columns, query }))
}
