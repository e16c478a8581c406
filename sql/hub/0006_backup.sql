-- The backup catalogue and its policies.

-- A copy of what the repositories hold: a repository alone suffices to restore.
CREATE TABLE hub.backup_catalog (
  backup_id    TEXT PRIMARY KEY NOT NULL,
  name         TEXT NOT NULL,
  db_name      TEXT NOT NULL,
  type         TEXT NOT NULL,                       -- full / incremental / differential
  created_at   TEXT NOT NULL,
  size_bytes   INTEGER NOT NULL,                    -- of the database
  stored_bytes INTEGER NOT NULL,                    -- that this backup added to the repository
  sha256       TEXT,                                -- of the restored file
  root         TEXT NOT NULL,                       -- SHA-256 over the SHA-256 of its pages
  parent_id    TEXT,
  proven_at    TEXT,                                -- last restore test that passed
  repository   TEXT NOT NULL                        -- folder
);
CREATE INDEX hub.idx_backup_catalog_db ON backup_catalog(db_name, created_at);

-- When a database is backed up, and how long its backups are kept. NULL: the default or never.
CREATE TABLE hub.backup_policies (
  db_name          TEXT PRIMARY KEY NOT NULL,
  full_s           INTEGER DEFAULT 604800,          -- seconds from one full backup to the next
  incremental_s    INTEGER DEFAULT 86400,
  differential_s   INTEGER,
  retention_days   REAL,                            -- default: setting backup.retention_days
  keep_count       INTEGER,                         -- newest backups that stay whatever their age
  keep_generations INTEGER DEFAULT 1,               -- newest full backups that stay, with all that build on them
  enabled          INTEGER NOT NULL DEFAULT 1,
  options          TEXT,                            -- JSON, as for backup_database
  last_run         TEXT,
  last_error       TEXT
);
