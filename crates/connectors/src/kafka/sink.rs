//! Rows to record batches, exactly once.
//!
//! Each writer is an idempotent producer of its own: a random id, sequences counted from 0 per
//! partition. `prepare` hands over the encoded batches; the committer appends them as they are. What a
//! crash makes it append again has the same id and sequence, so the log knows it. A restarted writer
//! is a new producer, and rows of epochs that never came to a manifest are in nobody's batches.
//!
//! A committable:
//! ```text
//! byte  size  field
//!    0     4  "HWKC"
//!    4     1  version, 1
//!    5        for each batch: partition (4, big-endian), length (4, big-endian), Kafka record batch v2
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_coordinator::{RECORD_BYTES_EXTRA, Topic, Topics, partition_for_key};
use highwater_env::{Clock, Epoch};
use highwater_formats::RecordEncoder;
use highwater_log::{AppendError, BatchBuilder, Log, LogBatch, Ticket};
use highwater_stream::{
    ChangeBatch, Committable, Committer, ConnectorError, ErrorKind, SinkConnector, carries_changes,
};

use super::{own_log, topic};
use crate::Outside;
use crate::inserts::only_inserts;
use crate::options::TableOptions;

/// A batch of several rows grows to no more bytes than this.
const BATCH_BYTES: usize = 512 << 10;

/// A row, key and value together, gets no larger, whatever its topic takes: a batch of it alone must stay
/// below the log's limit.
const ROW_BYTES_MAX: usize = 7 << 20;

const MAGIC: &[u8; 5] = b"HWKC\x01";

/// Encodes rows of one shard.
pub(crate) struct KafkaSink {
    clock: Arc<dyn Clock>,
    topics: Topics,
    /// As it was last looked up: its configs may change.
    topic: Topic,
    place: String,
    shard: usize,
    value: RecordEncoder,
    value_columns: Vec<usize>,
    /// The key's encoder and columns, if records have keys.
    key: Option<(RecordEncoder, Vec<usize>)>,
    producer_id: i64,
    /// The next sequence number of each partition.
    sequences: BTreeMap<i32, i32>,
    open: BTreeMap<i32, BatchBuilder>,
    encoded: BytesMut,
    writes: usize,
}

impl KafkaSink {
    pub(crate) fn new(
        outside: &Outside,
        primary_key: &[usize],
        options: TableOptions<'_>,
        input: &SchemaRef,
        shard: usize,
    ) -> Result<Self, ConnectorError> {
        let (_, topics) = own_log(outside.log.as_ref(), options)?;
        let key_columns = key_columns(primary_key, options, input)?;
        let except_key = match options.get("value.fields-include") {
            None | Some("ALL") => false,
            Some("EXCEPT_KEY") => true,
            Some(other) => {
                return Err(options.error(format!(
                    "option 'value.fields-include' is '{other}', expected ALL or EXCEPT_KEY"
                )));
            }
        };
        let in_value = |column: &usize| !(except_key && key_columns.contains(column));
        let value_columns: Vec<usize> = (0..input.fields().len()).filter(in_value).collect();
        let format = options.format()?;
        let encoder = |format: &str, columns: &[usize], prefix: &str| {
            let schema: SchemaRef =
                projected(input, columns, options.get("key.fields-prefix").unwrap_or_default(), prefix);
            RecordEncoder::new(format, &schema, &options.format_options(prefix))
                .map_err(|error| options.error(error.to_string()))
        };
        // A key does not change: in the key of a changelog stands plain JSON.
        let key_format = options.get("key.format").unwrap_or(match carries_changes(options.options) {
            true => "json",
            false => format,
        });
        let key = match key_columns.is_empty() {
            true => None,
            false => Some((encoder(key_format, &key_columns, "key.")?, key_columns.clone())),
        };
        Ok(Self {
            clock: Arc::clone(&outside.clock),
            topics: topics.clone(),
            topic: written_topic(topics, options)?,
            place: format!("table {}", options.table),
            shard,
            value: encoder(format, &value_columns, "value.")?,
            value_columns,
            key,
            producer_id: (outside.entropy.next_u64() >> 1).cast_signed(),
            sequences: BTreeMap::new(),
            open: BTreeMap::new(),
            encoded: BytesMut::from(&MAGIC[..]),
            writes: 0,
        })
    }

