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

-- Which maintenance is done how often. A row for one db_name stands above that for '*', every registered database.
CREATE TABLE hub.maintenance_schedule (
  task        TEXT NOT NULL,                        -- vacuum / analyze / reindex / optimize / checkpoint / backup / performance
  db_name     TEXT NOT NULL DEFAULT '*',
  frequency_s INTEGER NOT NULL CHECK (typeof(frequency_s) = 'integer' AND frequency_s >= 0),  -- seconds; 0: at every run
  enabled     INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (task, db_name)
);
INSERT OR IGNORE INTO hub.maintenance_schedule(task, frequency_s) VALUES
  ('vacuum', 86400), ('analyze', 3600), ('reindex', 604800), ('backup', 86400), ('performance', 0);

-- When each task was last done. SKIPPED counts as done: there was nothing to gain.
CREATE TABLE hub.maintenance_state (
  task     TEXT NOT NULL,
  db_name  TEXT NOT NULL,
  tried_at TEXT NOT NULL,
  done_at  TEXT,
  status   TEXT NOT NULL,                           -- SUCCESS / SKIPPED / FAILED
  detail   TEXT,
  PRIMARY KEY (task, db_name)
) WITHOUT ROWID;

-- What maintenance did, the last 90 days.
CREATE TABLE hub.maintenance_log (
  run_id       TEXT PRIMARY KEY NOT NULL,
  task         TEXT NOT NULL,
  db_name      TEXT NOT NULL,
  started_at   TEXT DEFAULT CURRENT_TIMESTAMP,
  duration_s   REAL,
  status       TEXT NOT NULL,                       -- SUCCESS / FAILED
  bytes_before INTEGER,
  bytes_after  INTEGER,
  detail       TEXT
);
CREATE INDEX hub.idx_maintenance_log_time ON maintenance_log(started_at);
