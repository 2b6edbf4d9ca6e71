-- Top-N with its rank, and without.
CREATE TABLE t (k STRING, item STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT k, item, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC, item) AS rn FROM t)
WHERE rn BETWEEN 2 AND 3 AND item <> 'x';
----
CREATE TABLE t (k STRING, item STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT item FROM (SELECT item, ROW_NUMBER() OVER (ORDER BY -v NULLS LAST) AS rn FROM t) WHERE 3 > rn;
----
-- Over a changing input, by an aggregate.
CREATE TABLE t (k STRING, item STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
CREATE VIEW ranked AS
SELECT k, item, SUM(v) AS s, ROW_NUMBER() OVER (PARTITION BY k ORDER BY SUM(v) DESC) AS rn FROM t GROUP BY k, item;
SELECT * FROM ranked WHERE rn = 1;
----
-- The first and the last row per key.
CREATE TABLE t (k STRING, item STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT a.item, b.item AS last
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS rn FROM t) AS a
JOIN (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn FROM t) AS b ON a.k = b.k
WHERE a.rn = 1 AND b.rn <= 1;
----
CREATE TABLE t (k STRING, item STRING, pt AS PROCTIME())
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT item FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY pt) AS rn FROM t) WHERE rn <= 2
UNION ALL
SELECT item FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY pt DESC) AS rn FROM t) WHERE rn = 1;
----
-- Per window: rows of it, and its results.
CREATE TABLE t (k STRING, item STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT k, v FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY ts DESC) AS rn
  FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))
) WHERE rn = 1
UNION ALL
SELECT k, s FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY s DESC) AS rn
  FROM (SELECT window_start, window_end, k, SUM(v) AS s
        FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k)
) WHERE rn <= 3;
----
-- LIMIT and ORDER BY: columns that are not selected, aliases, numbers.
CREATE TABLE t (k STRING, item STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT item AS v FROM t ORDER BY v, 1, t.v DESC LIMIT 10 OFFSET 5;
----
CREATE TABLE t (k STRING, item STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT k, COUNT(*) AS n FROM t GROUP BY k ORDER BY SUM(v) / COUNT(*) DESC FETCH FIRST 2 ROWS ONLY;
----
CREATE TABLE t (k STRING, item STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT COUNT(*) AS n FROM (SELECT * FROM t LIMIT 5) UNION ALL SELECT v FROM t LIMIT 3;
----
-- In the order of event time.
CREATE TABLE t (k STRING, item STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT item FROM (SELECT * FROM t ORDER BY v) ORDER BY ts, v DESC;
----
-- What is refused.
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT k FROM t ORDER BY v;
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT k FROM t ORDER BY ts DESC;
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS rn FROM t;
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS rn FROM t) WHERE rn > 2;
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS rn FROM t) WHERE rn <= 3 AND MOD(rn, 2) = 1;
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS rn FROM t) WHERE rn < 1;
----
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'json');
SELECT k FROM t OFFSET 3;
