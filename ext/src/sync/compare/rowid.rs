//! Two tables in rowid order: by pages, and what walks by pages or by cursors have in common. What does not line up is matched
//! by key, or by content, afterwards.
use super::{Compare, Misaligned, partner, raw};
use crate::{
    db::pages::{Change, Diff, Why},
    error::Result,
    kit::{Field, Stmt},
    sync::{
        delta::{Adder, Kind, Spot},
        rows::{self, Finder},
        shape::Shape,
    },
};

/// Rows seen before rowids are judged not to line up.
const SAMPLE: u64 = 4096;

/// Equal rows, or why pages cannot be read here.
pub fn pages(c: &mut Compare<'_>, may_give_up: bool) -> Result<std::result::Result<std::result::Result<u64, Misaligned>, Why>> {
    raw::walk(c, |c, stored, a, b| {
        let mut add = c.delta.adder()?;
        let mut diff = Diff::new(a, b);
        let mut candidates = 0;
        loop {
            let change = match diff.advance(|record| stored.name(record)) {
                Ok(None) => {
                    add.finish()?;
                    return Ok(Ok(Ok(diff.equal)));
                }
                Ok(Some(change)) => change,
                Err(e) => return Ok(Err(e)),
            };
            note(&mut add, c.shape, change)?;
            candidates += 1;
            if may_give_up && hopeless(c.shape.rowid_is_key, candidates, diff.equal) {
                return Ok(Ok(Err(Misaligned)));
            }
            (c.tick)()?;
        }
    })
}

pub(super) fn hopeless(rowid_is_key: bool, candidates: u64, equal: u64) -> bool {
    !rowid_is_key && candidates > SAMPLE && candidates > equal
}

/// Writes down what a walk met. The names tell at once whether two rows are one.
pub(super) fn note(add: &mut Adder<'_>, s: &Shape, change: Change<Option<u64>>) -> Result<()> {
    match change {
        Change::Differs(r, ..) if s.rowid_is_key => add.pair(Field::Int(r), Field::Int(r)),
        Change::OnlyLeft(r, _) if s.rowid_is_key => add.new_row(Field::Int(r)),
        Change::OnlyRight(r, _) if s.rowid_is_key => add.gone(Field::Int(r)),
        Change::Differs(r, Some(a), Some(b)) if a == b => add.pair(Field::Int(r), Field::Int(r)),
        Change::Differs(r, a @ Some(_), b @ Some(_)) => {
            add.raw(Kind::OnlySource, r, a)?;
            add.raw(Kind::OnlyTarget, r, b)
        }
        Change::Differs(r, ..) => add.raw(Kind::Differs, r, None),
        Change::OnlyLeft(r, name) => add.raw(Kind::OnlySource, r, name),
        Change::OnlyRight(r, name) => add.raw(Kind::OnlyTarget, r, name),
    }
}

/// Says of each row that stood alone what it is, by SQL where its name is not known; gives the number of equal rows.
pub fn settle(c: &mut Compare<'_>, mut equal: u64) -> Result<u64> {
    let s = c.shape;
    let mut source = Finder::source(c.source.db(), &c.source.schema, s)?;
    let mut target = Finder::target(c.target, c.target_schema, s)?;
    let mut add = c.delta.adder()?;
    let width = s.columns.len();
    let mut nameless = false;
    let mut raw = Stmt::prepare(&c.delta.db, "SELECT kind, r FROM raw WHERE h IS NULL ORDER BY rowid")?;
    while raw.step()? {
        (c.tick)()?;
        nameless = true;
        let r = Field::Int(raw.int(1));
        match raw.int(0) {
            1 => add.new_row(r)?,
            2 => add.gone(r)?,
            _ => {
                let spot = Spot::Rowid(raw.int(1));
                if !source.seek(&spot)? || !target.seek(&spot)? {
                    return Err(crate::Error::internal(format!("row {} vanished from a locked table", raw.int(1))));
                }
                if (0..width).all(|i| source.field(i) == target.field(i)) {
                    equal += 1;
                    continue;
                }
                let keys = (rows::key(s, |i| source.field(i)), rows::key(s, |i| target.field(i)));
                if matches!(&keys, (Some(a), Some(b)) if rows::same_key(s, a, b)) {
                    add.pair(r, r)?;
                } else {
                    add.new_row(r)?;
                    add.gone(r)?;
                }
            }
        }
    }
    drop((raw, source, target, add));
    c.delta.meet()?;
    // A row without a name may have its partner among all; with a condition, any may have it outside.
    if nameless || s.condition.is_some() {
        equal += partner::find(c)?;
    }
    Ok(equal)
}
