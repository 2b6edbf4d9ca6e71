//! `checksum`: keeps nothing but how many rows a table has and the sum of their hashes, and prints both with
//! each epoch. Two engines that print the same have, with all likelihood, the same rows, in whatever order.
//!
//! A row's hash takes its columns in order, each as words of 64 bits: whole numbers, booleans, dates and times
//! (their number since 1970 in their own unit) as one; floating point as the bits of a DOUBLE; decimals as the
//! low and the high word of the unscaled number; text and bytes as their length, then 8 bytes a word, little
//! endian, the last one filled with zeros; NULL as one fixed word. `hash = (rotl(hash, 5) xor word) * PRIME`.
//! A row that goes away takes its hash off again.

use std::fmt::Write as _;
use std::sync::PoisonError;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use bytes::Bytes;
use highwater_env::Epoch;
use highwater_stream::{
    ChangeBatch, Committable, Committer, ConnectorError, ErrorKind, RowKind, SinkConnector,
};

use crate::Printer;
use crate::options::TableOptions;

const PRIME: u64 = 0x9E37_79B9_7F4A_7C15;
const NULL: u64 = 0x6E75_6C6C_6E75_6C6C;

/// Rows and the sum of their hashes, both modulo 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    hashes: u64,
}

/// One shard's part.
pub(crate) struct ChecksumSink {
    place: String,
    /// Since the last epoch.
    sum: Sum,
    hashes: Vec<u64>,
}

impl ChecksumSink {
    pub(crate) fn new(options: TableOptions<'_>) -> Self {
        Self { place: format!("table {}", options.table), sum: Sum::default(), hashes: Vec::new() }
    }
}

impl SinkConnector for ChecksumSink {
    fn write(&mut self, changes: &ChangeBatch) -> Result<(), ConnectorError> {
        self.hashes.clear();
        self.hashes.resize(changes.len(), 0);
        for column in changes.rows.columns() {
            add_column(&mut self.hashes, column)
                .map_err(|error| ConnectorError::new(ErrorKind::Config, &*self.place, error))?;
        }
        for (row, hash) in self.hashes.iter().enumerate() {
            let kind = changes.kinds.as_ref().map_or(RowKind::Insert, |kinds| kinds[row]);
            if matches!(kind, RowKind::Insert | RowKind::UpdateAfter) {
                self.sum.rows = self.sum.rows.wrapping_add(1);
                self.sum.hashes = self.sum.hashes.wrapping_add(*hash);
            } else {
                self.sum.rows = self.sum.rows.wrapping_sub(1);
                self.sum.hashes = self.sum.hashes.wrapping_sub(*hash);
            }
        }
        Ok(())
    }

    fn prepare(&mut self, _epoch: Epoch) -> Result<Committable, ConnectorError> {
        let sum = std::mem::take(&mut self.sum);
        let mut bytes = sum.rows.to_le_bytes().to_vec();
        bytes.extend(sum.hashes.to_le_bytes());
        Ok(Committable(Bytes::from(bytes)))
    }
}

/// Adds the shards' parts up and prints the sum of this process.
pub(crate) struct ChecksumCommitter {
    printer: Printer,
    table: String,
    sum: Sum,
}

impl ChecksumCommitter {
    pub(crate) fn new(printer: &Printer, options: TableOptions<'_>) -> Self {
        Self { printer: printer.clone(), table: options.table.to_owned(), sum: Sum::default() }
    }
}

impl Committer for ChecksumCommitter {
    fn commit(&mut self, _epoch: Epoch, prepared: &[Committable]) -> Result<(), ConnectorError> {
        let fail = |message: String| ConnectorError::new(ErrorKind::External, &*self.table, message);
        for part in prepared {
            let words = part.0.as_chunks::<8>().0;
            let [rows, hashes] = words else {
                return Err(fail(format!("a part of {} bytes, expected 16", part.0.len())));
            };
            self.sum.rows = self.sum.rows.wrapping_add(u64::from_le_bytes(*rows));
            self.sum.hashes = self.sum.hashes.wrapping_add(u64::from_le_bytes(*hashes));
        }
        let mut line = String::new();
        let (rows, hashes) = (self.sum.rows.cast_signed(), self.sum.hashes);
        let _ = writeln!(line, "checksum of {}: {rows} rows, {hashes:016x}", self.table);
        let mut out = self.printer.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(line.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| fail(format!("cannot print: {error}")))
    }
}

fn add(hash: &mut u64, word: u64) {
    *hash = (hash.rotate_left(5) ^ word).wrapping_mul(PRIME);
}

