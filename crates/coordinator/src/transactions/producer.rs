//! What is known of one transactional id, and how it changes: pure, no log and no clock.

use std::collections::BTreeSet;

use highwater_env::TopicPartition;

use super::{TransactionError, TransactionState};

/// No epoch, no producer id, no time: as in Kafka's records.
pub(super) const NONE: i16 = -1;

/// Who writes: a producer id and which of its incarnations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerIdentity {
    /// The producer id.
    pub id: i64,
    /// Rises whenever somebody may have to be fenced; lower ones are refused.
    pub epoch: i16,
}

impl ProducerIdentity {
    /// Whether its epoch cannot rise any more: the highest of all is kept for fencing it.
    pub(super) fn is_exhausted(self) -> bool {
        self.epoch >= i16::MAX - 1
    }

    fn raised(self, by: i16) -> Self {
        Self { id: self.id, epoch: self.epoch.saturating_add(by) }
    }
}

/// How a client speaks of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionVersion {
    /// Partitions are added by request; epochs rise with a new producer only.
    One,
    /// Partitions are added by writing to them; epochs rise with each transaction (KIP-890).
    Two,
}

impl TransactionVersion {
    /// Kafka's level of the feature `transaction.version`.
    pub(super) fn level(self) -> i16 {
        match self {
            Self::One => 0,
            Self::Two => 2,
        }
    }
}

/// How a transaction is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionResult {
    /// Its records count.
    Commit,
    /// Its records never count.
    Abort,
}

impl TransactionResult {
    pub(super) fn state(self) -> TransactionState {
        match self {
            Self::Commit => TransactionState::CompleteCommit,
            Self::Abort => TransactionState::CompleteAbort,
        }
    }
}

/// One transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TransactionalProducer {
    pub(super) identity: ProducerIdentity,
    /// The epoch before the last rise, if its owner may ask for that rise again (KIP-360); else -1.
    pub(super) last_epoch: i16,
    /// The producer id before its epochs were used up, -1 for none.
    pub(super) previous_id: i64,
    pub(super) timeout_ms: i32,
    pub(super) state: TransactionState,
    /// Where the open transaction writes.
    pub(super) partitions: BTreeSet<TopicPartition>,
    /// When the open (or last) transaction began, ms since the Unix epoch; -1 for none.
    pub(super) started_ms: i64,
    /// The last change, ms since the Unix epoch.
    pub(super) updated_ms: i64,
    /// Level of `transaction.version` of who ended the last transaction.
    pub(super) client_level: i16,
}

/// An ended transaction: the markers' identity, and what is known after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) marker: ProducerIdentity,
    pub(super) result: TransactionResult,
    pub(super) next: TransactionalProducer,
}

/// What becomes of a request to end a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was ended before: the answer got lost.
    Repeated(ProducerIdentity),
    Now(Box<Ended>),
}

