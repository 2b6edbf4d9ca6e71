//! `datagen`: rows made up from a seed. Row `n` is the same whenever and wherever it is made, but for
//! columns that show the time.

mod column;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::Waker;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use highwater_env::Clock;
use highwater_stream::{
    ConnectorError, ErrorKind, Position, SourceBatch, SourceConnector, SourcePoll, SourceSpec, SplitId,
    SplitReader,
};

use crate::options::TableOptions;
use crate::pace::Pace;
use crate::timer::Timer;
use column::Column;

/// As in Flink.
const ROWS_PER_SECOND: u64 = 10_000;

/// A table of made-up rows, one split.
pub(crate) struct Datagen {
    clock: Arc<dyn Clock>,
    timer: Arc<Timer>,
    schema: SchemaRef,
    columns: Arc<[Column]>,
    rows_per_second: u64,
    /// The rows are `0..end`.
    end: Option<u64>,
    table: String,
}

impl Datagen {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        timer: Arc<Timer>,
        spec: &SourceSpec,
        options: TableOptions<'_>,
    ) -> Result<Self, ConnectorError> {
        let seed = options.number("seed", 0)?;
        let column = |field: &arrow::datatypes::FieldRef| Column::new(field, seed, options);
        // Sequences end a table even if the plan does not need their column.
        let declared = spec.declared.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let columns = spec.physical.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let number_of_rows = options.parsed::<u64>("number-of-rows", "a number of rows")?;
        let sequences = declared.iter().chain(&columns).filter_map(Column::rows);
        let end = sequences.chain(number_of_rows).min();
        let rows_per_second = options.number("rows-per-second", ROWS_PER_SECOND)?;
        if rows_per_second == 0 {
            return Err(options.error("option 'rows-per-second' is '0', expected at least 1".to_owned()));
        }
        let schema = SchemaRef::clone(&spec.physical);
        Ok(Self {
            clock,
            timer,
            schema,
            columns: columns.into(),
            rows_per_second,
            end,
            table: spec.table.clone(),
        })
    }
}

impl SourceConnector for Datagen {
    fn splits(&mut self) -> Result<Vec<SplitId>, ConnectorError> {
        Ok(vec![SplitId("0".to_owned())])
    }

    fn is_bounded(&self) -> bool {
        self.end.is_some()
    }

    fn open(
        &mut self,
        _split: &SplitId,
        from: Option<Position>,
    ) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let first = from.map_or(0, |position| position.0);
        Ok(Box::new(Generator {
            pace: Pace::new(Arc::clone(&self.clock), Arc::clone(&self.timer), first, self.rows_per_second),
            clock: Arc::clone(&self.clock),
            schema: SchemaRef::clone(&self.schema),
            columns: Arc::clone(&self.columns),
            end: self.end.unwrap_or(u64::MAX),
            table: self.table.clone(),
            next: first,
        }))
    }
}

struct Generator {
    pace: Pace,
    clock: Arc<dyn Clock>,
    schema: SchemaRef,
    columns: Arc<[Column]>,
    end: u64,
    table: String,
    next: u64,
}

impl SplitReader for Generator {
    fn poll(&mut self, rows_max: usize, waker: &Waker) -> Result<SourcePoll, ConnectorError> {
        if self.next >= self.end {
            return Ok(SourcePoll::End);
        }
        let Some(due) = self.pace.due(self.next, waker) else { return Ok(SourcePoll::Pending) };
        let until = due.min(self.end).min(self.next.saturating_add(rows_max.max(1) as u64));
        let now_ms = self.clock.unix_ms();
        let arrays: Vec<ArrayRef> =
            self.columns.iter().map(|column| column.values(self.next..until, now_ms)).collect();
        let count = usize::try_from(until - self.next).unwrap_or(usize::MAX);
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), arrays, &options)
            .map_err(|error| ConnectorError::new(ErrorKind::Config, &*self.table, error.to_string()))?;
        self.next = until;
        Ok(SourcePoll::Batch(SourceBatch {
            rows,
            kinds: None,
            next: Position(until),
            rejects: Vec::new(),
            skipped: 0,
        }))
    }
}
