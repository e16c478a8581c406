-- Alerts that are not resolved, the gravest first.
CREATE VIEW hub.active_alerts AS
SELECT alert_id, severity, db_name, rule_id, message, value, state, opened_at, acknowledged_by
FROM hub.alerts
WHERE state <> 'RESOLVED'
ORDER BY CASE severity WHEN 'CRITICAL' THEN 0 WHEN 'WARNING' THEN 1 ELSE 2 END, opened_at;
