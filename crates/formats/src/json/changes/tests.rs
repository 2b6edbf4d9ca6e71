use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::ValuesEncoder;

fn schema() -> SchemaRef {
    let nested = Fields::from(vec![Field::new("v", DataType::Int32, true)]);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("nested", DataType::Struct(nested), true),
    ]))
}

fn decoder(format: ChangeFormat, options: &[(&str, &str)]) -> ChangeDecoder {
    let options: BTreeMap<String, String> =
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ChangeDecoder::new(schema(), format, JsonOptions::of_format("f", &options).unwrap()).unwrap()
}

fn shown(decoder: &mut ChangeDecoder) -> String {
    let kinds = decoder.take_kinds();
    let rows = decoder.finish().unwrap();
    assert_eq!(kinds.len(), rows.num_rows());
    let mut out = Vec::new();
    ValuesEncoder::new(&rows.schema()).unwrap().rows(&rows, &mut out, |_, out| out.push(b'\n')).unwrap();
    let text = String::from_utf8(out).unwrap();
    kinds.iter().zip(text.lines()).map(|(kind, row)| format!("{} {row}\n", kind.symbol())).collect()
}

fn check(mut decoder: ChangeDecoder, records: &[&str], expected: Expect) {
    let mut found = String::new();
    for record in records {
        match decoder.push(record.as_bytes()) {
            Ok(true) => found.push_str(&shown(&mut decoder)),
            Ok(false) => found.push_str("-\n"),
            Err(error) => found.push_str(&format!("! {error}\n")),
        }
        assert!(decoder.is_empty());
    }
    expected.assert_eq(&found);
}

const DEBEZIUM: ChangeFormat = ChangeFormat::Debezium { schema_include: false };

