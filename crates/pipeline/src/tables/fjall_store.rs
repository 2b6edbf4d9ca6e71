//! Tables in an embedded log-structured merge tree.
//!
//! Each table is a keyspace; the keyspace `epochs` holds the last epoch of each (8 bytes, big
//! endian). A batch over both is atomic, and `SyncAll` makes it durable before it counts.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use highwater_env::Epoch;

use super::{KeyedChange, StoreError, TableStore};

/// Bytes of blocks the store may cache.
const CACHE_BYTES: u64 = 16 << 20;

/// Keyspaces are named by their table, behind this prefix: a table called `epochs` is possible.
const TABLE_PREFIX: &str = "t.";

/// A [`TableStore`] in a directory.
pub struct FjallStore {
    database: Database,
    epochs: Keyspace,
}

impl FjallStore {
    /// Opens or makes the store in `dir`.
    ///
    /// # Errors
    /// If the directory cannot be used or holds damaged files.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let builder = Database::builder(dir).cache_size(CACHE_BYTES).worker_threads(1);
        let database = builder.open().map_err(|error| failed(dir.display(), error))?;
        let epochs =
            database.keyspace("epochs", KeyspaceCreateOptions::default).map_err(|e| failed("epochs", e))?;
        Ok(Self { database, epochs })
    }

    fn keyspace(&self, table: &str) -> Result<Keyspace, StoreError> {
        let name = format!("{TABLE_PREFIX}{table}");
        self.database.keyspace(&name, KeyspaceCreateOptions::default).map_err(|error| failed(table, error))
    }
}

fn failed(what: impl std::fmt::Display, error: impl std::fmt::Debug) -> StoreError {
    StoreError(format!("{what}: {error:?}"))
}

impl TableStore for FjallStore {
    fn apply(&self, table: &str, epoch: Epoch, changes: &[KeyedChange]) -> Result<(), StoreError> {
        let keyspace = self.keyspace(table)?;
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for change in changes {
            match &change.rest {
                Some(rest) => batch.insert(&keyspace, change.key.as_slice(), rest.as_slice()),
                None => batch.remove(&keyspace, change.key.as_slice()),
            }
        }
        batch.insert(&self.epochs, table, epoch.0.to_be_bytes());
        batch.commit().map_err(|error| failed(table, error))
    }

    fn epoch(&self, table: &str) -> Result<Epoch, StoreError> {
        let stored = self.epochs.get(table).map_err(|error| failed(table, error))?;
        let Some(bytes) = stored else { return Ok(Epoch(0)) };
        let eight = <[u8; 8]>::try_from(&*bytes);
        eight.map(|be| Epoch(u64::from_be_bytes(be))).map_err(|_| failed(table, "epoch is not 8 bytes long"))
    }

    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        for entry in self.keyspace(table)?.prefix(prefix) {
            let (key, rest) = entry.into_inner().map_err(|error| failed(table, error))?;
            if !each(&key, &rest) {
                break;
            }
        }
        Ok(())
    }

    fn len(&self, table: &str) -> Result<u64, StoreError> {
        Ok(self.keyspace(table)?.approximate_len() as u64)
    }

    fn clear(&self, table: &str) -> Result<(), StoreError> {
        let keyspace = self.keyspace(table)?;
        self.database.delete_keyspace(keyspace).map_err(|error| failed(table, error))?;
        self.epochs.remove(table).map_err(|error| failed(table, error))?;
        self.database.persist(PersistMode::SyncAll).map_err(|error| failed(table, error))
    }
}
