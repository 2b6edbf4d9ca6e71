//! Planted anomalies of consumer groups, of copies made in transactions, and of deletions.

use super::*;

/// A producer (1), a copier (3, group `c`) that copies `t-0` to `o-0` in transactions, the second of which
/// is aborted, and a member of group `r` (7) whose last commit has no answer. Value 4 was read by neither
/// group. `o-0` holds markers at 2, 4 and 6; of `t-0` the first record is deleted.
const GOOD: &str = r#"
{"op":1,"process":1,"type":"invoke","f":"send","partition":"t-0","values":[1,2,3]}
{"op":1,"process":1,"type":"ok","f":"send","partition":"t-0","offset":0}
{"op":2,"process":3,"type":"invoke","f":"fetch_offsets","group":"c"}
{"op":2,"process":3,"type":"ok","f":"fetch_offsets","group":"c","offsets":{"t-0":-1}}
{"op":3,"process":3,"type":"ok","f":"assigned","group":"c"}
{"op":4,"process":3,"type":"ok","f":"poll","isolation":"read_committed","records":{"t-0":[[0,[1,2]]]}}
{"op":5,"process":3,"type":"ok","f":"begin"}
{"op":6,"process":3,"type":"invoke","f":"send","partition":"o-0","values":[101,102],"copies":[1,2]}
{"op":6,"process":3,"type":"ok","f":"send","partition":"o-0","offset":0}
{"op":7,"process":3,"type":"invoke","f":"commit_offsets","group":"c","offsets":{"t-0":2}}
{"op":7,"process":3,"type":"ok","f":"commit_offsets","group":"c"}
{"op":8,"process":3,"type":"invoke","f":"commit"}
{"op":8,"process":3,"type":"ok","f":"commit"}
{"op":9,"process":3,"type":"ok","f":"poll","isolation":"read_committed","records":{"t-0":[[2,[3]]]}}
{"op":10,"process":3,"type":"ok","f":"begin"}
{"op":11,"process":3,"type":"invoke","f":"send","partition":"o-0","values":[103],"copies":[3]}
{"op":11,"process":3,"type":"ok","f":"send","partition":"o-0","offset":3}
{"op":12,"process":3,"type":"invoke","f":"commit_offsets","group":"c","offsets":{"t-0":3}}
{"op":12,"process":3,"type":"ok","f":"commit_offsets","group":"c"}
{"op":13,"process":3,"type":"invoke","f":"abort"}
{"op":13,"process":3,"type":"ok","f":"abort"}
{"op":14,"process":0,"type":"ok","f":"kill"}
{"op":15,"process":0,"type":"ok","f":"start"}
{"op":16,"process":3,"type":"invoke","f":"fetch_offsets","group":"c"}
{"op":16,"process":3,"type":"ok","f":"fetch_offsets","group":"c","offsets":{"t-0":2}}
{"op":17,"process":3,"type":"ok","f":"assigned","group":"c"}
{"op":18,"process":3,"type":"ok","f":"poll","isolation":"read_committed","records":{"t-0":[[2,[3]]]}}
{"op":19,"process":3,"type":"ok","f":"begin"}
{"op":20,"process":3,"type":"invoke","f":"send","partition":"o-0","values":[104],"copies":[3]}
{"op":20,"process":3,"type":"ok","f":"send","partition":"o-0","offset":5}
{"op":21,"process":3,"type":"invoke","f":"commit_offsets","group":"c","offsets":{"t-0":3}}
{"op":21,"process":3,"type":"ok","f":"commit_offsets","group":"c"}
{"op":22,"process":3,"type":"invoke","f":"commit"}
{"op":22,"process":3,"type":"ok","f":"commit"}
{"op":23,"process":7,"type":"invoke","f":"fetch_offsets","group":"r"}
{"op":23,"process":7,"type":"ok","f":"fetch_offsets","group":"r","offsets":{"t-0":-1}}
{"op":24,"process":7,"type":"ok","f":"assigned","group":"r"}
{"op":25,"process":7,"type":"ok","f":"poll","isolation":"read_committed","records":{"t-0":[[0,[1,2]]]}}
{"op":26,"process":7,"type":"invoke","f":"commit_offsets","group":"r","offsets":{"t-0":2}}
{"op":26,"process":7,"type":"ok","f":"commit_offsets","group":"r"}
{"op":27,"process":7,"type":"ok","f":"poll","isolation":"read_committed","records":{"t-0":[[2,[3]]]}}
{"op":28,"process":7,"type":"invoke","f":"commit_offsets","group":"r","offsets":{"t-0":3}}
{"op":28,"process":7,"type":"info","f":"commit_offsets","group":"r"}
{"op":29,"process":1,"type":"invoke","f":"send","partition":"t-0","values":[4]}
{"op":29,"process":1,"type":"ok","f":"send","partition":"t-0","offset":3}
{"op":30,"process":9,"type":"invoke","f":"trim","partition":"t-0","offset":1}
{"op":30,"process":9,"type":"ok","f":"trim","partition":"t-0","offset":1}
{"op":31,"process":0,"type":"ok","f":"read","isolation":"read_uncommitted","partition":"t-0","start":1,"end":4,"records":[[1,[2,3,4]]]}
{"op":32,"process":0,"type":"ok","f":"read","isolation":"read_committed","partition":"t-0","start":1,"end":4,"records":[[1,[2,3,4]]]}
{"op":33,"process":0,"type":"ok","f":"read","isolation":"read_uncommitted","partition":"o-0","start":0,"end":7,"records":[[0,[101,102]],[3,[103]],[5,[104]]],"controls":[2,4,6]}
{"op":34,"process":0,"type":"ok","f":"read","isolation":"read_committed","partition":"o-0","start":0,"end":7,"records":[[0,[101,102]],[5,[104]]],"controls":[2,4,6]}
{"op":35,"process":0,"type":"invoke","f":"fetch_offsets","group":"c"}
{"op":35,"process":0,"type":"ok","f":"fetch_offsets","group":"c","offsets":{"t-0":3}}
{"op":36,"process":0,"type":"invoke","f":"fetch_offsets","group":"r"}
{"op":36,"process":0,"type":"ok","f":"fetch_offsets","group":"r","offsets":{"t-0":3}}
"#;

