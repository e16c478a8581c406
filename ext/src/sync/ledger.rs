//! What a sync leaves in the target, in the same transaction as the rows: what was, so that it can be undone, and which
//! rows lost. Rows are kept as records, for JSON and SQL text would bend values.
//!
//! ```text
//! dbint_syncs            one row a sync that changed something
//! dbint_sync_undo        one row a changed row: op i/u/d · loc (its key now, as a record; of a table without a key the whole
//!                        row) · before (the row as it was) · after (a hash of the row as the sync left it)
//! dbint_sync_conflicts   both rows of each conflict
//! ```
use crate::{
    db::{
        ident::{qualified, quote, same},
        time,
    },
    error::Result,
    kit::{Field, Many},
};
use rusqlite::{Connection, OptionalExtension};

pub const SYNCS: &str = "dbint_syncs";
pub const UNDO: &str = "dbint_sync_undo";
pub const CONFLICTS: &str = "dbint_sync_conflicts";

/// Tables of the ledger itself: no user's data.
pub fn is_own(table: &str) -> bool {
    [SYNCS, UNDO, CONFLICTS].iter().any(|t| same(t, table))
}

pub fn exists(db: &Connection, schema: &str) -> Result<bool> {
    let sql = format!("SELECT EXISTS(SELECT 1 FROM {}.sqlite_schema WHERE type = 'table' AND name = ?)", quote(schema));
    Ok(db.query_row(&sql, [SYNCS], |r| r.get(0))?)
}

/// Inside the sync's transaction.
pub fn create(db: &Connection, schema: &str) -> Result<()> {
    if exists(db, schema)? {
        return Ok(());
    }
    let (syncs, undo, conflicts) = (qualified(schema, SYNCS), qualified(schema, UNDO), qualified(schema, CONFLICTS));
    let index = qualified(schema, "dbint_sync_conflicts_row");
    Ok(db.execute_batch(&format!(
        "CREATE TABLE {syncs}(
           sync_id TEXT PRIMARY KEY NOT NULL, source_db TEXT NOT NULL, table_name TEXT NOT NULL, mode TEXT NOT NULL, method TEXT NOT NULL,
           columns TEXT NOT NULL, keys TEXT NOT NULL, inserted INTEGER NOT NULL, updated INTEGER NOT NULL, deleted INTEGER NOT NULL,
           conflicts INTEGER NOT NULL, created_table INTEGER NOT NULL, whole_digest TEXT, first_n INTEGER, last_n INTEGER,
           synced_at TEXT NOT NULL, undone_at TEXT);
         CREATE TABLE {undo}(n INTEGER PRIMARY KEY, op TEXT NOT NULL, loc BLOB, before BLOB, after INTEGER);
         CREATE TABLE {conflicts}(
           conflict_id INTEGER PRIMARY KEY AUTOINCREMENT, sync_id TEXT NOT NULL, source_db TEXT NOT NULL, table_name TEXT NOT NULL, row_key TEXT NOT NULL,
           winner TEXT NOT NULL, reason TEXT NOT NULL, columns TEXT NOT NULL, keys TEXT NOT NULL, source_row BLOB, target_row BLOB,
           recorded_at TEXT NOT NULL, resolution TEXT, resolved_at TEXT);
         CREATE INDEX {index} ON {CONFLICTS}(table_name, row_key)"
    ))?)
}

/// One row of `dbint_syncs`.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub sync_id: String,
    pub source: String,
    pub table: String,
    pub mode: String,
    pub method: String,
    /// Columns of the images: those that travel, then the target's own.
    pub columns: Vec<String>,
    pub keys: Vec<String>,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    pub conflicts: u64,
    pub created_table: bool,
    /// The table was empty before: its digest afterwards stands for a list of rows.
    pub whole_digest: Option<String>,
    pub first_n: i64,
    pub last_n: i64,
    pub undone_at: Option<String>,
}

impl Entry {
    pub fn write(&self, db: &Connection, schema: &str) -> Result<()> {
        let sql = format!("INSERT INTO {} VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,NULL)", qualified(schema, SYNCS));
        db.execute(
            &sql,
            rusqlite::params![
                self.sync_id,
                self.source,
                self.table,
                self.mode,
                self.method,
                serde_json::to_string(&self.columns)?,
                serde_json::to_string(&self.keys)?,
                self.inserted as i64,
                self.updated as i64,
                self.deleted as i64,
                self.conflicts as i64,
                self.created_table,
                self.whole_digest,
                self.first_n,
                self.last_n,
                time::now()
            ],
        )?;
        Ok(())
    }

