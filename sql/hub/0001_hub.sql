-- dbint's own tables. `hub.` stands for the schema they are installed in, and for the prefix if one was chosen.
-- All times are UTC, 'YYYY-MM-DD HH:MM:SS[.SSS]'.

-- The databases of the fleet.
CREATE TABLE hub.database_registry (
  db_id             TEXT PRIMARY KEY NOT NULL,
  db_name           TEXT NOT NULL UNIQUE,
  db_path           TEXT NOT NULL,
  db_size           INTEGER,                        -- bytes, -wal included
  table_count       INTEGER,
  record_count      INTEGER,
  last_modified     TEXT,
  health_status     TEXT DEFAULT 'HEALTHY',         -- HEALTHY / WARNING / CRITICAL / UNREACHABLE
  performance_score REAL DEFAULT 100.0,             -- 0 to 100
  timestamp         TEXT DEFAULT CURRENT_TIMESTAMP
);

-- One row a sync of one table.
CREATE TABLE hub.cross_db_sync_log (
  sync_id        TEXT PRIMARY KEY NOT NULL,
  source_db      TEXT NOT NULL,
  target_db      TEXT NOT NULL,
  table_name     TEXT NOT NULL,
  sync_type      TEXT DEFAULT 'INCREMENTAL',        -- INCREMENTAL / FULL
  records_synced INTEGER DEFAULT 0,
  sync_duration  REAL,                              -- seconds
  sync_status    TEXT DEFAULT 'PENDING',            -- PENDING / RUNNING / SUCCESS / FAILED / ROLLED_BACK
  timestamp      TEXT DEFAULT CURRENT_TIMESTAMP,
  receipt        TEXT                               -- JSON, as sync_table returned it; the error where it failed
);
CREATE INDEX hub.idx_cross_db_sync_log_time ON cross_db_sync_log(timestamp);

-- Measured figures over time.
CREATE TABLE hub.performance_metrics (
  metric_id         TEXT PRIMARY KEY NOT NULL,
  db_name           TEXT NOT NULL,
  metric_type       TEXT NOT NULL,                  -- query_time, sync_duration, memory_usage, …
  metric_value      REAL,
  unit              TEXT,
  measurement_time  TEXT DEFAULT CURRENT_TIMESTAMP,
  baseline_value    REAL,
  performance_delta REAL                            -- percent of the baseline
);
CREATE INDEX hub.idx_performance_metrics_time ON performance_metrics(measurement_time, db_name, metric_type);

-- State of dbint's own parts.
CREATE TABLE hub.integration_status (
  status_id      TEXT PRIMARY KEY NOT NULL,
  component_name TEXT NOT NULL,
  status         TEXT DEFAULT 'INITIALIZING',
  health_score   REAL DEFAULT 100.0,
  last_update    TEXT DEFAULT CURRENT_TIMESTAMP,
  error_count    INTEGER DEFAULT 0,
  warning_count  INTEGER DEFAULT 0
);

-- What syncs decided: `update items:42`, `conflict_skip items:7`, or one action with a count.
CREATE TABLE hub.sync_audit_log (
  source_db TEXT NOT NULL,
  target_db TEXT NOT NULL,
  action    TEXT NOT NULL,
  timestamp TEXT DEFAULT CURRENT_TIMESTAMP
);

-- What sync_all() runs.
CREATE TABLE hub.sync_mapping (
  id          INTEGER PRIMARY KEY,
  source_db   TEXT NOT NULL,
  tables      TEXT NOT NULL DEFAULT '*',            -- comma-separated names, or *
  target_db   TEXT NOT NULL,
  sync_type   TEXT NOT NULL DEFAULT 'INCREMENTAL',
  frequency_s INTEGER NOT NULL DEFAULT 300,
  enabled     INTEGER NOT NULL DEFAULT 1,
  options     TEXT,                                 -- JSON, as for sync_table
  last_run    TEXT
);

-- Alert rules and the alerts they raised.
CREATE TABLE hub.alert_rules (
  rule_id     TEXT PRIMARY KEY NOT NULL,
  metric_type TEXT NOT NULL,
  comparison  TEXT NOT NULL DEFAULT '>',            -- > >= < <= = != or anomaly: standard deviations from the usual for the hour
  threshold   REAL,
  clear_threshold REAL,                             -- an open alert resolves here; NULL: where the rule no longer holds
  severity    TEXT NOT NULL DEFAULT 'WARNING',      -- INFO / WARNING / CRITICAL
  for_s       INTEGER NOT NULL DEFAULT 0,           -- how long it must hold
  scope       TEXT NOT NULL DEFAULT '*',            -- GLOB over db_name
  enabled     INTEGER NOT NULL DEFAULT 1,
  description TEXT
);
CREATE TABLE hub.alerts (
  alert_id        TEXT PRIMARY KEY NOT NULL,
  rule_id         TEXT,
  db_name         TEXT,
  severity        TEXT NOT NULL,
  message         TEXT NOT NULL,
  value           REAL,
  state           TEXT NOT NULL DEFAULT 'OPEN',     -- OPEN / ACKNOWLEDGED / RESOLVED
  opened_at       TEXT DEFAULT CURRENT_TIMESTAMP,
  acknowledged_at TEXT,
  acknowledged_by TEXT,
  resolved_at     TEXT
);
CREATE INDEX hub.idx_alerts_state ON alerts(state, opened_at);

-- Settings: a row here stands above the environment and below an option in the call.
CREATE TABLE hub.configuration (
  id          INTEGER PRIMARY KEY,
  key         TEXT NOT NULL UNIQUE,
  value       TEXT NOT NULL,
  description TEXT,
  updated_by  TEXT,
  updated_at  TEXT DEFAULT CURRENT_TIMESTAMP
);
