//! This machine's own figures, read from `/proc`.

use std::time::Duration;

use serde_json::json;

/// A sector of `/proc/diskstats` is always 512 bytes.
const SECTOR_BYTES: u64 = 512;

/// Differences need the figures of the moment before.
pub(crate) struct HostMetrics {
    name: String,
    before: Option<(Duration, Counters)>,
}

/// Counters that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    cpu_busy: u64,
    cpu_total: u64,
    disk_bytes: u64,
    network_bytes: u64,
}

impl HostMetrics {
    /// Nothing is read yet.
    pub(crate) fn new() -> Self {
        let name = proc_file("sys/kernel/hostname")
            .map_or_else(|| "this host".to_owned(), |name| name.trim().to_owned());
        Self { name, before: None }
    }

    /// One JSON line of figures since the last call, or nothing: on the first call, and where
    /// there is no `/proc`. `at` is a monotonic time.
    pub(crate) fn sample(&mut self, at: Duration, now_ms: i64) -> Option<String> {
        let counters = Counters::read()?;
        let (then, before) = self.before.replace((at, counters))?;
        let seconds = (at - then).as_secs_f64().max(0.001);
        let cpu_total = counters.cpu_total.saturating_sub(before.cpu_total).max(1);
        let cpu_busy = counters.cpu_busy.saturating_sub(before.cpu_busy);
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds / 1e6;
        let memory = memory_used_percent(&proc_file("meminfo")?)?;
        let line = json!({
            "host": self.name,
            "event_time": now_ms,
            "cpu_percent": rounded(100.0 * cpu_busy as f64 / cpu_total as f64),
            "memory_percent": rounded(memory),
            "disk_mb_s": rounded(per_second(counters.disk_bytes, before.disk_bytes)),
            "network_mb_s": rounded(per_second(counters.network_bytes, before.network_bytes)),
        });
        Some(line.to_string())
    }
}

impl Counters {
    fn read() -> Option<Self> {
        let (cpu_busy, cpu_total) = cpu_ticks(&proc_file("stat")?)?;
        Some(Self {
            cpu_busy,
            cpu_total,
            disk_bytes: disk_bytes(&proc_file("diskstats").unwrap_or_default()),
            network_bytes: network_bytes(&proc_file("net/dev").unwrap_or_default()),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "/proc is the kernel's, not a file to simulate")]
fn proc_file(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{name}")).ok()
}

/// (busy, all) ticks of all processors: proc(5), `/proc/stat`. Idle and I/O wait are not busy.
fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    let ticks: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .filter_map(|t| t.parse().ok())
        .take(8)
        .collect();
    let all: u64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((all - idle, all))
}

fn memory_used_percent(meminfo: &str) -> Option<f64> {
    let kib = |name: &str| -> Option<f64> {
        meminfo.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    let total = kib("MemTotal:")?;
    Some(100.0 * (total - kib("MemAvailable:")?) / total.max(1.0))
}

/// Read and written bytes of whole disks (a partition's name ends in a digit its disk's lacks;
/// counting only devices that are no other line's prefix would miss the disk, so count the disks).
fn disk_bytes(diskstats: &str) -> u64 {
    let rows: Vec<Vec<&str>> = diskstats.lines().map(|line| line.split_whitespace().collect()).collect();
    let names: Vec<&str> = rows.iter().filter_map(|row| row.get(2).copied()).collect();
    let is_partition = |name: &str| names.iter().any(|disk| *disk != name && name.starts_with(disk));
    let sectors: u64 = rows
        .iter()
        .filter(|row| row.get(2).is_some_and(|name| !is_partition(name) && !name.starts_with("loop")))
        .flat_map(|row| [row.get(5), row.get(9)])
        .filter_map(|cell| cell?.parse::<u64>().ok())
        .sum();
    sectors * SECTOR_BYTES
}

/// Received and sent bytes of every interface, loopback included: the demo's events travel there.
fn network_bytes(dev: &str) -> u64 {
    dev.lines()
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(_, cells)| {
            let cells: Vec<u64> = cells.split_whitespace().filter_map(|cell| cell.parse().ok()).collect();
            [cells.first().copied(), cells.get(8).copied()]
        })
        .flatten()
        .sum()
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;
