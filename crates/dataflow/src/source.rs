//! Reads the splits of one shard.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::Duration;

use arrow::array::Array;
use arrow::buffer::ScalarBuffer;
use highwater_state::SplitPosition;
use highwater_stream::{
    ChangeBatch, EventTime, Message, Position, RejectedRecord, SourceBatch, SourceConnector, SourcePoll,
    SourceSpec, SplitId, SplitReader, WATERMARK_END, WATERMARK_NONE,
};

use crate::counters::{Counters, SplitStats, add};
use crate::expressions::{Projection, WatermarkOf};
use crate::handle::lock;
use crate::operator::Output;
use crate::operators::Place;
use crate::ready::Signal;
use crate::{JobError, JobSettings};

/// The connector that the instances of one source share.
pub(crate) struct SharedSource {
    state: Mutex<Splits>,
    bounded: bool,
}

struct Splits {
    connector: Box<dyn SourceConnector>,
    /// In order of discovery; index modulo shards tells who reads a split.
    known: Vec<SplitId>,
    /// Monotonic time of the last look.
    looked: Duration,
}

/// How far splits were read: position and watermark.
pub(crate) type Restored = HashMap<SplitId, (Position, EventTime)>;

impl SharedSource {
    /// Looks for splits. Those of `restored` that are not there any more are opened too: their connector says
    /// what is wrong.
    pub(crate) fn new(
        mut connector: Box<dyn SourceConnector>,
        restored: &Restored,
        now: Duration,
    ) -> Result<Arc<Self>, JobError> {
        let mut known = connector.splits()?;
        known.extend(restored.keys().cloned());
        known.sort();
        known.dedup();
        let bounded = connector.is_bounded();
        Ok(Arc::new(Self { state: Mutex::new(Splits { connector, known, looked: now }), bounded }))
    }

    /// Splits `from..` in order of discovery, after a new look if the last is older than `every`.
    fn discover(&self, from: usize, now: Duration, every: Duration) -> Result<Vec<SplitId>, JobError> {
        let mut state = lock(&self.state);
        if now >= state.looked + every {
            state.looked = now;
            let mut found = state.connector.splits()?;
            found.sort();
            for split in found {
                if !state.known.contains(&split) {
                    state.known.push(split);
                }
            }
        }
        Ok(state.known[from.min(state.known.len())..].to_vec())
    }

    fn open(&self, split: &SplitId, from: Option<Position>) -> Result<Box<dyn SplitReader>, JobError> {
        Ok(lock(&self.state).connector.open(split, from)?)
    }
}

/// One instance of a source.
///
/// Its watermark is the lowest of its splits', ended and idle ones left out; it reads the split with the lowest
/// watermark next, so that splits stay near each other in time.
pub(crate) struct Source {
    place: Place,
    shared: Arc<SharedSource>,
    signal: Arc<Signal>,
    counters: Arc<Counters>,
    columns: Projection,
    watermark_of: Option<WatermarkOf>,
    idle_timeout: Option<Duration>,
    discovery: Duration,
    rejects_max: usize,
    reject_bytes_max: usize,
    restored: Restored,
    splits: Vec<Split>,
    /// How many splits of the source, of all shards, were looked at.
    seen: usize,
    look_at: Duration,
    watermark: EventTime,
    idle: bool,
    polls: u64,
    rejects: Vec<RejectedRecord>,
    /// Payload bytes of `rejects`.
    reject_bytes: usize,
}

struct Split {
    id: SplitId,
    reader: Box<dyn SplitReader>,
    position: Option<Position>,
    watermark: EventTime,
    bell: Arc<SplitBell>,
    /// Said `Pending`; not polled again until its bell rings.
    waiting: bool,
    idle: bool,
    ended: bool,
    /// Monotonic time of its last rows.
    heard: Duration,
    /// Number of its last poll.
    polled: u64,
}

/// Tells which split woke the instance.
struct SplitBell {
    rung: AtomicBool,
    signal: Arc<Signal>,
}

impl Wake for SplitBell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.signal.ring();
    }
}

/// What a look at the splits gave.
pub(crate) enum Polled {
    /// Something was emitted, or may be at once.
    Some,
    /// Nothing until a bell rings, or this monotonic time.
    Nothing(Option<Duration>),
    /// Nothing ever again.
    Ended,
}

