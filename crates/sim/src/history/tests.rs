mod groups;

use std::collections::BTreeSet;

use super::*;

/// Two partitions, two idempotent producers (1, 2), a transactional one (3), readers of everything
/// (7) and of what is committed (8). `t-0` holds a commit marker at 3 and an abort marker at 6; of
/// two sends without an answer one is there (6, 7), the other (9) is not.
const GOOD: &str = r#"
{"op":1,"process":1,"type":"invoke","f":"send","partition":"t-0","values":[1,2]}
{"op":2,"process":2,"type":"invoke","f":"send","partition":"t-1","values":[20,21,22]}
{"op":1,"process":1,"type":"ok","f":"send","partition":"t-0","offset":0}
{"op":2,"process":2,"type":"ok","f":"send","partition":"t-1","offset":0}
{"op":3,"process":3,"type":"ok","f":"begin"}
{"op":4,"process":3,"type":"invoke","f":"send","partition":"t-0","values":[3]}
{"op":4,"process":3,"type":"ok","f":"send","partition":"t-0","offset":2}
{"op":5,"process":8,"type":"ok","f":"poll","isolation":"read_committed","records":{"t-0":[[0,[1,2]]]}}
{"op":6,"process":7,"type":"ok","f":"poll","isolation":"read_uncommitted","records":{"t-0":[[0,[1,2,3]]]}}
{"op":7,"process":3,"type":"invoke","f":"commit"}
{"op":7,"process":3,"type":"ok","f":"commit"}
{"op":8,"process":1,"type":"invoke","f":"send","partition":"t-0","values":[4]}
{"op":8,"process":1,"type":"ok","f":"send","partition":"t-0","offset":4}
{"op":9,"process":3,"type":"ok","f":"begin"}
{"op":10,"process":3,"type":"invoke","f":"send","partition":"t-0","values":[5]}
{"op":10,"process":3,"type":"ok","f":"send","partition":"t-0","offset":5}
{"op":11,"process":3,"type":"invoke","f":"abort"}
{"op":11,"process":3,"type":"ok","f":"abort"}
{"op":12,"process":1,"type":"invoke","f":"send","partition":"t-0","values":[6,7]}
{"op":13,"process":2,"type":"invoke","f":"send","partition":"t-1","values":[9]}
{"op":14,"process":0,"type":"ok","f":"kill"}
{"op":12,"process":1,"type":"info","f":"send","partition":"t-0"}
{"op":13,"process":2,"type":"info","f":"send","partition":"t-1"}
{"op":15,"process":0,"type":"ok","f":"start"}
{"op":16,"process":4,"type":"invoke","f":"send","partition":"t-0","values":[8]}
{"op":16,"process":4,"type":"ok","f":"send","partition":"t-0","offset":9}
{"op":17,"process":5,"type":"invoke","f":"send","partition":"t-1","values":[23]}
{"op":17,"process":5,"type":"ok","f":"send","partition":"t-1","offset":3}
{"op":18,"process":5,"type":"invoke","f":"send","partition":"t-1","values":[24]}
{"op":18,"process":5,"type":"fail","f":"send","partition":"t-1"}
{"op":19,"process":8,"type":"ok","f":"poll","isolation":"read_committed","records":{"t-0":[[2,[3]],[4,[4]],[7,[6,7,8]]]}}
{"op":20,"process":7,"type":"ok","f":"poll","isolation":"read_uncommitted","records":{"t-0":[[4,[4,5]],[7,[6]]]}}
{"op":21,"process":7,"type":"ok","f":"poll","isolation":"read_uncommitted","records":{"t-0":[[8,[7,8]]]}}
{"op":22,"process":7,"type":"ok","f":"assign"}
{"op":23,"process":7,"type":"ok","f":"poll","isolation":"read_uncommitted","records":{"t-0":[[4,[4]]]}}
{"op":24,"process":0,"type":"ok","f":"read","isolation":"read_uncommitted","partition":"t-0","start":0,"end":10,"records":[[0,[1,2,3]],[4,[4,5]],[7,[6,7,8]]],"controls":[3,6]}
{"op":25,"process":0,"type":"ok","f":"read","isolation":"read_committed","partition":"t-0","start":0,"end":10,"records":[[0,[1,2]],[2,[3]],[4,[4]],[7,[6,7]],[9,[8]]],"controls":[3,6]}
{"op":26,"process":0,"type":"ok","f":"read","isolation":"read_uncommitted","partition":"t-1","start":0,"end":4,"records":[[0,[20,21,22,23]]]}
"#;

