//! `MATCH_RECOGNIZE`.

mod nfa;
mod queue;
mod run;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices};
use arrow::datatypes::{Schema, SchemaRef};
use highwater_env::KeyGroup;
use highwater_state::{
    Cursor, KeyCodec, KeyedMap, OperatorSnapshot, RestoredState, Slot, StateError, hash_bytes,
};
use highwater_stream::{
    AfterMatch, ChangeBatch, EventTime, MatchCondition, MatchRow, MatchSpec, MatchValue, PatternVariable,
    VARIABLES_MAX, WATERMARK_NONE,
};

use self::nfa::{Attempt, Fold, NOT_STARTED, Nfa, Take, Truth};
use self::queue::Queue;
use self::run::{Arrived, Run, Work, next_waiting, take_arrived, wait, waiting_name};
use self::values::{Group, Groups, Values};
use super::Place;
use crate::JobError;
use crate::expressions::{Compiled, Projection, event_times, record_batch};
use crate::operator::{Operator, Output, Progress};

/// Keys that one call looks at.
const KEYS_MAX: usize = 1024;
/// Rows that one call takes through the automaton.
const ROWS_MAX: usize = 4096;

/// Finds sequences of rows of one key that fit a pattern, once the watermark has passed them; drops rows that are
/// not after the watermark.
///
/// What is found, and in which order, is what Flink's CEP library finds: its automaton ([`Nfa`]), its order
/// among attempts ([`Queue`]), and a match waits until no earlier attempt can become one.
///
/// Conditions on the row alone are evaluated on arrival, by batch. The others are evaluated for many keys and
/// attempts together: each key goes on until its attempts ask for a condition that is not known yet.
///
/// State per key, in one map: rows that wait for the watermark, attempts, rows that attempts hold.
pub(crate) struct MatchRecognize {
    place: Place,
    spec: MatchSpec,
    input: SchemaRef,
    nfa: Nfa,
    /// The attempt that each key always has.
    waiting: Attempt,
    key_codec: KeyCodec,
    row_codec: KeyCodec,
    /// Per variable.
    conditions: Vec<Option<Condition>>,
    /// Variables without condition, as bits.
    always: u64,
    /// Conditions that are evaluated on arrival, as bits.
    early: u64,
    /// What conditions aggregate.
    groups: Vec<Group>,
    measures: Projection,
    values: Values,
    /// What measures aggregate.
    measure_groups: Vec<Group>,
    state: KeyedMap,
    /// Per slot: when it is looked at next.
    due: Vec<EventTime>,
    timers: BTreeSet<(EventTime, Slot)>,
    /// Rows so far: tells rows of one time apart.
    arrivals: u64,
    watermark: EventTime,
    /// Rows up to here are taken through the automaton: the watermark, or the latest processing time.
    reached: EventTime,
    /// The watermark was passed on.
    said: bool,
    /// A batch, and its first row that is still to come.
    pending: Option<(Arriving, usize)>,
    found: Found,
}

struct Condition {
    compiled: Compiled,
    values: Values,
}

/// A batch on its way into state.
struct Arriving {
    batch: ChangeBatch,
    times: Vec<EventTime>,
    keys: highwater_state::EncodedKeys,
    rows: highwater_state::EncodedKeys,
    truths: Vec<u64>,
}

/// Matches that are to be said.
#[derive(Default)]
struct Found {
    keys: Vec<Box<[u8]>>,
    times: Vec<EventTime>,
    /// Per row that measures need, its bytes in each match.
    rows: Vec<Vec<Option<Box<[u8]>>>>,
    /// Per group, the rows to aggregate, and which match each belongs to.
    aggregated: Vec<Aggregated>,
}

/// Rows, and the match of each.
type Aggregated = (Vec<Box<[u8]>>, Vec<Slot>);

