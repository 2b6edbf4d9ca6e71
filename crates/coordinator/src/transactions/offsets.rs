//! Offsets of consumer groups as part of a transaction (KIP-98, KIP-447).

use crate::{CommitRequest, Committed, GroupRefusal};

use super::producer::ProducerIdentity;
use super::{PendingChange, TransactionError, TransactionVersion, Transactions};

impl Transactions {
    /// Says beforehand that the transaction will commit offsets (version 1). All groups' offsets are
    /// in one partition.
    ///
    /// # Errors
    /// See [`TransactionError`]; then nothing changed.
    pub fn add_offsets(
        &self,
        id: &str,
        producer: ProducerIdentity,
    ) -> Result<PendingChange<()>, TransactionError> {
        self.add_partitions(id, producer, &[self.0.groups.partition()?])
    }

    /// Commits offsets that count once the transaction is committed. The future ends when they are
    /// durable; it need not be awaited.
    ///
    /// # Errors
    /// See [`TransactionError`]; then nothing changed. What the group refuses, the future says.
    pub fn commit_offsets(
        &self,
        id: &str,
        version: TransactionVersion,
        producer: ProducerIdentity,
        request: CommitRequest,
    ) -> Result<impl Future<Output = Result<Committed, GroupRefusal>> + Send + use<>, TransactionError> {
        let groups = &self.0.groups;
        self.write(id, producer, version, groups.partition()?, || {
            Ok(groups.commit_offsets_in_transaction(producer.id, producer.epoch, request))
        })
    }
}
