//! The values of a table's records as SQL would give them, straight from its pages.
use super::Sum;
use crate::{
    db::{
        affinity::Affinity,
        pages::{self, Bad, Index, PageReader, Record, Snapshot, Why},
        schema::{self, Generated, Table, TableKind},
    },
    kit::Field,
};
use std::sync::atomic::{AtomicBool, Ordering};

/// Tables below this many pages are not worth a second thread.
const WORTH_A_THREAD: u32 = 2000;

/// How a stored value becomes a column of the digest.
#[derive(Clone, Copy)]
struct Stored {
    /// Position among the writable columns as declared; None for a stored generated one.
    column: Option<usize>,
    /// Whole numbers in a REAL column are stored as integers.
    real: bool,
    /// A record written before ADD COLUMN lacks the value: NULL, unless the column has a default.
    default: bool,
}

/// How records of one table are read.
#[derive(Clone)]
struct Layout {
    root: u32,
    without_rowid: bool,
    /// In stored order.
    stored: Vec<Stored>,
    /// The stored position of the column that is the rowid.
    alias: Option<usize>,
    columns: usize,
    /// Stored order is declared order.
    in_order: bool,
}

impl Layout {
    fn of(snapshot: &Snapshot, table: &Table) -> Result<Layout, Why> {
        let db = snapshot.db();
        let sql = |_| Why::Sql;
        if table.kind != TableKind::Table {
            return Err(Why::Schema);
        }
        let own = schema::table(db, "main", &table.name).map_err(sql)?;
        let root = snapshot.root(&own.name).map_err(sql)?.ok_or(Why::Schema)?;
        let order: Vec<String> = if own.without_rowid {
            // Key columns in key order, then the others.
            let pk: String = db.query_row("SELECT name FROM pragma_index_list(?) WHERE origin = 'pk'", [&own.name], |r| r.get(0)).map_err(|_| Why::Sql)?;
            let mut q = db.prepare("SELECT name FROM pragma_index_xinfo(?) ORDER BY seqno").map_err(|_| Why::Sql)?;
            let names = q.query_map([pk], |r| r.get(0)).map_err(|_| Why::Sql)?;
            names.collect::<rusqlite::Result<_>>().map_err(|_| Why::Sql)?
        } else {
            own.columns.iter().filter(|c| c.generated != Generated::Virtual).map(|c| c.name.clone()).collect()
        };
        let writable: Vec<&str> = own.writable().map(|c| c.name.as_str()).collect();
        let mut stored = vec![];
        for name in &order {
            let column = own.column(name).ok_or(Why::Schema)?;
            stored.push(Stored {
                column: writable.iter().position(|w| w == name),
                real: Affinity::of(&column.ty) == Affinity::Real,
                default: column.default.as_ref().is_some_and(|d| !d.eq_ignore_ascii_case("null")),
            });
        }
        let alias = own.rowid_alias(db).map_err(sql)?.and_then(|c| order.iter().position(|n| *n == c.name));
        let in_order = stored.iter().filter_map(|s| s.column).is_sorted();
        if stored.iter().filter(|s| s.column.is_some()).count() != writable.len() {
            return Err(Why::Schema);
        }
        Ok(Layout { root, without_rowid: own.without_rowid, stored, alias, columns: writable.len(), in_order })
    }

    #[inline]
    fn add(&self, sum: &mut Sum, rowid: i64, record: &[u8]) -> pages::Result<()> {
        let mut values = Record::new(record)?;
        if self.in_order {
            for (i, s) in self.stored.iter().enumerate() {
                let v = self.value(i, s, rowid, values.advance()?)?;
                if s.column.is_some() {
                    sum.field(v);
                }
            }
        } else {
            let mut row = vec![Field::Null; self.columns];
            for (i, s) in self.stored.iter().enumerate() {
                let v = self.value(i, s, rowid, values.advance()?)?;
                if let Some(slot) = s.column.and_then(|c| row.get_mut(c)) {
                    *slot = v;
                }
            }
            row.into_iter().for_each(|v| sum.field(v));
        }
        sum.add();
        Ok(())
    }

    #[inline]
    fn value<'a>(&self, i: usize, stored: &Stored, rowid: i64, found: Option<Field<'a>>) -> pages::Result<Field<'a>> {
        match found {
            _ if self.alias == Some(i) => Ok(Field::Int(rowid)),
            Some(Field::Int(v)) if stored.real => Ok(Field::Real(v as f64)),
            Some(v) => Ok(v),
            None if stored.default => Err(Bad::Short),
            None => Ok(Field::Null),
        }
    }
}

