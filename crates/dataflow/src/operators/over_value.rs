//! Aggregates over the rows before each row, in order of a value.

use std::collections::HashMap;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{SortColumn, SortOptions, interleave, lexsort_to_indices, or, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use highwater_env::KeyGroup;
use highwater_state::{
    EncodedKeys, KeyCodec, KeyedMap, OperatorSnapshot, RestoredState, Slot, StateError, hash_bytes,
};
use highwater_stream::{
    ChangeBatch, EventTime, OverAggregateSpec, OverFrame, OverOrder, RowKind, WATERMARK_NONE,
};

use super::Place;
use crate::JobError;
use crate::aggregates::Aggregates;
use crate::expressions::{as_type, record_batch};
use crate::operator::{Operator, Output, Progress};

/// Adds to each row the results over the rows of its partition that do not stand behind it in the order of a
/// column, and tells how results change as rows come and go, once per batch and row.
///
/// Every row of a partition that changes is computed anew, once per batch: what stands behind a new row changes.
///
/// State: the rows, per partition by number of arrival (u64, big-endian).
pub(crate) struct OverValue {
    place: Place,
    spec: OverAggregateSpec,
    order_column: usize,
    nulls_first: bool,
    input: SchemaRef,
    key_codec: KeyCodec,
    row_codec: KeyCodec,
    rows: KeyedMap,
    /// Number of the next row.
    arrivals: u64,
    work: Option<Work>,
    emission: Option<(ChangeBatch, usize)>,
    watermark: EventTime,
}

/// A batch, by partition, of which those from `at` on are not taken in yet.
struct Work {
    batch: ChangeBatch,
    rows: EncodedKeys,
    /// A partition's key and its rows of the batch.
    partitions: Vec<(Vec<u8>, Vec<u32>)>,
    at: usize,
}

/// The rows of a partition in order of arrival, with their results.
struct Computed {
    names: Vec<u64>,
    columns: Vec<ArrayRef>,
    results: usize,
}

impl OverValue {
    pub(crate) fn new(place: &Place, input: &SchemaRef, spec: &OverAggregateSpec) -> Result<Self, JobError> {
        let fields = input.fields().len();
        let wrong = |what: &str| JobError::Plan(format!("{}: {what}", place.title));
        let OverOrder::Value { column, nulls_first } = spec.order else {
            return Err(wrong("it is not ordered by a value"));
        };
        if spec.frame.is_bounded() {
            return Err(wrong("a bounded frame in order of a value"));
        }
        let misplaced = spec.keys.iter().chain([&column]).any(|column| *column >= fields);
        if place.schema.fields().len() != fields + spec.calls.len() || misplaced {
            return Err(wrong("its schema is not the input's, calls"));
        }
        let codec = |columns: &mut dyn Iterator<Item = usize>, what: &str| {
            let types = columns.map(|column| input.field(column).data_type().clone()).collect();
            KeyCodec::new(types).map_err(|e| JobError::Unsupported {
                operator: place.title.clone(),
                message: format!("as {what} of OVER: {e}"),
            })
        };
        Ok(Self {
            order_column: column,
            nulls_first,
            key_codec: codec(&mut spec.keys.iter().copied(), "key")?,
            row_codec: codec(&mut (0..fields), "row")?,
            rows: KeyedMap::default(),
            arrivals: 0,
            work: None,
            emission: None,
            watermark: WATERMARK_NONE,
            input: SchemaRef::clone(input),
            place: place.clone(),
            spec: spec.clone(),
        })
    }

    fn failed(&self, error: StateError) -> JobError {
        JobError::State { operator: self.place.uid.clone(), error }
    }

    fn wrong(&self, error: &ArrowError) -> JobError {
        JobError::Plan(format!("{}: {error}", self.place.title))
    }

    fn slot(&mut self, key: &[u8]) -> Slot {
        let hash = hash_bytes(key);
        self.rows.slot(hash, KeyGroup::of_hash(hash), key)
    }

    /// The rows at `slot` with their results.
    fn computed(&self, slot: Slot) -> Result<Computed, JobError> {
        let mut names = Vec::with_capacity(self.rows.len_at(slot));
        for (name, _) in self.rows.all(slot) {
            let name =
                name.try_into().map_err(|_| StateError::Corrupt("a row without its number".to_owned()));
            names.push(u64::from_be_bytes(name.map_err(|e| self.failed(e))?));
        }
        let rows =
            self.row_codec.decode(self.rows.all(slot).map(|(_, row)| row)).map_err(|e| self.failed(e))?;
        let rows = record_batch(&self.input, rows, names.len(), &self.place.title)?;
        let results = self.results(&rows, &names)?;
        let mut columns = rows.columns().to_vec();
        let count = results.len();
        columns.extend(results);
        Ok(Computed { names, columns, results: count })
    }

    /// Each row's results.
    fn results(&self, rows: &RecordBatch, arrivals: &[u64]) -> Result<Vec<ArrayRef>, JobError> {
        let title = &self.place.title;
        let fields = &self.place.schema.fields()[self.input.fields().len()..];
        if arrivals.is_empty() {
            return Ok(fields.iter().map(|field| arrow::array::new_empty_array(field.data_type())).collect());
        }
        let by = rows.column(self.order_column);
        let options = SortOptions { descending: false, nulls_first: self.nulls_first };
        let keys = [
            SortColumn { values: by.clone(), options: Some(options) },
            SortColumn { values: std::sync::Arc::new(UInt64Array::from(arrivals.to_vec())), options: None },
        ];
        let order = lexsort_to_indices(&keys, None).map_err(|e| self.wrong(&e))?;
        let sorted: Result<Vec<ArrayRef>, ArrowError> =
            rows.columns().iter().map(|column| take(column, &order, None)).collect();
        let sorted = record_batch(&self.input, sorted.map_err(|e| self.wrong(&e))?, arrivals.len(), title)?;
        let ends = self.ends(sorted.column(self.order_column))?;
        let mut aggregates = Aggregates::over(&self.spec.calls, &self.input, false, title)?;
        aggregates.grow(1);
        let results = aggregates.series(&sorted, &vec![0; arrivals.len()], None, &ends)?;
        // From the place in the order back to the row.
        let mut result_of = vec![0_u32; arrivals.len()];
        let mut from = 0;
        for (result, end) in ends.iter().enumerate() {
            for place in from..*end {
                result_of[order.value(place) as usize] = result as u32;
            }
            from = *end;
        }
        let result_of = UInt32Array::from(result_of);
        let columns = results.into_iter().zip(fields).map(|(column, field)| {
            let column = take(&column, &result_of, None).map_err(|e| self.wrong(&e))?;
            as_type(column, field.data_type(), title)
        });
        columns.collect()
    }

    /// Behind which rows of the order results are told: each, or the last of those with one value.
    fn ends(&self, by: &ArrayRef) -> Result<Vec<usize>, JobError> {
        let len = by.len();
        if self.spec.frame == OverFrame::Rows || len < 2 {
            return Ok((1..=len).collect());
        }
        let changes = distinct(&by.slice(0, len - 1), &by.slice(1, len - 1)).map_err(|e| self.wrong(&e))?;
        Ok((1..len).filter(|row| changes.value(row - 1)).chain([len]).collect())
    }

    /// Takes in the batch's rows of one partition and tells what changes.
    fn take_in(&mut self, work: &Work, out: &mut Changes) -> Result<(), JobError> {
        let (key, rows) = &work.partitions[work.at];
        let slot = self.slot(key);
        let old = self.computed(slot)?;
        for row in rows {
            let bytes = work.rows.get(*row as usize);
            if work.batch.kind(*row as usize).weight() > 0 {
                self.rows.put(slot, &self.arrivals.to_be_bytes(), bytes);
                self.arrivals += 1;
            } else {
                let found =
                    self.rows.all(slot).find(|(_, known)| *known == bytes).map(|(name, _)| name.to_vec());
                found.and_then(|name| self.rows.remove(slot, &name));
            }
        }
        let new = self.computed(slot)?;
        out.add(&old, &new).map_err(|e| self.wrong(&e))
    }

    fn batch_of(&self, changes: Changes) -> Result<ChangeBatch, JobError> {
        let Place { schema, title, .. } = &self.place;
        let mut columns = Vec::with_capacity(schema.fields().len());
        for column in 0..schema.fields().len() {
            let from: Vec<&dyn arrow::array::Array> =
                changes.sources.iter().map(|source| source[column].as_ref()).collect();
            columns.push(interleave(&from, &changes.picks).map_err(|e| self.wrong(&e))?);
        }
        let rows = record_batch(schema, columns, changes.picks.len(), title)?;
        Ok(ChangeBatch::with_kinds(rows, changes.kinds))
    }

    fn emit(&mut self, (batch, at): (ChangeBatch, usize), out: &mut Output) {
        let len = self.place.batch_rows_max.min(batch.len() - at);
        out.batch(batch.slice(at, len));
        if at + len < batch.len() {
            self.emission = Some((batch, at + len));
        }
    }
}

/// Rows that come out: from which source and row, and as what.
#[derive(Default)]
struct Changes {
    sources: Vec<Vec<ArrayRef>>,
    picks: Vec<(usize, usize)>,
    kinds: Vec<RowKind>,
}

impl Changes {
    fn push(&mut self, kind: RowKind, source: usize, row: usize) {
        self.kinds.push(kind);
        self.picks.push((source, row));
    }

    /// What leads from `old` to `new`; both in order of arrival.
    fn add(&mut self, old: &Computed, new: &Computed) -> Result<(), ArrowError> {
        let source = self.sources.len();
        self.sources.extend([old.columns.clone(), new.columns.clone()]);
        let place_of: HashMap<u64, usize> =
            new.names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let stay: Vec<(usize, usize)> = old
            .names
            .iter()
            .enumerate()
            .filter_map(|(row, name)| place_of.get(name).map(|at| (row, *at)))
            .collect();
        let changed = changed(old, new, &stay)?;
        let mut stays = stay.iter().zip(&changed).peekable();
        for row in 0..old.names.len() {
            match stays.next_if(|((at, _), _)| *at == row) {
                None => self.push(RowKind::Delete, source, row),
                Some(((_, place), Some(true))) => {
                    self.push(RowKind::UpdateBefore, source, row);
                    self.push(RowKind::UpdateAfter, source + 1, *place);
                }
                Some(_) => {}
            }
        }
        for place in 0..new.names.len() {
            if old.names.binary_search(&new.names[place]).is_err() {
                self.push(RowKind::Insert, source + 1, place);
            }
        }
        Ok(())
    }
}

/// Per row that stays: whether any result differs.
fn changed(old: &Computed, new: &Computed, stay: &[(usize, usize)]) -> Result<BooleanArray, ArrowError> {
    let before = UInt32Array::from_iter_values(stay.iter().map(|(row, _)| *row as u32));
    let after = UInt32Array::from_iter_values(stay.iter().map(|(_, place)| *place as u32));
    let mut changed = BooleanArray::from(vec![false; stay.len()]);
    let given = old.columns.len() - old.results;
    for (old, new) in old.columns[given..].iter().zip(&new.columns[given..]) {
        changed = or(&changed, &distinct(&take(old, &before, None)?, &take(new, &after, None)?)?)?;
    }
    Ok(changed)
}

impl Operator for OverValue {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let columns: Vec<ArrayRef> =
            self.spec.keys.iter().map(|key| batch.rows.column(*key).clone()).collect();
        let keys = self.key_codec.encode(&columns, batch.len(), None).map_err(|e| self.failed(e))?;
        let rows = self.row_codec.encode(batch.rows.columns(), batch.len(), None);
        let rows = rows.map_err(|e| self.failed(e))?;
        let mut partitions: Vec<(Vec<u8>, Vec<u32>)> = Vec::new();
        let mut known: HashMap<&[u8], usize> = HashMap::new();
        for row in 0..batch.len() {
            let key = keys.get(row);
            let partition = *known.entry(key).or_insert_with(|| {
                partitions.push((key.to_vec(), Vec::new()));
                partitions.len() - 1
            });
            partitions[partition].1.push(row as u32);
        }
        self.work = Some(Work { batch, rows, partitions, at: 0 });
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        if let Some(emission) = self.emission.take() {
            self.emit(emission, out);
            return Ok(Progress::More);
        }
        let Some(mut work) = self.work.take() else {
            self.rows.sweep();
            return Ok(Progress::Done);
        };
        let mut changes = Changes::default();
        while work.at < work.partitions.len() && changes.picks.len() < self.place.batch_rows_max {
            self.take_in(&work, &mut changes)?;
            work.at += 1;
        }
        if work.at < work.partitions.len() {
            self.work = Some(work);
        }
        if !changes.picks.is_empty() {
            let batch = self.batch_of(changes)?;
            self.emit((batch, 0), out);
        }
        Ok(Progress::More)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Progress, JobError> {
        self.watermark = self.watermark.max(watermark);
        out.watermark(watermark);
        Ok(Progress::Done)
    }

    fn snapshot(&mut self, full: bool) -> Option<OperatorSnapshot> {
        let sections = self.rows.snapshot(full);
        Some(self.place.snapshot(full, self.watermark, sections))
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), JobError> {
        let Place { uid, shard, shards, .. } = self.place.clone();
        for (group, key, value) in restored.entries(&uid, shard, shards) {
            self.rows.restore(hash_bytes, group, key, value).map_err(|e| self.failed(e))?;
            let arrival = key.last_chunk().map_or(0, |name| u64::from_be_bytes(*name));
            self.arrivals = self.arrivals.max(arrival + 1);
        }
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        (self.rows.bytes(), self.rows.len())
    }
}
