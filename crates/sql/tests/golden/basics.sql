CREATE TABLE t (a BIGINT, b STRING, c DOUBLE, unused STRING) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT a, b FROM t WHERE c > 1.5;
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'in', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
SELECT window_start, k, COUNT(*) AS n, SUM(v) FILTER (WHERE v > 0) AS s, AVG(DISTINCT v) AS a
FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '10' SECOND))
WHERE v IS NOT NULL
GROUP BY window_start, window_end, k
HAVING COUNT(*) > 1;
----
CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT n, COUNT(*) AS keys FROM (SELECT k, COUNT(*) AS n FROM t GROUP BY k) GROUP BY n HAVING COUNT(*) > 1;
----
CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
CREATE VIEW good AS SELECT k, v FROM t WHERE v > 0;
CREATE TABLE a (k STRING, v BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE b (n BIGINT NOT NULL) WITH ('connector' = 'print');
EXECUTE STATEMENT SET BEGIN
INSERT INTO a SELECT k, v FROM good;
INSERT INTO b SELECT COUNT(*) FROM good;
END;
CREATE MATERIALIZED TABLE totals AS SELECT k, SUM(v) AS total FROM good GROUP BY k;
----
SELECT a, b, a + 1 AS c FROM (VALUES (1, 'x'), (2, NULL)) AS t (a, b) WHERE b <> 'x';
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'in', 'format' = 'json');
CREATE VIEW w AS SELECT window_time AS wt, k, SUM(v) AS s FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, window_time, k;
SELECT window_end, MAX(s) AS best FROM TABLE(TUMBLE(DATA => TABLE w, TIMECOL => DESCRIPTOR(wt), SIZE => INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
----
CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT COUNT(*) AS n FROM t WHERE v <> 0 AND 10 / v > 2;
----
CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT COUNT(*) AS n FROM (SELECT k FROM t UNION ALL SELECT k FROM t WHERE v > 1);
----
CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
CREATE TABLE u (n BIGINT) WITH ('connector' = 'print');
INSERT INTO u SELECT COUNT(*) FROM t;
