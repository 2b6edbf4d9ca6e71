use std::path::Path;

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn repository_is_tidy() {
    let findings = check(&root()).unwrap();
    let listed: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", listed.len(), listed.join("\n"));
}

const MAP: &str = "# A\n\n## Code map\n\n| Crate | One line | May import |\n|---|---|---|\n\
                   | `env` | traits | – |\n| `log` | batches | `env` |\n| `sim`, `xtask` | dev | all |\n\n## Next\n";

fn arrows(package: &str, dependency: &str) -> Vec<Finding> {
    let metadata = format!(
        r#"{{"packages":[{{"name":"highwater-{package}","dependencies":[{{"name":"{dependency}","kind":null}}]}}]}}"#
    );
    crates::check_arrows(&crates::CodeMap::parse(MAP), &crates::packages(&metadata).unwrap())
}

#[test]
fn an_arrow_against_the_table_is_found() {
    assert_eq!(arrows("log", "highwater-env"), []);
    assert_eq!(arrows("env", "highwater-log").len(), 1);
    assert_eq!(arrows("sim", "highwater-log"), []);
    assert_eq!(arrows("unlisted", "highwater-log").len(), 1);
}

#[test]
fn a_runtime_in_the_core_is_found() {
    assert_eq!(arrows("log", "tokio").len(), 1);
    assert_eq!(arrows("log", "datafusion-expr").len(), 1);
}

#[test]
fn members_out_of_order_are_found() {
    let map = crates::CodeMap::parse(MAP);
    let members = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(crates::check_order(&map, &members(&["env", "log", "sim", "xtask"])), []);
    assert_eq!(crates::check_order(&map, &members(&["log", "env", "sim", "xtask"])).len(), 1);
    let toml = "[workspace]\nmembers = [\n    \"crates/env\",\n    \"crates/log\",\n]\n";
    assert_eq!(crates::members(toml), ["env", "log"]);
}

fn findings_in(name: &str, text: &str) -> usize {
    files::check(&root(), Path::new(name), text).len()
}

#[test]
fn files_are_judged_by_name_length_and_content() {
    assert_eq!(findings_in("crates/x/src/segment.rs", "fn a() {}\n"), 0);
    assert_eq!(findings_in("crates/x/src/segment.rs", &"\n".repeat(801)), 1);
    assert_eq!(findings_in("crates/x/src/segment/tests.rs", &"\n".repeat(801)), 0);
    assert_eq!(findings_in("crates/x/src/utils.rs", ""), 1);
    assert_eq!(findings_in("crates/x/src/lib.rs", "//! stub.\n"), 1);
    assert_eq!(findings_in("crates/x/src/a.rs", concat!("to", "do!()")), 1);
    assert_eq!(findings_in("docs/a.sh", concat!("ls /ro", "ot/.cargo")), 1);
    assert_eq!(findings_in("docs/a.md", "[gone](nowhere.md)"), 1);
    assert_eq!(findings_in("docs/a.md", "`crates/nowhere/src/lib.rs`"), 1);
    assert_eq!(findings_in("docs/a.md", "[here](../Cargo.toml) [web](https://example.org/x)"), 0);
}

#[test]
fn a_second_version_is_found() {
    let one = "[[package]]\nname = \"arrow\"\n";
    assert_eq!(crates::check_single_versions(one), []);
    assert_eq!(crates::check_single_versions(&one.repeat(2)).len(), 1);
}
