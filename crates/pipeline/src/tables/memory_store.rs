//! Tables that are forgotten with the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use highwater_env::Epoch;

use super::{KeyedChange, StoreError, TableStore};

/// A [`TableStore`] in memory.
#[derive(Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, Rows>>);

#[derive(Default)]
struct Rows {
    epoch: Epoch,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Rows>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TableStore for MemoryStore {
    fn apply(&self, table: &str, epoch: Epoch, changes: &[KeyedChange]) -> Result<(), StoreError> {
        let mut tables = self.lock();
        let kept = tables.entry(table.to_owned()).or_default();
        for change in changes {
            match &change.rest {
                Some(rest) => kept.rows.insert(change.key.clone(), rest.clone()),
                None => kept.rows.remove(&change.key),
            };
        }
        kept.epoch = epoch;
        Ok(())
    }

    fn epoch(&self, table: &str) -> Result<Epoch, StoreError> {
        Ok(self.lock().get(table).map_or(Epoch(0), |kept| kept.epoch))
    }

    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        if let Some(kept) = self.lock().get(table) {
            for (key, rest) in kept.rows.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded)) {
                if !key.starts_with(prefix) || !each(key, rest) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn len(&self, table: &str) -> Result<u64, StoreError> {
        Ok(self.lock().get(table).map_or(0, |kept| kept.rows.len() as u64))
    }

    fn clear(&self, table: &str) -> Result<(), StoreError> {
        self.lock().remove(table);
        Ok(())
    }
}