/// Op numbers of the last reads, for plants.
const LAST_READ: &str = r#""end":10,"records":[[0,[1,2,3]],[4,[4,5]],[7,[6,7,8]]],"controls":[3,6]"#;
const LAST_COMMITTED: &str = r#"[[0,[1,2]],[2,[3]],[4,[4]],[7,[6,7]],[9,[8]]]"#;
const LAST_READ_1: &str = r#""end":4,"records":[[0,[20,21,22,23]]]"#;

fn judged(history: &str) -> Result<Report, HistoryError> {
    check(history.trim().lines().map(|line| serde_json::from_str::<Event>(line).expect(line)))
}

/// What is found once each `(old, new)` has been replaced in the good history.
fn planted(replacements: &[(&str, &str)]) -> BTreeSet<&'static str> {
    planted_in(GOOD, replacements)
}

fn planted_in(good: &str, replacements: &[(&str, &str)]) -> BTreeSet<&'static str> {
    let mut history = good.to_owned();
    for (old, new) in replacements {
        assert_eq!(history.matches(old).count(), 1, "{old} is there once");
        history = history.replace(old, new);
    }
    let report = judged(&history).unwrap();
    assert!(report.examples().len() >= report.found().len(), "each kind has an example");
    report.found().keys().map(|kind| kind.name()).collect()
}

#[test]
fn a_good_history_passes() {
    let report = judged(GOOD).unwrap();
    assert!(report.is_good(), "{report}");
    let counts = report.counts();
    assert_eq!((counts.sent, counts.acknowledged, counts.unknown), (14, 10, 3));
    assert_eq!((counts.committed, counts.aborted, counts.kills), (1, 1, 1));
    assert_eq!((counts.polled, counts.read), (16, 19));
}

