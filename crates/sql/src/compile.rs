//! A file's statements, one after another, to one plan.

mod answer;
mod declare;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;
use datafusion_expr::Operator;
use highwater_stream::{SinkSpec, SinkTarget, StreamPlan, carries_changes};
use sqlparser::tokenizer::Location;

use crate::bind::{Session, View};
use crate::catalog::{Catalog, ColumnDefinition, TableDefinition, Usage, check_options};
use crate::dialect::FlinkDialect;
use crate::error::{Bound, Fault, SqlError, nearest};
use crate::explain::explain;
use crate::functions::compare::binary;
use crate::functions::{Typed, cast, failed, fallible_call};
use crate::lower::{Output, lower};
use crate::relation::{Relation, named};
use crate::script::{Script, Source};
use crate::statement::{self, CreateMaterialized, CreateTable, CreateView, Insert, Name, Statement};
use crate::types::SqlType;

pub use answer::Answer;

/// A compiled file.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// `SET 'pipeline.name'`, else the file's stem.
    pub pipeline_name: String,
    /// All settings at the end of the file.
    pub settings: BTreeMap<String, String>,
    /// All statements as one graph; empty if the file only declares.
    pub plan: StreamPlan,
    /// Columns of the last bare `SELECT`, if there is one.
    pub collect: Option<SchemaRef>,
    /// Materialized tables the file makes.
    pub materialized: Vec<MaterializedTable>,
    /// Tables that are read, in order of their first use.
    pub sources: Vec<String>,
    /// Tables that are written, in order of their first use.
    pub sinks: Vec<String>,
    /// The plan as text.
    pub explain: String,
    /// What `SHOW`, `DESCRIBE` and `EXPLAIN` asked for, in their order.
    pub answers: Vec<Answer>,
}

/// A table that the node keeps.
#[derive(Clone, Debug)]
pub struct MaterializedTable {
    /// Its global name.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Indexes of the primary key's columns; never empty.
    pub primary_key: Vec<usize>,
    /// `FRESHNESS`: results may lag so far, ms.
    pub freshness_ms: Option<u64>,
}

/// Stack of the thread that compiles: syntax may nest deeply before it is refused.
const STACK_BYTES: usize = 64 << 20;

/// Compiles a file.
///
/// # Errors
/// If anything in it is wrong, unknown or not supported yet: the first such place.
pub fn compile(script: &Script, catalog: &(dyn Catalog + Sync)) -> Result<Compiled, SqlError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("sql".to_owned()).stack_size(STACK_BYTES);
        let running = thread.spawn_scoped(scope, || compile_here(script, catalog));
        match running.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => compile_here(script, catalog),
        }
    })
}

fn compile_here(script: &Script, catalog: &dyn Catalog) -> Result<Compiled, SqlError> {
    let source = Source::new(script)?;
    let (statements, hints) = source.statements()?;
    let mut file = File {
        session: Session {
            catalog,
            tables: BTreeMap::new(),
            views: BTreeMap::new(),
            materialized: BTreeMap::new(),
            settings: BTreeMap::new(),
            zone: Tz::UTC,
            hints,
            view_depth: Cell::new(0),
        },
        declared: BTreeMap::new(),
        outputs: Vec::new(),
        answers: Vec::new(),
        collect: None,
        materialized: Vec::new(),
        sinks: Vec::new(),
        set_opened: None,
    };
    let dialect = FlinkDialect;
    for statement in statements {
        let start = statement.start;
        let (opens, statement) = statement::split_statement_set(&dialect, statement);
        let run = |file: &mut File<'_>| -> Bound<()> {
            if opens {
                file.run(Statement::BeginStatementSet, start)?;
                if statement.tokens.is_empty() {
                    return Ok(());
                }
            }
            file.run(statement::parse(&dialect, statement)?, start)
        };
        run(&mut file).map_err(|fault| source.error(fault.or_at(start)))?;
    }
    file.finish(script).map_err(|fault| source.error(fault))
}

