CREATE TABLE t (id INT, tags ARRAY<STRING>, m MAP<STRING, INT>, other STRING) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT t.id, u.tag, u.pos FROM t CROSS JOIN UNNEST(tags) WITH ORDINALITY AS u (tag, pos);
----
CREATE TABLE t (id INT, items ARRAY<ROW<sku STRING, qty INT>>) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT id, sku FROM t LEFT JOIN UNNEST(items) AS u ON TRUE WHERE qty > 1;
----
CREATE TABLE t (id INT, m MAP<STRING, INT>) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT t.*, u.*, v.id FROM t, UNNEST(m) AS u (k, n), UNNEST(SPLIT(u.k, ',')) AS v (id);
----
CREATE TABLE t (k STRING, tags ARRAY<STRING>) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT COUNT(*) AS n FROM t CROSS JOIN UNNEST(tags) AS u (tag);
----
CREATE TABLE t (k STRING, tags ARRAY<STRING>) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT k FROM t CROSS JOIN UNNEST(k) AS u (x);
----
CREATE TABLE t (k STRING, tags ARRAY<STRING>) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT k FROM t CROSS JOIN UNNEST(tags) AS u;
----
CREATE TABLE t (k STRING, tags ARRAY<STRING>) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT k FROM t CROSS JOIN UNNEST(tags) AS u (x, y);
----
CREATE TABLE t (k STRING, tags ARRAY<STRING>) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT k FROM t LEFT JOIN UNNEST(tags) AS u (x) ON u.x = t.k;
----
CREATE TABLE t (k STRING, m MAP<STRING, INT>) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT k FROM t CROSS JOIN UNNEST(m) WITH ORDINALITY AS u (x, y, n);
----
CREATE TABLE t (k STRING, tags ARRAY<STRING>) WITH ('connector' = 'filesystem', 'path' = '${DIR}/t.jsonl', 'format' = 'json');
SELECT k FROM t CROSS JOIN UNNEST(tags) AS u (k);
