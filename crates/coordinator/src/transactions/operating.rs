//! What operators end: transactions that no producer will.

use std::collections::HashMap;
use std::sync::Arc;

use highwater_log::{Marker, MarkerKind, OpenTransaction};

use super::{COORDINATOR_EPOCH, Entry, PendingChange, TransactionError, Transactions};

impl Transactions {
    /// Aborts the open transaction of a transactional id, in all its partitions. Its producer is fenced.
    ///
    /// # Errors
    /// [`TransactionError::Unknown`], [`TransactionError::InvalidState`] if none is open,
    /// [`TransactionError::Concurrent`] if it is ending; or the log refuses it. Then nothing changed.
    pub fn abort(&self, id: &str) -> Result<PendingChange<()>, TransactionError> {
        super::check_id(id)?;
        let (mut state, now_ms) = (self.state(), self.now_ms());
        self.settle(&mut state, id);
        let found = state.ids.get_key_value(id);
        let (key, entry) = found.ok_or_else(|| TransactionError::Unknown(id.to_owned()))?;
        entry.check_settled()?;
        let Some(ended) = entry.now.aborted(now_ms) else {
            let message = format!("{id:?} has no open transaction, its state is {}", entry.now.state.name());
            return Err(TransactionError::InvalidState(message));
        };
        let key = Arc::clone(key);
        let ticket = self.change(&mut state, &key, Some((ended.marker, ended.result)), ended.next)?;
        Ok(PendingChange::new(self, Some(key), Some(ticket), ()))
    }

    /// Open transactions that belong to no transactional id: readers of committed records wait for them,
    /// and only an operator can end them.
    pub fn hanging(&self) -> Vec<OpenTransaction> {
        let state = self.state();
        let open = self.0.log.open_transactions();
        let mut owners: HashMap<i64, &Entry> = HashMap::new();
        for entry in state.ids.values().filter(|_| !open.is_empty()) {
            owners.extend([entry.now.previous_id, entry.now.identity.id].map(|id| (id, entry)));
        }
        let owned = |open: &OpenTransaction| {
            let owner = owners.get(&open.producer_id);
            owner.is_some_and(|owner| owner.pending.is_some() || owner.now.writes_to(open.tp))
        };
        open.into_iter().filter(|open| !owned(open)).collect()
    }

    /// Aborts a hanging transaction, and waits until its marker is durable.
    ///
    /// # Errors
    /// If the log refuses or loses it.
    pub fn abort_hanging(&self, hanging: &OpenTransaction) -> Result<(), TransactionError> {
        let marker = Marker {
            kind: MarkerKind::Abort,
            producer_id: hanging.producer_id,
            producer_epoch: hanging.producer_epoch,
            coordinator_epoch: COORDINATOR_EPOCH,
        };
        self.write_marker(hanging.tp, marker)?.wait()?;
        self.marker_written(hanging.tp, marker);
        Ok(())
    }
}
