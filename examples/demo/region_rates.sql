-- Events, speed and temperature per region, in windows of one second of event time.
-- Vehicles report out of order: the watermark waits two seconds. Later events are counted as late.
CREATE TABLE fleet (
  vehicle_id STRING,
  event_time BIGINT,
  region STRING,
  speed_kmh DOUBLE,
  engine_temp_c DOUBLE,
  fault STRING,
  ts AS TO_TIMESTAMP_LTZ(event_time, 3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'fleet',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'json'
);

CREATE MATERIALIZED TABLE region_rates AS
SELECT
  region,
  window_start,
  window_end,
  COUNT(*) AS events,
  AVG(speed_kmh) AS avg_speed_kmh,
  MAX(engine_temp_c) AS max_engine_temp_c,
  COUNT(fault) AS fault_events
FROM TABLE(TUMBLE(TABLE fleet, DESCRIPTOR(ts), INTERVAL '1' SECOND))
GROUP BY region, window_start, window_end;
