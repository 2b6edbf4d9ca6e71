//! A window table function without aggregation.

use highwater_stream::{ChangeBatch, WindowSpec};

use super::Place;
use crate::JobError;
use crate::expressions::{record_batch, row_times, time_column};
use crate::operator::{Operator, Output, Progress};
use crate::windows::Windows;

/// Appends `window_start`, `window_end` and `window_time`. Never drops a late row. Without state.
pub(crate) struct WindowTable {
    place: Place,
    windows: Windows,
    time_column: usize,
}

impl WindowTable {
    pub(crate) fn new(place: &Place, spec: &WindowSpec) -> Result<Self, JobError> {
        let unsupported = |message| JobError::Unsupported { operator: place.title.clone(), message };
        let windows = Windows::new(spec).map_err(unsupported)?;
        Ok(Self { place: place.clone(), windows, time_column: spec.time_column })
    }
}

impl Operator for WindowTable {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let Place { title, schema, .. } = &self.place;
        let ends = window_ends(&mut self.windows, &batch, self.time_column, title)?;
        let mut columns = batch.rows.columns().to_vec();
        let (windows, first) = (&self.windows, columns.len());
        let of = |index: usize| schema.fields().get(first + index).map(|field| field.data_type());
        let (Some(start), Some(end), Some(time)) = (of(0), of(1), of(2)) else {
            return Err(JobError::Plan(format!("{title}: the schema lacks the window's columns")));
        };
        columns.push(time_column(ends.iter().map(|end| windows.start_of_window(*end)), start, title)?);
        columns.push(time_column(ends.iter().copied(), end, title)?);
        columns.push(time_column(ends.iter().map(|end| windows.time_of_window(*end)), time, title)?);
        let rows = record_batch(schema, columns, batch.len(), title)?;
        out.batch(ChangeBatch { rows, ..batch });
        Ok(Progress::Done)
    }
}

/// The end of each row's window.
pub(super) fn window_ends(
    windows: &mut Windows,
    batch: &ChangeBatch,
    time_column: usize,
    operator: &str,
) -> Result<Vec<i64>, JobError> {
    let times = row_times(&batch.rows, time_column, operator)?;
    // Rows near each other in time fall into one window.
    let mut last = (i64::MAX, i64::MIN, 0);
    let end_of = |time: &i64| {
        if !(last.0..last.1).contains(time) {
            let end = windows.end_of(*time);
            last = if windows.is_plain() {
                (windows.start_of_window(end), end, end)
            } else {
                (*time, time.saturating_add(1), end)
            };
        }
        last.2
    };
    Ok(times.iter().map(end_of).collect())
}
