//! Partitions as splits: batches come from the log as `Bytes`, values go straight into columns.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMillisecondArray};
use bytes::Bytes;
use highwater_coordinator::{Topic, Topics};
use highwater_env::{Offset, TopicPartition};
use highwater_formats::RecordDecoder;
use highwater_log::{Bounds, Log, LogBatch, ReadError, Record};
use highwater_stream::{
    ConnectorError, ErrorKind, Position, SourceConnector, SourcePoll, SourceSpec, SplitId, SplitReader,
};

use super::{own_log, topic};
use crate::decode::{Layout, Outcome};
use crate::options::{BadRecords, TableOptions};

/// Bytes asked of the log at a time.
const READ_BYTES: usize = 1 << 20;

/// A batch that inflates further is refused.
const INFLATED_BYTES_MAX: usize = 128 << 20;

/// Value bytes of one poll, about.
const POLL_BYTES_MAX: usize = 8 << 20;

/// Metadata columns, as in Flink; `headers` and `leader-epoch` come later.
const METADATA: [&str; 5] = ["topic", "partition", "offset", "timestamp", "timestamp-type"];
const OFFSET: usize = 2;
const TIMESTAMP: usize = 3;

/// One topic.
pub(crate) struct KafkaSource {
    log: Log,
    topics: Topics,
    spec: SourceSpec,
    topic: Topic,
    layout: Layout,
    bad_records: BadRecords,
    startup: Startup,
    bounded: bool,
}

/// `scan.startup.mode`.
enum Startup {
    Earliest,
    Latest,
    Timestamp(i64),
    /// By partition; others start at the earliest.
    Offsets(Vec<(i32, Offset)>),
}

impl Startup {
    fn new(options: TableOptions<'_>) -> Result<Self, ConnectorError> {
        match options.get("scan.startup.mode") {
            Some("earliest-offset") => Ok(Self::Earliest),
            Some("latest-offset") => Ok(Self::Latest),
            // A pipeline keeps its positions itself; without any it starts where a new group would.
            None | Some("group-offsets") => match options.get("properties.auto.offset.reset") {
                Some("latest") => Ok(Self::Latest),
                _ => Ok(Self::Earliest),
            },
            Some("timestamp") => {
                let key = "scan.startup.timestamp-millis";
                options.required(key)?;
                Ok(Self::Timestamp(options.number(key, 0)?))
            }
            Some("specific-offsets") => {
                let text = options.required("scan.startup.specific-offsets")?;
                let wrong = || {
                    options.error(format!(
                        "'scan.startup.specific-offsets' is '{text}', expected partition:0,offset:42;..."
                    ))
                };
                specific_offsets(text).map(Self::Offsets).ok_or_else(wrong)
            }
            Some(other) => Err(options.error(format!(
                "option 'scan.startup.mode' is '{other}', expected earliest-offset, latest-offset, \
                 group-offsets, timestamp or specific-offsets"
            ))),
        }
    }
}

fn specific_offsets(text: &str) -> Option<Vec<(i32, Offset)>> {
    let pair = |part: &str| {
        let (partition, offset) = part.split_once(',')?;
        let partition = partition.trim().strip_prefix("partition:")?.trim().parse().ok()?;
        Some((partition, offset.trim().strip_prefix("offset:")?.trim().parse().ok()?))
    };
    text.split(';').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

impl KafkaSource {
    pub(crate) fn new(
        log: Option<&(Log, Topics)>,
        spec: &SourceSpec,
        options: TableOptions<'_>,
    ) -> Result<Self, ConnectorError> {
        let (log, topics) = own_log(log, options)?;
        let layout = Layout::new(spec, &METADATA, options)?;
        layout.decoder(&spec.declared, options)?;
        if options.get("value.fields-include") == Some("EXCEPT_KEY") {
            return Err(
                options.error("columns from record keys are not supported by this version".to_owned())
            );
        }
        let bounded = match options.get("scan.bounded.mode") {
            None | Some("unbounded") => false,
            Some("latest-offset") => true,
            Some(other) => {
                return Err(options.error(format!(
                    "option 'scan.bounded.mode' is '{other}', expected unbounded or latest-offset"
                )));
            }
        };
        Ok(Self {
            topic: topic(topics, options)?,
            log: log.clone(),
            topics: topics.clone(),
            spec: spec.clone(),
            layout,
            bad_records: options.bad_records(BadRecords::DeadLetter)?,
            startup: Startup::new(options)?,
            bounded,
        })
    }

    fn place(&self) -> String {
        format!("table {}", self.spec.table)
    }

    fn start(&self, tp: TopicPartition, bounds: Bounds) -> Result<Offset, ConnectorError> {
        let start = match &self.startup {
            Startup::Earliest => bounds.log_start_offset,
            Startup::Latest => bounds.high_watermark,
            Startup::Timestamp(ms) => {
                let found =
                    self.log.offset_for_time(tp, *ms).map_err(|error| read_error(&self.place(), &error))?;
                found.map_or(bounds.high_watermark, |(offset, _)| offset)
            }
            Startup::Offsets(offsets) => {
                let wanted = offsets.iter().find(|(partition, _)| *partition == tp.partition);
                wanted.map_or(bounds.log_start_offset, |(_, offset)| *offset)
            }
        };
        self.within(start, tp, bounds)
    }

    /// The partition that a split names.
    fn partition(&self, split: &SplitId) -> Result<TopicPartition, ConnectorError> {
        let known = |partition: &i32| *split == SplitId::of_partition(self.topic.id, *partition);
        let partition = split.0.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).filter(known);
        let gone = || {
            let message = format!(
                "split {} is of another topic {}: the topic was deleted and made again, \
                 or the state belongs to another node; drop the pipeline to start over",
                split.0, self.topic.name
            );
            ConnectorError::new(ErrorKind::PositionLost, self.place(), message)
        };
        partition.map(|partition| self.topic.partition(partition)).ok_or_else(gone)
    }

    fn within(&self, offset: Offset, tp: TopicPartition, bounds: Bounds) -> Result<Offset, ConnectorError> {
        let (first, end) = (bounds.log_start_offset, bounds.log_end_offset);
        if (first..=end).contains(&offset) {
            return Ok(offset);
        }
        let message = format!(
            "offset {offset} of {}-{} is gone, the log has {first}..{end}",
            self.topic.name, tp.partition
        );
        Err(ConnectorError::new(ErrorKind::PositionLost, self.place(), message))
    }
}

