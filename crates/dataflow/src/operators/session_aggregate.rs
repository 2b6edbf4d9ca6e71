//! Aggregation per session and key.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use highwater_state::{
    Cursor, EncodedKeys, KeyCodec, OperatorSnapshot, RestoredState, Slot, StateError, hash_bytes,
};
use highwater_stream::{ChangeBatch, EventTime, WATERMARK_NONE, WindowAggregateSpec, WindowColumn};

use super::Place;
use super::sessions::Sessions;
use crate::JobError;
use crate::aggregates::Aggregates;
use crate::expressions::{as_type, record_batch, row_times, time_column};
use crate::operator::{Operator, Output, Progress};
use crate::windows::Windows;

/// Aggregates the rows of each key whose times are at most a gap apart; says a session's results once the
/// watermark passes its last ms. Drops a row that is in no open session and whose own would be over.
///
/// State per session: start and end (i64 each); if rows may also go, how many there are (i64); the aggregates'
/// states.
pub(crate) struct SessionAggregate {
    place: Place,
    spec: WindowAggregateSpec,
    windows: Windows,
    codec: KeyCodec,
    sessions: Sessions,
    aggregates: Aggregates,
    /// Rows may also go.
    retract: bool,
    /// Per slot: rows there now. Only kept when rows may also go.
    rows: Vec<i64>,
    /// In processing time: the last ms that has passed.
    watermark: EventTime,
    /// The watermark was passed on.
    said: bool,
    work: Option<Work>,
}

/// A batch of which rows `at..` are not folded in yet.
struct Work {
    batch: ChangeBatch,
    keys: EncodedKeys,
    /// Per row, on the windows' clock.
    starts: Vec<i64>,
    at: usize,
}

impl SessionAggregate {
    pub(crate) fn new(
        place: &Place,
        input: &SchemaRef,
        spec: &WindowAggregateSpec,
        retract: bool,
    ) -> Result<Self, JobError> {
        let unsupported = |message| JobError::Unsupported { operator: place.title.clone(), message };
        let fields = spec.keys.len() + spec.calls.len() + spec.window_columns.len();
        if place.schema.fields().len() != fields || spec.keys.iter().any(|key| *key >= input.fields().len()) {
            return Err(JobError::Plan(format!("{}: its schema is not keys, calls, window", place.title)));
        }
        let types = spec.keys.iter().map(|key| input.field(*key).data_type().clone()).collect();
        Ok(Self {
            windows: Windows::new(&spec.window).map_err(unsupported)?,
            codec: KeyCodec::new(types).map_err(|e| unsupported(e.to_string()))?,
            sessions: Sessions::default(),
            aggregates: Aggregates::new(&spec.calls, input, retract, &place.title)?,
            retract,
            rows: Vec::new(),
            watermark: WATERMARK_NONE,
            said: true,
            work: None,
            place: place.clone(),
            spec: spec.clone(),
        })
    }

    /// Folds in rows until one whose watermark closes a session, or the end of the batch.
    fn fold(&mut self, mut work: Work, out: &mut Output) -> Result<(), JobError> {
        let marks = work.batch.watermarks.clone();
        let (mut slots, mut absorbed): (Vec<Slot>, Vec<Slot>) = (Vec::new(), Vec::new());
        // Rows `from..row` have a slot, but are not folded in yet.
        let mut from = work.at;
        let mut row = work.at;
        while row < work.batch.len() {
            let mark = self.watermark.max(marks.as_ref().map_or(WATERMARK_NONE, |marks| marks[row]));
            if mark >= self.next_close() {
                break;
            }
            let key = work.keys.get(row);
            let (start, end) = (work.starts[row], work.starts[row].saturating_add(self.spec.window.size_ms));
            let windows = &self.windows;
            let late = || windows.closes_at(end) <= mark;
            let slot = self.sessions.add(hash_bytes(key), key, (start, end), late, &mut absorbed);
            if slot.is_none() || !absorbed.is_empty() {
                self.update(&work.batch, from, &slots)?;
                (from, slots) = (row, Vec::new());
            }
            match slot {
                Some(slot) => {
                    self.sessions.state.touch(slot);
                    self.grow();
                    for other in absorbed.drain(..) {
                        self.merge(slot, other);
                    }
                    slots.push(slot);
                }
                None => {
                    out.late += 1;
                    from = row + 1;
                }
            }
            row += 1;
        }
        self.update(&work.batch, from, &slots)?;
        if row < work.batch.len() {
            self.watermark = self.watermark.max(marks.map_or(WATERMARK_NONE, |marks| marks[row]));
            self.said = false;
            work.at = row;
            self.work = Some(work);
        } else if let Some(last) = marks.and_then(|marks| marks.last().copied()) {
            self.watermark = self.watermark.max(last);
        }
        Ok(())
    }

    fn update(&mut self, batch: &ChangeBatch, from: usize, slots: &[Slot]) -> Result<(), JobError> {
        if slots.is_empty() {
            return Ok(());
        }
        let kinds = batch.kinds.as_ref().map(|kinds| &kinds[from..from + slots.len()]);
        let weights: Option<Vec<i8>> =
            kinds.map(|kinds| kinds.iter().map(|kind| kind.weight() as i8).collect());
        if self.retract {
            for (row, slot) in slots.iter().enumerate() {
                self.rows[*slot as usize] += weights.as_ref().map_or(1, |weights| i64::from(weights[row]));
            }
        }
        self.aggregates.update(&batch.rows.slice(from, slots.len()), slots, weights.as_deref())
    }

    fn grow(&mut self) {
        self.aggregates.grow(self.sessions.state.slots());
        if self.retract {
            self.rows.resize(self.sessions.state.slots().max(self.rows.len()), 0);
        }
    }

