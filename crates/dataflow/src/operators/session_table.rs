//! Sessions without aggregation.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use highwater_env::KeyGroup;
use highwater_state::{
    EncodedKeys, KeyCodec, KeyedMap, OperatorSnapshot, RestoredState, Slot, StateError, hash_bytes,
};
use highwater_stream::{ChangeBatch, EventTime, SessionTableSpec, WATERMARK_NONE};

use super::Place;
use super::sessions::Sessions;
use crate::JobError;
use crate::expressions::{record_batch, row_times, time_column};
use crate::operator::{Operator, Output, Progress};
use crate::windows::Windows;

/// Holds the rows of each session until it is over, then says them with `window_start`, `window_end` and
/// `window_time`. Drops a row that is in no open session and whose own would be over.
///
/// State per key, in one map: each row (the value) by its time on the windows' clock and its number of arrival
/// (8 bytes each). Sessions follow from the rows.
pub(crate) struct SessionTable {
    place: Place,
    spec: SessionTableSpec,
    windows: Windows,
    key_codec: KeyCodec,
    row_codec: KeyCodec,
    rows: KeyedMap,
    next_number: u64,
    sessions: Sessions,
    /// In processing time: the last ms that has passed.
    watermark: EventTime,
    /// The watermark was passed on.
    said: bool,
    work: Option<Work>,
    firing: Option<Firing>,
}

/// A session that is over, and the names of its rows that are not said yet, the first to come last.
struct Firing {
    session: Slot,
    names: Vec<Box<[u8]>>,
}

/// A batch of which rows `at..` are not taken in yet.
struct Work {
    batch: ChangeBatch,
    keys: EncodedKeys,
    rows: EncodedKeys,
    /// Per row, on the windows' clock.
    starts: Vec<i64>,
    at: usize,
}

/// The last name of a time.
const LAST: u64 = u64::MAX;

fn name(time: i64, number: u64) -> [u8; 16] {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&KeyCodec::prefix(time));
    name[8..].copy_from_slice(&number.to_be_bytes());
    name
}

impl SessionTable {
    pub(crate) fn new(place: &Place, input: &SchemaRef, spec: &SessionTableSpec) -> Result<Self, JobError> {
        let unsupported = |message| JobError::Unsupported { operator: place.title.clone(), message };
        let columns = input.fields().len();
        if place.schema.fields().len() != columns + 3 || spec.keys.iter().any(|key| *key >= columns) {
            return Err(JobError::Plan(format!("{}: its schema is not rows and window", place.title)));
        }
        let codec = |columns: &[usize]| {
            let types = columns.iter().map(|column| input.field(*column).data_type().clone());
            KeyCodec::new(types.collect()).map_err(|e| unsupported(e.to_string()))
        };
        Ok(Self {
            windows: Windows::new(&spec.window).map_err(unsupported)?,
            key_codec: codec(&spec.keys)?,
            row_codec: codec(&(0..columns).collect::<Vec<_>>())?,
            rows: KeyedMap::default(),
            next_number: 0,
            sessions: Sessions::default(),
            watermark: WATERMARK_NONE,
            said: true,
            work: None,
            firing: None,
            place: place.clone(),
            spec: spec.clone(),
        })
    }

    fn failed(&self, error: StateError) -> JobError {
        JobError::State { operator: self.place.uid.clone(), error }
    }

    /// Takes in rows until one whose watermark closes a session, or the end of the batch.
    fn take(&mut self, mut work: Work, out: &mut Output) {
        let mut absorbed = Vec::new();
        while work.at < work.batch.len() {
            let row = work.at;
            let marks = work.batch.watermarks.as_ref();
            self.watermark = self.watermark.max(marks.map_or(WATERMARK_NONE, |marks| marks[row]));
            if self.watermark >= self.next_close() {
                self.said = false;
                self.work = Some(work);
                return;
            }
            work.at += 1;
            let (key, start) = (work.keys.get(row), work.starts[row]);
            let hash = hash_bytes(key);
            let end = start.saturating_add(self.spec.window.size_ms);
            let (windows, watermark) = (&self.windows, self.watermark);
            let late = || windows.closes_at(end) <= watermark;
            if self.sessions.add(hash, key, (start, end), late, &mut absorbed).is_none() {
                out.late += 1;
                continue;
            }
            absorbed.clear();
            let slot = self.rows.slot(hash, KeyGroup::of_hash(hash), key);
            self.rows.put(slot, &name(start, self.next_number), work.rows.get(row));
            self.next_number += 1;
        }
    }

    fn next_close(&self) -> EventTime {
        self.sessions.first_timer().map_or(EventTime::MAX, |end| self.windows.closes_at(end))
    }