impl Source {
    pub(crate) fn new(
        place: &Place,
        spec: &SourceSpec,
        (shared, restored): (Arc<SharedSource>, &Restored),
        (signal, counters): (Arc<Signal>, Arc<Counters>),
        settings: &JobSettings,
        now: Duration,
    ) -> Result<Self, JobError> {
        let columns = Projection::new(&spec.columns, &spec.physical, place.schema(), &place.title)?;
        let rowtime = spec.rowtime.as_ref();
        let watermark_of =
            rowtime.map(|rowtime| WatermarkOf::new(&rowtime.watermark, &place.schema, &place.title));
        let mut source = Self {
            columns,
            watermark_of: watermark_of.transpose()?,
            idle_timeout: rowtime.and_then(|rowtime| rowtime.idle_timeout_ms).map(Duration::from_millis),
            discovery: Duration::from_millis(settings.split_discovery_ms.max(1)),
            rejects_max: settings.rejects_max.max(1),
            reject_bytes_max: settings.reject_bytes_max.max(1),
            restored: restored.clone(),
            place: place.clone(),
            splits: Vec::new(),
            seen: 0,
            look_at: now,
            watermark: WATERMARK_NONE,
            idle: false,
            polls: 0,
            rejects: Vec::new(),
            reject_bytes: 0,
            shared,
            signal,
            counters,
        };
        source.discover(now)?;
        source.publish();
        Ok(source)
    }

    fn discover(&mut self, now: Duration) -> Result<(), JobError> {
        let found = self.shared.discover(self.seen, now, self.discovery)?;
        for id in found {
            let mine = self.seen % self.place.shards == self.place.shard;
            self.seen += 1;
            if mine {
                self.open(id, now)?;
            }
        }
        self.look_at = now + self.discovery;
        Ok(())
    }

    fn open(&mut self, id: SplitId, now: Duration) -> Result<(), JobError> {
        let restored = self.restored.remove(&id);
        let reader = self.shared.open(&id, restored.map(|(position, _)| position))?;
        self.splits.push(Split {
            reader,
            position: restored.map(|(position, _)| position),
            watermark: restored.map_or(WATERMARK_NONE, |(_, watermark)| watermark),
            bell: Arc::new(SplitBell { rung: AtomicBool::new(false), signal: Arc::clone(&self.signal) }),
            waiting: false,
            idle: false,
            ended: false,
            heard: now,
            polled: 0,
            id,
        });
        Ok(())
    }

    /// Reads one batch of one split, if there is one.
    pub(crate) fn poll(&mut self, now: Duration, out: &mut Output) -> Result<Polled, JobError> {
        if !self.shared.bounded && now >= self.look_at {
            self.discover(now)?;
        }
        if self.rejects.len() >= self.rejects_max || self.reject_bytes >= self.reject_bytes_max {
            // The next barrier takes them.
            return Ok(Polled::Nothing(None));
        }
        let started = self.polls;
        while let Some(index) = self.next_split() {
            if self.splits[index].polled > started {
                // Asked in this call already and awake again: barriers and cancelling come first.
                return Ok(Polled::Some);
            }
            self.polls += 1;
            let split = &mut self.splits[index];
            split.polled = self.polls;
            split.bell.rung.store(false, Ordering::SeqCst);
            let waker = Waker::from(Arc::clone(&split.bell));
            match split.reader.poll(self.place.batch_rows_max, &waker)? {
                SourcePoll::Batch(batch) => {
                    (split.heard, split.waiting, split.idle) = (now, false, false);
                    self.take(index, batch, out)?;
                    self.publish();
                    return Ok(Polled::Some);
                }
                SourcePoll::Pending => split.waiting = true,
                SourcePoll::End => {
                    (split.ended, split.waiting) = (true, false);
                    self.publish();
                    if self.is_ended() {
                        out.watermark(WATERMARK_END);
                        return Ok(Polled::Ended);
                    }
                    self.advance(out);
                }
            }
        }
        if self.is_ended() {
            out.watermark(WATERMARK_END);
            return Ok(Polled::Ended);
        }
        Ok(Polled::Nothing(self.rest(now, out)))
    }

    fn is_ended(&self) -> bool {
        self.shared.bounded && self.splits.iter().all(|split| split.ended)
    }

    /// The split to read: the lowest in time, of equal ones the one that waited longest.
    fn next_split(&self) -> Option<usize> {
        let readable =
            |split: &Split| !split.ended && (!split.waiting || split.bell.rung.load(Ordering::SeqCst));
        let candidates = self.splits.iter().enumerate().filter(|(_, split)| readable(split));
        candidates.min_by_key(|(_, split)| (split.watermark, split.polled)).map(|(index, _)| index)
    }

