//! `golden/*.sql` and the plan or error each gives. `UPDATE_EXPECT=1 cargo test -p highwater-sql` rewrites them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use expect_test::expect_file;
use highwater_sql::{NoCatalog, Script, compile};

/// Scripts in one file are parted by a line of dashes; the answers likewise.
fn answers(name: &str, text: &str) -> String {
    let mut all = String::new();
    for script in text.split("\n----\n") {
        let vars = BTreeMap::from([("DIR".to_owned(), "/data".to_owned())]);
        let script = Script { name: name.to_owned(), text: script.to_owned(), vars };
        match compile(&script, &NoCatalog) {
            Ok(compiled) => {
                for answer in &compiled.answers {
                    all.push_str(&format!("[{}]\n", answer.columns.join(" | ")));
                    answer.rows.iter().for_each(|row| all.push_str(&format!("{}\n", row.join(" | "))));
                }
                all.push_str(&compiled.explain);
                for table in compiled.materialized {
                    let names: Vec<&str> =
                        table.primary_key.iter().map(|i| table.schema.field(*i).name().as_str()).collect();
                    all.push_str(&format!("materialized {} key [{}]\n", table.name, names.join(", ")));
                }
            }
            Err(error) => all.push_str(&format!("{error}\n")),
        }
        all.push_str("----\n");
    }
    all
}

#[test]
#[expect(clippy::disallowed_methods, reason = "golden files lie on the real disk")]
fn scripts_give_their_golden_plans() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        expect_file![path.with_extension("plan")].assert_eq(&answers(&name, &text));
    }
}
