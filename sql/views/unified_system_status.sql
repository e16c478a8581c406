-- Every registered database with its figures of performance.
CREATE VIEW hub.unified_system_status AS
SELECT r.db_name, r.health_status, r.performance_score,
       count(m.metric_id) AS metric_count, avg(m.performance_delta) AS avg_performance_delta, r.last_modified
FROM hub.database_registry AS r LEFT JOIN hub.performance_metrics AS m ON m.db_name = r.db_name
GROUP BY r.db_id ORDER BY r.db_name;
