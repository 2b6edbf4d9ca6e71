//! The program `highwater-soak`: its help, its refusals, and directories that it must not go on with. No node
//! runs here: where one would be needed, the program is told that there is none.
#![expect(clippy::disallowed_methods, reason = "a real program on real files")]

use std::path::Path;
use std::process::{Command, Output};

fn soak(arguments: &[&str], program: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater-soak"));
    command.args(arguments).env("HIGHWATER_BIN", program).env("RUST_BACKTRACE", "1");
    command.output().expect("the program was built for this test")
}

/// What it refuses to do, and with which status.
fn refused(arguments: &[&str], program: &Path) -> (i32, String) {
    let output = soak(arguments, program);
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn help_is_an_answer() {
    for flag in ["--help", "-h"] {
        let output = soak(&["--rounds", "3", flag], Path::new("none"));
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("usage: highwater-soak --dir DIR") && text.contains("--copiers"), "{text}");
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn wrong_arguments_are_named_without_a_backtrace() {
    let check = |arguments: &[&str], expected: &str| {
        let (status, message) = refused(arguments, Path::new("none"));
        assert_eq!((status, message), (2, format!("error: {expected}\nhint: highwater-soak --help\n")));
    };
    check(&["--frobnicate"], "unknown argument --frobnicate");
    check(&["--dir"], "--dir needs a value");
    check(&["--rounds", "3"], "--dir is missing: where to keep data and history");
    check(
        &["--dir", "d", "--rounds", "few"],
        "--rounds few: expected a number: invalid digit found in string",
    );
}

#[test]
fn a_directory_is_gone_on_with_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    // `true` ends at once, as a node that cannot start does; what the soak left before is kept.
    let program = Path::new("/bin/true");
    let attempt = |more: &[&str]| {
        let arguments = [&["--dir", path, "--rounds", "1"], more].concat();
        let (status, message) = refused(&arguments, program);
        assert_eq!(status, 1);
        message
    };
    assert!(attempt(&[]).contains("the node ended"));
    // A soak that was killed in the middle of a line, with a send under way.
    let killed = r#"{"op":7,"process":2,"type":"invoke","f":"send","partition":"soak-0","values":[40,41]}
{"op":8,"pro"#;
    let history = dir.path().join("history.jsonl");
    std::fs::write(&history, killed).unwrap();
    assert!(attempt(&[]).contains("the node ended"), "it goes on");
    assert!(std::fs::read_to_string(&history).unwrap().ends_with("[40,41]}\n"));
    let message = attempt(&["--copiers", "1"]);
    assert!(message.contains("was begun with") && message.contains("copiers: 2"), "{message}");
    let lock = std::fs::File::open(dir.path().join("soak.lock")).unwrap();
    lock.lock().unwrap();
    assert!(attempt(&[]).contains("another soak runs in"));
    drop(lock);
    std::fs::remove_file(&history).unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    assert!(attempt(&[]).contains("has lost its history"));
    std::fs::remove_file(dir.path().join("soak.json")).unwrap();
    assert!(attempt(&[]).contains("was not begun by this version"));
}