    pub fn read(db: &Connection, schema: &str, sync_id: &str) -> Result<Option<Entry>> {
        if !exists(db, schema)? {
            return Ok(None);
        }
        let sql = format!(
            "SELECT source_db, table_name, mode, method, columns, keys, inserted, updated, deleted, conflicts, created_table, whole_digest, first_n, last_n, undone_at \
             FROM {} WHERE sync_id = ?",
            qualified(schema, SYNCS)
        );
        let names = |text: String| serde_json::from_str(&text).unwrap_or_default();
        let found = db.query_row(&sql, [sync_id], |r| {
            Ok(Entry {
                sync_id: sync_id.to_owned(),
                source: r.get(0)?,
                table: r.get(1)?,
                mode: r.get(2)?,
                method: r.get(3)?,
                columns: names(r.get(4)?),
                keys: names(r.get(5)?),
                inserted: r.get::<_, i64>(6)? as u64,
                updated: r.get::<_, i64>(7)? as u64,
                deleted: r.get::<_, i64>(8)? as u64,
                conflicts: r.get::<_, i64>(9)? as u64,
                created_table: r.get(10)?,
                whole_digest: r.get(11)?,
                first_n: r.get(12)?,
                last_n: r.get(13)?,
                undone_at: r.get(14)?,
            })
        });
        Ok(found.optional()?)
    }
}

/// The sync is taken back: its undo has been used.
pub fn mark_undone(db: &Connection, schema: &str, sync_id: &str) -> Result<()> {
    db.execute(&format!("UPDATE {} SET undone_at = ?2 WHERE sync_id = ?1", qualified(schema, SYNCS)), (sync_id, time::now()))?;
    Ok(())
}

/// Forgets what is older than `days`: a sync then has nothing to undo any more.
pub fn forget(db: &Connection, schema: &str, days: f64) -> Result<()> {
    let (syncs, undo, conflicts) = (qualified(schema, SYNCS), qualified(schema, UNDO), qualified(schema, CONFLICTS));
    let before = time::stored(chrono::Utc::now() - chrono::Duration::seconds((days.clamp(0.0, 36_500.0) * 86_400.0) as i64));
    let last: Option<i64> = db.query_row(&format!("SELECT max(last_n) FROM {syncs} WHERE synced_at < ?"), [&before], |r| r.get(0))?;
    if let Some(last) = last {
        db.execute(&format!("DELETE FROM {undo} WHERE n <= ?"), [last])?;
    }
    db.execute(&format!("DELETE FROM {syncs} WHERE synced_at < ?"), [&before])?;
    db.execute(&format!("DELETE FROM {conflicts} WHERE recorded_at < ?"), [&before])?;
    Ok(())
}

/// Adds undo rows.
pub struct Undo<'c> {
    rows: Many<'c, 5>,
    pub first: i64,
    pub next: i64,
}

impl<'c> Undo<'c> {
    pub fn open(db: &'c Connection, schema: &str) -> Result<Undo<'c>> {
        let undo = qualified(schema, UNDO);
        // Numbers are not used twice, even where the newest were forgotten.
        let first: i64 = db.query_row(
            &format!("SELECT 1 + max(ifnull((SELECT max(n) FROM {undo}), 0), ifnull((SELECT max(last_n) FROM {}), 0))", qualified(schema, SYNCS)),
            [],
            |r| r.get(0),
        )?;
        Ok(Undo { rows: Many::into(db, &undo)?, first, next: first })
    }

    pub fn add(&mut self, op: &str, loc: Option<&[u8]>, before: Option<&[u8]>, after: Option<u64>) -> Result<()> {
        let (loc, before) = (loc.map_or(Field::Null, Field::Blob), before.map_or(Field::Null, Field::Blob));
        let after = after.map_or(Field::Null, |h| Field::Int(h as i64));
        self.rows.add([Field::Int(self.next), Field::Text(op.as_bytes()), loc, before, after])?;
        self.next += 1;
        Ok(())
    }

    pub fn finish(&mut self) -> Result<()> {
        self.rows.finish()
    }
}
