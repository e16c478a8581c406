-- The last 24 hours, one row a database and metric.
CREATE VIEW hub.performance_dashboard AS
SELECT db_name, metric_type, avg(metric_value) AS avg_value, min(metric_value) AS min_value, max(metric_value) AS max_value,
       count(*) AS measurement_count, max(measurement_time) AS last_measurement
FROM hub.performance_metrics
WHERE measurement_time >= datetime('now', '-24 hours')
GROUP BY db_name, metric_type ORDER BY db_name, metric_type;
