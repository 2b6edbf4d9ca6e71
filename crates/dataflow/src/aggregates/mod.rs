//! Aggregate functions over columns of state: one slab per call, indexed by the key's slot.

mod bag;
mod cell;
mod count;
mod distinct;
mod extreme;
mod sequence;
mod sum;
mod values;
mod welford;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{concat, prep_null_mask_filter};
use arrow::datatypes::{DataType, SchemaRef};
use highwater_state::{Cursor, Slot, StateError};
use highwater_stream::{AggregateCall, AggregateFunction, OverCall};

use self::sequence::{Pick, make_sequence};
use crate::JobError;
use crate::expressions::as_type;

/// The state of one aggregate call: columns indexed by slot. A cleared or new slot holds "no rows".
pub(crate) trait Slab: Send {
    /// Makes room for slots `0..slots`.
    fn grow(&mut self, slots: usize);

    /// Sets `slot` back to "no rows".
    fn clear(&mut self, slot: usize);

    /// Takes rows in.
    fn update(&mut self, rows: &Rows<'_>);

    /// Takes in what `from` holds, whose rows came later; `from` stays.
    fn merge(&mut self, into: usize, from: usize);

    /// The results at `slots`, in their order.
    fn output(&self, slots: &[Slot]) -> Result<ArrayRef, JobError>;

    /// Takes rows in and tells, for each of `ends` (rising, above 0), the result at the slot of the row before it
    /// once all rows before it are in.
    fn series(&mut self, rows: &Rows<'_>, ends: &[usize]) -> Result<ArrayRef, JobError> {
        let mut results = Vec::with_capacity(ends.len());
        let mut from = 0;
        for &end in ends {
            let len = end - from;
            let argument = rows.argument.map(|column| column.slice(from, len));
            let counted = rows.counted.map(|counted| counted.slice(from, len));
            self.update(&Rows {
                slots: &rows.slots[from..end],
                argument: argument.as_ref(),
                counted: counted.as_ref(),
                weights: rows.weights.map(|weights| &weights[from..end]),
            });
            results.push(self.output(&rows.slots[end - 1..end])?);
            from = end;
        }
        let results: Vec<&dyn Array> = results.iter().map(|result| result.as_ref()).collect();
        concat(&results).map_err(|e| JobError::Plan(e.to_string()))
    }

    /// Appends the state at `slot`.
    fn write(&self, slot: usize, out: &mut Vec<u8>);

    /// Reads what [`Slab::write`] wrote.
    fn read(&mut self, slot: usize, cursor: &mut Cursor<'_>) -> Result<(), StateError>;

    /// Bytes held.
    fn bytes(&self) -> usize;
}

/// Rows for one call.
pub(crate) struct Rows<'a> {
    /// Per row, where it goes.
    pub(crate) slots: &'a [Slot],
    /// Per row, the argument, in the call's own working type.
    pub(crate) argument: Option<&'a ArrayRef>,
    /// The rows that count: the filter is true and the argument is not NULL. None: all.
    pub(crate) counted: Option<&'a BooleanBuffer>,
    /// Per row, +1 or -1. None: all +1.
    pub(crate) weights: Option<&'a [i8]>,
}

impl Rows<'_> {
    /// Calls `take(row, slot, weight)` for each row that counts, in order.
    #[inline]
    pub(crate) fn each(&self, mut take: impl FnMut(usize, usize, i64)) {
        match (self.counted, self.weights) {
            (None, None) => {
                self.slots.iter().enumerate().for_each(|(row, slot)| take(row, *slot as usize, 1));
            }
            (None, Some(weights)) => {
                for (row, (slot, weight)) in self.slots.iter().zip(weights).enumerate() {
                    take(row, *slot as usize, i64::from(*weight));
                }
            }
            (Some(counted), None) => {
                counted.set_indices().for_each(|row| take(row, self.slots[row] as usize, 1));
            }
            (Some(counted), Some(weights)) => {
                counted
                    .set_indices()
                    .for_each(|row| take(row, self.slots[row] as usize, i64::from(weights[row])));
            }
        }
    }
}

impl Rows<'_> {
    /// Calls `take(state, row, slot, weight)` for each row that counts, in order, and `say(state, slot)` behind the
    /// rows before each of `ends`, as [`Slab::series`] means it.
    #[inline]
    pub(crate) fn run<S>(
        &self,
        state: &mut S,
        ends: &[usize],
        mut take: impl FnMut(&mut S, usize, usize, i64),
        mut say: impl FnMut(&S, usize),
    ) {
        let mut row = 0;
        for &end in ends {
            while row < end {
                if self.counted.is_none_or(|counted| counted.value(row)) {
                    let weight = self.weights.map_or(1, |weights| i64::from(weights[row]));
                    take(state, row, self.slots[row] as usize, weight);
                }
                row += 1;
            }
            say(state, self.slots[end - 1] as usize);
        }
    }
}

/// All calls of one operator.
pub(crate) struct Aggregates {
    calls: Vec<Call>,
    operator: String,
    slots: usize,
}

