-- Data quality rules and their results.

-- One row a rule. A rule says what holds for every row of a table.
CREATE TABLE hub.validation_rules (
  rule_id     INTEGER PRIMARY KEY,
  db_name     TEXT NOT NULL DEFAULT 'main',         -- schema, registered name or file
  table_name  TEXT NOT NULL,
  column_name TEXT,                                 -- for unique and foreign_key also several, comma-separated, NULL for custom
  rule_type   TEXT NOT NULL CHECK (rule_type IN ('not_null', 'unique', 'foreign_key', 'range', 'glob', 'regex', 'custom')),
  parameter   TEXT,                                 -- foreign_key: parent(column), range: low..high, glob and regex: the pattern, custom: a condition
  severity    TEXT NOT NULL DEFAULT 'ERROR' CHECK (severity IN ('CRITICAL', 'ERROR', 'WARNING', 'INFO')),
  message     TEXT,                                 -- told in place of the rule itself
  frequency_s INTEGER NOT NULL DEFAULT 86400 CHECK (frequency_s >= 0),
  enabled     INTEGER NOT NULL DEFAULT 1,
  created_at  TEXT DEFAULT CURRENT_TIMESTAMP
);

-- One row a rule and run, the last 90 days.
CREATE TABLE hub.validation_history (
  result_id    TEXT PRIMARY KEY NOT NULL,
  rule_id      INTEGER NOT NULL,
  db_name      TEXT NOT NULL,
  table_name   TEXT NOT NULL,
  checked_at   TEXT DEFAULT CURRENT_TIMESTAMP,
  checked_rows INTEGER,
  failed_rows  INTEGER,
  score        REAL,                                -- share of the rows that keep the rule, in percent
  duration_ms  REAL,
  error        TEXT                                 -- why it could not be checked
);
CREATE INDEX hub.idx_validation_history_rule ON validation_history(rule_id, checked_at);