impl MatchRecognize {
    pub(crate) fn new(place: &Place, input: &SchemaRef, spec: &MatchSpec) -> Result<Self, JobError> {
        let title = &place.title;
        let unsupported = |message: String| JobError::Unsupported { operator: title.clone(), message };
        let fields = place.schema.fields();
        if spec.variables.is_empty()
            || spec.variables.len() > VARIABLES_MAX
            || fields.len() != spec.keys.len() + spec.measures.len()
            || spec.keys.iter().any(|key| *key >= input.fields().len())
        {
            return Err(JobError::Plan(format!("{title}: its schema is not keys, measures")));
        }
        let codec = |columns: &mut dyn Iterator<Item = usize>| {
            let types = columns.map(|column| input.field(column).data_type().clone()).collect();
            KeyCodec::new(types).map_err(|e| unsupported(e.to_string()))
        };
        let (mut groups, mut measure_groups) = (Groups::default(), Groups::default());
        let (conditions, always, early) = conditions(&spec.variables, input, &mut groups, title)?;
        let groups = groups.build(input, title)?;
        let values = Values::new(&spec.values, input, &mut measure_groups, title)?;
        let measured = Arc::new(Schema::new(fields[spec.keys.len()..].to_vec()));
        let measures = Projection::new(&spec.measures, &values.schema, measured, title)?;
        let nfa = Nfa::new(&spec.variables).map_err(unsupported)?;
        let waiting = nfa.waiting(groups.len());
        let measure_groups = measure_groups.build(input, title)?;
        let found = Found::new(&values);
        Ok(Self {
            waiting,
            key_codec: codec(&mut spec.keys.iter().copied())?,
            row_codec: codec(&mut (0..input.fields().len()))?,
            conditions,
            always,
            early,
            groups,
            measures,
            values,
            measure_groups,
            state: KeyedMap::default(),
            due: Vec::new(),
            timers: BTreeSet::new(),
            arrivals: 0,
            watermark: WATERMARK_NONE,
            reached: WATERMARK_NONE,
            said: true,
            pending: None,
            found,
            nfa,
            input: SchemaRef::clone(input),
            place: place.clone(),
            spec: spec.clone(),
        })
    }

    fn failed(&self, error: StateError) -> JobError {
        JobError::State { operator: self.place.uid.clone(), error }
    }

    /// What must be known of a batch's rows before they come into state.
    fn arriving(&self, batch: ChangeBatch) -> Result<Arriving, JobError> {
        let columns = batch.rows.columns();
        let times = match self.spec.time_column {
            Some(column) => self.times(&batch, column)?,
            None => vec![self.reached; batch.len()],
        };
        let keys: Vec<ArrayRef> = self.spec.keys.iter().map(|key| columns[*key].clone()).collect();
        let keys = self.key_codec.encode(&keys, batch.len(), None).map_err(|e| self.failed(e))?;
        let rows = self.row_codec.encode(columns, batch.len(), None).map_err(|e| self.failed(e))?;
        let mut truths = vec![0_u64; batch.len()];
        for (index, condition) in self.conditions.iter().enumerate() {
            let Some(condition) = condition.as_ref().filter(|_| self.early & 1 << index != 0) else {
                continue;
            };
            let rows = vec![columns.to_vec(); condition.values.rows.len()];
            let values = condition.values.batch(batch.len(), &rows, &[], &[])?;
            for (truth, is_true) in truths.iter_mut().zip(&condition.compiled.evaluate_boolean(&values)?) {
                *truth |= u64::from(is_true == Some(true)) << index;
            }
        }
        Ok(Arriving { times, batch, keys, rows, truths })
    }

    fn times(&self, batch: &ChangeBatch, column: usize) -> Result<Vec<EventTime>, JobError> {
        let title = &self.place.title;
        let Some(times) = batch.rows.columns().get(column).and_then(event_times) else {
            return Err(JobError::Plan(format!("{title}: its time column is not a timestamp")));
        };
        if let Some(row) = times.nulls().and_then(|nulls| nulls.iter().position(|valid| !valid)) {
            let name = batch.rows.schema_ref().field(column).name().clone();
            let message = format!(
                "event time {name} is NULL in row {row} of a batch, expected a timestamp: filter such rows"
            );
            return Err(JobError::Evaluation { operator: title.clone(), message });
        }
        Ok(times.values().to_vec())
    }

