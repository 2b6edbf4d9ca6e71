use super::*;

#[test]
fn proc_files_are_read_as_proc_5_says() {
    assert_eq!(cpu_ticks("cpu  10 1 5 100 4 0 2 0 0 0\ncpu0 1 1"), Some((18, 122)));
    assert_eq!(memory_used_percent("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n"), Some(75.0));
    let disks = "8 0 vda 1 0 10 0 1 0 20 0\n8 1 vda1 1 0 10 0 1 0 20 0\n7 0 loop0 1 0 99 0 1 0 99 0\n";
    assert_eq!(disk_bytes(disks), 30 * SECTOR_BYTES);
    let network = "Inter-|   Receive\n face |bytes\n  lo: 5 0 0 0 0 0 0 0 7 0 0 0 0 0 0 0\n";
    assert_eq!(network_bytes(network), 12);
}

#[test]
fn nonsense_gives_nothing() {
    assert_eq!(cpu_ticks(""), None);
    assert_eq!(cpu_ticks("cpu  1"), None);
    assert_eq!(memory_used_percent("x"), None);
    assert_eq!(disk_bytes("1 2"), 0);
}