/// Adds every row of the table to `sum`; with a second snapshot of the same instant, two threads share the work.
pub fn add(snapshot: &Snapshot, table: &Table, sum: &mut Sum, tick: &mut dyn FnMut() -> crate::Result<()>) -> crate::Result<Result<(), Why>> {
    let layout = match Layout::of(snapshot, table) {
        Ok(l) => l,
        Err(why) => return Ok(Err(why)),
    };
    let reader = match pages::open(snapshot) {
        Ok(r) => r,
        Err(why) => return Ok(Err(why)),
    };
    if reader.encoding != 1 {
        return Ok(Err(Why::Encoding));
    }
    let done = if layout.without_rowid { index(&reader, &layout, sum, tick)? } else { rows(snapshot, &reader, &layout, sum, tick)? };
    Ok(match done {
        Ok(()) if reader.still_valid() => Ok(()),
        Ok(()) => Err(Why::Moving),
        Err(Bad::Short) => Err(Why::Default),
        Err(_) => Err(Why::Damaged),
    })
}

type Walked = crate::Result<pages::Result<()>>;

fn index(reader: &PageReader<'_>, layout: &Layout, sum: &mut Sum, tick: &mut dyn FnMut() -> crate::Result<()>) -> Walked {
    let mut cursor = Index::new(reader, layout.root);
    loop {
        match cursor.advance() {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(())),
            Err(bad) => return Ok(Err(bad)),
        }
        if let Err(bad) = layout.add(sum, 0, cursor.record()) {
            return Ok(Err(bad));
        }
        tick()?;
    }
}

fn rows(snapshot: &Snapshot, reader: &PageReader<'_>, layout: &Layout, sum: &mut Sum, tick: &mut dyn FnMut() -> crate::Result<()>) -> Walked {
    let parts = match pages::split(reader, layout.root, 2) {
        Ok(parts) => parts,
        Err(bad) => return Ok(Err(bad)),
    };
    let second = match parts.as_slice() {
        [_, second] if reader.pages >= WORTH_A_THREAD && crate::kit::two_threads_help() => snapshot.again().map(|s| (s, second.clone())),
        _ => None,
    };
    let Some((other, second)) = second else {
        return walk(reader, layout, parts.concat(), sum, tick);
    };
    let first = parts.into_iter().next().unwrap_or_default();
    let (stop, their_layout, mut theirs) = (AtomicBool::new(false), layout.clone(), Sum::new(sum.algorithm()));
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            crate::kit::caught(|| {
                let other = other;
                let Ok(reader) = pages::open(&other) else { return Ok(Err(Bad::Corrupt("second reader"))) };
                let stopped = || crate::Error::new(crate::Kind::Interrupted, "stopped");
                let done = walk(&reader, &their_layout, second, &mut theirs, &mut || if stop.load(Ordering::Relaxed) { Err(stopped()) } else { Ok(()) });
                done.map(|d| if reader.still_valid() { d } else { Err(Bad::Corrupt("second reader")) })
            })
        });
        let mine = walk(reader, layout, first, sum, tick);
        // Where this half failed the other is in vain.
        if !matches!(mine, Ok(Ok(()))) {
            stop.store(true, Ordering::Relaxed);
        }
        let their = worker.join().ok().and_then(Result::ok).unwrap_or(Ok(Err(Bad::Corrupt("second reader"))));
        mine?.map_or_else(|bad| Ok(Err(bad)), |()| their)
    })
    .map(|done| done.map(|()| sum.merge(&theirs)))
}

fn walk(reader: &PageReader<'_>, layout: &Layout, subtrees: Vec<u32>, sum: &mut Sum, tick: &mut dyn FnMut() -> crate::Result<()>) -> Walked {
    let mut cursor = match pages::Table::of(reader, subtrees) {
        Ok(c) => c,
        Err(bad) => return Ok(Err(bad)),
    };
    while !cursor.is_done() {
        let rowid = cursor.rowid();
        let step = cursor.record().and_then(|record| layout.add(sum, rowid, record)).and_then(|()| cursor.advance());
        if let Err(bad) = step {
            return Ok(Err(bad));
        }
        tick()?;
    }
    Ok(Ok(()))
}