    /// Says one bounded batch of the rows of sessions that are over; false: there is none.
    fn fire(&mut self, out: &mut Output) -> Result<bool, JobError> {
        let mut rows: Vec<Box<[u8]>> = Vec::new();
        let mut windows: Vec<(i64, i64)> = Vec::new();
        while rows.len() < self.place.batch_rows_max
            && let Some(mut firing) = self.firing.take().or_else(|| self.next_over())
        {
            let (start, end) =
                (self.sessions.get(firing.session).start, self.sessions.get(firing.session).end);
            let key = &self.sessions.state.key(firing.session)[8..];
            let hash = hash_bytes(key);
            if let Some(slot) = self.rows.find(hash, key) {
                while rows.len() < self.place.batch_rows_max
                    && let Some(name) = firing.names.pop()
                {
                    rows.extend(self.rows.remove(slot, &name));
                }
            }
            windows.resize(rows.len(), (start, end));
            if firing.names.is_empty() {
                self.sessions.remove(hash, firing.session);
            } else {
                self.firing = Some(firing);
            }
        }
        if rows.is_empty() {
            return Ok(false);
        }
        out.batch(self.said_rows(&rows, &windows)?);
        Ok(true)
    }

    /// The next session that is over, its rows in order of arrival.
    fn next_over(&mut self) -> Option<Firing> {
        let (windows, watermark) = (&self.windows, self.watermark);
        let session = self.sessions.pop_due(|end| windows.closes_at(end) <= watermark)?;
        let (start, end) = (self.sessions.get(session).start, self.sessions.get(session).end);
        let key = &self.sessions.state.key(session)[8..];
        let last = end.saturating_sub(self.spec.window.size_ms);
        let (from, to) = (name(start, 0), name(last, LAST));
        let slot = self.rows.find(hash_bytes(key), key);
        let names = slot.into_iter().flat_map(|slot| self.rows.range(slot, &from[..]..=&to[..]));
        let mut names: Vec<Box<[u8]>> = names.map(|(name, _)| name.into()).collect();
        names.sort_unstable_by(|a, b| b[8..].cmp(&a[8..]));
        Some(Firing { session, names })
    }

    fn said_rows(&self, rows: &[Box<[u8]>], windows: &[(i64, i64)]) -> Result<ChangeBatch, JobError> {
        let Place { schema, title, .. } = &self.place;
        let decoded = self.row_codec.decode(rows.iter().map(|row| &**row));
        let mut columns: Vec<ArrayRef> = decoded.map_err(|error| self.failed(error))?;
        let now = self.spec.window.processing_time.then(|| self.watermark.saturating_add(1));
        let time_of = |end: i64| now.unwrap_or_else(|| self.windows.time_of_window(end));
        let first = columns.len();
        let of = |index: usize| schema.field(first + index).data_type();
        columns.push(time_column(windows.iter().map(|(start, _)| *start), of(0), title)?);
        columns.push(time_column(windows.iter().map(|(_, end)| *end), of(1), title)?);
        columns.push(time_column(windows.iter().map(|(_, end)| time_of(*end)), of(2), title)?);
        Ok(ChangeBatch::inserts(record_batch(schema, columns, rows.len(), title)?))
    }
}

impl Operator for SessionTable {
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
        let key_columns: Vec<ArrayRef> =
            self.spec.keys.iter().map(|key| batch.rows.column(*key).clone()).collect();
        let keys = self.key_codec.encode(&key_columns, batch.len(), None);
        let rows = self.row_codec.encode(batch.rows.columns(), batch.len(), None);
        let (keys, rows) = (keys.map_err(|e| self.failed(e))?, rows.map_err(|e| self.failed(e))?);
        self.work = Some(Work { batch, keys, rows, starts, at: 0 });
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
                Some(work) => self.take(work, out),
                None => return Ok(Progress::Done),
            }
        }
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        Some(self.place.snapshot(full, self.watermark, self.rows.snapshot(full)))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        let mut absorbed = Vec::new();
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            let slot = self.rows.restore(hash_bytes, group, key, value).map_err(|e| self.failed(e))?;
            let name: Option<&[u8; 16]> = key.last_chunk();
            let start = name.and_then(|name| KeyCodec::prefix_number(name));
            let damaged = || self.failed(StateError::Corrupt("a row without its time".to_owned()));
            let (Some(name), Some(start)) = (name, start) else { return Err(damaged()) };
            let number = u64::from_be_bytes([
                name[8], name[9], name[10], name[11], name[12], name[13], name[14], name[15],
            ]);
            self.next_number = self.next_number.max(number.saturating_add(1));
            let end = start.saturating_add(self.spec.window.size_ms);
            let key = self.rows.key(slot);
            self.sessions.add(hash_bytes(key), key, (start, end), || false, &mut absorbed);
        }
        self.watermark = restored.watermark(&uid);
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        (self.rows.bytes() + self.sessions.bytes(), self.rows.entries())
    }
}
