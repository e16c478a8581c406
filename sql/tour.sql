-- A tour of dbint on the fleet that `dbint demo` makes. Statements only, so it runs in any client:
--
--   dbint demo fleet && cd fleet && dbint production.db < tour.sql
--   sqlite3 production.db ".load ./libdbint" ".read tour.sql"
--
-- Databases are named as one likes: NULL or nothing is the one that is open, then come attached schemas, names in the
-- registry, and paths.

-- 1. What is here?

-- Every SQLite file below a folder, known by its header and not by its name.
SELECT db_name, page_size, journal_mode, status FROM discover_databases('.') ORDER BY db_name;
SELECT tables, rows FROM discover_databases('.') WHERE db_name = 'session_management';

-- The members of the fleet are rows of a table. Others join with register_database('path/to/file.db').
SELECT db_name, db_size > 0 AS has_size, health_status FROM database_registry ORDER BY db_name;

-- 2. Is it well?

-- All members at once; thresholds, weights and the formula come with the answer.
SELECT db_name, health_status, score FROM fleet_health ORDER BY db_name;

-- One of them: each check says what it saw, by which query, and what mends it.
SELECT json_extract(value, '$.name') AS "check", json_extract(value, '$.detail') AS detail
  FROM json_each(db_health('orchestration'), '$.checks') WHERE json_extract(value, '$.id') IN ('foreign_key_check', 'quick_check', 'journal');

-- Let something go wrong: a task of a workflow that is not there.
ATTACH 'orchestration.db' AS o;
PRAGMA foreign_keys = OFF;
INSERT INTO o.tasks(task_id, workflow_id, name, state, attempts) VALUES (9001, 77, 'stray', 'queued', 0);
SELECT check_name, severity, table_name, key, detail FROM integrity_report('o', '{"findings":true}');
DELETE FROM o.tasks WHERE task_id = 9001;
DETACH o;

-- 3. How large is it?

-- A limit of 99.9 MB is watched until another one is set.
SELECT json_extract(size_check('session_management'), '$.status') AS status, json_extract(size_check('session_management', 0.1), '$.status') AS "of 0.1 MB";
SELECT name, kind, entries FROM table_sizes('session_management') ORDER BY entries DESC, name LIMIT 3;

-- 4. Keep tables in step

-- What would a sync do? Row by row, before anything happens.
ATTACH 'session_management.db' AS s;
UPDATE s.session_tracking SET workspace = 'mobile', updated_at = '2030-01-01 00:00:00' WHERE session_id IN ('S-00007', 'S-00008');
DETACH s;
SELECT action, row_key, column_name, before, after FROM sync_diff('session_tracking', 'analytics', '{"source":"session_management"}') ORDER BY 2, 3;

-- Do it. Two rows travel, in one transaction; the receipt says so.
SELECT json_extract(r, '$.updated') AS updated, json_extract(r, '$.unchanged') AS unchanged, json_extract(r, '$.conflicts') AS conflicts
  FROM (SELECT sync_table('session_tracking', 'analytics', '{"source":"session_management"}') AS r);

-- Prove it, by digests of both sides that know no order.
SELECT json_extract(verify_sync(sync_id), '$.ok') AS ok FROM (SELECT sync_id FROM cross_db_sync_log ORDER BY timestamp DESC LIMIT 1);
SELECT table_checksum('session_tracking', 'session_management') = table_checksum('session_tracking', 'analytics') AS same;

-- Take it back: the target holds exactly what it held before.
SELECT json_extract(undo_sync(sync_id), '$.restored') AS restored FROM (SELECT sync_id FROM cross_db_sync_log ORDER BY timestamp DESC LIMIT 1);
SELECT count(DISTINCT row_key) AS differ FROM sync_diff('session_tracking', 'analytics', '{"source":"session_management"}');

-- Where both sides changed a row, the newer one stays, the other one is kept and can still be chosen.
ATTACH 'analytics.db' AS a;
UPDATE a.session_tracking SET workspace = 'desktop', updated_at = '2031-01-01 00:00:00' WHERE session_id = 'S-00007';
DETACH a;
SELECT json_extract(r, '$.updated') AS updated, json_extract(r, '$.conflicts') AS conflicts
  FROM (SELECT sync_table('session_tracking', 'analytics', '{"source":"session_management"}') AS r);
SELECT table_name, row_key, resolution FROM sync_conflicts;
SELECT r.* FROM sync_conflicts AS c, resolve_conflict(c.id, 'source') AS r WHERE c.resolution IS NULL;

