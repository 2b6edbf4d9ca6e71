use super::decimal::{Operation, from_text, to_text};
use super::java_regex::{JavaRegex, similar};
use super::java_time::{Pattern, parse_sql_date, parse_sql_time, parse_sql_timestamp};
use super::json_path::{Found, JsonPath};
use super::json_value::{Json, java_decimal};
use super::pattern::LikePattern;
use super::times::Moment;
use super::zone;
use crate::types::SqlType;

fn like(pattern: &str, escape: Option<char>, text: &str) -> bool {
    LikePattern::new(pattern, escape).unwrap().matches(text)
}

#[test]
fn like_follows_wildcards_and_escapes() {
    for (pattern, text, expected) in [
        ("a%c", "abc", true),
        ("a%c", "abcd", false),
        ("%b%b%", "abxb", true),
        ("%ab", "aab", true),
        ("_", "é", true),
        ("_", "", false),
        ("", "", true),
        ("%%", "", true),
        ("a\\%", "a\\b", true),
    ] {
        assert_eq!(like(pattern, None, text), expected, "{text} like {pattern}");
    }
    assert!(like("a\\%", Some('\\'), "a%"));
    assert!(!like("a\\%", Some('\\'), "ab"));
    assert_eq!(LikePattern::new("a\\b", Some('\\')), None);
}

#[test]
fn decimal_types_are_flinks() {
    let cases = [
        (Operation::Add, (10, 2), (10, 2), (11, 2)),
        (Operation::Multiply, (4, 3), (19, 0), (24, 3)),
        (Operation::Multiply, (38, 18), (38, 18), (38, 6)),
        (Operation::Divide, (10, 2), (10, 2), (23, 13)),
        (Operation::Divide, (19, 0), (2, 1), (26, 6)),
        (Operation::Modulo, (10, 2), (10, 2), (10, 2)),
    ];
    for (operation, left, right, (precision, scale)) in cases {
        assert_eq!(
            operation.output(left, right),
            SqlType::Decimal(precision, scale),
            "{operation:?} {left:?} {right:?}"
        );
    }
}

#[test]
fn decimals_round_half_up_and_overflow_to_none() {
    for (text, precision, scale, expected) in [
        ("1.005", 5, 2, Some(101)),
        ("-1.005", 5, 2, Some(-101)),
        ("1e3", 6, 2, Some(100_000)),
        ("12345", 4, 0, None),
        (".5", 3, 1, Some(5)),
        ("0.049", 3, 1, Some(0)),
        ("0.05", 3, 1, Some(1)),
        ("", 3, 1, None),
        ("1.2.3", 3, 1, None),
        ("1e999999999", 38, 0, None),
    ] {
        assert_eq!(from_text(text, precision, scale), expected, "{text}");
    }
    assert_eq!(to_text(-5, 3), "-0.005");
    assert_eq!(to_text(12345, 0), "12345");
}

#[test]
fn texts_become_times_as_flink_reads_them() {
    assert_eq!(parse_sql_date(" 42 "), parse_sql_date("0042-01-01"));
    assert_eq!(parse_sql_date("2026-02-30"), None);
    assert_eq!(parse_sql_date("+7"), None);
    assert_eq!(parse_sql_time("12:34:56"), Some(45_296_000));
    assert_eq!(parse_sql_time("24:00:00"), None);
    assert_eq!(parse_sql_timestamp("1970-01-01 00:00:01.5"), Some(Moment { ms: 1500, nanos: 0 }));
    assert_eq!(parse_sql_timestamp("1969-12-31 23:59:59.9999"), Some(Moment { ms: -1, nanos: 900_000 }));
    assert_eq!(parse_sql_timestamp("1970-01-01T00:00:01"), None);
}