    /// Nothing to read: marks idle splits; when to look again.
    fn rest(&mut self, now: Duration, out: &mut Output) -> Option<Duration> {
        let mut wake_at = (!self.shared.bounded).then_some(self.look_at);
        if let Some(timeout) = self.idle_timeout {
            for split in self.splits.iter_mut().filter(|split| !split.ended && !split.idle) {
                let idle_at = split.heard + timeout;
                split.idle = now >= idle_at;
                if !split.idle {
                    wake_at = Some(wake_at.map_or(idle_at, |at| at.min(idle_at)));
                }
            }
        }
        self.advance(out);
        self.publish();
        wake_at
    }

    /// Says the new watermark, or that all splits are idle, if that is news.
    fn advance(&mut self, out: &mut Output) {
        let active = self.splits.iter().filter(|split| !split.ended && !split.idle);
        match active.map(|split| split.watermark).min() {
            None if !self.idle => {
                self.idle = true;
                out.messages.push(Message::Idle);
            }
            Some(lowest) if lowest > self.watermark => {
                (self.idle, self.watermark) = (false, lowest);
                out.watermark(lowest);
            }
            _ => {}
        }
    }

    fn take(&mut self, index: usize, batch: SourceBatch, out: &mut Output) -> Result<(), JobError> {
        let SourceBatch { rows, kinds, next, rejects, skipped } = batch;
        add(&self.counters.rows_in, rows.num_rows() as u64);
        add(&self.counters.filtered, skipped);
        add(&self.counters.rejected, rejects.len() as u64);
        self.reject_bytes += rejects.iter().map(|record| record.payload.len()).sum::<usize>();
        self.rejects.extend(rejects);
        self.splits[index].position = Some(next);
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = self.columns.evaluate(&rows)?;
        let mut changes = ChangeBatch::inserts(rows);
        if let Some(kinds) = kinds {
            if kinds.len() != changes.len() {
                return Err(JobError::Plan(format!("{}: row kinds do not match rows", self.place.title)));
            }
            changes.kinds = Some(kinds.into());
        }
        if std::mem::take(&mut self.idle) {
            out.watermark(self.watermark);
        }
        changes.watermarks = self.watermarks(index, &changes)?;
        add(&self.counters.rows_out, changes.len() as u64);
        out.batch(changes);
        self.advance(out);
        Ok(())
    }

    /// The watermark before each row; None if it does not move before the last row's own.
    fn watermarks(
        &mut self,
        index: usize,
        changes: &ChangeBatch,
    ) -> Result<Option<ScalarBuffer<EventTime>>, JobError> {
        let Some(watermark_of) = &self.watermark_of else { return Ok(None) };
        let (own, delay_ms) = watermark_of.evaluate(&changes.rows)?;
        let others =
            self.splits.iter().enumerate().filter(|(other, s)| *other != index && !s.ended && !s.idle);
        let ceiling = others.map(|(_, split)| split.watermark).min().unwrap_or(WATERMARK_END);
        let split = &mut self.splits[index];
        let mut marks: Vec<EventTime> = Vec::with_capacity(changes.len());
        for row in 0..own.len() {
            marks.push(self.watermark.max(split.watermark.min(ceiling)));
            if own.is_valid(row) {
                // No row, however wrong its clock, ends the source.
                let mark = own.value(row).saturating_sub(delay_ms).min(WATERMARK_END - 1);
                split.watermark = split.watermark.max(mark);
            }
        }
        let moves = marks.last().is_some_and(|last| *last > self.watermark);
        Ok(moves.then(|| ScalarBuffer::from(marks)))
    }

    /// Where to go on after everything emitted so far, and the records rejected since the last call.
    pub(crate) fn cut(&mut self) -> (Vec<SplitPosition>, Vec<RejectedRecord>) {
        let uid = &self.place.uid;
        let position = |split: &Split| {
            let position = split.reader.position().or(split.position)?;
            Some(SplitPosition {
                uid: uid.clone(),
                split: split.id.clone(),
                position,
                watermark: split.watermark,
            })
        };
        self.reject_bytes = 0;
        (self.splits.iter().filter_map(position).collect(), std::mem::take(&mut self.rejects))
    }

    pub(crate) fn has_splits(&self) -> bool {
        !self.splits.is_empty()
    }

    pub(crate) fn uid(&self) -> &str {
        &self.place.uid
    }

    fn publish(&self) {
        // Without splits, or with none that goes on, the instance holds no watermark back.
        let holds = self.splits.iter().any(|split| !split.ended);
        let watermark = if holds { self.watermark } else { WATERMARK_END };
        self.counters.watermark.store(watermark, Ordering::Relaxed);
        let stats = self.splits.iter().map(|split| SplitStats {
            split: split.id.clone(),
            position: split.position,
            watermark: split.watermark,
            idle: split.idle,
            ended: split.ended,
            lag: split.reader.lag(),
        });
        *lock(&self.counters.splits) = stats.collect();
    }
}
