//! Rows and changes of a materialized table.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema};
use highwater_env::Epoch;
use highwater_pipeline::tables::{self, TableDefinition, TableEvent, Tables};
use highwater_serve::{
    NodeError, RowQuery, SUBSCRIBER_QUEUE_MAX, Subscription, TableChanges, TableRows, Visibility,
};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::table_error;

/// Rows of the snapshot a subscription begins with.
const SNAPSHOT_ROWS_MAX: usize = 10_000;

pub(super) fn rows(tables: &Tables, table: &str, query: &RowQuery) -> Result<TableRows, NodeError> {
    let definition = definition(tables, table)?;
    let epoch = tables.epoch(table).map_err(table_error)?;
    let scan = if query.key.is_empty() {
        tables.scan(table, query.limit)
    } else {
        tables.lookup(table, &key_row(&definition, &query.key)?, query.limit)
    };
    let scan = scan.map_err(table_error)?;
    Ok(TableRows { epoch, rows: scan.rows, more: scan.more })
}

fn definition(tables: &Tables, table: &str) -> Result<TableDefinition, NodeError> {
    tables.definition(table).ok_or_else(|| NodeError::NotFound { what: "table", name: table.into() })
}

/// The key's texts as one row with the types of the table's columns.
fn key_row(definition: &TableDefinition, key: &[(String, String)]) -> Result<RecordBatch, NodeError> {
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (name, text) in key {
        let invalid = |message: String| NodeError::Invalid {
            message,
            hint: format!("the key of {} is ({})", definition.name, key_names(definition).join(", ")),
        };
        let field = definition.schema.field_with_name(name);
        let field = field.map_err(|_| invalid(format!("table {} has no column {name}", definition.name)))?;
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let texts: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
        let value = cast_with_options(&texts, field.data_type(), &strict);
        let wrong =
            || invalid(format!("`{text}` is not a value of column {name}, which is {}", field.data_type()));
        columns.push(value.map_err(|_| wrong())?);
        fields.push(Field::new(name, field.data_type().clone(), true));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|e| NodeError::Failed(e.to_string()))
}

fn key_names(definition: &TableDefinition) -> Vec<String> {
    definition.primary_key.iter().map(|column| definition.schema.field(*column).name().clone()).collect()
}

pub(super) fn subscribe(
    tables: &Tables,
    table: &str,
    visibility: Visibility,
) -> Result<Subscription, NodeError> {
    let definition = definition(tables, table)?;
    let wanted = match visibility {
        Visibility::Committed => tables::Visibility::Committed,
        Visibility::Uncommitted => tables::Visibility::Uncommitted,
    };
    let (queue, changes) = mpsc::channel(SUBSCRIBER_QUEUE_MAX);
    let overflowed = Arc::new(AtomicBool::new(false));
    let snapshot: Arc<Mutex<Option<(Epoch, RecordBatch)>>> = Arc::default();
    let (slot, full) = (Arc::clone(&snapshot), Arc::clone(&overflowed));
    let mut last = Epoch(0);
    let each = move |event: &TableEvent| {
        let (epoch, committed, changes) = match event {
            TableEvent::Snapshot { epoch, rows, .. } => {
                last = *epoch;
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((*epoch, rows.clone()));
                return true;
            }
            TableEvent::Committed { epoch, changes } => (*epoch, true, changes.clone()),
            TableEvent::Uncommitted { changes } => (last.next(), false, changes.clone()),
        };
        match queue.try_send(TableChanges { epoch, committed, changes }) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(_)) => {
                full.store(true, Ordering::Release);
                false
            }
        }
    };
    tables.subscribe(table, wanted, SNAPSHOT_ROWS_MAX, each).map_err(table_error)?;
    let taken = snapshot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (epoch, snapshot) = taken.expect("a subscriber is given the snapshot before subscribe returns");
    let (schema, primary_key) = (Arc::clone(&definition.schema), key_names(&definition));
    Ok(Subscription { schema, primary_key, epoch, snapshot, changes, overflowed })
}
