//! What conditions and measures are computed from.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use highwater_stream::{AggregateCall, EventTime, MatchRow, MatchValue};

use crate::JobError;
use crate::aggregates::Aggregates;
use crate::expressions::{as_type, record_batch, time_column};

/// The values of one condition, or of all measures, as columns.
pub(super) struct Values {
    /// The rows of a match that are needed, each once.
    pub(super) rows: Vec<MatchRow>,
    /// The groups of aggregates that are needed, each once.
    pub(super) groups: Vec<usize>,
    sources: Vec<Source>,
    pub(super) schema: SchemaRef,
    title: String,
}

enum Source {
    /// A column of the row with this index.
    Row(usize, usize),
    /// A call of the group with this index.
    Aggregate(usize, usize),
    Time(DataType),
}

/// Aggregates over the rows of one variable, or of the match.
pub(super) struct Group {
    pub(super) variable: Option<usize>,
    pub(super) aggregates: Aggregates,
}

/// Collects the aggregates of several [`Values`] by variable.
#[derive(Default)]
pub(super) struct Groups(Vec<(Option<usize>, Vec<AggregateCall>)>);

impl Groups {
    /// The group and the call in it.
    fn place(&mut self, variable: Option<usize>, call: &AggregateCall) -> (usize, usize) {
        let group = self.0.iter().position(|(other, _)| *other == variable).unwrap_or_else(|| {
            self.0.push((variable, Vec::new()));
            self.0.len() - 1
        });
        let calls = &mut self.0[group].1;
        let known = calls.iter().position(|other| other == call);
        let place = known.unwrap_or_else(|| {
            calls.push(call.clone());
            calls.len() - 1
        });
        (group, place)
    }

    pub(super) fn build(self, input: &SchemaRef, title: &str) -> Result<Vec<Group>, JobError> {
        let group = |(variable, calls): (Option<usize>, Vec<AggregateCall>)| {
            Ok(Group { variable, aggregates: Aggregates::new(&calls, input, false, title)? })
        };
        self.0.into_iter().map(group).collect()
    }
}

impl Values {
    pub(super) fn new(
        values: &[MatchValue],
        input: &SchemaRef,
        groups: &mut Groups,
        title: &str,
    ) -> Result<Self, JobError> {
        let (mut rows, mut used) = (Vec::new(), Vec::new());
        let (mut sources, mut fields) = (Vec::new(), Vec::new());
        for (index, value) in values.iter().enumerate() {
            let (source, data_type) = match value {
                MatchValue::Column { row, column } => {
                    let field = input.fields().get(*column);
                    let field =
                        field.ok_or_else(|| JobError::Plan(format!("{title}: no column {column}")))?;
                    (Source::Row(index_of(&mut rows, *row), *column), field.data_type().clone())
                }
                MatchValue::Aggregate { variable, call } => {
                    let (group, place) = groups.place(*variable, call);
                    (Source::Aggregate(index_of(&mut used, group), place), call.output.clone())
                }
                MatchValue::Time(data_type) => (Source::Time(data_type.clone()), data_type.clone()),
            };
            sources.push(source);
            fields.push(Field::new(MatchValue::name(index), data_type, true));
        }
        let schema = SchemaRef::new(Schema::new(fields));
        Ok(Self { rows, groups: used, sources, schema, title: title.to_owned() })
    }

    /// Whether all is known from the row alone that falls to `variable`.
    pub(super) fn of_one_row(&self, variable: usize) -> bool {
        let this = |row: &MatchRow| {
            !row.first && row.offset == 0 && row.variable.is_none_or(|other| other == variable)
        };
        self.groups.is_empty() && self.rows.iter().all(this)
    }

    /// One row per match, from the columns of each of `rows`, the results of each of `groups`, and the times.
    pub(super) fn batch(
        &self,
        matches: usize,
        rows: &[Vec<ArrayRef>],
        groups: &[Vec<ArrayRef>],
        times: &[EventTime],
    ) -> Result<RecordBatch, JobError> {
        let mut columns = Vec::with_capacity(self.sources.len());
        for (source, field) in self.sources.iter().zip(self.schema.fields()) {
            let column = match source {
                Source::Row(row, column) => rows[*row][*column].clone(),
                Source::Aggregate(group, call) => groups[*group][*call].clone(),
                Source::Time(data_type) => time_column(times.iter().copied(), data_type, &self.title)?,
            };
            columns.push(as_type(column, field.data_type(), &self.title)?);
        }
        record_batch(&self.schema, columns, matches, &self.title)
    }
}

fn index_of<T: PartialEq>(known: &mut Vec<T>, value: T) -> usize {
    known.iter().position(|other| *other == value).unwrap_or_else(|| {
        known.push(value);
        known.len() - 1
    })
}
