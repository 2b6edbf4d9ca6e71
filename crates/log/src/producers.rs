//! What a partition remembers of its producers (KIP-98): enough to recognise a repeated batch, to
//! refuse a gap, and to know which transactions are open.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use highwater_env::Offset;

use crate::batch::{MarkerKind, NO_SEQUENCE, ProducerBatch, add_sequence};
use crate::transactions::AbortedTransaction;
use crate::{AppendError, LogBatch, Marker};

/// How many batches a producer may have in flight, as in Kafka.
const BATCHES_KEPT: usize = 5;
/// How many producers one partition remembers; beyond it the one silent for longest is forgotten,
/// but none with an open transaction.
const PRODUCERS_MAX: usize = 4096;

/// One of a producer's last batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) base_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    /// The ticket's group; 0 once recovered from disk.
    pub(crate) group: u64,
}

/// One producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    /// Its last batches of this epoch, oldest first.
    pub(crate) sent: VecDeque<Sent>,
    /// The offset after its last batch or marker: who is silent for longest has the lowest.
    pub(crate) seen_offset: Offset,
    /// Of its last batch, ms since the Unix epoch.
    pub(crate) last_timestamp: i64,
    /// Of the last marker, -1 before the first.
    pub(crate) coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub(crate) open_since: Option<Offset>,
}

/// A partition keeps two: one knows all that was appended, the other what is durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    by_id: BTreeMap<i64, Producer>,
    /// Open transactions by their first offset.
    open: BTreeSet<(Offset, i64)>,
}

/// What is to be done with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    Repeated(Sent),
}

impl Producers {
    /// Kafka's rules but for one: within an epoch no gap, a new epoch starts at 0. So does an unknown
    /// producer: if its first batch was refused, the second may not pass for the first, or the first
    /// would be taken for a repetition when it comes again.
    pub(crate) fn check(&self, batch: &ProducerBatch) -> Result<Verdict, AppendError> {
        let producer_id = batch.producer_id;
        if producer_id < 0 {
            return Ok(Verdict::Append);
        }
        let (got, epoch) = (batch.base_sequence, batch.producer_epoch);
        let known = self.by_id.get(&producer_id);
        if let Some(known) = known {
            check_epoch(producer_id, epoch, known)?;
        }
        if batch.transactional && got == NO_SEQUENCE {
            return Ok(Verdict::Append);
        }
        let current = known.filter(|known| known.epoch == epoch);
        let Some((known, last)) = current.and_then(|known| Some((known, known.sent.back()?))) else {
            return match got {
                0 => Ok(Verdict::Append),
                _ => Err(AppendError::OutOfOrderSequence { producer_id, got, expected: 0 }),
            };
        };
        let same = |sent: &&Sent| sent.base_sequence == got && sent.last_sequence == batch.last_sequence;
        if let Some(sent) = known.sent.iter().find(same) {
            return Ok(Verdict::Repeated(*sent));
        }
        let expected = add_sequence(last.last_sequence, 1);
        if got == expected {
            return Ok(Verdict::Append);
        }
        // Sequences wrap: what lies up to half the circle behind is old, the rest is a gap.
        let behind = expected.wrapping_sub(got) & i32::MAX;
        match behind <= i32::MAX / 2 {
            true => Err(AppendError::DuplicateSequence { producer_id, got }),
            false => Err(AppendError::OutOfOrderSequence { producer_id, got, expected }),
        }
    }

    /// Remembers a batch that follows all it has seen; `group`: its ticket's. What an abort marker
    /// ended is returned.
    pub(crate) fn apply(&mut self, batch: &LogBatch, group: u64) -> Option<AbortedTransaction> {
        let (producer_id, epoch) = (batch.producer_id(), batch.producer_epoch());
        if producer_id < 0 {
            return None;
        }
        let marker = batch.marker();
        let producer = self.by_id.entry(producer_id).or_insert_with(|| Producer::new(epoch));
        if producer.epoch != epoch {
            producer.epoch = epoch;
            producer.sent.clear();
        }
        producer.seen_offset = batch.next_offset();
        producer.last_timestamp = batch.max_timestamp();
        if batch.is_control() {
            let ended = marker.and_then(|marker| producer.end(&marker));
            return ended.and_then(|(first, kind)| self.ended(batch, first, kind));
        }
        if batch.is_transactional() && producer.open_since.is_none() {
            producer.open_since = Some(batch.base_offset());
            self.open.insert((batch.base_offset(), producer_id));
        }
        if batch.base_sequence() != NO_SEQUENCE {
            producer.sent.push_back(Sent {
                base_sequence: batch.base_sequence(),
                last_sequence: batch.last_sequence(),
                base_offset: batch.base_offset(),
                last_offset: batch.last_offset(),
                group,
            });
            if producer.sent.len() > BATCHES_KEPT {
                producer.sent.pop_front();
            }
        }
        while self.by_id.len() > PRODUCERS_MAX && self.forget_oldest() {}
        None
    }

    fn ended(&mut self, marker: &LogBatch, first: Offset, kind: MarkerKind) -> Option<AbortedTransaction> {
        let producer_id = marker.producer_id();
        self.open.remove(&(first, producer_id));
        let last_offset = marker.last_offset();
        let last_stable_offset = self.first_open().unwrap_or(last_offset + 1);
        let aborted =
            AbortedTransaction { producer_id, first_offset: first, last_offset, last_stable_offset };
        (kind == MarkerKind::Abort).then_some(aborted)
    }

    /// Whether there was one to forget.
    fn forget_oldest(&mut self) -> bool {
        let idle = self.by_id.iter().filter(|(_, producer)| producer.open_since.is_none());
        let oldest = idle.min_by_key(|(_, producer)| producer.seen_offset).map(|(id, _)| *id);
        oldest.is_some_and(|id| self.by_id.remove(&id).is_some())
    }

    pub(crate) fn last_sequence(&self, producer_id: i64) -> Option<i32> {
        Some(self.by_id.get(&producer_id)?.sent.back()?.last_sequence)
    }

    /// First offset of the oldest open transaction.
    pub(crate) fn first_open(&self) -> Option<Offset> {
        self.open.first().map(|(first, _)| *first)
    }

    /// All of them, by id.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (i64, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }

    /// Those with an open transaction, the oldest first.
    pub(crate) fn open(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.open.iter().filter_map(|(_, id)| Some((*id, self.by_id.get(id)?)))
    }

    pub(crate) fn restore(producers: Vec<(i64, Producer)>) -> Self {
        let open = producers.iter().filter_map(|(id, producer)| Some((producer.open_since?, *id))).collect();
        Self { by_id: producers.into_iter().collect(), open }
    }
}

fn check_epoch(producer_id: i64, epoch: i16, known: &Producer) -> Result<(), AppendError> {
    match epoch < known.epoch {
        true => Err(AppendError::FencedProducer { producer_id, got: epoch, current: known.epoch }),
        false => Ok(()),
    }
}

impl Producer {
    /// A producer of which nothing was seen yet.
    pub(crate) fn new(epoch: i16) -> Self {
        Self {
            epoch,
            sent: VecDeque::new(),
            seen_offset: 0,
            last_timestamp: -1,
            coordinator_epoch: -1,
            open_since: None,
        }
    }

    /// First offset of the transaction that `marker` ends, if one is open.
    fn end(&mut self, marker: &Marker) -> Option<(Offset, MarkerKind)> {
        self.coordinator_epoch = marker.coordinator_epoch;
        Some((self.open_since.take()?, marker.kind))
    }
}
