-- Load of this machine, in windows of two seconds.
CREATE TABLE host (
  host STRING,
  event_time BIGINT,
  cpu_percent DOUBLE,
  memory_percent DOUBLE,
  disk_mb_s DOUBLE,
  network_mb_s DOUBLE,
  ts AS TO_TIMESTAMP_LTZ(event_time, 3),
  WATERMARK FOR ts AS ts
) WITH (
  'connector' = 'kafka',
  'topic' = 'host',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'json'
);

CREATE MATERIALIZED TABLE host_load AS
SELECT
  host,
  window_start,
  window_end,
  AVG(cpu_percent) AS cpu_percent,
  AVG(memory_percent) AS memory_percent,
  MAX(disk_mb_s) AS disk_mb_s,
  MAX(network_mb_s) AS network_mb_s
FROM TABLE(TUMBLE(TABLE host, DESCRIPTOR(ts), INTERVAL '2' SECOND))
GROUP BY host, window_start, window_end;
