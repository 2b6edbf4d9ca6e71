//! Who may hold how much memory: a tree of budgets (node, pipeline, operator).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A named share of memory. Reserving in a child reserves in all its ancestors too.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Share>);

#[derive(Debug)]
struct Share {
    name: String,
    bytes_max: u64,
    used: AtomicU64,
    parent: Option<Arc<Share>>,
}

/// A reservation did not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory budget {budget} has {used} of {bytes_max} bytes in use, {wanted} more do not fit")]
pub struct MemoryExhausted {
    /// The budget that was full.
    pub budget: String,
    /// Bytes in use.
    pub used: u64,
    /// The budget's limit in bytes.
    pub bytes_max: u64,
    /// Bytes asked for.
    pub wanted: u64,
}

impl MemoryBudget {
    /// The root of a tree, limited to `bytes_max`.
    pub fn root(name: &str, bytes_max: u64) -> Self {
        Self(Arc::new(Share { name: name.to_owned(), bytes_max, used: AtomicU64::new(0), parent: None }))
    }

    /// A budget without a limit: for tests and one-shot tools.
    pub fn unlimited() -> Self {
        Self::root("unlimited", u64::MAX)
    }

    /// A share of this budget, itself limited to `bytes_max`.
    pub fn child(&self, name: &str, bytes_max: u64) -> Self {
        let name = format!("{}/{name}", self.0.name);
        Self(Arc::new(Share { name, bytes_max, used: AtomicU64::new(0), parent: Some(Arc::clone(&self.0)) }))
    }

    /// Takes `bytes` until the reservation is dropped.
    ///
    /// # Errors
    /// If this budget or an ancestor is too full; then nothing is taken.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation, MemoryExhausted> {
        take(&self.0, bytes)?;
        Ok(Reservation { share: Arc::clone(&self.0), bytes })
    }

    /// Bytes reserved now.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.0.bytes_max
    }

    /// The budget's path from the root, `node/pipeline/operator`.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

fn take(share: &Arc<Share>, bytes: u64) -> Result<(), MemoryExhausted> {
    let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= share.bytes_max);
    if let Err(used) = share.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
        return Err(MemoryExhausted {
            budget: share.name.clone(),
            used,
            bytes_max: share.bytes_max,
            wanted: bytes,
        });
    }
    if let Some(parent) = &share.parent {
        take(parent, bytes).inspect_err(|_| give_back_one(share, bytes))?;
    }
    Ok(())
}

fn give_back_one(share: &Share, bytes: u64) {
    share.used.fetch_sub(bytes, Ordering::Relaxed);
}

/// Bytes held until dropped.
#[derive(Debug)]
pub struct Reservation {
    share: Arc<Share>,
    bytes: u64,
}

impl Reservation {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Changes the reservation to `bytes`.
    ///
    /// # Errors
    /// If it grows beyond a budget; then it keeps its old size.
    pub fn resize(&mut self, bytes: u64) -> Result<(), MemoryExhausted> {
        if bytes > self.bytes {
            take(&self.share, bytes - self.bytes)?;
        } else {
            give_back(&self.share, self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Takes `more` bytes.
    ///
    /// # Errors
    /// As [`Reservation::resize`].
    pub fn grow(&mut self, more: u64) -> Result<(), MemoryExhausted> {
        self.resize(self.bytes + more)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        give_back(&self.share, self.bytes);
    }
}

fn give_back(share: &Share, bytes: u64) {
    give_back_one(share, bytes);
    if let Some(parent) = &share.parent {
        give_back(parent, bytes);
    }
}
