//! What was found to differ, kept outside of memory: a database in a temporary file that SQLite itself forgets on close.
//!
//! ```text
//! raw   kind 0 differs · 1 only source · 2 only target, by rowid, as a walk met them; h is the hash of the key, NULL where
//!       only SQL can tell it
//! pair  s, t, there      one row, two contents; from a walk of pages, perhaps the same value in other bytes
//! new   s, at, there     only the source has it; when the target deleted it, where that is known
//! gone  t, at, there     only the target has it; when the source deleted it, where that is known
//!       known            1 where the source is known to have had the row
//!       there            the target changed it, too, since both last met: NULL where nobody asked
//! line         what goes into the log once the sync is done
//! ```
//! `s` and `t` find a row again: its rowid, or its key as a record.
use crate::{
    db::record,
    error::Result,
    kit::{Field, Many, Stmt},
};
use rusqlite::{Connection, OpenFlags};

pub struct Delta {
    pub db: Connection,
}

/// Where a row is found again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Spot {
    Rowid(i64),
    Key(Vec<u8>),
}

impl Spot {
    pub fn field(&self) -> Field<'_> {
        match self {
            Spot::Rowid(r) => Field::Int(*r),
            Spot::Key(k) => Field::Blob(k),
        }
    }

    /// What finds the row: its rowid, or the parts of its key.
    pub fn parts(&self) -> Result<Vec<Field<'_>>> {
        match self {
            Spot::Rowid(r) => Ok(vec![Field::Int(*r)]),
            Spot::Key(k) => record::decode(k),
        }
    }

    pub fn of(field: Field<'_>) -> Spot {
        match field {
            Field::Blob(k) => Spot::Key(k.to_vec()),
            Field::Int(r) => Spot::Rowid(r),
            _ => Spot::Rowid(0),
        }
    }
}

impl Delta {
    pub fn new() -> Result<Delta> {
        let db = Connection::open_with_flags("", OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.execute_batch(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-4000; BEGIN;
             CREATE TABLE raw(kind INTEGER, r INTEGER, h INTEGER);
             CREATE TABLE pair(s, t, there);
             CREATE TABLE new(s, at, there);
             CREATE TABLE gone(t PRIMARY KEY, at, there, known INTEGER NOT NULL) WITHOUT ROWID;
             CREATE TABLE line(text TEXT)",
        )?;
        Ok(Delta { db })
    }

    /// Statements that add; kept by whoever fills the delta.
    pub fn adder(&self) -> Result<Adder<'_>> {
        let add = |sql| Stmt::prepare(&self.db, sql);
        Ok(Adder {
            raw: Many::into(&self.db, "raw")?,
            // Only a change log meets a row twice; it adds unique indexes.
            pair: add("INSERT OR IGNORE INTO pair VALUES(?, ?, ?)")?,
            new: add("INSERT OR IGNORE INTO new VALUES(?, ?, ?)")?,
            gone: add("INSERT OR IGNORE INTO gone VALUES(?, NULL, NULL, 0)")?,
            // Of the entries for one key in other bytes, the last one says when it went.
            deleted: add("INSERT INTO gone VALUES(?, ?, ?, 1) ON CONFLICT(t) DO UPDATE SET at = excluded.at, there = excluded.there, known = 1")?,
            found: add("DELETE FROM gone WHERE t = ?")?,
        })
    }

    pub fn is_empty(&self) -> Result<bool> {
        Ok(!self.db.query_row("SELECT EXISTS(SELECT 1 FROM pair) OR EXISTS(SELECT 1 FROM new) OR EXISTS(SELECT 1 FROM gone)", [], |r| r.get::<_, bool>(0))?)
    }

    /// Of the rows a walk met alone and could name: those with one name are one row, the others stand alone for good.
    pub fn meet(&self) -> Result<()> {
        Ok(self.db.execute_batch(
            "CREATE INDEX raw_target ON raw(h, r) WHERE kind = 2 AND h IS NOT NULL;
             INSERT OR IGNORE INTO pair SELECT a.r, b.r, NULL FROM raw AS a JOIN raw AS b ON b.kind = 2 AND b.h IS NOT NULL AND b.h = a.h WHERE a.kind = 1;
             INSERT OR IGNORE INTO new SELECT r, NULL, NULL FROM raw AS a
               WHERE kind = 1 AND h IS NOT NULL AND NOT EXISTS(SELECT 1 FROM raw AS b WHERE b.kind = 2 AND b.h IS NOT NULL AND b.h = a.h) ORDER BY rowid;
             INSERT OR IGNORE INTO gone SELECT r, NULL, NULL, 0 FROM raw WHERE kind = 2 AND h IS NOT NULL AND r NOT IN (SELECT t FROM pair) ORDER BY rowid;
             DROP INDEX raw_target; DELETE FROM raw",
        )?)
    }

