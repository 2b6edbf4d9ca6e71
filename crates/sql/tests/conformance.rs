//! Every case of the conformance kit compiles with the types Flink reports, or is refused with a place.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use highwater_sql::{FLINK_TYPE, NoCatalog, Script, SqlError, compile};

fn shared() -> PathBuf {
    std::env::var_os("HIGHWATER_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from)
}

/// The result's columns with Flink's types, or why the case is refused.
fn outcome(sql: &str) -> Result<Vec<(String, String)>, SqlError> {
    let vars = BTreeMap::from([("INPUT".to_owned(), "/input".to_owned())]);
    let script = Script { name: "case.sql".to_owned(), text: sql.to_owned(), vars };
    let compiled = compile(&script, &NoCatalog)?;
    let schema = compiled.collect.map(|schema| schema.fields().clone()).unwrap_or_default();
    Ok(schema.iter().map(|field| (field.name().clone(), field.metadata()[FLINK_TYPE].clone())).collect())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the kit lies on the real disk")]
fn every_case_compiles_or_is_refused_with_its_place() {
    let cases = shared().join("conformance/cases");
    let Ok(entries) = fs::read_dir(&cases) else {
        eprintln!("SKIPPED: no conformance kit at {}", cases.display());
        return;
    };
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let (mut accepted, mut refused, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let sql = fs::read_to_string(folder.join("case.sql")).unwrap();
        let expected = fs::read_to_string(folder.join("expected_error.txt")).unwrap_or_default();
        let meta: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(folder.join("meta.json")).unwrap()).unwrap();
        match outcome(&sql) {
            Ok(_) if expected.starts_with("stage: plan") => wrong.push(format!("{name}: Flink refuses it")),
            Ok(schema) => {
                let pairs = meta["schema"].as_array().cloned().unwrap_or_default();
                let flink: Vec<(String, String)> = pairs
                    .iter()
                    .map(|pair| {
                        (
                            pair[0].as_str().unwrap().to_owned(),
                            pair[1].as_str().unwrap().replace(" NOT NULL", ""),
                        )
                    })
                    .collect();
                if expected.is_empty() && schema != flink {
                    let differ: Vec<_> =
                        schema.iter().zip(&flink).filter(|(ours, theirs)| ours != theirs).collect();
                    wrong.push(format!("{name}: (ours, Flink's) {differ:?}"));
                }
                accepted.push(name);
            }
            Err(error) => {
                if error.line == 0 || error.column == 0 || error.message.is_empty() {
                    wrong.push(format!("{name}: no place in {error}"));
                }
                refused.push(format!("{name}: {}:{}: {}", error.line, error.column, error.message));
            }
        }
    }
    println!("accepted {}: {}", accepted.len(), accepted.join(" "));
    println!("refused {}:\n  {}", refused.len(), refused.join("\n  "));
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(accepted.len() >= 55, "only {} cases compile", accepted.len());
}
