//! Index files are disposable: whatever they hold, everything is served.
#![no_main]

use std::sync::LazyLock;

use highwater_env::TopicPartition;
use highwater_fuzz::directory::{self, Left, MEMORY_MAX, Template, patched};
use highwater_fuzz::meter;
use libfuzzer_sys::fuzz_target;

static TEMPLATE: LazyLock<Template> = LazyLock::new(|| Template::new(Left::Clean));

fuzz_target!(init: { LazyLock::force(&TEMPLATE); }, |input: &[u8]| {
    let Some(([choice, whole], content)) = input.split_first_chunk::<2>() else { return };
    let mut files = TEMPLATE.files_named("index");
    files.sort();
    let (path, original) = files[usize::from(*choice) % files.len()];
    let content = if whole % 2 == 0 { content.to_vec() } else { patched(original, content) };
    let disk = TEMPLATE.with(path, &content);
    meter::within(MEMORY_MAX, || {
        let log = directory::open(&disk).expect("indexes are rebuilt");
        for tp in log.partitions() {
            seek(&log, tp);
        }
        drop(log);
        assert!(TEMPLATE.check(&disk), "damage to an index is no damage");
    });
});

/// Reads that start anywhere, and by time.
fn seek(log: &highwater_log::Log, tp: TopicPartition) {
    let bounds = log.bounds(tp).expect("it is there");
    for from in bounds.log_start_offset..bounds.high_watermark {
        let range = log.read(tp, from, 1).expect("nothing is damaged");
        let first = range.batches.first().expect("below the high watermark");
        assert!(first.base_offset() <= from && from <= first.last_offset(), "from {from}: {first:?}");
    }
    for number in [0, 7, 39] {
        let found =
            log.offset_for_time(tp, 1000 + number).expect("nothing is damaged").expect("there is one");
        assert!(found.1 >= 1000 + number, "asked for {}, found {found:?}", 1000 + number);
    }
}
