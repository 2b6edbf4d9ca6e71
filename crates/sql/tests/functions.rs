//! `docs/sql/functions.md` says the truth: every example of a function is accepted and gives what it says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::DFSchema;
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_physical_expr::create_physical_expr;
use highwater_sql::{NoCatalog, Script, compile};
use highwater_stream::OperatorSpec;

const TABLE: &str = include_str!("../../../docs/sql/functions.md");
/// Of Flink's documented functions, so many must be there.
const SHARE_MIN: usize = 90;

struct Entry {
    line: usize,
    name: String,
    supported: bool,
    example: String,
    gives: String,
}

fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, line) in TABLE.lines().enumerate().filter(|(_, line)| line.starts_with("| `")) {
        let cells: Vec<String> = line.replace("\\|", "\u{0}").split('|').map(cell).collect();
        let [_, name, supported, example, gives, ..] = cells.as_slice() else { panic!("line {}", index + 1) };
        assert!(["yes", "no"].contains(&supported.as_str()), "line {}: yes or no", index + 1);
        entries.push(Entry {
            line: index + 1,
            name: name.clone(),
            supported: supported == "yes",
            example: example.clone(),
            gives: gives.clone(),
        });
    }
    entries
}

/// A cell without its marks of code; blanks within double marks stay, but for one on each side.
fn cell(text: &str) -> String {
    let text = text.trim().replace('\u{0}', "|");
    match text.strip_prefix("`` ").and_then(|rest| rest.strip_suffix(" ``")) {
        Some(code) => code.to_owned(),
        None => text.trim_matches('`').to_owned(),
    }
}

fn compiled(sql: &str) -> Result<highwater_sql::Compiled, String> {
    let script = Script {
        name: "functions.sql".to_owned(),
        text: sql.to_owned(),
        vars: std::collections::BTreeMap::new(),
    };
    compile(&script, &NoCatalog).map_err(|error| error.to_string())
}

fn evaluate(expr: &Expr, input: &RecordBatch) -> Result<ArrayRef, String> {
    let schema = DFSchema::try_from(input.schema().as_ref().clone()).unwrap();
    let physical = create_physical_expr(expr, &schema, &ExecutionProps::new(), &Default::default());
    let value = physical.and_then(|physical| physical.evaluate(input)).map_err(|e| e.to_string())?;
    value.into_array(1).map_err(|e| e.to_string())
}

/// The answer of a query of one row without a table, from its expressions.
fn answer(example: &str) -> Result<String, String> {
    let compiled = compiled(&format!("SELECT {example} AS answer"))?;
    let mut row: Option<RecordBatch> = None;
    for node in &compiled.plan.nodes {
        let columns: Vec<ArrayRef> = match (&node.spec, &row) {
            (OperatorSpec::Source(_), _) => node
                .schema
                .fields()
                .iter()
                .map(|_| Arc::new(BooleanArray::from(vec![true])) as ArrayRef)
                .collect(),
            (OperatorSpec::Calc { columns, .. }, Some(input)) => {
                columns.iter().map(|expr| evaluate(expr, input)).collect::<Result<_, String>>()?
            }
            _ => continue,
        };
        let next = RecordBatch::try_new(Arc::clone(&node.schema), columns);
        row = Some(next.map_err(|error| error.to_string())?);
    }
    let row = row.unwrap();
    let column = row.column(0);
    if column.is_null(0) {
        return Ok("NULL".to_owned());
    }
    Ok(ArrayFormatter::try_new(column, &FormatOptions::default()).unwrap().value(0).to_string())
}

const ROWS: &str = "CREATE TABLE t (k INT, v INT, s STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = 't', 'format' = 'json');";

fn check(entry: &Entry) -> Result<(), String> {
    match entry.gives.as_str() {
        // A subquery, or an aggregate: that it is accepted.
        "" if entry.example.is_empty() => Ok(()),
        "" => {
            let grouped = if entry.example.contains(" OVER ") { "" } else { "GROUP BY k" };
            compiled(&format!("{ROWS} SELECT k, {} AS answer FROM t {grouped}", entry.example)).map(drop)
        }
        "*" => compiled(&format!("SELECT {} AS answer", entry.example)).map(drop),
        gives => match answer(&entry.example)? {
            found if found == gives => Ok(()),
            found => Err(format!("gives {found}, not {gives}")),
        },
    }
}

#[test]
fn every_documented_example_gives_what_it_says() {
    let entries = entries();
    let supported: Vec<&Entry> = entries.iter().filter(|entry| entry.supported).collect();
    let wrong: Vec<String> = supported
        .iter()
        .filter_map(|entry| {
            let error = check(entry).err()?;
            Some(format!("line {}: {}: {}: {error}", entry.line, entry.name, entry.example))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), supported.len(), wrong.join("\n"));
    let share = supported.len() * 100 / entries.len();
    eprintln!("{} of {} functions: {share} %", supported.len(), entries.len());
    assert!(share >= SHARE_MIN, "{share} % of Flink's functions: expected {SHARE_MIN}");
}
