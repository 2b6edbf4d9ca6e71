-- Semi and anti joins: by keys with a rest, null-aware, of a constant; a value, and one for each row.
CREATE TABLE a (id INT, k STRING, x INT) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
CREATE TABLE b (id INT, k STRING, y INT) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'json');
SELECT id FROM a
WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.y < a.x) AND id NOT IN (SELECT id FROM b) AND EXISTS (SELECT * FROM b);
----
CREATE TABLE a (id INT, k STRING, x INT) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
CREATE TABLE b (id INT, k STRING, y INT) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'json');
SELECT id, (SELECT COUNT(*) FROM b WHERE b.k = a.k) AS n FROM a WHERE x > (SELECT AVG(y) FROM b);
----
-- OR ties a subquery otherwise in Flink; several rows are no value.
CREATE TABLE a (id INT, k STRING, x INT) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
CREATE TABLE b (id INT, k STRING, y INT) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'json');
SELECT id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.k OR b.id = a.id);
----
CREATE TABLE a (id INT, k STRING, x INT) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
CREATE TABLE b (id INT, k STRING, y INT) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'json');
SELECT id FROM a WHERE x NOT IN (SELECT y FROM b WHERE b.k = a.k OR b.id = a.id);
----
CREATE TABLE a (id INT, k STRING, x INT) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
CREATE TABLE b (id INT, k STRING, y INT) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'json');
SELECT id, (SELECT y, id FROM b) AS y FROM a;
