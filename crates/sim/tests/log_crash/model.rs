//! What must be there: all that was acknowledged, perhaps some of what was not, and what follows for
//! producers, transactions and the partition's start.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use highwater_env::{Offset, TopicPartition};
use highwater_log::{AppendError, Bounds, Log, LogBatch, MarkerKind, Ticket};

/// What the model knows of a producer in one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    pub(crate) next_sequence: i32,
    pub(crate) open_since: Option<Offset>,
}

/// A batch whose fate is unknown.
pub(crate) struct Pending {
    /// As it would be stored.
    pub(crate) batch: LogBatch,
    pub(crate) ticket: Ticket,
    /// Number of the appends that are all or nothing with it.
    pub(crate) group: u64,
}

/// One partition.
#[derive(Default)]
pub(crate) struct Expected {
    /// Batches acknowledged or seen after a recovery, as stored, from offset 0.
    pub(crate) durable: Vec<LogBatch>,
    /// Batches whose fate is unknown, in order.
    pub(crate) pending: Vec<Pending>,
    /// With everything appended, pending or not.
    pub(crate) producers: BTreeMap<i64, Producer>,
    /// Its start, as acknowledged or seen.
    pub(crate) start: Offset,
    /// Starts asked for and not yet acknowledged.
    pub(crate) trims: Vec<(Offset, Ticket)>,
    /// Whether retention may move the start by itself.
    pub(crate) retention: bool,
    /// Whether superseded records may be gone.
    pub(crate) compacted: bool,
}

/// The batch as the log stores it at `offset`.
pub(crate) fn at_offset(batch: &LogBatch, offset: Offset) -> LogBatch {
    let mut bytes = batch.bytes().to_vec();
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    LogBatch::parse(Bytes::from(bytes)).expect("only the base offset changed")
}

/// An aborted transaction: producer, first offset, offset of the marker.
type Aborted = (i64, Offset, Offset);

/// The aborted transactions that a reader of all records is told of.
fn told_aborted(log: &Log, tp: TopicPartition, bounds: &Bounds) -> Result<BTreeSet<Aborted>, String> {
    let (mut told, mut next) = (BTreeSet::new(), bounds.log_start_offset);
    while next < bounds.high_watermark {
        let range = log.read(tp, next, 4096).map_err(|e| format!("read {tp} from {next}: {e}"))?;
        if range.batches.is_empty() {
            return Err(format!("{tp}: nothing at {next}"));
        }
        next = range.next_offset(next);
        told.extend(range.aborted.iter().map(|a| (a.producer_id, a.first_offset, a.last_offset)));
    }
    Ok(told)
}

/// What a sequence of batches leaves behind.
pub(crate) fn replay<'a>(
    batches: impl IntoIterator<Item = &'a LogBatch>,
) -> (BTreeMap<i64, Producer>, Vec<Aborted>) {
    let mut producers: BTreeMap<i64, Producer> = BTreeMap::new();
    let mut aborted = Vec::new();
    for batch in batches.into_iter().filter(|batch| batch.producer_id() >= 0) {
        let producer = producers.entry(batch.producer_id()).or_default();
        if producer.epoch != batch.producer_epoch() {
            (producer.epoch, producer.next_sequence) = (batch.producer_epoch(), 0);
        }
        if let Some(marker) = batch.marker() {
            let first = producer.open_since.take();
            if let (MarkerKind::Abort, Some(first)) = (marker.kind, first) {
                aborted.push((batch.producer_id(), first, batch.last_offset()));
            }
            continue;
        }
        if batch.is_transactional() {
            producer.open_since.get_or_insert(batch.base_offset());
        }
        if batch.base_sequence() >= 0 {
            producer.next_sequence = batch.last_sequence() + 1;
        }
    }
    (producers, aborted)
}

impl Expected {
    pub(crate) fn end(&self) -> Offset {
        self.durable.last().map_or(0, LogBatch::next_offset)
    }

    /// The offset the next batch gets.
    pub(crate) fn log_end(&self) -> Offset {
        self.pending.last().map_or(self.end(), |pending| pending.batch.next_offset())
    }

    pub(crate) fn appended(&mut self, batch: &LogBatch, ticket: Ticket, group: u64) -> Result<(), String> {
        if ticket.base_offset != self.log_end() {
            return Err(format!("offset {} given, expected {}", ticket.base_offset, self.log_end()));
        }
        self.pending.push(Pending { batch: at_offset(batch, ticket.base_offset), ticket, group });
        self.replay();
        Ok(())
    }

    fn replay(&mut self) {
        let pending = self.pending.iter().map(|pending| &pending.batch);
        self.producers = replay(self.durable.iter().chain(pending)).0;
    }

