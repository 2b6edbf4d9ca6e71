-- Health of each vehicle of the demo's fleet, from its first event on.
-- `events` and `seq_sum` let the demo prove that nothing is lost or counted twice.
CREATE TABLE fleet (
  vehicle_id STRING,
  seq BIGINT,
  event_time BIGINT,
  region STRING,
  latitude DOUBLE,
  longitude DOUBLE,
  speed_kmh DOUBLE,
  engine_temp_c DOUBLE,
  fault STRING
) WITH (
  'connector' = 'kafka',
  'topic' = 'fleet',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'json'
);

CREATE MATERIALIZED TABLE vehicle_health AS
SELECT
  vehicle_id,
  COUNT(*) AS events,
  SUM(seq) AS seq_sum,
  MAX(event_time) AS last_event_time,
  AVG(speed_kmh) AS avg_speed_kmh,
  MAX(engine_temp_c) AS max_engine_temp_c,
  COUNT(fault) AS fault_events
FROM fleet
GROUP BY vehicle_id;
