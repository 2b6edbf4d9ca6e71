//! `highwater-soak`: kill -9 of a real node under load, its clients' history checked offline.
//!
//! It must not touch the node but through its socket, its signals and its start.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use highwater_env::{Entropy, OsEntropy};
use highwater_sim::soak::{SoakOptions, run};

const USAGE: &str = "\
usage: highwater-soak --dir DIR [--rounds N] [--minutes N] [--check-every N] [--seed N]
                      [--transactional PRODUCERS]
Kills `highwater serve` N times under load and judges what its clients saw. On the same DIR it goes
on where it stopped. The program is $HIGHWATER_BIN, else `highwater` beside this one.";

fn main() -> Result<ExitCode> {
    let mut out = std::io::stdout();
    let mut options = SoakOptions {
        rounds: 500,
        time_max: Duration::from_secs(60 * 60),
        check_every: 125,
        dir: PathBuf::new(),
        seed: OsEntropy::new().next_u64(),
        partitions: 6,
        producers: 3,
        transactional: 4,
        kill_after_ms_max: 1_000,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{flag} needs a value\n{USAGE}"))?;
        let number = || value.parse::<u64>().with_context(|| format!("{flag} {value}: not a number"));
        match flag.as_str() {
            "--dir" => options.dir = PathBuf::from(&value),
            "--rounds" => options.rounds = number()?,
            "--minutes" => options.time_max = Duration::from_secs(60 * number()?),
            "--check-every" => options.check_every = number()?.max(1),
            "--transactional" => options.transactional = usize::try_from(number()?)?,
            "--seed" => options.seed = number()?,
            _ => bail!("unknown flag {flag}\n{USAGE}"),
        }
    }
    if options.dir.as_os_str().is_empty() {
        bail!("where to keep data and history is missing\n{USAGE}");
    }
    writeln!(out, "seed {}, {} rounds, {}", options.seed, options.rounds, options.dir.display())?;
    let done = run(&options, &mut out)?;
    if done.rounds < options.rounds {
        writeln!(out, "{} of {} rounds; run it again to go on", done.rounds, options.rounds)?;
    }
    Ok(if done.report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
