-- The toolkit fleet: eight databases of a development toolkit, kept in health and in step.
--
-- Run it in an empty folder, in any client that has loaded dbint, with production.db as its database:
--
--   dbint production.db < toolkit.sql
--   sqlite3 production.db ".load ./libdbint" ".read toolkit.sql"
--
-- In a folder that has such databases already, start at step 2: it registers them as they are. Running it again changes
-- nothing that is there. `dbint demo` is this script with a progress line a step.

-- 1. Create the databases

ATTACH 'session_management.db' AS session_management;
ATTACH 'compliance_monitor.db' AS compliance_monitor;
ATTACH 'orchestration.db' AS orchestration;
ATTACH 'visual_processing.db' AS visual_processing;
ATTACH 'validation_results.db' AS validation_results;
ATTACH 'analytics.db' AS analytics;
ATTACH 'monitoring.db' AS monitoring;

BEGIN;

-- production: what is deployed where.
CREATE TABLE IF NOT EXISTS main.services(
  service_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, tier TEXT NOT NULL CHECK(tier IN ('core', 'edge', 'batch')), owner TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS main.deployments(
  deployment_id INTEGER PRIMARY KEY, service_id INTEGER NOT NULL REFERENCES services, version TEXT NOT NULL, environment TEXT NOT NULL,
  status TEXT NOT NULL, deployed_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS main.idx_deployments_service ON deployments(service_id, deployed_at);
INSERT INTO main.services(service_id, name, tier, owner) VALUES
  (1, 'gateway', 'edge', 'platform'), (2, 'accounts', 'core', 'identity'), (3, 'scheduler', 'core', 'platform'), (4, 'renderer', 'batch', 'media'),
  (5, 'validator', 'batch', 'quality'), (6, 'reporter', 'batch', 'insights'), (7, 'notifier', 'edge', 'platform'), (8, 'archiver', 'batch', 'storage')
  ON CONFLICT DO NOTHING;
INSERT INTO main.deployments
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 320)
  SELECT i, 1 + i % 8, '2.' || (i / 40) || '.' || (i % 40), CASE i % 3 WHEN 0 THEN 'production' WHEN 1 THEN 'staging' ELSE 'canary' END,
         CASE WHEN i % 29 = 0 THEN 'rolled_back' ELSE 'live' END, datetime('2026-01-05 09:00:00', (i * 7) || ' hours')
  FROM n WHERE true ON CONFLICT DO NOTHING;

-- session_management: who worked, and how fast it felt.
CREATE TABLE IF NOT EXISTS session_management.session_tracking(
  session_id TEXT PRIMARY KEY NOT NULL, user_name TEXT NOT NULL, workspace TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT,
  status TEXT NOT NULL DEFAULT 'active', updated_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS session_management.idx_session_tracking_user ON session_tracking(user_name, started_at);
CREATE TABLE IF NOT EXISTS session_management.session_performance(
  measurement_id INTEGER PRIMARY KEY, session_id TEXT NOT NULL REFERENCES session_tracking, queries INTEGER NOT NULL, avg_query_ms REAL NOT NULL,
  memory_mb REAL NOT NULL, updated_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS session_management.idx_session_performance_session ON session_performance(session_id);
INSERT INTO session_management.session_tracking
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
  SELECT printf('S-%05d', i), CASE i % 7 WHEN 0 THEN 'amira' WHEN 1 THEN 'bence' WHEN 2 THEN 'chloé' WHEN 3 THEN 'dmitri' WHEN 4 THEN 'emeka' WHEN 5 THEN 'fumiko' ELSE 'grace' END,
         CASE i % 4 WHEN 0 THEN 'api' WHEN 1 THEN 'web' WHEN 2 THEN 'data' ELSE 'infra' END, datetime('2026-02-02 08:00:00', (i * 95) || ' minutes'),
         CASE WHEN i <= 390 THEN datetime('2026-02-02 08:00:00', (i * 95 + 20 + i * 37 % 240) || ' minutes') END,
         CASE WHEN i > 390 THEN 'active' WHEN i % 31 = 0 THEN 'aborted' ELSE 'closed' END, datetime('2026-02-02 08:00:00', (i * 95 + 20 + i * 37 % 240) || ' minutes')
  FROM n WHERE true ON CONFLICT DO NOTHING;
INSERT INTO session_management.session_performance
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
  SELECT i, printf('S-%05d', 1 + i % 400), 5 + i * 13 % 180, round(0.4 + i * 7919 % 1000 / 90.0, 3), round(48 + i * 104729 % 700 / 4.0, 2),
         datetime('2026-02-02 08:05:00', (i * 19) || ' minutes')
  FROM n WHERE true ON CONFLICT DO NOTHING;

-- compliance_monitor: rules checked, and what they found.
CREATE TABLE IF NOT EXISTS compliance_monitor.compliance_results(
  result_id INTEGER PRIMARY KEY, rule_code TEXT NOT NULL, component TEXT NOT NULL, passed INTEGER NOT NULL CHECK(passed IN (0, 1)),
  score REAL NOT NULL, checked_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS compliance_monitor.idx_compliance_results_rule ON compliance_results(rule_code, checked_at);
CREATE TABLE IF NOT EXISTS compliance_monitor.violation_tracking(
  violation_id INTEGER PRIMARY KEY, result_id INTEGER NOT NULL REFERENCES compliance_results, severity TEXT NOT NULL, description TEXT NOT NULL,
  status TEXT NOT NULL, detected_at TEXT NOT NULL, resolved_at TEXT);
CREATE INDEX IF NOT EXISTS compliance_monitor.idx_violation_tracking_result ON violation_tracking(result_id);
INSERT INTO compliance_monitor.compliance_results
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
  SELECT i, printf('R%02d', 1 + i % 24), CASE i % 5 WHEN 0 THEN 'gateway' WHEN 1 THEN 'accounts' WHEN 2 THEN 'scheduler' WHEN 3 THEN 'renderer' ELSE 'reporter' END,
         i % 6 <> 0, CASE WHEN i % 6 = 0 THEN 35.0 + i % 30 ELSE 90.0 + i % 11 END, datetime('2026-02-10 06:00:00', (i * 41) || ' minutes')
  FROM n WHERE true ON CONFLICT DO NOTHING;
INSERT INTO compliance_monitor.violation_tracking
  SELECT result_id / 6, result_id, CASE result_id / 6 % 3 WHEN 0 THEN 'high' WHEN 1 THEN 'medium' ELSE 'low' END,
         rule_code || ' failed in ' || component || ' (score ' || score || ')', CASE WHEN result_id % 4 = 0 THEN 'open' ELSE 'resolved' END,
         checked_at, CASE WHEN result_id % 4 <> 0 THEN datetime(checked_at, '6 hours') END
  FROM compliance_monitor.compliance_results WHERE NOT passed ON CONFLICT DO NOTHING;

-- orchestration: workflows and their tasks.
CREATE TABLE IF NOT EXISTS orchestration.workflows(workflow_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, schedule TEXT NOT NULL, enabled INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS orchestration.tasks(
  task_id INTEGER PRIMARY KEY, workflow_id INTEGER NOT NULL REFERENCES workflows, name TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
  duration_s REAL, finished_at TEXT);
CREATE INDEX IF NOT EXISTS orchestration.idx_tasks_workflow ON tasks(workflow_id, state);
INSERT INTO orchestration.workflows VALUES
  (1, 'nightly-build', '0 2 * * *', 1), (2, 'asset-refresh', '*/30 * * * *', 1), (3, 'compliance-sweep', '15 */4 * * *', 1), (4, 'session-rollup', '5 0 * * *', 1),
  (5, 'weekly-report', '0 7 * * 1', 1), (6, 'legacy-import', '0 3 1 * *', 0)
  ON CONFLICT DO NOTHING;
INSERT INTO orchestration.tasks
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
  SELECT i, 1 + i % 6, 'step-' || (1 + i % 12), CASE WHEN i % 53 = 0 THEN 'failed' WHEN i > 880 THEN 'queued' ELSE 'done' END, 1 + (i % 17 = 0),
         CASE WHEN i <= 880 THEN round(0.2 + i * 6151 % 900 / 10.0, 1) END, CASE WHEN i <= 880 THEN datetime('2026-02-01 02:00:00', (i * 33) || ' minutes') END
  FROM n WHERE true ON CONFLICT DO NOTHING;

-- visual_processing: pictures, and what was seen in them.
CREATE TABLE IF NOT EXISTS visual_processing.images(
  image_id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, width INTEGER NOT NULL, height INTEGER NOT NULL, thumbnail BLOB, captured_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS visual_processing.detections(
  image_id INTEGER NOT NULL REFERENCES images, label TEXT NOT NULL, confidence REAL NOT NULL, PRIMARY KEY(image_id, label)) WITHOUT ROWID;
INSERT INTO visual_processing.images
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
  SELECT i, printf('captures/%04d.png', i), 640 * (1 + i % 3), 480 * (1 + i % 3), zeroblob(48 + i % 64), datetime('2026-02-14 10:00:00', i || ' minutes')
  FROM n WHERE true ON CONFLICT DO NOTHING;
INSERT INTO visual_processing.detections
  SELECT image_id, CASE k WHEN 0 THEN 'button' WHEN 1 THEN 'chart' ELSE 'table' END, round(0.55 + (image_id * 31 + k * 17) % 45 / 100.0, 2)
  FROM visual_processing.images, (SELECT 0 AS k UNION ALL SELECT 1 UNION ALL SELECT 2) WHERE (image_id + k) % 2 = 0 ON CONFLICT DO NOTHING;

-- validation_results: suites run, and their findings.
CREATE TABLE IF NOT EXISTS validation_results.validation_runs(
  run_id INTEGER PRIMARY KEY, suite TEXT NOT NULL, passed INTEGER NOT NULL, failed INTEGER NOT NULL, duration_s REAL NOT NULL, run_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS validation_results.findings(
  finding_id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES validation_runs, severity TEXT NOT NULL, message TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS validation_results.idx_findings_run ON findings(run_id);
INSERT INTO validation_results.validation_runs
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 180)
  SELECT i, CASE i % 3 WHEN 0 THEN 'schema' WHEN 1 THEN 'contract' ELSE 'load' END, 40 + i % 25, i % 9 = 0, round(3 + i * 71 % 400 / 10.0, 1),
         datetime('2026-02-03 03:00:00', (i * 4) || ' hours')
  FROM n WHERE true ON CONFLICT DO NOTHING;
INSERT INTO validation_results.findings
  SELECT run_id / 9, run_id, CASE run_id % 2 WHEN 0 THEN 'error' ELSE 'warning' END, suite || ' suite: 1 case failed after ' || duration_s || ' s'
  FROM validation_results.validation_runs WHERE failed ON CONFLICT DO NOTHING;

-- analytics and monitoring: what the others are gathered into.
CREATE TABLE IF NOT EXISTS analytics.daily_usage(
  day TEXT NOT NULL, workspace TEXT NOT NULL, sessions INTEGER NOT NULL, PRIMARY KEY(day, workspace)) WITHOUT ROWID;
INSERT INTO analytics.daily_usage
  SELECT date(started_at), workspace, count(*) FROM session_management.session_tracking WHERE true GROUP BY 1, 2 ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS monitoring.service_checks(
  check_id INTEGER PRIMARY KEY, service TEXT NOT NULL, up INTEGER NOT NULL, latency_ms REAL NOT NULL, checked_at TEXT NOT NULL);
INSERT INTO monitoring.service_checks
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 720)
  SELECT i, (SELECT name FROM main.services WHERE service_id = 1 + i % 8), i % 97 <> 0, round(2 + i * 8191 % 600 / 10.0, 1), datetime('2026-03-01 00:00:00', (i * 2) || ' minutes')
  FROM n WHERE true ON CONFLICT DO NOTHING;

COMMIT;

DETACH session_management;
DETACH compliance_monitor;
DETACH orchestration;
DETACH visual_processing;
DETACH validation_results;
DETACH analytics;
DETACH monitoring;

-- 2. Install the hub and register the fleet

SELECT dbint_init();
SELECT register_database('production.db', 'production');
SELECT register_database('session_management.db', 'session_management');
SELECT register_database('compliance_monitor.db', 'compliance_monitor');
SELECT register_database('orchestration.db', 'orchestration');
SELECT register_database('visual_processing.db', 'visual_processing');
SELECT register_database('validation_results.db', 'validation_results');
SELECT register_database('analytics.db', 'analytics');
SELECT register_database('monitoring.db', 'monitoring');

-- 3. Set what is synchronised, and where it is logged

SELECT dbint_set('sync.log_path', 'logs/synchronization.log');
SELECT dbint_set('sync.audit_db', 'analytics.db');
INSERT INTO sync_mapping(source_db, tables, target_db, sync_type)
  SELECT 'session_management', 'session_tracking, session_performance', 'analytics', 'INCREMENTAL'
  WHERE NOT EXISTS (SELECT 1 FROM sync_mapping WHERE source_db = 'session_management' AND target_db = 'analytics');
INSERT INTO sync_mapping(source_db, tables, target_db, sync_type)
  SELECT 'compliance_monitor', 'compliance_results, violation_tracking', 'monitoring', 'FULL'
  WHERE NOT EXISTS (SELECT 1 FROM sync_mapping WHERE source_db = 'compliance_monitor' AND target_db = 'monitoring');

-- 4. Check health

SELECT db_name, health_status, score FROM fleet_health;

-- 5. Check sizes

SELECT json_extract(size_check('production'), '$.status') AS production;
SELECT * FROM size_report('.');

-- 6. Synchronise

SELECT sync_all();

-- 7. Change a few sessions and synchronise again: only they travel

ATTACH 'session_management.db' AS session_management;
UPDATE session_management.session_tracking SET status = 'closed', ended_at = '2026-03-02 12:00:00', updated_at = '2026-03-02 12:00:00' WHERE status = 'active';
DETACH session_management;
SELECT sync_table('session_tracking', 'analytics', '{"source":"session_management"}');

-- 8. Check integrity

SELECT r.db_name, count(*) AS checks, sum(NOT i.passed) AS findings FROM database_registry AS r, integrity_report(r.db_name) AS i GROUP BY r.db_name;

-- 9. Measure, and hold the figures against the alert rules

SELECT r.db_name, count(*) AS metrics FROM database_registry AS r, collect_metrics(r.db_name) AS m GROUP BY r.db_name;
SELECT evaluate_alerts();

-- 10. See the views

SELECT db_name, health_status, performance_score, last_modified FROM unified_system_status;
SELECT source_db, target_db, total_syncs, successful_syncs, round(avg_duration, 3) AS avg_duration FROM sync_status_summary;
SELECT db_name, metric_type, measurement_count, round(avg_value, 3) AS avg_value, last_measurement FROM performance_dashboard WHERE db_name = 'analytics';
SELECT db_name, round(1000 * avg_query_time, 3) AS avg_query_ms, round(1000 * avg_sync_duration, 1) AS avg_sync_ms, round(avg_memory_usage, 1) AS avg_memory_percent,
       total_measurements
  FROM performance_analytics;
SELECT severity, db_name, message FROM active_alerts;
