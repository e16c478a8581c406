//! Which rows a change log names: their last entries, by hashes of their keys, outside of memory.
use super::{Compare, There, Tracked};
use crate::{
    db::{changelog::Log, ident::same},
    error::Result,
    kit::{Field, Stmt},
    sync::{
        delta::Spot,
        rows::{Finder, Hasher},
        shape::{Collation, Shape},
    },
};
use rusqlite::Connection;

/// A part of a log: entries after the first number up to the second, but for those that `origin` wrote.
pub struct Part<'a> {
    pub log: &'a Log,
    pub db: &'a Connection,
    pub after: i64,
    pub to: i64,
    pub origin: &'a str,
}

pub struct Touched<'d> {
    find: Stmt<'d>,
    hasher: Hasher,
    /// Where the logged columns are in the shape, and how SQLite tells them apart.
    at: Vec<(usize, Collation)>,
    is_multiset: bool,
}

impl<'d> Touched<'d> {
    /// `name` is its own in this delta. None where a logged column does not travel: no row can be asked for.
    pub fn load(c: &mut Compare<'d>, name: &str, part: &Part<'_>) -> Result<Option<Touched<'d>>> {
        let Some(at) = positions(c.shape, part.log) else { return Ok(None) };
        let db = &c.delta.db;
        db.execute_batch(&format!("CREATE TEMP TABLE IF NOT EXISTS {name}(h INTEGER PRIMARY KEY, at); DELETE FROM temp.{name}"))?;
        let find = Stmt::prepare(db, &format!("SELECT at FROM {name} WHERE h = ?"))?;
        let touched = Touched { find, hasher: Hasher::new(), at, is_multiset: c.shape.is_multiset() };
        let mut put = Stmt::prepare(db, &format!("INSERT OR REPLACE INTO {name} VALUES(?, ?)"))?;
        let mut entries = part.log.every(part.db, part.after, part.to, Some(part.origin))?;
        let width = touched.at.len();
        while entries.step()? {
            (c.tick)()?;
            let key: Vec<Field<'_>> = (0..width).map(|i| entries.field(i)).collect();
            put.bind(1, Field::Int(touched.hash(&key)))?;
            put.bind(2, entries.field(width + 1))?;
            put.run()?;
        }
        Ok(Some(touched))
    }

    /// A key is one in SQLite's eyes; where it names nothing, 0, 0.0 and -0.0 are three.
    fn hash(&self, key: &[Field<'_>]) -> i64 {
        if self.is_multiset || key.iter().any(|f| matches!(f, Field::Null)) {
            return self.hasher.row(key.iter().copied()) as i64;
        }
        let collations: Vec<Collation> = self.at.iter().map(|(_, c)| *c).collect();
        self.hasher.key(key, &collations) as i64
    }

    /// Whether the log names the row with these fields; if deleting it was the last that was done, `deleted_at` says when.
    pub fn has<'f>(&mut self, field: impl Fn(usize) -> Field<'f>) -> Result<bool> {
        let key: Vec<Field<'_>> = self.at.iter().map(|(i, _)| field(*i)).collect();
        let hash = self.hash(&key);
        self.find.reset();
        self.find.bind(1, Field::Int(hash))?;
        self.find.step()
    }

    /// Of the row last found.
    pub fn deleted_at(&self) -> Field<'_> {
        self.find.field(0)
    }
}

/// The logged columns in the shape.
fn positions(s: &Shape, log: &Log) -> Option<Vec<(usize, Collation)>> {
    let collation = |i: usize| s.key.iter().position(|k| *k == i).and_then(|k| s.collations.get(k).copied()).unwrap_or(Collation::Binary);
    log.key.iter().map(|k| s.columns.iter().position(|c| same(c, k)).map(|i| (i, collation(i)))).collect()
}