    /// Takes rows from `at` on into state, until one whose watermark sets off what depends on it.
    fn take_in(&mut self, arriving: Arriving, at: usize, out: &mut Output) {
        let marks = arriving.batch.watermarks.clone();
        // When an attempt is given up, matches that waited for it come out with the time of that moment.
        let exact = self.spec.within_ms.is_some() && self.spec.values.iter().any(is_time);
        let by_event_time = self.spec.time_column.is_some();
        for row in at..arriving.times.len() {
            let mark = marks.as_ref().map_or(WATERMARK_NONE, |marks| marks[row]);
            if mark > self.watermark {
                self.rise(mark);
                if exact && self.is_due() {
                    self.pending = Some((arriving, row));
                    return;
                }
            }
            let time = arriving.times[row];
            if by_event_time && time <= self.watermark {
                out.late += 1;
                continue;
            }
            let key = arriving.keys.get(row);
            let hash = hash_bytes(key);
            let slot = self.state.slot(hash, KeyGroup::of_hash(hash), key);
            let bytes = arriving.rows.get(row);
            let mut value = Vec::with_capacity(8 + bytes.len());
            value.extend_from_slice(&arriving.truths[row].to_le_bytes());
            value.extend_from_slice(bytes);
            wait(&mut self.state, slot, time, self.arrivals, &value);
            self.arrivals += 1;
            self.look_again(slot, time);
        }
    }

    fn rise(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(watermark);
        if self.spec.time_column.is_some() {
            self.reached = self.watermark;
        }
        // Also an old watermark goes on: it says that the input is active again.
        self.said = false;
    }

    /// Processing time goes on, never back.
    fn pass(&mut self, out: &Output) {
        if self.spec.time_column.is_none() {
            self.reached = self.reached.max(out.now_ms);
        }
    }

    /// The key at `slot` is looked at when the watermark reaches `time`, if not earlier.
    fn look_again(&mut self, slot: Slot, time: EventTime) {
        let slots = self.due.len().max(slot as usize + 1);
        self.due.resize(slots, EventTime::MAX);
        let due = &mut self.due[slot as usize];
        if time < *due {
            self.timers.remove(&(*due, slot));
            self.timers.insert((time, slot));
            *due = time;
        }
    }

    fn is_due(&self) -> bool {
        self.timers.first().is_some_and(|(time, _)| *time <= self.reached)
    }

    /// Takes some keys' rows up to the watermark through the automaton.
    fn advance_some(&mut self) -> Result<(), JobError> {
        let (mut works, mut rows_left) = (Vec::new(), ROWS_MAX);
        while works.len() < KEYS_MAX && rows_left > 0 && self.is_due() {
            let Some((_, slot)) = self.timers.pop_first() else { break };
            self.due[slot as usize] = EventTime::MAX;
            let rows = take_arrived(&mut self.state, slot, self.reached, rows_left);
            let mut rows = rows.map_err(|e| self.failed(e))?;
            rows_left = rows_left.saturating_sub(rows.len());
            self.sort(&mut rows)?;
            let all = next_waiting(&self.state, slot).is_none_or(|time| time > self.reached);
            let run = Run::load(&self.state, slot, &self.nfa, &self.waiting).map_err(|e| self.failed(e))?;
            works.push(Work { slot, run, rows, at: 0, all, truths: Vec::new(), missing: Vec::new() });
        }
        let mut takes = Takes::default();
        loop {
            for work in &mut works {
                self.advance(work, &mut takes)?;
            }
            if works.iter().all(|work| work.missing.is_empty()) {
                break;
            }
            self.evaluate(&mut works)?;
        }
        for work in works {
            let slot = work.slot;
            let started = work.run.store(&mut self.state, slot);
            let given_up = started.zip(self.spec.within_ms).map(|(time, within)| time.saturating_add(within));
            let due = next_waiting(&self.state, slot).into_iter().chain(given_up).min();
            if let Some(due) = due {
                self.look_again(slot, due);
            }
        }
        Ok(())
    }

