//! Which rows of a table changed since a given moment, written down by triggers in the table's own database.
//!
//! ```text
//! dbint_tracked            one row a tracked table: its log, the log's id, the key columns, what the schema was then
//! dbint_changes_TABLE      seq · k1 … kn (typed, as in the row) · deleted_at · origin (who wrote it; NULL: a user)
//! dbint_positions          in each target: up to which seq of which log it has everything
//! ```
//!
//! An entry says "look at this key": whether the row is there now tells insert or update from delete. A table without a
//! primary key logs all its columns, and a key with NULL in it stands for every row that has it: both are multisets.
//! A position is written in the target's own transaction, so that a crash can neither lose nor repeat a change.
//! Not seen: incremental blob writes and writers that switch triggers off.
mod position;
mod triggers;

pub use position::Position;

use crate::{
    db::{
        digest::{Algorithm, Sum},
        ident::{qualified, quote, same},
        schema::{self, Table, TableKind},
        time,
        transaction::savepoint,
    },
    error::{Error, Kind, Result},
    kit::{Field, Stmt},
};
use rusqlite::{Connection, OptionalExtension};

pub const TRACKED: &str = "dbint_tracked";
pub const POSITIONS: &str = "dbint_positions";
const LOG_PREFIX: &str = "dbint_changes_";

/// Tables of the change log itself: no user's data.
pub fn is_own(table: &str) -> bool {
    same(table, TRACKED) || same(table, POSITIONS) || table.get(..LOG_PREFIX.len()).is_some_and(|p| same(p, LOG_PREFIX))
}

/// The change log of one table.
#[derive(Clone, Debug)]
pub struct Log {
    pub schema: String,
    pub table: String,
    /// Where the entries are.
    pub log_table: String,
    /// New for each `track`: a position in another log means nothing.
    pub id: String,
    /// Logged columns: k1 holds the first.
    pub key: Vec<String>,
    pub since: String,
    fingerprint: String,
    compacted_to: i64,
}

/// Whether the log can be believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    Ok,
    /// The table is not what it was when tracking began: rows may have changed unseen. What, in words.
    Altered(String),
    /// Triggers or the log are missing or changed.
    Broken(String),
}

impl Log {
    /// None where the table is not tracked.
    pub fn find(db: &Connection, schema: &str, table: &str) -> Result<Option<Log>> {
        Ok(Log::all(db, schema)?.into_iter().find(|l| same(&l.table, table)))
    }

