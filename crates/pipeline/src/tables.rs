//! Materialized tables: the results of pipelines, kept by primary key.
//!
//! A table changes by whole epochs: [`Tables::apply`] is atomic, durable, and does nothing for an
//! epoch it already has. Readers see committed epochs; subscribers may also watch rows that are
//! not committed yet.

mod fjall_store;
mod memory_store;
pub mod row_codec;
mod store;
mod subscribers;

pub use fjall_store::FjallStore;
pub use memory_store::MemoryStore;
pub use store::{StoreError, TableStore};
pub use subscribers::{TableEvent, Visibility};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use highwater_env::Epoch;
use highwater_stream::{ChangeBatch, RowKind};

use row_codec::{RowCodecError, RowDecoder, encode_row};
use subscribers::Subscribers;

/// What a table holds.
#[derive(Clone, Debug, PartialEq)]
pub struct TableDefinition {
    /// Its global name.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Indexes of the primary key's columns, in key order; never empty.
    pub primary_key: Vec<usize>,
    /// The pipeline that keeps it.
    pub pipeline: String,
}

impl TableDefinition {
    /// The order in which the store keeps the columns: the key's first.
    fn stored_order(&self) -> Vec<usize> {
        let rest = (0..self.schema.fields().len()).filter(|column| !self.primary_key.contains(column));
        self.primary_key.iter().copied().chain(rest).collect()
    }
}

/// A table could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// There is no such table.
    #[error("no table named {0}")]
    Unknown(String),
    /// Another pipeline keeps a table of this name.
    #[error("table {table} is kept by pipeline {pipeline}; drop that pipeline first or choose another name")]
    Taken {
        /// The table.
        table: String,
        /// Its pipeline.
        pipeline: String,
    },
    /// The stored rows are of another pipeline.
    #[error("table {table} is at epoch {has}, its pipeline commits {epoch}; drop the pipeline to start over")]
    Ahead {
        /// The table.
        table: String,
        /// The epoch in the store.
        has: Epoch,
        /// The epoch to be applied.
        epoch: Epoch,
    },
    /// The request does not fit the table.
    #[error("{0}")]
    Request(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored row does not fit.
    #[error(transparent)]
    Row(#[from] RowCodecError),
}

/// One change of a table by primary key: the new row, or its key alone when it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedChange {
    /// The encoded key columns.
    pub key: Vec<u8>,
    /// The encoded other columns; None deletes.
    pub rest: Option<Vec<u8>>,
}

/// All materialized tables of a node.
pub struct Tables {
    store: Arc<dyn TableStore>,
    tables: RwLock<BTreeMap<String, Arc<Table>>>,
}

struct Table {
    definition: TableDefinition,
    order: Vec<usize>,
    subscribers: Subscribers,
    /// Held while an epoch is applied and announced, so that a subscriber's snapshot and the
    /// changes after it fit together.
    applying: Mutex<()>,
}

/// Rows found by a scan.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The rows, in key order.
    pub rows: RecordBatch,
    /// Whether the limit cut the scan short.
    pub more: bool,
}

impl Tables {
    /// Tables kept in `store`.
    pub fn new(store: Arc<dyn TableStore>) -> Self {
        Self { store, tables: RwLock::default() }
    }

    /// Whether `pipeline` may define a table of this name.
    ///
    /// # Errors
    /// If another pipeline keeps it.
    pub fn check_free(&self, name: &str, pipeline: &str) -> Result<(), TableError> {
        match self.definition(name).filter(|definition| definition.pipeline != pipeline) {
            Some(other) => Err(TableError::Taken { table: name.to_owned(), pipeline: other.pipeline }),
            None => Ok(()),
        }
    }

    /// Makes a table known; its stored rows, if any, are kept.
    ///
    /// # Errors
    /// If another pipeline keeps a table of this name.
    pub fn define(&self, definition: TableDefinition) -> Result<(), TableError> {
        self.check_free(&definition.name, &definition.pipeline)?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if tables.get(&definition.name).is_some_and(|table| table.definition == definition) {
            return Ok(());
        }
        let order = definition.stored_order();
        let name = definition.name.clone();
        let table =
            Table { definition, order, subscribers: Subscribers::default(), applying: Mutex::default() };
        tables.insert(name, Arc::new(table));
        Ok(())
    }