    /// Learns what became of what is pending.
    pub(crate) fn collect(&mut self) -> Result<(), String> {
        while let Some(pending) = self.pending.first() {
            match pending.ticket.poll_now() {
                Some(Ok(())) => {
                    let pending = self.pending.remove(0);
                    self.durable.push(pending.batch);
                }
                Some(Err(AppendError::DiskFull)) => {
                    // All behind it are refused too.
                    for Pending { batch, ticket, .. } in self.pending.drain(..) {
                        if ticket.poll_now() != Some(Err(AppendError::DiskFull)) {
                            return Err(format!("{batch:?} outlived a refused one"));
                        }
                    }
                    self.replay();
                }
                None | Some(Err(_)) => break,
            }
        }
        for (start, ticket) in std::mem::take(&mut self.trims) {
            match ticket.poll_now() {
                Some(Ok(())) => self.start = start.max(self.start),
                Some(Err(AppendError::DiskFull)) => {}
                None | Some(Err(_)) => self.trims.push((start, ticket)),
            }
        }
        Ok(())
    }

    /// After recovery: all that was acknowledged is at its offset, then perhaps some of what was
    /// pending, in order, and nothing else. Groups of which something is there are returned, and
    /// those of which something is not.
    pub(crate) fn verify(&mut self, log: &Log, tp: TopicPartition) -> Result<(Vec<u64>, Vec<u64>), String> {
        let bounds = log.bounds(tp).map_err(|e| format!("bounds of {tp}: {e}"))?;
        self.verify_start(&bounds)?;
        let acknowledged = self.durable.len();
        let candidates = self.durable.iter().chain(self.pending.iter().map(|pending| &pending.batch));
        let there =
            candidates.clone().take_while(|batch| batch.next_offset() <= bounds.high_watermark).count();
        if there < acknowledged {
            return Err(format!("{tp}: {there} batches recovered, {acknowledged} were acknowledged"));
        }
        let recovered: Vec<LogBatch> = candidates.take(there).cloned().collect();
        if recovered.last().map_or(0, LogBatch::next_offset) != bounds.high_watermark {
            return Err(format!("{tp}: ends at {} within a batch or beyond", bounds.high_watermark));
        }
        let groups: Vec<u64> = self.pending.drain(..).map(|pending| pending.group).collect();
        self.durable = recovered;
        self.trims.clear();
        self.start = bounds.log_start_offset;
        self.replay();
        self.verify_facts(log, tp, &bounds)?;
        let (found, lost) = groups.split_at(there - acknowledged);
        Ok((found.to_vec(), lost.to_vec()))
    }

    fn verify_start(&self, bounds: &Bounds) -> Result<(), String> {
        let start = bounds.log_start_offset;
        let is_asked_for = start == self.start || self.trims.iter().any(|(asked, _)| *asked == start);
        if start < self.start || !(is_asked_for || self.retention) {
            return Err(format!("log start offset {start}, acknowledged {}", self.start));
        }
        let ordered = bounds.log_start_offset <= bounds.last_stable_offset
            && bounds.last_stable_offset <= bounds.high_watermark
            && bounds.high_watermark <= bounds.log_end_offset;
        if ordered { Ok(()) } else { Err(format!("bounds out of order: {bounds:?}")) }
    }

    /// What follows from the durable batches: producers, open and aborted transactions.
    pub(crate) fn verify_facts(&self, log: &Log, tp: TopicPartition, bounds: &Bounds) -> Result<(), String> {
        let (producers, aborted) = replay(&self.durable);
        let known = log.producers(tp).map_err(|e| e.to_string())?;
        let known: BTreeMap<i64, Producer> = known
            .iter()
            .map(|p| {
                let (epoch, next_sequence) = (p.epoch, p.last_sequence + 1);
                (p.producer_id, Producer { epoch, next_sequence, open_since: p.open_since })
            })
            .collect();
        if known != producers {
            return Err(format!("{tp}: producers {known:?}, expected {producers:?}"));
        }
        let first_open = producers.values().filter_map(|producer| producer.open_since).min();
        let stable = first_open.unwrap_or(bounds.high_watermark).max(bounds.log_start_offset);
        if bounds.last_stable_offset != stable {
            return Err(format!("{tp}: last stable offset {}, expected {stable}", bounds.last_stable_offset));
        }
        if self.compacted {
            // Compaction takes markers away once no record needs them.
            return Ok(());
        }
        let told = told_aborted(log, tp, bounds)?;
        let is_left = |aborted: &Aborted| aborted.2 >= bounds.log_start_offset;
        let aborted: BTreeSet<Aborted> = aborted.into_iter().filter(is_left).collect();
        if told != aborted {
            return Err(format!("{tp}: aborted transactions {told:?}, expected {aborted:?}"));
        }
        Ok(())
    }
}
