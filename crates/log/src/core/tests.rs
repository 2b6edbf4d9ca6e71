//! What shows only in the state of the log: what it keeps in memory, and what it asks its threads for.

use std::path::Path;
use std::sync::Arc;

use highwater_env::{ManualClock, MemoryBudget, SimDisk, TopicId, TopicPartition};

use super::Core;
use crate::{BatchBuilder, LogBatch, LogOptions, PartitionOptions};

const QUIET: TopicPartition = TopicPartition { topic: TopicId(1), partition: 0 };
const TP: TopicPartition = TopicPartition { topic: TopicId(2), partition: 0 };

fn open(options: LogOptions) -> Core {
    let (disk, clock) = (Arc::new(SimDisk::new(1)), Arc::new(ManualClock::at(1_000)));
    let core = Core::open(disk, clock, Path::new("data"), options, &MemoryBudget::unlimited()).unwrap().0;
    create(&core, QUIET);
    create(&core, TP);
    core
}

fn create(core: &Core, tp: TopicPartition) {
    drop(core.submit_create(tp).unwrap());
    assert!(core.write_group());
}

fn append(core: &Core, tp: TopicPartition, key: u8) {
    drop(core.append(tp, batch(key)).unwrap());
    assert!(core.write_group());
}

fn batch(key: u8) -> LogBatch {
    let mut batch = BatchBuilder::new(1_000);
    batch.push(1_000, Some(&[key]), Some(&[0; 100]), &[]);
    batch.finish()
}

fn compacted() -> PartitionOptions {
    let defaults = PartitionOptions::default();
    PartitionOptions { segment_bytes_max: 1_000, compact: true, min_dirty_per_mille: 1, ..defaults }
}

/// The oldest batch stays in memory, so that nothing is evicted behind it.
#[test]
fn what_compaction_and_deletion_take_from_memory_is_not_remembered() {
    let core = open(LogOptions::default());
    core.configure(TP, compacted()).unwrap();
    append(&core, QUIET, 0);
    for round in 0..50 {
        (0..20).for_each(|key| append(&core, TP, key % 3));
        core.checkpoint().unwrap();
        assert!(core.compact_one().unwrap(), "round {round}");
        let gone = TopicPartition { partition: 1 + round, ..TP };
        create(&core, gone);
        (0..20).for_each(|key| append(&core, gone, key));
        drop(core.submit_delete(gone).unwrap());
        assert!(core.write_group());
    }
    let state = core.state();
    let in_memory: usize = state.partitions.values().map(|partition| partition.tail.len()).sum();
    let (cached, stale) = (state.cached.len(), state.stale);
    assert!(in_memory < 60 && cached <= 2 * in_memory + 1, "{cached} for {in_memory}, {stale} stale");
}

#[test]
fn files_of_trimmed_records_go_with_the_next_checkpoint_which_is_asked_for() {
    // Segments are always wanted, so that the wait ends and tells whether a checkpoint is, too.
    let core = open(LogOptions { materialise_bytes: 0, ..LogOptions::default() });
    core.configure(TP, PartitionOptions { segment_bytes_max: 1_000, ..PartitionOptions::default() }).unwrap();
    (0..20).for_each(|key| append(&core, TP, key));
    core.checkpoint().unwrap();
    let trim = |offset| {
        drop(core.submit_trim(TP, offset).unwrap());
        assert_eq!(core.wait_for_segments(None), Some(false), "not before it is durable");
        core.write_group();
        core.wait_for_segments(None)
    };
    assert_eq!(trim(1), Some(false), "no segment can go");
    assert_eq!(trim(15), Some(true));
}

#[test]
fn compaction_ends_with_the_log() {
    let core = open(LogOptions::default());
    core.configure(TP, compacted()).unwrap();
    (0..20).for_each(|key| append(&core, TP, key % 3));
    core.checkpoint().unwrap();
    core.end();
    assert!(!core.compact_one().unwrap());
    assert_eq!(core.state().partitions[&TP].cleaned_until, 0);
    core.state().ending = false;
    assert!(core.compact_one().unwrap());
}
