-- Integration runs, metrics over time, alerts, and the monitor.

-- The last value of each metric; why there is none; and the mean of those before it.
CREATE TABLE hub.metric_latest (
  db_name          TEXT NOT NULL,
  metric_type      TEXT NOT NULL,
  metric_value     REAL,
  unit             TEXT,
  reason           TEXT,
  measurement_time TEXT NOT NULL,
  samples          INTEGER NOT NULL DEFAULT 0,
  baseline_value   REAL,                            -- mean of the earlier values, the last hundred weighing most
  PRIMARY KEY (db_name, metric_type)
) WITHOUT ROWID;

-- The latest values of one metric, without reading those of the whole fleet.
CREATE INDEX hub.idx_performance_metrics_metric ON performance_metrics(db_name, metric_type, measurement_time);

-- What became of older rows of performance_metrics.
CREATE TABLE hub.metric_history (
  period      TEXT NOT NULL,                        -- HOUR / DAY
  start_time  TEXT NOT NULL,
  db_name     TEXT NOT NULL,
  metric_type TEXT NOT NULL,
  samples     INTEGER NOT NULL,
  avg_value   REAL NOT NULL,
  min_value   REAL NOT NULL,
  max_value   REAL NOT NULL,
  PRIMARY KEY (period, db_name, metric_type, start_time)
) WITHOUT ROWID;
CREATE INDEX hub.idx_metric_history_start ON metric_history(period, start_time);

-- Since when a rule has been broken by a database, whether or not that has raised an alert yet.
CREATE TABLE hub.alert_states (
  rule_id TEXT NOT NULL,
  db_name TEXT NOT NULL,
  since   TEXT NOT NULL,
  value   REAL,
  PRIMARY KEY (rule_id, db_name)
) WITHOUT ROWID;

-- The history of every alert.
CREATE TABLE hub.alert_events (
  event_id INTEGER PRIMARY KEY,
  alert_id TEXT NOT NULL,
  event    TEXT NOT NULL,                           -- OPENED / ACKNOWLEDGED / RESOLVED
  at       TEXT NOT NULL,
  who      TEXT,
  value    REAL,
  note     TEXT
);
CREATE INDEX hub.idx_alert_events_alert ON alert_events(alert_id);