    /// Takes over what another walk found.
    pub fn absorb(&self, other: &Delta) -> Result<()> {
        for (table, columns) in [("raw", "kind, r, h"), ("pair", "s, t, there"), ("new", "s, at, there"), ("gone", "t, at, there, known")] {
            let width = columns.split(',').count();
            let mut q = Stmt::prepare(&other.db, &format!("SELECT {columns} FROM {table}"))?;
            let mut add = Stmt::prepare(&self.db, &format!("INSERT INTO {table}({columns}) VALUES({})", vec!["?"; width].join(", ")))?;
            while q.step()? {
                (0..width).try_for_each(|i| add.bind_column(i + 1, &q, i))?;
                add.run()?;
            }
        }
        Ok(())
    }

    /// Forgets what an attempt found, before another method tries.
    pub fn clear(&self) -> Result<()> {
        Ok(self.db.execute_batch("DELETE FROM raw; DELETE FROM pair; DELETE FROM new; DELETE FROM gone")?)
    }
}

pub struct Adder<'d> {
    raw: Many<'d, 3>,
    pair: Stmt<'d>,
    new: Stmt<'d>,
    gone: Stmt<'d>,
    deleted: Stmt<'d>,
    found: Stmt<'d>,
}

/// As a walk in rowid order sees two tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Differs = 0,
    OnlySource = 1,
    OnlyTarget = 2,
}

impl Adder<'_> {
    /// `key` is the hash of the row's key, where the walk could tell.
    pub fn raw(&mut self, kind: Kind, rowid: i64, key: Option<u64>) -> Result<()> {
        self.raw.add([Field::Int(kind as i64), Field::Int(rowid), key.map_or(Field::Null, |h| Field::Int(h as i64))])
    }

    /// After the last `raw`.
    pub fn finish(&mut self) -> Result<()> {
        self.raw.finish()
    }

    pub fn pair(&mut self, s: Field<'_>, t: Field<'_>) -> Result<()> {
        three(&mut self.pair, s, t, Field::Null)
    }

    pub fn new_row(&mut self, s: Field<'_>) -> Result<()> {
        three(&mut self.new, s, Field::Null, Field::Null)
    }

    pub fn gone(&mut self, t: Field<'_>) -> Result<()> {
        self.gone.bind(1, t)?;
        self.gone.run()
    }

    /// The source's log tells that the row was there, and perhaps when it was deleted.
    pub fn deleted(&mut self, t: Field<'_>, deleted_at: Field<'_>) -> Result<()> {
        three(&mut self.deleted, t, deleted_at, Field::Null)
    }

    /// As the three above, by somebody who asked the target's log.
    pub fn pair_there(&mut self, s: Field<'_>, t: Field<'_>, there: bool) -> Result<()> {
        three(&mut self.pair, s, t, Field::Int(there.into()))
    }

    pub fn new_there(&mut self, s: Field<'_>, deleted_at: Field<'_>, there: bool) -> Result<()> {
        three(&mut self.new, s, deleted_at, Field::Int(there.into()))
    }

    pub fn gone_there(&mut self, t: Field<'_>, deleted_at: Field<'_>, there: bool) -> Result<()> {
        three(&mut self.deleted, t, deleted_at, Field::Int(there.into()))
    }

    /// The target's row has its partner after all.
    pub fn found(&mut self, t: Field<'_>) -> Result<()> {
        self.found.bind(1, t)?;
        self.found.run()
    }
}

fn three(q: &mut Stmt<'_>, a: Field<'_>, b: Field<'_>, c: Field<'_>) -> Result<()> {
    q.bind(1, a)?;
    q.bind(2, b)?;
    q.bind(3, c)?;
    q.run()
}