    /// Every log of a database, by table.
    pub fn all(db: &Connection, schema: &str) -> Result<Vec<Log>> {
        let known: bool =
            db.query_row(&format!("SELECT EXISTS(SELECT 1 FROM {}.sqlite_schema WHERE type = 'table' AND name = ?)", quote(schema)), [TRACKED], |r| r.get(0))?;
        if !known {
            return Ok(vec![]);
        }
        let mut q = db.prepare(&format!(
            "SELECT table_name, log_table, log_id, key_columns, tracked_since, fingerprint, compacted_to FROM {} ORDER BY table_name",
            qualified(schema, TRACKED)
        ))?;
        let rows = q.query_map([], |r| {
            Ok(Log {
                schema: schema.to_owned(),
                table: r.get(0)?,
                log_table: r.get(1)?,
                id: r.get(2)?,
                key: serde_json::from_str(&r.get::<_, String>(3)?).unwrap_or_default(),
                since: r.get(4)?,
                fingerprint: r.get(5)?,
                compacted_to: r.get(6)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Compares table, triggers and log with what `track` made.
    pub fn status(&self, db: &Connection) -> Result<Status> {
        let Some(table) = schema::find_table(db, &self.schema, &self.table)? else {
            return Ok(Status::Broken("the table is gone".into()));
        };
        if fingerprint(db, &table, &self.key)? != self.fingerprint {
            return Ok(Status::Altered("the table or its unique indexes changed since tracking began".into()));
        }
        if schema::find_table(db, &self.schema, &self.log_table)?.is_none() {
            return Ok(Status::Broken(format!("the log \"{}\" is gone", self.log_table)));
        }
        for t in triggers::all(db, &table, &self.key, &self.log_table)? {
            let sql = format!("SELECT sql FROM {}.sqlite_schema WHERE type = 'trigger' AND name = ?", quote(&self.schema));
            let found: Option<String> = db.query_row(&sql, [&t.name], |r| r.get(0)).optional()?;
            // SQLite stores the text without the schema's name.
            let wanted = t.sql.replacen(&qualified(&self.schema, &t.name), &quote(&t.name), 1);
            if found.as_deref() != Some(wanted.as_str()) {
                return Ok(Status::Broken(format!("the trigger \"{}\" is missing or changed", t.name)));
            }
        }
        Ok(Status::Ok)
    }

    /// The number of the last entry; 0 while there is none.
    pub fn last(&self, db: &Connection) -> Result<i64> {
        Ok(db.query_row(&format!("SELECT ifnull(max(seq), 0) FROM {}", self.qualified()), [], |r| r.get(0))?)
    }

    pub fn entries(&self, db: &Connection) -> Result<i64> {
        Ok(db.query_row(&format!("SELECT count(*) FROM {}", self.qualified()), [], |r| r.get(0))?)
    }

    /// The keys touched after entry `after` up to entry `to`, each once, oldest first, leaving out what `origin` wrote itself:
    /// columns are the key's, then `seq` of its last entry, then `deleted_at` of its last entry.
    pub fn pending<'c>(&self, db: &'c Connection, after: i64, to: i64, origin: Option<&str>) -> Result<Stmt<'c>> {
        let ks = self.columns();
        // max() makes SQLite take the bare columns from the row that has it.
        self.between(db, &format!("{ks}, max(seq) AS seq, deleted_at"), &format!("GROUP BY {ks}"), (after, to, origin))
    }

    /// The same, every entry: what SQLite takes for one key, 1 and 1.0 say, may be several rows of a multiset.
    pub fn every<'c>(&self, db: &'c Connection, after: i64, to: i64, origin: Option<&str>) -> Result<Stmt<'c>> {
        self.between(db, &format!("{}, seq, deleted_at", self.columns()), "", (after, to, origin))
    }

    fn between<'c>(&self, db: &'c Connection, columns: &str, group: &str, (after, to, origin): (i64, i64, Option<&str>)) -> Result<Stmt<'c>> {
        let log = self.qualified();
        let mut q =
            Stmt::prepare(db, &format!("SELECT {columns} FROM {log} WHERE seq > ?1 AND seq <= ?2 AND (?3 IS NULL OR origin IS NOT ?3) {group} ORDER BY seq"))?;
        q.bind(1, Field::Int(after))?;
        q.bind(2, Field::Int(to))?;
        q.bind(3, origin.map_or(Field::Null, |o| Field::Text(o.as_bytes())))?;
        Ok(q)
    }

    /// A statement that adds an entry, for a writer whose triggers are off: binds the key, then `deleted_at`, then `origin`.
    pub fn append<'c>(&self, db: &'c Connection) -> Result<Stmt<'c>> {
        let marks = vec!["?"; self.key.len() + 2].join(", ");
        Stmt::prepare(db, &format!("INSERT INTO {}({}, deleted_at, origin) VALUES({marks})", self.qualified(), self.columns()))
    }

    /// Keeps the last entry of each key (1 and 1.0 are two rows of a multiset) and origin; what is pending for any position stays the same. Gives the number removed.
    pub fn compact(&self, db: &Connection) -> Result<usize> {
        savepoint(db, || {
            let log = self.qualified();
            // The very last entry stays in any case, and with it the numbering.
            let types = (1..=self.key.len()).map(|i| format!("typeof(k{i})")).collect::<Vec<_>>().join(", ");
            let last = format!("SELECT max(seq) FROM {log} GROUP BY {}, {types}, origin", self.columns());
            let removed = db.execute(&format!("DELETE FROM {log} WHERE seq NOT IN ({last})"), [])?;
            db.execute(&format!("UPDATE {} SET compacted_to = ?2 WHERE log_id = ?1", qualified(&self.schema, TRACKED)), (&self.id, self.last(db)?))?;
            Ok(removed)
        })
    }

    /// A short text for entry `seq`; None where it is not there (any more).
    fn mark(&self, db: &Connection, seq: i64) -> Result<Option<String>> {
        let mut q = Stmt::prepare(db, &format!("SELECT {}, deleted_at FROM {} WHERE seq = ?", self.columns(), self.qualified()))?;
        q.bind(1, Field::Int(seq))?;
        if !q.step()? {
            return Ok(None);
        }
        let mut sum = Sum::new(Algorithm::Fast);
        (0..q.columns()).for_each(|i| sum.field(q.field(i)));
        sum.add();
        Ok(Some(sum.hex()))
    }

    fn qualified(&self) -> String {
        qualified(&self.schema, &self.log_table)
    }

    fn columns(&self) -> String {
        (1..=self.key.len()).map(|i| format!("k{i}")).collect::<Vec<_>>().join(", ")
    }
}

