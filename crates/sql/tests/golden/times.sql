-- Offsets within the text: the zone of each row is its third argument.
CREATE TABLE positions (
  vehicle_id STRING, `timestamp` STRING, speed DOUBLE, route_id STRING, trip_id STRING, latitude DOUBLE, longitude DOUBLE, trip_headsign STRING,
  event_time AS TO_TIMESTAMP_LTZ(SUBSTRING(`timestamp` FROM 1 FOR 19), 'yyyy-MM-dd''T''HH:mm:ss', SUBSTRING(`timestamp` FROM 20)),
  WATERMARK FOR event_time AS event_time - INTERVAL '10' MINUTE
) WITH ('connector' = 'filesystem', 'path' = '${DIR}/bus.csv', 'format' = 'csv', 'csv.ignore-first-line' = 'true');
SELECT route_id, window_start, AVG(speed) AS speed, COUNT(*) AS positions
FROM TABLE(TUMBLE(TABLE positions, DESCRIPTOR(event_time), INTERVAL '5' MINUTE))
GROUP BY route_id, window_start, window_end;
----
SET 'table.local-time-zone' = 'America/Chicago';
CREATE TABLE t (v INT, at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', part INT METADATA FROM 'partition' VIRTUAL, WATERMARK FOR at AS at)
WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json');
CREATE MATERIALIZED TABLE hourly AS
SELECT window_start, window_end, part, MAX(v) AS hi FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(at), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, part;
