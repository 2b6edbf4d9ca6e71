-- LIKE takes over columns, watermark, key and options; options of the new table win.
CREATE TABLE a (k STRING, v INT, w AS v * 2, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/a', 'format' = 'json');
CREATE TABLE b (x BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('path' = '${DIR}/b') LIKE a;
SELECT * FROM b;
----
CREATE TABLE a (k STRING, v INT, w AS v * 2, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DIR}/a', 'format' = 'json');
CREATE TABLE b (w AS v * 3, WATERMARK FOR ts AS ts)
LIKE a (OVERWRITING GENERATED EXCLUDING WATERMARKS);
SELECT w, ts FROM b;
----
CREATE TABLE a (k STRING, w AS k) WITH ('connector' = 'filesystem', 'path' = '${DIR}/a', 'format' = 'json');
CREATE TABLE b WITH ('connector' = 'filesystem', 'path' = '${DIR}/b', 'format' = 'json') LIKE a (EXCLUDING ALL);
SELECT * FROM b;
----
CREATE TABLE a (k STRING) WITH ('connector' = 'filesystem', 'path' = '${DIR}/a', 'format' = 'json');
CREATE TABLE b WITH ('path' = '${DIR}/b') LIKE a (INCLUDING ALL);
----
CREATE TABLE a (k STRING) WITH ('connector' = 'filesystem', 'path' = '${DIR}/a', 'format' = 'json');
CREATE TABLE b (k STRING) LIKE a;
----
CREATE TABLE a (k STRING, w AS k) WITH ('connector' = 'filesystem', 'path' = '${DIR}/a', 'format' = 'json');
CREATE TABLE b (w AS UPPER(k)) LIKE a;
----
-- The table is made of the query's columns, and written.
CREATE TABLE a (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/a', 'format' = 'json');
CREATE TABLE b WITH ('connector' = 'filesystem', 'path' = '${DIR}/b', 'format' = 'json')
AS SELECT UPPER(k) AS k, v + 1 AS n FROM a;
----
CREATE TABLE a (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/a', 'format' = 'json');
ALTER TABLE a ADD (x BIGINT FIRST, y AS v + 1 AFTER v);
ALTER TABLE a RENAME k TO key;
ALTER TABLE a DROP y;
ALTER TABLE a MODIFY v STRING;
ALTER TABLE a ADD ts TIMESTAMP(3);
ALTER TABLE a ADD WATERMARK FOR ts AS ts;
ALTER TABLE a SET ('path' = '${DIR}/b');
ALTER TABLE a RENAME TO c;
ALTER TABLE IF EXISTS a DROP x;
CREATE VIEW v AS SELECT key FROM c;
ALTER VIEW v AS SELECT key, x FROM c;
ALTER VIEW v RENAME TO u;
SELECT u.key, u.x, c.v, c.ts FROM u JOIN c ON u.x = c.x;
----
CREATE TABLE a (k STRING, v INT, w AS v) WITH ('connector' = 'filesystem', 'path' = '${DIR}/a', 'format' = 'json');
ALTER TABLE a DROP v;
----
CREATE TABLE a (k STRING) WITH ('connector' = 'filesystem', 'path' = '${DIR}/a', 'format' = 'json');
ALTER TABLE a ADD k INT;
----
-- Rows without a value for a NOT NULL column are dropped on request.
SET 'table.exec.sink.not-null-enforcer' = 'DROP';
CREATE TABLE a (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = '${DIR}/a', 'format' = 'json');
CREATE TABLE b (k STRING, v INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'print');
INSERT INTO b SELECT * FROM a;
----
SET 'table.exec.legacy-cast-behaviour' = 'ENABLED';
----
-- Questions, and the default catalog.
USE CATALOG default_catalog;
USE default_database;
CREATE TABLE a (
  k STRING NOT NULL COMMENT 'it''s', v INT, w AS v + 1, o BIGINT METADATA FROM 'offset' VIRTUAL,
  ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND, PRIMARY KEY (k) NOT ENFORCED
) COMMENT 'x' WITH ('connector' = 'kafka', 'topic' = 'a', 'format' = 'json');
CREATE VIEW v AS SELECT k FROM a;
SHOW TABLES;
SHOW TABLES LIKE 'a%';
SHOW VIEWS;
SHOW CREATE TABLE a;
SHOW CREATE VIEW v;
DESCRIBE a;
SHOW COLUMNS FROM v;
EXPLAIN PLAN FOR SELECT k FROM v;
EXPLAIN CHANGELOG_MODE, ESTIMATED_COST SELECT /*+ STATE_TTL('v' = '1d'), BROADCAST(v) */ k FROM v;
SET 'pipeline.name' = 'p';
SET;
SHOW CURRENT DATABASE;
----
USE other;
----
SELECT /*+ LOOKUP('table' = 't') */ 1;