struct File<'a> {
    session: Session<'a>,
    /// How the file's tables were declared, for LIKE, ALTER and SHOW.
    declared: BTreeMap<String, CreateTable>,
    outputs: Vec<Output>,
    answers: Vec<Answer>,
    collect: Option<Arc<Relation>>,
    materialized: Vec<MaterializedTable>,
    sinks: Vec<String>,
    /// Where an open statement set began.
    set_opened: Option<Location>,
}

impl File<'_> {
    fn run(&mut self, statement: Statement, at: Location) -> Bound<()> {
        if self.set_opened.is_some()
            && !matches!(statement, Statement::Insert(_) | Statement::EndStatementSet)
        {
            return Err(Fault::new(at, "only INSERT INTO and END may stand in a statement set"));
        }
        match statement {
            Statement::CreateTable(create) => self.create_table(*create)?,
            Statement::CreateView(create) => self.create_view(create)?,
            Statement::CreateMaterialized(create) => self.create_materialized(create, at)?,
            Statement::Drop { view, if_exists, name } => self.drop(view, if_exists, &name)?,
            Statement::Set { key, value } => self.set(&key, value)?,
            Statement::Reset { key: None } => {
                self.session.settings.clear();
                self.session.zone = Tz::UTC;
            }
            Statement::Reset { key: Some(key) } => {
                self.session.settings.remove(&key);
                if key == LOCAL_TIME_ZONE {
                    self.session.zone = Tz::UTC;
                }
            }
            Statement::Insert(insert) => self.insert(insert)?,
            Statement::AlterTable { name, if_exists, change } => {
                self.alter_table(&name, if_exists, change)?
            }
            Statement::AlterView { name, to, query } => self.alter_view(&name, to, query)?,
            Statement::Show(show) => self.answers.push(self.show(show)?),
            Statement::Explain(inner) => self.answers.push(self.explain(*inner, at)?),
            Statement::Use => {}
            Statement::Query(query) => self.collect = Some(self.session.top_query(&query)?),
            Statement::BeginStatementSet => self.set_opened = Some(at),
            Statement::EndStatementSet => {
                if self.set_opened.take().is_none() {
                    return Err(Fault::new(at, "END without a statement set"));
                }
            }
        }
        Ok(())
    }

    /// Whether the name is free. With `skip` a taken one is no error.
    fn check_name(&self, name: &Name, skip: bool, replace_view: bool) -> Bound<bool> {
        let session = &self.session;
        let view = session.views.contains_key(&name.value);
        let taken = session.tables.contains_key(&name.value)
            || session.materialized.contains_key(&name.value)
            || view;
        match taken {
            false => Ok(true),
            true if view && replace_view => Ok(true),
            true if skip => Ok(false),
            true => Err(Fault::new(name.at, format!("table or view '{}' exists already", name.value))),
        }
    }

    fn create_view(&mut self, create: CreateView) -> Bound<()> {
        if !self.check_name(&create.name, create.if_not_exists, create.or_replace)? {
            return Ok(());
        }
        let columns = create
            .columns
            .into_iter()
            .map(|name| sqlparser::ast::Ident {
                value: name.value,
                quote_style: None,
                span: sqlparser::tokenizer::Span::new(name.at, name.at),
            })
            .collect::<Vec<_>>();
        let bound = self.session.view_query(&create.query)?;
        if !columns.is_empty() && columns.len() != bound.columns.len() {
            let message = format!("{} column names for {} columns", columns.len(), bound.columns.len());
            return Err(Fault::new(create.name.at, message));
        }
        self.session.views.insert(create.name.value, Arc::new(View { columns, query: create.query }));
        Ok(())
    }

    fn drop(&mut self, view: bool, if_exists: bool, name: &Name) -> Bound<()> {
        let gone = if view {
            self.session.views.remove(&name.value).is_some()
        } else {
            self.declared.remove(&name.value);
            self.session.tables.remove(&name.value).is_some()
        };
        if gone || if_exists {
            return Ok(());
        }
        let kind = if view { "view" } else { "table" };
        Err(Fault::new(name.at, format!("{kind} '{}' does not exist", name.value)))
    }

    fn set(&mut self, key: &Name, value: String) -> Bound<()> {
        check_setting(key, &value)?;
        if key.value == LOCAL_TIME_ZONE {
            self.session.zone = value.parse().map_err(|_| {
                Fault::new(key.at, format!("'{value}' is no time zone"))
                    .hint("a name such as 'Europe/Berlin' or 'UTC'")
            })?;
        }
        self.session.settings.insert(key.value.clone(), value);
        Ok(())
    }

    fn insert(&mut self, insert: Insert) -> Bound<()> {
        let query = self.session.top_query(&insert.query)?;
        let output = self.output(&insert.table, &insert.columns, &query)?;
        if !self.sinks.contains(&insert.table.value) {
            self.sinks.push(insert.table.value);
        }
        self.outputs.push(output);
        Ok(())
    }

    /// The sink of table `name` that takes what `query` gives.
    fn output(&self, name: &Name, columns: &[Name], query: &Arc<Relation>) -> Bound<Output> {
        let table = self.sink_table(name)?;
        check_options(&table, &table.options, Usage::Write, name.at)?;
        let enforcer = self.session.settings.get(NOT_NULL_ENFORCER);
        let drops_nulls = enforcer.is_some_and(|value| value.eq_ignore_ascii_case("DROP"));
        let relation = write_to(&table, query, columns, name, (self.session.zone, drops_nulls))?;
        check_event_time(&relation, name)?;
        let connector = table.options.get("connector").map_or("", String::as_str);
        // What takes every kind of change needs no key; of others the connector sees the last version.
        let takes_all =
            matches!(connector, "print" | "blackhole" | "checksum") || carries_changes(&table.options);
        if query.updating && !takes_all {
            return Err(Fault::new(name.at, format!("table {} (connector '{connector}') takes only new rows, but the query changes earlier ones", table.name))
                .hint("use CREATE MATERIALIZED TABLE, connector 'print', a format such as 'debezium-json', or a windowed aggregation, whose results are final"));
        }
        let written: Vec<&str> = table.written_columns().map(|column| column.name.as_str()).collect();
        let key = table.primary_key.iter().map(|index| table.columns[*index].name.as_str());
        let primary_key: Vec<usize> =
            key.filter_map(|name| written.iter().position(|known| *known == name)).collect();
        let target = SinkTarget::Table { table: table.name.clone(), options: table.options.clone() };
        let title = format!("Sink({})", table.name);
        Ok(Output { relation, sink: SinkSpec { target, primary_key }, title })
    }

    fn sink_table(&self, name: &Name) -> Bound<Arc<TableDefinition>> {
        if let Some(table) = self.session.tables.get(&name.value) {
            return Ok(Arc::clone(table));
        }
        if self.session.views.contains_key(&name.value) {
            return Err(Fault::new(name.at, format!("'{}' is a view: it cannot be written", name.value)));
        }
        match self.session.catalog.table(&name.value) {
            Some(table) if !table.materialized => Ok(Arc::new(table)),
            Some(_) => Err(Fault::new(
                name.at,
                format!("materialized table '{}' is written by its own query", name.value),
            )),
            None => {
                let fault = Fault::new(name.at, format!("table '{}' not found", name.value));
                let hint = nearest(&name.value, self.session.tables.keys().map(String::as_str));
                Err(fault.hint(hint.unwrap_or_else(|| "CREATE TABLE it first".to_owned())))
            }
        }
    }

    fn create_materialized(&mut self, create: CreateMaterialized, at: Location) -> Bound<()> {
        let name = create.name;
        self.check_name(&name, false, false)?;
        if let Some((key, option)) = create.options.iter().next() {
            return Err(Fault::new(option.at, format!("a materialized table has no option '{key}'")));
        }
        let query = self.session.top_query(&create.query)?;
        let primary_key = match create.primary_key {
            Some((at, names)) => declared_key(&query, at, &names)?,
            None => derived_key(&query, name.at)?,
        };
        if query.updating {
            check_upsert_key(&query, &primary_key, at)?;
        }
        let schema = query.schema();
        self.materialized.push(MaterializedTable {
            name: name.value.clone(),
            schema,
            primary_key: primary_key.clone(),
            freshness_ms: create.freshness_ms,
        });
        self.session.materialized.insert(name.value.clone(), name.at);
        self.sinks.push(name.value.clone());
        let title = format!("MaterializedTable({})", name.value);
        let target = SinkTarget::Materialized { table: name.value };
        self.outputs.push(Output { relation: query, sink: SinkSpec { target, primary_key }, title });
        Ok(())
    }

    fn finish(mut self, script: &Script) -> Bound<Compiled> {
        if let Some(at) = self.set_opened {
            return Err(Fault::new(at, "statement set without END").hint("end it with END;"));
        }
        let collect = self.collect.as_ref().map(|relation| relation.schema());
        if let Some(relation) = self.collect.take() {
            let sink = SinkSpec { target: SinkTarget::Collect, primary_key: Vec::new() };
            self.outputs.push(Output { relation, sink, title: "Collect".to_owned() });
        }
        let plan = lower(&self.outputs);
        let settings = self.session.settings;
        let stem = Path::new(&script.name)
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let pipeline_name = settings.get("pipeline.name").cloned().unwrap_or(stem);
        let mut sources = Vec::new();
        for node in &plan.nodes {
            if let highwater_stream::OperatorSpec::Source(source) = &node.spec
                && !source.table.starts_with('$')
                && !sources.contains(&source.table)
            {
                sources.push(source.table.clone());
            }
        }
        let explain = explain(&plan);
        Ok(Compiled {
            pipeline_name,
            settings,
            plan,
            collect,
            materialized: self.materialized,
            sources,
            sinks: self.sinks,
            explain,
            answers: self.answers,
        })
    }
}

