use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::{PrettyTable, TimestampFormat, ValuesEncoder};

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(
        columns.iter().map(|(name, ty)| Field::new(*name, ty.clone(), true)).collect::<Vec<_>>(),
    ))
}

fn shown(rows: RecordBatch) -> String {
    let encoder = ValuesEncoder::new(&rows.schema()).unwrap();
    let mut out = Vec::new();
    encoder.rows(&rows, &mut out, |_, out| out.push(b'\n')).unwrap();
    String::from_utf8(out).unwrap()
}

/// Decodes lines, each of which gives a row or an error.
fn check(columns: &[(&str, DataType)], options: JsonOptions, lines: &[&str], expected: Expect) {
    let mut decoder = JsonDecoder::new(schema(columns), options).unwrap();
    let mut found = String::new();
    for line in lines {
        match decoder.push(line.as_bytes()) {
            Ok(true) => found.push_str(&shown(decoder.finish().unwrap())),
            Ok(false) => found.push_str("-\n"),
            Err(error) => found.push_str(&format!("! {error}\n")),
        }
    }
    expected.assert_eq(&found);
}

fn list(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

fn row(fields: &[(&str, DataType)]) -> DataType {
    DataType::Struct(schema(fields).fields().clone())
}

fn map(value: DataType) -> DataType {
    let pair = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false)
}

