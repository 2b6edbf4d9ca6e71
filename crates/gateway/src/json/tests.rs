use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn check(text: &str, expected: Expect) {
    let got = match check_object(text.as_bytes(), Some("k")) {
        Ok(None) => "no key".to_owned(),
        Ok(Some(key)) => format!("key {}", String::from_utf8_lossy(&key)),
        Err(problem) => problem.to_string(),
    };
    expected.assert_eq(&got);
}

#[test]
fn objects_and_their_keys() {
    check("{}", expect!["no key"]);
    check(r#" { "a" : [ ] , "b" : { } } "#, expect!["no key"]);
    check(r#"{"k":"x"}"#, expect!["key x"]);
    check(r#"{"a":{"k":"inner"},"k":-1.5e+3}"#, expect!["key -1.5e+3"]);
    check(r#"{"k":null}"#, expect!["no key"]);
    check(r#"{"k":true,"z":[{"k":1}]}"#, expect!["key true"]);
    check(r#"{"k":"first","k":"last"}"#, expect!["key last"]);
    check(
        r#"{"\u006b":"a\"\u00e9\n"}"#,
        expect![[r#"
        key a"é
    "#]],
    );
    check(r#"{"k":[1, {"x":2}]}"#, expect![[r#"key [1, {"x":2}]"#]]);
    check(r#"{"k":""}"#, expect!["key "]);
}

#[test]
fn what_is_wrong_and_where() {
    check("", expect!["byte 1: expected a JSON object"]);
    check("5", expect!["byte 1: expected a JSON object"]);
    check("[]", expect!["byte 1: expected a JSON object"]);
    check("{", expect!["byte 2: expected a field name in quotes"]);
    check(r#"{"a"}"#, expect!["byte 5: expected `:`"]);
    check(r#"{"a":}"#, expect!["byte 6: expected a value"]);
    check(r#"{"a":1,}"#, expect!["byte 8: expected a field name in quotes"]);
    check(r#"{"a":[1,]}"#, expect!["byte 9: expected a value"]);
    check(r#"{"a":[1}"#, expect!["byte 8: expected `,` or `]`"]);
    check(r#"{"a":1]"#, expect!["byte 7: expected `,` or `}`"]);
    check(r#"{"a":01}"#, expect!["byte 7: expected `,` or `}`"]);
    check(r#"{"a":1.}"#, expect!["byte 8: expected a digit"]);
    check(r#"{"a":-}"#, expect!["byte 7: expected a digit"]);
    check(r#"{"a":nul}"#, expect!["byte 6: expected a value"]);
    check(r#"{"a":NaN}"#, expect!["byte 6: expected a value"]);
    check(r#"{"a":"\x"}"#, expect!["byte 8: no such escape"]);
    check(r#"{"a":"\u12g4"}"#, expect!["byte 11: expected four hexadecimal digits"]);
    check("{\"a\":\"\u{1}\"}", expect!["byte 7: a control character must be escaped"]);
    check(r#"{"a":1} {"#, expect!["byte 9: text after the object"]);
    check(r#"{"a":"b"#, expect!["byte 8: the text ends early"]);
    check(r#"{"k":"\ud800"}"#, expect!["byte 6: the key is no valid text"]);
    let not_utf8 = check_object(b"{\"a\":\"\xff\"}", None).map_err(|problem| problem.to_string());
    assert_eq!(not_utf8.unwrap_err(), "byte 7: not UTF-8");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}{}", "{\"a\":".repeat(depth), 1, "}".repeat(depth));
    assert!(check_object(nested(64).as_bytes(), None).is_ok());
    assert!(check_object(nested(65).as_bytes(), None).is_err());
    let arrays = format!("{{\"a\":{}", "[".repeat(1_000_000));
    assert!(check_object(arrays.as_bytes(), None).is_err());
}

#[test]
fn compact_keeps_strings() {
    assert_eq!(compact(b"{ \"a b\\\" \" :\n [1, 2 ,\"\\\\\" ] }"), b"{\"a b\\\" \":[1,2,\"\\\\\"]}");
}

proptest! {
    /// The same verdict as serde_json, on texts that are nearly JSON.
    #[test]
    fn agrees_with_serde_json(text in r#"\{("[akb\\]{0,3}":?|[\[\]{},:0-9eE.+-]|true|null|"\\u00[0-9a-g]{2}"| ){0,12}\}?"#) {
        let ours = check_object(text.as_bytes(), Some("k")).is_ok();
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(ours, theirs, "{}", text);
    }

    /// Whatever serde_json writes is accepted, cut anywhere it is refused, and nothing panics.
    #[test]
    fn valid_until_cut(names in proptest::collection::vec(".{0,8}", 0..6), cut in any::<prop::sample::Index>(), noise in proptest::collection::vec(any::<u8>(), 0..64)) {
        let object: serde_json::Map<_, _> =
            names.iter().map(|name| (name.clone(), serde_json::json!([name, 1.5, null, {"k": name}]))).collect();
        let text = serde_json::to_vec(&object).unwrap();
        prop_assert!(check_object(&text, Some("k")).is_ok());
        prop_assert_eq!(compact(&text), text.clone());
        prop_assert!(check_object(&text[..cut.index(text.len())], Some("k")).is_err());
        let _ = check_object(&noise, Some("k"));
    }
}
