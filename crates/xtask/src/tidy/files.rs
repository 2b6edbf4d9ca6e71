//! Names, lengths and contents of single files.

use std::path::Path;

use super::Finding;

/// Non-test Rust files longer than this are split.
const LINES_MAX: usize = 800;

/// File names that say where code was put, not what it is.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "manager"];

/// Leftovers. Spelt in two halves, so that this list does not find itself.
const LEFTOVERS: &[(&str, &str)] =
    &[("todo", "!("), ("unimplemented", "!("), ("dbg", "!("), ("#[ig", "nore")];

/// What ties a file to one machine or one registry mirror.
const MACHINE_BOUND: &[(&str, &str)] = &[
    ("/wor", "k/"),
    ("/roo", "t/"),
    ("/hom", "e/"),
    ("/Use", "rs/"),
    ("static.crates", ".io"),
    ("index.crates", ".io"),
    ("registry.np", "mjs.org"),
    ("pypi", ".org"),
    ("proxy.gol", "ang.org"),
];

/// Every check on one file; `path` is relative to `root`.
pub(super) fn check(root: &Path, path: &Path, text: &str) -> Vec<Finding> {
    let name = path.to_string_lossy().replace('\\', "/");
    let mut findings = Vec::new();
    if name.ends_with(".rs") {
        check_rust(&name, text, &mut findings);
    }
    if name.ends_with(".md") {
        check_links(root, path, text, &mut findings);
    }
    // The lock file names the registry by design.
    if name != "Cargo.lock" {
        find_any(
            &name,
            text,
            MACHINE_BOUND,
            "ties the repository to a machine or a registry:",
            &mut findings,
        );
    }
    findings
}

fn check_rust(name: &str, text: &str, findings: &mut Vec<Finding>) {
    let is_test = name.contains("/tests/") || name.ends_with("/tests.rs");
    let lines = text.lines().count();
    if lines > LINES_MAX && !is_test {
        findings.push(Finding::new(name, format!("{lines} lines; split files above {LINES_MAX}")));
    }
    let stem =
        Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if EMPTY_NAMES.contains(&stem.as_str()) {
        findings.push(Finding::new(name, "name the file for the noun it holds"));
    }
    if (name.ends_with("/lib.rs") || name.ends_with("/main.rs")) && !documented(text) {
        findings.push(Finding::new(
            name,
            "begins without `//!` lines: what it is, its invariants, what it must not do",
        ));
    }
    find_any(name, text, LEFTOVERS, "leftover", findings);
}

fn documented(text: &str) -> bool {
    let words: usize = text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .map(|line| line.split_whitespace().count())
        .sum();
    text.starts_with("//!") && words > 6
}

fn find_any(name: &str, text: &str, halves: &[(&str, &str)], what: &str, findings: &mut Vec<Finding>) {
    for (left, right) in halves {
        let word = format!("{left}{right}");
        for (number, line) in text.lines().enumerate() {
            if line.contains(&word) {
                findings.push(Finding::new(format!("{name}:{}", number + 1), format!("{what} `{word}`")));
            }
        }
    }
}

/// Relative links, and backticked paths below `crates/`, lead to something that exists.
fn check_links(root: &Path, path: &Path, text: &str, findings: &mut Vec<Finding>) {
    let folder = path.parent().unwrap_or(Path::new(""));
    for (number, line) in text.lines().enumerate() {
        let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let links = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
        let links = links.map(|link| folder.join(link.split('#').next().unwrap_or(link)));
        let paths = line.split('`').skip(1).step_by(2).filter(|word| is_plain_path(word)).map(Into::into);
        for target in links.chain(paths) {
            if !root.join(&target).exists() {
                let what = format!("leads to `{}`, which does not exist", target.display());
                findings.push(Finding::new(format!("{}:{}", path.display(), number + 1), what));
            }
        }
    }
}

fn is_plain_path(word: &str) -> bool {
    word.starts_with("crates/")
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'))
}
