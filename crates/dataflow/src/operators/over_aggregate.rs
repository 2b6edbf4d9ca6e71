//! Aggregates over the rows before each row, in order of event time or of arrival.

mod script;

use std::collections::BTreeSet;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use highwater_env::KeyGroup;
use highwater_state::{
    Cursor, EncodedKeys, KeyCodec, KeyedMap, KeyedState, OperatorSnapshot, RestoredState, Slot, StateError,
    hash_bytes,
};
use highwater_stream::{ChangeBatch, EventTime, OverAggregateSpec, OverFrame, OverOrder, WATERMARK_NONE};

use self::script::Script;
use super::Place;
use crate::JobError;
use crate::aggregates::Aggregates;
use crate::expressions::{as_type, record_batch, row_times};
use crate::operator::{Operator, Output, Progress};

/// The prefix of keys whose value is a partition's state; no entry of a [`KeyedMap`] starts so.
const PARTITION: i64 = i64::MAX;

/// Adds to each row the results over its frame. Rows wait until the watermark reaches their time, and come out
/// in the order of their times.
///
/// In order of arrival, each row comes out at once.
///
/// What comes too late is dropped as Flink drops it. Over an unbounded frame: a row that is not after the
/// watermark. Over a bounded one: a row that is not after the last one of its partition that came out (or not
/// after the epoch, 1970); it comes out when the watermark next rises.
///
/// State: rows that wait and rows that may leave a frame, per partition by (time, number of arrival); per
/// partition what [`Partition`] holds and the aggregates' states. Timers are the times of waiting rows, and those
/// at which a partition is forgotten.
pub(crate) struct OverAggregate {
    place: Place,
    spec: OverAggregateSpec,
    /// None: in order of arrival.
    time_column: Option<usize>,
    input: SchemaRef,
    key_codec: KeyCodec,
    row_codec: KeyCodec,
    state: KeyedState,
    aggregates: Aggregates,
    /// Per slot.
    partitions: Vec<Partition>,
    rows: KeyedMap,
    timers: BTreeSet<(EventTime, Slot)>,
    /// Number of the next row.
    arrivals: u64,
    watermark: EventTime,
    /// The watermark before the last rise: that before the rows which the rise brings out.
    before: EventTime,
    /// Whether timers up to the watermark are to be run.
    firing: bool,
    work: Option<Work>,
    script: Script,
    emission: Option<Emission>,
    /// A watermark to pass on behind everything it brings out.
    pending: Option<EventTime>,
}

/// What is known of a partition beside its rows and aggregates.
#[derive(Clone, Debug, Default)]
struct Partition {
    /// The time of its last timer: what is not after it is too late. Only for bounded frames.
    last: EventTime,
    /// How many rows are in the frame. Only for `ROWS n PRECEDING`.
    held: u64,
    /// When it is forgotten. Only for `RANGE .. PRECEDING`.
    forget_at: Option<EventTime>,
    /// That and earlier such times: they are timers too.
    cleanups: Vec<EventTime>,
    /// The last script that has rows of it.
    script: u64,
}

impl Partition {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.last.to_le_bytes());
        out.extend_from_slice(&self.held.to_le_bytes());
        out.extend_from_slice(&self.forget_at.unwrap_or(EventTime::MIN).to_le_bytes());
        out.extend_from_slice(&(self.cleanups.len() as u32).to_le_bytes());
        self.cleanups.iter().for_each(|time| out.extend_from_slice(&time.to_le_bytes()));
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, StateError> {
        let mut number = || cursor.array().map(i64::from_le_bytes);
        let (last, held, forget_at) = (number()?, number()? as u64, number()?);
        let count = u32::from_le_bytes(cursor.array()?);
        let cleanups = (0..count).map(|_| cursor.array().map(i64::from_le_bytes));
        let cleanups = cleanups.collect::<Result<_, _>>()?;
        let forget_at = (forget_at != EventTime::MIN).then_some(forget_at);
        Ok(Self { last, held, forget_at, cleanups, script: 0 })
    }
}

