CREATE TABLE t (k STRING, v INT, w INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT k, total FROM t MATCH_RECOGNIZE (
  PARTITION BY k ORDER BY ts
  MEASURES FIRST(A.ts) AS began, SUM(A.v * A.w) AS total, B.v - LAST(A.v, 1) AS step, MATCH_ROWTIME() AS ended
  ONE ROW PER MATCH
  AFTER MATCH SKIP TO LAST A
  PATTERN (A{2,}? B? C) WITHIN INTERVAL '10' MINUTE
  DEFINE A AS AVG(A.v) < 10 AND A.v > LAST(A.v, 1), C AS v > 5
) AS m;
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
CREATE TEMPORARY VIEW m AS
  SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES MATCH_ROWTIME(ts) AS rt PATTERN (A B) DEFINE B AS B.v > A.v);
SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE m, DESCRIPTOR(rt), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT * FROM t MATCH_RECOGNIZE (ORDER BY v MEASURES A.v AS x PATTERN (A B) DEFINE B AS B.v > A.v);
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES A.v AS x PATTERN (A B+) DEFINE B AS B.v > A.v);
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES X.v AS x PATTERN (A B) DEFINE B AS B.v > A.v);
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES SUM(A.v + B.v) AS x PATTERN (A B) DEFINE B AS B.v > A.v);
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES COUNT(*) AS x PATTERN (A B) DEFINE B AS B.v > A.v);
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES A.v AS x PATTERN (A B*? C??) DEFINE B AS PREV(B.v) > 3);
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts MEASURES A.v AS k PATTERN (A B) DEFINE B AS B.v > 3);
