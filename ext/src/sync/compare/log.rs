//! Only what changed since the last sync, by the source's change log.
use super::Compare;
use crate::{
    db::changelog::{Log, Position, Status},
    error::Result,
    kit::Field,
    sync::{
        rows::Finder,
        shape::{Collation, Shape},
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
            let value = key.iter().find(|(n, _)| crate::db::ident::same(n, k)).map_or(Field::Null, |(_, v)| *v);
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

/// The log of the source's table, its end as this snapshot sees it, and whether the target can go on from where it stands.
pub fn find(
    source: &Connection,
    schema: &str,
    identity: &str,
    target: &Connection,
    target_schema: &str,
    shape: &Shape,
) -> Result<(Option<(Log, Position)>, std::result::Result<Position, String>)> {
    let Some(log) = Log::find(source, schema, &shape.source.name)? else { return Ok((None, Err("the source is not tracked".into()))) };
    match log.status(source)? {
        Status::Ok => {}
        Status::Altered(what) | Status::Broken(what) => return Ok((None, Err(what))),
    }
    let end = Position::end(source, &log)?;
    let found = (|| {
        let wanted = shape.source_key_names();
        let same_key = wanted.len() == log.key.len() && log.key.iter().all(|k| wanted.iter().any(|w| crate::db::ident::same(k, w)));
        if shape.is_multiset() || !same_key {
            return Ok(Err("the log's key is not the sync's".to_owned()));
        }
        if !shape.key_is_indexed || shape.collations.contains(&Collation::Other) {
            return Ok(Err("the keys have no index on both sides".to_owned()));
        }
        if shape.condition.is_some() {
            return Ok(Err("a condition is given".to_owned()));
        }
        let Some(position) = Position::read(target, target_schema, &log, identity)? else {
            return Ok(Err("the target has no position in the source's log yet".to_owned()));
        };
        Ok(position.fits(source, &log)?.map(|()| position).map_err(str::to_owned))
    })();
    found.map(|f: std::result::Result<Position, String>| (Some((log, end)), f))
}

/// Fills the delta from the keys that were touched; false where one of them has NULL in it: it may stand for several rows.
pub fn run(c: &mut Compare<'_>, t: &Tracked) -> Result<bool> {
    let s = c.shape;
    // Keys that differ in bytes only (NOCASE, 1 and 1.0) are one row, and are met once each.
    c.delta.db.execute_batch("CREATE UNIQUE INDEX IF NOT EXISTS pair_t ON pair(t); CREATE UNIQUE INDEX IF NOT EXISTS new_s ON new(s)")?;
    let mut source = Finder::source(c.source.db(), &c.source.schema, s)?;
    let mut target = Finder::target(c.target, c.target_schema, s)?;
    let mut add = c.delta.adder()?;
    let order: Vec<usize> = s.source_key_names().iter().filter_map(|k| t.log.key.iter().position(|l| crate::db::ident::same(l, k))).collect();
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
            ((None, Some(b)), None) => add.gone(b.field(), pending.field(t.log.key.len() + 1))?,
            ((None, None), _) => {}
        }
    }
    Ok(true)
}
