//! Only what changed since the last sync, by the source's change log.
use super::Compare;
use crate::{
    db::changelog::{Log, Position, Status},
    db::ident::same,
    error::Result,
    kit::Field,
    sync::{
        options::Choice,
        rows::Finder,
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
}

/// Of a sync in both directions: the target's own log, and how far the source has followed it. None where they have not met
/// yet in this direction.
pub struct There {
    pub known: Option<(Log, i64)>,
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
    found.tracked = Some(Tracked { log, from: position, to: end });
    Ok(found)
}

/// Fills the delta from the keys that were touched; false where one of them has NULL in it: it may stand for several rows.
pub fn run(c: &mut Compare<'_>, t: &Tracked) -> Result<bool> {
    let s = c.shape;
    // Keys that differ in bytes only (NOCASE, 1 and 1.0) are one row, and are met once each.
    c.delta.db.execute_batch("CREATE UNIQUE INDEX IF NOT EXISTS pair_t ON pair(t); CREATE UNIQUE INDEX IF NOT EXISTS new_s ON new(s)")?;
    let mut theirs = c.there.map(|t| t.load(c)).transpose()?.flatten();
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
        // Positions in the shape, as the logs are asked by rows.
        let named = |i: usize| s.key.iter().position(|k| *k == i).and_then(|k| key.get(k).copied()).unwrap_or(Field::Null);
        let changed = theirs.as_mut().map(|t| t.has(named)).transpose()?;
        let deleted_at = pending.field(t.log.key.len() + 1);
        match (spots, changed) {
            ((Some(a), Some(b)), _) => {
                if source.seek(&a)? && target.seek(&b)? && (0..s.columns.len()).any(|i| source.field(i) != target.field(i)) {
                    match changed {
                        Some(changed) => add.pair_there(a.field(), b.field(), changed)?,
                        None => add.pair(a.field(), b.field())?,
                    }
                }
            }
            ((Some(a), None), Some(changed)) => {
                let deleted_there = theirs.as_ref().filter(|_| changed).map_or(Field::Null, |t| t.deleted_at());
                add.new_there(a.field(), deleted_there, changed)?;
            }
            ((Some(a), None), None) => add.new_row(a.field())?,
            ((None, Some(b)), Some(changed)) => add.gone_there(b.field(), deleted_at, changed)?,
            ((None, Some(b)), None) => add.deleted(b.field(), deleted_at)?,
            ((None, None), _) => {}
        }
    }
    Ok(true)
}