struct Call {
    slab: Box<dyn Slab>,
    /// Column and the type the slab works in.
    argument: Option<(usize, DataType)>,
    filter: Option<usize>,
    /// Rows whose argument is NULL count too.
    keeps_null: bool,
}

impl Aggregates {
    /// Slabs for `calls` over rows of `input`; `retract`: rows may also go.
    pub(crate) fn new(
        calls: &[AggregateCall],
        input: &SchemaRef,
        retract: bool,
        operator: &str,
    ) -> Result<Self, JobError> {
        let make = |call: &AggregateCall| checked_call(call, input, retract, operator);
        let calls = calls.iter().map(make).collect::<Result<_, _>>()?;
        Ok(Self { calls, operator: operator.to_owned(), slots: 0 })
    }

    /// Slabs for `calls` over frames of rows of `input`; `retract`: rows leave the frames, the oldest first.
    pub(crate) fn over(
        calls: &[OverCall],
        input: &SchemaRef,
        retract: bool,
        operator: &str,
    ) -> Result<Self, JobError> {
        let placed = |slab: Result<Box<dyn Slab>, String>, column: usize, keeps_null: bool| {
            let slab =
                slab.map_err(|message| JobError::Unsupported { operator: operator.to_owned(), message })?;
            let argument = Some((column, input.field(column).data_type().clone()));
            Ok(Call { slab, argument, filter: None, keeps_null })
        };
        let make = |call: &OverCall| match call {
            OverCall::Aggregate(call) => checked_call(call, input, retract, operator),
            OverCall::FirstValue(column)
            | OverCall::LastValue(column)
            | OverCall::Lag { argument: column, .. }
                if *column >= input.fields().len() =>
            {
                Err(JobError::Plan(format!("{operator}: an aggregate's column is not in its input")))
            }
            OverCall::FirstValue(column) => {
                placed(values::make_first(input.field(*column).data_type(), retract), *column, false)
            }
            OverCall::LastValue(column) => {
                placed(values::make_last(input.field(*column).data_type(), retract), *column, false)
            }
            OverCall::Lag { argument, offset, default } => {
                let data_type = input.field(*argument).data_type();
                placed(values::make_lag(data_type, *offset, default.as_ref()), *argument, true)
            }
        };
        let calls = calls.iter().map(make).collect::<Result<_, _>>()?;
        Ok(Self { calls, operator: operator.to_owned(), slots: 0 })
    }

    pub(crate) fn grow(&mut self, slots: usize) {
        if slots > self.slots {
            // At least half more, so that growing costs little per new key.
            self.slots = slots.max(self.slots + self.slots / 2);
            let slots = self.slots;
            self.calls.iter_mut().for_each(|call| call.slab.grow(slots));
        }
    }

    pub(crate) fn clear(&mut self, slot: Slot) {
        self.calls.iter_mut().for_each(|call| call.slab.clear(slot as usize));
    }

    /// Takes rows in; row `i` belongs to `slots[i]`.
    pub(crate) fn update(
        &mut self,
        rows: &RecordBatch,
        slots: &[Slot],
        weights: Option<&[i8]>,
    ) -> Result<(), JobError> {
        for call in &mut self.calls {
            let (argument, counted) = call.inputs(rows, &self.operator)?;
            let (argument, counted) = (argument.as_ref(), counted.as_ref());
            call.slab.update(&Rows { slots, argument, counted, weights });
        }
        Ok(())
    }

    /// `into` takes in what `from` holds, whose rows came later; `from` stays.
    pub(crate) fn merge(&mut self, into: Slot, from: Slot) {
        self.calls.iter_mut().for_each(|call| call.slab.merge(into as usize, from as usize));
    }

    /// One column per call of what [`Slab::series`] tells.
    pub(crate) fn series(
        &mut self,
        rows: &RecordBatch,
        slots: &[Slot],
        weights: Option<&[i8]>,
        ends: &[usize],
    ) -> Result<Vec<ArrayRef>, JobError> {
        let mut columns = Vec::with_capacity(self.calls.len());
        for call in &mut self.calls {
            let (argument, counted) = call.inputs(rows, &self.operator)?;
            let (argument, counted) = (argument.as_ref(), counted.as_ref());
            columns.push(call.slab.series(&Rows { slots, argument, counted, weights }, ends)?);
        }
        Ok(columns)
    }

    /// One column per call, one row per slot.
    pub(crate) fn output(&self, slots: &[Slot]) -> Result<Vec<ArrayRef>, JobError> {
        self.calls.iter().map(|call| call.slab.output(slots)).collect()
    }

    /// Appends the state at `slot`: per call, its length (u32, little-endian) and its bytes, so that a later
    /// plan can take over single calls.
    pub(crate) fn write(&self, slot: Slot, out: &mut Vec<u8>) {
        for call in &self.calls {
            let len_pos = out.len();
            out.extend_from_slice(&[0; 4]);
            call.slab.write(slot as usize, out);
            let len = (out.len() - len_pos - 4) as u32;
            out[len_pos..len_pos + 4].copy_from_slice(&len.to_le_bytes());
        }
    }

