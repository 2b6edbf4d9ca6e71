//! Repository chores: `cargo run -p highwater-xtask -- tidy`.
//!
//! It must not be needed to build or run Highwater: only people and CI call it.

mod tidy;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: highwater-xtask tidy    check the shape of the repository";

fn main() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => {
            let findings = tidy::check(&repository_root())?;
            for finding in &findings {
                writeln!(out, "{finding}")?;
            }
            writeln!(out, "tidy: {} findings", findings.len())?;
            Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ => {
            writeln!(out, "{USAGE}")?;
            Ok(ExitCode::from(2))
        }
    }
}

/// The checkout this program was built from, else the current directory.
fn repository_root() -> std::path::PathBuf {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if built_from.join("Cargo.toml").is_file() { built_from } else { ".".into() }
}
