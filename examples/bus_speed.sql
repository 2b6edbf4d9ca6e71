-- Speed of Austin's buses per route, in windows of five minutes.
-- Data: Capital Metro vehicle positions, one day, 2015-03-18.csv
--   highwater run examples/bus_speed.sql --var DATA=DIR
-- DIR holds the file. See bus_speed.md.
CREATE TABLE positions (
  vehicle_id STRING,
  reported STRING,
  speed DOUBLE,
  route_id STRING,
  trip_id STRING,
  latitude DOUBLE,
  longitude DOUBLE,
  trip_headsign STRING,
  -- `reported` is local time with its offset, 2015-03-18T21:13:16-05:00; `ts` is UTC.
  ts AS TIMESTAMPADD(
    HOUR,
    -CAST(SUBSTRING(reported FROM 20 FOR 3) AS INT),
    TO_TIMESTAMP(SUBSTRING(reported FROM 1 FOR 19), 'yyyy-MM-dd''T''HH:mm:ss')),
  -- The file lists one vehicle after the other, so its order is most of a day away from the order
  -- of events. What comes more than 18 hours behind the newest position is late, and counted.
  WATERMARK FOR ts AS ts - INTERVAL '18' HOUR
) WITH (
  'connector' = 'filesystem',
  'path' = '${DATA}/2015-03-18.csv',
  'format' = 'csv',
  'csv.ignore-first-line' = 'true'
);

SELECT
  route_id,
  window_start,
  COUNT(*) AS reports,
  AVG(speed) AS avg_speed,
  MAX(speed) AS max_speed
FROM TABLE(TUMBLE(TABLE positions, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY route_id, window_start, window_end;
