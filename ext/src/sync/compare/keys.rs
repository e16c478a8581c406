//! Tables found by key: WITHOUT ROWID, in key order; or row by row, where only SQLite knows the order of keys.
use super::{Compare, partner};
use crate::{
    db::{ident::qualified, record},
    error::{Error, Kind, Result},
    kit::{Field, Stmt},
    sync::{
        delta::Spot,
        rows::{self, Finder},
        shape::{Collation, Shape},
    },
};
use rusqlite::Connection;
use std::cmp::Ordering;

/// Whether our own comparison of keys is SQLite's: UTF-16 databases order text by other bytes.
pub fn mergeable(c: &Compare<'_>) -> Result<bool> {
    let utf8 = |db: &Connection| -> Result<bool> { Ok(db.query_row("PRAGMA encoding", [], |r| r.get::<_, String>(0))? == "UTF-8") };
    Ok(!c.shape.is_multiset() && !c.shape.collations.contains(&Collation::Other) && utf8(c.source.db())? && utf8(c.target)?)
}

fn key<'s>(s: &Shape, q: &'s Stmt<'_>) -> Result<Vec<Field<'s>>> {
    // Without rowids the statement has the shape's columns only.
    let skip = usize::from(s.rowids.is_some());
    rows::key(s, |i| q.field(i + skip)).ok_or_else(|| {
        Error::new(
            Kind::Constraint,
            format!("a row of \"{}\" has NULL in its key ({}), which the other side cannot hold", s.source.name, s.key_names().join(", ")),
        )
    })
}

fn spot(s: &Shape, q: &Stmt<'_>, key: &[Field<'_>]) -> Spot {
    if s.rowids.is_some() { Spot::Rowid(q.int(0)) } else { Spot::Key(record::encode(key.iter().copied())) }
}

/// Both in key order, side by side; gives the number of equal rows.
pub fn merge(c: &mut Compare<'_>) -> Result<u64> {
    let s = c.shape;
    let mut a = Stmt::prepare(c.source.db(), &format!("{}{}{}", s.select_source(&c.source.schema), s.filter(), s.order_by_key(s.source_key_names())))?;
    let mut b = Stmt::prepare(c.target, &format!("{}{}{}", s.select_target(c.target_schema), s.filter(), s.order_by_key(s.key_names())))?;
    let mut add = c.delta.adder()?;
    let width = s.columns.len();
    let skip = usize::from(s.rowids.is_some());
    let mut equal = 0;
    let (mut more_a, mut more_b) = (a.step()?, b.step()?);
    while more_a || more_b {
        (c.tick)()?;
        let order = match (more_a, more_b) {
            (true, false) => Ordering::Less,
            (false, _) => Ordering::Greater,
            (true, true) => order(s, &key(s, &a)?, &key(s, &b)?),
        };
        match order {
            Ordering::Equal if (0..width).all(|i| a.field(i + skip) == b.field(i + skip)) => equal += 1,
            Ordering::Equal => add.pair(spot(s, &a, &key(s, &a)?).field(), spot(s, &b, &key(s, &b)?).field())?,
            Ordering::Less => add.new_row(spot(s, &a, &key(s, &a)?).field())?,
            Ordering::Greater => add.gone(spot(s, &b, &key(s, &b)?).field())?,
        }
        if order != Ordering::Greater {
            more_a = a.step()?;
        }
        if order != Ordering::Less {
            more_b = b.step()?;
        }
    }
    drop((a, b, add));
    // With a condition, a row may have its partner outside of it.
    if s.condition.is_some() {
        equal += partner::find(c)?;
    }
    Ok(equal)
}

fn order(s: &Shape, a: &[Field<'_>], b: &[Field<'_>]) -> Ordering {
    a.iter().zip(b).zip(&s.collations).map(|((a, b), c)| rows::compare(*a, *b, *c)).find(|o| *o != Ordering::Equal).unwrap_or(Ordering::Equal)
}

/// Each source row by key in the target, then each target row by key in the source; gives the number of equal rows.
pub fn lookup(c: &mut Compare<'_>) -> Result<u64> {
    let s = c.shape;
    let mut target = Finder::target(c.target, c.target_schema, s)?;
    let mut add = c.delta.adder()?;
    let by_rowid = s.rowids.is_some();
    let skip = usize::from(by_rowid);
    let mut equal = 0;
    let mut a = Stmt::prepare(c.source.db(), &format!("{}{}", s.select_source(&c.source.schema), s.filter()))?;
    while a.step()? {
        (c.tick)()?;
        let key = key(s, &a)?;
        match target.spot_of(&key, by_rowid)? {
            None => add.new_row(spot(s, &a, &key).field())?,
            Some(at) => {
                if target.seek(&at)? && (0..s.columns.len()).all(|i| a.field(i + skip) == target.field(i)) {
                    equal += 1;
                } else {
                    add.pair(spot(s, &a, &key).field(), at.field())?;
                }
            }
        }
    }
    drop(a);
    target.release();
    // A row that the condition leaves out in the source is not there.
    let table = qualified(&c.source.schema, &s.source.name);
    let condition = s.condition.as_ref().map_or(String::new(), |w| format!(" AND ({w}\n)"));
    let mut there = Stmt::prepare(c.source.db(), &format!("SELECT 1 FROM {table} WHERE {}{condition}", s.by_key(s.source_key_names(), 1)))?;
    let mut b = Stmt::prepare(c.target, &format!("{}{}", s.select_target(c.target_schema), s.filter()))?;
    while b.step()? {
        (c.tick)()?;
        let key = key(s, &b)?;
        there.reset();
        for (i, v) in key.iter().enumerate() {
            there.bind(i + 1, *v)?;
        }
        if !there.step()? {
            add.gone(spot(s, &b, &key).field())?;
        }
    }
    Ok(equal)
}
