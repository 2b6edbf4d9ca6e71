#![expect(clippy::disallowed_methods, reason = "a history on the real disk")]

use super::stage::Stage;

#[test]
fn an_earlier_history_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let killed = r#"{"op":7,"process":2,"type":"invoke","f":"send","partition":"soak-0","values":[40,41]}
{"op":8,"process":0,"type":"ok","f":"kill"}
{"op":9,"process":1,"type":"inv"#;
    std::fs::write(&path, killed).unwrap();
    let (stage, kills) = Stage::open(&path, 6, 1).unwrap();
    assert_eq!((kills, stage.new_op(), stage.new_process()), (1, 9, 3));
    assert_eq!(stage.new_small_values(2), [(42, 0), (43, 0)]);
}
