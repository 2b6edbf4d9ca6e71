-- Keys, a condition pushed below, a rest, and an outer join over an inner one.
CREATE TABLE a (k INT, x BIGINT, s STRING, PRIMARY KEY (k) NOT ENFORCED)
WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
CREATE TABLE b (k INT, y BIGINT) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'json');
SELECT a.s, b.*, COALESCE(c.x, 0) AS x
FROM a, b LEFT JOIN a AS c ON b.k = c.k AND c.x < b.y
WHERE a.k = b.k AND a.x > 3;
----
-- Event times of both sides within bounds: in ON,
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT o.k FROM o JOIN s ON o.k = s.k AND s.t BETWEEN o.t AND o.t + INTERVAL '4' SECOND;
----
-- above an outer join,
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT o.k FROM o LEFT JOIN s ON o.k = s.k WHERE s.t BETWEEN o.t AND o.t + INTERVAL '4' SECOND;
----
-- above a derived table,
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT k FROM (SELECT o.k, o.t, s.t AS u FROM o JOIN s ON o.k = s.k) WHERE u >= t AND NOT (u > t + INTERVAL '4' SECOND);
----
-- and one bound alone, which is no join over time.
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT o.k FROM o JOIN s ON o.k = s.k AND o.t BETWEEN s.t AND s.until;
----
-- Windows that are not aggregated.
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT a.k
FROM TABLE(TUMBLE(TABLE o, DESCRIPTOR(t), INTERVAL '1' MINUTE)) AS a
LEFT JOIN TABLE(TUMBLE(TABLE s, DESCRIPTOR(t), INTERVAL '1' MINUTE)) AS b ON a.k = b.k
WHERE a.window_start = b.window_start AND a.window_end = b.window_end;
