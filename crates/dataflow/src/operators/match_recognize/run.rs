//! What is known of one key: its attempts and the rows they may need.

use highwater_state::{Cursor, KeyCodec, KeyedMap, Slot, StateError};
use highwater_stream::EventTime;

use super::nfa::{Attempt, Fold, NOT_STARTED, Nfa, StateId, Truth};
use super::queue::Queue;

/// First byte of the name of a row that waits for the watermark; then its time and its arrival.
const WAITING: u8 = 1;
/// The name of the attempts.
const ATTEMPTS: u8 = 2;
/// First byte of the name of a row of an attempt; then its position.
const ROW: u8 = 3;

/// Attempts on one key's rows.
pub(super) struct Run {
    /// The position of the first row that state holds.
    first: u64,
    /// The position of the next row.
    pub(super) next: u64,
    pub(super) partial: Queue,
    /// Found, but an earlier attempt is not decided yet.
    pub(super) complete: Queue,
    /// Rows that are not in state yet; the last is at `next - 1`.
    pub(super) fresh: Vec<Box<[u8]>>,
    stored: bool,
}

/// A row that the watermark has reached.
pub(super) struct Arrived {
    pub(super) time: EventTime,
    pub(super) truth: u64,
    pub(super) row: Box<[u8]>,
}

/// Keeps a row until the watermark reaches it. What is known of it stands before it (u64, little-endian).
pub(super) fn wait(state: &mut KeyedMap, slot: Slot, time: EventTime, arrival: u64, value: &[u8]) {
    let mut name = [0; 17];
    name[0] = WAITING;
    name[1..9].copy_from_slice(&KeyCodec::prefix(time));
    name[9..].copy_from_slice(&arrival.to_be_bytes());
    state.put(slot, &name, value);
}

/// The time and the arrival in a waiting row's name.
pub(super) fn waiting_name(name: &[u8]) -> Option<(EventTime, u64)> {
    let [WAITING, rest @ ..] = name else { return None };
    let arrival = rest.get(8..)?.try_into().ok()?;
    Some((KeyCodec::prefix_number(rest)?, u64::from_be_bytes(arrival)))
}

/// The time of the earliest row that waits.
pub(super) fn next_waiting(state: &KeyedMap, slot: Slot) -> Option<EventTime> {
    let (name, _) = state.all(slot).next()?;
    waiting_name(name).map(|(time, _)| time)
}

/// Takes rows up to `watermark` out of state, in order, all those of one time; not many more than `rows_max`.
pub(super) fn take_arrived(
    state: &mut KeyedMap,
    slot: Slot,
    watermark: EventTime,
    rows_max: usize,
) -> Result<Vec<Arrived>, StateError> {
    let mut names = Vec::new();
    let mut rows = Vec::new();
    let mut last = EventTime::MIN;
    for (name, value) in state.all(slot) {
        let Some((time, _)) = waiting_name(name).filter(|(time, _)| *time <= watermark) else { break };
        if rows.len() >= rows_max && time != last {
            break;
        }
        last = time;
        let mut cursor = Cursor::new(value);
        let truth = u64::from_le_bytes(cursor.array()?);
        rows.push(Arrived { time, truth, row: cursor.rest().into() });
        names.push(<Box<[u8]>>::from(name));
    }
    for name in &names {
        state.remove(slot, name);
    }
    Ok(rows)
}

fn row_name(position: u64) -> [u8; 9] {
    let mut name = [ROW; 9];
    name[1..].copy_from_slice(&position.to_be_bytes());
    name
}

impl Run {
    /// The run of the key at `slot`.
    ///
    /// Layout, little-endian: position of the first row and of the next (u64 each), then twice, for partial and
    /// complete attempts: how many (u32), and per attempt state (u32), start (u64), time of start (i64), the
    /// counts (u32 per variable), and per group of aggregates its rows (u32), length (u32) and bytes.
    pub(super) fn load(
        state: &KeyedMap,
        slot: Slot,
        nfa: &Nfa,
        waiting: &Attempt,
    ) -> Result<Self, StateError> {
        let Some(bytes) = state.get(slot, &[ATTEMPTS]) else {
            let mut partial = Queue::default();
            partial.push(waiting.clone());
            let complete = Queue::default();
            return Ok(Self { first: 0, next: 0, partial, complete, fresh: Vec::new(), stored: false });
        };
        let mut cursor = Cursor::new(bytes);
        let (first, next) = (u64::from_le_bytes(cursor.array()?), u64::from_le_bytes(cursor.array()?));
        let partial = read_queue(&mut cursor, nfa, waiting)?;
        let complete = read_queue(&mut cursor, nfa, waiting)?;
        Ok(Self { first, next, partial, complete, fresh: Vec::new(), stored: true })
    }

