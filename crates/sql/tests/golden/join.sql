-- Keys, a condition pushed below, a rest, and an outer join over an inner one.
CREATE TABLE a (k INT, x BIGINT, s STRING, PRIMARY KEY (k) NOT ENFORCED)
WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
CREATE TABLE b (k INT, y BIGINT) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'json');
SELECT a.s, b.*, COALESCE(c.x, 0) AS x
FROM a, b LEFT JOIN a AS c ON b.k = c.k AND c.x < b.y
WHERE a.k = b.k AND a.x > 3;
