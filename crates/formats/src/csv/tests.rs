use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::ValuesEncoder;

fn declared() -> SchemaRef {
    let zoned = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let columns = [
        ("id", DataType::Int32),
        ("name", DataType::Utf8),
        ("t", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("z", zoned),
        ("price", DataType::Decimal128(8, 2)),
        ("day", DataType::Date32),
    ];
    Arc::new(Schema::new(columns.map(|(name, ty)| Field::new(name, ty, true)).to_vec()))
}

fn options(pairs: &[(&str, &str)]) -> CsvOptions {
    let pairs: BTreeMap<_, _> = pairs.iter().map(|(k, v)| (format!("csv.{k}"), (*v).to_owned())).collect();
    CsvOptions::from_options(&pairs).unwrap()
}

/// Decodes a file, `step` bytes being visible at first and more when asked for.
fn decode(pairs: &[(&str, &str)], columns: &[usize], text: &str, step: usize) -> String {
    let schema = Arc::new(declared().project(columns).unwrap());
    let mut decoder = CsvDecoder::new(Arc::clone(&schema), &declared(), options(pairs)).unwrap();
    let encoder = ValuesEncoder::new(&schema).unwrap();
    let (mut found, mut at, mut end) = (Vec::new(), 0, 0);
    while at < text.len() {
        end = (end + step).min(text.len());
        while let Some(taken) = decoder.take(&text.as_bytes()[at..end], end == text.len()) {
            assert!(taken.bytes > 0);
            at += taken.bytes;
            match taken.row {
                Ok(true) => {
                    encoder.rows(&decoder.finish().unwrap(), &mut found, |_, out| out.push(b'\n')).unwrap()
                }
                Ok(false) => {}
                Err(error) => found.extend_from_slice(format!("! {error}\n").as_bytes()),
            }
        }
    }
    String::from_utf8(found).unwrap()
}

fn check(pairs: &[(&str, &str)], columns: &[usize], text: &str, expected: Expect) {
    let whole = decode(pairs, columns, text, text.len());
    expected.assert_eq(&whole);
    for step in [1, 7] {
        assert_eq!(decode(pairs, columns, text, step), whole, "{step} bytes at a time");
    }
}

#[test]
fn fields_by_position() {
    let text = "1,a,2026-01-01 00:00:00,2015-03-18T21:13:16-05:00,1.005,2026-1-5\r\n\
                2,\"b,\"\"\nc\",2026-01-01 00:00:00.5,2026-01-01 00:00:00Z,-1,2026-01-05\n\
                \n\
                x,a,2026-01-01 00:00:00,2026-01-01 00:00:00Z,1,2026-01-01\n\
                3,a\n\
                4,5\" pipe,2026-01-01T00:00:00,2026-01-01 00:00:00Z,1,2026-01-01";
    check(
        &[],
        &[0, 1, 2, 3, 4, 5],
        text,
        expect![[r#"
            {"id":1,"name":"a","t":"2026-01-01 00:00:00.000","z":"2015-03-19T02:13:16.000Z","price":"1.01","day":"2026-01-05"}
            {"id":2,"name":"b,\"\nc","t":"2026-01-01 00:00:00.500","z":"2026-01-01T00:00:00.000Z","price":"-1.00","day":"2026-01-05"}
            ! column id: expected INT, found "x"
            ! 2 fields, expected 6
            ! column t: expected TIMESTAMP (yyyy-MM-dd HH:mm:ss.SSS), found "2026-01-01T00:00:00"
        "#]],
    );
    check(
        &[("ignore-parse-errors", "true")],
        &[1, 0],
        text,
        expect![[r#"
            {"name":"a","id":1}
            {"name":"b,\"\nc","id":2}
            {"name":"a","id":null}
            {"name":"a","id":3}
            {"name":"5\" pipe","id":4}
        "#]],
    );
}

#[test]
fn options_change_the_grammar() {
    check(
        &[
            ("field-delimiter", ";"),
            ("quote-character", "'"),
            ("allow-comments", "true"),
            ("null-literal", "n/a"),
        ],
        &[0, 1],
        "# a comment; with ; delimiters\n1;'x;y';;;;\nn/a;n/a;;;;\n",
        expect![[r#"
            {"id":1,"name":"x;y"}
            {"id":null,"name":null}
        "#]],
    );
    check(
        &[("field-delimiter", "\\t"), ("disable-quote-character", "true")],
        &[1],
        "1\t\"x\t\t\t\t\n",
        expect![[r#"
            {"name":"\"x"}
        "#]],
    );
    for (key, value) in [("field-delimiter", ",,"), ("quote-character", "é"), ("allow-comments", "perhaps")]
    {
        let pairs = BTreeMap::from([(format!("csv.{key}"), value.to_owned())]);
        assert!(CsvOptions::from_options(&pairs).is_err(), "{key}");
    }
}

#[test]
fn written_as_flink_does_and_read_back() {
    let schema = declared();
    let text = "1,a,2026-01-01 00:00:00,2015-03-18T21:13:16Z,1.005,2026-01-05\n,\"a \"\"b\"\"\",,,,\n";
    let mut decoder =
        CsvDecoder::new(Arc::clone(&schema), &schema, options(&[("null-literal", "")])).unwrap();
    let first = decoder.take(text.as_bytes(), true).unwrap();
    assert_eq!(decoder.take(&text.as_bytes()[first.bytes..], true).unwrap().row, Ok(true));
    let rows = decoder.finish().unwrap();
    let mut out = Vec::new();
    let encoder = CsvEncoder::new(&schema, &CsvOptions::default()).unwrap();
    encoder.encode(&rows, &mut out, |_, out| out.push(b'\n')).unwrap();
    expect![[r#"
        1,a,"2026-01-01 00:00:00","2015-03-18 21:13:16Z",1.01,2026-01-05
        ,"a ""b""",,,,
    "#]]
    .assert_eq(&String::from_utf8_lossy(&out));
}

proptest! {
    /// Any text survives a round trip, and no bytes make the decoder panic or stand still.
    #[test]
    fn text_round_trips(texts in prop::collection::vec("[ -~\r\n\"é]{0,40}", 1..5), junk in prop::collection::vec(any::<u8>(), 0..64)) {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Int32, true)]));
        let column: arrow::array::ArrayRef = Arc::new(arrow::array::StringArray::from(texts.clone()));
        let numbers: arrow::array::ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![7; texts.len()]));
        let rows = arrow::array::RecordBatch::try_new(Arc::clone(&schema), vec![column, numbers]).unwrap();
        let mut out = Vec::new();
        let encoder = CsvEncoder::new(&schema, &CsvOptions::default()).unwrap();
        encoder.encode(&rows, &mut out, |_, out| out.push(b'\n')).unwrap();
        let mut decoder = CsvDecoder::new(Arc::clone(&schema), &schema, CsvOptions::default()).unwrap();
        let mut at = 0;
        while let Some(taken) = decoder.take(&out[at..], true) {
            prop_assert_eq!(taken.row, Ok(true));
            at += taken.bytes;
        }
        prop_assert_eq!(decoder.finish().unwrap(), rows);

        let mut at = 0;
        while let Some(taken) = decoder.take(&junk[at..], true) {
            prop_assert!(taken.bytes > 0);
            at += taken.bytes;
        }
        prop_assert_eq!(at, junk.len());
    }
}

#[test]
fn two_records_in_one_value_are_none() {
    let schema = Arc::new(declared().project(&[0]).unwrap());
    let mut decoder = CsvDecoder::new(schema, &declared(), options(&[])).unwrap();
    let two = b"1,a,,,,\n2,b,,,,";
    assert_eq!(&*decoder.push(two).unwrap_err().0, "a second record behind the first, expected one");
    assert!(decoder.is_empty(), "a refused value leaves no row behind");
    assert_eq!(decoder.push(b"3,c,,,,\n"), Ok(true));
}