const LAST_OF_C: &str =
    r#"{"op":35,"process":0,"type":"ok","f":"fetch_offsets","group":"c","offsets":{"t-0":3}}"#;
const LAST_OF_R: &str =
    r#"{"op":36,"process":0,"type":"ok","f":"fetch_offsets","group":"r","offsets":{"t-0":3}}"#;
const COMMITTED_COPIES: &str = r#""records":[[0,[101,102]],[5,[104]]],"controls":[2,4,6]"#;

fn found(replacements: &[(&str, &str)]) -> Vec<&'static str> {
    planted_in(GOOD, replacements).into_iter().collect()
}

/// The line, with offset 3 of its answer replaced.
fn with_offset(line: &str, offset: i64) -> String {
    line.replace(r#""t-0":3"#, &format!(r#""t-0":{offset}"#))
}

#[test]
fn a_good_history_of_groups_passes() {
    let report = judged(GOOD).unwrap();
    assert!(report.is_good(), "{report}");
    let counts = report.counts();
    assert_eq!((counts.committed, counts.aborted, counts.copied, counts.offsets), (2, 1, 3, 4));
    // The commit without an answer may as well not have happened.
    assert_eq!(found(&[(LAST_OF_R, &with_offset(LAST_OF_R, 2))]), [""; 0]);
}

#[test]
fn an_offset_that_went_back_is_caught() {
    // Acknowledged, then gone with the restart.
    assert_eq!(found(&[(LAST_OF_R, &with_offset(LAST_OF_R, -1))]), ["committed offset went back"]);
    // Committed with a transaction whose copy is there.
    assert_eq!(
        found(&[(LAST_OF_C, &with_offset(LAST_OF_C, 2))]),
        ["committed offset went back", "copy without its offset"]
    );
    // Shown once, though its commit has no answer.
    let shown = r#"{"op":98,"process":7,"type":"invoke","f":"fetch_offsets","group":"r"}
{"op":98,"process":7,"type":"ok","f":"fetch_offsets","group":"r","offsets":{"t-0":3}}
{"op":29,"process":1,"type":"invoke""#;
    let back = with_offset(LAST_OF_R, 2);
    let line = r#"{"op":29,"process":1,"type":"invoke""#;
    assert_eq!(found(&[(line, shown), (LAST_OF_R, &back)]), ["committed offset went back"]);
}

#[test]
fn an_offset_of_a_transaction_that_is_not_committed_is_caught() {
    // Of the aborted one.
    let line = r#"{"op":16,"process":3,"type":"ok","f":"fetch_offsets","group":"c","offsets":{"t-0":2}}"#;
    let aborted = line.replace(r#""t-0":2"#, r#""t-0":3"#);
    assert_eq!(found(&[(line, &aborted)]), ["uncommitted offset"]);
    // Before the commit was asked for.
    let early = r#"{"op":98,"process":3,"type":"invoke","f":"fetch_offsets","group":"c"}
{"op":98,"process":3,"type":"ok","f":"fetch_offsets","group":"c","offsets":{"t-0":2}}
{"op":8,"process":3,"type":"invoke","f":"commit"}"#;
    assert_eq!(
        found(&[(r#"{"op":8,"process":3,"type":"invoke","f":"commit"}"#, early)]),
        ["uncommitted offset"]
    );
}

#[test]
fn an_offset_that_nobody_committed_is_caught() {
    assert_eq!(found(&[(LAST_OF_R, &with_offset(LAST_OF_R, 4))]), ["group skip", "invented offset"]);
    // Its commit was refused.
    let info = r#"{"op":28,"process":7,"type":"info","f":"commit_offsets","group":"r"}"#;
    assert_eq!(found(&[(info, &info.replace("info", "fail"))]), ["invented offset"]);
}

#[test]
fn an_offset_beyond_the_end_is_caught() {
    let commit =
        r#"{"op":28,"process":7,"type":"invoke","f":"commit_offsets","group":"r","offsets":{"t-0":3}}"#;
    let (far, shown) = (with_offset(commit, 5), with_offset(LAST_OF_R, 5));
    assert_eq!(found(&[(commit, &far), (LAST_OF_R, &shown)]), ["group skip", "offset beyond the end"]);
}

#[test]
fn a_value_that_no_member_was_given_is_caught() {
    let polled = r#"{"op":27,"process":7,"type":"ok","f":"poll","isolation":"read_committed","records":{"t-0":[[2,[3]]]}}"#;
    let nothing = polled.replace(r#""t-0":[[2,[3]]]"#, "");
    assert_eq!(found(&[(polled, &nothing)]), ["group skip"]);
    // What a process of no group was given does not count.
    let outside = polled.replace(r#""process":7"#, r#""process":8"#);
    assert_eq!(found(&[(polled, &outside)]), ["group skip"]);
}

#[test]
fn a_value_left_out_and_a_value_copied_twice_are_caught() {
    assert_eq!(found(&[(r#""copies":[1,2]"#, r#""copies":[1,1]"#)]), ["copied twice", "not copied"]);
    // The transaction counts, its offset was lost: the copier copies once more.
    let abort = r#"{"op":13,"process":3,"type":"invoke","f":"abort"}
{"op":13,"process":3,"type":"ok","f":"abort"}"#;
    let copied = COMMITTED_COPIES.replace("[5,", "[3,[103]],[5,");
    assert_eq!(
        found(&[(abort, &abort.replace("abort", "commit")), (COMMITTED_COPIES, &copied)]),
        ["committed offset went back", "copied twice"]
    );
}

#[test]
fn a_value_passed_without_a_copy_is_caught() {
    let commit =
        r#"{"op":21,"process":3,"type":"invoke","f":"commit_offsets","group":"c","offsets":{"t-0":3}}"#;
    let polled = r#"{"op":18,"process":3,"type":"ok","f":"poll","isolation":"read_committed","records":{"t-0":[[2,[3]]]}}"#;
    let (far, shown) = (with_offset(commit, 4), with_offset(LAST_OF_C, 4));
    let (given, sent) = (polled.replace("[3]", "[3,4]"), r#""partition":"t-0","values":[1,2,3]}"#);
    let replacements = [
        (commit, &*far),
        (LAST_OF_C, &*shown),
        (polled, &*given),
        // Value 4 is there from the start.
        (sent, r#""partition":"t-0","values":[1,2,3,4]}"#),
        (r#""partition":"t-0","values":[4]}"#, r#""partition":"t-1","values":[5]}"#),
        (
            r#"{"op":29,"process":1,"type":"ok","f":"send","partition":"t-0","offset":3}"#,
            r#"{"op":29,"process":1,"type":"fail","f":"send","partition":"t-1"}"#,
        ),
    ];
    assert_eq!(found(&replacements), ["not copied"]);
}

#[test]
fn deleted_records_that_are_back_are_caught_and_those_gone_with_them() {
    let starting = |start: i64, records: &str| {
        let line = |op: u64, isolation: &str| {
            format!(
                r#"{{"op":{op},"process":0,"type":"ok","f":"read","isolation":"{isolation}","partition":"t-0","start":{start},"end":4,"records":{records}}}"#
            )
        };
        (line(31, "read_uncommitted"), line(32, "read_committed"))
    };
    let (first, second) = starting(1, "[[1,[2,3,4]]]");
    let (all, all_committed) = starting(0, "[[0,[1,2,3,4]]]");
    assert_eq!(found(&[(&first, &all), (&second, &all_committed)]), ["deleted read"]);
    let (few, few_committed) = starting(2, "[[2,[3,4]]]");
    assert_eq!(found(&[(&first, &few), (&second, &few_committed)]), ["lost start"]);
}

#[test]
fn an_impossible_history_of_groups_is_refused() {
    let refusal = |old: &str, new: &str| judged(&GOOD.replace(old, new)).unwrap_err().to_string();
    assert_eq!(
        refusal(r#"{"op":28,"process":7,"type":"info""#, r#"{"op":99,"process":7,"type":"info""#),
        "event 43 of the history: op 99 was never invoked"
    );
    assert_eq!(
        refusal(
            r#"{"op":17,"process":3,"type":"ok","f":"assigned","group":"c"}"#,
            r#"{"op":17,"process":3,"type":"ok","f":"assigned","group":"r"}"#
        ),
        "event 26 of the history: process 3 of group c is assigned by group r"
    );
    assert_eq!(
        refusal(r#""copies":[1,2]"#, r#""copies":[1]"#),
        "event 8 of the history: 2 values, copies of 1"
    );
}
