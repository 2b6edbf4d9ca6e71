//! Who watches a table.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use highwater_env::Epoch;
use highwater_stream::ChangeBatch;

/// Which rows a subscriber sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Whole epochs, once they are committed.
    Committed,
    /// Rows as the pipeline makes them: sooner, but a crash may take them back.
    Uncommitted,
}

/// What a subscriber is told.
#[derive(Clone, Debug)]
pub enum TableEvent {
    /// First of all: the rows committed so far.
    Snapshot {
        /// The last epoch applied.
        epoch: Epoch,
        /// The rows, in key order.
        rows: RecordBatch,
        /// Whether there are more rows than the subscriber wanted.
        more: bool,
    },
    /// An epoch's changes: `+U` for a new or changed row, `-D` for one that is gone (its key, and
    /// NULL in the other columns).
    Committed {
        /// The epoch.
        epoch: Epoch,
        /// The last change of each key.
        changes: ChangeBatch,
    },
    /// Changes as they were made.
    Uncommitted {
        /// The changes, in order.
        changes: ChangeBatch,
    },
}

type Subscriber = Box<dyn FnMut(&TableEvent) -> bool + Send>;

#[derive(Default)]
pub(super) struct Subscribers {
    committed: Group,
    uncommitted: Group,
}

#[derive(Default)]
struct Group {
    /// Read without the lock, so that unwatched tables cost nothing.
    count: AtomicUsize,
    list: Mutex<Vec<Subscriber>>,
}

impl Subscribers {
    fn group(&self, visibility: Visibility) -> &Group {
        match visibility {
            Visibility::Committed => &self.committed,
            Visibility::Uncommitted => &self.uncommitted,
        }
    }

    pub(super) fn any(&self, visibility: Visibility) -> bool {
        self.group(visibility).count.load(Ordering::Acquire) > 0
    }

    pub(super) fn add(&self, visibility: Visibility, subscriber: Subscriber) {
        let group = self.group(visibility);
        let mut list = group.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(subscriber);
        group.count.store(list.len(), Ordering::Release);
    }

    pub(super) fn announce(&self, visibility: Visibility, event: &TableEvent) {
        let group = self.group(visibility);
        let mut list = group.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain_mut(|subscriber| subscriber(event));
        group.count.store(list.len(), Ordering::Release);
    }
}

/// The same columns, all nullable: deleted rows have only their key.
pub(super) fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
