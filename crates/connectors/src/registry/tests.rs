//! What the tests of all connectors share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;
use highwater_env::{ManualClock, RealDisk, SeededEntropy};
use highwater_stream::{Connect, SinkSpec, SinkTarget, SourceSpec};

use super::{Outside, Registry};
use crate::Printer;

pub(crate) type Printed = Arc<Mutex<Vec<u8>>>;

/// Options, later ones replacing earlier ones.
pub(crate) fn options(pairs: &[(&str, &str)], more: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn source_spec(options: BTreeMap<String, String>, schema: SchemaRef) -> SourceSpec {
    SourceSpec {
        table: "t".to_owned(),
        options,
        physical: Arc::clone(&schema),
        declared: schema,
        columns: Vec::new(),
        rowtime: None,
    }
}

pub(crate) fn sink_spec(options: BTreeMap<String, String>, primary_key: Vec<usize>) -> SinkSpec {
    SinkSpec { target: SinkTarget::Table { table: "t".to_owned(), options }, primary_key }
}

pub(crate) fn outside(printed: &Printed) -> Outside {
    Outside {
        disk: Arc::new(RealDisk),
        clock: Arc::new(ManualClock::at(0)),
        entropy: Arc::new(SeededEntropy::new(7)),
        log: None,
        printer: Printer { out: Arc::clone(printed) as _, err: Arc::new(Mutex::new(std::io::sink())) },
    }
}

pub(crate) fn registry() -> Registry {
    Registry::new(outside(&Printed::default()))
}

#[test]
fn print_writes_as_flink_does() {
    use arrow::array::{Int32Array, RecordBatch, StringArray};
    use highwater_stream::{ChangeBatch, RowKind};

    let printed = Printed::default();
    let connect = Registry::new(outside(&printed));
    let schema: SchemaRef = Arc::new(arrow::datatypes::Schema::new(vec![
        arrow::datatypes::Field::new("a", arrow::datatypes::DataType::Utf8, true),
        arrow::datatypes::Field::new("n", arrow::datatypes::DataType::Int32, true),
    ]));
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(StringArray::from(vec![Some("x"), None])), Arc::new(Int32Array::from(vec![1, 2]))];
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let changes = ChangeBatch::with_kinds(rows, vec![RowKind::UpdateBefore, RowKind::UpdateAfter]);
    for more in [&[][..], &[("print-identifier", "p")], &[("standard-error", "true")]] {
        let spec = sink_spec(options(&[("connector", "print")], more), Vec::new());
        let mut sink = connect.sink("u", &spec, &schema, 0).unwrap();
        sink.write(&changes).unwrap();
        let prepared = sink.prepare(highwater_env::Epoch(1)).unwrap();
        connect.committer("u", &spec, &schema).unwrap().commit(highwater_env::Epoch(1), &[prepared]).unwrap();
    }
    let text = String::from_utf8(printed.lock().unwrap().clone()).unwrap();
    assert_eq!(text, "-U[x, 1]\n+U[null, 2]\np> -U[x, 1]\np> +U[null, 2]\n");
}

#[test]
fn a_kafka_table_needs_a_log() {
    let schema: SchemaRef = Arc::new(arrow::datatypes::Schema::empty());
    let pairs = [("connector", "kafka"), ("topic", "t"), ("format", "json")];
    let error = |more: &[(&str, &str)]| {
        registry().source(&source_spec(options(&pairs, more), Arc::clone(&schema))).err().unwrap().to_string()
    };
    assert!(error(&[]).contains("no log of its own"));
    assert!(error(&[("properties.bootstrap.servers", "k:9092")]).contains("external Kafka"));
}
