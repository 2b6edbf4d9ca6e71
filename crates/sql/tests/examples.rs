//! Every pipeline the repository shows compiles.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use highwater_sql::{NoCatalog, Script, compile};

fn scripts(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            scripts(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            found.push(path);
        }
    }
}

/// Any value will do: nothing is opened.
fn variables(text: &str) -> BTreeMap<String, String> {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split_once('}'));
    names.map(|(name, _)| (name.to_owned(), "/data".to_owned())).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the examples lie on the real disk")]
fn every_example_compiles() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    scripts(&root.join("examples"), &mut found);
    scripts(&root.join("crates/highwater"), &mut found);
    assert!(!found.is_empty(), "no example found");
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        let vars = variables(&text);
        let script = Script { name: path.display().to_string(), text, vars };
        if let Err(error) = compile(&script, &NoCatalog) {
            panic!("{error}");
        }
    }
}
