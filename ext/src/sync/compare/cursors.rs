//! Two tables in rowid order by cursors; on two threads where a second pair of connections sees the very same rows.
//!
//! Both threads take ranges of rowids from one list until it is empty: one that is slower, or meets fuller ranges, takes fewer.
use super::{Compare, Misaligned, rowid};
use crate::{
    db::{
        ident::qualified,
        pages::{Change, Snapshot},
    },
    error::{Error, Result},
    kit::{Field, Stmt, caught, two_threads_help},
    sync::{
        delta::Delta,
        rows::{self, Hasher},
        shape::Shape,
        side::Reader,
    },
};
use rusqlite::Connection;
use std::{
    cmp::Ordering,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

/// Ranges for two threads.
const RANGES: u64 = 64;

/// Tables that reach over fewer rowids are not worth a second thread.
const WORTH_A_THREAD: i128 = 20_000;

/// Equal rows, by two cursors.
pub fn merge(c: &mut Compare<'_>, may_give_up: bool) -> Result<std::result::Result<u64, Misaligned>> {
    let Some(rowids) = c.shape.rowids else { return Ok(Err(Misaligned)) };
    let (first, last) = reach(c, rowids)?;
    let second = if i128::from(last) - i128::from(first) < WORTH_A_THREAD { None } else { second(c) };
    let walk = Walk {
        shape: c.shape,
        rowids,
        hasher: Hasher::new(),
        may_give_up,
        ranges: Ranges { first, last, count: if second.is_some() { RANGES } else { 1 }, next: AtomicU64::new(0) },
        equal: AtomicU64::new(0),
        differ: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        misaligned: AtomicBool::new(false),
    };
    let here = [(c.source.db(), c.source.schema.as_str()), (c.target, c.target_schema)];
    let theirs = match second {
        None => {
            walk.run(here, c.delta, c.tick)?;
            None
        }
        Some((source, target)) => thread::scope(|scope| {
            let work = || {
                // Moved here: they end with the thread.
                let (source, target) = (source, target);
                let found = Delta::new()?;
                walk.run([(source.db(), "main"), (target.db(), "main")], &found, &mut || Ok(()))?;
                Ok(found)
            };
            let guarded = || {
                let found = caught(work).unwrap_or_else(|what| Err(Error::internal(what)));
                walk.stop.fetch_or(found.is_err(), Relaxed);
                found
            };
            // A host that has no thread left to give: this one does it all.
            let worker = thread::Builder::new().name("dbint".into()).spawn_scoped(scope, guarded).ok();
            let mine = walk.run(here, c.delta, c.tick);
            walk.stop.fetch_or(mine.is_err(), Relaxed);
            let theirs = worker.map(|w| w.join().unwrap_or_else(|_| Err(Error::internal("a thread ended early")))).transpose();
            mine.and(theirs)
        })?,
    };
    if walk.misaligned.into_inner() {
        return Ok(Err(Misaligned));
    }
    if let Some(found) = theirs {
        c.delta.absorb(&found)?;
    }
    Ok(Ok(walk.equal.into_inner()))
}

/// The first and the last rowid of either side; no range at all where both are empty.
fn reach(c: &Compare<'_>, (left, right): (&str, &str)) -> Result<(i64, i64)> {
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    for (db, schema, table, rowid) in [(c.source.db(), c.source.schema.as_str(), &c.shape.source, left), (c.target, c.target_schema, &c.shape.target, right)] {
        let end =
            |f: &str| -> Result<Option<i64>> { Ok(db.query_row(&format!("SELECT {f}({rowid}) FROM {}", qualified(schema, &table.name)), [], |r| r.get(0))?) };
        first = first.min(end("min")?.unwrap_or(i64::MAX));
        last = last.max(end("max")?.unwrap_or(i64::MIN));
    }
    Ok((first, last))
}

/// Connections for a second thread that see what the first ones see: the source's by its snapshot, the target's by what
/// holds it.
fn second(c: &Compare<'_>) -> Option<(Snapshot, Snapshot)> {
    // A condition may ask for the time, which is one for each statement.
    if c.shape.condition.is_some() || !two_threads_help() {
        return None;
    }
    let Reader::Own(source) = &c.source.reader else { return None };
    let target = Snapshot::begin_within(c.target_file.ok()?, Duration::ZERO).ok().filter(|t| c.target_hold.covers(t))?;
    Some((source.again()?, target))
}

struct Ranges {
    first: i64,
    last: i64,
    count: u64,
    next: AtomicU64,
}

impl Ranges {
    fn take(&self) -> Option<(i64, i64)> {
        let n = i128::from(self.next.fetch_add(1, Relaxed));
        let (first, last, count) = (i128::from(self.first), i128::from(self.last), i128::from(self.count));
        let cut = |n: i128| first + (last - first + 1) * n / count;
        (n < count && first <= last).then(|| (cut(n) as i64, (cut(n + 1) - 1) as i64))
    }
}

/// What both threads share.
struct Walk<'w> {
    shape: &'w Shape,
    rowids: (&'static str, &'static str),
    hasher: Hasher,
    may_give_up: bool,
    ranges: Ranges,
    equal: AtomicU64,
    differ: AtomicU64,
    /// Nobody needs the rest any more.
    stop: AtomicBool,
    misaligned: AtomicBool,
}

