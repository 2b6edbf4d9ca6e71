//! No text makes the compiler panic, and every refusal has a place within the text.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use highwater_sql::{NoCatalog, Script, compile};
use proptest::prelude::*;

const SEEDS: &[&str] = &[
    "CREATE TABLE t (k STRING, v INT, r ROW<a INT, b ARRAY<MAP<STRING, INT>>>, ts TIMESTAMP(3), c AS v * 2, \
     WATERMARK FOR ts AS ts - INTERVAL '5' SECOND, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'kafka', \
     'topic' = 't', 'format' = 'json');\nSELECT k, SUM(v) FILTER (WHERE v > 1), COUNT(DISTINCT r.a), CASE WHEN v = 1 \
     THEN 'a' ELSE UPPER(k) END FROM t GROUP BY k, v, r.a HAVING COUNT(*) > 1;",
    "CREATE TABLE t (ts TIMESTAMP_LTZ(3), s STRING, d DECIMAL(10, 2), WATERMARK FOR ts AS ts) WITH ('connector' = \
     'filesystem', 'path' = '${P}', 'format' = 'csv');\nCREATE VIEW w AS SELECT window_start, COUNT(*) AS n FROM \
     TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;\nSELECT \
     DATE_FORMAT(window_start, 'yyyy'), n FROM w UNION ALL SELECT s, 1 FROM t /*+ OPTIONS('path' = 'x') */;",
    "SELECT CAST('1' AS DECIMAL(38, 18)) / 3, INTERVAL '1 02:03:04.5' DAY TO SECOND, TRIM(BOTH 'x' FROM 'xax'), \
     SUBSTRING('abc' FROM 2 FOR 1), 0.908 * 10, FLOOR(TIMESTAMP '2026-01-01 00:00:00' TO WEEK), TIMESTAMPDIFF(DAY, \
     DATE '2026-01-01', DATE '2026-02-01'), 'a' LIKE 'b' ESCAPE '!', 1 IN (1, NULL), v NOT BETWEEN 1 AND 2;",
    "SET 'pipeline.name' = 'p'; BEGIN STATEMENT SET; INSERT INTO a (x) SELECT * FROM (VALUES (1, 'a')) AS q (i, j); END;\n\
     CREATE MATERIALIZED TABLE m (PRIMARY KEY (k) NOT ENFORCED) FRESHNESS = INTERVAL '1' MINUTE AS WITH c AS (SELECT 1 \
     AS k) SELECT DISTINCT k FROM c; DROP TABLE IF EXISTS x; RESET 'a';",
];

fn try_compile(text: &str) -> Result<(), TestCaseError> {
    let vars = BTreeMap::from([("P".to_owned(), "/p".to_owned())]);
    let script = Script { name: "any.sql".to_owned(), text: text.to_owned(), vars };
    if let Err(error) = compile(&script, &NoCatalog) {
        let lines = text.split('\n').count();
        prop_assert!(error.line >= 1 && error.line <= lines, "{error}");
        prop_assert!(error.column >= 1 && !error.message.is_empty(), "{error}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_text(text in "\\PC{0,80}") {
        try_compile(&text)?;
    }

    #[test]
    fn cut_and_doubled_scripts(seed in 0..SEEDS.len(), from in 0..700_usize, length in 0..60_usize, to in 0..700_usize, copy in any::<bool>()) {
        let chars: Vec<char> = SEEDS[seed].chars().collect();
        let from = from % chars.len();
        let end = (from + length).min(chars.len());
        let piece: Vec<char> = chars[from..end].to_vec();
        let mut text: Vec<char> = chars[..from].iter().chain(&chars[end..]).copied().collect();
        if copy {
            let to = to % (text.len() + 1);
            text.splice(to..to, piece.iter().chain(&piece).copied());
        }
        try_compile(&text.into_iter().collect::<String>())?;
    }

    #[test]
    fn shuffled_words(seed in 0..SEEDS.len(), swaps in proptest::collection::vec((0..200_usize, 0..200_usize), 1..4)) {
        let mut words: Vec<&str> = SEEDS[seed].split(' ').collect();
        for (a, b) in swaps {
            let count = words.len();
            words.swap(a % count, b % count);
        }
        try_compile(&words.join(" "))?;
    }
}

#[test]
fn deep_nesting_is_refused() {
    for text in [
        format!("SELECT {}1{};", "(".repeat(5000), ")".repeat(5000)),
        format!("SELECT 1{};", " + 1".repeat(5000)),
        format!("SELECT {}1;", "NOT ".repeat(5000)),
        format!("CREATE TABLE t (a {}INT{})", "ARRAY<".repeat(5000), ">".repeat(5000)),
        "SELECT 1;".repeat(3) + &"x ".repeat(30_000),
    ] {
        let script = Script { name: "deep.sql".to_owned(), text, vars: BTreeMap::new() };
        assert!(compile(&script, &NoCatalog).is_err());
    }
}
