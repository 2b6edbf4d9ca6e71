//! SQL files from the command line.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use highwater_sql::{Compiled, NoCatalog, Script, compile};

use super::client::WrongInput;
use crate::cli::Vars;

/// The text of a SQL file.
#[expect(clippy::disallowed_methods, reason = "the binary reads the user's files from the real disk")]
pub(crate) fn read_script(file: &Path) -> Result<String> {
    let read = std::fs::read_to_string(file);
    read.map_err(|error| anyhow!(WrongInput(format!("cannot read {}: {error}", file.display()))))
}

/// Compiles files as one pipeline, named by the first.
pub(crate) fn compile_files(files: &[PathBuf], vars: &Vars) -> Result<Compiled> {
    let mut text = String::new();
    for file in files {
        text.push_str(&read_script(file)?);
        // A file without a final semicolon or line end must not run into the next.
        if files.len() > 1 {
            text.push_str("\n;\n");
        }
    }
    let name = files.first().map(|file| file.display().to_string()).unwrap_or_default();
    let script = Script { name, text, vars: vars.vars.iter().cloned().collect() };
    compile(&script, &NoCatalog).map_err(|error| anyhow!(WrongInput(error.to_string())))
}