-- The mappings of the fleet are rows, too, each with its own frequency.
SELECT source_db, tables, target_db, sync_type, frequency_s FROM sync_mapping ORDER BY source_db;
SELECT json_extract(r, '$.syncs') AS syncs, json_extract(r, '$.failed') AS failed FROM (SELECT sync_all() AS r);
SELECT source_db, target_db, total_syncs, successful_syncs FROM sync_status_summary ORDER BY source_db;

-- 5. Pay for what changed, not for what is there

-- Triggers of built-in SQL record which rows change, whoever writes them; from then on a sync reads only those.
SELECT json_extract(track_changes('session_performance', '{"db":"session_management"}'), '$.keys') AS keys;
SELECT table_name, status FROM tracked_changes('session_management');
SELECT json_extract(r, '$.method') AS method FROM (SELECT sync_table('session_performance', 'analytics', '{"source":"session_management"}') AS r);
ATTACH 'session_management.db' AS s;
DELETE FROM s.session_performance WHERE measurement_id = 1;
INSERT OR REPLACE INTO s.session_performance VALUES (2, 'S-00003', 12, 3.5, 64.0, '2030-01-01 00:00:00');
DETACH s;
SELECT json_extract(r, '$.method') AS method, json_extract(r, '$.updated') AS updated, json_extract(r, '$.deleted') AS deleted
  FROM (SELECT sync_table('session_performance', 'analytics', '{"source":"session_management"}') AS r);

-- 6. Have a way back

-- A backup is restored to a temporary file and checked before it counts as one. The second stores only what changed.
SELECT json_extract(r, '$.status') AS status, json_extract(r, '$.proven') AS proven, json_extract(r, '$.name') AS name
  FROM (SELECT backup_database('orchestration', '{"name":"monday","path":"../backups"}') AS r);
ATTACH 'orchestration.db' AS o;
UPDATE o.workflows SET enabled = 0 WHERE name = 'weekly-report';
DETACH o;
SELECT json_extract(r, '$.status') AS status, json_extract(r, '$.changed_pages') AS changed_pages
  FROM (SELECT backup_database('orchestration', '{"name":"tuesday","type":"incremental","path":"../backups"}') AS r);
SELECT name, db_name, type, status FROM backups('../backups') ORDER BY name;

-- What is different in them? And back to Monday, beside the original.
SELECT table_name, change, only_a, only_b FROM backup_diff('monday', 'tuesday', '{"path":"../backups"}');
SELECT json_extract(restore_database('monday', '../monday.db', '{"path":"../backups"}'), '$.db_name') AS restored;
SELECT action, row_key, column_name, before, after FROM sync_diff('workflows', 'orchestration', '{"source":"../monday.db","mode":"full"}');

-- 7. Keep it fast

SELECT task, count(*) AS databases FROM maintenance_due GROUP BY task ORDER BY task;
SELECT json_extract(value, '$.operation') AS operation, json_extract(value, '$.status') AS status
  FROM json_each(optimize_database('orchestration', 'reindex, analyze, vacuum'), '$.operations');

-- 8. Watch it

-- Each figure has a word, a unit and a formula.
SELECT metric_type, unit FROM collect_metrics('analytics', '{"groups":["health"]}') ORDER BY metric_type;
SELECT db_name, count(*) > 0 AS measured FROM performance_metrics WHERE db_name = 'analytics';

-- Rules are rows; they open alerts, which are acknowledged and resolve.
SELECT json_extract(evaluate_alerts(), '$.rules') > 0 AS rules;
SELECT severity, count(*) FROM active_alerts GROUP BY severity;

-- 9. All of it

-- Nine phases, each confirmed by a second check. "validate" changes nothing but dbint's own tables.
SELECT phase, weight, status FROM integrate('.', '{"mode":"validate"}') ORDER BY number;
SELECT json_extract(r, '$.database_discovery.databases_found') AS databases, json_extract(r, '$.consistency_validation.critical_issues') AS critical
  FROM (SELECT integration_report() AS r);

-- 10. Find out more

-- Everything dbint adds, with its arguments, a line of help and an example; in the shell it is .help.
SELECT room, count(*) > 0 AS entries FROM dbint_functions GROUP BY room ORDER BY room;
SELECT signature, summary FROM dbint_functions WHERE name = 'sync_table';
SELECT dbint_set('sync.batch_size', 500);
SELECT key, value, source FROM dbint_settings WHERE key LIKE 'sync.b%' ORDER BY key;