    /// Orders rows of one time.
    fn sort(&self, rows: &mut Vec<Arrived>) -> Result<(), JobError> {
        if self.spec.order.is_empty() || rows.windows(2).all(|pair| pair[0].time != pair[1].time) {
            return Ok(());
        }
        let bytes = rows.iter().map(|row| &*row.row);
        let columns = decode(&self.row_codec, &self.input, bytes, &self.place)?;
        let ascending = |values: ArrayRef| SortColumn { values, options: None };
        let times: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.time)));
        let arrivals: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..rows.len() as u32));
        let mut by = vec![ascending(times)];
        by.extend(self.spec.order.iter().map(|order| {
            let options = SortOptions { descending: order.descending, nulls_first: order.nulls_first };
            SortColumn { values: columns.column(order.column).clone(), options: Some(options) }
        }));
        by.push(ascending(arrivals));
        let failed = |e: arrow::error::ArrowError| JobError::Plan(format!("{}: {e}", self.place.title));
        let places = lexsort_to_indices(&by, None).map_err(failed)?;
        let mut unsorted: Vec<Option<Arrived>> = std::mem::take(rows).into_iter().map(Some).collect();
        rows.extend(places.values().iter().filter_map(|place| unsorted[*place as usize].take()));
        Ok(())
    }

    /// Takes a key's rows through the automaton until a condition must be evaluated.
    fn advance(&mut self, work: &mut Work, takes: &mut Takes) -> Result<(), JobError> {
        while let Some(Arrived { time, truth, .. }) = work.rows.get(work.at) {
            let time = *time;
            if work.truths.is_empty() {
                let (known, value) = (self.early | self.always, truth | self.always);
                self.give_up(work, time)?;
                work.truths = vec![Truth { known, value }; work.run.partial.attempts().len()];
            }
            work.missing.clear();
            takes.clear();
            for (index, attempt) in work.run.partial.attempts().iter().enumerate() {
                if let Err(conditions) = takes.add(&self.nfa, attempt.state, work.truths[index]) {
                    work.missing.push((index, conditions));
                }
            }
            if !work.missing.is_empty() {
                return Ok(());
            }
            work.truths.clear();
            let position = work.run.next;
            let (mut partial, mut complete) = (Queue::default(), Queue::default());
            let attempts = std::mem::take(&mut work.run.partial).into_attempts();
            for (index, attempt) in attempts.into_iter().enumerate() {
                let takes = takes.of(index);
                self.nfa.apply(attempt, takes, (position, time), &mut partial, &mut complete);
            }
            work.run.partial = partial;
            work.run.next += 1;
            let row = std::mem::take(&mut work.rows[work.at].row);
            work.run.fresh.push(row);
            work.at += 1;
            self.complete(work, complete, time)?;
        }
        if work.all {
            self.give_up(work, self.reached)?;
        }
        Ok(())
    }

    /// Drops attempts that can no longer end in time, which may decide matches that waited for them.
    fn give_up(&mut self, work: &mut Work, time: EventTime) -> Result<(), JobError> {
        let Some(within_ms) = self.spec.within_ms else { return Ok(()) };
        let lives = |attempt: &Attempt| {
            attempt.start == NOT_STARTED || time.saturating_sub(attempt.start_time) < within_ms
        };
        if work.run.partial.attempts().iter().all(lives) {
            return Ok(());
        }
        let attempts = std::mem::take(&mut work.run.partial).into_attempts();
        for attempt in attempts.into_iter().filter(lives) {
            work.run.partial.push(attempt);
        }
        self.complete(work, Queue::default(), time)
    }

    /// Says the complete matches that no earlier attempt holds back. Each prunes those that overlap it.
    fn complete(&mut self, work: &mut Work, more: Queue, time: EventTime) -> Result<(), JobError> {
        for attempt in more.into_attempts() {
            work.run.complete.push(attempt);
        }
        loop {
            let Run { partial, complete, .. } = &mut work.run;
            let earliest = partial.peek().map_or(NOT_STARTED, |attempt| attempt.start);
            if complete.peek().is_none_or(|attempt| attempt.start > earliest) {
                return Ok(());
            }
            let Some(found) = complete.pop() else { return Ok(()) };
            let next_start = self.next_start(&found)?;
            let keep = |attempt: &Attempt| attempt.start >= next_start;
            partial.retain(keep);
            complete.retain(keep);
            self.find(work, &found, time)?;
        }
    }

    /// The position before which no further match may start.
    fn next_start(&self, found: &Attempt) -> Result<u64, JobError> {
        let (start, rows) = found.span(None);
        let (variable, first) = match self.spec.skip {
            AfterMatch::PastLastRow => return Ok(start + u64::from(rows)),
            AfterMatch::ToNextRow => return Ok(start + 1),
            AfterMatch::ToFirst(variable) => (variable, true),
            AfterMatch::ToLast(variable) => (variable, false),
        };
        let (from, rows) = found.span(Some(variable));
        let failed = |message: String| JobError::Evaluation { operator: self.place.title.clone(), message };
        let Some(last) = rows.checked_sub(1) else {
            let name = &self.spec.variables[variable].name;
            return Err(failed(format!("could not skip to {name}: the match has no such row")));
        };
        let to = if first { from } else { from + u64::from(last) };
        if to == start {
            return Err(failed("could not skip to first element of a match".to_owned()));
        }
        Ok(to)
    }

    /// Keeps what the measures of a match need.
    fn find(&mut self, work: &Work, found: &Attempt, time: EventTime) -> Result<(), JobError> {
        let (state, slot, run) = (&self.state, work.slot, &work.run);
        let uid = &self.place.uid;
        let row = |position: u64| {
            let row = run.row(state, slot, position);
            row.map_err(|error| JobError::State { operator: uid.clone(), error })
        };
        let number = self.found.times.len() as Slot;
        self.found.keys.push(state.key(slot).into());
        self.found.times.push(time);
        for (wanted, rows) in self.values.rows.iter().zip(&mut self.found.rows) {
            let (from, count) = found.span(wanted.variable);
            let place = place_in(*wanted, count as usize);
            rows.push(place.map(|place| row(from + place as u64)).transpose()?.map(Into::into));
        }
        for (group, (rows, matches)) in self.measure_groups.iter().zip(&mut self.found.aggregated) {
            let (from, count) = found.span(group.variable);
            for position in from..from.wrapping_add(u64::from(count)) {
                rows.push(row(position)?.into());
                matches.push(number);
            }
        }
        Ok(())
    }

    /// Says what was found.
    fn say(&mut self, out: &mut Output) -> Result<(), JobError> {
        let found = std::mem::replace(&mut self.found, Found::new(&self.values));
        let count = found.times.len();
        if count == 0 {
            return Ok(());
        }
        let title = &self.place.title;
        let keys = self.key_codec.decode(found.keys.iter().map(|key| &**key));
        let mut columns = keys.map_err(|e| self.failed(e))?;
        let no_row = vec![0; self.input.fields().len()];
        let rows = found.rows.iter().map(|rows| {
            let rows = rows.iter().map(|row| row.as_deref().unwrap_or(&no_row));
            self.row_codec.decode(rows).map_err(|e| self.failed(e))
        });
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let slots: Vec<Slot> = (0..count as Slot).collect();
        let mut results = Vec::with_capacity(self.measure_groups.len());
        for (group, (rows, matches)) in self.measure_groups.iter_mut().zip(&found.aggregated) {
            group.aggregates.grow(count);
            slots.iter().for_each(|slot| group.aggregates.clear(*slot));
            let rows = decode(&self.row_codec, &self.input, rows.iter().map(|row| &**row), &self.place)?;
            group.aggregates.update(&rows, matches, None)?;
            results.push(group.aggregates.output(&slots)?);
        }
        let values = self.values.batch(count, &rows, &results, &found.times)?;
        columns.extend(self.measures.evaluate(&values)?.columns().iter().cloned());
        out.batch(ChangeBatch::inserts(record_batch(&self.place.schema, columns, count, title)?));
        Ok(())
    }

    /// Evaluates the conditions that keys ask for.
    fn evaluate(&mut self, works: &mut [Work]) -> Result<(), JobError> {
        for variable in 0..self.conditions.len() {
            let bit = 1 << variable;
            let mut asked = Vec::new();
            for (work, of) in works.iter().enumerate() {
                let missing = of.missing.iter().filter(|(_, conditions)| conditions & bit != 0);
                asked.extend(missing.map(|(attempt, _)| (work, *attempt)));
            }
            if asked.is_empty() {
                continue;
            }
            let is_true = self.evaluate_condition(variable, &asked, works)?;
            for ((work, attempt), is_true) in asked.iter().zip(&is_true) {
                let truth = &mut works[*work].truths[*attempt];
                truth.known |= bit;
                truth.value |= if is_true == Some(true) { bit } else { 0 };
            }
        }
        Ok(())
    }

    /// Whether the next row of each asked key may fall to `variable` in the attempt.
    fn evaluate_condition(
        &mut self,
        variable: usize,
        asked: &[(usize, usize)],
        works: &mut [Work],
    ) -> Result<arrow::array::BooleanArray, JobError> {
        let plan = || JobError::Plan("a variable without condition is asked for one".to_owned());
        let needed = self.conditions[variable].as_ref().ok_or_else(plan)?.values.groups.clone();
        let mut results = Vec::with_capacity(needed.len());
        for group in needed {
            let own = self.groups[group].variable.is_none_or(|of| of == variable);
            results.push(self.fold(group, own, asked, works)?);
        }
        let condition = self.conditions[variable].as_ref().ok_or_else(plan)?;
        let no_row = vec![0; self.input.fields().len()];
        let mut rows = Vec::with_capacity(condition.values.rows.len());
        for wanted in &condition.values.rows {
            let own = wanted.variable.is_none_or(|of| of == variable);
            let mut of_asked = Vec::with_capacity(asked.len());
            for (work, attempt) in asked {
                let Work { slot, run, rows, at, .. } = &works[*work];
                let (from, count) = run.partial.attempts()[*attempt].span(wanted.variable);
                of_asked.push(match place_in(*wanted, count as usize + usize::from(own)) {
                    None => &no_row[..],
                    Some(place) if place == count as usize => &rows[*at].row,
                    Some(place) => {
                        let row = run.row(&self.state, *slot, from + place as u64);
                        row.map_err(|e| self.failed(e))?
                    }
                });
            }
            rows.push(self.row_codec.decode(of_asked.into_iter()).map_err(|e| self.failed(e))?);
        }
        let values = condition.values.batch(asked.len(), &rows, &results, &[])?;
        condition.compiled.evaluate_boolean(&values)
    }

    /// The aggregates of a group over the rows of each asked attempt, with the row in question if it is one of
    /// them (`own`). Each row is folded into an attempt's aggregates once, and looked at once before.
    fn fold(
        &mut self,
        group: usize,
        own: bool,
        asked: &[(usize, usize)],
        works: &mut [Work],
    ) -> Result<Vec<ArrayRef>, JobError> {
        let failed = |error| JobError::State { operator: self.place.uid.clone(), error };
        let Group { variable, aggregates } = &mut self.groups[group];
        let slots: Vec<Slot> = (0..asked.len() as Slot).collect();
        aggregates.grow(asked.len());
        let (mut rows, mut of) = (Vec::new(), Vec::new());
        for (slot, (work, attempt)) in slots.iter().zip(asked) {
            let Work { slot: key, run, .. } = &works[*work];
            let attempt = &run.partial.attempts()[*attempt];
            let Fold { rows: folded, state } = &attempt.folds[group];
            aggregates.clear(*slot);
            if !state.is_empty() {
                aggregates.read(*slot, &mut Cursor::new(state)).map_err(failed)?;
            }
            let (from, count) = attempt.span(*variable);
            for place in *folded..count {
                rows.push(run.row(&self.state, *key, from + u64::from(place)).map_err(failed)?);
                of.push(*slot);
            }
        }
        if !rows.is_empty() {
            let rows = decode(&self.row_codec, &self.input, rows.into_iter(), &self.place)?;
            aggregates.update(&rows, &of, None)?;
        }
        of.dedup();
        for slot in of {
            let (work, attempt) = asked[slot as usize];
            let attempt = &mut works[work].run.partial.attempts_mut()[attempt];
            let (_, count) = attempt.span(*variable);
            let fold = &mut attempt.folds[group];
            fold.rows = count;
            fold.state.clear();
            aggregates.write(slot, &mut fold.state);
        }
        if own {
            let rows = asked.iter().map(|(work, _)| &*works[*work].rows[works[*work].at].row);
            let rows = decode(&self.row_codec, &self.input, rows, &self.place)?;
            aggregates.update(&rows, &slots, None)?;
        }
        aggregates.output(&slots)
    }
}

