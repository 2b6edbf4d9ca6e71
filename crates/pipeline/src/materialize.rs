//! The sink that keeps a materialized table.
//!
//! A writer encodes its rows as they come; `prepare` hands them over as one committable, which the
//! manifest makes durable; the committer applies them to the table store together with the epoch.
//!
//! A committable is changes, one after the other (numbers little endian):
//!
//! ```text
//! u32 key length | key | u8 present | u32 rest length | rest      present 0: deleted, no rest
//! ```

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use highwater_env::Epoch;
use highwater_stream::{
    ChangeBatch, Committable, Committer, ConnectorError, ErrorKind, RowKind, SinkConnector,
};

use crate::tables::row_codec::{encode_row, is_storable};
use crate::tables::{KeyedChange, TableDefinition, Tables};

/// Refuses a table whose columns the store cannot keep.
///
/// # Errors
/// Names the first such column.
pub fn check_storable(table: &str, schema: &SchemaRef) -> Result<(), ConnectorError> {
    match schema.fields().iter().find(|field| !is_storable(field.data_type())) {
        None => Ok(()),
        Some(field) => {
            let message = format!(
                "column {} has type {}, expected a scalar type: cast it or leave it out",
                field.name(),
                field.data_type()
            );
            Err(ConnectorError::new(ErrorKind::Config, table, message))
        }
    }
}

/// Writes one shard's rows.
pub struct MaterializedSink {
    tables: Arc<Tables>,
    table: String,
    key_columns: Vec<usize>,
    rest_columns: Vec<usize>,
    epoch: Vec<u8>,
}

impl MaterializedSink {
    /// A writer for the table defined so.
    pub fn new(tables: Arc<Tables>, definition: &TableDefinition) -> Self {
        let all = 0..definition.schema.fields().len();
        let rest_columns = all.filter(|column| !definition.primary_key.contains(column)).collect();
        let key_columns = definition.primary_key.clone();
        Self { tables, table: definition.name.clone(), key_columns, rest_columns, epoch: Vec::new() }
    }
}

impl SinkConnector for MaterializedSink {
    fn write(&mut self, changes: &ChangeBatch) -> Result<(), ConnectorError> {
        let (mut key, mut rest) = (Vec::new(), Vec::new());
        for row in 0..changes.len() {
            key.clear();
            encode_row(&changes.rows, &self.key_columns, row, &mut key);
            match changes.kind(row) {
                RowKind::Insert | RowKind::UpdateAfter => {
                    rest.clear();
                    encode_row(&changes.rows, &self.rest_columns, row, &mut rest);
                    put_change(&mut self.epoch, &key, Some(&rest));
                }
                // The +U that follows -U comes in the same epoch and wins.
                RowKind::UpdateBefore | RowKind::Delete => put_change(&mut self.epoch, &key, None),
            }
        }
        self.tables.announce_uncommitted(&self.table, changes);
        Ok(())
    }

    fn prepare(&mut self, _epoch: Epoch) -> Result<Committable, ConnectorError> {
        Ok(Committable(Bytes::from(std::mem::take(&mut self.epoch))))
    }
}

fn put_change(out: &mut Vec<u8>, key: &[u8], rest: Option<&[u8]>) {
    put_bytes(out, key);
    out.push(u8::from(rest.is_some()));
    if let Some(rest) = rest {
        put_bytes(out, rest);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("a row came in one batch, which is below 4 GiB");
    out.extend(len.to_le_bytes());
    out.extend(bytes);
}

/// Applies epochs to the table.
pub struct MaterializedCommitter {
    tables: Arc<Tables>,
    table: String,
}

impl MaterializedCommitter {
    /// A committer for `table`.
    pub fn new(tables: Arc<Tables>, table: &str) -> Self {
        Self { tables, table: table.to_owned() }
    }
}

impl Committer for MaterializedCommitter {
    fn commit(&mut self, epoch: Epoch, prepared: &[Committable]) -> Result<(), ConnectorError> {
        let failed = |message: String| ConnectorError::new(ErrorKind::External, &self.table, message);
        let mut changes = Vec::new();
        for committable in prepared {
            let malformed = || failed(format!("prepared changes of epoch {epoch} are malformed"));
            take_changes(&committable.0, &mut changes).ok_or_else(malformed)?;
        }
        self.tables.apply(&self.table, epoch, &changes).map_err(|error| failed(error.to_string()))
    }
}

fn take_changes(mut bytes: &[u8], changes: &mut Vec<KeyedChange>) -> Option<()> {
    while !bytes.is_empty() {
        let key = take_bytes(&mut bytes)?;
        let (present, tail) = bytes.split_first()?;
        bytes = tail;
        let rest = if *present == 0 { None } else { Some(take_bytes(&mut bytes)?) };
        changes.push(KeyedChange { key, rest });
    }
    Some(())
}

fn take_bytes(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let (len, tail) = bytes.split_first_chunk::<4>()?;
    let (taken, tail) = tail.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    *bytes = tail;
    Some(taken.to_vec())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch, StringArray};

    use super::*;
    use crate::tables::MemoryStore;

    fn table() -> (Arc<Tables>, TableDefinition) {
        let rows = batch(&[("x", 0)]);
        let definition = TableDefinition {
            name: "t".into(),
            schema: rows.schema(),
            primary_key: vec![0],
            pipeline: "p".into(),
        };
        let tables = Arc::new(Tables::new(Arc::new(MemoryStore::default())));
        tables.define(definition.clone()).unwrap();
        (tables, definition)
    }

    fn batch(rows: &[(&str, i64)]) -> RecordBatch {
        let keys = StringArray::from_iter_values(rows.iter().map(|(key, _)| *key));
        let numbers = Int64Array::from_iter_values(rows.iter().map(|(_, number)| *number));
        RecordBatch::try_from_iter([("k", Arc::new(keys) as _), ("n", Arc::new(numbers) as _)]).unwrap()
    }

    #[test]
    fn an_update_is_one_row_and_a_repeated_commit_changes_nothing() {
        use RowKind as R;
        let (tables, definition) = table();
        let mut sink = MaterializedSink::new(Arc::clone(&tables), &definition);
        let rows = batch(&[("a", 1), ("b", 5), ("a", 1), ("a", 2), ("b", 5)]);
        let kinds = vec![R::Insert, R::Insert, R::UpdateBefore, R::UpdateAfter, R::Delete];
        sink.write(&ChangeBatch::with_kinds(rows, kinds)).unwrap();
        let prepared = [sink.prepare(Epoch(1)).unwrap()];
        assert_eq!(tables.scan("t", 9).unwrap().rows.num_rows(), 0, "prepared is not visible");

        let mut committer = MaterializedCommitter::new(Arc::clone(&tables), "t");
        committer.commit(Epoch(1), &prepared).unwrap();
        committer.commit(Epoch(1), &prepared).unwrap();
        assert_eq!(tables.scan("t", 9).unwrap().rows, batch(&[("a", 2)]));
        assert_eq!(sink.prepare(Epoch(2)).unwrap().0.len(), 0, "an epoch begins empty");
    }

    #[test]
    fn malformed_changes_are_refused() {
        for bytes in [&[1][..], &[9, 0, 0, 0, 1], &[0, 0, 0, 0], &[0, 0, 0, 0, 1, 255, 255, 255, 255]] {
            assert_eq!(take_changes(bytes, &mut Vec::new()), None);
        }
    }
}
