-- A changelog: aggregates take rows back, also per window.
CREATE TABLE t (id INT, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'debezium-json');
SELECT window_start, k, MAX(v) AS hi
FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, k;
----
-- A sink of such a format takes rows back.
CREATE TABLE t (k STRING, v INT)
WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'canal-json');
CREATE TABLE s (k STRING, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/s', 'format' = 'maxwell-json');
INSERT INTO s SELECT k, COUNT(*) FROM t GROUP BY k;
----
-- Others do not.
CREATE TABLE t (k STRING, v INT)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/t', 'format' = 'ogg-json', 'ogg-json.ignore-parse-errors' = 'true');
CREATE TABLE s (k STRING, v INT)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/s', 'format' = 'json');
INSERT INTO s SELECT * FROM t;
----
-- A key is only inserted.
CREATE TABLE t (k STRING, v INT)
WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json', 'key.format' = 'debezium-json', 'key.fields' = 'k');
SELECT * FROM t;