const LOCAL_TIME_ZONE: &str = "table.local-time-zone";
const NOT_NULL_ENFORCER: &str = "table.exec.sink.not-null-enforcer";

/// Settings under `table.` that are known; others of that prefix are refused.
const TABLE_SETTINGS: &[&str] = &[
    LOCAL_TIME_ZONE,
    "table.exec.mini-batch.enabled",
    "table.exec.mini-batch.allow-latency",
    "table.exec.mini-batch.size",
    "table.exec.state.ttl",
    "table.exec.source.idle-timeout",
    "table.exec.resource.default-parallelism",
    "table.exec.sink.upsert-materialize",
    "table.exec.sink.keyed-shuffle",
    NOT_NULL_ENFORCER,
    "table.exec.sink.type-length-enforcer",
    "table.exec.legacy-cast-behaviour",
    "table.exec.rank.topn-cache-size",
    "table.exec.simplify-operator-name-enabled",
    "table.exec.uid.generation",
    "table.exec.window-agg.buffer-size-limit",
    "table.optimizer.agg-phase-strategy",
    "table.optimizer.distinct-agg.split.enabled",
    "table.optimizer.distinct-agg.split.bucket-num",
    "table.optimizer.reuse-source-enabled",
    "table.optimizer.reuse-sub-plan-enabled",
    "table.optimizer.incremental-agg-enabled",
    "table.optimizer.join-reorder-enabled",
    "table.optimizer.multi-join.enabled",
    "table.optimizer.multiple-input-enabled",
    "table.optimizer.source.predicate-pushdown-enabled",
    "table.optimizer.union-all-as-breakpoint-enabled",
    "table.sql-dialect",
    "table.dml-sync",
    "table.display.max-column-width",
];

