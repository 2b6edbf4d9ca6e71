use std::io;
use std::path::Path;

use super::{DiskFault, SimDisk};
use crate::{Disk, OpenMode};

const FILE: &str = "d/f";

fn disk_with_file(seed: u64) -> (SimDisk, std::sync::Arc<dyn crate::DiskFile>) {
    let disk = SimDisk::new(seed);
    disk.create_dir_all(Path::new("d")).unwrap();
    let file = disk.open(Path::new(FILE), OpenMode::Create).unwrap();
    disk.sync_dir(Path::new("d")).unwrap();
    (disk, file)
}

fn read(disk: &SimDisk) -> Vec<u8> {
    disk.open(Path::new(FILE), OpenMode::Read).unwrap().read_all().unwrap()
}

#[test]
fn synced_bytes_survive_every_crash() {
    for seed in 0..200 {
        let (disk, file) = disk_with_file(seed);
        file.write_all_at(&[1; 2000], 0).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(&[2; 2000], 2048).unwrap();
        disk.crash();
        assert_eq!(read(&disk)[..2000], [1; 2000], "seed {seed}");
        assert!(file.sync_data().is_err(), "a handle from before the crash is dead");
    }
}

#[test]
fn unsynced_sectors_are_kept_or_lost_one_by_one() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (disk, file) = disk_with_file(seed);
        file.set_len(4 * 512).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(&[7; 4 * 512], 0).unwrap();
        disk.crash();
        let kept: Vec<u8> = read(&disk).chunks(512).map(|sector| sector[0]).collect();
        assert!(read(&disk).chunks(512).all(|s| s.iter().all(|b| *b == s[0])), "sectors are atomic");
        outcomes.insert(kept);
    }
    assert_eq!(outcomes.len(), 16, "every subset of four sectors occurs");
}

#[test]
fn what_a_failed_sync_lost_no_later_sync_brings_back() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (disk, file) = disk_with_file(seed);
        file.set_len(4 * 512).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(&[7; 4 * 512], 0).unwrap();
        disk.inject(DiskFault::SyncFails, 0);
        assert!(file.sync_data().is_err());
        assert_eq!(read(&disk), [7; 4 * 512], "readers see the cache");
        file.sync_data().unwrap();
        disk.crash();
        let kept: Vec<u8> = read(&disk).chunks(512).map(|sector| sector[0]).collect();
        outcomes.insert(kept);
    }
    assert_eq!(outcomes.len(), 16, "every subset of four sectors occurs");
}

#[test]
fn unsynced_names_may_vanish_and_synced_ones_do_not() {
    let mut there = 0;
    for seed in 0..100 {
        let (disk, _) = disk_with_file(seed);
        disk.open(Path::new("d/new"), OpenMode::CreateNew).unwrap();
        disk.crash();
        assert!(disk.exists(Path::new(FILE)).unwrap());
        there += u32::from(disk.exists(Path::new("d/new")).unwrap());
    }
    assert!((20..80).contains(&there), "{there} of 100");
}

#[test]
fn a_rename_is_whole_or_not() {
    for seed in 0..100 {
        let (disk, file) = disk_with_file(seed);
        file.write_all_at(b"old", 0).unwrap();
        file.sync_data().unwrap();
        let new = disk.open(Path::new("d/g"), OpenMode::Create).unwrap();
        new.write_all_at(b"new", 0).unwrap();
        new.sync_data().unwrap();
        disk.rename(Path::new("d/g"), Path::new(FILE)).unwrap();
        disk.crash();
        assert!(matches!(&read(&disk)[..], b"old" | b"new"));
    }
}

#[test]
fn faults_strike_once_and_power_cuts_last() {
    let (disk, file) = disk_with_file(1);
    disk.inject(DiskFault::SyncFails, 1);
    file.sync_data().unwrap();
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    disk.inject(DiskFault::PowerOff, 0);
    assert!(file.write_all_at(b"x", 0).is_err());
    assert!(file.len().is_err());
    disk.crash();
    assert!(disk.exists(Path::new(FILE)).unwrap());
}

#[test]
fn a_full_disk_refuses_growth_only() {
    let (disk, file) = disk_with_file(1);
    file.write_all_at(&[0; 100], 0).unwrap();
    disk.set_capacity(Some(100));
    file.write_all_at(&[1; 100], 0).unwrap();
    assert_eq!(file.write_all_at(&[1; 101], 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_lock_is_held_until_dropped_or_crashed() {
    let (disk, _) = disk_with_file(1);
    let lock = disk.lock(Path::new("d/l")).unwrap();
    assert_eq!(disk.lock(Path::new("d/l")).err().map(|e| e.kind()), Some(io::ErrorKind::WouldBlock));
    drop(lock);
    let lock = disk.lock(Path::new("d/l")).unwrap();
    disk.crash();
    assert!(disk.lock(Path::new("d/l")).is_ok());
    drop(lock);
}
