-- The last 7 days, one row a source and target.
CREATE VIEW hub.sync_status_summary AS
SELECT source_db, target_db, count(*) AS total_syncs, sum(sync_status = 'SUCCESS') AS successful_syncs,
       avg(sync_duration) AS avg_duration, max(timestamp) AS last_sync
FROM hub.cross_db_sync_log
WHERE timestamp >= datetime('now', '-7 days')
GROUP BY source_db, target_db ORDER BY source_db, target_db;