/// Settings of which not every value of Flink's is there.
const SETTING_VALUES: &[(&str, &[&str])] = &[
    (NOT_NULL_ENFORCER, &["ERROR", "DROP"]),
    ("table.exec.sink.type-length-enforcer", &["IGNORE"]),
    ("table.exec.legacy-cast-behaviour", &["DISABLED"]),
    ("table.sql-dialect", &["DEFAULT"]),
];

/// Prefixes of settings that are kept for the runner.
const SETTING_PREFIXES: &[&str] = &[
    "pipeline.",
    "execution.",
    "parallelism.",
    "sql-client.",
    "state.",
    "restart-strategy",
    "highwater.",
    "stage.",
];

fn check_setting(key: &Name, value: &str) -> Bound<()> {
    let name = key.value.as_str();
    if name == "execution.runtime-mode" && !value.eq_ignore_ascii_case("streaming") {
        return Err(Fault::unsupported(key.at, format!("execution.runtime-mode '{value}'"))
            .hint("leave it out: streaming"));
    }
    let values = SETTING_VALUES.iter().find(|(known, _)| *known == name).map(|(_, values)| *values);
    if let Some(values) = values
        && !values.iter().any(|known| known.eq_ignore_ascii_case(value))
    {
        return Err(Fault::unsupported(key.at, format!("{name} '{value}'"))
            .hint(format!("values: {}", values.join(", "))));
    }
    if TABLE_SETTINGS.contains(&name) || SETTING_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Ok(());
    }
    let known = TABLE_SETTINGS.iter().copied().chain([
        "pipeline.name",
        "execution.checkpointing.interval",
        "parallelism.default",
    ]);
    let fault = Fault::unsupported(key.at, format!("setting '{name}'"));
    Err(match nearest(name, known.clone()) {
        Some(hint) => fault.hint(hint),
        None => fault.hint(format!("settings: {}", known.collect::<Vec<_>>().join(", "))),
    })
}

