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
        match (source.spot_of(&key, by_rowid)?, target.spot_of(&key, by_rowid)?) {
            (Some(a), Some(b)) => {
                if source.seek(&a)? && target.seek(&b)? && (0..s.columns.len()).any(|i| source.field(i) != target.field(i)) {
                    add.pair(a.field(), b.field())?;
                }
            }
            (Some(a), None) => add.new_row(a.field())?,
            (None, Some(b)) => add.gone(b.field(), pending.field(t.log.key.len() + 1))?,
            (None, None) => {}
        }
    }
    Ok(true)
}