/// Per variable its condition; which have none, and which are evaluated on arrival, as bits.
fn conditions(
    variables: &[PatternVariable],
    input: &SchemaRef,
    groups: &mut Groups,
    title: &str,
) -> Result<(Vec<Option<Condition>>, u64, u64), JobError> {
    let (mut conditions, mut always, mut early) = (Vec::with_capacity(variables.len()), 0, 0);
    for (index, variable) in variables.iter().enumerate() {
        let Some(condition) = &variable.condition else {
            always |= 1 << index;
            conditions.push(None);
            continue;
        };
        let compiled = Condition::new(condition, input, groups, title)?;
        if condition.total && compiled.values.of_one_row(index) {
            early |= 1 << index;
        }
        conditions.push(Some(compiled));
    }
    Ok((conditions, always, early))
}

impl Condition {
    fn new(
        condition: &MatchCondition,
        input: &SchemaRef,
        groups: &mut Groups,
        title: &str,
    ) -> Result<Self, JobError> {
        let values = Values::new(&condition.values, input, groups, title)?;
        let compiled = Compiled::new(&condition.condition, &values.schema, title)?;
        Ok(Self { compiled, values })
    }
}

impl Found {
    fn new(values: &Values) -> Self {
        let rows = values.rows.iter().map(|_| Vec::new()).collect();
        let aggregated = values.groups.iter().map(|_| Default::default()).collect();
        Self { keys: Vec::new(), times: Vec::new(), rows, aggregated }
    }
}

