//! Only what changed since the last sync, by the source's change log.
use super::Compare;
use crate::{
    db::changelog::{Log, Position, Status},
    db::ident::same,
    error::Result,
    kit::{Field, Stmt},
    sync::{
        delta::Spot,
        options::Choice,
        rows::{Finder, Hasher},
        shape::{Collation, Shape},
        side::Source,
    },
};
use rusqlite::Connection;

/// A log that the target can follow.
pub struct Tracked {
    pub log: Log,
    pub from: Position,
    pub to: Position,
    /// Of a sync in both directions: what the target itself changed since the source last had everything from it.
    pub there: Option<There>,
}

/// The target's own log, and how far the source has followed it.
pub struct There {
    pub log: Log,
    pub seen: i64,
}

impl There {
    /// Whether the target changed the row with this key, and when it deleted it, if that was the last it did.
    fn changed(&self, target: &Connection, key: &[(&str, Field<'_>)], source: &str) -> Result<Option<Option<String>>> {
        let mut q = self.log.since(target, self.seen)?;
        for (i, k) in self.log.key.iter().enumerate() {
            let value = key.iter().find(|(n, _)| same(n, k)).map_or(Field::Null, |(_, v)| *v);
            q.bind(i + 1, value)?;
        }
        q.bind(self.log.key.len() + 1, Field::Text(source.as_bytes()))?;
        if !q.step()? {
            return Ok(None);
        }
        Ok(Some(match q.field(0) {
            Field::Text(t) => Some(String::from_utf8_lossy(t).into_owned()),
            _ => None,
        }))
    }
}

/// What the source's log can do for a sync.
#[derive(Default)]
pub struct Followed {
    /// The log's end, which the target's position moves to; None where the sync does not follow the log.
    pub end: Option<(Log, Position)>,
    /// Where the target stands in the log, and can go on from.
    pub tracked: Option<Tracked>,
    /// Why the log alone does not tell what to do.
    pub why_not: Option<String>,
}

/// The log of the source's table, its end as this snapshot sees it, and whether the target can go on from where it stands.
/// `place` is what the target's position is kept by.
pub fn find(source: &Source<'_>, place: &str, target: &Connection, target_schema: &str, shape: &Shape, choice: &Choice) -> Result<Followed> {
    let db = source.db();
    let no = |why: &str| Ok(Followed { why_not: Some(why.to_owned()), ..Followed::default() });
    let Some(log) = Log::find(db, &source.schema, &shape.source.name)? else { return no("the source is not tracked") };
    match log.status(db)? {
        Status::Ok => {}
        Status::Altered(what) | Status::Broken(what) => return no(&what),
    }
    // The rows left out would be passed over for ever, if the position moved.
    if shape.condition.is_some() {
        return no("a condition is given");
    }
    let end = Position::end(db, &log)?;
    let mut found = Followed { end: Some((log.clone(), end.clone())), ..Followed::default() };
    let Some(position) = Position::read(target, target_schema, &log, place)? else {
        found.why_not = Some("the target has no position in the source's log yet".to_owned());
        return Ok(found);
    };
    if let Err(why) = position.fits(db, &log)? {
        found.why_not = Some(why.to_owned());
        return Ok(found);
    }
    let wanted = shape.source_key_names();
    let same_key = wanted.len() == log.key.len() && log.key.iter().all(|k| wanted.iter().any(|w| same(k, w)));
    let why_not = if shape.is_multiset() || !same_key {
        Some("the log's key is not the sync's")
    } else if !shape.key_is_indexed || shape.collations.contains(&Collation::Other) {
        Some("the keys have no index on both sides")
    } else if choice.full || choice.delete == Some(true) {
        Some("what only the target has is asked for, too, and the log does not know it")
    } else {
        None
    };
    found.why_not = why_not.map(str::to_owned);
    found.tracked = Some(Tracked { log, from: position, to: end, there: None });
    Ok(found)
}

/// After a look at all rows: tells those that only the target has, but the source had, from the target's own.
pub fn mark(c: &mut Compare<'_>, t: &Tracked) -> Result<()> {
    let s = c.shape;
    let at = t.log.key.iter().map(|k| s.source_columns.iter().position(|c| same(c, k))).collect::<Option<Vec<usize>>>();
    // A column that does not travel is not there to be compared.
    let Some(at) = at else { return Ok(()) };
    let collations: Vec<Collation> =
        at.iter().map(|i| s.key.iter().position(|k| k == i).and_then(|k| s.collations.get(k).copied()).unwrap_or(Collation::Binary)).collect();
    let hasher = Hasher::new();
    // A key is one in SQLite's eyes; where it names nothing, 0, 0.0 and -0.0 are three.
    let names = |key: &[Field<'_>]| !s.is_multiset() && !key.iter().any(|f| matches!(f, Field::Null));
    let hash = |key: &[Field<'_>]| if names(key) { hasher.key(key, &collations) } else { hasher.row(key.iter().copied()) };
    c.delta.db.execute_batch("CREATE TEMP TABLE touched(h INTEGER PRIMARY KEY, at)")?;
    let mut put = Stmt::prepare(&c.delta.db, "INSERT OR REPLACE INTO touched VALUES(?, ?)")?;
    let mut entries = t.log.every(c.source.db(), t.from.seq, t.to.seq, Some(c.target_identity))?;
    while entries.step()? {
        (c.tick)()?;
        let key: Vec<Field<'_>> = (0..at.len()).map(|i| entries.field(i)).collect();
        put.bind(1, Field::Int(hash(&key) as i64))?;
        put.bind(2, entries.field(at.len() + 1))?;
        put.run()?;
    }
    let mut target = Finder::target(c.target, c.target_schema, s)?;
    let mut find = Stmt::prepare(&c.delta.db, "SELECT at FROM touched WHERE h = ?")?;
    let mut set = Stmt::prepare(&c.delta.db, "UPDATE gone SET known = 1, at = ? WHERE t = ?")?;
    let mut gone = Stmt::prepare(&c.delta.db, "SELECT t FROM gone")?;
    while gone.step()? {
        (c.tick)()?;
        let spot = Spot::of(gone.field(0));
        if !target.seek(&spot)? {
            continue;
        }
        let key: Vec<Field<'_>> = at.iter().map(|i| target.field(*i)).collect();
        find.reset();
        find.bind(1, Field::Int(hash(&key) as i64))?;
        if find.step()? {
            set.bind(1, find.field(0))?;
            set.bind(2, spot.field())?;
            set.run()?;
        }
    }
    Ok(())
}

/// Fills the delta from the keys that were touched; false where one of them has NULL in it: it may stand for several rows.
pub fn run(c: &mut Compare<'_>, t: &Tracked) -> Result<bool> {
    let s = c.shape;
    // Keys that differ in bytes only (NOCASE, 1 and 1.0) are one row, and are met once each.
    c.delta.db.execute_batch("CREATE UNIQUE INDEX IF NOT EXISTS pair_t ON pair(t); CREATE UNIQUE INDEX IF NOT EXISTS new_s ON new(s)")?;
    let mut source = Finder::source(c.source.db(), &c.source.schema, s)?;
    let mut target = Finder::target(c.target, c.target_schema, s)?;
    let mut add = c.delta.adder()?;
    let order: Vec<usize> = s.source_key_names().iter().filter_map(|k| t.log.key.iter().position(|l| same(l, k))).collect();
    let by_rowid = s.rowids.is_some();
    let mut pending = t.log.pending(c.source.db(), t.from.seq, t.to.seq, Some(c.target_identity))?;
    while pending.step()? {
        (c.tick)()?;
        let key: Vec<Field<'_>> = order.iter().map(|i| pending.field(*i)).collect();
        if key.iter().any(|v| matches!(v, Field::Null)) {
            return Ok(false);
        }
        let spots = (source.spot_of(&key, by_rowid)?, target.spot_of(&key, by_rowid)?);
        let there = match &t.there {
            Some(there) => {
                let named: Vec<(&str, Field<'_>)> = s.key_names().into_iter().zip(key.iter().copied()).collect();
                Some(there.changed(c.target, &named, &c.source.identity())?)
            }
            None => None,
        };
        let deleted_there = there.as_ref().and_then(|c| c.as_ref()).and_then(|at| at.as_deref()).map_or(Field::Null, |at| Field::Text(at.as_bytes()));
        match (spots, &there) {
            ((Some(a), Some(b)), _) => {
                if source.seek(&a)? && target.seek(&b)? && (0..s.columns.len()).any(|i| source.field(i) != target.field(i)) {
                    match &there {
                        Some(changed) => add.pair_there(a.field(), b.field(), changed.is_some())?,
                        None => add.pair(a.field(), b.field())?,
                    }
                }
            }
            ((Some(a), None), Some(changed)) => add.new_there(a.field(), deleted_there, changed.is_some())?,
            ((Some(a), None), None) => add.new_row(a.field())?,
            ((None, Some(b)), Some(changed)) => add.gone_there(b.field(), pending.field(t.log.key.len() + 1), changed.is_some())?,
            ((None, Some(b)), None) => add.deleted(b.field(), pending.field(t.log.key.len() + 1))?,
            ((None, None), _) => {}
        }
    }
    Ok(true)
}
