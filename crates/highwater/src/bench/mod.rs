//! `highwater bench`: figures of this machine, each from one command.
//!
//! Nodes run as child processes, so that their CPU and memory are told apart from the client's.

mod ingest;
mod latency;
mod log;
mod nexmark;
mod process;
mod report;
mod window;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use highwater_env::{Clock, Disk, OpenMode, RealDisk, SystemClock};

use crate::cli::{BenchArgs, BenchCase};
use crate::demo::node::{NodeOptions, NodeProcess};
use crate::demo::temporary_dir;

use report::Report;

/// Writes timed for the machine's own sync time.
const SYNC_PROBES: usize = 300;
/// Size of each.
const SYNC_PROBE_BYTES: usize = 64 * 1024;

/// Where and with what a benchmark runs.
struct Bench {
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    events: Option<u64>,
}

/// Runs one benchmark in a temporary directory and prints its report.
///
/// # Errors
/// When a node cannot be started or an event is not accepted.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let dir = temporary_dir(clock.as_ref());
    RealDisk.create_dir_all(&dir)?;
    let bench = Bench { clock, dir, events: args.events };
    let outcome = bench.run(args);
    // What is left of it does no harm.
    let _ = RealDisk.remove_dir_all(&bench.dir);
    for report in outcome? {
        report.print(args.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Bench {
    fn run(&self, args: &BenchArgs) -> anyhow::Result<Vec<Report>> {
        let sync_us = sync_p50_us(&self.dir, self.clock.as_ref())?;
        let mut reports = match args.what {
            BenchCase::Log => vec![log::run(self)?],
            BenchCase::Ingest => vec![ingest::run(self)?],
            BenchCase::Window => vec![window::run(self)?],
            BenchCase::Latency => vec![latency::run(self)?],
            BenchCase::Nexmark => nexmark::run(self, args.query.as_deref())?,
        };
        reports.iter_mut().for_each(|report| report.fdatasync_p50_us = sync_us);
        Ok(reports)
    }

    fn events_or(&self, default: u64) -> u64 {
        self.events.unwrap_or(default).max(1)
    }

    fn start_node(&self) -> anyhow::Result<NodeProcess> {
        let data_dir = self.dir.join("node");
        NodeProcess::start(&NodeOptions { data_dir, http_port: 0, kafka_port: 0, demo_url: None })
    }
}

/// Median time of a 64 KiB append and its fdatasync, µs: the floor of every durable figure.
fn sync_p50_us(dir: &Path, clock: &dyn Clock) -> anyhow::Result<u64> {
    let file = RealDisk.open(&dir.join("sync-probe"), OpenMode::CreateNew)?;
    let block = vec![0x5a; SYNC_PROBE_BYTES];
    let mut times = Vec::with_capacity(SYNC_PROBES);
    let mut pos = 0;
    for _ in 0..SYNC_PROBES {
        let begun = clock.monotonic();
        file.write_all_at(&block, pos)?;
        file.sync_data()?;
        times.push(clock.monotonic() - begun);
        pos += SYNC_PROBE_BYTES as u64;
    }
    Ok(micros(percentile(&mut times, 50)))
}

/// The smallest time that `percent` of `times` do not exceed; zero if there are none.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut times: Vec<_> = (1..=200).rev().map(Duration::from_micros).collect();
        assert_eq!(micros(percentile(&mut times, 50)), 100);
        assert_eq!(micros(percentile(&mut times, 99)), 198);
        assert_eq!(percentile(&mut [], 50), Duration::ZERO);
    }
}
