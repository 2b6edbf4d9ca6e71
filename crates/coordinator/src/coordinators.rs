//! Everything a broker coordinates, opened together.

use std::sync::Arc;

use highwater_env::{Clock, Entropy};
use highwater_log::Log;

use crate::{GroupError, GroupOptions, Groups, Topics, TransactionError, TransactionOptions, Transactions};

/// One of the coordinators cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorsError {
    /// The groups.
    #[error("consumer groups: {0}")]
    Groups(#[from] GroupError),
    /// The transactions.
    #[error("transactions: {0}")]
    Transactions(#[from] TransactionError),
}

/// What clients share through a broker besides records. Cheap handles.
#[derive(Clone)]
pub struct Coordinators {
    /// Which topics exist.
    pub topics: Topics,
    /// Consumer groups and the offsets they commit.
    pub groups: Groups,
    /// Transactions of producers.
    pub transactions: Transactions,
}

impl Coordinators {
    /// Opens all of them over one log, with the catalog already open.
    ///
    /// # Errors
    /// If the log fails or a record of an internal topic is damaged.
    pub fn open(
        log: &Log,
        topics: Topics,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<Self, CoordinatorsError> {
        let groups = Groups::open(
            log.clone(),
            topics.clone(),
            Arc::clone(clock),
            Arc::clone(entropy),
            GroupOptions::default(),
        )?;
        let transactions = Transactions::open(
            log.clone(),
            topics.clone(),
            groups.clone(),
            Arc::clone(clock),
            Arc::clone(entropy),
            TransactionOptions::default(),
        )?;
        Ok(Self { topics, groups, transactions })
    }
}