impl TransactionalProducer {
    pub(super) fn new(id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            identity: ProducerIdentity { id, epoch: 0 },
            last_epoch: NONE,
            previous_id: i64::from(NONE),
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            started_ms: i64::from(NONE),
            updated_ms: now_ms,
            client_level: TransactionVersion::One.level(),
        }
    }

    /// A producer takes over, or goes on after an error: then it names itself (`expected`,
    /// KIP-360). `fresh_id`: a producer id, should this one be used up. An open transaction is
    /// aborted: the first of the pair is its markers' identity.
    pub(super) fn initialised(
        &self,
        expected: Option<ProducerIdentity>,
        timeout_ms: i32,
        now_ms: i64,
        fresh_id: i64,
    ) -> Result<(Option<ProducerIdentity>, Self), TransactionError> {
        if let Some(expected) = expected {
            let renamed = expected.id == self.previous_id && expected.is_exhausted();
            if expected.id != self.identity.id && !renamed {
                return Err(self.fences(expected));
            }
        }
        let begun = Self {
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            started_ms: i64::from(NONE),
            timeout_ms,
            updated_ms: now_ms,
            ..self.clone()
        };
        let last_epoch = expected.map_or(NONE, |expected| expected.epoch);
        let expected_here = expected.is_none_or(|expected| expected == self.identity);
        if self.state == TransactionState::Ongoing {
            // Kafka lets a producer that was fenced abort its successor's transaction here.
            if let Some(zombie) = expected.filter(|_| !expected_here) {
                return Err(self.fences(zombie));
            }
            let marker = self.fencing_identity();
            let next = Self { identity: marker, last_epoch, ..begun };
            let rotate = marker.is_exhausted();
            return Ok((Some(marker), if rotate { next.rotated(fresh_id, self.identity.id) } else { next }));
        }
        if expected_here {
            let next = Self { last_epoch, ..begun };
            return Ok(match self.identity.is_exhausted() {
                true => (None, next.rotated(fresh_id, self.identity.id)),
                false => (None, Self { identity: self.identity.raised(1), ..next }),
            });
        }
        match expected {
            // Asked again: the answer got lost. A new producer would have taken `last_epoch` away.
            Some(expected) if expected.epoch == self.last_epoch => Ok((None, begun)),
            other => Err(self.fences(other.unwrap_or(self.identity))),
        }
    }

    /// Its producer id is used up.
    fn rotated(self, fresh_id: i64, previous_id: i64) -> Self {
        Self { identity: ProducerIdentity { id: fresh_id, epoch: 0 }, previous_id, ..self }
    }

    /// Whose markers end a transaction against its producer's will. Two above, as Kafka's: one
    /// above is what its producer gets by ending it itself, and may ask for again.
    fn fencing_identity(&self) -> ProducerIdentity {
        self.identity.raised(2)
    }

    /// Whether `producer` may speak for this transactional id.
    pub(super) fn check(&self, id: &str, producer: ProducerIdentity) -> Result<(), TransactionError> {
        if producer.id != self.identity.id {
            return Err(wrong_mapping(id, producer.id));
        }
        if producer.epoch != self.identity.epoch {
            return Err(self.fences(producer));
        }
        Ok(())
    }

    fn fences(&self, producer: ProducerIdentity) -> TransactionError {
        let current = self.identity.epoch;
        TransactionError::Fenced { producer_id: producer.id, got: producer.epoch, current }
    }

    /// Writes to `partitions` from now on; begins a transaction if none is open.
    pub(super) fn add(&mut self, partitions: impl IntoIterator<Item = TopicPartition>, now_ms: i64) {
        if self.state != TransactionState::Ongoing {
            self.state = TransactionState::Ongoing;
            self.partitions.clear();
            self.started_ms = now_ms;
        }
        self.updated_ms = now_ms;
        self.partitions.extend(partitions);
    }

    /// Whether the open transaction writes to `tp`.
    pub(super) fn writes_to(&self, tp: TopicPartition) -> bool {
        self.state == TransactionState::Ongoing && self.partitions.contains(&tp)
    }

    /// Ends the transaction, as its producer asks.
    ///
    /// Version 1: an end is asked for again under the same epoch. Version 2, where *again* means the
    /// epoch before the current one (table of Kafka's `TransactionCoordinator`):
    /// ```text
    ///                  abort again   abort     commit again   commit
    /// Empty            fenced        ends      fenced         invalid
    /// Ongoing          fenced        ends      fenced         ends
    /// CompleteAbort    repeated      ends      invalid        invalid
    /// CompleteCommit   invalid       ends      repeated       invalid
    /// ```
    pub(super) fn end(
        &self,
        id: &str,
        producer: ProducerIdentity,
        result: TransactionResult,
        version: TransactionVersion,
        now_ms: i64,
        fresh_id: i64,
    ) -> Result<End, TransactionError> {
        let again = match version {
            TransactionVersion::One => {
                self.check(id, producer)?;
                matches!(self.state, TransactionState::CompleteCommit | TransactionState::CompleteAbort)
            }
            TransactionVersion::Two => {
                let again = self.was_ended_by(producer);
                if !again {
                    self.check(id, producer)?;
                }
                again
            }
        };
        let ends = match (self.state, again) {
            (_, true) if self.state == result.state() => return Ok(End::Repeated(self.identity)),
            (_, true) => false,
            (TransactionState::Ongoing, false) => true,
            (_, false) => version == TransactionVersion::Two && result == TransactionResult::Abort,
        };
        if !ends {
            let state = self.state.name();
            return Err(TransactionError::InvalidState(format!("{result:?} in state {state}")));
        }
        Ok(End::Now(Box::new(self.ended(result, version, now_ms, fresh_id))))
    }

    /// Whether the last transaction was ended by `producer` in version 2, which raised its epoch.
    fn was_ended_by(&self, producer: ProducerIdentity) -> bool {
        let complete =
            matches!(self.state, TransactionState::CompleteCommit | TransactionState::CompleteAbort);
        let raised = producer.raised(1) == self.identity;
        let rotated =
            producer.id == self.previous_id && producer.epoch == i16::MAX - 1 && self.identity.epoch == 0;
        complete && self.client_level == TransactionVersion::Two.level() && (raised || rotated)
    }

    fn ended(
        &self,
        result: TransactionResult,
        version: TransactionVersion,
        now_ms: i64,
        fresh_id: i64,
    ) -> Ended {
        let marker = match version {
            TransactionVersion::One => self.identity,
            TransactionVersion::Two => self.identity.raised(1),
        };
        let last_epoch = match version {
            TransactionVersion::One => self.last_epoch,
            TransactionVersion::Two => self.identity.epoch,
        };
        let next = Self {
            identity: marker,
            last_epoch,
            state: result.state(),
            partitions: BTreeSet::new(),
            started_ms: if self.state == TransactionState::Ongoing { self.started_ms } else { now_ms },
            updated_ms: now_ms,
            client_level: version.level(),
            ..self.clone()
        };
        let rotate = version == TransactionVersion::Two && self.identity.is_exhausted();
        let next = if rotate { next.rotated(fresh_id, self.identity.id) } else { next };
        Ended { marker, result, next }
    }

    /// The open transaction's abort, if it has been open for too long.
    pub(super) fn timed_out(&self, now_ms: i64) -> Option<Ended> {
        let due = self.started_ms.saturating_add(i64::from(self.timeout_ms));
        if now_ms < due { None } else { self.aborted(now_ms) }
    }

    /// The open transaction's abort against its producer's will, if one is open.
    pub(super) fn aborted(&self, now_ms: i64) -> Option<Ended> {
        if self.state != TransactionState::Ongoing {
            return None;
        }
        let marker = self.fencing_identity();
        let next = Self {
            identity: marker,
            last_epoch: NONE,
            state: TransactionState::CompleteAbort,
            partitions: BTreeSet::new(),
            updated_ms: now_ms,
            client_level: TransactionVersion::Two.level(),
            ..self.clone()
        };
        Some(Ended { marker, result: TransactionResult::Abort, next })
    }

    /// Whether nobody used it for `unused_ms`.
    pub(super) fn is_expired(&self, now_ms: i64, unused_ms: i64) -> bool {
        self.state != TransactionState::Ongoing && now_ms.saturating_sub(self.updated_ms) >= unused_ms
    }
}

/// The transactional id is unknown, or of another producer id.
pub(super) fn wrong_mapping(id: &str, producer_id: i64) -> TransactionError {
    TransactionError::InvalidProducerIdMapping { transactional_id: id.to_owned(), producer_id }
}
