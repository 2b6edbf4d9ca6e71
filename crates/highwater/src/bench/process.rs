//! What a process has used, as Linux counts it.

use std::time::Duration;

/// `/proc/PID/stat` counts CPU time in these; 100 on every Linux we run on (sysconf(3), _SC_CLK_TCK).
const TICKS_PER_SECOND: u64 = 100;

/// Figures of one process since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// User and system time, all threads.
    pub(super) cpu: Duration,
    /// Largest resident memory so far, bytes (`VmHWM`): anonymous and file-backed.
    pub(super) memory_bytes_peak: u64,
}

impl Usage {
    /// Of process `pid`; zero where there is no `/proc`.
    #[expect(clippy::disallowed_methods, reason = "/proc is the kernel's, not a file to simulate")]
    pub(super) fn of(pid: u32) -> Self {
        let file = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        Self {
            cpu: cpu_time(&file("stat")).unwrap_or_default(),
            memory_bytes_peak: peak_bytes(&file("status")).unwrap_or_default(),
        }
    }
}

impl Usage {
    /// User and system time of all children that have ended and were waited for.
    #[expect(clippy::disallowed_methods, reason = "/proc is the kernel's, not a file to simulate")]
    pub(super) fn of_children() -> Duration {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        times(&stat, 13).unwrap_or_default()
    }
}

/// Fields 14 and 15 of proc(5)'s `/proc/pid/stat`, counted behind the program's name, which may
/// itself hold spaces and brackets.
fn cpu_time(stat: &str) -> Option<Duration> {
    times(stat, 11)
}

/// Two times that follow so many fields behind the program's name.
fn times(stat: &str, fields: usize) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(fields);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

fn peak_bytes(status: &str) -> Option<u64> {
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests;