/// After a look at all rows: tells those that only the target has, but the source had, from the target's own; and of a sync
/// in both directions, who changed what since both last met. What only the target changed waits for the way back.
pub fn mark(c: &mut Compare<'_>, tracked: Option<&Tracked>) -> Result<()> {
    let there = c.there;
    if tracked.is_none() && there.is_none() {
        return Ok(());
    }
    let mut ours = None;
    if let Some(t) = tracked {
        let part = Part { log: &t.log, db: c.source.db(), after: t.from.seq, to: t.to.seq, origin: c.target_identity };
        ours = Touched::load(c, "touched", &part)?;
    }
    let mut theirs = there.map(|t| t.load(c)).transpose()?.flatten();
    let mut source = Finder::source(c.source.db(), &c.source.schema, c.shape)?;
    let mut target = Finder::target(c.target, c.target_schema, c.shape)?;
    let db = &c.delta.db;
    let mut set = Stmt::prepare(db, "UPDATE gone SET known = 1, at = ?, there = ? WHERE t = ?")?;
    let mut gone = Stmt::prepare(db, "SELECT t FROM gone")?;
    while gone.step()? {
        (c.tick)()?;
        let Some(ours) = &mut ours else { break };
        let spot = Spot::of(gone.field(0));
        if !target.seek(&spot)? || !ours.has(|i| target.field(i))? {
            continue;
        }
        let changed = there.is_some().then(|| theirs.as_mut().map_or(Ok(true), |t| t.has(|i| target.field(i)))).transpose()?;
        set.bind(1, ours.deleted_at())?;
        set.bind(2, changed.map_or(Field::Null, |c| Field::Int(c.into())))?;
        set.bind(3, spot.field())?;
        set.run()?;
    }
    drop((gone, set));
    if there.is_none() {
        return Ok(());
    }
    // Who did not follow a log so far may have changed anything.
    let mut changed_here = |row: &Finder<'_>| match (&tracked, &mut ours) {
        (Some(_), Some(ours)) => ours.has(|i| row.field(i)),
        _ => Ok(true),
    };
    let mut set = Stmt::prepare(db, "UPDATE pair SET there = ? WHERE rowid = ?")?;
    let mut drop_pair = Stmt::prepare(db, "DELETE FROM pair WHERE rowid = ?")?;
    let mut pairs = Stmt::prepare(db, "SELECT rowid, s FROM pair")?;
    while pairs.step()? {
        (c.tick)()?;
        source.seek(&Spot::of(pairs.field(1)))?;
        let here = changed_here(&source)?;
        let changed = theirs.as_mut().map_or(Ok(true), |t| t.has(|i| source.field(i)))?;
        if changed && !here {
            drop_pair.bind(1, pairs.field(0))?;
            drop_pair.run()?;
        } else {
            // Changed by nobody, and yet not alike: written past the logs.
            set.bind(1, Field::Int((changed || !here).into()))?;
            set.bind(2, pairs.field(0))?;
            set.run()?;
        }
    }
    let mut set = Stmt::prepare(db, "UPDATE new SET at = ?, there = 1 WHERE rowid = ?")?;
    let mut drop_new = Stmt::prepare(db, "DELETE FROM new WHERE rowid = ?")?;
    let mut new = Stmt::prepare(db, "SELECT rowid, s FROM new")?;
    while new.step()? {
        (c.tick)()?;
        let Some(theirs) = &mut theirs else { break };
        source.seek(&Spot::of(new.field(1)))?;
        if !theirs.has(|i| source.field(i))? {
            continue;
        }
        if changed_here(&source)? {
            set.bind(1, theirs.deleted_at())?;
            set.bind(2, new.field(0))?;
            set.run()?;
        } else {
            drop_new.bind(1, new.field(0))?;
            drop_new.run()?;
        }
    }
    Ok(())
}

impl There {
    pub fn answers_by_key(&self, s: &Shape) -> bool {
        self.known.as_ref().and_then(|(log, _)| positions(s, log)).is_some_and(|at| at.iter().all(|(i, _)| s.key.contains(i)))
    }

    /// What the target changed since the source last had everything from it; None where that is not known.
    pub fn load<'d>(&self, c: &mut Compare<'d>) -> Result<Option<Touched<'d>>> {
        let Some((log, seen)) = &self.known else { return Ok(None) };
        let source = c.source.identity();
        let part = Part { log, db: c.target, after: *seen, to: i64::MAX, origin: &source };
        Touched::load(c, "touched_there", &part)
    }
}