#[test]
fn java_patterns_write_and_read() {
    let moment = parse_sql_timestamp("2026-01-31 13:45:59.999").unwrap();
    for (pattern, text) in [
        ("yyyy-MM-dd'T'HH:mm:ss.SSS", "2026-01-31T13:45:59.999"),
        ("yyyyMMddHHmmssSSS", "20260131134559999"),
        ("d/M/yyyy hh:mm:ss.SSS a", "31/1/2026 01:45:59.999 PM"),
        ("EEEE, d MMMM yyyy HH:mm:ss.SSS", "Saturday, 31 January 2026 13:45:59.999"),
    ] {
        let parsed = Pattern::new(pattern).unwrap();
        assert_eq!(parsed.format(moment).as_deref(), Some(text), "{pattern}");
        assert_eq!(parsed.parse(text), Some(moment), "{pattern}");
    }
    assert!(Pattern::new("'open").is_err());
    assert!(Pattern::new("GGG").is_err());
    assert_eq!(Pattern::new("yyyy-MM-dd").unwrap().parse("2026-13-01"), None);
    assert_eq!(Pattern::new("yyyy-MM-dd").unwrap().parse("2026-01-01x"), None);
}

#[test]
fn zones_follow_java_at_gaps_and_overlaps() {
    let new_york = zone::parse("America/New_York").unwrap();
    let at = |text: &str| parse_sql_timestamp(text).unwrap().ms;
    assert_eq!(new_york.to_instant(at("2026-03-08 02:30:00")), Some(at("2026-03-08 07:30:00")));
    assert_eq!(new_york.to_instant(at("2026-11-01 01:30:00")), Some(at("2026-11-01 05:30:00")));
    assert_eq!(new_york.to_later_instant(at("2026-11-01 01:30:00")), Some(at("2026-11-01 06:30:00")));
    let offset = zone::parse("-05:00").unwrap();
    assert_eq!(offset.to_instant(at("2015-03-18 21:13:16")), Some(at("2015-03-19 02:13:16")));
    assert_eq!(zone::parse("Z").unwrap().to_instant(5), Some(5));
    for name in ["", "+", "+99:00", "-05:99", "Nowhere/Town", "+é5"] {
        assert!(name.is_empty() || zone::parse(name).is_none(), "{name}");
    }
}

fn spans(pattern: &str, text: &str) -> String {
    let regex = JavaRegex::new(pattern).unwrap();
    let found = regex.find_all(text).map(|found| {
        let (from, to) = found.span();
        text[from..to].to_owned()
    });
    found.collect::<Vec<_>>().join("|")
}

#[test]
fn regular_expressions_mean_what_java_means() {
    for (pattern, text, found) in [
        ("a*", "baac", "|aa||"),
        ("\\d+", "1٣2", "1|2"),
        ("\\w", "aé_", "a|_"),
        ("a.c", "a\nc a\u{85}c abc", "abc"),
        ("(?s)a.c", "a\nc", "a\nc"),
        ("(?i)straße", "STRAßE strasse", "STRAßE"),
        ("(?i)[a-c]+", "ABCd", "ABC"),
        ("(?i:a)b", "Ab AB", "Ab"),
        ("b$", "ab\n", "b"),
        ("\\s*$", "a \r\n", " \r\n|"),
        ("^a|b$", "ab\n", "a|b"),
        ("\\Qa.b\\E+", "a.bb axb", "a.bb"),
        ("[\\]\\-^]", "a]-^", "]|-|^"),
        ("\\p{Alpha}+", "aé1", "a"),
        ("\\p{L}+", "aé1", "aé"),
        ("\\x41\\u0042", "AB", "AB"),
        ("<(?<name>.)>", "<x>", "<x>"),
        ("x{2,3}?", "xxxx", "xx|xx"),
        ("a|ab", "ab", "a"),
    ] {
        assert_eq!(spans(pattern, text), found, "{pattern} on {text:?}");
    }
    for pattern in
        ["(?=a)", "(a)\\1", "a*+", "(?>a)", "(?m)^a", "[a&&b]", "a{", "(", ")", "[", "\\", "a$b", "\\G"]
    {
        assert!(JavaRegex::new(pattern).is_err(), "{pattern}");
    }
    let groups = JavaRegex::new("(a)(b)?(c$)").unwrap();
    let found = groups.find_at("ac\n", 0).unwrap();
    assert_eq!([1, 2, 3, 4].map(|index| found.group(index)), [Some((0, 1)), None, Some((1, 2)), None]);
    assert_eq!(groups.groups, 3);
}