/// What each attempt takes of one row.
#[derive(Default)]
struct Takes {
    all: Vec<Take>,
    ends: Vec<usize>,
    own: Vec<Take>,
}

impl Takes {
    fn clear(&mut self) {
        self.all.clear();
        self.ends.clear();
    }

    fn add(&mut self, nfa: &Nfa, state: nfa::StateId, truth: Truth) -> Result<(), u64> {
        let known = nfa.takes(state, truth, &mut self.own);
        self.all.extend_from_slice(&self.own);
        self.ends.push(self.all.len());
        known
    }

    fn of(&self, attempt: usize) -> &[Take] {
        let from = attempt.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[from..self.ends[attempt]]
    }
}

fn is_time(value: &MatchValue) -> bool {
    matches!(value, MatchValue::Time(_))
}

/// Which of `count` rows is wanted.
fn place_in(wanted: MatchRow, count: usize) -> Option<usize> {
    if wanted.first {
        Some(wanted.offset).filter(|place| *place < count)
    } else {
        count.checked_sub(1)?.checked_sub(wanted.offset)
    }
}

fn decode<'a>(
    codec: &KeyCodec,
    schema: &SchemaRef,
    rows: impl ExactSizeIterator<Item = &'a [u8]>,
    place: &Place,
) -> Result<RecordBatch, JobError> {
    let count = rows.len();
    let columns =
        codec.decode(rows).map_err(|error| JobError::State { operator: place.uid.clone(), error })?;
    record_batch(schema, columns, count, &place.title)
}

