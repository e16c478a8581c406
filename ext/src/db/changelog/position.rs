//! How far a target has followed a log: kept in the target, written in the same transaction as the rows.
use super::{Log, POSITIONS};
use crate::{
    db::{ident::qualified, ident::quote, time},
    error::Result,
};
use rusqlite::{Connection, OptionalExtension};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// The target has everything up to this entry.
    pub seq: i64,
    /// What that entry said: a source put back from a backup counts the same numbers again for other changes.
    mark: Option<String>,
}

impl Position {
    /// The end of the log as the source's transaction sees it.
    pub fn end(source: &Connection, log: &Log) -> Result<Position> {
        let seq = log.last(source)?;
        Ok(Position { seq, mark: log.mark(source, seq)? })
    }

    /// Where the target stands in `log` of the database at `source` (a copy of a database has the same log, and goes its own way).
    pub fn read(target: &Connection, schema: &str, log: &Log, source: &str) -> Result<Option<Position>> {
        let known: bool =
            target.query_row(&format!("SELECT EXISTS(SELECT 1 FROM {}.sqlite_schema WHERE type = 'table' AND name = ?)", quote(schema)), [POSITIONS], |r| {
                r.get(0)
            })?;
        if !known {
            return Ok(None);
        }
        let sql = format!("SELECT seq, mark FROM {} WHERE log_id = ? AND source = ?", qualified(schema, POSITIONS));
        Ok(target.query_row(&sql, [&log.id, source], |r| Ok(Position { seq: r.get(0)?, mark: r.get(1)? })).optional()?)
    }

    /// Stores it, inside the caller's transaction on the target. Positions in former logs of the table are forgotten.
    pub fn write(&self, target: &Connection, schema: &str, log: &Log, source: &str) -> Result<()> {
        let table = qualified(schema, POSITIONS);
        target.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {table}(source TEXT NOT NULL, table_name TEXT NOT NULL, log_id TEXT NOT NULL, seq INTEGER NOT NULL, mark TEXT, \
             synced_at TEXT NOT NULL, PRIMARY KEY(source, table_name))"
        ))?;
        target.execute(
            &format!("INSERT OR REPLACE INTO {table}(source, table_name, log_id, seq, mark, synced_at) VALUES(?, ?, ?, ?, ?, ?)"),
            (source, &log.table, &log.id, self.seq, &self.mark, time::now()),
        )?;
        Ok(())
    }

    /// Whether the log still continues this position; why not, where it does not.
    pub fn fits(&self, source: &Connection, log: &Log) -> Result<std::result::Result<(), &'static str>> {
        if self.seq > log.last(source)? {
            return Ok(Err("the source's log ends before the target's position: the source was put back"));
        }
        if self.seq == 0 {
            return Ok(Ok(()));
        }
        Ok(match log.mark(source, self.seq)? {
            mark if mark == self.mark => Ok(()),
            // Compaction drops entries that a later one stands for, up to where it got.
            None if self.seq < log.compacted_to => Ok(()),
            _ => Err("the source's log tells another story at the target's position: the source was put back"),
        })
    }
}
