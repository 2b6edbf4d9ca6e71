use super::*;

#[test]
fn proc_files_are_read_as_proc_5_says() {
    let stat = "7 (odd) name) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 4 0 100 0 0";
    assert_eq!(cpu_time(stat), Some(Duration::from_secs(2)));
    assert_eq!(cpu_time(""), None);
    assert_eq!(peak_bytes("Name:\tx\nVmHWM:\t    1024 kB\n"), Some(1 << 20));
}

#[test]
fn this_process_has_used_memory() {
    let used = Usage::of(std::process::id());
    assert!(used.memory_bytes_peak > 0 || !std::path::Path::new("/proc/self/status").exists());
}
