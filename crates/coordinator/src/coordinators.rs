//! Everything a broker coordinates, opened together.

use std::sync::Arc;

use highwater_env::{Clock, Entropy};
use highwater_log::Log;

use crate::{GroupError, GroupOptions, Groups, Topics};

/// What clients share through a broker besides records. Cheap handles.
#[derive(Clone)]
pub struct Coordinators {
    /// Which topics exist.
    pub topics: Topics,
    /// Consumer groups and the offsets they commit.
    pub groups: Groups,
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
    ) -> Result<Self, GroupError> {
        let groups = Groups::open(
            log.clone(),
            topics.clone(),
            Arc::clone(clock),
            Arc::clone(entropy),
            GroupOptions::default(),
        )?;
        Ok(Self { topics, groups })
    }
}
