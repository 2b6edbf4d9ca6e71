//! Checks that the repository keeps the shape ARCHITECTURE.md promises.
//!
//! ARCHITECTURE.md's code map is the one table of crates: their order, and who may import whom.
//! A new arrow between crates is an edit there, with its reason, or a finding here.

mod crates;
mod files;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// One thing that is not as promised.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// A path relative to the repository, with a line number where one helps.
    place: String,
    what: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Runs every check on the checkout at `root`.
///
/// # Errors
/// When git or cargo cannot be asked, or a listed file cannot be read.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let map = crates::CodeMap::parse(&read(&root.join("ARCHITECTURE.md"))?);
    let metadata = output(root, "cargo", &["metadata", "--no-deps", "--offline", "--format-version", "1"])?;
    let packages = crates::packages(&metadata)?;

    let mut findings = crates::check_order(&map, &crates::members(&read(&root.join("Cargo.toml"))?));
    findings.extend(crates::check_arrows(&map, &packages));
    findings.extend(crates::check_single_versions(&read(&root.join("Cargo.lock"))?));
    for path in listed_files(root)? {
        let absolute = root.join(&path);
        // A file deleted but not yet committed is still listed.
        let Ok(bytes) = read_bytes(&absolute) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        findings.extend(files::check(root, &path, &text));
    }
    Ok(findings)
}

fn listed_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listing = output(root, "git", &["ls-files", "--cached", "--others", "--exclude-standard"])?;
    Ok(listing.lines().map(PathBuf::from).collect())
}

fn output(root: &Path, program: &str, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(args)
        .current_dir(root)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn read(path: &Path) -> anyhow::Result<String> {
    Ok(String::from_utf8(read_bytes(path)?)?)
}

#[expect(clippy::disallowed_methods, reason = "a chore reads the real checkout, nothing to simulate")]
fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests;
