//! What operators see.

use std::sync::Arc;

use highwater_env::TopicPartition;

use super::producer::TransactionalProducer;
use super::{ProducerIdentity, TransactionError, TransactionState, Transactions};

/// One transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The id.
    pub transactional_id: Arc<str>,
    /// What it is doing.
    pub state: TransactionState,
    /// Its current producer.
    pub producer: ProducerIdentity,
    /// How long its transactions may be open, ms.
    pub timeout_ms: i32,
    /// When the open or last transaction began, ms since the Unix epoch; -1 for none.
    pub started_ms: i64,
    /// Where the open transaction writes.
    pub partitions: Vec<TopicPartition>,
}

/// Which transactional ids are asked for; each condition may be absent.
#[derive(Clone, Debug, Default)]
pub struct TransactionFilter {
    /// Only in one of these states, if there are any.
    pub states: Vec<TransactionState>,
    /// Only of one of these producer ids, if there are any.
    pub producer_ids: Vec<i64>,
    /// Only those open for longer than this, ms.
    pub open_for_ms: Option<i64>,
}

/// Gauges of transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionStats {
    /// Transactional ids known.
    pub ids: usize,
    /// Transactions open.
    pub open: usize,
    /// How long the oldest is open, ms.
    pub oldest_open_ms: i64,
}

impl Transactions {
    /// One transactional id.
    ///
    /// # Errors
    /// If it is unknown or empty.
    pub fn describe(&self, id: &str) -> Result<TransactionDescription, TransactionError> {
        super::check_id(id)?;
        let state = self.state();
        let found = state.ids.get_key_value(id);
        let (id, entry) = found.ok_or_else(|| TransactionError::Unknown(id.to_owned()))?;
        Ok(describe(id, &entry.now))
    }

    /// All transactional ids that fit, by name.
    pub fn list(&self, filter: &TransactionFilter) -> Vec<TransactionDescription> {
        let (state, now_ms) = (self.state(), self.now_ms());
        let fitting = state.ids.iter().filter(|(_, entry)| filter.fits(&entry.now, now_ms));
        let mut found: Vec<_> = fitting.map(|(id, entry)| describe(id, &entry.now)).collect();
        found.sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
        found
    }

    /// Gauges.
    pub fn stats(&self) -> TransactionStats {
        let (state, now_ms) = (self.state(), self.now_ms());
        let ages = state.open.iter().filter_map(|id| Some(now_ms - state.ids.get(id)?.now.started_ms));
        let oldest_open_ms = ages.max().unwrap_or(0).max(0);
        TransactionStats { ids: state.ids.len(), open: state.open.len(), oldest_open_ms }
    }
}

impl TransactionFilter {
    fn fits(&self, producer: &TransactionalProducer, now_ms: i64) -> bool {
        let open_for = now_ms.saturating_sub(producer.started_ms);
        let is_open = producer.state == TransactionState::Ongoing;
        (self.states.is_empty() || self.states.contains(&producer.state))
            && (self.producer_ids.is_empty() || self.producer_ids.contains(&producer.identity.id))
            && self.open_for_ms.is_none_or(|least| is_open && open_for > least)
    }
}

fn describe(id: &Arc<str>, producer: &TransactionalProducer) -> TransactionDescription {
    TransactionDescription {
        transactional_id: Arc::clone(id),
        state: producer.state,
        producer: producer.identity,
        timeout_ms: producer.timeout_ms,
        started_ms: producer.started_ms,
        partitions: producer.partitions.iter().copied().collect(),
    }
}