/// The query's columns as the table's, by position, converted and checked.
fn write_to(
    table: &TableDefinition,
    query: &Arc<Relation>,
    names: &[Name],
    at: &Name,
    (zone, drops_nulls): (Tz, bool),
) -> Bound<Arc<Relation>> {
    let all: Vec<&ColumnDefinition> = table.written_columns().collect();
    let targets = target_columns(table, &all, names)?;
    if targets.len() != query.columns.len() {
        let message = format!(
            "the query gives {} columns, but table {} takes {}",
            query.columns.len(),
            table.name,
            targets.len()
        );
        let list = |columns: &mut dyn Iterator<Item = String>| columns.collect::<Vec<_>>().join(", ");
        let from = list(&mut query.columns.iter().map(|column| format!("{} {}", column.name, column.ty)));
        let to = list(&mut targets.iter().map(|column| format!("{} {}", column.name, column.ty)));
        return Err(Fault::new(at.at, message).hint(format!("query: [{from}]; table: [{to}]")));
    }
    let mut columns = Vec::with_capacity(all.len());
    let mut filter = None;
    for target in &all {
        let place = targets.iter().position(|column| column.name == target.name);
        let bound = match place {
            None => Typed {
                expr: crate::functions::null_of(&target.ty.to_arrow()),
                ty: target.ty.clone(),
                at: at.at,
            },
            Some(place) => {
                let from = &query.columns[place];
                if !from.ty.converts_to(&target.ty) {
                    let message = format!(
                        "column '{}' at position {}: the query gives {}, but table {} takes {}",
                        target.name,
                        place + 1,
                        from.ty,
                        table.name,
                        target.ty
                    );
                    return Err(
                        Fault::new(at.at, message).hint(format!("CAST({} AS {})", from.name, target.ty))
                    );
                }
                let typed = Typed { expr: named(&from.name), ty: from.ty.clone(), at: at.at };
                sink_cast(typed, &target.ty, zone)?
            }
        };
        let expr = match (target.not_null, drops_nulls) {
            (false, _) => bound.expr,
            (true, false) => not_null(bound.expr, &target.ty, &target.name),
            (true, true) => {
                let is_there = bound.expr.clone().is_not_null();
                filter = Some(match filter {
                    None => is_there,
                    Some(known) => binary(known, Operator::And, is_there),
                });
                bound.expr
            }
        };
        columns.push((target.name.clone(), expr, target.ty.clone()));
    }
    Ok(Relation::calc(query, filter, columns))
}

/// As Flink by default: text is neither cut nor filled up on the way into a sink.
fn sink_cast(typed: Typed, to: &SqlType, zone: Tz) -> Bound<Typed> {
    if typed.ty.is_text() && to.is_text() {
        return Ok(Typed { ty: to.clone(), ..typed });
    }
    cast::implicit(typed, to, zone)
}

