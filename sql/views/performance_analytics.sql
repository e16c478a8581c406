-- The last 24 hours, one row a database: seconds, and percent of memory.
CREATE VIEW hub.performance_analytics AS
SELECT db_name,
       avg(CASE WHEN metric_type = 'query_time' THEN metric_value END) AS avg_query_time,
       avg(CASE WHEN metric_type = 'sync_duration' THEN metric_value END) AS avg_sync_duration,
       avg(CASE WHEN metric_type = 'memory_usage' THEN metric_value END) AS avg_memory_usage,
       count(*) AS total_measurements
FROM hub.performance_metrics
WHERE measurement_time >= datetime('now', '-24 hours')
GROUP BY db_name ORDER BY db_name;