/// A batch of which rows `at..` are not taken in yet.
struct Work {
    batch: ChangeBatch,
    times: ScalarBuffer<EventTime>,
    keys: EncodedKeys,
    rows: EncodedKeys,
    at: usize,
}

/// Rows that come out, of which those from `at` on are not said yet.
struct Emission {
    batch: ChangeBatch,
    at: usize,
}

/// The name of a row in its partition.
fn name(time: EventTime, arrival: u64) -> [u8; 16] {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&KeyCodec::prefix(time));
    name[8..].copy_from_slice(&arrival.to_be_bytes());
    name
}

fn time_of(name: &[u8]) -> Option<EventTime> {
    KeyCodec::prefix_number(name)
}

impl OverAggregate {
    pub(crate) fn new(place: &Place, input: &SchemaRef, spec: &OverAggregateSpec) -> Result<Self, JobError> {
        let fields = input.fields().len();
        let by_range = matches!(spec.frame, OverFrame::RangePreceding(_));
        let time_column = match spec.order {
            OverOrder::EventTime(column) => Some(column),
            OverOrder::Arrival if !by_range => None,
            other => return Err(JobError::Plan(format!("{}: {:?} by {other:?}", place.title, spec.frame))),
        };
        let columns = spec.keys.iter().chain(&time_column);
        if place.schema.fields().len() != fields + spec.calls.len()
            || columns.into_iter().any(|c| *c >= fields)
        {
            return Err(JobError::Plan(format!("{}: its schema is not the input's, calls", place.title)));
        }
        let codec = |columns: &mut dyn Iterator<Item = usize>, what: &str| {
            let types = columns.map(|column| input.field(column).data_type().clone()).collect();
            KeyCodec::new(types).map_err(|e| JobError::Unsupported {
                operator: place.title.clone(),
                message: format!("as {what} of OVER: {e}"),
            })
        };
        Ok(Self {
            time_column,
            key_codec: codec(&mut spec.keys.iter().copied(), "key")?,
            row_codec: codec(&mut (0..fields), "row")?,
            state: KeyedState::default(),
            aggregates: Aggregates::over(&spec.calls, input, spec.frame.is_bounded(), &place.title)?,
            partitions: Vec::new(),
            rows: KeyedMap::default(),
            timers: BTreeSet::new(),
            arrivals: 0,
            watermark: WATERMARK_NONE,
            before: WATERMARK_NONE,
            firing: false,
            work: None,
            script: Script::default(),
            emission: None,
            pending: None,
            input: SchemaRef::clone(input),
            place: place.clone(),
            spec: spec.clone(),
        })
    }

    fn failed(&self, error: StateError) -> JobError {
        JobError::State { operator: self.place.uid.clone(), error }
    }

    fn rise(&mut self, watermark: EventTime) {
        if watermark > self.watermark {
            self.before = self.watermark;
            self.watermark = watermark;
            self.firing = true;
        }
    }

    /// Runs timers and takes rows in, until enough rows come out or nothing is left to do.
    fn gather(&mut self, out: &mut Output) {
        loop {
            while self.firing {
                match self.timers.first().copied() {
                    Some((time, slot)) if time <= self.watermark => {
                        if self.script.emitted.len() >= self.place.batch_rows_max || !self.fire(time, slot) {
                            return;
                        }
                        self.timers.remove(&(time, slot));
                    }
                    _ => self.firing = false,
                }
            }
            let Some(mut work) = self.work.take_if(|work| work.at < work.batch.len()) else {
                self.work = None;
                return;
            };
            let mark = work.batch.watermarks.as_ref().map_or(WATERMARK_NONE, |marks| marks[work.at]);
            if mark > self.watermark {
                self.rise(mark);
            } else if self.time_column.is_none() {
                if self.script.emitted.len() >= self.place.batch_rows_max {
                    self.work = Some(work);
                    return;
                }
                self.pass(&work);
                work.at += 1;
            } else {
                out.late += u64::from(!self.admit(&work));
                work.at += 1;
            }
            self.work = Some(work);
        }
    }