    fn rows(
        &self,
        changes: &ChangeBatch,
        encoder: &RecordEncoder,
        columns: &[usize],
    ) -> Result<(Vec<u8>, Vec<usize>), ConnectorError> {
        let wrong = |error: String| ConnectorError::new(ErrorKind::Config, &*self.place, error);
        let rows = changes.rows.project(columns).map_err(|error| wrong(error.to_string()))?;
        let (mut text, mut ends) = (Vec::new(), Vec::with_capacity(rows.num_rows()));
        encoder
            .encode(&rows, changes.kinds.as_deref(), &mut text, |_, text| ends.push(text.len()))
            .map_err(|error| wrong(error.to_string()))?;
        Ok((text, ends))
    }

    /// Adds a row to its partition's batch.
    fn push(
        &mut self,
        partition: i32,
        now_ms: i64,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> Result<(), ConnectorError> {
        let row_bytes = value.len() + key.map_or(0, <[u8]>::len);
        if row_bytes > ROW_BYTES_MAX {
            return Err(self.refused(format!("a row of {row_bytes} bytes, expected at most {ROW_BYTES_MAX}")));
        }
        let target = self.topic.batch_bytes_target().min(BATCH_BYTES);
        let is_full = |open: &BatchBuilder| open.bytes() + row_bytes + RECORD_BYTES_EXTRA > target;
        if self.open.get(&partition).is_some_and(is_full)
            && let Some(full) = self.open.remove(&partition)
        {
            self.close(partition, full)?;
        }
        let builder = match self.open.entry(partition) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(none) => {
                let sequence = self.sequences.get(&partition).copied().unwrap_or(0);
                none.insert(BatchBuilder::new(now_ms).with_producer(self.producer_id, 0, sequence))
            }
        };
        builder.push(now_ms, key, Some(value), &[]);
        Ok(())
    }

    /// Ends a batch. What its topic does not take is refused here, before any manifest names it.
    fn close(&mut self, partition: i32, builder: BatchBuilder) -> Result<(), ConnectorError> {
        let batch = builder.finish();
        // Sequences wrap from the largest to 0.
        let next_sequence = batch.last_sequence().wrapping_add(1) & i32::MAX;
        let admitted = self.topic.admit(batch, self.clock.unix_ms());
        let admitted = admitted.map_err(|unfit| self.refused(unfit.to_string()))?;
        self.sequences.insert(partition, next_sequence);
        let bytes = admitted.batch.bytes();
        self.encoded.put_i32(partition);
        self.encoded.put_u32(
            u32::try_from(bytes.len()).expect("a batch is closed at BATCH_BYTES, and one row is below 2 GiB"),
        );
        self.encoded.put_slice(bytes);
        Ok(())
    }

    fn refused(&self, message: String) -> ConnectorError {
        ConnectorError::new(ErrorKind::BadRecord, &*self.place, message)
    }
}

/// The table's topic, which must not be one of the node's own.
fn written_topic(topics: &Topics, options: TableOptions<'_>) -> Result<Topic, ConnectorError> {
    let topic = topic(topics, options)?;
    if topic.internal {
        return Err(options.error(format!("option 'topic' is '{}', which is the node's own", topic.name)));
    }
    Ok(topic)
}

/// The columns of the record key: `key.fields`, else the primary key.
fn key_columns(
    primary_key: &[usize],
    options: TableOptions<'_>,
    input: &SchemaRef,
) -> Result<Vec<usize>, ConnectorError> {
    let Some(names) = options.get("key.fields") else { return Ok(primary_key.to_vec()) };
    let column = |name: &str| {
        input
            .index_of(name.trim())
            .map_err(|_| options.error(format!("option 'key.fields' names '{name}', which is no column")))
    };
    names.split(';').filter(|name| !name.trim().is_empty()).map(column).collect()
}

/// The schema of some columns; in a key without the prefix that sets them apart in SQL.
fn projected(input: &SchemaRef, columns: &[usize], prefix: &str, part: &str) -> SchemaRef {
    let field = |column: &usize| {
        let field = input.field(*column).clone();
        let bare = field.name().strip_prefix(prefix).unwrap_or(field.name()).to_owned();
        if part == "key." { field.with_name(bare) } else { field }
    };
    Schema::new(columns.iter().map(field).collect::<Vec<_>>()).into()
}

