//! The `highwater` program: command line, configuration, wiring, signals.
//!
//! Exit status: 0 done, 1 failed at run time, 2 wrong input. Data goes to standard output,
//! messages to standard error.

mod bench;
mod cli;
mod commands;
mod config;
mod demo;
mod listeners;
mod logging;
mod node;
mod signals;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use commands::client::WrongInput;

/// The user's input is wrong.
const EXIT_WRONG_INPUT: u8 = 2;

#[cfg(not(unix))]
compile_error!("Highwater runs on Linux and macOS; on Windows use WSL");

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let out = &mut std::io::stdout();
    match command {
        Command::Demo(args) => return demo::run(&args),
        Command::Bench(args) => return bench::run(&args),
        Command::Run(args) => commands::run::run(&args)?,
        Command::Serve(args) => commands::serve::run(&args)?,
        Command::Sql(args) => commands::sql::run(&args)?,
        Command::Check(args) => commands::check::check(&args, out)?,
        Command::Explain(args) => commands::check::explain(&args, out)?,
        Command::Topic(command) => commands::topic::run(&command, out)?,
        Command::Group(command) => commands::group::run(&command, out)?,
        Command::Transaction(command) => commands::transaction::run(&command, out)?,
        Command::Pipeline(command) => commands::pipeline::run(&command, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says why on standard error, one cause per line at most once.
fn fail(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(broken_pipe) {
        return ExitCode::SUCCESS;
    }
    let code = if error.is::<WrongInput>() { ExitCode::from(EXIT_WRONG_INPUT) } else { ExitCode::FAILURE };
    // Nothing is left to do if standard error itself is gone.
    let _ = writeln!(std::io::stderr(), "{error:#}");
    code
}
