//! `highwater check` and `highwater explain`

use std::io::Write;

use anyhow::Result;

use super::script::compile_files;
use crate::cli::CheckArgs;

/// Each file is a pipeline of its own; the first that is refused ends the command.
pub(crate) fn check(args: &CheckArgs, out: &mut dyn Write) -> Result<()> {
    for file in &args.files {
        let compiled = compile_files(std::slice::from_ref(file), &args.vars)?;
        let operators = compiled.plan.nodes.len();
        writeln!(
            out,
            "{}: ok, pipeline {} with {operators} operators",
            file.display(),
            compiled.pipeline_name
        )?;
    }
    Ok(())
}

/// The plan of all files together.
pub(crate) fn explain(args: &CheckArgs, out: &mut dyn Write) -> Result<()> {
    let compiled = compile_files(&args.files, &args.vars)?;
    writeln!(out, "{}", compiled.explain.trim_end())?;
    Ok(())
}
