//! The order of crates and the arrows between them.

use std::collections::BTreeMap;

use anyhow::Context;

use super::Finding;

/// Crates whose code is plain and synchronous: no runtime, no HTTP, as a direct dependency of any kind.
const SYNCHRONOUS: &[&str] = &[
    "env",
    "log",
    "coordinator",
    "formats",
    "stream",
    "sql",
    "state",
    "dataflow",
    "checkpoint",
    "connectors",
];
const RUNTIMES: &[&str] =
    &["tokio", "tokio-stream", "tokio-util", "axum", "hyper", "tower-http", "ureq", "smol"];

/// The only crates that may name DataFusion. `sql` plans, `stream` carries bound expressions,
/// `dataflow` builds physical ones.
const NAMES_DATAFUSION: &[&str] = &["stream", "sql", "dataflow"];

/// Two versions of these in one program cost minutes of build time and do not fit together.
const SINGLE_VERSION: &[&str] =
    &["arrow", "arrow-array", "datafusion-common", "datafusion-expr", "axum", "hyper"];

/// The table under `## Code map` in ARCHITECTURE.md, in its order.
pub(super) struct CodeMap {
    rows: Vec<(String, MayImport)>,
}

#[derive(Debug, PartialEq, Eq)]
enum MayImport {
    Any,
    Only(Vec<String>),
}

impl CodeMap {
    /// Reads rows of the form ``| `crate` | one line | `a`, `b` |`` (or `all`, or `–` for none).
    pub(super) fn parse(architecture: &str) -> Self {
        let section = architecture.split("\n## Code map").nth(1).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        let mut rows = Vec::new();
        for line in section.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let imports = cells.last().copied().unwrap_or_default();
            let may_import =
                if imports == "all" { MayImport::Any } else { MayImport::Only(backticked(imports)) };
            for name in backticked(cells[0]) {
                let may_import = match &may_import {
                    MayImport::Any => MayImport::Any,
                    MayImport::Only(names) => MayImport::Only(names.clone()),
                };
                rows.push((name, may_import));
            }
        }
        Self { rows }
    }
}

fn backticked(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The workspace members of the root Cargo.toml, without `crates/`, in their order.
pub(super) fn members(cargo_toml: &str) -> Vec<String> {
    cargo_toml
        .lines()
        .skip_while(|line| !line.starts_with("members = ["))
        .skip(1)
        .take_while(|line| !line.starts_with(']'))
        .filter_map(|line| line.trim().strip_prefix("\"crates/")?.strip_suffix("\","))
        .map(str::to_owned)
        .collect()
}

pub(super) fn check_order(map: &CodeMap, members: &[String]) -> Vec<Finding> {
    let mapped: Vec<&str> = map.rows.iter().map(|(name, _)| name.as_str()).collect();
    if mapped == members.iter().map(String::as_str).collect::<Vec<_>>() {
        return Vec::new();
    }
    let what =
        format!("the code map lists {}, Cargo.toml's members are {}", mapped.join(" "), members.join(" "));
    vec![Finding::new("ARCHITECTURE.md", what)]
}

/// A package of the workspace and its direct dependencies; kind is `normal`, `dev` or `build`.
pub(super) struct Package {
    name: String,
    dependencies: Vec<(String, String)>,
}

/// Reads the output of `cargo metadata --no-deps`.
pub(super) fn packages(metadata: &str) -> anyhow::Result<Vec<Package>> {
    let metadata: serde_json::Value = serde_json::from_str(metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    packages
        .iter()
        .map(|package| {
            let name = package["name"].as_str().context("a package without a name")?;
            let dependencies =
                package["dependencies"].as_array().context("a package without dependencies")?;
            Ok(Package {
                name: short(name).to_owned(),
                dependencies: dependencies
                    .iter()
                    .filter_map(|d| {
                        Some((
                            d["name"].as_str()?.to_owned(),
                            d["kind"].as_str().unwrap_or("normal").to_owned(),
                        ))
                    })
                    .collect(),
            })
        })
        .collect()
}

fn short(package: &str) -> &str {
    package.strip_prefix("highwater-").unwrap_or(package)
}

pub(super) fn check_arrows(map: &CodeMap, packages: &[Package]) -> Vec<Finding> {
    let rows: BTreeMap<&str, &MayImport> = map.rows.iter().map(|(name, may)| (name.as_str(), may)).collect();
    let mut findings = Vec::new();
    for package in packages {
        let place = format!("crates/{}/Cargo.toml", package.name);
        for (dependency, kind) in &package.dependencies {
            let ours = short(dependency);
            let is_ours = dependency.starts_with("highwater-");
            if is_ours && kind == "normal" {
                let allowed = match rows.get(package.name.as_str()) {
                    Some(MayImport::Any) => true,
                    Some(MayImport::Only(names)) => names.iter().any(|name| name == ours),
                    None => false,
                };
                if !allowed {
                    let what = format!("imports `{ours}`, which ARCHITECTURE.md's code map does not allow");
                    findings.push(Finding::new(&place, what));
                }
            }
            if SYNCHRONOUS.contains(&package.name.as_str()) && RUNTIMES.contains(&dependency.as_str()) {
                let what =
                    format!("`{dependency}` in a crate of the synchronous core (do the waiting in the rim)");
                findings.push(Finding::new(&place, what));
            }
            if dependency.starts_with("datafusion") && !NAMES_DATAFUSION.contains(&package.name.as_str()) {
                let what = format!("names `{dependency}`; only {} may", NAMES_DATAFUSION.join(", "));
                findings.push(Finding::new(&place, what));
            }
        }
    }
    findings
}

pub(super) fn check_single_versions(lock: &str) -> Vec<Finding> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for name in lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')) {
        *count.entry(name).or_default() += 1;
    }
    SINGLE_VERSION
        .iter()
        .filter(|name| count.get(*name).is_some_and(|n| *n > 1))
        .map(|name| Finding::new("Cargo.lock", format!("more than one version of `{name}`")))
        .collect()
}
