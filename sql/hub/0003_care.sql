-- What health, size and maintenance keep.

-- One row a health check of one database.
CREATE TABLE hub.health_history (
  check_id    TEXT PRIMARY KEY NOT NULL,
  db_name     TEXT NOT NULL,
  checked_at  TEXT DEFAULT CURRENT_TIMESTAMP,
  level       TEXT NOT NULL,                        -- header / quick / deep
  status      TEXT NOT NULL,                        -- HEALTHY / WARNING / CRITICAL / UNREACHABLE
  score       REAL NOT NULL,                        -- 0 to 100
  integrity   REAL,                                 -- percent of the checks that passed
  performance REAL,                                 -- 100 less the deductions
  duration_ms REAL,
  failed      TEXT,                                 -- ids of failed checks, comma-separated
  error       TEXT                                  -- why it could not be checked
);
CREATE INDEX hub.idx_health_history_db ON health_history(db_name, checked_at);

-- Size limits of single databases, in MB of 1,000,000 bytes. Every write of dbint keeps below them.
CREATE TABLE hub.size_limits (
  db_name  TEXT PRIMARY KEY NOT NULL,
  limit_mb REAL NOT NULL
);

-- Which maintenance is done how often. Rows for one db_name stand above those for '*'.
CREATE TABLE hub.maintenance_schedule (
  task        TEXT NOT NULL,                        -- vacuum / analyze / reindex / optimize / checkpoint / backup / health
  db_name     TEXT NOT NULL DEFAULT '*',
  frequency_s INTEGER NOT NULL,
  enabled     INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (task, db_name)
);
INSERT OR IGNORE INTO hub.maintenance_schedule(task, frequency_s) VALUES
  ('vacuum', 86400), ('analyze', 3600), ('reindex', 604800), ('backup', 86400), ('health', 60);

-- What maintenance did.
CREATE TABLE hub.maintenance_log (
  run_id       TEXT PRIMARY KEY NOT NULL,
  task         TEXT NOT NULL,
  db_name      TEXT NOT NULL,
  started_at   TEXT DEFAULT CURRENT_TIMESTAMP,
  duration_s   REAL,
  status       TEXT NOT NULL,                       -- SUCCESS / SKIPPED / FAILED
  bytes_before INTEGER,
  bytes_after  INTEGER,
  detail       TEXT
);
CREATE INDEX hub.idx_maintenance_log_task ON maintenance_log(task, db_name, started_at);