impl Operator for MatchRecognize {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        if batch.is_empty() {
            return Ok(Progress::Done);
        }
        self.pass(out);
        self.pending = Some((self.arriving(batch)?, 0));
        self.resume(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        self.rise(watermark);
        self.resume(out)
    }

    fn next_timer(&self) -> Option<i64> {
        let (time, _) = self.timers.first().filter(|_| self.spec.time_column.is_none())?;
        Some(*time)
    }

    fn on_time(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        self.pass(out);
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        loop {
            if self.is_due() {
                self.advance_some()?;
                self.say(out)?;
                return Ok(Progress::More);
            }
            if !std::mem::replace(&mut self.said, true) {
                out.watermark(self.watermark);
            }
            match self.pending.take() {
                Some((arriving, at)) => self.take_in(arriving, at, out),
                None => return Ok(Progress::Done),
            }
        }
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        let sections = self.state.snapshot(full);
        Some(self.place.snapshot(full, self.watermark, sections))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            self.state.restore(hash_bytes, group, key, value).map_err(|e| self.failed(e))?;
        }
        let slots: Vec<Slot> = self.state.live().collect();
        for slot in slots {
            let arrivals = self.state.all(slot).map_while(|(name, _)| waiting_name(name));
            self.arrivals = self.arrivals.max(arrivals.map(|(_, arrival)| arrival + 1).max().unwrap_or(0));
            // Attempts are looked at once the watermark moves: that is when they may be given up.
            let waiting = next_waiting(&self.state, slot);
            let started = Run::load(&self.state, slot, &self.nfa, &self.waiting)
                .map_err(|e| self.failed(e))?
                .started_at();
            let given_up = started.zip(self.spec.within_ms).map(|(time, within)| time.saturating_add(within));
            if let Some(due) = waiting.into_iter().chain(given_up).min() {
                self.look_again(slot, due);
            }
        }
        self.rise(restored.watermark(&uid));
        self.said = true;
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        (self.state.bytes() + self.due.len() * 8, self.state.len())
    }
}

#[cfg(test)]
mod tests;