    /// Puts the run back into state. Returns the time of the earliest attempt's first row.
    pub(super) fn store(self, state: &mut KeyedMap, slot: Slot) -> Option<EventTime> {
        let attempts = || self.partial.attempts().iter().chain(self.complete.attempts());
        let started = || attempts().filter(|attempt| attempt.start != NOT_STARTED);
        let needed = started().map(|attempt| attempt.start).min();
        let fresh_from = self.fresh_from();
        for position in self.first..needed.unwrap_or(u64::MAX).min(fresh_from) {
            state.remove(slot, &row_name(position));
        }
        let Some(needed) = needed else {
            if self.stored {
                state.remove(slot, &[ATTEMPTS]);
            }
            return None;
        };
        for (position, row) in (fresh_from..).zip(&self.fresh) {
            if position >= needed {
                state.put(slot, &row_name(position), row);
            }
        }
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&needed.to_le_bytes());
        bytes.extend_from_slice(&self.next.to_le_bytes());
        for queue in [&self.partial, &self.complete] {
            write_queue(queue, &mut bytes);
        }
        state.put(slot, &[ATTEMPTS], &bytes);
        self.started_at()
    }

    /// The time of the earliest attempt's first row.
    pub(super) fn started_at(&self) -> Option<EventTime> {
        let attempts = self.partial.attempts().iter().filter(|attempt| attempt.start != NOT_STARTED);
        attempts.map(|attempt| attempt.start_time).min()
    }

    /// The row at `position`, which an attempt holds.
    pub(super) fn row<'a>(
        &'a self,
        state: &'a KeyedMap,
        slot: Slot,
        position: u64,
    ) -> Result<&'a [u8], StateError> {
        let fresh = position.checked_sub(self.fresh_from()).and_then(|index| self.fresh.get(index as usize));
        let row = fresh.map(|row| &**row).or_else(|| state.get(slot, &row_name(position)));
        row.ok_or_else(|| StateError::Corrupt(format!("the row at position {position} is missing")))
    }

    fn fresh_from(&self) -> u64 {
        self.next - self.fresh.len() as u64
    }
}

fn write_queue(queue: &Queue, out: &mut Vec<u8>) {
    out.extend_from_slice(&(queue.attempts().len() as u32).to_le_bytes());
    for attempt in queue.attempts() {
        out.extend_from_slice(&(attempt.state as u32).to_le_bytes());
        out.extend_from_slice(&attempt.start.to_le_bytes());
        out.extend_from_slice(&attempt.start_time.to_le_bytes());
        attempt.counts.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
        for fold in &attempt.folds {
            out.extend_from_slice(&fold.rows.to_le_bytes());
            out.extend_from_slice(&(fold.state.len() as u32).to_le_bytes());
            out.extend_from_slice(&fold.state);
        }
    }
}

fn read_queue(cursor: &mut Cursor<'_>, nfa: &Nfa, like: &Attempt) -> Result<Queue, StateError> {
    let count = u32::from_le_bytes(cursor.array()?);
    let mut attempts = Vec::new();
    for _ in 0..count {
        let state = u32::from_le_bytes(cursor.array()?) as StateId;
        if !nfa.has_state(state) {
            return Err(StateError::Corrupt(format!("the pattern has no state {state}")));
        }
        let mut attempt = Attempt {
            state,
            start: u64::from_le_bytes(cursor.array()?),
            start_time: i64::from_le_bytes(cursor.array()?),
            counts: vec![0; like.counts.len()],
            folds: Vec::with_capacity(like.folds.len()),
        };
        for count in &mut attempt.counts {
            *count = u32::from_le_bytes(cursor.array()?);
        }
        for _ in &like.folds {
            let rows = u32::from_le_bytes(cursor.array()?);
            attempt.folds.push(Fold { rows, state: cursor.counted()?.to_vec() });
        }
        attempts.push(attempt);
    }
    Ok(Queue::restored(attempts))
}

/// One key's rows on their way through the automaton.
pub(super) struct Work {
    pub(super) slot: Slot,
    pub(super) run: Run,
    pub(super) rows: Vec<Arrived>,
    /// The next of `rows`.
    pub(super) at: usize,
    /// No further row up to the watermark waits.
    pub(super) all: bool,
    /// Per attempt, what is known of the next row; empty before that is looked at.
    pub(super) truths: Vec<Truth>,
    /// What must be known to go on: attempts and conditions, as bits.
    pub(super) missing: Vec<(usize, u64)>,
}
