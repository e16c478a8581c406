-- What syncs keep in the hub: copies, to be read. The exact rows of conflicts, what undoes a sync, and the positions in
-- change logs are in the target, in the transaction of the rows: dbint_sync_conflicts, dbint_sync_undo, dbint_positions.

-- Rows that both sides had changed. Also the copy says how it was resolved.
CREATE TABLE hub.sync_conflicts (
  id                 INTEGER PRIMARY KEY,
  sync_id            TEXT NOT NULL,
  source_db          TEXT NOT NULL,
  target_db          TEXT NOT NULL,
  table_name         TEXT NOT NULL,
  row_key            TEXT NOT NULL,
  winner             TEXT NOT NULL,                 -- source / target
  reason             TEXT NOT NULL,
  source_row         TEXT,                          -- JSON, to be read; NULL: the source deleted the row
  target_row         TEXT,
  target_conflict_id INTEGER,                       -- conflict_id in dbint_sync_conflicts of the target
  recorded_at        TEXT DEFAULT CURRENT_TIMESTAMP,
  resolution         TEXT,                          -- source / target, by resolve_conflict()
  resolved_at        TEXT
);
CREATE INDEX hub.idx_sync_conflicts_sync ON sync_conflicts(sync_id);

-- Syncs of several targets that belong together, noted while they commit; a row that stays is what a crash left.
CREATE TABLE hub.sync_groups (
  group_id TEXT PRIMARY KEY NOT NULL,
  members  TEXT NOT NULL,                           -- JSON [{target_file, sync_ids[]}]
  noted_at TEXT DEFAULT CURRENT_TIMESTAMP
);
