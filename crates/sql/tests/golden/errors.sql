SELECT FROM;
----
SELECT ${NOPE};
----
CREATE TABLE t (a INT) WITH ('connector' = 'filesytem', 'path' = 'x', 'format' = 'json');
SELECT a FROM t;
----
CREATE TABLE t (a INT, key STRING) WITH ('connector' = 'filesystem', 'path' = '${DIR}', 'format' = 'json', 'json.ignore-parse-error' = 'true');
SELECT a FROM t;
----
CREATE TABLE t (value1 INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT valu1 FROM t;
----
CREATE TABLE t (v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT UPER(v)
  FROM t;
----
CREATE TABLE t (v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT a.v FROM t AS a FULL JOIN t AS b USING (v);
----
CREATE TABLE t (v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT v FROM t ORDER BY v;
----
CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
CREATE MATERIALIZED TABLE m AS SELECT k, v FROM t;
----
CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
CREATE MATERIALIZED TABLE m (PRIMARY KEY (n) NOT ENFORCED) AS SELECT k, COUNT(*) AS n FROM t GROUP BY k;
----
SET 'table.local-time-zon' = 'UTC';
----
CREATE TABLE t (k STRING, ts TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json');
SELECT k, CURRENT_TIMESTAMP FROM (SELECT k, COUNT(*) AS n FROM t GROUP BY k);
----
ALTER TABLE t ADD (a INT);
