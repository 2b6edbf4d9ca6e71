//! Bound expressions, made physical once and evaluated per batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion_common::{DFSchema, DataFusionError, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{BinaryExpr, Expr, Operator};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use highwater_stream::EventTime;

use crate::JobError;

/// An expression over the rows of one schema.
#[derive(Debug)]
pub(crate) struct Compiled {
    expression: Arc<dyn PhysicalExpr>,
    operator: String,
}

impl Compiled {
    /// Compiles `expression` over `schema` for the operator titled `operator`.
    pub(crate) fn new(expression: &Expr, schema: &SchemaRef, operator: &str) -> Result<Self, JobError> {
        let wrong = |e: DataFusionError| JobError::Plan(format!("{operator}: {expression}: {}", words(&e)));
        let df_schema = DFSchema::try_from(schema.as_ref().clone()).map_err(wrong)?;
        let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let compiled = create_physical_expr(expression, &df_schema, &props, &context).map_err(wrong)?;
        Ok(Self { expression: compiled, operator: operator.to_owned() })
    }

    /// One value per row.
    pub(crate) fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, JobError> {
        let value = self.expression.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()));
        value.map_err(|e| self.failed(&words(&e)))
    }

    /// One boolean per row.
    pub(crate) fn evaluate_boolean(&self, rows: &RecordBatch) -> Result<BooleanArray, JobError> {
        let value = self.evaluate(rows)?;
        match value.data_type() {
            DataType::Boolean => Ok(value.as_boolean().clone()),
            other => Err(self.failed(&format!("a filter of type {other}, expected BOOLEAN"))),
        }
    }

    fn failed(&self, message: &str) -> JobError {
        JobError::Evaluation { operator: self.operator.clone(), message: message.to_owned() }
    }
}

/// `WATERMARK FOR .. AS expression`.
#[derive(Debug)]
pub(crate) struct WatermarkOf {
    times: Compiled,
    delay_ms: i64,
}

impl WatermarkOf {
    pub(crate) fn new(expression: &Expr, schema: &SchemaRef, operator: &str) -> Result<Self, JobError> {
        let (expression, delay_ms) = without_delay(expression).unwrap_or((expression, 0));
        Ok(Self { times: Compiled::new(expression, schema, operator)?, delay_ms })
    }

    /// Times in ms from which the delay is still to be taken: calendar arithmetic row by row costs more than
    /// the rest of reading a row.
    pub(crate) fn evaluate(
        &self,
        rows: &RecordBatch,
    ) -> Result<(PrimitiveArray<TimestampMillisecondType>, i64), JobError> {
        let times = event_times(&self.times.evaluate(rows)?);
        let wrong = || self.times.failed("the watermark is not a timestamp");
        Ok((times.ok_or_else(wrong)?, self.delay_ms))
    }
}

/// `x` and the ms of `x - INTERVAL '..'`, if the interval has whole ms and neither days nor months.
fn without_delay(expression: &Expr) -> Option<(&Expr, i64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) = expression else { return None };
    let Expr::Literal(literal, _) = right.as_ref() else { return None };
    let delay_ms = match literal {
        ScalarValue::IntervalDayTime(Some(delay)) if delay.days == 0 => i64::from(delay.milliseconds),
        ScalarValue::IntervalMonthDayNano(Some(delay)) if delay.months == 0 && delay.days == 0 => {
            (delay.nanoseconds % 1_000_000 == 0).then_some(delay.nanoseconds / 1_000_000)?
        }
        ScalarValue::DurationMillisecond(Some(delay)) => *delay,
        ScalarValue::DurationSecond(Some(delay)) => delay.checked_mul(1_000)?,
        _ => return None,
    };
    Some((left, delay_ms))
}

