//! Where records go that could not become rows: a topic of the pipeline, written in the same epoch
//! as everything else, so that a replay does not double them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use highwater_env::Epoch;
use highwater_stream::{
    ChangeBatch, Committable, Committer, Connect, ConnectorError, RejectedRecord, SinkConnector, SinkSpec,
    SinkTarget,
};

/// Names the dead letter's committable in a manifest. No operator has this uid: theirs hold a colon.
pub(crate) const UID: &str = "dead-letter";

/// The topic of a pipeline's dead letters.
pub fn dead_letter_topic(pipeline: &str) -> String {
    format!("dead-letter.{pipeline}")
}

/// The columns of a dead letter:
///
/// | column | type | meaning |
/// |---|---|---|
/// | source | STRING | the source operator |
/// | split | STRING | `topic-partition`, or a file |
/// | position | BIGINT | the offset, or the line from 1 |
/// | reason | STRING | why it could not become a row |
/// | payload | STRING, nullable | the record, if it is UTF-8; at most 1 MiB of it |
/// | payload_bytes | BYTES, nullable | the record, if it is not; at most 1 MiB of it |
pub fn dead_letter_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("split", DataType::Utf8, false),
        Field::new("position", DataType::Int64, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("payload", DataType::Utf8, true),
        Field::new("payload_bytes", DataType::Binary, true),
    ]))
}

/// Writes a pipeline's dead letters to its topic in the own log. The topic is made with the first.
pub(crate) struct DeadLetter {
    connect: Arc<dyn Connect>,
    pipeline: String,
    ends: Option<Ends>,
}

struct Ends {
    sink: Box<dyn SinkConnector>,
    committer: Box<dyn Committer>,
}

impl DeadLetter {
    pub(crate) fn new(connect: Arc<dyn Connect>, pipeline: &str) -> Self {
        Self { connect, pipeline: pipeline.to_owned(), ends: None }
    }

    fn ends(&mut self) -> Result<&mut Ends, ConnectorError> {
        let ends = match self.ends.take() {
            Some(ends) => ends,
            None => Ends::open(self.connect.as_ref(), &self.pipeline)?,
        };
        Ok(self.ends.insert(ends))
    }

    /// Makes an epoch's dead letters ready to be committed.
    pub(crate) fn prepare(
        &mut self,
        epoch: Epoch,
        rejects: &[(String, RejectedRecord)],
    ) -> Result<Committable, ConnectorError> {
        let sink = &mut self.ends()?.sink;
        sink.write(&ChangeBatch::inserts(rows(rejects)))?;
        sink.prepare(epoch)
    }

    pub(crate) fn commit(&mut self, epoch: Epoch, prepared: &Committable) -> Result<(), ConnectorError> {
        self.ends()?.committer.commit(epoch, std::slice::from_ref(prepared))
    }
}

impl Ends {
    fn open(connect: &dyn Connect, pipeline: &str) -> Result<Self, ConnectorError> {
        let options = [("connector", "kafka"), ("topic", &dead_letter_topic(pipeline)), ("format", "json")];
        let options: BTreeMap<String, String> =
            options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let target = SinkTarget::Table { table: dead_letter_topic(pipeline), options };
        let spec = SinkSpec { target, primary_key: Vec::new() };
        let schema = dead_letter_schema();
        let sink = connect.sink(UID, &spec, &schema, 0)?;
        Ok(Self { sink, committer: connect.committer(UID, &spec, &schema)? })
    }
}

/// Longest payload kept; of a longer one, its beginning. It has to fit into one batch of the log.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

fn rows(rejects: &[(String, RejectedRecord)]) -> RecordBatch {
    let records = || rejects.iter().map(|(_, record)| record);
    let payload = |record: &RejectedRecord| kept(&record.payload);
    let text = |record| payload(record).ok();
    let bytes = |record| payload(record).err();
    let position = |record: &RejectedRecord| i64::try_from(record.position).unwrap_or(i64::MAX);
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rejects.iter().map(|(uid, _)| uid))),
        Arc::new(StringArray::from_iter_values(records().map(|record| &record.split))),
        Arc::new(Int64Array::from_iter_values(records().map(position))),
        Arc::new(StringArray::from_iter_values(records().map(reason))),
        Arc::new(StringArray::from_iter(records().map(text))),
        Arc::new(BinaryArray::from_iter(records().map(bytes))),
    ];
    RecordBatch::try_new(dead_letter_schema(), columns).expect("six columns of the six declared types")
}

/// The payload as text, or as bytes if it is not UTF-8; cut to [`PAYLOAD_BYTES_MAX`].
fn kept(payload: &[u8]) -> Result<String, Vec<u8>> {
    let cut = &payload[..payload.len().min(PAYLOAD_BYTES_MAX)];
    match std::str::from_utf8(payload) {
        Err(_) => Err(cut.to_vec()),
        Ok(text) => Ok(text[..text.floor_char_boundary(cut.len())].to_owned()),
    }
}

fn reason(record: &RejectedRecord) -> String {
    match record.payload.len() {
        len if len > PAYLOAD_BYTES_MAX => format!("{} (payload of {len} bytes cut)", record.reason),
        _ => record.reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_long_payload_is_cut_and_says_so() {
        let reject = |payload: Vec<u8>| {
            let (split, reason) = ("t-0".to_owned(), "no object".to_owned());
            (
                "source".to_owned(),
                RejectedRecord { split, position: 7, reason, payload: Bytes::from(payload) },
            )
        };
        let text = "\u{e4}".repeat(PAYLOAD_BYTES_MAX);
        let rows =
            rows(&[reject(text.into_bytes()), reject(vec![0xff; PAYLOAD_BYTES_MAX + 1]), reject(vec![b'x'])]);
        let texts = rows.column(4).as_any().downcast_ref::<StringArray>().unwrap();
        let bytes = rows.column(5).as_any().downcast_ref::<BinaryArray>().unwrap();
        let reasons = rows.column(3).as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!((texts.value(0).len(), bytes.value(1).len()), (PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX));
        assert_eq!(reasons.value(0), "no object (payload of 2097152 bytes cut)");
        assert_eq!((texts.value(2), reasons.value(2)), ("x", "no object"));
    }
}
