use proptest::prelude::*;

use super::*;

const EVENT_BYTES_MAX: usize = 40;

/// The events of `body` fed in chunks of `step` bytes, as text; the last entry is the body's error, if any.
fn split(framing: Framing, body: &str, step: usize) -> Vec<String> {
    let mut splitter = Splitter::new(framing, EVENT_BYTES_MAX);
    let mut events = Vec::new();
    let mut end = Ok(());
    for chunk in body.as_bytes().chunks(step) {
        end = splitter.push(&Bytes::copy_from_slice(chunk), &mut events);
        assert!(splitter.held_bytes() <= 2 * EVENT_BYTES_MAX, "holds {} bytes", splitter.held_bytes());
        if end.is_err() {
            break;
        }
    }
    end = end.and_then(|()| splitter.finish(&mut events));
    let show = |event: Event| match event.text {
        Ok(text) => format!("{}: {}", event.line, String::from_utf8_lossy(&text)),
        Err(reason) => format!("{}! {reason}", event.line),
    };
    events.into_iter().map(show).chain(end.err()).collect()
}

fn check(framing: Framing, body: &str, expected: &[&str]) {
    for step in [1, 2, 3, 7, 1000] {
        assert_eq!(split(framing, body, step), expected, "chunks of {step} bytes");
    }
}

#[test]
fn lines() {
    check(Framing::Lines, "", &[]);
    check(Framing::Lines, "\n \r\n\n", &[]);
    check(Framing::Lines, "{\"a\":1}\r\n\n  {\"b\":2} ", &["1: {\"a\":1}", "3: {\"b\":2}"]);
    let long = format!("{{}}\n{}\n{{}}\n", "x".repeat(EVENT_BYTES_MAX + 1));
    check(Framing::Lines, &long, &["1: {}", "2! longer than 40 bytes", "3: {}"]);
    check(Framing::Lines, &"y".repeat(500), &["1! longer than 40 bytes"]);
}

#[test]
fn one_object() {
    check(Framing::Json, " {\"a\":\n  1}\n", &["1: {\"a\":\n  1}"]);
    check(Framing::Json, "{}{}", &["1: {}{}"]);
    check(Framing::Json, "", &["the body is empty"]);
    check(Framing::Json, " 5", &["expected a JSON object or an array of objects"]);
}

#[test]
fn arrays() {
    check(Framing::Json, "[]", &[]);
    check(Framing::Json, " [ ] ", &[]);
    check(
        Framing::Json,
        "[{\"a\":[1,2]},{\"b\":\"]},{\\\"\"}]",
        &["1: {\"a\":[1,2]}", "2: {\"b\":\"]},{\\\"\"}"],
    );
    check(Framing::Json, "[1,,{}]", &["1: 1", "2! expected a value", "3: {}"]);
    check(Framing::Json, "[{},]", &["1: {}", "2! expected a value"]);
    check(Framing::Json, "[{}] x", &["1: {}", "text after the array"]);
    check(
        Framing::Json,
        "[{},{\"a\"",
        &["1: {}", "the array does not end: element 2 or a bracket before it is open"],
    );
    let long = format!("[{{}},\"{}\",{{}}]", "x".repeat(100));
    check(Framing::Json, &long, &["1: {}", "2! longer than 40 bytes", "3: {}"]);
}

proptest! {
    #[test]
    fn chunks_do_not_matter(body in r#"[\[\]{},"\\ab\n ]{0,60}"#, step in 1_usize..9) {
        for framing in [Framing::Lines, Framing::Json] {
            prop_assert_eq!(split(framing, &body, step), split(framing, &body, 1000));
        }
    }
}