    /// Takes in a row that comes out at once.
    fn pass(&mut self, work: &Work) {
        let (row, slot) = (work.rows.get(work.at), self.slot(work.keys.get(work.at)));
        self.state.touch(slot);
        if let OverFrame::RowsPreceding(preceding) = self.spec.frame {
            let (at, name) = (self.map_slot(slot), name(0, self.arrivals));
            let partition = &mut self.partitions[slot as usize];
            if partition.held > preceding {
                self.leave(at, slot, &name, 1);
            } else {
                partition.held += 1;
            }
            self.rows.put(at, &name, row);
            self.arrivals += 1;
        }
        self.script.enter(slot, row, self.watermark);
        self.script.say();
    }

    /// Takes in a row, if it is not too late.
    fn admit(&mut self, work: &Work) -> bool {
        let (time, key) = (work.times[work.at], work.keys.get(work.at));
        let bounded = self.spec.frame.is_bounded();
        if !bounded && time <= self.watermark {
            return false;
        }
        let slot = self.slot(key);
        if bounded && time <= self.partitions[slot as usize].last {
            return false;
        }
        let at = self.map_slot(slot);
        self.rows.put(at, &name(time, self.arrivals), work.rows.get(work.at));
        self.arrivals += 1;
        self.timers.insert((time, slot));
        if let OverFrame::RangePreceding(preceding) = self.spec.frame {
            self.plan_to_forget(slot, time, preceding);
        }
        true
    }

    /// Flink forgets a partition about half a frame later than it could, to set fewer timers.
    fn plan_to_forget(&mut self, slot: Slot, time: EventTime, preceding: i64) {
        let partition = &mut self.partitions[slot as usize];
        let earliest = time.saturating_add(preceding).saturating_add(1);
        if partition.forget_at.is_none_or(|forget_at| forget_at < earliest) {
            let half_more = (preceding as f64 * 1.5) as i64;
            let forget_at = time.saturating_add(half_more).saturating_add(1);
            partition.forget_at = Some(forget_at);
            partition.cleanups.push(forget_at);
            self.timers.insert((forget_at, slot));
            self.state.touch(slot);
        }
    }

    /// The slot of a partition, made if it is new. `key` is prefixed.
    fn slot(&mut self, key: &[u8]) -> Slot {
        let hash = hash_bytes(&key[8..]);
        let (slot, new) = self.state.slot(hash, KeyGroup::of_hash(hash), key);
        if new {
            self.aggregates.grow(self.state.slots());
            if slot as usize >= self.partitions.len() {
                self.partitions.resize(self.state.slots() * 3 / 2, Partition::default());
            }
        }
        slot
    }

    /// Where the partition's rows are.
    fn map_slot(&mut self, slot: Slot) -> Slot {
        let key = &self.state.key(slot)[8..];
        let hash = hash_bytes(key);
        self.rows.slot(hash, KeyGroup::of_hash(hash), key)
    }