impl SinkConnector for KafkaSink {
    fn write(&mut self, changes: &ChangeBatch) -> Result<(), ConnectorError> {
        if !self.value.takes_changes() {
            only_inserts(changes, &self.place)?;
        }
        if let Some(topic) = self.topics.by_id(self.topic.id) {
            self.topic = topic;
        }
        let (values, value_ends) = self.rows(changes, &self.value, &self.value_columns)?;
        let keys = match &self.key {
            Some((encoder, columns)) => Some(self.rows(changes, encoder, columns)?),
            None => None,
        };
        // Rows without a key go to one partition per batch, to all in turn; changes stay in order in one.
        let count = usize::try_from(self.topic.partitions).unwrap_or(1).max(1);
        let keyless = i32::try_from((self.shard + self.writes) % count).unwrap_or(0);
        self.writes = self.writes.wrapping_add(usize::from(!self.value.takes_changes()));
        let now_ms = self.clock.unix_ms();
        let mut start = 0;
        let mut key_start = 0;
        for (row, end) in value_ends.into_iter().enumerate() {
            let key = keys.as_ref().map(|(text, ends)| {
                let key = &text[key_start..ends[row]];
                key_start = ends[row];
                key
            });
            let partition = key.map_or(keyless, |key| partition_for_key(key, self.topic.partitions));
            self.push(partition, now_ms, key, &values[start..end])?;
            start = end;
        }
        Ok(())
    }

    fn prepare(&mut self, _epoch: Epoch) -> Result<Committable, ConnectorError> {
        for (partition, builder) in std::mem::take(&mut self.open) {
            self.close(partition, builder)?;
        }
        let encoded = std::mem::replace(&mut self.encoded, BytesMut::from(&MAGIC[..]));
        Ok(Committable(encoded.freeze()))
    }
}

/// Appends what writers prepared.
pub(crate) struct KafkaCommitter {
    log: Log,
    topics: Topics,
    topic: Topic,
    clock: Arc<dyn Clock>,
    place: String,
}

impl KafkaCommitter {
    pub(crate) fn new(outside: &Outside, options: TableOptions<'_>) -> Result<Self, ConnectorError> {
        let (log, topics) = own_log(outside.log.as_ref(), options)?;
        Ok(Self {
            log: log.clone(),
            topics: topics.clone(),
            topic: written_topic(topics, options)?,
            clock: Arc::clone(&outside.clock),
            place: format!("table {}", options.table),
        })
    }

    /// Appends a batch that its topic took when it was prepared; the time of the append is now.
    fn append(&self, partition: i32, batch: LogBatch) -> Result<Option<Ticket>, ConnectorError> {
        let (batch, _) = self.topic.config.stamped(batch, self.clock.unix_ms());
        match self.log.append(self.topic.partition(partition), batch) {
            Ok(ticket) => Ok(Some(ticket)),
            // Appended before, so long ago that the log forgot where.
            Err(AppendError::DuplicateSequence { .. }) => Ok(None),
            Err(error) => Err(self.append_error(&error)),
        }
    }

    fn append_error(&self, error: &AppendError) -> ConnectorError {
        let kind = match error {
            AppendError::Backpressure(_) | AppendError::DiskFull => ErrorKind::Transient,
            _ => ErrorKind::External,
        };
        ConnectorError::new(
            kind,
            &*self.place,
            format!("cannot append to topic {}: {error}", self.topic.name),
        )
    }
}

impl Committer for KafkaCommitter {
    fn commit(&mut self, epoch: Epoch, prepared: &[Committable]) -> Result<(), ConnectorError> {
        if let Some(topic) = self.topics.by_id(self.topic.id) {
            self.topic = topic;
        }
        let mut tickets = Vec::new();
        for committable in prepared {
            let batches = batches(committable.0.clone()).map_err(|what| {
                let message = format!("cannot read what epoch {epoch} prepared: {what}");
                ConnectorError::new(ErrorKind::External, &*self.place, message)
            })?;
            for (partition, batch) in batches {
                tickets.extend(self.append(partition, batch)?);
            }
        }
        for ticket in tickets {
            ticket.wait().map_err(|error| self.append_error(&error))?;
        }
        Ok(())
    }
}

pub(super) fn batches(mut encoded: Bytes) -> Result<Vec<(i32, LogBatch)>, String> {
    if encoded.is_empty() {
        return Ok(Vec::new());
    }
    if !encoded.starts_with(MAGIC) {
        return Err("it is not a committable of version 1".to_owned());
    }
    encoded.advance(MAGIC.len());
    let mut batches = Vec::new();
    while encoded.has_remaining() {
        if encoded.remaining() < 8 {
            return Err("it is cut short".to_owned());
        }
        let partition = encoded.get_i32();
        let length = usize::try_from(encoded.get_u32()).map_err(|error| error.to_string())?;
        if encoded.remaining() < length {
            return Err("it is cut short".to_owned());
        }
        let batch = LogBatch::parse(encoded.split_to(length)).map_err(|error| error.to_string())?;
        batches.push((partition, batch));
    }
    Ok(batches)
}