fn target_columns<'t>(
    table: &TableDefinition,
    all: &[&'t ColumnDefinition],
    names: &[Name],
) -> Bound<Vec<&'t ColumnDefinition>> {
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    let mut targets: Vec<&ColumnDefinition> = Vec::with_capacity(names.len());
    for name in names {
        let Some(column) = all.iter().find(|column| column.name == name.value) else {
            let fault =
                Fault::new(name.at, format!("table {} has no column '{}' to write", table.name, name.value));
            let known = all.iter().map(|column| column.name.as_str());
            return Err(match nearest(&name.value, known) {
                Some(hint) => fault.hint(hint),
                None => fault,
            });
        };
        if targets.iter().any(|known| known.name == column.name) {
            return Err(Fault::new(name.at, format!("column '{}' appears twice", name.value)));
        }
        targets.push(column);
    }
    Ok(targets)
}

fn not_null(expr: datafusion_expr::Expr, ty: &SqlType, column: &str) -> datafusion_expr::Expr {
    let name = column.to_owned();
    fallible_call(format!("not_null[{column}]"), ty.to_arrow(), vec![expr], move |arguments| {
        if arguments[0].null_count() > 0 {
            return Err(failed(format!(
                "column '{name}' is NOT NULL, but a null value is being written into it"
            )));
        }
        Ok(Arc::clone(&arguments[0]))
    })
}

fn declared_key(query: &Relation, at: Location, names: &[Name]) -> Bound<Vec<usize>> {
    let mut key = Vec::with_capacity(names.len());
    for name in names {
        let Some(index) = query.index(&name.value) else {
            let known =
                query.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Fault::new(
                name.at,
                format!("primary key column '{}' is not in the SELECT", name.value),
            )
            .hint(format!("columns: {known}")));
        };
        if !key.contains(&index) {
            key.push(index);
        }
    }
    if key.is_empty() { Err(Fault::new(at, "a primary key without columns")) } else { Ok(key) }
}

/// The smallest set of columns by which the query's rows replace each other.
fn derived_key(query: &Relation, at: Location) -> Bound<Vec<usize>> {
    let smallest = query.keys.iter().filter(|key| !key.is_empty()).min_by_key(|key| key.len());
    smallest.cloned().ok_or_else(|| {
        let global = query.keys.iter().any(Vec::is_empty);
        let fault = Fault::new(at, "a materialized table needs a key, and the query has none");
        if global {
            return fault.hint("the query gives one row: add a constant column such as 'all' AS name and declare it: CREATE MATERIALIZED TABLE t (PRIMARY KEY (name) NOT ENFORCED) AS ...");
        }
        fault.hint("select the GROUP BY columns (with window_start for windows), or declare CREATE MATERIALIZED TABLE t (PRIMARY KEY (...) NOT ENFORCED) AS ...: later rows then replace earlier ones")
    })
}

/// Rows that are written have one event time.
fn check_event_time(relation: &Relation, table: &Name) -> Bound<()> {
    let times = relation.columns.iter().filter(|column| column.rowtime).map(|column| column.name.as_str());
    match times.collect::<Vec<_>>().as_slice() {
        [] | [_] => Ok(()),
        several => Err(Fault::new(
            table.at,
            format!("several event times ({}) for table {}", several.join(", "), table.value),
        )
        .hint("CAST all but one to TIMESTAMP(3)")),
    }
}

/// Rows that change must find their earlier version by the key.
fn check_upsert_key(query: &Relation, key: &[usize], at: Location) -> Bound<()> {
    let covered = |unique: &Vec<usize>| unique.iter().all(|column| key.contains(column));
    if key.is_empty() || query.keys.iter().any(covered) {
        return Ok(());
    }
    let names = |columns: &[usize]| {
        columns.iter().map(|index| query.columns[*index].name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let found = query.keys.first().map_or("none".to_owned(), |unique| format!("({})", names(unique)));
    Err(Fault::new(
        at,
        format!(
            "the primary key ({}) is not the key by which the query changes its rows: {found}",
            names(key)
        ),
    )
    .hint("declare the GROUP BY columns as the primary key"))
}