fn add_bytes(hash: &mut u64, bytes: &[u8]) {
    add(hash, bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        add(hash, u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        add(hash, u64::from_le_bytes(last));
    }
}

/// Takes one column into the hashes of its rows; else says which type it cannot take.
fn add_column(hashes: &mut [u64], column: &ArrayRef) -> Result<(), String> {
    let each = |hashes: &mut [u64], act: &dyn Fn(&mut u64, usize)| {
        for (row, hash) in hashes.iter_mut().enumerate() {
            if column.is_null(row) { add(hash, NULL) } else { act(hash, row) }
        }
    };
    let whole = |array: &ArrayRef| cast(array, &DataType::Int64).map_err(|error| error.to_string());
    match column.data_type() {
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            each(hashes, &|hash, row| add_bytes(hash, values.value(row).as_bytes()));
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            each(hashes, &|hash, row| add_bytes(hash, values.value(row)));
        }
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>();
            each(hashes, &|hash, row| {
                let value = values.value(row).cast_unsigned();
                add(hash, u64::try_from(value & u128::from(u64::MAX)).unwrap_or(0));
                add(hash, u64::try_from(value >> 64).unwrap_or(0));
            });
        }
        DataType::Float32 | DataType::Float64 => {
            let values = cast(column, &DataType::Float64).map_err(|error| error.to_string())?;
            let values = values.as_primitive::<Float64Type>();
            each(hashes, &|hash, row| add(hash, values.value(row).to_bits()));
        }
        DataType::Boolean => {
            let values = column.as_boolean();
            each(hashes, &|hash, row| add(hash, u64::from(values.value(row))));
        }
        DataType::Date32 | DataType::Time32(_) => {
            let values = whole(&cast(column, &DataType::Int32).map_err(|error| error.to_string())?)?;
            let values = values.as_primitive::<Int64Type>();
            each(hashes, &|hash, row| add(hash, values.value(row).cast_unsigned()));
        }
        other if other.is_integer() || matches!(other, DataType::Timestamp(..) | DataType::Time64(_)) => {
            let values = whole(column)?;
            let values = values.as_primitive::<Int64Type>();
            each(hashes, &|hash, row| add(hash, values.value(row).cast_unsigned()));
        }
        other => return Err(format!("a column of {other} cannot be hashed")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{Field, Schema};
    use highwater_stream::Connect;

    use crate::Registry;
    use crate::registry::tests::{Printed, options, outside, sink_spec};

    use super::*;

    fn rows(rows: &[(Option<i64>, &str)], kinds: &[RowKind]) -> ChangeBatch {
        let schema =
            Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]);
        let numbers: Int64Array = rows.iter().map(|(number, _)| *number).collect();
        let texts = StringArray::from_iter_values(rows.iter().map(|(_, text)| *text));
        let columns: Vec<ArrayRef> = vec![Arc::new(numbers), Arc::new(texts)];
        ChangeBatch::with_kinds(RecordBatch::try_new(Arc::new(schema), columns).unwrap(), kinds.to_vec())
    }

    /// What is printed after each shard has written its batches.
    fn printed(shards: &[Vec<ChangeBatch>]) -> String {
        let printed = Printed::default();
        let connect = Registry::new(outside(&printed));
        let spec = sink_spec(options(&[("connector", "checksum")], &[]), Vec::new());
        let schema = shards[0][0].rows.schema();
        let parts: Vec<Committable> = shards
            .iter()
            .enumerate()
            .map(|(shard, batches)| {
                let mut sink = connect.sink("uid", &spec, &schema, shard).unwrap();
                batches.iter().for_each(|batch| sink.write(batch).unwrap());
                sink.prepare(Epoch(1)).unwrap()
            })
            .collect();
        connect.committer("uid", &spec, &schema).unwrap().commit(Epoch(1), &parts).unwrap();
        String::from_utf8(printed.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn order_and_shards_do_not_matter_and_what_came_and_went_is_gone() {
        use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
        let one = printed(&[vec![rows(&[(Some(1), "a"), (None, "twelve bytes")], &[Insert, Insert])]]);
        let other = printed(&[
            vec![rows(&[(Some(1), "b"), (None, "twelve bytes")], &[Insert, Insert])],
            vec![
                rows(&[(Some(1), "b"), (Some(1), "a")], &[UpdateBefore, UpdateAfter]),
                rows(&[(Some(2), ""), (Some(2), "")], &[Insert, Delete]),
            ],
        ]);
        assert_eq!(one, other);
        assert!(one.starts_with("checksum of t: 2 rows, "), "{one}");
        let third = printed(&[vec![rows(&[(None, "a"), (Some(1), "twelve bytes")], &[Insert, Insert])]]);
        assert_ne!(one, third);
    }
}
