//! What a partition remembers of idempotent producers (KIP-98): enough to recognise a repeated
//! batch and to refuse a gap.

use std::collections::{BTreeMap, VecDeque};

use highwater_env::Offset;

use crate::batch::{ProducerBatch, add_sequence};
use crate::{AppendError, LogBatch};

/// How many batches a producer may have in flight, as in Kafka.
const BATCHES_KEPT: usize = 5;
/// How many producers one partition remembers; beyond it the one silent for longest is forgotten.
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    /// Its last batches, oldest first: those in flight and the last durable ones.
    pub(crate) sent: VecDeque<Sent>,
    /// What it was in its previous epoch, until a batch of this one is durable.
    pub(crate) previous: Option<Box<Producer>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    by_id: BTreeMap<i64, Producer>,
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
        let starts = || match got {
            0 => Ok(Verdict::Append),
            _ => Err(AppendError::OutOfOrderSequence { producer_id, got, expected: 0 }),
        };
        let known = self.by_id.get(&producer_id);
        let Some((known, last)) = known.and_then(|known| Some((known, known.sent.back()?))) else {
            return starts();
        };
        if epoch < known.epoch {
            return Err(AppendError::FencedProducer { producer_id, got: epoch, current: known.epoch });
        }
        if epoch > known.epoch {
            return starts();
        }
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

    /// Remembers an appended batch; `high_watermark`: what is durable by now.
    pub(crate) fn sent(&mut self, batch: &LogBatch, group: u64, high_watermark: Offset) {
        let (producer_id, epoch) = (batch.producer_id(), batch.producer_epoch());
        if producer_id < 0 {
            return;
        }
        let producer =
            self.by_id.entry(producer_id).or_insert_with(|| Producer { epoch, ..Producer::default() });
        if producer.epoch != epoch {
            let previous = std::mem::take(producer);
            *producer = Producer { epoch, sent: VecDeque::new(), previous: Some(Box::new(previous)) };
        }
        let durable = producer.sent.partition_point(|sent| sent.last_offset < high_watermark);
        producer.sent.drain(..durable.saturating_sub(BATCHES_KEPT - 1));
        if durable > 0 {
            producer.previous = None;
        }
        producer.sent.push_back(Sent {
            base_sequence: batch.base_sequence(),
            last_sequence: batch.last_sequence(),
            base_offset: batch.base_offset(),
            last_offset: batch.last_offset(),
            group,
        });
        if self.by_id.len() > PRODUCERS_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets the newest batch of its producer, which is given up.
    pub(crate) fn take_back(&mut self, batch: &LogBatch) {
        let Some(producer) = self.by_id.get_mut(&batch.producer_id()) else { return };
        producer.sent.pop_back();
        if producer.sent.is_empty() {
            match producer.previous.take() {
                Some(previous) => *producer = *previous,
                None => drop(self.by_id.remove(&batch.producer_id())),
            }
        }
    }

    fn forget_oldest(&mut self) {
        let last_offset = |producer: &Producer| producer.sent.back().map_or(-1, |sent| sent.last_offset);
        let oldest = self.by_id.iter().min_by_key(|(_, producer)| last_offset(producer)).map(|(id, _)| *id);
        if let Some(id) = oldest {
            self.by_id.remove(&id);
        }
    }

    pub(crate) fn last_sequence(&self, producer_id: i64) -> Option<i32> {
        Some(self.by_id.get(&producer_id)?.sent.back()?.last_sequence)
    }

    /// All producers as far as their batches lie below `high_watermark`: for a checkpoint.
    pub(crate) fn below(&self, high_watermark: Offset) -> Vec<(i64, Producer)> {
        let durable = |(id, producer): (&i64, &Producer)| {
            let mut epoch = Some(producer);
            while let Some(producer) = epoch {
                let durable = producer.sent.partition_point(|sent| sent.last_offset < high_watermark);
                if durable > 0 {
                    let kept = producer.sent.range(durable.saturating_sub(BATCHES_KEPT)..durable);
                    let sent = kept.copied().collect();
                    return Some((*id, Producer { epoch: producer.epoch, sent, previous: None }));
                }
                epoch = producer.previous.as_deref();
            }
            None
        };
        self.by_id.iter().filter_map(durable).collect()
    }

    pub(crate) fn restore(producers: Vec<(i64, Producer)>) -> Self {
        Self { by_id: producers.into_iter().collect() }
    }
}