impl SourceConnector for KafkaSource {
    fn splits(&mut self) -> Result<Vec<SplitId>, ConnectorError> {
        if let Some(topic) = self.topics.by_id(self.topic.id) {
            self.topic = topic;
        }
        Ok((0..self.topic.partitions)
            .map(|partition| SplitId::of_partition(self.topic.id, partition))
            .collect())
    }

    fn is_bounded(&self) -> bool {
        self.bounded
    }

    fn open(
        &mut self,
        split: &SplitId,
        from: Option<Position>,
    ) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let tp = self.partition(split)?;
        let bounds = self.log.bounds(tp).map_err(|error| read_error(&self.place(), &error))?;
        let next = match from {
            None => self.start(tp, bounds)?,
            Some(position) => self.within(Offset::try_from(position.0).unwrap_or(Offset::MAX), tp, bounds)?,
        };
        let options = TableOptions { table: &self.spec.table, options: &self.spec.options };
        Ok(Box::new(PartitionReader {
            log: self.log.clone(),
            tp,
            name: format!("{}-{}", self.topic.name, tp.partition),
            topic: Arc::clone(&self.topic.name),
            decoder: self.layout.decoder(&self.spec.declared, options)?,
            layout: self.layout.clone(),
            bad_records: self.bad_records,
            next,
            end: self.bounded.then_some(bounds.last_stable_offset),
            batches: VecDeque::new(),
            records: Vec::new().into_iter(),
            batch_end: next,
            high_watermark: bounds.high_watermark,
            offsets: Vec::new(),
            timestamps: Vec::new(),
        }))
    }
}

/// Reads one partition, never past the last stable offset.
struct PartitionReader {
    log: Log,
    tp: TopicPartition,
    /// `topic-partition`.
    name: String,
    topic: Arc<str>,
    decoder: RecordDecoder,
    layout: Layout,
    bad_records: BadRecords,
    /// The offset after the last record that became a row, a reject or nothing.
    next: Offset,
    /// Where a bounded table ends.
    end: Option<Offset>,
    batches: VecDeque<LogBatch>,
    records: std::vec::IntoIter<Record>,
    /// The offset after the batch whose records these are: past the last record, if compaction took
    /// that away.
    batch_end: Offset,
    high_watermark: Offset,
    /// Of the rows in the decoder, if the plan wants them.
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
}

impl SplitReader for PartitionReader {
    fn poll(&mut self, rows_max: usize, waker: &Waker) -> Result<SourcePoll, ConnectorError> {
        let mut outcome = Outcome::default();
        let started = self.next;
        let mut bytes = 0;
        while self.decoder.len() < rows_max.max(1) && bytes < POLL_BYTES_MAX {
            let Some(record) = self.next_record()? else { break };
            if record.offset < self.next {
                continue;
            }
            let last = self.next;
            match self.decode(&record, &mut outcome) {
                Ok(()) => {}
                // The rows before it go first; it is read again.
                Err(_) if started < last => {
                    self.batches.clear();
                    self.records = Vec::new().into_iter();
                    self.batch_end = last;
                    break;
                }
                Err(error) => return Err(error),
            }
            bytes += record.value.as_ref().map_or(0, Bytes::len);
            self.next = record.offset + 1;
        }
        if started < self.next {
            return self.batch(outcome).map(SourcePoll::Batch);
        }
        if self.ended() {
            return Ok(SourcePoll::End);
        }
        if let Some(why) = self.log.stats().poisoned {
            let message = format!("the log stopped: {why}");
            return Err(ConnectorError::new(ErrorKind::External, &*self.name, message));
        }
        self.log.wake_at(self.tp, self.next.max(self.high_watermark), waker);
        Ok(SourcePoll::Pending)
    }