    /// Runs a timer: writes into the script what comes out. False: the script must be done first.
    fn fire(&mut self, time: EventTime, slot: Slot) -> bool {
        let partition = &mut self.partitions[slot as usize];
        if partition.forget_at.is_some_and(|forget_at| forget_at <= time) {
            if partition.script == self.script.number {
                return false;
            }
            self.forget(slot);
            return true;
        }
        partition.cleanups.retain(|cleanup| *cleanup != time);
        partition.last = time;
        partition.script = self.script.number;
        self.state.touch(slot);
        let at = self.map_slot(slot);
        let from = name(time, 0);
        let now: Vec<[u8; 16]> = self
            .rows
            .range(at, &from[..]..=&name(time, u64::MAX)[..])
            .filter_map(|(n, _)| n.try_into().ok())
            .collect();
        if now.is_empty() {
            return true;
        }
        match self.spec.frame {
            OverFrame::Rows | OverFrame::Range => {
                for name in &now {
                    self.rows
                        .remove(at, name)
                        .iter()
                        .for_each(|row| self.script.enter(slot, row, self.before));
                    if self.spec.frame == OverFrame::Rows {
                        self.script.say();
                    }
                }
                self.script.say();
            }
            OverFrame::RangePreceding(preceding) => {
                let oldest = name(time.saturating_sub(preceding), 0);
                self.leave(at, slot, &oldest, usize::MAX);
                for name in &now {
                    self.rows.get(at, name).iter().for_each(|row| self.script.enter(slot, row, self.before));
                }
                self.script.say();
            }
            OverFrame::RowsPreceding(preceding) => {
                for name in &now {
                    let partition = &mut self.partitions[slot as usize];
                    if partition.held > preceding {
                        self.leave(at, slot, name, 1);
                    } else {
                        partition.held += 1;
                    }
                    self.rows.get(at, name).iter().for_each(|row| self.script.enter(slot, row, self.before));
                    self.script.say();
                }
            }
        }
        true
    }

    /// The oldest rows before `until`, at most so many, leave the frame.
    fn leave(&mut self, at: Slot, slot: Slot, until: &[u8], most: usize) {
        let gone: Vec<Box<[u8]>> =
            self.rows.range(at, &[][..]..until).take(most).map(|(name, _)| name.into()).collect();
        for name in &gone {
            self.rows.remove(at, name).iter().for_each(|row| self.script.leave(slot, row));
        }
    }

    fn forget(&mut self, slot: Slot) {
        let at = self.map_slot(slot);
        self.rows.clear(at);
        self.aggregates.clear(slot);
        self.partitions[slot as usize] = Partition::default();
        self.state.remove(slot);
    }

    /// What the script says, as rows.
    fn run_script(&mut self) -> Result<Option<Emission>, JobError> {
        let script = std::mem::take(&mut self.script);
        self.script.number = script.number + 1;
        if script.emitted.is_empty() {
            return Ok(None);
        }
        let Place { schema, title, .. } = &self.place;
        let decoded = self.row_codec.decode(script.rows()).map_err(|e| self.failed(e))?;
        let rows = record_batch(&self.input, decoded, script.slots.len(), title)?;
        let weights = self.spec.frame.is_bounded().then_some(&script.weights[..]);
        let results = self.aggregates.series(&rows, &script.slots, weights, &script.ends)?;
        let picked = |columns: &[ArrayRef], picks: &[u32]| -> Result<Vec<ArrayRef>, JobError> {
            if columns.first().is_some_and(|column| column.len() == picks.len()) {
                return Ok(columns.to_vec());
            }
            let picks = UInt32Array::from_iter_values(picks.iter().copied());
            let picked = columns.iter().map(|column| take(column, &picks, None));
            picked.collect::<Result<_, _>>().map_err(|e| JobError::Plan(format!("{title}: {e}")))
        };
        let mut columns = picked(rows.columns(), &script.emitted)?;
        columns.extend(picked(&results, &script.results)?);
        let typed = columns.into_iter().zip(schema.fields()).map(|(c, f)| as_type(c, f.data_type(), title));
        let rows = record_batch(schema, typed.collect::<Result<_, _>>()?, script.emitted.len(), title)?;
        let batch = ChangeBatch::inserts(rows).with_watermarks(ScalarBuffer::from(script.marks));
        Ok(Some(Emission { batch, at: 0 }))
    }