/// Begins to log changes of a table. `key` None takes its primary key, or all its columns where it has none.
/// Tracked already and intact: the log there is, and false.
pub fn track(db: &Connection, schema: &str, table: &str, key: Option<&[String]>) -> Result<(Log, bool)> {
    let table = schema::table(db, schema, table)?;
    let refuse = |what: &str| Error::unsupported(format!("\"{}\" {what}", table.name));
    match table.kind {
        TableKind::Table if is_own(&table.name) => return Err(refuse("is part of the change log itself")),
        TableKind::Table => {}
        TableKind::View => return Err(refuse("is a view: track the tables it reads")),
        TableKind::Virtual => return Err(refuse("is a virtual table: triggers cannot be put on it")),
        TableKind::Shadow => return Err(refuse("is the storage of a virtual table")),
    }
    let key = key_of(&table, key)?;
    if let Some(log) = Log::find(db, schema, &table.name)? {
        let same_key = log.key.len() == key.len() && log.key.iter().zip(&key).all(|(a, b)| same(a, b));
        if same_key && log.status(db)? == Status::Ok {
            return Ok((log, false));
        }
    }
    savepoint(db, || {
        untrack(db, schema, &table.name)?;
        let log = Log {
            schema: schema.to_owned(),
            log_table: format!("{LOG_PREFIX}{}", table.name),
            id: time::new_id(),
            since: time::now(),
            fingerprint: fingerprint(db, &table, &key)?,
            compacted_to: 0,
            table: table.name.clone(),
            key,
        };
        if schema::find_table(db, schema, &log.log_table)?.is_some() {
            return Err(Error::unsupported(format!("a table \"{}\" is in the way", log.log_table)).hint("Rename it: the change log needs this name"));
        }
        db.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {}(table_name TEXT PRIMARY KEY, log_table TEXT NOT NULL, log_id TEXT NOT NULL UNIQUE, key_columns TEXT NOT NULL, \
             tracked_since TEXT NOT NULL, fingerprint TEXT NOT NULL, compacted_to INTEGER NOT NULL DEFAULT 0); \
             CREATE TABLE {}(seq INTEGER PRIMARY KEY, {}, deleted_at, origin)",
            qualified(schema, TRACKED),
            log.qualified(),
            log.columns()
        ))?;
        for t in triggers::all(db, &table, &log.key, &log.log_table)? {
            db.execute_batch(&t.sql)?;
        }
        db.execute(
            &format!(
                "INSERT INTO {}(table_name, log_table, log_id, key_columns, tracked_since, fingerprint) VALUES(?, ?, ?, ?, ?, ?)",
                qualified(schema, TRACKED)
            ),
            (&log.table, &log.log_table, &log.id, serde_json::to_string(&log.key)?, &log.since, &log.fingerprint),
        )?;
        Ok((log, true))
    })
}

/// Removes triggers and log; false where the table was not tracked. Also works where the table is gone or renamed.
pub fn untrack(db: &Connection, schema: &str, table: &str) -> Result<bool> {
    let Some(log) = Log::find(db, schema, table)? else { return Ok(false) };
    savepoint(db, || {
        let sql = format!(
            "SELECT name FROM {}.sqlite_schema WHERE type = 'trigger' AND substr(name, 1, length(?1)) = ?1 AND sql LIKE '%' || ?2 || '%'",
            quote(schema)
        );
        let mut q = db.prepare(&sql)?;
        let names =
            q.query_map([triggers::name_prefix(&log.table), quote(&log.log_table)], |r| r.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        drop(q);
        for name in names {
            db.execute_batch(&format!("DROP TRIGGER {}", qualified(schema, &name)))?;
        }
        db.execute_batch(&format!("DROP TABLE IF EXISTS {}", log.qualified()))?;
        db.execute(&format!("DELETE FROM {} WHERE log_id = ?", qualified(schema, TRACKED)), [&log.id])?;
        if Log::all(db, schema)?.is_empty() {
            db.execute_batch(&format!("DROP TABLE {}", qualified(schema, TRACKED)))?;
        }
        Ok(true)
    })
}

fn key_of(table: &Table, given: Option<&[String]>) -> Result<Vec<String>> {
    let Some(given) = given else {
        let pk: Vec<String> = table.primary_key().iter().map(|c| c.name.clone()).collect();
        return Ok(if pk.is_empty() { table.writable().map(|c| c.name.clone()).collect() } else { pk });
    };
    if given.is_empty() {
        return Err(Error::argument("option \"keys\" names no column"));
    }
    let known = |name: &String| match table.writable().find(|c| same(&c.name, name)) {
        Some(c) => Ok(c.name.clone()),
        None => {
            let near = crate::error::did_you_mean(name, table.columns.iter().map(|c| c.name.as_str()));
            Err(Error::new(Kind::NotFound, format!("no column \"{name}\" that can be written in \"{}\".{near}", table.name)))
        }
    };
    given.iter().map(known).collect()
}

/// What decides about content and about which rows REPLACE pushes out: the table's and its unique indexes' statements.
fn fingerprint(db: &Connection, table: &Table, key: &[String]) -> Result<String> {
    let mut sum = Sum::new(Algorithm::Fast);
    sum.field(Field::Text(table.sql.as_bytes()));
    key.iter().for_each(|c| sum.field(Field::Text(c.as_bytes())));
    sum.add();
    for index in schema::indexes(db, &table.schema, &table.name)?.iter().filter(|i| i.unique) {
        sum.field(Field::Text(index.sql.as_deref().unwrap_or(&index.origin).as_bytes()));
        index.columns.iter().for_each(|c| sum.field(c.as_ref().map_or(Field::Null, |c| Field::Text(c.as_bytes()))));
        sum.add();
    }
    Ok(sum.hex())
}
