//! Rows that stood alone, matched once more: by key wherever the partner stands in the target, also outside of a condition,
//! and by their whole content where they have no key.
use super::Compare;
use crate::{
    error::Result,
    kit::{Field, Stmt},
    sync::{
        delta::Spot,
        rows::{self, Finder, Hasher},
    },
};

/// Makes pairs of what has a partner, forgets what is equal; gives the number of equal rows.
pub fn find(c: &mut Compare<'_>) -> Result<u64> {
    let s = c.shape;
    let width = s.columns.len();
    let mut source = Finder::source(c.source.db(), &c.source.schema, s)?;
    let mut target = Finder::target(c.target, c.target_schema, s)?;
    let mut equal = 0;
    let mut add = c.delta.adder()?;
    let hasher = Hasher::new();
    let whole = |f: &Finder<'_>| hasher.row((0..width).map(|i| f.field(i)));
    // Rows without a key are matched by their whole content, each with one of its like.
    c.delta.db.execute_batch("CREATE TEMP TABLE IF NOT EXISTS loose(h INTEGER, t INTEGER); DELETE FROM loose")?;
    let mut put = Stmt::prepare(&c.delta.db, "INSERT INTO loose VALUES(?, ?)")?;
    let mut gone = Stmt::prepare(&c.delta.db, "SELECT t FROM gone")?;
    while gone.step()? {
        (c.tick)()?;
        if target.seek(&Spot::of(gone.field(0)))? && rows::key(s, |i| target.field(i)).is_none() {
            put.bind(1, Field::Int(whole(&target) as i64))?;
            put.bind(2, gone.field(0))?;
            put.run()?;
        }
    }
    drop((gone, put));
    c.delta.db.execute_batch("CREATE INDEX IF NOT EXISTS temp.loose_h ON loose(h)")?;
    let mut alike = Stmt::prepare(&c.delta.db, "SELECT rowid, t FROM loose WHERE h = ?")?;
    let mut take = Stmt::prepare(&c.delta.db, "DELETE FROM loose WHERE rowid = ?")?;
    let mut forget = Stmt::prepare(&c.delta.db, "DELETE FROM new WHERE rowid = ?")?;
    let mut new = Stmt::prepare(&c.delta.db, "SELECT rowid, s FROM new")?;
    while new.step()? {
        (c.tick)()?;
        if !source.seek(&Spot::of(new.field(1)))? {
            continue;
        }
        let partner = match rows::key(s, |i| source.field(i)) {
            Some(key) => target.spot_of(&key, s.rowids.is_some())?,
            None => {
                alike.reset();
                alike.bind(1, Field::Int(whole(&source) as i64))?;
                if !alike.step()? {
                    continue;
                }
                let (at, t) = (alike.int(0), alike.int(1));
                alike.reset();
                take.bind(1, Field::Int(at))?;
                take.run()?;
                Some(Spot::Rowid(t))
            }
        };
        let Some(spot) = partner else { continue };
        if target.seek(&spot)? && (0..width).all(|i| source.field(i) == target.field(i)) {
            equal += 1;
        } else {
            add.pair(new.field(1), spot.field())?;
        }
        add.found(spot.field())?;
        forget.bind(1, new.field(0))?;
        forget.run()?;
    }
    Ok(equal)
}
