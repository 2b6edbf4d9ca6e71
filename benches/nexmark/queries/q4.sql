-- Average of the winning bids per category.
CREATE TABLE results (category BIGINT, average BIGINT) WITH ('connector' = 'checksum');
INSERT INTO results
SELECT category, AVG(final) AS average
FROM (
  SELECT MAX(b.price) AS final, a.category
  FROM auction AS a, bid AS b
  WHERE a.id = b.auction AND b.`dateTime` BETWEEN a.`dateTime` AND a.expires
  GROUP BY a.id, a.category
) AS winning
GROUP BY category;
