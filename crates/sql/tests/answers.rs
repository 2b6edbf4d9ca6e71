//! Expressions give Flink's answers: conformance cases without state, evaluated row by row.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, Time32MillisecondArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::DFSchema;
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_physical_expr::create_physical_expr;
use highwater_sql::{Compiled, NoCatalog, Script, compile};
use highwater_stream::OperatorSpec;
use serde_json::Value;

fn shared() -> PathBuf {
    std::env::var_os("HIGHWATER_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Digits of a decimal as an integer of that scale.
fn unscaled(text: &str, scale: usize) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<scale$}").parse().unwrap()
}

/// ms of `yyyy-MM-dd HH:mm:ss[.SSS]`, by the days of the civil calendar.
fn millis(text: &str) -> i64 {
    let parts: Vec<i64> = text.split(['-', ' ', ':', '.']).map(|part| part.parse().unwrap()).collect();
    let at = |index: usize| parts.get(index).copied().unwrap_or(0);
    let (year, month) = if at(1) <= 2 { (at(0) - 1, at(1) + 9) } else { (at(0), at(1) - 3) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5 + at(2) - 1;
    let days = era * 146_097 + day - 719_468;
    ((days * 24 + at(3)) * 60 + at(4)) * 60_000 + at(5) * 1000 + at(6)
}

fn column(field: &Field, rows: &[Value]) -> Option<ArrayRef> {
    let values: Vec<Option<String>> = rows.iter().map(|row| text(&row[field.name()])).collect();
    let each = values.iter().map(Option::as_deref);
    Some(match field.data_type() {
        DataType::Utf8 => Arc::new(each.collect::<StringArray>()),
        DataType::Boolean => Arc::new(each.map(|v| v.map(|v| v == "true")).collect::<BooleanArray>()),
        DataType::Int32 => Arc::new(each.map(|v| v.map(|v| v.parse().unwrap())).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(each.map(|v| v.map(|v| v.parse().unwrap())).collect::<Int64Array>()),
        DataType::Float64 => Arc::new(each.map(|v| v.map(|v| v.parse().unwrap())).collect::<Float64Array>()),
        DataType::Decimal128(precision, scale) => {
            let scale_digits = usize::try_from(*scale).unwrap();
            let array: Decimal128Array = each.map(|v| v.map(|v| unscaled(v, scale_digits))).collect();
            Arc::new(array.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Timestamp(TimeUnit::Millisecond, None) => {
            Arc::new(each.map(|v| v.map(millis)).collect::<TimestampMillisecondArray>())
        }
        _ => return None,
    })
}

fn evaluate(exprs: &[Expr], batch: &RecordBatch) -> Result<Vec<ArrayRef>, String> {
    let schema = DFSchema::try_from(batch.schema().as_ref().clone()).unwrap();
    let properties = ExecutionProps::new();
    let one = |expr: &Expr| {
        let physical = create_physical_expr(expr, &schema, &properties, &Default::default())
            .map_err(|e| e.to_string())?;
        let value = physical.evaluate(batch).map_err(|e| e.to_string())?;
        value.into_array(batch.num_rows()).map_err(|e| e.to_string())
    };
    exprs.iter().map(one).collect()
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, String> {
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| error.to_string())
}

/// The rows a plan of sources and projections gives; None if it has other operators or types.
fn run(compiled: &Compiled, folder: &Path) -> Option<Result<RecordBatch, String>> {
    let mut results: Vec<RecordBatch> = Vec::new();
    for node in &compiled.plan.nodes {
        let input = node.inputs.first().map(|edge| results[edge.from].clone());
        let rows = match (&node.spec, input) {
            (OperatorSpec::Source(source), _) if source.table != "$one_row" => {
                #[expect(clippy::disallowed_methods, reason = "the kit lies on the real disk")]
                let text =
                    fs::read_to_string(folder.join("input").join(format!("{}.jsonl", source.table))).ok()?;
                let rows: Vec<Value> =
                    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
                let columns = source.physical.fields().iter().map(|field| column(field, &rows));
                let physical = batch(&source.physical, columns.collect::<Option<_>>()?);
                physical.and_then(|physical| batch(&node.schema, evaluate(&source.columns, &physical)?))
            }
            (OperatorSpec::Calc { filter, columns }, Some(input)) => filter
                .as_ref()
                .map_or(Ok(input.clone()), |filter| {
                    let kept = evaluate(std::slice::from_ref(filter), &input)?;
                    let kept: &BooleanArray = kept[0].as_any().downcast_ref().unwrap();
                    arrow::compute::filter_record_batch(&input, kept).map_err(|error| error.to_string())
                })
                .and_then(|input| batch(&node.schema, evaluate(columns, &input)?)),
            (OperatorSpec::Sink(_), Some(input)) => Ok(input),
            _ => return None,
        };
        match rows {
            Ok(rows) => results.push(rows),
            Err(error) => return Some(Err(error)),
        }
    }
    results.pop().map(Ok)
}

/// A value as the kit writes it.
fn render(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "null".to_owned();
    }
    let options = FormatOptions::default();
    let plain = ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string();
    match array.data_type() {
        DataType::Timestamp(_, zone) => {
            let ms = array.as_any().downcast_ref::<TimestampMillisecondArray>().unwrap().value(row);
            let bare = ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string();
            let seconds = bare.get(..19).unwrap_or(&bare).to_owned();
            let fraction = ms.rem_euclid(1000);
            if zone.is_some() {
                format!("{seconds}.{fraction:03}Z")
            } else {
                format!("{}.{fraction:03}", seconds.replace('T', " "))
            }
        }
        DataType::Time32(_) => {
            let ms = array.as_any().downcast_ref::<Time32MillisecondArray>().unwrap().value(row);
            format!("{:02}:{:02}:{:02}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60)
        }
        DataType::Date32 => {
            let _: &Date32Array = array.as_any().downcast_ref().unwrap();
            plain
        }
        DataType::Float64 => format!("{:?}", plain.parse::<f64>().unwrap()),
        _ => plain,
    }
}

fn wanted(value: &Value, ty: &DataType) -> String {
    match (value, ty) {
        (Value::String(text), DataType::Float64) => {
            format!("{:?}", text.replace("Infinity", "inf").parse::<f64>().unwrap())
        }
        (number, DataType::Float64) if number.is_number() => format!("{:?}", number.as_f64().unwrap()),
        (Value::String(text), _) => text.clone(),
        (other, _) => other.to_string(),
    }
}

fn check(folder: &Path) -> Option<Result<(), String>> {
    let read = |name: &str| {
        #[expect(clippy::disallowed_methods, reason = "the kit lies on the real disk")]
        fs::read_to_string(folder.join(name)).ok()
    };
    let vars = BTreeMap::from([("INPUT".to_owned(), folder.join("input").display().to_string())]);
    let script = Script { name: "case.sql".to_owned(), text: read("case.sql")?, vars };
    let compiled = compile(&script, &NoCatalog).ok()?;
    let expected = read("expected.jsonl")?;
    let rows = match run(&compiled, folder)? {
        Ok(rows) => rows,
        Err(error) => return Some(Err(error)),
    };
    let schema = rows.schema();
    let line = |cells: Vec<String>| cells.join(" | ");
    let mut ours: Vec<String> = (0..rows.num_rows())
        .map(|row| line(rows.columns().iter().map(|array| render(array, row)).collect()))
        .collect();
    let mut theirs: Vec<String> = expected
        .lines()
        .map(|text| serde_json::from_str::<Value>(text).unwrap())
        .map(|row| {
            line(schema.fields().iter().map(|field| wanted(&row[field.name()], field.data_type())).collect())
        })
        .collect();
    ours.sort();
    theirs.sort();
    let differ: Vec<String> = ours
        .iter()
        .zip(&theirs)
        .filter(|(a, b)| a != b)
        .map(|(a, b)| format!("  ours  {a}\n  Flink {b}"))
        .collect();
    if ours.len() == theirs.len() && differ.is_empty() {
        return Some(Ok(()));
    }
    Some(Err(format!("{} rows, expected {}\n{}", ours.len(), theirs.len(), differ.join("\n"))))
}

#[test]
fn projections_give_flinks_answers() {
    let cases = shared().join("conformance/cases");
    let Ok(entries) = fs::read_dir(&cases) else {
        eprintln!("SKIPPED: no conformance kit at {}", cases.display());
        return;
    };
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        // JSON's own conversions and changelogs are the formats' business; a quirk is not counted.
        let formats = ["json_", "cdc_"].iter().any(|prefix| name.starts_with(prefix));
        if formats || name.starts_with("quirk_") || name == "table_options_hint" {
            continue;
        }
        match check(&folder) {
            Some(Ok(())) => right.push(name),
            Some(Err(error)) => wrong.push(format!("{name}: {error}")),
            None => {}
        }
    }
    println!("right: {}", right.join(" "));
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(right.len() >= 10, "only {} cases evaluated", right.len());
}