    fn position(&self) -> Option<Position> {
        u64::try_from(self.next).ok().map(Position)
    }

    fn lag(&self) -> Option<u64> {
        let bounds = self.log.bounds(self.tp).ok()?;
        u64::try_from(bounds.high_watermark - self.next).ok()
    }
}

impl PartitionReader {
    fn ended(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// The next record that is there now.
    fn next_record(&mut self) -> Result<Option<Record>, ConnectorError> {
        loop {
            if self.ended() {
                return Ok(None);
            }
            if let Some(record) = self.records.next() {
                return Ok(Some(record));
            }
            self.next = self.next.max(self.batch_end);
            match self.batches.pop_front() {
                Some(batch) => {
                    self.batch_end = batch.next_offset();
                    let records = batch.records(INFLATED_BYTES_MAX);
                    let records = records.map_err(|source| {
                        read_error(&self.name, &ReadError::Batch { offset: batch.base_offset(), source })
                    })?;
                    self.records = records.into_iter();
                }
                None if !self.read()? => return Ok(None),
                None => {}
            }
        }
    }

    /// Asks the log for more; false if there is nothing.
    fn read(&mut self) -> Result<bool, ConnectorError> {
        let range = match self.log.read(self.tp, self.next, READ_BYTES) {
            Ok(range) => range,
            Err(ReadError::OffsetOutOfRange { offset, bounds }) => {
                let (first, end) = (bounds.log_start_offset, bounds.log_end_offset);
                let message = format!("offset {offset} is gone, the log has {first}..{end}");
                return Err(ConnectorError::new(ErrorKind::PositionLost, &*self.name, message));
            }
            Err(error) => return Err(read_error(&self.name, &error)),
        };
        self.high_watermark = range.bounds.high_watermark;
        let stable = |batch: &&LogBatch| batch.next_offset() <= range.bounds.last_stable_offset;
        let stable: Vec<&LogBatch> = range.batches.iter().take_while(stable).collect();
        let Some(last) = stable.last() else { return Ok(false) };
        self.batches =
            stable.iter().filter(|batch| range.is_committed(batch)).map(|b| (*b).clone()).collect();
        if self.batches.is_empty() {
            self.next = self.next.max(last.next_offset());
        }
        Ok(true)
    }

    fn decode(&mut self, record: &Record, outcome: &mut Outcome) -> Result<(), ConnectorError> {
        // A tombstone is no row.
        let value = record.value.as_deref().unwrap_or_default();
        let before = self.decoder.len();
        let verdict = self.decoder.push(value);
        let rows = self.decoder.len() - before;
        if self.layout.wants(OFFSET) {
            self.offsets.extend(std::iter::repeat_n(record.offset, rows));
        }
        if self.layout.wants(TIMESTAMP) {
            self.timestamps.extend(std::iter::repeat_n(record.timestamp_ms, rows));
        }
        outcome.take(verdict, self.bad_records, || {
            (self.name.clone(), record.offset.unsigned_abs(), record.value.clone().unwrap_or_default())
        })
    }

    fn batch(&mut self, outcome: Outcome) -> Result<highwater_stream::SourceBatch, ConnectorError> {
        let defect = |name: &str, error: String| ConnectorError::new(ErrorKind::External, name, error);
        let kinds = self.decoder.take_kinds();
        let payload = self.decoder.finish().map_err(|error| defect(&self.name, error.to_string()))?;
        let rows = payload.num_rows();
        let offsets = std::mem::take(&mut self.offsets);
        let timestamps = std::mem::take(&mut self.timestamps);
        let metadata = |index: usize| -> ArrayRef {
            match index {
                0 => Arc::new(StringArray::from(vec![&*self.topic; rows])),
                1 => Arc::new(Int32Array::from(vec![self.tp.partition; rows])),
                OFFSET => Arc::new(Int64Array::from(offsets.clone())),
                TIMESTAMP => {
                    Arc::new(TimestampMillisecondArray::from(timestamps.clone()).with_timezone("UTC"))
                }
                _ => Arc::new(StringArray::from(vec!["CreateTime"; rows])),
            }
        };
        let rows = self.layout.assemble(&payload, metadata).map_err(|error| defect(&self.name, error))?;
        Ok(outcome.batch(rows, kinds, self.next.unsigned_abs()))
    }
}

fn read_error(place: &str, error: &ReadError) -> ConnectorError {
    let kind = match error {
        ReadError::UnknownPartition(_) | ReadError::OffsetOutOfRange { .. } => ErrorKind::PositionLost,
        ReadError::Corrupt { .. } | ReadError::Batch { .. } | ReadError::Io { .. } => ErrorKind::External,
    };
    ConnectorError::new(kind, place, error.to_string())
}