-- Messages about alerts on their way out.
CREATE TABLE hub.alert_deliveries (
  delivery_id INTEGER PRIMARY KEY,
  alert_id    TEXT NOT NULL,
  event       TEXT NOT NULL,
  channel     TEXT NOT NULL,                        -- log / command / webhook
  status      TEXT NOT NULL DEFAULT 'PENDING',      -- PENDING / SENT / FAILED
  attempts    INTEGER NOT NULL DEFAULT 0,
  last_error  TEXT,
  updated_at  TEXT DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX hub.idx_alert_deliveries_status ON alert_deliveries(status);

-- While a window is open no alert opens for the databases its scope matches.
CREATE TABLE hub.maintenance_windows (
  window_id INTEGER PRIMARY KEY,
  scope     TEXT NOT NULL DEFAULT '*',              -- GLOB over db_name
  starts_at TEXT NOT NULL,
  ends_at   TEXT NOT NULL,
  reason    TEXT
);

-- The one monitor of this hub.
CREATE TABLE hub.monitor_lock (
  id           INTEGER PRIMARY KEY CHECK (id = 1),
  owner        TEXT NOT NULL,                       -- random, one a monitor
  host         TEXT,
  pid          INTEGER,
  interval_s   REAL,                                -- NULL: each group of metrics at its own
  started_at   TEXT NOT NULL,
  heartbeat_at TEXT NOT NULL,
  expires_at   TEXT NOT NULL,
  rounds       INTEGER NOT NULL DEFAULT 0,
  samples      INTEGER NOT NULL DEFAULT 0,
  errors       INTEGER NOT NULL DEFAULT 0,
  last_error   TEXT
);

-- Small things to remember: how far the alerts have read.
CREATE TABLE hub.run_state (
  key   TEXT PRIMARY KEY NOT NULL,
  value TEXT
) WITHOUT ROWID;

-- Whole runs and their phases.
CREATE TABLE hub.integration_sessions (
  session_id     TEXT PRIMARY KEY NOT NULL,
  start_time     TEXT NOT NULL,
  end_time       TEXT,
  workspace_path TEXT NOT NULL,
  mode           TEXT NOT NULL,
  status         TEXT NOT NULL DEFAULT 'RUNNING',   -- RUNNING / COMPLETED / FINDINGS / FAILED / INTERRUPTED
  report         TEXT,                              -- JSON, as integration_report() gives it
  pid            INTEGER                            -- of the process that runs it
);
CREATE TABLE hub.integration_phases (
  session_id TEXT NOT NULL,
  number     INTEGER NOT NULL,
  phase      TEXT NOT NULL,
  weight     INTEGER NOT NULL,
  status     TEXT NOT NULL,
  result     TEXT NOT NULL,
  verdict    TEXT NOT NULL,
  duration_s REAL NOT NULL,
  PRIMARY KEY (session_id, number)
) WITHOUT ROWID;

-- The rules every hub begins with. A rule resolves at clear_threshold, so that a value on the edge does not ring twice.
INSERT OR IGNORE INTO hub.alert_rules(rule_id, metric_type, comparison, threshold, clear_threshold, severity, for_s, description) VALUES
  ('query_time_critical',  'query_time',           '>',  30,  24,  'CRITICAL', 0, 'a query takes longer than 30 s'),
  ('error_rate_critical',  'error_rate',           '>',  5,   4,   'CRITICAL', 0, 'more than 5 % of operations fail'),
  ('consistency_critical', 'consistency',          '<',  90,  92,  'CRITICAL', 0, 'consistency is below 90 %'),
  ('connection_failure',   'availability',         '=',  0,   NULL, 'CRITICAL', 0, 'the database cannot be reached'),
  ('integrity_violation',  'database_integrity',   '<',  100, NULL, 'CRITICAL', 0, 'an integrity check fails'),
  ('health_critical',      'health_status',        '>=', 2,   NULL, 'CRITICAL', 0, 'the health status is CRITICAL or UNREACHABLE'),
  ('query_time_warning',   'query_time',           '>',  10,  8,   'WARNING',  0, 'a query takes longer than 10 s'),
  ('error_rate_warning',   'error_rate',           '>',  1,   0.8, 'WARNING',  0, 'more than 1 % of operations fail'),
  ('consistency_warning',  'consistency',          '<',  95,  96,  'WARNING',  0, 'consistency is below 95 %'),
  ('consistency_findings', 'consistency_warnings', '>',  0,   NULL, 'WARNING',  0, 'a consistency check warns'),
  ('pool_usage',           'pool_usage',           '>',  80,  70,  'WARNING',  0, 'more than 80 % of a pool is in use'),
  ('query_time_average',   'query_time_average',   '>',  1,   0.8, 'WARNING',  0, 'the average query takes longer than 1000 ms'),
  ('storage_limit',        'storage_limit',        '>=', 90,  85,  'WARNING',  0, 'the file is near its size limit'),
  ('sync_duration',        'sync_duration',        '>',  60,  48,  'WARNING',  0, 'a sync takes longer than 60 s'),
  ('size_growth',          'size_growth',          '>',  20,  15,  'WARNING',  0, 'the file grows faster than 20 % a day'),
  ('connection_time',      'connection_time',      '>',  30,  24,  'WARNING',  0, 'connecting takes longer than 30 s'),
  ('backup_age',           'backup_age',           '>',  172800, 90000, 'WARNING', 0, 'the newest proven backup is older than two days'),
  ('memory_usage',         'memory_usage',         '>',  80,  75,  'WARNING',  0, 'more than 80 % of memory is in use'),
  ('query_time_anomaly',   'query_time',           'anomaly', 6, 4, 'INFO',    300, 'the query time is unusual for the hour');