#[test]
fn values_are_coerced_as_in_flink() {
    let columns = [
        ("id", DataType::Int32),
        ("s", DataType::Utf8),
        ("b", DataType::Boolean),
        ("d", DataType::Float64),
        ("dc", DataType::Decimal128(6, 2)),
        ("dt", DataType::Date32),
        ("tm", DataType::Time32(TimeUnit::Millisecond)),
        ("n", DataType::Int64),
    ];
    check(
        &columns,
        JsonOptions::default(),
        &[
            r#"{"id": 1, "s": "plain", "b": true, "d": 1.5, "dc": 12.345, "dt": "2026-02-28", "tm": "23:59:59", "n": 9007199254740993, "extra": "ignored"}"#,
            r#"{"id": 2, "s": 5, "b": "true", "d": "2.5", "dc": "7", "n": "42"}"#,
            r#"{"id": 3, "s": {"a": [1, 1.50, "\u00e9\""]}, "b": null, "d": 3, "dc": 100.0, "n": null}"#,
            r#"{"id": "4", "s": "unicode \u00e9 \u2713 \"q\"", "d": -0.0, "b": "yes", "n": -3.99}"#,
            r#" { "n" : 7 , "id" : 5 , "id" : 6 } "#,
            r#"{"dc": 10000, "d": "NaN", "s": 1.50, "tm": "01:02:03.456"}"#,
            "",
            "  \r",
        ],
        expect![[r#"
            {"id":1,"s":"plain","b":true,"d":1.5,"dc":"12.35","dt":"2026-02-28","tm":"23:59:59","n":9007199254740993}
            {"id":2,"s":"5","b":true,"d":2.5,"dc":"7.00","dt":null,"tm":null,"n":42}
            {"id":3,"s":"{\"a\":[1,1.5,\"é\\\"\"]}","b":null,"d":3.0,"dc":"100.00","dt":null,"tm":null,"n":null}
            {"id":4,"s":"unicode é ✓ \"q\"","b":false,"d":-0.0,"dc":null,"dt":null,"tm":null,"n":-3}
            {"id":6,"s":null,"b":null,"d":null,"dc":null,"dt":null,"tm":null,"n":7}
            {"id":null,"s":"1.50","b":null,"d":"NaN","dc":null,"dt":null,"tm":"01:02:03.456","n":null}
            -
            -
        "#]],
    );
}

const TYPED: [(&str, DataType); 2] =
    [("a", DataType::Int32), ("t", DataType::Timestamp(TimeUnit::Millisecond, None))];

/// One good record and all kinds of bad ones.
const BAD: [&str; 16] = [
    r#"{"a": 1, "t": "2026-01-01 00:00:00"}"#,
    r#"{"a": "x", "t": "2026-01-01 00:00:00"}"#,
    r#"{"a": 2147483648}"#,
    r#"{"a": 1, "t": "2026-01-01T00:00:00"}"#,
    r#"{"a": 1, "t": 5}"#,
    r#"{"a": [1]}"#,
    r#"{"a": 1"#,
    r#"{"a": 01}"#,
    r#"{"a": 1} x"#,
    r#"{"a" 1}"#,
    r#"{"b": "x"#,
    "{\"b\": \"\u{1}\"}",
    "[1, 2]",
    r#"{"a": nul}"#,
    r#"{"b": "\ud800"}"#,
    r#"{"a": 1,}"#,
];

#[test]
fn errors_say_what_where_and_what_was_expected() {
    check(
        &TYPED,
        JsonOptions::default(),
        &BAD,
        expect![[r#"
            {"a":1,"t":"2026-01-01 00:00:00.000"}
            ! column a: expected INT, found "x"
            ! column a: expected INT, found "2147483648"
            ! column t: expected TIMESTAMP (yyyy-MM-dd HH:mm:ss.SSS), found "2026-01-01T00:00:00"
            ! column t: expected TIMESTAMP, found "5"
            ! column a: expected INT, found an array
            ! byte 7: expected ',' or '}', found the end of the record
            ! column a: byte 6: expected a number without leading zeros, found "01}"
            ! byte 9: expected nothing behind the object, found "x"
            ! byte 5: expected ':' behind a key, found "1}"
            ! byte 8: expected more of a string and its closing quote, found the end of the record
            ! byte 7: expected more of a string and its closing quote, found "\u{1}\"}"
            ! byte 0: expected a JSON object, found "[1, 2]"
            ! column a: byte 6: expected a value, found "nul}"
            ! byte 7: expected an escape of a Unicode character, found "\\ud800\"}"
            ! byte 8: expected a string, found "}"
        "#]],
    );
}

#[test]
fn bad_fields_and_records_can_be_ignored() {
    check(
        &TYPED,
        JsonOptions { ignore_parse_errors: true, ..JsonOptions::default() },
        &BAD,
        expect![[r#"
            {"a":1,"t":"2026-01-01 00:00:00.000"}
            {"a":null,"t":"2026-01-01 00:00:00.000"}
            {"a":null,"t":null}
            {"a":1,"t":null}
            {"a":1,"t":null}
            {"a":null,"t":null}
            -
            -
            -
            -
            -
            -
            -
            -
            -
            -
        "#]],
    );
    check(
        &TYPED,
        JsonOptions { fail_on_missing_field: true, ..JsonOptions::default() },
        &[r#"{"a": 1}"#, r#"{"a": null, "t": null}"#],
        expect![[r#"
            ! column t: the field is missing
            {"a":null,"t":null}
        "#]],
    );
}

#[test]
fn timestamps_in_every_form() {
    let columns = [
        ("t", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("z", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))),
    ];
    check(
        &columns,
        JsonOptions::default(),
        &[
            r#"{"t":"2026-01-01 00:00:00.1234567","z":"2026-01-01 00:00:00.123456789Z"}"#,
            r#"{"z":"2026-01-01 00:00:00"}"#,
        ],
        expect![[r#"
            {"t":"2026-01-01 00:00:00.123456","z":"2026-01-01T00:00:00.123456789Z"}
            ! column z: expected TIMESTAMP_LTZ (yyyy-MM-dd HH:mm:ss.SSSZ; see option json.timestamp-format.standard), found "2026-01-01 00:00:00"
        "#]],
    );
    check(
        &columns,
        JsonOptions { timestamp_format: TimestampFormat::Iso8601WithOffset, ..JsonOptions::default() },
        &[r#"{"t":"2026-01-01T00:00","z":"2026-01-01T01:00:00+02:00"}"#],
        expect![[r#"
            {"t":"2026-01-01 00:00:00.000","z":"2025-12-31T23:00:00.000Z"}
        "#]],
    );
}

#[test]
fn nested_values() {
    let columns = [
        ("tags", list(DataType::Utf8)),
        ("m", map(DataType::Int32)),
        ("items", list(row(&[("sku", DataType::Utf8), ("qty", DataType::Int32)]))),
        ("r", row(&[("a", DataType::Int32), ("b", row(&[("d", list(DataType::Decimal128(5, 1)))]))])),
    ];
    check(
        &columns,
        JsonOptions::default(),
        &[
            r#"{"tags": ["x", "\u0079"], "m": {"p": 1, "q": 2, "p": 3}, "items": [{"sku": "A", "qty": 2}, {"x": 1}], "r": {"a": 1, "b": {"d": [10, "2.25"]}}}"#,
            r#"{"tags": [], "m": {}, "items": [], "r": {"a": null, "b": null}}"#,
            r#"{"tags": null, "m": null, "items": null, "r": null}"#,
            r#"{"items": [{"qty": "x"}]}"#,
            r#"{"tags": {}}"#,
        ],
        expect![[r#"
            {"tags":["x","y"],"m":{"p":3,"q":2},"items":[{"sku":"A","qty":2},{"sku":null,"qty":null}],"r":{"a":1,"b":{"d":["10.0","2.3"]}}}
            {"tags":[],"m":{},"items":[],"r":{"a":null,"b":null}}
            {"tags":null,"m":null,"items":null,"r":null}
            ! column items: expected INT, found "x"
            ! column tags: expected ARRAY<STRING>, found an object
        "#]],
    );
    check(
        &columns[2..3],
        JsonOptions { ignore_parse_errors: true, ..JsonOptions::default() },
        &[r#"{"items": [{"sku": "a", "qty": "x"}, 5]}"#],
        expect![[r#"
            {"items":[{"sku":"a","qty":null},null]}
        "#]],
    );
}

#[test]
fn bytes_and_small_integers() {
    check(
        &[("b", DataType::Binary), ("i", DataType::Int8), ("j", DataType::Int16), ("f", DataType::Float32)],
        JsonOptions::default(),
        &[r#"{"b":"/wA=","i":-128,"j":"32767","f":0.1}"#, r#"{"i":128}"#, r#"{"j":1.0}"#, r#"{"b":"*"}"#],
        expect![[r#"
            {"b":"ff00","i":-128,"j":32767,"f":0.1}
            ! column i: expected TINYINT, found "128"
            ! column j: expected SMALLINT, found "1.0"
            ! column b: expected BYTES (base64), found "*"
        "#]],
    );
}

#[test]
fn deep_nesting_is_refused_not_overflowed() {
    let mut decoder =
        JsonDecoder::new(schema(&[("a", DataType::Int64), ("t", DataType::Utf8)]), JsonOptions::default())
            .unwrap();
    for open in ["{\"x\":", "["] {
        for column in ["a", "t", "other"] {
            let record = format!("{{\"{column}\":{}", open.repeat(500_000));
            let error = decoder.push(record.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("128"), "{error}");
        }
    }
    assert!(decoder.is_empty());
}

#[test]
fn a_guess_never_joins_what_does_not_follow() {
    // The first lead, `{"a":`, must not be taken in the middle of a record.
    let mut decoder = JsonDecoder::new(schema(&[("a", DataType::Int64)]), JsonOptions::default()).unwrap();
    assert_eq!(decoder.push(br#"{"a":1}"#), Ok(true));
    assert!(decoder.push(br#"{"x":1{"a":2}"#).is_err());
    assert!(decoder.push(br#"{"a":1{"a":2}"#).is_err());
}

#[test]
fn flink_style_output() {
    let columns = [
        ("t", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("z", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        ("d", DataType::Decimal128(6, 2)),
        ("b", DataType::Binary),
        ("f", DataType::Float64),
        ("s", DataType::Utf8),
    ];
    let mut decoder = JsonDecoder::new(schema(&columns), JsonOptions::default()).unwrap();
    let line = br#"{"t":"2026-01-01 00:00:00","z":"2026-01-01 00:00:00.120Z","d":1.5,"b":"/wA=","f":"Infinity","s":"a\"\n\u0001"}"#;
    assert_eq!(decoder.push(line), Ok(true));
    assert_eq!(decoder.push(b"{}"), Ok(true));
    let rows = decoder.finish().unwrap();
    let text = |options: &[(&str, &str)]| {
        let options: BTreeMap<_, _> =
            options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let options = JsonOptions::from_options(&options).unwrap();
        let mut out = Vec::new();
        JsonEncoder::new(&rows.schema(), &options)
            .unwrap()
            .encode(&rows, &mut out, |_, out| out.push(b'\n'))
            .unwrap();
        String::from_utf8(out).unwrap()
    };
    expect![[r#"
        {"t":"2026-01-01 00:00:00","z":"2026-01-01 00:00:00.12Z","d":1.50,"b":"/wA=","f":"Infinity","s":"a\"\n\u0001"}
        {"t":null,"z":null,"d":null,"b":null,"f":null,"s":null}
    "#]]
    .assert_eq(&text(&[]));
    expect![[r#"
        {"t":"2026-01-01T00:00:00","z":"2026-01-01T00:00:00.12Z","d":1.50,"b":"/wA=","f":"Infinity","s":"a\"\n\u0001"}
        {}
    "#]]
    .assert_eq(&text(&[("json.timestamp-format.standard", "ISO-8601"), ("json.encode.ignore-null-fields", "true")]));

    let changes = highwater_stream::ChangeBatch::inserts(rows);
    let mut out = Vec::new();
    ValuesEncoder::new(&changes.rows.schema()).unwrap().changes(&changes, &mut out).unwrap();
    crate::java_row(&changes, "", &mut out).unwrap();
    PrettyTable::new(&changes.rows.schema()).unwrap().changes(&changes, &mut out).unwrap();
    expect![[r#"
        {"op":"+I","row":{"t":"2026-01-01 00:00:00.000","z":"2026-01-01T00:00:00.120Z","d":"1.50","b":"ff00","f":"Infinity","s":"a\"\n\u0001"}}
        {"op":"+I","row":{"t":null,"z":null,"d":null,"b":null,"f":null,"s":null}}
        +I[2026-01-01T00:00:00, 2026-01-01T00:00:00.12Z, 1.50, [-1, 0], Infinity, a"
        ]
        +I[null, null, null, null, null, null]
        op  t                        z                         d       b       f         s
        --  -----------------------  ------------------------  ------  ------  --------  ------
        +I  2026-01-01 00:00:00.000  2026-01-01T00:00:00.120Z  1.50    ff00    Infinity  a"��
        +I  NULL                     NULL                      NULL    NULL    NULL      NULL
    "#]].assert_eq(&String::from_utf8_lossy(&out));
}

/// What a column of type BIGINT, DOUBLE, STRING or BOOLEAN holds for a JSON value, by `serde_json`.
fn oracle(text: &str, column: &str) -> Option<Json> {
    let parsed: serde_json::Map<String, Json> = serde_json::from_str(text).ok()?;
    Some(parsed.get(column).cloned().unwrap_or(Json::Null))
}

fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1000i64..1000).prop_map(Json::from),
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Json::from),
        (-100_000i64..100_000, 0i32..6).prop_map(|(m, p)| Json::from(m as f64 / 10f64.powi(p))),
        any::<String>().prop_map(Json::from),
        "[ -~]{0,30}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[a-z\"\\\\é]{0,3}", inner, 0..4)
                .prop_map(|m| Json::Object(m.into_iter().collect())),
        ]
    })
}

/// Fields with values of the right type, in some order, with unknown fields between, spaced somehow.
fn record() -> impl Strategy<Value = String> {
    let number = prop_oneof![any::<i64>().prop_map(Json::from), Just(Json::Null)];
    let double = prop_oneof![
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Json::from),
        (-100_000i64..100_000, 0i32..6).prop_map(|(m, p)| Json::from(m as f64 / 10f64.powi(p))),
        (-100i64..100).prop_map(Json::from),
    ];
    let text = prop_oneof![any::<String>(), "[ -~]{0,40}"].prop_map(Json::from);
    let field = prop_oneof![
        number.prop_map(|v| ("n".to_owned(), v)),
        double.prop_map(|v| ("d".to_owned(), v)),
        text.prop_map(|v| ("s".to_owned(), v)),
        any::<bool>().prop_map(|v| ("b".to_owned(), Json::from(v))),
        ("[a-z\"\\\\é]{0,3}x", json_value()),
    ];
    (prop::collection::vec(field, 0..8), 0usize..4, any::<bool>()).prop_map(|(fields, spaces, sorted)| {
        let mut fields = fields;
        if sorted {
            fields.sort_by(|a, b| a.0.cmp(&b.0));
        }
        let gap = " ".repeat(spaces / 2);
        let member = |(key, value): &(String, Json)| {
            format!("{}{gap}:{}{value}", Json::from(key.as_str()), " ".repeat(spaces % 2))
        };
        format!("{{{gap}{}{gap}}}", fields.iter().map(member).collect::<Vec<_>>().join(&format!(",{gap}")))
    })
}

const ORACLE_COLUMNS: [(&str, DataType); 4] =
    [("n", DataType::Int64), ("d", DataType::Float64), ("s", DataType::Utf8), ("b", DataType::Boolean)];

fn assert_same(rows: &RecordBatch, at: usize, text: &str) {
    let cell = |column: &str| rows.column_by_name(column).filter(|array| array.is_valid(at));
    for (name, _) in ORACLE_COLUMNS.iter().filter(|(name, _)| rows.column_by_name(name).is_some()) {
        let found = cell(name).map_or(Json::Null, |array| match *name {
            "n" => Json::from(array.as_primitive::<Int64Type>().value(at)),
            "d" => Json::from(array.as_primitive::<Float64Type>().value(at)),
            "s" => Json::from(array.as_string::<i32>().value(at)),
            _ => Json::from(array.as_boolean().value(at)),
        });
        let expected = oracle(text, name).expect("the decoder took it");
        let same = match (&found, &expected) {
            (Json::Number(a), Json::Number(b)) if *name == "n" => a == b,
            // serde_json may be off by some last bits; `doubles_are_exact` is not.
            (Json::Number(a), Json::Number(b)) => {
                let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
                (a - b).abs() <= b.abs() * 1e-14
            }
            _ => found == expected,
        };
        assert!(same, "column {name} of {text}: found {found}, expected {expected}");
    }
}

/// Of type ROW<n BIGINT, s STRING, i ROW<n BIGINT>>, or NULL.
fn row_value() -> impl Strategy<Value = Json> {
    let number = prop_oneof![(-9i64..9).prop_map(Json::from), Just(Json::Null)];
    let text = prop_oneof!["[a-z\"]{0,9}".prop_map(Json::from), Just(Json::Null)];
    let inner = prop_oneof![
        Just(Json::Null),
        prop::collection::btree_map("[nx]", number.clone(), 0..3)
            .prop_map(|fields| Json::Object(fields.into_iter().collect())),
    ];
    let field = prop_oneof![
        number.prop_map(|value| ("n".to_owned(), value)),
        text.prop_map(|value| ("s".to_owned(), value)),
        inner.prop_map(|value| ("i".to_owned(), value)),
        json_value().prop_map(|value| ("x".to_owned(), value)),
    ];
    prop_oneof![
        1 => Just(Json::Null),
        5 => prop::collection::vec(field, 0..6).prop_map(|fields| Json::Object(fields.into_iter().collect())),
    ]
}

/// A record with the ROWs `a` and `b` and the number `n`, each never, once or more often.
fn record_of_rows() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        row_value().prop_map(|value| ("a", value)),
        row_value().prop_map(|value| ("b", value)),
        (-9i64..9).prop_map(|value| ("n", Json::from(value))),
        json_value().prop_map(|value| ("x", value)),
    ];
    (prop::collection::vec(field, 0..6), 0usize..3).prop_map(|(fields, spaces)| {
        let gap = " ".repeat(spaces);
        let member = |(key, value): &(&str, Json)| {
            let value = if spaces > 0 { format!("{value:#}") } else { value.to_string() };
            format!("{gap}\"{key}\"{gap}:{gap}{value}")
        };
        format!("{{{}{gap}}}", fields.iter().map(member).collect::<Vec<_>>().join(&format!("{gap},")))
    })
}

/// The fields of `names` in `value`, NULL where there are none; those of `i` likewise.
fn only(value: &Json, names: &[&str]) -> Json {
    let Json::Object(fields) = value else { return Json::Null };
    let field = |name: &&str| {
        let found = fields.get(*name).cloned().unwrap_or(Json::Null);
        let found = match *name {
            "a" | "b" => only(&found, &["n", "s", "i"]),
            "i" => only(&found, &["n"]),
            _ => found,
        };
        ((*name).to_owned(), found)
    };
    Json::Object(names.iter().map(field).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The same of ROWs in ROWs: whatever records came before, each gives what `serde_json` finds in it.
    #[test]
    fn rows_give_what_serde_json_finds(records in prop::collection::vec(record_of_rows(), 1..12)) {
        let inner = row(&[("n", DataType::Int64)]);
        let outer = row(&[("n", DataType::Int64), ("s", DataType::Utf8), ("i", inner)]);
        let schema = schema(&[("a", outer.clone()), ("n", DataType::Int64), ("b", outer)]);
        let mut decoder = JsonDecoder::new(Arc::clone(&schema), JsonOptions::default()).unwrap();
        for text in records.iter().chain(&records).chain(&records) {
            prop_assert_eq!(decoder.push(text.as_bytes()), Ok(true), "{}", text);
        }
        let rows = decoder.finish().unwrap();
        let encoder = JsonEncoder::new(&schema, &JsonOptions::default()).unwrap();
        let (mut out, mut ends) = (Vec::new(), Vec::new());
        encoder.encode(&rows, &mut out, |_, out| ends.push(out.len())).unwrap();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        for ((start, end), text) in starts.zip(&ends).zip(records.iter().chain(&records).chain(&records)) {
            let found: Json = serde_json::from_slice(&out[start..*end]).unwrap();
            let expected = only(&serde_json::from_str(text).unwrap(), &["a", "n", "b"]);
            prop_assert_eq!(found, expected, "{}", text);
        }
    }

    /// Whatever was learned from earlier records, each record gives what `serde_json` finds in it.
    #[test]
    fn records_give_what_serde_json_finds(records in prop::collection::vec(record(), 1..12), keep in 1usize..16) {
        let columns: Vec<_> = (0..4).filter(|i| keep & (1 << i) != 0).map(|i| ORACLE_COLUMNS[i].clone()).collect();
        let mut decoder = JsonDecoder::new(schema(&columns), JsonOptions::default()).unwrap();
        // Twice, so that the second time guesses are right.
        for text in records.iter().chain(&records) {
            prop_assert_eq!(decoder.push(text.as_bytes()), Ok(true), "{}", text);
        }
        let rows = decoder.finish().unwrap();
        for (at, text) in records.iter().chain(&records).enumerate() {
            assert_same(&rows, at, text);
        }
    }

    /// A record with some bytes changed is refused exactly if `serde_json` refuses it, or a value
    /// no longer fits; the rows before and after it stay whole.
    #[test]
    fn broken_records_are_refused_and_leave_no_trace(
        good in record(),
        text in record(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = text.into_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut.index(3) == 0 {
            bytes.truncate(cut.index(bytes.len()));
        }
        let mut decoder = JsonDecoder::new(schema(&ORACLE_COLUMNS), JsonOptions::default()).unwrap();
        prop_assert_eq!(decoder.push(good.as_bytes()), Ok(true));
        let verdict = decoder.push(&bytes);
        prop_assert_eq!(decoder.push(good.as_bytes()), Ok(true));
        // serde_json stops at a number beyond f64, which Java reads as infinite: then it is no oracle.
        let valid = match serde_json::from_slice::<serde_json::Map<String, Json>>(&bytes) {
            Err(error) if error.to_string().starts_with("number out of range") => return Ok(()),
            parsed => parsed.is_ok(),
        };
        match &verdict {
            Ok(true) => prop_assert!(valid, "accepted {:?}", String::from_utf8_lossy(&bytes)),
            Ok(false) => prop_assert!(bytes.trim_ascii().is_empty()),
            // A string in a BIGINT, a number out of range: valid JSON, yet refused.
            Err(error) => prop_assert!(!valid || error.to_string().contains("expected BIGINT") || error.to_string().contains("expected DOUBLE") || error.to_string().contains("expected BOOLEAN"), "{error}"),
        }
        let rows = decoder.finish().unwrap();
        assert_same(&rows, 0, &good);
        assert_same(&rows, rows.num_rows() - 1, &good);
    }

    /// Shortest and long forms of a double are read back to the very bit.
    #[test]
    fn doubles_are_exact(value in any::<f64>().prop_filter("finite", |v| v.is_finite()), short in -1_000_000_000_000_000i64..1_000_000_000_000_000, places in 0usize..16) {
        let digits = format!("{:0width$}", short.abs(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let sign = if short < 0 { "-" } else { "" };
        let short = if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
        for text in [format!("{value}"), format!("{value:e}"), format!("{value:.20e}"), short] {
            let mut decoder = JsonDecoder::new(schema(&[("d", DataType::Float64)]), JsonOptions::default()).unwrap();
            prop_assert_eq!(decoder.push(format!("{{\"d\":{text}}}").as_bytes()), Ok(true), "{}", text);
            let rows = decoder.finish().unwrap();
            let found = rows.column(0).as_primitive::<Float64Type>().value(0);
            prop_assert_eq!(found.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{}", text);
        }
    }

    /// No bytes make it panic.
    #[test]
    fn hostile_bytes(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\u0 1e-.tfn".to_vec())], 0..64)) {
        let columns = [("", map(list(DataType::Binary))), ("t", row(&[("u", DataType::Null)])), ("u", DataType::Utf8)];
        for ignore_parse_errors in [false, true] {
            let options = JsonOptions { ignore_parse_errors, ..JsonOptions::default() };
            let mut decoder = JsonDecoder::new(schema(&columns), options).unwrap();
            let _ = decoder.push(&bytes);
            decoder.finish().unwrap();
        }
    }
}
