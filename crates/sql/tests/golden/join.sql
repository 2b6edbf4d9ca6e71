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
----
-- in WHERE of a comma join, with a rest,
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT o.k FROM o, s WHERE o.k = s.k AND o.t > s.t - INTERVAL '1' MINUTE AND o.t + INTERVAL '2' SECOND <= s.t AND s.until > o.t;
----
-- an equality,
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT o.k, s.until FROM o FULL JOIN s ON o.t = s.t AND o.k = s.k;
----
-- two bounds from one side, which make no join over time,
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT o.k FROM o JOIN s ON o.k = s.k AND o.t > s.t AND o.t > s.t - INTERVAL '1' SECOND;
----
-- one within OR, which is refused,
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT o.k FROM o JOIN s ON o.k = s.k AND o.t > s.t AND (o.t < s.t OR o.k = 3);
----
-- a function of the time,
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT o.k FROM o JOIN s ON o.k = s.k AND o.t > s.t AND o.t < FLOOR(s.t TO DAY);
----
-- and two event times for one table.
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
CREATE TABLE z (a TIMESTAMP(3), b TIMESTAMP(3)) WITH ('connector' = 'print');
INSERT INTO z SELECT o.t, s.t FROM o JOIN s ON o.k = s.k AND o.t = s.t;
----
-- Windows that are equal.
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT a.k, b.until
FROM TABLE(TUMBLE(TABLE o, DESCRIPTOR(t), INTERVAL '1' MINUTE)) AS a
LEFT JOIN TABLE(TUMBLE(TABLE s, DESCRIPTOR(t), INTERVAL '1' MINUTE)) AS b ON a.k = b.k
AND a.window_start = b.window_start AND a.window_end = b.window_end AND b.until > a.t;
----
-- Windows of different sizes, which make no window join.
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT a.k, b.until
FROM TABLE(TUMBLE(TABLE o, DESCRIPTOR(t), INTERVAL '1' MINUTE)) AS a
JOIN TABLE(TUMBLE(TABLE s, DESCRIPTOR(t), INTERVAL '2' MINUTE)) AS b ON a.k = b.k
AND a.window_start = b.window_start AND a.window_end = b.window_end;
----
-- Versions.
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE r (k INT, y INT, t TIMESTAMP(3), PRIMARY KEY (k) NOT ENFORCED, WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'r', 'format' = 'json');
SELECT o.k, r.y, r.t FROM o LEFT JOIN r FOR SYSTEM_TIME AS OF o.t ON o.k = r.k AND r.y > 3 WHERE r.y < 9;
----
-- Versions without a key,
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE s (k INT, t TIMESTAMP(3), until TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'json');
SELECT o.k FROM o JOIN s FOR SYSTEM_TIME AS OF o.t ON o.k = s.k;
----
-- at another time,
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE r (k INT, y INT, t TIMESTAMP(3), PRIMARY KEY (k) NOT ENFORCED, WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'r', 'format' = 'json');
SELECT o.k FROM o JOIN r FOR SYSTEM_TIME AS OF r.t ON o.k = r.k;
----
-- of a right join,
CREATE TABLE o (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE r (k INT, y INT, t TIMESTAMP(3), PRIMARY KEY (k) NOT ENFORCED, WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'r', 'format' = 'json');
SELECT o.k FROM o RIGHT JOIN r FOR SYSTEM_TIME AS OF o.t ON o.k = r.k;
----
-- and at a processing time.
CREATE TABLE o (k INT, p AS PROCTIME())
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE r (k INT, y INT, t TIMESTAMP(3), PRIMARY KEY (k) NOT ENFORCED, WATERMARK FOR t AS t)
WITH ('connector' = 'filesystem', 'path' = 'r', 'format' = 'json');
SELECT o.k FROM o JOIN r FOR SYSTEM_TIME AS OF o.p ON o.k = r.k;