#[test]
fn similar_to_takes_sql_wildcards_and_alternatives() {
    let matches =
        |pattern: &str, text: &str| JavaRegex::new(&similar(pattern, None).unwrap()).unwrap().is_match(text);
    assert!(matches("a%(b|c)_", "axxbz") && matches("[0-9]+", "42") && matches("%", "a\nb"));
    assert!(!matches("a", "ab") && !matches("a$", "a") && !matches("a|b", "xb"));
    assert_eq!(similar("a!%", Some('!')).unwrap(), "^(?:a\\%)\\z");
    assert!(similar("a!b", Some('!')).is_err() && similar("[[:ALPHA:]]", None).is_err());
}

#[test]
fn json_is_read_and_written_as_jackson_does() {
    for (text, expected) in [
        ("{\"b\":1,\"a\":[true,null,\"x\"]}", Some("{\"a\":[true,null,\"x\"],\"b\":1}")),
        ("{\"a\":1,\"a\":2} behind", Some("{\"a\":2}")),
        (" -0.50 ", Some("-0.50")),
        ("1e2", Some("1E+2")),
        ("1.0E-10", Some("1.0E-10")),
        ("\"\\u00e9\\ud83d\\ude00\\/\\u0001\"", Some("\"é😀/\\u0001\"")),
        ("12345678901234567890", Some("12345678901234567890")),
        ("", None),
        ("01", None),
        ("1a", None),
        ("[1,]", None),
        ("{a:1}", None),
        ("'a'", None),
        ("nul", None),
        ("\"a\nb\"", None),
        ("\"\\ud83d\"", None),
    ] {
        assert_eq!(Json::parse(text).map(|json| json.to_text()).as_deref(), expected, "{text}");
    }
    assert_eq!(Json::parse(&"[".repeat(100_000)), None);
    assert_eq!(java_decimal("0.0000001").as_deref(), Some("1E-7"));
    assert_eq!(java_decimal("0.000001").as_deref(), Some("0.000001"));
    assert_eq!(java_decimal("1e99999999999"), None);
}

#[test]
fn json_paths_are_strict_unless_they_say_lax() {
    let find = |path: &str, text: &str| match JsonPath::new(path).unwrap().find(Json::parse(text)) {
        Found::Value(json) => json.to_text(),
        Found::Empty => "empty".to_owned(),
        Found::Error(_) => "error".to_owned(),
    };
    let text = "{\"a\":{\"b\":[1,{\"c\":null}]},\"x y\":2}";
    for (path, found) in [
        ("$", "{\"a\":{\"b\":[1,{\"c\":null}]},\"x y\":2}"),
        ("$.a.b[0]", "1"),
        ("a.b[-2]", "1"),
        ("$['x y']", "2"),
        ("STRICT $.[\"x y\"]", "2"),
        ("$.a.b[5]", "error"),
        ("lax $.a.b[5]", "empty"),
        ("$.a.b[1].c", "error"),
        ("lax $.a.b[1].c", "empty"),
        ("$.z", "error"),
        ("$.z[*]", "error"),
        ("lax $.z[*].q", "[]"),
        ("$.a.b[*]", "[1,{\"c\":null}]"),
        ("$.a.b[*].c", "[null]"),
        ("$.a.*.q", "[]"),
        ("$.a.b.c", "error"),
    ] {
        assert_eq!(find(path, text), found, "{path}");
    }
    assert_eq!(find("lax $.a", "no json"), "empty");
    assert_eq!(find("$.a", "no json"), "error");
    assert_eq!(find("lax $", "null"), "error");
    for path in ["", "$.", "$..a", "$[?(@.a)]", "$[1:2]", "$.a b", "$[0"] {
        assert!(JsonPath::new(path).is_err(), "{path}");
    }
}
