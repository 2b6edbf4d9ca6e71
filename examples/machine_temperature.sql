-- Temperature of a machine, hour by hour, with a fault flag.
-- Data: Numenta Anomaly Benchmark, realKnownCause/machine_temperature_system_failure.csv
--   highwater run examples/machine_temperature.sql --var DATA=DIR
-- DIR holds the file. See machine_temperature.md.
CREATE TABLE readings (
  ts TIMESTAMP(3),
  temperature DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '10' MINUTE
) WITH (
  'connector' = 'filesystem',
  'path' = '${DATA}/machine_temperature_system_failure.csv',
  'format' = 'csv',
  'csv.ignore-first-line' = 'true'
);

SELECT
  window_start,
  COUNT(*) AS readings,
  MIN(temperature) AS min_temperature,
  AVG(temperature) AS avg_temperature,
  MAX(temperature) AS max_temperature,
  CASE WHEN MIN(temperature) < 45.0 OR MAX(temperature) > 105.0 THEN TRUE ELSE FALSE END AS fault
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' HOUR))
GROUP BY window_start, window_end;
