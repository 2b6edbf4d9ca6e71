//! What the tests of this crate stand on.

use std::path::Path;
use std::sync::Arc;

use highwater_env::{Clock, MemoryBudget, SimDisk};
use highwater_log::{Log, LogOptions};

/// A small log on `disk`, stepped by its caller.
pub(crate) fn open_log(disk: &SimDisk, clock: Arc<dyn Clock>) -> Log {
    let options = LogOptions {
        batch_bytes_max: 64 << 10,
        group_bytes_max: 64 << 10,
        wal_file_bytes: 512 << 10,
        wal_zero_bytes: 16 << 10,
        ..LogOptions::default()
    };
    let budget = MemoryBudget::unlimited();
    Log::open_stepped(Arc::new(disk.clone()), clock, Path::new("data"), options, &budget).unwrap().0
}
