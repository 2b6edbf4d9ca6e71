-- Bids per bidder and ten seconds of the clock on the wall. Its result depends on the time: no two runs are alike.
CREATE TABLE results (bidder BIGINT, bid_count BIGINT, starttime TIMESTAMP(3), endtime TIMESTAMP(3))
WITH ('connector' = 'checksum');
CREATE VIEW bid_now AS SELECT *, PROCTIME() AS p_time FROM bid;
INSERT INTO results
SELECT bidder, COUNT(*), window_start, window_end
FROM TABLE(TUMBLE(TABLE bid_now, DESCRIPTOR(p_time), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end;