/// A DataFusion error without its advice to report a bug there.
fn words(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Computes the columns of one schema from the rows of another.
#[derive(Debug)]
pub(crate) struct Projection {
    columns: Vec<Compiled>,
    schema: SchemaRef,
    operator: String,
}

impl Projection {
    pub(crate) fn new(
        columns: &[Expr],
        input: &SchemaRef,
        schema: SchemaRef,
        operator: &str,
    ) -> Result<Self, JobError> {
        if columns.len() != schema.fields().len() {
            let (found, expected) = (columns.len(), schema.fields().len());
            return Err(JobError::Plan(format!("{operator}: {found} columns, expected {expected}")));
        }
        let columns = columns.iter().map(|column| Compiled::new(column, input, operator));
        Ok(Self { columns: columns.collect::<Result<_, _>>()?, schema, operator: operator.to_owned() })
    }

    pub(crate) fn evaluate(&self, rows: &RecordBatch) -> Result<RecordBatch, JobError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter().zip(self.schema.fields()) {
            columns.push(as_type(column.evaluate(rows)?, field.data_type(), &self.operator)?);
        }
        record_batch(&self.schema, columns, rows.num_rows(), &self.operator)
    }
}

/// The same values in the type the plan declares.
pub(crate) fn as_type(column: ArrayRef, data_type: &DataType, operator: &str) -> Result<ArrayRef, JobError> {
    if column.data_type() == data_type {
        return Ok(column);
    }
    let wrong = |message: String| JobError::Evaluation { operator: operator.to_owned(), message };
    cast(&column, data_type).map_err(|e| wrong(e.to_string()))
}

/// Columns as rows; checks types and NULL against the schema.
pub(crate) fn record_batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
    operator: &str,
) -> Result<RecordBatch, JobError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|e| JobError::Evaluation { operator: operator.to_owned(), message: e.to_string() })
}

/// A timestamp column in ms, rounded down. None: not a timestamp.
pub(crate) fn event_times(column: &ArrayRef) -> Option<PrimitiveArray<TimestampMillisecondType>> {
    let DataType::Timestamp(unit, _) = column.data_type() else { return None };
    let times = match unit {
        TimeUnit::Millisecond => {
            let times = column.as_primitive::<TimestampMillisecondType>();
            PrimitiveArray::new(times.values().clone(), times.nulls().cloned())
        }
        TimeUnit::Second => column.as_primitive::<TimestampSecondType>().unary(|v| v.saturating_mul(1_000)),
        TimeUnit::Microsecond => {
            column.as_primitive::<TimestampMicrosecondType>().unary(|v| v.div_euclid(1_000))
        }
        TimeUnit::Nanosecond => {
            column.as_primitive::<TimestampNanosecondType>().unary(|v| v.div_euclid(1_000_000))
        }
    };
    Some(times)
}

/// The event time of each row, ms.
///
/// # Errors
/// If one is NULL.
pub(crate) fn row_times(
    rows: &RecordBatch,
    column: usize,
    operator: &str,
) -> Result<ScalarBuffer<EventTime>, JobError> {
    let Some(times) = rows.columns().get(column).and_then(event_times) else {
        return Err(JobError::Plan(format!("{operator}: column {column} is not a timestamp")));
    };
    if let Some(row) = times.nulls().and_then(|nulls| nulls.iter().position(|valid| !valid)) {
        let name = rows.schema_ref().field(column).name().clone();
        let message = format!(
            "event time {name} is NULL in row {row} of a batch, expected a timestamp: filter such rows"
        );
        return Err(JobError::Evaluation { operator: operator.to_owned(), message });
    }
    Ok(times.values().clone())
}

/// Event times as a column of `data_type`.
pub(crate) fn time_column(
    times: impl Iterator<Item = EventTime>,
    data_type: &DataType,
    operator: &str,
) -> Result<ArrayRef, JobError> {
    let ms = PrimitiveArray::<TimestampMillisecondType>::from_iter_values(times);
    let column: ArrayRef = match data_type {
        DataType::Timestamp(TimeUnit::Millisecond, zone) => Arc::new(ms.with_timezone_opt(zone.clone())),
        DataType::Timestamp(_, Some(zone)) => {
            let ms: ArrayRef = Arc::new(ms.with_timezone(Arc::clone(zone)));
            as_type(ms, data_type, operator)?
        }
        _ => as_type(Arc::new(ms), data_type, operator)?,
    };
    Ok(column)
}
