//! Where tables keep their rows.

use highwater_env::Epoch;

use super::KeyedChange;

/// The store failed; a person must look.
#[derive(Debug, thiserror::Error)]
#[error("table store: {0}")]
pub struct StoreError(pub String);

/// A durable, ordered map per table that changes by epochs. Real: [`FjallStore`](super::FjallStore);
/// for tests, simulation and `run` without a directory: [`MemoryStore`](super::MemoryStore).
pub trait TableStore: Send + Sync {
    /// Applies the changes and the epoch's number together: atomic, and durable on return.
    ///
    /// # Errors
    /// If the store fails; then none of it is visible.
    fn apply(&self, table: &str, epoch: Epoch, changes: &[KeyedChange]) -> Result<(), StoreError>;

    /// The last epoch applied; 0 before the first.
    ///
    /// # Errors
    /// If the store fails.
    fn epoch(&self, table: &str) -> Result<Epoch, StoreError>;

    /// Calls `each` with key and rest of every row whose key starts with `prefix`, in key order,
    /// until it returns false. Rows changed meanwhile are not seen.
    ///
    /// # Errors
    /// If the store fails.
    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError>;

    /// About how many rows there are.
    ///
    /// # Errors
    /// If the store fails.
    fn len(&self, table: &str) -> Result<u64, StoreError>;

    /// Removes all rows and the epoch.
    ///
    /// # Errors
    /// If the store fails.
    fn clear(&self, table: &str) -> Result<(), StoreError>;
}