    fn emit(&mut self, mut emission: Emission, out: &mut Output) {
        let len = self.place.batch_rows_max.min(emission.batch.len() - emission.at);
        out.batch(emission.batch.slice(emission.at, len));
        emission.at += len;
        if emission.at < emission.batch.len() {
            self.emission = Some(emission);
        }
    }

    /// Takes over one entry of a snapshot.
    fn restore_entry(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        if KeyCodec::prefix_number(key) != Some(PARTITION) {
            let at = self.rows.restore(hash_bytes, group, key, value)?;
            let partition = [&KeyCodec::prefix(PARTITION), self.rows.key(at)].concat();
            self.slot(&partition);
            return Ok(());
        }
        let hash = hash_bytes(&key[8..]);
        self.slot(key);
        let slot = self.state.restore(hash, group, key);
        let mut cursor = Cursor::new(value);
        let partition = Partition::read(&mut cursor)?;
        self.timers.extend(partition.cleanups.iter().map(|time| (*time, slot)));
        self.partitions[slot as usize] = partition;
        self.aggregates.read(slot, &mut cursor)
    }

    /// The timers of rows that wait, and the number of the next row.
    fn restore_timers(&mut self) {
        let bounded = self.spec.frame.is_bounded();
        let slots: Vec<Slot> = self.rows.live().collect();
        for at in slots {
            let partition = [&KeyCodec::prefix(PARTITION), self.rows.key(at)].concat();
            let slot = self.slot(&partition);
            let last = self.partitions[slot as usize].last;
            for (name, _) in self.rows.all(at) {
                let (Some(time), Some(arrival)) =
                    (time_of(name), name.get(8..).and_then(|n| n.try_into().ok()))
                else {
                    continue;
                };
                self.arrivals = self.arrivals.max(u64::from_be_bytes(arrival) + 1);
                if !bounded || time > last {
                    self.timers.insert((time, slot));
                }
            }
        }
    }
}

impl Operator for OverAggregate {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let times = match self.time_column {
            Some(column) => row_times(&batch.rows, column, &self.place.title)?,
            None => ScalarBuffer::default(),
        };
        let columns: Vec<ArrayRef> =
            self.spec.keys.iter().map(|key| batch.rows.column(*key).clone()).collect();
        let prefixes = vec![PARTITION; batch.len()];
        let keys = self.key_codec.encode(&columns, batch.len(), Some(&prefixes));
        let rows = self.row_codec.encode(batch.rows.columns(), batch.len(), None);
        let (keys, rows) = (keys.map_err(|e| self.failed(e))?, rows.map_err(|e| self.failed(e))?);
        self.work = Some(Work { batch, times, keys, rows, at: 0 });
        self.resume(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        self.rise(watermark);
        // Also an old watermark goes on: it says that the input is active again.
        self.pending = Some(self.watermark);
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        loop {
            if let Some(emission) = self.emission.take() {
                self.emit(emission, out);
                return Ok(Progress::More);
            }
            self.gather(out);
            self.emission = self.run_script()?;
            if self.emission.is_some() || self.firing || self.work.is_some() {
                continue;
            }
            if let Some(watermark) = self.pending.take() {
                out.watermark(watermark);
            }
            return Ok(Progress::Done);
        }
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        let (aggregates, partitions) = (&self.aggregates, &self.partitions);
        let mut sections = self.state.snapshot(full, |slot, out| {
            partitions[slot as usize].write(out);
            aggregates.write(slot, out);
        });
        sections.extend(self.rows.snapshot(full));
        Some(self.place.snapshot(full, self.watermark, sections))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            self.restore_entry(group, key, value).map_err(|e| self.failed(e))?;
        }
        self.restore_timers();
        self.watermark = restored.watermark(&uid);
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        let timers = self.timers.len() * 24 + self.partitions.capacity() * size_of::<Partition>();
        (self.state.bytes() + self.rows.bytes() + self.aggregates.bytes() + timers, self.state.len())
    }
}

#[cfg(test)]
mod tests;