#[test]
fn a_lost_write_is_caught() {
    // Acknowledged, then gone.
    let found = planted(&[
        (LAST_READ, r#""end":10,"records":[[0,[1,2,3]],[5,[5]],[7,[6,7,8]]],"controls":[3,6]"#),
        (r#"[[4,[4,5]],[7,[6]]]"#, r#"[[5,[5]],[7,[6]]]"#),
        (r#""records":{"t-0":[[4,[4]]]}"#, r#""records":{}"#),
        (r#"[[2,[3]],[4,[4]],[7,[6,7,8]]]"#, r#"[[2,[3]],[7,[6,7,8]]]"#),
        (LAST_COMMITTED, r#"[[0,[1,2]],[2,[3]],[7,[6,7]],[9,[8]]]"#),
    ]);
    assert_eq!(found, BTreeSet::from(["lost write", "hole"]));
}

#[test]
fn half_a_batch_without_an_answer_is_a_lost_write() {
    let found = planted(&[
        (LAST_READ, r#""end":10,"records":[[0,[1,2,3]],[4,[4,5]],[7,[6]],[9,[8]]],"controls":[3,6]"#),
        (r#"{"t-0":[[8,[7,8]]]}"#, r#"{"t-0":[[9,[8]]]}"#),
        (r#"[[2,[3]],[4,[4]],[7,[6,7,8]]]"#, r#"[[2,[3]],[4,[4]],[7,[6]],[9,[8]]]"#),
        (LAST_COMMITTED, r#"[[0,[1,2]],[2,[3]],[4,[4]],[7,[6]],[9,[8]]]"#),
    ]);
    assert_eq!(found, BTreeSet::from(["lost write", "hole"]));
}

#[test]
fn a_committed_value_that_readers_of_committed_records_miss_is_a_lost_write() {
    let found = planted(&[(LAST_COMMITTED, r#"[[0,[1,2]],[4,[4]],[7,[6,7]],[9,[8]]]"#)]);
    assert_eq!(found, BTreeSet::from(["lost write"]));
}

#[test]
fn what_was_served_and_is_gone_is_a_lost_write() {
    // Value 9 was never acknowledged; a consumer saw it all the same, and the node forgot it.
    let found = planted(&[(
        r#"{"op":22,"process":7,"type":"ok","f":"assign"}"#,
        r#"{"op":22,"process":7,"type":"ok","f":"poll","isolation":"read_uncommitted","records":{"t-1":[[4,[9]]]}}
{"op":99,"process":7,"type":"ok","f":"assign"}"#,
    )]);
    assert_eq!(found, BTreeSet::from(["lost write"]));
}

#[test]
fn an_unseen_acknowledged_value_is_caught() {
    let found = planted(&[(LAST_READ_1, r#""end":3,"records":[[0,[20,21,22]]]"#)]);
    assert_eq!(found, BTreeSet::from(["unseen acknowledged"]));
}

#[test]
fn without_full_reads_loss_is_judged_by_what_was_polled() {
    let polls = |polled: &str| {
        format!(
            r#"
{{"op":1,"process":1,"type":"invoke","f":"send","partition":"t-0","values":[1,2,3]}}
{{"op":1,"process":1,"type":"ok","f":"send","partition":"t-0","offset":0}}
{{"op":2,"process":7,"type":"ok","f":"poll","isolation":"read_uncommitted","records":{{"t-0":{polled}}}}}"#
        )
    };
    let found = |polled: &str| {
        let report = judged(&polls(polled)).unwrap();
        report.found().keys().map(|kind| kind.name()).collect::<Vec<_>>()
    };
    assert_eq!(found("[[0,[1,2,3]]]"), [""; 0]);
    assert_eq!(found("[[0,[1]],[2,[3]]]"), ["lost write"]);
    assert_eq!(found("[[0,[1,2]]]"), ["unseen acknowledged"]);
}

#[test]
fn a_duplicate_is_caught() {
    let found = planted(&[(LAST_READ_1, r#""end":5,"records":[[0,[20,21,22,23,23]]]"#)]);
    assert_eq!(found, BTreeSet::from(["duplicate"]));
}

#[test]
fn offset_reuse_is_caught() {
    // Before the kill a consumer saw value 9 at offset 3; afterwards value 23 was given it.
    let found = planted(&[(
        r#"{"op":14,"process":0,"type":"ok","f":"kill"}"#,
        r#"{"op":99,"process":7,"type":"ok","f":"poll","isolation":"read_uncommitted","records":{"t-1":[[3,[9]]]}}
{"op":14,"process":0,"type":"ok","f":"kill"}"#,
    )]);
    assert_eq!(found, BTreeSet::from(["offset reuse", "lost write"]));
}

#[test]
fn an_acknowledgement_that_names_another_offset_is_caught() {
    let found = planted(&[(
        r#"{"op":17,"process":5,"type":"ok","f":"send","partition":"t-1","offset":3}"#,
        r#"{"op":17,"process":5,"type":"ok","f":"send","partition":"t-1","offset":2}"#,
    )]);
    assert_eq!(found, BTreeSet::from(["duplicate", "offset reuse"]));
}

#[test]
fn a_marker_where_a_record_was_is_caught() {
    let found = planted(&[(LAST_READ, &LAST_READ.replace("[3,6]", "[3,5,6]"))]);
    assert_eq!(found, BTreeSet::from(["offset reuse"]));
}

#[test]
fn a_producer_reordered_is_caught() {
    // The two batches of process 5 are there, but the wrong way round.
    let found = planted(&[
        (
            r#"{"op":18,"process":5,"type":"fail","f":"send","partition":"t-1"}"#,
            r#"{"op":18,"process":5,"type":"ok","f":"send","partition":"t-1","offset":3}"#,
        ),
        (
            r#"{"op":17,"process":5,"type":"ok","f":"send","partition":"t-1","offset":3}"#,
            r#"{"op":17,"process":5,"type":"ok","f":"send","partition":"t-1","offset":4}"#,
        ),
        (LAST_READ_1, r#""end":5,"records":[[0,[20,21,22,24,23]]]"#),
    ]);
    assert_eq!(found, BTreeSet::from(["reordered"]));
}

#[test]
fn an_aborted_read_is_caught() {
    let with_5 = LAST_COMMITTED.replace("[4,[4]]", "[4,[4,5]]");
    assert_eq!(planted(&[(LAST_COMMITTED, &with_5)]), BTreeSet::from(["aborted read"]));
    // A transaction that nobody ended is not committed either.
    let open = [
        (
            r#"{"op":11,"process":3,"type":"invoke","f":"abort"}"#,
            r#"{"op":11,"process":0,"type":"ok","f":"start"}"#,
        ),
        (
            r#"{"op":11,"process":3,"type":"ok","f":"abort"}"#,
            r#"{"op":11,"process":0,"type":"ok","f":"start"}"#,
        ),
        (LAST_COMMITTED, &with_5),
    ];
    assert_eq!(planted(&open), BTreeSet::from(["aborted read"]));
}

#[test]
fn a_refused_value_that_is_read_is_an_aborted_read() {
    let found = planted(&[(LAST_READ_1, r#""end":5,"records":[[0,[20,21,22,23,24]]]"#)]);
    assert_eq!(found, BTreeSet::from(["aborted read"]));
}

#[test]
fn a_precommitted_read_is_caught() {
    let found = planted(&[
        (r#"{"t-0":[[0,[1,2]]]}}"#, r#"{"t-0":[[0,[1,2,3]]]}}"#),
        (r#"{"t-0":[[2,[3]],[4,[4]],[7,[6,7,8]]]}"#, r#"{"t-0":[[4,[4]],[7,[6,7,8]]]}"#),
    ]);
    assert_eq!(found, BTreeSet::from(["precommitted read"]));
}

#[test]
fn a_commit_without_an_answer_may_go_either_way_but_not_both() {
    let unknown = (
        r#"{"op":7,"process":3,"type":"ok","f":"commit"}"#,
        r#"{"op":7,"process":3,"type":"info","f":"commit"}"#,
    );
    // It was committed: all is seen.
    assert_eq!(planted(&[unknown]), BTreeSet::new());
    // It was not: readers of committed records see nothing of it.
    let found = planted(&[
        unknown,
        (r#"{"t-0":[[2,[3]],[4,[4]],[7,[6,7,8]]]}"#, r#"{"t-0":[[4,[4]],[7,[6,7,8]]]}"#),
        (LAST_COMMITTED, r#"[[0,[1,2]],[4,[4]],[7,[6,7]],[9,[8]]]"#),
    ]);
    assert_eq!(found, BTreeSet::new());
    // One reader saw it, a later one does not.
    let found = planted(&[unknown, (LAST_COMMITTED, r#"[[0,[1,2]],[4,[4]],[7,[6,7]],[9,[8]]]"#)]);
    assert_eq!(found, BTreeSet::from(["lost write"]));
}

#[test]
fn a_hole_is_caught() {
    // Offsets 3..9 hold nothing. After a compaction they may.
    assert_eq!(
        planted(&[(LAST_READ_1, r#""end":10,"records":[[0,[20,21,22,23]]]"#)]),
        BTreeSet::from(["hole"])
    );
    let compacted = r#""end":10,"compacted":true,"records":[[0,[20]],[3,[23]]]"#;
    assert_eq!(planted(&[(LAST_READ_1, compacted)]), BTreeSet::new());
    let at_the_start = LAST_READ.replace("[[0,[1,2,3]]", "[[1,[2,3]]");
    assert!(planted(&[(LAST_READ, &at_the_start)]).contains("hole"));
}

#[test]
fn records_below_the_start_may_be_gone() {
    let trimmed = LAST_READ.replace("[[0,[1,2,3]],[4,[4,5]],", "[").replace("[3,6]", "[6]");
    let start = r#""isolation":"read_uncommitted","partition":"t-0","start":0,"#;
    let committed = r#""isolation":"read_committed","partition":"t-0","start":0,"#;
    let found = planted(&[
        (start, &start.replace(r#""start":0"#, r#""start":6"#)),
        (LAST_READ, &trimmed),
        (committed, &committed.replace(r#""start":0"#, r#""start":6"#)),
        (LAST_COMMITTED, r#"[[7,[6,7]],[9,[8]]]"#),
    ]);
    assert_eq!(found, BTreeSet::new());
}

#[test]
fn an_invented_record_is_caught() {
    let found = planted(&[(LAST_READ_1, r#""end":5,"records":[[0,[20,21,22,23,77]]]"#)]);
    assert_eq!(found, BTreeSet::from(["invented record"]));
}

#[test]
fn a_nonmonotonic_poll_is_caught() {
    let found = planted(&[(
        r#"{"op":22,"process":7,"type":"ok","f":"assign"}"#,
        r#"{"op":22,"process":7,"type":"ok","f":"kill"}"#,
    )]);
    assert_eq!(found, BTreeSet::from(["nonmonotonic poll"]));
    let found = planted(&[(r#"{"t-0":[[4,[4,5]],[7,[6]]]}"#, r#"{"t-0":[[7,[6]],[4,[4,5]]]}"#)]);
    assert!(found.contains("nonmonotonic poll"));
}

#[test]
fn a_poll_skip_is_caught() {
    // By a reader of everything: value 5, although its transaction was aborted.
    let found = planted(&[(r#"{"t-0":[[4,[4,5]],[7,[6]]]}"#, r#"{"t-0":[[4,[4]],[7,[6]]]}"#)]);
    assert_eq!(found, BTreeSet::from(["poll skip"]));
    // By a reader of committed records, between two polls: value 3.
    let found = planted(&[(r#"{"t-0":[[2,[3]],[4,[4]],[7,[6,7,8]]]}"#, r#"{"t-0":[[4,[4]],[7,[6,7,8]]]}"#)]);
    assert_eq!(found, BTreeSet::from(["poll skip"]));
}

#[test]
fn an_impossible_history_is_refused() {
    let twice = GOOD.replace(r#""values":[4]"#, r#""values":[1]"#);
    assert_eq!(
        judged(&twice).unwrap_err().to_string(),
        "event 12 of the history: value 1 is sent a second time"
    );
    let unasked = GOOD.replace(r#"{"op":8,"process":1,"type":"ok""#, r#"{"op":98,"process":1,"type":"ok""#);
    assert_eq!(judged(&unasked).unwrap_err().to_string(), "event 13 of the history: op 98 was never invoked");
}

#[test]
fn a_history_survives_its_file_and_a_torn_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let events: Vec<Event> = GOOD.trim().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (first, rest) = events.split_at(10);
    let recorder = Recorder::open(&path).unwrap();
    first.iter().for_each(|event| recorder.record(event).unwrap());
    drop(recorder);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, br#"{"op":99,"pro"#).unwrap();
    let recorder = Recorder::open(&path).unwrap();
    rest.iter().for_each(|event| recorder.record(event).unwrap());
    drop(recorder);
    let read: Vec<Event> = read_file(&path).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, events);
}
