//! A window table function without aggregation.

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;
use highwater_stream::{ChangeBatch, WindowShape, WindowSpec};

use super::Place;
use crate::JobError;
use crate::expressions::{record_batch, row_times, time_column};
use crate::operator::{Operator, Output, Progress};
use crate::windows::Windows;

/// Appends `window_start`, `window_end` and `window_time` to each row, once per window. Never drops a late row.
/// Without state.
pub(crate) struct WindowTable {
    place: Place,
    spec: WindowSpec,
    windows: Windows,
    work: Option<Work>,
}

/// A batch of which rows `at..` are not said yet.
struct Work {
    batch: ChangeBatch,
    slices: Vec<i64>,
    at: usize,
}

impl WindowTable {
    pub(crate) fn new(place: &Place, spec: &WindowSpec) -> Result<Self, JobError> {
        let unsupported = |message| JobError::Unsupported { operator: place.title.clone(), message };
        let windows = Windows::new(spec).map_err(unsupported)?;
        Ok(Self { place: place.clone(), spec: spec.clone(), windows, work: None })
    }

    /// The rows from `work.at` on with their windows, about one batch full.
    fn said(&self, work: &mut Work) -> Result<ChangeBatch, JobError> {
        if self.windows.are_slices() {
            work.at = work.batch.len();
            return self.with_windows(work.batch.clone(), &work.slices);
        }
        let hop = matches!(self.spec.shape, WindowShape::Hop { .. });
        let (mut rows, mut ends) = (Vec::new(), Vec::new());
        while work.at < work.batch.len() && ends.len() < self.place.batch_rows_max {
            let (slice, from) = (work.slices[work.at], ends.len());
            let (mut end, last) = (self.windows.first_with(slice), self.windows.last_with(slice));
            while end <= last {
                ends.push(end);
                end = self.windows.next(end);
            }
            if hop {
                ends[from..].reverse();
            }
            rows.resize(ends.len(), u32::try_from(work.at).unwrap_or(u32::MAX));
            work.at += 1;
        }
        let taken = taken(&work.batch, &UInt32Array::from(rows), &self.place.title)?;
        self.with_windows(taken, &ends)
    }

    fn with_windows(&self, batch: ChangeBatch, ends: &[i64]) -> Result<ChangeBatch, JobError> {
        let Place { title, schema, .. } = &self.place;
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
        Ok(ChangeBatch { rows, ..batch })
    }
}

/// Some rows, some of them more than once.
fn taken(batch: &ChangeBatch, rows: &UInt32Array, operator: &str) -> Result<ChangeBatch, JobError> {
    let wrong =
        |e: ArrowError| JobError::Evaluation { operator: operator.to_owned(), message: e.to_string() };
    let indexes = || rows.values().iter().map(|row| *row as usize);
    Ok(ChangeBatch {
        rows: take_record_batch(&batch.rows, rows).map_err(wrong)?,
        kinds: batch.kinds.as_ref().map(|kinds| indexes().map(|row| kinds[row]).collect()),
        watermarks: batch.watermarks.as_ref().map(|marks| indexes().map(|row| marks[row]).collect()),
    })
}

impl Operator for WindowTable {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: ChangeBatch,
        out: &mut Output,
    ) -> Result<Progress, JobError> {
        let slices = if self.spec.processing_time {
            vec![self.windows.end_of(out.now_ms); batch.len()]
        } else {
            slices(&mut self.windows, &batch, &self.spec, &self.place.title)?
        };
        self.work = Some(Work { batch, slices, at: 0 });
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Progress, JobError> {
        let Some(mut work) = self.work.take() else { return Ok(Progress::Done) };
        out.batch(self.said(&mut work)?);
        if work.at == work.batch.len() {
            return Ok(Progress::Done);
        }
        self.work = Some(work);
        Ok(Progress::More)
    }
}

/// The end of each row's slice.
pub(super) fn slices(
    windows: &mut Windows,
    batch: &ChangeBatch,
    spec: &WindowSpec,
    operator: &str,
) -> Result<Vec<i64>, JobError> {
    let times = row_times(&batch.rows, spec.time_column, operator)?;
    if spec.shape == WindowShape::Attached {
        return Ok(times.to_vec());
    }
    // Rows near each other in time fall into one slice.
    let mut last = (i64::MAX, i64::MIN, 0);
    let end_of = |time: &i64| {
        if !(last.0..last.1).contains(time) {
            let end = windows.end_of(*time);
            last = if windows.is_plain() {
                (windows.start_of_slice(end), end, end)
            } else {
                (*time, time.saturating_add(1), end)
            };
        }
        last.2
    };
    Ok(times.iter().map(end_of).collect())
}