    pub(crate) fn read(&mut self, slot: Slot, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        for call in &mut self.calls {
            let mut state = Cursor::new(cursor.counted()?);
            call.slab.read(slot as usize, &mut state)?;
            if !state.is_empty() {
                return Err(StateError::Corrupt("an aggregate's state is too long".to_owned()));
            }
        }
        Ok(())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.calls.iter().map(|call| call.slab.bytes()).sum()
    }
}

impl Call {
    /// The argument's values and which rows count.
    fn inputs(
        &self,
        rows: &RecordBatch,
        operator: &str,
    ) -> Result<(Option<ArrayRef>, Option<BooleanBuffer>), JobError> {
        let mut counted = self.filter.map(|column| true_rows(rows.column(column)));
        let argument = match &self.argument {
            Some((column, data_type)) => Some(as_type(rows.column(*column).clone(), data_type, operator)?),
            None => None,
        };
        let nulls = argument.as_ref().and_then(|column| column.nulls());
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0 && !self.keeps_null);
        if let Some(nulls) = nulls.map(NullBuffer::inner) {
            counted = Some(counted.map_or_else(|| nulls.clone(), |filtered| &filtered & nulls));
        }
        Ok((argument, counted))
    }
}

fn checked_call(
    call: &AggregateCall,
    input: &SchemaRef,
    retract: bool,
    operator: &str,
) -> Result<Call, JobError> {
    let columns = input.fields().len();
    if call.argument.into_iter().chain(call.filter).any(|column| column >= columns) {
        return Err(JobError::Plan(format!("{operator}: an aggregate's column is not in its input")));
    }
    let argument = call.argument.map(|column| (column, input.field(column).data_type().clone()));
    make_call(call, argument, retract, operator)
}

fn true_rows(column: &ArrayRef) -> BooleanBuffer {
    let column = column.as_boolean();
    if column.null_count() == 0 {
        column.values().clone()
    } else {
        prep_null_mask_filter(column).values().clone()
    }
}

fn make_call(
    call: &AggregateCall,
    argument: Option<(usize, DataType)>,
    retract: bool,
    operator: &str,
) -> Result<Call, JobError> {
    let unsupported = |message: String| JobError::Unsupported { operator: operator.to_owned(), message };
    let needs = || JobError::Plan(format!("{operator}: {:?} without an argument", call.function));
    let (slab, works_in): (Box<dyn Slab>, Option<DataType>) = match call.function {
        AggregateFunction::CountStar => (Box::new(count::Count::new(&call.output)), None),
        AggregateFunction::Count => {
            let (_, data_type) = argument.clone().ok_or_else(needs)?;
            (Box::new(count::Count::new(&call.output)), Some(data_type))
        }
        AggregateFunction::Sum | AggregateFunction::Avg => {
            let (_, data_type) = argument.clone().ok_or_else(needs)?;
            let made = match call.function {
                AggregateFunction::Sum => sum::make_sum(&data_type, &call.output),
                _ => sum::make_avg(&data_type, &call.output),
            };
            let (slab, works_in) = made.map_err(unsupported)?;
            (slab, Some(works_in))
        }
        AggregateFunction::Min | AggregateFunction::Max => {
            let (_, data_type) = argument.clone().ok_or_else(needs)?;
            let least = call.function == AggregateFunction::Min;
            let (slab, works_in) =
                extreme::make_extreme(least, &data_type, &call.output, retract).map_err(unsupported)?;
            (slab, Some(works_in))
        }
        AggregateFunction::FirstValue | AggregateFunction::LastValue | AggregateFunction::ArrayAgg => {
            let (_, data_type) = argument.clone().ok_or_else(needs)?;
            let pick = match call.function {
                AggregateFunction::FirstValue => Pick::First,
                AggregateFunction::LastValue => Pick::Last,
                _ => Pick::All,
            };
            let slab = make_sequence(pick, &data_type, &call.output, retract);
            (slab.map_err(|e| unsupported(e.to_string()))?, Some(data_type))
        }
        AggregateFunction::Collect => {
            let (_, data_type) = argument.clone().ok_or_else(needs)?;
            let bag = bag::Bag::new(&data_type, &call.output).map_err(|e| unsupported(e.to_string()))?;
            (Box::new(bag), Some(data_type))
        }
        AggregateFunction::SquaredDistances => {
            argument.as_ref().ok_or_else(needs)?;
            (Box::new(welford::Welford::default()), Some(DataType::Float64))
        }
    };
    let extreme = matches!(call.function, AggregateFunction::Min | AggregateFunction::Max);
    let slab: Box<dyn Slab> = match &works_in {
        // MIN and MAX do not mind doubles.
        Some(works_in) if call.distinct && !extreme => {
            Box::new(distinct::Distinct::new(slab, works_in).map_err(|e| unsupported(e.to_string()))?)
        }
        _ => slab,
    };
    let argument = argument.zip(works_in).map(|((column, _), works_in)| (column, works_in));
    let keeps_null = call.function == AggregateFunction::ArrayAgg;
    Ok(Call { slab, argument, filter: call.filter, keeps_null })
}

#[cfg(test)]
mod tests;