#[test]
fn debezium_says_what_became_of_a_row() {
    check(
        decoder(DEBEZIUM, &[]),
        &[
            r#"{"before":null,"after":{"id":1,"name":"a"},"source":{"db":"x"},"op":"c","ts_ms":1}"#,
            r#"{"op":"r","after":{"id":2,"nested":{"v":5}}}"#,
            r#"{"before":{"id":1,"name":"a"},"after":{"id":1,"name":"\u0062"},"op":"u"}"#,
            r#"{"before":{"id":1},"after":null,"op":"d"}"#,
            "",
            r#"{"before":null,"after":{"id":1},"op":"u"}"#,
            r#"{"before":null,"after":null,"op":"c"}"#,
            r#"{"before":{"id":1},"after":{"id":"x"},"op":"u"}"#,
            r#"{"before":{"id":1},"op":"t"}"#,
            r#"{"before":{"id":1}}"#,
            r#"{"after":[1],"op":"c"}"#,
            r#"{"after":{"id":1},"op":"c"} x"#,
            "null",
        ],
        expect![[r#"
            +I {"id":1,"name":"a","nested":null}
            +I {"id":2,"name":null,"nested":{"v":5}}
            -U {"id":1,"name":"a","nested":null}
            +U {"id":1,"name":"b","nested":null}
            -D {"id":1,"name":null,"nested":null}
            -
            ! the member before holds no row
            ! the member after holds no row
            ! column id: expected INT, found "x"
            ! member op: unknown change 't'
            ! the member op is missing
            ! byte 0: expected a JSON object, found "[1]"
            ! byte 28: expected nothing behind the object, found "x"
            ! byte 0: expected a JSON object, found "null"
        "#]],
    );
}

#[test]
fn bad_records_are_ignored_as_a_whole_and_bad_fields_alone() {
    check(
        decoder(DEBEZIUM, &[("f.ignore-parse-errors", "true")]),
        &[
            r#"{"before":{"id":1},"after":{"id":"x"},"op":"u"}"#,
            r#"{"after":{"id":1},"op":"u"}"#,
            r#"{"after":{"id":1},"op":"#,
        ],
        expect![[r#"
            -U {"id":1,"name":null,"nested":null}
            +U {"id":null,"name":null,"nested":null}
            -
            -
        "#]],
    );
}

#[test]
fn debezium_with_schema_has_a_payload() {
    check(
        decoder(ChangeFormat::Debezium { schema_include: true }, &[]),
        &[
            r#"{"schema":{"after":1},"payload":{"after":{"id":1},"op":"c"}}"#,
            r#"{"schema":{},"payload":null}"#,
        ],
        expect![[r#"
            +I {"id":1,"name":null,"nested":null}
            ! the member payload is missing
        "#]],
    );
}

#[test]
fn canal_holds_several_rows_and_old_ones_in_part() {
    check(
        decoder(ChangeFormat::Canal, &[]),
        &[
            r#"{"data":[{"id":1,"name":"a"},{"id":2,"name":"b"}],"type":"INSERT"}"#,
            r#"{"data":[{"id":1,"name":"c","nested":{"v":7}}],"old":[{"name":"a"}],"type":"UPDATE"}"#,
            r#"{"data":[{"id":1,"name":"c"}],"old":[{"name":null}],"type":"UPDATE"}"#,
            r#"{"data":[{"id":1,"name":"c"},{"id":2,"name":"d"}],"old":[{"id":0},{"name":"b"}],"type":"UPDATE"}"#,
            r#"{"data":[{"id":1}],"old":null,"type":"DELETE"}"#,
            r#"{"data":null,"type":"CREATE"}"#,
            r#"{"data":[{"id":1},{"id":2}],"old":[{"id":0}],"type":"UPDATE"}"#,
            r#"{"data":{"id":1},"type":"INSERT"}"#,
            r#"{"data":[{"id":1},null],"type":"INSERT"}"#,
        ],
        expect![[r#"
            +I {"id":1,"name":"a","nested":null}
            +I {"id":2,"name":"b","nested":null}
            -U {"id":1,"name":"a","nested":{"v":7}}
            +U {"id":1,"name":"c","nested":{"v":7}}
            -U {"id":1,"name":null,"nested":null}
            +U {"id":1,"name":"c","nested":null}
            -U {"id":0,"name":null,"nested":null}
            +U {"id":1,"name":"c","nested":null}
            -U {"id":null,"name":"b","nested":null}
            +U {"id":2,"name":"d","nested":null}
            -D {"id":1,"name":null,"nested":null}
            -
            ! the member old holds no row
            ! byte 8: expected an array of rows, found "{\"id\":1},\"type\":\"INSERT\"}"
            ! byte 0: expected a JSON object, found "null"
        "#]],
    );
}

#[test]
fn maxwell_and_ogg() {
    check(
        decoder(ChangeFormat::Maxwell, &[]),
        &[
            r#"{"database":"d","type":"insert","data":{"id":1,"name":"a"}}"#,
            r#"{"type":"update","data":{"id":1,"name":"b"},"old":{"name":"a"}}"#,
            r#"{"type":"delete","data":{"id":1,"name":"b"}}"#,
            r#"{"type":"update","data":{"id":1,"name":"b"}}"#,
            r#"{"type":"bootstrap-insert","data":{"id":1}}"#,
        ],
        expect![[r#"
            +I {"id":1,"name":"a","nested":null}
            -U {"id":1,"name":"a","nested":null}
            +U {"id":1,"name":"b","nested":null}
            -D {"id":1,"name":"b","nested":null}
            ! the member old holds no row
            ! member type: unknown change 'bootstrap-insert'
        "#]],
    );
    check(
        decoder(ChangeFormat::Ogg, &[]),
        &[r#"{"after":{"id":1},"op_type":"I"}"#, r#"{"before":{"id":1},"op_type":"D"}"#],
        expect![[r#"
            +I {"id":1,"name":null,"nested":null}
            -D {"id":1,"name":null,"nested":null}
        "#]],
    );
}

fn encoded(format: ChangeFormat, options: &JsonOptions) -> String {
    let mut decoder = decoder(DEBEZIUM, &[]);
    assert!(decoder.push(br#"{"before":{"id":1,"name":"a"},"after":{"id":2},"op":"u"}"#).unwrap());
    let kinds = decoder.take_kinds();
    let rows = decoder.finish().unwrap();
    let mut out = Vec::new();
    let encoder = ChangeEncoder::new(&rows.schema(), format, options).unwrap();
    encoder.encode(&rows, Some(&kinds), &mut out, |_, out| out.push(b'\n')).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_update_is_written_as_delete_and_insert() {
    let plain = JsonOptions::default();
    let terse = JsonOptions { ignore_null_fields: true, ..JsonOptions::default() };
    let mut found = String::new();
    for format in [DEBEZIUM, ChangeFormat::Ogg, ChangeFormat::Canal, ChangeFormat::Maxwell] {
        found.push_str(&encoded(format, &plain));
    }
    found.push_str(&encoded(DEBEZIUM, &terse));
    expect![[r#"
        {"before":{"id":1,"name":"a","nested":null},"after":null,"op":"d"}
        {"before":null,"after":{"id":2,"name":null,"nested":null},"op":"c"}
        {"before":{"id":1,"name":"a","nested":null},"after":null,"op_type":"D"}
        {"before":null,"after":{"id":2,"name":null,"nested":null},"op_type":"I"}
        {"data":[{"id":1,"name":"a","nested":null}],"type":"DELETE"}
        {"data":[{"id":2,"name":null,"nested":null}],"type":"INSERT"}
        {"data":{"id":1,"name":"a","nested":null},"type":"delete"}
        {"data":{"id":2,"name":null,"nested":null},"type":"insert"}
        {"before":{"id":1,"name":"a"},"op":"d"}
        {"after":{"id":2},"op":"c"}
    "#]]
    .assert_eq(&found);
    let format = ChangeFormat::Debezium { schema_include: true };
    assert!(ChangeEncoder::new(&schema(), format, &plain).is_err());
}

proptest! {
    /// What is written is read again; no bytes make a decoder panic or keep half a record.
    #[test]
    fn round_trip_and_damage(
        changes in prop::collection::vec((any::<i32>(), ".{0,8}", any::<bool>()), 1..8),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        format in prop::sample::select(vec![DEBEZIUM, ChangeFormat::Ogg, ChangeFormat::Canal, ChangeFormat::Maxwell]),
    ) {
        let mut json = JsonDecoder::new(schema(), JsonOptions::default()).unwrap();
        for (id, name, _) in &changes {
            json.push(serde_json::json!({"id": id, "name": name}).to_string().as_bytes()).unwrap();
        }
        let rows = json.finish().unwrap();
        let kinds: Vec<RowKind> =
            changes.iter().map(|change| if change.2 { RowKind::Insert } else { RowKind::Delete }).collect();
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        let encoder = ChangeEncoder::new(&rows.schema(), format, &JsonOptions::default()).unwrap();
        encoder.encode(&rows, Some(&kinds), &mut text, |_, text| ends.push(text.len())).unwrap();
        let mut decoder = decoder(format, &[]);
        let mut start = 0;
        for end in &ends {
            prop_assert!(decoder.push(&text[start..*end]).unwrap());
            start = *end;
        }
        prop_assert_eq!(decoder.take_kinds(), kinds);
        prop_assert_eq!(decoder.finish().unwrap(), rows);
        for (at, byte) in flips {
            let at = at.index(text.len());
            text[at] = byte;
        }
        start = 0;
        for end in ends {
            let had = decoder.len();
            let pushed = decoder.push(&text[start..end]);
            prop_assert!(pushed == Ok(true) || decoder.len() == had);
            start = end;
        }
        let kinds = decoder.take_kinds().len();
        prop_assert_eq!(decoder.finish().unwrap().num_rows(), kinds);
    }
}
