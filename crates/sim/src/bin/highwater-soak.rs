//! `highwater-soak`: kill -9 of a real node under load, its clients' history checked offline.
//!
//! It must not touch the node but through its socket, its signals and its start.

use std::io::{Result, Write};
use std::process::ExitCode;

use highwater_env::{Entropy, OsEntropy};
use highwater_sim::soak::{Command, HELP, SoakOptions, parse, run};

const WRONG_ARGUMENTS: u8 = 2;

fn main() -> Result<ExitCode> {
    match parse(std::env::args().skip(1), OsEntropy::new().next_u64()) {
        Ok(Command::Help) => {
            std::io::stdout().write_all(HELP.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Command::Run(options)) => soak(&options),
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error:#}\nhint: highwater-soak --help")?;
            Ok(ExitCode::from(WRONG_ARGUMENTS))
        }
    }
}

fn soak(options: &SoakOptions) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    writeln!(out, "seed {}, {} rounds, {}", options.seed, options.rounds, options.dir.display())?;
    match run(options, &mut out) {
        Ok(done) => {
            if done.rounds < options.rounds {
                writeln!(out, "{} of {} rounds; run it again to go on", done.rounds, options.rounds)?;
            }
            Ok(if done.report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error:#}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}