    fn merge(&mut self, into: Slot, from: Slot) {
        self.aggregates.merge(into, from);
        if self.retract {
            self.rows[into as usize] += self.rows[from as usize];
        }
        self.clear(from);
    }

    fn clear(&mut self, slot: Slot) {
        self.aggregates.clear(slot);
        if self.retract {
            self.rows[slot as usize] = 0;
        }
    }

    fn next_close(&self) -> EventTime {
        self.sessions.first_timer().map_or(EventTime::MAX, |end| self.windows.closes_at(end))
    }

    /// One bounded batch of sessions that are over; false: there is none.
    fn fire(&mut self, out: &mut Output) -> Result<bool, JobError> {
        let mut over = Vec::new();
        while over.len() < self.place.batch_rows_max
            && let Some(slot) = self.sessions.pop_due(|end| self.windows.closes_at(end) <= self.watermark)
        {
            over.push(slot);
        }
        if over.is_empty() {
            return Ok(false);
        }
        // A session whose rows all went gives no result.
        let left = |slot: &&Slot| !self.retract || self.rows[**slot as usize] != 0;
        let left: Vec<Slot> = over.iter().filter(left).copied().collect();
        out.batch(ChangeBatch::inserts(self.results(&left)?));
        for slot in over {
            self.clear(slot);
            let hash = hash_bytes(&self.sessions.state.key(slot)[8..]);
            self.sessions.remove(hash, slot);
        }
        Ok(true)
    }

    fn results(&self, slots: &[Slot]) -> Result<RecordBatch, JobError> {
        let Place { schema, title, uid, .. } = &self.place;
        let keys = self.codec.decode(slots.iter().map(|slot| &self.sessions.state.key(*slot)[8..]));
        let mut columns: Vec<ArrayRef> =
            keys.map_err(|error| JobError::State { operator: uid.clone(), error })?;
        columns.extend(self.aggregates.output(slots)?);
        let now = self.spec.window.processing_time.then(|| self.watermark.saturating_add(1));
        for window_column in &self.spec.window_columns {
            let time = |slot: &Slot| {
                let session = self.sessions.get(*slot);
                match window_column {
                    WindowColumn::Start => session.start,
                    WindowColumn::End => session.end,
                    // In processing time: when the result is made.
                    WindowColumn::Time => now.unwrap_or_else(|| self.windows.time_of_window(session.end)),
                }
            };
            let data_type = schema.field(columns.len()).data_type();
            columns.push(time_column(slots.iter().map(time), data_type, title)?);
        }
        let typed = columns.into_iter().zip(schema.fields()).map(|(c, f)| as_type(c, f.data_type(), title));
        record_batch(schema, typed.collect::<Result<_, _>>()?, slots.len(), title)
    }
}

impl Operator for SessionAggregate {
    fn on_batch(
        &mut self,
        _input: usize,
        mut batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let starts = if self.spec.window.processing_time {
            self.watermark = self.watermark.max(out.now_ms.saturating_sub(1));
            batch.watermarks = None;
            vec![self.windows.local(self.watermark.saturating_add(1)); batch.len()]
        } else {
            let times = row_times(&batch.rows, self.spec.window.time_column, &self.place.title)?;
            times.iter().map(|time| self.windows.local(*time)).collect()
        };
        let columns: Vec<ArrayRef> =
            self.spec.keys.iter().map(|key| batch.rows.column(*key).clone()).collect();
        let keys = self.codec.encode(&columns, batch.len(), None);
        let keys = keys.map_err(|error| JobError::State { operator: self.place.uid.clone(), error })?;
        self.work = Some(Work { batch, keys, starts, at: 0 });
        self.resume(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        if self.spec.window.processing_time {
            // Also at the end of the input: what is open then has not come to its time.
            out.watermark(watermark);
            return Ok(Progress::Done);
        }
        self.watermark = self.watermark.max(watermark);
        self.said = false;
        self.resume(out)
    }

    fn next_timer(&self) -> Option<i64> {
        let due = self.spec.window.processing_time.then(|| self.next_close())?;
        (due < EventTime::MAX).then_some(due.saturating_add(1))
    }

    fn on_time(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        self.watermark = self.watermark.max(out.now_ms.saturating_sub(1));
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        loop {
            if self.fire(out)? {
                return Ok(Progress::More);
            }
            if !std::mem::replace(&mut self.said, true) {
                out.watermark(self.watermark);
            }
            match self.work.take() {
                Some(work) => self.fold(work, out)?,
                None => return Ok(Progress::Done),
            }
        }
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        let (aggregates, rows, retract) = (&self.aggregates, &self.rows, self.retract);
        let sections = self.sessions.snapshot(full, |slot, out| {
            if retract {
                out.extend_from_slice(&rows[slot as usize].to_le_bytes());
            }
            aggregates.write(slot, out);
        });
        Some(self.place.snapshot(full, self.watermark, sections))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        let failed = |error| JobError::State { operator: uid.clone(), error };
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            if key.len() < 8 {
                return Err(failed(StateError::Corrupt("a key without its session".to_owned())));
            }
            let mut cursor = Cursor::new(value);
            let start = i64::from_le_bytes(cursor.array().map_err(failed)?);
            let end = i64::from_le_bytes(cursor.array().map_err(failed)?);
            let slot = self.sessions.restore(hash_bytes(&key[8..]), group, key, start, end);
            self.grow();
            if self.retract {
                self.rows[slot as usize] = i64::from_le_bytes(cursor.array().map_err(failed)?);
            }
            self.aggregates.read(slot, &mut cursor).map_err(failed)?;
        }
        self.watermark = restored.watermark(&uid);
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        (
            self.sessions.bytes() + self.aggregates.bytes() + self.rows.capacity() * 8,
            self.sessions.state.len(),
        )
    }
}