    /// Forgets a table and its rows.
    ///
    /// # Errors
    /// If the store fails.
    pub fn drop_table(&self, name: &str) -> Result<(), TableError> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        Ok(self.store.clear(name)?)
    }

    /// Forgets a table's rows: its pipeline begins anew.
    ///
    /// # Errors
    /// If there is no such table or the store fails.
    pub fn reset(&self, name: &str) -> Result<(), TableError> {
        let table = self.table(name)?;
        let _applying = table.applying.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.store.clear(name)?)
    }

    /// What the tables hold, by name.
    pub fn list(&self) -> Vec<TableDefinition> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.values().map(|table| table.definition.clone()).collect()
    }

    /// What a table holds.
    pub fn definition(&self, name: &str) -> Option<TableDefinition> {
        self.table(name).ok().map(|table| table.definition.clone())
    }

    fn table(&self, name: &str) -> Result<Arc<Table>, TableError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.get(name).cloned().ok_or_else(|| TableError::Unknown(name.to_owned()))
    }

    /// About how many rows a table has.
    ///
    /// # Errors
    /// If the store fails.
    pub fn row_count(&self, name: &str) -> Result<u64, TableError> {
        Ok(self.store.len(name)?)
    }

    /// The last epoch applied to a table; 0 before the first.
    ///
    /// # Errors
    /// If the store fails.
    pub fn epoch(&self, name: &str) -> Result<Epoch, TableError> {
        Ok(self.store.epoch(name)?)
    }

    /// Makes all changes of an epoch visible at once. Does nothing if the table has this epoch.
    ///
    /// # Errors
    /// If the store fails; then nothing is visible.
    pub fn apply(&self, name: &str, epoch: Epoch, changes: &[KeyedChange]) -> Result<(), TableError> {
        let table = self.table(name)?;
        let _applying = table.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let has = self.store.epoch(name)?;
        if has > epoch {
            // Commit n needs manifest n: only another pipeline's rows can be ahead.
            return Err(TableError::Ahead { table: name.to_owned(), has, epoch });
        }
        if has == epoch {
            return Ok(());
        }
        let last = last_per_key(changes);
        self.store.apply(name, epoch, &last)?;
        if table.subscribers.any(Visibility::Committed) {
            let event = TableEvent::Committed { epoch, changes: table.changes(&last)? };
            table.subscribers.announce(Visibility::Committed, &event);
        }
        Ok(())
    }

    /// Shows rows that are not committed yet to the subscribers who asked for that.
    pub fn announce_uncommitted(&self, name: &str, changes: &ChangeBatch) {
        let Ok(table) = self.table(name) else { return };
        if table.subscribers.any(Visibility::Uncommitted) {
            let event = TableEvent::Uncommitted { changes: changes.clone() };
            table.subscribers.announce(Visibility::Uncommitted, &event);
        }
    }

    /// Rows from the one with the smallest key on, at most `limit`.
    ///
    /// # Errors
    /// If there is no such table or the store fails.
    pub fn scan(&self, name: &str, limit: usize) -> Result<Scan, TableError> {
        let table = self.table(name)?;
        self.scan_prefix(&table, &[], limit)
    }

    /// The rows whose first key columns equal the one row of `key`.
    ///
    /// # Errors
    /// As [`Tables::scan`], and if `key` has columns that are not the first of the primary key.
    pub fn lookup(&self, name: &str, key: &RecordBatch, limit: usize) -> Result<Scan, TableError> {
        let table = self.table(name)?;
        let mut prefix = Vec::new();
        let key_columns: Vec<&str> = table.key_names().take(key.num_columns()).collect();
        let place = |column: &str| key.schema().index_of(column).ok();
        let Some(columns) = key_columns.iter().map(|column| place(column)).collect::<Option<Vec<_>>>() else {
            let all: Vec<&str> = table.key_names().collect();
            return Err(TableError::Request(format!(
                "table {name} has the primary key ({})",
                all.join(", ")
            )));
        };
        encode_row(key, &columns, 0, &mut prefix);
        self.scan_prefix(&table, &prefix, limit)
    }

    fn scan_prefix(&self, table: &Table, prefix: &[u8], limit: usize) -> Result<Scan, TableError> {
        let mut decoder = RowDecoder::new(&table.definition.schema, &table.order);
        let (mut more, mut wrong, mut row) = (false, None, Vec::new());
        self.store.scan(&table.definition.name, prefix, &mut |key, rest| {
            if decoder.row_count() == limit {
                more = true;
                return false;
            }
            row.clear();
            row.extend_from_slice(key);
            row.extend_from_slice(rest);
            wrong = decoder.push(&row).err();
            wrong.is_none()
        })?;
        wrong.map_or_else(|| Ok(Scan { rows: decoder.finish(), more }), |error| Err(error.into()))
    }

    /// Calls `each` with a snapshot of at most `limit` rows, then with every later event, until it
    /// returns false. `each` must not block: it runs on the pipeline's thread.
    ///
    /// # Errors
    /// As [`Tables::scan`].
    pub fn subscribe(
        &self,
        name: &str,
        visibility: Visibility,
        limit: usize,
        mut each: impl FnMut(&TableEvent) -> bool + Send + 'static,
    ) -> Result<(), TableError> {
        let table = self.table(name)?;
        let _applying = table.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = self.store.epoch(name)?;
        let Scan { rows, more } = self.scan_prefix(&table, &[], limit)?;
        if each(&TableEvent::Snapshot { epoch, rows, more }) {
            table.subscribers.add(visibility, Box::new(each));
        }
        Ok(())
    }
}

impl Table {
    fn key_names(&self) -> impl Iterator<Item = &str> {
        self.definition.primary_key.iter().map(|column| self.definition.schema.field(*column).name().as_str())
    }

    /// The changes as rows; a deleted row has its key and NULL in the other columns.
    fn changes(&self, changes: &[KeyedChange]) -> Result<ChangeBatch, RowCodecError> {
        let mut decoder = RowDecoder::new(&subscribers::nullable(&self.definition.schema), &self.order);
        let rest_columns = self.order.len() - self.definition.primary_key.len();
        let (mut kinds, mut row) = (Vec::with_capacity(changes.len()), Vec::new());
        for change in changes {
            row.clear();
            row.extend_from_slice(&change.key);
            match &change.rest {
                Some(rest) => row.extend_from_slice(rest),
                None => row.resize(row.len() + rest_columns, 0),
            }
            decoder.push(&row)?;
            kinds.push(if change.rest.is_some() { RowKind::UpdateAfter } else { RowKind::Delete });
        }
        Ok(ChangeBatch::with_kinds(decoder.finish(), kinds))
    }
}

/// The last change of each key, in the order of the keys.
fn last_per_key(changes: &[KeyedChange]) -> Vec<KeyedChange> {
    let mut last: BTreeMap<&[u8], &KeyedChange> = BTreeMap::new();
    for change in changes {
        last.insert(&change.key, change);
    }
    last.into_values().cloned().collect()
}

#[cfg(test)]
mod tests;