impl Walk<'_> {
    fn run(&self, sides: [(&Connection, &str); 2], found: &Delta, tick: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let s = self.shape;
        let [(source, source_schema), (target, target_schema)] = sides;
        // A condition is a text of the caller's, perhaps with parameters: it has the one range of all rows.
        let ranged = s.condition.is_none();
        let within = |rowid: &str| if ranged { format!(" WHERE {rowid} >= ? ORDER BY {rowid}") } else { format!("{} ORDER BY {rowid}", s.filter()) };
        let mut a = Stmt::prepare(source, &format!("{}{}", s.select_source(source_schema), within(self.rowids.0)))?;
        let mut b = Stmt::prepare(target, &format!("{}{}", s.select_target(target_schema), within(self.rowids.1)))?;
        let mut add = found.adder()?;
        let width = s.columns.len();
        let name = |q: &Stmt<'_>| rows::key(s, |i| q.field(i + 1)).map(|k| self.hasher.key(&k, &s.collations));
        while let Some((first, last)) = self.ranges.take() {
            for q in [&mut a, &mut b] {
                q.reset();
                if ranged {
                    q.bind(1, Field::Int(first))?;
                }
            }
            let mut equal = 0;
            let next = |q: &mut Stmt<'_>| -> Result<bool> { Ok(q.step()? && q.int(0) <= last) };
            let (mut more_a, mut more_b) = (next(&mut a)?, next(&mut b)?);
            while more_a || more_b {
                if self.stop.load(Relaxed) {
                    return Ok(());
                }
                tick()?;
                let order = match (more_a, more_b) {
                    (true, false) => Ordering::Less,
                    (false, _) => Ordering::Greater,
                    (true, true) => a.int(0).cmp(&b.int(0)),
                };
                if order == Ordering::Equal && (1..=width).all(|i| a.same(i, &b, i)) {
                    equal += 1;
                } else {
                    let change = match order {
                        Ordering::Equal => Change::Differs(a.int(0), name(&a), name(&b)),
                        Ordering::Less => Change::OnlyLeft(a.int(0), name(&a)),
                        Ordering::Greater => Change::OnlyRight(b.int(0), name(&b)),
                    };
                    rowid::note(&mut add, s, change)?;
                    self.count(&mut equal, 1);
                }
                if order != Ordering::Greater {
                    more_a = next(&mut a)?;
                }
                if order != Ordering::Less {
                    more_b = next(&mut b)?;
                }
            }
            self.count(&mut equal, 0);
        }
        add.finish()
    }

    fn count(&self, equal: &mut u64, differ: u64) {
        let equal = self.equal.fetch_add(std::mem::take(equal), Relaxed);
        let differ = self.differ.fetch_add(differ, Relaxed) + differ;
        if self.may_give_up && rowid::hopeless(self.shape.rowid_is_key, differ, equal) {
            self.misaligned.store(true, Relaxed);
            self.stop.store(true, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_each_rowid_once() {
        for (first, last, count) in [(1, 10, 3), (5, 5, 64), (i64::MIN, i64::MAX, 64), (-3, 1_000_000, 64), (i64::MAX, i64::MIN, 64), (7, 6, 1)] {
            let ranges = Ranges { first, last, count, next: AtomicU64::new(0) };
            let mut next = i128::from(first);
            while let Some((a, b)) = ranges.take() {
                assert_eq!(i128::from(a), next);
                assert!(i128::from(b) >= next - 1);
                next = i128::from(b) + 1;
            }
            let end = if first <= last { i128::from(last) + 1 } else { i128::from(first) };
            assert_eq!(next, end, "{first} {last} {count}");
            assert!(ranges.take().is_none());
        }
    }
}
