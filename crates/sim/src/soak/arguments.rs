//! The command line of `highwater-soak`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::SoakOptions;

/// What `--help` prints.
pub const HELP: &str = "\
Kills `highwater serve` under load, again and again, by kill -9 at random moments, and judges what its
clients saw: nothing acknowledged is lost, nothing is there twice, transactions are all or nothing, offsets
of consumer groups never go back, and what is copied in transactions is copied once.

usage: highwater-soak --dir DIR [OPTIONS]

  --dir DIR             where data and history are kept; on the same DIR it goes on where it stopped or was
                        killed
  --rounds N            kills in all, those of earlier runs on DIR included (500)
  --minutes N           stop after so long, judge, and be run again to go on (60)
  --check-every N       judge every so many kills, and at the end (125)
  --transactional N     transactional producers, every other one in version 2 (4)
  --copiers N           members of a group that copies a topic in transactions (2)
  --readers N           members of a group that commits its offsets plainly (2)
  --seed N              what decides all that is random here (a new one; it is printed)
  -h, --help            print this

Partitions, transactional producers and copiers of a DIR must stay the same. The node's program is
$HIGHWATER_BIN, else `highwater` beside this one.

Exit status: 0 if nothing is wrong, 1 if something is or the soak could not go on, 2 for wrong arguments.
";

/// What is to be done.
#[derive(Debug)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Run a soak.
    Run(SoakOptions),
}

/// Reads the arguments behind the program's name. `seed`: for a soak that is not given one.
///
/// # Errors
/// If one is unknown, has no value or a wrong one, or the directory is missing.
pub fn parse(arguments: impl IntoIterator<Item = String>, seed: u64) -> Result<Command> {
    let mut options = SoakOptions {
        rounds: 500,
        time_max: Duration::from_secs(60 * 60),
        check_every: 125,
        dir: PathBuf::new(),
        seed,
        partitions: 6,
        producers: 3,
        transactional: 4,
        copiers: 2,
        readers: 2,
        kill_after_ms_max: 1_000,
    };
    let mut arguments = arguments.into_iter();
    while let Some(flag) = arguments.next() {
        if matches!(flag.as_str(), "-h" | "--help") {
            return Ok(Command::Help);
        }
        let mut value = || arguments.next().with_context(|| format!("{flag} needs a value"));
        let mut number = || -> Result<u64> {
            let value = value()?;
            value.parse().with_context(|| format!("{flag} {value}: expected a number"))
        };
        match flag.as_str() {
            "--dir" => options.dir = PathBuf::from(value()?),
            "--rounds" => options.rounds = number()?,
            "--minutes" => options.time_max = Duration::from_secs(number()?.saturating_mul(60)),
            "--check-every" => options.check_every = number()?.max(1),
            "--transactional" => options.transactional = usize::try_from(number()?)?,
            "--copiers" => options.copiers = usize::try_from(number()?)?,
            "--readers" => options.readers = usize::try_from(number()?)?,
            "--seed" => options.seed = number()?,
            _ => bail!("unknown argument {flag}"),
        }
    }
    if options.dir.as_os_str().is_empty() {
        bail!("--dir is missing: where to keep data and history");
    }
    Ok(Command::Run(options))
}
